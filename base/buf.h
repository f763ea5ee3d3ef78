/* A growing run of bytes with a limit: text to print, output that waits for a socket. The limit is
 * part of the type because every buffer that a peer can fill needs one. One thread owns a buffer;
 * the struct lies wherever its owner wants it. */
#pragma once

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

/* Read through the functions below. */
struct buf {
    uint8_t *bytes; /* [cap] */
    size_t start;   /* first byte not yet consumed */
    size_t end;     /* one past the last byte */
    size_t cap;
    size_t limit; /* most bytes held at once */
};

/* An empty buffer; takes no memory before the first append. */
void buf_init(struct buf *buf, size_t limit);

/* Frees the memory; the buffer is empty and usable again, under the same limit. */
void buf_fini(struct buf *buf);

/* Appends all or nothing. TOO_BIG over the limit, NO_MEMORY. `data` must not lie inside `buf`. */
enum status buf_append(struct buf *buf, const void *data, size_t len);

/* Appends the text without its end. */
enum status buf_append_str(struct buf *buf, const char *text);

/* Appends formatted text; the same all or nothing. */
__attribute__((format(printf, 2, 3))) enum status buf_printf(struct buf *buf, const char *fmt, ...);
__attribute__((format(printf, 2, 0))) enum status buf_vprintf(struct buf *buf, const char *fmt,
                                                              va_list args);

/* Room for `len` more bytes at *out, which the caller fills and then announces by buf_grew. */
enum status buf_reserve(struct buf *buf, size_t len, uint8_t **out);
void buf_grew(struct buf *buf, size_t len);

/* Drops `len` bytes, at most all, from the front. */
void buf_consume(struct buf *buf, size_t len);

/* Drops all bytes and keeps the memory. */
void buf_clear(struct buf *buf);

/* The bytes held, valid until the next append; never NULL. */
const uint8_t *buf_data(const struct buf *buf);
size_t buf_len(const struct buf *buf);

/* The bytes as text: puts an end behind them, which does not count. The buffer's own memory, valid
 * until the next change; an empty string when out of memory. */
const char *buf_text(struct buf *buf);
