/* Tables of tok_unicode.c and tok_regex.c, made by tests/model_text/tok_unicode_gen.py. Sorted. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct tok_range {
    uint32_t first, last;
    uint32_t category; /* bit number; 0 where it has no meaning */
};

extern const struct tok_range tok_category_patches[];
extern const size_t tok_category_patches_n;
extern const struct tok_range tok_not_punctuation[];
extern const size_t tok_not_punctuation_n;
extern const struct tok_range tok_not_marks[];
extern const size_t tok_not_marks_n;
extern const struct tok_range tok_inert_marks[];
extern const size_t tok_inert_marks_n;
