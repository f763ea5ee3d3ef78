/* A tokenizer on a pipe, for scripts that compare it with others. Reads requests from standard
 * input and answers each on standard output; numbers are 32-bit, native order.
 *
 *   usage: tok_pipe FILE
 *   encode: 'e', flags, length, text    -> n, ids
 *   decode: 'd', skip_special, n, ids   -> length, text (pushed one id at a time)
 *
 * n or length is UINT32_MAX when the call failed. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "model/tok_unicode.h"
#include "model/tokenizer.h"

static uint32_t read_u32(void)
{
    uint32_t value = 0;
    CHECK(fread(&value, sizeof value, 1, stdin) == 1);
    return value;
}

static void write_u32(uint32_t value)
{
    CHECK(fwrite(&value, sizeof value, 1, stdout) == 1);
}

static void *read_array(size_t n, size_t bytes_each)
{
    void *array = malloc(n * bytes_each + 1);
    CHECK(array != NULL && fread(array, bytes_each, n, stdin) == n);
    return array;
}

static void answer_encode(const struct tokenizer *tok, struct tokenizer_workspace *work)
{
    int flags = (int)read_u32();
    size_t len = read_u32(), n = 0;
    char *text = read_array(len, 1);
    const uint32_t *ids;
    if (tokenizer_encode(tok, text, len, flags, work, &ids, &n) != STATUS_OK) {
        write_u32(UINT32_MAX);
    } else {
        write_u32((uint32_t)n);
        fwrite(ids, sizeof *ids, n, stdout);
    }
    free(text);
}

/* Each piece must be whole characters. */
static void append(char **text, size_t *len, const char *piece, size_t n)
{
    CHECK_MSG(tok_utf8_valid_prefix(piece, n) == n, "a piece is half a character");
    *text = realloc(*text, *len + n + 1);
    CHECK(*text != NULL);
    memcpy(*text + *len, piece, n);
    *len += n;
}

static void answer_decode(const struct tokenizer *tok)
{
    bool skip = read_u32() != 0;
    size_t n = read_u32(), len = 0, n_piece;
    uint32_t *ids = read_array(n, sizeof *ids);
    struct detokenizer *detok;
    const char *piece;
    char *text = NULL;
    CHECK(detokenizer_create(tok, skip, &detok) == STATUS_OK);
    for (size_t i = 0; i < n; i++) {
        CHECK(detokenizer_push(detok, ids[i], &piece, &n_piece) == STATUS_OK);
        append(&text, &len, piece, n_piece);
    }
    CHECK(detokenizer_flush(detok, &piece, &n_piece) == STATUS_OK);
    append(&text, &len, piece, n_piece);
    write_u32((uint32_t)len);
    fwrite(text, 1, len, stdout);
    detokenizer_destroy(detok);
    free(text);
    free(ids);
}

int main(int argc, char **argv)
{
    struct tokenizer *tok;
    struct tokenizer_workspace *work;
    struct tokenizer_error error;
    if (argc != 2 || tokenizer_open(argv[1], &error, &tok) != STATUS_OK) {
        fprintf(stderr, "tok_pipe: %s\n", argc == 2 ? error.text : "usage: tok_pipe FILE");
        return 1;
    }
    CHECK(tokenizer_workspace_create(tok, &work) == STATUS_OK);
    for (int what = getchar(); what != EOF; what = getchar()) {
        if (what == 'e') {
            answer_encode(tok, work);
        } else {
            answer_decode(tok);
        }
        fflush(stdout);
    }
    tokenizer_workspace_destroy(work);
    tokenizer_close(tok);
    return 0;
}
