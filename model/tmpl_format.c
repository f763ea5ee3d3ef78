/* Formatting: text % values, text.format(...), round(), strftime. Numbers go through the C
 * library's printf, which rounds as Python does. */
#include "model/tmpl_eval.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "model/tmpl_strings.h"

/* Digits after the point, and the width of a field. */
#define PRECISION_MAX 60
#define WIDTH_MAX 10000
/* A double has 309 digits before the point. */
#define NUMBER_BYTES 512

struct spec {
    char fill[4];
    size_t fill_len;
    char align; /* 0: by type */
    bool plus, space, alternate, zero;
    char group;               /* 0, ',' or '_' */
    int64_t width, precision; /* precision -1: none given */
    char type;
};

/* Puts a number's sign, prefix and digits, padded. */
static void put_number(struct tmpl_ctx *ctx, const struct spec *spec, bool negative,
                       const char *prefix, const char *digits, size_t n)
{
    const char *sign = negative ? "-" : spec->plus ? "+" : spec->space ? " " : "";
    int64_t len = (int64_t)(strlen(sign) + strlen(prefix) + n);
    int64_t margin = spec->width > len ? spec->width - len : 0;
    char align = spec->align ? spec->align : spec->zero ? '=' : '>';
    int64_t left = align == '<' || align == '=' ? 0 : align == '^' ? margin / 2 : margin;

    for (int64_t i = 0; i < left; i++)
        tmpl_put(ctx, spec->fill, spec->fill_len);
    tmpl_put_text(ctx, sign);
    tmpl_put_text(ctx, prefix);
    for (int64_t i = 0; align == '=' && i < margin; i++)
        tmpl_put(ctx, spec->zero ? "0" : spec->fill, spec->zero ? 1 : spec->fill_len);
    tmpl_put(ctx, digits, n);
    for (int64_t i = left; align != '=' && i < margin; i++)
        tmpl_put(ctx, spec->fill, spec->fill_len);
}

static void put_padded(struct tmpl_ctx *ctx, const struct spec *spec, struct tmpl_value text)
{
    if (spec->precision >= 0)
        text.len = (uint32_t)tmpl_utf8_offset(text.text, text.len, (size_t)spec->precision);
    if (spec->align == '^') { /* unlike str.center, the odd blank always goes to the right */
        int64_t len = (int64_t)tmpl_utf8_count(text.text, text.len);

        if (spec->width > len)
            text = tmpl_str_pad(ctx, text, len + (spec->width - len) / 2, spec->fill,
                                spec->fill_len, '>');
    }
    text = tmpl_str_pad(ctx, text, spec->width, spec->fill, spec->fill_len,
                        spec->align == '>' ? '>' : '<');
    tmpl_put(ctx, text.text, text.len);
}

/* Digits in the base, without sign. */
static size_t print_digits(uint64_t value, unsigned base, bool upper, char *out)
{
    char reversed[70];
    size_t n = 0;

    do {
        reversed[n++] = (upper ? "0123456789ABCDEF" : "0123456789abcdef")[value % base];
        value /= base;
    } while (value);
    for (size_t i = 0; i < n; i++)
        out[i] = reversed[n - 1 - i];
    return n;
}

/* Puts separators into the digits before the point; returns the new length. */
static size_t group_digits(char *digits, size_t n, char separator)
{
    size_t whole = strspn(digits, "0123456789");

    if (!separator || whole > n)
        return n;
    for (size_t left = whole; left > 3; left -= 3) {
        memmove(digits + left - 2, digits + left - 3, n - (left - 3));
        digits[left - 3] = separator;
        n++;
    }
    return n;
}

static void put_integer(struct tmpl_ctx *ctx, const struct spec *spec, int64_t value)
{
    unsigned base = spec->type == 'x' || spec->type == 'X' ? 16
                    : spec->type == 'o'                    ? 8
                    : spec->type == 'b'                    ? 2
                                                           : 10;
    uint64_t magnitude = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    char digits[NUMBER_BYTES], padded[NUMBER_BYTES];
    size_t n = print_digits(magnitude, base, spec->type == 'X', digits);
    const char *prefix = "";

    if (spec->alternate && base != 10)
        prefix = base == 2 ? "0b" : base == 8 ? "0o" : spec->type == 'X' ? "0X" : "0x";
    if (spec->precision > (int64_t)n) { /* only % gives integers a precision */
        size_t zeros = (size_t)spec->precision - n;

        memset(padded, '0', zeros);
        memcpy(padded + zeros, digits, n);
        n += zeros;
        memcpy(digits, padded, n);
    }
    digits[n] = 0;
    n = group_digits(digits, n, spec->group);
    put_number(ctx, spec, value < 0, prefix, digits, n);
}

