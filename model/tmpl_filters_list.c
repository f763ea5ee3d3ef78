/* Filters over lists, dicts and other things that can be iterated. */
#include "model/tmpl_filters.h"

#include <string.h>

static bool given(const struct tmpl_value *arg)
{
    return arg->kind != TMPL_MISSING && arg->kind != TMPL_NONE;
}

static bool flag(struct tmpl_ctx *ctx, const struct tmpl_value *arg)
{
    return arg->kind != TMPL_MISSING && tmpl_truth(ctx, arg);
}

/* A list of its own, safe to sort. */
static struct tmpl_items own_items(struct tmpl_ctx *ctx, struct tmpl_value value)
{
    struct tmpl_items items = {0};
    struct tmpl_iter *iter = tmpl_iterate(ctx, value);
    struct tmpl_value item;

    while (iter && tmpl_iter_next(ctx, iter, &item) && tmpl_items_add(ctx, &items, item))
        ;
    return items;
}

static struct tmpl_value to_list(struct tmpl_ctx *ctx, const struct tmpl_items *items)
{
    return tmpl_make_list(ctx, items->items, items->n, TMPL_LIST);
}

static struct tmpl_value to_iter(struct tmpl_ctx *ctx, const struct tmpl_items *items)
{
    return tmpl_iter_make(ctx, to_list(ctx, items));
}

static struct tmpl_value make_tuple(struct tmpl_ctx *ctx, struct tmpl_value first,
                                    struct tmpl_value second)
{
    struct tmpl_value *items = tmpl_alloc(ctx, 2, sizeof(*items));

    if (!items)
        return first;
    items[0] = first;
    items[1] = second;
    return tmpl_make_list(ctx, items, 2, TMPL_TUPLE);
}

TMPL_FILTER(filter_default)
{
    (void)raw;
    if (subject.kind == TMPL_UNDEFINED || (flag(ctx, &args[1]) && !tmpl_truth(ctx, &subject)))
        return args[0].kind == TMPL_MISSING ? tmpl_text("") : args[0];
    return subject;
}

TMPL_FILTER(filter_length)
{
    int64_t len;

    (void)args;
    (void)raw;
    if (!tmpl_length(ctx, &subject, &len))
        return tmpl_fail(ctx, STATUS_INVALID, "object of type '%s' has no len()",
                         tmpl_type_name(&subject));
    return tmpl_int(len);
}

TMPL_FILTER(filter_list)
{
    (void)args;
    (void)raw;
    return tmpl_to_list(ctx, subject);
}

TMPL_FILTER(filter_first)
{
    struct tmpl_iter *iter = tmpl_iterate(ctx, subject);
    struct tmpl_value item;

    (void)args;
    (void)raw;
    if (iter && tmpl_iter_next(ctx, iter, &item))
        return item;
    return tmpl_undefined_hint(ctx, "No first item, sequence was empty.");
}

TMPL_FILTER(filter_last)
{
    struct tmpl_value list;

    (void)args;
    (void)raw;
    if (subject.kind == TMPL_ITER || subject.kind == TMPL_LOOP)
        return tmpl_fail(ctx, STATUS_INVALID, "'%s' object is not reversible",
                         tmpl_type_name(&subject));
    if (subject.kind == TMPL_STRING && subject.len)
        return tmpl_getitem(ctx, subject, tmpl_int(-1));
    list = tmpl_to_list(ctx, subject);
    return list.len && !tmpl_failed(ctx)
               ? list.items[list.len - 1]
               : tmpl_undefined_hint(ctx, "No last item, sequence was empty.");
}

TMPL_FILTER(filter_join)
{
    struct tmpl_value separator =
        args[0].kind == TMPL_MISSING ? tmpl_text("") : tmpl_to_str(ctx, args[0]);
    struct tmpl_iter *iter = tmpl_iterate(ctx, subject);
    size_t mark = tmpl_mark(ctx);
    struct tmpl_path path;
    struct tmpl_value item;

    (void)raw;
    if (!tmpl_path_make(ctx, args[1], &path))
        return subject;
    for (bool first = true; iter && tmpl_iter_next(ctx, iter, &item); first = false) {
        if (!first)
            tmpl_put(ctx, separator.text, separator.len);
        item = tmpl_path_get(ctx, &path, item);
        tmpl_put_str(ctx, &item);
    }
    return tmpl_take(ctx, mark);
}

