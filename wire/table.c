/* Makes the descriptors out of the X-tables of msg.h, and answers what depends on a field's type
 * alone: its default. No I/O, no memory; any thread. */
#include "wire/table.h"

#include <string.h>

#include "base/check.h"

/* Limit and default are unions because a u64 does not fit a double nor the reverse. */
#define NUMBER_u32(x)                                                                              \
    {                                                                                              \
        .u = (x)                                                                                   \
    }
#define NUMBER_u64(x)                                                                              \
    {                                                                                              \
        .u = (x)                                                                                   \
    }
#define NUMBER_f64(x)                                                                              \
    {                                                                                              \
        .f = (x)                                                                                   \
    }
#define NUMBER_flag(x)                                                                             \
    {                                                                                              \
        .u = (x)                                                                                   \
    }
#define NUMBER_text(x)                                                                             \
    {                                                                                              \
        .u = (x)                                                                                   \
    }
#define NUMBER_bytes(x)                                                                            \
    {                                                                                              \
        .u = (x)                                                                                   \
    }
#define NUMBER_id(x)                                                                               \
    {                                                                                              \
        .u = (x)                                                                                   \
    }
#define NUMBER_u32s(x)                                                                             \
    {                                                                                              \
        .u = (x)                                                                                   \
    }
#define NUMBER_u64s(x)                                                                             \
    {                                                                                              \
        .u = (x)                                                                                   \
    }
#define NUMBER_f64s(x)                                                                             \
    {                                                                                              \
        .u = (x)                                                                                   \
    }
#define NUMBER_bodies(x)                                                                           \
    {                                                                                              \
        .u = (x)                                                                                   \
    }
#define NUMBER_texts(x)                                                                            \
    {                                                                                              \
        .u = (x)                                                                                   \
    }
#define NUMBER_sampling(x)                                                                         \
    {                                                                                              \
        .u = (x)                                                                                   \
    }
#define NUMBER_ledger(x)                                                                           \
    {                                                                                              \
        .u = (x)                                                                                   \
    }

/* `owner` is a typedef in the block where the table is made: the X-tables do not know the name of
 * the struct they describe. */
#define FIELD(kind, member, name, most, dflt_value)                                                \
    {.key = name,                                                                                  \
     .key_len = sizeof(name) - 1,                                                                  \
     .type = WIRE_TYPE_##kind,                                                                     \
     .offset = (uint16_t)offsetof(owner, member),                                                  \
     .limit = NUMBER_##kind(most),                                                                 \
     .dflt = NUMBER_##kind(dflt_value)},

#define N_OF(array) (uint8_t)(sizeof(array) / sizeof((array)[0]))

static const uint64_t nothing[2]; /* what empty arrays point to */

const struct wire_table *wire_table_envelope(void)
{
    typedef struct wire_msg owner;
    static const struct wire_field fields[] = {WIRE_ENVELOPE(FIELD)};
    static const struct wire_table table = {.n_fields = N_OF(fields), .fields = fields};
    return &table;
}

const struct wire_table *wire_table_of(enum wire_kind kind)
{
    switch (kind) {
#define X(KIND, member, text, rows, req)                                                           \
    case WIRE_KIND_##KIND: {                                                                       \
        typedef struct wire_##member owner;                                                        \
        static const struct wire_field fields[] = {rows(FIELD)};                                   \
        static const struct wire_table table = {.name = text,                                      \
                                                .name_len = sizeof(text) - 1,                      \
                                                .n_fields = N_OF(fields),                          \
                                                .request = (req),                                  \
                                                .fields = fields};                                 \
        return &table;                                                                             \
    }
        WIRE_MESSAGES(X)
#undef X
    case WIRE_N_KINDS:
        break;
    }
    CHECK_MSG(false, "a kind outside the table");
    return NULL;
}

static const struct wire_table *table_of_sampling(void)
{
    typedef struct wire_sampling owner;
    static const struct wire_field fields[] = {WIRE_SAMPLING(FIELD)};
    static const struct wire_table table = {
        .name = "sampling", .name_len = 8, .n_fields = N_OF(fields), .fields = fields};
    return &table;
}

