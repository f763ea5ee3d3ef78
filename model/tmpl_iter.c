/* Iteration. What Python computes lazily (map, select, a loop's filter) is computed lazily here
 * too, because templates can tell: a loop that stops early never sees a later item's error. */
#include "model/tmpl_eval.h"

#include <string.h>

#include "model/tmpl_text.h"

bool tmpl_length(struct tmpl_ctx *ctx, const struct tmpl_value *value, int64_t *out)
{
    switch (value->kind) {
    case TMPL_UNDEFINED:
        *out = 0;
        return true;
    case TMPL_STRING:
        tmpl_charge_bytes(ctx, value->len);
        *out = (int64_t)tmpl_utf8_count(value->text, value->len);
        return true;
    case TMPL_LIST:
    case TMPL_TUPLE:
        *out = value->len;
        return true;
    case TMPL_DICT:
        *out = value->dict->n;
        return true;
    case TMPL_RANGE:
        *out = ((const struct tmpl_range *)value->object)->len;
        return true;
    case TMPL_VIEW:
        *out = ((const struct tmpl_view *)value->object)->dict.dict->n;
        return true;
    case TMPL_LOOP:
        *out = tmpl_loop_length(ctx, value->object);
        return true;
    default:
        return false;
    }
}

bool tmpl_is_iterable(const struct tmpl_value *value)
{
    switch (value->kind) {
    case TMPL_UNDEFINED:
    case TMPL_STRING:
    case TMPL_LIST:
    case TMPL_TUPLE:
    case TMPL_DICT:
    case TMPL_RANGE:
    case TMPL_VIEW:
    case TMPL_ITER:
    case TMPL_LOOP:
        return true;
    default:
        return false;
    }
}

struct tmpl_iter *tmpl_iterate(struct tmpl_ctx *ctx, struct tmpl_value value)
{
    struct tmpl_iter *iter;

    if (!tmpl_is_iterable(&value)) {
        tmpl_fail(ctx, STATUS_INVALID, "'%s' object is not iterable", tmpl_type_name(&value));
        return NULL;
    }
    if (value.kind == TMPL_ITER)
        return value.object;
    iter = tmpl_alloc(ctx, 1, sizeof(*iter));
    if (!iter)
        return NULL;
    *iter = (struct tmpl_iter){.over = value};
    switch (value.kind) {
    case TMPL_STRING:
        iter->kind = ITER_TEXT;
        break;
    case TMPL_DICT:
        iter->kind = ITER_DICT;
        iter->view = VIEW_KEYS;
        break;
    case TMPL_VIEW:
        iter->kind = ITER_DICT;
        iter->view = ((const struct tmpl_view *)value.object)->kind;
        iter->over = ((const struct tmpl_view *)value.object)->dict;
        break;
    case TMPL_RANGE:
        iter->kind = ITER_RANGE;
        break;
    case TMPL_LOOP:
        iter->kind = ITER_LOOP;
        break;
    default: /* LIST, TUPLE; UNDEFINED has len 0 */
        iter->kind = ITER_ITEMS;
        iter->over.len = value.kind == TMPL_UNDEFINED ? 0 : value.len;
    }
    return iter;
}

struct tmpl_value tmpl_iter_make(struct tmpl_ctx *ctx, struct tmpl_value list)
{
    struct tmpl_iter *iter = tmpl_iterate(ctx, list);

    return iter ? (struct tmpl_value){.kind = TMPL_ITER, .object = iter} : list;
}

static bool next_of_dict(struct tmpl_ctx *ctx, struct tmpl_iter *iter, struct tmpl_value *out)
{
    const struct tmpl_pair *pair;
    struct tmpl_value *both;

    if (iter->position >= iter->over.dict->n)
        return false;
    pair = &iter->over.dict->pairs[iter->position++];
    if (iter->view != VIEW_ITEMS) {
        *out = iter->view == VIEW_KEYS ? pair->key : pair->value;
        return true;
    }
    both = tmpl_alloc(ctx, 2, sizeof(*both));
    if (!both)
        return false;
    both[0] = pair->key;
    both[1] = pair->value;
    *out = tmpl_make_list(ctx, both, 2, TMPL_TUPLE);
    return true;
}

static bool next_of_range(struct tmpl_iter *iter, struct tmpl_value *out)
{
    const struct tmpl_range *range = iter->over.object;

    if (iter->position >= range->len)
        return false;
    *out = tmpl_int(range->start + (int64_t)iter->position++ * range->step);
    return true;
}

static bool next_of_text(struct tmpl_iter *iter, struct tmpl_value *out)
{
    size_t bytes;

    if (iter->position >= iter->over.len)
        return false;
    tmpl_utf8_decode(iter->over.text + iter->position, &bytes);
    *out = tmpl_str(iter->over.text + iter->position, (uint32_t)bytes);
    iter->position += bytes;
    return true;
}

static bool next_of_map(struct tmpl_ctx *ctx, struct tmpl_iter *iter, struct tmpl_value *out)
{
    struct tmpl_value item;

    if (!tmpl_iter_next(ctx, iter->source, &item))
        return false;
    if (iter->has_path)
        item = tmpl_path_get(ctx, &iter->path, item);
    else
        item = tmpl_filter_call(ctx, iter->filter, item, &iter->arguments);
    *out = item;
    return !tmpl_failed(ctx);
}

static bool next_of_select(struct tmpl_ctx *ctx, struct tmpl_iter *iter, struct tmpl_value *out)
{
    struct tmpl_value item, tested;

    while (tmpl_iter_next(ctx, iter->source, &item)) {
        bool taken;

        tested = iter->has_path ? tmpl_path_get(ctx, &iter->path, item) : item;
        taken = iter->test ? tmpl_test_call(ctx, iter->test, tested, &iter->arguments)
                           : tmpl_truth(ctx, &tested);
        if (tmpl_failed(ctx))
            return false;
        if (taken != iter->negate) {
            *out = item;
            return true;
        }
    }
    return false;
}

