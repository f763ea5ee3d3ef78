/* Bounds: 1 MiB of hostile text takes at most 1 s and 64 MiB, and a vocabulary of 128k entries
 * loads in at most 0.5 s. CPU time counts, so that a busy machine does not fail the test. */
#include "tests/model_text/tok_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "model/tok_unicode.h"

#define TEXT_BYTES ((size_t)1 << 20)
#ifdef TOK_SANITIZED
#define SLOWER 20.0
#define MEMORY_MIB_MAX 1024
#else
#define SLOWER 1.0
#define MEMORY_MIB_MAX 64
#endif

static double cpu_s(void)
{
    struct timespec at;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &at);
    return (double)at.tv_sec + (double)at.tv_nsec * 1e-9;
}

static long peak_kib(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss;
}

/* Texts that are one pattern over and over. */
static const char *const patterns[] = {
    "a",
    " ",
    "\n",
    " \n",
    "A",
    "1",
    "'",
    "aB",
    "\xff",
    "\t ",
    "\xf0\x9f\x98",
    "\xe4\xb8\xad",
    "\xe2\x96\x81",
    "a\xcc\x96\xcc\x81",
    "\xcc\x96\xcc\x81",
    "\xef\xb7\xba",
    "<|",
    "- ",
    "\xf0\x9f\x91\xa9\xe2\x80\x8d",
};
#define N_PATTERNS (sizeof patterns / sizeof *patterns)

/* Fills `text` [TEXT_BYTES] with the i-th text; the last ones are random. */
static const char *hostile_text(size_t i, char *text)
{
    uint64_t seed = 0x9e3779b97f4a7c15u + i;
    if (i < N_PATTERNS) {
        size_t n = strlen(patterns[i]);
        for (size_t at = 0; at < TEXT_BYTES; at++) {
            text[at] = patterns[i][at % n];
        }
        return patterns[i];
    }
    if (i == N_PATTERNS) {
        memset(text, ' ', TEXT_BYTES);
        text[TEXT_BYTES - 1] = 'x';
        return "spaces before an x";
    }
    if (i == N_PATTERNS + 1) {
        for (size_t at = 0; at < TEXT_BYTES; at++) {
            text[at] = (char)tok_random(&seed);
        }
        return "random bytes";
    }
    memset(text, 'z', TEXT_BYTES);
    for (size_t at = 0; at + 4096 < TEXT_BYTES;) {
        at += tok_random_text(&seed, text + at, 4096);
    }
    return "mixed scripts";
}
#define N_TEXTS (N_PATTERNS + 3)

/* In a child of its own, because a process's peak of memory never falls. */
static void encode_in_child(const struct tokenizer *tok, const char *name, size_t i)
{
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        static char text[TEXT_BYTES];
        const char *what = hostile_text(i, text);
        struct tokenizer_workspace *work;
        const uint32_t *ids;
        size_t n;
        long before = peak_kib();
        double start = cpu_s();
        bool good = tokenizer_workspace_create(tok, &work) == STATUS_OK &&
                    tokenizer_encode(tok, text, TEXT_BYTES, 3, work, &ids, &n) == STATUS_OK;
        double took = cpu_s() - start;
        long mib = (peak_kib() - before) / 1024;
        if (!good || took > 1.0 * SLOWER || mib > MEMORY_MIB_MAX) {
            fprintf(stderr, "%s, %s: %s, %.2f s, %ld MiB\n", name, what, good ? "ok" : "failed",
                    took, mib);
            _exit(1);
        }
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

static void hostile_text_is_bounded(void **state)
{
    (void)state;
    static const char *const kinds[] = {"gpt2",   "llama3",    "qwen2",   "o200k",     "deepseek",
                                        "llama2", "metaspace", "unigram", "word_marks"};
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        struct tokenizer *tok = tok_fixture_open(kinds[k]);
        for (size_t i = 0; i < N_TEXTS; i++) {
            encode_in_child(tok, kinds[k], i);
        }
        tokenizer_close(tok);
    }
}

/* A byte-level BPE file of `n` entries: letters, then each entry a merge of two earlier ones. */
static char *make_large(size_t n, size_t *len)
{
    char *json = NULL;
    size_t *lens = calloc(n, sizeof *lens);
    char(*texts)[20] = calloc(n, sizeof *texts);
    FILE *file = open_memstream(&json, len);
    assert_true(lens != NULL && texts != NULL && file != NULL);
    fprintf(file, "{\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false},"
                  "\"model\":{\"type\":\"BPE\",\"vocab\":{");
    /* Entry i >= 26 is entry (i - 26) / 26 followed by the letter i % 26: all are different. */
    for (size_t i = 0; i < n; i++) {
        snprintf(texts[i], sizeof texts[i], "%s%c", i < 26 ? "" : texts[(i - 26) / 26],
                 (char)('a' + i % 26));
        fprintf(file, "%s\"%s\":%zu", i > 0 ? "," : "", texts[i], i);
    }
    fprintf(file, "},\"merges\":[");
    for (size_t i = 26; i < n; i++) {
        fprintf(file, "%s[\"%s\",\"%c\"]", i > 26 ? "," : "", texts[(i - 26) / 26],
                (char)('a' + i % 26));
    }
    fprintf(file, "]}}");
    fclose(file);
    free(texts);
    free(lens);
    return json;
}

static void large_vocabularies_load_fast(void **state)
{
    (void)state;
    size_t len;
    char *json = make_large(128000, &len);
    struct tokenizer *tok = NULL;
    struct tokenizer_error error = {""};
    double start = cpu_s();
    enum status status = tokenizer_open_memory(json, len, &error, &tok);
    double took = cpu_s() - start;
    free(json);
    if (status != STATUS_OK || took > 0.5 * SLOWER) {
        fail_msg("%s, %.3f s %s", status_name(status), took, error.text);
    }
    assert_int_equal(tokenizer_n_ids(tok), 128000);
    print_message("128000 entries: %.3f s\n", took);
    tokenizer_close(tok);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hostile_text_is_bounded),
        cmocka_unit_test(large_vocabularies_load_fast),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
