/* The tokenizer against stored vectors of the reference, and its own promises: lookups, special
 * tokens, streams of ids, workspaces that do not leak from one text into the next. */
#include "tests/model_text/tok_fixture.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "model/tok_unicode.h"

/* Decodes hexadecimal; "-" is the empty text. */
static size_t from_hex(const char *hex, size_t len, char *out)
{
    size_t n = 0;
    for (size_t i = 0; i + 1 < len; i += 2) {
        unsigned byte;
        assert_int_equal(sscanf(hex + i, "%2x", &byte), 1);
        out[n++] = (char)byte;
    }
    return n;
}

/* One line: flags, text, ids. */
static void check_line(const char *kind, const struct tokenizer *tok,
                       struct tokenizer_workspace *work, char *line)
{
    int flags = atoi(line);
    char *hex = strchr(line, ' ') + 1, *end = strchr(hex, ' ');
    char text[4096];
    size_t len = from_hex(hex, (size_t)(end - hex), text);
    const uint32_t *ids;
    size_t n;
    assert_int_equal(tokenizer_encode(tok, text, len, flags, work, &ids, &n), STATUS_OK);
    size_t i = 0;
    for (char *at = end; *at != 0 && at[strspn(at, " ")] != 0; i++) {
        unsigned long want = strtoul(at, &at, 10);
        if (i >= n || ids[i] != want) {
            fail_msg("%s: id %zu is %u, expected %lu, in: %s", kind, i, i < n ? ids[i] : 0, want,
                     line);
        }
    }
    assert_int_equal(i, n);
}

static void vectors_agree(void **state)
{
    (void)state;
    for (size_t k = 0; k < tok_n_kinds; k++) {
        char name[64];
        size_t len;
        unsigned n_lines = 0;
        struct tokenizer *tok = tok_fixture_open(tok_kinds[k]);
        struct tokenizer_workspace *work;
        assert_int_equal(tokenizer_workspace_create(tok, &work), STATUS_OK);
        snprintf(name, sizeof name, "%s.txt", tok_kinds[k]);
        char *lines = tok_fixture_read(name, &len), *save;
        for (char *line = strtok_r(lines, "\n", &save); line != NULL;
             line = strtok_r(NULL, "\n", &save)) {
            check_line(tok_kinds[k], tok, work, line);
            n_lines++;
        }
        assert_true(n_lines >= 200);
        free(lines);
        tokenizer_workspace_destroy(work);
        tokenizer_close(tok);
    }
    assert_int_equal(mem_live(), 0);
}

static void bytes_are_their_own_ids(void **state)
{
    (void)state;
    struct tokenizer *tok;
    struct tokenizer_workspace *work;
    struct detokenizer *detok;
    assert_int_equal(tokenizer_open_bytes(&tok), STATUS_OK);
    assert_int_equal(tokenizer_workspace_create(tok, &work), STATUS_OK);
    assert_int_equal(detokenizer_create(tok, true, &detok), STATUS_OK);
    assert_int_equal(tokenizer_n_ids(tok), 256);
    char all[256];
    for (int i = 0; i < 256; i++) {
        all[i] = (char)i;
    }
    const uint32_t *ids;
    size_t n, len;
    assert_int_equal(tokenizer_encode(tok, all, 256, TOKENIZER_ADD_SPECIAL, work, &ids, &n),
                     STATUS_OK);
    assert_int_equal(n, 256);
    for (uint32_t i = 0; i < 256; i++) {
        assert_int_equal(ids[i], i);
    }
    /* U+20AC in three pushes: nothing, nothing, all of it. */
    const char *text;
    const uint32_t euro[] = {0xe2, 0x82, 0xac};
    for (int i = 0; i < 3; i++) {
        assert_int_equal(detokenizer_push(detok, euro[i], &text, &len), STATUS_OK);
        assert_int_equal(len, i < 2 ? 0 : 3);
    }
    assert_memory_equal(text, "\xe2\x82\xac", 3);
    detokenizer_destroy(detok);
    tokenizer_workspace_destroy(work);
    tokenizer_close(tok);
}

