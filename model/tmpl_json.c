/* A strict reader of JSON (RFC 8259). Recursion is bounded; items wait on a stack of their own
 * until their array or object closes, so memory stays linear in the text. */
#include "model/tmpl_json.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "model/tmpl_text.h"

struct reader {
    struct arena *arena;
    const char *text;
    size_t len, pos;
    uint32_t depth;
    struct tmpl_pair *waiting; /* [cap], n used; arrays use the values only */
    size_t n, cap;
    struct tmpl_json_error *error;
};

static enum status fail(struct reader *reader, enum status status, const char *text)
{
    reader->error->offset = reader->pos;
    snprintf(reader->error->text, sizeof(reader->error->text), "%s at byte %zu.", text,
             reader->pos);
    return status;
}

static enum status malformed(struct reader *reader, const char *text)
{
    return fail(reader, STATUS_MALFORMED, text);
}

static int at(const struct reader *reader)
{
    return reader->pos < reader->len ? (unsigned char)reader->text[reader->pos] : -1;
}

static void skip_space(struct reader *reader)
{
    int c;

    while ((c = at(reader)) == ' ' || c == '\n' || c == '\r' || c == '\t')
        reader->pos++;
}

static enum status push(struct reader *reader, const struct tmpl_pair *pair)
{
    if (reader->n == reader->cap) {
        size_t cap = reader->cap ? reader->cap * 2 : 64;
        struct tmpl_pair *grown = mem_realloc(reader->waiting, cap * sizeof(*grown));

        if (!grown)
            return STATUS_NO_MEMORY;
        reader->waiting = grown;
        reader->cap = cap;
    }
    reader->waiting[reader->n++] = *pair;
    return STATUS_OK;
}

/* --- strings --- */

static bool read_hex4(struct reader *reader, uint32_t *out)
{
    uint32_t code = 0;

    if (reader->len - reader->pos < 4)
        return false;
    for (int i = 0; i < 4; i++) {
        int c = at(reader), digit = c >= '0' && c <= '9'                 ? c - '0'
                                    : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10
                                                                         : -1;

        if (digit < 0)
            return false;
        code = code * 16 + (uint32_t)digit;
        reader->pos++;
    }
    *out = code;
    return true;
}

/* "\uXXXX", perhaps a pair of surrogates, after the 'u'. */
static enum status read_unicode(struct reader *reader, char **out)
{
    uint32_t code, low;

    if (!read_hex4(reader, &code))
        return malformed(reader, "Expected four hexadecimal digits after \\u");
    if (code >= 0xdc00 && code < 0xe000)
        return malformed(reader, "A surrogate stands alone");
    if (code >= 0xd800 && code < 0xdc00) {
        if (reader->len - reader->pos < 2 || memcmp(reader->text + reader->pos, "\\u", 2))
            return malformed(reader, "A surrogate stands alone");
        reader->pos += 2;
        if (!read_hex4(reader, &low) || low < 0xdc00 || low >= 0xe000)
            return malformed(reader, "A surrogate stands alone");
        code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
    }
    *out += tmpl_utf8_encode(code, *out);
    return STATUS_OK;
}

/* The bytes from the opening quote to the closing one, or 0. */
static size_t string_extent(const struct reader *reader)
{
    for (size_t i = reader->pos + 1; i < reader->len; i++) {
        if (reader->text[i] == '"')
            return i - reader->pos;
        if (reader->text[i] == '\\')
            i++;
    }
    return 0;
}

static enum status read_string(struct reader *reader, struct tmpl_value *out)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    size_t extent = string_extent(reader);
    char *text, *p;
    int c;

    if (!extent)
        return malformed(reader, "A string is not closed");
    if (extent > UINT32_MAX)
        return fail(reader, STATUS_TOO_BIG, "A string is too long");
    text = p = arena_alloc(reader->arena, extent);
    if (!text)
        return STATUS_NO_MEMORY;
    reader->pos++;
    while ((c = at(reader)) != '"') {
        enum status status;
        const char *simple;

        if (c < 0x20)
            return malformed(reader, "A control character stands in a string");
        reader->pos++;
        if (c != '\\') {
            *p++ = (char)c;
            continue;
        }
        c = at(reader);
        reader->pos++;
        simple = memchr(from, c, sizeof(from) - 1);
        if (simple) {
            *p++ = to[simple - from];
        } else if (c == 'u') {
            status = read_unicode(reader, &p);
            if (status != STATUS_OK)
                return status;
        } else {
            return malformed(reader, "A string has an unknown escape");
        }
    }
    reader->pos++;
    if (!tmpl_utf8_is_valid(text, (size_t)(p - text)))
        return malformed(reader, "A string is not valid UTF-8");
    *out = tmpl_str(text, (uint32_t)(p - text));
    return STATUS_OK;
}

/* --- numbers --- */

static size_t skip_digits(struct reader *reader)
{
    size_t start = reader->pos;

    while (at(reader) >= '0' && at(reader) <= '9')
        reader->pos++;
    return reader->pos - start;
}

static enum status make_integer(struct reader *reader, const char *text, size_t len,
                                struct tmpl_value *out)
{
    bool overflow;
    int64_t integer;
    char *copy;

    if (!tmpl_int_read(text, len, 10, &integer, &overflow))
        return malformed(reader, "A number is malformed");
    if (!overflow) {
        *out = tmpl_int(integer);
        return STATUS_OK;
    }
    copy = arena_memdup(reader->arena, text, len);
    if (!copy)
        return STATUS_NO_MEMORY;
    *out = (struct tmpl_value){.kind = TMPL_BIG, .len = (uint32_t)len, .text = copy};
    return STATUS_OK;
}

