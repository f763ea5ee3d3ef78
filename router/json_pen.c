/* See json_pen.h. */
#include "router/json_pen.h"

#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"

#define NUMBER_MAX 32 /* bytes of any number we write */

static const char replacement[3] = {'\xEF', '\xBF', '\xBD'}; /* U+FFFD */

void pen_raw(struct json_pen *pen, const void *bytes, size_t len)
{
    if (pen->to != NULL && len > 0) {
        CHECK(len <= pen->cap - pen->n);
        memcpy(pen->to + pen->n, bytes, len);
    }
    pen->n += len;
}

void pen_str(struct json_pen *pen, const char *json)
{
    pen_raw(pen, json, strlen(json));
}

/* ---- texts ---------------------------------------------------------------------------------- */

/* What a byte means inside a JSON string. */
static bool is_plain(uint8_t byte)
{
    return byte >= 0x20 && byte < 0x80 && byte != '"' && byte != '\\';
}

/* Bytes of the well-formed character at `at`, which starts with a byte over 0x7F; or 0 and in *skip
 * the length of the wrong part: the longest start of a well-formed character, else one byte. */
static size_t char_len(const uint8_t *at, size_t left, size_t *skip)
{
    const uint8_t head = at[0];
    const size_t len = head >= 0xF0 ? 4 : head >= 0xE0 ? 3 : 2;
    uint8_t low = 0x80, high = 0xBF; /* of the second byte */

    *skip = 1;
    if (head < 0xC2 || head > 0xF4) {
        return 0;
    }
    if (head == 0xE0) {
        low = 0xA0; /* below: overlong */
    } else if (head == 0xED) {
        high = 0x9F; /* above: surrogates */
    } else if (head == 0xF0) {
        low = 0x90;
    } else if (head == 0xF4) {
        high = 0x8F; /* above: past U+10FFFF */
    }
    for (size_t i = 1; i < len; i++) {
        if (i >= left || at[i] < low || at[i] > high) {
            return 0;
        }
        *skip = i + 1;
        low = 0x80;
        high = 0xBF;
    }
    return len;
}

static void pen_escape(struct json_pen *pen, uint8_t byte)
{
    static const char shorts[] = "\"\"\\\\\bb\ff\nn\rr\tt"; /* pairs: byte, letter */
    char text[7] = "\\";

    for (size_t i = 0; i + 1 < sizeof(shorts); i += 2) {
        if (byte == (uint8_t)shorts[i]) {
            text[1] = shorts[i + 1];
            pen_raw(pen, text, 2);
            return;
        }
    }
    snprintf(text, sizeof(text), "\\u%04x", byte);
    pen_raw(pen, text, 6);
}

void pen_text(struct json_pen *pen, struct wire_span text)
{
    const uint8_t *at = (const uint8_t *)text.at;
    size_t done = 0, i = 0; /* [done, i) goes out as it is */

    pen_raw(pen, "\"", 1);
    while (i < text.len) {
        size_t skip = 1;

        if (is_plain(at[i])) {
            i++;
            continue;
        }
        if (at[i] >= 0x80) {
            const size_t len = char_len(at + i, text.len - i, &skip);

            if (len > 0) {
                i += len;
                continue;
            }
        }
        pen_raw(pen, at + done, i - done);
        if (at[i] >= 0x80) {
            pen_raw(pen, replacement, sizeof(replacement));
        } else {
            pen_escape(pen, at[i]);
        }
        i += skip;
        done = i;
    }
    if (text.len > done) {
        pen_raw(pen, at + done, text.len - done);
    }
    pen_raw(pen, "\"", 1);
}

/* Bytes of the next character, wrong parts included; *wrong if it leaves as U+FFFD. */
static size_t step(struct wire_span text, size_t at, bool *wrong)
{
    const uint8_t *bytes = (const uint8_t *)text.at + at;
    size_t skip = 1;
    const size_t len = bytes[0] < 0x80 ? 1 : char_len(bytes, text.len - at, &skip);

    *wrong = len == 0;
    return len > 0 ? len : skip;
}

