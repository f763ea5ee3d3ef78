/* Reads one msgpack item: a scalar, the bytes of a text, or the head of a map or array. It never
 * reads past `end`, takes no memory and does not recurse. Extension types are not ours and count as
 * bad. Inline because pre-scan and decoder spend their time here. */
#pragma once

#include <stdint.h>
#include <string.h>

enum wire_item_type {
    WIRE_ITEM_NIL,
    WIRE_ITEM_FLAG,
    WIRE_ITEM_UINT,     /* any integer format with a value >= 0 */
    WIRE_ITEM_NEGATIVE, /* any integer format with a value < 0 */
    WIRE_ITEM_F64,      /* float 32 or float 64 */
    WIRE_ITEM_TEXT,
    WIRE_ITEM_BYTES,
    WIRE_ITEM_ARRAY,
    WIRE_ITEM_MAP
};

struct wire_item {
    enum wire_item_type type;
    uint32_t n;        /* bytes of TEXT and BYTES, elements of ARRAY, pairs of MAP */
    const uint8_t *at; /* of TEXT and BYTES, within the input */
    union {
        uint64_t u; /* FLAG, UINT */
        int64_t i;  /* NEGATIVE */
        double f;   /* F64 */
    };
};

/* A big-endian number of `n` bytes (0, 1, 2, 4 or 8). */
static inline uint64_t wire_item_number(const uint8_t *at, uint32_t n)
{
    uint64_t value = 0;
    if (n == 8) {
        memcpy(&value, at, 8);
        return __builtin_bswap64(value);
    }
    for (uint32_t i = 0; i < n; i++) {
        value = value << 8 | at[i];
    }
    return value;
}

static inline const uint8_t *wire_item_signed(int64_t value, const uint8_t *next,
                                              struct wire_item *out)
{
    out->type = value < 0 ? WIRE_ITEM_NEGATIVE : WIRE_ITEM_UINT;
    out->i = value;
    return next;
}

static inline const uint8_t *wire_item_float(uint64_t bits, uint32_t n, const uint8_t *next,
                                             struct wire_item *out)
{
    out->type = WIRE_ITEM_F64;
    if (n == 4) {
        uint32_t bits32 = (uint32_t)bits;
        float value;
        memcpy(&value, &bits32, sizeof(value));
        out->f = (double)value;
    } else {
        memcpy(&out->f, &bits, sizeof(out->f));
    }
    return next;
}

static inline const uint8_t *wire_item_string(enum wire_item_type type, uint64_t len,
                                              const uint8_t *at, const uint8_t *end,
                                              struct wire_item *out)
{
    if (len > (uint64_t)(end - at)) {
        return NULL;
    }
    out->type = type;
    out->n = (uint32_t)len;
    out->at = at;
    return at + len;
}

static inline const uint8_t *wire_item_head(enum wire_item_type type, uint64_t n,
                                            const uint8_t *next, struct wire_item *out)
{
    out->type = type;
    out->n = (uint32_t)n;
    return next;
}

/* The formats 0xc0-0xdf: one byte of format, then `n` bytes of number or length. */
static inline const uint8_t *wire_item_wide(uint8_t format, const uint8_t *at, const uint8_t *end,
                                            struct wire_item *out)
{
    /* Bytes of the number behind each format; 9: not a format of ours. */
    static const uint8_t width[32] = {0, 9, 0, 0, 1, 2, 4, 9, 9, 9, 4, 8, 1, 2, 4, 8,
                                      1, 2, 4, 8, 9, 9, 9, 9, 9, 1, 2, 4, 2, 4, 2, 4};
    uint32_t n = width[format - 0xc0];
    if (n > (uint64_t)(end - at) || n == 9) {
        return NULL;
    }
    uint64_t value = wire_item_number(at, n);
    at += n;
    if (format <= 0xc3) {
        out->type = format == 0xc0 ? WIRE_ITEM_NIL : WIRE_ITEM_FLAG;
        out->u = format == 0xc3;
        return at;
    }
    if (format <= 0xc6) {
        return wire_item_string(WIRE_ITEM_BYTES, value, at, end, out);
    }
    if (format <= 0xcb) {
        return wire_item_float(value, n, at, out);
    }
    if (format <= 0xcf) {
        out->type = WIRE_ITEM_UINT;
        out->u = value;
        return at;
    }
    if (format <= 0xd3) { /* moves the sign to the top, and back with its copies */
        uint32_t shift = 64 - 8 * n;
        return wire_item_signed((int64_t)(value << shift) >> shift, at, out);
    }
    if (format <= 0xdb) {
        return wire_item_string(WIRE_ITEM_TEXT, value, at, end, out);
    }
    return wire_item_head(format <= 0xdd ? WIRE_ITEM_ARRAY : WIRE_ITEM_MAP, value, at, out);
}

/* Reads the item at `at` and gives where the next begins, or NULL if it is cut off, an extension or
 * no format at all; *out is then undefined. */
static inline const uint8_t *wire_item_read(const uint8_t *at, const uint8_t *end,
                                            struct wire_item *out)
{
    if (at == end) {
        return NULL;
    }
    uint8_t format = *at++;
    if (format <= 0x7f) {
        out->type = WIRE_ITEM_UINT;
        out->u = format;
        return at;
    }
    if (format <= 0x8f) {
        return wire_item_head(WIRE_ITEM_MAP, format & 0x0fu, at, out);
    }
    if (format <= 0x9f) {
        return wire_item_head(WIRE_ITEM_ARRAY, format & 0x0fu, at, out);
    }
    if (format <= 0xbf) {
        return wire_item_string(WIRE_ITEM_TEXT, format & 0x1fu, at, end, out);
    }
    if (format >= 0xe0) {
        return wire_item_signed((int8_t)format, at, out);
    }
    return wire_item_wide(format, at, end, out);
}