static enum status read_number(struct reader *reader, struct tmpl_value *out)
{
    const char *text = reader->text + reader->pos;
    size_t start = reader->pos, whole;
    bool integer = true, zero;

    if (at(reader) == '-')
        reader->pos++;
    zero = at(reader) == '0';
    whole = skip_digits(reader);
    if (whole == 0 || (zero && whole > 1))
        return malformed(reader, "Expected a value");
    if (at(reader) == '.') {
        reader->pos++;
        integer = false;
        if (!skip_digits(reader))
            return malformed(reader, "Expected digits after the point");
    }
    if (at(reader) == 'e' || at(reader) == 'E') {
        reader->pos++;
        integer = false;
        if (at(reader) == '+' || at(reader) == '-')
            reader->pos++;
        if (!skip_digits(reader))
            return malformed(reader, "Expected digits in the exponent");
    }
    if (reader->pos - start > TMPL_JSON_DIGITS_MAX)
        return fail(reader, STATUS_TOO_BIG, "A number is too long");
    if (integer)
        return make_integer(reader, text, reader->pos - start, out);
    *out = tmpl_float(0);
    if (!tmpl_float_read(text, reader->pos - start, &out->real))
        return malformed(reader, "A number is malformed");
    return STATUS_OK;
}

/* --- arrays and objects --- */

static enum status read_value(struct reader *reader, struct tmpl_value *out);

/* Key and colon of an object's next member. */
static enum status read_key(struct reader *reader, struct tmpl_value *out)
{
    enum status status;

    if (at(reader) != '"')
        return malformed(reader, "Expected a string as key");
    status = read_string(reader, out);
    if (status != STATUS_OK)
        return status;
    skip_space(reader);
    if (at(reader) != ':')
        return malformed(reader, "Expected ':' after a key");
    reader->pos++;
    skip_space(reader);
    return STATUS_OK;
}

static enum status read_members(struct reader *reader, char close)
{
    enum status status;

    reader->pos++;
    skip_space(reader);
    if (at(reader) == close) {
        reader->pos++;
        return STATUS_OK;
    }
    for (;;) {
        struct tmpl_pair pair = {.key = tmpl_none()};

        if (close == '}') {
            status = read_key(reader, &pair.key);
            if (status != STATUS_OK)
                return status;
        }
        status = read_value(reader, &pair.value);
        if (status == STATUS_OK)
            status = push(reader, &pair);
        if (status != STATUS_OK)
            return status;
        skip_space(reader);
        if (at(reader) == close) {
            reader->pos++;
            return STATUS_OK;
        }
        if (at(reader) != ',')
            return malformed(reader, close == '}' ? "Expected ',' or '}'" : "Expected ',' or ']'");
        reader->pos++;
        skip_space(reader);
    }
}

static enum status read_container(struct reader *reader, char close, struct tmpl_value *out)
{
    size_t first = reader->n, n;
    struct tmpl_value *items;
    enum status status;

    if (reader->depth == TMPL_JSON_DEPTH_MAX)
        return fail(reader, STATUS_TOO_BIG, "Arrays and objects are nested too deep");
    reader->depth++;
    status = read_members(reader, close);
    reader->depth--;
    if (status != STATUS_OK)
        return status;
    n = reader->n - first;
    reader->n = first;
    if (close == '}')
        return tmpl_dict_make(reader->arena, n ? reader->waiting + first : NULL, n, out);
    items = arena_alloc(reader->arena, n * sizeof(*items));
    if (!items || n > UINT32_MAX)
        return STATUS_NO_MEMORY;
    for (size_t i = 0; i < n; i++)
        items[i] = reader->waiting[first + i].value;
    *out = (struct tmpl_value){.kind = TMPL_LIST, .len = (uint32_t)n, .items = items};
    return STATUS_OK;
}

static enum status read_word(struct reader *reader, struct tmpl_value *out)
{
    static const struct {
        const char *text;
        uint8_t kind;
        bool boolean;
    } words[] = {
        {"true", TMPL_BOOL, true}, {"false", TMPL_BOOL, false}, {"null", TMPL_NONE, false}};

    for (size_t i = 0; i < 3; i++) {
        size_t n = strlen(words[i].text);

        if (reader->len - reader->pos >= n &&
            memcmp(reader->text + reader->pos, words[i].text, n) == 0) {
            reader->pos += n;
            *out = words[i].kind == TMPL_BOOL ? tmpl_bool(words[i].boolean) : tmpl_none();
            return STATUS_OK;
        }
    }
    return malformed(reader, "Expected a value");
}

static enum status read_value(struct reader *reader, struct tmpl_value *out)
{
    switch (at(reader)) {
    case '{':
        return read_container(reader, '}', out);
    case '[':
        return read_container(reader, ']', out);
    case '"':
        return read_string(reader, out);
    case 't':
    case 'f':
    case 'n':
        return read_word(reader, out);
    default:
        return read_number(reader, out);
    }
}

enum status tmpl_json_read(struct arena *arena, const char *text, size_t len,
                           struct tmpl_json_error *error, struct tmpl_value *out)
{
    struct reader reader = {.arena = arena, .text = text, .len = len, .error = error};
    struct tmpl_value value = tmpl_none();
    enum status status;

    memset(error, 0, sizeof(*error));
    skip_space(&reader);
    status = read_value(&reader, &value);
    skip_space(&reader);
    if (status == STATUS_OK && reader.pos < len)
        status = malformed(&reader, "Text follows the value");
    if (status == STATUS_NO_MEMORY)
        fail(&reader, status, "Out of memory");
    mem_free(reader.waiting);
    if (status == STATUS_OK)
        *out = value;
    return status;
}