TMPL_FILTER(filter_reverse)
{
    struct tmpl_value list;
    struct tmpl_value *items;

    (void)args;
    (void)raw;
    if (subject.kind == TMPL_STRING) {
        struct tmpl_value bounds[3] = {tmpl_none(), tmpl_none(), tmpl_int(-1)};

        return tmpl_slice(ctx, subject, bounds);
    }
    list = tmpl_to_list(ctx, subject);
    items = tmpl_alloc(ctx, list.len, sizeof(*items));
    if (!items || tmpl_failed(ctx))
        return subject;
    for (uint32_t i = 0; i < list.len; i++)
        items[i] = list.items[list.len - 1 - i];
    list = tmpl_make_list(ctx, items, list.len, TMPL_LIST);
    /* Python cannot reverse a generator in place, and makes a list then. */
    return subject.kind == TMPL_ITER ? list : tmpl_iter_make(ctx, list);
}

TMPL_FILTER(filter_items)
{
    struct tmpl_value list = tmpl_make_list(ctx, NULL, 0, TMPL_LIST);
    struct tmpl_view *view;

    (void)args;
    (void)raw;
    if (subject.kind == TMPL_UNDEFINED)
        return tmpl_iter_make(ctx, list);
    if (subject.kind != TMPL_DICT)
        return tmpl_fail(ctx, STATUS_INVALID, "Can only get item pairs from a mapping.");
    view = tmpl_alloc(ctx, 1, sizeof(*view));
    if (!view)
        return subject;
    *view = (struct tmpl_view){.kind = VIEW_ITEMS, .dict = subject};
    return tmpl_iter_make(ctx, (struct tmpl_value){.kind = TMPL_VIEW, .object = view});
}

/* --- sorting --- */

/* The keys of all items, by a path or a comma-separated list of paths. */
static struct tmpl_value *sort_keys(struct tmpl_ctx *ctx, const struct tmpl_items *items,
                                    struct tmpl_value attribute, bool lower)
{
    struct tmpl_value *keys = tmpl_alloc(ctx, items->n, sizeof(*keys));
    const char *text = attribute.kind == TMPL_STRING ? attribute.text : "";
    const char *end = text + (attribute.kind == TMPL_STRING ? attribute.len : 0);
    struct tmpl_items *lists = tmpl_alloc(ctx, items->n, sizeof(*lists));

    if (!keys || !lists)
        return NULL;
    for (size_t i = 0; i < items->n; i++)
        lists[i] = (struct tmpl_items){0};
    for (bool more = true; more && !tmpl_failed(ctx);) {
        const char *comma = NULL;
        struct tmpl_value part = attribute;
        struct tmpl_path path;

        if (attribute.kind == TMPL_STRING) {
            comma = memchr(text, ',', (size_t)(end - text));
            part = tmpl_part(attribute, text, (size_t)((comma ? comma : end) - text));
            text = comma ? comma + 1 : end;
        }
        more = comma != NULL;
        if (!tmpl_path_make(ctx, part, &path))
            return NULL;
        path.lower = lower;
        for (size_t i = 0; i < items->n && !tmpl_failed(ctx); i++)
            tmpl_items_add(ctx, &lists[i], tmpl_path_get(ctx, &path, items->items[i]));
    }
    for (size_t i = 0; i < items->n; i++)
        keys[i] = to_list(ctx, &lists[i]);
    return keys;
}

TMPL_FILTER(filter_sort)
{
    struct tmpl_items items = own_items(ctx, subject);
    struct tmpl_value *keys;

    (void)raw;
    keys = sort_keys(ctx, &items, args[2], !flag(ctx, &args[1]));
    if (keys && !tmpl_failed(ctx))
        tmpl_sort(ctx, keys, items.items, items.n, flag(ctx, &args[0]));
    return to_list(ctx, &items);
}

TMPL_FILTER(filter_dictsort)
{
    struct tmpl_value by = args[1].kind == TMPL_MISSING ? tmpl_text("key") : args[1];
    struct tmpl_path path = {.replacement = tmpl_missing(), .lower = !flag(ctx, &args[0])};
    struct tmpl_items items = {0}, keys = {0};
    bool by_value = by.kind == TMPL_STRING && by.len == 5 && !memcmp(by.text, "value", 5);

    (void)raw;
    if (subject.kind == TMPL_UNDEFINED)
        return tmpl_fail_undefined(ctx, &subject);
    if (subject.kind != TMPL_DICT)
        return tmpl_fail(ctx, STATUS_INVALID, "dictsort needs a dict.");
    if (!by_value && (by.kind != TMPL_STRING || by.len != 3 || memcmp(by.text, "key", 3)))
        return tmpl_fail(ctx, STATUS_INVALID, "You can only sort by either \"key\" or \"value\"");
    for (uint32_t i = 0; i < subject.dict->n && !tmpl_failed(ctx); i++) {
        const struct tmpl_pair *pair = &subject.dict->pairs[i];

        tmpl_items_add(ctx, &items, make_tuple(ctx, pair->key, pair->value));
        tmpl_items_add(ctx, &keys, tmpl_path_get(ctx, &path, by_value ? pair->value : pair->key));
    }
    if (!tmpl_failed(ctx))
        tmpl_sort(ctx, keys.items, items.items, items.n, flag(ctx, &args[2]));
    return to_list(ctx, &items);
}

