/* Reads the fields of a config.json by a table. A row says for which families the field exists;
 * a field that is in no row for the file's family is an error, because a reader that skips what it
 * does not know computes another model than the one that was trained. Any thread. */
#include "model/config_fields.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"

#define FOUND_MAX 72u /* bytes of a value shown in a sentence */

#define F(name) (1u << MODEL_##name)
#define ALL ((1u << MODEL_N_FAMILIES) - 1)
#define QWENS (F(QWEN2) | F(QWEN3) | F(QWEN3_MOE))
#define GEMMAS (F(GEMMA2) | F(GEMMA3))
#define MIXTURES (F(MIXTRAL) | F(QWEN3_MOE))

enum kind {
    KIND_COUNT,       /* whole number in [min, max] */
    KIND_COUNT_NULL,  /* the same, or null: 0 */
    KIND_NUMBER,      /* number in [min, max] */
    KIND_NUMBER_NULL, /* the same, or null: 0 */
    KIND_BOOL,
    KIND_OFF,   /* must be false, null or 0: what it would switch on is not computed */
    KIND_ONE,   /* must be 1 */
    KIND_SILU,  /* must be this activation */
    KIND_GELU,  /* likewise */
    KIND_SKIP,  /* means nothing for inference */
    KIND_LATER, /* read elsewhere */
};

struct field {
    const char *name;
    uint32_t families;
    enum kind kind;
    size_t at; /* in struct config_raw */
    double min, max;
};

#define AT(member) offsetof(struct config_raw, member)
#define N_MAX 1048576.0

