/* Whether two messages say the same: field by field along the tables, contents and not addresses.
 * Floats by bits. For tests and the fuzzer. */
#pragma once

#include <string.h>

#include "wire/table.h"

static inline bool equal_table(const struct wire_table *table, const char *a, const char *b);

static inline bool equal_texts(const struct wire_texts *a, const struct wire_texts *b)
{
    if (a->n != b->n) {
        return false;
    }
    for (size_t i = 0; i < a->n; i++) {
        if (!wire_span_equal(a->at[i], b->at[i])) {
            return false;
        }
    }
    return true;
}

static inline bool equal_bytes(const void *a, size_t n_a, const void *b, size_t n_b, size_t each)
{
    return n_a == n_b && (n_a == 0 || memcmp(a, b, n_a * each) == 0);
}

static inline bool equal_field(const struct wire_field *field, const void *a, const void *b)
{
    const struct wire_u32s *words_a = a, *words_b = b;
    const struct wire_u64s *longs_a = a, *longs_b = b;
    const struct wire_f64s *reals_a = a, *reals_b = b;
    const struct wire_span *span_a = a, *span_b = b;
    switch ((enum wire_type)field->type) {
    case WIRE_TYPE_u32:
        return *(const uint32_t *)a == *(const uint32_t *)b;
    case WIRE_TYPE_u64:
        return *(const uint64_t *)a == *(const uint64_t *)b;
    case WIRE_TYPE_f64:
        return memcmp(a, b, sizeof(double)) == 0;
    case WIRE_TYPE_flag:
        return *(const bool *)a == *(const bool *)b;
    case WIRE_TYPE_text:
    case WIRE_TYPE_bytes:
        return wire_span_equal(*span_a, *span_b);
    case WIRE_TYPE_id:
        return wire_id_equal(a, b);
    case WIRE_TYPE_u32s:
        return equal_bytes(words_a->at, words_a->n, words_b->at, words_b->n, sizeof(uint32_t));
    case WIRE_TYPE_u64s:
        return equal_bytes(longs_a->at, longs_a->n, longs_b->at, longs_b->n, sizeof(uint64_t));
    case WIRE_TYPE_f64s:
        return equal_bytes(reals_a->at, reals_a->n, reals_b->at, reals_b->n, sizeof(double));
    case WIRE_TYPE_texts:
    case WIRE_TYPE_bodies:
        return equal_texts(a, b);
    case WIRE_TYPE_sampling:
    case WIRE_TYPE_ledger:
        return equal_table(wire_table_nested(field->type), a, b);
    }
    return false;
}

static inline bool equal_table(const struct wire_table *table, const char *a, const char *b)
{
    for (uint32_t i = 0; i < table->n_fields; i++) {
        const struct wire_field *field = &table->fields[i];
        if (!equal_field(field, a + field->offset, b + field->offset)) {
            return false;
        }
    }
    return true;
}

static inline bool equal_msg(const struct wire_msg *a, const struct wire_msg *b)
{
    return a->kind == b->kind &&
           equal_table(wire_table_envelope(), (const char *)a, (const char *)b) &&
           equal_table(wire_table_of(a->kind), (const char *)a + WIRE_BODY_OFFSET,
                       (const char *)b + WIRE_BODY_OFFSET);
}
