/* The row ops for all tables: checks, and rows in tasks for the pool. Embedding, angles and routing
 * have one plain implementation: they are a gather, a table of a few thousand numbers and a choice
 * among some hundred, and cost nothing beside a matrix product. */
#include "kernels/cpu/rows.h"

#include <string.h>

#include "base/check.h"
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/scalar.h"

#define TASK_NUMBERS 16384u /* numbers that a task reads, about: some microseconds */

/* A job of whole rows: the op, and how many rows a task has. */
struct rows_job {
    const struct cpu_rows *rows;
    const void *op;
    uint32_t n_rows, rows_task;
};

/* Rows of `width` numbers each. */
static void run_rows(struct device *dev, const void *op, uint32_t n_rows, size_t width, pool_fn fn)
{
    struct rows_job job = {dev->table->rows, op, n_rows, 1};

    if (width < TASK_NUMBERS)
        job.rows_task = TASK_NUMBERS / (uint32_t)width;
    pool_run(dev->pool, (n_rows + job.rows_task - 1) / job.rows_task, fn, &job);
}

static uint32_t task_row(const struct rows_job *job, uint32_t task, uint32_t *n_rows)
{
    uint32_t row = task * job->rows_task;

    *n_rows = job->n_rows - row < job->rows_task ? job->n_rows - row : job->rows_task;
    return row;
}

static void embed_row(const struct op_embed *op, uint32_t row)
{
    struct cpu_place place = cpu_weight_place(&op->w, op->tokens[row]);
    const uint8_t *panel = (const uint8_t *)op->w.data + place.panel * cpu_panel_bytes(&op->w);
    uint8_t *y = (uint8_t *)op->y + (size_t)row * op->w.k * scalar_bytes(op->w.dtype);

    CHECK(op->tokens[row] < op->w.n);
    /* Four bytes of a row, a pair or a single number, stand in each row of the panel. */
    panel += place.column * 4;
    for (size_t i = 0; i < op->w.k * scalar_bytes(op->w.dtype) / 4; i++)
        memcpy(y + 4 * i, panel + i * OPS_PANEL * 4, 4);
    for (uint32_t i = 0; op->scale != 1.0f && i < op->w.k; i++)
        scalar_write(y, i, scalar_read(y, i, op->w.dtype) * op->scale, op->w.dtype);
}

static void embed_task(void *ctx, uint32_t thread, uint32_t task)
{
    uint32_t n_rows, row = task_row(ctx, task, &n_rows);

    (void)thread;
    for (uint32_t r = row; r < row + n_rows; r++)
        embed_row(((struct rows_job *)ctx)->op, r);
}

void cpu_embed(struct device *dev, const struct op_embed *op)
{
    CHECK(op->w.k > 0 && op->w.k % 2 == 0 && !op->w.paired && op->w.dtype != OP_F16);
    run_rows(dev, op, op->n_rows, op->w.k, embed_task);
}

static void norm_task(void *ctx, uint32_t thread, uint32_t task)
{
    const struct rows_job *job = ctx;
    uint32_t n_rows, row = task_row(job, task, &n_rows);

    (void)thread;
    job->rows->norm(job->op, row, n_rows);
}

void cpu_norm(struct device *dev, const struct op_norm *op)
{
    CHECK(op->n > 0 && op->dtype != OP_F16 && (op->rows == NULL || op->y != op->x));
    run_rows(dev, op, op->n_rows, op->n, norm_task);
}

static void angles_task(void *ctx, uint32_t thread, uint32_t task)
{
    const struct rows_job *job = ctx;
    const struct op_angles *op = job->op;
    uint32_t n_rows, row = task_row(job, task, &n_rows);

    (void)thread;
    for (uint32_t r = row; r < row + n_rows; r++) {
        CHECK(op->positions[r] < OPS_POSITIONS_MAX);
        for (uint32_t i = 0; i < op->n_freqs; i++) {
            float t = (float)op->positions[r] * op->freqs[i];
            struct math_angle angle = math_sincos_d(t);
            float *y = op->y + 2 * ((size_t)r * op->n_freqs + i);

            y[0] = (float)angle.cos * op->scale;
            y[1] = (float)angle.sin * op->scale;
        }
    }
}

