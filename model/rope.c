/* The frequencies of a rotary embedding, in fp64 and rounded once. Any thread. */
#include "kernels/mathfn.h"
#include "model/weights.h"

#define TWO_PI 0x1.921fb54442d18p+2

/* Llama 3: what turns slowly is slowed further, with a ramp between the two borders. */
static double slow_down(const struct model_rope *rope, double freq)
{
    const double turns = rope->original_positions * freq / TWO_PI; /* within the training */
    double share;

    if (turns > rope->high_freq_factor)
        return freq;
    if (turns < rope->low_freq_factor)
        return freq / rope->factor;
    share = (turns - rope->low_freq_factor) / (rope->high_freq_factor - rope->low_freq_factor);
    return (1.0 - share) * freq / rope->factor + share * freq;
}

void rope_freqs(const struct model_rope *rope, uint32_t len_max, float *out)
{
    const double base = math_log2_d(rope->theta);
    const float *factors =
        len_max > rope->original_positions ? rope->long_factors : rope->short_factors;

    for (uint32_t i = 0; i < rope->dim / 2; i++) {
        double freq = math_exp2_d(-2.0 * i / rope->dim * base);

        if (rope->kind == MODEL_ROPE_LINEAR)
            freq /= rope->factor;
        else if (rope->kind == MODEL_ROPE_LLAMA3)
            freq = slow_down(rope, freq);
        else if (rope->kind == MODEL_ROPE_LONGROPE)
            freq /= factors[i];
        out[i] = (float)freq;
    }
}
