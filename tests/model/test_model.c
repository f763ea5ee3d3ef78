/* Opening a model: what its hashes depend on, what is refused, how failures unwind, what progress
 * tells and what memory it takes. What the weights compute is tested beside the reference and in
 * tests/exact; here only that every dtype on disk gives the same numbers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "model/forward.h"
#include "model/make_model.h"
#include "tests/model/fixture.h"

#define TINY                                                                                       \
    "{\"model_type\":\"llama\",\"vocab_size\":300,\"hidden_size\":64,\"intermediate_size\":96,"    \
    "\"num_hidden_layers\":2,\"num_attention_heads\":4,\"num_key_value_heads\":2,"                 \
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

static void make(struct fixture *fixture, const char *json, enum op_dtype dtype, uint64_t seed,
                 uint64_t shard_bytes)
{
    struct fixture source;
    struct model_error error;
    struct make_model_result result;
    struct make_model_args args = {
        .seed = seed,
        .deviation = 0.2,
        .dtype_given = true,
        .dtype = dtype,
        .shard_bytes = shard_bytes,
    };

    fixture_init(&source);
    fixture_init(fixture);
    fixture_write_text(&source, "config.json", json);
    args.config = source.folder;
    args.out = fixture->folder;
    if (make_model(&args, &error, &result) != STATUS_OK)
        fail_msg("%s", error.text);
    fixture_fini(&source);
}

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
    make(&whole, TINY, OP_BF16, 1, 0);
    make(&shards, TINY, OP_BF16, 1, 20000);
    make(&other, TINY, OP_BF16, 2, 0);
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

/* One changed bit of any tensor is another hash. */
static void test_hash_sees_all(void **state)
{
    struct fixture fixture;
    struct model_open_args args = {.n_threads = 1};
    uint64_t config, weights, n_header;
    long size;
    FILE *file;

    (void)state;
    make(&fixture, TINY, OP_BF16, 1, 0);
    args.path = fixture.folder;
    weights = weights_hash(&args, &config);
    file = fopen(fixture_path(&fixture, "model.safetensors"), "r+b");
    assert_non_null(file);
    assert_int_equal(fread(&n_header, sizeof(n_header), 1, file), 1);
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    size = ftell(file);
    for (long at = 8 + (long)n_header; at < size; at += 9998) {
        for (int back = 0; back < 2; back++) {
            int byte;

            assert_int_equal(fseek(file, at, SEEK_SET), 0);
            byte = fgetc(file) ^ 1;
            assert_int_equal(fseek(file, at, SEEK_SET), 0);
            assert_int_equal(fputc(byte, file), byte);
            assert_int_equal(fflush(file), 0);
            assert_int_equal(weights_hash(&args, &config) == weights, back);
        }
    }
    assert_int_equal(fclose(file), 0);
    fixture_fini(&fixture);
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
    make(&fixture, TINY, OP_BF16, 1, 0);
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
    make(&fixture, TINY, OP_F32, 1, 0);
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
    make(&fixture, TINY, OP_BF16, 1, 0);
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

/* fp32 on disk is rounded as bf16 on disk was; but for norms, which stay fp32. fp16 is close. */
static void test_dtypes_on_disk(void **state)
{
    static float from[3][2][VOCAB]; /* [on disk][computed in] */
    struct fixture fixture;

    (void)state;
    for (uint32_t i = 0; i < 3; i++) {
        make(&fixture, TINY, (enum op_dtype)i, 1, 0);
        logits_of(fixture.folder, OP_BF16, from[i][OP_BF16]);
        logits_of(fixture.folder, OP_F32, from[i][OP_F32]);
        fixture_fini(&fixture);
    }
    for (uint32_t i = 0; i < 3; i++) {
        assert_true(largest_difference(from[i][OP_F32], from[OP_F32][OP_F32]) < 0.05f);
        assert_true(largest_difference(from[i][OP_BF16], from[OP_F32][OP_F32]) < 0.2f);
    }
    assert_true(largest_difference(from[OP_F16][OP_F32], from[OP_F32][OP_F32]) <
                largest_difference(from[OP_BF16][OP_F32], from[OP_F32][OP_F32]));
    assert_true(largest_difference(from[OP_F16][OP_F32], from[OP_F32][OP_F32]) > 0);
    assert_true(largest_difference(from[0][OP_F32], (float[VOCAB]){0}) >
                1); /* there is something */
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
    make(&fixture, LARGE, OP_BF16, 1, 12 << 20);
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

/* Each allocation fails once: a sentence, and nothing is left. TOO_BIG is the arena of names, which
 * cannot tell its limit from the heap's end. */
static void test_no_memory(void **state)
{
    struct fixture fixture;
    struct model_open_args args = {.n_threads = 2};
    enum status status = STATUS_NO_MEMORY;
    int64_t n = 0;

    (void)state;
    make(&fixture, TINY, OP_BF16, 1, 50000);
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
        cmocka_unit_test(test_hashes),         cmocka_unit_test(test_hash_sees_all),
        cmocka_unit_test(test_not_finite),     cmocka_unit_test(test_refused),
        cmocka_unit_test(test_dtypes_on_disk), cmocka_unit_test(test_progress_and_memory),
        cmocka_unit_test(test_no_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