size_t pen_chars(struct wire_span text)
{
    size_t chars = 0;
    bool wrong;

    for (size_t i = 0; i < text.len; chars++) {
        i += step(text, i, &wrong);
    }
    return chars;
}

/* The bytes as which the next character leaves; *at moves past it. */
static struct wire_span leaving(struct wire_span text, size_t *at)
{
    const size_t from = *at;
    bool wrong;

    *at += step(text, from, &wrong);
    return wrong ? (struct wire_span){replacement, sizeof(replacement)}
                 : (struct wire_span){text.at + from, *at - from};
}

bool pen_equal(struct wire_span a, struct wire_span b)
{
    size_t i = 0, k = 0;

    if (wire_span_equal(a, b)) {
        return true;
    }
    while (i < a.len && k < b.len) {
        if (!wire_span_equal(leaving(a, &i), leaving(b, &k))) {
            return false;
        }
    }
    return i == a.len && k == b.len;
}

static void pen_name(struct json_pen *pen, const char *name)
{
    pen_raw(pen, "\"", 1);
    pen_str(pen, name);
    pen_raw(pen, "\":", 2);
}

void pen_member(struct json_pen *pen, const char *name, struct wire_span text)
{
    pen_name(pen, name);
    pen_text(pen, text);
}

void pen_member_or_null(struct json_pen *pen, const char *name, struct wire_span text)
{
    pen_name(pen, name);
    if (text.len > 0) {
        pen_text(pen, text);
    } else {
        pen_str(pen, "null");
    }
}

/* ---- numbers -------------------------------------------------------------------------------- */

void pen_u64(struct json_pen *pen, uint64_t value)
{
    char text[NUMBER_MAX];
    size_t at = sizeof(text);

    do {
        text[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    pen_raw(pen, text + at, sizeof(text) - at);
}

void pen_i64(struct json_pen *pen, int64_t value)
{
    if (value < 0) {
        pen_raw(pen, "-", 1);
    }
    pen_u64(pen, value < 0 ? 0 - (uint64_t)value : (uint64_t)value);
}

void pen_f64(struct json_pen *pen, double value)
{
    char text[NUMBER_MAX];

    if (pen->to == NULL) {
        pen->n += NUMBER_MAX; /* printing is the slow part: not twice */
        return;
    }
    if (isnan(value)) {
        pen_str(pen, "null");
        return;
    }
    value = value > DBL_MAX ? DBL_MAX : value < -DBL_MAX ? -DBL_MAX : value;
    pen_raw(pen, text, (size_t)snprintf(text, sizeof(text), "%.17g", value));
}

void pen_u32s(struct json_pen *pen, struct wire_u32s values)
{
    pen_raw(pen, "[", 1);
    for (size_t i = 0; i < values.n; i++) {
        if (i > 0) {
            pen_raw(pen, ",", 1);
        }
        pen_u64(pen, values.at[i]);
    }
    pen_raw(pen, "]", 1);
}

void pen_bytes(struct json_pen *pen, struct wire_span text)
{
    pen_raw(pen, "[", 1);
    for (size_t i = 0; i < text.len; i++) {
        if (i > 0) {
            pen_raw(pen, ",", 1);
        }
        pen_u64(pen, (uint8_t)text.at[i]);
    }
    pen_raw(pen, "]", 1);
}

/* ---- twice ---------------------------------------------------------------------------------- */

enum status pen_append(struct buf *out, void (*write)(struct json_pen *pen, const void *what),
                       const void *what)
{
    struct json_pen pen = {0};
    enum status status;
    uint8_t *to;

    write(&pen, what);
    status = buf_reserve(out, pen.n, &to);
    if (status != STATUS_OK) {
        return status;
    }
    pen = (struct json_pen){.to = to, .cap = pen.n};
    write(&pen, what);
    buf_grew(out, pen.n);
    return STATUS_OK;
}
