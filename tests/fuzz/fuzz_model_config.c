/* Any bytes as a config.json and a generation_config.json: refused with a sentence, or numbers that
 * hold what the header promises about them. */
#include "tests/fuzz/fuzz.h"

#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "model/config.h"

static void check_rope(const struct model_rope *rope, uint32_t head_dim)
{
    CHECK(rope->dim % 2 == 0 && rope->dim >= 2 && rope->dim <= head_dim);
    CHECK(rope->theta >= 1 && rope->attention_factor > 0);
    CHECK(rope->kind == MODEL_ROPE_LONGROPE || rope->factor >= 1);
}

static void check_config(const struct model_config *config)
{
    CHECK(config->hidden % 2 == 0 && config->hidden > 0 && config->vocab > 0);
    CHECK(config->n_layers >= 1 && config->n_layers <= MODEL_LAYERS_MAX);
    CHECK(config->n_heads % config->n_kv_heads == 0);
    CHECK(config->head_dim % 16 == 0 && config->head_dim <= OPS_HEAD_DIM_MAX);
    CHECK(config->n_eos <= MODEL_EOS_MAX && config->experts_top_k <= config->n_experts);
    CHECK(config->attention_scale > 0 && config->embed_scale >= 1);
    check_rope(&config->rope, config->head_dim);
    for (uint32_t i = 0; i < config->n_layers; i++) {
        CHECK(!config->layers[i].experts || config->expert_intermediate > 0);
        CHECK(config->layers[i].experts || config->intermediate > 0);
        if (config->layers[i].local_rope)
            check_rope(&config->rope_local, config->head_dim);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct model_error error = {""};
    struct model_generation generation;
    struct model_config config = {.family = MODEL_LLAMA};

    if (model_config_read("fuzz", (const char *)data, size, &error, &config) == STATUS_OK)
        check_config(&config);
    else
        CHECK(strlen(error.text) > 10);
    error.text[0] = '\0';
    if (model_generation_read("fuzz", (const char *)data, size, &config, &error, &generation) ==
        STATUS_OK)
        CHECK(generation.n_eos <= MODEL_EOS_MAX);
    else
        CHECK(strlen(error.text) > 10);
    CHECK(mem_live() == 0);
    return 0;
}
