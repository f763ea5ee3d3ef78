/* Python's operators on template values. Integers have 64 bits; what does not fit is an error. */
#include "model/tmpl_eval.h"

#include <math.h>
#include <string.h>

#include "model/tmpl_text.h"

const char *tmpl_type_name(const struct tmpl_value *value)
{
    static const char *const names[] = {
        [TMPL_UNDEFINED] = "Undefined",
        [TMPL_NONE] = "NoneType",
        [TMPL_BOOL] = "bool",
        [TMPL_INT] = "int",
        [TMPL_BIG] = "int",
        [TMPL_FLOAT] = "float",
        [TMPL_STRING] = "str",
        [TMPL_LIST] = "list",
        [TMPL_TUPLE] = "tuple",
        [TMPL_DICT] = "dict",
        [TMPL_NAMESPACE] = "Namespace",
        [TMPL_RANGE] = "range",
        [TMPL_VIEW] = "dict view",
        [TMPL_ITER] = "generator",
        [TMPL_MACRO] = "Macro",
        [TMPL_METHOD] = "method",
        [TMPL_FUNCTION] = "function",
        [TMPL_LOOP] = "LoopContext",
        [TMPL_CYCLER] = "Cycler",
        [TMPL_JOINER] = "Joiner",
        [TMPL_MISSING] = "Undefined",
    };

    return names[value->kind];
}

bool tmpl_truth(struct tmpl_ctx *ctx, const struct tmpl_value *value)
{
    int64_t len;

    switch (value->kind) {
    case TMPL_UNDEFINED:
    case TMPL_MISSING:
    case TMPL_NONE:
        return false;
    case TMPL_BOOL:
        return value->boolean;
    case TMPL_INT:
        return value->integer != 0;
    case TMPL_FLOAT:
        return value->real != 0;
    case TMPL_STRING:
        return value->len != 0;
    default:
        return !tmpl_length(ctx, value, &len) || len > 0;
    }
}

/* --- comparison --- */

static bool equal_dicts(struct tmpl_ctx *ctx, const struct tmpl_value *a,
                        const struct tmpl_value *b)
{
    if (a->dict->n != b->dict->n)
        return false;
    for (uint32_t i = 0; i < a->dict->n; i++) {
        const struct tmpl_value *other = tmpl_dict_get(b, &a->dict->pairs[i].key);

        if (!other || !tmpl_equal(ctx, &a->dict->pairs[i].value, other))
            return false;
    }
    return true;
}

static bool equal_items(struct tmpl_ctx *ctx, const struct tmpl_value *a,
                        const struct tmpl_value *b)
{
    if (a->len != b->len)
        return false;
    for (uint32_t i = 0; i < a->len; i++) {
        if (!tmpl_equal(ctx, &a->items[i], &b->items[i]))
            return false;
    }
    return true;
}

static bool equal_same_kind(struct tmpl_ctx *ctx, const struct tmpl_value *a,
                            const struct tmpl_value *b)
{
    switch (a->kind) {
    case TMPL_UNDEFINED:
    case TMPL_NONE:
        return true;
    case TMPL_STRING:
        tmpl_charge_bytes(ctx, a->len);
        return a->len == b->len && memcmp(a->text, b->text, a->len) == 0;
    case TMPL_LIST:
    case TMPL_TUPLE:
        return equal_items(ctx, a, b);
    case TMPL_DICT:
        return equal_dicts(ctx, a, b);
    case TMPL_RANGE: {
        const struct tmpl_range *x = a->object, *y = b->object;

        return x->len == y->len && (x->len == 0 || x->start == y->start) &&
               (x->len < 2 || x->step == y->step);
    }
    case TMPL_VIEW:
        tmpl_fail(ctx, STATUS_UNSUPPORTED, "Views of dicts cannot be compared; use '|list'.");
        return false;
    default:
        return a->object == b->object;
    }
}

bool tmpl_equal(struct tmpl_ctx *ctx, const struct tmpl_value *a, const struct tmpl_value *b)
{
    bool equal;

    if (tmpl_is_number(a) && tmpl_is_number(b))
        return tmpl_number_compare(a, b) == 0;
    if (a->kind != b->kind)
        return false;
    if (!tmpl_charge(ctx, 1) || !tmpl_enter(ctx))
        return false;
    equal = equal_same_kind(ctx, a, b);
    tmpl_leave(ctx);
    return equal;
}

static int order_items(struct tmpl_ctx *ctx, const struct tmpl_value *a, const struct tmpl_value *b)
{
    for (uint32_t i = 0; i < a->len && i < b->len; i++) {
        if (!tmpl_equal(ctx, &a->items[i], &b->items[i]))
            return tmpl_order(ctx, &a->items[i], &b->items[i]);
    }
    return a->len < b->len ? -1 : a->len > b->len;
}