static struct tmpl_value min_or_max(struct tmpl_ctx *ctx, struct tmpl_value subject,
                                    const struct tmpl_value *args, int wanted)
{
    struct tmpl_iter *iter = tmpl_iterate(ctx, subject);
    struct tmpl_value item, key, best, best_key;
    struct tmpl_path path;
    bool any = false;

    if (!tmpl_path_make(ctx, args[1], &path))
        return subject;
    path.lower = !flag(ctx, &args[0]);
    while (iter && tmpl_iter_next(ctx, iter, &item)) {
        key = tmpl_path_get(ctx, &path, item);
        if (!any || (wanted < 0 ? tmpl_order(ctx, &key, &best_key) == -1
                                : tmpl_order(ctx, &key, &best_key) == 1)) {
            best = item;
            best_key = key;
        }
        any = true;
    }
    return any ? best : tmpl_undefined_hint(ctx, "No aggregated item, sequence was empty.");
}

TMPL_FILTER(filter_min)
{
    (void)raw;
    return min_or_max(ctx, subject, args, -1);
}

TMPL_FILTER(filter_max)
{
    (void)raw;
    return min_or_max(ctx, subject, args, 1);
}

TMPL_FILTER(filter_sum)
{
    struct tmpl_value sum = args[1].kind == TMPL_MISSING ? tmpl_int(0) : args[1], item;
    struct tmpl_iter *iter = tmpl_iterate(ctx, subject);
    struct tmpl_path path;

    (void)raw;
    if (sum.kind == TMPL_STRING)
        return tmpl_fail(ctx, STATUS_INVALID, "sum() can't sum strings");
    if (!tmpl_path_make(ctx, args[0], &path))
        return subject;
    while (iter && tmpl_iter_next(ctx, iter, &item)) {
        item = tmpl_path_get(ctx, &path, item);
        if (!tmpl_failed(ctx))
            sum = tmpl_binary(ctx, OP_ADD, sum, item);
    }
    return sum;
}

TMPL_FILTER(filter_unique)
{
    struct tmpl_iter *iter = tmpl_iterate(ctx, subject);
    struct tmpl_items items = {0}, seen = {0};
    struct tmpl_value item, key;
    struct tmpl_path path;

    (void)raw;
    if (!tmpl_path_make(ctx, args[1], &path))
        return subject;
    path.lower = !flag(ctx, &args[0]);
    while (iter && tmpl_iter_next(ctx, iter, &item)) {
        bool known = false;

        key = tmpl_path_get(ctx, &path, item);
        if (key.kind != TMPL_UNDEFINED && !tmpl_is_hashable(&key))
            return tmpl_fail(ctx, STATUS_INVALID, "A '%s' cannot be compared by unique.",
                             tmpl_type_name(&key));
        for (size_t i = 0; i < seen.n && !known && tmpl_charge(ctx, 1); i++)
            known = tmpl_equal(ctx, &seen.items[i], &key);
        if (!known && tmpl_items_add(ctx, &seen, key))
            tmpl_items_add(ctx, &items, item);
    }
    return to_iter(ctx, &items);
}

