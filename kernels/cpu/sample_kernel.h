/* Sampling over vec.h, without a sort. Included by rows_ISA.c. A threshold is the largest logit
 * whose weight (ids, or masses, of all that are not smaller) reaches a target: weights of eight
 * pivots are summed in one pass, what lies between two of them is kept, and so on: after one pass
 * over the row mostly a few thousand are left, then some tens. It works on z, not on u = z / T: the
 * order is the same, and equal u are found at the end.
 *
 * A mass of 40 bits is two integers of 16 and 24 bits, summed in 32-bit lanes and carried over in
 * time. Noise is drawn only for ids whose uniform number could win by a bound on the logarithms;
 * the few that remain are computed in full, by the definition. */
#pragma once

#include <float.h>
#include <math.h>

#include "kernels/cpu/rows_kernel.h"
#include "kernels/cpu/sample.h"
#include "kernels/cpu/vec_int.h"

#ifdef VEC_ANY

#define SAMPLE_INLINE static inline __attribute__((always_inline))
#define SAMPLE_PIVOTS 8u
#define SAMPLE_CARRY 128u /* vectors whose lower masses, 24 bits, fit into a lane */
#define SAMPLE_EVERY 32u
#define SAMPLE_FEW 32u /* candidates that are looked at one by one */

/* 16 numbers of n from i on; past the end -inf. */
SAMPLE_INLINE v16 sample_load(const float *p, uint32_t i, uint32_t n)
{
    float last[16];

    if (n - i >= 16)
        return v_load(p + i);
    for (uint32_t lane = 0; lane < 16; lane++)
        last[lane] = lane < n - i ? p[i + lane] : -INFINITY;
    return v_load(last);
}

/* The largest of a row; `whole` tells whether all are below infinity and none is NaN. */
static inline float sample_largest(const struct sample_row *row, bool *whole)
{
    v16 most[4], limit = v_set1(INFINITY);
    uint32_t bits = 0xffff, i = 0;

    for (uint32_t v = 0; v < 4; v++)
        most[v] = v_set1(-INFINITY);
    for (; row->vocab - i >= 64; i += 64)
        for (uint32_t v = 0; v < 4; v++) {
            v16 z = v_load(row->z + i + 16 * v);

            most[v] = v_max(z, most[v]);
            bits &= m_bits(v_less(z, limit));
        }
    for (; i < row->vocab; i += 16) {
        v16 z = sample_load(row->z, i, row->vocab);

        most[0] = v_max(z, most[0]);
        bits &= m_bits(v_less(z, limit));
    }
    *whole = bits == 0xffff;
    return v_largest(v_max(v_max(most[0], most[1]), v_max(most[2], most[3])));
}

struct sample_masses {
    w16 high, low; /* high * 2^24 + low */
};

/* sample_mass of 16. */
SAMPLE_INLINE struct sample_masses sample_masses_of(v16 u, v16 most)
{
    v16 x = v_mul(v_sub(u, most), v_set1(MATH_LOG2E));
    v16 e = v_select(v_at_least(x, v_set1(MATH_EXP2_MIN)), v_exp2(x), v_zero());
    v16 scaled = v_mul(e, v_set1(0x1p16f));
    struct sample_masses masses;

    masses.high = w_of_float(scaled);
    masses.low = w_of_float(v_mul(v_sub(scaled, v_of_int(masses.high)), v_set1(0x1p24f)));
    return masses;
}

static inline uint64_t sample_carry(w16 high, w16 low)
{
    uint32_t lane[16];
    uint64_t sum = 0, high_sum = 0;

    w_store(lane, low);
    for (uint32_t i = 0; i < 16; i++)
        sum += lane[i];
    w_store(lane, high);
    for (uint32_t i = 0; i < 16; i++)
        high_sum += lane[i];
    return sum + (high_sum << 24);
}

static uint64_t sample_weight_of_all(const struct sample_row *row)
{
    v16 most = v_set1(row->most);
    uint64_t sum = 0;

    for (uint32_t i = 0; i < row->vocab;) {
        w16 high = w_set1(0), low = w_set1(0);

        for (uint32_t v = 0; v < SAMPLE_CARRY && i < row->vocab; v++, i += 16) {
            struct sample_masses masses =
                sample_masses_of(sample_load(row->z, i, row->vocab), most);

            high = w_add(high, masses.high);
            low = w_add(low, masses.low);
        }
        sum += sample_carry(high, low);
    }
    return sum;
}

