/* config.json of every family: what the numbers become, the classes' defaults, what is refused and
 * with which sentence; generation_config.json; published configs where the data is there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "model/config.h"
#include "tests/model/fixture.h"

static struct model_config config; /* too large for the stack of a test */

static enum status read_as_it_is(const char *json, struct model_error *error)
{
    memset(error, 0, sizeof(*error));
    memset(&config, 0, sizeof(config));
    return model_config_read("config.json", json, strlen(json), error, &config);
}

/* The sizes that no file may lack; each test writes only those that it is about, the others are
 * here as the reference's classes have them. */
static const char *const shape_names[] = {"vocab_size", "hidden_size", "intermediate_size",
                                          "num_hidden_layers", "num_attention_heads"};
#define N_SHAPE (sizeof(shape_names) / sizeof(shape_names[0]))

static const struct {
    const char *start;
    unsigned sizes[N_SHAPE];
} shapes[] = {
    {"{\"model_type\":\"llama\"", {32000, 4096, 11008, 32, 32}},
    {"{\"model_type\":\"mistral\"", {32000, 4096, 14336, 32, 32}},
    {"{\"model_type\":\"mixtral\"", {32000, 4096, 14336, 32, 32}},
    {"{\"model_type\":\"qwen2\"", {151936, 4096, 22016, 32, 32}},
    {"{\"model_type\":\"qwen3\"", {151936, 4096, 22016, 32, 32}},
    {"{\"model_type\":\"qwen3_moe\"", {151936, 2048, 6144, 24, 32}},
    {"{\"model_type\":\"gemma2\"", {256000, 2304, 9216, 26, 8}},
    {"{\"model_type\":\"gemma3_text\"", {262208, 2304, 9216, 26, 8}},
    {"{\"model_type\":\"phi3\"", {32064, 3072, 8192, 32, 32}},
};

static enum status read_text(const char *json, struct model_error *error)
{
    char *text = malloc(strlen(json) + 256), name[32];
    enum status status;

    assert_non_null(text);
    strcpy(text, json);
    for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
        const size_t len = strlen(shapes[i].start);
        char *at = text + len;

        if (strncmp(json, shapes[i].start, len) != 0)
            continue;
        for (size_t k = 0; k < N_SHAPE; k++) {
            snprintf(name, sizeof(name), "\"%s\"", shape_names[k]);
            if (strstr(json, name) == NULL)
                at += sprintf(at, ",%s:%u", name, shapes[i].sizes[k]);
        }
        strcpy(at, json + len);
    }
    status = read_as_it_is(text, error);
    free(text);
    return status;
}

static void read_good(const char *json)
{
    struct model_error error;

    if (read_text(json, &error) != STATUS_OK)
        fail_msg("%s", error.text);
}

static void test_llama(void **state)
{
    (void)state;
    read_good("{\"architectures\":[\"LlamaForCausalLM\"],\"model_type\":\"llama\","
              "\"vocab_size\":128256,\"hidden_size\":2048,\"intermediate_size\":8192,"
              "\"num_hidden_layers\":16,\"num_attention_heads\":32,\"num_key_value_heads\":8,"
              "\"head_dim\":64,\"max_position_embeddings\":131072,\"rms_norm_eps\":1e-05,"
              "\"rope_theta\":500000.0,\"tie_word_embeddings\":true,\"torch_dtype\":\"bfloat16\","
              "\"bos_token_id\":128000,\"eos_token_id\":[128001,128008,128009],"
              "\"rope_scaling\":{\"factor\":32.0,\"low_freq_factor\":1.0,\"high_freq_factor\":4.0,"
              "\"original_max_position_embeddings\":8192,\"rope_type\":\"llama3\"},"
              "\"attention_dropout\":0.0,\"mlp_bias\":false,\"use_cache\":true}");
    assert_int_equal(config.family, MODEL_LLAMA);
    assert_int_equal(config.dtype, OP_BF16);
    assert_int_equal(config.hidden, 2048);
    assert_int_equal(config.n_layers, 16);
    assert_int_equal(config.n_kv_heads, 8);
    assert_true(config.tied && !config.qkv_bias && !config.qk_norm && !config.norm_adds_one);
    assert_true(config.norm_eps == 1e-5 && config.attention_scale == 0.125);
    assert_int_equal(config.rope.kind, MODEL_ROPE_LLAMA3);
    assert_true(config.rope.theta == 500000 && config.rope.factor == 32);
    assert_int_equal(config.rope.original_positions, 8192);
    assert_int_equal(config.rope.dim, 64);
    assert_int_equal(config.n_eos, 3);
    assert_int_equal(config.eos[2], 128009);
    assert_int_equal(config.layers[3].window, 0);
    /* The same as transformers 5 writes it. */
    read_good("{\"model_type\":\"llama\",\"dtype\":\"float16\",\"rope_parameters\":{"
              "\"rope_theta\":7.0,\"rope_type\":\"linear\",\"factor\":2}}");
    assert_int_equal(config.dtype, OP_F16);
    assert_int_equal(config.rope.kind, MODEL_ROPE_LINEAR);
    assert_true(config.rope.theta == 7 && config.rope.factor == 2);
    assert_int_equal(config.rope.dim, 128);
}

