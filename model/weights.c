/* Lays out and fills the packed weights. One walk over the layout runs twice: first on no memory,
 * to count, then on what was allocated. A matrix goes through in slabs that fit the cache: each is
 * hashed and looked through for what is not a number, then packed on all threads, so that the disk
 * or the page cache is read once. Main thread, at start. */
#include "model/weights.h"

#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/check.h"
#include "base/mem.h"
#include "kernels/bf16.h"

#define ALIGNMENT 64u
#define SLAB_BYTES ((uint64_t)4 << 20)
#define SLAB_ROWS 256u /* at least: enough for all threads */

/* ---- layout ---- */

struct carver {
    const struct ops *ops;
    enum op_dtype dtype;
    uint8_t *base; /* NULL: only counts */
    size_t at;
};

static void *carve(struct carver *carver, size_t bytes)
{
    size_t at = carver->at;

    carver->at += (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    return carver->base == NULL ? NULL : carver->base + at;
}

static float *carve_floats(struct carver *carver, bool wanted, size_t n)
{
    return wanted ? carve(carver, n * sizeof(float)) : NULL;
}

static struct op_weight carve_matrix(struct carver *carver, uint32_t n, uint32_t k, bool paired)
{
    struct op_weight w = {.n = n, .k = k, .dtype = carver->dtype, .paired = paired};

    w.data = carve(carver, carver->ops->weight_bytes(&w));
    return w;
}

static void carve_mlp(struct carver *carver, const struct model_config *c,
                      struct weights_layer *layer)
{
    layer->gate_up = carve_matrix(carver, 2 * c->intermediate, c->hidden, true);
    layer->down = carve_matrix(carver, c->hidden, c->intermediate, false);
}

static void carve_experts(struct carver *carver, const struct model_config *c,
                          struct weights_layer *layer)
{
    layer->router = carve_matrix(carver, c->n_experts, c->hidden, false);
    for (uint32_t e = 0; e < c->n_experts; e++) {
        layer->expert_gate_ups[e] =
            carve_matrix(carver, 2 * c->expert_intermediate, c->hidden, true);
        layer->expert_downs[e] = carve_matrix(carver, c->hidden, c->expert_intermediate, false);
    }
}

static void carve_layer(struct carver *carver, const struct model_config *c, bool experts,
                        struct weights_layer *layer)
{
    const uint32_t q = c->n_heads * c->head_dim, kv = c->n_kv_heads * c->head_dim;

    layer->attention_norm = carve_floats(carver, true, c->hidden);
    layer->qkv = carve_matrix(carver, q + 2 * kv, c->hidden, false);
    layer->qkv_bias = carve_floats(carver, c->qkv_bias, q + 2 * kv);
    layer->q_norm = carve_floats(carver, c->qk_norm, c->head_dim);
    layer->k_norm = carve_floats(carver, c->qk_norm, c->head_dim);
    layer->out = carve_matrix(carver, c->hidden, q, false);
    layer->out_bias = carve_floats(carver, c->out_bias, c->hidden);
    layer->attention_post_norm = carve_floats(carver, c->post_norms, c->hidden);
    layer->mlp_norm = carve_floats(carver, true, c->hidden);
    if (experts)
        carve_experts(carver, c, layer);
    else
        carve_mlp(carver, c, layer);
    layer->mlp_post_norm = carve_floats(carver, c->post_norms, c->hidden);
}

static size_t carve_all(struct weights *weights, uint8_t *base)
{
    const struct model_config *c = weights->config;
    struct carver carver = {.ops = device_ops(weights->dev), .dtype = weights->dtype, .base = base};

    weights->embed = carve_matrix(&carver, c->vocab, c->hidden, false);
    for (uint32_t i = 0; i < c->n_layers; i++)
        carve_layer(&carver, c, c->layers[i].experts, &weights->layers[i]);
    weights->final_norm = carve_floats(&carver, true, c->hidden);
    weights->head = c->tied ? weights->embed : carve_matrix(&carver, c->vocab, c->hidden, false);
    return carver.at;
}

enum status weights_create(struct device *dev, const struct model_config *config,
                           enum op_dtype dtype, struct weights *out)
{
    struct weights weights = {.dev = dev, .config = config, .dtype = dtype};
    const size_t n_experts = config->n_experts;

    weights.layers = mem_alloc_zero(config->n_layers, sizeof(*weights.layers));
    weights.experts = mem_alloc_zero(2 * config->n_layers * n_experts, sizeof(*weights.experts));
    if (weights.layers == NULL || weights.experts == NULL)
        goto fail;
    for (uint32_t i = 0; i < config->n_layers; i++) {
        weights.layers[i].expert_gate_ups = weights.experts + 2 * i * n_experts;
        weights.layers[i].expert_downs = weights.experts + (2 * i + 1) * n_experts;
    }
    weights.bytes = carve_all(&weights, NULL);
    if (device_alloc(dev, weights.bytes, &weights.memory) != STATUS_OK)
        goto fail;
    CHECK(carve_all(&weights, weights.memory) == weights.bytes);
    *out = weights;
    return STATUS_OK;
fail:
    mem_free(weights.experts);
    mem_free(weights.layers);
    return STATUS_NO_MEMORY;
}

void weights_destroy(struct weights *weights)
{
    device_free(weights->dev, weights->memory, weights->bytes);
    mem_free(weights->experts);
    mem_free(weights->layers);
}

/* ---- numbers ---- */

/* Is there one that is not finite, or (narrow) that bf16 cannot hold? The exponent of such is all
 * ones; loops that a compiler makes into vectors. */
static bool is_bad_16(const uint8_t *bytes, size_t n, uint16_t exponent)
{
    uint16_t bad = 0;

    for (size_t i = 0; i < n; i++) {
        uint16_t bits;

        memcpy(&bits, bytes + 2 * i, sizeof(bits));
        bad |= (bits & exponent) == exponent;
    }
    return bad != 0;
}

static bool is_bad_32(const uint8_t *bytes, size_t n, uint32_t limit)
{
    uint32_t bad = 0;

    for (size_t i = 0; i < n; i++) {
        uint32_t bits;

        memcpy(&bits, bytes + 4 * i, sizeof(bits));
        bad |= (bits & 0x7fffffffu) > limit;
    }
    return bad != 0;
}

static bool is_bad(const uint8_t *bytes, size_t n, enum op_dtype src, enum op_dtype dst)
{
    if (src == OP_BF16)
        return is_bad_16(bytes, n, 0x7f80u);
    if (src == OP_F16)
        return is_bad_16(bytes, n, 0x7c00u);
    return is_bad_32(bytes, n, dst == OP_BF16 ? 0x7f7f7fffu : 0x7f7fffffu);
}

static enum status fail_bad(const struct safetensors *st, const struct safetensors_tensor *tensor,
                            struct model_error *error)
{
    return model_fail(error, STATUS_MALFORMED,
                      "%.200s: tensor '%.100s' holds a number that is not finite or too large for "
                      "the dtype: the file is damaged, or the model was trained to nothing",
                      safetensors_file_name(st, tensor->file), tensor->name);
}

/* ---- filling ---- */

/* One tensor on its way. */
struct fill {
    struct weights *weights;
    const struct safetensors *st;
    const struct safetensors_tensor *src;
    weights_progress_fn progress;
    void *ctx;
    XXH3_state_t *hash;
    struct model_error *error;
};

static enum status look_at(const struct fill *fill, const uint8_t *bytes, size_t n_bytes)
{
    const struct safetensors_tensor *src = fill->src;

    if (is_bad(bytes, n_bytes / safetensors_dtype_bytes(src->dtype), src->dtype,
               fill->weights->dtype))
        return fail_bad(fill->st, src, fill->error);
    XXH3_64bits_update(fill->hash, bytes, n_bytes);
    return STATUS_OK;
}

static enum status fill_matrix(const struct fill *fill, const struct op_weight *w, uint32_t at)
{
    const struct safetensors_tensor *src = fill->src;
    const struct ops *ops = device_ops(fill->weights->dev);
    const uint32_t n_rows = (uint32_t)src->shape[0];
    const uint64_t row_bytes = (uint64_t)w->k * safetensors_dtype_bytes(src->dtype);
    uint32_t slab =
        SLAB_BYTES / row_bytes < SLAB_ROWS ? SLAB_ROWS : (uint32_t)(SLAB_BYTES / row_bytes);

    slab -= slab % OPS_PANEL; /* panels are written once */
    for (uint32_t row = 0; row < n_rows; row += slab) {
        const uint32_t n = n_rows - row < slab ? n_rows - row : slab;
        const uint8_t *from = src->data + row * row_bytes;
        const struct op_pack pack = {
            .dst = (void *)(uintptr_t)w->data,
            .src = from,
            .dtype = src->dtype,
            .n_rows = n,
            .row = at + row,
        };
        enum status status = look_at(fill, from, n * row_bytes);

        if (status != STATUS_OK)
            return status;
        ops->pack(fill->weights->dev, w, &pack);
        if (fill->progress != NULL)
            fill->progress(fill->ctx, n * row_bytes);
    }
    return STATUS_OK;
}

static float number_at(const uint8_t *bytes, uint64_t i, enum op_dtype dtype)
{
    uint16_t half;
    float full;

    if (dtype == OP_F32) {
        memcpy(&full, bytes + 4 * i, sizeof(full));
        return full;
    }
    memcpy(&half, bytes + 2 * i, sizeof(half));
    return dtype == OP_F16 ? f32_of_f16(half) : f32_of_bf16(half);
}

static enum status fill_floats(const struct fill *fill, float *dst, float add)
{
    const struct safetensors_tensor *src = fill->src;
    const uint64_t n = src->shape[0];
    enum status status = look_at(fill, src->data, src->bytes);
    float *numbers;

    if (status != STATUS_OK)
        return status;
    numbers = mem_alloc(n * sizeof(*numbers));
    if (numbers == NULL)
        return model_fail(fill->error, STATUS_NO_MEMORY, "no memory to load a tensor");
    for (uint64_t i = 0; i < n; i++)
        numbers[i] = number_at(src->data, i, src->dtype) + add;
    device_copy(fill->weights->dev, dst, numbers, n * sizeof(*numbers));
    status = device_wait(fill->weights->dev);
    mem_free(numbers);
    if (fill->progress != NULL)
        fill->progress(fill->ctx, src->bytes);
    return status;
}

/* Where a matrix goes, and its first row there. */
struct target {
    const struct op_weight *w;
    uint32_t row;
};

static struct target matrix_target(const struct weights *weights, const struct model_tensor *tensor)
{
    const struct model_config *c = weights->config;
    const struct weights_layer *layer = &weights->layers[tensor->layer];
    const uint32_t q = c->n_heads * c->head_dim, kv = c->n_kv_heads * c->head_dim;
    const bool expert = tensor->expert != MODEL_NO_EXPERT;
    const struct op_weight *gate_up =
        expert ? &layer->expert_gate_ups[tensor->expert] : &layer->gate_up;

    switch (tensor->part) {
    case MODEL_PART_EMBED:
        return (struct target){&weights->embed, 0};
    case MODEL_PART_QKV:
    case MODEL_PART_Q:
        return (struct target){&layer->qkv, 0};
    case MODEL_PART_K:
        return (struct target){&layer->qkv, q};
    case MODEL_PART_V:
        return (struct target){&layer->qkv, q + kv};
    case MODEL_PART_OUT:
        return (struct target){&layer->out, 0};
    case MODEL_PART_ROUTER:
        return (struct target){&layer->router, 0};
    case MODEL_PART_GATE_UP:
    case MODEL_PART_GATE:
        return (struct target){gate_up, 0};
    case MODEL_PART_UP:
        return (struct target){gate_up, gate_up->n / 2};
    case MODEL_PART_DOWN:
        return (struct target){expert ? &layer->expert_downs[tensor->expert] : &layer->down, 0};
    case MODEL_PART_HEAD:
        return (struct target){&weights->head, 0};
    default:
        CHECK(!"a part that is no matrix");
        return (struct target){NULL, 0};
    }
}

static float *floats_target(const struct weights *weights, const struct model_tensor *tensor)
{
    const struct weights_layer *layer = &weights->layers[tensor->layer];

    switch (tensor->part) {
    case MODEL_PART_ATTENTION_NORM:
        return layer->attention_norm;
    case MODEL_PART_Q_NORM:
        return layer->q_norm;
    case MODEL_PART_K_NORM:
        return layer->k_norm;
    case MODEL_PART_ATTENTION_POST_NORM:
        return layer->attention_post_norm;
    case MODEL_PART_MLP_NORM:
        return layer->mlp_norm;
    case MODEL_PART_MLP_POST_NORM:
        return layer->mlp_post_norm;
    case MODEL_PART_FINAL_NORM:
        return weights->final_norm;
    case MODEL_PART_OUT:
        return layer->out_bias;
    default: /* biases of q, k and v */
        return layer->qkv_bias + matrix_target(weights, tensor).row;
    }
}

/* A number for the tensor's bytes and what they are. */
static uint64_t hash_tensor(const struct fill *fill, const struct model_tensor *tensor,
                            uint64_t before)
{
    const uint64_t words[] = {before,
                              XXH3_64bits_digest(fill->hash),
                              (uint64_t)tensor->part << 8 | (uint64_t)tensor->kind,
                              (uint64_t)tensor->layer << 32 | tensor->expert,
                              fill->src->dtype,
                              tensor->shape[0],
                              tensor->shape[1]};

    return XXH3_64bits(words, sizeof(words));
}

enum status weights_fill(struct weights *weights, const struct safetensors *st,
                         const struct model_tensor *tensor, weights_progress_fn progress, void *ctx,
                         uint64_t *hash, struct model_error *error)
{
    XXH3_state_t state;
    struct fill fill = {.weights = weights,
                        .st = st,
                        .src = safetensors_find(st, tensor->name),
                        .progress = progress,
                        .ctx = ctx,
                        .hash = &state,
                        .error = error};
    const bool adds_one = weights->config->norm_adds_one && tensor->kind == MODEL_TENSOR_NORM;
    enum status status;

    CHECK(fill.src != NULL);
    XXH3_INITSTATE(&state);
    XXH3_64bits_reset(&state);
    if (tensor->kind == MODEL_TENSOR_MATRIX) {
        const struct target target = matrix_target(weights, tensor);

        status = fill_matrix(&fill, target.w, target.row);
    } else {
        status = fill_floats(&fill, floats_target(weights, tensor), adds_one ? 1.0f : 0.0f);
    }
    if (status != STATUS_OK)
        return status;
    *hash = hash_tensor(&fill, tensor, *hash);
    safetensors_forget(st, fill.src);
    return STATUS_OK;
}
