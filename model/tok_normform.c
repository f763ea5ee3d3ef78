/* Normalisation forms. Text is cut before characters that nothing can move across or join
 * ("inert"), so most text is copied and only short stretches are decomposed, sorted and composed.
 * utf8proc has the data; its own sorting is quadratic and its Unicode newer, so both are here. Any
 * thread. */
#include "model/tok_normform.h"

#include <string.h>
#include <utf8proc.h>

#include "model/tok_unicode.h"
#include "model/tok_unicode_tables.h"

/* A character with its combining class above it, so that sorting keeps the two together. */
#define CLASS_SHIFT 24
#define CHAR_MASK 0xffffffu
#define INSERTION_MAX 24u

static bool is_composing(enum tok_normform form)
{
    return form == TOK_NFC || form == TOK_NFKC;
}

static bool is_compatible(enum tok_normform form)
{
    return form == TOK_NFKC || form == TOK_NFKD;
}

/* Is the character its own normal form, of class 0, and never the second of a composition? Only the
 * most frequent are listed; the others are slower, not wrong. */
static bool is_inert(enum tok_normform form, uint32_t c)
{
    if (c < 0x80 || (c >= 0x4e00 && c <= 0x9fff)) {
        return true;
    }
    if (!is_composing(form)) {
        return false;
    }
    return (c < 0x300 && form == TOK_NFC) || (c >= 0x400 && c <= 0x481) ||
           (c >= 0x48a && c <= 0x52f) || (c >= 0x3041 && c <= 0x3096) ||
           (c >= 0x30a1 && c <= 0x30fa) || (c >= 0xac00 && c <= 0xd7a3);
}

static unsigned combining_class(uint32_t c)
{
    unsigned class = (unsigned)utf8proc_get_property((utf8proc_int32_t)c)->combining_class;
    if (class == 0) {
        return 0;
    }
    size_t low = 0, high = tok_inert_marks_n;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (c > tok_inert_marks[middle].last) {
            low = middle + 1;
        } else if (c < tok_inert_marks[middle].first) {
            high = middle;
        } else {
            return 0;
        }
    }
    return class;
}

/* Characters that got a decomposition after Unicode 9. */
static bool is_newer(uint32_t c, bool compatible)
{
    if (c == 0x11938) {
        return true;
    }
    return compatible && (c == 0x32ff || (c >= 0xa7f2 && c <= 0xa7f4) || c == 0xab69 ||
                          (c >= 0x10781 && c <= 0x107ba) || (c >= 0x1e030 && c <= 0x1e06d) ||
                          c == 0x1f16c || (c >= 0x1fbf0 && c <= 0x1fbf9));
}

/* Writes up to `cap` characters; returns how many there are. */
static size_t decompose(enum tok_normform form, uint32_t c, int32_t *out, size_t cap)
{
    if (is_newer(c, is_compatible(form))) {
        if (cap > 0) {
            out[0] = (int32_t)c;
        }
        return 1;
    }
    int options = UTF8PROC_STABLE | UTF8PROC_DECOMPOSE;
    options |= is_compatible(form) ? UTF8PROC_COMPAT : 0;
    int boundclass = 0;
    utf8proc_ssize_t n = utf8proc_decompose_char((utf8proc_int32_t)c, out, (utf8proc_ssize_t)cap,
                                                 (utf8proc_option_t)options, &boundclass);
    if (n < 0) {
        if (cap > 0) {
            out[0] = (int32_t)c;
        }
        return 1;
    }
    return (size_t)n;
}

/* Sorts by class, keeping the order of equals; `spare` [n] is scratch. */
static void sort_marks(uint32_t *chars, size_t n, uint32_t *spare)
{
    if (n <= INSERTION_MAX) {
        for (size_t i = 1; i < n; i++) {
            uint32_t one = chars[i];
            size_t at = i;
            while (at > 0 && chars[at - 1] >> CLASS_SHIFT > one >> CLASS_SHIFT) {
                chars[at] = chars[at - 1];
                at--;
            }
            chars[at] = one;
        }
        return;
    }
    size_t starts[257] = {0};
    for (size_t i = 0; i < n; i++) {
        starts[(chars[i] >> CLASS_SHIFT) + 1]++;
    }
    for (size_t i = 1; i < 257; i++) {
        starts[i] += starts[i - 1];
    }
    for (size_t i = 0; i < n; i++) {
        spare[starts[chars[i] >> CLASS_SHIFT]++] = chars[i];
    }
    memcpy(chars, spare, n * sizeof *chars);
}

