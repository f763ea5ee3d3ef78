/* Struct to bytes. Every value is checked against its limit before the first byte is written, so a
 * message that a peer would refuse never leaves. Writing goes through msgpack-c's packer into the
 * caller's buffer. Takes no memory; any thread. */
#include <math.h>
#include <msgpack.h>
#include <string.h>

#include "wire/msg.h"
#include "wire/table.h"

/* The longest head of a map, array, text, or run of bytes; also of a u32. */
#define HEAD_BYTES_MAX 5
#define WORD_BYTES_MAX 9

struct writer {
    char *at;
    char *end;
};

static int writer_append(void *data, const char *bytes, size_t len)
{
    struct writer *writer = data;
    if (len > (size_t)(writer->end - writer->at)) {
        return -1;
    }
    if (len) {
        memcpy(writer->at, bytes, len);
    }
    writer->at += len;
    return 0;
}

/* ---- limits --------------------------------------------------------------------------------- */

static bool table_in_limits(const struct wire_table *table, const char *base);

static bool texts_in_limits(const struct wire_texts *texts, uint64_t limit)
{
    if (texts->n > limit) {
        return false;
    }
    for (size_t i = 0; i < texts->n; i++) {
        if (texts->at[i].len > WIRE_NAME_MAX) {
            return false;
        }
    }
    return true;
}

static bool field_in_limits(const struct wire_field *field, const void *at)
{
    switch ((enum wire_type)field->type) {
    case WIRE_TYPE_u32:
        return *(const uint32_t *)at <= field->limit.u;
    case WIRE_TYPE_u64:
        return *(const uint64_t *)at <= field->limit.u;
    case WIRE_TYPE_f64: /* false for a NaN too */
        return fabs(*(const double *)at) <= field->limit.f;
    case WIRE_TYPE_flag:
    case WIRE_TYPE_id:
        return true;
    case WIRE_TYPE_text:
    case WIRE_TYPE_bytes:
        return ((const struct wire_span *)at)->len <= field->limit.u;
    case WIRE_TYPE_u32s:
        return ((const struct wire_u32s *)at)->n <= field->limit.u;
    case WIRE_TYPE_u64s:
        return ((const struct wire_u64s *)at)->n <= field->limit.u;
    case WIRE_TYPE_texts:
        return texts_in_limits(at, field->limit.u);
    case WIRE_TYPE_sampling:
    case WIRE_TYPE_ledger:
        return table_in_limits(wire_table_nested(field->type), at);
    }
    return false;
}

static bool table_in_limits(const struct wire_table *table, const char *base)
{
    for (uint32_t i = 0; i < table->n_fields; i++) {
        if (!field_in_limits(&table->fields[i], base + table->fields[i].offset)) {
            return false;
        }
    }
    return true;
}

/* ---- bound ---------------------------------------------------------------------------------- */

static size_t table_bound(const struct wire_table *table, const char *base);

static size_t field_bound(const struct wire_field *field, const void *at)
{
    switch ((enum wire_type)field->type) {
    case WIRE_TYPE_u32:
        return HEAD_BYTES_MAX;
    case WIRE_TYPE_u64:
    case WIRE_TYPE_f64:
        return WORD_BYTES_MAX;
    case WIRE_TYPE_flag:
        return 1;
    case WIRE_TYPE_id:
        return 2 + sizeof(struct wire_id);
    case WIRE_TYPE_text:
    case WIRE_TYPE_bytes:
        return HEAD_BYTES_MAX + ((const struct wire_span *)at)->len;
    case WIRE_TYPE_u32s:
        return HEAD_BYTES_MAX + HEAD_BYTES_MAX * ((const struct wire_u32s *)at)->n;
    case WIRE_TYPE_u64s:
        return HEAD_BYTES_MAX + WORD_BYTES_MAX * ((const struct wire_u64s *)at)->n;
    case WIRE_TYPE_texts: {
        const struct wire_texts *texts = at;
        size_t bytes = HEAD_BYTES_MAX;
        for (size_t i = 0; i < texts->n; i++) {
            bytes += HEAD_BYTES_MAX + texts->at[i].len;
        }
        return bytes;
    }
    case WIRE_TYPE_sampling:
    case WIRE_TYPE_ledger:
        return table_bound(wire_table_nested(field->type), at);
    }
    return 0;
}

static size_t table_bound(const struct wire_table *table, const char *base)
{
    size_t bytes = HEAD_BYTES_MAX;
    for (uint32_t i = 0; i < table->n_fields; i++) {
        const struct wire_field *field = &table->fields[i];
        bytes += 1 + (size_t)field->key_len + field_bound(field, base + field->offset);
    }
    return bytes;
}

size_t wire_msg_bound(const struct wire_msg *msg)
{
    const struct wire_table *body = wire_table_of(msg->kind);
    return table_bound(wire_table_envelope(), (const char *)msg) +
           table_bound(body, (const char *)msg + WIRE_BODY_OFFSET) + 2 + HEAD_BYTES_MAX +
           body->name_len;
}

