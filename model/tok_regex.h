/* Regular expressions of a tokenizer.json, which are written for Oniguruma with Ruby's syntax, run
 * by PCRE2 with its JIT. A pattern is translated first: the two differ in what \s, \w, \h and $
 * mean and in their Unicode versions. What cannot be translated is refused with a sentence. A
 * compiled pattern is immutable; each thread brings its own scratch. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/status.h"
#include "model/tokenizer.h"

#define TOK_REGEX_PATTERN_MAX 8192u /* bytes, before translation */

struct tok_regex;
struct tok_regex_scratch;

enum status tok_regex_create(const char *pattern, size_t len, struct tokenizer_error *error,
                             struct tok_regex **out);
void tok_regex_destroy(struct tok_regex *regex);

enum status tok_regex_scratch_create(struct tok_regex_scratch **out);
void tok_regex_scratch_destroy(struct tok_regex_scratch *scratch);

/* Where a walk over the matches of one text stands; start with zeroes. */
struct tok_regex_walk {
    size_t from;     /* search from here */
    size_t last_end; /* of the last match */
    bool matched;    /* there was one */
};

/* The next match in valid UTF-8: OK with [*start, *end), or DONE. Empty matches right behind a
 * match are skipped. UNSUPPORTED if the pattern needs too many steps for this text. */
enum status tok_regex_next(const struct tok_regex *regex, struct tok_regex_scratch *scratch,
                           const char *text, size_t len, struct tok_regex_walk *walk, size_t *start,
                           size_t *end);