int tmpl_order(struct tmpl_ctx *ctx, const struct tmpl_value *a, const struct tmpl_value *b)
{
    int order = 0;

    if (!tmpl_charge(ctx, 1))
        return 0;
    if (tmpl_is_number(a) && tmpl_is_number(b))
        return tmpl_number_compare(a, b);
    if (a->kind == TMPL_STRING && b->kind == TMPL_STRING)
        return tmpl_key_compare(a, b);
    if (a->kind == b->kind && (a->kind == TMPL_LIST || a->kind == TMPL_TUPLE)) {
        if (!tmpl_enter(ctx))
            return 0;
        order = order_items(ctx, a, b);
        tmpl_leave(ctx);
        return order;
    }
    if (a->kind == TMPL_UNDEFINED || b->kind == TMPL_UNDEFINED)
        tmpl_fail_undefined(ctx, a->kind == TMPL_UNDEFINED ? a : b);
    else
        tmpl_fail(ctx, STATUS_INVALID, "Values of type '%s' and '%s' have no order.",
                  tmpl_type_name(a), tmpl_type_name(b));
    return 0;
}

static bool contains_any(struct tmpl_ctx *ctx, struct tmpl_value container, struct tmpl_value item)
{
    struct tmpl_iter *iter = tmpl_iterate(ctx, container);
    struct tmpl_value next;

    while (iter && tmpl_iter_next(ctx, iter, &next)) {
        if (tmpl_equal(ctx, &item, &next))
            return true;
    }
    return false;
}

bool tmpl_contains(struct tmpl_ctx *ctx, struct tmpl_value container, struct tmpl_value item)
{
    const struct tmpl_view *view = container.object;

    switch (container.kind) {
    case TMPL_STRING:
        if (item.kind != TMPL_STRING) {
            tmpl_fail(ctx, STATUS_INVALID, "'in' a string needs a string on its left, not '%s'.",
                      tmpl_type_name(&item));
            return false;
        }
        tmpl_charge_bytes(ctx, container.len);
        return memmem(container.text, container.len, item.text, item.len) != NULL;
    case TMPL_VIEW:
        if (view->kind != VIEW_KEYS)
            return contains_any(ctx, container, item);
        container = view->dict;
        /* fall through */
    case TMPL_DICT:
        if (!tmpl_is_hashable(&item)) {
            if (item.kind == TMPL_UNDEFINED)
                return false;
            tmpl_fail(ctx, STATUS_INVALID, "A '%s' cannot be a key.", tmpl_type_name(&item));
            return false;
        }
        tmpl_charge(ctx, 1);
        return tmpl_dict_get(&container, &item) != NULL;
    case TMPL_NONE:
    case TMPL_BOOL:
    case TMPL_INT:
    case TMPL_BIG:
    case TMPL_FLOAT:
        tmpl_fail(ctx, STATUS_INVALID, "argument of type '%s' is not iterable",
                  tmpl_type_name(&container));
        return false;
    default:
        return contains_any(ctx, container, item);
    }
}

/* --- arithmetic --- */

bool tmpl_get_int(struct tmpl_ctx *ctx, const struct tmpl_value *value, const char *what,
                  int64_t *out)
{
    if (value->kind == TMPL_INT) {
        *out = value->integer;
        return true;
    }
    if (value->kind == TMPL_BOOL) {
        *out = value->boolean;
        return true;
    }
    if (value->kind == TMPL_UNDEFINED)
        tmpl_fail_undefined(ctx, value);
    else
        tmpl_fail(ctx, STATUS_INVALID, "%s must be an integer of 64 bits, not '%s'.", what,
                  tmpl_type_name(value));
    return false;
}

double tmpl_get_double(const struct tmpl_value *value)
{
    switch (value->kind) {
    case TMPL_BOOL:
        return value->boolean;
    case TMPL_INT:
        return (double)value->integer;
    case TMPL_BIG:
        return tmpl_big_to_double(value->text, value->len);
    default:
        return value->real;
    }
}

static const char *const operator_texts[] = {"+", "-", "*", "/", "//", "%", "**"};

static struct tmpl_value fail_types(struct tmpl_ctx *ctx, enum tmpl_operator op,
                                    const struct tmpl_value *a, const struct tmpl_value *b)
{
    if (a->kind == TMPL_UNDEFINED)
        return tmpl_fail_undefined(ctx, a);
    if (b->kind == TMPL_UNDEFINED)
        return tmpl_fail_undefined(ctx, b);
    return tmpl_fail(ctx, STATUS_INVALID, "unsupported operand types for %s: '%s' and '%s'",
                     operator_texts[op], tmpl_type_name(a), tmpl_type_name(b));
}

static struct tmpl_value fail_overflow(struct tmpl_ctx *ctx)
{
    return tmpl_fail(ctx, STATUS_INVALID, "An integer has more than 64 bits.");
}

