/* Norm, rope with append, embedding, and sampling: what a forward pass does beside products and
 * attention. Their limit is reading, and writing as much; rows that stay in a cache may pass it. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "bench/kernels.h"

#define ROWS 512u
#define BLOCKS (ROWS / OPS_BLOCK_TOKENS)
#define CALLS 8u     /* of a lap */
#define LIKELY 4001u /* every so many ids one that counts */

enum buffer {
    BUFFER_X,
    BUFFER_Y,
    BUFFER_WEIGHTS,
    BUFFER_ANGLES,
    BUFFER_POOL,
    BUFFER_TABLE,
    N_BUFFERS
};

struct row_ops {
    struct kernels_bench *bench;
    void *at[N_BUFFERS];
    size_t bytes[N_BUFFERS];
    struct op_weight table; /* the embedding */
    uint32_t tokens[ROWS], blocks[BLOCKS];
    struct op_seq seq;
    struct op_norm norm;
    struct op_rope rope;
    struct op_embed embed;
};

static void row_ops_drop(struct row_ops *ops)
{
    for (int i = 0; i < N_BUFFERS; i++)
        device_free(ops->bench->dev, ops->at[i], ops->bytes[i]);
    mem_free(ops);
}

static enum status alloc_buffers(struct row_ops *ops)
{
    const struct model_config *config = &ops->bench->config;
    const uint32_t width =
        kernels_qkv_width(config) > config->hidden ? kernels_qkv_width(config) : config->hidden;

    ops->table = (struct op_weight){.n = config->vocab, .k = config->hidden, .dtype = OP_BF16};
    ops->bytes[BUFFER_X] = ops->bytes[BUFFER_Y] = (size_t)ROWS * width * sizeof(uint16_t);
    ops->bytes[BUFFER_WEIGHTS] = width * sizeof(float);
    ops->bytes[BUFFER_ANGLES] = (size_t)ROWS * config->head_dim * sizeof(float);
    ops->bytes[BUFFER_POOL] =
        (size_t)ROWS * config->n_kv_heads * config->head_dim * 2 * sizeof(uint16_t);
    ops->bytes[BUFFER_TABLE] = device_ops(ops->bench->dev)->weight_bytes(&ops->table);
    for (int i = 0; i < N_BUFFERS; i++) {
        const enum status status = kernels_numbers(ops->bench->dev, ops->bytes[i], &ops->at[i]);

        if (status != STATUS_OK)
            return status;
    }
    ops->table.data = ops->at[BUFFER_TABLE];
    return STATUS_OK;
}

static void set_params(struct row_ops *ops)
{
    const struct model_config *config = &ops->bench->config;
    const size_t head = 2 * sizeof(uint16_t) * OPS_BLOCK_TOKENS * config->head_dim;

    for (uint32_t i = 0; i < ROWS; i++)
        ops->tokens[i] = (uint32_t)((uint64_t)i * 7919 % config->vocab);
    for (uint32_t i = 0; i < BLOCKS; i++)
        ops->blocks[i] = BLOCKS - 1 - i;
    ops->seq = (struct op_seq){.n_rows = ROWS};
    ops->norm = (struct op_norm){.x = ops->at[BUFFER_X],
                                 .w = ops->at[BUFFER_WEIGHTS],
                                 .eps = (float)config->norm_eps,
                                 .n_rows = ROWS,
                                 .n = config->hidden,
                                 .dtype = OP_BF16,
                                 .y = ops->at[BUFFER_Y]};
    ops->rope = (struct op_rope){
        .qkv = ops->at[BUFFER_X],
        .stride = kernels_qkv_width(config),
        .n_heads = config->n_heads,
        .n_kv_heads = config->n_kv_heads,
        .head_dim = config->head_dim,
        .rot_dim = config->rope.dim,
        .angles = ops->at[BUFFER_ANGLES],
        .q_norm = config->qk_norm ? ops->at[BUFFER_WEIGHTS] : NULL,
        .k_norm = config->qk_norm ? ops->at[BUFFER_WEIGHTS] : NULL,
        .eps = (float)config->norm_eps,
        .dtype = OP_BF16,
        .batch = {1, ROWS, &ops->seq, ops->blocks},
        .kv = {ops->at[BUFFER_POOL], head * config->n_kv_heads, 0, head, head / 2}};
    ops->embed = (struct op_embed){
        .tokens = ops->tokens, .w = ops->table, .scale = 1, .n_rows = ROWS, .y = ops->at[BUFFER_Y]};
}

static void run_norm(struct row_ops *ops)
{
    device_ops(ops->bench->dev)->norm(ops->bench->dev, &ops->norm);
}

static void run_rope(struct row_ops *ops)
{
    device_ops(ops->bench->dev)->rope(ops->bench->dev, &ops->rope);
}

static void run_embed(struct row_ops *ops)
{
    device_ops(ops->bench->dev)->embed(ops->bench->dev, &ops->embed);
}

