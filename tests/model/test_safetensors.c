/* Safetensors files, good and bad: each fault that the format allows to be written is refused with
 * a sentence that names it, quickly and in little memory, and every failing allocation is
 * survived. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "model/safetensors.h"
#include "tests/model/fixture.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1 /* time and memory are not ours alone */
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif

static enum status open_text(const char *header, size_t n_data, struct model_error *error,
                             struct safetensors **st, uint8_t **bytes)
{
    size_t len;

    *bytes = fixture_safetensors(header, n_data, &len);
    return safetensors_open_memory(*bytes, len, error, st);
}

static void test_one_file(void **state)
{
    static const char header[] =
        "{\"__metadata__\":{\"format\":\"pt\"},"
        "\"b\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[8,32]},"
        "\"a\":{\"dtype\":\"BF16\",\"shape\":[4],\"data_offsets\":[0,8]},"
        "\"caf\\u00e9\":{\"dtype\":\"F16\",\"shape\":[],\"data_offsets\":[32,34]},"
        "\"none\":{\"dtype\":\"F32\",\"shape\":[0,7],\"data_offsets\":[8,8]}}      ";
    struct model_error error;
    struct safetensors *st;
    uint8_t *bytes;
    const struct safetensors_tensor *b;

    (void)state;
    assert_int_equal(open_text(header, 34, &error, &st, &bytes), STATUS_OK);
    assert_int_equal(safetensors_n(st), 4);
    assert_int_equal(safetensors_bytes(st), 34);
    assert_int_equal(safetensors_n_files(st), 1);
    assert_string_equal(safetensors_at(st, 0)->name, "a");
    assert_string_equal(safetensors_at(st, 1)->name, "none");
    assert_string_equal(safetensors_at(st, 2)->name, "b");
    b = safetensors_find(st, "b");
    assert_ptr_equal(b, safetensors_at(st, 2));
    assert_int_equal(b->dtype, OP_F32);
    assert_int_equal(b->n_dims, 2);
    assert_int_equal(b->shape[0], 2);
    assert_int_equal(b->shape[1], 3);
    assert_int_equal(b->bytes, 24);
    assert_int_equal(b->data[0], 8);
    assert_int_equal(safetensors_find(st, "caf\xc3\xa9")->bytes, 2);
    assert_null(safetensors_find(st, "c"));
    safetensors_close(st);
    free(bytes);
    assert_int_equal(open_text("{}      ", 0, &error, &st, &bytes), STATUS_OK);
    assert_int_equal(safetensors_n(st), 0);
    assert_null(safetensors_find(st, "a"));
    safetensors_close(st);
    free(bytes);
}

/* One tensor. */
#define T(dtype, shape, from, to)                                                                  \
    "{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":[" from "," to "]}"

struct bad {
    const char *header;
    size_t n_data;
    enum status status;
    const char *says;
};

