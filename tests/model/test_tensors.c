/* The lists of expected tensors against random checkpoints: what make-model writes is read back and
 * fits; a missing, extra or misshapen tensor is named; values depend on seed and name alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "kernels/bf16.h"
#include "model/make_model.h"
#include "model/tensors.h"
#include "tests/model/fixture.h"

#define SMALL                                                                                      \
    "\"vocab_size\":64,\"hidden_size\":64,\"intermediate_size\":96,\"num_hidden_layers\":2,"       \
    "\"num_attention_heads\":4,\"num_key_value_heads\":2"

/* Each family small; the number of tensors and of their elements counted by hand from the
 * reference's state dicts: with 64 hidden, 4 heads of 16, 2 kv heads, an attention is 4096 + 2 *
 * 2048
 * + 4096 = 12288, an MLP 3 * 64 * 96 = 18432, embedding and head 4096 each. */
static const struct {
    const char *json;
    uint32_t n;
    uint64_t elements;
} families[] = {
    {"{\"model_type\":\"llama\"," SMALL "}", 21, 2 * (12288 + 18432 + 128) + 2 * 4096 + 64},
    {"{\"model_type\":\"llama\",\"tie_word_embeddings\":true," SMALL "}", 20,
     2 * (12288 + 18432 + 128) + 4096 + 64},
    {"{\"model_type\":\"llama\",\"attention_bias\":true," SMALL "}", 29,
     2 * (12288 + 18432 + 128 + 64 + 32 + 32 + 64) + 2 * 4096 + 64},
    {"{\"model_type\":\"mistral\"," SMALL "}", 21, 2 * (12288 + 18432 + 128) + 2 * 4096 + 64},
    {"{\"model_type\":\"qwen2\"," SMALL "}", 27, 2 * (12288 + 18432 + 128 + 128) + 2 * 4096 + 64},
    {"{\"model_type\":\"qwen3\",\"head_dim\":16," SMALL "}", 25,
     2 * (12288 + 18432 + 128 + 32) + 2 * 4096 + 64},
    {"{\"model_type\":\"gemma2\",\"head_dim\":16," SMALL "}", 24,
     2 * (12288 + 18432 + 256) + 4096 + 64},
    {"{\"model_type\":\"gemma3_text\",\"head_dim\":16," SMALL "}", 28,
     2 * (12288 + 18432 + 256 + 32) + 4096 + 64},
    {"{\"model_type\":\"phi3\"," SMALL "}", 15, 2 * (12288 + 18432 + 128) + 2 * 4096 + 64},
    {"{\"model_type\":\"mixtral\",\"num_local_experts\":3," SMALL "}", 3 + 2 * (2 + 4 + 1 + 9),
     2 * (12288 + 3 * 18432 + 192 + 128) + 2 * 4096 + 64},
    {"{\"model_type\":\"qwen3_moe\",\"num_experts\":5,\"num_experts_per_tok\":2,"
     "\"moe_intermediate_size\":32,\"mlp_only_layers\":[0]," SMALL "}",
     3 + (2 + 4 + 2 + 3) + (2 + 4 + 2 + 1 + 15),
     2 * (12288 + 128 + 32) + 18432 + 5 * 6144 + 320 + 2 * 4096 + 64},
};

static struct model_config config;

static void write_model(const struct fixture *fixture, const char *json, uint64_t seed,
                        enum op_dtype dtype, uint64_t shard_bytes)
{
    struct make_model_result result;
    struct model_error error;
    struct fixture source;
    char path[256];

    fixture_init(&source);
    fixture_write_text(&source, "config.json", json);
    snprintf(path, sizeof(path), "%s", source.folder);
    struct make_model_args args = {.config = path,
                                   .out = fixture->folder,
                                   .seed = seed,
                                   .shard_bytes = shard_bytes,
                                   .dtype_given = true,
                                   .dtype = dtype};
    if (make_model(&args, &error, &result) != STATUS_OK)
        fail_msg("%s", error.text);
    fixture_fini(&source);
}

static struct safetensors *open_checked(const struct fixture *fixture)
{
    struct model_error error;
    struct safetensors *st = NULL;

    if (model_config_open(fixture->folder, &error, &config) != STATUS_OK ||
        safetensors_open(fixture->folder, &error, &st) != STATUS_OK ||
        model_tensors_check(&config, st, &error) != STATUS_OK)
        fail_msg("%s", error.text);
    return st;
}

static void test_families(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(families) / sizeof(families[0]); i++) {
        struct fixture fixture;

        fixture_init(&fixture);
        write_model(&fixture, families[i].json, i, OP_BF16, i % 2 == 0 ? 0 : 30000);
        struct safetensors *st = open_checked(&fixture);
        if (safetensors_n(st) != families[i].n)
            fail_msg("%s: %u tensors", families[i].json, safetensors_n(st));
        assert_int_equal(safetensors_bytes(st), 2 * families[i].elements);
        assert_true(i % 2 == 0 ? safetensors_n_files(st) == 1 : safetensors_n_files(st) > 1);
        assert_int_equal(config.dtype, OP_BF16);
        safetensors_close(st);
        fixture_fini(&fixture);
    }
    assert_int_equal(mem_live(), 0);
}

