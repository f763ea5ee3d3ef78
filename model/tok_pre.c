/* Cutting texts into words. The steps call one another, at most TOK_STEPS_MAX deep; a step that
 * changes a text keeps it in a buffer of its own, which lives until its words are done. Any thread.
 */
#include "model/tok_pre.h"

#include <string.h>

#include "model/tok_unicode.h"

struct run {
    const struct tok_pre *pre;
    struct tokenizer_workspace *work;
    tok_pre_emit emit;
    void *ctx;
};

/* A text on its way through the steps. */
struct piece {
    const char *text;
    size_t len;
    bool first; /* it begins where the whole input does */
};

static enum status run_step(const struct run *run, size_t i, struct piece piece);

/* Gives a word to the model, as bytes if it was spelt. The spelling step's buffer is not it: that
 * one still holds the words to come. */
static enum status emit_word(const struct run *run, struct piece piece)
{
    if (!run->pre->spelt) {
        return run->emit(run->ctx, run->work, piece.text, piece.len);
    }
    struct buf *buf = &run->work->steps[TOK_STEPS_MAX - 1];
    uint8_t *bytes;
    buf_clear(buf);
    enum status status = buf_reserve(buf, piece.len, &bytes);
    if (status != STATUS_OK) {
        return status;
    }
    size_t n = 0;
    for (size_t pos = 0; pos < piece.len;) {
        unsigned n_char;
        bytes[n++] = (uint8_t)tok_char_byte(tok_utf8_get(piece.text + pos, &n_char));
        pos += n_char;
    }
    return run->emit(run->ctx, run->work, (const char *)bytes, n);
}

/* Turns the matches and gaps of one text, in order, into pieces as the behaviour says. */
struct splitter {
    const struct run *run;
    size_t next; /* the step that gets the pieces */
    struct piece whole;
    enum tok_pre_behavior behavior;
    bool invert;
    bool held, before; /* there is a piece being built; was the last event a match? */
    size_t start, end; /* of it */
};

static enum status pass(const struct splitter *s, size_t start, size_t end)
{
    if (start == end) {
        return STATUS_OK;
    }
    return run_step(
        s->run, s->next,
        (struct piece){s->whole.text + start, end - start, s->whole.first && start == 0});
}

static enum status event(struct splitter *s, size_t start, size_t end, bool match)
{
    match ^= s->invert;
    bool joins = false;
    switch (s->behavior) {
    case TOK_PRE_ISOLATED:
        return pass(s, start, end);
    case TOK_PRE_REMOVED:
        return match ? STATUS_OK : pass(s, start, end);
    case TOK_PRE_CONTIGUOUS:
        joins = match == s->before;
        break;
    case TOK_PRE_MERGED_PREVIOUS:
        joins = match && !s->before;
        break;
    case TOK_PRE_MERGED_NEXT:
        joins = !match && s->before;
        break;
    }
    s->before = match;
    if (s->held && joins) {
        s->end = end;
        return STATUS_OK;
    }
    enum status status = s->held ? pass(s, s->start, s->end) : STATUS_OK;
    s->held = true;
    s->start = start;
    s->end = end;
    return status;
}

static bool in_class(const struct tok_pre_step *step, uint32_t c)
{
    switch (step->match) {
    case TOK_MATCH_NUMERIC:
        return tok_char_is_numeric(c);
    case TOK_MATCH_PUNCTUATION:
        return tok_char_is_punctuation(c);
    case TOK_MATCH_SPACE:
        return tok_char_is_space(c);
    default:
        return c == step->c;
    }
}

/* The end of a run of one kind: words, spaces, or neither. */
static size_t word_run(const char *text, size_t len, size_t pos, bool *space)
{
    int kind = -1;
    unsigned n;
    for (; pos < len; pos += n) {
        uint32_t c = tok_utf8_get(text + pos, &n);
        int here = tok_char_is_word(c) ? 0 : tok_char_is_space(c) ? 1 : 2;
        if (kind >= 0 && here != kind) {
            break;
        }
        kind = here;
    }
    *space = kind == 1;
    return pos;
}

/* The next match of the step's matcher at or after `pos`: OK or DONE. */
static enum status find_match(const struct tok_pre_step *step, struct tokenizer_workspace *work,
                              const struct piece *piece, size_t pos, struct tok_regex_walk *walk,
                              size_t *start, size_t *end)
{
    const char *text = piece->text, *found;
    unsigned n = 1;
    bool space;
    switch (step->match) {
    case TOK_MATCH_REGEX:
        return tok_regex_next(step->regex, work->regex, text, piece->len, walk, start, end);
    case TOK_MATCH_TEXT:
        found = memmem(text + pos, piece->len - pos, step->text, step->text_len);
        *start = found != NULL ? (size_t)(found - text) : 0;
        *end = *start + step->text_len;
        return found != NULL ? STATUS_OK : STATUS_DONE;
    case TOK_MATCH_WORDS:
        for (*start = pos; *start < piece->len; *start = *end) {
            *end = word_run(text, piece->len, *start, &space);
            if (!space) {
                return STATUS_OK;
            }
        }
        return STATUS_DONE;
    default:
        for (; pos < piece->len; pos += n) {
            if (in_class(step, tok_utf8_get(text + pos, &n))) {
                *start = pos;
                *end = pos + n;
                return STATUS_OK;
            }
        }
        return STATUS_DONE;
    }
}