static void test_windows(void **state)
{
    (void)state;
    read_good("{\"model_type\":\"mistral\"}");
    assert_int_equal(config.layers[0].window, 4096);
    assert_int_equal(config.layers[31].window, 4096);
    read_good("{\"model_type\":\"mistral\",\"sliding_window\":null}");
    assert_int_equal(config.layers[0].window, 0);
    read_good("{\"model_type\":\"qwen2\",\"sliding_window\":100}");
    assert_int_equal(config.layers[31].window, 0);
    assert_true(config.qkv_bias && !config.out_bias);
    read_good("{\"model_type\":\"qwen2\",\"sliding_window\":100,\"use_sliding_window\":true}");
    assert_int_equal(config.layers[27].window, 0);
    assert_int_equal(config.layers[28].window, 100);
    read_good("{\"model_type\":\"qwen3_moe\",\"use_sliding_window\":true}");
    assert_int_equal(config.layers[0].window, 4096);
    read_good("{\"model_type\":\"qwen3\",\"num_hidden_layers\":2,\"use_sliding_window\":true,"
              "\"layer_types\":[\"sliding_attention\",\"full_attention\"]}");
    assert_int_equal(config.layers[0].window, 4096);
    assert_int_equal(config.layers[1].window, 0);
    assert_true(config.qk_norm);
    assert_int_equal(config.head_dim, 128);
}

static void test_gemma(void **state)
{
    (void)state;
    read_good("{\"model_type\":\"gemma2\",\"hidden_size\":64,\"query_pre_attn_scalar\":144}");
    assert_int_equal(config.layers[0].window, 4096);
    assert_int_equal(config.layers[1].window, 0);
    assert_true(config.attention_softcap == 50 && config.final_softcap == 30);
    assert_true(config.embed_scale == 8 && config.attention_scale == 1.0 / 12);
    assert_true(config.norm_adds_one && config.post_norms && config.tied && !config.qk_norm);
    assert_int_equal(config.act, OP_ACT_GELU_TANH_MUL);
    read_good("{\"model_type\":\"gemma2\",\"attn_logit_softcapping\":null,"
              "\"final_logit_softcapping\":null}");
    assert_true(config.attention_softcap == 0 && config.final_softcap == 0);
    read_good("{\"model_type\":\"gemma3_text\",\"sliding_window\":512,\"rope_scaling\":"
              "{\"rope_type\":\"linear\",\"factor\":8.0}}");
    assert_int_equal(config.layers[0].window, 512);
    assert_true(config.layers[0].local_rope && !config.layers[5].local_rope);
    assert_int_equal(config.layers[5].window, 0);
    assert_true(config.rope.theta == 1e6 && config.rope.factor == 8);
    assert_true(config.rope_local.theta == 10000 && config.rope_local.factor == 1);
    assert_int_equal(config.rope_local.dim, 256);
    assert_true(config.qk_norm && config.attention_softcap == 0);
    read_good("{\"model_type\":\"gemma3_text\",\"rope_parameters\":{\"full_attention\":"
              "{\"rope_type\":\"default\",\"rope_theta\":5.0},\"sliding_attention\":"
              "{\"rope_theta\":3.0}}}");
    assert_true(config.rope.theta == 5 && config.rope_local.theta == 3);
}

