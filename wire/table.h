/* The tables of msg.h as data: one descriptor for each field, so that encoder, decoder, printer
 * and specification are each one loop. Internal to this folder and its tests. */
#pragma once

#include "wire/msg.h"

#define WIRE_KEY_MAX 24 /* bytes of a key, and its end */

enum wire_type {
    WIRE_TYPE_u32,
    WIRE_TYPE_u64,
    WIRE_TYPE_f64,
    WIRE_TYPE_flag,
    WIRE_TYPE_text,
    WIRE_TYPE_bytes,
    WIRE_TYPE_id,
    WIRE_TYPE_u32s,
    WIRE_TYPE_u64s,
    WIRE_TYPE_f64s,
    WIRE_TYPE_texts,
    WIRE_TYPE_bodies,
    WIRE_TYPE_sampling,
    WIRE_TYPE_ledger
};

union wire_number {
    uint64_t u;
    double f; /* of f64 fields only */
};

struct wire_field {
    char key[WIRE_KEY_MAX]; /* in place: the encoder copies it whole */
    uint8_t key_len;
    uint8_t type;    /* enum wire_type */
    uint16_t offset; /* of the member within its struct */
    union wire_number limit;
    union wire_number dflt;
};

struct wire_table {
    const char *name; /* on the wire, for nested maps the key */
    uint8_t name_len;
    uint8_t n_fields; /* at most 64: the decoder keeps a bit for each */
    bool request;     /* the envelope must carry a request id */
    const struct wire_field *fields;
};

/* The envelope's fields; their offsets are within struct wire_msg. "t", the name, is not among
 * them. */
const struct wire_table *wire_table_envelope(void);
/* The fields of a kind; their offsets are within the kind's own struct. */
const struct wire_table *wire_table_of(enum wire_kind kind);
/* The fields of a nested map, NULL if the type is not one. */
const struct wire_table *wire_table_nested(enum wire_type type);

/* Where the kind's own struct lies within the message. */
#define WIRE_BODY_OFFSET offsetof(struct wire_msg, hello)

/* Whether the value at `at` equals the field's default, and so is not sent. */
bool wire_field_is_default(const struct wire_field *field, const void *at);
/* Every field at its default; spans and arrays are empty but never NULL. */
void wire_table_init(const struct wire_table *table, void *base);
