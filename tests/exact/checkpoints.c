/* See checkpoints.h. */
#include "tests/exact/checkpoints.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "model/make_model.h"

#define SEED 20261120u

static const struct {
    const char *name, *config;
    double deviation;
} kinds[EXACT_N_KINDS] = {
    {"demo",
     "{\"architectures\":[\"LlamaForCausalLM\"],\"model_type\":\"llama\",\"hidden_size\":256,"
     "\"intermediate_size\":704,\"num_hidden_layers\":6,\"num_attention_heads\":8,"
     "\"num_key_value_heads\":4,\"head_dim\":32,\"vocab_size\":4096,"
     "\"max_position_embeddings\":1024,\"rope_theta\":10000.0,\"rms_norm_eps\":1e-5,"
     "\"tie_word_embeddings\":true,\"torch_dtype\":\"bfloat16\"}",
     0.09},
    {"moe",
     "{\"architectures\":[\"Qwen3MoeForCausalLM\"],\"model_type\":\"qwen3_moe\","
     "\"hidden_size\":128,\"intermediate_size\":256,\"moe_intermediate_size\":96,"
     "\"num_experts\":16,\"num_experts_per_tok\":4,\"norm_topk_prob\":true,"
     "\"decoder_sparse_step\":1,\"mlp_only_layers\":[],\"num_hidden_layers\":4,"
     "\"num_attention_heads\":8,\"num_key_value_heads\":2,\"head_dim\":32,\"vocab_size\":512,"
     "\"max_position_embeddings\":1024,\"rope_theta\":10000.0,\"rms_norm_eps\":1e-6,"
     "\"tie_word_embeddings\":false,\"torch_dtype\":\"bfloat16\"}",
     0.15},
    {"gemma",
     "{\"architectures\":[\"Gemma2ForCausalLM\"],\"model_type\":\"gemma2\",\"hidden_size\":96,"
     "\"intermediate_size\":192,\"num_hidden_layers\":4,\"num_attention_heads\":4,"
     "\"num_key_value_heads\":2,\"head_dim\":32,\"vocab_size\":320,\"sliding_window\":48,"
     "\"attn_logit_softcapping\":5.0,\"final_logit_softcapping\":4.0,"
     "\"query_pre_attn_scalar\":16,\"max_position_embeddings\":1024,\"torch_dtype\":\"bfloat16\"}",
     0.15},
};

static void make(struct checkpoints *checkpoints, enum exact_kind kind)
{
    struct fixture source;
    struct model_error error;
    struct make_model_result result;
    struct make_model_args args = {.seed = SEED + kind, .deviation = kinds[kind].deviation};
    char config[128];

    fixture_init(&source);
    fixture_write_text(&source, "config.json", kinds[kind].config);
    (void)snprintf(config, sizeof(config), "%s/config.json", source.folder);
    args.config = config;
    args.out = checkpoints->made[kind].folder;
    if (make_model(&args, &error, &result) != STATUS_OK)
        CHECK_MSG(false, error.text);
    fixture_fini(&source);
    checkpoints->path[kind] = checkpoints->made[kind].folder;
}

void checkpoints_init(struct checkpoints *checkpoints, bool only_random)
{
    const char *root = getenv("BATON_ROOT");
    char file[sizeof(checkpoints->demo) + 32];

    memset(checkpoints, 0, sizeof(*checkpoints));
    checkpoints->n_tables = (uint32_t)device_tables(checkpoints->tables, EXACT_TABLES_MAX);
    CHECK(checkpoints->n_tables > 0);
    (void)snprintf(checkpoints->demo, sizeof(checkpoints->demo), "%s/model/demo",
                   root != NULL ? root : ".");
    (void)snprintf(file, sizeof(file), "%s/model.safetensors", checkpoints->demo);
    if (!only_random && access(file, R_OK) == 0)
        checkpoints->path[EXACT_DEMO] = checkpoints->demo;
    for (uint32_t kind = 0; kind < EXACT_N_KINDS; kind++) {
        fixture_init(&checkpoints->made[kind]);
        if (checkpoints->path[kind] == NULL)
            make(checkpoints, kind);
    }
}

void checkpoints_fini(struct checkpoints *checkpoints)
{
    for (uint32_t kind = 0; kind < EXACT_N_KINDS; kind++)
        fixture_fini(&checkpoints->made[kind]);
}

enum exact_kind setup_choose_kind(struct rand *rng, bool small)
{
    return (enum exact_kind)rand_between(rng, small ? EXACT_MOE : EXACT_DEMO, EXACT_N_KINDS - 1);
}

struct model *setup_open(const struct checkpoints *checkpoints, const struct setup *setup)
{
    const struct model_open_args args = {
        .path = checkpoints->path[setup->kind],
        .dtype = setup->dtype,
        .table = setup->table,
        .n_threads = setup->n_threads,
    };
    struct model_error error;
    struct model *model = NULL;

    if (model_open(&args, &error, &model) != STATUS_OK)
        CHECK_MSG(false, error.text);
    return model;
}

void setup_choose(const struct checkpoints *checkpoints, struct rand *rng, struct setup *setup)
{
    const uint32_t n = checkpoints->n_tables;
    uint32_t table = n - 1;

    if (rand_chance(rng, 1, 12))
        table = 0;
    else if (n > 2 && rand_chance(rng, 1, 2))
        table = 1 + (uint32_t)rand_below(rng, n - 2);
    setup->table = checkpoints->tables[table];
    /* Several threads wait for each other at each op, long where the machine is busy. */
    setup->n_threads =
        rand_chance(rng, 1, 2) ? 1 : (uint32_t)rand_between(rng, 2, EXACT_THREADS_MAX);
}

bool setup_is_slow(const struct setup *setup)
{
    return strcmp(setup->table, "scalar") == 0;
}

void setup_print(const struct setup *setup, char text[80])
{
    (void)snprintf(text, 80, "%s %s %s %u threads", kinds[setup->kind].name,
                   setup->dtype == OP_F32 ? "f32" : "bf16", setup->table, setup->n_threads);
}