static void put_real(struct tmpl_ctx *ctx, const struct spec *spec, double value)
{
    int precision = spec->precision < 0 ? 6 : (int)spec->precision;
    bool percent = spec->type == '%';
    double magnitude = fabs(percent ? value * 100 : value);
    char digits[NUMBER_BYTES];
    int n;

    switch (spec->type | 32) {
    case 'e':
        n = snprintf(digits, sizeof(digits), spec->alternate ? "%#.*e" : "%.*e", precision,
                     magnitude);
        break;
    case 'g':
        n = snprintf(digits, sizeof(digits), spec->alternate ? "%#.*g" : "%.*g", precision,
                     magnitude);
        break;
    default:
        n = snprintf(digits, sizeof(digits), spec->alternate ? "%#.*f" : "%.*f", precision,
                     magnitude);
    }
    n = (int)group_digits(digits, (size_t)n, isfinite(value) ? spec->group : 0);
    for (int i = 0; i < n && (spec->type & 32) == 0 && !percent; i++) {
        if (digits[i] >= 'a' && digits[i] <= 'z')
            digits[i] = (char)(digits[i] - 32);
    }
    if (percent)
        digits[n++] = '%';
    put_number(ctx, spec, signbit(value) && !isnan(value), "", digits, (size_t)n);
}

/* --- percent --- */

struct percent {
    struct tmpl_ctx *ctx;
    struct tmpl_value text; /* what is still to read */
    struct tmpl_value arguments;
    uint32_t used;
    bool markup;
};

static int next_char(struct percent *percent)
{
    if (percent->text.len == 0) {
        tmpl_fail(percent->ctx, STATUS_INVALID, "incomplete format");
        return 0;
    }
    percent->text.len--;
    return (unsigned char)*percent->text.text++;
}

static struct tmpl_value next_argument(struct percent *percent)
{
    if (percent->arguments.kind == TMPL_TUPLE) {
        if (percent->used < percent->arguments.len)
            return percent->arguments.items[percent->used++];
    } else if (percent->used++ == 0) {
        return percent->arguments;
    }
    return tmpl_fail(percent->ctx, STATUS_INVALID, "not enough arguments for format string");
}

/* A number in the format, or '*'; *c is the character behind it. */
static int64_t read_size(struct percent *percent, int *c, int64_t most)
{
    struct tmpl_value argument;
    int64_t size = 0;

    if (*c == '*') {
        argument = next_argument(percent);
        tmpl_get_int(percent->ctx, &argument, "A width", &size);
        *c = next_char(percent);
    } else {
        while (*c >= '0' && *c <= '9') {
            size = size > most ? size : size * 10 + (*c - '0');
            *c = next_char(percent);
        }
    }
    if (size > most || size < -most)
        tmpl_fail(percent->ctx, STATUS_TOO_BIG, "A width or precision is over %lld.",
                  (long long)most);
    return size;
}

/* The value of "%(key)s". */
static struct tmpl_value read_key(struct percent *percent)
{
    const char *close = memchr(percent->text.text, ')', percent->text.len);
    struct tmpl_value key;
    size_t len;

    if (!close)
        return tmpl_fail(percent->ctx, STATUS_INVALID, "incomplete format key");
    if (percent->arguments.kind != TMPL_DICT)
        return tmpl_fail(percent->ctx, STATUS_INVALID, "format requires a mapping");
    len = (size_t)(close - percent->text.text);
    key = tmpl_str(percent->text.text, (uint32_t)len);
    percent->text = tmpl_part(percent->text, close + 1, percent->text.len - len - 1);
    if (!tmpl_dict_get(&percent->arguments, &key))
        return tmpl_fail(percent->ctx, STATUS_INVALID, "The format's key '%.*s' is not there.",
                         (int)(len > 64 ? 64 : len), key.text);
    return *tmpl_dict_get(&percent->arguments, &key);
}

