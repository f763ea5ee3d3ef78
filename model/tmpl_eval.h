/* The evaluator's insides: the state of one render and the operations of Python that templates use.
 * Shared by the tmpl_*.c files only; callers include template.h.
 *
 * Errors are sticky, as in stdio: the first failure is recorded in ctx and every function after it
 * does as little as it can. Functions that return a value return anything then; loops ask
 * tmpl_failed(). All memory is the render's arena, except ctx->out. */
#pragma once

#include "model/tmpl_ast.h"
#include "model/tmpl_builtin.h"

/* Native recursion of the evaluator: macros that call themselves, values inside values. */
#define TMPL_EVAL_DEPTH_MAX 1000
/* Items that range() may have, as in jinja2's sandbox. */
#define TMPL_RANGE_MAX 100000

/* One activation of a function. Macros keep the one they were made in. */
struct tmpl_frame {
    struct tmpl_frame *parent;
    struct tmpl_value slots[];
};

struct tmpl_ctx {
    struct arena *arena;
    const struct tmpl_value *vars;
    struct template_options options;
    struct template_error *error;
    enum status status;
    uint32_t line;
    uint32_t depth;
    uint64_t steps_left;
    struct tmpl_frame *frame;
    /* Text under construction: the output, above it what is being captured, above that strings
     * that are being built. */
    char *out; /* [out_cap], malloc */
    size_t out_len, out_cap;
};

struct tmpl_undefined {
    const char *hint;       /* the whole message, or NULL */
    const char *type;       /* type of the object without that attribute, or NULL: a variable */
    struct tmpl_value name; /* variable, attribute or key */
};

struct tmpl_namespace {
    uint32_t n, cap;
    struct tmpl_pair *pairs;
};

struct tmpl_range {
    int64_t start, stop, step;
    uint32_t len;
};

enum tmpl_view_kind { VIEW_KEYS, VIEW_VALUES, VIEW_ITEMS };

struct tmpl_view {
    uint8_t kind;
    struct tmpl_value dict;
};

struct tmpl_macro {
    struct tmpl_value name; /* NONE for a call block's body */
    const struct tmpl_code *code;
    const struct tmpl_node *parameters, *body;
    struct tmpl_frame *frame; /* in which it was defined */
};

struct tmpl_method {
    struct tmpl_value object;
    const struct tmpl_filter *run; /* the same shape as a filter: subject is the object */
};

struct tmpl_loop {
    struct tmpl_iter *iter;
    struct tmpl_value source; /* MISSING if its length means nothing (a filtered loop) */
    int64_t index0;
    int64_t length; /* -1 until asked for */
    struct tmpl_value before, current, after;
    bool peeked, ended; /* `after` holds the next item, or there is none */
    struct tmpl_value changed;
};

struct tmpl_cycler {
    uint32_t n, at;
    const struct tmpl_value *items;
};

struct tmpl_joiner {
    struct tmpl_value separator;
    bool used;
};

/* A path of attributes as filters take it: "a.b.0", or one key. */
struct tmpl_path {
    uint32_t n;
    struct tmpl_value *parts;
    bool lower;                    /* strings are compared without case */
    struct tmpl_value replacement; /* for what is undefined on the way; MISSING: none */
};

enum tmpl_iter_kind {
    ITER_ITEMS,    /* a list or tuple */
    ITER_TEXT,     /* characters */
    ITER_DICT,     /* a view */
    ITER_RANGE,    /* */
    ITER_MAP,      /* filter or path over source */
    ITER_SELECT,   /* items of source that a test takes */
    ITER_FILTERED, /* the same for the if of a for */
    ITER_LOOP,     /* the items that a loop has still before it */
    ITER_DEFERRED, /* what a filter gives, which is called at the first item */
};

struct tmpl_iter {
    uint8_t kind;
    bool negate;     /* SELECT */
    uint8_t view;    /* DICT: enum tmpl_view_kind */
    size_t position; /* ITEMS, TEXT, DICT, RANGE */
    struct tmpl_value over;
    struct tmpl_iter *source;
    const struct tmpl_filter *filter;
    const struct tmpl_test *test;
    struct tmpl_arguments arguments;
    struct tmpl_path path;
    bool has_path;
    struct tmpl_value *bound;     /* DEFERRED: the filter's arguments by parameter */
    const struct tmpl_node *loop; /* FILTERED */
    struct tmpl_frame *frame;     /* FILTERED: the test's own */
};

static inline bool tmpl_failed(const struct tmpl_ctx *ctx)
{
    return ctx->status != STATUS_OK;
}

static inline struct tmpl_value tmpl_missing(void)
{
    return (struct tmpl_value){.kind = TMPL_MISSING};
}

/* --- tmpl_ctx.c: failures, limits, text --- */

