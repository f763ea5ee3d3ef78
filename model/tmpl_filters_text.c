/* Filters that make text, and numbers from text. */
#include "model/tmpl_filters.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "model/tmpl_strings.h"

static bool given(const struct tmpl_value *arg)
{
    return arg->kind != TMPL_MISSING;
}

static bool flag(struct tmpl_ctx *ctx, const struct tmpl_value *arg)
{
    return given(arg) && tmpl_truth(ctx, arg);
}

TMPL_FILTER(filter_upper)
{
    (void)args;
    (void)raw;
    return tmpl_str_case(ctx, tmpl_to_str(ctx, subject), TMPL_TO_UPPER);
}

TMPL_FILTER(filter_lower)
{
    (void)args;
    (void)raw;
    return tmpl_str_case(ctx, tmpl_to_str(ctx, subject), TMPL_TO_LOWER);
}

TMPL_FILTER(filter_capitalize)
{
    (void)args;
    (void)raw;
    return tmpl_str_capitalize(ctx, tmpl_to_str(ctx, subject));
}

/* jinja2's title: words start after white space and one of - ( { [ <. */
TMPL_FILTER(filter_title)
{
    struct tmpl_value text = tmpl_to_str(ctx, subject);
    size_t mark = tmpl_mark(ctx), start = 0, bytes;
    bool inside = false;

    (void)args;
    (void)raw;
    for (size_t i = 0; i <= text.len && !tmpl_failed(ctx); i += bytes) {
        uint32_t code = i < text.len ? tmpl_utf8_decode(text.text + i, &bytes) : ' ';
        bool border = tmpl_is_space(code) || (code < 0x80 && code && strchr("-({[<", (int)code));

        if (border && inside) {
            struct tmpl_value word = tmpl_part(text, text.text + start, i - start);
            size_t first, tail = tmpl_mark(ctx);
            struct tmpl_value rest;
            char mapped[TMPL_CASE_BYTES];

            code = tmpl_utf8_decode(word.text, &first);
            rest = tmpl_str_case(ctx, tmpl_part(word, word.text + first, word.len - first),
                                 TMPL_TO_LOWER);
            ctx->out_len = tail;
            tmpl_put(ctx, mapped, tmpl_case_map(code, TMPL_TO_UPPER, mapped));
            tmpl_put(ctx, rest.text, rest.len);
        }
        if (i == text.len)
            break;
        if (border)
            tmpl_put(ctx, text.text + i, bytes);
        else if (!inside)
            start = i;
        inside = !border;
    }
    return tmpl_take(ctx, mark);
}

TMPL_FILTER(filter_trim)
{
    (void)raw;
    return tmpl_str_strip(ctx, tmpl_to_str(ctx, subject), args[0], true, true);
}

TMPL_FILTER(filter_replace)
{
    struct tmpl_value text = tmpl_to_str(ctx, subject);
    int64_t count = -1;

    (void)raw;
    if (given(&args[2]) && args[2].kind != TMPL_NONE &&
        !tmpl_get_int(ctx, &args[2], "The count of replace", &count))
        return subject;
    text.flags = 0;
    return tmpl_str_replace(ctx, text, tmpl_to_str(ctx, args[0]), tmpl_to_str(ctx, args[1]), count);
}

TMPL_FILTER(filter_string)
{
    (void)args;
    (void)raw;
    return tmpl_to_str(ctx, subject);
}

TMPL_FILTER(filter_safe)
{
    (void)args;
    (void)raw;
    subject = tmpl_to_str(ctx, subject);
    subject.flags = TMPL_MARKUP;
    return subject;
}

TMPL_FILTER(filter_escape)
{
    (void)args;
    (void)raw;
    return tmpl_escape(ctx, subject);
}

TMPL_FILTER(filter_forceescape)
{
    (void)args;
    (void)raw;
    subject = tmpl_to_str(ctx, subject);
    subject.flags = 0;
    return tmpl_escape(ctx, subject);
}

TMPL_FILTER(filter_center)
{
    int64_t width = 80;

    (void)raw;
    if (given(&args[0]) && !tmpl_get_int(ctx, &args[0], "The width of center", &width))
        return subject;
    return tmpl_str_pad(ctx, tmpl_to_str(ctx, subject), width, " ", 1, '^');
}

