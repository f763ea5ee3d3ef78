/* Bytes to struct. The pre-scan has shown that every element is there; here each known key is
 * checked for type and limit, and the first fault is told with its place, what was expected and
 * what was found. Spans point into the input; arrays and the sentence live in the arena. */
#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "base/check.h"
#include "wire/item.h"
#include "wire/msg.h"
#include "wire/scan.h"
#include "wire/table.h"

#define SENTENCE_MAX 256

struct reader {
    const uint8_t *at;
    const uint8_t *end;
    struct arena *arena;
    const char *why;
    const char *kind;   /* where we are: the message's name, */
    const char *nested; /* the nested map's key or NULL, */
    const char *key;    /* and the field's key */
};

/* ---- faults --------------------------------------------------------------------------------- */

__attribute__((format(printf, 3, 4))) static enum status
fault(struct reader *reader, enum status status, const char *fmt, ...)
{
    char text[SENTENCE_MAX];
    int n = snprintf(text, sizeof(text), "%s%s%s%s%s: ", reader->kind, reader->nested ? "." : "",
                     reader->nested ? reader->nested : "", reader->key ? "." : "",
                     reader->key ? reader->key : "");
    CHECK(n > 0 && (size_t)n < sizeof(text));
    va_list args;
    va_start(args, fmt);
    vsnprintf(text + n, sizeof(text) - (size_t)n, fmt, args);
    va_end(args);
    reader->why = arena_strdup(reader->arena, text);
    if (!reader->why) {
        reader->why = "message: a field is malformed or over its limit, and no memory to name it";
    }
    return status;
}

static const char *item_name(enum wire_item_type type)
{
    switch (type) {
    case WIRE_ITEM_NIL:
        return "nil";
    case WIRE_ITEM_FLAG:
        return "a truth value";
    case WIRE_ITEM_UINT:
        return "an unsigned integer";
    case WIRE_ITEM_NEGATIVE:
        return "a negative integer";
    case WIRE_ITEM_F64:
        return "a float";
    case WIRE_ITEM_TEXT:
        return "a text";
    case WIRE_ITEM_BYTES:
        return "bytes";
    case WIRE_ITEM_ARRAY:
        return "an array";
    case WIRE_ITEM_MAP:
        return "a map";
    }
    return "nothing";
}

static enum status wrong_type(struct reader *reader, enum wire_item_type expected,
                              enum wire_item_type found)
{
    return fault(reader, STATUS_MALFORMED, "expected %s, found %s", item_name(expected),
                 item_name(found));
}

static enum status too_many(struct reader *reader, const char *unit, uint64_t limit, uint64_t found)
{
    return fault(reader, STATUS_TOO_BIG, "expected at most %" PRIu64 "%s, found %" PRIu64, limit,
                 unit, found);
}

static enum status no_room(struct reader *reader)
{
    reader->why = "message: no memory for its arrays";
    return STATUS_NO_MEMORY;
}

/* ---- values --------------------------------------------------------------------------------- */

/* The scan has read these bytes before; a failure now is a bug of ours. */
static inline struct wire_item next_item(struct reader *reader)
{
    struct wire_item item;
    const uint8_t *next = wire_item_read(reader->at, reader->end, &item);
    CHECK_MSG(next, "the pre-scan let a broken element pass");
    reader->at = next;
    return item;
}

static void skip_value(struct reader *reader)
{
    for (uint64_t owed = 1; owed > 0; owed--) {
        struct wire_item item = next_item(reader);
        if (item.type == WIRE_ITEM_ARRAY) {
            owed += item.n;
        } else if (item.type == WIRE_ITEM_MAP) {
            owed += 2 * (uint64_t)item.n;
        }
    }
}

static inline enum status read_number(struct reader *reader, uint64_t limit, uint64_t *out)
{
    if (*reader->at <= 0x7f) {
        const uint64_t value = *reader->at++;
        if (value > limit) {
            return too_many(reader, "", limit, value);
        }
        *out = value;
        return STATUS_OK;
    }
    struct wire_item item = next_item(reader);
    if (item.type != WIRE_ITEM_UINT) {
        return wrong_type(reader, WIRE_ITEM_UINT, item.type);
    }
    if (item.u > limit) {
        return too_many(reader, "", limit, item.u);
    }
    *out = item.u;
    return STATUS_OK;
}

