/* Attributes, items, slices and iteration: how a template reaches into values. */
#include "model/tmpl_eval.h"

#include <string.h>

#include "model/tmpl_text.h"

struct tmpl_value tmpl_undefined_make(struct tmpl_ctx *ctx, const char *type,
                                      struct tmpl_value name)
{
    struct tmpl_undefined *why = tmpl_alloc(ctx, 1, sizeof(*why));

    if (why)
        *why = (struct tmpl_undefined){.type = type, .name = name};
    return (struct tmpl_value){.kind = TMPL_UNDEFINED, .why = why};
}

struct tmpl_value tmpl_undefined_hint(struct tmpl_ctx *ctx, const char *hint)
{
    struct tmpl_undefined *why = tmpl_alloc(ctx, 1, sizeof(*why));

    if (why)
        *why = (struct tmpl_undefined){.hint = hint};
    return (struct tmpl_value){.kind = TMPL_UNDEFINED, .why = why};
}

/* How jinja2 calls a value's type in its messages. */
static const char *object_name(const struct tmpl_value *value)
{
    switch (value->kind) {
    case TMPL_NONE:
        return "None";
    case TMPL_BOOL:
        return "bool object";
    case TMPL_INT:
    case TMPL_BIG:
        return "int object";
    case TMPL_FLOAT:
        return "float object";
    case TMPL_STRING:
        return value->flags & TMPL_MARKUP ? "markupsafe.Markup object" : "str object";
    case TMPL_LIST:
        return "list object";
    case TMPL_TUPLE:
        return "tuple object";
    case TMPL_DICT:
        return "dict object";
    default:
        return tmpl_type_name(value);
    }
}

struct tmpl_value tmpl_make_list(struct tmpl_ctx *ctx, const struct tmpl_value *items, size_t n,
                                 enum tmpl_kind kind)
{
    if (n > UINT32_MAX)
        return tmpl_fail(ctx, STATUS_TOO_BIG, "A list is too long.");
    return (struct tmpl_value){.kind = (uint8_t)kind, .len = (uint32_t)n, .items = items};
}

struct tmpl_value tmpl_make_dict(struct tmpl_ctx *ctx, const struct tmpl_pair *pairs, size_t n)
{
    struct tmpl_value dict = {.kind = TMPL_UNDEFINED};
    enum status status;

    for (size_t i = 0; i < n; i++) {
        if (!tmpl_is_hashable(&pairs[i].key))
            return tmpl_fail(ctx, STATUS_INVALID, "A '%s' cannot be a key.",
                             tmpl_type_name(&pairs[i].key));
    }
    if (!tmpl_charge(ctx, n))
        return dict;
    status = tmpl_dict_make(ctx->arena, pairs, n, &dict);
    if (status != STATUS_OK)
        tmpl_fail(ctx, STATUS_TOO_BIG, "The template needs more than %zu bytes of memory.",
                  ctx->options.memory_bytes_max);
    return dict;
}

static struct tmpl_value namespace_get(const struct tmpl_namespace *space, const char *name,
                                       size_t len)
{
    for (uint32_t i = 0; i < space->n; i++) {
        const struct tmpl_value *key = &space->pairs[i].key;

        if (key->kind == TMPL_STRING && key->len == len && memcmp(key->text, name, len) == 0)
            return space->pairs[i].value;
    }
    return tmpl_missing();
}

void tmpl_namespace_set(struct tmpl_ctx *ctx, struct tmpl_namespace *space, struct tmpl_value name,
                        struct tmpl_value value)
{
    if (name.len && name.text[0] == '_') {
        tmpl_fail(ctx, STATUS_INVALID, "Namespaces cannot store attributes that start with '_'.");
        return;
    }
    tmpl_charge(ctx, space->n / 8);
    for (uint32_t i = 0; i < space->n; i++) {
        if (tmpl_key_compare(&space->pairs[i].key, &name) == 0) {
            space->pairs[i].value = value;
            return;
        }
    }
    if (space->n == space->cap) {
        uint32_t cap = space->cap ? space->cap * 2 : 8;
        struct tmpl_pair *grown = tmpl_alloc(ctx, cap, sizeof(*grown));

        if (!grown)
            return;
        if (space->n)
            memcpy(grown, space->pairs, space->n * sizeof(*grown));
        space->pairs = grown;
        space->cap = cap;
    }
    space->pairs[space->n++] = (struct tmpl_pair){.key = name, .value = value};
}