static void put_percent_text(struct percent *percent, struct spec *spec, struct tmpl_value value)
{
    struct tmpl_ctx *ctx = percent->ctx;
    size_t mark = tmpl_mark(ctx);

    if (spec->type == 'r') {
        tmpl_put_repr(ctx, &value);
        value = tmpl_take(ctx, mark);
    } else {
        value = tmpl_to_str(ctx, value);
    }
    if (percent->markup)
        value = tmpl_escape(ctx, value);
    put_padded(ctx, spec, value);
}

static void put_percent_char(struct percent *percent, struct spec *spec, struct tmpl_value value)
{
    char bytes[4];
    int64_t len = 0;

    if (value.kind == TMPL_STRING)
        tmpl_length(percent->ctx, &value, &len);
    if (value.kind == TMPL_INT && value.integer >= 0 && value.integer <= 0x10ffff &&
        (value.integer < 0xd800 || value.integer > 0xdfff)) {
        value = tmpl_str(bytes, (uint32_t)tmpl_utf8_encode((uint32_t)value.integer, bytes));
    } else if (len != 1) {
        tmpl_fail(percent->ctx, STATUS_INVALID, "%%c requires an int or a single character");
        return;
    }
    spec->precision = -1;
    put_padded(percent->ctx, spec, value);
}

static void put_percent_number(struct percent *percent, struct spec *spec, struct tmpl_value value)
{
    struct tmpl_ctx *ctx = percent->ctx;

    if (value.kind == TMPL_UNDEFINED) {
        tmpl_fail_undefined(ctx, &value);
    } else if (!tmpl_is_number(&value)) {
        tmpl_fail(ctx, STATUS_INVALID, "%%%c format: a number is required, not %s", spec->type,
                  tmpl_type_name(&value));
    } else if (strchr("eEfFgG", spec->type)) {
        put_real(ctx, spec, tmpl_get_double(&value));
    } else if (value.kind == TMPL_FLOAT && strchr("diu", spec->type)) {
        if (fabs(value.real) < 0x1p63)
            put_integer(ctx, spec, (int64_t)value.real);
        else
            tmpl_fail(ctx, STATUS_INVALID, "An integer has more than 64 bits.");
    } else {
        int64_t integer = 0;

        if (tmpl_get_int(ctx, &value, "The value of an integer format", &integer))
            put_integer(ctx, spec, integer);
    }
}

/* One conversion after its '%'. */
static void put_conversion(struct percent *percent)
{
    struct spec spec = {.fill = " ", .fill_len = 1, .precision = -1};
    struct tmpl_value value;
    bool has_value = false, minus = false;
    int c = next_char(percent);

    if (c == '(') {
        value = read_key(percent);
        has_value = true;
        c = next_char(percent);
    }
    for (;; c = next_char(percent)) {
        if (c == '-')
            minus = true;
        else if (c == '+')
            spec.plus = true;
        else if (c == ' ')
            spec.space = true;
        else if (c == '#')
            spec.alternate = true;
        else if (c == '0')
            spec.zero = true;
        else
            break;
    }
    spec.width = read_size(percent, &c, WIDTH_MAX);
    if (spec.width < 0) {
        minus = true;
        spec.width = -spec.width;
    }
    if (c == '.') {
        c = next_char(percent);
        spec.precision = read_size(percent, &c, PRECISION_MAX);
        spec.precision = spec.precision < 0 ? 0 : spec.precision;
    }
    while (c == 'h' || c == 'l' || c == 'L')
        c = next_char(percent);
    if (tmpl_failed(percent->ctx))
        return;
    if (c == '%') {
        tmpl_put_text(percent->ctx, "%");
        return;
    }
    if (!c || !strchr("srcdiuoxXeEfFgG", c)) {
        tmpl_fail(percent->ctx, STATUS_UNSUPPORTED, "The format '%%%c' is not supported.", c);
        return;
    }
    spec.type = (char)c;
    spec.align = minus ? '<' : 0;
    spec.zero = spec.zero && !minus;
    if (!has_value)
        value = next_argument(percent);
    if (tmpl_failed(percent->ctx))
        return;
    if (strchr("src", c) && !minus)
        spec.align = '>';
    if (c == 's' || c == 'r')
        put_percent_text(percent, &spec, value);
    else if (c == 'c')
        put_percent_char(percent, &spec, value);
    else
        put_percent_number(percent, &spec, value);
}

