/* The two kinds of rounds. A round is made by its seed alone: a model, a way to open it, and
 * sequences that are computed in another way than their truths were. */
#pragma once

#include "tests/exact/tally.h"
#include "tests/exact/truth.h"

struct answers;

struct exact {
    struct checkpoints checkpoints;
    struct truths truths[EXACT_N_KINDS][2]; /* [dtype] */
    struct answers *answers;                /* of the engine's rounds */
    struct tally tally;
    bool quick; /* little work in a round */
};

#define ROUNDS_EPOCH 1024u /* seeds that share their lines */

/* Lines cut into random chunks, in batches with random others, on random blocks, some on KV that
 * another pass has computed or that another sequence holds. */
void round_forward(struct exact *exact, uint64_t seed);

/* Jobs through engines and model executors: mixed, handed from one to another, closed midway and
 * opened anew elsewhere. */
void round_engine(struct exact *exact, uint64_t seed);
void answers_fini(struct exact *exact);