/* Integers are floats too: many languages write 1.0 as 1. */
static enum status read_f64(struct reader *reader, double limit, double *out)
{
    struct wire_item item = next_item(reader);
    double value = item.f;
    if (item.type == WIRE_ITEM_UINT) {
        value = (double)item.u;
    } else if (item.type == WIRE_ITEM_NEGATIVE) {
        value = (double)item.i;
    } else if (item.type != WIRE_ITEM_F64) {
        return wrong_type(reader, WIRE_ITEM_F64, item.type);
    }
    if (!isfinite(value)) {
        return fault(reader, STATUS_MALFORMED, "expected a finite number, found %f", value);
    }
    if (fabs(value) > limit) {
        return fault(reader, STATUS_TOO_BIG, "expected at most %g either way, found %g", limit,
                     value);
    }
    *out = value;
    return STATUS_OK;
}

static enum status read_span(struct reader *reader, enum wire_item_type type, uint64_t limit,
                             struct wire_span *out)
{
    struct wire_item item = next_item(reader);
    if (item.type != type) {
        return wrong_type(reader, type, item.type);
    }
    if (item.n > limit) {
        return too_many(reader, " bytes", limit, item.n);
    }
    *out = (struct wire_span){.at = (const char *)item.at, .len = item.n};
    return STATUS_OK;
}

static enum status read_id(struct reader *reader, struct wire_id *out)
{
    struct wire_span span;
    enum status status = read_span(reader, WIRE_ITEM_BYTES, sizeof(*out), &span);
    if (status != STATUS_OK) {
        return status;
    }
    if (span.len != sizeof(*out)) {
        return fault(reader, STATUS_MALFORMED, "expected 16 bytes, found %zu", span.len);
    }
    memcpy(out, span.at, sizeof(*out));
    return STATUS_OK;
}

static enum status read_count(struct reader *reader, uint64_t limit, size_t *out)
{
    struct wire_item item = next_item(reader);
    if (item.type != WIRE_ITEM_ARRAY) {
        return wrong_type(reader, WIRE_ITEM_ARRAY, item.type);
    }
    if (item.n > limit) {
        return too_many(reader, " elements", limit, item.n);
    }
    *out = item.n;
    return STATUS_OK;
}

static enum status read_u32s(struct reader *reader, uint64_t limit, struct wire_u32s *out)
{
    size_t n;
    enum status status = read_count(reader, limit, &n);
    if (status != STATUS_OK || n == 0) {
        return status;
    }
    uint32_t *at = arena_alloc(reader->arena, n * sizeof(*at));
    if (!at) {
        return no_room(reader);
    }
    for (size_t i = 0; i < n; i++) {
        uint64_t value = 0;
        status = read_number(reader, UINT32_MAX, &value);
        if (status != STATUS_OK) {
            return status;
        }
        at[i] = (uint32_t)value;
    }
    *out = (struct wire_u32s){.at = at, .n = n};
    return STATUS_OK;
}

static enum status read_u64s(struct reader *reader, uint64_t limit, struct wire_u64s *out)
{
    size_t n;
    enum status status = read_count(reader, limit, &n);
    if (status != STATUS_OK || n == 0) {
        return status;
    }
    uint64_t *at = arena_alloc(reader->arena, n * sizeof(*at));
    if (!at) {
        return no_room(reader);
    }
    for (size_t i = 0; i < n; i++) {
        status = read_number(reader, UINT64_MAX, &at[i]);
        if (status != STATUS_OK) {
            return status;
        }
    }
    *out = (struct wire_u64s){.at = at, .n = n};
    return STATUS_OK;
}

static enum status read_f64s(struct reader *reader, uint64_t limit, struct wire_f64s *out)
{
    size_t n;
    enum status status = read_count(reader, limit, &n);
    if (status != STATUS_OK || n == 0) {
        return status;
    }
    double *at = arena_alloc(reader->arena, n * sizeof(*at));
    if (!at) {
        return no_room(reader);
    }
    for (size_t i = 0; i < n; i++) {
        status = read_f64(reader, DBL_MAX, &at[i]);
        if (status != STATUS_OK) {
            return status;
        }
    }
    *out = (struct wire_f64s){.at = at, .n = n};
    return STATUS_OK;
}

static enum status read_texts(struct reader *reader, uint64_t limit, uint64_t each,
                              struct wire_texts *out)
{
    size_t n;
    enum status status = read_count(reader, limit, &n);
    if (status != STATUS_OK || n == 0) {
        return status;
    }
    struct wire_span *at = arena_alloc(reader->arena, n * sizeof(*at));
    if (!at) {
        return no_room(reader);
    }
    for (size_t i = 0; i < n; i++) {
        status = read_span(reader, WIRE_ITEM_TEXT, each, &at[i]);
        if (status != STATUS_OK) {
            return status;
        }
    }
    *out = (struct wire_texts){.at = at, .n = n};
    return STATUS_OK;
}

/* ---- maps ----------------------------------------------------------------------------------- */

static enum status read_nested(struct reader *reader, const struct wire_table *table, void *base);

