/* Applying normalizers. Each step reads one buffer and writes another; the two take turns. Any
 * thread. */
#include "model/tok_norm.h"

#include <string.h>

#include "model/tok_unicode.h"

static bool is_ascii(const char *text, size_t len)
{
    size_t pos = 0;
    uint64_t all = 0;
    for (; pos + 8 <= len; pos += 8) {
        uint64_t word;
        memcpy(&word, text + pos, 8);
        all |= word;
    }
    for (; pos < len; pos++) {
        all |= (uint64_t)(uint8_t)text[pos] << 56;
    }
    return (all & 0x8080808080808080u) == 0;
}

static enum status put_char(struct buf *out, uint32_t c)
{
    char text[4];
    return buf_append(out, text, tok_utf8_put(c, text));
}

/* Replaces every occurrence of a fixed text. */
static enum status replace_text(const struct tok_norm_step *step, const char *text, size_t len,
                                struct buf *out)
{
    enum status status = STATUS_OK;
    const char *end = text + len;
    while (text < end && status == STATUS_OK) {
        const char *found =
            step->pattern_len == 1
                ? memchr(text, step->pattern[0], (size_t)(end - text))
                : memmem(text, (size_t)(end - text), step->pattern, step->pattern_len);
        if (found == NULL) {
            return buf_append(out, text, (size_t)(end - text));
        }
        uint8_t *room;
        size_t n = (size_t)(found - text);
        status = buf_reserve(out, n + step->content_len, &room);
        if (status == STATUS_OK) {
            memcpy(room, text, n);
            memcpy(room + n, step->content, step->content_len);
            buf_grew(out, n + step->content_len);
        }
        text = found + step->pattern_len;
    }
    return status;
}

static enum status replace_regex(const struct tok_norm_step *step, struct tokenizer_workspace *work,
                                 const char *text, size_t len, struct buf *out)
{
    struct tok_regex_walk walk = {0};
    size_t from = 0, start, end;
    enum status status;
    while ((status = tok_regex_next(step->regex, work->regex, text, len, &walk, &start, &end)) ==
           STATUS_OK) {
        status = buf_append(out, text + from, start - from);
        status = status == STATUS_OK ? buf_append(out, step->content, step->content_len) : status;
        if (status != STATUS_OK) {
            return status;
        }
        from = end;
    }
    return status == STATUS_DONE ? buf_append(out, text + from, len - from) : status;
}

static enum status strip(const struct tok_norm_step *step, const char *text, size_t len,
                         struct buf *out)
{
    size_t start = 0;
    unsigned n;
    while (step->left && start < len && tok_char_is_space(tok_utf8_get(text + start, &n))) {
        start += n;
    }
    while (step->right && len > start) {
        size_t before = tok_utf8_before(text, len);
        if (!tok_char_is_space(tok_utf8_get(text + before, &n))) {
            break;
        }
        len = before;
    }
    return buf_append(out, text + start, len - start);
}

/* What the Nmt normalizer makes of a character: nothing (false), a space, or itself. */
static bool map_nmt(uint32_t *c)
{
    uint32_t v = *c;
    if ((v >= 1 && v <= 8) || v == 0xb || (v >= 0xe && v <= 0x1f) || v == 0x7f || v == 0x8f ||
        v == 0x9f) {
        return false;
    }
    if (v == 9 || v == 0xa || v == 0xc || v == 0xd || v == 0x1680 || (v >= 0x200b && v <= 0x200f) ||
        v == 0x2028 || v == 0x2029 || v == 0x2581 || v == 0xfeff || v == 0xfffd) {
        *c = ' ';
    }
    return true;
}

/* The steps that look at one character after the other. */
static enum status by_char(const struct tok_norm_step *step, const char *text, size_t len,
                           struct buf *out)
{
    enum status status = STATUS_OK;
    for (size_t pos = 0; pos < len && status == STATUS_OK;) {
        unsigned n;
        uint32_t c = tok_utf8_get(text + pos, &n), lower[2];
        if (step->kind == TOK_NORM_LOWERCASE) {
            int n_lower = tok_char_lower(c, lower);
            status = put_char(out, lower[0]);
            status = status == STATUS_OK && n_lower == 2 ? put_char(out, lower[1]) : status;
        } else if (step->kind == TOK_NORM_STRIP_ACCENTS) {
            status = tok_char_is_mark(c) ? STATUS_OK : buf_append(out, text + pos, n);
        } else {
            status = map_nmt(&c) ? put_char(out, c) : STATUS_OK;
        }
        pos += n;
    }
    return status;
}

static enum status byte_level(const char *text, size_t len, struct buf *out)
{
    enum status status = STATUS_OK;
    for (size_t i = 0; i < len && status == STATUS_OK; i++) {
        status = put_char(out, tok_byte_char((uint8_t)text[i]));
    }
    return status;
}

static enum status apply_step(const struct tok_norm_step *step, struct tokenizer_workspace *work,
                              const char *text, size_t len, struct buf *out)
{
    switch (step->kind) {
    case TOK_NORM_FORM:
        return tok_normform_append(step->form, &work->chars, text, len, out);
    case TOK_NORM_LOWERCASE:
    case TOK_NORM_STRIP_ACCENTS:
    case TOK_NORM_NMT:
        return by_char(step, text, len, out);
    case TOK_NORM_STRIP:
        return strip(step, text, len, out);
    case TOK_NORM_REPLACE:
        return replace_text(step, text, len, out);
    case TOK_NORM_REPLACE_REGEX:
        return replace_regex(step, work, text, len, out);
    case TOK_NORM_CHARSMAP:
        return tok_charsmap_append(&step->map, text, len, out);
    case TOK_NORM_BYTE_LEVEL:
        return byte_level(text, len, out);
    case TOK_NORM_PREPEND:
        break;
    }
    enum status status = buf_append(out, step->content, len > 0 ? step->content_len : 0);
    return status == STATUS_OK ? buf_append(out, text, len) : status;
}

enum status tok_norm_apply(const struct tok_norm *norm, struct tokenizer_workspace *work,
                           const char *text, size_t len, const char **out, size_t *out_len)
{
    for (size_t i = 0; i < norm->n; i++) {
        const struct tok_norm_step *step = &norm->steps[i];
        bool ascii_same = step->kind == TOK_NORM_FORM || step->kind == TOK_NORM_STRIP_ACCENTS;
        if (ascii_same && is_ascii(text, len)) {
            continue;
        }
        struct buf *target = &work->normal[text == (const char *)buf_data(&work->normal[0])];
        buf_clear(target);
        enum status status = apply_step(step, work, text, len, target);
        if (status != STATUS_OK) {
            return status;
        }
        text = (const char *)buf_data(target);
        len = buf_len(target);
    }
    *out = text;
    *out_len = len;
    return STATUS_OK;
}
