/* Any bytes as text, for one tokenizer of each family: every id exists, the decoded stream is whole
 * characters, a byte-level vocabulary gives the text back, and the hand-written scanner cuts as the
 * regex does. The first byte chooses the tokenizer and the flags. */
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/check.h"
#include "model/tok_regex.h"
#include "model/tok_scan.h"
#include "model/tok_unicode.h"
#include "model/tokenizer.h"

#define LETTERS                                                                                    \
    "\"\\u0120\":0,\"a\":1,\"b\":2,\"e\":3,\"s\":4,\"ab\":5,\"\\u0120a\":6,\"\\u0120ab\":7,\"'\":" \
    "8,"                                                                                           \
    "\"'s\":9,\"\\u00c3\":10,\"\\u00a9\":11,\"\\u00c3\\u00a9\":12"
#define MERGES "[\"a b\",\"\\u0120 a\",\"\\u0120 ab\",\"' s\",\"\\u00c3 \\u00a9\"]"

static const char *const files[] = {
    "{\"added_tokens\":[{\"content\":\"<x>\",\"special\":true,\"normalized\":false,\"lstrip\":true}"
    "],"
    "\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":true},"
    "\"decoder\":{\"type\":\"ByteLevel\"},"
    "\"model\":{\"type\":\"BPE\",\"vocab\":{" LETTERS "},\"merges\":" MERGES "}}",

    "{\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFKD\"},{\"type\":"
    "\"StripAccents\"},{\"type\":\"Lowercase\"},{\"type\":\"NFC\"}]},"
    "\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Punctuation\","
    "\"behavior\":\"Contiguous\"},{\"type\":\"Split\",\"pattern\":{\"Regex\":\"\\\\w+\\\\b|\\\\s{2,"
    "}\"},"
    "\"behavior\":\"MergedWithPrevious\",\"invert\":false},{\"type\":\"ByteLevel\"},{\"type\":"
    "\"Digits\",\"individual_digits\":true}]},\"decoder\":{\"type\":\"ByteLevel\"},"
    "\"model\":{\"type\":\"BPE\",\"vocab\":{" LETTERS "},\"merges\":" MERGES "}}",

    "{\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"Prepend\",\"prepend\":"
    "\"\\u2581\"},{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},\"content\":\"\\u2581\"}]},"
    "\"decoder\":{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Replace\",\"pattern\":{"
    "\"String\":"
    "\"\\u2581\"},\"content\":\" \"},{\"type\":\"ByteFallback\"},{\"type\":\"Fuse\"},{\"type\":"
    "\"Strip\",\"content\":\" \",\"start\":1,\"stop\":2}]},"
    "\"model\":{\"type\":\"BPE\",\"byte_fallback\":true,\"fuse_unk\":true,\"unk_token\":\"u\","
    "\"vocab\":{\"u\":0,\"\\u2581\":1,\"a\":2,\"\\u2581a\":3,\"aa\":4,\"<0xC3>\":5,\"<0xA9>\":6,"
    "\"\\u2581\\u2581\":7},\"merges\":[\"\\u2581 a\",\"a a\",\"\\u2581 \\u2581\"]}}",

    "{\"normalizer\":{\"type\":\"NFKC\"},\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":"
    "\"\\u2581\",\"prepend_scheme\":\"first\"},\"decoder\":{\"type\":\"Metaspace\",\"replacement\":"
    "\"\\u2581\"},\"model\":{\"type\":\"Unigram\",\"unk_id\":0,\"vocab\":[[\"u\",0],[\"a\",-1.5],"
    "[\"\\u2581\",-2],[\"\\u2581a\",-2.25],[\"aa\",-2.5],[\"\\u00e9\",-3],[\"e\",-4]]}}",
};
#define N_FILES (sizeof files / sizeof *files)

static void check_stream(const struct tokenizer *tok, const uint32_t *ids, size_t n,
                         struct buf *whole)
{
    struct detokenizer *detok;
    CHECK(detokenizer_create(tok, false, &detok) == STATUS_OK);
    for (size_t i = 0; i <= n; i++) {
        const char *text;
        size_t len;
        CHECK((i < n ? detokenizer_push(detok, ids[i], &text, &len)
                     : detokenizer_flush(detok, &text, &len)) == STATUS_OK);
        CHECK(tok_utf8_valid_prefix(text, len) == len);
        CHECK(buf_append(whole, text, len) == STATUS_OK);
    }
    detokenizer_destroy(detok);
}

static void check_file(const char *file, int flags, const char *text, size_t len)
{
    struct tokenizer *tok;
    struct tokenizer_workspace *work;
    const uint32_t *ids;
    size_t n;
    struct buf whole;
    buf_init(&whole, (size_t)1 << 30);
    CHECK((file != NULL ? tokenizer_open_memory(file, strlen(file), NULL, &tok)
                        : tokenizer_open_bytes(&tok)) == STATUS_OK);
    CHECK(tokenizer_workspace_create(tok, &work) == STATUS_OK);
    CHECK(tokenizer_encode(tok, text, len, flags, work, &ids, &n) == STATUS_OK);
    for (size_t i = 0; i < n; i++) {
        CHECK(ids[i] < tokenizer_n_ids(tok));
    }
    check_stream(tok, ids, n, &whole);
    if (file == NULL && tok_utf8_valid_prefix(text, len) == len) {
        CHECK(buf_len(&whole) == len && memcmp(buf_data(&whole), text, len) == 0);
    }
    buf_fini(&whole);
    tokenizer_workspace_destroy(work);
    tokenizer_close(tok);
}

static void check_scan(enum tok_scan_kind kind, const char *text, size_t len)
{
    const char *pattern = tok_scan_pattern(kind);
    struct tok_regex *regex;
    struct tok_regex_scratch *scratch;
    CHECK(tok_regex_create(pattern, strlen(pattern), NULL, &regex) == STATUS_OK);
    CHECK(tok_regex_scratch_create(&scratch) == STATUS_OK);
    struct tok_regex_walk walk = {0};
    size_t pos = 0, start = 0, end = 0;
    while (pos < len) {
        enum status status = tok_regex_next(regex, scratch, text, len, &walk, &start, &end);
        CHECK(status == STATUS_OK || status == STATUS_DONE);
        start = status == STATUS_DONE ? len : start;
        end = status == STATUS_DONE ? len : end;
        CHECK(start == pos || tok_scan_next(kind, text, len, pos) == start);
        CHECK(end == start || tok_scan_next(kind, text, len, start) == end);
        pos = end;
    }
    tok_regex_scratch_destroy(scratch);
    tok_regex_destroy(regex);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    const char *text = (const char *)data + 1;
    size_t len = size - 1;
    unsigned choice = data[0] >> 2, n_choices = N_FILES + TOK_SCAN_KINDS;
    choice %= n_choices;
    if (choice <= N_FILES) {
        check_file(choice < N_FILES ? files[choice] : NULL, data[0] & 3, text, len);
    } else {
        check_scan((enum tok_scan_kind)(choice - N_FILES), text, tok_utf8_valid_prefix(text, len));
    }
    return 0;
}
