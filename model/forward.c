/* The forward pass. One layer is read from top to bottom in run_layer; the rest is where the
 * numbers in between lie.
 *
 *   x        [rows][hidden]        the residual stream
 *   h        [rows][hidden]        a norm's output; what a block gives before its own norm
 *   qkv      [rows][q + 2 kv]      q stays here, k and v go into the pool
 *   a        [rows][q]             attention's output
 *   act      [rows][intermediate], or [rows * top_k][expert_intermediate]
 *   a mixture also: router logits, weights, places, and the experts' rows in fp32
 *
 * Once the last layer's KV is in the pool, only rows that are sampled matter: the rest is dropped
 * before its attention (shrink). What stays are rows 0..n_samples - 1 of x and qkv; that changes
 * no bit of them (NUMERICS.md, rule 1). */
#include "model/forward.h"

#include "base/check.h"
#include "base/mem.h"
#include "kernels/bf16.h"
#include "model/weights.h"

#define ALIGNMENT 64u

struct forward {
    const struct model *model;
    struct device *dev;
    const struct ops *ops;
    const struct weights *weights;
    const struct model_config *config;
    struct forward_args args;
    enum op_dtype dtype;
    uint32_t q_dim, kv_dim, qkv_stride;
    float embed_scale;

    void *memory; /* all below, one piece */
    size_t bytes;
    void *x, *h, *qkv, *a, *act;
    float *angles[2];     /* [local][rows][n_freqs][2] */
    uint32_t *positions;  /* [rows] */
    struct op_seq *seqs;  /* [samples], after shrink */
    float *logits;        /* [min(samples, FORWARD_LOGITS_ROWS)][vocab] */
    float *router_logits; /* [rows][n_experts] */
    float *expert_weights, *expert_y;
    uint32_t *first, *expert_rows, *places;
};

/* A batch on its way: shrink changes what the rows are. */
struct pass {
    struct forward *f;
    struct op_batch rows;
    uint8_t *pool;
};

/* ---- workspaces ---- */

struct carver {
    uint8_t *base; /* NULL: only counts */
    size_t at;
};

