/* The table of case mappings that are longer than one code point; see tmpl_text.c. */
#pragma once

#include <stdint.h>

#define TMPL_SPECIAL_CASES 102

struct tmpl_special_case {
    uint32_t code;
    uint32_t upper[3]; /* zeros at the end */
    uint32_t title[3];
};

extern const struct tmpl_special_case tmpl_special_cases[TMPL_SPECIAL_CASES];
