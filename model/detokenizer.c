/* Ids to text, one at a time: the decoder's three stages as streams. What is held back: the start
 * of a character whose end has not come, spaces that may turn out to be stripped, and a whole token
 * where the decoder treats the last one differently. One thread each. */
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "model/tok_model.h"
#include "model/tok_unicode.h"
#include "model/tokenizer.h"

#define TEXT_MAX ((size_t)64 << 20)

/* Of one step on joined text. */
struct strip_state {
    uint32_t start_left; /* may still be stripped from the beginning */
    uint32_t held;       /* characters that are stripped if nothing else follows */
};

struct detokenizer {
    const struct tokenizer *tok;
    bool skip_special;
    uint64_t n_tokens; /* that had a text */
    struct buf out;    /* of this push */
    struct buf text;   /* the token, between the token steps */
    struct buf spare;
    struct buf waiting; /* the last token, if the decoder waits */
    bool has_waiting;
    char pending[8]; /* bytes of a character that is not complete */
    size_t n_pending;
    struct strip_state strips[TOK_DECODER_STEPS_MAX];
};

enum status detokenizer_create(const struct tokenizer *tok, bool skip_special,
                               struct detokenizer **out)
{
    struct detokenizer *detok = mem_alloc_zero(1, sizeof *detok);
    if (detok == NULL) {
        return STATUS_NO_MEMORY;
    }
    detok->tok = tok;
    detok->skip_special = skip_special;
    buf_init(&detok->out, TEXT_MAX);
    buf_init(&detok->text, TEXT_MAX);
    buf_init(&detok->spare, TEXT_MAX);
    buf_init(&detok->waiting, TEXT_MAX);
    detokenizer_reset(detok);
    *out = detok;
    return STATUS_OK;
}

void detokenizer_destroy(struct detokenizer *detok)
{
    if (detok != NULL) {
        buf_fini(&detok->out);
        buf_fini(&detok->text);
        buf_fini(&detok->spare);
        buf_fini(&detok->waiting);
        mem_free(detok);
    }
}

void detokenizer_reset(struct detokenizer *detok)
{
    detok->n_tokens = 0;
    detok->n_pending = 0;
    detok->has_waiting = false;
    for (size_t i = 0; i < detok->tok->decoder.n_text_steps; i++) {
        detok->strips[i] =
            (struct strip_state){.start_left = detok->tok->decoder.text_steps[i].start};
    }
}

/* --- stage 3: joined text --- */

/* Gives characters to the step `i` and those behind it; a step may turn one into several. */
static enum status put_text(struct detokenizer *detok, size_t i, const char *text, size_t len)
{
    const struct tok_decoder *decoder = &detok->tok->decoder;
    if (i == decoder->n_text_steps) {
        return buf_append(&detok->out, text, len);
    }
    const struct tok_decoder_step *step = &decoder->text_steps[i];
    struct strip_state *state = &detok->strips[i];
    enum status status = STATUS_OK;
    for (size_t pos = 0; pos < len && status == STATUS_OK;) {
        unsigned n;
        bool same = tok_utf8_get(text + pos, &n) == step->c;
        if (step->kind == TOK_DECODER_REPLACE) {
            status = same ? put_text(detok, i + 1, step->content, step->content_len)
                          : put_text(detok, i + 1, text + pos, n);
        } else if (same && state->start_left > 0) {
            state->start_left--;
        } else if (same && state->held < step->stop) {
            state->held++;
            state->start_left = 0;
        } else {
            state->start_left = 0;
            for (; !same && state->held > 0 && status == STATUS_OK; state->held--) {
                status = put_text(detok, i + 1, step->pattern, step->pattern_len);
            }
            status = status == STATUS_OK ? put_text(detok, i + 1, text + pos, n) : status;
        }
        pos += n;
    }
    return status;
}

static enum status put_replacements(struct detokenizer *detok, size_t n)
{
    enum status status = STATUS_OK;
    for (size_t i = 0; i < n && status == STATUS_OK; i++) {
        status = put_text(detok, 0, "\xef\xbf\xbd", 3);
    }
    return status;
}

/* --- stage 2: joining --- */

/* Bytes of which several tokens may make one character. `each`: every byte that is part of none
 * gives a U+FFFD, not every ill-formed run. */
