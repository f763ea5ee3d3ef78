/* Constructors and keys of template values. Dicts find keys by binary search over a sorted index
 * instead of a hash: no seed is needed and no choice of keys makes it slow. */
#include "model/tmpl_value.h"

#include <stdlib.h>
#include <string.h>

#include "model/tmpl_text.h"

/* Up to here a plain scan is faster than the index. */
#define DICT_SCAN_MAX 8
/* Tuples inside tuples as keys. */
#define KEY_DEPTH_MAX 32

enum status tmpl_string_make(struct arena *arena, const char *text, size_t len,
                             struct tmpl_value *out)
{
    char *copy;

    if (len > UINT32_MAX)
        return STATUS_TOO_BIG;
    if (!tmpl_utf8_is_valid(text, len))
        return STATUS_MALFORMED;
    copy = arena_memdup(arena, text, len);
    if (!copy)
        return STATUS_NO_MEMORY;
    *out = tmpl_str(copy, (uint32_t)len);
    return STATUS_OK;
}

enum status tmpl_list_make(struct arena *arena, const struct tmpl_value *items, size_t n,
                           struct tmpl_value *out)
{
    struct tmpl_value *copy;

    if (n > UINT32_MAX)
        return STATUS_TOO_BIG;
    copy = arena_alloc(arena, n * sizeof(*copy));
    if (!copy)
        return STATUS_NO_MEMORY;
    if (n)
        memcpy(copy, items, n * sizeof(*copy));
    *out = (struct tmpl_value){.kind = TMPL_LIST, .len = (uint32_t)n, .items = copy};
    return STATUS_OK;
}

static bool is_hashable(const struct tmpl_value *value, int depth)
{
    if (value->kind != TMPL_TUPLE)
        return value->kind != TMPL_LIST && value->kind != TMPL_DICT && value->kind != TMPL_VIEW;
    if (depth == KEY_DEPTH_MAX)
        return false;
    for (uint32_t i = 0; i < value->len; i++) {
        if (!is_hashable(&value->items[i], depth + 1))
            return false;
    }
    return true;
}

bool tmpl_is_hashable(const struct tmpl_value *value)
{
    return is_hashable(value, 0);
}

/* Orders the digits of two integers as the reader or a %d gave them: no leading zeros. */
static int compare_digits(const char *a, size_t a_len, const char *b, size_t b_len)
{
    bool a_negative = a_len && *a == '-';
    bool b_negative = b_len && *b == '-';
    int sign = a_negative ? -1 : 1;
    int order;

    if (a_negative != b_negative)
        return a_negative ? -1 : 1;
    if (a_len != b_len)
        return a_len < b_len ? -sign : sign;
    order = memcmp(a, b, a_len);
    return order < 0 ? -sign : order > 0 ? sign : 0;
}

static size_t integer_digits(const struct tmpl_value *value, char digits[24], const char **out)
{
    if (value->kind == TMPL_BIG) {
        *out = value->text;
        return value->len;
    }
    *out = digits;
    return tmpl_int_print(value->kind == TMPL_BOOL ? value->boolean : value->integer, digits);
}

static long double to_long_double(const struct tmpl_value *value)
{
    switch (value->kind) {
    case TMPL_BOOL:
        return value->boolean;
    case TMPL_INT:
        return (long double)value->integer;
    case TMPL_BIG:
        return (long double)tmpl_big_to_double(value->text, value->len);
    default:
        return (long double)value->real;
    }
}

int tmpl_number_compare(const struct tmpl_value *a, const struct tmpl_value *b)
{
    if (a->kind == TMPL_FLOAT || b->kind == TMPL_FLOAT) {
        /* A long double holds every int64 exactly on the machines we build for. */
        long double x = to_long_double(a), y = to_long_double(b);

        return x < y ? -1 : x > y ? 1 : x == y ? 0 : 2;
    }
    if (a->kind == TMPL_BIG || b->kind == TMPL_BIG) {
        char a_digits[24], b_digits[24];
        const char *x, *y;
        size_t x_len = integer_digits(a, a_digits, &x);
        size_t y_len = integer_digits(b, b_digits, &y);

        return compare_digits(x, x_len, y, y_len);
    }
    int64_t x = a->kind == TMPL_BOOL ? a->boolean : a->integer;
    int64_t y = b->kind == TMPL_BOOL ? b->boolean : b->integer;

    return x < y ? -1 : x > y;
}

static bool is_nan(const struct tmpl_value *value)
{
    return value->kind == TMPL_FLOAT && value->real != value->real;
}

static int key_class(const struct tmpl_value *value)
{
    return tmpl_is_number(value) ? 1 : value->kind == TMPL_NONE ? 0 : 2 + value->kind;
}

