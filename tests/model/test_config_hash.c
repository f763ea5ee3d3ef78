/* The hash of a config: every number that is computed with makes another one, and nothing else
 * does. Nodes whose hashes differ refuse each other, so both directions matter. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "model/model.h"
#include "tests/model/fixture.h"

#define JSON_MAX 1024u
#define LEN 128u

/* The shape of all cases, up to the family's own fields. */
#define SHAPE(family)                                                                              \
    "{\"model_type\":\"" family "\",\"vocab_size\":300,\"hidden_size\":64,"                        \
    "\"intermediate_size\":96,\"num_hidden_layers\":2,\"num_attention_heads\":4,"                  \
    "\"num_key_value_heads\":2,\"max_position_embeddings\":256,\"rms_norm_eps\":1e-06,"            \
    "\"rope_theta\":10000.0,\"tie_word_embeddings\":false"
#define HEADS ",\"head_dim\":16"
#define LLAMA SHAPE("llama") HEADS ",\"attention_bias\":false}"
#define LINEAR SHAPE("llama") ",\"rope_scaling\":{\"rope_type\":\"linear\",\"factor\":2}}"
#define LLAMA3                                                                                     \
    SHAPE("llama")                                                                                 \
    ",\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":8.0,\"low_freq_factor\":1.0,"          \
    "\"high_freq_factor\":4.0,\"original_max_position_embeddings\":64}}"
#define MISTRAL SHAPE("mistral") ",\"sliding_window\":32}"
#define GEMMA2                                                                                     \
    SHAPE("gemma2")                                                                                \
    HEADS ",\"sliding_window\":32,\"attn_logit_softcapping\":50.0,"                                \
          "\"final_logit_softcapping\":30.0,\"query_pre_attn_scalar\":16,"                         \
          "\"layer_types\":[\"sliding_attention\",\"full_attention\"]}"
#define GEMMA3                                                                                     \
    SHAPE("gemma3_text")                                                                           \
    HEADS ",\"sliding_window\":32,\"query_pre_attn_scalar\":16,\"rope_local_base_freq\":5000.0,"   \
          "\"layer_types\":[\"sliding_attention\",\"full_attention\"]}"
#define PHI3                                                                                       \
    SHAPE("phi3")                                                                                  \
    ",\"sliding_window\":null,\"original_max_position_embeddings\":64,\"rope_scaling\":"           \
    "{\"type\":\"longrope\",\"attention_factor\":1.25,"                                            \
    "\"short_factor\":[1.0,1.1,1.2,1.3,1.4,1.5,1.6,1.7],"                                          \
    "\"long_factor\":[2.0,2.1,2.2,2.3,2.4,2.5,2.6,2.7]}}"
#define PHI3_PLAIN SHAPE("phi3") ",\"sliding_window\":null,\"partial_rotary_factor\":1.0}"
#define MIXTURE                                                                                    \
    SHAPE("qwen3_moe")                                                                             \
    HEADS ",\"moe_intermediate_size\":32,\"num_experts\":4,\"num_experts_per_tok\":2,"             \
          "\"norm_topk_prob\":true,\"decoder_sparse_step\":1,\"mlp_only_layers\":[]}"

/* One change of a config's text. */
struct change {
    const char *json, *from, *to;
};

static uint64_t hash_of(const char *json, uint32_t len_max)
{
    struct fixture fixture;
    struct model_error error = {""};
    const struct model_open_args args = {
        .path = fixture.folder, .len_max = len_max, .n_threads = 1};
    struct model *model = NULL;
    uint64_t hash;

    fixture_make_model(&fixture, json, OP_BF16, 1, 0);
    if (model_open(&args, &error, &model) != STATUS_OK)
        fail_msg("%s", error.text);
    hash = model_config_hash(model);
    model_close(model);
    fixture_fini(&fixture);
    return hash;
}