static const struct field fields[] = {
    {"vocab_size", ALL, KIND_COUNT, AT(vocab), 1, OPS_VOCAB_MAX},
    {"hidden_size", ALL, KIND_COUNT, AT(hidden), 2, 65536},
    {"intermediate_size", ALL, KIND_COUNT, AT(intermediate), 1, N_MAX},
    {"num_hidden_layers", ALL, KIND_COUNT, AT(n_layers), 1, MODEL_LAYERS_MAX},
    {"num_attention_heads", ALL, KIND_COUNT, AT(n_heads), 1, 1024},
    {"num_key_value_heads", ALL, KIND_COUNT_NULL, AT(n_kv_heads), 1, 1024},
    {"head_dim", ALL & ~F(PHI3), KIND_COUNT_NULL, AT(head_dim), 1, OPS_HEAD_DIM_MAX},
    {"max_position_embeddings", ALL, KIND_COUNT, AT(positions_max), 1, OPS_POSITIONS_MAX},
    {"rms_norm_eps", ALL, KIND_NUMBER, AT(norm_eps), 0, 1},
    {"tie_word_embeddings", ALL, KIND_BOOL, AT(tied), 0, 0},
    {"rope_theta", ALL, KIND_NUMBER, AT(rope_theta), 1, 1e12},
    {"hidden_act", ALL & ~GEMMAS, KIND_SILU, 0, 0, 0},
    {"hidden_activation", GEMMAS, KIND_GELU, 0, 0, 0},
    {"hidden_act", GEMMAS, KIND_SKIP, 0, 0, 0}, /* hidden_activation decides */

    {"attention_bias", F(LLAMA) | F(QWEN3) | F(QWEN3_MOE) | GEMMAS, KIND_BOOL, AT(attention_bias),
     0, 0},
    {"attention_bias", F(MISTRAL) | F(MIXTRAL) | F(PHI3), KIND_OFF, 0, 0, 0},
    {"attention_bias", F(QWEN2), KIND_SKIP, 0, 0, 0}, /* q, k and v have one, o has none */
    {"mlp_bias", F(LLAMA) | F(MISTRAL) | F(PHI3), KIND_OFF, 0, 0, 0},
    {"lm_head_bias", F(PHI3), KIND_OFF, 0, 0, 0},
    {"full_attn_mod", F(PHI3), KIND_ONE, 0, 0, 0},
    {"interpolate_factor", F(PHI3), KIND_ONE, 0, 0, 0},

    {"sliding_window", ALL & ~F(LLAMA), KIND_COUNT_NULL, AT(window), 1, 4294967295.0},
    {"sliding_window", F(LLAMA), KIND_OFF, 0, 0, 0},
    {"use_sliding_window", QWENS, KIND_BOOL, AT(use_window), 0, 0},
    {"max_window_layers", QWENS, KIND_COUNT, AT(max_window_layers), 0, N_MAX},
    {"sliding_window_pattern", F(GEMMA3), KIND_COUNT, AT(window_pattern), 1, N_MAX},
    {"_sliding_window_pattern", F(GEMMA3), KIND_SKIP, 0, 0, 0}, /* layer_types says it too */
    {"layer_types", F(QWEN2) | F(QWEN3) | GEMMAS, KIND_LATER, 0, 0, 0},
    {"use_bidirectional_attention", GEMMAS, KIND_OFF, 0, 0, 0},
    {"use_mrope", QWENS, KIND_OFF, 0, 0, 0},

    {"attn_logit_softcapping", GEMMAS, KIND_NUMBER_NULL, AT(attention_softcap), 1e-3, 1e6},
    {"final_logit_softcapping", GEMMAS, KIND_NUMBER_NULL, AT(final_softcap), 1e-3, 1e6},
    {"query_pre_attn_scalar", GEMMAS, KIND_NUMBER, AT(query_scalar), 1e-6, 1e6},
    {"rope_local_base_freq", F(GEMMA3), KIND_NUMBER, AT(rope_local_theta), 1, 1e12},

    {"partial_rotary_factor", F(PHI3), KIND_NUMBER, AT(partial_rotary), 0.01, 1},
    {"partial_rotary_factor", ALL & ~F(PHI3), KIND_ONE, 0, 0, 0},
    {"original_max_position_embeddings", F(PHI3), KIND_COUNT, AT(original_positions), 2,
     OPS_POSITIONS_MAX},
    {"rope_scaling", ALL, KIND_LATER, 0, 0, 0},
    {"rope_parameters", ALL, KIND_LATER, 0, 0, 0},

    {"num_local_experts", MIXTURES, KIND_COUNT, AT(n_experts), 1, OPS_EXPERTS_MAX},
    {"num_experts", MIXTURES, KIND_COUNT, AT(n_experts), 1, OPS_EXPERTS_MAX},
    {"num_experts_per_tok", MIXTURES, KIND_COUNT, AT(top_k), 1, OPS_TOP_K_MAX},
    {"moe_intermediate_size", F(QWEN3_MOE), KIND_COUNT, AT(expert_intermediate), 1, N_MAX},
    {"norm_topk_prob", F(QWEN3_MOE), KIND_BOOL, AT(renormalise), 0, 0},
    {"decoder_sparse_step", F(QWEN3_MOE), KIND_COUNT, AT(sparse_step), 1, N_MAX},
    {"mlp_only_layers", F(QWEN3_MOE), KIND_LATER, 0, 0, 0},

    {"architectures", ALL, KIND_LATER, 0, 0, 0},
    {"model_type", ALL, KIND_LATER, 0, 0, 0},
    {"torch_dtype", ALL, KIND_LATER, 0, 0, 0},
    {"dtype", ALL, KIND_LATER, 0, 0, 0},
    {"bos_token_id", ALL, KIND_LATER, 0, 0, 0},
    {"eos_token_id", ALL, KIND_LATER, 0, 0, 0},
    {"quantization_config", ALL, KIND_LATER, 0, 0, 0},
    {"compression_config", ALL, KIND_OFF, 0, 0, 0},

    /* These would make another model of it. */
    {"is_encoder_decoder", ALL, KIND_OFF, 0, 0, 0},
    {"add_cross_attention", ALL, KIND_OFF, 0, 0, 0},
    {"cross_attention_hidden_size", ALL, KIND_OFF, 0, 0, 0},
    {"tie_encoder_decoder", ALL, KIND_OFF, 0, 0, 0},
    {"pruned_heads", ALL, KIND_OFF, 0, 0, 0},
    {"num_nextn_predict_layers", ALL, KIND_OFF, 0, 0, 0},
};

