/* What the samplers of all tables share (NUMERICS.md, section 3): the parts that touch few ids, and
 * the numbers' definitions. */
#pragma once

#include <stdbool.h>

#include "kernels/cpu/rows.h"
#include "kernels/mathfn.h"
#include "kernels/philox.h"

#define SAMPLE_MASS_ONE 0x1p40f         /* mass of the largest logit */
#define SAMPLE_TEMPERATURE_MIN 0x1p-16f /* below it is 0 */

/* One row on its way. */
struct sample_row {
    const struct op_sampling *params;
    float *z; /* [vocab] */
    uint32_t vocab;
    float *old;   /* [vocab] what z was, only at ids that sample_adjust changed */
    float *spare; /* [vocab] */
    struct op_sampled *out;
    float most;      /* largest logit, before anything was changed */
    uint64_t weight; /* sum of masses, then */
};

struct sample_row sample_row_of(const struct op_sample *op, uint32_t row, void *work);

/* No id: a logit is not a number, or every id is out. */
void sample_nothing(struct sample_row *row);
/* Puts an id into the list of top logits, of which there are *n, if it belongs there. */
void sample_top_insert(struct sample_row *row, uint32_t *n, uint32_t token);
/* The logprobs of the list, from row->most and row->weight. */
void sample_top_finish(struct sample_row *row, uint32_t n);
/* Allowed and banned ids, bias and penalties. */
void sample_adjust(struct sample_row *row);
/* The id and its logprob. */
void sample_finish(struct sample_row *row, uint32_t token);

/* Whether z is something else than what came in. */
static inline bool sample_adjusts(const struct op_sampling *params)
{
    return params->allowed != NULL || params->n_banned > 0 || params->n_biases > 0 ||
           params->n_penalties > 0;
}

/* The mass of u when m is the largest; 0 of what is not a number. */
static inline uint64_t sample_mass(float u, float m)
{
    float x = (u - m) * MATH_LOG2E;

    return x >= MATH_EXP2_MIN ? (uint64_t)(math_exp2(x) * SAMPLE_MASS_ONE) : 0;
}

static inline uint64_t sample_top_p_target(float top_p, uint64_t weight)
{
    double target = top_p > 0.0f ? (double)top_p * (double)weight : 0.0;

    return target >= 1.0 ? (uint64_t)target : 1;
}

static inline uint64_t sample_min_p_mass(float min_p)
{
    return (uint64_t)((double)(min_p < 1.0f ? min_p : 1.0f) * (double)SAMPLE_MASS_ONE);
}

/* Integers in the order of the floats; NaN has none. */
static inline uint32_t sample_key(float x)
{
    uint32_t bits = f32_bits(x);

    return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

static inline float sample_of_key(uint32_t key)
{
    return f32_of_bits(key & 0x80000000u ? key & 0x7fffffffu : ~key);
}

/* The noise of an id. */
static inline float sample_noise(uint64_t seed, uint32_t position, uint32_t token)
{
    struct philox_words ctr = {{token / 4, position, 0, 0}};
    uint32_t w = philox4x32_10(ctr, seed).word[token % 4];
    float v = math_fma((float)(w >> 1), 0x1p-31f, 0x1p-32f), e;

    v = v < 1.0f - 0x1p-24f ? v : 1.0f - 0x1p-24f;
    e = v <= 0.25f ? -math_log1p_small(-v) : -math_log(1.0f - v);
    return -math_log(e);
}