/* The patterns that we know: every match and every gap is a piece. */
static enum status run_scan(const struct run *run, size_t i, struct piece piece)
{
    enum tok_scan_kind kind = run->pre->steps[i].scan;
    bool last = i + 1 == run->pre->n && !run->pre->spelt;
    enum status status = STATUS_OK;
    for (size_t pos = 0; pos < piece.len && status == STATUS_OK;) {
        size_t end = tok_scan_next(kind, piece.text, piece.len, pos);
        struct piece word = {piece.text + pos, end - pos, piece.first && pos == 0};
        status =
            last ? run->emit(run->ctx, run->work, word.text, word.len) : run_step(run, i + 1, word);
        pos = end;
    }
    return status;
}

static enum status run_split(const struct run *run, size_t i, struct piece piece)
{
    const struct tok_pre_step *step = &run->pre->steps[i];
    struct splitter s = {.run = run,
                         .next = i + 1,
                         .whole = piece,
                         .behavior = step->behavior,
                         .invert = step->invert};
    struct tok_regex_walk walk = {0};
    size_t pos = 0, start, end;
    enum status status;
    while ((status = find_match(step, run->work, &piece, pos, &walk, &start, &end)) == STATUS_OK) {
        status = pos < start ? event(&s, pos, start, false) : STATUS_OK;
        status = status == STATUS_OK ? event(&s, start, end, true) : status;
        if (status != STATUS_OK) {
            return status;
        }
        pos = end;
    }
    if (status == STATUS_DONE) {
        status = pos < piece.len ? event(&s, pos, piece.len, false) : STATUS_OK;
    }
    return status == STATUS_OK && s.held ? pass(&s, s.start, s.end) : status;
}

static enum status run_prefix_space(const struct run *run, size_t i, struct piece piece)
{
    if (piece.text[0] != ' ') {
        struct buf *buf = &run->work->steps[i];
        buf_clear(buf);
        enum status status = buf_append(buf, " ", 1);
        status = status == STATUS_OK ? buf_append(buf, piece.text, piece.len) : status;
        if (status != STATUS_OK) {
            return status;
        }
        piece.text = (const char *)buf_data(buf);
        piece.len++;
    }
    return run_step(run, i + 1, piece);
}

static enum status run_spell(const struct run *run, size_t i, struct piece piece)
{
    struct buf *buf = &run->work->steps[i];
    uint8_t *out;
    buf_clear(buf);
    enum status status = buf_reserve(buf, 2 * piece.len, &out);
    if (status != STATUS_OK) {
        return status;
    }
    size_t n = 0;
    for (size_t k = 0; k < piece.len; k++) {
        char one[4];
        unsigned n_one = tok_utf8_put(tok_byte_char((uint8_t)piece.text[k]), one);
        memcpy(out + n, one, n_one);
        n += n_one;
    }
    buf_grew(buf, n);
    return run_step(run, i + 1, (struct piece){(const char *)out, n, piece.first});
}

/* Spaces become the replacement; then, if asked for, each replacement begins a word. */
static enum status run_metaspace(const struct run *run, size_t i, struct piece piece)
{
    const struct tok_pre_step *step = &run->pre->steps[i];
    struct buf *buf = &run->work->steps[i];
    buf_clear(buf);
    bool begins = piece.text[0] == ' ' || (piece.len >= step->text_len &&
                                           memcmp(piece.text, step->text, step->text_len) == 0);
    bool wanted =
        step->prepend == TOK_PREPEND_ALWAYS || (step->prepend == TOK_PREPEND_FIRST && piece.first);
    enum status status = STATUS_OK;
    if (wanted && !begins) {
        status = buf_append(buf, step->text, step->text_len);
    }
    for (size_t pos = 0; pos < piece.len && status == STATUS_OK;) {
        const char *space = memchr(piece.text + pos, ' ', piece.len - pos);
        size_t end = space != NULL ? (size_t)(space - piece.text) : piece.len;
        status = buf_append(buf, piece.text + pos, end - pos);
        if (status == STATUS_OK && space != NULL) {
            status = buf_append(buf, step->text, step->text_len);
        }
        pos = end + 1;
    }
    if (status != STATUS_OK) {
        return status;
    }
    struct piece changed = {(const char *)buf_data(buf), buf_len(buf), piece.first};
    return step->match == TOK_MATCH_TEXT ? run_split(run, i, changed)
                                         : run_step(run, i + 1, changed);
}

static enum status run_step(const struct run *run, size_t i, struct piece piece)
{
    if (piece.len == 0) {
        return STATUS_OK;
    }
    if (i == run->pre->n) {
        return emit_word(run, piece);
    }
    const struct tok_pre_step *step = &run->pre->steps[i];
    switch (step->kind) {
    case TOK_PRE_PREFIX_SPACE:
        return run_prefix_space(run, i, piece);
    case TOK_PRE_SPELL:
        return run_spell(run, i, piece);
    case TOK_PRE_METASPACE:
        return run_metaspace(run, i, piece);
    case TOK_PRE_SPLIT:
        break;
    }
    return step->match == TOK_MATCH_SCAN ? run_scan(run, i, piece) : run_split(run, i, piece);
}

enum status tok_pre_run(const struct tok_pre *pre, struct tokenizer_workspace *work,
                        const char *text, size_t len, bool first, tok_pre_emit emit, void *ctx)
{
    struct run run = {.pre = pre, .work = work, .emit = emit, .ctx = ctx};
    return run_step(&run, 0, (struct piece){text, len, first});
}