/* What training, other programs and older versions leave behind. */
static const char *const skipped[] = {
    "_attn_implementation",
    "_attn_implementation_autoset",
    "_name_or_path",
    "attention_dropout",
    "attn_implementation",
    "auto_map",
    "bad_words_ids",
    "begin_suppress_tokens",
    "bos_token",
    "cache_implementation",
    "chunk_size_feed_forward",
    "decoder_start_token_id",
    "diversity_penalty",
    "do_sample",
    "early_stopping",
    "embd_pdrop",
    "encoder_no_repeat_ngram_size",
    "eos_token",
    "exponential_decay_length_penalty",
    "finetuning_task",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "hidden_dropout",
    "id2label",
    "initializer_range",
    "is_decoder",
    "label2id",
    "length_penalty",
    "max_length",
    "min_length",
    "no_repeat_ngram_size",
    "num_beam_groups",
    "num_beams",
    "num_return_sequences",
    "output_attentions",
    "output_hidden_states",
    "output_router_logits",
    "output_scores",
    "pad_token_id",
    "prefix",
    "pretraining_tp",
    "problem_type",
    "remove_invalid_values",
    "repetition_penalty",
    "resid_pdrop",
    "return_dict",
    "return_dict_in_generate",
    "router_aux_loss_coef",
    "router_jitter_noise",
    "sep_token_id",
    "sliding_window_size",
    "suppress_tokens",
    "task_specific_params",
    "temperature",
    "tf_legacy_loss",
    "tokenizer_class",
    "top_k",
    "top_p",
    "torchscript",
    "transformers_version",
    "typical_p",
    "unsloth_fixed",
    "unsloth_version",
    "use_bfloat16",
    "use_cache",
};

enum status config_bad(const struct config_reader *r, enum status status, const char *field,
                       const json_t *found, const char *fmt, ...)
{
    char value[FOUND_MAX + 4], expected[256];
    size_t len = json_dumpb(found, value, FOUND_MAX, JSON_ENCODE_ANY | JSON_COMPACT);
    va_list args;

    value[len < FOUND_MAX ? len : FOUND_MAX] = '\0';
    if (len > FOUND_MAX)
        strcat(value, "...");
    va_start(args, fmt);
    vsnprintf(expected, sizeof(expected), fmt, args);
    va_end(args);
    return model_fail(r->error, status, "%.200s: %.80s is %s; %s", r->path, field,
                      found == NULL ? "absent" : value, expected);
}

enum status config_u32(const struct config_reader *r, const char *field, const json_t *value,
                       uint32_t min, uint32_t max, uint32_t *out)
{
    if (!json_is_integer(value) || json_integer_value(value) < (json_int_t)min ||
        json_integer_value(value) > (json_int_t)max)
        return config_bad(r, STATUS_MALFORMED, field, value,
                          "a whole number from %u to %u is expected", min, max);
    *out = (uint32_t)json_integer_value(value);
    return STATUS_OK;
}

enum status config_number(const struct config_reader *r, const char *field, const json_t *value,
                          double min, double max, double *out)
{
    double number = json_number_value(value);

    if (!json_is_number(value) || !(number >= min && number <= max))
        return config_bad(r, STATUS_MALFORMED, field, value, "a number from %g to %g is expected",
                          min, max);
    *out = number;
    return STATUS_OK;
}

enum status config_ids(const struct config_reader *r, const char *field, const json_t *value,
                       uint32_t *ids, uint32_t *n)
{
    uint32_t read[MODEL_EOS_MAX];
    size_t count = json_is_array(value) ? json_array_size(value) : 1;

    if (value == NULL || json_is_null(value))
        count = 0;
    if (count > MODEL_EOS_MAX)
        return config_bad(r, STATUS_TOO_BIG, field, value, "at most %u ids are expected",
                          MODEL_EOS_MAX);
    for (size_t i = 0; i < count; i++) {
        enum status status =
            config_u32(r, field, json_is_array(value) ? json_array_get(value, i) : value, 0,
                       OPS_VOCAB_MAX - 1, &read[i]);

        if (status != STATUS_OK)
            return status;
    }
    if (count > 0)
        memcpy(ids, read, count * sizeof(*ids));
    *n = (uint32_t)count;
    return STATUS_OK;
}