struct tmpl_value tmpl_format_percent(struct tmpl_ctx *ctx, struct tmpl_value text,
                                      struct tmpl_value arguments)
{
    struct percent percent = {
        .ctx = ctx, .text = text, .arguments = arguments, .markup = text.flags & TMPL_MARKUP};
    size_t mark = tmpl_mark(ctx);
    bool leftover;

    while (percent.text.len && !tmpl_failed(ctx)) {
        const char *sign = memchr(percent.text.text, '%', percent.text.len);
        size_t n = sign ? (size_t)(sign - percent.text.text) : percent.text.len;

        tmpl_put(ctx, percent.text.text, n);
        percent.text = tmpl_part(percent.text, percent.text.text + n, percent.text.len - n);
        if (sign) {
            next_char(&percent);
            put_conversion(&percent);
        }
    }
    leftover = arguments.kind == TMPL_TUPLE
                   ? percent.used < arguments.len
                   : percent.used == 0 && arguments.kind != TMPL_DICT &&
                         arguments.kind != TMPL_LIST && arguments.kind != TMPL_RANGE &&
                         arguments.kind != TMPL_UNDEFINED;
    if (leftover)
        return tmpl_fail(ctx, STATUS_INVALID,
                         "not all arguments converted during string formatting");
    text = tmpl_take(ctx, mark);
    text.flags = percent.markup ? TMPL_MARKUP : 0;
    return text;
}

/* --- braces --- */

static bool is_align(char c)
{
    return c == '<' || c == '>' || c == '^' || c == '=';
}

/* Reads [[fill]align][sign][#][0][width][,][.precision][type]; false if it is something else. */
static bool read_spec(struct tmpl_value text, struct spec *spec)
{
    const char *at = text.text, *end = text.text + text.len;
    size_t bytes = 0;

    *spec = (struct spec){.fill = " ", .fill_len = 1, .precision = -1};
    if (at < end)
        tmpl_utf8_decode(at, &bytes);
    if (at + bytes < end && is_align(at[bytes])) {
        memcpy(spec->fill, at, bytes);
        spec->fill_len = bytes;
        spec->align = at[bytes];
        at += bytes + 1;
    } else if (at < end && is_align(*at)) {
        spec->align = *at++;
    }
    if (at < end && (*at == '+' || *at == '-' || *at == ' ')) {
        spec->plus = *at == '+';
        spec->space = *at == ' ';
        at++;
    }
    if (at < end && *at == '#') {
        spec->alternate = true;
        at++;
    }
    if (at < end && *at == '0') {
        spec->zero = !spec->align;
        if (spec->align && spec->fill[0] == ' ')
            spec->fill[0] = '0';
        at++;
    }
    for (; at < end && *at >= '0' && *at <= '9' && spec->width <= WIDTH_MAX; at++)
        spec->width = spec->width * 10 + (*at - '0');
    if (at < end && (*at == ',' || *at == '_'))
        spec->group = *at++;
    if (at < end && *at == '.') {
        at++;
        if (at == end || *at < '0' || *at > '9')
            return false;
        for (spec->precision = 0;
             at < end && *at >= '0' && *at <= '9' && spec->precision <= PRECISION_MAX; at++)
            spec->precision = spec->precision * 10 + (*at - '0');
    }
    if (at < end && ((*at | 32) >= 'a' || *at == '%'))
        spec->type = *at++;
    return at == end && spec->width <= WIDTH_MAX && spec->precision <= PRECISION_MAX &&
           !(spec->group && spec->zero);
}

static struct tmpl_value fail_spec(struct tmpl_ctx *ctx, const struct tmpl_value *value,
                                   struct tmpl_value text)
{
    return tmpl_fail(ctx, STATUS_UNSUPPORTED,
                     "The format '%.*s' for a '%s' is wrong or not supported.",
                     (int)(text.len > 64 ? 64 : text.len), text.text, tmpl_type_name(value));
}

