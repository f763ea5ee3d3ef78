/* Which attributes the types have: the methods of dict, list, tuple and cycler, the predicates of
 * str, and what is known but refused. */
#include "model/tmpl_filters.h"

#include <string.h>

#include "model/tmpl_text.h"

/* --- str.isdigit and its kind --- */

/* All characters pass, and there is one. */
static struct tmpl_value all_are(struct tmpl_ctx *ctx, struct tmpl_value text, bool (*is)(uint32_t))
{
    size_t bytes;

    tmpl_charge_bytes(ctx, text.len);
    for (size_t i = 0; i < text.len; i += bytes) {
        if (!is(tmpl_utf8_decode(text.text + i, &bytes)))
            return tmpl_bool(false);
    }
    return tmpl_bool(text.len != 0);
}

static bool is_alnum(uint32_t code)
{
    return tmpl_is_alpha(code) || tmpl_is_numeric(code);
}

static bool is_ascii(uint32_t code)
{
    return code < 0x80;
}

/* Decimals, superscripts and the like; the table of Unicode's digits that are no decimals. */
static bool is_digit(uint32_t code)
{
    static const uint32_t ranges[][2] = {
        {0xb2, 0xb3},       {0xb9, 0xb9},       {0x1369, 0x1371},   {0x19da, 0x19da},
        {0x2070, 0x2070},   {0x2074, 0x2079},   {0x2080, 0x2089},   {0x2460, 0x2468},
        {0x2474, 0x247c},   {0x2488, 0x2490},   {0x24ea, 0x24ea},   {0x24f5, 0x24fd},
        {0x24ff, 0x24ff},   {0x2776, 0x277e},   {0x2780, 0x2788},   {0x278a, 0x2792},
        {0x10a40, 0x10a43}, {0x10e60, 0x10e68}, {0x11052, 0x1105a}, {0x1f100, 0x1f10a},
    };

    if (tmpl_is_decimal(code))
        return true;
    for (size_t i = 0; i < sizeof(ranges) / sizeof(*ranges); i++) {
        if (code >= ranges[i][0] && code <= ranges[i][1])
            return true;
    }
    return false;
}

TMPL_FILTER(str_isalpha)
{
    (void)args;
    (void)raw;
    return all_are(ctx, subject, tmpl_is_alpha);
}

TMPL_FILTER(str_isdigit)
{
    (void)args;
    (void)raw;
    return all_are(ctx, subject, is_digit);
}

TMPL_FILTER(str_isdecimal)
{
    (void)args;
    (void)raw;
    return all_are(ctx, subject, tmpl_is_decimal);
}

TMPL_FILTER(str_isnumeric)
{
    (void)args;
    (void)raw;
    return all_are(ctx, subject, tmpl_is_numeric);
}

TMPL_FILTER(str_isalnum)
{
    (void)args;
    (void)raw;
    return all_are(ctx, subject, is_alnum);
}

TMPL_FILTER(str_isspace)
{
    (void)args;
    (void)raw;
    return all_are(ctx, subject, tmpl_is_space);
}

TMPL_FILTER(str_isascii)
{
    (void)args;
    (void)raw;
    return subject.len ? all_are(ctx, subject, is_ascii) : tmpl_bool(true);
}

static struct tmpl_value run_test(struct tmpl_ctx *ctx, const char *name, struct tmpl_value subject,
                                  const struct tmpl_arguments *raw)
{
    return tmpl_bool(tmpl_test_call(ctx, tmpl_test_find(name, strlen(name)), subject, raw));
}

TMPL_FILTER(str_isupper)
{
    (void)args;
    return run_test(ctx, "upper", subject, raw);
}

TMPL_FILTER(str_islower)
{
    (void)args;
    return run_test(ctx, "lower", subject, raw);
}

static const struct tmpl_filter str_predicates[] = {
    {"isalnum", str_isalnum, {"", 0, false}},     {"isalpha", str_isalpha, {"", 0, false}},
    {"isascii", str_isascii, {"", 0, false}},     {"isdecimal", str_isdecimal, {"", 0, false}},
    {"isdigit", str_isdigit, {"", 0, false}},     {"islower", str_islower, {"", 0, false}},
    {"isnumeric", str_isnumeric, {"", 0, false}}, {"isspace", str_isspace, {"", 0, false}},
    {"isupper", str_isupper, {"", 0, false}},     {NULL, NULL, {NULL, 0, false}},
};

/* --- dict --- */