enum status config_parse(const char *path, const char *text, size_t len, struct model_error *error,
                         json_t **out)
{
    json_error_t why;
    json_t *root;

    if (len > MODEL_CONFIG_FILE_MAX)
        return model_fail(error, STATUS_TOO_BIG, "%.200s: has %zu bytes; at most %zu are read",
                          path, len, MODEL_CONFIG_FILE_MAX);
    root = json_loadb(text, len, JSON_REJECT_DUPLICATES, &why);
    if (root == NULL)
        return model_fail(error, STATUS_MALFORMED, "%.200s: line %d: %s", path, why.line, why.text);
    if (!json_is_object(root)) {
        json_decref(root);
        return model_fail(error, STATUS_MALFORMED, "%.200s: is no JSON object", path);
    }
    *out = root;
    return STATUS_OK;
}

/* --- defaults --- */

/* The largest common part; each family's own follows. A shape has none: see config_fields_read. */
static const struct config_raw first_defaults = {
    .positions_max = 131072,
    .norm_eps = 1e-6,
    .rope_theta = 10000,
    .partial_rotary = 1,
};

static void defaults_qwen(enum model_family family, struct config_raw *raw)
{
    raw->n_kv_heads = 32;
    raw->positions_max = 32768;
    raw->window = 4096;
    raw->max_window_layers = 28;
    if (family == MODEL_QWEN3)
        raw->head_dim = 128;
    if (family == MODEL_QWEN3_MOE) {
        raw->n_kv_heads = 4;
        raw->n_experts = 128;
        raw->top_k = 8;
        raw->expert_intermediate = 768;
        raw->sparse_step = 1;
    }
}

static void defaults_gemma(enum model_family family, struct config_raw *raw)
{
    raw->n_kv_heads = 4;
    raw->head_dim = 256;
    raw->positions_max = family == MODEL_GEMMA3 ? 131072 : 8192;
    raw->tied = true;
    raw->query_scalar = 256;
    raw->window = 4096;
    raw->window_pattern = family == MODEL_GEMMA3 ? 6 : 2;
    raw->rope_local_theta = 10000;
    if (family == MODEL_GEMMA3) {
        raw->rope_theta = 1e6;
    } else {
        raw->attention_softcap = 50;
        raw->final_softcap = 30;
    }
}

static void defaults(enum model_family family, struct config_raw *raw)
{
    *raw = first_defaults;
    switch (family) {
    case MODEL_LLAMA:
        raw->positions_max = 2048;
        break;
    case MODEL_MISTRAL:
        raw->n_kv_heads = 8;
        raw->window = 4096;
        break;
    case MODEL_MIXTRAL:
        raw->n_kv_heads = 8;
        raw->norm_eps = 1e-5;
        raw->rope_theta = 1e6;
        raw->n_experts = 8;
        raw->top_k = 2;
        raw->renormalise = true;
        break;
    case MODEL_PHI3:
        raw->positions_max = raw->original_positions = 4096;
        raw->norm_eps = 1e-5;
        break;
    case MODEL_QWEN2:
    case MODEL_QWEN3:
    case MODEL_QWEN3_MOE:
        defaults_qwen(family, raw);
        break;
    case MODEL_GEMMA2:
    case MODEL_GEMMA3:
        defaults_gemma(family, raw);
        break;
    case MODEL_N_FAMILIES:
        CHECK(false);
    }
}

/* --- the file --- */

static bool is_off(const json_t *value)
{
    return json_is_null(value) || json_is_false(value) ||
           (json_is_number(value) && json_number_value(value) == 0) ||
           (json_is_object(value) && json_object_size(value) == 0);
}