static void test_phi3(void **state)
{
    char json[1024] = "";

    (void)state;
    read_good("{\"model_type\":\"phi3\",\"sliding_window\":2047}");
    assert_true(config.fused_names && !config.tied);
    assert_int_equal(config.layers[7].window, 2047);
    assert_int_equal(config.head_dim, 96);
    snprintf(json, sizeof(json),
             "{\"model_type\":\"phi3\",\"hidden_size\":64,\"num_attention_heads\":4,"
             "\"partial_rotary_factor\":0.75,\"max_position_embeddings\":131072,"
             "\"rope_scaling\":{\"type\":\"%s\",\"short_factor\":[1,1.5,2,2.5,3,3.5],"
             "\"long_factor\":[1,2,3,4,5,6]}}",
             "su");
    read_good(json);
    assert_int_equal(config.rope.kind, MODEL_ROPE_LONGROPE);
    assert_int_equal(config.rope.dim, 12);
    assert_true(config.rope.factor == 32 && config.rope.long_factors[5] == 6.0f);
    /* sqrt(1 + ln 32 / ln 4096) */
    assert_true(config.rope.attention_factor > 1.19023807 &&
                config.rope.attention_factor < 1.19023808);
}

static void test_mixtures(void **state)
{
    (void)state;
    read_good("{\"model_type\":\"mixtral\"}");
    assert_int_equal(config.n_experts, 8);
    assert_int_equal(config.experts_top_k, 2);
    assert_int_equal(config.expert_intermediate, 14336);
    assert_true(config.experts_renormalise && config.layers[0].experts);
    assert_true(config.rope.theta == 1e6 && config.norm_eps == 1e-5);
    read_good("{\"model_type\":\"qwen3_moe\",\"decoder_sparse_step\":2,\"mlp_only_layers\":[3],"
              "\"head_dim\":null}");
    assert_int_equal(config.head_dim, 64);
    assert_false(config.layers[0].experts);
    assert_true(config.layers[1].experts);
    assert_false(config.layers[3].experts);
    assert_true(config.layers[5].experts);
    assert_int_equal(config.intermediate, 6144);
    assert_int_equal(config.expert_intermediate, 768);
    assert_false(config.experts_renormalise);
    assert_int_equal(config.n_eos, 0);
}