/* A search for a threshold. */
struct sample_search {
    const float *from; /* [n] candidates */
    uint32_t n;
    float *into;                     /* where fewer of them go; may be `from` */
    float temperature, most;         /* most: the largest u of the row */
    bool counts;                     /* each id weighs 1, not its mass */
    uint32_t low, high;              /* keys: the threshold is in [low, high) */
    uint64_t above;                  /* weight from high on */
    uint32_t pivots[SAMPLE_PIVOTS];  /* keys, descending; the last is low */
    uint64_t weights[SAMPLE_PIVOTS]; /* of the candidates from each pivot on */
};

SAMPLE_INLINE void sample_weigh(struct sample_search *search, bool counts)
{
    v16 pivots[SAMPLE_PIVOTS], most = v_set1(search->most), by = v_set1(search->temperature);
    bool divide = search->temperature != 1.0f;

    for (uint32_t p = 0; p < SAMPLE_PIVOTS; p++) {
        pivots[p] = v_set1(sample_of_key(search->pivots[p]));
        search->weights[p] = 0;
    }
    for (uint32_t i = 0; i < search->n;) {
        w16 high[SAMPLE_PIVOTS], low[SAMPLE_PIVOTS];

        for (uint32_t p = 0; p < SAMPLE_PIVOTS; p++)
            high[p] = low[p] = w_set1(0);
        for (uint32_t v = 0; v < SAMPLE_CARRY && i < search->n; v++, i += 16) {
            v16 z = sample_load(search->from, i, search->n);
            struct sample_masses masses = {w_set1(0), w_set1(1)};

            if (!counts)
                masses = sample_masses_of(divide ? v_div(z, by) : z, most);
            for (uint32_t p = 0; p < SAMPLE_PIVOTS; p++) {
                m16 counted = v_at_least(z, pivots[p]);

                low[p] = w_add_where(counted, low[p], masses.low);
                if (!counts)
                    high[p] = w_add_where(counted, high[p], masses.high);
            }
        }
        for (uint32_t p = 0; p < SAMPLE_PIVOTS; p++)
            search->weights[p] += sample_carry(high[p], low[p]);
    }
}

static void sample_weigh_masses(struct sample_search *search)
{
    sample_weigh(search, false);
}

static void sample_weigh_counts(struct sample_search *search)
{
    sample_weigh(search, true);
}

/* Copies the numbers that are at least `least` and below `below` to `into`. */
static uint32_t sample_keep(const float *from, uint32_t n, float *into, float least, float below)
{
    v16 low = v_set1(least), high = v_set1(below);
    uint32_t kept = 0;

    for (uint32_t i = 0; i < n; i += 16) {
        v16 z = sample_load(from, i, n);
        m16 mask = m_both(v_at_least(z, low), v_less(z, high));
        uint32_t bits = m_bits(mask);

        if (bits == 0)
            continue;
#if defined(__AVX512F__)
        /* Into what was read already, or is spare: `into` has room for whole vectors. */
        v_store(into + kept, _mm512_maskz_compress_ps(mask, z));
        kept += (uint32_t)__builtin_popcount(bits);
#else
        float lane[16];

        v_store(lane, z);
        for (; bits != 0; bits &= bits - 1)
            into[kept++] = lane[__builtin_ctz(bits)];
#endif
    }
    return kept;
}

/* The threshold among few candidates, from the largest down. */
static float sample_search_few(const struct sample_search *search, uint64_t target)
{
    uint64_t weight = search->above;
    float at = sample_of_key(search->high);

    for (uint32_t rounds = 0; rounds < search->n && weight < target; rounds++) {
        float next = -INFINITY;
        uint32_t times = 0;

        for (uint32_t i = 0; i < search->n; i++)
            if (search->from[i] < at && search->from[i] > next)
                next = search->from[i];
        for (uint32_t i = 0; i < search->n; i++)
            times += search->from[i] == next;
        weight +=
            times * (search->counts ? 1 : sample_mass(next / search->temperature, search->most));
        at = next;
    }
    return at;
}