static enum status measure_op(struct row_ops *ops, void (*run)(struct row_ops *), double bytes,
                              const char *name)
{
    struct kernels_bench *bench = ops->bench;
    const uint64_t begin_ns = bench_now_ns();
    struct laps *laps = mem_alloc(sizeof(*laps));
    struct kernels_work work = {.bytes = bytes};

    if (!laps)
        return STATUS_NO_MEMORY;
    laps_init(laps, bench->options->cpu_time, bench->n_threads);
    peaks_restart(bench->peaks);
    for (uint32_t round = 0; kernels_more(bench, round, begin_ns); round++) {
        laps_begin(laps);
        for (uint32_t i = 0; i < CALLS; i++)
            run(ops);
        (void)laps_end(laps);
        peaks_slice(bench->peaks);
    }
    peaks_enough(bench->peaks);
    work.seconds = laps_best(laps) / CALLS;
    kernels_add(bench, &work, "%s, %u rows", name, ROWS);
    mem_free(laps);
    return STATUS_OK;
}

enum status kernels_rows(struct kernels_bench *bench)
{
    const struct model_config *config = &bench->config;
    const double hidden = 2.0 * ROWS * config->hidden, qkv = 2.0 * ROWS * kernels_qkv_width(config);
    struct row_ops *ops = mem_alloc_zero(1, sizeof(*ops));
    enum status status;

    if (!ops)
        return STATUS_NO_MEMORY;
    ops->bench = bench;
    status = alloc_buffers(ops);
    if (status == STATUS_OK) {
        set_params(ops);
        status = measure_op(ops, run_norm, 2 * hidden, "norm");
    }
    if (status == STATUS_OK)
        status = measure_op(ops, run_rope, 2 * qkv, "rope and append");
    if (status == STATUS_OK)
        status = measure_op(ops, run_embed, 2 * hidden, "embedding");
    row_ops_drop(ops);
    return status;
}

/* ---- sampling ---- */

struct kind {
    const char *name;
    float temperature, top_p;
    uint32_t top_k;
};

/* As a language model has them: some dozens of likely ids over a wide rest. */
static void fill_logits(float *logits, uint32_t n)
{
    uint64_t x = 88172645463325252u;

    for (uint32_t i = 0; i < n; i++) {
        float sum = 0.0f;

        for (int j = 0; j < 4; j++) {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            sum += (float)(int32_t)(x >> 32) * 0x1p-31f;
        }
        logits[i] = i % LIKELY == 0 ? 16.0f + 2.0f * sum : 2.0f * sum;
    }
}

static void measure_kind(struct kernels_bench *bench, const struct kind *kind, const float *logits,
                         float *work, struct laps *laps)
{
    const uint64_t begin_ns = bench_now_ns();
    struct op_sampling params = {.temperature = kind->temperature,
                                 .top_p = kind->top_p,
                                 .top_k = kind->top_k,
                                 .repetition = 1};
    struct op_sampled sampled;
    const struct op_sample op = {.logits = work,
                                 .n_rows = 1,
                                 .stride = bench->config.vocab,
                                 .vocab = bench->config.vocab,
                                 .params = &params,
                                 .out = &sampled};
    struct report_row row = {.kind = REPORT_COST, .unit = "us"};

    laps_init(laps, bench->options->cpu_time, bench->n_threads);
    peaks_restart(bench->peaks);
    for (uint32_t round = 0; kernels_more(bench, round, begin_ns); round++) {
        memcpy(work, logits, bench->config.vocab * sizeof(*work));
        params.seed = params.position = round;
        laps_begin(laps);
        device_ops(bench->dev)->sample(bench->dev, &op);
        (void)laps_end(laps);
        peaks_slice(bench->peaks);
    }
    peaks_enough(bench->peaks);
    row.value = laps_best(laps) * 1e6;
    row.limit = bench->config.vocab * sizeof(float) / peaks_read(bench->peaks) / 1e3;
    snprintf(row.name, sizeof(row.name), "sample 1 row, %s", kind->name);
    report_add(bench->report, &row);
}

enum status kernels_sampling(struct kernels_bench *bench)
{
    static const struct kind kinds[] = {{"greedy", 0, 1, 0},
                                        {"temperature 0.7", 0.7f, 1, 0},
                                        {"top-p 0.95", 0.7f, 0.95f, 0},
                                        {"top-k 50", 0.7f, 1, 50}};
    const uint32_t n = bench->config.vocab;
    float *logits = mem_alloc_aligned(64, n * sizeof(*logits));
    float *work = mem_alloc_aligned(64, n * sizeof(*work));
    struct laps *laps = mem_alloc(sizeof(*laps));
    const enum status status = logits && work && laps ? STATUS_OK : STATUS_NO_MEMORY;

    if (status == STATUS_OK) {
        fill_logits(logits, n);
        for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
            measure_kind(bench, &kinds[i], logits, work, laps);
    }
    mem_free(laps);
    mem_free(work);
    mem_free(logits);
    return status;
}