static const struct bad bad_headers[] = {
    {"", 0, STATUS_MALFORMED, "expected the header's '{'"},
    {" {}", 0, STATUS_MALFORMED, "expected the header's '{'"},
    {"[]", 0, STATUS_MALFORMED, "expected the header's '{'"},
    {"{", 0, STATUS_MALFORMED, "JSON at byte 8"},
    {"{} x", 0, STATUS_MALFORMED, "JSON at byte 3"},
    {"{\"a\":1}", 0, STATUS_MALFORMED, "expected an object"},
    {"{\"a\":" T("F32", "[1]", "0", "4") ",}", 4, STATUS_MALFORMED, "after ','"},
    {"{\"a\":" T("F64", "[1]", "0", "8") "}", 8, STATUS_UNSUPPORTED, "'a' has dtype F64"},
    {"{\"a\":" T("F8_E4M3", "[1]", "0", "1") "}", 1, STATUS_UNSUPPORTED, "dtype F8_E4M3; BF16"},
    {"{\"a\":" T("I64", "[1]", "0", "8") "}", 8, STATUS_UNSUPPORTED, "dtype I64"},
    {"{\"a\":" T("F32", "[2]", "0", "4") "}", 4, STATUS_MALFORMED,
     "need 8 bytes, data_offsets give 4"},
    {"{\"a\":" T("F32", "[1]", "0", "8") "}", 8, STATUS_MALFORMED, "need 4 bytes"},
    {"{\"a\":" T("F32", "[4294967296,4294967296]", "0", "0") "}", 0, STATUS_MALFORMED,
     "more than 2^64"},
    {"{\"a\":" T("F32", "[4611686018427387904]", "0", "0") "}", 0, STATUS_MALFORMED,
     "more than 2^64"},
    {"{\"a\":" T("F32", "[99999999999999999999]", "0", "0") "}", 0, STATUS_MALFORMED,
     "number below 2^64"},
    {"{\"a\":" T("F32", "[-1]", "0", "0") "}", 0, STATUS_MALFORMED, "integer without sign"},
    {"{\"a\":" T("F32", "[1.0]", "0", "4") "}", 4, STATUS_MALFORMED, "expected"},
    {"{\"a\":" T("F32", "[01]", "0", "4") "}", 4, STATUS_MALFORMED, "integer without sign"},
    {"{\"a\":" T("F32", "[1,1,1,1,1]", "0", "4") "}", 4, STATUS_MALFORMED, "more than 4 numbers"},
    {"{\"a\":" T("F32", "[1]", "4", "0") "}", 4, STATUS_MALFORMED, "4 to 0 are not in"},
    {"{\"a\":" T("F32", "[1]", "0", "4") "}", 3, STATUS_MALFORMED,
     "is it truncated? Then download it again"},
    {"{\"a\":" T("F32", "[1]", "18446744073709551612", "0") "}", 4, STATUS_MALFORMED, "not in"},
    {"{\"a\":" T("F32", "[1]", "0", "4") "}   ", 5, STATUS_MALFORMED, "end at byte 4 of 5"},
    {"{}", 5, STATUS_MALFORMED, "has no tensor, but 5 bytes of data"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4, STATUS_MALFORMED, "'a' has no data_offsets"},
    {"{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,4]}}", 4, STATUS_MALFORMED, "'a' has no shape"},
    {"{\"a\":{\"shape\":[1],\"data_offsets\":[0,4]}}", 4, STATUS_MALFORMED, "'a' has no dtype"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0]}}", 4, STATUS_MALFORMED,
     "has 1 numbers, not 2"},
    {"{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4,
     STATUS_MALFORMED, "a field twice"},
    {"{\"a\":{\"type\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, STATUS_MALFORMED,
     "a field 'type'"},
    {"{\"\":" T("F32", "[1]", "0", "4") "}", 4, STATUS_TOO_BIG, "a name '' of 0 bytes"},
    {"{\"a\\u0000b\":" T("F32", "[1]", "0", "4") "}", 4, STATUS_MALFORMED, "contains a zero"},
    {"{\"__metadata__\":{},\"__metadata__\":{}}", 0, STATUS_MALFORMED,
     "__metadata__ is there twice"},
    {"{\"__metadata__\":[]}", 0, STATUS_MALFORMED, "expected an object"},
    {"{\"a\":" T("F16", "[2]", "0", "4") ",\"b\":" T("F16", "[2]", "2", "6") "} ", 6,
     STATUS_MALFORMED, "'a' and 'b' overlap at byte 2"},
    {"{\"a\":" T("F16", "[2]", "0", "4") ",\"b\":" T("F16", "[2]", "0", "4") "} ", 4,
     STATUS_MALFORMED, "overlap"},
    {"{\"a\":" T("F16", "[2]", "0", "4") ",\"b\":" T("F16", "[1]", "6", "8") "} ", 8,
     STATUS_MALFORMED, "a hole of 2 bytes before tensor 'b'"},
    {"{\"a\":" T("F16", "[2]", "2", "6") "} ", 6, STATUS_MALFORMED, "a hole of 2 bytes"},
    {"{\"a\":" T("F16", "[2]", "0", "4") ",\"a\":" T("F16", "[2]", "4", "8") "} ", 8,
     STATUS_MALFORMED, "'a' is there twice"},
    {"{\"a\":" T("F16", "[1]", "0", "2") ",\"b\":" T("F32", "[1]", "2", "6") "} ", 6,
     STATUS_MALFORMED, "not aligned to its 4-byte elements"},
};

