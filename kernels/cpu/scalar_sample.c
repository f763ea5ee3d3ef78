/* Sampling in plain C: the definition (NUMERICS.md, section 3). Thresholds are found by bisection
 * over all floats, with a pass over the row for each bit. */
#include <float.h>
#include <math.h>

#include "kernels/cpu/sample.h"

/* What is left of a row, and how it is weighed. */
struct filter {
    const struct sample_row *row;
    float temperature, most; /* largest u */
    float threshold;         /* u below it is out */
    bool counts;             /* each id weighs 1, not its mass */
};

static float scaled(const struct filter *filter, uint32_t token)
{
    return filter->row->z[token] / filter->temperature;
}

/* -inf where all are, and where one is NaN or infinite: such a row is broken. */
static float largest(const struct sample_row *row)
{
    float most = -INFINITY;

    for (uint32_t i = 0; i < row->vocab; i++) {
        if (!(row->z[i] < INFINITY))
            return -INFINITY;
        most = row->z[i] > most ? row->z[i] : most;
    }
    return most;
}

/* Of the ids that are left and have u >= v. */
static uint64_t weight_from(const struct filter *filter, float v)
{
    uint64_t sum = 0;

    for (uint32_t i = 0; i < filter->row->vocab; i++) {
        float u = scaled(filter, i);

        if (u >= v && u >= filter->threshold && u > -INFINITY)
            sum += filter->counts ? 1 : sample_mass(u, filter->most);
    }
    return sum;
}

/* Raises the threshold to the largest v whose weight reaches the target. */
static void filter_to(struct filter *filter, uint64_t target)
{
    uint32_t low = sample_key(-FLT_MAX), high = sample_key(filter->most) + 1;

    if (weight_from(filter, -FLT_MAX) < target)
        return;
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;

        if (weight_from(filter, sample_of_key(middle)) >= target)
            low = middle;
        else
            high = middle;
    }
    if (sample_of_key(low) > filter->threshold)
        filter->threshold = sample_of_key(low);
}

static float filtered(struct sample_row *row, float most)
{
    const struct op_sampling *params = row->params;
    struct filter filter = {row, params->temperature, most / params->temperature, -INFINITY, false};

    if (params->min_p > 0.0f) {
        uint64_t least = sample_min_p_mass(params->min_p);

        for (uint32_t i = 0; i < row->vocab; i++)
            if (sample_mass(scaled(&filter, i), filter.most) < least)
                row->z[i] = -INFINITY;
    }
    if (params->top_k > 0) {
        filter.counts = true;
        filter_to(&filter, params->top_k);
        filter.counts = false;
    }
    if (params->top_p < 1.0f)
        filter_to(&filter, sample_top_p_target(params->top_p, weight_from(&filter, -FLT_MAX)));
    return filter.threshold;
}

/* The largest T g + z of what is left. */
static uint32_t choose(const struct sample_row *row, float temperature, float threshold)
{
    const struct op_sampling *params = row->params;
    uint32_t best = UINT32_MAX;
    float best_value = 0.0f;

    for (uint32_t i = 0; i < row->vocab; i++) {
        float value = row->z[i];

        if (row->z[i] == -INFINITY)
            continue;
        if (temperature > 0.0f) {
            if (row->z[i] / temperature < threshold)
                continue;
            value = math_fma(temperature, sample_noise(params->seed, params->position, i), value);
        }
        if (best == UINT32_MAX || value > best_value) {
            best = i;
            best_value = value;
        }
    }
    return best;
}

void scalar_sample(const struct op_sample *op, uint32_t index, void *work)
{
    struct sample_row row = sample_row_of(op, index, work);
    const struct op_sampling *params = row.params;
    float temperature = params->temperature < SAMPLE_TEMPERATURE_MIN ? 0.0f : params->temperature;
    uint32_t n_top = 0, token;
    float most;

    row.most = largest(&row);
    if (row.most == -INFINITY) {
        sample_nothing(&row);
        return;
    }
    for (uint32_t i = 0; i < row.vocab; i++)
        row.weight += sample_mass(row.z[i], row.most);
    for (uint32_t i = 0; params->n_logprobs > 0 && i < row.vocab; i++)
        sample_top_insert(&row, &n_top, i);
    sample_top_finish(&row, n_top);
    sample_adjust(&row);
    most = largest(&row);
    token = most == -INFINITY
                ? UINT32_MAX
                : choose(&row, temperature, temperature > 0.0f ? filtered(&row, most) : -INFINITY);
    if (token == UINT32_MAX)
        sample_nothing(&row);
    else
        sample_finish(&row, token);
}
