/* Files that lie, end too early or ask for what we do not do are refused with a sentence, quickly
 * and without leaving anything behind; so are allocations that fail. */
#include "tests/model_text/tok_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"

/* The refusal's time; sanitizers slow everything down. */
#ifdef TOK_SANITIZED
#define REFUSAL_S_MAX 1.0
#else
#define REFUSAL_S_MAX 0.1
#endif

static double cpu_s(void)
{
    struct timespec at;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &at);
    return (double)at.tv_sec + (double)at.tv_nsec * 1e-9;
}

/* Opens a text that must be refused, from a block that ends where the text does. */
static void refused(const char *json, size_t len, enum status want, const char *words)
{
    char *copy = malloc(len > 0 ? len : 1);
    memcpy(copy, json, len);
    struct tokenizer_error error = {""};
    struct tokenizer *tok;
    double start = cpu_s();
    enum status status = tokenizer_open_memory(copy, len, &error, &tok);
    assert_true(cpu_s() - start < REFUSAL_S_MAX);
    free(copy);
    if (status != want || strlen(error.text) < 20 || strstr(error.text, words) == NULL) {
        fail_msg("%.200s: %s, \"%s\"; expected %s and \"%s\"", json, status_name(status),
                 error.text, status_name(want), words);
    }
    assert_int_equal(mem_live(), 0);
}

#define BPE "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1,\"ab\":2},\"merges\":[\"a b\"]"

static void lies_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *json;
        enum status status;
        const char *words;
    } cases[] = {
        {"", STATUS_MALFORMED, "expected an object, found the end"},
        {"[]", STATUS_MALFORMED, "expected an object, found '['"},
        {"{}", STATUS_MALFORMED, "no \"model\""},
        {"{\"version\":\"2.0\",\"model\":{}}", STATUS_UNSUPPORTED, "version \"2.0\""},
        {"{\"model\":{\"type\":\"WordPiece\"}}", STATUS_UNSUPPORTED, "WordPiece"},
        {"{\"model\":{\"type\":\"BPE\"}}", STATUS_MALFORMED, "no vocab or no merges"},
        {BPE "}} x", STATUS_MALFORMED, "expected the end of the file, found 'x'"},
        {BPE "},\"model\":1}", STATUS_MALFORMED, "there twice"},
        {BPE ",\"dropout\":0.1}}", STATUS_UNSUPPORTED, "dropout"},
        {BPE ",\"unk_token\":\"?\"}}", STATUS_MALFORMED, "unk_token"},
        {"{\"model\":{\"vocab\":{\"a\":0,\"b\":0},\"merges\":[]}}", STATUS_MALFORMED, "twice"},
        {"{\"model\":{\"vocab\":{\"a\":4000000000},\"merges\":[]}}", STATUS_TOO_BIG, "4000000000"},
        {"{\"model\":{\"vocab\":{\"a\":-1},\"merges\":[]}}", STATUS_MALFORMED, "an integer"},
        {"{\"model\":{\"vocab\":{\"a\":0},\"merges\":[\"a b\"]}}", STATUS_MALFORMED,
         "merge 0 joins"},
        {"{\"model\":{\"vocab\":{\"a\":0},\"merges\":[\"a\"]}}", STATUS_MALFORMED, "one space"},
        {"{\"model\":{\"vocab\":{\"a\":0},\"merges\":[[\"a\"]]}}", STATUS_MALFORMED, "two strings"},
        {"{\"model\":{\"vocab\":{\"\\ud800\":0},\"merges\":[]}}", STATUS_MALFORMED, "surrogate"},
        {"{\"model\":{\"vocab\":{\"\xff\":0},\"merges\":[]}}", STATUS_MALFORMED, "valid UTF-8"},
        {"{\"model\":{\"type\":\"Unigram\",\"vocab\":[[\"a\",1e999]]}}", STATUS_MALFORMED,
         "finite"},
        {"{\"model\":{\"type\":\"Unigram\",\"unk_id\":7,\"vocab\":[[\"a\",1]]}}", STATUS_MALFORMED,
         "unk_id is 7"},
        {"\"model\"", STATUS_MALFORMED, "expected an object"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        refused(cases[i].json, strlen(cases[i].json), cases[i].status, cases[i].words);
    }
}

/* One part of a file beside a good model. */
static void bad_part(const char *key, const char *value, enum status status, const char *words)
{
    char json[2048];
    int n = snprintf(json, sizeof json, BPE "},\"%s\":%s}", key, value);
    refused(json, (size_t)n, status, words);
}

