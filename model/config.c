/* From the fields of a config.json to what they mean together: which family it is, which layers
 * have a window, which a mixture, and whether the shapes fit each other and the kernels. Called by
 * the loader and by tools; any thread. */
#include "model/config.h"

#include <math.h>
#include <string.h>
#include <sys/stat.h>

#include "base/check.h"
#include "base/mem.h"
#include "model/config_fields.h"
#include "model/model_file.h"

struct family {
    const char *model_type, *architecture;
};

static const struct family families[MODEL_N_FAMILIES] = {
#define X(name, model_type, architecture) {model_type, architecture},
    MODEL_FAMILY_TABLE(X)
#undef X
};

static const char supported[] =
#define X(name, model_type, architecture) " " architecture
    "supported are" MODEL_FAMILY_TABLE(X);
#undef X

const char *model_family_name(enum model_family family)
{
    CHECK((unsigned)family < MODEL_N_FAMILIES);
    return families[family].model_type;
}

/* --- which family --- */

static enum status read_family(struct config_reader *r)
{
    const json_t *type = json_object_get(r->root, "model_type");
    const json_t *list = json_object_get(r->root, "architectures");
    const json_t *first = json_array_get(list, 0);
    const char *name = json_string_value(type);
    size_t family = 0;

    while (family < MODEL_N_FAMILIES &&
           (name == NULL || strcmp(name, families[family].model_type) != 0))
        family++;
    if (family == MODEL_N_FAMILIES && first != NULL)
        return config_bad(r, STATUS_UNSUPPORTED, "architectures", list, "%s", supported);
    if (family == MODEL_N_FAMILIES)
        return config_bad(r, STATUS_UNSUPPORTED, "model_type", type, "%s", supported);
    if (list != NULL && !json_is_null(list) &&
        (json_array_size(list) != 1 || !json_is_string(first) ||
         strcmp(json_string_value(first), families[family].architecture) != 0))
        return config_bad(r, STATUS_UNSUPPORTED, "architectures", list,
                          "with model_type %s, [\"%s\"] is supported", name,
                          families[family].architecture);
    r->family = (enum model_family)family;
    return STATUS_OK;
}

static enum status read_quantisation(const struct config_reader *r)
{
    const json_t *value = json_object_get(r->root, "quantization_config");
    const json_t *method = json_object_get(value, "quant_method");

    if (value == NULL || json_is_null(value))
        return STATUS_OK;
    return config_bad(r, STATUS_UNSUPPORTED, "quantization_config.quant_method", method,
                      "quantised weights are not supported; bf16, fp16 and fp32 are");
}

static enum status read_dtype(const struct config_reader *r, enum op_dtype *out)
{
    static const struct {
        const char *name;
        enum op_dtype dtype;
    } names[] = {{"bfloat16", OP_BF16}, {"float16", OP_F16}, {"float32", OP_F32}};
    const json_t *value = json_object_get(r->root, "dtype");
    const char *name;

    if (value == NULL)
        value = json_object_get(r->root, "torch_dtype");
    *out = OP_F32;
    if (value == NULL || json_is_null(value))
        return STATUS_OK;
    name = json_string_value(value);
    for (size_t i = 0; name != NULL && i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(name, names[i].name) == 0) {
            *out = names[i].dtype;
            return STATUS_OK;
        }
    }
    return config_bad(r, STATUS_UNSUPPORTED, "dtype", value,
                      "supported are bfloat16, float16 and float32");
}

/* --- layers --- */

/* layer_types in the file: a name for each layer. */
static enum status read_layer_types(const struct config_reader *r, const json_t *list,
                                    struct model_config *config, bool sliding[])
{
    if (!json_is_array(list) || json_array_size(list) != config->n_layers)
        return config_bad(r, STATUS_MALFORMED, "layer_types", list,
                          "a list of one name for each of the %u layers is expected",
                          config->n_layers);
    for (uint32_t i = 0; i < config->n_layers; i++) {
        const json_t *value = json_array_get(list, i);
        const char *name = json_is_string(value) ? json_string_value(value) : "";

        sliding[i] = strcmp(name, "sliding_attention") == 0;
        if (!sliding[i] && strcmp(name, "full_attention") != 0)
            return config_bad(r, STATUS_UNSUPPORTED, "layer_types", value,
                              "supported are full_attention and sliding_attention");
    }
    return STATUS_OK;
}

