/* Opening a model: what its hashes depend on, what is refused, how failures unwind, what progress
 * tells and what memory it takes. What the weights compute is tested beside the reference and in
 * tests/exact; here only what becomes of the dtypes on disk. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "model/forward.h"
#include "model/safetensors.h"
#include "tests/model/fixture.h"

#define TINY                                                                                       \
    "{\"model_type\":\"llama\",\"vocab_size\":300,\"hidden_size\":64,\"intermediate_size\":96,"    \
    "\"num_hidden_layers\":2,\"num_attention_heads\":4,\"num_key_value_heads\":2,"                 \
    "\"max_position_embeddings\":256}"
/* Biases and a head that is the embedding; norms of heads, a mixture, and one layer without. */
#define BIASED                                                                                     \
    "{\"model_type\":\"qwen2\",\"vocab_size\":300,\"hidden_size\":64,\"intermediate_size\":96,"    \
    "\"num_hidden_layers\":1,\"num_attention_heads\":4,\"num_key_value_heads\":2,"                 \
    "\"max_position_embeddings\":256,\"tie_word_embeddings\":true}"
#define MIXED                                                                                      \
    "{\"model_type\":\"qwen3_moe\",\"vocab_size\":300,\"hidden_size\":64,"                         \
    "\"intermediate_size\":96,\"moe_intermediate_size\":32,\"num_experts\":4,"                     \
    "\"num_experts_per_tok\":2,\"mlp_only_layers\":[1],\"num_hidden_layers\":2,"                   \
    "\"num_attention_heads\":4,\"num_key_value_heads\":2,\"head_dim\":16,"                         \
    "\"max_position_embeddings\":256}"
/* About 40 MB of bf16: enough to see them in the process's size. */
#define LARGE                                                                                      \
    "{\"model_type\":\"llama\",\"vocab_size\":8192,\"hidden_size\":512,"                           \
    "\"intermediate_size\":2048,\"num_hidden_layers\":4,\"num_attention_heads\":8,"                \
    "\"num_key_value_heads\":4,\"max_position_embeddings\":256}"
#define VOCAB 300u
#define TOKENS 5u
#define TABLES_MAX 8u

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif

static struct model *open_good(const struct model_open_args *args)
{
    struct model_error error;
    struct model *model = NULL;

    if (model_open(args, &error, &model) != STATUS_OK)
        fail_msg("%s", error.text);
    return model;
}

static void open_bad(const struct model_open_args *args, enum status expected, const char *says)
{
    struct model *model = NULL;
    struct model_error error = {.text = ""};
    enum status status = model_open(args, &error, &model);

    if (status != expected || strstr(error.text, says) == NULL)
        fail_msg("%s: '%s', expected '%s'", status_name(status), error.text, says);
    assert_null(model);
    assert_int_equal(mem_live(), 0);
}

/* ---- hashes ---- */

static uint64_t weights_hash(const struct model_open_args *args, uint64_t *config_hash)
{
    struct model *model = open_good(args);
    const uint64_t hash = model_weights_hash(model);

    *config_hash = model_config_hash(model);
    model_close(model);
    return hash;
}

/* Not on threads, table and shards; but on seed and dtype. */
static void test_hashes(void **state)
{
    struct fixture whole, shards, other;
    const char *tables[TABLES_MAX];
    const size_t n_tables = device_tables(tables, TABLES_MAX);
    uint64_t config, weights, config_again;

    (void)state;
    fixture_make_model(&whole, TINY, OP_BF16, 1, 0);
    fixture_make_model(&shards, TINY, OP_BF16, 1, 20000);
    fixture_make_model(&other, TINY, OP_BF16, 2, 0);
    assert_int_equal(access(fixture_path(&whole, "model.safetensors"), R_OK), 0);
    assert_int_not_equal(access(fixture_path(&shards, "model.safetensors"), R_OK), 0);
    weights = weights_hash(&(struct model_open_args){.path = whole.folder}, &config);
    for (size_t i = 0; i < n_tables * 4; i++) {
        const struct model_open_args args = {
            .path = i % 2 == 0 ? whole.folder : shards.folder,
            .table = tables[i / 4],
            .n_threads = 1 + (uint32_t)i % 4,
        };

        assert_true(weights_hash(&args, &config_again) == weights);
        assert_true(config_again == config);
    }
    assert_true(weights_hash(&(struct model_open_args){.path = other.folder}, &config_again) !=
                weights);
    assert_true(config_again == config);
    assert_true(weights_hash(&(struct model_open_args){.path = whole.folder, .dtype = OP_F32},
                             &config_again) == weights);
    assert_true(config_again != config);
    fixture_fini(&whole);
    fixture_fini(&shards);
    fixture_fini(&other);
}

