/* Growth by doubling, consumption by moving the start; bytes move to the front only when the room
 * behind them does not suffice. */
#include "base/buf.h"

#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"

#define BUF_CAP_FIRST 256

void buf_init(struct buf *buf, size_t limit)
{
    *buf = (struct buf){.limit = limit};
}

void buf_fini(struct buf *buf)
{
    mem_free(buf->bytes);
    buf_init(buf, buf->limit);
}

size_t buf_len(const struct buf *buf)
{
    return buf->end - buf->start;
}

/* Makes cap - end >= len + spare, where len counts against the limit and spare does not. */
static enum status buf_make_room(struct buf *buf, size_t len, size_t spare)
{
    size_t held = buf_len(buf);
    if (len > buf->limit || held > buf->limit - len) {
        return STATUS_TOO_BIG;
    }
    if (buf->cap - buf->end >= len + spare) {
        return STATUS_OK;
    }
    if (buf->start > 0) {
        memmove(buf->bytes, buf->bytes + buf->start, held);
        buf->start = 0;
        buf->end = held;
    }
    size_t need = held + len + spare;
    if (buf->cap >= need) {
        return STATUS_OK;
    }
    size_t cap = buf->cap > 0 ? buf->cap : BUF_CAP_FIRST;
    while (cap < need) {
        cap = cap > SIZE_MAX / 2 ? need : cap * 2;
    }
    uint8_t *bytes = mem_realloc(buf->bytes, cap);
    if (bytes == NULL) {
        return STATUS_NO_MEMORY;
    }
    buf->bytes = bytes;
    buf->cap = cap;
    return STATUS_OK;
}

enum status buf_reserve(struct buf *buf, size_t len, uint8_t **out)
{
    enum status status = buf_make_room(buf, len, 1);
    if (status == STATUS_OK) {
        *out = buf->bytes + buf->end;
    }
    return status;
}

void buf_grew(struct buf *buf, size_t len)
{
    CHECK(len <= buf->cap - buf->end);
    buf->end += len;
}

enum status buf_append(struct buf *buf, const void *data, size_t len)
{
    if (len == 0) {
        return STATUS_OK;
    }
    uint8_t *to;
    enum status status = buf_reserve(buf, len, &to);
    if (status == STATUS_OK) {
        memcpy(to, data, len);
        buf->end += len;
    }
    return status;
}

enum status buf_append_str(struct buf *buf, const char *text)
{
    return buf_append(buf, text, strlen(text));
}

enum status buf_vprintf(struct buf *buf, const char *fmt, va_list args)
{
    va_list args_again;
    va_copy(args_again, args);
    int len = vsnprintf(NULL, 0, fmt, args);
    uint8_t *to;
    enum status status = len < 0 ? STATUS_INVALID : buf_reserve(buf, (size_t)len, &to);
    if (status == STATUS_OK) {
        vsnprintf((char *)to, (size_t)len + 1, fmt, args_again); /* the reserve has one spare */
        buf->end += (size_t)len;
    }
    va_end(args_again);
    return status;
}

enum status buf_printf(struct buf *buf, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    enum status status = buf_vprintf(buf, fmt, args);
    va_end(args);
    return status;
}

void buf_consume(struct buf *buf, size_t len)
{
    CHECK(len <= buf_len(buf));
    buf->start += len;
    if (buf->start == buf->end) {
        buf->start = buf->end = 0;
    }
}

void buf_clear(struct buf *buf)
{
    buf->start = buf->end = 0;
}

const uint8_t *buf_data(const struct buf *buf)
{
    return buf->bytes == NULL ? (const uint8_t *)"" : buf->bytes + buf->start;
}

const char *buf_text(struct buf *buf)
{
    if (buf_make_room(buf, 0, 1) != STATUS_OK) {
        return "";
    }
    buf->bytes[buf->end] = '\0';
    return (const char *)buf->bytes + buf->start;
}