/* Which layers slide, where the file does not list them. */
static bool slides(enum model_family family, const struct config_raw *raw, uint32_t layer)
{
    switch (family) {
    case MODEL_QWEN2:
    case MODEL_QWEN3:
        return raw->use_window && raw->window > 0 && layer >= raw->max_window_layers;
    case MODEL_QWEN3_MOE:
        return raw->use_window;
    case MODEL_GEMMA2:
    case MODEL_GEMMA3:
        return (layer + 1) % raw->window_pattern != 0;
    default:
        return true; /* all of them, if there is a window */
    }
}

static enum status read_windows(const struct config_reader *r, const struct config_raw *raw,
                                struct model_config *config)
{
    const json_t *list = json_object_get(r->root, "layer_types");
    const bool listed = list != NULL && !json_is_null(list);
    bool sliding[MODEL_LAYERS_MAX];
    uint32_t window = raw->window;

    for (uint32_t i = 0; i < config->n_layers; i++)
        sliding[i] = slides(r->family, raw, i);
    if (listed) {
        enum status status = read_layer_types(r, list, config, sliding);

        if (status != STATUS_OK)
            return status;
        /* Qwen's switch turns the window off whatever the list says. */
        if ((r->family == MODEL_QWEN2 || r->family == MODEL_QWEN3) && !raw->use_window)
            window = 0;
    }
    for (uint32_t i = 0; i < config->n_layers; i++) {
        if (sliding[i] && window == 0 &&
            (listed || r->family == MODEL_GEMMA2 || r->family == MODEL_GEMMA3))
            return config_bad(r, STATUS_MALFORMED, "sliding_window",
                              json_object_get(r->root, "sliding_window"),
                              "layer %u slides, but there is no window in force", i);
        config->layers[i].window = sliding[i] ? window : 0;
        config->layers[i].local_rope = r->family == MODEL_GEMMA3 && sliding[i];
    }
    return STATUS_OK;
}

static enum status read_experts(const struct config_reader *r, const struct config_raw *raw,
                                struct model_config *config)
{
    const json_t *dense = json_object_get(r->root, "mlp_only_layers"), *value;
    size_t idx;

    if (raw->n_experts == 0)
        return STATUS_OK;
    if (raw->top_k > raw->n_experts)
        return config_bad(r, STATUS_MALFORMED, "num_experts_per_tok",
                          json_object_get(r->root, "num_experts_per_tok"),
                          "at most the %u experts can be chosen", raw->n_experts);
    config->n_experts = raw->n_experts;
    config->experts_top_k = raw->top_k;
    config->experts_renormalise = raw->renormalise;
    config->expert_intermediate =
        r->family == MODEL_MIXTRAL ? raw->intermediate : raw->expert_intermediate;
    if (r->family == MODEL_MIXTRAL)
        config->intermediate = 0;
    for (uint32_t i = 0; i < config->n_layers; i++)
        config->layers[i].experts = raw->sparse_step == 0 || (i + 1) % raw->sparse_step == 0;
    if (dense == NULL || json_is_null(dense))
        return STATUS_OK;
    if (!json_is_array(dense))
        return config_bad(r, STATUS_MALFORMED, "mlp_only_layers", dense, "a list is expected");
    json_array_foreach((json_t *)(uintptr_t)dense, idx, value)
    {
        uint32_t layer;
        enum status status =
            config_u32(r, "mlp_only_layers", value, 0, config->n_layers - 1, &layer);

        if (status != STATUS_OK)
            return status;
        config->layers[layer].experts = false;
    }
    return STATUS_OK;
}

/* --- shapes --- */

static enum status read_heads(const struct config_reader *r, const struct config_raw *raw,
                              struct model_config *config)
{
    config->n_heads = raw->n_heads;
    config->n_kv_heads = raw->n_kv_heads > 0 ? raw->n_kv_heads : raw->n_heads;
    config->head_dim = raw->head_dim;
    if (config->n_heads % config->n_kv_heads != 0)
        return config_bad(r, STATUS_MALFORMED, "num_key_value_heads",
                          json_object_get(r->root, "num_key_value_heads"),
                          "a divisor of the %u heads is expected", config->n_heads);
    if (config->head_dim == 0) {
        if (raw->hidden % raw->n_heads != 0)
            return config_bad(
                r, STATUS_MALFORMED, "hidden_size", json_object_get(r->root, "hidden_size"),
                "without head_dim, a multiple of the %u heads is expected", raw->n_heads);
        config->head_dim = raw->hidden / raw->n_heads;
    }
    if (config->head_dim % 16 != 0 || config->head_dim > OPS_HEAD_DIM_MAX)
        return model_fail(r->error, STATUS_UNSUPPORTED,
                          "%.200s: heads have %u dimensions; multiples of 16 up to %u are "
                          "supported",
                          r->path, config->head_dim, OPS_HEAD_DIM_MAX);
    return STATUS_OK;
}

