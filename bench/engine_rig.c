/* Opening, stepping, and the arithmetic of the bound. */
#include "bench/engine_rig.h"

#include <math.h>
#include <stdio.h>
#include <unistd.h>

#include "base/check.h"
#include "base/mem.h"

struct rig {
    struct model *model;
    struct forward *forward;
    struct kvgeom geom;
    void *pool;
    size_t pool_bytes;
    uint32_t n_blocks;
    uint32_t *blocks; /* [n_blocks] */
    uint32_t tokens[RIG_ROWS_MAX], sample_seqs[RIG_SEQS_MAX];
    struct op_seq seqs[RIG_SEQS_MAX];
    struct op_sampling params[RIG_SEQS_MAX];
    struct op_sampled sampled[RIG_SEQS_MAX];
};

static void show_progress(void *ctx, uint64_t done, uint64_t total)
{
    (void)ctx;
    if (isatty(STDERR_FILENO))
        fprintf(stderr, "\rloading %3.0f %%%s", total ? 100.0 * (double)done / (double)total : 100,
                done == total ? "\r             \r" : "");
}

static void fill(struct rig *rig)
{
    const uint32_t vocab = model_config(rig->model)->vocab;

    for (uint32_t i = 0; i < RIG_ROWS_MAX; i++)
        rig->tokens[i] = (uint32_t)((uint64_t)i * 2654435761u % vocab);
    for (uint32_t i = 0; i < RIG_SEQS_MAX; i++) {
        rig->sample_seqs[i] = i;
        rig->params[i] = (struct op_sampling){.top_p = 1, .repetition = 1};
    }
}

static enum status open_parts(struct rig *rig, const struct bench_options *options)
{
    const struct model_open_args args = {.path = options->model,
                                         .dtype = OP_BF16,
                                         .table = options->table,
                                         .n_threads = options->n_threads,
                                         .progress = show_progress};
    struct forward_args forward = {.rows_max = RIG_ROWS_MAX, .samples_max = RIG_SEQS_MAX};
    struct model_error error;
    enum status status = model_open(&args, &error, &rig->model);

    if (status != STATUS_OK) {
        fprintf(stderr, "baton bench: %s\n", error.text);
        return status;
    }
    fill(rig);
    rig->geom = forward.geom = model_kvgeom(model_config(rig->model), OP_BF16);
    rig->pool_bytes = kvgeom_block_bytes(&rig->geom) * rig->n_blocks;
    rig->blocks = mem_alloc_zero(rig->n_blocks, sizeof(*rig->blocks));
    status = rig->blocks ? STATUS_OK : STATUS_NO_MEMORY;
    if (status == STATUS_OK)
        status = device_alloc(model_device(rig->model), rig->pool_bytes, &rig->pool);
    if (status == STATUS_OK)
        status = forward_create(rig->model, &forward, &rig->forward);
    if (status != STATUS_OK)
        fprintf(stderr, "baton bench: a pool of %zu MiB: %s\n", rig->pool_bytes >> 20,
                status_text(status));
    return status;
}

enum status rig_open(const struct bench_options *options, uint32_t n_blocks, struct rig **out)
{
    struct rig *rig = mem_alloc_zero(1, sizeof(*rig));
    enum status status;

    CHECK(n_blocks > 0);
    if (!rig)
        return STATUS_NO_MEMORY;
    rig->n_blocks = n_blocks;
    status = open_parts(rig, options);
    if (status != STATUS_OK)
        rig_close(rig);
    else
        *out = rig;
    return status;
}

void rig_close(struct rig *rig)
{
    if (!rig)
        return;
    if (rig->model) {
        forward_destroy(rig->forward);
        device_free(model_device(rig->model), rig->pool, rig->pool_bytes);
        model_close(rig->model);
    }
    mem_free(rig->blocks);
    mem_free(rig);
}

const char *rig_table(const struct rig *rig)
{
    return device_info(model_device(rig->model)).table;
}

