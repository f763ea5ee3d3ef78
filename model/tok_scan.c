/* Hand-written scanners for the published patterns. Each alternative of a pattern is tried in its
 * order; where the regex engine would backtrack, the position to return to is remembered on the way
 * instead, so every character is looked at a bounded number of times. Any thread. */
#include "model/tok_scan.h"

#include <string.h>

#include "model/tok_unicode.h"

#define CONTRACTIONS "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define UPPER "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define LOWER "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
#define LEAD "[^\\r\\n\\p{L}\\p{N}]?"
#define SPACES "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"

static const char *const patterns[TOK_SCAN_KINDS] = {
    [TOK_SCAN_GPT2] = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+"
                      "|\\s+(?!\\S)|\\s+",
    [TOK_SCAN_LLAMA3] = CONTRACTIONS "|" LEAD "\\p{L}+|\\p{N}{1,3}"
                                     "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|" SPACES,
    [TOK_SCAN_QWEN2] = CONTRACTIONS "|" LEAD "\\p{L}+|\\p{N}"
                                    "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|" SPACES,
    [TOK_SCAN_QWEN35] = CONTRACTIONS "|" LEAD "[\\p{L}\\p{M}]+|\\p{N}"
                                     "| ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|" SPACES,
    [TOK_SCAN_DIGITS] = "\\p{N}{1,3}",
    [TOK_SCAN_CJK] =
        "[\xe4\xb8\x80-\xe9\xbe\xa5\xe3\x81\x80-\xe3\x82\x9f\xe3\x82\xa0-\xe3\x83\xbf]+",
    [TOK_SCAN_O200K] = LEAD UPPER "*" LOWER "+" CONTRACTIONS "?|" LEAD UPPER "+" LOWER
                                  "*" CONTRACTIONS "?|\\p{N}{1,3}"
                                  "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|" SPACES,
    [TOK_SCAN_TEKKEN] = LEAD UPPER "*" LOWER "+|" LEAD UPPER "+" LOWER "*|\\p{N}"
                                   "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|" SPACES,
    [TOK_SCAN_DEEPSEEK] = "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+"
                          "|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+"
                          "| ?[\\p{P}\\p{S}]+[\\r\\n]*|" SPACES,
};

#define BITS_UPPER (TOK_BIT_LU | TOK_BIT_LT | TOK_BIT_LM | TOK_BIT_LO | TOK_BITS_M)
#define BITS_LOWER (TOK_BIT_LL | TOK_BIT_LM | TOK_BIT_LO | TOK_BITS_M)
#define BITS_WORD (TOK_BITS_L | TOK_BITS_N | TOK_BIT_SPACE)

enum tok_scan_kind tok_scan_recognise(const char *pattern, size_t len)
{
    for (enum tok_scan_kind kind = TOK_SCAN_GPT2; kind < TOK_SCAN_KINDS; kind++) {
        if (strlen(patterns[kind]) == len && memcmp(patterns[kind], pattern, len) == 0) {
            return kind;
        }
    }
    return TOK_SCAN_NONE;
}

bool tok_scan_has_gaps(enum tok_scan_kind kind)
{
    return kind == TOK_SCAN_DIGITS || kind == TOK_SCAN_CJK || kind == TOK_SCAN_DEEPSEEK;
}

const char *tok_scan_pattern(enum tok_scan_kind kind)
{
    return patterns[kind];
}

/* The bits of the character at `pos` < len, and its length. */
static inline uint32_t bits_at(const char *text, size_t pos, unsigned *n)
{
    unsigned char byte = (unsigned char)text[pos];
    if (byte < 0x80) {
        *n = 1;
        return tok_ascii_bits[byte];
    }
    return tok_char_bits(tok_utf8_get(text + pos, n));
}

/* Skips characters that have one of the bits (or, inverted, none). */
static inline size_t run_of(const char *text, size_t len, size_t pos, uint32_t bits)
{
    unsigned n;
    while (pos < len && (bits_at(text, pos, &n) & bits) != 0) {
        pos += n;
    }
    return pos;
}

static inline size_t run_without(const char *text, size_t len, size_t pos, uint32_t bits)
{
    unsigned n;
    while (pos < len && (bits_at(text, pos, &n) & bits) == 0) {
        pos += n;
    }
    return pos;
}

static inline bool is_newline(char c)
{
    return c == '\r' || c == '\n';
}

static size_t run_of_newlines(const char *text, size_t len, size_t pos, bool slash)
{
    while (pos < len && (is_newline(text[pos]) || (slash && text[pos] == '/'))) {
        pos++;
    }
    return pos;
}

/* The length of a contraction at `pos`, where an apostrophe stands, or 0. Without regard to case a
 * long s is an s too. */
