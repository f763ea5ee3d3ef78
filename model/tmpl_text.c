/* Unicode and numbers for templates. Case and categories come from utf8proc, the mappings that are
 * longer than one code point from tmpl_case.c. Numbers are printed and read in the C locale, which
 * Baton never leaves. */
#include "model/tmpl_text.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <utf8proc.h>

#include "model/tmpl_case.h"

/* Characters of the longest number that is read as a float. */
#define NUMBER_LEN_MAX 4300

bool tmpl_utf8_is_valid(const char *text, size_t len)
{
    const unsigned char *s = (const unsigned char *)text;

    for (size_t i = 0; i < len;) {
        static const uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};
        size_t n = s[i] < 0x80 ? 1 : s[i] < 0xc2 ? 0 : s[i] < 0xe0 ? 2 : s[i] < 0xf0 ? 3 : 4;
        uint32_t code;

        if (n == 1) {
            i++;
            continue;
        }
        if (n == 0 || s[i] > 0xf4 || len - i < n)
            return false;
        code = s[i] & (0xffu >> (n + 1));
        for (size_t k = 1; k < n; k++) {
            if ((s[i + k] & 0xc0) != 0x80)
                return false;
            code = code << 6 | (s[i + k] & 0x3f);
        }
        if (code < least[n] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000))
            return false;
        i += n;
    }
    return true;
}

uint32_t tmpl_utf8_decode(const char *text, size_t *bytes)
{
    const unsigned char *s = (const unsigned char *)text;

    if (s[0] < 0x80) {
        *bytes = 1;
        return s[0];
    }
    if (s[0] < 0xe0) {
        *bytes = 2;
        return (s[0] & 0x1fu) << 6 | (s[1] & 0x3fu);
    }
    if (s[0] < 0xf0) {
        *bytes = 3;
        return (s[0] & 0x0fu) << 12 | (s[1] & 0x3fu) << 6 | (s[2] & 0x3fu);
    }
    *bytes = 4;
    return (s[0] & 0x07u) << 18 | (s[1] & 0x3fu) << 12 | (s[2] & 0x3fu) << 6 | (s[3] & 0x3fu);
}

size_t tmpl_utf8_encode(uint32_t code, char out[4])
{
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    if (code < 0x800) {
        out[0] = (char)(0xc0 | code >> 6);
        out[1] = (char)(0x80 | (code & 0x3f));
        return 2;
    }
    if (code < 0x10000) {
        out[0] = (char)(0xe0 | code >> 12);
        out[1] = (char)(0x80 | (code >> 6 & 0x3f));
        out[2] = (char)(0x80 | (code & 0x3f));
        return 3;
    }
    out[0] = (char)(0xf0 | code >> 18);
    out[1] = (char)(0x80 | (code >> 12 & 0x3f));
    out[2] = (char)(0x80 | (code >> 6 & 0x3f));
    out[3] = (char)(0x80 | (code & 0x3f));
    return 4;
}

static bool is_first_byte(char byte)
{
    return ((unsigned char)byte & 0xc0) != 0x80;
}

size_t tmpl_utf8_count(const char *text, size_t len)
{
    size_t n = 0;

    for (size_t i = 0; i < len; i++)
        n += is_first_byte(text[i]);
    return n;
}

size_t tmpl_utf8_offset(const char *text, size_t len, size_t index)
{
    size_t i = 0;

    for (; i < len; i++) {
        if (is_first_byte(text[i]) && index-- == 0)
            return i;
    }
    return len;
}

size_t tmpl_utf8_before(const char *text, size_t end)
{
    do {
        end--;
    } while (!is_first_byte(text[end]));
    return end;
}

bool tmpl_is_space(uint32_t code)
{
    if (code < 0x80)
        return code == ' ' || (code >= 9 && code <= 13) || (code >= 0x1c && code <= 0x1f);
    return code == 0x85 || code == 0xa0 || code == 0x1680 || (code >= 0x2000 && code <= 0x200a) ||
           code == 0x2028 || code == 0x2029 || code == 0x202f || code == 0x205f || code == 0x3000;
}

bool tmpl_is_line_break(uint32_t code)
{
    return (code >= 10 && code <= 13) || (code >= 0x1c && code <= 0x1e) || code == 0x85 ||
           code == 0x2028 || code == 0x2029;
}

