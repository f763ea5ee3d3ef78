/* Encoding: repair the text, cut out added tokens, normalise what lies between, cut out those that
 * are looked for in normalised text, cut the rest into words, encode each. Any thread. */
#include "model/tokenizer.h"

#include <string.h>

#include "base/mem.h"
#include "model/tok_model.h"
#include "model/tok_unicode.h"
#include "model/tok_work.h"

void tokenizer_close(struct tokenizer *tok)
{
    if (tok == NULL) {
        return;
    }
    tok_added_fini(&tok->added);
    tok_pre_fini(&tok->pre);
    tok_norm_fini(&tok->norm);
    tok_bpe_fini(&tok->bpe);
    tok_unigram_fini(&tok->unigram);
    tok_vocab_fini(&tok->vocab);
    mem_free(tok);
}

/* One encoding on its way. */
struct job {
    const struct tokenizer *tok;
    struct tokenizer_workspace *work;
    bool parse_special;
};

static enum status emit_word(void *ctx, struct tokenizer_workspace *work, const char *word,
                             size_t len)
{
    const struct tokenizer *tok = ctx;
    return tok->kind == TOK_MODEL_BPE ? tok_bpe_encode(&tok->bpe, work, word, len)
                                      : tok_unigram_encode(&tok->unigram, work, word, len);
}

/* Text without plain added tokens. `first`: it begins where the whole input does. */
static enum status encode_section(const struct job *job, const char *text, size_t len, bool first)
{
    const struct tokenizer *tok = job->tok;
    enum status status = tok_norm_apply(&tok->norm, job->work, text, len, &text, &len);
    struct tok_added_walk walk = {0};
    for (size_t done = 0; status == STATUS_OK && done < len;) {
        size_t start = len, end = len;
        uint32_t id = tok_added_next(&tok->added, &tok->added.normalized, text, len,
                                     job->parse_special, &walk, &start, &end);
        if (start > done) {
            status = tok_pre_run(&tok->pre, job->work, text + done, start - done,
                                 first && done == 0, emit_word, (void *)(uintptr_t)tok);
        }
        if (status == STATUS_OK && id != TOKENIZER_ID_NONE) {
            status = tok_ids_put(&job->work->ids, id);
        }
        /* A token may lie in the spaces that the one before it stripped. */
        done = end > done ? end : done;
    }
    return status;
}

static enum status encode_text(const struct job *job, const char *text, size_t len)
{
    const struct tok_added *added = &job->tok->added;
    struct tok_added_walk walk = {0};
    enum status status = STATUS_OK;
    for (size_t done = 0; status == STATUS_OK && done < len;) {
        size_t start = len, end = len;
        uint32_t id = tok_added_next(added, &added->plain, text, len, job->parse_special, &walk,
                                     &start, &end);
        if (start > done) {
            status = encode_section(job, text + done, start - done, done == 0);
        }
        if (status == STATUS_OK && id != TOKENIZER_ID_NONE) {
            status = tok_ids_put(&job->work->ids, id);
        }
        done = end > done ? end : done;
    }
    return status;
}

/* Copies the text with one U+FFFD for each ill-formed run. `valid` bytes of it are known good. */
static enum status repair(struct buf *clean, const char *text, size_t len, size_t valid)
{
    buf_clear(clean);
    enum status status = buf_append(clean, text, valid);
    for (size_t pos = valid; pos < len && status == STATUS_OK;) {
        unsigned bad;
        bool cut;
        unsigned n = tok_utf8_check(text + pos, len - pos, &bad, &cut);
        if (n == 0) {
            status = buf_append_str(clean, "\xef\xbf\xbd");
            pos += bad;
        } else {
            n = (unsigned)tok_utf8_valid_prefix(text + pos, len - pos < 4096 ? len - pos : 4096);
            status = buf_append(clean, text + pos, n);
            pos += n;
        }
    }
    return status;
}

static enum status encode_bytes(struct tok_ids *ids, const char *text, size_t len)
{
    enum status status = tok_ids_reserve(ids, len);
    for (size_t i = 0; status == STATUS_OK && i < len; i++) {
        ids->data[ids->len++] = (uint8_t)text[i];
    }
    return status;
}

static enum status put_all(struct tok_ids *ids, const uint32_t *from, size_t n)
{
    enum status status = STATUS_OK;
    for (size_t i = 0; status == STATUS_OK && i < n; i++) {
        status = tok_ids_put(ids, from[i]);
    }
    return status;
}

enum status tokenizer_encode(const struct tokenizer *tok, const char *text, size_t len, int flags,
                             struct tokenizer_workspace *work, const uint32_t **ids, size_t *n_ids)
{
    if (len > TOKENIZER_TEXT_MAX) {
        return STATUS_TOO_BIG;
    }
    tok_work_shrink(work);
    work->ids.len = 0;
    bool special = (flags & TOKENIZER_ADD_SPECIAL) != 0;
    enum status status = tok_ids_reserve(&work->ids, len / 4 + 16);
    if (status == STATUS_OK && special) {
        status = put_all(&work->ids, tok->post.before, tok->post.n_before);
    }
    if (status == STATUS_OK && tok->kind == TOK_MODEL_BYTES) {
        status = encode_bytes(&work->ids, text, len);
    } else if (status == STATUS_OK) {
        struct job job = {tok, work, (flags & TOKENIZER_PARSE_SPECIAL) != 0};
        size_t valid = tok_utf8_valid_prefix(text, len);
        if (valid < len) {
            status = repair(&work->clean, text, len, valid);
            text = (const char *)buf_data(&work->clean);
            len = buf_len(&work->clean);
        }
        status = status == STATUS_OK ? encode_text(&job, text, len) : status;
    }
    if (status == STATUS_OK && special) {
        status = put_all(&work->ids, tok->post.after, tok->post.n_after);
    }
    if (status == STATUS_OK) {
        *ids = work->ids.data;
        *n_ids = work->ids.len;
    }
    return status;
}

uint32_t tokenizer_n_ids(const struct tokenizer *tok)
{
    return tok->vocab.n_ids;
}

size_t tokenizer_piece(const struct tokenizer *tok, uint32_t id, char *out, size_t cap)
{
    return tok_vocab_text(&tok->vocab, id, out, cap);
}

uint32_t tokenizer_find(const struct tokenizer *tok, const char *piece, size_t len)
{
    for (size_t i = 0; i < tok->added.n; i++) {
        char content[TOK_ADDED_CONTENT_MAX];
        uint32_t id = tok->added.tokens[i].id;
        if (tok_vocab_text(&tok->vocab, id, content, sizeof content) == len &&
            len <= sizeof content && memcmp(content, piece, len) == 0) {
            return id;
        }
    }
    return tok_vocab_find_text(&tok->vocab, piece, len);
}

bool tokenizer_is_special(const struct tokenizer *tok, uint32_t id)
{
    return id < tok->vocab.n_ids && (tok->vocab.entries[id].flags & TOK_ENTRY_SPECIAL) != 0;
}