static void test_values(void **state)
{
    struct fixture one, shards, wide, other;

    (void)state;
    fixture_init(&one);
    fixture_init(&shards);
    fixture_init(&wide);
    fixture_init(&other);
    write_model(&one, families[0].json, 7, OP_BF16, 0);
    write_model(&shards, families[0].json, 7, OP_BF16, 20000);
    write_model(&wide, families[0].json, 7, OP_F32, 0);
    write_model(&other, families[0].json, 8, OP_BF16, 0);
    struct safetensors *a = open_checked(&one), *b = open_checked(&shards);
    struct safetensors *c = open_checked(&wide), *d = open_checked(&other);
    double sum = 0;
    for (uint32_t i = 0; i < safetensors_n(a); i++) {
        const struct safetensors_tensor *x = safetensors_at(a, i);
        const struct safetensors_tensor *w = safetensors_find(c, x->name);

        assert_memory_equal(x->data, safetensors_find(b, x->name)->data, x->bytes);
        assert_memory_not_equal(x->data, safetensors_find(d, x->name)->data, x->bytes);
        for (size_t k = 0; k < x->bytes / 2; k++) {
            uint16_t narrow;
            float value;

            memcpy(&narrow, x->data + 2 * k, 2);
            memcpy(&value, w->data + 4 * k, 4);
            assert_int_equal(narrow, bf16_of_f32(value));
            if (x->n_dims == 1)
                assert_true(value > 0.89f && value < 1.11f);
            else
                sum += (double)value * value;
        }
    }
    /* The variance of the initializer_range's default, 0.02. */
    sum /= (double)(families[0].elements - 5 * 64);
    assert_true(sum > 0.00039 && sum < 0.00041);
    safetensors_close(a);
    safetensors_close(b);
    safetensors_close(c);
    safetensors_close(d);
    fixture_fini(&one);
    fixture_fini(&shards);
    fixture_fini(&wide);
    fixture_fini(&other);
}

/* Every finite fp16 that these values can round to comes back as itself, and neighbours round. */
static void test_f16(void **state)
{
    struct fixture half, wide;

    (void)state;
    fixture_init(&half);
    fixture_init(&wide);
    write_model(&half, families[0].json, 7, OP_F16, 0);
    write_model(&wide, families[0].json, 7, OP_F32, 0);
    struct safetensors *a = open_checked(&half), *b = open_checked(&wide);
    for (uint32_t i = 0; i < safetensors_n(a); i++) {
        const struct safetensors_tensor *x = safetensors_at(a, i);
        const struct safetensors_tensor *w = safetensors_find(b, x->name);

        for (size_t k = 0; k < x->bytes / 2; k++) {
            uint16_t bits;
            float value, step, error;

            memcpy(&bits, x->data + 2 * k, 2);
            memcpy(&value, w->data + 4 * k, 4);
            step = f32_of_f16((uint16_t)((bits & 0x7fffu) + 1)) - f32_of_f16(bits & 0x7fffu);
            error = f32_of_f16(bits) - value;
            assert_true((error < 0 ? -error : error) <= step / 2);
        }
    }
    safetensors_close(a);
    safetensors_close(b);
    fixture_fini(&half);
    fixture_fini(&wide);
}

/* A checkpoint against the config of another. */
static void test_check(void **state)
{
    static const struct {
        const char *json, *says;
    } cases[] = {
        {"{\"model_type\":\"qwen2\"," SMALL "}",
         "has no tensor 'model.layers.0.self_attn.q_proj.bias', which"},
        {"{\"model_type\":\"llama\",\"num_key_value_heads\":4,\"vocab_size\":64,\"hidden_size\":64,"
         "\"num_attention_heads\":4,\"intermediate_size\":96,\"num_hidden_layers\":2}",
         "'model.layers.0.self_attn.k_proj.weight' has the shape [32, 64]; config.json makes it "
         "[64, 64]"},
        {"{\"model_type\":\"llama\",\"num_hidden_layers\":1,\"vocab_size\":64,\"hidden_size\":64,"
         "\"num_attention_heads\":4,\"num_key_value_heads\":2,\"intermediate_size\":96}",
         "has a tensor 'model.layers.1.input_layernorm.weight' for which a llama"},
    };
    struct fixture fixture;
    struct model_error error;

    (void)state;
    fixture_init(&fixture);
    write_model(&fixture, families[0].json, 1, OP_BF16, 0);
    struct safetensors *st = open_checked(&fixture);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *json = cases[i].json;

        assert_int_equal(model_config_read("c", json, strlen(json), &error, &config), STATUS_OK);
        assert_int_equal(model_tensors_check(&config, st, &error), STATUS_MALFORMED);
        if (strstr(error.text, cases[i].says) == NULL)
            fail_msg("%s", error.text);
    }
    /* A head beside a tied embedding is ignored, as the reference does. */
    const char *tied = families[1].json;
    assert_int_equal(model_config_read("c", tied, strlen(tied), &error, &config), STATUS_OK);
    assert_int_equal(model_tensors_check(&config, st, &error), STATUS_OK);
    safetensors_close(st);
    /* The folder is not written over. */
    struct make_model_args args = {.config = fixture.folder, .out = fixture.folder};
    struct make_model_result result;
    assert_int_equal(make_model(&args, &error, &result), STATUS_EXISTS);
    assert_non_null(strstr(error.text, "is not empty"));
    fixture_fini(&fixture);
}