static enum status read_act(const struct config_reader *r, const struct field *field,
                            const json_t *value)
{
    const char *wanted = field->kind == KIND_SILU ? "silu" : "gelu_pytorch_tanh";

    if (json_is_string(value) && strcmp(json_string_value(value), wanted) == 0)
        return STATUS_OK;
    return config_bad(r, STATUS_UNSUPPORTED, field->name, value, "supported is \"%s\"", wanted);
}

static enum status read_field(const struct config_reader *r, const struct field *field,
                              const json_t *value, struct config_raw *raw)
{
    char *at = (char *)raw + field->at;

    switch (field->kind) {
    case KIND_COUNT_NULL:
        if (json_is_null(value)) {
            *(uint32_t *)(void *)at = 0;
            return STATUS_OK;
        }
        /* fall through */
    case KIND_COUNT:
        return config_u32(r, field->name, value, (uint32_t)field->min, (uint32_t)field->max,
                          (uint32_t *)(void *)at);
    case KIND_NUMBER_NULL:
        if (json_is_null(value)) {
            *(double *)(void *)at = 0;
            return STATUS_OK;
        }
        /* fall through */
    case KIND_NUMBER:
        return config_number(r, field->name, value, field->min, field->max, (double *)(void *)at);
    case KIND_BOOL:
        if (!json_is_boolean(value))
            return config_bad(r, STATUS_MALFORMED, field->name, value, "true or false is expected");
        *(bool *)at = json_is_true(value);
        return STATUS_OK;
    case KIND_OFF:
        return is_off(value) ? STATUS_OK
                             : config_bad(r, STATUS_UNSUPPORTED, field->name, value,
                                          "what it switches on is not supported for %s",
                                          model_family_name(r->family));
    case KIND_ONE:
        return json_is_number(value) && json_number_value(value) == 1
                   ? STATUS_OK
                   : config_bad(r, STATUS_UNSUPPORTED, field->name, value,
                                "only 1 is supported for %s", model_family_name(r->family));
    case KIND_SILU:
    case KIND_GELU:
        return read_act(r, field, value);
    case KIND_SKIP:
    case KIND_LATER:
        break;
    }
    return STATUS_OK;
}

static bool is_skipped(const char *name)
{
    for (size_t i = 0; i < sizeof(skipped) / sizeof(skipped[0]); i++)
        if (strcmp(name, skipped[i]) == 0)
            return true;
    return false;
}

/* The classes of the reference have defaults for these too, but whoever saves a model writes them:
 * a file without one is broken, and a guess would only fail later, at some tensor. */
static enum status check_shape(const struct config_reader *r)
{
    static const char *const names[] = {"vocab_size", "hidden_size", "intermediate_size",
                                        "num_hidden_layers", "num_attention_heads"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (json_object_get(r->root, names[i]) == NULL)
            return model_fail(r->error, STATUS_MALFORMED,
                              "%.200s: %s is missing, and the model's shape is not guessed: is "
                              "this the whole config.json of the checkpoint?",
                              r->path, names[i]);
    return STATUS_OK;
}

enum status config_fields_read(const struct config_reader *r, struct config_raw *raw)
{
    struct config_raw result;
    const char *name;
    json_t *value;

    defaults(r->family, &result);
    json_object_foreach((json_t *)(uintptr_t)r->root, name, value)
    {
        const struct field *found = NULL;
        enum status status;

        for (size_t i = 0; found == NULL && i < sizeof(fields) / sizeof(fields[0]); i++)
            if ((fields[i].families & 1u << r->family) != 0 && strcmp(name, fields[i].name) == 0)
                found = &fields[i];
        if (found == NULL && is_skipped(name))
            continue;
        if (found == NULL)
            return config_bad(r, STATUS_UNSUPPORTED, name, value,
                              "%s has no such field that Baton knows, and what it means is not "
                              "guessed",
                              model_family_name(r->family));
        status = read_field(r, found, value, &result);
        if (status != STATUS_OK)
            return status;
    }
    if (check_shape(r) != STATUS_OK)
        return STATUS_MALFORMED;
    *raw = result;
    return STATUS_OK;
}