static uint64_t changed_hash(const struct change *change, uint32_t len_max)
{
    char json[JSON_MAX];
    const char *at = strstr(change->json, change->from);

    assert_non_null(at);
    assert_null(strstr(at + 1, change->from));
    assert_true(strlen(change->json) + strlen(change->to) < JSON_MAX);
    (void)snprintf(json, sizeof(json), "%.*s%s%s", (int)(at - change->json), change->json,
                   change->to, at + strlen(change->from));
    return hash_of(json, len_max);
}

/* All that a config can change alone. What a head's size, a family or a hidden size changes
 * together with something else (embed_scale, act, post_norms, ...) is in test_pinned. */
static void test_what_is_computed(void **state)
{
    static const struct change changes[] = {
        {LLAMA, "\"vocab_size\":300", "\"vocab_size\":301"},
        {LLAMA, "\"hidden_size\":64", "\"hidden_size\":96"},
        {LLAMA, "\"intermediate_size\":96", "\"intermediate_size\":64"},
        {LLAMA, "\"num_hidden_layers\":2", "\"num_hidden_layers\":3"},
        {LLAMA, "\"num_attention_heads\":4", "\"num_attention_heads\":6"},
        {LLAMA, "\"num_key_value_heads\":2", "\"num_key_value_heads\":4"},
        {LLAMA, "\"head_dim\":16", "\"head_dim\":32"},
        {LLAMA, "\"rms_norm_eps\":1e-06", "\"rms_norm_eps\":1e-05"},
        {LLAMA, "\"rope_theta\":10000.0", "\"rope_theta\":10001.0"},
        {LLAMA, "\"tie_word_embeddings\":false", "\"tie_word_embeddings\":true"},
        {LLAMA, "\"attention_bias\":false", "\"attention_bias\":true"},
        /* Biases of q, k and v; then also of the output. */
        {LLAMA, "\"model_type\":\"llama\"", "\"model_type\":\"qwen2\""},
        {LLAMA, "\"model_type\":\"llama\"", "\"model_type\":\"qwen3\""}, /* norms of heads */
        {LINEAR, "\"factor\":2", "\"factor\":3"},
        {LLAMA3, "\"factor\":8.0", "\"factor\":4.0"},
        {LLAMA3, "\"low_freq_factor\":1.0", "\"low_freq_factor\":0.5"},
        {LLAMA3, "\"high_freq_factor\":4.0", "\"high_freq_factor\":3.0"},
        {LLAMA3, "embeddings\":64", "embeddings\":32"},
        {MISTRAL, "\"sliding_window\":32", "\"sliding_window\":33"},
        {MISTRAL, "\"sliding_window\":32", "\"sliding_window\":null"},
        {GEMMA2, "\"attn_logit_softcapping\":50.0", "\"attn_logit_softcapping\":49.0"},
        {GEMMA2, "\"attn_logit_softcapping\":50.0", "\"attn_logit_softcapping\":null"},
        {GEMMA2, "\"final_logit_softcapping\":30.0", "\"final_logit_softcapping\":29.0"},
        {GEMMA2, "\"query_pre_attn_scalar\":16", "\"query_pre_attn_scalar\":17"},
        {GEMMA2, "\"sliding_window\":32", "\"sliding_window\":33"},
        {GEMMA2, "[\"sliding_attention\",\"full_attention\"]",
         "[\"full_attention\",\"sliding_attention\"]"},
        {GEMMA3, "\"rope_theta\":10000.0", "\"rope_theta\":10001.0"},
        {GEMMA3, "\"rope_local_base_freq\":5000.0", "\"rope_local_base_freq\":5001.0"},
        {GEMMA3, "[\"sliding_attention\",\"full_attention\"]",
         "[\"full_attention\",\"sliding_attention\"]"},
        {PHI3, "\"attention_factor\":1.25", "\"attention_factor\":1.5"},
        {PHI3, "\"long_factor\":[2.0", "\"long_factor\":[1.9"},
        {PHI3, "2.7]", "2.8]"},
        {PHI3_PLAIN, "\"partial_rotary_factor\":1.0", "\"partial_rotary_factor\":0.5"},
        {MIXTURE, "\"num_experts\":4", "\"num_experts\":3"},
        {MIXTURE, "\"num_experts_per_tok\":2", "\"num_experts_per_tok\":3"},
        {MIXTURE, "\"moe_intermediate_size\":32", "\"moe_intermediate_size\":64"},
        {MIXTURE, "\"norm_topk_prob\":true", "\"norm_topk_prob\":false"},
        {MIXTURE, "\"decoder_sparse_step\":1", "\"decoder_sparse_step\":2"},
        {MIXTURE, "\"mlp_only_layers\":[]", "\"mlp_only_layers\":[1]"},
    };
    static const char qwen2[] = SHAPE("qwen2") HEADS "}";

    (void)state;
    for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++)
        if (changed_hash(&changes[i], LEN) == hash_of(changes[i].json, LEN))
            fail_msg("%s instead of %s is the same hash", changes[i].to, changes[i].from);
    assert_true(
        hash_of(qwen2, LEN) !=
        changed_hash(&(struct change){LLAMA, "\"attention_bias\":false", "\"attention_bias\":true"},
                     LEN));
}

