/* The checkpoints of these tests, and models opened from them: the embedded model (or one of about
 * its shape with random weights, where the tree has none), and two tiny ones with random weights,
 * wide enough that attention is peaked and routing varies. Failures abort with a sentence. */
#pragma once

#include <stdbool.h>

#include "base/rand.h"
#include "model/model.h"
#include "tests/model/fixture.h"

enum exact_kind {
    EXACT_DEMO,  /* Llama */
    EXACT_MOE,   /* Qwen3-MoE, 4 layers, 16 experts of which 4 */
    EXACT_GEMMA, /* Gemma 2: soft caps, windows in every other layer, norms after blocks */
    EXACT_N_KINDS
};

#define EXACT_TABLES_MAX 8u
#define EXACT_THREADS_MAX 4u

struct checkpoints {
    struct fixture made[EXACT_N_KINDS];
    const char *path[EXACT_N_KINDS];
    char demo[512];
    const char *tables[EXACT_TABLES_MAX]; /* that this machine runs; the best last */
    uint32_t n_tables;
};

/* only_random: also a tree with an embedded model gets a random one, the same everywhere. */
void checkpoints_init(struct checkpoints *checkpoints, bool only_random);
void checkpoints_fini(struct checkpoints *checkpoints);

/* How a model is opened. */
struct setup {
    enum exact_kind kind;
    enum op_dtype dtype;
    const char *table;
    uint32_t n_threads;
};

/* small: not the embedded one. */
enum exact_kind setup_choose_kind(struct rand *rng, bool small);
struct model *setup_open(const struct checkpoints *checkpoints, const struct setup *setup);
/* A table, often the best, seldom the scalar one, and 1 to EXACT_THREADS_MAX threads. */
void setup_choose(const struct checkpoints *checkpoints, struct rand *rng, struct setup *setup);
bool setup_is_slow(const struct setup *setup);
/* "moe bf16 avx2 3 threads" */
void setup_print(const struct setup *setup, char text[80]);
