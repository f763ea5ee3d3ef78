/* Tests: what stands after `is`. */
#include "model/tmpl_eval.h"

#include <string.h>

#include "model/tmpl_text.h"

#define TEST(name)                                                                                 \
    static bool name(struct tmpl_ctx *ctx, struct tmpl_value subject, const struct tmpl_value *args)

/* For tests that look at nothing but the kind. */
static bool is_kind(const struct tmpl_value *value, uint32_t kinds)
{
    return kinds >> value->kind & 1;
}

#define KIND(kind) (1u << (kind))
#define KIND_TEST(name, kinds)                                                                     \
    TEST(name)                                                                                     \
    {                                                                                              \
        (void)ctx;                                                                                 \
        (void)args;                                                                                \
        return is_kind(&subject, kinds);                                                           \
    }

KIND_TEST(test_undefined, KIND(TMPL_UNDEFINED))
KIND_TEST(test_defined, ~KIND(TMPL_UNDEFINED))
KIND_TEST(test_none, KIND(TMPL_NONE))
KIND_TEST(test_boolean, KIND(TMPL_BOOL))
KIND_TEST(test_integer, KIND(TMPL_INT) | KIND(TMPL_BIG))
KIND_TEST(test_float, KIND(TMPL_FLOAT))
KIND_TEST(test_string, KIND(TMPL_STRING))
KIND_TEST(test_mapping, KIND(TMPL_DICT))
KIND_TEST(test_number, KIND(TMPL_BOOL) | KIND(TMPL_INT) | KIND(TMPL_BIG) | KIND(TMPL_FLOAT))
KIND_TEST(test_sequence, KIND(TMPL_UNDEFINED) | KIND(TMPL_STRING) | KIND(TMPL_LIST) |
                             KIND(TMPL_TUPLE) | KIND(TMPL_DICT) | KIND(TMPL_RANGE))
KIND_TEST(test_callable, KIND(TMPL_UNDEFINED) | KIND(TMPL_MACRO) | KIND(TMPL_METHOD) |
                             KIND(TMPL_FUNCTION) | KIND(TMPL_LOOP) | KIND(TMPL_JOINER))

TEST(test_iterable)
{
    (void)ctx;
    (void)args;
    return tmpl_is_iterable(&subject);
}

TEST(test_true)
{
    (void)ctx;
    (void)args;
    return subject.kind == TMPL_BOOL && subject.boolean;
}

TEST(test_false)
{
    (void)ctx;
    (void)args;
    return subject.kind == TMPL_BOOL && !subject.boolean;
}

/* subject % number == remainder, by Python's rules for %. */
static bool has_remainder(struct tmpl_ctx *ctx, struct tmpl_value subject, struct tmpl_value number,
                          int64_t remainder)
{
    struct tmpl_value rest = tmpl_binary(ctx, OP_MOD, subject, number),
                      wanted = tmpl_int(remainder);

    return !tmpl_failed(ctx) && tmpl_equal(ctx, &rest, &wanted);
}

TEST(test_odd)
{
    (void)args;
    return has_remainder(ctx, subject, tmpl_int(2), 1);
}

TEST(test_even)
{
    (void)args;
    return has_remainder(ctx, subject, tmpl_int(2), 0);
}

TEST(test_divisibleby)
{
    return has_remainder(ctx, subject, args[0], 0);
}

/* All cased characters are of this case, and there is one. */
static bool has_case(struct tmpl_ctx *ctx, struct tmpl_value subject, bool upper)
{
    struct tmpl_value text = tmpl_to_str(ctx, subject);
    bool found = false;
    size_t bytes;

    tmpl_charge_bytes(ctx, text.len);
    for (size_t i = 0; i < text.len; i += bytes) {
        uint32_t code = tmpl_utf8_decode(text.text + i, &bytes);

        if (upper ? tmpl_is_lower(code) : tmpl_is_upper(code))
            return false;
        if (tmpl_is_title(code))
            return false;
        found = found || (upper ? tmpl_is_upper(code) : tmpl_is_lower(code));
    }
    return found;
}

TEST(test_upper)
{
    (void)args;
    return has_case(ctx, subject, true);
}

