/* The JSON reader. It trusts nothing: every byte is checked against the length before it is read,
 * nesting is counted instead of recursed into. Any thread. */
#include "model/tok_json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/tok_error.h"
#include "model/tok_unicode.h"

void tok_json_init(struct tok_json *json, const char *text, size_t len,
                   struct tokenizer_error *error)
{
    *json = (struct tok_json){.text = text, .len = len, .pos = 0, .error = error};
}

enum status tok_json_expected(struct tok_json *json, const char *what)
{
    if (json->pos >= json->len) {
        return tok_fail(json->error, STATUS_MALFORMED,
                        "tokenizer.json: at byte %zu: expected %s, found the end of the file",
                        json->pos, what);
    }
    unsigned char byte = (unsigned char)json->text[json->pos];
    if (byte >= 0x20 && byte < 0x7f) {
        return tok_fail(json->error, STATUS_MALFORMED,
                        "tokenizer.json: at byte %zu: expected %s, found '%c'", json->pos, what,
                        byte);
    }
    return tok_fail(json->error, STATUS_MALFORMED,
                    "tokenizer.json: at byte %zu: expected %s, found byte 0x%02x", json->pos, what,
                    byte);
}

char tok_json_peek(struct tok_json *json)
{
    while (json->pos < json->len) {
        char c = json->text[json->pos];
        if (c != ' ' && c != '\n' && c != '\t' && c != '\r') {
            return c;
        }
        json->pos++;
    }
    return 0;
}

enum status tok_json_enter(struct tok_json *json, char open, struct tok_json_walk *walk)
{
    if (tok_json_peek(json) != open) {
        return tok_json_expected(json, open == '{' ? "an object" : "an array");
    }
    json->pos++;
    *walk = (struct tok_json_walk){.close = open == '{' ? '}' : ']', .started = false};
    return STATUS_OK;
}

enum status tok_json_next_element(struct tok_json *json, struct tok_json_walk *walk, bool *more)
{
    char c = tok_json_peek(json);
    if (c == walk->close) {
        json->pos++;
        *more = false;
        return STATUS_OK;
    }
    if (walk->started) {
        if (c != ',') {
            return tok_json_expected(json, walk->close == '}' ? "',' or '}'" : "',' or ']'");
        }
        json->pos++;
        if (tok_json_peek(json) == walk->close) {
            return tok_json_expected(json, "a value after ','");
        }
    }
    walk->started = true;
    *more = true;
    return STATUS_OK;
}

enum status tok_json_next_member(struct tok_json *json, struct tok_json_walk *walk,
                                 struct tok_json_string *key, bool *more)
{
    bool got;
    enum status status = tok_json_next_element(json, walk, &got);
    if (status != STATUS_OK || !got) {
        *more = false;
        return status;
    }
    struct tok_json_string name;
    status = tok_json_string(json, &name);
    if (status != STATUS_OK) {
        return status;
    }
    if (tok_json_peek(json) != ':') {
        return tok_json_expected(json, "':'");
    }
    json->pos++;
    *key = name;
    *more = true;
    return STATUS_OK;
}

/* Four hexadecimal digits at `pos`, or -1. */
static int read_hex4(const char *text, size_t pos, size_t len)
{
    if (len - pos < 4) {
        return -1;
    }
    int value = 0;
    for (size_t i = pos; i < pos + 4; i++) {
        char c = text[i];
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;
        if (digit < 0) {
            return -1;
        }
        value = value << 4 | digit;
    }
    return value;
}