static void put_formatted(struct tmpl_ctx *ctx, struct tmpl_value value, struct tmpl_value text)
{
    bool integer = value.kind == TMPL_INT || value.kind == TMPL_BOOL;
    int64_t whole = value.kind == TMPL_BOOL ? value.boolean : value.integer;
    struct spec spec;

    if (text.len == 0) {
        tmpl_put_str(ctx, &value);
        return;
    }
    if (!read_spec(text, &spec)) {
        fail_spec(ctx, &value, text);
    } else if (value.kind == TMPL_STRING && (spec.type == 's' || spec.type == 0) && !spec.group &&
               !spec.alternate && !spec.plus && !spec.space && spec.align != '=') {
        if (spec.zero)
            spec.fill[0] = '0';
        put_padded(ctx, &spec, value);
    } else if (integer && spec.precision < 0 && (spec.type == 0 || strchr("dxXob", spec.type)) &&
               !(spec.group && spec.type && spec.type != 'd')) {
        put_integer(ctx, &spec, whole);
    } else if ((integer || value.kind == TMPL_FLOAT) && spec.type && strchr("eEfFgG%", spec.type)) {
        put_real(ctx, &spec, tmpl_get_double(&value));
    } else if (value.kind == TMPL_FLOAT && spec.type == 0 && spec.precision < 0 && !spec.group) {
        char digits[TMPL_FLOAT_BYTES];
        size_t n = tmpl_float_print(fabs(value.real), digits);

        put_number(ctx, &spec, signbit(value.real), "", digits, n);
    } else {
        fail_spec(ctx, &value, text);
    }
}

struct braces {
    struct tmpl_ctx *ctx;
    const struct tmpl_arguments *arguments;
    int64_t automatic; /* the next number for "{}"; -1 once numbers were written out */
};

/* The argument that a field's first name means. */
static struct tmpl_value field_argument(struct braces *braces, struct tmpl_value name)
{
    struct tmpl_ctx *ctx = braces->ctx;
    int64_t index = 0;
    bool overflow, numbered = name.len && name.text[0] >= '0' && name.text[0] <= '9';

    if (name.len && !numbered) {
        for (uint32_t i = 0; i < braces->arguments->n_named; i++) {
            if (tmpl_key_compare(&braces->arguments->named[i].key, &name) == 0)
                return braces->arguments->named[i].value;
        }
        return tmpl_fail(ctx, STATUS_INVALID, "format has no argument '%.*s'.",
                         (int)(name.len > 64 ? 64 : name.len), name.text);
    }
    if (numbered ? braces->automatic > 0 : braces->automatic < 0)
        return tmpl_fail(ctx, STATUS_INVALID,
                         "A format cannot mix numbered and unnumbered fields.");
    if (numbered) {
        braces->automatic = -1;
        if (!tmpl_int_read(name.text, name.len, 10, &index, &overflow) || overflow)
            index = INT64_MAX;
    } else {
        index = braces->automatic++;
    }
    if (index >= braces->arguments->n)
        return tmpl_fail(ctx, STATUS_INVALID, "format has too few arguments.");
    return braces->arguments->values[index];
}

/* name.attribute[item]... */
static struct tmpl_value field_value(struct braces *braces, struct tmpl_value field)
{
    const char *at = field.text, *end = field.text + field.len;
    struct tmpl_value value, key;
    int64_t index;
    bool overflow;
    size_t n = 0;

    while (at + n < end && at[n] != '.' && at[n] != '[')
        n++;
    value = field_argument(braces, tmpl_part(field, at, n));
    at += n;
    while (at < end && !tmpl_failed(braces->ctx)) {
        bool attribute = *at++ == '.';

        for (n = 0; at + n < end && (attribute ? at[n] != '.' && at[n] != '[' : at[n] != ']'); n++)
            ;
        if (n == 0 || (!attribute && at + n == end))
            return tmpl_fail(braces->ctx, STATUS_INVALID, "Empty attribute in format string");
        key = tmpl_str(at, (uint32_t)n);
        if (!attribute && *at >= '0' && *at <= '9' && tmpl_int_read(at, n, 10, &index, &overflow) &&
            !overflow)
            key = tmpl_int(index);
        at += n + !attribute;
        value = attribute ? tmpl_getattr(braces->ctx, value, key.text, key.len)
                          : tmpl_getitem(braces->ctx, value, key);
        if (!attribute && at < end && *at != '.' && *at != '[')
            return tmpl_fail(braces->ctx, STATUS_INVALID, "A format's field is malformed.");
    }
    return value;
}

