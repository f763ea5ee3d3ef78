/* Struct to bytes. Every value is checked against its limit before the first byte is written, so a
 * message that a peer would refuse never leaves. Writing goes through msgpack-c's packer, made from
 * its template with an append that the compiler can see into: the ready-made one calls back for
 * every head and body, which was a third of the router's time for a token. Takes no memory; any
 * thread. */
#include <math.h>
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

static inline int writer_append(struct writer *writer, const void *bytes, size_t len)
{
    if (len > (size_t)(writer->end - writer->at)) {
        return -1;
    }
    if (len) {
        memcpy(writer->at, bytes, len);
    }
    writer->at += len;
    return 0;
}

/* The template's own way to be used; each macro but the last names what it makes. */
#include <msgpack/pack_define.h>
#include <msgpack/timestamp.h>
#define msgpack_pack_inline_func(name) static inline int msgpack_pack##name
#define msgpack_pack_inline_func_cint(name) static inline int msgpack_pack##name
#define msgpack_pack_inline_func_fixint(name) static inline int msgpack_pack_fix##name
#define msgpack_pack_user struct writer *
#define msgpack_pack_append_buffer(user, buf, len) return writer_append(user, buf, len)
#include <msgpack/pack_template.h>

/* ---- limits --------------------------------------------------------------------------------- */

static bool table_in_limits(const struct wire_table *table, const char *base);

/* False for a NaN or an infinity in it. */
static bool f64s_in_limits(const struct wire_f64s *array, uint64_t limit)
{
    if (array->n > limit) {
        return false;
    }
    for (size_t i = 0; i < array->n; i++) {
        if (!isfinite(array->at[i])) {
            return false;
        }
    }
    return true;
}