/* Names, limits and ids that change no number. */
static void test_what_is_not(void **state)
{
    static const struct change changes[] = {
        {LLAMA, "\"model_type\":\"llama\"", "\"model_type\":\"llama\",\"torch_dtype\":\"float16\""},
        {LLAMA, "\"model_type\":\"llama\"", "\"model_type\":\"llama\",\"attention_dropout\":0.5"},
        {LLAMA, "\"model_type\":\"llama\"", "\"model_type\":\"llama\",\"eos_token_id\":7"},
        {LLAMA, "\"max_position_embeddings\":256", "\"max_position_embeddings\":512"},
        {LLAMA, "\"attention_bias\":false",
         "\"rope_scaling\":{\"rope_type\":\"linear\",\"factor\":1}"},
        {PHI3, "\"short_factor\":[1.0", "\"short_factor\":[0.9"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++)
        if (changed_hash(&changes[i], LEN) != hash_of(changes[i].json, LEN))
            fail_msg("%s instead of %s is another hash", changes[i].to, changes[i].from);
    assert_true(hash_of(LLAMA, 64) == hash_of(LLAMA, 256));
    assert_true(hash_of(SHAPE("mistral") ",\"sliding_window\":null}", LEN) == hash_of(LLAMA, LEN));
}

/* A long rope's table is chosen by the longest sequence, and only that one counts. */
static void test_long_rope(void **state)
{
    static const struct change short_factor = {PHI3, "\"short_factor\":[1.0",
                                               "\"short_factor\":[0.9"},
                               long_factor = {PHI3, "2.7]", "2.8]"};
    const uint64_t shorter = hash_of(PHI3, 64), longer = hash_of(PHI3, 65);

    (void)state;
    assert_true(shorter != longer);
    assert_true(hash_of(PHI3, 32) == shorter && hash_of(PHI3, 256) == longer);
    assert_true(changed_hash(&short_factor, 64) != shorter);
    assert_true(changed_hash(&short_factor, 65) == longer);
    assert_true(changed_hash(&long_factor, 64) == shorter);
    assert_true(changed_hash(&long_factor, 65) != longer);
}

/* Two releases that compute the same must find each other: what is hashed changes knowingly. These
 * two also stand for numbers that no config changes alone. */
static void test_pinned(void **state)
{
    const uint64_t gemma = hash_of(GEMMA3, LEN), mixture = hash_of(MIXTURE, LEN);

    (void)state;
    if (gemma != UINT64_C(0x72893b1eb0918464) || mixture != UINT64_C(0xe425cf54690ffe60))
        fail_msg("%#" PRIx64 " and %#" PRIx64, gemma, mixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_computed),
        cmocka_unit_test(test_what_is_not),
        cmocka_unit_test(test_long_rope),
        cmocka_unit_test(test_pinned),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