static enum status put_bytes(struct detokenizer *detok, const char *bytes, size_t len, bool each)
{
    enum status status = STATUS_OK;
    while (detok->n_pending > 0 && status == STATUS_OK) {
        /* Complete what is pending, one byte at a time: it is at most three. */
        unsigned bad;
        bool cut;
        unsigned n = tok_utf8_check(detok->pending, detok->n_pending, &bad, &cut);
        if (n == 0 && cut) {
            if (len == 0) {
                return STATUS_OK;
            }
            detok->pending[detok->n_pending++] = *bytes++;
            len--;
            continue;
        }
        status =
            n > 0 ? put_text(detok, 0, detok->pending, n) : put_replacements(detok, each ? bad : 1);
        n = n > 0 ? n : bad;
        detok->n_pending -= n;
        memmove(detok->pending, detok->pending + n, detok->n_pending);
    }
    while (len > 0 && status == STATUS_OK) {
        size_t valid = tok_utf8_valid_prefix(bytes, len);
        status = put_text(detok, 0, bytes, valid);
        bytes += valid;
        len -= valid;
        if (len > 0 && status == STATUS_OK) {
            unsigned bad;
            bool cut;
            (void)tok_utf8_check(bytes, len, &bad, &cut);
            if (cut) {
                memcpy(detok->pending, bytes, len);
                detok->n_pending = len;
                break;
            }
            status = put_replacements(detok, each ? bad : 1);
            bytes += bad;
            len -= bad;
        }
    }
    return status;
}

/* The character that was being built will not be completed. */
static enum status end_pending(struct detokenizer *detok, bool each)
{
    size_t n = detok->n_pending;
    detok->n_pending = 0;
    return n > 0 ? put_replacements(detok, each ? n : 1) : STATUS_OK;
}

/* The byte of "<0xNN>", or -1. */
static int byte_token(const char *text, size_t len)
{
    if (len != 6 || memcmp(text, "<0x", 3) != 0 || text[5] != '>') {
        return -1;
    }
    int value = 0;
    for (int i = 3; i < 5; i++) {
        char c = text[i];
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;
        if (digit < 0) {
            return -1;
        }
        value = value << 4 | digit;
    }
    return value;
}

/* A text of spelt bytes, or of something else, which then stands for itself. */
static enum status put_spelling(struct detokenizer *detok, const char *text, size_t len)
{
    size_t n = 0;
    uint8_t *bytes;
    buf_clear(&detok->spare);
    enum status status = buf_reserve(&detok->spare, len, &bytes);
    if (status != STATUS_OK) {
        return status;
    }
    for (size_t pos = 0; pos < len;) {
        unsigned n_char;
        int byte = tok_char_byte(tok_utf8_get(text + pos, &n_char));
        if (byte < 0) {
            return put_bytes(detok, text, len, false);
        }
        bytes[n++] = (uint8_t)byte;
        pos += n_char;
    }
    return put_bytes(detok, (const char *)bytes, n, false);
}

static enum status join_token(struct detokenizer *detok, const char *text, size_t len)
{
    enum status status = STATUS_OK;
    int byte;
    switch (detok->tok->decoder.join) {
    case TOK_JOIN_TEXT:
        break;
    case TOK_JOIN_SPACES:
        status = detok->n_tokens > 0 ? put_text(detok, 0, " ", 1) : STATUS_OK;
        break;
    case TOK_JOIN_BYTE_LEVEL:
        return put_spelling(detok, text, len);
    case TOK_JOIN_BYTE_FALLBACK:
        byte = byte_token(text, len);
        if (byte >= 0) {
            return put_bytes(detok, &(char){(char)byte}, 1, true);
        }
        status = end_pending(detok, true);
        break;
    }
    return status == STATUS_OK ? put_text(detok, 0, text, len) : status;
}

/* --- stage 1: one token --- */

static enum status replace_all(struct buf *from, struct buf *to, const char *pattern, size_t n,
                               const char *content, size_t content_len)
{
    const char *text = (const char *)buf_data(from), *end = text + buf_len(from);
    enum status status = STATUS_OK;
    buf_clear(to);
    while (status == STATUS_OK) {
        const char *found = memmem(text, (size_t)(end - text), pattern, n);
        const char *stop = found != NULL ? found : end;
        status = buf_append(to, text, (size_t)(stop - text));
        if (found == NULL || status != STATUS_OK) {
            break;
        }
        status = buf_append(to, content, content_len);
        text = found + n;
    }
    return status;
}

static enum status strip_token(const struct tok_decoder_step *step, struct buf *from,
                               struct buf *to)
{
    const char *text = (const char *)buf_data(from);
    size_t start = 0, end = buf_len(from), n = step->pattern_len;
    for (uint32_t i = 0; i < step->start && end - start >= n; i++) {
        if (memcmp(text + start, step->pattern, n) != 0) {
            break;
        }
        start += n;
    }
    for (uint32_t i = 0; i < step->stop && end - start >= n; i++) {
        if (memcmp(text + end - n, step->pattern, n) != 0) {
            break;
        }
        end -= n;
    }
    buf_clear(to);
    return buf_append(to, text + start, end - start);
}