/* The cursor stands behind a backslash. */
static enum status check_escape(struct tok_json *json)
{
    if (json->pos >= json->len) {
        return tok_json_expected(json, "an escape");
    }
    char c = json->text[json->pos];
    if (c != 'u') {
        if (memchr("\"\\/bfnrt", c, 8) == NULL) {
            return tok_json_expected(json, "one of \"\\/bfnrtu after a backslash");
        }
        json->pos++;
        return STATUS_OK;
    }
    json->pos++;
    int unit = read_hex4(json->text, json->pos, json->len);
    if (unit < 0 || (unit >= 0xdc00 && unit < 0xe000)) {
        return tok_json_expected(json, "four hexadecimal digits that are no low surrogate");
    }
    json->pos += 4;
    if (unit < 0xd800 || unit >= 0xe000) {
        return STATUS_OK;
    }
    if (json->len - json->pos < 6 || json->text[json->pos] != '\\' ||
        json->text[json->pos + 1] != 'u') {
        return tok_json_expected(json, "a low surrogate after a high one");
    }
    unit = read_hex4(json->text, json->pos + 2, json->len);
    if (unit < 0xdc00 || unit >= 0xe000) {
        return tok_json_expected(json, "a low surrogate after a high one");
    }
    json->pos += 6;
    return STATUS_OK;
}

enum status tok_json_string(struct tok_json *json, struct tok_json_string *out)
{
    if (tok_json_peek(json) != '"') {
        return tok_json_expected(json, "a string");
    }
    size_t start = ++json->pos;
    bool escaped = false;
    while (json->pos < json->len) {
        unsigned char c = (unsigned char)json->text[json->pos];
        if (c == '"') {
            *out = (struct tok_json_string){json->text + start, json->pos - start, escaped};
            json->pos++;
            return STATUS_OK;
        }
        if (c == '\\') {
            escaped = true;
            json->pos++;
            enum status status = check_escape(json);
            if (status != STATUS_OK) {
                return status;
            }
        } else if (c < 0x20) {
            return tok_json_expected(json, "a string without raw control characters");
        } else if (c < 0x80) {
            json->pos++;
        } else {
            unsigned bad;
            bool cut;
            unsigned n = tok_utf8_check(json->text + json->pos, json->len - json->pos, &bad, &cut);
            if (n == 0) {
                return tok_json_expected(json, "valid UTF-8");
            }
            json->pos += n;
        }
    }
    return tok_json_expected(json, "the end of a string");
}

/* Consumes the characters of a number and returns how many there are. */
static size_t number_span(struct tok_json *json)
{
    tok_json_peek(json);
    size_t start = json->pos;
    while (json->pos < json->len && memchr("+-.0123456789Ee", json->text[json->pos], 15) != NULL) {
        json->pos++;
    }
    return json->pos - start;
}

enum status tok_json_u32(struct tok_json *json, uint32_t *out)
{
    tok_json_peek(json);
    size_t start = json->pos;
    size_t n = number_span(json);
    uint64_t value = 0;
    bool good = n > 0 && n <= 10 && (n == 1 || json->text[start] != '0');
    for (size_t i = start; good && i < start + n; i++) {
        char c = json->text[i];
        good = c >= '0' && c <= '9';
        value = value * 10 + (uint64_t)(c - '0');
    }
    if (!good || value > UINT32_MAX) {
        json->pos = start;
        return tok_json_expected(json, "an integer from 0 to 4294967295");
    }
    *out = (uint32_t)value;
    return STATUS_OK;
}

/* 10 to the power of n, correctly rounded; infinite over 308. */
static double power_of_ten(int n)
{
    static const double small[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                   1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                   1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22, 1e23};
    if (n < (int)(sizeof small / sizeof *small)) {
        return small[n];
    }
    char text[8];
    snprintf(text, sizeof text, "1e%d", n < 999 ? n : 999);
    return strtod(text, NULL);
}

/* Digits into *value as long as it does not overflow. Returns how many were taken; *skipped counts
 * the others. */
static int take_digits(struct tok_json *json, uint64_t *value, int *skipped)
{
    int taken = 0;
    *skipped = 0;
    for (; json->pos < json->len; json->pos++) {
        char c = json->text[json->pos];
        if (c < '0' || c > '9') {
            break;
        }
        uint64_t digit = (uint64_t)(c - '0');
        if (*skipped > 0 || *value > (UINT64_MAX - digit) / 10) {
            *skipped += 1;
        } else {
            *value = *value * 10 + digit;
            taken++;
        }
    }
    return taken;
}