TMPL_FILTER(filter_groupby)
{
    struct tmpl_items items = own_items(ctx, subject), keys = {0}, groups = {0};
    struct tmpl_path path, shown;
    size_t start = 0;

    (void)raw;
    if (!tmpl_path_make(ctx, args[0], &path))
        return subject;
    path.replacement = given(&args[1]) ? args[1] : tmpl_missing();
    shown = path;
    path.lower = !flag(ctx, &args[2]);
    for (size_t i = 0; i < items.n && !tmpl_failed(ctx); i++)
        tmpl_items_add(ctx, &keys, tmpl_path_get(ctx, &path, items.items[i]));
    if (tmpl_failed(ctx))
        return subject;
    tmpl_sort(ctx, keys.items, items.items, items.n, false);
    for (size_t i = 1; i <= items.n && !tmpl_failed(ctx); i++) {
        struct tmpl_value first, here;

        first = tmpl_path_get(ctx, &path, items.items[start]);
        if (i < items.n) {
            here = tmpl_path_get(ctx, &path, items.items[i]);
            if (tmpl_equal(ctx, &first, &here))
                continue;
        }
        here = make_tuple(ctx, tmpl_path_get(ctx, &shown, items.items[start]),
                          tmpl_make_list(ctx, items.items + start, i - start, TMPL_LIST));
        here.flags = TMPL_GROUP;
        tmpl_items_add(ctx, &groups, here);
        start = i;
    }
    return to_list(ctx, &groups);
}

/* --- parts --- */

TMPL_FILTER(filter_batch)
{
    struct tmpl_iter *iter = tmpl_iterate(ctx, subject);
    struct tmpl_items batches = {0}, batch = {0};
    struct tmpl_value item;
    int64_t size;

    (void)raw;
    if (!tmpl_get_int(ctx, &args[0], "The size of batch", &size))
        return subject;
    while (iter && tmpl_iter_next(ctx, iter, &item)) {
        if ((int64_t)batch.n == size) {
            tmpl_items_add(ctx, &batches, to_list(ctx, &batch));
            batch = (struct tmpl_items){0};
        }
        tmpl_items_add(ctx, &batch, item);
    }
    while (batch.n && given(&args[1]) && (int64_t)batch.n < size &&
           tmpl_items_add(ctx, &batch, args[1]))
        ;
    if (batch.n)
        tmpl_items_add(ctx, &batches, to_list(ctx, &batch));
    return to_iter(ctx, &batches);
}

TMPL_FILTER(filter_slice)
{
    struct tmpl_value list = tmpl_to_list(ctx, subject);
    struct tmpl_items slices = {0};
    int64_t n, each, extra, at = 0;

    (void)raw;
    if (tmpl_failed(ctx) || !tmpl_get_int(ctx, &args[0], "The number of slices", &n))
        return subject;
    if (n == 0)
        return tmpl_fail(ctx, STATUS_INVALID, "division by zero");
    each = n > 0 ? list.len / n : 0;
    extra = n > 0 ? list.len % n : 0;
    for (int64_t i = 0; i < n && !tmpl_failed(ctx); i++) {
        struct tmpl_items slice = {0};

        for (int64_t k = 0; k < each + (i < extra); k++)
            tmpl_items_add(ctx, &slice, list.items[at++]);
        if (given(&args[1]) && i >= extra)
            tmpl_items_add(ctx, &slice, args[1]);
        tmpl_items_add(ctx, &slices, to_list(ctx, &slice));
    }
    return to_iter(ctx, &slices);
}

/* --- map, select and their kind: lazy --- */

static struct tmpl_iter *make_lazy(struct tmpl_ctx *ctx, enum tmpl_iter_kind kind,
                                   struct tmpl_value subject)
{
    struct tmpl_iter *iter = tmpl_alloc(ctx, 1, sizeof(*iter));

    if (!iter)
        return NULL;
    *iter = (struct tmpl_iter){.kind = (uint8_t)kind, .source = tmpl_iterate(ctx, subject)};
    return iter->source ? iter : NULL;
}

static struct tmpl_value empty_iter(struct tmpl_ctx *ctx)
{
    return tmpl_iter_make(ctx, tmpl_make_list(ctx, NULL, 0, TMPL_LIST));
}

/* The arguments without the first `n`. */
static struct tmpl_arguments skip_arguments(const struct tmpl_arguments *raw, uint32_t n)
{
    struct tmpl_arguments rest = *raw;

    rest.n = raw->n - n;
    rest.values = rest.n ? raw->values + n : NULL;
    return rest;
}

static const struct tmpl_value *named(const struct tmpl_arguments *raw, const char *name)
{
    for (uint32_t i = 0; i < raw->n_named; i++) {
        const struct tmpl_value *key = &raw->named[i].key;

        if (key->len == strlen(name) && memcmp(key->text, name, key->len) == 0)
            return &raw->named[i].value;
    }
    return NULL;
}

