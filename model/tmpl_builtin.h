/* The tables of what templates can call by name: filters, tests, methods and global functions, and
 * how they get their arguments. */
#pragma once

#include "model/tmpl_value.h"

struct tmpl_ctx;

/* Most parameters that a filter, test or method declares. */
#define TMPL_PARAMETERS_MAX 6

/* The arguments of a call as evaluated. */
struct tmpl_arguments {
    uint32_t n, n_named;
    const struct tmpl_value *values; /* [n] */
    const struct tmpl_pair *named;   /* [n_named], keys are strings */
};

/* How arguments become an array: names separated by commas, the first `required` of them
 * mandatory. NULL: the function looks at the raw arguments itself. Only functions with
 * `keywords` take them by name. */
struct tmpl_signature {
    const char *names;
    uint8_t required;
    bool keywords;
};

/* A filter. `args` holds one value per declared name, MISSING where none was given; `raw` is what
 * the template wrote. Errors are sticky in ctx; the result does not matter then. */
struct tmpl_filter {
    const char *name;
    struct tmpl_value (*run)(struct tmpl_ctx *ctx, struct tmpl_value subject,
                             const struct tmpl_value *args, const struct tmpl_arguments *raw);
    struct tmpl_signature signature;
};

struct tmpl_test {
    const char *name;
    bool (*run)(struct tmpl_ctx *ctx, struct tmpl_value subject, const struct tmpl_value *args);
    struct tmpl_signature signature;
};

/* NULL if there is none of that name. */
const struct tmpl_filter *tmpl_filter_find(const char *name, size_t len);
const struct tmpl_test *tmpl_test_find(const char *name, size_t len);

struct tmpl_value tmpl_filter_call(struct tmpl_ctx *ctx, const struct tmpl_filter *filter,
                                   struct tmpl_value subject,
                                   const struct tmpl_arguments *arguments);
bool tmpl_test_call(struct tmpl_ctx *ctx, const struct tmpl_test *test, struct tmpl_value subject,
                    const struct tmpl_arguments *arguments);

/* The global of that name (a FUNCTION), or MISSING. */
struct tmpl_value tmpl_global_find(const char *name, size_t len);
/* Calls a FUNCTION or a METHOD. */
struct tmpl_value tmpl_function_call(struct tmpl_ctx *ctx, struct tmpl_value function,
                                     const struct tmpl_arguments *arguments);

/* The attribute of Python's type that `name` is for this value: a METHOD, or UNDEFINED with a
 * reason for what the sandbox forbids; MISSING if the type has no such attribute. Fails for
 * attributes that Python has and we do not. */
struct tmpl_value tmpl_method_find(struct tmpl_ctx *ctx, struct tmpl_value object, const char *name,
                                   size_t len);
struct tmpl_value tmpl_method_call(struct tmpl_ctx *ctx, struct tmpl_value method,
                                   const struct tmpl_arguments *arguments);