/* --- attributes and items --- */

/* An attribute of Python's type; MISSING if it has none of that name. */
static struct tmpl_value type_attribute(struct tmpl_ctx *ctx, struct tmpl_value object,
                                        const char *name, size_t len)
{
    switch (object.kind) {
    case TMPL_NAMESPACE:
        return namespace_get(object.object, name, len);
    case TMPL_LOOP:
        return tmpl_loop_attribute(ctx, object, name, len);
    case TMPL_TUPLE:
        if (object.flags & TMPL_GROUP && len == 7 && memcmp(name, "grouper", 7) == 0)
            return object.items[0];
        if (object.flags & TMPL_GROUP && len == 4 && memcmp(name, "list", 4) == 0)
            return object.items[1];
        return tmpl_method_find(ctx, object, name, len);
    case TMPL_MACRO:
        if (len == 4 && memcmp(name, "name", 4) == 0)
            return ((const struct tmpl_macro *)object.object)->name;
        return tmpl_method_find(ctx, object, name, len);
    default:
        return tmpl_method_find(ctx, object, name, len);
    }
}

/* object[key] without falling back to attributes; MISSING if there is no such item. */
static struct tmpl_value item(struct tmpl_ctx *ctx, struct tmpl_value object, struct tmpl_value key)
{
    const struct tmpl_value *found;
    const struct tmpl_range *range = object.object;
    int64_t index, len;
    size_t bytes, at;

    if (object.kind == TMPL_DICT) {
        if (!tmpl_is_hashable(&key))
            return tmpl_missing();
        found = tmpl_dict_get(&object, &key);
        return found ? *found : tmpl_missing();
    }
    if ((key.kind != TMPL_INT && key.kind != TMPL_BOOL) ||
        (object.kind != TMPL_STRING && object.kind != TMPL_LIST && object.kind != TMPL_TUPLE &&
         object.kind != TMPL_RANGE))
        return tmpl_missing();
    index = key.kind == TMPL_INT ? key.integer : key.boolean;
    if (!tmpl_length(ctx, &object, &len))
        return tmpl_missing();
    if (index < 0)
        index += len;
    if (index < 0 || index >= len)
        return tmpl_missing();
    if (object.kind == TMPL_RANGE)
        return tmpl_int(range->start + index * range->step);
    if (object.kind != TMPL_STRING)
        return object.items[index];
    at = tmpl_utf8_offset(object.text, object.len, (size_t)index);
    tmpl_utf8_decode(object.text + at, &bytes);
    return tmpl_part(object, object.text + at, bytes);
}

struct tmpl_value tmpl_getattr(struct tmpl_ctx *ctx, struct tmpl_value object, const char *name,
                               size_t len)
{
    struct tmpl_value found, key = tmpl_str(name, (uint32_t)len);

    if (object.kind == TMPL_UNDEFINED)
        return tmpl_fail_undefined(ctx, &object);
    found = type_attribute(ctx, object, name, len);
    if (found.kind == TMPL_MISSING)
        found = item(ctx, object, key);
    if (found.kind == TMPL_MISSING)
        return tmpl_undefined_make(ctx, object_name(&object), key);
    return found;
}

struct tmpl_value tmpl_getitem(struct tmpl_ctx *ctx, struct tmpl_value object,
                               struct tmpl_value key)
{
    struct tmpl_value found;

