/* Attention, of prompts and of single tokens, over a paged cache that comes from memory. */
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "bench/kernels.h"

#define COLD_BYTES ((size_t)256 << 20) /* a cache of keys and values, all its layers */
#define LAYERS_MAX 64u
#define SEQS_MAX 32u
#define LAP_BYTES 4e7 /* a lap has as many calls as take about a ms */

struct shape {
    const char *name;
    uint32_t n_seqs, n_rows, position; /* of each sequence */
    double target;
};

/* A batch over a pool of so many layers, in turn, so that keys and values come from memory. */
struct batch {
    struct kernels_bench *bench;
    struct op_seq seqs[SEQS_MAX];
    uint32_t *blocks;
    uint32_t n_layers, layer;
    void *pool, *qkv, *y;
    size_t pool_bytes, qkv_bytes, y_bytes;
    struct op_batch rows;
    struct op_kv kv;
    struct laps laps;
};

static void batch_drop(struct batch *batch)
{
    struct device *dev = batch->bench->dev;

    device_free(dev, batch->y, batch->y_bytes);
    device_free(dev, batch->qkv, batch->qkv_bytes);
    device_free(dev, batch->pool, batch->pool_bytes);
    mem_free(batch->blocks);
    mem_free(batch);
}

static enum status batch_alloc(struct batch *batch, const struct shape *shape)
{
    const struct model_config *config = &batch->bench->config;
    const uint32_t blocks_seq =
        (shape->position + shape->n_rows + OPS_BLOCK_TOKENS - 1) / OPS_BLOCK_TOKENS;
    const uint32_t n_blocks = blocks_seq * shape->n_seqs;
    const size_t head = 2 * sizeof(uint16_t) * OPS_BLOCK_TOKENS * config->head_dim;
    const size_t layer = head * config->n_kv_heads;
    enum status status;

    batch->n_layers = (uint32_t)(COLD_BYTES / (layer * n_blocks)) + 1;
    if (batch->n_layers > LAYERS_MAX)
        batch->n_layers = LAYERS_MAX;
    batch->blocks = mem_alloc_zero(n_blocks, sizeof(*batch->blocks));
    if (!batch->blocks)
        return STATUS_NO_MEMORY;
    /* A permutation, for 7919 is a prime above all counts that are its multiples here. */
    for (uint32_t i = 0; i < n_blocks; i++)
        batch->blocks[i] = (uint32_t)((uint64_t)i * 7919 % n_blocks);
    for (uint32_t i = 0; i < shape->n_seqs; i++)
        batch->seqs[i] =
            (struct op_seq){i * shape->n_rows, shape->n_rows, shape->position, i * blocks_seq};
    batch->rows =
        (struct op_batch){shape->n_seqs, shape->n_seqs * shape->n_rows, batch->seqs, batch->blocks};
    batch->pool_bytes = layer * batch->n_layers * n_blocks;
    batch->qkv_bytes = (size_t)batch->rows.n_rows * kernels_qkv_width(config) * sizeof(uint16_t);
    batch->y_bytes = batch->qkv_bytes;
    status = kernels_numbers(batch->bench->dev, batch->pool_bytes, &batch->pool);
    if (status == STATUS_OK)
        status = kernels_numbers(batch->bench->dev, batch->qkv_bytes, &batch->qkv);
    if (status == STATUS_OK)
        status = device_alloc(batch->bench->dev, batch->y_bytes, &batch->y);
    batch->kv = (struct op_kv){batch->pool, layer * batch->n_layers, 0, head, head / 2};
    return status;
}

static enum status batch_make(struct kernels_bench *bench, const struct shape *shape,
                              struct batch **out)
{
    struct batch *batch = mem_alloc_zero(1, sizeof(*batch));
    enum status status;

    CHECK(shape->n_seqs <= SEQS_MAX);
    if (!batch)
        return STATUS_NO_MEMORY;
    batch->bench = bench;
    laps_init(&batch->laps, bench->options->cpu_time, bench->n_threads);
    status = batch_alloc(batch, shape);
    if (status != STATUS_OK)
        batch_drop(batch);
    else
        *out = batch;
    return status;
}

static void next_layer(struct batch *batch)
{
    batch->layer = (batch->layer + 1) % batch->n_layers;
    batch->kv.layer_at = batch->kv.block_bytes / batch->n_layers * batch->layer;
}

/* ---- attention ---- */

static void attention_lap(struct batch *batch, uint32_t n_calls)
{
    const struct model_config *config = &batch->bench->config;
    struct op_attention op = {
        .q = batch->qkv,
        .q_stride = kernels_qkv_width(config),
        .y_stride = config->n_heads * config->head_dim,
        .n_heads = config->n_heads,
        .n_kv_heads = config->n_kv_heads,
        .head_dim = config->head_dim,
        .scale = (float)config->attention_scale,
        .softcap = (float)config->attention_softcap,
        .dtype = OP_BF16,
        .batch = batch->rows,
        .y = batch->y,
    };

    laps_begin(&batch->laps);
    for (uint32_t i = 0; i < n_calls; i++) {
        next_layer(batch);
        op.kv = batch->kv;
        device_ops(batch->bench->dev)->attention(batch->bench->dev, &op);
    }
    (void)laps_end(&batch->laps);
}

static enum status measure_attention(struct kernels_bench *bench, const struct shape *shape)
{
    const struct model_config *config = &bench->config;
    const double seen = shape->n_rows * (shape->position + (shape->n_rows + 1) / 2.0);
    const double tokens = shape->position + shape->n_rows;
    struct kernels_work work = {
        .flops = 4.0 * config->n_heads * config->head_dim * seen * shape->n_seqs,
        .bytes = 4.0 * config->n_kv_heads * config->head_dim * tokens * shape->n_seqs,
        .target = shape->target,
    };
    const uint64_t begin_ns = bench_now_ns();
    struct batch *batch;
    const uint32_t n_calls = (uint32_t)(LAP_BYTES / (work.bytes + work.flops / 16)) + 1;
    enum status status = batch_make(bench, shape, &batch);

    if (status != STATUS_OK)
        return status;
    peaks_restart(bench->peaks);
    for (uint32_t round = 0; kernels_more(bench, round, begin_ns); round++) {
        attention_lap(batch, n_calls);
        peaks_slice(bench->peaks);
    }
    peaks_enough(bench->peaks);
    work.seconds = laps_best(&batch->laps) / n_calls;
    kernels_add(bench, &work, "attention, %s", shape->name);
    batch_drop(batch);
    return STATUS_OK;
}

enum status kernels_attention(struct kernels_bench *bench)
{
    static const struct shape shapes[] = {
        {"512 rows at 0", 1, 512, 0, 0},        {"512 rows at 1536", 1, 512, 1536, 0.45},
        {"1 row at 512", 1, 1, 511, 0},         {"1 row at 2048", 1, 1, 2047, 0},
        {"1 row at 16384", 1, 1, 16383, 0},     {"16 x 1 row at 160", 16, 1, 159, 0},
        {"16 x 1 row at 2048", 16, 1, 2047, 0}, {"8 x 4 rows at 2048", 8, 4, 2047, 0},
    };
    enum status status = STATUS_OK;

    for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]) && status == STATUS_OK; i++)
        status = measure_attention(bench, &shapes[i]);
    return status;
}