static struct tmpl_value make_view(struct tmpl_ctx *ctx, struct tmpl_value dict,
                                   enum tmpl_view_kind kind)
{
    struct tmpl_view *view = tmpl_alloc(ctx, 1, sizeof(*view));

    if (view)
        *view = (struct tmpl_view){.kind = (uint8_t)kind, .dict = dict};
    return (struct tmpl_value){.kind = TMPL_VIEW, .object = view};
}

TMPL_FILTER(dict_keys)
{
    (void)args;
    (void)raw;
    return make_view(ctx, subject, VIEW_KEYS);
}

TMPL_FILTER(dict_values)
{
    (void)args;
    (void)raw;
    return make_view(ctx, subject, VIEW_VALUES);
}

TMPL_FILTER(dict_items)
{
    (void)args;
    (void)raw;
    return make_view(ctx, subject, VIEW_ITEMS);
}

TMPL_FILTER(dict_copy)
{
    (void)ctx;
    (void)args;
    (void)raw;
    return subject;
}

TMPL_FILTER(dict_get)
{
    const struct tmpl_value *found = NULL;

    (void)raw;
    if (tmpl_is_hashable(&args[0]))
        found = tmpl_dict_get(&subject, &args[0]);
    else if (args[0].kind != TMPL_UNDEFINED)
        return tmpl_fail(ctx, STATUS_INVALID, "A '%s' cannot be a key.", tmpl_type_name(&args[0]));
    if (found)
        return *found;
    return args[1].kind == TMPL_MISSING ? tmpl_none() : args[1];
}

static const struct tmpl_filter dict_methods[] = {
    {"get", dict_get, {"key,default", 1, false}}, {"items", dict_items, {"", 0, false}},
    {"keys", dict_keys, {"", 0, false}},          {"values", dict_values, {"", 0, false}},
    {"copy", dict_copy, {"", 0, false}},          {NULL, NULL, {NULL, 0, false}},
};

/* --- list and tuple --- */

TMPL_FILTER(list_count)
{
    int64_t n = 0;

    (void)raw;
    for (uint32_t i = 0; i < subject.len && !tmpl_failed(ctx); i++)
        n += tmpl_equal(ctx, &subject.items[i], &args[0]);
    return tmpl_int(n);
}

TMPL_FILTER(list_index)
{
    int64_t bounds[2] = {0, subject.len};

    (void)raw;
    for (int i = 0; i < 2; i++) {
        if (args[1 + i].kind == TMPL_MISSING)
            continue;
        if (!tmpl_get_int(ctx, &args[1 + i], "A bound of index", &bounds[i]))
            return subject;
        if (bounds[i] < 0)
            bounds[i] = bounds[i] + subject.len < 0 ? 0 : bounds[i] + subject.len;
    }
    for (int64_t i = bounds[0]; i < bounds[1] && i < subject.len && !tmpl_failed(ctx); i++) {
        if (tmpl_equal(ctx, &subject.items[i], &args[0]))
            return tmpl_int(i);
    }
    return tmpl_fail(ctx, STATUS_INVALID, "The value is not in the list.");
}

static const struct tmpl_filter list_methods[] = {
    {"count", list_count, {"value", 1, false}},
    {"index", list_index, {"value,start,stop", 1, false}},
    {"copy", dict_copy, {"", 0, false}},
    {NULL, NULL, {NULL, 0, false}},
};

static const struct tmpl_filter tuple_methods[] = {
    {"count", list_count, {"value", 1, false}},
    {"index", list_index, {"value,start,stop", 1, false}},
    {NULL, NULL, {NULL, 0, false}},
};

/* --- cycler --- */

TMPL_FILTER(cycler_next)
{
    struct tmpl_cycler *cycler = subject.object;
    struct tmpl_value item = cycler->items[cycler->at];

    (void)ctx;
    (void)args;
    (void)raw;
    cycler->at = (cycler->at + 1) % cycler->n;
    return item;
}

TMPL_FILTER(cycler_reset)
{
    (void)ctx;
    (void)args;
    (void)raw;
    ((struct tmpl_cycler *)subject.object)->at = 0;
    return tmpl_none();
}

static const struct tmpl_filter cycler_methods[] = {
    {"next", cycler_next, {"", 0, false}},
    {"reset", cycler_reset, {"", 0, false}},
    {NULL, NULL, {NULL, 0, false}},
};

/* --- lookup --- */

/* Names separated by blanks. `unsafe` changes its object, which the sandbox forbids; `refused` is
 * Python's, but not ours. */