/* ---- bytes ---------------------------------------------------------------------------------- */

static int pack_table(msgpack_packer *packer, const struct wire_table *table, const char *base);

static uint32_t n_sent(const struct wire_table *table, const char *base)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < table->n_fields; i++) {
        const struct wire_field *field = &table->fields[i];
        n += !wire_field_is_default(field, base + field->offset);
    }
    return n;
}

static int pack_u32s(msgpack_packer *packer, const struct wire_u32s *array)
{
    int failed = msgpack_pack_array(packer, array->n);
    for (size_t i = 0; i < array->n && !failed; i++) {
        failed = msgpack_pack_uint32(packer, array->at[i]);
    }
    return failed;
}

static int pack_u64s(msgpack_packer *packer, const struct wire_u64s *array)
{
    int failed = msgpack_pack_array(packer, array->n);
    for (size_t i = 0; i < array->n && !failed; i++) {
        failed = msgpack_pack_uint64(packer, array->at[i]);
    }
    return failed;
}

static int pack_texts(msgpack_packer *packer, const struct wire_texts *array)
{
    int failed = msgpack_pack_array(packer, array->n);
    for (size_t i = 0; i < array->n && !failed; i++) {
        failed = msgpack_pack_str_with_body(packer, array->at[i].at, array->at[i].len);
    }
    return failed;
}

static int pack_value(msgpack_packer *packer, enum wire_type type, const void *at)
{
    switch (type) {
    case WIRE_TYPE_u32:
        return msgpack_pack_uint32(packer, *(const uint32_t *)at);
    case WIRE_TYPE_u64:
        return msgpack_pack_uint64(packer, *(const uint64_t *)at);
    case WIRE_TYPE_f64:
        return msgpack_pack_double(packer, *(const double *)at);
    case WIRE_TYPE_flag:
        return *(const bool *)at ? msgpack_pack_true(packer) : msgpack_pack_false(packer);
    case WIRE_TYPE_text: {
        const struct wire_span *span = at;
        return msgpack_pack_str_with_body(packer, span->at, span->len);
    }
    case WIRE_TYPE_bytes: {
        const struct wire_span *span = at;
        return msgpack_pack_bin_with_body(packer, span->at, span->len);
    }
    case WIRE_TYPE_id:
        return msgpack_pack_bin_with_body(packer, at, sizeof(struct wire_id));
    case WIRE_TYPE_u32s:
        return pack_u32s(packer, at);
    case WIRE_TYPE_u64s:
        return pack_u64s(packer, at);
    case WIRE_TYPE_texts:
        return pack_texts(packer, at);
    case WIRE_TYPE_sampling:
    case WIRE_TYPE_ledger: {
        const struct wire_table *table = wire_table_nested(type);
        int failed = msgpack_pack_map(packer, n_sent(table, at));
        return failed ? failed : pack_table(packer, table, at);
    }
    }
    return -1;
}

static int pack_table(msgpack_packer *packer, const struct wire_table *table, const char *base)
{
    for (uint32_t i = 0; i < table->n_fields; i++) {
        const struct wire_field *field = &table->fields[i];
        const char *at = base + field->offset;
        if (wire_field_is_default(field, at)) {
            continue;
        }
        if (msgpack_pack_str_with_body(packer, field->key, field->key_len) ||
            pack_value(packer, field->type, at)) {
            return -1;
        }
    }
    return 0;
}

enum status wire_msg_encode(const struct wire_msg *msg, void *buf, size_t capacity, size_t *len_out)
{
    const struct wire_table *envelope = wire_table_envelope();
    const struct wire_table *table = wire_table_of(msg->kind);
    const char *body = (const char *)msg + WIRE_BODY_OFFSET;
    if (table->request && wire_id_is_zero(&msg->req)) {
        return STATUS_INVALID;
    }
    if (!table_in_limits(table, body)) {
        return STATUS_TOO_BIG;
    }
    if (capacity > WIRE_CONTROL_BYTES_MAX) {
        capacity = WIRE_CONTROL_BYTES_MAX;
    }
    struct writer writer = {.at = buf, .end = (char *)buf + capacity};
    msgpack_packer packer;
    msgpack_packer_init(&packer, &writer, writer_append);
    uint32_t n = 1 + n_sent(envelope, (const char *)msg) + n_sent(table, body);
    if (msgpack_pack_map(&packer, n) || msgpack_pack_str_with_body(&packer, "t", 1) ||
        msgpack_pack_str_with_body(&packer, table->name, table->name_len) ||
        pack_table(&packer, envelope, (const char *)msg) || pack_table(&packer, table, body)) {
        return STATUS_TOO_BIG;
    }
    *len_out = (size_t)(writer.at - (char *)buf);
    return STATUS_OK;
}