void cpu_angles(struct device *dev, const struct op_angles *op)
{
    CHECK(op->n_freqs > 0);
    run_rows(dev, op, op->n_rows, (size_t)op->n_freqs * 32, angles_task);
}

static void check_batch(const struct op_batch *batch)
{
    uint32_t row = 0;

    for (uint32_t i = 0; i < batch->n_seqs; i++) {
        const struct op_seq *seq = &batch->seqs[i];

        CHECK(seq->row == row && seq->n_rows > 0 && seq->n_rows <= OPS_POSITIONS_MAX);
        CHECK(seq->position <= OPS_POSITIONS_MAX - seq->n_rows);
        row += seq->n_rows;
    }
    CHECK(row == batch->n_rows);
}

static void check_heads(uint32_t n_heads, uint32_t n_kv_heads, uint32_t head_dim)
{
    CHECK(n_kv_heads > 0 && n_heads > 0 && n_heads % n_kv_heads == 0);
    CHECK(head_dim > 0 && head_dim % 16 == 0 && head_dim <= OPS_HEAD_DIM_MAX);
}

static void rope_task(void *ctx, uint32_t thread, uint32_t task)
{
    const struct rows_job *job = ctx;
    uint32_t n_rows, row = task_row(job, task, &n_rows);

    (void)thread;
    job->rows->rope(job->op, row, n_rows);
}

void cpu_rope(struct device *dev, const struct op_rope *op)
{
    uint32_t heads = op->n_heads + 2 * op->n_kv_heads;

    check_heads(op->n_heads, op->n_kv_heads, op->head_dim);
    check_batch(&op->batch);
    CHECK(op->rot_dim % 2 == 0 && op->rot_dim <= op->head_dim && op->dtype != OP_F16);
    CHECK(op->stride >= heads * op->head_dim);
    run_rows(dev, op, op->batch.n_rows, (size_t)heads * op->head_dim * 2, rope_task);
}

struct attn_job {
    struct device *dev;
    const struct op_attention *op;
};

/* Tasks of one KV head of a sequence. */
static uint32_t attn_blocks(const struct op_attention *op, const struct op_seq *seq)
{
    uint32_t n_rows = seq->n_rows * (op->n_heads / op->n_kv_heads);

    return (n_rows + ATTN_ROWS - 1) / ATTN_ROWS;
}

/* Tasks are sequence by sequence and KV head by KV head, so that K and V stay in the cache from one
 * block of rows to the next; the last rows come first, for they see the most. */
static void attn_task(void *ctx, uint32_t thread, uint32_t task)
{
    const struct attn_job *job = ctx;
    const struct op_attention *op = job->op;
    const struct op_seq *seq = op->batch.seqs;
    struct attn_part part = {.op = op};
    uint32_t n_rows, block;

    for (; task >= attn_blocks(op, seq) * op->n_kv_heads; seq++)
        task -= attn_blocks(op, seq) * op->n_kv_heads;
    n_rows = seq->n_rows * (op->n_heads / op->n_kv_heads);
    block = attn_blocks(op, seq) - 1 - task % attn_blocks(op, seq);
    part.seq = seq;
    part.kv_head = task / attn_blocks(op, seq);
    part.row = block * ATTN_ROWS;
    part.n_rows = n_rows - part.row < ATTN_ROWS ? n_rows - part.row : ATTN_ROWS;
    part.work = cpu_work(job->dev, thread, ATTN_WORK_BYTES);
    job->dev->table->rows->attention(&part);
}

