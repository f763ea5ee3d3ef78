/* Opens a checkpoint: config, files, check of all names and shapes, then the device, the weights'
 * places, and one pass over the tensors in the order of the forward pass. Main thread, at start. */
#include "model/model.h"

#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/mem.h"
#include "model/weights.h"

#define PROGRESS_BYTES ((uint64_t)16 << 20) /* between two calls */

struct model {
    struct model_config config;
    enum op_dtype dtype;
    uint32_t len_max;
    struct device *dev;
    struct weights weights;
    struct rope_table ropes[2]; /* [local] */
    uint64_t config_hash, weights_hash;
};

/* ---- what it is ---- */

const struct model_config *model_config(const struct model *model)
{
    return &model->config;
}

struct device *model_device(const struct model *model)
{
    return model->dev;
}

enum op_dtype model_dtype(const struct model *model)
{
    return model->dtype;
}

uint64_t model_weight_bytes(const struct model *model)
{
    return model->weights.bytes;
}

uint64_t model_config_hash(const struct model *model)
{
    return model->config_hash;
}

uint64_t model_weights_hash(const struct model *model)
{
    return model->weights_hash;
}

const struct weights *model_weights(const struct model *model)
{
    return &model->weights;
}

const struct rope_table *model_rope_table(const struct model *model, bool local)
{
    return &model->ropes[local];
}

struct kvgeom model_kvgeom(const struct model_config *config, enum op_dtype dtype)
{
    struct kvgeom geom = {
        .n_layers = config->n_layers,
        .n_kv_heads = config->n_kv_heads,
        .head_dim = config->head_dim,
        .elem_bytes = dtype == OP_F32 ? 4 : 2,
        .group_layers = 1,
    };

    geom.group_layers = kvgeom_choose_group(&geom);
    return geom;
}

/* ---- the hash of a config ---- */

/* Numbers, not the file's text: what is computed, and nothing else. */
static uint64_t hash_config(const struct model *model, const float *freqs, size_t n_freqs)
{
    const struct model_config *c = &model->config;
    const double numbers[] = {
        model->dtype,
        c->vocab,
        c->hidden,
        c->intermediate,
        c->n_layers,
        c->n_heads,
        c->n_kv_heads,
        c->head_dim,
        c->tied,
        c->qkv_bias,
        c->out_bias,
        c->qk_norm,
        c->norm_adds_one,
        c->post_norms,
        c->norm_eps,
        c->act,
        c->embed_scale,
        c->attention_scale,
        c->attention_softcap,
        c->final_softcap,
        c->rope.dim,
        c->rope.attention_factor,
        c->rope_local.dim,
        c->rope_local.attention_factor,
        c->n_experts,
        c->experts_top_k,
        c->expert_intermediate,
        c->experts_renormalise,
    };
    uint64_t hash = XXH3_64bits(numbers, sizeof(numbers));

    hash = XXH3_64bits_withSeed(freqs, n_freqs * sizeof(*freqs), hash);
    for (uint32_t i = 0; i < c->n_layers; i++) {
        const uint32_t layer[] = {c->layers[i].window, c->layers[i].local_rope,
                                  c->layers[i].experts};

        hash = XXH3_64bits_withSeed(layer, sizeof(layer), hash);
    }
    return hash;
}

/* ---- opening ---- */

static uint32_t most(uint32_t a, uint32_t b)
{
    return a > b ? a : b;
}

static enum status open_device(struct model *model, const struct model_open_args *args,
                               struct model_error *error)
{
    const struct model_config *c = &model->config;
    const struct device_cfg cfg = {
        .table = args->table,
        .n_threads = args->n_threads,
        .k_max = most(most(c->hidden, c->n_heads * c->head_dim),
                      most(c->intermediate, c->expert_intermediate)),
        .pin = args->pin,
    };
    char why[DEVICE_WHY_MAX];
    enum status status = device_open(&cfg, &model->dev, why);

    return status == STATUS_OK ? status : model_fail(error, status, "%s", why);
}

/* One table for each rope that some layer uses. */
static enum status open_ropes(struct model *model, struct model_error *error)
{
    float freqs[2 * MODEL_ROPE_PAIRS_MAX];
    size_t n = 0;
    bool used[2] = {false, false};