int tmpl_key_compare(const struct tmpl_value *a, const struct tmpl_value *b)
{
    int a_class = key_class(a), b_class = key_class(b);

    if (a_class != b_class)
        return a_class < b_class ? -1 : 1;
    if (a_class == 0 || a->kind == TMPL_UNDEFINED)
        return 0;
    if (a_class == 1) {
        int order = tmpl_number_compare(a, b);

        /* NaN comes last, so that the order is total. */
        return order != 2 ? order : !is_nan(b) ? 1 : !is_nan(a) ? -1 : 0;
    }
    if (a->kind == TMPL_STRING) {
        size_t shorter = a->len < b->len ? a->len : b->len;
        int order = memcmp(a->text, b->text, shorter);

        if (order)
            return order < 0 ? -1 : 1;
        return a->len < b->len ? -1 : a->len > b->len;
    }
    if (a->kind != TMPL_TUPLE) /* the evaluator's objects: by identity */
        return (uintptr_t)a->object < (uintptr_t)b->object ? -1 : a->object != b->object;
    for (uint32_t i = 0; i < a->len && i < b->len; i++) {
        int order = tmpl_key_compare(&a->items[i], &b->items[i]);

        if (order)
            return order;
    }
    return a->len < b->len ? -1 : a->len > b->len;
}

/* Orders positions by key, equal keys by position: the sort need not be stable. */
static int compare_positions(const void *a, const void *b, void *pairs_ptr)
{
    const struct tmpl_pair *pairs = pairs_ptr;
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    int order = tmpl_key_compare(&pairs[x].key, &pairs[y].key);

    return order ? order : x < y ? -1 : x > y;
}

/* Drops repeated keys: the first place gets the last value. `order` is sorted; afterwards it and
 * `pairs` hold the `n` that stay. */
static uint32_t drop_repeated(struct tmpl_pair *pairs, uint32_t *order, uint32_t n)
{
    uint32_t kept = 0;
    bool dropped = false;

    for (uint32_t i = 0; i < n;) {
        uint32_t first = order[i];
        uint32_t j = i + 1;

        while (j < n && tmpl_key_compare(&pairs[first].key, &pairs[order[j]].key) == 0) {
            pairs[first].value = pairs[order[j]].value;
            pairs[order[j]].key.kind = TMPL_MISSING;
            dropped = true;
            j++;
        }
        i = j;
    }
    if (!dropped)
        return n;
    for (uint32_t i = 0; i < n; i++) {
        if (pairs[i].key.kind != TMPL_MISSING)
            pairs[kept++] = pairs[i];
    }
    for (uint32_t i = 0; i < kept; i++)
        order[i] = i;
    qsort_r(order, kept, sizeof(*order), compare_positions, pairs);
    return kept;
}

enum status tmpl_dict_make(struct arena *arena, const struct tmpl_pair *pairs, size_t n,
                           struct tmpl_value *out)
{
    struct tmpl_dict *dict;
    struct tmpl_pair *copy;
    uint32_t *order;

    if (n > UINT32_MAX)
        return STATUS_TOO_BIG;
    for (size_t i = 0; i < n; i++) {
        if (!tmpl_is_hashable(&pairs[i].key))
            return STATUS_INVALID;
    }
    dict = arena_alloc(arena, sizeof(*dict));
    copy = arena_alloc(arena, n * sizeof(*copy));
    order = arena_alloc(arena, n * sizeof(*order));
    if (!dict || !copy || !order)
        return STATUS_NO_MEMORY;
    if (n)
        memcpy(copy, pairs, n * sizeof(*copy));
    for (uint32_t i = 0; i < n; i++)
        order[i] = i;
    qsort_r(order, n, sizeof(*order), compare_positions, copy);
    dict->n = drop_repeated(copy, order, (uint32_t)n);
    dict->pairs = copy;
    dict->order = dict->n > DICT_SCAN_MAX ? order : NULL;
    *out = (struct tmpl_value){.kind = TMPL_DICT, .dict = dict};
    return STATUS_OK;
}

const struct tmpl_value *tmpl_dict_get(const struct tmpl_value *value, const struct tmpl_value *key)
{
    const struct tmpl_dict *dict = value->dict;
    uint32_t low = 0, high = dict->n;

    if (!dict->order) {
        for (uint32_t i = 0; i < dict->n; i++) {
            if (tmpl_key_compare(&dict->pairs[i].key, key) == 0)
                return &dict->pairs[i].value;
        }
        return NULL;
    }
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        const struct tmpl_pair *pair = &dict->pairs[dict->order[middle]];
        int order = tmpl_key_compare(&pair->key, key);

        if (order == 0)
            return &pair->value;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

const struct tmpl_value *tmpl_dict_get_str(const struct tmpl_value *dict, const char *key,
                                           size_t len)
{
    struct tmpl_value value = tmpl_str(key, (uint32_t)len);

    return tmpl_dict_get(dict, &value);
}