static void special_tokens_are_text_unless_asked_for(void **state)
{
    (void)state;
    struct tokenizer *tok = tok_fixture_open("llama3");
    struct tokenizer_workspace *work;
    assert_int_equal(tokenizer_workspace_create(tok, &work), STATUS_OK);
    uint32_t end = tokenizer_find(tok, "<|end|>", 7), begin = tokenizer_find(tok, "<|begin|>", 9);
    assert_true(tokenizer_is_special(tok, end) && tokenizer_is_special(tok, begin));
    assert_false(tokenizer_is_special(tok, 0));
    assert_int_equal(tokenizer_find(tok, "no such piece", 13), TOKENIZER_ID_NONE);
    const uint32_t *ids;
    size_t n;
    tokenizer_encode(tok, "<|end|>", 7, 0, work, &ids, &n);
    assert_true(n > 1);
    for (size_t i = 0; i < n; i++) {
        assert_false(tokenizer_is_special(tok, ids[i]));
    }
    tokenizer_encode(tok, "<|end|>", 7, TOKENIZER_PARSE_SPECIAL | TOKENIZER_ADD_SPECIAL, work, &ids,
                     &n);
    assert_int_equal(n, 2);
    assert_int_equal(ids[0], begin);
    assert_int_equal(ids[1], end);
    tokenizer_workspace_destroy(work);
    tokenizer_close(tok);
}

static void pieces_lead_back_to_their_ids(void **state)
{
    (void)state;
    for (size_t k = 0; k < tok_n_kinds; k++) {
        struct tokenizer *tok = tok_fixture_open(tok_kinds[k]);
        for (uint32_t id = 0; id < tokenizer_n_ids(tok); id++) {
            char piece[TOKENIZER_PIECE_MAX];
            size_t len = tokenizer_piece(tok, id, piece, sizeof piece);
            if (len > 0) {
                assert_int_equal(tokenizer_find(tok, piece, len), id);
            }
        }
        assert_int_equal(tokenizer_piece(tok, tokenizer_n_ids(tok), NULL, 0), 0);
        tokenizer_close(tok);
    }
}

/* Pushes ids and checks that each piece is whole characters; returns the whole length. */
static size_t push_all(struct detokenizer *detok, const uint32_t *ids, size_t n, char *out)
{
    size_t total = 0, len;
    const char *piece;
    for (size_t i = 0; i <= n; i++) {
        enum status status = i < n ? detokenizer_push(detok, ids[i], &piece, &len)
                                   : detokenizer_flush(detok, &piece, &len);
        assert_int_equal(status, STATUS_OK);
        assert_int_equal(tok_utf8_valid_prefix(piece, len), len);
        memcpy(out + total, piece, len);
        total += len;
    }
    return total;
}

/* Byte-level vocabularies give every text back; and any ids give whole characters, the same ones
 * after a reset. */
static void streams_give_whole_characters(void **state)
{
    (void)state;
    uint64_t seed = 88172645463325252u;
    char text[600], first[1 << 16], second[1 << 16];
    for (size_t k = 0; k < tok_n_kinds; k++) {
        struct tokenizer *tok = tok_fixture_open(tok_kinds[k]);
        struct tokenizer_workspace *work;
        struct detokenizer *detok;
        assert_int_equal(tokenizer_workspace_create(tok, &work), STATUS_OK);
        assert_int_equal(detokenizer_create(tok, false, &detok), STATUS_OK);
        bool exact = strcmp(tok_kinds[k], "gpt2") == 0 || strcmp(tok_kinds[k], "o200k") == 0;
        for (int round = 0; round < 300; round++) {
            const uint32_t *ids;
            size_t n, len = tok_random_text(&seed, text, sizeof text);
            assert_int_equal(tokenizer_encode(tok, text, len, 0, work, &ids, &n), STATUS_OK);
            detokenizer_reset(detok);
            size_t back = push_all(detok, ids, n, first);
            if (exact) {
                assert_int_equal(back, len);
                assert_memory_equal(first, text, len);
            }
            uint32_t noise[40];
            for (size_t i = 0; i < 40; i++) {
                noise[i] = (uint32_t)tok_random(&seed) % (tokenizer_n_ids(tok) + 2);
            }
            detokenizer_reset(detok);
            size_t a = push_all(detok, noise, 40, first);
            detokenizer_reset(detok);
            size_t b = push_all(detok, noise, 40, second);
            assert_int_equal(a, b);
            assert_memory_equal(first, second, a);
        }
        detokenizer_destroy(detok);
        tokenizer_workspace_destroy(work);
        tokenizer_close(tok);
    }
}