static void test_bad_headers(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(bad_headers) / sizeof(bad_headers[0]); i++) {
        const struct bad *bad = &bad_headers[i];
        struct model_error error = {""};
        struct safetensors *st = NULL;
        uint8_t *bytes;
        enum status status = open_text(bad->header, bad->n_data, &error, &st, &bytes);

        if (status != bad->status || strstr(error.text, bad->says) == NULL)
            fail_msg("%s\ngave %s: %s\nexpected %s: %s", bad->header, status_name(status),
                     error.text, status_name(bad->status), bad->says);
        assert_null(st);
        free(bytes);
    }
    assert_int_equal(mem_live(), 0);
}

static void test_bad_lengths(void **state)
{
    static const struct {
        uint8_t bytes[16];
        size_t len;
        const char *says;
    } cases[] = {
        {{0}, 0, "has 0 bytes"},
        {{2, 0, 0, 0, 0, 0, 0}, 7, "has 7 bytes"},
        {{3, 0, 0, 0, 0, 0, 0, 0, '{', '}'}, 10, "its header has 3 bytes, but the file has 10"},
        {{0, 0, 0, 2, 0, 0, 0, 0, '{', '}'}, 10, "its header has 33554432 bytes; at most"},
        {{255, 255, 255, 255, 255, 255, 255, 255, '{', '}'}, 10, "18446744073709551615"},
    };
    struct model_error error;
    struct safetensors *st = NULL;

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        _Alignas(8) uint8_t bytes[16];

        memcpy(bytes, cases[i].bytes, sizeof(bytes));
        assert_int_not_equal(safetensors_open_memory(bytes, cases[i].len, &error, &st), STATUS_OK);
        assert_non_null(strstr(error.text, cases[i].says));
    }
}

/* --- shards --- */

#define INDEX "model.safetensors.index.json"
#define SHARD_1 "{\"b\":" T("F16", "[2]", "0", "4") ",\"a\":" T("F16", "[2]", "4", "8") "}"
#define SHARD_2 "{\"c\":" T("F32", "[1,1]", "0", "4") "}"

static void write_shards(const struct fixture *fixture, const char *weight_map)
{
    char index[1024];

    fixture_write_safetensors(fixture, "m-1.safetensors", SHARD_1, 8);
    fixture_write_safetensors(fixture, "m-2.safetensors", SHARD_2, 4);
    snprintf(index, sizeof(index), "{\"metadata\":{\"total_size\":12},\"weight_map\":{%s}}",
             weight_map);
    fixture_write_text(fixture, INDEX, index);
}

static const char good_map[] =
    "\"a\":\"m-1.safetensors\",\"c\":\"m-2.safetensors\",\"b\":\"m-1.safetensors\"";

static void test_shards(void **state)
{
    struct fixture fixture;
    struct model_error error = {""};
    struct safetensors *st;

    (void)state;
    fixture_init(&fixture);
    write_shards(&fixture, good_map);
    enum status status = safetensors_open(fixture.folder, &error, &st);
    if (status != STATUS_OK)
        fail_msg("%s", error.text);
    assert_int_equal(safetensors_n(st), 3);
    assert_int_equal(safetensors_n_files(st), 2);
    assert_string_equal(safetensors_at(st, 0)->name, "b");
    assert_string_equal(safetensors_at(st, 1)->name, "a");
    assert_string_equal(safetensors_at(st, 2)->name, "c");
    assert_string_equal(safetensors_file_name(st, safetensors_find(st, "c")->file),
                        "m-2.safetensors");
    assert_int_equal(safetensors_find(st, "a")->data[0], 4);
    for (uint32_t i = 0; i < 3; i++)
        safetensors_forget(st, safetensors_at(st, i));
    assert_int_equal(safetensors_find(st, "a")->data[0], 4);
    safetensors_close(st);
    fixture_fini(&fixture);
}