static const struct {
    const char *json, *says;
} bad[] = {
    {"", "line 1"},
    {"[]", "is no JSON object"},
    {"{\"model_type\":\"llama\",\"model_type\":\"llama\"}", "duplicate"},
    {"{}", "model_type is absent; supported are LlamaForCausalLM"},
    {"{\"model_type\":\"mamba\"}",
     "model_type is \"mamba\"; supported are LlamaForCausalLM Mistral"},
    {"{\"model_type\":\"deepseek_v3\",\"architectures\":[\"DeepseekV3ForCausalLM\"]}",
     "architectures is [\"DeepseekV3ForCausalLM\"]; supported are"},
    {"{\"model_type\":\"llama\",\"architectures\":[\"LlamaForSequenceClassification\"]}",
     "with model_type llama, [\"LlamaForCausalLM\"] is supported"},
    {"{\"model_type\":\"llama\",\"quantization_config\":{\"quant_method\":\"fp8\"}}",
     "quant_method is \"fp8\"; quantised weights are not supported"},
    {"{\"model_type\":\"llama\",\"alibi\":true}",
     "alibi is true; llama has no such field that Baton knows"},
    {"{\"model_type\":\"llama\",\"hidden_act\":\"gelu\"}",
     "hidden_act is \"gelu\"; supported is \"silu\""},
    {"{\"model_type\":\"gemma2\",\"hidden_activation\":null}",
     "supported is \"gelu_pytorch_tanh\""},
    {"{\"model_type\":\"llama\",\"mlp_bias\":true}", "mlp_bias is true; what it switches on"},
    {"{\"model_type\":\"llama\",\"hidden_size\":0}", "a whole number from 2 to 65536"},
    {"{\"model_type\":\"llama\",\"hidden_size\":-1}", "a whole number from 2 to 65536"},
    {"{\"model_type\":\"llama\",\"hidden_size\":4096.0}", "hidden_size is 4096.0; a whole"},
    {"{\"model_type\":\"llama\",\"hidden_size\":18446744073709551617}", "too big"},
    {"{\"model_type\":\"llama\",\"hidden_size\":null}", "hidden_size is null"},
    {"{\"model_type\":\"llama\",\"num_hidden_layers\":257}", "from 1 to 256"},
    {"{\"model_type\":\"llama\",\"num_key_value_heads\":5}", "a divisor of the 32 heads"},
    {"{\"model_type\":\"llama\",\"hidden_size\":4098}", "a multiple of the 32 heads"},
    {"{\"model_type\":\"llama\",\"hidden_size\":1280}", "heads have 40 dimensions"},
    {"{\"model_type\":\"llama\",\"head_dim\":512}", "from 1 to 256"},
    {"{\"model_type\":\"llama\",\"intermediate_size\":11}", "an even number"},
    {"{\"model_type\":\"llama\",\"tie_word_embeddings\":1}", "true or false is expected"},
    {"{\"model_type\":\"llama\",\"rms_norm_eps\":\"tiny\"}", "a number from 0 to 1"},
    {"{\"model_type\":\"llama\",\"torch_dtype\":\"float8_e4m3fn\"}", "supported are bfloat16"},
    {"{\"model_type\":\"llama\",\"sliding_window\":5}", "sliding_window is 5; what it"},
    {"{\"model_type\":\"llama\",\"partial_rotary_factor\":0.5}", "only 1 is supported"},
    {"{\"model_type\":\"llama\",\"eos_token_id\":\"</s>\"}", "eos_token_id is \"</s>\""},
    {"{\"model_type\":\"llama\",\"eos_token_id\":[0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16]}",
     "at most 16 ids"},
    {"{\"model_type\":\"llama\",\"rope_scaling\":8}", "rope_scaling is 8; an object"},
    {"{\"model_type\":\"llama\",\"rope_scaling\":{\"rope_type\":\"yarn\",\"factor\":4}}",
     "rope_scaling is \"yarn\"; supported rope types for llama are default, linear and llama3"},
    {"{\"model_type\":\"llama\",\"rope_scaling\":{\"rope_type\":\"linear\",\"type\":\"llama3\"}}",
     "rope_type and type differ"},
    {"{\"model_type\":\"llama\",\"rope_scaling\":{\"rope_type\":\"linear\"}}", "factor is absent"},
    {"{\"model_type\":\"llama\",\"rope_scaling\":{\"rope_type\":\"linear\",\"factor\":0.5}}",
     "factor is 0.5"},
    {"{\"model_type\":\"llama\",\"rope_scaling\":{\"rope_type\":\"linear\",\"factor\":2,\"beta\":1}"
     "}",
     "beta is 1; no such field of rope_scaling"},
    {"{\"model_type\":\"llama\",\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":2,"
     "\"low_freq_factor\":4,\"high_freq_factor\":4,\"original_max_position_embeddings\":9}}",
     "more than low_freq_factor (4)"},
    {"{\"model_type\":\"llama\",\"rope_scaling\":{},\"rope_parameters\":{}}", "only one of them"},
    {"{\"model_type\":\"phi3\",\"rope_scaling\":{\"type\":\"longrope\",\"short_factor\":[1],"
     "\"long_factor\":[1]}}",
     "a list of 48 numbers"},
    {"{\"model_type\":\"phi3\",\"hidden_size\":32,\"num_attention_heads\":2,"
     "\"max_position_embeddings\":1048576,\"rope_scaling\":{\"type\":\"longrope\","
     "\"short_factor\":[0.6,1,1,1,1,1,1,1],\"long_factor\":[1,1,1,1,1,1,1,1]}}",
     "a number from 0.65536 to"},
    {"{\"model_type\":\"phi3\",\"rope_scaling\":{\"type\":\"linear\",\"factor\":2}}",
     "default and longrope"},
    {"{\"model_type\":\"qwen3\",\"layer_types\":[\"full_attention\"]}", "each of the 32 layers"},
    {"{\"model_type\":\"qwen3\",\"num_hidden_layers\":1,\"layer_types\":[\"chunked_attention\"]}",
     "supported are full_attention and sliding"},
    {"{\"model_type\":\"qwen3\",\"num_hidden_layers\":1,\"layer_types\":[\"sliding_attention\"]}",
     "layer 0 slides, but there is no window"},
    {"{\"model_type\":\"gemma2\",\"sliding_window\":null}", "layer 0 slides"},
    {"{\"model_type\":\"gemma3_text\",\"rope_scaling\":{\"type\":\"linear\",\"factor\":2}}",
     "write rope_type"},
    {"{\"model_type\":\"gemma3_text\",\"use_bidirectional_attention\":true}", "not supported"},
    {"{\"model_type\":\"gemma3_text\",\"rope_parameters\":{\"rope_theta\":1}}",
     "an object of full_attention and sliding_attention"},
    {"{\"model_type\":\"mixtral\",\"num_experts_per_tok\":9}", "at most the 8 experts"},
    {"{\"model_type\":\"qwen3_moe\",\"mlp_only_layers\":[24]}", "from 0 to 23"},
    {"{\"model_type\":\"qwen3_moe\",\"mlp_only_layers\":{}}", "a list is expected"},
};