/* What a text becomes depends on nothing that the workspace saw before. */
static void workspaces_remember_nothing(void **state)
{
    (void)state;
    uint64_t seed = 4101842887655102017u;
    char text[300];
    for (size_t k = 0; k < tok_n_kinds; k++) {
        struct tokenizer *tok = tok_fixture_open(tok_kinds[k]);
        struct tokenizer_workspace *old, *fresh;
        assert_int_equal(tokenizer_workspace_create(tok, &old), STATUS_OK);
        for (int round = 0; round < 40; round++) {
            const uint32_t *a, *b;
            size_t n_a, n_b, len = tok_random_text(&seed, text, sizeof text);
            assert_int_equal(tokenizer_workspace_create(tok, &fresh), STATUS_OK);
            assert_int_equal(tokenizer_encode(tok, text, len, 3, old, &a, &n_a), STATUS_OK);
            assert_int_equal(tokenizer_encode(tok, text, len, 3, fresh, &b, &n_b), STATUS_OK);
            assert_int_equal(n_a, n_b);
            assert_memory_equal(a, b, n_a * sizeof *a);
            tokenizer_workspace_destroy(fresh);
        }
        tokenizer_workspace_destroy(old);
        tokenizer_close(tok);
    }
}

/* One thread's share: the same text many times, each time with the ids that it had first. */
struct share {
    pthread_t thread;
    const struct tokenizer *tok;
    bool good;
};

static void *encode_again_and_again(void *arg)
{
    struct share *share = arg;
    struct tokenizer_workspace *work;
    uint64_t seed = 1181783497276652981u;
    char text[2000];
    uint32_t first[4096];
    size_t n_first = 0, len = tok_random_text(&seed, text, sizeof text);
    share->good = tokenizer_workspace_create(share->tok, &work) == STATUS_OK;
    for (int i = 0; share->good && i < 100; i++) {
        const uint32_t *ids;
        size_t n;
        share->good = tokenizer_encode(share->tok, text, len, 3, work, &ids, &n) == STATUS_OK &&
                      n <= 4096 && (i == 0 || n == n_first);
        if (share->good && i == 0) {
            memcpy(first, ids, n * sizeof *ids);
            n_first = n;
        }
        share->good = share->good && memcmp(first, ids, n * sizeof *ids) == 0;
    }
    tokenizer_workspace_destroy(work);
    return NULL;
}

static void threads_share_a_tokenizer(void **state)
{
    (void)state;
    for (size_t k = 0; k < tok_n_kinds; k++) {
        struct tokenizer *tok = tok_fixture_open(tok_kinds[k]);
        struct share shares[3];
        for (size_t i = 0; i < 3; i++) {
            shares[i] = (struct share){.tok = tok};
            assert_int_equal(
                pthread_create(&shares[i].thread, NULL, encode_again_and_again, &shares[i]), 0);
        }
        for (size_t i = 0; i < 3; i++) {
            pthread_join(shares[i].thread, NULL);
            assert_true(shares[i].good);
        }
        tokenizer_close(tok);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vectors_agree),
        cmocka_unit_test(bytes_are_their_own_ids),
        cmocka_unit_test(special_tokens_are_text_unless_asked_for),
        cmocka_unit_test(pieces_lead_back_to_their_ids),
        cmocka_unit_test(streams_give_whole_characters),
        cmocka_unit_test(workspaces_remember_nothing),
        cmocka_unit_test(threads_share_a_tokenizer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