static void test_no_memory(void **state)
{
    struct fixture source, out;
    struct make_model_result result;
    struct model_error error;
    int n = 0;

    (void)state;
    fixture_init(&source);
    fixture_write_text(&source, "config.json", families[0].json);
    for (;; n++) {
        fixture_init(&out);
        struct make_model_args args = {.config = source.folder, .out = out.folder};
        mem_fail_after(n);
        enum status status = make_model(&args, &error, &result);
        mem_fail_after(MEM_FAIL_NEVER);
        fixture_fini(&out);
        assert_int_equal(mem_live(), 0);
        if (status == STATUS_OK)
            break;
        assert_int_equal(status, STATUS_NO_MEMORY);
    }
    assert_true(n > 5);
    fixture_fini(&source);
}

/* --- what cannot be made leaves nothing --- */

static bool is_there(const char *path)
{
    struct stat info;

    return lstat(path, &info) == 0;
}

/* In a folder that was not there, and in an empty one. */
static void expect_nothing(struct make_model_args args, enum status wanted, const char *says)
{
    struct make_model_result result;
    struct model_error error = {""};
    struct fixture out;
    char path[300];

    fixture_init(&out);
    for (int turn = 0; turn < 2; turn++) {
        snprintf(path, sizeof(path), turn == 0 ? "%s/new" : "%s", out.folder);
        args.out = path;
        enum status status = make_model(&args, &error, &result);
        if (status != wanted || strstr(error.text, says) == NULL)
            fail_msg("%s: %s", status_name(status), error.text);
        snprintf(path, sizeof(path), "%s/new", out.folder);
        assert_false(is_there(path));
        assert_true(is_there(out.folder));
        assert_int_equal(rmdir(out.folder), 0); /* it is empty */
        assert_int_equal(mkdir(out.folder, 0755), 0);
    }
    fixture_fini(&out);
}

static void stop_in_the_middle(void *ctx, uint64_t done, uint64_t total)
{
    *(volatile sig_atomic_t *)ctx = done > 0 && done < total;
}

static void test_nothing_is_left(void **state)
{
    volatile sig_atomic_t stop = 0;
    struct rlimit old, small;
    struct fixture source;

    (void)state;
    fixture_init(&source);
    fixture_write_text(&source, "config.json", families[0].json);
    struct make_model_args args = {.config = source.folder, .shard_bytes = 30000};

    args.progress = stop_in_the_middle;
    args.ctx = (void *)(uintptr_t)&stop;
    args.stop = &stop;
    expect_nothing(args, STATUS_CANCELLED, "stopped");
    args.stop = NULL;

    /* Shards of 30 kB fit; the larger tensors have one of their own. */
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small = (struct rlimit){.rlim_cur = 20000, .rlim_max = old.rlim_max};
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    expect_nothing(args, STATUS_IO, "cannot be written: File too large");
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);

    /* A tokenizer that is none is found before the first byte. */
    args.tokenizer = "/nowhere";
    args.progress = NULL;
    expect_nothing(args, STATUS_NOT_FOUND, "/nowhere");
    args.tokenizer = source.folder;
    expect_nothing(args, STATUS_NOT_FOUND, "tokenizer.json");
    fixture_write_text(&source, "tokenizer.json", "{\"version\":\"1.0\"}");
    expect_nothing(args, STATUS_MALFORMED, "tokenizer.json");
    args.tokenizer = NULL;

    /* Terabytes. */
    fixture_write_text(&source, "config.json",
                       "{\"model_type\":\"llama\",\"vocab_size\":64,\"hidden_size\":65536,"
                       "\"intermediate_size\":1048576,\"num_hidden_layers\":100,"
                       "\"num_attention_heads\":512}");
    args.progress = stop_in_the_middle;
    args.shard_bytes = UINT64_C(1) << 50;
    expect_nothing(args, STATUS_TOO_BIG, "needs 89 TB, and ");
    fixture_fini(&source);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_families),  cmocka_unit_test(test_values),
        cmocka_unit_test(test_f16),       cmocka_unit_test(test_check),
        cmocka_unit_test(test_no_memory), cmocka_unit_test(test_nothing_is_left),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