/* Runs detok->text through the token steps and joins it. */
static enum status finish_token(struct detokenizer *detok, bool last)
{
    const struct tok_decoder *decoder = &detok->tok->decoder;
    for (size_t i = 0; i < decoder->n_token_steps; i++) {
        const struct tok_decoder_step *step = &decoder->token_steps[i];
        bool nothing =
            step->kind == TOK_DECODER_SUFFIX
                ? last
                : step->kind == TOK_DECODER_METASPACE && step->start != 0 && detok->n_tokens == 0;
        const char *content = step->kind == TOK_DECODER_SUFFIX ? " " : step->content;
        size_t content_len = step->kind == TOK_DECODER_SUFFIX ? 1 : step->content_len;
        enum status status =
            step->kind == TOK_DECODER_STRIP
                ? strip_token(step, &detok->text, &detok->spare)
                : replace_all(&detok->text, &detok->spare, step->pattern, step->pattern_len,
                              content, nothing ? 0 : content_len);
        if (status != STATUS_OK) {
            return status;
        }
        struct buf swap = detok->text;
        detok->text = detok->spare;
        detok->spare = swap;
    }
    enum status status =
        join_token(detok, (const char *)buf_data(&detok->text), buf_len(&detok->text));
    detok->n_tokens++;
    return status;
}

/* The token's text into detok->text. */
static enum status load_text(struct detokenizer *detok, uint32_t id)
{
    const struct tok_added_token *added = NULL;
    if ((detok->tok->vocab.entries[id].flags & TOK_ENTRY_ADDED) != 0) {
        added = tok_added_find(&detok->tok->added, id);
    }
    buf_clear(&detok->text);
    if (added != NULL && added->renamed) {
        return buf_append(&detok->text, added->pattern, added->pattern_len);
    }
    uint8_t *room;
    size_t cap = 2 * (size_t)detok->tok->vocab.entries[id].len;
    enum status status = buf_reserve(&detok->text, cap, &room);
    if (status == STATUS_OK) {
        buf_grew(&detok->text, tok_vocab_text(&detok->tok->vocab, id, (char *)room, cap));
    }
    return status;
}

/* Most vocabularies: the entry's bytes are the text. */
static bool is_plain(const struct detokenizer *detok, uint32_t id)
{
    const struct tok_decoder *decoder = &detok->tok->decoder;
    return decoder->join == TOK_JOIN_BYTE_LEVEL && decoder->n_token_steps == 0 &&
           detok->tok->vocab.byte_level &&
           (detok->tok->vocab.entries[id].flags & TOK_ENTRY_ADDED) == 0;
}

enum status detokenizer_push(struct detokenizer *detok, uint32_t id, const char **text, size_t *len)
{
    const struct tok_vocab *vocab = &detok->tok->vocab;
    buf_clear(&detok->out);
    enum status status = STATUS_OK;
    bool known = id < vocab->n_ids && (vocab->entries[id].flags & TOK_ENTRY_USED) != 0 &&
                 !(detok->skip_special && (vocab->entries[id].flags & TOK_ENTRY_SPECIAL) != 0);
    if (known && is_plain(detok, id)) {
        status = put_bytes(detok, tok_vocab_bytes(vocab, id), vocab->entries[id].len, false);
    } else if (known && detok->tok->decoder.waits) {
        if (detok->has_waiting) {
            struct buf swap = detok->text;
            detok->text = detok->waiting;
            detok->waiting = swap;
            status = finish_token(detok, false);
        }
        status = status == STATUS_OK ? load_text(detok, id) : status;
        struct buf swap = detok->text;
        detok->text = detok->waiting;
        detok->waiting = swap;
        detok->has_waiting = true;
    } else if (known) {
        status = load_text(detok, id);
        status = status == STATUS_OK ? finish_token(detok, false) : status;
    }
    if (status == STATUS_OK) {
        *text = (const char *)buf_data(&detok->out);
        *len = buf_len(&detok->out);
    }
    return status;
}

enum status detokenizer_flush(struct detokenizer *detok, const char **text, size_t *len)
{
    buf_clear(&detok->out);
    enum status status = STATUS_OK;
    if (detok->has_waiting) {
        struct buf swap = detok->text;
        detok->text = detok->waiting;
        detok->waiting = swap;
        detok->has_waiting = false;
        status = finish_token(detok, true);
    }
    bool each = detok->tok->decoder.join == TOK_JOIN_BYTE_FALLBACK;
    status = status == STATUS_OK ? end_pending(detok, each) : status;
    if (status == STATUS_OK) {
        *text = (const char *)buf_data(&detok->out);
        *len = buf_len(&detok->out);
    }
    return status;
}