static size_t contraction(const char *text, size_t len, size_t pos, bool any_case)
{
    char a = pos + 1 < len ? text[pos + 1] : 0;
    char b = pos + 2 < len ? text[pos + 2] : 0;
    if (any_case) {
        if (a == '\xc5' && b == '\xbf') {
            return 3;
        }
        a = a >= 'A' && a <= 'Z' ? (char)(a + 32) : a;
        b = b >= 'A' && b <= 'Z' ? (char)(b + 32) : b;
    }
    if (a == 's' || a == 't' || a == 'm' || a == 'd') {
        return 2;
    }
    if ((b == 'e' && (a == 'r' || a == 'v')) || (a == 'l' && b == 'l')) {
        return 3;
    }
    return 0;
}

/* \s+(?!\S)|\s+ and, with `newlines`, \s*[\r\n]+ before them; `pos` is at white space. */
static size_t spaces(const char *text, size_t len, size_t pos, bool newlines)
{
    size_t end = pos, last = pos, after_newline = 0;
    unsigned n;
    while (end < len && (bits_at(text, end, &n) & TOK_BIT_SPACE) != 0) {
        after_newline = is_newline(text[end]) ? end + 1 : after_newline;
        last = end;
        end += n;
    }
    if (newlines && after_newline > 0) {
        return after_newline;
    }
    /* Before a word the last white space stays behind, unless it is the only one. */
    return end == len || last == pos ? end : last;
}

/* Up to `max` numeric characters; `pos` is at one. */
static size_t digits(const char *text, size_t len, size_t pos, unsigned max)
{
    unsigned n;
    for (unsigned i = 0; i < max && pos < len; i++) {
        if ((bits_at(text, pos, &n) & TOK_BITS_N) == 0) {
            break;
        }
        pos += n;
    }
    return pos;
}

static size_t next_gpt2(const char *text, size_t len, size_t pos)
{
    if (text[pos] == '\'') {
        size_t n_short = contraction(text, len, pos, false);
        if (n_short > 0) {
            return pos + n_short;
        }
    }
    unsigned n;
    size_t start = pos + (text[pos] == ' ' && pos + 1 < len);
    uint32_t bits = bits_at(text, start, &n);
    if ((bits & TOK_BITS_L) != 0) {
        return run_of(text, len, start + n, TOK_BITS_L);
    }
    if ((bits & TOK_BITS_N) != 0) {
        return run_of(text, len, start + n, TOK_BITS_N);
    }
    if ((bits & TOK_BIT_SPACE) == 0) {
        return run_without(text, len, start + n, BITS_WORD);
    }
    return spaces(text, len, pos, false);
}

/* What Llama 3, Qwen, o200k and Tekken have in common after words and numbers: punctuation with
 * what follows it, and white space. `word` is what is no punctuation. */
static size_t next_rest(const char *text, size_t len, size_t pos, uint32_t word, bool slash)
{
    unsigned n;
    size_t start = pos + (text[pos] == ' ' && pos + 1 < len);
    if ((bits_at(text, start, &n) & word) == 0) {
        return run_of_newlines(text, len, run_without(text, len, start + n, word), slash);
    }
    return spaces(text, len, pos, true);
}

static size_t next_llama3(const char *text, size_t len, size_t pos, uint32_t letters,
                          unsigned digits_max)
{
    if (text[pos] == '\'') {
        size_t n_short = contraction(text, len, pos, true);
        if (n_short > 0) {
            return pos + n_short;
        }
    }
    unsigned n, n_next;
    uint32_t bits = bits_at(text, pos, &n);
    if ((bits & letters) != 0) {
        return run_of(text, len, pos + n, letters);
    }
    if ((bits & TOK_BITS_N) != 0) {
        return digits(text, len, pos, digits_max);
    }
    if (!is_newline(text[pos]) && pos + n < len &&
        (bits_at(text, pos + n, &n_next) & letters) != 0) {
        return run_of(text, len, pos + n + n_next, letters);
    }
    return next_rest(text, len, pos, BITS_WORD | letters, false);
}

/* UPPER* LOWER+ from `pos`, or pos if there is no match. Characters of both classes (other letters,
 * marks) are taken by UPPER* first and given back as far as LOWER+ needs one. */
static size_t case_word_lower(const char *text, size_t len, size_t pos)
{
    size_t at = pos, after_both = 0;
    unsigned n;
    while (at < len) {
        uint32_t bits = bits_at(text, at, &n);
        if ((bits & BITS_UPPER) == 0) {
            break;
        }
        at += n;
        after_both = (bits & BITS_LOWER) != 0 ? at : after_both;
    }
    size_t end = run_of(text, len, at, BITS_LOWER);
    if (end > at) {
        return end;
    }
    return after_both > 0 ? after_both : pos;
}

/* UPPER+ LOWER* from `pos`, or pos if there is no match. */
static size_t case_word_upper(const char *text, size_t len, size_t pos)
{
    size_t at = run_of(text, len, pos, BITS_UPPER);
    return at > pos ? run_of(text, len, at, BITS_LOWER) : pos;
}