static void test_bad_shards(void **state)
{
    static const struct {
        const char *map, *says;
    } cases[] = {
        {"", "has no tensor in a weight_map"},
        {"\"a\":\"m-1.safetensors\",\"c\":\"m-2.safetensors\"",
         "m-1.safetensors: has a tensor 'b' that"},
        {"\"a\":\"m-1.safetensors\",\"b\":\"m-1.safetensors\",\"c\":\"m-2.safetensors\","
         "\"d\":\"m-2.safetensors\"",
         "tensor 'd' is in m-2.safetensors, but it is not"},
        {"\"a\":\"m-1.safetensors\",\"b\":\"m-2.safetensors\",\"c\":\"m-2.safetensors\"", "'b'"},
        {"\"a\":\"m-1.safetensors\",\"a\":\"m-1.safetensors\",\"b\":\"m-1.safetensors\","
         "\"c\":\"m-2.safetensors\"",
         "'a'"},
        {"\"a\":\"m-3.safetensors\"",
         "m-3.safetensors: cannot be opened: No such file or directory; "
         "model.safetensors.index.json names it: download it"},
        {"\"a\":\"../m-1.safetensors\"", "in the same folder"},
        {"\"a\":\".safetensors\"", "in the same folder"},
        {"\"a\":\"/dev/zero\"", "in the same folder"},
        {"\"a\":7", "JSON at byte"},
        {"\"a\":\"m-1.safetensors\"}", "JSON at byte"},
    };
    struct fixture fixture;
    struct model_error error;
    struct safetensors *st = NULL;
    char path[256];

    (void)state;
    fixture_init(&fixture);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        write_shards(&fixture, cases[i].map);
        assert_int_not_equal(safetensors_open(fixture.folder, &error, &st), STATUS_OK);
        if (strstr(error.text, cases[i].says) == NULL)
            fail_msg("%s gave: %s", cases[i].map, error.text);
    }
    write_shards(&fixture, good_map);
    fixture_write_text(&fixture, INDEX,
                       "{\"weight_map\":{\"a\":\"b.safetensors\"},\"weight_map\":{}}");
    assert_int_equal(safetensors_open(fixture.folder, &error, &st), STATUS_MALFORMED);
    assert_non_null(strstr(error.text, "twice"));
    assert_int_equal(safetensors_open("/dev/null", &error, &st), STATUS_INVALID);
    assert_non_null(strstr(error.text, "no regular file"));
    fixture_fini(&fixture);
    fixture_init(&fixture);
    assert_int_equal(safetensors_open(fixture.folder, &error, &st), STATUS_NOT_FOUND);
    assert_non_null(strstr(error.text, "has neither model.safetensors nor"));
    /* What a download that was not finished leaves. */
    snprintf(path, sizeof(path), "%s", fixture_path(&fixture, "model.safetensors"));
    assert_int_equal(symlink("../../blobs/1234", path), 0);
    assert_int_equal(safetensors_open(fixture.folder, &error, &st), STATUS_IO);
    assert_non_null(strstr(error.text, "model.safetensors: is a link to ../../blobs/1234, which"));
    assert_int_equal(unlink(path), 0);
    fixture_write_text(&fixture, "model.safetensors",
                       "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 9\n");
    assert_int_equal(safetensors_open(fixture.folder, &error, &st), STATUS_MALFORMED);
    assert_non_null(strstr(error.text, "model.safetensors: is a Git LFS pointer, not the file: run"
                                       " git lfs pull"));
    fixture_fini(&fixture);
    assert_int_equal(mem_live(), 0);
}

/* --- limits and memory --- */

/* A header full of tensors without data and with `tail` behind them. */
static char *large_header(uint32_t n, const char *tail)
{
    char *text = malloc((size_t)n * 160 + strlen(tail) + 16), *at = text;

    assert_non_null(text);
    *at++ = '{';
    for (uint32_t i = 0; i < n; i++)
        at += sprintf(at,
                      "\"model.layers.%u.a_name_as_long_as_those_of_experts.weight\":"
                      "{\"dtype\":\"BF16\",\"shape\":[0,1],\"data_offsets\":[0,0]},",
                      (n - i) * 7919 % n);
    strcpy(at, tail);
    return text;
}

/* In a process that may take 64 MiB more than it has: is the folder refused for what it is? */
static void check_within_64_mib(const char *folder)
{
#ifndef SANITIZED
    int how;
    pid_t child = fork();

    if (child == 0) {
        struct rlimit limit;
        struct safetensors *st;
        FILE *file = fopen("/proc/self/statm", "r");
        unsigned long pages = 0;

        if (file == NULL || fscanf(file, "%lu", &pages) != 1)
            _exit(2);
        limit.rlim_cur = limit.rlim_max = pages * (rlim_t)sysconf(_SC_PAGESIZE) + (64u << 20);
        if (setrlimit(RLIMIT_AS, &limit) != 0)
            _exit(3);
        _exit(safetensors_open(folder, NULL, &st) == STATUS_MALFORMED ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &how, 0), child);
    assert_true(WIFEXITED(how));
    assert_int_equal(WEXITSTATUS(how), 0);
#else
    (void)folder;
#endif
}

