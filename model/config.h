/* A checkpoint's config.json as plain numbers and flags. Nine families of Hugging Face's
 * architectures are read; what their configuration classes (transformers 4.57 and 5) leave to a
 * default has the same default here, for each family. The numbers say what is computed:
 * model/forward.c looks at them and never at the family.
 *
 * Nothing is guessed: an architecture, field, value or quantisation that is not known is an error
 * that names it, what was found and what is supported. Fields that change nothing in inference
 * (dropout, initialisation, versions) stand in a table and are skipped. Any thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "kernels/ops.h"
#include "model/model_error.h"

#define MODEL_CONFIG_FILE_MAX ((size_t)256 << 10) /* a tree of it takes up to 100 times as much */
#define MODEL_LAYERS_MAX 256u
#define MODEL_EOS_MAX 16u
#define MODEL_ROPE_PAIRS_MAX (OPS_HEAD_DIM_MAX / 2)

/* X(NAME, model_type, architecture) */
#define MODEL_FAMILY_TABLE(X)                                                                      \
    X(LLAMA, "llama", "LlamaForCausalLM")                                                          \
    X(MISTRAL, "mistral", "MistralForCausalLM")                                                    \
    X(QWEN2, "qwen2", "Qwen2ForCausalLM")                                                          \
    X(QWEN3, "qwen3", "Qwen3ForCausalLM")                                                          \
    X(GEMMA2, "gemma2", "Gemma2ForCausalLM")                                                       \
    X(GEMMA3, "gemma3_text", "Gemma3ForCausalLM")                                                  \
    X(PHI3, "phi3", "Phi3ForCausalLM")                                                             \
    X(MIXTRAL, "mixtral", "MixtralForCausalLM")                                                    \
    X(QWEN3_MOE, "qwen3_moe", "Qwen3MoeForCausalLM")

enum model_family {
#define X(name, model_type, architecture) MODEL_##name,
    MODEL_FAMILY_TABLE(X)
#undef X
        MODEL_N_FAMILIES
};

enum model_rope_kind {
    MODEL_ROPE_PLAIN,
    MODEL_ROPE_LINEAR,  /* frequencies divided by `factor` */
    MODEL_ROPE_LLAMA3,  /* long wavelengths divided by `factor`, a ramp between low and high */
    MODEL_ROPE_LONGROPE /* each frequency divided by its own factor */
};

struct model_rope {
    enum model_rope_kind kind;
    uint32_t dim;                /* of a head's dimensions, from the first on; even */
    double theta;                /* base of the frequencies */
    double factor;               /* 1 for plain; longrope: positions_max over original_positions */
    double low_freq_factor;      /* llama3 */
    double high_freq_factor;     /* llama3, above the low one */
    uint32_t original_positions; /* llama3, longrope: of the training before the scaling */
    /* Sines and cosines are multiplied by this. Longrope, where the file does not say: 1 if factor
     * is at most 1, else sqrt(1 + ln(factor) / ln(original_positions)). 1 for other kinds. */
    double attention_factor;
    /* [dim / 2], longrope: divisors of the frequencies for sequences of up to original_positions
     * tokens, and for longer ones. */
    float short_factors[MODEL_ROPE_PAIRS_MAX], long_factors[MODEL_ROPE_PAIRS_MAX];
};

struct model_layer {
    uint32_t window; /* tokens that attention sees, the row's own included; 0: all before it */
    bool local_rope; /* rope_local instead of rope (Gemma 3's sliding layers) */
    bool experts;    /* a mixture instead of one MLP */
};

struct model_config {
    enum model_family family; /* for names of tensors; computing does not ask for it */
    enum op_dtype dtype;      /* what the file says the weights are; fp32 if it says nothing */

    uint32_t vocab;        /* rows of the embedding */
    uint32_t hidden;       /* even */
    uint32_t intermediate; /* columns of a layer's one MLP (Mixtral: 0) */
    uint32_t n_layers;
    uint32_t n_heads;
    uint32_t n_kv_heads;    /* divides n_heads */
    uint32_t head_dim;      /* a multiple of 16, at most OPS_HEAD_DIM_MAX */
    uint32_t positions_max; /* the longest sequence the model was made for */

    bool tied;          /* the head is the embedding */
    bool qkv_bias;      /* q, k and v have a bias */
    bool out_bias;      /* so has the projection after attention */
    bool fused_names;   /* qkv_proj and gate_up_proj on disk (Phi-3) */
    bool qk_norm;       /* each head of q and k is normed before rope */
    bool norm_adds_one; /* a norm multiplies by 1 + weight (Gemma), not by weight */
    bool post_norms;    /* also a norm after attention and after the MLP, before the residual */
    double norm_eps;
    enum op_act act; /* OP_ACT_SILU_MUL or OP_ACT_GELU_TANH_MUL */

    /* The embedding's rows are multiplied by this: 1, or sqrt(hidden) (Gemma), which the reference
     * rounds to the type of the activations first. */
    double embed_scale;
    double attention_scale;   /* of q·k: 1 / sqrt(head_dim), or of query_pre_attn_scalar */
    double attention_softcap; /* c * tanh(x / c) on scaled scores; 0: none */
    double final_softcap;     /* the same on logits; 0: none */

    struct model_rope rope;
    struct model_rope rope_local; /* of layers with local_rope */

    uint32_t n_experts;           /* 0: no layer has any */
    uint32_t experts_top_k;       /* at most OPS_TOP_K_MAX */
    uint32_t expert_intermediate; /* columns of each expert's MLP */
    bool experts_renormalise;     /* weights of the chosen ones sum to 1 */

    uint32_t bos; /* UINT32_MAX: none */
    uint32_t n_eos;
    uint32_t eos[MODEL_EOS_MAX]; /* [n_eos], of config.json; generation_config.json has the last
                                    word */

    struct model_layer layers[MODEL_LAYERS_MAX]; /* [n_layers] */
};

/* What generation_config.json sets; neutral values where it is silent. */
struct model_generation {
    uint32_t n_eos;
    uint32_t eos[MODEL_EOS_MAX]; /* [n_eos] */
    double temperature;          /* 1 */
    double top_p;                /* 1 */
    double min_p;                /* 0 */
    double repetition_penalty;   /* 1 */
    uint32_t top_k;              /* 0: all */
    bool do_sample;              /* as the file says; false if it is silent, */
    bool do_sample_given;        /* which this tells apart */
};

/* Reads a config.json, or the one in a folder. NOT_FOUND, IO, TOO_BIG, MALFORMED (no such JSON, or
 * a value that no model can have), UNSUPPORTED (a model that we do not compute); `error` is filled
 * on each and may be NULL. */
enum status model_config_open(const char *path, struct model_error *error,
                              struct model_config *out);

/* The same from memory; `name` stands in sentences. */
enum status model_config_read(const char *name, const char *json, size_t len,
                              struct model_error *error, struct model_config *out);

/* Reads a folder's generation_config.json. A folder without one gives neutral values and the end
 * tokens of `config`; so does a file without end tokens. Fields not listed above are skipped: they
 * belong to the reference's generate(), not to the model. */
enum status model_generation_open(const char *folder, const struct model_config *config,
                                  struct model_error *error, struct model_generation *out);
enum status model_generation_read(const char *name, const char *json, size_t len,
                                  const struct model_config *config, struct model_error *error,
                                  struct model_generation *out);

/* Folds the end ids into a hash of the config: nodes that would end a stream at different places
 * must not work together. Their order does not matter. */
uint64_t model_generation_hash(const struct model_generation *generation, uint64_t config_hash);

/* "llama", ...: the model_type. */
const char *model_family_name(enum model_family family);