/* Makes the interval smaller: between the two pivots where the target is reached. */
static void sample_narrow(struct sample_search *search, uint64_t target)
{
    uint32_t p = 0;

    while (search->above + search->weights[p] < target)
        p++;
    search->low = search->pivots[p];
    if (p > 0) {
        search->high = search->pivots[p - 1];
        search->above += search->weights[p - 1];
    }
    search->n = sample_keep(search->from, search->n, search->into, sample_of_key(search->low),
                            sample_of_key(search->high));
    search->from = search->into;
}

/* The largest z among the candidates whose weight reaches the target (of top_p: that share of all
 * the candidates'); -inf where all together do not. The first pivots are there, descending. */
static float sample_search_from(struct sample_search *search, float most, uint64_t target,
                                float top_p)
{
    search->low = sample_key(-FLT_MAX);
    search->high = sample_key(most) + 1;
    search->above = 0;
    for (bool first = true;; first = false) {
        search->pivots[SAMPLE_PIVOTS - 1] = search->low;
        if (search->counts)
            sample_weigh_counts(search);
        else
            sample_weigh_masses(search);
        if (first && !search->counts)
            target = sample_top_p_target(top_p, search->weights[SAMPLE_PIVOTS - 1]);
        if (first && search->weights[SAMPLE_PIVOTS - 1] < target)
            return -INFINITY;
        sample_narrow(search, target);
        if (search->high - search->low <= 1)
            return sample_of_key(search->low);
        if (search->n <= SAMPLE_FEW)
            return sample_search_few(search, target);
        for (uint32_t p = 0; p + 1 < SAMPLE_PIVOTS; p++) {
            uint64_t part = (uint64_t)(search->high - search->low) * (SAMPLE_PIVOTS - 1 - p);

            search->pivots[p] = search->low + (uint32_t)(part / SAMPLE_PIVOTS);
        }
    }
}

/* Puts a first pivot into its place among p others. */
static void sample_pivot(struct sample_search *search, uint32_t p, float pivot, float most)
{
    uint32_t key = sample_key(pivot > -FLT_MAX ? pivot : -FLT_MAX);

    if (key > sample_key(most))
        key = sample_key(most);
    for (; p > 0 && search->pivots[p - 1] < key; p--)
        search->pivots[p] = search->pivots[p - 1];
    search->pivots[p] = key;
}

/* First pivots at distances from the largest z: in units of the temperature, that is in natural
 * logarithms of a mass, where it is masses that count. Good where few ids have most of it. */
static void sample_pivots_below(struct sample_search *search, float most, float unit)
{
    static const float distances[SAMPLE_PIVOTS - 1] = {0.5f, 1.5f, 3.0f, 5.0f, 7.0f, 10.0f, 14.0f};

    for (uint32_t p = 0; p + 1 < SAMPLE_PIVOTS; p++)
        sample_pivot(search, p, most - distances[p] * unit, most);
}

/* sample_search_from with first pivots of its own. In a long row four of them stand around what a
 * search among every SAMPLE_EVERY-th vector found: good where the threshold lies among very many.
 * A bad guess costs time, never bits. */
static float sample_search_run(struct sample_search *search, float most, uint64_t target,
                               float top_p)
{
    static const float offsets[4] = {0.3f, 0.06f, -0.06f, -0.3f};
    struct sample_search rough = *search;
    float unit = search->counts ? 1.0f : search->temperature, guess;

    sample_pivots_below(search, most, unit);
    if (search->n < SAMPLE_EVERY * 256 || search->from == search->into)
        return sample_search_from(search, most, target, top_p);
    rough.n = 0;
    for (uint32_t i = 0; i + 16 <= search->n; i += 16 * SAMPLE_EVERY, rough.n += 16)
        v_store(search->into + rough.n, v_load(search->from + i));
    rough.from = rough.into;
    sample_pivots_below(&rough, most, unit);
    guess = sample_search_from(&rough, most, target / SAMPLE_EVERY + 1, top_p);
    sample_pivot(search, 0, most - 0.5f * unit, most);
    sample_pivot(search, 1, most - 2.0f * unit, most);
    sample_pivot(search, 2, most - 5.0f * unit, most);
    for (uint32_t p = 0; p < 4; p++)
        sample_pivot(search, 3 + p, guess + offsets[p] * unit, most);
    return sample_search_from(search, most, target, top_p);
}