static void *carve(struct carver *carver, size_t n, size_t bytes_each)
{
    size_t at = carver->at;

    carver->at += (n * bytes_each + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    return carver->base == NULL || n == 0 ? NULL : carver->base + at;
}

static size_t logits_rows(const struct forward *f)
{
    return f->args.samples_max < FORWARD_LOGITS_ROWS ? f->args.samples_max : FORWARD_LOGITS_ROWS;
}

static size_t carve_all(struct forward *f, uint8_t *base)
{
    const struct model_config *c = f->config;
    const size_t rows = f->args.rows_max, places = rows * c->experts_top_k;
    const size_t each = f->dtype == OP_F32 ? 4 : 2;
    const size_t dense = rows * c->intermediate, mixed = places * c->expert_intermediate;
    struct carver carver = {.base = base};

    f->x = carve(&carver, rows * c->hidden, each);
    f->h = carve(&carver, rows * c->hidden, each);
    f->qkv = carve(&carver, rows * f->qkv_stride, each);
    f->a = carve(&carver, rows * f->q_dim, each);
    f->act = carve(&carver, dense > mixed ? dense : mixed, each);
    for (uint32_t local = 0; local < 2; local++) {
        const size_t n_freqs = model_rope_table(f->model, local)->n_freqs;

        f->angles[local] = carve(&carver, rows * n_freqs * 2, sizeof(float));
    }
    f->positions = carve(&carver, rows, sizeof(uint32_t));
    f->seqs = carve(&carver, f->args.samples_max, sizeof(*f->seqs));
    f->logits = carve(&carver, logits_rows(f) * c->vocab, sizeof(float));
    f->router_logits = carve(&carver, rows * c->n_experts, sizeof(float));
    f->expert_weights = carve(&carver, places, sizeof(float));
    f->expert_y = carve(&carver, places * c->hidden, sizeof(float));
    f->first = carve(&carver, c->n_experts + 1, sizeof(uint32_t));
    f->expert_rows = carve(&carver, places, sizeof(uint32_t));
    f->places = carve(&carver, places, sizeof(uint32_t));
    return carver.at;
}

/* Everything but the memory. The embedding's scale is rounded to the dtype, as in the reference. */
static void describe(struct forward *f, const struct model *model, const struct forward_args *args)
{
    const struct model_config *c = model_config(model);
    const float scale = (float)c->embed_scale;

    *f = (struct forward){
        .model = model,
        .dev = model_device(model),
        .ops = device_ops(model_device(model)),
        .weights = model_weights(model),
        .config = c,
        .args = *args,
        .dtype = model_dtype(model),
        .q_dim = c->n_heads * c->head_dim,
        .kv_dim = c->n_kv_heads * c->head_dim,
    };
    f->qkv_stride = f->q_dim + 2 * f->kv_dim;
    f->embed_scale = f->dtype == OP_BF16 ? f32_of_bf16(bf16_of_f32(scale)) : scale;
}

uint64_t forward_bytes(const struct model *model, const struct forward_args *args)
{
    struct forward f;

    describe(&f, model, args);
    return carve_all(&f, NULL);
}

static bool is_geometry_of(const struct model *model, const struct kvgeom *geom)
{
    const struct kvgeom own = model_kvgeom(model_config(model), model_dtype(model));

    return kvgeom_valid(geom) && geom->n_layers == own.n_layers &&
           geom->n_kv_heads == own.n_kv_heads && geom->head_dim == own.head_dim &&
           geom->elem_bytes == own.elem_bytes;
}

enum status forward_create(struct model *model, const struct forward_args *args,
                           struct forward **out)
{
    struct forward *f;

    if (args->rows_max == 0 || args->samples_max == 0 || args->samples_max > args->rows_max ||
        !is_geometry_of(model, &args->geom))
        return STATUS_INVALID;
    f = mem_alloc(sizeof(*f));
    if (f == NULL)
        return STATUS_NO_MEMORY;
    describe(f, model, args);
    f->bytes = carve_all(f, NULL);
    if (device_alloc(f->dev, f->bytes, &f->memory) != STATUS_OK) {
        mem_free(f);
        return STATUS_NO_MEMORY;
    }
    CHECK(carve_all(f, f->memory) == f->bytes);
    *out = f;
    return STATUS_OK;
}

void forward_destroy(struct forward *f)
{
    if (f == NULL)
        return;
    device_free(f->dev, f->memory, f->bytes);
    mem_free(f);
}

/* ---- the ops, with what is the same each time ---- */

static void post_norm(const struct forward *f, const void *x, const float *w, const void *residual,
                      uint32_t n_rows, void *y)
{
    const struct op_norm op = {
        .x = x,
        .w = w,
        .residual = residual,
        .eps = (float)f->config->norm_eps,
        .n_rows = n_rows,
        .n = f->config->hidden,
        .dtype = f->dtype,
        .y = y,
    };

    f->ops->norm(f->dev, &op);
}

/* y = w x, dense rows. */
static struct op_linear dense(const struct forward *f, const struct op_weight *w, const void *x,
                              uint32_t n_rows, void *y)
{
    return (struct op_linear){
        .x = x,
        .x_stride = w->k,
        .y_stride = w->n,
        .n_rows = n_rows,
        .w = *w,
        .y_dtype = f->dtype,
        .y = y,
    };
}

/* A block's last matrix: adds to the residual stream, at once or after a norm of its own. */
static void post_into_stream(const struct forward *f, const struct op_weight *w, const float *bias,
                             const void *in, const float *norm, uint32_t n_rows)
{
    struct op_linear op = dense(f, w, in, n_rows, norm == NULL ? f->x : f->h);

    op.bias = bias;
    op.residual = norm == NULL ? f->x : NULL;
    f->ops->linear(f->dev, &op);
    if (norm != NULL)
        post_norm(f, f->h, norm, f->x, n_rows, f->x);
}

static struct op_kv kv_of(const struct pass *pass, uint32_t layer)
{
    const struct kvgeom *geom = &pass->f->args.geom;

    return (struct op_kv){
        .pool = pass->pool,
        .block_bytes = kvgeom_block_bytes(geom),
        .layer_at = kvgeom_row(geom, layer, 0, 0, 0),
        .head_bytes = 2 * (size_t)KVGEOM_BLOCK_TOKENS * geom->head_dim * geom->elem_bytes,
        .value_bytes = (size_t)KVGEOM_BLOCK_TOKENS * geom->head_dim * geom->elem_bytes,
    };
}

/* ---- a layer ---- */

static void post_qkv(const struct pass *pass, uint32_t layer)
{
    const struct forward *f = pass->f;
    const struct model_config *c = f->config;
    const struct weights_layer *w = &f->weights->layers[layer];
    const bool local = c->layers[layer].local_rope;
    struct op_linear linear = dense(f, &w->qkv, f->h, pass->rows.n_rows, f->qkv);
    const struct op_rope rope = {
        .qkv = f->qkv,
        .stride = f->qkv_stride,
        .n_heads = c->n_heads,
        .n_kv_heads = c->n_kv_heads,
        .head_dim = c->head_dim,
        .rot_dim = 2 * model_rope_table(f->model, local)->n_freqs,
        .angles = f->angles[local],
        .q_norm = w->q_norm,
        .k_norm = w->k_norm,
        .eps = (float)c->norm_eps,
        .dtype = f->dtype,
        .batch = pass->rows,
        .kv = kv_of(pass, layer),
    };

    linear.bias = w->qkv_bias;
    f->ops->linear(f->dev, &linear);
    f->ops->rope(f->dev, &rope);
}

static void post_attention(const struct pass *pass, uint32_t layer)
{
    const struct forward *f = pass->f;
    const struct model_config *c = f->config;
    const struct op_attention op = {
        .q = f->qkv,
        .q_stride = f->qkv_stride,
        .y_stride = f->q_dim,
        .n_heads = c->n_heads,
        .n_kv_heads = c->n_kv_heads,
        .head_dim = c->head_dim,
        .scale = (float)c->attention_scale,
        .softcap = (float)c->attention_softcap,
        .window = c->layers[layer].window,
        .dtype = f->dtype,
        .batch = pass->rows,
        .kv = kv_of(pass, layer),
        .y = f->a,
    };

    f->ops->attention(f->dev, &op);
}

static void post_mlp(const struct forward *f, const struct weights_layer *w, uint32_t n_rows)
{
    struct op_linear op = dense(f, &w->gate_up, f->h, n_rows, f->act);

    op.act = f->config->act;
    op.y_stride = w->gate_up.n / 2;
    f->ops->linear(f->dev, &op);
    post_into_stream(f, &w->down, NULL, f->act, w->mlp_post_norm, n_rows);
}

static void post_experts(const struct forward *f, const struct weights_layer *w, uint32_t n_rows)
{
    const struct model_config *c = f->config;
    const uint32_t n_places = n_rows * c->experts_top_k;
    struct op_linear router = dense(f, &w->router, f->h, n_rows, f->router_logits);
    const struct op_moe_route route = {
        .logits = f->router_logits,
        .n_rows = n_rows,
        .n_experts = c->n_experts,
        .top_k = c->experts_top_k,
        .renormalise = c->experts_renormalise,
        .scale = 1.0f,
        .weights = f->expert_weights,
        .first = f->first,
        .rows = f->expert_rows,
        .places = f->places,
    };
    struct op_moe_linear in = {
        .x = f->h,
        .rows = f->expert_rows,
        .x_stride = c->hidden,
        .y_stride = c->expert_intermediate,
        .n_experts = c->n_experts,
        .n_places = n_places,
        .first = f->first,
        .w = w->expert_gate_ups,
        .act = c->act,
        .y_dtype = f->dtype,
        .y = f->act,
    };
    struct op_moe_linear out = in;
    const struct op_moe_sum sum = {
        .x = f->expert_y,
        .weights = f->expert_weights,
        .places = f->places,
        .residual = w->mlp_post_norm == NULL ? f->x : NULL,
        .n_rows = n_rows,
        .n = c->hidden,
        .top_k = c->experts_top_k,
        .x_dtype = OP_F32,
        .dtype = f->dtype,
        .y = w->mlp_post_norm == NULL ? f->x : f->h,
    };

    router.y_dtype = OP_F32;
    out.x = f->act;
    out.rows = NULL;
    out.x_stride = c->expert_intermediate;
    out.y_stride = c->hidden;
    out.w = w->expert_downs;
    out.act = OP_ACT_NONE;
    out.y_dtype = OP_F32;
    out.y = f->expert_y;
    f->ops->linear(f->dev, &router);
    f->ops->moe_route(f->dev, &route);
    f->ops->moe_linear(f->dev, &in);
    f->ops->moe_linear(f->dev, &out);
    f->ops->moe_sum(f->dev, &sum);
    if (w->mlp_post_norm != NULL)
        post_norm(f, f->h, w->mlp_post_norm, f->x, n_rows, f->x);
}

/* Keeps the rows that are sampled: of x all, of qkv the q. They are ascending, so that none is
 * overwritten before it was copied. */
static void shrink(struct pass *pass, const struct forward_batch *batch)
{
    struct forward *f = pass->f;
    const size_t each = f->dtype == OP_F32 ? 4 : 2;
    const size_t x_bytes = f->config->hidden * each, q_bytes = f->q_dim * each;

    if (batch->n_samples == pass->rows.n_rows)
        return;
    for (uint32_t i = 0; i < batch->n_samples; i++) {
        const struct op_seq *seq = &batch->rows.seqs[batch->sample_seqs[i]];
        const uint32_t row = seq->row + seq->n_rows - 1;

        f->seqs[i] = (struct op_seq){
            .row = i,
            .n_rows = 1,
            .position = seq->position + seq->n_rows - 1,
            .block = seq->block,
        };
        if (row == i)
            continue;
        device_copy(f->dev, (uint8_t *)f->x + i * x_bytes, (uint8_t *)f->x + row * x_bytes,
                    x_bytes);
        device_copy(f->dev, (uint8_t *)f->qkv + i * f->qkv_stride * each,
                    (uint8_t *)f->qkv + row * f->qkv_stride * each, q_bytes);
    }
    pass->rows.seqs = f->seqs;
    pass->rows.n_seqs = batch->n_samples;
    pass->rows.n_rows = batch->n_samples;
}

static void run_layer(struct pass *pass, uint32_t layer, const struct forward_batch *batch)
{
    struct forward *f = pass->f;
    const struct weights_layer *w = &f->weights->layers[layer];

    post_norm(f, f->x, w->attention_norm, NULL, pass->rows.n_rows, f->h);
    post_qkv(pass, layer);
    if (layer + 1 == f->config->n_layers)
        shrink(pass, batch);
    if (pass->rows.n_rows > 0) {
        const uint32_t n_rows = pass->rows.n_rows;

        post_attention(pass, layer);
        post_into_stream(f, &w->out, w->out_bias, f->a, w->attention_post_norm, n_rows);
        post_norm(f, f->x, w->mlp_norm, NULL, n_rows, f->h);
        if (f->config->layers[layer].experts)
            post_experts(f, w, n_rows);
        else
            post_mlp(f, w, n_rows);
    }
    if (batch->layer_done != NULL)
        batch->layer_done(batch->ctx, layer);
}

/* ---- before and after the layers ---- */

static void post_start(const struct forward *f, const struct forward_batch *batch)
{
    const struct op_batch *rows = &batch->rows;
    const struct op_embed embed = {
        .tokens = batch->tokens,
        .w = f->weights->embed,
        .scale = f->embed_scale,
        .n_rows = rows->n_rows,
        .y = f->x,
    };

    for (uint32_t i = 0; i < rows->n_seqs; i++)
        for (uint32_t r = 0; r < rows->seqs[i].n_rows; r++)
            f->positions[rows->seqs[i].row + r] = rows->seqs[i].position + r;
    for (uint32_t local = 0; local < 2; local++) {
        const struct rope_table *table = model_rope_table(f->model, local);
        const struct op_angles angles = {
            .positions = f->positions,
            .freqs = table->freqs,
            .scale = table->scale,
            .n_rows = rows->n_rows,
            .n_freqs = table->n_freqs,
            .y = f->angles[local],
        };

        if (table->n_freqs > 0)
            f->ops->angles(f->dev, &angles);
    }
    f->ops->embed(f->dev, &embed);
}

/* Rows 0..n_samples - 1 of the stream become ids, as many at once as there is room for logits. */
static void post_samples(const struct forward *f, const struct forward_batch *batch)
{
    const size_t each = f->dtype == OP_F32 ? 4 : 2, vocab = f->config->vocab;
    const uint32_t slice = (uint32_t)logits_rows(f);

    post_norm(f, f->x, f->weights->final_norm, NULL, batch->n_samples, f->h);
    for (uint32_t from = 0; from < batch->n_samples; from += slice) {
        const uint32_t left = batch->n_samples - from, n = left < slice ? left : slice;
        const uint8_t *h = (const uint8_t *)f->h + from * f->config->hidden * each;
        struct op_linear head = dense(f, &f->weights->head, h, n, f->logits);
        const struct op_sample sample = {
            .logits = f->logits,
            .n_rows = n,
            .stride = f->config->vocab,
            .vocab = f->config->vocab,
            .params = batch->params + from,
            .out = batch->sampled + from,
        };

        head.y_dtype = OP_F32;
        head.softcap = (float)f->config->final_softcap;
        f->ops->linear(f->dev, &head);
        if (batch->logits != NULL)
            device_copy(f->dev, batch->logits + from * vocab, f->logits,
                        n * vocab * sizeof(*f->logits));
        f->ops->sample(f->dev, &sample);
    }
}

enum status forward_run(struct forward *f, const struct forward_batch *batch)
{
    struct pass pass = {.f = f, .rows = batch->rows, .pool = batch->pool};

    CHECK(batch->rows.n_rows > 0 && batch->rows.n_rows <= f->args.rows_max);
    CHECK(batch->n_samples <= f->args.samples_max && batch->n_samples <= batch->rows.n_seqs);
    post_start(f, batch);
    for (uint32_t layer = 0; layer < f->config->n_layers; layer++)
        run_layer(&pass, layer, batch);
    if (batch->n_samples > 0)
        post_samples(f, batch);
    return device_wait(f->dev);
}