/* What stands between "{" and "}". */
static void put_field(struct braces *braces, struct tmpl_value field)
{
    const char *colon = memchr(field.text, ':', field.len), *end = field.text + field.len;
    struct tmpl_value spec = tmpl_text(""), name = field, value;
    struct tmpl_ctx *ctx = braces->ctx;
    const char *bang;
    size_t mark;

    if (colon) {
        spec = tmpl_part(field, colon + 1, (size_t)(end - colon - 1));
        name.len = (uint32_t)(colon - field.text);
    }
    bang = memchr(name.text, '!', name.len);
    if (bang)
        name.len = (uint32_t)(bang - name.text);
    value = field_value(braces, name);
    mark = tmpl_mark(ctx);
    if (bang && (colon ? colon : end) - bang == 2 && (bang[1] == 's' || bang[1] == 'r')) {
        if (bang[1] == 'r')
            tmpl_put_repr(ctx, &value);
        else
            tmpl_put_str(ctx, &value);
        value = tmpl_take(ctx, mark);
    } else if (bang) {
        tmpl_fail(ctx, STATUS_UNSUPPORTED, "A format's conversion must be !s or !r.");
    }
    if (!tmpl_failed(ctx))
        put_formatted(ctx, value, spec);
}

struct tmpl_value tmpl_format_braces(struct tmpl_ctx *ctx, struct tmpl_value text,
                                     const struct tmpl_arguments *arguments)
{
    struct braces braces = {.ctx = ctx, .arguments = arguments};
    const char *at = text.text, *end = text.text + text.len;
    size_t mark = tmpl_mark(ctx);

    if (text.flags & TMPL_MARKUP)
        return tmpl_fail(ctx, STATUS_UNSUPPORTED, "format on a safe string is not supported.");
    while (at < end && !tmpl_failed(ctx)) {
        const char *brace = at, *close;

        while (brace < end && *brace != '{' && *brace != '}')
            brace++;
        tmpl_put(ctx, at, (size_t)(brace - at));
        at = brace;
        if (at == end)
            break;
        if (at + 1 < end && at[1] == *at) {
            tmpl_put(ctx, at, 1);
            at += 2;
            continue;
        }
        for (close = at + 1; close < end && *close != '}' && *close != '{'; close++)
            ;
        if (*at == '}' || close == end || *close == '{')
            return tmpl_fail(ctx, STATUS_INVALID,
                             "A format has a single or nested brace, which is not supported.");
        put_field(&braces, tmpl_str(at + 1, (uint32_t)(close - at - 1)));
        at = close + 1;
    }
    return tmpl_take(ctx, mark);
}

double tmpl_round(double real, int64_t digits)
{
    char text[NUMBER_BYTES];
    int exponent;

    if (!isfinite(real) || digits > 330)
        return real;
    if (digits >= 0) {
        snprintf(text, sizeof(text), "%.*f", (int)(digits > 150 ? 150 : digits), real);
        return digits > 150 ? real : strtod(text, NULL);
    }
    snprintf(text, sizeof(text), "%.17e", fabs(real));
    exponent = real == 0 ? 0 : atoi(strchr(text, 'e') + 1);
    if (digits < -400 || exponent + digits < -1)
        return copysign(0.0, real);
    if (exponent + digits >= 0) {
        snprintf(text, sizeof(text), "%.*e", (int)(exponent + digits), real);
        return strtod(text, NULL);
    }
    /* Below the unit: nearer to it or to zero; a half goes to zero, which is even. */
    snprintf(text, sizeof(text), "5e%d", (int)(-digits - 1));
    if (fabs(real) <= strtod(text, NULL))
        return copysign(0.0, real);
    snprintf(text, sizeof(text), "1e%d", (int)-digits);
    return copysign(strtod(text, NULL), real);
}