TMPL_FILTER(filter_map)
{
    const struct tmpl_value *attribute = named(raw, "attribute");
    const struct tmpl_value *replacement = named(raw, "default");
    struct tmpl_iter *iter;

    (void)args;
    if (!tmpl_truth(ctx, &subject))
        return empty_iter(ctx);
    iter = make_lazy(ctx, ITER_MAP, subject);
    if (!iter)
        return subject;
    if (raw->n == 0 && attribute) {
        iter->has_path = true;
        if (raw->n_named != 1u + (replacement != NULL))
            return tmpl_fail(ctx, STATUS_INVALID, "map has got an unexpected keyword argument.");
        if (!tmpl_path_make(ctx, *attribute, &iter->path))
            return subject;
        if (replacement && replacement->kind != TMPL_NONE)
            iter->path.replacement = *replacement;
        return (struct tmpl_value){.kind = TMPL_ITER, .object = iter};
    }
    if (raw->n == 0)
        return tmpl_fail(ctx, STATUS_INVALID, "map requires a filter argument");
    if (raw->values[0].kind == TMPL_STRING)
        iter->filter = tmpl_filter_find(raw->values[0].text, raw->values[0].len);
    if (!iter->filter) {
        struct tmpl_value name = tmpl_to_str(ctx, raw->values[0]);

        return tmpl_fail(ctx, STATUS_INVALID, "map: there is no filter named '%.*s'.",
                         (int)(name.len > 64 ? 64 : name.len), name.text);
    }
    iter->arguments = skip_arguments(raw, 1);
    return (struct tmpl_value){.kind = TMPL_ITER, .object = iter};
}

static struct tmpl_value select_or_reject(struct tmpl_ctx *ctx, struct tmpl_value subject,
                                          const struct tmpl_arguments *raw, bool by_attribute,
                                          bool negate)
{
    struct tmpl_iter *iter;
    uint32_t used = by_attribute;

    if (!tmpl_truth(ctx, &subject))
        return empty_iter(ctx);
    iter = make_lazy(ctx, ITER_SELECT, subject);
    if (!iter)
        return subject;
    iter->negate = negate;
    iter->has_path = by_attribute;
    if (by_attribute && raw->n == 0)
        return tmpl_fail(ctx, STATUS_INVALID, "Missing parameter for attribute name");
    if (by_attribute && !tmpl_path_make(ctx, raw->values[0], &iter->path))
        return subject;
    if (raw->n > used) {
        struct tmpl_value name = tmpl_to_str(ctx, raw->values[used]);

        iter->test = tmpl_test_find(name.text, name.len);
        if (!iter->test)
            return tmpl_fail(ctx, STATUS_INVALID, "select: there is no test named '%.*s'.",
                             (int)(name.len > 64 ? 64 : name.len), name.text);
        iter->arguments = skip_arguments(raw, used + 1);
    }
    return (struct tmpl_value){.kind = TMPL_ITER, .object = iter};
}

TMPL_FILTER(filter_select)
{
    (void)args;
    return select_or_reject(ctx, subject, raw, false, false);
}

TMPL_FILTER(filter_reject)
{
    (void)args;
    return select_or_reject(ctx, subject, raw, false, true);
}

TMPL_FILTER(filter_selectattr)
{
    (void)args;
    return select_or_reject(ctx, subject, raw, true, false);
}

TMPL_FILTER(filter_rejectattr)
{
    (void)args;
    return select_or_reject(ctx, subject, raw, true, true);
}

/* Attributes of Python's types only, never items. */
TMPL_FILTER(filter_attr)
{
    struct tmpl_value found;

    (void)raw;
    if (args[0].kind != TMPL_STRING)
        return tmpl_fail(ctx, STATUS_INVALID, "attr needs the name of an attribute.");
    if (subject.kind == TMPL_UNDEFINED)
        return tmpl_fail_undefined(ctx, &subject);
    if (subject.kind == TMPL_NAMESPACE || subject.kind == TMPL_LOOP || subject.flags & TMPL_GROUP)
        return tmpl_getattr(ctx, subject, args[0].text, args[0].len);
    found = tmpl_method_find(ctx, subject, args[0].text, args[0].len);
    return found.kind == TMPL_MISSING ? tmpl_undefined_hint(ctx, "The attribute does not exist.")
                                      : found;
}

/* Python's generators start when they are first asked: what is wrong with their input shows then.
 * So the filters of these names only keep the call. */
static const struct tmpl_filter generators[] = {
    {"items", filter_items, {"", 0, false}},
    {"map", filter_map, {NULL, 0, true}},
    {"select", filter_select, {NULL, 0, true}},
    {"reject", filter_reject, {NULL, 0, true}},
    {"selectattr", filter_selectattr, {NULL, 0, true}},
    {"rejectattr", filter_rejectattr, {NULL, 0, true}},
    {"unique", filter_unique, {"case_sensitive,attribute", 0, true}},
    {"batch", filter_batch, {"linecount,fill_with", 1, true}},
    {"slice", filter_slice, {"slices,fill_with", 1, true}},
};

