/* The logprobs of a stream: kept beside its ids, so that a client that takes it over gets the same
 * again. Memory is bounded at admission (ROUTER_TOPS_MAX). */
#include <math.h>
#include <string.h>

#include "router/state.h"

#define LOGPROB_MAX 1e30 /* as the codec has it */

bool router_tops_keep(struct router_req *req, uint32_t idx, const struct wire_token *token)
{
    const size_t n_max = req->sampling.logprobs, n = token->top_ids.n;
    double *logprobs = req->top_logprobs + idx * n_max;

    if (n > n_max || token->top_logprobs.len != n * sizeof(*logprobs))
        return false;
    if (n > 0) {
        memcpy(logprobs, token->top_logprobs.at, n * sizeof(*logprobs));
        memcpy(req->top_ids + idx * n_max, token->top_ids.at, n * sizeof(*req->top_ids));
    }
    for (size_t i = 0; i < n; i++)
        if (!(fabs(logprobs[i]) <= LOGPROB_MAX))
            return false;
    req->n_tops[idx] = (uint8_t)n;
    req->logprobs[idx] = token->logprob;
    return true;
}

bool router_tops_equal(const struct router_req *req, uint32_t idx, const struct wire_token *token)
{
    const size_t n_max = req->sampling.logprobs, n = token->top_ids.n;

    if (memcmp(&req->logprobs[idx], &token->logprob, sizeof(double)) != 0 ||
        req->n_tops[idx] != n || token->top_logprobs.len != n * sizeof(double))
        return false;
    return n == 0 ||
           (memcmp(req->top_ids + idx * n_max, token->top_ids.at, n * sizeof(uint32_t)) == 0 &&
            memcmp(req->top_logprobs + idx * n_max, token->top_logprobs.at, n * sizeof(double)) ==
                0);
}

void router_tops_fill(const struct router_req *req, uint32_t idx, struct wire_token *token)
{
    const size_t n_max = req->sampling.logprobs, n = req->n_tops[idx];

    token->logprob = req->logprobs[idx];
    if (n == 0)
        return;
    token->top_ids = (struct wire_u32s){req->top_ids + idx * n_max, n};
    token->top_logprobs =
        (struct wire_span){(const char *)(req->top_logprobs + idx * n_max), n * sizeof(double)};
}