static enum status read_field(struct reader *reader, const struct wire_field *field, void *at)
{
    uint64_t number = 0;
    enum status status;
    switch ((enum wire_type)field->type) {
    case WIRE_TYPE_u32:
        status = read_number(reader, field->limit.u, &number);
        if (status == STATUS_OK) {
            *(uint32_t *)at = (uint32_t)number;
        }
        return status;
    case WIRE_TYPE_u64:
        return read_number(reader, field->limit.u, at);
    case WIRE_TYPE_f64:
        return read_f64(reader, field->limit.f, at);
    case WIRE_TYPE_flag: {
        struct wire_item item = next_item(reader);
        if (item.type != WIRE_ITEM_FLAG) {
            return wrong_type(reader, WIRE_ITEM_FLAG, item.type);
        }
        *(bool *)at = item.u != 0;
        return STATUS_OK;
    }
    case WIRE_TYPE_text:
        return read_span(reader, WIRE_ITEM_TEXT, field->limit.u, at);
    case WIRE_TYPE_bytes:
        return read_span(reader, WIRE_ITEM_BYTES, field->limit.u, at);
    case WIRE_TYPE_id:
        return read_id(reader, at);
    case WIRE_TYPE_u32s:
        return read_u32s(reader, field->limit.u, at);
    case WIRE_TYPE_u64s:
        return read_u64s(reader, field->limit.u, at);
    case WIRE_TYPE_f64s:
        return read_f64s(reader, field->limit.u, at);
    case WIRE_TYPE_texts:
        return read_texts(reader, field->limit.u, WIRE_NAME_MAX, at);
    case WIRE_TYPE_bodies:
        return read_texts(reader, field->limit.u, WIRE_TEXT_MAX, at);
    case WIRE_TYPE_sampling:
    case WIRE_TYPE_ledger:
        return read_nested(reader, wire_table_nested(field->type), at);
    }
    return STATUS_INTERNAL;
}

/* The field of this key, or n_fields. Encoders keep the table's order, so `hint`, the field after
 * the last one found, is nearly always it. */
static inline uint32_t find_field(const struct wire_table *table, const struct wire_span *key,
                                  uint32_t hint)
{
    for (uint32_t i = 0; i < table->n_fields; i++) {
        uint32_t idx = hint + i < table->n_fields ? hint + i : hint + i - table->n_fields;
        const struct wire_field *field = &table->fields[idx];
        if (field->key_len == key->len && field->key[0] == key->at[0] &&
            memcmp(field->key, key->at, key->len) == 0) {
            return idx;
        }
    }
    return table->n_fields;
}

/* Takes one field of `table` if the key is there; *found_out tells. `seen` has a bit a field. */
static enum status take_field(struct reader *reader, const struct wire_table *table, void *base,
                              const struct wire_span *key, uint64_t *seen, uint32_t *hint,
                              bool *found_out)
{
    uint32_t idx = find_field(table, key, *hint);
    *found_out = idx < table->n_fields;
    if (!*found_out) {
        return STATUS_OK;
    }
    const struct wire_field *field = &table->fields[idx];
    reader->key = field->key;
    if (*seen >> idx & 1) {
        return fault(reader, STATUS_MALFORMED, "expected once, found twice");
    }
    *seen |= (uint64_t)1 << idx;
    *hint = idx + 1 < table->n_fields ? idx + 1 : 0;
    enum status status = read_field(reader, field, (char *)base + field->offset);
    if (status == STATUS_OK) {
        reader->key = NULL;
    }
    return status;
}

static inline enum status read_key(struct reader *reader, struct wire_span *out)
{
    const uint8_t format = *reader->at;
    if ((format & 0xe0) == 0xa0) { /* a short text, as all keys of ours: the scan has read it */
        *out = (struct wire_span){.at = (const char *)reader->at + 1, .len = format & 0x1fu};
        reader->at += 1 + out->len;
        return STATUS_OK;
    }
    struct wire_item item = next_item(reader);
    if (item.type != WIRE_ITEM_TEXT) {
        return fault(reader, STATUS_MALFORMED, "expected a text as key, found %s",
                     item_name(item.type));
    }
    *out = (struct wire_span){.at = (const char *)item.at, .len = item.n};
    return STATUS_OK;
}

static enum status read_nested(struct reader *reader, const struct wire_table *table, void *base)
{
    struct wire_item map = next_item(reader);
    if (map.type != WIRE_ITEM_MAP) {
        return wrong_type(reader, WIRE_ITEM_MAP, map.type);
    }
    reader->nested = table->name;
    reader->key = NULL;
    uint64_t seen = 0;
    uint32_t hint = 0;
    for (uint32_t i = 0; i < map.n; i++) {
        struct wire_span key = {.at = NULL};
        bool found = false;
        enum status status = read_key(reader, &key);
        if (status == STATUS_OK) {
            status = take_field(reader, table, base, &key, &seen, &hint, &found);
        }
        if (status != STATUS_OK) {
            return status;
        }
        if (!found) {
            skip_value(reader);
        }
    }
    reader->nested = NULL;
    return STATUS_OK;
}