/* Called for each tensor of a model.safetensors with the place of its data in the file. */
typedef void (*tensor_fn)(void *ctx, const struct safetensors_tensor *tensor, long at);

static void each_tensor(const struct fixture *fixture, tensor_fn visit, void *ctx)
{
    const char *path = fixture_path(fixture, "model.safetensors");
    FILE *file = fopen(path, "rb");
    struct safetensors *st = NULL;
    uint64_t n_header, at;

    assert_non_null(file);
    assert_int_equal(fread(&n_header, sizeof(n_header), 1, file), 1);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(safetensors_open(path, NULL, &st), STATUS_OK);
    at = sizeof(n_header) + n_header;
    for (uint32_t i = 0; i < safetensors_n(st); i++) {
        visit(ctx, safetensors_at(st, i), (long)at);
        at += safetensors_at(st, i)->bytes;
    }
    safetensors_close(st);
}

struct hashed {
    struct model_open_args args;
    uint64_t weights;
    FILE *file;
    uint32_t n;
};

static void flip(FILE *file, long at)
{
    int byte;

    assert_int_equal(fseek(file, at, SEEK_SET), 0);
    byte = fgetc(file) ^ 1;
    assert_int_equal(fseek(file, at, SEEK_SET), 0);
    assert_int_equal(fputc(byte, file), byte);
    assert_int_equal(fflush(file), 0);
}

/* The first byte, one within and the last. (A number's lowest bit never makes it infinite.) */
static void expect_seen(void *ctx, const struct safetensors_tensor *tensor, long at)
{
    struct hashed *hashed = ctx;
    const long bytes = (long)tensor->bytes, places[] = {0, bytes / 2, bytes - 2};
    uint64_t config;

    for (size_t i = 0; i < 3; i++) {
        flip(hashed->file, at + places[i]);
        if (weights_hash(&hashed->args, &config) == hashed->weights)
            fail_msg("byte %ld of %s shows in no hash", places[i], tensor->name);
        flip(hashed->file, at + places[i]);
    }
    hashed->n++;
}

/* One changed bit of any tensor is another hash, in models that have all kinds of them. */
static void test_hash_sees_all(void **state)
{
    static const struct {
        const char *json;
        uint32_t n;
    } cases[] = {{TINY, 2 * 9 + 3}, {BIASED, 9 + 3 + 2}, {MIXED, 21 + 11 + 3}};

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct fixture fixture;
        struct hashed hashed = {.args = {.path = fixture.folder, .n_threads = 1}};
        uint64_t config;

        fixture_make_model(&fixture, cases[i].json, OP_BF16, 1, 0);
        hashed.weights = weights_hash(&hashed.args, &config);
        hashed.file = fopen(fixture_path(&fixture, "model.safetensors"), "r+b");
        assert_non_null(hashed.file);
        each_tensor(&fixture, expect_seen, &hashed);
        assert_int_equal(hashed.n, cases[i].n);
        assert_int_equal(fclose(hashed.file), 0);
        assert_true(weights_hash(&hashed.args, &config) == hashed.weights);
        fixture_fini(&fixture);
    }
}

/* ---- what is refused ---- */

