/* Speed of the tokenizer on one core: loading a file, encoding a text, decoding its ids.
 *
 *   usage: tok_bench FILE.json TEXT [SECONDS]
 *
 * Prints one line of JSON. The text's documents end with a zero byte each; a round encodes all of
 * them, with one workspace. `first_s` is the round with an empty cache; of the others the best
 * counts, because these machines are shared. tok_bench.py runs this beside Hugging Face's package.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "base/check.h"
#include "model/tokenizer.h"

/* The processor's time, not the clock's: others run here too. */
static double now_s(void)
{
    struct timespec at;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &at);
    return (double)at.tv_sec + (double)at.tv_nsec * 1e-9;
}

static char *read_file(const char *path, size_t *len)
{
    FILE *file = fopen(path, "rb");
    CHECK_MSG(file != NULL, "cannot open the text");
    fseek(file, 0, SEEK_END);
    *len = (size_t)ftell(file);
    rewind(file);
    char *text = malloc(*len + 1);
    CHECK(text != NULL && fread(text, 1, *len, file) == *len);
    fclose(file);
    return text;
}

static long rss_kib(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss;
}

/* Encodes document after document; returns the sum of the ids. */
static size_t encode_all(const struct tokenizer *tok, struct tokenizer_workspace *work,
                         const char *text, size_t len)
{
    size_t n_all = 0;
    for (const char *at = text, *end = text + len; at < end;) {
        const char *stop = memchr(at, 0, (size_t)(end - at));
        stop = stop != NULL ? stop : end;
        const uint32_t *ids;
        size_t n_ids;
        CHECK(tokenizer_encode(tok, at, (size_t)(stop - at), 0, work, &ids, &n_ids) == STATUS_OK);
        n_all += n_ids;
        at = stop + 1;
    }
    return n_all;
}

static double decode_s(const struct tokenizer *tok, const uint32_t *ids, size_t n)
{
    struct detokenizer *detok;
    const char *text;
    size_t len;
    CHECK(detokenizer_create(tok, false, &detok) == STATUS_OK);
    double start = now_s();
    for (size_t i = 0; i < n; i++) {
        CHECK(detokenizer_push(detok, ids[i], &text, &len) == STATUS_OK);
    }
    double took = now_s() - start;
    detokenizer_destroy(detok);
    return took;
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        fprintf(stderr, "usage: tok_bench FILE.json TEXT [SECONDS]\n");
        return 2;
    }
    double limit = argc > 3 ? atof(argv[3]) : 2.0;
    struct tokenizer *tok;
    struct tokenizer_workspace *work;
    struct tokenizer_error error;
    double start = now_s();
    if (tokenizer_open(argv[1], &error, &tok) != STATUS_OK) {
        fprintf(stderr, "tok_bench: %s\n", error.text);
        return 1;
    }
    double load = now_s() - start;
    CHECK(tokenizer_workspace_create(tok, &work) == STATUS_OK);
    size_t len, n_ids = 0;
    char *text = read_file(argv[2], &len);
    long before = rss_kib();
    double first = 0, best = 1e9, begin = now_s();
    do {
        start = now_s();
        n_ids = encode_all(tok, work, text, len);
        double took = now_s() - start;
        first = first == 0 ? took : first;
        best = took < best ? took : best;
    } while (now_s() - begin < limit);
    long grew = rss_kib() - before;
    const uint32_t *ids;
    size_t n_last;
    CHECK(tokenizer_encode(tok, text, len, 0, work, &ids, &n_last) == STATUS_OK);
    double decoded = decode_s(tok, ids, n_last);
    printf("{\"bytes\": %zu, \"ids\": %zu, \"load_s\": %.4f, \"first_s\": %.4f, \"encode_mb_s\": "
           "%.2f, "
           "\"decode_mb_s\": %.2f, \"grew_mib\": %.1f}\n",
           len, n_ids, load, first, (double)len / best / 1e6, (double)len / decoded / 1e6,
           (double)grew / 1024);
    free(text);
    tokenizer_workspace_destroy(work);
    tokenizer_close(tok);
    return 0;
}