static size_t next_by_case(const char *text, size_t len, size_t pos, unsigned digits_max,
                           bool contractions)
{
    unsigned n;
    uint32_t bits = bits_at(text, pos, &n);
    size_t lead = pos;
    if (!is_newline(text[pos]) && (bits & (TOK_BITS_L | TOK_BITS_N)) == 0) {
        lead = pos + n;
    }
    /* The optional lead is greedy: with it first, then without. */
    size_t end = case_word_lower(text, len, lead);
    end = end == lead ? case_word_lower(text, len, pos) : end;
    if (end == pos) {
        end = case_word_upper(text, len, lead);
        end = end == lead ? case_word_upper(text, len, pos) : end;
    }
    if (end > pos) {
        if (contractions && end < len && text[end] == '\'') {
            end += contraction(text, len, end, true);
        }
        return end;
    }
    if ((bits & TOK_BITS_N) != 0) {
        return digits(text, len, pos, digits_max);
    }
    return next_rest(text, len, pos, BITS_WORD, true);
}

static size_t next_digits(const char *text, size_t len, size_t pos)
{
    size_t end = digits(text, len, pos, 3);
    return end > pos ? end : run_without(text, len, pos, TOK_BITS_N);
}

static inline bool is_cjk(uint32_t c)
{
    return (c >= 0x3040 && c <= 0x30ff) || (c >= 0x4e00 && c <= 0x9fa5);
}

static size_t next_cjk(const char *text, size_t len, size_t pos)
{
    unsigned n;
    bool inside = is_cjk(tok_utf8_get(text + pos, &n));
    do {
        pos += n;
    } while (pos < len && is_cjk(tok_utf8_get(text + pos, &n)) == inside);
    return pos;
}

static inline bool is_ascii_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* The end of the match at `pos`, or pos if there is none. */
static size_t match_deepseek(const char *text, size_t len, size_t pos)
{
    unsigned n, n_next;
    uint32_t bits = bits_at(text, pos, &n);
    bool marks = (bits & (TOK_BITS_P | TOK_BITS_S)) != 0;
    if (marks && n == 1 && pos + 1 < len && is_ascii_letter(text[pos + 1])) {
        size_t end = pos + 2;
        while (end < len && is_ascii_letter(text[end])) {
            end++;
        }
        return end;
    }
    if (!is_newline(text[pos]) && (bits & TOK_BITS_L) == 0 && !marks && pos + n < len &&
        (bits_at(text, pos + n, &n_next) & (TOK_BITS_L | TOK_BITS_M)) != 0) {
        return run_of(text, len, pos + n + n_next, TOK_BITS_L | TOK_BITS_M);
    }
    if ((bits & (TOK_BITS_L | TOK_BITS_M)) != 0) {
        return run_of(text, len, pos + n, TOK_BITS_L | TOK_BITS_M);
    }
    size_t start = pos + (text[pos] == ' ' && pos + 1 < len);
    if ((bits_at(text, start, &n_next) & (TOK_BITS_P | TOK_BITS_S)) != 0) {
        size_t end = run_of(text, len, start + n_next, TOK_BITS_P | TOK_BITS_S);
        return run_of_newlines(text, len, end, false);
    }
    return (bits & TOK_BIT_SPACE) != 0 ? spaces(text, len, pos, true) : pos;
}

/* The pattern leaves numbers and controls unmatched: a run of them is one piece. */
static size_t next_deepseek(const char *text, size_t len, size_t pos)
{
    size_t end = match_deepseek(text, len, pos);
    if (end > pos) {
        return end;
    }
    unsigned n;
    do {
        (void)bits_at(text, pos, &n);
        pos += n;
    } while (pos < len && match_deepseek(text, len, pos) == pos);
    return pos;
}

size_t tok_scan_next(enum tok_scan_kind kind, const char *text, size_t len, size_t pos)
{
    switch (kind) {
    case TOK_SCAN_GPT2:
        return next_gpt2(text, len, pos);
    case TOK_SCAN_LLAMA3:
        return next_llama3(text, len, pos, TOK_BITS_L, 3);
    case TOK_SCAN_QWEN2:
        return next_llama3(text, len, pos, TOK_BITS_L, 1);
    case TOK_SCAN_QWEN35:
        return next_llama3(text, len, pos, TOK_BITS_L | TOK_BITS_M, 1);
    case TOK_SCAN_DIGITS:
        return next_digits(text, len, pos);
    case TOK_SCAN_CJK:
        return next_cjk(text, len, pos);
    case TOK_SCAN_O200K:
        return next_by_case(text, len, pos, 3, true);
    case TOK_SCAN_TEKKEN:
        return next_by_case(text, len, pos, 1, false);
    case TOK_SCAN_DEEPSEEK:
        return next_deepseek(text, len, pos);
    case TOK_SCAN_NONE:
    case TOK_SCAN_KINDS:
        break;
    }
    return len;
}