static enum status check_even(const struct config_reader *r, const char *field, uint32_t value)
{
    if (value % 2 == 0)
        return STATUS_OK;
    return config_bad(r, STATUS_UNSUPPORTED, field, json_object_get(r->root, field),
                      "an even number is expected");
}

/* What the family fixes, and what is copied as it is. */
static void fill(const struct config_reader *r, const struct config_raw *raw,
                 struct model_config *config)
{
    const bool gemma = r->family == MODEL_GEMMA2 || r->family == MODEL_GEMMA3;

    config->family = r->family;
    config->vocab = raw->vocab;
    config->hidden = raw->hidden;
    config->intermediate = raw->intermediate;
    config->n_layers = raw->n_layers;
    config->positions_max = raw->positions_max;
    config->tied = raw->tied;
    config->qkv_bias = raw->attention_bias || r->family == MODEL_QWEN2;
    config->out_bias = raw->attention_bias;
    config->fused_names = r->family == MODEL_PHI3;
    config->qk_norm =
        r->family == MODEL_QWEN3 || r->family == MODEL_QWEN3_MOE || r->family == MODEL_GEMMA3;
    config->norm_adds_one = config->post_norms = gemma;
    config->norm_eps = raw->norm_eps;
    config->act = gemma ? OP_ACT_GELU_TANH_MUL : OP_ACT_SILU_MUL;
    config->embed_scale = gemma ? sqrt(raw->hidden) : 1;
    config->attention_softcap = raw->attention_softcap;
    config->final_softcap = raw->final_softcap;
}

static enum status read_config(struct config_reader *r, struct model_config *config)
{
    struct config_raw raw;
    enum status status = read_family(r);

    if (status == STATUS_OK)
        status = read_quantisation(r);
    if (status == STATUS_OK)
        status = config_fields_read(r, &raw);
    if (status != STATUS_OK)
        return status;
    fill(r, &raw, config);
    config->bos = UINT32_MAX;
    if ((status = read_dtype(r, &config->dtype)) != STATUS_OK ||
        (status = read_heads(r, &raw, config)) != STATUS_OK ||
        (status = check_even(r, "hidden_size", raw.hidden)) != STATUS_OK ||
        (status = check_even(r, "intermediate_size", raw.intermediate)) != STATUS_OK ||
        (status = check_even(r, "moe_intermediate_size", raw.expert_intermediate)) != STATUS_OK ||
        (status = config_rope_read(r, &raw, config->head_dim, config)) != STATUS_OK ||
        (status = read_windows(r, &raw, config)) != STATUS_OK ||
        (status = read_experts(r, &raw, config)) != STATUS_OK ||
        (status = config_special_read(r, config)) != STATUS_OK)
        return status;
    config->attention_scale =
        1 / sqrt(raw.query_scalar > 0 ? raw.query_scalar : (double)config->head_dim);
    return STATUS_OK;
}

/* --- opening --- */

enum status model_config_read(const char *name, const char *json, size_t len,
                              struct model_error *error, struct model_config *out)
{
    struct config_reader r = {.path = name, .error = error};
    struct model_config *config = mem_alloc_zero(1, sizeof(*config));
    json_t *root;
    enum status status;

    if (config == NULL)
        return model_fail(error, STATUS_NO_MEMORY, "%.200s: no memory to read it", name);
    status = config_parse(name, json, len, error, &root);
    if (status == STATUS_OK) {
        r.root = root;
        status = read_config(&r, config);
        json_decref(root);
    }
    if (status == STATUS_OK)
        *out = *config;
    mem_free(config);
    return status;
}

enum status model_config_open(const char *path, struct model_error *error, struct model_config *out)
{
    char file[MODEL_PATH_MAX], *text;
    struct stat info;
    size_t len;
    enum status status = STATUS_OK;

    if (stat(path, &info) == 0 && S_ISDIR(info.st_mode)) {
        status = model_path_join(path, "config.json", error, file);
        path = file;
    }
    if (status == STATUS_OK)
        status = model_file_read(path, MODEL_CONFIG_FILE_MAX, error, &text, &len);
    if (status != STATUS_OK)
        return status;
    status = model_config_read(path, text, len, error, out);
    mem_free(text);
    return status;
}
