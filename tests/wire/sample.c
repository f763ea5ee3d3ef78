/* See sample.h. Numbers are drawn near the borders of their encodings, where mistakes live. */
#include "tests/wire/sample.h"

#include <float.h>
#include <string.h>

#include "base/check.h"
#include "wire/table.h"

static uint64_t sample_number(struct rand *rng, uint64_t limit)
{
    static const uint64_t borders[] = {
        0,     1,     31,         32,         127,        128,       255,        256,       32767,
        65535, 65536, 0x7fffffff, 0xffffffff, 1ull << 32, INT64_MAX, 1ull << 63, UINT64_MAX};
    uint64_t value = rand_u64(rng) >> rand_below(rng, 64);
    if (rand_chance(rng, 1, 2)) {
        value = borders[rand_below(rng, sizeof(borders) / sizeof(borders[0]))];
    }
    return value > limit ? limit - value % 2 : value;
}

static double sample_float(struct rand *rng, double limit)
{
    static const double borders[] = {0.0, -0.0, 1.0, -1.0, 0.1, 1e-300, 0.9999999999999999};
    double value = (2 * rand_unit(rng) - 1) * limit;
    if (rand_chance(rng, 1, 3)) {
        value = borders[rand_below(rng, sizeof(borders) / sizeof(borders[0]))];
    } else if (rand_chance(rng, 1, 3)) {
        value = rand_chance(rng, 1, 2) ? limit : -limit;
    }
    return value;
}

static void *sample_room(struct arena *arena, size_t bytes)
{
    void *at = arena_alloc(arena, bytes);
    CHECK(at);
    return at;
}

static struct wire_span sample_span(struct rand *rng, struct arena *arena, uint64_t limit)
{
    static const size_t borders[] = {1, 31, 32, 255, 256, 65535, 65536};
    size_t len = rand_chance(rng, 1, 4) ? borders[rand_below(rng, 7)] : rand_below(rng, 40);
    len = len > limit ? limit : len;
    char *at = sample_room(arena, len);
    rand_bytes(rng, at, len);
    return (struct wire_span){.at = at, .len = len};
}

static size_t sample_count(struct rand *rng, uint64_t limit, size_t n_max)
{
    size_t n = rand_below(rng, n_max + 1);
    return n > limit ? limit : n;
}

static void sample_array(struct rand *rng, struct arena *arena, const struct wire_field *field,
                         size_t n_max, void *at)
{
    size_t n = sample_count(rng, field->limit.u, n_max);
    if (field->type == WIRE_TYPE_u32s) {
        uint32_t *words = sample_room(arena, n * sizeof(*words));
        for (size_t i = 0; i < n; i++) {
            words[i] = (uint32_t)sample_number(rng, UINT32_MAX);
        }
        *(struct wire_u32s *)at = (struct wire_u32s){.at = words, .n = n};
    } else if (field->type == WIRE_TYPE_u64s) {
        uint64_t *words = sample_room(arena, n * sizeof(*words));
        for (size_t i = 0; i < n; i++) {
            words[i] = sample_number(rng, UINT64_MAX);
        }
        *(struct wire_u64s *)at = (struct wire_u64s){.at = words, .n = n};
    } else if (field->type == WIRE_TYPE_f64s) {
        double *reals = sample_room(arena, n * sizeof(*reals));
        for (size_t i = 0; i < n; i++) {
            reals[i] = sample_float(rng, DBL_MAX / 2);
        }
        *(struct wire_f64s *)at = (struct wire_f64s){.at = reals, .n = n};
    } else {
        const uint64_t each = field->type == WIRE_TYPE_texts ? WIRE_NAME_MAX : 16 * n_max;
        struct wire_span *texts = sample_room(arena, n * sizeof(*texts));
        for (size_t i = 0; i < n; i++) {
            texts[i] = sample_span(rng, arena, each);
        }
        *(struct wire_texts *)at = (struct wire_texts){.at = texts, .n = n};
    }
}

static void sample_table(struct rand *rng, struct arena *arena, const struct wire_table *table,
                         size_t n_max, char *base);

static void sample_field(struct rand *rng, struct arena *arena, const struct wire_field *field,
                         size_t n_max, void *at)
{
    switch ((enum wire_type)field->type) {
    case WIRE_TYPE_u32:
        *(uint32_t *)at = (uint32_t)sample_number(rng, field->limit.u);
        break;
    case WIRE_TYPE_u64:
        *(uint64_t *)at = sample_number(rng, field->limit.u);
        break;
    case WIRE_TYPE_f64: {
        double value = sample_float(rng, field->limit.f);
        memcpy(at, &value, sizeof(value));
        break;
    }
    case WIRE_TYPE_flag:
        *(bool *)at = rand_chance(rng, 1, 2);
        break;
    case WIRE_TYPE_text:
    case WIRE_TYPE_bytes:
        *(struct wire_span *)at =
            sample_span(rng, arena, field->limit.u < n_max ? field->limit.u : n_max);
        break;
    case WIRE_TYPE_id:
        rand_bytes(rng, at, sizeof(struct wire_id));
        break;
    case WIRE_TYPE_u32s:
    case WIRE_TYPE_u64s:
    case WIRE_TYPE_f64s:
    case WIRE_TYPE_texts:
    case WIRE_TYPE_bodies:
        sample_array(rng, arena, field, n_max, at);
        break;
    case WIRE_TYPE_sampling:
    case WIRE_TYPE_ledger:
        sample_table(rng, arena, wire_table_nested(field->type), n_max, at);
        break;
    }
}

static void sample_table(struct rand *rng, struct arena *arena, const struct wire_table *table,
                         size_t n_max, char *base)
{
    for (uint32_t i = 0; i < table->n_fields; i++) {
        if (rand_chance(rng, 3, 4)) {
            sample_field(rng, arena, &table->fields[i], n_max, base + table->fields[i].offset);
        }
    }
}

void sample_msg(struct rand *rng, struct arena *arena, enum wire_kind kind, size_t n_max,
                struct wire_msg *msg)
{
    wire_msg_init(msg, kind);
    if (n_max > 0) {
        sample_table(rng, arena, wire_table_envelope(), n_max, (char *)msg);
        sample_table(rng, arena, wire_table_of(kind), n_max, (char *)msg + WIRE_BODY_OFFSET);
    }
    if (wire_table_of(kind)->request) {
        msg->req.byte[0] |= 1;
    }
}
