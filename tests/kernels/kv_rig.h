/* Sequences with random q, k and v that are fed to rope and attention in any chunks and batches,
 * over a paged pool whose blocks lie in random order. All that a sequence does not own is poisoned
 * with NaN, and checked to be untouched. */
#pragma once

#include "tests/kernels/rig.h"

#define KV_SEQS_MAX 64u

struct kv_shape {
    enum op_dtype dtype;
    uint32_t n_heads, n_kv_heads, head_dim, rot_dim;
    uint32_t window;
    float softcap, scale;
    bool qk_norm;
    float spread; /* of q and k: large makes attention peaked */
    uint32_t n_seqs;
    uint32_t length[KV_SEQS_MAX];
};

/* How the sequences are fed: up to rows_max rows of up to seqs_max sequences a step. */
struct kv_feed {
    uint32_t rows_max, seqs_max;
    bool exact;    /* always rows_max rows, or what is left */
    uint64_t seed; /* of the choice, and of the order of blocks */
};

struct kv_world {
    struct kv_shape shape;
    uint32_t n_rows;                  /* of all sequences */
    uint32_t first[KV_SEQS_MAX];      /* row of each sequence's first token */
    struct rig_tensor qkv;            /* [n_rows][(n_heads + 2 n_kv_heads) * head_dim] */
    struct rig_tensor q_norm, k_norm; /* fp32 [head_dim] */
    struct rig_tensor freqs;          /* fp32 [rot_dim / 2] */
};

struct kv_result {
    struct rig_tensor q;  /* rotated: [n_rows][n_heads][head_dim] */
    struct rig_tensor kv; /* what lies in the pool: [n_rows][n_kv_heads][k, v][head_dim] */
    struct rig_tensor y;  /* [n_rows][n_heads][head_dim] */
};

struct kv_world kv_world_make(const struct kv_shape *shape, uint64_t seed);
void kv_world_drop(struct kv_world *world);
/* Feeds all sequences to their ends. */
struct kv_result kv_run(struct device *dev, const struct kv_world *world,
                        const struct kv_feed *feed);
void kv_result_drop(struct kv_result *result);