/* Records the first failure with the current line. Returns UNDEFINED, for `return tmpl_fail(...)`.
 */
__attribute__((format(printf, 3, 4))) struct tmpl_value
tmpl_fail(struct tmpl_ctx *ctx, enum status status, const char *fmt, ...);
/* The failure of an operation on an undefined value. */
struct tmpl_value tmpl_fail_undefined(struct tmpl_ctx *ctx, const struct tmpl_value *value);

/* Counts steps; false once they are used up. */
bool tmpl_charge(struct tmpl_ctx *ctx, uint64_t steps);
/* The steps of handling that many bytes. */
bool tmpl_charge_bytes(struct tmpl_ctx *ctx, size_t bytes);
/* Bounds recursion: every success needs a tmpl_leave. */
bool tmpl_enter(struct tmpl_ctx *ctx);
void tmpl_leave(struct tmpl_ctx *ctx);

/* Memory of the render; NULL after a failure. */
void *tmpl_alloc(struct tmpl_ctx *ctx, size_t count, size_t bytes_each);

void tmpl_put(struct tmpl_ctx *ctx, const char *text, size_t len);
void tmpl_put_text(struct tmpl_ctx *ctx, const char *text);
void tmpl_put_code(struct tmpl_ctx *ctx, uint32_t code);
/* What str() gives. */
void tmpl_put_str(struct tmpl_ctx *ctx, const struct tmpl_value *value);
/* What repr() gives. */
void tmpl_put_repr(struct tmpl_ctx *ctx, const struct tmpl_value *value);
/* Escapes &, <, >, ', " for HTML. */
void tmpl_put_escaped(struct tmpl_ctx *ctx, const char *text, size_t len);

/* Text put since tmpl_mark() becomes a string and is taken off the output. */
static inline size_t tmpl_mark(const struct tmpl_ctx *ctx)
{
    return ctx->out_len;
}
struct tmpl_value tmpl_take(struct tmpl_ctx *ctx, size_t mark);

/* The value as a string: itself, or what str() gives. */
struct tmpl_value tmpl_to_str(struct tmpl_ctx *ctx, struct tmpl_value value);

/* A string over constant text. */
struct tmpl_value tmpl_text(const char *text);
/* A part of a string, with its markup. */
struct tmpl_value tmpl_part(struct tmpl_value whole, const char *text, size_t len);

/* --- tmpl_ops.c: what Python's operators do --- */

/* "str", "int", "dict" and so on. */
const char *tmpl_type_name(const struct tmpl_value *value);
bool tmpl_truth(struct tmpl_ctx *ctx, const struct tmpl_value *value);
bool tmpl_equal(struct tmpl_ctx *ctx, const struct tmpl_value *a, const struct tmpl_value *b);
/* -1, 0, 1, or 2 for unordered (NaN); fails for what Python cannot order. */
int tmpl_order(struct tmpl_ctx *ctx, const struct tmpl_value *a, const struct tmpl_value *b);
bool tmpl_contains(struct tmpl_ctx *ctx, struct tmpl_value container, struct tmpl_value item);
struct tmpl_value tmpl_binary(struct tmpl_ctx *ctx, enum tmpl_operator op, struct tmpl_value a,
                              struct tmpl_value b);
struct tmpl_value tmpl_negate(struct tmpl_ctx *ctx, struct tmpl_value value, bool minus);
/* The string as the other operand of one that is markup: escaped unless it is markup itself. */
struct tmpl_value tmpl_escape(struct tmpl_ctx *ctx, struct tmpl_value value);

/* A whole number from an int or bool; false (and a failure that names `what`) otherwise. */
bool tmpl_get_int(struct tmpl_ctx *ctx, const struct tmpl_value *value, const char *what,
                  int64_t *out);
/* The double of any number. */
double tmpl_get_double(const struct tmpl_value *value);

/* --- tmpl_access.c: attributes, items, slices, iteration --- */

struct tmpl_value tmpl_undefined_make(struct tmpl_ctx *ctx, const char *type,
                                      struct tmpl_value name);
struct tmpl_value tmpl_undefined_hint(struct tmpl_ctx *ctx, const char *hint);
struct tmpl_value tmpl_getattr(struct tmpl_ctx *ctx, struct tmpl_value object, const char *name,
                               size_t len);
struct tmpl_value tmpl_getitem(struct tmpl_ctx *ctx, struct tmpl_value object,
                               struct tmpl_value key);
/* Bounds are NONE where left out. */
struct tmpl_value tmpl_slice(struct tmpl_ctx *ctx, struct tmpl_value object,
                             const struct tmpl_value bounds[3]);