/* The smallest z whose u is that of z. */
static float sample_equal_from(float z, float temperature)
{
    uint32_t low = sample_key(-FLT_MAX), high = sample_key(z);
    float u = z / temperature;

    if (z == -INFINITY || temperature == 1.0f)
        return z;
    if (-FLT_MAX / temperature >= u)
        return -FLT_MAX;
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;

        if (sample_of_key(middle) / temperature >= u)
            high = middle;
        else
            low = middle;
    }
    return sample_of_key(high);
}

static void sample_min_p(struct sample_row *row, float most)
{
    uint64_t least = sample_min_p_mass(row->params->min_p);
    v16 high = v_set1((float)(least >> 24)), low = v_set1((float)(least & 0xffffffu));
    v16 out = v_set1(-INFINITY), by = v_set1(row->params->temperature);

    for (uint32_t i = 0; i < row->vocab; i += 16) {
        v16 z = sample_load(row->z, i, row->vocab);
        struct sample_masses masses = sample_masses_of(v_div(z, by), v_set1(most));
        v16 its_high = v_of_int(masses.high), its_low = v_of_int(masses.low);
        m16 same_less = m_both(v_at_least(high, its_high), v_less(its_low, low));

        z = v_select(v_less(its_high, high), out, v_select(same_less, out, z));
        v_store_part(row->z + i, z, row_left(i, row->vocab));
    }
}

/* The filters; z below the result is out. */
static float sample_filter(struct sample_row *row, float most)
{
    const struct op_sampling *params = row->params;
    struct sample_search search = {.from = row->z,
                                   .n = row->vocab,
                                   .into = row->spare,
                                   .temperature = params->temperature,
                                   .most = most / params->temperature};
    float threshold = -INFINITY, top_p;

    if (params->min_p > 0.0f)
        sample_min_p(row, search.most);
    if (params->top_k > 0 && params->top_k < row->vocab) {
        search.counts = true;
        threshold = sample_search_run(&search, most, params->top_k, 0.0f);
        threshold = sample_equal_from(threshold, params->temperature);
        search.counts = false;
        search.from = row->z;
        search.n = row->vocab;
    }
    if (!(params->top_p < 1.0f))
        return threshold;
    if (threshold > -INFINITY) {
        search.n = sample_keep(row->z, row->vocab, row->spare, threshold, INFINITY);
        search.from = row->spare;
    }
    top_p = sample_search_run(&search, most, 0, params->top_p);
    top_p = sample_equal_from(top_p, params->temperature);
    return top_p > threshold ? top_p : threshold;
}

/* The first id with the largest z. */
static uint32_t sample_first(const struct sample_row *row, float most)
{
    v16 wanted = v_set1(most);

    for (uint32_t i = 0; i < row->vocab; i += 16) {
        uint32_t bits = m_bits(v_at_least(sample_load(row->z, i, row->vocab), wanted));

        if (bits != 0)
            return i + (uint32_t)__builtin_ctz(bits);
    }
    return UINT32_MAX;
}

/* The uniform numbers of ids base .. base + 63. Lane 4q + j of the counters is base / 4 + 4j + q,
 * so that a transposition in quarters brings the ids into order. */
