/* The list of what one step of a core wants sent: encoded bytes end to end in one block that is
 * taken at the start, and a small array of where each message lies. One thread owns it. */
#include "wire/out.h"

#include "base/check.h"
#include "base/mem.h"

#define ITEMS_AT_START 64

struct item {
    uint32_t link;
    size_t at; /* offset into bytes */
    size_t len;
};

struct wire_out {
    char *bytes; /* [bytes_max] */
    size_t bytes_max;
    size_t used;
    struct item *items; /* [capacity] */
    size_t n;
    size_t capacity;
};

enum status wire_out_create(size_t bytes_max, struct wire_out **out)
{
    CHECK(bytes_max > 0);
    struct wire_out *list = mem_alloc_zero(1, sizeof(*list));
    if (!list) {
        return STATUS_NO_MEMORY;
    }
    list->bytes_max = bytes_max;
    list->capacity = ITEMS_AT_START;
    list->bytes = mem_alloc(bytes_max);
    list->items = mem_alloc(list->capacity * sizeof(*list->items));
    if (!list->bytes || !list->items) {
        wire_out_destroy(list);
        return STATUS_NO_MEMORY;
    }
    *out = list;
    return STATUS_OK;
}

void wire_out_destroy(struct wire_out *out)
{
    if (!out) {
        return;
    }
    mem_free(out->bytes);
    mem_free(out->items);
    mem_free(out);
}

/* The array doubles and stays: after the first busy steps a post takes no memory. Its length is
 * bounded by bytes_max, as each message has bytes. */
static enum status out_grow(struct wire_out *out)
{
    struct item *items = mem_realloc(out->items, 2 * out->capacity * sizeof(*items));
    if (!items) {
        return STATUS_NO_MEMORY;
    }
    out->items = items;
    out->capacity *= 2;
    return STATUS_OK;
}

enum status wire_out_post(struct wire_out *out, uint32_t link, const struct wire_msg *msg)
{
    CHECK(link != WIRE_LINK_NONE);
    enum status status = out->n == out->capacity ? out_grow(out) : STATUS_OK;
    if (status != STATUS_OK) {
        return status;
    }
    size_t len;
    status = wire_msg_encode(msg, out->bytes + out->used, out->bytes_max - out->used, &len);
    if (status != STATUS_OK) {
        return status;
    }
    out->items[out->n++] = (struct item){.link = link, .at = out->used, .len = len};
    out->used += len;
    return STATUS_OK;
}

size_t wire_out_room(const struct wire_out *out)
{
    return out->bytes_max - out->used;
}

size_t wire_out_count(const struct wire_out *out)
{
    return out->n;
}

struct wire_out_item wire_out_at(const struct wire_out *out, size_t idx)
{
    CHECK(idx < out->n);
    const struct item *item = &out->items[idx];
    return (struct wire_out_item){
        .link = item->link, .bytes = out->bytes + item->at, .len = item->len};
}

void wire_out_clear(struct wire_out *out)
{
    out->n = 0;
    out->used = 0;
}