/* The composite of two characters, or 0. */
static uint32_t compose_pair(uint32_t first, uint32_t second)
{
    utf8proc_int32_t pair[3] = {(int32_t)first, (int32_t)second, 0};
    utf8proc_ssize_t n = utf8proc_normalize_utf32(pair, 2, UTF8PROC_STABLE | UTF8PROC_COMPOSE);
    return n == 1 && pair[0] != 0x11938 ? (uint32_t)pair[0] : 0;
}

/* Composes in place; returns the new length. */
static size_t compose(uint32_t *chars, size_t n)
{
    size_t kept = 0, starter = SIZE_MAX;
    int last_class = -1; /* of what stands between the starter and the next one; -1: nothing */
    for (size_t i = 0; i < n; i++) {
        int class = (int)(chars[i] >> CLASS_SHIFT);
        if (starter != SIZE_MAX && last_class < class) {
            uint32_t both = compose_pair(chars[starter] & CHAR_MASK, chars[i] & CHAR_MASK);
            if (both != 0) {
                chars[starter] = both;
                continue;
            }
        }
        if (class == 0) {
            starter = kept;
            last_class = -1;
        } else {
            last_class = class;
        }
        chars[kept++] = chars[i];
    }
    return kept;
}

static enum status put_chars(const uint32_t *chars, size_t n, struct buf *out)
{
    for (size_t i = 0; i < n;) {
        char text[256];
        size_t n_text = 0;
        for (; i < n && n_text + 4 <= sizeof text; i++) {
            n_text += tok_utf8_put(chars[i] & CHAR_MASK, text + n_text);
        }
        enum status status = buf_append(out, text, n_text);
        if (status != STATUS_OK) {
            return status;
        }
    }
    return STATUS_OK;
}

/* One stretch between inert characters. */
static enum status normalise(enum tok_normform form, struct tok_block *block, const char *text,
                             size_t len, struct buf *out)
{
    size_t n = 0;
    unsigned n_bytes;
    for (size_t pos = 0; pos < len; pos += n_bytes) {
        n += decompose(form, tok_utf8_get(text + pos, &n_bytes), NULL, 0);
    }
    uint32_t *chars = tok_block_need(block, 2 * n * sizeof *chars);
    if (chars == NULL) {
        return STATUS_NO_MEMORY;
    }
    size_t at = 0, marks = 0;
    for (size_t pos = 0; pos < len; pos += n_bytes) {
        size_t end = at + decompose(form, tok_utf8_get(text + pos, &n_bytes),
                                    (int32_t *)(chars + at), n - at);
        for (; at < end; at++) {
            unsigned class = combining_class(chars[at]);
            chars[at] |= class << CLASS_SHIFT;
            if (class == 0) {
                sort_marks(chars + marks, at - marks, chars + n);
                marks = at + 1;
            }
        }
    }
    sort_marks(chars + marks, n - marks, chars + n);
    n = is_composing(form) ? compose(chars, n) : n;
    return put_chars(chars, n, out);
}

enum status tok_normform_append(enum tok_normform form, struct tok_block *chars, const char *text,
                                size_t len, struct buf *out)
{
    for (size_t start = 0; start < len;) {
        /* [start, plain) is copied; the last inert character goes with what follows it. */
        size_t plain = start, pos = start;
        unsigned n = 0;
        while (pos < len && is_inert(form, tok_utf8_get(text + pos, &n))) {
            plain = pos;
            pos += n;
        }
        plain = pos == len ? len : plain;
        enum status status = buf_append(out, text + start, plain - start);
        if (status != STATUS_OK || plain == len) {
            return status;
        }
        while (pos < len && !is_inert(form, tok_utf8_get(text + pos, &n))) {
            pos += n;
        }
        status = normalise(form, chars, text + plain, pos - plain, out);
        if (status != STATUS_OK) {
            return status;
        }
        start = pos;
    }
    return STATUS_OK;
}
