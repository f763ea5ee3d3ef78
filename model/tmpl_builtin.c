/* Arguments of builtin functions, and how they are called. */
#include "model/tmpl_eval.h"

#include <string.h>

/* The position of a name in "a,b,c", or -1. */
static int find_parameter(const char *names, const struct tmpl_value *name)
{
    int position = 0;

    while (*names) {
        size_t len = strcspn(names, ",");

        if (len == name->len && memcmp(names, name->text, len) == 0)
            return position;
        names += len + (names[len] == ',');
        position++;
    }
    return -1;
}

static uint32_t count_parameters(const char *names)
{
    uint32_t n = *names != 0;

    for (; *names; names++)
        n += *names == ',';
    return n;
}

/* Distributes arguments over the parameters; false after an error, which names `what`. */
static bool arguments_bind(struct tmpl_ctx *ctx, const char *what,
                           const struct tmpl_signature *signature,
                           const struct tmpl_arguments *arguments,
                           struct tmpl_value out[TMPL_PARAMETERS_MAX])
{
    uint32_t n = count_parameters(signature->names);

    for (uint32_t i = 0; i < TMPL_PARAMETERS_MAX; i++)
        out[i] = i < arguments->n && i < n ? arguments->values[i] : tmpl_missing();
    if (arguments->n > n) {
        tmpl_fail(ctx, STATUS_INVALID, "%s takes at most %u arguments, not %u.", what, n,
                  arguments->n);
        return false;
    }
    for (uint32_t i = 0; i < arguments->n_named; i++) {
        const struct tmpl_value *name = &arguments->named[i].key;
        int position = signature->keywords ? find_parameter(signature->names, name) : -1;

        if (position < 0 || out[position].kind != TMPL_MISSING) {
            tmpl_fail(ctx, STATUS_INVALID, "%s %s the argument '%.*s'.", what,
                      position < 0 ? "does not take" : "has got twice",
                      (int)(name->len > 64 ? 64 : name->len), name->text);
            return false;
        }
        out[position] = arguments->named[i].value;
    }
    for (uint32_t i = 0; i < signature->required; i++) {
        if (out[i].kind == TMPL_MISSING) {
            tmpl_fail(ctx, STATUS_INVALID, "%s needs more arguments than it got.", what);
            return false;
        }
    }
    return true;
}

struct tmpl_value tmpl_filter_call(struct tmpl_ctx *ctx, const struct tmpl_filter *filter,
                                   struct tmpl_value subject,
                                   const struct tmpl_arguments *arguments)
{
    struct tmpl_value args[TMPL_PARAMETERS_MAX];

    if (!tmpl_charge(ctx, 1))
        return subject;
    if (filter->signature.names &&
        !arguments_bind(ctx, filter->name, &filter->signature, arguments, args))
        return subject;
    return filter->run(ctx, subject, args, arguments);
}

bool tmpl_test_call(struct tmpl_ctx *ctx, const struct tmpl_test *test, struct tmpl_value subject,
                    const struct tmpl_arguments *arguments)
{
    struct tmpl_value args[TMPL_PARAMETERS_MAX];

    if (!tmpl_charge(ctx, 1) || !arguments_bind(ctx, test->name, &test->signature, arguments, args))
        return false;
    return test->run(ctx, subject, args) && !tmpl_failed(ctx);
}

struct tmpl_value tmpl_method_call(struct tmpl_ctx *ctx, struct tmpl_value method,
                                   const struct tmpl_arguments *arguments)
{
    const struct tmpl_method *bound = method.object;

    return tmpl_filter_call(ctx, bound->run, bound->object, arguments);
}