static bool texts_in_limits(const struct wire_texts *texts, uint64_t limit, size_t each)
{
    if (texts->n > limit) {
        return false;
    }
    for (size_t i = 0; i < texts->n; i++) {
        if (texts->at[i].len > each) {
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
    case WIRE_TYPE_f64s:
        return f64s_in_limits(at, field->limit.u);
    case WIRE_TYPE_texts:
        return texts_in_limits(at, field->limit.u, WIRE_NAME_MAX);
    case WIRE_TYPE_bodies:
        return texts_in_limits(at, field->limit.u, WIRE_TEXT_MAX);
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
    case WIRE_TYPE_f64s:
        return HEAD_BYTES_MAX + WORD_BYTES_MAX * ((const struct wire_f64s *)at)->n;
    case WIRE_TYPE_texts:
    case WIRE_TYPE_bodies: {
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

static int pack_table(struct writer *writer, const struct wire_table *table, const char *base,
                      uint64_t sent);

/* One bit for each field that is sent: the defaults are looked for once. */
static uint64_t sent_of(const struct wire_table *table, const char *base)
{
    uint64_t sent = 0;
    for (uint32_t i = 0; i < table->n_fields; i++) {
        const struct wire_field *field = &table->fields[i];
        sent |= (uint64_t)!wire_field_is_default(field, base + field->offset) << i;
    }
    return sent;
}

static uint32_t count_of(uint64_t sent)
{
    return (uint32_t)__builtin_popcountll(sent);
}

static int pack_text(struct writer *writer, const char *text, size_t len)
{
    int failed = msgpack_pack_str(writer, len);
    return failed ? failed : msgpack_pack_str_body(writer, text, len);
}

static int pack_bytes(struct writer *writer, const void *bytes, size_t len)
{
    int failed = msgpack_pack_bin(writer, len);
    return failed ? failed : msgpack_pack_bin_body(writer, bytes, len);
}

/* Keys are short texts, and copied whole where there is room: a fixed length is two moves. */
static inline int pack_key(struct writer *writer, const struct wire_field *field)
{
    if ((size_t)(writer->end - writer->at) < 1 + sizeof(field->key)) {
        return pack_text(writer, field->key, field->key_len);
    }
    *writer->at = (char)(0xa0 | field->key_len);
    memcpy(writer->at + 1, field->key, sizeof(field->key));
    writer->at += 1 + field->key_len;
    return 0;
}

static int pack_u32s(struct writer *writer, const struct wire_u32s *array)
{
    int failed = msgpack_pack_array(writer, array->n);
    for (size_t i = 0; i < array->n && !failed; i++) {
        failed = msgpack_pack_uint32(writer, array->at[i]);
    }
    return failed;
}

static int pack_u64s(struct writer *writer, const struct wire_u64s *array)
{
    int failed = msgpack_pack_array(writer, array->n);
    for (size_t i = 0; i < array->n && !failed; i++) {
        failed = msgpack_pack_uint64(writer, array->at[i]);
    }
    return failed;
}

static int pack_f64s(struct writer *writer, const struct wire_f64s *array)
{
    int failed = msgpack_pack_array(writer, array->n);
    for (size_t i = 0; i < array->n && !failed; i++) {
        failed = msgpack_pack_double(writer, array->at[i]);
    }
    return failed;
}

static int pack_texts(struct writer *writer, const struct wire_texts *array)
{
    int failed = msgpack_pack_array(writer, array->n);
    for (size_t i = 0; i < array->n && !failed; i++) {
        failed = pack_text(writer, array->at[i].at, array->at[i].len);
    }
    return failed;
}

static int pack_value(struct writer *writer, enum wire_type type, const void *at)
{
    switch (type) {
    case WIRE_TYPE_u32:
        return msgpack_pack_uint32(writer, *(const uint32_t *)at);
    case WIRE_TYPE_u64:
        return msgpack_pack_uint64(writer, *(const uint64_t *)at);
    case WIRE_TYPE_f64:
        return msgpack_pack_double(writer, *(const double *)at);
    case WIRE_TYPE_flag:
        return *(const bool *)at ? msgpack_pack_true(writer) : msgpack_pack_false(writer);
    case WIRE_TYPE_text: {
        const struct wire_span *span = at;
        return pack_text(writer, span->at, span->len);
    }
    case WIRE_TYPE_bytes: {
        const struct wire_span *span = at;
        return pack_bytes(writer, span->at, span->len);
    }
    case WIRE_TYPE_id:
        return pack_bytes(writer, at, sizeof(struct wire_id));
    case WIRE_TYPE_u32s:
        return pack_u32s(writer, at);
    case WIRE_TYPE_u64s:
        return pack_u64s(writer, at);
    case WIRE_TYPE_f64s:
        return pack_f64s(writer, at);
    case WIRE_TYPE_texts:
    case WIRE_TYPE_bodies:
        return pack_texts(writer, at);
    case WIRE_TYPE_sampling:
    case WIRE_TYPE_ledger: {
        const struct wire_table *table = wire_table_nested(type);
        const uint64_t sent = sent_of(table, at);
        int failed = msgpack_pack_map(writer, count_of(sent));
        return failed ? failed : pack_table(writer, table, at, sent);
    }
    }
    return -1;
}

static int pack_table(struct writer *writer, const struct wire_table *table, const char *base,
                      uint64_t sent)
{
    for (; sent; sent &= sent - 1) {
        const struct wire_field *field = &table->fields[__builtin_ctzll(sent)];
        if (pack_key(writer, field) || pack_value(writer, field->type, base + field->offset)) {
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
    const uint64_t sent_envelope = sent_of(envelope, (const char *)msg);
    const uint64_t sent_body = sent_of(table, body);
    if (msgpack_pack_map(&writer, 1 + count_of(sent_envelope) + count_of(sent_body)) ||
        pack_text(&writer, "t", 1) || pack_text(&writer, table->name, table->name_len) ||
        pack_table(&writer, envelope, (const char *)msg, sent_envelope) ||
        pack_table(&writer, table, body, sent_body)) {
        return STATUS_TOO_BIG;
    }
    *len_out = (size_t)(writer.at - (char *)buf);
    return STATUS_OK;
}