static struct tmpl_value int_power(struct tmpl_ctx *ctx, int64_t base, int64_t exponent)
{
    int64_t result = 1;

    if (exponent < 0) {
        if (base == 0)
            return tmpl_fail(ctx, STATUS_INVALID, "0 cannot be raised to a negative power.");
        return tmpl_float(pow((double)base, (double)exponent));
    }
    if (base == 0 || base == 1)
        return tmpl_int(exponent == 0 ? 1 : base);
    if (base == -1)
        return tmpl_int(exponent % 2 ? -1 : 1);
    for (; exponent > 0; exponent--) {
        if (__builtin_mul_overflow(result, base, &result))
            return fail_overflow(ctx);
    }
    return tmpl_int(result);
}

static struct tmpl_value int_binary(struct tmpl_ctx *ctx, enum tmpl_operator op, int64_t a,
                                    int64_t b)
{
    int64_t result = 0;
    bool overflow = false;

    if (b == 0 && (op == OP_DIV || op == OP_FLOORDIV || op == OP_MOD))
        return tmpl_fail(ctx, STATUS_INVALID, "division by zero");
    switch (op) {
    case OP_ADD:
        overflow = __builtin_add_overflow(a, b, &result);
        break;
    case OP_SUB:
        overflow = __builtin_sub_overflow(a, b, &result);
        break;
    case OP_MUL:
        overflow = __builtin_mul_overflow(a, b, &result);
        break;
    case OP_DIV:
        return tmpl_float((double)((long double)a / (long double)b));
    case OP_FLOORDIV:
        overflow = a == INT64_MIN && b == -1;
        if (!overflow)
            result = a / b - (a % b != 0 && (a < 0) != (b < 0));
        break;
    case OP_MOD:
        result = b == -1 ? 0 : a % b;
        if (result && (result < 0) != (b < 0))
            result += b;
        break;
    case OP_POW:
        return int_power(ctx, a, b);
    }
    return overflow ? fail_overflow(ctx) : tmpl_int(result);
}

static struct tmpl_value float_divide(struct tmpl_ctx *ctx, enum tmpl_operator op, double a,
                                      double b)
{
    double mod, div, floored;

    if (b == 0)
        return tmpl_fail(ctx, STATUS_INVALID, "division by zero");
    if (op == OP_DIV)
        return tmpl_float(a / b);
    mod = fmod(a, b);
    div = (a - mod) / b;
    if (mod != 0) {
        if ((b < 0) != (mod < 0)) {
            mod += b;
            div -= 1.0;
        }
    } else {
        mod = copysign(0.0, b);
    }
    if (op == OP_MOD)
        return tmpl_float(mod);
    if (div == 0)
        return tmpl_float(copysign(0.0, a / b));
    floored = floor(div);
    return tmpl_float(div - floored > 0.5 ? floored + 1.0 : floored);
}

static struct tmpl_value float_binary(struct tmpl_ctx *ctx, enum tmpl_operator op, double a,
                                      double b)
{
    double result;

    switch (op) {
    case OP_ADD:
        return tmpl_float(a + b);
    case OP_SUB:
        return tmpl_float(a - b);
    case OP_MUL:
        return tmpl_float(a * b);
    case OP_POW:
        if (a == 0 && b < 0)
            return tmpl_fail(ctx, STATUS_INVALID, "0 cannot be raised to a negative power.");
        if (a < 0 && isfinite(a) && isfinite(b) && floor(b) != b)
            return tmpl_fail(ctx, STATUS_UNSUPPORTED, "Complex numbers are not supported.");
        result = pow(a, b);
        if (isinf(result) && isfinite(a) && isfinite(b))
            return tmpl_fail(ctx, STATUS_INVALID, "The result of ** is too large.");
        return tmpl_float(result);
    default:
        return float_divide(ctx, op, a, b);
    }
}

struct tmpl_value tmpl_escape(struct tmpl_ctx *ctx, struct tmpl_value value)
{
    size_t mark = tmpl_mark(ctx);
    struct tmpl_value text;

    if (value.kind == TMPL_STRING && value.flags & TMPL_MARKUP)
        return value;
    text = tmpl_to_str(ctx, value);
    tmpl_put_escaped(ctx, text.text, text.len);
    text = tmpl_take(ctx, mark);
    text.flags = TMPL_MARKUP;
    return text;
}

static struct tmpl_value add_strings(struct tmpl_ctx *ctx, struct tmpl_value a, struct tmpl_value b)
{
    uint8_t markup = (a.flags | b.flags) & TMPL_MARKUP;
    size_t len;
    char *text;

