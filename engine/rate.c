/* Averages of step times. A decode step costs about the same for one row as for many (it reads all
 * weights), or grows with the rows; the larger of both guesses is predicted, because a bound that
 * is too small ejects a busy node, while one too large only notices a stuck node later. */
#include "engine/rate.h"

#include "wire/kvgeom.h"

#define RATE_WEIGHT 0.25 /* of the newest step */
#define RATE_NS_PER_MS 1e6

static void average(double *mean, double sample)
{
    *mean = *mean == 0.0 ? sample : *mean + RATE_WEIGHT * (sample - *mean);
}

static double predict_decode(const struct rate *rate, uint32_t n_rows)
{
    if (n_rows == 0)
        return 0.0;
    if (!rate->decodes)
        return rate->token_ns * (n_rows > KVGEOM_BLOCK_TOKENS ? n_rows : KVGEOM_BLOCK_TOKENS);
    double by_rows = rate->row_ns * n_rows;
    return by_rows > rate->decode_ns ? by_rows : rate->decode_ns;
}

static double predict_chunk(const struct rate *rate, uint32_t n_tokens)
{
    return (rate->chunks ? rate->token_ns : rate->row_ns) * n_tokens;
}

void rate_learn(struct rate *rate, struct rate_load load, uint64_t took_ns)
{
    bool *known = load.n_tokens > 0 ? &rate->chunks : &rate->decodes;
    double decode = rate->decodes ? predict_decode(rate, load.n_rows) : 0.0;
    *known = true;
    if (took_ns == 0)
        return;
    double took = (double)took_ns;
    if (load.n_tokens == 0) {
        average(&rate->decode_ns, took);
        average(&rate->row_ns, took / load.n_rows);
        return;
    }
    /* In a mixed step the decode part is a guess: never let it explain nearly everything. */
    double chunk = took - decode > took / 4 ? took - decode : took / 4;
    average(&rate->token_ns, chunk / load.n_tokens);
}

uint32_t rate_chunk(const struct rate *rate, uint32_t chunk_max, uint32_t chunk_ms)
{
    if (!rate->chunks)
        return KVGEOM_BLOCK_TOKENS;
    if (rate->token_ns * chunk_max <= chunk_ms * RATE_NS_PER_MS)
        return chunk_max;
    uint32_t n = (uint32_t)(chunk_ms * RATE_NS_PER_MS / rate->token_ns);
    n -= n % KVGEOM_BLOCK_TOKENS;
    return n == 0 ? KVGEOM_BLOCK_TOKENS : n;
}

uint32_t rate_bound_ms(const struct rate *rate, struct rate_load load)
{
    if (!rate->chunks && !rate->decodes)
        return RATE_BOUND_UNKNOWN_MS;
    double predicted = predict_decode(rate, load.n_rows) + predict_chunk(rate, load.n_tokens);
    double bound = RATE_BOUND_FACTOR * predicted / RATE_NS_PER_MS;
    if (bound <= RATE_BOUND_MIN_MS)
        return RATE_BOUND_MIN_MS;
    return bound >= UINT32_MAX ? UINT32_MAX : (uint32_t)bound;
}
