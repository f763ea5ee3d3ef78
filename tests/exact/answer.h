/* What a job gives when one engine computes it alone: the measure of the engine's rounds. */
#pragma once

#include "tests/exact/node.h"

#define ANSWERS 48u

struct answer {
    struct job job;
    uint32_t n; /* ids */
    uint32_t tokens[JOB_OUT_MAX], n_tops[JOB_OUT_MAX];
    double logprobs[JOB_OUT_MAX];
    struct engine_top tops[JOB_OUT_MAX][WIRE_TOPS_MAX];
    bool stop, failed;
    uint32_t n_kv;
    uint8_t *kv; /* [blocks of n_kv][block bytes] */
};

/* Of one model and dtype. */
struct answer_set {
    bool open;
    struct node node;
    struct answer *answers[ANSWERS];
};

const struct answer *answer_get(struct answer_set *set, const struct checkpoints *checkpoints,
                                const struct setup *setup, uint64_t epoch, uint32_t number);
void answer_set_fini(struct answer_set *set);

/* The index-th id of the answer, compared with a result. */
void answer_check(const struct answer *answer, const struct engine_result *result,
                  struct tally *tally);
/* The first n_kv tokens' KV, compared with a sequence's. */
void answer_check_kv(const struct answer *answer, const struct node *node,
                     const struct engine_view *view, struct tally *tally);