    if (markup) {
        a = tmpl_escape(ctx, a);
        b = tmpl_escape(ctx, b);
    }
    len = (size_t)a.len + b.len;
    text = len > UINT32_MAX ? NULL : tmpl_alloc(ctx, len, 1);
    if (!text)
        return tmpl_fail(ctx, STATUS_TOO_BIG, "A string is too long.");
    memcpy(text, a.text, a.len);
    memcpy(text + a.len, b.text, b.len);
    a = tmpl_str(text, (uint32_t)len);
    a.flags = markup;
    return a;
}

static struct tmpl_value add_items(struct tmpl_ctx *ctx, struct tmpl_value a, struct tmpl_value b)
{
    struct tmpl_items items = {0};

    for (uint32_t i = 0; i < a.len; i++)
        tmpl_items_add(ctx, &items, a.items[i]);
    for (uint32_t i = 0; i < b.len; i++)
        tmpl_items_add(ctx, &items, b.items[i]);
    return tmpl_make_list(ctx, items.items, items.n, a.kind);
}

/* A string, list or tuple `times` times. */
static struct tmpl_value repeat(struct tmpl_ctx *ctx, struct tmpl_value value, int64_t times)
{
    size_t unit = value.kind == TMPL_STRING ? 1 : sizeof(*value.items), total;
    char *copy;

    if (times <= 0 || value.len == 0) {
        value.len = 0;
        return value;
    }
    if (__builtin_mul_overflow((size_t)value.len, (size_t)times, &total) || total > UINT32_MAX)
        return tmpl_fail(ctx, STATUS_TOO_BIG, "A repeated value is too long.");
    copy = tmpl_alloc(ctx, total, unit);
    if (!copy)
        return value;
    for (size_t i = 0; i < (size_t)times; i++)
        memcpy(copy + i * value.len * unit, value.text, value.len * unit);
    value.text = copy;
    value.len = (uint32_t)total;
    value.flags &= TMPL_MARKUP;
    return value;
}

static bool is_sequence(const struct tmpl_value *value)
{
    return value->kind == TMPL_STRING || value->kind == TMPL_LIST || value->kind == TMPL_TUPLE;
}

static struct tmpl_value binary_sequence(struct tmpl_ctx *ctx, enum tmpl_operator op,
                                         struct tmpl_value a, struct tmpl_value b)
{
    int64_t times;

    if (op == OP_MOD && a.kind == TMPL_STRING)
        return tmpl_format_percent(ctx, a, b);
    if (op == OP_ADD && a.kind == TMPL_STRING && b.kind == TMPL_STRING)
        return add_strings(ctx, a, b);
    if (op == OP_ADD && a.kind == b.kind && is_sequence(&a))
        return add_items(ctx, a, b);
    if (op == OP_MUL && is_sequence(&a) && (b.kind == TMPL_INT || b.kind == TMPL_BOOL)) {
        tmpl_get_int(ctx, &b, "", &times);
        return repeat(ctx, a, times);
    }
    if (op == OP_MUL && is_sequence(&b) && (a.kind == TMPL_INT || a.kind == TMPL_BOOL)) {
        tmpl_get_int(ctx, &a, "", &times);
        return repeat(ctx, b, times);
    }
    return fail_types(ctx, op, &a, &b);
}

struct tmpl_value tmpl_binary(struct tmpl_ctx *ctx, enum tmpl_operator op, struct tmpl_value a,
                              struct tmpl_value b)
{
    int64_t x, y;

    if (!tmpl_is_number(&a) || !tmpl_is_number(&b))
        return binary_sequence(ctx, op, a, b);
    if (a.kind == TMPL_FLOAT || b.kind == TMPL_FLOAT)
        return float_binary(ctx, op, tmpl_get_double(&a), tmpl_get_double(&b));
    if (a.kind == TMPL_BIG || b.kind == TMPL_BIG)
        return fail_overflow(ctx);
    x = a.kind == TMPL_BOOL ? a.boolean : a.integer;
    y = b.kind == TMPL_BOOL ? b.boolean : b.integer;
    return int_binary(ctx, op, x, y);
}

struct tmpl_value tmpl_negate(struct tmpl_ctx *ctx, struct tmpl_value value, bool minus)
{
    switch (value.kind) {
    case TMPL_BOOL:
        return tmpl_int(minus ? -(int64_t)value.boolean : value.boolean);
    case TMPL_INT:
        if (!minus)
            return value;
        return value.integer == INT64_MIN ? fail_overflow(ctx) : tmpl_int(-value.integer);
    case TMPL_BIG:
        return minus ? fail_overflow(ctx) : value;
    case TMPL_FLOAT:
        return tmpl_float(minus ? -value.real : value.real);
    case TMPL_UNDEFINED:
        return tmpl_fail_undefined(ctx, &value);
    default:
        return tmpl_fail(ctx, STATUS_INVALID, "bad operand type for unary %s: '%s'",
                         minus ? "-" : "+", tmpl_type_name(&value));
    }
}
