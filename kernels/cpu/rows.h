/* Row kernels: what every table has for the ops that are not a matrix product. *_op.c splits an op
 * into tasks, once for all tables; a struct cpu_rows does a task's work. scalar_*.c fill one in
 * plain C, the definition; rows_ISA.c fill one each from the *_kernel.h, written once over vec.h.
 * All run on pool threads, with the floating-point mode of NUMERICS.md. */
#pragma once

#include "kernels/ops.h"

#if defined(__x86_64__)
#include <xmmintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

/* Query rows of one sequence that share a KV head are numbered token by token, in a token head by
 * head. A task of attention has up to ATTN_ROWS of them. */
#define ATTN_ROWS 32u

struct attn_part {
    const struct op_attention *op;
    const struct op_seq *seq;
    uint32_t kv_head;
    uint32_t row, n_rows; /* n_rows in [1, ATTN_ROWS] */
    void *work;           /* 64-byte aligned, ATTN_WORK_BYTES */
};

struct cpu_rows {
    /* Rows [row, row + n_rows) of the op. */
    void (*norm)(const struct op_norm *op, uint32_t row, uint32_t n_rows);
    void (*rope)(const struct op_rope *op, uint32_t row, uint32_t n_rows);
    void (*moe_sum)(const struct op_moe_sum *op, uint32_t row, uint32_t n_rows);
    void (*attention)(const struct attn_part *part);
    /* work: 64-byte aligned, sample_work_bytes(op->vocab). */
    void (*sample)(const struct op_sample *op, uint32_t row, void *work);
};

extern const struct cpu_rows rows_scalar;
#if defined(__x86_64__)
extern const struct cpu_rows rows_avx2, rows_avx512, rows_avx512bf16;
#elif defined(__aarch64__)
extern const struct cpu_rows rows_neon;
#endif

/* What the members of rows_scalar are. */
void scalar_norm(const struct op_norm *op, uint32_t row, uint32_t n_rows);
void scalar_rope(const struct op_rope *op, uint32_t row, uint32_t n_rows);
void scalar_moe_sum(const struct op_moe_sum *op, uint32_t row, uint32_t n_rows);
void scalar_attention(const struct attn_part *part);
void scalar_sample(const struct op_sample *op, uint32_t row, void *work);

/* The ops themselves, the same for all tables. */
void cpu_embed(struct device *dev, const struct op_embed *op);
void cpu_norm(struct device *dev, const struct op_norm *op);
void cpu_angles(struct device *dev, const struct op_angles *op);
void cpu_rope(struct device *dev, const struct op_rope *op);
void cpu_attention(struct device *dev, const struct op_attention *op);
void cpu_moe_route(struct device *dev, const struct op_moe_route *op);
void cpu_moe_sum(struct device *dev, const struct op_moe_sum *op);
void cpu_sample(struct device *dev, const struct op_sample *op);

/* Of one thread, for the largest head; for `vocab` logits. */
#define ATTN_WORK_BYTES ((size_t)320 << 10)
size_t sample_work_bytes(uint32_t vocab);

/* The sequence that has a row of the batch. */
static inline const struct op_seq *batch_seq(const struct op_batch *batch, uint32_t row)
{
    uint32_t low = 0, high = batch->n_seqs;

    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;

        if (batch->seqs[middle].row <= row)
            low = middle;
        else
            high = middle;
    }
    return &batch->seqs[low];
}

/* Where the tile of 64 tokens that holds `position` has its keys (values: + kv->value_bytes). */
static inline uint8_t *kv_tile(const struct op_batch *batch, const struct op_kv *kv,
                               const struct op_seq *seq, uint32_t kv_head, uint32_t position)
{
    size_t block = batch->blocks[seq->block + position / OPS_BLOCK_TOKENS];

    return kv->pool + block * kv->block_bytes + kv->layer_at + kv_head * kv->head_bytes;
}

/* Correctly rounded, and no call: compilers call libm's for its errno. */
static inline float row_sqrt(float x)
{
#if defined(__x86_64__)
    return _mm_cvtss_f32(_mm_sqrt_ss(_mm_set_ss(x)));
#elif defined(__aarch64__)
    return vget_lane_f32(vsqrt_f32(vdup_n_f32(x)), 0);
#endif
}