static const struct type_names {
    uint8_t kind;
    const char *unsafe, *refused;
} type_names[] = {
    {TMPL_STRING, "",
     "casefold encode expandtabs format_map isidentifier isprintable istitle maketrans translate "},
    {TMPL_LIST, "append clear pop reverse insert sort extend remove ", ""},
    {TMPL_DICT, "clear pop popitem setdefault update ", "fromkeys "},
    {TMPL_BOOL, "",
     "as_integer_ratio bit_count bit_length conjugate denominator from_bytes imag "
     "numerator real to_bytes "},
    {TMPL_INT, "",
     "as_integer_ratio bit_count bit_length conjugate denominator from_bytes imag "
     "numerator real to_bytes "},
    {TMPL_BIG, "",
     "as_integer_ratio bit_count bit_length conjugate denominator from_bytes imag "
     "numerator real to_bytes "},
    {TMPL_FLOAT, "", "as_integer_ratio conjugate fromhex hex imag is_integer real "},
    {TMPL_RANGE, "", "count index start step stop "},
    {TMPL_VIEW, "", "isdisjoint mapping "},
    {TMPL_ITER, "", "close send throw gi_frame gi_code gi_running gi_yieldfrom "},
    {TMPL_CYCLER, "", "current items pos "},
    {TMPL_JOINER, "", "sep used "},
    {TMPL_MACRO, "", "arguments caller catch_kwargs catch_varargs explicit_caller "},
    {TMPL_FUNCTION, "", "fromkeys "},
};

static bool is_listed(const char *names, const char *name, size_t len)
{
    while (*names) {
        size_t n = strcspn(names, " ");

        if (n == len && memcmp(names, name, len) == 0)
            return true;
        names += n + 1;
    }
    return false;
}

static const struct tmpl_filter *find_in(const struct tmpl_filter *table, const char *name,
                                         size_t len)
{
    for (; table->name; table++) {
        if (strlen(table->name) == len && memcmp(table->name, name, len) == 0)
            return table;
    }
    return NULL;
}

static const struct tmpl_filter *find_method(uint8_t kind, const char *name, size_t len)
{
    const struct tmpl_filter *found = NULL;

    switch (kind) {
    case TMPL_STRING:
        found = find_in(tmpl_str_methods, name, len);
        return found ? found : find_in(str_predicates, name, len);
    case TMPL_DICT:
        return find_in(dict_methods, name, len);
    case TMPL_LIST:
        return find_in(list_methods, name, len);
    case TMPL_TUPLE:
        return find_in(tuple_methods, name, len);
    case TMPL_CYCLER:
        return find_in(cycler_methods, name, len);
    default:
        return NULL;
    }
}

/* The undefined value that stands for what the sandbox forbids. */
static struct tmpl_value make_unsafe(struct tmpl_ctx *ctx, struct tmpl_value object,
                                     const char *name, size_t len)
{
    size_t mark = tmpl_mark(ctx);
    struct tmpl_value hint;

    tmpl_put_text(ctx, "access to attribute '");
    tmpl_put(ctx, name, len);
    tmpl_put_text(ctx, "' of '");
    tmpl_put_text(ctx, tmpl_type_name(&object));
    tmpl_put(ctx, "' object is unsafe.", 20); /* with its end mark */
    hint = tmpl_take(ctx, mark);
    return tmpl_undefined_hint(ctx, hint.text);
}

struct tmpl_value tmpl_method_find(struct tmpl_ctx *ctx, struct tmpl_value object, const char *name,
                                   size_t len)
{
    const struct tmpl_filter *run = find_method(object.kind, name, len);
    struct tmpl_method *method;

    if (len > 4 && !memcmp(name, "__", 2) && !memcmp(name + len - 2, "__", 2))
        return make_unsafe(ctx, object, name, len);
    if (run) {
        method = tmpl_alloc(ctx, 1, sizeof(*method));
        if (method)
            *method = (struct tmpl_method){.object = object, .run = run};
        return (struct tmpl_value){.kind = TMPL_METHOD, .object = method};
    }
    for (size_t i = 0; i < sizeof(type_names) / sizeof(*type_names); i++) {
        if (type_names[i].kind != object.kind)
            continue;
        if (is_listed(type_names[i].unsafe, name, len))
            return make_unsafe(ctx, object, name, len);
        if (is_listed(type_names[i].refused, name, len))
            return tmpl_fail(ctx, STATUS_UNSUPPORTED,
                             "The attribute '%.*s' of '%s' objects is not supported.", (int)len,
                             name, tmpl_type_name(&object));
    }
    return tmpl_missing();
}