    if (object.kind == TMPL_UNDEFINED)
        return tmpl_fail_undefined(ctx, &object);
    found = item(ctx, object, key);
    if (found.kind == TMPL_MISSING && key.kind == TMPL_STRING)
        found = type_attribute(ctx, object, key.text, key.len);
    if (found.kind == TMPL_MISSING)
        return tmpl_undefined_make(ctx, object_name(&object), key);
    return found;
}

/* --- slices --- */

/* The bounds as Python's slice.indices gives them; the number of items they take. */
static bool slice_indices(struct tmpl_ctx *ctx, const struct tmpl_value bounds[3], int64_t len,
                          int64_t *first, int64_t *end, int64_t *step, int64_t *count)
{
    int64_t start, stop, low, high;

    *step = 1;
    if (bounds[2].kind != TMPL_NONE && !tmpl_get_int(ctx, &bounds[2], "A slice's step", step))
        return false;
    if (*step == 0) {
        tmpl_fail(ctx, STATUS_INVALID, "slice step cannot be zero");
        return false;
    }
    if (*step == INT64_MIN)
        *step = -INT64_MAX;
    low = *step < 0 ? -1 : 0;
    high = *step < 0 ? len - 1 : len;
    start = *step < 0 ? high : low;
    stop = *step < 0 ? low : high;
    for (int i = 0; i < 2; i++) {
        int64_t *bound = i ? &stop : &start;

        if (bounds[i].kind == TMPL_NONE)
            continue;
        if (!tmpl_get_int(ctx, &bounds[i], "A slice's bound", bound))
            return false;
        if (*bound < 0)
            *bound = *bound + len < low ? low : *bound + len;
        else if (*bound > high)
            *bound = high;
    }
    *first = start;
    *end = stop;
    if (*step > 0)
        *count = stop > start ? (stop - start - 1) / *step + 1 : 0;
    else
        *count = start > stop ? (start - stop - 1) / -*step + 1 : 0;
    return true;
}

static struct tmpl_value slice_text(struct tmpl_ctx *ctx, struct tmpl_value text, int64_t first,
                                    int64_t step, int64_t count)
{
    size_t mark = tmpl_mark(ctx), at, end;
    uint8_t flags = text.flags;

    tmpl_charge_bytes(ctx, text.len);
    if (count == 0)
        return tmpl_part(text, text.text, 0);
    at = tmpl_utf8_offset(text.text, text.len, (size_t)first);
    if (step == 1) {
        end = at + tmpl_utf8_offset(text.text + at, text.len - at, (size_t)count);
        return tmpl_part(text, text.text + at, end - at);
    }
    for (int64_t i = 0; i < count && !tmpl_failed(ctx); i++) {
        size_t bytes;

        tmpl_utf8_decode(text.text + at, &bytes);
        tmpl_put(ctx, text.text + at, bytes);
        if (i + 1 == count)
            break;
        for (int64_t k = 0; k < step; k++) {
            tmpl_utf8_decode(text.text + at, &bytes);
            at += bytes;
        }
        for (int64_t k = 0; k > step; k--)
            at = tmpl_utf8_before(text.text, at);
    }
    text = tmpl_take(ctx, mark);
    text.flags = flags;
    return text;
}

static struct tmpl_value slice_range(struct tmpl_ctx *ctx, const struct tmpl_range *range,
                                     int64_t first, int64_t end, int64_t step, int64_t count)
{
    struct tmpl_range *part = tmpl_alloc(ctx, 1, sizeof(*part));

    if (!part)
        return (struct tmpl_value){.kind = TMPL_UNDEFINED};
    part->len = (uint32_t)count;
    if (__builtin_mul_overflow(range->step, step, &part->step) ||
        __builtin_mul_overflow(range->step, first, &part->start) ||
        __builtin_add_overflow(range->start, part->start, &part->start) ||
        __builtin_mul_overflow(range->step, end, &part->stop) ||
        __builtin_add_overflow(range->start, part->stop, &part->stop))
        return tmpl_fail(ctx, STATUS_INVALID, "An integer has more than 64 bits.");
    return (struct tmpl_value){.kind = TMPL_RANGE, .object = part};
}