bool tmpl_is_printable(uint32_t code)
{
    if (code < 0x7f)
        return code >= ' ';
    switch (utf8proc_category((utf8proc_int32_t)code)) {
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_ZS:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
        return false;
    default:
        return true;
    }
}

bool tmpl_is_alpha(uint32_t code)
{
    utf8proc_category_t category = utf8proc_category((utf8proc_int32_t)code);

    return category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO;
}

bool tmpl_is_decimal(uint32_t code)
{
    return utf8proc_category((utf8proc_int32_t)code) == UTF8PROC_CATEGORY_ND;
}

bool tmpl_is_numeric(uint32_t code)
{
    utf8proc_category_t category = utf8proc_category((utf8proc_int32_t)code);

    return category >= UTF8PROC_CATEGORY_ND && category <= UTF8PROC_CATEGORY_NO;
}

bool tmpl_is_upper(uint32_t code)
{
    return utf8proc_category((utf8proc_int32_t)code) == UTF8PROC_CATEGORY_LU ||
           (code >= 0x2160 && code <= 0x216f) || (code >= 0x24b6 && code <= 0x24cf) ||
           (code >= 0x1f130 && code <= 0x1f149) || (code >= 0x1f150 && code <= 0x1f169) ||
           (code >= 0x1f170 && code <= 0x1f189);
}

bool tmpl_is_lower(uint32_t code)
{
    return utf8proc_category((utf8proc_int32_t)code) == UTF8PROC_CATEGORY_LL || code == 0xaa ||
           code == 0xba || (code >= 0x2b0 && code <= 0x2b8) || (code >= 0x2c0 && code <= 0x2c1) ||
           (code >= 0x2e0 && code <= 0x2e4) || code == 0x345 || code == 0x37a ||
           (code >= 0x1d2c && code <= 0x1d6a) || code == 0x1d78 ||
           (code >= 0x1d9b && code <= 0x1dbf) || code == 0x2071 || code == 0x207f ||
           (code >= 0x2090 && code <= 0x209c) || (code >= 0x2170 && code <= 0x217f) ||
           (code >= 0x24d0 && code <= 0x24e9) || (code >= 0x2c7c && code <= 0x2c7d) ||
           (code >= 0xa69c && code <= 0xa69d) || code == 0xa770 ||
           (code >= 0xa7f8 && code <= 0xa7f9) || (code >= 0xab5c && code <= 0xab5f);
}

bool tmpl_is_title(uint32_t code)
{
    return utf8proc_category((utf8proc_int32_t)code) == UTF8PROC_CATEGORY_LT;
}