static void put_number(const struct fixture *fixture, long at_from_end, const void *number,
                       size_t n)
{
    FILE *file = fopen(fixture_path(fixture, "model.safetensors"), "r+b");

    assert_non_null(file);
    assert_int_equal(fseek(file, -at_from_end, SEEK_END), 0);
    assert_int_equal(fwrite(number, n, 1, file), 1);
    assert_int_equal(fclose(file), 0);
}

static void test_not_finite(void **state)
{
    static const uint16_t bad_16[] = {0x7fc0, 0x7f80, 0xff80, 0xffff}, good_16 = 0x3f80;
    static const uint32_t nan_32 = 0x7fc00000, good_32 = 0x3f800000, big_32 = 0x7f7fffff;
    struct fixture fixture;
    struct model_open_args args = {.n_threads = 2};

    (void)state;
    fixture_make_model(&fixture, TINY, OP_BF16, 1, 0);
    args.path = fixture.folder;
    for (long at = 2; at < 100000; at += 24690) {
        for (size_t i = 0; i < 4; i++) {
            put_number(&fixture, at, &bad_16[i], 2);
            open_bad(&args, STATUS_MALFORMED, "is not finite");
        }
        put_number(&fixture, at, &good_16, 2);
        model_close(open_good(&args));
    }
    fixture_fini(&fixture);
    fixture_make_model(&fixture, TINY, OP_F32, 1, 0);
    args.path = fixture.folder;
    put_number(&fixture, 4, &nan_32, 4);
    open_bad(&args, STATUS_MALFORMED, "is not finite");
    args.dtype = OP_F32;
    open_bad(&args, STATUS_MALFORMED, "is not finite");
    put_number(&fixture, 4, &big_32, 4); /* rounds to infinity in bf16 */
    model_close(open_good(&args));
    args.dtype = OP_BF16;
    open_bad(&args, STATUS_MALFORMED, "too large");
    put_number(&fixture, 4, &good_32, 4);
    model_close(open_good(&args));
    fixture_fini(&fixture);
}

static void test_refused(void **state)
{
    struct fixture fixture;
    struct model_open_args args = {.len_max = 257};

    (void)state;
    fixture_make_model(&fixture, TINY, OP_BF16, 1, 0);
    args.path = fixture.folder;
    open_bad(&args, STATUS_INVALID, "sequences of 257 tokens are asked for");
    args.len_max = 256;
    model_close(open_good(&args));
    args.dtype = OP_F16;
    open_bad(&args, STATUS_INVALID, "bfloat16 or float32");
    args.dtype = OP_BF16;
    args.table = "abacus";
    open_bad(&args, STATUS_NOT_FOUND, "abacus");
    args.table = NULL;
    assert_int_equal(unlink(fixture_path(&fixture, "model.safetensors")), 0);
    open_bad(&args, STATUS_NOT_FOUND, "safetensors");
    fixture_fini(&fixture);
}

/* ---- dtypes on disk ---- */

static void logits_of(const char *path, enum op_dtype dtype, float *logits)
{
    static const uint32_t tokens[TOKENS] = {1, 299, 17, 42, 5};
    static const uint32_t zero = 0;
    const struct model_open_args open = {.path = path, .dtype = dtype, .n_threads = 1};
    struct model *model = open_good(&open);
    const struct forward_args args = {
        .rows_max = TOKENS, .samples_max = 1, .geom = model_kvgeom(model_config(model), dtype)};
    const struct op_seq seq = {.n_rows = TOKENS};
    const struct op_sampling params = {.position = TOKENS, .top_p = 1, .repetition = 1};
    const size_t pool_bytes = kvgeom_block_bytes(&args.geom);
    struct op_sampled sampled;
    struct forward *forward;
    void *pool;

    assert_int_equal(forward_create(model, &args, &forward), STATUS_OK);
    assert_int_equal(device_alloc(model_device(model), pool_bytes, &pool), STATUS_OK);
    const struct forward_batch batch = {
        .tokens = tokens,
        .rows = {.n_seqs = 1, .n_rows = TOKENS, .seqs = &seq, .blocks = &zero},
        .pool = pool,
        .n_samples = 1,
        .sample_seqs = &zero,
        .params = &params,
        .sampled = &sampled,
        .logits = logits,
    };
    assert_int_equal(forward_run(forward, &batch), STATUS_OK);
    device_free(model_device(model), pool, pool_bytes);
    forward_destroy(forward);
    model_close(model);
}