TEST(test_lower)
{
    (void)args;
    return has_case(ctx, subject, false);
}

TEST(test_in)
{
    return tmpl_contains(ctx, args[0], subject);
}

TEST(test_eq)
{
    return tmpl_equal(ctx, &subject, &args[0]);
}

TEST(test_ne)
{
    return !tmpl_equal(ctx, &subject, &args[0]);
}

TEST(test_lt)
{
    return tmpl_order(ctx, &subject, &args[0]) == -1;
}

TEST(test_le)
{
    int order = tmpl_order(ctx, &subject, &args[0]);

    return order == -1 || order == 0;
}

TEST(test_gt)
{
    return tmpl_order(ctx, &subject, &args[0]) == 1;
}

TEST(test_ge)
{
    int order = tmpl_order(ctx, &subject, &args[0]);

    return order == 1 || order == 0;
}

/* Identity, as far as templates can rely on it: singletons, scalars of one kind, the same object.
 */
TEST(test_sameas)
{
    if (subject.kind != args[0].kind)
        return false;
    if (subject.kind <= TMPL_STRING)
        return tmpl_equal(ctx, &subject, &args[0]);
    return subject.object == args[0].object && subject.len == args[0].len;
}

TEST(test_escaped)
{
    (void)ctx;
    (void)args;
    return subject.kind == TMPL_STRING && subject.flags & TMPL_MARKUP;
}

TEST(test_filter)
{
    (void)ctx;
    (void)args;
    return subject.kind == TMPL_STRING && tmpl_filter_find(subject.text, subject.len);
}

TEST(test_test)
{
    (void)ctx;
    (void)args;
    return subject.kind == TMPL_STRING && tmpl_test_find(subject.text, subject.len);
}

static const struct tmpl_test tests[] = {
    {"defined", test_defined, {"", 0, false}},
    {"undefined", test_undefined, {"", 0, false}},
    {"none", test_none, {"", 0, false}},
    {"string", test_string, {"", 0, false}},
    {"mapping", test_mapping, {"", 0, false}},
    {"iterable", test_iterable, {"", 0, false}},
    {"sequence", test_sequence, {"", 0, false}},
    {"number", test_number, {"", 0, false}},
    {"integer", test_integer, {"", 0, false}},
    {"float", test_float, {"", 0, false}},
    {"boolean", test_boolean, {"", 0, false}},
    {"true", test_true, {"", 0, false}},
    {"false", test_false, {"", 0, false}},
    {"callable", test_callable, {"", 0, false}},
    {"odd", test_odd, {"", 0, false}},
    {"even", test_even, {"", 0, false}},
    {"divisibleby", test_divisibleby, {"num", 1, true}},
    {"upper", test_upper, {"", 0, false}},
    {"lower", test_lower, {"", 0, false}},
    {"in", test_in, {"seq", 1, true}},
    {"sameas", test_sameas, {"other", 1, true}},
    {"escaped", test_escaped, {"", 0, false}},
    {"filter", test_filter, {"", 0, false}},
    {"test", test_test, {"", 0, false}},
    {"eq", test_eq, {"b", 1, false}},
    {"equalto", test_eq, {"b", 1, false}},
    {"==", test_eq, {"b", 1, false}},
    {"ne", test_ne, {"b", 1, false}},
    {"!=", test_ne, {"b", 1, false}},
    {"lt", test_lt, {"b", 1, false}},
    {"lessthan", test_lt, {"b", 1, false}},
    {"<", test_lt, {"b", 1, false}},
    {"le", test_le, {"b", 1, false}},
    {"<=", test_le, {"b", 1, false}},
    {"gt", test_gt, {"b", 1, false}},
    {"greaterthan", test_gt, {"b", 1, false}},
    {">", test_gt, {"b", 1, false}},
    {"ge", test_ge, {"b", 1, false}},
    {">=", test_ge, {"b", 1, false}},
};

const struct tmpl_test *tmpl_test_find(const char *name, size_t len)
{
    for (size_t i = 0; i < sizeof(tests) / sizeof(*tests); i++) {
        if (strlen(tests[i].name) == len && memcmp(tests[i].name, name, len) == 0)
            return &tests[i];
    }
    return NULL;
}