void cpu_attention(struct device *dev, const struct op_attention *op)
{
    struct attn_job job = {dev, op};
    uint32_t n_tasks = 0;

    check_heads(op->n_heads, op->n_kv_heads, op->head_dim);
    check_batch(&op->batch);
    CHECK(op->dtype != OP_F16 && op->softcap >= 0.0f);
    CHECK(op->q_stride >= op->n_heads * op->head_dim && op->y_stride >= op->n_heads * op->head_dim);
    for (uint32_t i = 0; i < op->batch.n_seqs; i++)
        n_tasks += attn_blocks(op, &op->batch.seqs[i]) * op->n_kv_heads;
    pool_run(dev->pool, n_tasks, attn_task, &job);
}

/* The chosen experts of one row, best first, into op->places for now. */
static void route_row(const struct op_moe_route *op, uint32_t row)
{
    const float *logits = op->logits + (size_t)row * op->n_experts;
    uint32_t *chosen = op->places + (size_t)row * op->top_k;
    float *weights = op->weights + (size_t)row * op->top_k, sum = 0.0f, lane[64] = {0};
    uint64_t taken[OPS_EXPERTS_MAX / 64] = {0};

    for (uint32_t j = 0; j < op->top_k; j++) {
        uint32_t best = UINT32_MAX;

        for (uint32_t e = 0; e < op->n_experts; e++)
            if ((taken[e / 64] >> e % 64 & 1u) == 0 &&
                (best == UINT32_MAX || logits[e] > logits[best]))
                best = e;
        taken[best / 64] |= UINT64_C(1) << best % 64;
        chosen[j] = best;
        weights[j] = math_exp2((logits[best] - logits[chosen[0]]) * MATH_LOG2E);
        sum = sum + weights[j];
    }
    if (!op->renormalise) {
        for (uint32_t e = 0; e < op->n_experts; e++)
            lane[e % 64] = lane[e % 64] + math_exp2((logits[e] - logits[chosen[0]]) * MATH_LOG2E);
        sum = scalar_tree(lane);
    }
    for (uint32_t j = 0; j < op->top_k; j++)
        weights[j] = weights[j] / sum * op->scale;
}

static void route_task(void *ctx, uint32_t thread, uint32_t task)
{
    uint32_t n_rows, row = task_row(ctx, task, &n_rows);

    (void)thread;
    for (uint32_t r = row; r < row + n_rows; r++)
        route_row(((struct rows_job *)ctx)->op, r);
}

/* Sorts by counting: the pairs in order of rows, each to the next place of its expert. */
void cpu_moe_route(struct device *dev, const struct op_moe_route *op)
{
    uint32_t n_pairs = op->n_rows * op->top_k, next[OPS_EXPERTS_MAX] = {0}, sum = 0;

    CHECK(op->top_k > 0 && op->top_k <= OPS_TOP_K_MAX && op->top_k <= op->n_experts);
    CHECK(op->n_experts <= OPS_EXPERTS_MAX);
    run_rows(dev, op, op->n_rows, (size_t)op->n_experts * (op->top_k + 4), route_task);
    for (uint32_t i = 0; i < n_pairs; i++)
        next[op->places[i]]++;
    for (uint32_t e = 0; e < op->n_experts; e++) {
        op->first[e] = sum;
        sum += next[e];
        next[e] = op->first[e];
    }
    op->first[op->n_experts] = sum;
    for (uint32_t i = 0; i < n_pairs; i++) {
        uint32_t place = next[op->places[i]]++;

        op->rows[place] = i / op->top_k;
        op->places[i] = place;
    }
}

static void moe_sum_task(void *ctx, uint32_t thread, uint32_t task)
{
    const struct rows_job *job = ctx;
    uint32_t n_rows, row = task_row(job, task, &n_rows);

    (void)thread;
    job->rows->moe_sum(job->op, row, n_rows);
}

void cpu_moe_sum(struct device *dev, const struct op_moe_sum *op)
{
    CHECK(op->n > 0 && op->top_k > 0 && op->top_k <= OPS_TOP_K_MAX);
    CHECK(op->dtype != OP_F16 && op->x_dtype != OP_F16);
    run_rows(dev, op, op->n_rows, (size_t)op->n * op->top_k, moe_sum_task);
}