static float largest_difference(const float *a, const float *b)
{
    float most = 0;

    for (uint32_t i = 0; i < VOCAB; i++) {
        const float d = a[i] > b[i] ? a[i] - b[i] : b[i] - a[i];

        most = d > most ? d : most;
    }
    return most;
}

/* A half-precision number, by its definition. */
static float widen_f16(uint16_t bits)
{
    const int exponent = bits >> 10 & 31, fraction = bits & 1023;
    const float size = exponent > 0 ? ldexpf((float)(fraction + 1024), exponent - 25)
                                    : ldexpf((float)fraction, -24);

    return bits >> 15 ? -size : size;
}

static float widen_bf16(uint16_t bits)
{
    const uint32_t wide = (uint32_t)bits << 16;
    float number;

    memcpy(&number, &wide, sizeof(number));
    return number;
}

struct widening {
    struct safetensors *narrow;
    FILE *wide;
    bool only_norms;
};

static void widen_tensor(void *ctx, const struct safetensors_tensor *tensor, long at)
{
    const struct widening *widening = ctx;
    const struct safetensors_tensor *narrow = safetensors_find(widening->narrow, tensor->name);

    assert_non_null(narrow);
    if (widening->only_norms && strstr(tensor->name, "norm") == NULL)
        return;
    assert_int_equal(fseek(widening->wide, at, SEEK_SET), 0);
    for (uint64_t i = 0; i < narrow->bytes / 2; i++) {
        uint16_t bits;
        float number;

        memcpy(&bits, narrow->data + 2 * i, sizeof(bits));
        number = narrow->dtype == OP_F16 ? widen_f16(bits) : widen_bf16(bits);
        assert_int_equal(fwrite(&number, sizeof(number), 1, widening->wide), 1);
    }
}

/* Writes a narrow checkpoint's numbers over those of one in float32. */
static void widen(const struct fixture *narrow, const struct fixture *wide, bool only_norms)
{
    struct widening widening = {.only_norms = only_norms};

    assert_int_equal(safetensors_open(narrow->folder, NULL, &widening.narrow), STATUS_OK);
    widening.wide = fopen(fixture_path(wide, "model.safetensors"), "r+b");
    assert_non_null(widening.wide);
    each_tensor(wide, widen_tensor, &widening);
    assert_int_equal(fclose(widening.wide), 0);
    safetensors_close(widening.narrow);
}

/* Computed in float32, what is narrow on disk is what it says, no more and no less. */
static void test_wider_than_on_disk(void **state)
{
    static const enum op_dtype dtypes[] = {OP_BF16, OP_F16};
    float narrow[VOCAB], wide[VOCAB], exact[VOCAB];

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct fixture from, to;

        fixture_make_model(&from, TINY, dtypes[i], 1, 0);
        fixture_make_model(&to, TINY, OP_F32, 1, 0);
        logits_of(to.folder, OP_F32, exact);
        widen(&from, &to, false);
        logits_of(from.folder, OP_F32, narrow);
        logits_of(to.folder, OP_F32, wide);
        assert_memory_equal(narrow, wide, sizeof(wide));
        assert_true(largest_difference(narrow, exact) > 0); /* so narrowing does show */
        assert_true(largest_difference(narrow, exact) < 0.05f);
        assert_true(largest_difference(exact, (float[VOCAB]){0}) > 1); /* and there is something */
        fixture_fini(&from);
        fixture_fini(&to);
    }
}

/* Computed in bf16, float32 on disk is rounded as the maker of a bf16 checkpoint rounds. Norms stay
 * float32: here they have bf16's numbers. */
