/* The op table: what model/forward.c computes with. One params struct per op, shapes beside every
 * pointer; what the numbers are is in NUMERICS.md. The table is a list, not an interface: it grows
 * when a model needs another op.
 *
 * Rules for all ops: the device's owner thread posts them, in order; pointers lie in the device's
 * memory (params structs and what is marked host do not); params are copied before the call
 * returns; shapes and alignments are the caller's duty (CHECK); nothing fails but the device itself
 * (device_wait). An output may not overlap an input unless its comment says so. "dtype" is that of
 * the mode, the same for activations, weights and KV.
 *
 * Who implements: cpu/ (a scalar table, the definition, and one per instruction set), later cuda/.
 * Shared with CUDA (C17 and C++17). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/device.h"

#ifdef __cplusplus
extern "C" {
#endif

#define OPS_BLOCK_TOKENS 64u /* a KV block; also a tile of attention */
#define OPS_CHUNK_TOKENS 512u
#define OPS_PANEL 64u         /* columns of a packed panel */
#define OPS_HEAD_DIM_MAX 256u /* a head: a multiple of 16 */
#define OPS_TOP_K_MAX 64u     /* experts of a row */
#define OPS_LOGPROBS_MAX 20u
#define OPS_VOCAB_MAX (1u << 19)
#define OPS_POSITIONS_MAX (1u << 20)
#define OPS_EXPERTS_MAX 1024u

enum op_dtype { OP_BF16, OP_F32, OP_F16 /* on disk only */ };
enum op_act { OP_ACT_NONE, OP_ACT_SILU_MUL, OP_ACT_GELU_TANH_MUL };

/* A matrix y = W x in the device's own packing. On the CPU: [ceil(n/64)][k/2][64][2] bf16 or
 * [ceil(n/64)][k][64] fp32, columns past n zero. `paired`: gate and up rows of a gated MLP as one
 * weight of n = 2 x intermediate; each panel holds 32 gate and the 32 up columns that belong to
 * them. */
struct op_weight {
    const void *data; /* 64-byte aligned, ops->weight_bytes() of them */
    uint32_t n, k;    /* k even; paired: n a multiple of 2 */
    enum op_dtype dtype;
    bool paired;
};

/* ---- loading ---- */

/* Copies rows of a matrix as it is on disk into a packed weight. Several calls fill one weight (q,
 * k and v; gate and up). Loader only; waits until done. */
struct op_pack {
    void *dst;           /* of weight->data; cleared by device_alloc */
    const void *src;     /* host: [n_rows][k] row-major, any alignment */
    enum op_dtype dtype; /* of src: BF16, F16 or F32; narrowing rounds */
    uint32_t n_rows;
    uint32_t row; /* of the weight where src's first row goes; paired: gate rows are 0.., up rows
                     n/2.. */
};

/* ---- the batch: ragged rows of several sequences ---- */

struct op_seq {
    uint32_t row;      /* its first row in the batch */
    uint32_t n_rows;   /* > 0 */
    uint32_t position; /* of its first row: KV of [0, position) is in its blocks */
    uint32_t block;    /* index into `blocks` of its first block's entry */
};

struct op_batch {
    uint32_t n_seqs, n_rows;
    const struct op_seq *seqs; /* [n_seqs], rows ascending and without holes */
    const uint32_t *blocks; /* pool indices, [position + n_rows over 64, rounded up] a sequence */
};

/* One layer of the paged pool; block b's row of (kv head h, K|V, token t) begins at
 * pool + b * block_bytes + layer_bytes_at + h * head_bytes + (V ? value_bytes : 0)
 *      + t * head_dim * sizeof(dtype). */
struct op_kv {
    uint8_t *pool; /* 64-byte aligned; all strides are multiples of 32 */
    size_t block_bytes, layer_at, head_bytes, value_bytes;
};

/* ---- ops ---- */

struct op_embed {
    const uint32_t *tokens; /* [n_rows], each < w.n */
    struct op_weight w; /* [vocabulary][hidden], packed like any other (it may be the head too) */
    float scale;        /* 1: none */
    uint32_t n_rows;
    void *y; /* [n_rows][w.k] dtype of w */
};

struct op_norm {
    const void *x;        /* [..][n] dtype */
    const uint32_t *rows; /* NULL, or [n_rows]: which row of x makes row i of y (gathers the rows
                             that are sampled) */
    const float *w;       /* [n] */
    const void *residual; /* NULL, or [n_rows][n] dtype; may be y (a norm after a block: Gemma) */
    float eps;
    uint32_t n_rows, n;
    enum op_dtype dtype;
    void *y; /* [n_rows][n] dtype; may be x where rows is NULL */
};

struct op_linear {
    const void *x;               /* [..][x_stride] dtype of w, the first w.k are read */
    const uint32_t *rows;        /* NULL, or [n_rows]: row of x for each row of y */
    uint32_t x_stride, y_stride; /* elements */
    uint32_t n_rows;
    struct op_weight w;
    const float *bias;    /* NULL, or [w.n]; not with an act */
    float softcap;        /* 0: none; not with an act */
    enum op_act act;      /* not NONE: w is paired, y has w.n / 2 columns */
    const void *residual; /* NULL, or [n_rows][y_stride] dtype of w; may be y */
    enum op_dtype
        y_dtype; /* dtype of w, or F32 (logits, experts' outputs); with a residual that of w
                  */
    void *y;     /* [n_rows][y_stride] */
};

struct op_angles {
    const uint32_t *positions; /* [n_rows], each < 2^20 */
    const float *freqs;        /* [n_freqs] radians a position, fp32 */
    float scale;               /* of sines and cosines: 1, or the attention factor of long rope */
    uint32_t n_rows, n_freqs;
    float *y; /* [n_rows][n_freqs][cos, sin] */
};

