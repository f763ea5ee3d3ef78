/* Global functions: namespace, range, dict, raise_exception, strftime_now, cycler, joiner. */
#include "model/tmpl_filters.h"

#include <stdio.h>
#include <string.h>

/* dict(mapping or pairs, **named), and the same for namespaces. */
static struct tmpl_value make_dict(struct tmpl_ctx *ctx, const struct tmpl_arguments *raw)
{
    struct tmpl_pair *pairs = NULL;
    struct tmpl_value list = {.kind = TMPL_LIST};
    uint32_t n = 0;

    if (raw->n > 1)
        return tmpl_fail(ctx, STATUS_INVALID, "dict takes at most one argument by position.");
    if (raw->n && raw->values[0].kind != TMPL_DICT)
        list = tmpl_to_list(ctx, raw->values[0]);
    else if (raw->n)
        n = raw->values[0].dict->n;
    pairs = tmpl_alloc(ctx, (size_t)n + list.len + raw->n_named, sizeof(*pairs));
    if (!pairs || tmpl_failed(ctx))
        return list;
    if (n)
        memcpy(pairs, raw->values[0].dict->pairs, n * sizeof(*pairs));
    for (uint32_t i = 0; i < list.len; i++) {
        struct tmpl_value pair = tmpl_to_list(ctx, list.items[i]);

        if (tmpl_failed(ctx) || pair.len != 2)
            return tmpl_fail(ctx, STATUS_INVALID, "dict needs pairs of key and value.");
        pairs[n++] = (struct tmpl_pair){.key = pair.items[0], .value = pair.items[1]};
    }
    if (raw->n_named)
        memcpy(pairs + n, raw->named, raw->n_named * sizeof(*pairs));
    return tmpl_make_dict(ctx, pairs, n + raw->n_named);
}

TMPL_FILTER(function_dict)
{
    (void)subject;
    (void)args;
    return make_dict(ctx, raw);
}

TMPL_FILTER(function_namespace)
{
    struct tmpl_value dict = make_dict(ctx, raw);
    struct tmpl_namespace *space = tmpl_alloc(ctx, 1, sizeof(*space));

    (void)subject;
    (void)args;
    if (!space || tmpl_failed(ctx))
        return dict;
    memset(space, 0, sizeof(*space));
    for (uint32_t i = 0; i < dict.dict->n && !tmpl_failed(ctx); i++) {
        if (dict.dict->pairs[i].key.kind != TMPL_STRING)
            return tmpl_fail(ctx, STATUS_INVALID, "Names in a namespace must be strings.");
        tmpl_namespace_set(ctx, space, dict.dict->pairs[i].key, dict.dict->pairs[i].value);
    }
    return (struct tmpl_value){.kind = TMPL_NAMESPACE, .object = space};
}

TMPL_FILTER(function_range)
{
    struct tmpl_range *range = tmpl_alloc(ctx, 1, sizeof(*range));
    int64_t bounds[3] = {0, 0, 1};
    __int128 span, len;

    (void)subject;
    (void)args;
    if (!range)
        return tmpl_none();
    if (raw->n < 1 || raw->n > 3 || raw->n_named)
        return tmpl_fail(ctx, STATUS_INVALID, "range takes 1 to 3 arguments, none by name.");
    for (uint32_t i = 0; i < raw->n; i++) {
        if (!tmpl_get_int(ctx, &raw->values[i], "An argument of range",
                          &bounds[raw->n == 1 ? 1 : i]))
            return tmpl_none();
    }
    if (bounds[2] == 0)
        return tmpl_fail(ctx, STATUS_INVALID, "range() arg 3 must not be zero");
    span = (__int128)bounds[1] - bounds[0];
    len = bounds[2] > 0 ? (span + bounds[2] - 1) / bounds[2] : (span + bounds[2] + 1) / bounds[2];
    if ((span > 0) != (bounds[2] > 0) || span == 0)
        len = 0;
    if (len > TMPL_RANGE_MAX)
        return tmpl_fail(ctx, STATUS_INVALID, "Range too big. At most %d items are allowed.",
                         TMPL_RANGE_MAX);
    *range = (struct tmpl_range){
        .start = bounds[0], .stop = bounds[1], .step = bounds[2], .len = (uint32_t)len};
    return (struct tmpl_value){.kind = TMPL_RANGE, .object = range};
}

