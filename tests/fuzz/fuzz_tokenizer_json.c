/* Any bytes as a tokenizer.json: refused with a sentence, or a tokenizer that encodes and decodes
 * without harm. */
#include "tests/fuzz/fuzz.h"

#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "model/tok_unicode.h"
#include "model/tokenizer.h"

static const char sample[] =
    "Hello  world's 123\n\xe2\x96\x81 caf\xc3\xa9 e\xcc\x81 <s>\xff\xf0\x9f\x91\x8d";

static void use(const struct tokenizer *tok)
{
    struct tokenizer_workspace *work;
    struct detokenizer *detok;
    const uint32_t *ids;
    const char *text;
    size_t n, len;
    CHECK(tokenizer_workspace_create(tok, &work) == STATUS_OK);
    CHECK(detokenizer_create(tok, false, &detok) == STATUS_OK);
    if (tokenizer_encode(tok, sample, sizeof sample - 1, 3, work, &ids, &n) == STATUS_OK) {
        for (size_t i = 0; i < n; i++) {
            CHECK(detokenizer_push(detok, ids[i], &text, &len) == STATUS_OK);
            CHECK(tok_utf8_valid_prefix(text, len) == len);
        }
        CHECK(detokenizer_flush(detok, &text, &len) == STATUS_OK);
    }
    detokenizer_destroy(detok);
    tokenizer_workspace_destroy(work);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tokenizer_error error = {""};
    struct tokenizer *tok = NULL;
    enum status status = tokenizer_open_memory((const char *)data, size, &error, &tok);
    if (status == STATUS_OK) {
        use(tok);
        tokenizer_close(tok);
    } else {
        CHECK(strlen(error.text) > 10);
    }
    CHECK(mem_live() == 0);
    return 0;
}
