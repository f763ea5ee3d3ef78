/* The pre-tokenizer patterns that nearly all published models use, as hand-written scanners: each
 * gives exactly the matches that the regex engine gives for the same pattern (a test compares
 * them), several times as fast, in linear time and without scratch memory. A text is a chain of
 * matches (DEEPSEEK: of matches and of what lies between two of them). Pure functions, any thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

enum tok_scan_kind {
    TOK_SCAN_NONE,     /* a pattern we do not know: use the regex */
    TOK_SCAN_GPT2,     /* also what ByteLevel's use_regex means */
    TOK_SCAN_LLAMA3,   /* cl100k: contractions in any case, digits by three */
    TOK_SCAN_QWEN2,    /* the same with single digits */
    TOK_SCAN_QWEN35,   /* the same with marks in words */
    TOK_SCAN_O200K,    /* split by case, contractions as suffixes, digits by three */
    TOK_SCAN_TEKKEN,   /* split by case, no contractions, single digits */
    TOK_SCAN_DIGITS,   /* DeepSeek-V3's three: digits by three, ... */
    TOK_SCAN_CJK,      /* ... Chinese and Japanese, ... */
    TOK_SCAN_DEEPSEEK, /* ... and the rest */
    TOK_SCAN_KINDS,
};

/* The kind whose pattern this is, letter for letter. */
enum tok_scan_kind tok_scan_recognise(const char *pattern, size_t len);

/* Does the pattern leave text unmatched? */
bool tok_scan_has_gaps(enum tok_scan_kind kind);

/* The pattern of a kind that is not NONE. */
const char *tok_scan_pattern(enum tok_scan_kind kind);

/* The end of the match (or gap) that begins at `pos` < len, in valid UTF-8. */
size_t tok_scan_next(enum tok_scan_kind kind, const char *text, size_t len, size_t pos);