static void test_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct model_error error;
        enum status status = read_text(bad[i].json, &error);

        if (status == STATUS_OK || strstr(error.text, bad[i].says) == NULL ||
            strncmp(error.text, "config.json: ", 13) != 0)
            fail_msg("%s\ngave %s: %s", bad[i].json, status_name(status), error.text);
    }
    assert_int_equal(mem_live(), 0);
}

/* Nobody's defaults stand in for a size that is missing. */
static void test_shape_is_whole(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
        for (size_t k = 0; k <= N_SHAPE; k++) { /* without the k-th; with all */
            struct model_error error;
            char text[512], says[64];
            int len = snprintf(text, sizeof(text), "%s", shapes[i].start);

            for (size_t n = 0; n < N_SHAPE; n++)
                if (n != k)
                    len += snprintf(text + len, sizeof(text) - (size_t)len, ",\"%s\":%u",
                                    shape_names[n], shapes[i].sizes[n]);
            strcat(text, "}");
            if (k == N_SHAPE) {
                assert_int_equal(read_as_it_is(text, &error), STATUS_OK);
                continue;
            }
            snprintf(says, sizeof(says), "config.json: %s is missing", shape_names[k]);
            if (read_as_it_is(text, &error) != STATUS_MALFORMED ||
                strstr(error.text, says) != error.text)
                fail_msg("%s gave: %s", text, error.text);
        }
    }
}

/* A value of any length is cut in the sentence; absurd depth is refused by the parser. */
static void test_absurd(void **state)
{
    char *json = malloc(MODEL_CONFIG_FILE_MAX + 2);
    struct model_error error;

    (void)state;
    assert_non_null(json);
    strcpy(json, "{\"model_type\":\"llama\",\"x\":\"");
    memset(json + strlen(json), 'x', 200000);
    strcpy(json + 200027, "\"}");
    assert_int_equal(read_text(json, &error), STATUS_UNSUPPORTED);
    assert_true(strlen(error.text) < 400);
    assert_non_null(strstr(error.text, "...; llama has no such field"));
    memset(json, '[', 200000);
    json[200000] = '\0';
    assert_int_equal(read_text(json, &error), STATUS_MALFORMED);
    assert_int_equal(model_config_read("c", json, MODEL_CONFIG_FILE_MAX + 1, &error, &config),
                     STATUS_TOO_BIG);
    free(json);
}