TMPL_FILTER(function_raise)
{
    struct tmpl_value text = tmpl_to_str(ctx, args[0]);

    (void)subject;
    (void)raw;
    if (!tmpl_failed(ctx)) {
        tmpl_fail(ctx, STATUS_INVALID, "%.*s", (int)text.len, text.text);
        ctx->error->raised = true;
    }
    return text;
}

TMPL_FILTER(function_strftime)
{
    (void)subject;
    (void)raw;
    return tmpl_strftime(ctx, args[0]);
}

TMPL_FILTER(function_cycler)
{
    struct tmpl_cycler *cycler = tmpl_alloc(ctx, 1, sizeof(*cycler));

    (void)subject;
    (void)args;
    if (!cycler)
        return tmpl_none();
    if (raw->n == 0 || raw->n_named)
        return tmpl_fail(ctx, STATUS_INVALID, "cycler needs items, and none by name.");
    *cycler = (struct tmpl_cycler){.n = raw->n, .items = raw->values};
    return (struct tmpl_value){.kind = TMPL_CYCLER, .object = cycler};
}

TMPL_FILTER(function_joiner)
{
    struct tmpl_joiner *joiner = tmpl_alloc(ctx, 1, sizeof(*joiner));

    (void)subject;
    (void)raw;
    if (!joiner)
        return tmpl_none();
    *joiner =
        (struct tmpl_joiner){.separator = args[0].kind == TMPL_MISSING ? tmpl_text(", ") : args[0]};
    return (struct tmpl_value){.kind = TMPL_JOINER, .object = joiner};
}

TMPL_FILTER(function_lipsum)
{
    (void)subject;
    (void)args;
    (void)raw;
    return tmpl_fail(ctx, STATUS_UNSUPPORTED, "The function 'lipsum' is not supported.");
}

static const struct tmpl_filter functions[] = {
    {"namespace", function_namespace, {NULL, 0, true}},
    {"range", function_range, {NULL, 0, false}},
    {"dict", function_dict, {NULL, 0, true}},
    {"raise_exception", function_raise, {"message", 1, true}},
    {"strftime_now", function_strftime, {"format", 1, true}},
    {"cycler", function_cycler, {NULL, 0, false}},
    {"joiner", function_joiner, {"sep", 0, true}},
    {"lipsum", function_lipsum, {NULL, 0, true}},
};

struct tmpl_value tmpl_global_find(const char *name, size_t len)
{
    for (size_t i = 0; i < sizeof(functions) / sizeof(*functions); i++) {
        if (strlen(functions[i].name) == len && memcmp(functions[i].name, name, len) == 0)
            return (struct tmpl_value){.kind = TMPL_FUNCTION, .object = (void *)&functions[i]};
    }
    return tmpl_missing();
}

static struct tmpl_value call_joiner(struct tmpl_ctx *ctx, struct tmpl_joiner *joiner,
                                     const struct tmpl_arguments *arguments)
{
    if (arguments->n || arguments->n_named)
        return tmpl_fail(ctx, STATUS_INVALID, "A joiner takes no arguments.");
    if (joiner->used)
        return joiner->separator;
    joiner->used = true;
    return tmpl_text("");
}

struct tmpl_value tmpl_function_call(struct tmpl_ctx *ctx, struct tmpl_value function,
                                     const struct tmpl_arguments *arguments)
{
    if (function.kind == TMPL_JOINER)
        return call_joiner(ctx, function.object, arguments);
    if (function.kind == TMPL_METHOD)
        return tmpl_method_call(ctx, function, arguments);
    return tmpl_filter_call(ctx, function.object, tmpl_none(), arguments);
}