/* Rotates q in place, k on its way into the pool; copies v there. Row r of the batch is row r of
 * qkv. */
struct op_rope {
    void *qkv; /* [n_rows][stride] dtype: n_heads + n_kv_heads + n_kv_heads heads of head_dim */
    uint32_t stride;
    uint32_t n_heads, n_kv_heads, head_dim;
    uint32_t rot_dim;             /* even, <= head_dim; 0: no rotation */
    const float *angles;          /* [n_rows][rot_dim / 2][2] of op_angles */
    const float *q_norm, *k_norm; /* NULL, or [head_dim] each: norm of each head before rope */
    float eps;
    enum op_dtype dtype;
    struct op_batch batch;
    struct op_kv kv;
};

/* Rows of a batch over their own KV, which op_rope has appended: prefill chunks and decode rows
 * alike. */
struct op_attention {
    const void *q; /* [n_rows][q_stride] dtype, n_heads heads of head_dim */
    uint32_t q_stride, y_stride;
    uint32_t n_heads, n_kv_heads, head_dim;
    float scale;     /* usually 1 / sqrt(head_dim) */
    float softcap;   /* 0: none */
    uint32_t window; /* tokens seen, the row's own included; 0: all */
    enum op_dtype dtype;
    struct op_batch batch;
    struct op_kv kv;
    void *y; /* [n_rows][y_stride] dtype */
};

/* ---- mixtures of experts ---- */

/* Chooses experts and sorts the (row, slot) pairs by expert, rows ascending. */
struct op_moe_route {
    const float *logits; /* [n_rows][n_experts] */
    uint32_t n_rows, n_experts, top_k;
    bool renormalise; /* weights of the chosen ones sum to 1 */
    float scale;      /* of the weights, usually 1 */
    float *weights;   /* [n_rows][top_k] */
    uint32_t *first;  /* [n_experts + 1]: expert e has places [first[e], first[e + 1]) */
    uint32_t *rows;   /* [n_rows * top_k] row of each place */
    uint32_t *places; /* [n_rows][top_k] place of each slot */
};

struct op_moe_linear {
    const void *x;
    const uint32_t *rows; /* [n_places] row of x for each place, or NULL: place i reads row i */
    uint32_t x_stride, y_stride;
    uint32_t n_experts, n_places; /* n_places = first[n_experts] */
    const uint32_t *first;        /* [n_experts + 1] of op_moe_route */
    const struct op_weight *w;    /* host: [n_experts], equal shapes */
    enum op_act act;
    enum op_dtype y_dtype;
    void *y; /* [n_places][y_stride] */
};

struct op_moe_sum {
    const void *x; /* [n_places][n] x_dtype */
    const float *weights;
    const uint32_t *places; /* [n_rows][top_k] both, of op_moe_route */
    const void *residual;   /* NULL, or [n_rows][n] dtype; may be y */
    uint32_t n_rows, n, top_k;
    enum op_dtype x_dtype, dtype;
    void *y; /* [n_rows][n] dtype */
};

/* ---- sampling ---- */

struct op_penalty {
    uint32_t token;   /* each at most once a row */
    uint32_t emitted; /* how often among the emitted ids; 0: in the prompt only */
};
struct op_bias {
    uint32_t token;
    float bias;
};

/* One row's parameters. Neutral values switch a filter off: top_k 0, top_p 1, min_p 0, repetition
 * 1, presence and frequency 0. */
struct op_sampling {
    uint64_t seed;
    uint32_t position; /* of the id to be sampled */
    float temperature, top_p, min_p;
    uint32_t top_k;
    float repetition, presence, frequency;
    uint32_t n_penalties, n_biases, n_allowed, n_banned, n_logprobs;
    const struct op_penalty *penalties;
    const struct op_bias *biases;
    const uint32_t *allowed; /* NULL: all */
    const uint32_t *banned;
};

struct op_sampled {
    uint32_t token; /* UINT32_MAX: every id was out, or a logit was NaN or +inf */
    double logprob; /* of token */
    uint32_t top_tokens[OPS_LOGPROBS_MAX];
    double top_logprobs[OPS_LOGPROBS_MAX]; /* n_logprobs of each */
};

struct op_sample {
    float *logits; /* [n_rows][stride], changed by the call */
    uint32_t n_rows, stride, vocab;
    const struct op_sampling *params; /* [n_rows] */
    struct op_sampled *out;           /* [n_rows] */
};

/* ---- the table ---- */

struct ops {
    const char *name;
    /* Bytes of a packed n x k weight; pack fills it. */
    size_t (*weight_bytes)(const struct op_weight *w);
    void (*pack)(struct device *dev, const struct op_weight *w, const struct op_pack *op);
    void (*embed)(struct device *dev, const struct op_embed *op);
    void (*norm)(struct device *dev, const struct op_norm *op);
    void (*linear)(struct device *dev, const struct op_linear *op);
    void (*angles)(struct device *dev, const struct op_angles *op);
    void (*rope)(struct device *dev, const struct op_rope *op);
    void (*attention)(struct device *dev, const struct op_attention *op);
    void (*moe_route)(struct device *dev, const struct op_moe_route *op);
    void (*moe_linear)(struct device *dev, const struct op_moe_linear *op);
    void (*moe_sum)(struct device *dev, const struct op_moe_sum *op);
    void (*sample)(struct device *dev, const struct op_sample *op);
};

/* The table of an open device; lives as long as the device. */
const struct ops *device_ops(const struct device *dev);

#ifdef __cplusplus
}
#endif