/* The reference rounds twice, once to the significand and once with the power of ten; equal scores
 * of its pieces depend on that, so this does the same. */
enum status tok_json_double(struct tok_json *json, double *out)
{
    tok_json_peek(json);
    size_t start = json->pos;
    uint64_t significand = 0, power = 0;
    int exponent = 0, skipped, unused;
    bool negative = json->pos < json->len && json->text[json->pos] == '-';
    json->pos += negative;
    size_t first = json->pos;
    bool good = take_digits(json, &significand, &skipped) > 0;
    good &= json->pos - first == 1 || (json->pos > first && json->text[first] != '0');
    exponent += skipped;
    if (good && json->pos < json->len && json->text[json->pos] == '.') {
        json->pos++;
        int n = skipped == 0 ? take_digits(json, &significand, &unused)
                             : take_digits(json, &power, &unused);
        good = n > 0 || (skipped == 0 && unused > 0);
        exponent -= skipped == 0 ? n : 0;
    }
    if (good && json->pos < json->len && (json->text[json->pos] | 32) == 'e') {
        json->pos++;
        bool minus = json->pos < json->len && json->text[json->pos] == '-';
        json->pos += minus || (json->pos < json->len && json->text[json->pos] == '+');
        power = 0;
        good = take_digits(json, &power, &unused) > 0;
        int by = unused > 0 || power > 9999 ? 9999 : (int)power;
        exponent += minus ? -by : by;
    }
    double value = (double)significand;
    for (; exponent < -308 && value != 0; exponent += 308) {
        value /= 1e308;
    }
    value = value == 0     ? 0
            : exponent < 0 ? value / power_of_ten(-exponent)
                           : value * power_of_ten(exponent);
    if (!good || value - value != 0.0) {
        json->pos = start;
        return tok_json_expected(json, "a finite number");
    }
    *out = negative ? -value : value;
    return STATUS_OK;
}

static bool take_word(struct tok_json *json, const char *word)
{
    tok_json_peek(json);
    size_t n = strlen(word);
    if (json->len - json->pos < n || memcmp(json->text + json->pos, word, n) != 0) {
        return false;
    }
    json->pos += n;
    return true;
}

enum status tok_json_bool(struct tok_json *json, bool *out)
{
    if (take_word(json, "true")) {
        *out = true;
    } else if (take_word(json, "false")) {
        *out = false;
    } else {
        return tok_json_expected(json, "true or false");
    }
    return STATUS_OK;
}

bool tok_json_null(struct tok_json *json)
{
    return take_word(json, "null");
}

/* Consumes a value that is neither object nor array. */
static enum status skip_scalar(struct tok_json *json)
{
    struct tok_json_string string;
    double number;
    switch (tok_json_peek(json)) {
    case '"':
        return tok_json_string(json, &string);
    case 't':
    case 'f':
    case 'n':
        if (take_word(json, "true") || take_word(json, "false") || take_word(json, "null")) {
            return STATUS_OK;
        }
        return tok_json_expected(json, "a value");
    case '-':
    case '0' ... '9':
        return tok_json_double(json, &number);
    default:
        return tok_json_expected(json, "a value");
    }
}

enum status tok_json_skip(struct tok_json *json)
{
    struct tok_json_walk walks[TOK_JSON_DEPTH_MAX];
    unsigned depth = 0;
    do {
        if (depth > 0) {
            struct tok_json_walk *walk = &walks[depth - 1];
            struct tok_json_string key;
            bool more;
            enum status status = walk->close == '}' ? tok_json_next_member(json, walk, &key, &more)
                                                    : tok_json_next_element(json, walk, &more);
            if (status != STATUS_OK) {
                return status;
            }
            if (!more) {
                depth--;
                continue;
            }
        }
        char c = tok_json_peek(json);
        if (c == '{' || c == '[') {
            if (depth == TOK_JSON_DEPTH_MAX) {
                return tok_json_expected(json, "at most 64 levels of nesting");
            }
            (void)tok_json_enter(json, c, &walks[depth++]);
            continue;
        }
        enum status status = skip_scalar(json);
        if (status != STATUS_OK) {
            return status;
        }
    } while (depth > 0);
    return STATUS_OK;
}