    for (uint32_t i = 0; i < model->config.n_layers; i++)
        used[model->config.layers[i].local_rope] = true;
    for (uint32_t local = 0; local < 2; local++) {
        const struct model_rope *rope = local ? &model->config.rope_local : &model->config.rope;
        struct rope_table *table = &model->ropes[local];
        void *memory;

        if (!used[local] || rope->dim == 0)
            continue;
        rope_freqs(rope, model->len_max, freqs + n);
        table->n_freqs = rope->dim / 2;
        table->scale = (float)rope->attention_factor;
        if (device_alloc(model->dev, table->n_freqs * sizeof(*freqs), &memory) != STATUS_OK) {
            (void)device_wait(model->dev); /* freqs may still be read */
            return model_fail(error, STATUS_NO_MEMORY, "no memory to load a model");
        }
        table->freqs = memory;
        device_copy(model->dev, table->freqs, freqs + n, table->n_freqs * sizeof(*freqs));
        n += table->n_freqs;
    }
    model->config_hash = hash_config(model, freqs, n);
    return device_wait(model->dev);
}

struct load {
    struct model *model;
    const struct safetensors *st;
    const struct model_open_args *args;
    struct model_error *error;
    uint64_t done, told, total;
};

static void on_progress(void *ctx, uint64_t bytes)
{
    struct load *load = ctx;

    load->done += bytes;
    if (load->done - load->told < PROGRESS_BYTES || load->args->progress == NULL)
        return;
    load->told = load->done;
    load->args->progress(load->args->ctx, load->done, load->total);
}

static enum status load_tensor(void *ctx, const struct model_tensor *tensor)
{
    struct load *load = ctx;

    return weights_fill(&load->model->weights, load->st, tensor, on_progress, load,
                        &load->model->weights_hash, load->error);
}

static enum status count_tensor(void *ctx, const struct model_tensor *tensor)
{
    struct load *load = ctx;

    load->total += safetensors_find(load->st, tensor->name)->bytes;
    return STATUS_OK;
}

static enum status load_weights(struct model *model, const struct safetensors *st,
                                const struct model_open_args *args, struct model_error *error)
{
    struct load load = {.model = model, .st = st, .args = args, .error = error};
    enum status status = weights_create(model->dev, &model->config, model->dtype, &model->weights);

    if (status != STATUS_OK)
        return model_fail(error, status, "no memory for the weights of this model");
    (void)model_tensors_expected(&model->config, count_tensor, &load);
    status = model_tensors_expected(&model->config, load_tensor, &load);
    if (status == STATUS_OK && args->progress != NULL)
        args->progress(args->ctx, load.total, load.total);
    return status;
}

static enum status check_args(const struct model_open_args *args, const struct model_config *config,
                              struct model_error *error)
{
    if (args->dtype != OP_BF16 && args->dtype != OP_F32)
        return model_fail(error, STATUS_INVALID, "a model computes in bfloat16 or float32");
    if (args->len_max > config->positions_max)
        return model_fail(error, STATUS_INVALID,
                          "sequences of %u tokens are asked for, but this model was made for at "
                          "most %u (max_position_embeddings)",
                          args->len_max, config->positions_max);
    return STATUS_OK;
}

enum status model_open(const struct model_open_args *args, struct model_error *error,
                       struct model **out)
{
    struct model *model = mem_alloc_zero(1, sizeof(*model));
    struct safetensors *st = NULL;
    enum status status;

    if (model == NULL)
        return model_fail(error, STATUS_NO_MEMORY, "no memory to load a model");
    status = model_config_open(args->path, error, &model->config);
    if (status == STATUS_OK)
        status = check_args(args, &model->config, error);
    if (status == STATUS_OK)
        status = safetensors_open(args->path, error, &st);
    if (status == STATUS_OK)
        status = model_tensors_check(&model->config, st, error);
    if (status != STATUS_OK)
        goto out;
    model->dtype = args->dtype;
    model->len_max = args->len_max > 0 ? args->len_max : model->config.positions_max;
    status = open_device(model, args, error);
    if (status == STATUS_OK)
        status = open_ropes(model, error);
    if (status == STATUS_OK)
        status = load_weights(model, st, args, error);
out:
    safetensors_close(st);
    if (status == STATUS_OK)
        *out = model;
    else
        model_close(model);
    return status;
}

void model_close(struct model *model)
{
    if (model == NULL)
        return;
    if (model->weights.memory != NULL)
        weights_destroy(&model->weights);
    for (uint32_t i = 0; i < 2; i++)
        if (model->ropes[i].freqs != NULL)
            device_free(model->dev, model->ropes[i].freqs, model->ropes[i].n_freqs * sizeof(float));
    device_close(model->dev);
    mem_free(model);
}