static void put_indention(struct tmpl_ctx *ctx, struct tmpl_value width, int64_t blanks)
{
    if (width.kind == TMPL_STRING)
        tmpl_put(ctx, width.text, width.len);
    for (int64_t i = 0; i < blanks && !tmpl_failed(ctx); i++)
        tmpl_put(ctx, " ", 1);
}

TMPL_FILTER(filter_indent)
{
    bool first = flag(ctx, &args[1]), blank = flag(ctx, &args[2]);
    size_t mark = tmpl_mark(ctx);
    struct tmpl_value lines;
    int64_t blanks = 4;

    (void)raw;
    if (subject.kind == TMPL_UNDEFINED)
        return tmpl_fail_undefined(ctx, &subject);
    if (subject.kind != TMPL_STRING)
        return tmpl_fail(ctx, STATUS_INVALID, "indent needs a string, not '%s'.",
                         tmpl_type_name(&subject));
    if (given(&args[0]) && args[0].kind == TMPL_STRING)
        blanks = 0;
    else if (given(&args[0]) && !tmpl_get_int(ctx, &args[0], "The width of indent", &blanks))
        return subject;
    lines = tmpl_str_splitlines(ctx, tmpl_binary(ctx, OP_ADD, subject, tmpl_text("\n")), false);
    for (uint32_t i = 0; i < lines.len && !tmpl_failed(ctx); i++) {
        if (i)
            tmpl_put_text(ctx, "\n");
        if (i == 0 ? first : blank || lines.items[i].len)
            put_indention(ctx, args[0], blanks);
        tmpl_put(ctx, lines.items[i].text, lines.items[i].len);
    }
    lines = tmpl_take(ctx, mark);
    lines.flags = subject.flags;
    return lines;
}

/* The first `n` code points. */
static struct tmpl_value head(struct tmpl_ctx *ctx, struct tmpl_value text, int64_t n)
{
    struct tmpl_value bounds[3] = {tmpl_none(), tmpl_int(n), tmpl_none()};

    return tmpl_slice(ctx, text, bounds);
}

TMPL_FILTER(filter_truncate)
{
    struct tmpl_value end = given(&args[2]) ? args[2] : tmpl_text("...");
    int64_t length = 255, leeway = 5, len, end_len;

    (void)raw;
    if ((given(&args[0]) && !tmpl_get_int(ctx, &args[0], "The length", &length)) ||
        (given(&args[3]) && args[3].kind != TMPL_NONE &&
         !tmpl_get_int(ctx, &args[3], "The leeway", &leeway)))
        return subject;
    if (!tmpl_length(ctx, &subject, &len) || !tmpl_length(ctx, &end, &end_len))
        return tmpl_fail(ctx, STATUS_INVALID, "truncate needs strings.");
    if (length < end_len || leeway < 0)
        return tmpl_fail(ctx, STATUS_INVALID, "The length of truncate is shorter than its end.");
    if (len <= length || len - length <= leeway)
        return subject;
    if (subject.kind != TMPL_STRING || end.kind != TMPL_STRING)
        return tmpl_fail(ctx, STATUS_INVALID, "truncate needs strings.");
    subject = head(ctx, subject, length - end_len);
    if (!flag(ctx, &args[1])) {
        const char *blank = subject.len ? memrchr(subject.text, ' ', subject.len) : NULL;

        if (blank)
            subject = tmpl_part(subject, subject.text, (size_t)(blank - subject.text));
    }
    return tmpl_binary(ctx, OP_ADD, subject, end);
}

TMPL_FILTER(filter_wordcount)
{
    struct tmpl_value text = tmpl_to_str(ctx, subject);
    bool inside = false;
    int64_t n = 0;
    size_t bytes;

    (void)args;
    (void)raw;
    tmpl_charge_bytes(ctx, text.len);
    for (size_t i = 0; i < text.len; i += bytes) {
        uint32_t code = tmpl_utf8_decode(text.text + i, &bytes);
        bool word = code == '_' || tmpl_is_alpha(code) || tmpl_is_numeric(code);

        n += word && !inside;
        inside = word;
    }
    return tmpl_int(n);
}

/* --- URLs and XML --- */

