/* Configuration from one table. The caller describes every option once; from that table come the
 * YAML file, the environment, the command line, --help, the reference page and the check. The
 * command line wins over the environment, that over the file, that over the default, in whatever
 * order they are loaded, and every value knows where it came from.
 *
 *     path kv.block_bytes   YAML  kv: { block_bytes: 64KiB }
 *                           env   BATON_KV_BLOCK_BYTES=64KiB
 *                           args  --kv.block-bytes=64KiB   or   --set kv.block_bytes=64KiB
 *
 * A list of sections (`nodes:` in a fleet file) is described by a second table; its items come from
 * the file only. Unknown keys, wrong types and values out of range are errors that name the place,
 * what was expected and what was found, and the nearest known key. A config is filled by one
 * thread; after that it is read-only and any thread may read it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/status.h"

#define CFG_FILE_BYTES_MAX (1024 * 1024)
#define CFG_NODES_MAX 10000 /* YAML scalars, maps and sequences in a file */
#define CFG_DEPTH_MAX 8
#define CFG_TEXT_MAX 4096 /* one value */
#define CFG_LIST_MAX 1024 /* texts in a CFG_LIST */
#define CFG_PATH_MAX 128
#define CFG_OPTIONS_MAX 512

enum cfg_type {
    CFG_BOOL,     /* true, false */
    CFG_INT,      /* decimal, signed 64 bits */
    CFG_SIZE,     /* bytes: 4096, 64KiB, 1.5GiB; kB, MB, GB, TB are powers of 1000; KB is neither */
    CFG_DURATION, /* 250ms, 3s, 10min, 2h; a bare number is refused, except 0 */
    CFG_FLOAT,    /* finite decimal */
    CFG_STRING,   /* UTF-8 */
    CFG_ENUM,     /* one of `names` */
    CFG_LIST      /* of strings; [a, b] in YAML, a,b elsewhere */
};

struct cfg_option {
    const char *path; /* [a-z0-9_] words joined by dots */
    enum cfg_type type;
    const char *text;  /* the default, written as on the command line; NULL: must be given */
    int64_t min, max;  /* of numbers (bytes, ms), of the length of texts and lists; both 0: any */
    const char *names; /* of CFG_ENUM: "text|json" */
    const char *unit;  /* shown first in the help: "bytes", "ms", "tokens"; may be NULL */
    const char *help;  /* one or more sentences */
    bool secret;       /* its value is never printed */
};

struct cfg_table {
    const struct cfg_option *options; /* [n_options] */
    size_t n_options;
};

/* A repeated section: a sequence of maps at the top of the file. */
struct cfg_section {
    const char *path; /* "nodes" */
    struct cfg_table table;
    const char *key;    /* the option that names an item and must differ between items, or NULL */
    uint32_t items_max; /* most items */
    const char *help;
};

struct cfg_schema {
    struct cfg_table table;
    const struct cfg_section *sections; /* [n_sections] */
    size_t n_sections;
    const char *env_prefix;        /* "BATON_" */
    const char *const *env_others; /* names with that prefix that are no options, NULL-ended; or
                                      NULL. Any other unknown one is an error. */
};

/* The sentence to show the user; complete, without a line end. */
struct cfg_error {
    char text[1024];
};

enum cfg_origin { CFG_FROM_DEFAULT, CFG_FROM_FILE, CFG_FROM_ENV, CFG_FROM_ARGS };

struct cfg;

/* All defaults. The schema must outlive the config. A broken table is our bug and aborts.
 * NO_MEMORY. */
enum status cfg_create(const struct cfg_schema *schema, struct cfg **out);

/* NULL is nothing. */
void cfg_destroy(struct cfg *cfg);

/* ---- loading. On an error the config must be thrown away; `error` says why. ---- */

/* MALFORMED (not YAML, or a feature we refuse: anchors, aliases, tags, several documents), INVALID
 * (unknown key, wrong type, out of range, twice), TOO_BIG, NOT_FOUND and IO (the file), NO_MEMORY.
 * At most one file or buffer per config. */
enum status cfg_load_file(struct cfg *cfg, const char *path, struct cfg_error *error);

/* As above; `name` stands for the file in messages and is copied. */
enum status cfg_load_buffer(struct cfg *cfg, const char *name, const void *bytes, size_t len,
                            struct cfg_error *error);

/* `environment` is a NULL-ended array of NAME=VALUE, such as environ. INVALID, NO_MEMORY. */
enum status cfg_load_env(struct cfg *cfg, char *const *environment, struct cfg_error *error);

/* Takes the options of the table from args[0..n_args) (without the program's name). What is not
 * one is left to the command: it goes to rest[0..*n_rest) in order, room for n_args pointers. That
 * is: words without leading "--", all after a lone "--", and unknown "--words" without a dot.
 * --path=value, --path value, and for booleans --path alone. INVALID, NO_MEMORY. */
enum status cfg_load_args(struct cfg *cfg, int n_args, char *const *args, char **rest, int *n_rest,
                          struct cfg_error *error);

/* Call it last: INVALID if an option without default was not given, here or in an item. */
enum status cfg_finish(const struct cfg *cfg, struct cfg_error *error);

/* ---- reading. A path that is not in the table, or of another type, is our bug and aborts. ---- */

bool cfg_bool(const struct cfg *cfg, const char *path);
int64_t cfg_int(const struct cfg *cfg, const char *path);
uint64_t cfg_size(const struct cfg *cfg, const char *path);
/* A size as CFG_SIZE has it, from anywhere: false if the text is none, *out is then as it was. */
bool cfg_parse_size(const char *text, uint64_t *out);
uint64_t cfg_ms(const struct cfg *cfg, const char *path);
double cfg_float(const struct cfg *cfg, const char *path);
/* Never NULL; the config's own memory. */
const char *cfg_str(const struct cfg *cfg, const char *path);
/* The place of the value in `names`, from 0: give your enum the same order. */
int cfg_enum(const struct cfg *cfg, const char *path);
size_t cfg_list_count(const struct cfg *cfg, const char *path);
const char *cfg_list_at(const struct cfg *cfg, const char *path, size_t idx);

/* The items of a section, each read like a config of its own. */
size_t cfg_items(const struct cfg *cfg, const char *section);
const struct cfg *cfg_item(const struct cfg *cfg, const char *section, size_t idx);

/* Where a value came from: which kind, and as text ("fleet.yaml:12:5", "BATON_KV_BLOCK_BYTES",
 * "command line", "default") in the config's own memory. For an option, or for an item itself
 * (path ""), so that later checks can name the line. */
enum cfg_origin cfg_origin(const struct cfg *cfg, const char *path);
const char *cfg_origin_text(const struct cfg *cfg, const char *path);

/* ---- printing; TOO_BIG or NO_MEMORY from the buffer ---- */

/* The options for --help, one per paragraph: unit, range, default, explanation. */
enum status cfg_print_help(const struct cfg_schema *schema, struct buf *out);

/* The reference page: a YAML file that loads, with every option at its default, explained. */
enum status cfg_print_reference(const struct cfg_schema *schema, struct buf *out);

/* The values in force and their origins; secrets as "(set)". */
enum status cfg_print_values(const struct cfg *cfg, struct buf *out);

/* The option nearest to a misspelt word (dashes count as underscores), or NULL if none is near. */
const char *cfg_nearest(const struct cfg_table *table, const char *word);
