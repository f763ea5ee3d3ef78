/* See answer_text.h. */
#include "router/answer_text.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "model/tokenizer.h"
#include "router/stop_text.h"
#include "wire/plant.h"

struct answer_text {
    struct detokenizer *detok;
    struct stop_text *stop; /* NULL: the request has no stop strings */
    bool include_stop;
    uint32_t min_tokens;
    uint32_t n_taken;
};

/* The piece being put together, in the caller's [WIRE_PIECE_MAX]. */
struct piece {
    char *at;
    size_t len;
};

enum status answer_text_check(const struct wire_generate *in, char *why)
{
    if (in->stop.n > WIRE_STOPS_MAX) {
        snprintf(why, WIRE_ERROR_MAX, "stop has %zu texts: expected at most %d", in->stop.n,
                 WIRE_STOPS_MAX);
        return STATUS_TOO_BIG;
    }
    for (size_t i = 0; i < in->stop.n; i++) {
        const size_t len = in->stop.at[i].len;

        if (len > 0 && len <= WIRE_STOP_BYTES_MAX)
            continue;
        snprintf(why, WIRE_ERROR_MAX, "stop[%zu] has %zu bytes: expected 1 to %d", i, len,
                 WIRE_STOP_BYTES_MAX);
        return len == 0 ? STATUS_INVALID : STATUS_TOO_BIG;
    }
    return STATUS_OK;
}

enum status answer_text_create(const struct tokenizer *tok, const struct wire_generate *in,
                               struct answer_text **out)
{
    struct answer_text *text = mem_alloc_zero(1, sizeof(*text));
    enum status status;

    if (!text)
        return STATUS_NO_MEMORY;
    status = detokenizer_create(tok, !in->keep_special, &text->detok);
    if (status == STATUS_OK && in->stop.n > 0)
        status = stop_text_create(in->stop.at, in->stop.n, in->include_stop, &text->stop);
    if (status != STATUS_OK) {
        answer_text_destroy(text);
        return status;
    }
    text->include_stop = in->include_stop;
    text->min_tokens = in->sampling.min_tokens;
    *out = text;
    return STATUS_OK;
}

void answer_text_destroy(struct answer_text *text)
{
    if (!text)
        return;
    stop_text_destroy(text->stop);
    detokenizer_destroy(text->detok);
    mem_free(text);
}

void answer_text_reset(struct answer_text *text)
{
    text->n_taken = 0;
    detokenizer_reset(text->detok);
    if (text->stop && !PLANTED(25))
        stop_text_reset(text->stop);
}

static enum status add(struct answer_text *text, struct piece *piece, const char *bytes, size_t len)
{
    const size_t room = WIRE_PIECE_MAX - piece->len;
    size_t n = len;
    enum status status = STATUS_OK;

    if (text->stop && (text->n_taken >= text->min_tokens || PLANTED(27))) {
        status = stop_text_push(text->stop, bytes, len, piece->at + piece->len, room, &n);
    } else if (len > room) {
        status = STATUS_TOO_BIG;
    } else if (len > 0) {
        memcpy(piece->at + piece->len, bytes, len);
    }
    if (status == STATUS_OK)
        piece->len += n;
    return status;
}

/* What detokenizer and stop strings still hold, after the last id. */
static enum status add_held(struct answer_text *text, struct piece *piece)
{
    const char *bytes;
    size_t len, n = 0;
    enum status status = detokenizer_flush(text->detok, &bytes, &len);

    if (status == STATUS_OK)
        status = add(text, piece, bytes, len);
    if (status == STATUS_OK && text->stop)
        status =
            stop_text_flush(text->stop, piece->at + piece->len, WIRE_PIECE_MAX - piece->len, &n);
    piece->len += n;
    return status;
}

enum status answer_text_take(struct answer_text *text, uint32_t id, enum wire_end end, char *out,
                             size_t *len_out)
{
    struct piece piece = {.at = out};
    enum status status = STATUS_OK;
    const char *bytes;
    size_t len;

    if (end != WIRE_END_STOP || text->include_stop) {
        status = detokenizer_push(text->detok, id, &bytes, &len);
        if (status == STATUS_OK)
            status = add(text, &piece, bytes, len);
    }
    if (status == STATUS_OK && end != WIRE_END_NONE)
        status = add_held(text, &piece);
    if (status != STATUS_OK)
        return status;
    text->n_taken++;
    *len_out = piece.len;
    return STATUS_OK;
}

bool answer_text_stopped(const struct answer_text *text, struct wire_span *string_out)
{
    struct stop_match match;

    if (!text->stop || !stop_text_matched(text->stop, &match))
        return false;
    if (string_out)
        *string_out = stop_text_string(text->stop, match.string);
    return true;
}
