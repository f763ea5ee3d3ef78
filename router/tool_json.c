/* A pushdown automaton of one byte a step: the stack is a word of bits. */
#include "router/tool_json.h"

#include <stdbool.h>
#include <string.h>

#include "model/tmpl_text.h"

enum {
    VALUE,
    FIRST_ITEM, /* behind [ */
    FIRST_KEY,  /* behind { */
    KEY,        /* behind , in an object */
    COLON,
    NEXT, /* behind an item */
    STRING,
    ESCAPE,
    HEX,
    WORD, /* true, false, null */
    MINUS,
    ZERO,
    INTEGER,
    POINT,
    FRACTION,
    EXPONENT,
    EXPONENT_SIGN,
    EXPONENT_DIGITS,
};

static bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static bool is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

static int hex_value(uint8_t c)
{
    if (is_digit(c))
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

void tool_json_init(struct tool_json *json)
{
    *json = (struct tool_json){.state = VALUE};
}

/* ---- values ---- */

static enum tool_json_result to(struct tool_json *json, uint8_t state)
{
    json->state = state;
    return TOOL_JSON_MORE;
}

/* A value has ended with the present byte. */
static enum tool_json_result value_done(struct tool_json *json)
{
    json->state = NEXT;
    return json->depth == 0 ? TOOL_JSON_DONE : TOOL_JSON_MORE;
}

static enum tool_json_result open_container(struct tool_json *json, bool object)
{
    uint64_t bit;

    if (json->depth == TOOL_JSON_DEPTH_MAX)
        return TOOL_JSON_BAD;
    bit = UINT64_C(1) << json->depth;
    json->objects = object ? json->objects | bit : json->objects & ~bit;
    json->depth++;
    return to(json, object ? FIRST_KEY : FIRST_ITEM);
}

static bool in_object(const struct tool_json *json)
{
    return json->depth > 0 && (json->objects >> (json->depth - 1) & 1);
}

static enum tool_json_result close_container(struct tool_json *json)
{
    json->depth--;
    return value_done(json);
}

static enum tool_json_result word(struct tool_json *json, const char *rest)
{
    json->expected = rest;
    return to(json, WORD);
}

static enum tool_json_result value(struct tool_json *json, uint8_t c)
{
    switch (c) {
    case '{':
    case '[':
        return open_container(json, c == '{');
    case '"':
        json->in_key = false;
        return to(json, STRING);
    case 't':
        return word(json, "rue");
    case 'f':
        return word(json, "alse");
    case 'n':
        return word(json, "ull");
    case '-':
        return to(json, MINUS);
    case '0':
        return to(json, ZERO);
    default:
        return is_digit(c) ? to(json, INTEGER) : TOOL_JSON_BAD;
    }
}

static enum tool_json_result next(struct tool_json *json, uint8_t c)
{
    const bool object = in_object(json);

    if (c == ',')
        return to(json, object ? KEY : VALUE);
    return c == (object ? '}' : ']') ? close_container(json) : TOOL_JSON_BAD;
}

static enum tool_json_result key(struct tool_json *json, uint8_t c)
{
    if (c != '"')
        return TOOL_JSON_BAD;
    json->in_key = true;
    return to(json, STRING);
}

/* ---- strings, words, numbers ---- */

static enum tool_json_result string(struct tool_json *json, uint8_t c)
{
    int digit;

    switch (json->state) {
    case STRING:
        if (c == '\\')
            return to(json, ESCAPE);
        if (c == '"')
            return json->in_key ? to(json, COLON) : value_done(json);
        return c >= 0x20 ? TOOL_JSON_MORE : TOOL_JSON_BAD;
    case ESCAPE:
        json->n_hex = 4;
        if (c == 'u')
            return to(json, HEX);
        return c && strchr("\"\\/bfnrt", c) ? to(json, STRING) : TOOL_JSON_BAD;
    default: /* HEX */
        digit = hex_value(c);
        if (digit < 0)
            return TOOL_JSON_BAD;
        return --json->n_hex == 0 ? to(json, STRING) : TOOL_JSON_MORE;
    }
}

static enum tool_json_result rest_of_word(struct tool_json *json, uint8_t c)
{
    if (c != (uint8_t)*json->expected)
        return TOOL_JSON_BAD;
    return *++json->expected ? TOOL_JSON_MORE : value_done(json);
}

/* What follows a number is not its own: it belongs to the container, if there is one. */
static enum tool_json_result number_done(struct tool_json *json, uint8_t c)
{
    if (value_done(json) == TOOL_JSON_DONE)
        return TOOL_JSON_BEFORE;
    return is_blank(c) ? TOOL_JSON_MORE : next(json, c);
}

static enum tool_json_result number(struct tool_json *json, uint8_t c)
{
    const bool digit = is_digit(c), e = c == 'e' || c == 'E';

    switch (json->state) {
    case MINUS:
        return digit ? to(json, c == '0' ? ZERO : INTEGER) : TOOL_JSON_BAD;
    case INTEGER:
        if (digit)
            return TOOL_JSON_MORE;
        /* fall through */
    case ZERO:
        if (c == '.')
            return to(json, POINT);
        if (digit)
            return TOOL_JSON_BAD;
        return e ? to(json, EXPONENT) : number_done(json, c);
    case POINT:
        return digit ? to(json, FRACTION) : TOOL_JSON_BAD;
    case FRACTION:
        if (digit)
            return TOOL_JSON_MORE;
        return e ? to(json, EXPONENT) : number_done(json, c);
    case EXPONENT:
        if (c == '+' || c == '-')
            return to(json, EXPONENT_SIGN);
        return digit ? to(json, EXPONENT_DIGITS) : TOOL_JSON_BAD;
    case EXPONENT_SIGN:
        return digit ? to(json, EXPONENT_DIGITS) : TOOL_JSON_BAD;
    default: /* EXPONENT_DIGITS */
        return digit ? TOOL_JSON_MORE : number_done(json, c);
    }
}

/* ---- one byte ---- */

enum tool_json_result tool_json_step(struct tool_json *json, uint8_t byte)
{
    if (json->state >= MINUS)
        return number(json, byte);
    if (json->state == WORD)
        return rest_of_word(json, byte);
    if (json->state >= STRING)
        return string(json, byte);
    if (is_blank(byte))
        return TOOL_JSON_MORE;
    switch (json->state) {
    case FIRST_ITEM:
        return byte == ']' ? close_container(json) : value(json, byte);
    case FIRST_KEY:
        return byte == '}' ? close_container(json) : key(json, byte);
    case KEY:
        return key(json, byte);
    case COLON:
        return byte == ':' ? to(json, VALUE) : TOOL_JSON_BAD;
    case NEXT:
        return json->depth > 0 ? next(json, byte) : TOOL_JSON_BAD;
    default:
        return value(json, byte);
    }
}

/* ---- texts ---- */

static uint32_t hex4(const char *at)
{
    uint32_t code = 0;

    for (int i = 0; i < 4; i++)
        code = code << 4 | (uint32_t)hex_value((uint8_t)at[i]);
    return code;
}

/* The character of an escape at raw[*at], which is behind its backslash; 0 for none that we take.
 */
static uint32_t escape(const char *raw, size_t len, size_t *at)
{
    static const char names[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
    const char name = raw[(*at)++];
    uint32_t code, low;

    if (name != 'u')
        return (uint32_t)values[strchr(names, name) - names];
    code = hex4(raw + *at);
    *at += 4;
    if (code < 0xd800 || code > 0xdfff)
        return code;
    if (code > 0xdbff || len - *at < 6 || raw[*at] != '\\' || raw[*at + 1] != 'u')
        return 0;
    low = hex4(raw + *at + 2);
    *at += 6;
    return low >= 0xdc00 && low <= 0xdfff ? 0x10000 + (code - 0xd800) * 0x400 + low - 0xdc00 : 0;
}

enum status tool_json_text(const char *raw, size_t len, char *out, size_t cap, size_t *out_len)
{
    size_t n = 0;

    for (size_t at = 0; at < len;) {
        char bytes[4] = {raw[at]};
        size_t n_bytes = 1;

        if (raw[at++] == '\\') {
            const uint32_t code = escape(raw, len, &at);

            if (code < 0x20)
                return STATUS_MALFORMED;
            n_bytes = tmpl_utf8_encode(code, bytes);
        }
        if (n_bytes > cap - n)
            return STATUS_TOO_BIG;
        memcpy(out + n, bytes, n_bytes);
        n += n_bytes;
    }
    *out_len = n;
    return STATUS_OK;
}