static void put_quoted(struct tmpl_ctx *ctx, struct tmpl_value value, bool in_query)
{
    struct tmpl_value text = tmpl_to_str(ctx, value);

    for (uint32_t i = 0; i < text.len && !tmpl_failed(ctx); i++) {
        unsigned char c = (unsigned char)text.text[i];
        bool letter = (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z');
        char hex[4];

        if (c < 0x80 && (letter || (c && strchr("_.-~", c)) || (c == '/' && !in_query))) {
            tmpl_put(ctx, text.text + i, 1);
        } else if (c == ' ' && in_query) {
            tmpl_put_text(ctx, "+");
        } else {
            snprintf(hex, sizeof(hex), "%%%02X", c);
            tmpl_put(ctx, hex, 3);
        }
    }
}

TMPL_FILTER(filter_urlencode)
{
    size_t mark = tmpl_mark(ctx);
    struct tmpl_value list;

    (void)args;
    (void)raw;
    if (subject.kind == TMPL_STRING || !tmpl_is_iterable(&subject)) {
        put_quoted(ctx, subject, false);
        return tmpl_take(ctx, mark);
    }
    if (subject.kind == TMPL_DICT)
        subject = tmpl_filter_call(ctx, tmpl_filter_find("items", 5), subject, raw);
    list = tmpl_to_list(ctx, subject);
    for (uint32_t i = 0; i < list.len && !tmpl_failed(ctx); i++) {
        struct tmpl_value pair = tmpl_to_list(ctx, list.items[i]);

        if (pair.len != 2)
            return tmpl_fail(ctx, STATUS_INVALID, "urlencode needs pairs of name and value.");
        if (i)
            tmpl_put_text(ctx, "&");
        put_quoted(ctx, pair.items[0], true);
        tmpl_put_text(ctx, "=");
        put_quoted(ctx, pair.items[1], true);
    }
    return tmpl_take(ctx, mark);
}

/* --- numbers --- */

TMPL_FILTER(filter_int)
{
    struct tmpl_value fallback = given(&args[0]) ? args[0] : tmpl_int(0);
    int64_t base = 10, integer;
    bool overflow = false;
    double real;

    (void)raw;
    if (subject.kind == TMPL_UNDEFINED)
        return tmpl_fail_undefined(ctx, &subject);
    if (given(&args[1]) && !tmpl_get_int(ctx, &args[1], "The base of int", &base))
        return subject;
    if (base != 0 && (base < 2 || base > 36))
        return tmpl_fail(ctx, STATUS_INVALID, "The base of int must be 0 or 2 to 36.");
    if (subject.kind == TMPL_INT || subject.kind == TMPL_BIG)
        return subject;
    if (subject.kind == TMPL_BOOL)
        return tmpl_int(subject.boolean);
    if (subject.kind == TMPL_STRING) {
        bool read = tmpl_int_read(subject.text, subject.len, (int)base, &integer, &overflow);

        if (read && !overflow)
            return tmpl_int(integer);
        if (!read && !tmpl_float_read(subject.text, subject.len, &real))
            return fallback;
        if (!read && !isfinite(real))
            return fallback;
        if (read)
            real = HUGE_VAL;
    } else if (subject.kind == TMPL_FLOAT) {
        real = subject.real;
        if (isnan(real))
            return fallback;
    } else {
        return fallback;
    }
    if (real >= 0x1p63 || real < -0x1p63)
        return tmpl_fail(ctx, STATUS_INVALID, "An integer has more than 64 bits.");
    return tmpl_int((int64_t)real);
}

TMPL_FILTER(filter_float)
{
    double real;

    (void)raw;
    if (subject.kind == TMPL_UNDEFINED)
        return tmpl_fail_undefined(ctx, &subject);
    if (tmpl_is_number(&subject))
        return tmpl_float(tmpl_get_double(&subject));
    if (subject.kind == TMPL_STRING && tmpl_float_read(subject.text, subject.len, &real))
        return tmpl_float(real);
    return given(&args[0]) ? args[0] : tmpl_float(0);
}

TMPL_FILTER(filter_abs)
{
    (void)args;
    (void)raw;
    if (subject.kind == TMPL_FLOAT)
        return tmpl_float(fabs(subject.real));
    if (subject.kind == TMPL_BIG && subject.text[0] == '-')
        return tmpl_part(subject, subject.text + 1, subject.len - 1);
    if (subject.kind == TMPL_INT && subject.integer < 0)
        return tmpl_negate(ctx, subject, true);
    if (tmpl_is_number(&subject))
        return tmpl_negate(ctx, subject, false);
    if (subject.kind == TMPL_UNDEFINED)
        return tmpl_fail_undefined(ctx, &subject);
    return tmpl_fail(ctx, STATUS_INVALID, "bad operand type for abs(): '%s'",
                     tmpl_type_name(&subject));
}

/* round() of an integer to tens, hundreds and so on: halves go to the even neighbour. */
static struct tmpl_value round_int(struct tmpl_ctx *ctx, int64_t integer, int64_t digits)
{
    int64_t unit = 1, rest;

    if (digits >= 0)
        return tmpl_int(integer);
    if (digits < -18)
        return tmpl_int(0);
    for (; digits < 0; digits++)
        unit *= 10;
    rest = integer % unit;
    integer -= rest;
    if (rest < 0) {
        rest += unit;
        if (__builtin_sub_overflow(integer, unit, &integer))
            return tmpl_fail(ctx, STATUS_INVALID, "An integer has more than 64 bits.");
    }
    if ((rest > unit / 2 || (rest == unit / 2 && integer / unit % 2)) &&
        __builtin_add_overflow(integer, unit, &integer))
        return tmpl_fail(ctx, STATUS_INVALID, "An integer has more than 64 bits.");
    return tmpl_int(integer);
}

TMPL_FILTER(filter_round)
{
    struct tmpl_value method = given(&args[1]) ? args[1] : tmpl_text("common");
    int64_t digits = 0;
    double scale, value;
    bool ceiling;

    (void)raw;
    if (given(&args[0]) && !tmpl_get_int(ctx, &args[0], "The precision of round", &digits))
        return subject;
    ceiling = method.kind == TMPL_STRING && method.len == 4 && !memcmp(method.text, "ceil", 4);
    if (!ceiling &&
        (method.kind != TMPL_STRING || ((method.len != 5 || memcmp(method.text, "floor", 5)) &&
                                        (method.len != 6 || memcmp(method.text, "common", 6)))))
        return tmpl_fail(ctx, STATUS_INVALID, "method must be common, ceil or floor");
    if (subject.kind == TMPL_UNDEFINED)
        return tmpl_fail_undefined(ctx, &subject);
    if (!tmpl_is_number(&subject) || subject.kind == TMPL_BIG)
        return tmpl_fail(ctx, STATUS_INVALID, "round needs a number of 64 bits, not '%s'.",
                         tmpl_type_name(&subject));
    if (method.len == 6)
        return subject.kind == TMPL_FLOAT
                   ? tmpl_float(tmpl_round(subject.real, digits))
                   : round_int(ctx, subject.kind == TMPL_INT ? subject.integer : subject.boolean,
                               digits);
    if (digits > 22 || digits < -22)
        return tmpl_fail(ctx, STATUS_UNSUPPORTED, "round takes a precision of -22 to 22.");
    scale = 1;
    for (int64_t i = 0; i < (digits < 0 ? -digits : digits); i++)
        scale *= 10;
    value =
        digits < 0 ? tmpl_get_double(&subject) * (1 / scale) : tmpl_get_double(&subject) * scale;
    value = ceiling ? ceil(value) : floor(value);
    if (!isfinite(value))
        return tmpl_fail(ctx, STATUS_INVALID, "round needs a finite number.");
    /* Through an integer there is no negative zero. */
    return tmpl_float((value == 0 ? 0.0 : value) / (digits < 0 ? 1 / scale : scale));
}

TMPL_FILTER(filter_filesizeformat)
{
    static const char *const decimal[] = {"kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"};
    static const char *const binary[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"};
    bool is_binary = flag(ctx, &args[0]);
    double base = is_binary ? 1024 : 1000, unit = base, bytes;
    size_t mark = tmpl_mark(ctx);
    char text[64];
    int i = 0;

    (void)raw;
    if (tmpl_is_number(&subject))
        bytes = tmpl_get_double(&subject);
    else if (subject.kind != TMPL_STRING || !tmpl_float_read(subject.text, subject.len, &bytes))
        return tmpl_fail(ctx, STATUS_INVALID, "filesizeformat needs a number.");
    if (!isfinite(bytes) || fabs(bytes) >= 0x1p63)
        return tmpl_fail(ctx, STATUS_UNSUPPORTED, "filesizeformat needs less than 2**63 bytes.");
    if (bytes == 1) {
        tmpl_put_text(ctx, "1 Byte");
    } else if (bytes < base) {
        snprintf(text, sizeof(text), "%lld Bytes", (long long)bytes);
        tmpl_put_text(ctx, text);
    } else {
        for (unit = base * base; i < 7 && bytes >= unit; i++)
            unit *= base;
        snprintf(text, sizeof(text), "%.1f %s", base * bytes / unit,
                 is_binary ? binary[i] : decimal[i]);
        tmpl_put_text(ctx, text);
    }
    return tmpl_take(ctx, mark);
}

/* --- JSON and formats --- */

static bool json_indent(struct tmpl_ctx *ctx, const struct tmpl_value *arg,
                        struct tmpl_dump_options *options)
{
    size_t mark = tmpl_mark(ctx);
    int64_t blanks;

    if (!given(arg) || arg->kind == TMPL_NONE)
        return true;
    options->has_indent = true;
    options->item_separator = tmpl_text(",");
    if (arg->kind == TMPL_STRING) {
        options->indent = *arg;
        return true;
    }
    if (!tmpl_get_int(ctx, arg, "The indent of tojson", &blanks))
        return false;
    put_indention(ctx, tmpl_none(), blanks);
    options->indent = tmpl_take(ctx, mark);
    return true;
}

TMPL_FILTER(filter_tojson)
{
    struct tmpl_dump_options options = {.item_separator = tmpl_text(", "),
                                        .key_separator = tmpl_text(": "),
                                        .indent = tmpl_text("")};
    struct tmpl_value separators;
    size_t mark = tmpl_mark(ctx);

    (void)raw;
    options.ensure_ascii = flag(ctx, &args[0]);
    options.sort_keys = flag(ctx, &args[3]);
    if (!json_indent(ctx, &args[1], &options))
        return subject;
    if (given(&args[2]) && args[2].kind != TMPL_NONE) {
        separators = tmpl_to_list(ctx, args[2]);
        if (separators.len != 2 || separators.items[0].kind != TMPL_STRING ||
            separators.items[1].kind != TMPL_STRING)
            return tmpl_fail(ctx, STATUS_INVALID, "The separators of tojson must be two strings.");
        options.item_separator = separators.items[0];
        options.key_separator = separators.items[1];
    }
    tmpl_put_json(ctx, &subject, &options);
    return tmpl_take(ctx, mark);
}

TMPL_FILTER(filter_format)
{
    struct tmpl_value values;

    (void)args;
    if (raw->n && raw->n_named)
        return tmpl_fail(ctx, STATUS_INVALID,
                         "format takes arguments by position or by name, not both.");
    values = raw->n_named ? tmpl_make_dict(ctx, raw->named, raw->n_named)
                          : tmpl_make_list(ctx, raw->values, raw->n, TMPL_TUPLE);
    return tmpl_format_percent(ctx, tmpl_to_str(ctx, subject), values);
}

const struct tmpl_filter tmpl_text_filters[] = {
    {"upper", filter_upper, {"", 0, false}},
    {"lower", filter_lower, {"", 0, false}},
    {"capitalize", filter_capitalize, {"", 0, false}},
    {"title", filter_title, {"", 0, false}},
    {"trim", filter_trim, {"chars", 0, true}},
    {"replace", filter_replace, {"old,new,count", 2, true}},
    {"string", filter_string, {"", 0, false}},
    {"safe", filter_safe, {"", 0, false}},
    {"escape", filter_escape, {"", 0, false}},
    {"e", filter_escape, {"", 0, false}},
    {"forceescape", filter_forceescape, {"", 0, false}},
    {"center", filter_center, {"width", 0, true}},
    {"indent", filter_indent, {"width,first,blank", 0, true}},
    {"truncate", filter_truncate, {"length,killwords,end,leeway", 0, true}},
    {"wordcount", filter_wordcount, {"", 0, false}},
    {"urlencode", filter_urlencode, {"", 0, false}},
    {"int", filter_int, {"default,base", 0, true}},
    {"float", filter_float, {"default", 0, true}},
    {"abs", filter_abs, {"", 0, false}},
    {"round", filter_round, {"precision,method", 0, true}},
    {"filesizeformat", filter_filesizeformat, {"binary", 0, true}},
    {"tojson", filter_tojson, {"ensure_ascii,indent,separators,sort_keys", 0, true}},
    {"format", filter_format, {NULL, 0, true}},
    {NULL, NULL, {NULL, 0, false}},
};
