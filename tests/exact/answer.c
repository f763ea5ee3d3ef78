/* See answer.h. */
#include "tests/exact/answer.h"

#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "tests/exact/kv.h"

static void keep(struct answer *answer, const struct engine_result *result)
{
    if (result->failed)
        answer->failed = true;
    if (!result->sampled)
        return;
    CHECK(answer->n < JOB_OUT_MAX && result->index == answer->n);
    answer->tokens[answer->n] = result->token;
    answer->logprobs[answer->n] = result->logprob;
    answer->n_tops[answer->n] = result->n_tops;
    for (uint32_t i = 0; i < result->n_tops; i++)
        answer->tops[answer->n][i] = result->tops[i];
    answer->n++;
    answer->stop = result->stop;
}

static void compute(struct node *node, struct answer *answer)
{
    const size_t block_bytes = kvgeom_block_bytes(&node->cfg.geom);
    struct engine_view view = {.state = ENGINE_READY};
    uint64_t seq;

    CHECK(engine_open(node->engine, &answer->job.job, &seq) == STATUS_OK);
    while (view.state != ENGINE_ENDED) {
        CHECK(node_step(node, 0, NULL, NULL));
        for (size_t i = 0; i < node->n_results; i++)
            keep(answer, &node->results[i]);
        CHECK(engine_look(node->engine, seq, &view) == STATUS_OK);
    }
    answer->n_kv = view.n_kv;
    answer->kv = mem_alloc_zero(kvgeom_blocks(view.n_kv), block_bytes);
    CHECK(answer->kv != NULL);
    for (uint32_t i = 0; i < kvgeom_blocks(view.n_kv); i++)
        memcpy(answer->kv + i * block_bytes, node_block(node, &view, i), block_bytes);
    engine_close(node->engine, seq);
}

const struct answer *answer_get(struct answer_set *set, const struct checkpoints *checkpoints,
                                const struct setup *setup, uint64_t epoch, uint32_t number)
{
    const struct setup best = {.kind = setup->kind,
                               .dtype = setup->dtype,
                               .table = checkpoints->tables[checkpoints->n_tables - 1],
                               .n_threads = 1};
    struct answer *answer = set->answers[number];

    if (!set->open) {
        node_open(&set->node, checkpoints, &best);
        node_start(&set->node);
        set->open = true;
    }
    if (answer != NULL)
        return answer;
    answer = mem_alloc_zero(1, sizeof(*answer));
    CHECK(answer != NULL && number < ANSWERS);
    job_choose(&answer->job, (epoch << 32) + number, number, model_config(set->node.model)->vocab,
               set->node.cfg.len_max);
    compute(&set->node, answer);
    set->answers[number] = answer;
    return answer;
}

void answer_set_fini(struct answer_set *set)
{
    for (uint32_t i = 0; i < ANSWERS; i++) {
        if (set->answers[i] != NULL)
            mem_free(set->answers[i]->kv);
        mem_free(set->answers[i]);
    }
    if (set->open)
        node_close(&set->node);
    memset(set, 0, sizeof(*set));
}

static bool is_same_top(const struct engine_top *a, const struct engine_top *b)
{
    return a->token == b->token && memcmp(&a->logprob, &b->logprob, sizeof(a->logprob)) == 0;
}

void answer_check(const struct answer *answer, const struct engine_result *result,
                  struct tally *tally)
{
    const uint32_t i = result->index;
    bool same;

    tally->n_rows++;
    if (result->failed != (answer->failed && (!result->sampled))) {
        tally_differ(tally, "sequence %u has %s id", result->tag, result->failed ? "no" : "an");
        return;
    }
    if (!result->sampled)
        return;
    same = i < answer->n && result->token == answer->tokens[i] &&
           memcmp(&result->logprob, &answer->logprobs[i], sizeof(double)) == 0 &&
           result->n_tops == answer->n_tops[i];
    for (uint32_t k = 0; same && k < result->n_tops; k++)
        same = is_same_top(&result->tops[k], &answer->tops[i][k]);
    if (!same)
        tally_differ(tally, "id %u of sequence %u (prompt of %zu): %u (%a, %u tops), alone %u (%a)",
                     i, result->tag, answer->job.job.prompt.n, result->token, result->logprob,
                     result->n_tops, i < answer->n ? answer->tokens[i] : 0,
                     i < answer->n ? answer->logprobs[i] : 0.0);
}

void answer_check_kv(const struct answer *answer, const struct node *node,
                     const struct engine_view *view, struct tally *tally)
{
    const struct kvgeom *geom = &node->cfg.geom;

    tally->n_kvs++;
    if (view->n_kv > answer->n_kv) {
        tally_differ(tally, "sequence %u has KV of %u tokens, alone %u", view->tag, view->n_kv,
                     answer->n_kv);
        return;
    }
    for (uint32_t i = 0; i < kvgeom_blocks(view->n_kv); i++) {
        const uint32_t left = view->n_kv - i * KVGEOM_BLOCK_TOKENS;

        if (!kv_check_block(
                geom, answer->kv + i * kvgeom_block_bytes(geom), node_block(node, view, i),
                left < KVGEOM_BLOCK_TOKENS ? left : KVGEOM_BLOCK_TOKENS, i, view->tag, tally))
            return;
    }
}