static inline void sample_uniforms(const struct op_sampling *params, uint32_t base, v16 uniform[4])
{
    static const uint32_t order[16] = {0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15};
    uint32_t k0 = (uint32_t)params->seed, k1 = (uint32_t)(params->seed >> 32);
    w16 c[4] = {w_add(w_load(order), w_set1(base / 4)), w_set1(params->position), w_set1(0),
                w_set1(0)};

    for (int round = 0; round < 10; round++) {
        w16 a_low, a_high, b_low, b_high;

        w_multiply(c[0], 0xD2511F53u, &a_low, &a_high);
        w_multiply(c[2], 0xCD9E8D57u, &b_low, &b_high);
        c[0] = w_xor(w_xor(b_high, c[1]), w_set1(k0));
        c[1] = b_low;
        c[2] = w_xor(w_xor(a_high, c[3]), w_set1(k1));
        c[3] = a_low;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    w_transpose(c);
    for (uint32_t v = 0; v < 4; v++)
        uniform[v] = v_min(v_fma(v_of_int(w_half(c[v])), v_set1(0x1p-31f), v_set1(0x1p-32f)),
                           v_set1(1.0f - 0x1p-24f));
}

/* The best id so far. Noise is at most -log(v), v its uniform number: an id below `cut` cannot win
 * with any v, another one only if v <= 2^((z - best) * slope + slack). Both leave room for all
 * roundings: those of T g + z show in units of the last place of `best`, divided by T. */
struct sample_race {
    const struct sample_row *row;
    uint32_t token;
    float best, temperature, threshold;
    float cut, slope, slack;
};

static void sample_race_try(struct sample_race *race, uint32_t token)
{
    const struct op_sampling *params = race->row->params;
    float noise = sample_noise(params->seed, params->position, token);
    float value = math_fma(race->temperature, noise, race->row->z[token]);
    float blur;

    if (race->token != UINT32_MAX &&
        (value < race->best || (value == race->best && token > race->token)))
        return;
    race->token = token;
    race->best = value;
    blur = (value < 0.0f ? -value : value) * 0x1p-21f;
    race->slope = MATH_LOG2E / race->temperature;
    race->slack = 0.02f + blur * race->slope;
    race->cut = value - race->temperature * 22.5f - blur;
    if (race->cut < race->threshold)
        race->cut = race->threshold;
}

static void sample_race_vector(struct sample_race *race, uint32_t i, v16 uniform)
{
    v16 z = sample_load(race->row->z, i, race->row->vocab);
    v16 x = v_fma(v_sub(z, v_set1(race->best)), v_set1(race->slope), v_set1(race->slack));
    m16 could = m_both(v_at_least(z, v_set1(race->cut)), v_at_least(v_exp2(x), uniform));

    for (uint32_t bits = m_bits(could); bits != 0; bits &= bits - 1)
        sample_race_try(race, i + (uint32_t)__builtin_ctz(bits));
}

static uint32_t sample_choose(const struct sample_row *row, float most, float threshold)
{
    struct sample_race race = {.row = row,
                               .token = UINT32_MAX,
                               .temperature = row->params->temperature,
                               .threshold = threshold > -FLT_MAX ? threshold : -FLT_MAX};
    uint32_t n = row->vocab;

    sample_race_try(&race, sample_first(row, most));
    for (uint32_t i = 0; i < n; i += 64) {
        v16 cut = v_set1(race.cut), uniform[4];
        uint32_t bits = 0;

        for (uint32_t v = i; v < i + 64 && v < n; v += 16)
            bits |= m_bits(v_at_least(sample_load(row->z, v, n), cut));
        if (bits == 0)
            continue;
        sample_uniforms(row->params, i, uniform);
        for (uint32_t v = 0; v < 4 && i + 16 * v < n; v++)
            sample_race_vector(&race, i + 16 * v, uniform[v]);
    }
    return race.token;
}

static void sample_top(struct sample_row *row)
{
    struct sample_search search = {
        .from = row->z, .n = row->vocab, .into = row->spare, .counts = true};
    float least = sample_search_run(&search, row->most, row->params->n_logprobs, 0.0f);
    v16 at_least = v_set1(least);
    uint32_t n = 0;

    for (uint32_t i = 0; i < row->vocab; i += 16) {
        uint32_t bits = m_bits(v_at_least(sample_load(row->z, i, row->vocab), at_least));

        for (; bits != 0; bits &= bits - 1)
            if (i + (uint32_t)__builtin_ctz(bits) < row->vocab)
                sample_top_insert(row, &n, i + (uint32_t)__builtin_ctz(bits));
    }
    sample_top_finish(row, n);
}

static void rows_sample(const struct op_sample *op, uint32_t index, void *work)
{
    struct sample_row row = sample_row_of(op, index, work);
    const struct op_sampling *params = row.params;
    float most, threshold;
    bool whole;

    most = row.most = sample_largest(&row, &whole);
    if (!whole || row.most == -INFINITY) {
        sample_nothing(&row);
        return;
    }
    row.weight = sample_weight_of_all(&row);
    if (params->n_logprobs > 0)
        sample_top(&row);
    if (sample_adjusts(params)) {
        sample_adjust(&row);
        most = sample_largest(&row, &whole);
        if (!whole || most == -INFINITY) {
            sample_nothing(&row);
            return;
        }
    }
    if (params->temperature < SAMPLE_TEMPERATURE_MIN) {
        sample_finish(&row, sample_first(&row, most));
        return;
    }
    threshold = sample_filter(&row, most);
    if (sample_first(&row, most) == UINT32_MAX) /* min-p, where u is past all bounds */
        sample_nothing(&row);
    else
        sample_finish(&row, sample_choose(&row, most, threshold));
}

#endif
