/* One step's tokens in parallel arrays. See batch.h. */
#include "decode/batch.h"

#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "wire/plant.h"

struct batch {
    uint32_t n, n_max;
    uint32_t link;        /* of those collected */
    struct wire_msg only; /* the message, while it is the only one */
    struct wire_id *reqs; /* [n_max] and so on */
    uint32_t *attempts, *generations, *indexes, *tokens;
    double *logprobs;
    uint8_t *ends;
    uint8_t *n_tops;
    uint32_t *top_ids;    /* [n_max * WIRE_TOPS_MAX], one token's after the other's */
    double *top_logprobs; /* beside them */
    size_t n_top_ids;
};

enum status batch_create(uint32_t n_max, struct batch **out)
{
    struct batch *batch;

    CHECK(n_max > 0 && n_max <= WIRE_BATCH_MAX);
    batch = mem_alloc_zero(1, sizeof(*batch));
    if (!batch)
        return STATUS_NO_MEMORY;
    batch->n_max = n_max;
    batch->reqs = mem_alloc_zero(n_max, sizeof(*batch->reqs));
    batch->attempts = mem_alloc_zero(4 * (size_t)n_max, sizeof(uint32_t));
    batch->logprobs = mem_alloc_zero(n_max, sizeof(double));
    batch->ends = mem_alloc_zero(n_max, 2);
    batch->top_ids = mem_alloc_zero((size_t)n_max * WIRE_TOPS_MAX, sizeof(uint32_t));
    batch->top_logprobs = mem_alloc_zero((size_t)n_max * WIRE_TOPS_MAX, sizeof(double));
    if (!batch->reqs || !batch->attempts || !batch->logprobs || !batch->ends || !batch->top_ids ||
        !batch->top_logprobs) {
        batch_destroy(batch);
        return STATUS_NO_MEMORY;
    }
    batch->generations = batch->attempts + n_max;
    batch->indexes = batch->generations + n_max;
    batch->tokens = batch->indexes + n_max;
    batch->n_tops = batch->ends + n_max;
    *out = batch;
    return STATUS_OK;
}

void batch_destroy(struct batch *batch)
{
    if (!batch)
        return;
    mem_free(batch->top_logprobs);
    mem_free(batch->top_ids);
    mem_free(batch->ends);
    mem_free(batch->logprobs);
    mem_free(batch->attempts);
    mem_free(batch->reqs);
    mem_free(batch);
}

/* Copies the tops; the collected message then points to the copy. */
static void add_tops(struct batch *batch, uint32_t i, struct wire_token *token)
{
    const size_t n = token->top_ids.n;
    uint32_t *ids = batch->top_ids + batch->n_top_ids;
    double *logprobs = batch->top_logprobs + batch->n_top_ids;

    CHECK(n <= WIRE_TOPS_MAX && token->top_logprobs.len == n * sizeof(double));
    batch->n_tops[i] = (uint8_t)n;
    if (n == 0)
        return;
    memcpy(ids, token->top_ids.at, n * sizeof(*ids));
    memcpy(logprobs, token->top_logprobs.at, n * sizeof(*logprobs));
    token->top_ids.at = ids;
    token->top_logprobs.at = (const char *)logprobs;
    batch->n_top_ids += PLANTED(24) ? 0 : n;
}

void batch_add(struct batch *batch, struct bond *bond, struct wire_out *out, uint32_t link,
               const struct wire_msg *token)
{
    const uint32_t i = batch->n;

    CHECK(token->kind == WIRE_KIND_TOKEN);
    if (i > 0 && batch->link != link) {
        batch_flush(batch, bond, out);
        batch_add(batch, bond, out, link, token);
        return;
    }
    CHECK(i < batch->n_max);
    batch->link = link;
    batch->only = *token;
    batch->reqs[i] = token->req;
    batch->attempts[i] = token->attempt;
    batch->generations[i] = token->generation;
    batch->indexes[i] = token->token.index;
    batch->tokens[i] = token->token.token;
    batch->logprobs[i] = token->token.logprob;
    batch->ends[i] = (uint8_t)wire_end_code(token->token.end);
    add_tops(batch, i, &batch->only.token);
    batch->n++;
}

void batch_flush(struct batch *batch, struct bond *bond, struct wire_out *out)
{
    const size_t n = batch->n, n_tops = batch->n_top_ids;
    struct wire_msg msg;

    batch->n = 0;
    batch->n_top_ids = 0;
    if (n == 1)
        bond_post(bond, batch->link, out, &batch->only);
    if (n < 2)
        return;
    wire_msg_init(&msg, WIRE_KIND_TOKENS);
    msg.tokens.reqs = (struct wire_span){(const char *)batch->reqs, n * sizeof(*batch->reqs)};
    msg.tokens.attempts = (struct wire_u32s){batch->attempts, n};
    msg.tokens.generations = (struct wire_u32s){batch->generations, n};
    msg.tokens.indexes = (struct wire_u32s){batch->indexes, n};
    msg.tokens.tokens = (struct wire_u32s){batch->tokens, n};
    msg.tokens.logprobs = (struct wire_span){(const char *)batch->logprobs, n * sizeof(double)};
    msg.tokens.ends = (struct wire_span){(const char *)batch->ends, n};
    if (n_tops > 0) {
        msg.tokens.n_tops = (struct wire_span){(const char *)batch->n_tops, n};
        msg.tokens.top_ids = (struct wire_u32s){batch->top_ids, n_tops};
        msg.tokens.top_logprobs =
            (struct wire_span){(const char *)batch->top_logprobs, n_tops * sizeof(double)};
    }
    bond_post(bond, batch->link, out, &msg);
}