static const struct wire_table *table_of_ledger(void)
{
    typedef struct wire_ledger owner;
    static const struct wire_field fields[] = {WIRE_LEDGER(FIELD)};
    static const struct wire_table table = {
        .name = "ledger", .name_len = 6, .n_fields = N_OF(fields), .fields = fields};
    return &table;
}

const struct wire_table *wire_table_nested(enum wire_type type)
{
    if (type == WIRE_TYPE_sampling) {
        return table_of_sampling();
    }
    return type == WIRE_TYPE_ledger ? table_of_ledger() : NULL;
}

static bool table_is_default(const struct wire_table *table, const char *base)
{
    for (uint32_t i = 0; i < table->n_fields; i++) {
        const struct wire_field *field = &table->fields[i];
        if (!wire_field_is_default(field, base + field->offset)) {
            return false;
        }
    }
    return true;
}

bool wire_field_is_default(const struct wire_field *field, const void *at)
{
    switch ((enum wire_type)field->type) {
    case WIRE_TYPE_u32:
        return *(const uint32_t *)at == field->dflt.u;
    case WIRE_TYPE_u64:
        return *(const uint64_t *)at == field->dflt.u;
    case WIRE_TYPE_f64:
        /* By bits, so that a negative zero is sent and comes back as one. */
        return memcmp(at, &field->dflt.f, sizeof(double)) == 0;
    case WIRE_TYPE_flag:
        return *(const bool *)at == (field->dflt.u != 0);
    case WIRE_TYPE_text:
    case WIRE_TYPE_bytes:
        return ((const struct wire_span *)at)->len == 0;
    case WIRE_TYPE_id:
        return wire_id_is_zero(at);
    case WIRE_TYPE_u32s:
        return ((const struct wire_u32s *)at)->n == 0;
    case WIRE_TYPE_u64s:
        return ((const struct wire_u64s *)at)->n == 0;
    case WIRE_TYPE_f64s:
        return ((const struct wire_f64s *)at)->n == 0;
    case WIRE_TYPE_texts:
    case WIRE_TYPE_bodies:
        return ((const struct wire_texts *)at)->n == 0;
    case WIRE_TYPE_sampling:
    case WIRE_TYPE_ledger:
        return table_is_default(wire_table_nested(field->type), at);
    }
    return false;
}

static void field_init(const struct wire_field *field, void *at)
{
    switch ((enum wire_type)field->type) {
    case WIRE_TYPE_u32:
        *(uint32_t *)at = (uint32_t)field->dflt.u;
        break;
    case WIRE_TYPE_u64:
        *(uint64_t *)at = field->dflt.u;
        break;
    case WIRE_TYPE_f64:
        *(double *)at = field->dflt.f;
        break;
    case WIRE_TYPE_flag:
        *(bool *)at = field->dflt.u != 0;
        break;
    case WIRE_TYPE_text:
    case WIRE_TYPE_bytes:
        *(struct wire_span *)at = (struct wire_span){.at = (const char *)nothing};
        break;
    case WIRE_TYPE_id:
        memset(at, 0, sizeof(struct wire_id));
        break;
    case WIRE_TYPE_u32s:
        *(struct wire_u32s *)at = (struct wire_u32s){.at = (const uint32_t *)nothing};
        break;
    case WIRE_TYPE_u64s:
        *(struct wire_u64s *)at = (struct wire_u64s){.at = nothing};
        break;
    case WIRE_TYPE_f64s:
        *(struct wire_f64s *)at = (struct wire_f64s){.at = (const double *)(const void *)nothing};
        break;
    case WIRE_TYPE_texts:
    case WIRE_TYPE_bodies:
        *(struct wire_texts *)at = (struct wire_texts){.at = (const struct wire_span *)nothing};
        break;
    case WIRE_TYPE_sampling:
    case WIRE_TYPE_ledger:
        wire_table_init(wire_table_nested(field->type), at);
        break;
    }
}

void wire_table_init(const struct wire_table *table, void *base)
{
    for (uint32_t i = 0; i < table->n_fields; i++) {
        field_init(&table->fields[i], (char *)base + table->fields[i].offset);
    }
}