/* ---- the message ---------------------------------------------------------------------------- */

static bool key_is_name(const struct wire_span *key)
{
    return key->len == 1 && key->at[0] == 't';
}

static enum status find_kind(struct reader *reader, enum wire_kind *out)
{
    struct wire_span name;
    enum status status = read_span(reader, WIRE_ITEM_TEXT, WIRE_NAME_MAX, &name);
    if (status != STATUS_OK) {
        return status;
    }
    for (uint32_t i = 0; i < WIRE_N_KINDS; i++) {
        const struct wire_table *table = wire_table_of((enum wire_kind)i);
        if (table->name_len == name.len && memcmp(table->name, name.at, name.len) == 0) {
            *out = (enum wire_kind)i;
            return STATUS_OK;
        }
    }
    return fault(reader, STATUS_MALFORMED, "expected the name of a message, found \"%.*s\"",
                 (int)(name.len < 32 ? name.len : 32), name.at);
}

/* Looks for "t" in a copy of the reader; our own encoders send it first. */
static enum status read_kind(struct reader reader, uint32_t n_pairs, enum wire_kind *out,
                             const char **why_out)
{
    enum status status = STATUS_OK;
    bool found = false;
    for (uint32_t i = 0; i < n_pairs && !found && status == STATUS_OK; i++) {
        struct wire_span key = {.at = NULL};
        status = read_key(&reader, &key);
        if (status == STATUS_OK && key_is_name(&key)) {
            found = true;
            reader.key = "t";
            status = find_kind(&reader, out);
        } else if (status == STATUS_OK) {
            skip_value(&reader);
        }
    }
    if (status == STATUS_OK && !found) {
        status = fault(&reader, STATUS_MALFORMED, "expected the key \"t\", found none");
    }
    *why_out = reader.why;
    return status;
}

static enum status read_pairs(struct reader *reader, uint32_t n_pairs, struct wire_msg *msg)
{
    const struct wire_table *envelope = wire_table_envelope();
    const struct wire_table *body = wire_table_of(msg->kind);
    uint64_t seen_envelope = 0, seen_body = 0;
    uint32_t hint_envelope = 0, hint_body = 0, n_names = 0;
    for (uint32_t i = 0; i < n_pairs; i++) {
        struct wire_span key = {.at = NULL};
        bool found = false;
        enum status status = read_key(reader, &key);
        if (status == STATUS_OK && key_is_name(&key)) {
            if (n_names++ > 0) {
                status =
                    fault(reader, STATUS_MALFORMED, "expected the key \"t\" once, found it twice");
            }
        } else if (status == STATUS_OK && key.len == 1) {
            status =
                take_field(reader, envelope, msg, &key, &seen_envelope, &hint_envelope, &found);
        } else if (status == STATUS_OK) {
            status = take_field(reader, body, (char *)msg + WIRE_BODY_OFFSET, &key, &seen_body,
                                &hint_body, &found);
        }
        if (status != STATUS_OK) {
            return status;
        }
        if (!found) {
            skip_value(reader);
        }
    }
    if (body->request && wire_id_is_zero(&msg->req)) {
        return fault(reader, STATUS_MALFORMED, "expected a request id under \"r\", found none");
    }
    return STATUS_OK;
}

enum status wire_msg_decode(const void *buf, size_t len, struct arena *arena, struct wire_msg *out,
                            const char **why_out)
{
    struct reader reader = {
        .at = buf, .end = (const uint8_t *)buf + len, .arena = arena, .kind = "message"};
    enum status status = wire_scan(buf, len, &reader.why);
    if (status != STATUS_OK) {
        goto fail_why;
    }
    struct wire_item map = next_item(&reader);
    if (map.type != WIRE_ITEM_MAP) {
        status = wrong_type(&reader, WIRE_ITEM_MAP, map.type);
        goto fail_why;
    }
    enum wire_kind kind = WIRE_KIND_HELLO;
    status = read_kind(reader, map.n, &kind, &reader.why);
    if (status != STATUS_OK) {
        goto fail_why;
    }
    struct wire_msg msg;
    wire_msg_init(&msg, kind);
    reader.kind = wire_kind_name(kind);
    status = read_pairs(&reader, map.n, &msg);
    if (status != STATUS_OK) {
        goto fail_why;
    }
    *out = msg;
    return STATUS_OK;
fail_why:
    if (why_out) {
        *why_out = reader.why;
    }
    return status;
}