static void test_generation(void **state)
{
    struct model_generation gen;
    struct model_error error;
    struct fixture fixture;

    (void)state;
    fixture_init(&fixture);
    read_good("{\"model_type\":\"llama\",\"eos_token_id\":7}");
    assert_int_equal(model_generation_open(fixture.folder, &config, &error, &gen), STATUS_OK);
    assert_true(gen.n_eos == 1 && gen.eos[0] == 7 && gen.temperature == 1 && gen.top_k == 0);
    assert_true(gen.top_p == 1 && gen.repetition_penalty == 1 && gen.min_p == 0 && !gen.do_sample);
    assert_false(gen.do_sample_given);
    fixture_write_text(&fixture, "generation_config.json",
                       "{\"eos_token_id\":[5,6],\"temperature\":0.6,\"top_k\":20,\"top_p\":0.95,"
                       "\"repetition_penalty\":1.05,\"do_sample\":true,\"max_length\":9,"
                       "\"bos_token_id\":null}");
    assert_int_equal(model_generation_open(fixture.folder, &config, &error, &gen), STATUS_OK);
    assert_true(gen.n_eos == 2 && gen.eos[1] == 6 && gen.temperature == 0.6 && gen.top_k == 20);
    assert_true(gen.top_p == 0.95 && gen.repetition_penalty == 1.05 && gen.do_sample);
    assert_true(gen.do_sample_given);
    fixture_write_text(&fixture, "generation_config.json", "{\"do_sample\":false}");
    assert_int_equal(model_generation_open(fixture.folder, &config, &error, &gen), STATUS_OK);
    assert_true(gen.do_sample_given && !gen.do_sample);
    fixture_write_text(&fixture, "generation_config.json", "{\"top_p\":2}");
    assert_int_equal(model_generation_open(fixture.folder, &config, &error, &gen),
                     STATUS_MALFORMED);
    assert_non_null(strstr(error.text, "generation_config.json: top_p is 2; a number from 0 to 1"));
    fixture_fini(&fixture);
}

/* $BATON_SHARED/data/model_configs, or beside the tree: each loads, or is refused for a known
 * reason. */
static void test_published(void **state)
{
    static const struct {
        const char *part, *says; /* NULL: loads */
    } expected[] = {
        {"FP8", "quant_method is \"fp8\""},
        {"MiMo", "MiMoForCausalLM"},
        {"DeepSeek", "DeepseekV3ForCausalLM"},
        {"gemma-4", "Gemma4ForConditionalGeneration"},
        {"Qwen3", NULL},
        {"Llama-3.1", NULL},
        {"Mixtral", NULL},
    };
    const char *root = getenv("BATON_ROOT"), *data = getenv("BATON_SHARED");
    char folder[512], path[1024];
    struct dirent *entry;
    int n = 0;
    DIR *list;

    (void)state;
    if (data != NULL)
        snprintf(folder, sizeof(folder), "%.400s/data/model_configs", data);
    else
        snprintf(folder, sizeof(folder), "%.400s/../shared/data/model_configs",
                 root != NULL ? root : ".");
    list = opendir(folder);
    if (list == NULL)
        skip();
    while ((entry = readdir(list)) != NULL) {
        struct model_error error = {""};

        for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
            if (strstr(entry->d_name, expected[i].part) == NULL)
                continue;
            snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
            enum status status = model_config_open(path, &error, &config);
            if ((status == STATUS_OK) != (expected[i].says == NULL) ||
                (status != STATUS_OK && strstr(error.text, expected[i].says) == NULL))
                fail_msg("%s: %s %s", entry->d_name, status_name(status), error.text);
            n++;
            break;
        }
    }
    closedir(list);
    print_message("%d published configs\n", n);
    assert_true(n > 0);
}

/* Where streams end belongs to what nodes must share; the order of the list does not. */
static void test_generation_hash(void **state)
{
    struct model_generation a = {.n_eos = 2, .eos = {7, 9}}, b = {.n_eos = 2, .eos = {9, 7}};

    (void)state;
    assert_true(model_generation_hash(&a, 1) == model_generation_hash(&b, 1));
    assert_true(model_generation_hash(&a, 1) != model_generation_hash(&a, 2));
    b.eos[1] = 8;
    assert_true(model_generation_hash(&a, 1) != model_generation_hash(&b, 1));
    b = (struct model_generation){.n_eos = 1, .eos = {7}};
    assert_true(model_generation_hash(&a, 1) != model_generation_hash(&b, 1));
    a.temperature = 0.5;
    a.n_eos = 1;
    assert_true(model_generation_hash(&a, 1) == model_generation_hash(&b, 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_llama),          cmocka_unit_test(test_windows),
        cmocka_unit_test(test_gemma),          cmocka_unit_test(test_phi3),
        cmocka_unit_test(test_mixtures),       cmocka_unit_test(test_refused),
        cmocka_unit_test(test_shape_is_whole), cmocka_unit_test(test_absurd),
        cmocka_unit_test(test_generation),     cmocka_unit_test(test_generation_hash),
        cmocka_unit_test(test_published),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
