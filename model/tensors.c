/* Names and shapes of a checkpoint's tensors. One walk makes the list for every family; what
 * differs are flags of the config and the names of a mixture's parts. Any thread. */
#include "model/tensors.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"

struct walk {
    const struct model_config *config;
    model_tensor_visitor visit;
    void *ctx;
    enum status status; /* of the first visit that ended the walk */
    uint32_t layer, expert;
};

static void visit(struct walk *walk, enum model_part part, enum model_tensor_kind kind,
                  uint64_t rows, uint64_t columns, const char *name)
{
    struct model_tensor tensor = {.kind = kind,
                                  .part = part,
                                  .layer = walk->layer,
                                  .expert = walk->expert,
                                  .n_dims = 2,
                                  .shape = {rows, columns}};

    if (walk->status != STATUS_OK)
        return;
    if (kind != MODEL_TENSOR_MATRIX) {
        tensor.n_dims = 1;
        tensor.shape[1] = 0;
    }
    int n = snprintf(tensor.name, sizeof(tensor.name), "%s", name);
    CHECK(n > 0 && (unsigned)n < sizeof(tensor.name));
    walk->status = walk->visit(walk->ctx, &tensor);
}

/* A tensor of the layer; `middle` is what stands between its number and ".weight" or ".bias". */
static void visit_part(struct walk *walk, enum model_part part, enum model_tensor_kind kind,
                       uint64_t rows, uint64_t columns, const char *middle)
{
    char name[MODEL_TENSOR_NAME_MAX];

    snprintf(name, sizeof(name), "model.layers.%u.%s.%s", walk->layer, middle,
             kind == MODEL_TENSOR_BIAS ? "bias" : "weight");
    visit(walk, part, kind, rows, columns, name);
}

static void visit_linear(struct walk *walk, enum model_part part, uint64_t rows, uint64_t columns,
                         bool bias, const char *middle)
{
    visit_part(walk, part, MODEL_TENSOR_MATRIX, rows, columns, middle);
    if (bias)
        visit_part(walk, part, MODEL_TENSOR_BIAS, rows, 0, middle);
}

static void visit_norm(struct walk *walk, enum model_part part, uint64_t n, const char *middle)
{
    visit_part(walk, part, MODEL_TENSOR_NORM, n, 0, middle);
}

static void visit_attention(struct walk *walk)
{
    const struct model_config *c = walk->config;
    const uint64_t q = (uint64_t)c->n_heads * c->head_dim;
    const uint64_t kv = (uint64_t)c->n_kv_heads * c->head_dim;

    if (c->fused_names) {
        visit_linear(walk, MODEL_PART_QKV, q + 2 * kv, c->hidden, c->qkv_bias,
                     "self_attn.qkv_proj");
    } else {
        visit_linear(walk, MODEL_PART_Q, q, c->hidden, c->qkv_bias, "self_attn.q_proj");
        visit_linear(walk, MODEL_PART_K, kv, c->hidden, c->qkv_bias, "self_attn.k_proj");
        visit_linear(walk, MODEL_PART_V, kv, c->hidden, c->qkv_bias, "self_attn.v_proj");
    }
    if (c->qk_norm) {
        visit_norm(walk, MODEL_PART_Q_NORM, c->head_dim, "self_attn.q_norm");
        visit_norm(walk, MODEL_PART_K_NORM, c->head_dim, "self_attn.k_norm");
    }
    visit_linear(walk, MODEL_PART_OUT, c->hidden, q, c->out_bias, "self_attn.o_proj");
}

static void visit_experts(struct walk *walk)
{
    const struct model_config *c = walk->config;
    const bool mixtral = c->family == MODEL_MIXTRAL;
    const char *folder = mixtral ? "block_sparse_moe" : "mlp";
    const char *gate = mixtral ? "w1" : "gate_proj", *up = mixtral ? "w3" : "up_proj";
    const char *down = mixtral ? "w2" : "down_proj";
    char part[MODEL_TENSOR_NAME_MAX / 2];

    snprintf(part, sizeof(part), "%s.gate", folder);
    visit_linear(walk, MODEL_PART_ROUTER, c->n_experts, c->hidden, false, part);
    for (uint32_t i = 0; walk->status == STATUS_OK && i < c->n_experts; i++) {
        walk->expert = i;
        snprintf(part, sizeof(part), "%s.experts.%u.%s", folder, i, gate);
        visit_linear(walk, MODEL_PART_GATE, c->expert_intermediate, c->hidden, false, part);
        snprintf(part, sizeof(part), "%s.experts.%u.%s", folder, i, up);
        visit_linear(walk, MODEL_PART_UP, c->expert_intermediate, c->hidden, false, part);
        snprintf(part, sizeof(part), "%s.experts.%u.%s", folder, i, down);
        visit_linear(walk, MODEL_PART_DOWN, c->hidden, c->expert_intermediate, false, part);
    }
    walk->expert = MODEL_NO_EXPERT;
}

