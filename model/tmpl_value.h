/* Values as a chat template sees them: Python's, as far as templates can tell. Callers build the
 * input of a render (messages, tools, flags) from these constructors or from JSON text
 * (tmpl_json.h); the evaluator adds its own kinds while it runs. Values are immutable once built,
 * so one input may be read by several renders on several threads. Memory belongs to the arena that
 * was given to the constructor; the arena must outlive every render that reads the value. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/status.h"

enum tmpl_kind {
    TMPL_UNDEFINED, /* a name or attribute that is not there; prints as nothing */
    TMPL_NONE,
    TMPL_BOOL,
    TMPL_INT,
    TMPL_BIG, /* an integer over 64 bits: prints and compares, but does not compute */
    TMPL_FLOAT,
    TMPL_STRING,
    TMPL_LIST,
    TMPL_TUPLE,
    TMPL_DICT,
    /* Only inside a render: */
    TMPL_NAMESPACE,
    TMPL_RANGE,
    TMPL_VIEW, /* keys, values or items of a dict */
    TMPL_ITER, /* what Python calls a generator or iterator: read once, lazily */
    TMPL_MACRO,
    TMPL_METHOD, /* bound to its object */
    TMPL_FUNCTION,
    TMPL_LOOP,
    TMPL_CYCLER,
    TMPL_JOINER,
    TMPL_MISSING, /* a variable's slot before its first assignment; never leaves the evaluator */
};

/* Bits of struct tmpl_value.flags. */
#define TMPL_MARKUP 1 /* a string marked safe: what is added to it gets escaped */
#define TMPL_GROUP 2  /* a tuple made by groupby: has .grouper and .list */

struct tmpl_dict;
struct tmpl_undefined;

struct tmpl_value {
    uint8_t kind; /* enum tmpl_kind */
    uint8_t flags;
    uint32_t len; /* bytes of a STRING or BIG, items of a LIST or TUPLE */
    union {
        bool boolean;
        int64_t integer;
        double real;
        const char *text;                 /* [len], UTF-8, no end mark */
        const struct tmpl_value *items;   /* [len] */
        const struct tmpl_dict *dict;     /* entries in insertion order */
        const struct tmpl_undefined *why; /* may be NULL */
        void *object;                     /* the evaluator's kinds */
    };
};

struct tmpl_pair {
    struct tmpl_value key, value;
};

struct tmpl_dict {
    uint32_t n;
    const struct tmpl_pair *pairs; /* [n] in insertion order */
    const uint32_t *order;         /* [n] positions sorted by key; NULL for small dicts */
};

static inline struct tmpl_value tmpl_none(void)
{
    return (struct tmpl_value){.kind = TMPL_NONE};
}

static inline struct tmpl_value tmpl_bool(bool boolean)
{
    return (struct tmpl_value){.kind = TMPL_BOOL, .boolean = boolean};
}

static inline struct tmpl_value tmpl_int(int64_t integer)
{
    return (struct tmpl_value){.kind = TMPL_INT, .integer = integer};
}

static inline struct tmpl_value tmpl_float(double real)
{
    return (struct tmpl_value){.kind = TMPL_FLOAT, .real = real};
}

/* A string over memory that the caller keeps alive; `text` must be valid UTF-8. */
static inline struct tmpl_value tmpl_str(const char *text, uint32_t len)
{
    return (struct tmpl_value){.kind = TMPL_STRING, .len = len, .text = text};
}

/* A string copied into the arena. MALFORMED if it is not UTF-8, TOO_BIG over 4 GiB, NO_MEMORY. */
enum status tmpl_string_make(struct arena *arena, const char *text, size_t len,
                             struct tmpl_value *out);

/* A list of `n` items, copied. TOO_BIG, NO_MEMORY. */
enum status tmpl_list_make(struct arena *arena, const struct tmpl_value *items, size_t n,
                           struct tmpl_value *out);

/* A dict of `n` pairs, copied; as in Python a repeated key keeps its first place and gets its last
 * value. Lists and dicts cannot be
 * keys, nor tuples with such: INVALID. TOO_BIG,
 * NO_MEMORY. Takes O(n log n) whatever the keys are. */
enum status tmpl_dict_make(struct arena *arena, const struct tmpl_pair *pairs, size_t n,
                           struct tmpl_value *out);

/* The value under `key`, or NULL. `dict` is a DICT, `key` as above. O(log n). */
const struct tmpl_value *tmpl_dict_get(const struct tmpl_value *dict, const struct tmpl_value *key);

/* The same with a string key of `len` bytes. */
const struct tmpl_value *tmpl_dict_get_str(const struct tmpl_value *dict, const char *key,
                                           size_t len);

/* Whether the value may be a dict's key. */
bool tmpl_is_hashable(const struct tmpl_value *value);

/* A total order over hashable values in which 0 means equal as Python's == (1, 1.0 and True are
 * equal). Between kinds it means nothing beyond being total. */
int tmpl_key_compare(const struct tmpl_value *a, const struct tmpl_value *b);

/* Orders two numbers (BOOL, INT, BIG, FLOAT) exactly: -1, 0, 1, or 2 if one is not a number. */
int tmpl_number_compare(const struct tmpl_value *a, const struct tmpl_value *b);

static inline bool tmpl_is_number(const struct tmpl_value *value)
{
    return value->kind >= TMPL_BOOL && value->kind <= TMPL_FLOAT;
}
