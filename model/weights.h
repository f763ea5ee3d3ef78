/* The packed weights of a model: where each lies, and how a checkpoint's tensors get there. Private
 * to model.c and forward.c. */
#pragma once

#include "kernels/ops.h"
#include "model/config.h"
#include "model/safetensors.h"
#include "model/tensors.h"

struct weights_layer {
    /* NULL: the model has none. Norms of a model that adds one hold 1 + weight. */
    float *attention_norm, *attention_post_norm, *mlp_norm, *mlp_post_norm; /* [hidden] */
    float *q_norm, *k_norm;                                                 /* [head_dim] */
    float *qkv_bias; /* [q + 2 kv dimensions] */
    float *out_bias; /* [hidden] */
    struct op_weight qkv, out;
    struct op_weight gate_up, down;                   /* of the one MLP, or */
    struct op_weight router;                          /* of a mixture: */
    struct op_weight *expert_gate_ups, *expert_downs; /* [n_experts], host */
};

struct weights {
    struct device *dev;
    const struct model_config *config;
    enum op_dtype dtype;
    struct op_weight embed, head; /* the same memory where they are tied */
    float *final_norm;            /* [hidden] */
    struct weights_layer *layers; /* [n_layers] */
    struct op_weight *experts;    /* what the layers' point into */
    void *memory;                 /* all that is packed, one piece */
    size_t bytes;
};

/* Allocates a place for each tensor of the config. NO_MEMORY. */
enum status weights_create(struct device *dev, const struct model_config *config,
                           enum op_dtype dtype, struct weights *out);
void weights_destroy(struct weights *weights);

/* Called after each slab of a tensor with the bytes read since the last call. */
typedef void (*weights_progress_fn)(void *ctx, uint64_t bytes);

/* Packs one tensor of a checkpoint that model_tensors_check has passed, and folds its bytes, name
 * and shape into *hash. MALFORMED: a number that is not finite, or beyond the dtype. */
enum status weights_fill(struct weights *weights, const struct safetensors *st,
                         const struct model_tensor *tensor, weights_progress_fn progress, void *ctx,
                         uint64_t *hash, struct model_error *error);

/* ---- of an open model, for forward.c ---- */

struct model;

/* A rotary embedding as op_angles wants it. */
struct rope_table {
    float *freqs; /* device: [n_freqs]; NULL where the model has no such rope */
    uint32_t n_freqs;
    float scale;
};

const struct weights *model_weights(const struct model *model);
/* local: of the layers with local_rope. */
const struct rope_table *model_rope_table(const struct model *model, bool local);

/* The frequencies of a rope for sequences of at most len_max tokens: [rope->dim / 2]. */
void rope_freqs(const struct model_rope *rope, uint32_t len_max, float *out);