/* As many bytes as a header may have: `piece` again and again between two texts. */
static char *repeated_header(const char *front, const char *piece, const char *back)
{
    const size_t max = (size_t)SAFETENSORS_HEADER_MAX - 8, n = strlen(piece);
    char *text = malloc(max + 1), *at = text;

    assert_non_null(text);
    at = stpcpy(at, front);
    while ((size_t)(at - text) + n + strlen(back) <= max)
        at = stpcpy(at, piece);
    strcpy(at, back);
    return text;
}

static void check_refused_quickly(const char *what, char *header, const char *says)
{
    struct fixture fixture;
    struct model_error error;
    struct safetensors *st = NULL;
    clock_t best = 0; /* processor time: other people's load is not ours */

    fixture_init(&fixture);
    fixture_write_safetensors(&fixture, "model.safetensors", header, 4);
    free(header);
    for (int i = 0; i < 5; i++) {
        clock_t start = clock();

        assert_int_equal(safetensors_open(fixture.folder, &error, &st), STATUS_MALFORMED);
        clock_t took = clock() - start;
        best = i == 0 || took < best ? took : best;
    }
    if (strstr(error.text, says) == NULL)
        fail_msg("%s: %s", what, error.text);
    print_message("%s: refused in %.1f ms\n", what, (double)best * 1e3 / CLOCKS_PER_SEC);
#ifndef SANITIZED
    assert_true(best < CLOCKS_PER_SEC / 10);
#endif
    check_within_64_mib(fixture.folder);
    fixture_fini(&fixture);
}

/* The largest files that are still read, wrong at the very end. */
static void test_refused_quickly(void **state)
{
    (void)state;
    check_refused_quickly("wrong span", large_header(70000, "\"x\":" T("F32", "[9]", "0", "4") "}"),
                          "need 36 bytes");
    check_refused_quickly("wrong end", large_header(70000, "\"x\":" T("F32", "[0]", "0", "0") "}"),
                          "end at byte 0 of 4");
    check_refused_quickly("long text", repeated_header("{\"__metadata__\":{\"a\":\"", "x", "\"}}"),
                          "no tensor, but 4 bytes");
    check_refused_quickly("many values",
                          repeated_header("{\"__metadata__\":{\"a\":[", "[1],", "1]}}"),
                          "no tensor, but 4 bytes");
}

static void test_too_many(void **state)
{
    char *header =
        large_header(SAFETENSORS_TENSORS_MAX - 1, "\"x\":" T("F32", "[0]", "0", "0") "}");
    struct model_error error;
    struct safetensors *st = NULL;
    uint8_t *bytes;

    (void)state;
    /* Their names differ only below n, so that the limit is what is met. */
    enum status status = open_text(header, 0, &error, &st, &bytes);
    free(bytes);
    free(header);
    if (status == STATUS_OK)
        safetensors_close(st);
    else
        assert_int_equal(status, STATUS_TOO_BIG); /* the header's own limit */
    assert_int_equal(mem_live(), 0);
}

static void test_no_memory(void **state)
{
    struct fixture fixture;
    struct model_error error;
    struct safetensors *st = NULL;
    int n = 0;

    (void)state;
    fixture_init(&fixture);
    write_shards(&fixture, good_map);
    for (;; n++) {
        mem_fail_after(n);
        enum status status = safetensors_open(fixture.folder, &error, &st);
        mem_fail_after(MEM_FAIL_NEVER);
        if (status == STATUS_OK)
            break;
        assert_true(status == STATUS_NO_MEMORY || status == STATUS_TOO_BIG);
        assert_int_equal(mem_live(), 0);
    }
    assert_true(n > 5);
    safetensors_close(st);
    assert_int_equal(mem_live(), 0);
    fixture_fini(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_file),    cmocka_unit_test(test_bad_headers),
        cmocka_unit_test(test_bad_lengths), cmocka_unit_test(test_shards),
        cmocka_unit_test(test_bad_shards),  cmocka_unit_test(test_refused_quickly),
        cmocka_unit_test(test_too_many),    cmocka_unit_test(test_no_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
