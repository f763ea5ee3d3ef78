/* The inside of a config, for cfg*.c only: values beside the table that describes them, and the
 * one way to set a value from a text, which all four sources share. */
#pragma once

#include "base/arena.h"
#include "base/cfg.h"

struct cfg_value {
    bool is_set; /* false: no default, and not given */
    enum cfg_origin origin;
    const char *origin_text;
    const char *text; /* as written */
    union {
        bool flag;
        int64_t number; /* also bytes, ms, the place of an enum's name */
        double real;
    } as;
    const char **list; /* [n_list] */
    size_t n_list;
};

struct cfg_items {
    struct cfg **items; /* [n] */
    size_t n;
};

struct cfg {
    const struct cfg_schema *schema; /* NULL in an item */
    const struct cfg_table *table;
    struct arena *arena;        /* the config's own; an item's is its config's */
    struct cfg_value *values;   /* [table->n_options] */
    struct cfg_items *sections; /* [schema->n_sections]; NULL in an item */
    const char *origin_text;
    bool has_file;
};

/* The place of a path in the table, or n_options. */
size_t cfg_option_find(const struct cfg_table *table, const char *path);

/* Fills `values` with the table's defaults. NO_MEMORY; a default that does not parse aborts. */
enum status cfg_defaults(struct cfg *cfg);

/* Where a text was found. */
struct cfg_place {
    enum cfg_origin origin;
    const char *text; /* copied */
};

/* Parses `text` for option `idx` and keeps it, unless a stronger origin has set it already; wrong
 * texts are errors even then. INVALID, NO_MEMORY. */
enum status cfg_set_text(struct cfg *cfg, size_t idx, const char *text,
                         const struct cfg_place *place, struct cfg_error *error);

/* The same for a CFG_LIST given as separate texts. */
enum status cfg_set_list(struct cfg *cfg, size_t idx, const char *const *texts, size_t n_texts,
                         const struct cfg_place *place, struct cfg_error *error);

/* "an integer between 1 and 64", into out[len]. */
void cfg_expected(const struct cfg_option *option, char *out, size_t len);

/* A number of bytes or ms in the largest unit that divides it, into out[len]. */
void cfg_print_number(enum cfg_type type, int64_t number, char *out, size_t len);

/* BATON_KV_BLOCK_BYTES, into out[CFG_PATH_MAX + 32]. */
#define CFG_ENV_NAME_MAX (CFG_PATH_MAX + 32)
void cfg_env_name(const char *prefix, const char *path, char out[CFG_ENV_NAME_MAX]);

/* Writes the sentence and returns `status`. */
__attribute__((format(printf, 3, 4))) enum status
cfg_fail(struct cfg_error *error, enum status status, const char *fmt, ...);

/* Input as it may stand in a message: short, quoted, without control characters. */
#define CFG_QUOTED_MAX 72
const char *cfg_quote(const char *text, char out[CFG_QUOTED_MAX]);