static void test_rounded_when_read(void **state)
{
    struct fixture narrow, wide;
    float from_narrow[VOCAB], from_wide[VOCAB];

    (void)state;
    fixture_make_model(&narrow, TINY, OP_BF16, 1, 0);
    fixture_make_model(&wide, TINY, OP_F32, 1, 0);
    logits_of(narrow.folder, OP_BF16, from_narrow);
    logits_of(wide.folder, OP_BF16, from_wide);
    assert_true(largest_difference(from_narrow, from_wide) > 0); /* by the norms alone */
    widen(&narrow, &wide, true);
    logits_of(wide.folder, OP_BF16, from_wide);
    assert_memory_equal(from_narrow, from_wide, sizeof(from_wide));
    fixture_fini(&narrow);
    fixture_fini(&wide);
}

/* ---- progress, memory, failures ---- */

struct progress {
    uint64_t done, total;
    uint32_t n;
};

static void on_progress(void *ctx, uint64_t done, uint64_t total)
{
    struct progress *progress = ctx;

    assert_true(done > progress->done || progress->n == 0 || done == total);
    assert_true(done <= total);
    assert_true(progress->n == 0 || total == progress->total);
    *progress = (struct progress){done, total, progress->n + 1};
}

static uint64_t resident_bytes(void)
{
    FILE *file = fopen("/proc/self/statm", "r");
    uint64_t size, resident;

    assert_non_null(file);
    assert_int_equal(fscanf(file, "%" SCNu64 " %" SCNu64, &size, &resident), 2);
    assert_int_equal(fclose(file), 0);
    return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* An open model is its packed weights and little else: no page of the files stays. */
static void test_progress_and_memory(void **state)
{
    struct fixture fixture;
    struct progress progress = {0};
    uint64_t before, after;
    struct model *model;

    (void)state;
    fixture_make_model(&fixture, LARGE, OP_BF16, 1, 12 << 20);
    before = resident_bytes();
    model = open_good(&(struct model_open_args){
        .path = fixture.folder, .n_threads = 2, .progress = on_progress, .ctx = &progress});
    after = resident_bytes();
    assert_true(progress.n > 2);
    assert_true(progress.done == progress.total);
    assert_true(progress.total > 40000000 && progress.total <= model_weight_bytes(model));
    assert_true((double)model_weight_bytes(model) < 1.02 * (double)progress.total);
#ifndef SANITIZED
    if (after - before > model_weight_bytes(model) / 10 * 11)
        fail_msg("%" PRIu64 " bytes for %" PRIu64 " of weights", after - before,
                 model_weight_bytes(model));
#else
    (void)before;
    (void)after;
#endif
    model_close(model);
    fixture_fini(&fixture);
}

/* From the n-th on every allocation of base/mem.h fails, for each n: a sentence, and nothing is
 * left. (The device's own memory comes from the system and does not fail here.) TOO_BIG is the
 * arena of names, which cannot tell its limit from the heap's end. */
static void test_no_memory(void **state)
{
    struct fixture fixture;
    struct model_open_args args = {.n_threads = 2};
    enum status status = STATUS_NO_MEMORY;
    int64_t n = 0;

    (void)state;
    fixture_make_model(&fixture, TINY, OP_BF16, 1, 50000);
    args.path = fixture.folder;
    for (; status != STATUS_OK; n++) {
        struct model_error error = {.text = ""};
        struct model *model = NULL;

        mem_fail_after(n);
        status = model_open(&args, &error, &model);
        mem_fail_after(MEM_FAIL_NEVER);
        if (status != STATUS_OK &&
            ((status != STATUS_NO_MEMORY && status != STATUS_TOO_BIG) || error.text[0] == '\0'))
            fail_msg("allocation %" PRId64 ": %s '%s'", n, status_name(status), error.text);
        model_close(model);
        assert_int_equal(mem_live(), 0);
    }
    assert_true(n > 8);
    fixture_fini(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hashes),
        cmocka_unit_test(test_hash_sees_all),
        cmocka_unit_test(test_not_finite),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_wider_than_on_disk),
        cmocka_unit_test(test_rounded_when_read),
        cmocka_unit_test(test_progress_and_memory),
        cmocka_unit_test(test_no_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