uint32_t rig_n_threads(const struct rig *rig)
{
    return device_info(model_device(rig->model)).n_threads;
}

enum status rig_run(struct rig *rig, const struct rig_step *step)
{
    const uint32_t n_blocks = kvgeom_blocks(step->position + step->n_rows);
    const uint32_t stride = kvgeom_blocks(step->len);
    const struct forward_batch batch = {
        .tokens = rig->tokens,
        .rows = {step->n_seqs, step->n_seqs * step->n_rows, rig->seqs, rig->blocks},
        .pool = rig->pool,
        .n_samples = step->sample ? step->n_seqs : 0,
        .sample_seqs = rig->sample_seqs,
        .params = rig->params,
        .sampled = rig->sampled,
    };

    CHECK(step->n_seqs <= RIG_SEQS_MAX && n_blocks <= stride);
    CHECK(step->n_seqs * stride <= rig->n_blocks);
    CHECK(step->n_seqs * step->n_rows <= RIG_ROWS_MAX);
    for (uint32_t i = 0; i < step->n_seqs; i++) {
        rig->seqs[i] =
            (struct op_seq){i * step->n_rows, step->n_rows, step->position, i * n_blocks};
        for (uint32_t b = 0; b < n_blocks; b++)
            rig->blocks[i * n_blocks + b] = i * stride + b;
        rig->params[i].position = step->position + step->n_rows;
    }
    return forward_run(rig->forward, &batch);
}

/* ---- the bound ---- */

/* Numbers in the matrices of one layer's MLP: all, and those that one row meets. */
static void mlp_numbers(const struct model_config *c, const struct model_layer *layer, double rows,
                        double *read, double *met)
{
    const double expert = 3.0 * c->hidden * c->expert_intermediate;

    *read = *met = 3.0 * c->hidden * c->intermediate;
    if (!layer->experts)
        return;
    *met = expert * c->experts_top_k;
    /* Rows choose at random: some experts have none. */
    *read = expert * c->n_experts * (1 - pow(1 - (double)c->experts_top_k / c->n_experts, rows));
}

struct rig_need rig_need(const struct rig *rig, const struct rig_step *step)
{
    const struct model_config *c = model_config(rig->model);
    const double q = (double)c->n_heads * c->head_dim, kv = (double)c->n_kv_heads * c->head_dim;
    const double rows = (double)step->n_seqs * step->n_rows,
                 samples = step->sample ? step->n_seqs : 0;
    struct rig_need need = {.flops = 2 * samples * c->vocab * c->hidden,
                            .bytes = samples > 0 ? 2.0 * c->vocab * c->hidden : 0};

    for (uint32_t i = 0; i < c->n_layers; i++) {
        /* Behind the last layer's KV only sampled rows count. */
        const double alive = i + 1 == c->n_layers ? samples : rows;
        const double n_queries = i + 1 == c->n_layers && step->sample ? 1 : step->n_rows;
        const double seen = step->position + step->n_rows - (n_queries - 1) / 2;
        double read, met;

        mlp_numbers(c, &c->layers[i], rows, &read, &met);
        need.flops += 2 * rows * c->hidden * (q + 2 * kv) + 2 * alive * (q * c->hidden + met);
        need.flops += 4 * alive * q * seen;
        need.bytes += 2 * c->hidden * (q + 2 * kv);
        if (alive > 0)
            need.bytes += 2 * (q * c->hidden + read) +
                          4 * kv * step->n_seqs * (step->position + step->n_rows);
    }
    return need;
}

double rig_bound(const struct rig *rig, const struct rig_step *step, struct peaks *peaks)
{
    const struct rig_need need = rig_need(rig, step);
    const double dot_s = need.flops / peaks_dot(peaks) / 1e9;
    const double read_s = need.bytes / peaks_read(peaks) / 1e9;

    return dot_s > read_s ? dot_s : read_s;
}