static void visit_mlp(struct walk *walk)
{
    const struct model_config *c = walk->config;

    if (c->fused_names) {
        visit_linear(walk, MODEL_PART_GATE_UP, 2 * (uint64_t)c->intermediate, c->hidden, false,
                     "mlp.gate_up_proj");
    } else {
        visit_linear(walk, MODEL_PART_GATE, c->intermediate, c->hidden, false, "mlp.gate_proj");
        visit_linear(walk, MODEL_PART_UP, c->intermediate, c->hidden, false, "mlp.up_proj");
    }
    visit_linear(walk, MODEL_PART_DOWN, c->hidden, c->intermediate, false, "mlp.down_proj");
}

enum status model_tensors_expected(const struct model_config *config, model_tensor_visitor visitor,
                                   void *ctx)
{
    struct walk walk = {.config = config,
                        .visit = visitor,
                        .ctx = ctx,
                        .status = STATUS_OK,
                        .expert = MODEL_NO_EXPERT};
    const uint64_t hidden = config->hidden;

    visit(&walk, MODEL_PART_EMBED, MODEL_TENSOR_MATRIX, config->vocab, hidden,
          "model.embed_tokens.weight");
    for (uint32_t i = 0; walk.status == STATUS_OK && i < config->n_layers; i++) {
        walk.layer = i;
        visit_norm(&walk, MODEL_PART_ATTENTION_NORM, hidden, "input_layernorm");
        visit_attention(&walk);
        visit_norm(&walk, config->post_norms ? MODEL_PART_ATTENTION_POST_NORM : MODEL_PART_MLP_NORM,
                   hidden, "post_attention_layernorm");
        if (config->post_norms)
            visit_norm(&walk, MODEL_PART_MLP_NORM, hidden, "pre_feedforward_layernorm");
        if (config->layers[i].experts)
            visit_experts(&walk);
        else
            visit_mlp(&walk);
        if (config->post_norms)
            visit_norm(&walk, MODEL_PART_MLP_POST_NORM, hidden, "post_feedforward_layernorm");
    }
    walk.layer = 0;
    visit(&walk, MODEL_PART_FINAL_NORM, MODEL_TENSOR_NORM, hidden, 0, "model.norm.weight");
    if (!config->tied)
        visit(&walk, MODEL_PART_HEAD, MODEL_TENSOR_MATRIX, config->vocab, hidden, "lm_head.weight");
    return walk.status;
}

/* --- checking --- */

struct check {
    const struct safetensors *st;
    struct model_error *error;
    bool *seen; /* [safetensors_n] */
};

static enum status check_shape(struct model_error *error, const struct safetensors *st,
                               const struct model_tensor *want,
                               const struct safetensors_tensor *found)
{
    char text[128] = "";
    size_t len = 0;

    if (found->n_dims == want->n_dims &&
        memcmp(found->shape, want->shape, want->n_dims * sizeof(want->shape[0])) == 0)
        return STATUS_OK;
    for (uint32_t i = 0; i < found->n_dims; i++)
        len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%" PRIu64, i > 0 ? ", " : "",
                                found->shape[i]);
    return model_fail(error, STATUS_MALFORMED,
                      "%.200s: tensor '%.100s' has the shape [%s]; config.json makes it [%" PRIu64
                      "%s%.0" PRIu64 "]",
                      safetensors_file_name(st, found->file), want->name, text, want->shape[0],
                      want->n_dims == 2 ? ", " : "", want->shape[1]);
}

static enum status check_one(void *ctx, const struct model_tensor *want)
{
    struct check *check = ctx;
    const struct safetensors_tensor *found = safetensors_find(check->st, want->name);

    if (found == NULL)
        return model_fail(check->error, STATUS_MALFORMED,
                          "the checkpoint has no tensor '%.100s', which its config.json asks for",
                          want->name);
    check->seen[found - safetensors_at(check->st, 0)] = true;
    return check_shape(check->error, check->st, want, found);
}

/* Is it one that the reference ignores too? */
static bool is_ignored(const struct model_config *config, const struct safetensors_tensor *tensor)
{
    static const char ending[] = ".rotary_emb.inv_freq";
    const size_t len = strlen(tensor->name), n = sizeof(ending) - 1;

    if (len > n && strcmp(tensor->name + len - n, ending) == 0)
        return true;
    return config->tied && strcmp(tensor->name, "lm_head.weight") == 0 && tensor->n_dims == 2 &&
           tensor->shape[0] == config->vocab && tensor->shape[1] == config->hidden;
}

enum status model_tensors_check(const struct model_config *config, const struct safetensors *st,
                                struct model_error *error)
{
    struct check check = {.st = st, .error = error};
    const uint32_t n = safetensors_n(st);
    enum status status;

    check.seen = mem_alloc_zero(n, sizeof(*check.seen));
    if (check.seen == NULL)
        return model_fail(error, STATUS_NO_MEMORY, "no memory to check a checkpoint");
    status = model_tensors_expected(config, check_one, &check);
    for (uint32_t i = 0; status == STATUS_OK && i < n; i++) {
        const struct safetensors_tensor *tensor = safetensors_at(st, i);

        if (!check.seen[i] && !is_ignored(config, tensor))
            status = model_fail(error, STATUS_MALFORMED,
                                "%.200s: has a tensor '%.100s' for which a %s of this config.json "
                                "has no place",
                                safetensors_file_name(st, tensor->file), tensor->name,
                                model_family_name(config->family));
    }
    mem_free(check.seen);
    return status;
}