static const struct tmpl_special_case *find_special(uint32_t code)
{
    size_t low = 0, high = TMPL_SPECIAL_CASES;

    while (low < high) {
        size_t middle = (low + high) / 2;

        if (tmpl_special_cases[middle].code == code)
            return &tmpl_special_cases[middle];
        if (tmpl_special_cases[middle].code < code)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

size_t tmpl_case_map(uint32_t code, enum tmpl_case to, char out[TMPL_CASE_BYTES])
{
    const struct tmpl_special_case *special;
    utf8proc_int32_t single = (utf8proc_int32_t)code;
    size_t n = 0;

    if (code < 0x80) {
        bool upper = code >= 'A' && code <= 'Z', lower = code >= 'a' && code <= 'z';

        *out = (char)(to == TMPL_TO_LOWER ? code + (upper ? 32 : 0) : code - (lower ? 32 : 0));
        return 1;
    }
    if (to == TMPL_TO_LOWER) {
        if (code == 0x130) { /* the one lower case of two code points */
            memcpy(out, "i\xcc\x87", 3);
            return 3;
        }
        return tmpl_utf8_encode((uint32_t)utf8proc_tolower(single), out);
    }
    special = find_special(code);
    if (special) {
        const uint32_t *codes = to == TMPL_TO_UPPER ? special->upper : special->title;

        for (int i = 0; i < 3 && codes[i]; i++)
            n += tmpl_utf8_encode(codes[i], out + n);
        return n;
    }
    single = to == TMPL_TO_UPPER ? utf8proc_toupper(single) : utf8proc_totitle(single);
    return tmpl_utf8_encode((uint32_t)single, out);
}

static bool is_cased(uint32_t code)
{
    return tmpl_is_upper(code) || tmpl_is_lower(code) || tmpl_is_title(code);
}

/* What the rule looks through: marks, modifiers and a few points of punctuation. */
static bool is_case_ignorable(uint32_t code)
{
    switch (utf8proc_category((utf8proc_int32_t)code)) {
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_SK:
        return true;
    default:
        return code == '\'' || code == '.' || code == ':' || code == 0xb7 || code == 0x2019 ||
               code == 0x2018 || code == 0x2024 || code == 0x2027 || code == 0x387 ||
               code == 0x55f || code == 0x5f4 || code == 0xfe13 || code == 0xfe52 ||
               code == 0xfe55 || code == 0xff07 || code == 0xff0e || code == 0xff1a;
    }
}

bool tmpl_is_final_sigma(const char *text, size_t len, size_t offset)
{
    bool letter_before = false;
    size_t bytes, i = offset;

    while (i > 0) {
        uint32_t code;

        i = tmpl_utf8_before(text, i);
        code = tmpl_utf8_decode(text + i, &bytes);
        if (!is_case_ignorable(code)) {
            letter_before = is_cased(code);
            break;
        }
    }
    if (!letter_before)
        return false;
    for (i = offset + 2; i < len; i += bytes) {
        uint32_t code = tmpl_utf8_decode(text + i, &bytes);

        if (!is_case_ignorable(code))
            return !is_cased(code);
    }
    return true;
}

void tmpl_trim(const char **text, size_t *len, bool left, bool right)
{
    size_t bytes;

    while (left && *len && tmpl_is_space(tmpl_utf8_decode(*text, &bytes))) {
        *text += bytes;
        *len -= bytes;
    }
    while (right && *len) {
        size_t start = tmpl_utf8_before(*text, *len);

        if (!tmpl_is_space(tmpl_utf8_decode(*text + start, &bytes)))
            break;
        *len = start;
    }
}

size_t tmpl_int_print(int64_t integer, char out[24])
{
    return (size_t)snprintf(out, 24, "%lld", (long long)integer);
}

/* Rewrites "d.ddde+XX" to Python's choice: positional for exponents -4 to 15. */
static size_t layout_float(const char *digits, int exponent, bool negative, char *out)
{
    int n = (int)strlen(digits);
    char *p = out;

    if (negative)
        *p++ = '-';
    if (exponent < -4 || exponent > 15) {
        *p++ = digits[0];
        if (n > 1) {
            *p++ = '.';
            memcpy(p, digits + 1, (size_t)n - 1);
            p += n - 1;
        }
        p += snprintf(p, 8, "e%c%02d", exponent < 0 ? '-' : '+', abs(exponent));
        return (size_t)(p - out);
    }
    if (exponent < 0) {
        *p++ = '0';
        *p++ = '.';
        for (int i = -1; i > exponent; i--)
            *p++ = '0';
        memcpy(p, digits, (size_t)n);
        return (size_t)(p + n - out);
    }
    for (int i = 0; i <= exponent; i++)
        *p++ = i < n ? digits[i] : '0';
    *p++ = '.';
    if (exponent + 1 >= n)
        *p++ = '0';
    for (int i = exponent + 1; i < n; i++)
        *p++ = digits[i];
    return (size_t)(p - out);
}

size_t tmpl_float_print(double real, char out[TMPL_FLOAT_BYTES])
{
    char text[40], digits[20];
    size_t n = 0;
    int exponent;

    if (isnan(real) || isinf(real)) {
        const char *name = isnan(real) ? "nan" : real < 0 ? "-inf" : "inf";

        memcpy(out, name, strlen(name));
        return strlen(name);
    }
    /* Fifteen digits of a normal number always survive; if they read back the same, they hold the
     * shortest form. Subnormal numbers have fewer digits to begin with. */
    for (int precision = isnormal(real) ? 14 : 0; precision <= 16; precision++) {
        snprintf(text, sizeof(text), "%.*e", precision, fabs(real));
        if (strtod(text, NULL) == fabs(real))
            break;
    }
    exponent = atoi(strchr(text, 'e') + 1);
    for (const char *p = text; *p != 'e'; p++) {
        if (*p != '.')
            digits[n++] = *p;
    }
    while (n > 1 && digits[n - 1] == '0')
        n--;
    digits[n] = 0;
    return layout_float(digits, exponent, signbit(real), out);
}

double tmpl_big_to_double(const char *text, size_t len)
{
    double real = 0;

    return tmpl_float_read(text, len, &real) ? real : 0;
}

static int digit_value(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'z' ? c - 'a' + 10
           : c >= 'A' && c <= 'Z' ? c - 'A' + 10
                                  : 99;
}

/* Skips "0x", "0o" or "0b" where the base has it; base 0 takes its base from the prefix. */
static void skip_base_prefix(const char **text, size_t *len, int *base)
{
    static const struct {
        char letter;
        int base;
    } prefixes[] = {{'x', 16}, {'o', 8}, {'b', 2}};

    if (*len > 2 && **text == '0') {
        for (size_t i = 0; i < 3; i++) {
            if (((*text)[1] | 32) == prefixes[i].letter &&
                (*base == prefixes[i].base || *base == 0)) {
                *base = prefixes[i].base;
                *text += 2;
                *len -= 2;
                if (**text == '_' && *len > 1) {
                    (*text)++;
                    (*len)--;
                }
                return;
            }
        }
    }
    if (*base == 0)
        *base = 10;
}

bool tmpl_int_read(const char *text, size_t len, int base, int64_t *out, bool *overflow)
{
    bool negative = false, digit_before = false;
    uint64_t sum = 0;

    *overflow = false;
    tmpl_trim(&text, &len, true, true);
    if (len && (*text == '-' || *text == '+')) {
        negative = *text == '-';
        text++;
        len--;
    }
    skip_base_prefix(&text, &len, &base);
    for (size_t i = 0; i < len; i++) {
        int digit = digit_value(text[i]);

        if (text[i] == '_' && digit_before && i + 1 < len) {
            digit_before = false;
            continue;
        }
        if (digit >= base)
            return false;
        digit_before = true;
        if (__builtin_mul_overflow(sum, (uint64_t)base, &sum) ||
            __builtin_add_overflow(sum, (uint64_t)digit, &sum) ||
            sum > (uint64_t)INT64_MAX + negative) {
            *overflow = true;
            sum = 0;
        }
    }
    if (!digit_before)
        return false;
    *out = negative ? (int64_t)(0 - sum) : (int64_t)sum;
    return true;
}

static bool is_word(const char *text, size_t len, const char *word)
{
    if (strlen(word) != len)
        return false;
    for (size_t i = 0; i < len; i++) {
        if ((text[i] | 32) != word[i])
            return false;
    }
    return true;
}

/* Copies a decimal float without its underscores; false unless it is well formed. */
static bool clean_float(const char *text, size_t len, char *out)
{
    bool digits = false, dot = false, exponent = false;

    for (size_t i = 0; i < len; i++) {
        char c = text[i];
        bool after_digit = i > 0 && digit_value(text[i - 1]) < 10;

        if (digit_value(c) < 10) {
            digits = true;
        } else if (c == '_') {
            if (!after_digit || i + 1 == len || digit_value(text[i + 1]) > 9)
                return false;
            continue;
        } else if (c == '.') {
            if (dot || exponent)
                return false;
            dot = true;
        } else if ((c | 32) == 'e') {
            if (exponent || !digits)
                return false;
            exponent = true;
            digits = false;
        } else if (c == '-' || c == '+') {
            if (i > 0 && (text[i - 1] | 32) != 'e')
                return false;
        } else {
            return false;
        }
        *out++ = c;
    }
    *out = 0;
    return digits;
}

bool tmpl_float_read(const char *text, size_t len, double *out)
{
    char copy[NUMBER_LEN_MAX + 1];
    bool negative;

    tmpl_trim(&text, &len, true, true);
    if (len == 0 || len > NUMBER_LEN_MAX)
        return false;
    negative = *text == '-';
    if (negative || *text == '+') {
        text++;
        len--;
    }
    if (is_word(text, len, "inf") || is_word(text, len, "infinity")) {
        *out = negative ? -HUGE_VAL : HUGE_VAL;
        return true;
    }
    if (is_word(text, len, "nan")) {
        *out = (double)NAN;
        return true;
    }
    if (len == 0 || *text == '-' || *text == '+' || !clean_float(text, len, copy))
        return false;
    *out = strtod(copy, NULL);
    if (negative)
        *out = -*out;
    return true;
}