struct tmpl_value tmpl_slice(struct tmpl_ctx *ctx, struct tmpl_value object,
                             const struct tmpl_value bounds[3])
{
    int64_t len, first, end, step, count;
    struct tmpl_value *items;

    if (object.kind == TMPL_UNDEFINED)
        return tmpl_fail_undefined(ctx, &object);
    if (object.kind != TMPL_STRING && object.kind != TMPL_LIST && object.kind != TMPL_TUPLE &&
        object.kind != TMPL_RANGE)
        return tmpl_fail(ctx, STATUS_INVALID, "A '%s' cannot be sliced.", tmpl_type_name(&object));
    tmpl_length(ctx, &object, &len);
    if (!slice_indices(ctx, bounds, len, &first, &end, &step, &count))
        return object;
    if (object.kind == TMPL_STRING)
        return slice_text(ctx, object, first, step, count);
    if (object.kind == TMPL_RANGE)
        return slice_range(ctx, object.object, first, end, step, count);
    if (step == 1)
        return tmpl_make_list(ctx, count ? object.items + first : NULL, (size_t)count, object.kind);
    items = tmpl_alloc(ctx, (size_t)count, sizeof(*items));
    for (int64_t i = 0; items && i < count; i++)
        items[i] = object.items[first + i * step];
    return tmpl_make_list(ctx, items, items ? (size_t)count : 0, object.kind);
}

/* --- paths, as filters take attributes --- */

bool tmpl_path_make(struct tmpl_ctx *ctx, struct tmpl_value attribute, struct tmpl_path *out)
{
    const char *text = attribute.kind == TMPL_STRING ? attribute.text : "";
    const char *end = text + (attribute.kind == TMPL_STRING ? attribute.len : 0);
    uint32_t n = 1;

    *out = (struct tmpl_path){.replacement = tmpl_missing()};
    if (attribute.kind == TMPL_NONE || attribute.kind == TMPL_MISSING)
        return true;
    for (uint32_t i = 0; attribute.kind == TMPL_STRING && i < attribute.len; i++)
        n += text[i] == '.';
    out->parts = tmpl_alloc(ctx, n, sizeof(*out->parts));
    if (!out->parts)
        return false;
    out->n = n;
    if (attribute.kind != TMPL_STRING) {
        out->parts[0] = attribute;
        return true;
    }
    for (uint32_t i = 0; i < n; i++) {
        const char *dot = memchr(text, '.', (size_t)(end - text));
        size_t len = (size_t)((dot ? dot : end) - text), digits = 0;
        int64_t index;
        bool overflow;

        out->parts[i] = tmpl_part(attribute, text, len);
        while (digits < len && text[digits] >= '0' && text[digits] <= '9')
            digits++;
        if (len && digits == len && tmpl_int_read(text, len, 10, &index, &overflow) && !overflow)
            out->parts[i] = tmpl_int(index);
        text += len + 1;
    }
    return true;
}

static struct tmpl_value lowered(struct tmpl_ctx *ctx, struct tmpl_value value)
{
    static const struct tmpl_arguments none = {0};

    if (value.kind != TMPL_STRING)
        return value;
    return tmpl_filter_call(ctx, tmpl_filter_find("lower", 5), value, &none);
}

struct tmpl_value tmpl_path_get(struct tmpl_ctx *ctx, const struct tmpl_path *path,
                                struct tmpl_value value)
{
    for (uint32_t i = 0; i < path->n && !tmpl_failed(ctx); i++) {
        value = tmpl_getitem(ctx, value, path->parts[i]);
        if (value.kind == TMPL_UNDEFINED && path->replacement.kind != TMPL_MISSING)
            value = path->replacement;
    }
    return path->lower ? lowered(ctx, value) : value;
}
