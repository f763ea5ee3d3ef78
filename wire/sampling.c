/* See sampling.h. Arrays are found through the descriptors of table.h, so that a new one is checked
 * and copied without a line here. */
#include "wire/sampling.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "wire/table.h"

__attribute__((format(printf, 2, 3))) static enum status invalid(char *why, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(why, WIRE_ERROR_MAX, format, args);
    va_end(args);
    return STATUS_INVALID;
}

enum status wire_ids_check(const char *name, struct wire_u32s ids, uint32_t vocab, char *why)
{
    for (size_t i = 0; i < ids.n; i++) {
        if (ids.at[i] >= vocab) {
            return invalid(why,
                           "%s[%zu] is %" PRIu32 ": the model's vocabulary ends at %" PRIu32
                           ", expected an id below that",
                           name, i, ids.at[i], vocab);
        }
    }
    return STATUS_OK;
}

/* ---- checks --------------------------------------------------------------------------------- */

static const char *number_wrong(const struct wire_sampling *sampling)
{
    if (sampling->max_tokens == 0) {
        return "max_tokens is 0: expected at least 1";
    }
    if (sampling->min_tokens > sampling->max_tokens) {
        return "min_tokens is over max_tokens";
    }
    if (!(sampling->temperature >= 0)) {
        return "temperature is negative: expected 0 to 100";
    }
    if (!(sampling->top_p > 0)) {
        return "top_p is not above 0: expected above 0, at most 1";
    }
    if (!(sampling->min_p >= 0)) {
        return "min_p is negative: expected 0 to 1";
    }
    if (!(sampling->repetition_penalty >= WIRE_REPETITION_MIN)) {
        return "repetition_penalty is below 0.01: expected 0.01 to 100";
    }
    return NULL;
}

static enum status bias_check(const struct wire_sampling *sampling, char *why)
{
    const struct wire_u32s ids = sampling->bias_ids;
    const struct wire_f64s values = sampling->bias_values;
    if (ids.n != values.n) {
        return invalid(why, "bias_ids has %zu elements and bias_values %zu: expected as many",
                       ids.n, values.n);
    }
    for (size_t i = 0; i < ids.n; i++) {
        if (!(fabs(values.at[i]) <= WIRE_BIAS_VALUE_MAX)) {
            return invalid(why, "bias_values[%zu] is %g: expected -%g to %g", i, values.at[i],
                           WIRE_BIAS_VALUE_MAX, WIRE_BIAS_VALUE_MAX);
        }
        for (size_t k = 0; k < i; k++) {
            if (ids.at[k] == ids.at[i]) {
                return invalid(why, "bias_ids[%zu] and bias_ids[%zu] are both %" PRIu32, k, i,
                               ids.at[i]);
            }
        }
    }
    return STATUS_OK;
}

enum status wire_sampling_check(const struct wire_sampling *sampling, uint32_t vocab, char *why)
{
    const struct wire_table *table = wire_table_nested(WIRE_TYPE_sampling);
    const char *wrong = number_wrong(sampling);
    if (wrong) {
        return invalid(why, "%s", wrong);
    }
    for (uint32_t i = 0; i < table->n_fields; i++) {
        const struct wire_field *field = &table->fields[i];
        if (field->type != WIRE_TYPE_u32s) {
            continue;
        }
        struct wire_u32s ids;
        memcpy(&ids, (const char *)sampling + field->offset, sizeof(ids));
        enum status status = wire_ids_check(field->key, ids, vocab, why);
        if (status != STATUS_OK) {
            return status;
        }
    }
    return bias_check(sampling, why);
}

enum status wire_job_check(const struct wire_job *job, uint32_t vocab, char *why)
{
    enum status status = wire_ids_check("prompt", job->prompt, vocab, why);
    if (status == STATUS_OK) {
        status = wire_ids_check("emitted", job->emitted, vocab, why);
    }
    return status == STATUS_OK ? wire_sampling_check(&job->sampling, vocab, why) : status;
}

/* ---- copies --------------------------------------------------------------------------------- */

/* Bytes of a field's elements, whichever array it is; 0 for what is not one. */
static size_t array_bytes(const struct wire_field *field, const char *base)
{
    const char *at = base + field->offset;
    switch ((enum wire_type)field->type) {
    case WIRE_TYPE_u32s:
        return ((const struct wire_u32s *)(const void *)at)->n * sizeof(uint32_t);
    case WIRE_TYPE_f64s:
        return ((const struct wire_f64s *)(const void *)at)->n * sizeof(double);
    case WIRE_TYPE_u32:
    case WIRE_TYPE_u64:
    case WIRE_TYPE_f64:
    case WIRE_TYPE_flag:
        return 0;
    default:
        CHECK_MSG(false, "an array of another type in the sampling parameters");
        return 0;
    }
}

static size_t rounded(size_t bytes)
{
    return (bytes + 7) / 8 * 8;
}

size_t wire_sampling_bytes(const struct wire_sampling *sampling)
{
    const struct wire_table *table = wire_table_nested(WIRE_TYPE_sampling);
    size_t bytes = 0;
    for (uint32_t i = 0; i < table->n_fields; i++) {
        bytes += rounded(array_bytes(&table->fields[i], (const char *)sampling));
    }
    return bytes;
}

struct wire_sampling wire_sampling_copy(const struct wire_sampling *sampling, void *memory)
{
    const struct wire_table *table = wire_table_nested(WIRE_TYPE_sampling);
    struct wire_sampling copy = *sampling;
    char *to = memory;
    for (uint32_t i = 0; i < table->n_fields; i++) {
        const struct wire_field *field = &table->fields[i];
        size_t bytes = array_bytes(field, (const char *)sampling);
        char *at = (char *)&copy + field->offset;
        if (bytes == 0) {
            continue;
        }
        if (field->type == WIRE_TYPE_u32s) {
            struct wire_u32s *ids = (struct wire_u32s *)(void *)at;
            ids->at = memcpy(to, ids->at, bytes);
        } else {
            struct wire_f64s *reals = (struct wire_f64s *)(void *)at;
            reals->at = memcpy(to, reals->at, bytes);
        }
        to += rounded(bytes);
    }
    return copy;
}