/* len(): false if the value has none. */
bool tmpl_length(struct tmpl_ctx *ctx, const struct tmpl_value *value, int64_t *out);
bool tmpl_is_iterable(const struct tmpl_value *value);
/* An iterator over the value; NULL after a failure. */
struct tmpl_iter *tmpl_iterate(struct tmpl_ctx *ctx, struct tmpl_value value);
/* False at the end and after a failure. */
bool tmpl_iter_next(struct tmpl_ctx *ctx, struct tmpl_iter *iter, struct tmpl_value *out);
/* list(value): a LIST. */
struct tmpl_value tmpl_to_list(struct tmpl_ctx *ctx, struct tmpl_value value);
/* An ITER over a LIST or TUPLE. */
struct tmpl_value tmpl_iter_make(struct tmpl_ctx *ctx, struct tmpl_value list);
struct tmpl_value tmpl_make_list(struct tmpl_ctx *ctx, const struct tmpl_value *items, size_t n,
                                 enum tmpl_kind kind);
struct tmpl_value tmpl_make_dict(struct tmpl_ctx *ctx, const struct tmpl_pair *pairs, size_t n);
void tmpl_namespace_set(struct tmpl_ctx *ctx, struct tmpl_namespace *space, struct tmpl_value name,
                        struct tmpl_value value);
/* Splits what filters call an attribute; false after a failure. */
bool tmpl_path_make(struct tmpl_ctx *ctx, struct tmpl_value attribute, struct tmpl_path *out);
struct tmpl_value tmpl_path_get(struct tmpl_ctx *ctx, const struct tmpl_path *path,
                                struct tmpl_value item);
/* A growing list in the arena. */
struct tmpl_items {
    struct tmpl_value *items;
    size_t n, cap;
};
bool tmpl_items_add(struct tmpl_ctx *ctx, struct tmpl_items *items, struct tmpl_value item);
/* Sorts stably by tmpl_order of `keys`; `items` moves along. */
void tmpl_sort(struct tmpl_ctx *ctx, struct tmpl_value *keys, struct tmpl_value *items, size_t n,
               bool reverse);

/* --- tmpl_loop.c --- */

int64_t tmpl_loop_length(struct tmpl_ctx *ctx, struct tmpl_loop *loop);
bool tmpl_loop_next(struct tmpl_ctx *ctx, struct tmpl_loop *loop);
/* loop.index and so on; MISSING if there is no such attribute. */
struct tmpl_value tmpl_loop_attribute(struct tmpl_ctx *ctx, struct tmpl_value loop,
                                      const char *name, size_t len);

/* --- tmpl_exec.c --- */

/* Renders a body into ctx->out. */
void tmpl_exec_template(struct tmpl_ctx *ctx, const struct template *tmpl);
struct tmpl_value tmpl_macro_call(struct tmpl_ctx *ctx, const struct tmpl_macro *macro,
                                  const struct tmpl_arguments *arguments);
/* The next item of a loop's filtered source. */
bool tmpl_filtered_next(struct tmpl_ctx *ctx, struct tmpl_iter *iter, struct tmpl_value *out);

/* --- tmpl_expr.c --- */

struct tmpl_value tmpl_eval(struct tmpl_ctx *ctx, const struct tmpl_node *node);
/* A filter node on a value that is already there (filter and set blocks). */
struct tmpl_value tmpl_eval_filter(struct tmpl_ctx *ctx, const struct tmpl_node *node,
                                   struct tmpl_value text);
/* The call of a call block: with its body as the argument `caller`. */
struct tmpl_value tmpl_eval_call(struct tmpl_ctx *ctx, const struct tmpl_node *node,
                                 const struct tmpl_value *caller);
/* The variable behind a NAME; MISSING while it is unset. */
struct tmpl_value *tmpl_variable(struct tmpl_ctx *ctx, struct tmpl_slot slot);

/* --- tmpl_format.c --- */

/* text % arguments */
struct tmpl_value tmpl_format_percent(struct tmpl_ctx *ctx, struct tmpl_value text,
                                      struct tmpl_value arguments);
/* text.format(...) */
struct tmpl_value tmpl_format_braces(struct tmpl_ctx *ctx, struct tmpl_value text,
                                     const struct tmpl_arguments *arguments);
/* datetime.strftime of the render's clock. */
struct tmpl_value tmpl_strftime(struct tmpl_ctx *ctx, struct tmpl_value format);
/* round(value, digits) of Python. */
double tmpl_round(double real, int64_t digits);

/* --- tmpl_dump.c --- */

struct tmpl_dump_options {
    bool ensure_ascii, sort_keys;
    bool has_indent;
    struct tmpl_value indent; /* a string */
    struct tmpl_value item_separator, key_separator;
};
/* json.dumps */
void tmpl_put_json(struct tmpl_ctx *ctx, const struct tmpl_value *value,
                   const struct tmpl_dump_options *options);
