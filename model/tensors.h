/* Which tensors a checkpoint of a config has: their names and shapes as Hugging Face writes them,
 * for each family. The loader checks a checkpoint against this list before it reads a byte of data,
 * make-model writes it. Any thread. */
#pragma once

#include <stdint.h>

#include "model/config.h"
#include "model/safetensors.h"

#define MODEL_TENSOR_NAME_MAX 96u

enum model_tensor_kind { MODEL_TENSOR_MATRIX, MODEL_TENSOR_NORM, MODEL_TENSOR_BIAS };

/* Where a tensor's numbers go in the computation. A bias has the part of its matrix. */
enum model_part {
    MODEL_PART_EMBED,
    MODEL_PART_ATTENTION_NORM,
    MODEL_PART_QKV, /* q, k and v in one */
    MODEL_PART_Q,
    MODEL_PART_K,
    MODEL_PART_V,
    MODEL_PART_Q_NORM,
    MODEL_PART_K_NORM,
    MODEL_PART_OUT,
    MODEL_PART_ATTENTION_POST_NORM,
    MODEL_PART_MLP_NORM,
    MODEL_PART_ROUTER,
    MODEL_PART_GATE_UP, /* gate and up in one */
    MODEL_PART_GATE,
    MODEL_PART_UP,
    MODEL_PART_DOWN,
    MODEL_PART_MLP_POST_NORM,
    MODEL_PART_FINAL_NORM,
    MODEL_PART_HEAD
};

#define MODEL_NO_EXPERT UINT32_MAX

struct model_tensor {
    char name[MODEL_TENSOR_NAME_MAX];
    enum model_tensor_kind kind;
    enum model_part part;
    uint32_t layer;    /* 0 for what belongs to none */
    uint32_t expert;   /* MODEL_NO_EXPERT for what belongs to none */
    uint32_t n_dims;   /* 2 for a matrix, else 1 */
    uint64_t shape[2]; /* [n_dims]: rows (outputs), columns (inputs) */
};

/* Called for one tensor; anything but OK ends the walk and is its result. */
typedef enum status (*model_tensor_visitor)(void *ctx, const struct model_tensor *tensor);

/* All tensors in the order of the forward pass: embedding, layers, last norm, and the head if it is
 * not the embedding. */
enum status model_tensors_expected(const struct model_config *config, model_tensor_visitor visit,
                                   void *ctx);

/* Does the checkpoint have exactly these tensors in these shapes (in any of the three dtypes)?
 * MALFORMED with a sentence that names the first that is missing, wrong or too many; NO_MEMORY.
 * Two that the reference ignores are ignored: rotary_emb.inv_freq of old checkpoints, and a head
 * beside a tied embedding. */
enum status model_tensors_check(const struct model_config *config, const struct safetensors *st,
                                struct model_error *error);