enum status tok_json_end(struct tok_json *json)
{
    if (tok_json_peek(json) != 0 || json->pos < json->len) {
        return tok_json_expected(json, "the end of the file");
    }
    return STATUS_OK;
}

enum status tok_json_find(const struct tok_json *object, const char *key, struct tok_json *value)
{
    struct tok_json json = *object;
    struct tok_json found = {.text = NULL};
    struct tok_json_walk walk;
    enum status status = tok_json_enter(&json, '{', &walk);
    while (status == STATUS_OK) {
        struct tok_json_string name;
        bool more;
        status = tok_json_next_member(&json, &walk, &name, &more);
        if (status != STATUS_OK || !more) {
            break;
        }
        if (tok_json_string_is(&name, key)) {
            if (found.text != NULL) {
                return tok_fail(json.error, STATUS_MALFORMED,
                                "tokenizer.json: at byte %zu: the key \"%s\" is there twice",
                                json.pos, key);
            }
            found = json;
        }
        status = tok_json_skip(&json);
    }
    if (status != STATUS_OK) {
        return status;
    }
    if (found.text == NULL || tok_json_null(&found)) {
        return STATUS_NOT_FOUND;
    }
    *value = found;
    return STATUS_OK;
}

enum status tok_json_find_bool(const struct tok_json *object, const char *key, bool *out)
{
    struct tok_json value;
    enum status status = tok_json_find(object, key, &value);
    if (status == STATUS_NOT_FOUND) {
        return STATUS_OK;
    }
    return status == STATUS_OK ? tok_json_bool(&value, out) : status;
}

enum status tok_json_find_text(const struct tok_json *object, const char *key, char *out,
                               size_t cap, size_t *len)
{
    struct tok_json value;
    struct tok_json_string string;
    enum status status = tok_json_find(object, key, &value);
    if (status == STATUS_OK) {
        status = tok_json_string(&value, &string);
    }
    if (status != STATUS_OK) {
        return status;
    }
    if (string.len >= cap) {
        return tok_fail(object->error, STATUS_TOO_BIG,
                        "tokenizer.json: at byte %zu: \"%s\" has %zu bytes, the limit is %zu",
                        value.pos, key, string.len, cap - 1);
    }
    *len = tok_json_unescape(&string, out);
    out[*len] = 0;
    return STATUS_OK;
}

bool tok_json_string_is(const struct tok_json_string *string, const char *text)
{
    size_t n = strlen(text);
    return string->len == n && memcmp(string->raw, text, n) == 0;
}

static uint32_t unescape_one(char c)
{
    switch (c) {
    case 'b':
        return '\b';
    case 'f':
        return '\f';
    case 'n':
        return '\n';
    case 'r':
        return '\r';
    case 't':
        return '\t';
    default:
        return (unsigned char)c;
    }
}

size_t tok_json_unescape(const struct tok_json_string *string, char *out)
{
    if (!string->escaped) {
        memcpy(out, string->raw, string->len);
        return string->len;
    }
    size_t n = 0;
    for (size_t i = 0; i < string->len;) {
        if (string->raw[i] != '\\') {
            out[n++] = string->raw[i++];
            continue;
        }
        char c = string->raw[i + 1];
        i += 2;
        if (c != 'u') {
            out[n++] = (char)unescape_one(c);
            continue;
        }
        uint32_t unit = (uint32_t)read_hex4(string->raw, i, string->len);
        i += 4;
        if (unit >= 0xd800 && unit < 0xdc00) {
            uint32_t low = (uint32_t)read_hex4(string->raw, i + 2, string->len);
            unit = 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
            i += 6;
        }
        char bytes[4];
        unsigned n_bytes = tok_utf8_put(unit, bytes);
        memcpy(out + n, bytes, n_bytes);
        n += n_bytes;
    }
    return n;
}