/* Keeps the call for later. */
static struct tmpl_value defer(struct tmpl_ctx *ctx, const struct tmpl_filter *filter,
                               struct tmpl_value subject, const struct tmpl_value *args,
                               const struct tmpl_arguments *raw)
{
    struct tmpl_iter *iter = tmpl_alloc(ctx, 1, sizeof(*iter));
    struct tmpl_value *bound = tmpl_alloc(ctx, TMPL_PARAMETERS_MAX, sizeof(*bound));

    if (!iter || !bound)
        return subject;
    if (filter->signature.names)
        memcpy(bound, args, TMPL_PARAMETERS_MAX * sizeof(*bound));
    *iter = (struct tmpl_iter){.kind = ITER_DEFERRED,
                               .over = subject,
                               .filter = filter,
                               .bound = bound,
                               .arguments = *raw};
    return (struct tmpl_value){.kind = TMPL_ITER, .object = iter};
}

TMPL_FILTER(generator_items)
{
    return defer(ctx, &generators[0], subject, args, raw);
}

TMPL_FILTER(generator_map)
{
    return defer(ctx, &generators[1], subject, args, raw);
}

TMPL_FILTER(generator_select)
{
    return defer(ctx, &generators[2], subject, args, raw);
}

TMPL_FILTER(generator_reject)
{
    return defer(ctx, &generators[3], subject, args, raw);
}

TMPL_FILTER(generator_selectattr)
{
    return defer(ctx, &generators[4], subject, args, raw);
}

TMPL_FILTER(generator_rejectattr)
{
    return defer(ctx, &generators[5], subject, args, raw);
}

TMPL_FILTER(generator_unique)
{
    return defer(ctx, &generators[6], subject, args, raw);
}

TMPL_FILTER(generator_batch)
{
    return defer(ctx, &generators[7], subject, args, raw);
}

TMPL_FILTER(generator_slice)
{
    return defer(ctx, &generators[8], subject, args, raw);
}

const struct tmpl_filter tmpl_list_filters[] = {
    {"default", filter_default, {"default_value,boolean", 0, true}},
    {"d", filter_default, {"default_value,boolean", 0, true}},
    {"length", filter_length, {"", 0, false}},
    {"count", filter_length, {"", 0, false}},
    {"list", filter_list, {"", 0, false}},
    {"first", filter_first, {"", 0, false}},
    {"last", filter_last, {"", 0, false}},
    {"join", filter_join, {"d,attribute", 0, true}},
    {"reverse", filter_reverse, {"", 0, false}},
    {"items", generator_items, {"", 0, false}},
    {"map", generator_map, {NULL, 0, true}},
    {"select", generator_select, {NULL, 0, true}},
    {"reject", generator_reject, {NULL, 0, true}},
    {"selectattr", generator_selectattr, {NULL, 0, true}},
    {"rejectattr", generator_rejectattr, {NULL, 0, true}},
    {"sort", filter_sort, {"reverse,case_sensitive,attribute", 0, true}},
    {"dictsort", filter_dictsort, {"case_sensitive,by,reverse", 0, true}},
    {"min", filter_min, {"case_sensitive,attribute", 0, true}},
    {"max", filter_max, {"case_sensitive,attribute", 0, true}},
    {"sum", filter_sum, {"attribute,start", 0, true}},
    {"unique", generator_unique, {"case_sensitive,attribute", 0, true}},
    {"groupby", filter_groupby, {"attribute,default,case_sensitive", 1, true}},
    {"batch", generator_batch, {"linecount,fill_with", 1, true}},
    {"slice", generator_slice, {"slices,fill_with", 1, true}},
    {"attr", filter_attr, {"name", 1, true}},
    {NULL, NULL, {NULL, 0, false}},
};

const struct tmpl_filter *tmpl_filter_find(const char *name, size_t len)
{
    const struct tmpl_filter *tables[] = {tmpl_text_filters, tmpl_list_filters};

    for (size_t i = 0; i < 2; i++) {
        for (const struct tmpl_filter *filter = tables[i]; filter->name; filter++) {
            if (strlen(filter->name) == len && memcmp(filter->name, name, len) == 0)
                return filter;
        }
    }
    return NULL;
}