static bool next_of_deferred(struct tmpl_ctx *ctx, struct tmpl_iter *iter, struct tmpl_value *out)
{
    struct tmpl_value items;

    if (!iter->source) {
        items = iter->filter->run(ctx, iter->over, iter->bound, &iter->arguments);
        if (tmpl_failed(ctx))
            return false;
        iter->source = tmpl_iterate(ctx, items);
    }
    return iter->source && tmpl_iter_next(ctx, iter->source, out);
}

static bool next_of_loop(struct tmpl_ctx *ctx, struct tmpl_loop *loop, struct tmpl_value *out)
{
    struct tmpl_value *both;

    /* Python's LoopContext iterates over pairs of item and itself. */
    if (!tmpl_loop_next(ctx, loop))
        return false;
    both = tmpl_alloc(ctx, 2, sizeof(*both));
    if (!both)
        return false;
    both[0] = loop->current;
    both[1] = (struct tmpl_value){.kind = TMPL_LOOP, .object = loop};
    *out = tmpl_make_list(ctx, both, 2, TMPL_TUPLE);
    return true;
}

static bool next_of_kind(struct tmpl_ctx *ctx, struct tmpl_iter *iter, struct tmpl_value *out)
{
    switch (iter->kind) {
    case ITER_ITEMS:
        if (iter->position >= iter->over.len)
            return false;
        *out = iter->over.items[iter->position++];
        return true;
    case ITER_TEXT:
        return next_of_text(iter, out);
    case ITER_DICT:
        return next_of_dict(ctx, iter, out);
    case ITER_RANGE:
        return next_of_range(iter, out);
    case ITER_MAP:
        return next_of_map(ctx, iter, out);
    case ITER_SELECT:
        return next_of_select(ctx, iter, out);
    case ITER_FILTERED:
        return tmpl_filtered_next(ctx, iter, out);
    case ITER_DEFERRED:
        return next_of_deferred(ctx, iter, out);
    default:
        return next_of_loop(ctx, iter->over.object, out);
    }
}

bool tmpl_iter_next(struct tmpl_ctx *ctx, struct tmpl_iter *iter, struct tmpl_value *out)
{
    bool found;

    if (!tmpl_charge(ctx, 1) || !tmpl_enter(ctx))
        return false;
    found = next_of_kind(ctx, iter, out);
    tmpl_leave(ctx);
    return found && !tmpl_failed(ctx);
}

bool tmpl_items_add(struct tmpl_ctx *ctx, struct tmpl_items *items, struct tmpl_value item)
{
    if (items->n == items->cap) {
        size_t cap = items->cap ? items->cap * 2 : 8;
        struct tmpl_value *grown = tmpl_alloc(ctx, cap, sizeof(*grown));

        if (!grown)
            return false;
        if (items->n)
            memcpy(grown, items->items, items->n * sizeof(*grown));
        items->items = grown;
        items->cap = cap;
    }
    items->items[items->n++] = item;
    return true;
}

struct tmpl_value tmpl_to_list(struct tmpl_ctx *ctx, struct tmpl_value value)
{
    struct tmpl_items items = {0};
    struct tmpl_iter *iter;
    struct tmpl_value item;

    if (value.kind == TMPL_LIST)
        return value;
    iter = tmpl_iterate(ctx, value);
    while (iter && tmpl_iter_next(ctx, iter, &item) && tmpl_items_add(ctx, &items, item))
        ;
    return tmpl_make_list(ctx, items.items, items.n, TMPL_LIST);
}

/* Merges two sorted halves of positions; stable. */
static void merge(struct tmpl_ctx *ctx, const struct tmpl_value *keys, uint32_t *order,
                  uint32_t *scratch, size_t low, size_t middle, size_t high, bool reverse)
{
    size_t i = low, j = middle;

    for (size_t k = low; k < high; k++) {
        bool take_right = false;

        if (j < high && i < middle) {
            /* As Python does it, only "less" is asked. */
            const struct tmpl_value *left = &keys[order[i]], *right = &keys[order[j]];

            take_right =
                reverse ? tmpl_order(ctx, left, right) == -1 : tmpl_order(ctx, right, left) == -1;
        } else {
            take_right = i >= middle;
        }
        scratch[k] = take_right ? order[j++] : order[i++];
    }
    memcpy(order + low, scratch + low, (high - low) * sizeof(*order));
}

void tmpl_sort(struct tmpl_ctx *ctx, struct tmpl_value *keys, struct tmpl_value *items, size_t n,
               bool reverse)
{
    uint32_t *order = tmpl_alloc(ctx, n, sizeof(*order));
    uint32_t *scratch = tmpl_alloc(ctx, n, sizeof(*scratch));
    struct tmpl_value *sorted = tmpl_alloc(ctx, n, sizeof(*sorted));

    if (!order || !scratch || !sorted)
        return;
    for (size_t i = 0; i < n; i++)
        order[i] = (uint32_t)i;
    for (size_t width = 1; width < n && !tmpl_failed(ctx); width *= 2) {
        for (size_t low = 0; low + width < n && !tmpl_failed(ctx); low += 2 * width) {
            size_t high = low + 2 * width < n ? low + 2 * width : n;

            merge(ctx, keys, order, scratch, low, low + width, high, reverse);
        }
    }
    for (size_t i = 0; i < n; i++)
        sorted[i] = items[order[i]];
    if (n)
        memcpy(items, sorted, n * sizeof(*items));
}