static void parts_that_we_lack_are_refused(void **state)
{
    (void)state;
    const char *pre = "pre_tokenizer", *normalizer = "normalizer", *decoder = "decoder";
    bad_part(pre, "{\"type\":\"Magic\"}", STATUS_UNSUPPORTED, "pre-tokenizer \"Magic\"");
    bad_part(pre, "{\"kind\":1}", STATUS_MALFORMED, "\"type\"");
    bad_part(pre, "{\"type\":\"Split\",\"behavior\":\"Isolated\"}", STATUS_MALFORMED, "parameter");
    bad_part(pre,
             "{\"type\":\"Split\",\"behavior\":\"Isolated\",\"pattern\":{\"Regex\":\"[a&&b]\"}}",
             STATUS_UNSUPPORTED, "intersection");
    bad_part(pre, "{\"type\":\"Split\",\"behavior\":\"Isolated\",\"pattern\":{\"Regex\":\"(\"}}",
             STATUS_UNSUPPORTED, "cannot be compiled");
    bad_part(pre, "{\"type\":\"Split\",\"behavior\":\"Half\",\"pattern\":{\"String\":\"a\"}}",
             STATUS_UNSUPPORTED, "behavior \"Half\"");
    bad_part(pre, "{\"type\":\"Sequence\"}", STATUS_MALFORMED, "parameter");
    bad_part(normalizer, "{\"type\":\"BertNormalizer\"}", STATUS_UNSUPPORTED, "normalizer");
    bad_part(normalizer, "{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"AAAA\"}",
             STATUS_MALFORMED, "precompiled_charsmap");
    /* A trie of one unit, and a replacement that is no UTF-8. */
    bad_part(normalizer, "{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"BAAAAAAAAAD/AA==\"}",
             STATUS_MALFORMED, "precompiled_charsmap");
    bad_part(normalizer, "{\"type\":\"Replace\",\"pattern\":{\"String\":\"\"},\"content\":\"\"}",
             STATUS_UNSUPPORTED, "empty text");
    bad_part(decoder, "{\"type\":\"CTC\"}", STATUS_UNSUPPORTED, "decoder \"CTC\"");
    bad_part(decoder,
             "{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Fuse\"},{\"type\":\"ByteLevel\"}]}",
             STATUS_UNSUPPORTED, "joined");
    bad_part("post_processor", "{\"type\":\"TemplateProcessing\",\"single\":[]}",
             STATUS_UNSUPPORTED, "0 times");
    bad_part("added_tokens", "[{\"id\":3}]", STATUS_MALFORMED, "without content");
}

static void deep_nesting_is_refused(void **state)
{
    (void)state;
    static char json[200000];
    for (size_t n = 60; n < sizeof json; n *= 9) {
        memset(json, '[', n);
        memcpy(json, "{\"x\":", 5);
        refused(json, n, STATUS_MALFORMED, n > 70 ? "64 levels" : "expected");
    }
}

static void truncated_files_are_refused(void **state)
{
    (void)state;
    for (size_t k = 0; k < tok_n_kinds; k++) {
        char name[64];
        size_t len;
        snprintf(name, sizeof name, "%s.json", tok_kinds[k]);
        char *json = tok_fixture_read(name, &len);
        for (size_t cut = 0; cut + 1 < len; cut += 1 + cut / 50) {
            refused(json, cut, STATUS_MALFORMED, "at byte");
        }
        free(json);
    }
}

static void missing_files_are_named(void **state)
{
    (void)state;
    struct tokenizer *tok;
    struct tokenizer_error error;
    assert_int_equal(tokenizer_open("/nonexistent/file.json", &error, &tok), STATUS_NOT_FOUND);
    assert_non_null(strstr(error.text, "/nonexistent/file.json"));
    assert_int_equal(tokenizer_open("/dev/null", &error, &tok), STATUS_MALFORMED);
}

/* Every allocation fails once. */
static void failed_allocations_unwind(void **state)
{
    (void)state;
    size_t len;
    char *json = tok_fixture_read("odd_steps.json", &len);
    enum status status = STATUS_NO_MEMORY;
    int n = 0;
    for (; status == STATUS_NO_MEMORY && n < 1000; n++) {
        struct tokenizer *tok = NULL;
        struct tokenizer_workspace *work = NULL;
        const uint32_t *ids;
        size_t n_ids;
        mem_fail_after(n);
        status = tokenizer_open_memory(json, len, NULL, &tok);
        status = status == STATUS_OK ? tokenizer_workspace_create(tok, &work) : status;
        status = status == STATUS_OK
                     ? tokenizer_encode(tok, "Some T\xc3\xa9xt, 123", 14, 3, work, &ids, &n_ids)
                     : status;
        mem_fail_after(MEM_FAIL_NEVER);
        tokenizer_workspace_destroy(work);
        tokenizer_close(tok);
        assert_int_equal(mem_live(), 0);
    }
    assert_int_equal(status, STATUS_OK);
    assert_true(n > 20);
    free(json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lies_are_refused),        cmocka_unit_test(parts_that_we_lack_are_refused),
        cmocka_unit_test(deep_nesting_is_refused), cmocka_unit_test(truncated_files_are_refused),
        cmocka_unit_test(missing_files_are_named), cmocka_unit_test(failed_allocations_unwind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
