/* JSON text to template values: what a client sends (messages, tools) as a template sees it. As in
 * Python, objects keep the order of their keys, a repeated key keeps its first place and gets its
 * last value, integers of any length stay whole. Unlike Python's reader it refuses NaN, Infinity
 * and lone surrogates. */
#pragma once

#include "model/tmpl_value.h"

/* Arrays and objects inside one another. */
#define TMPL_JSON_DEPTH_MAX 128
/* Digits of an integer, as in Python. */
#define TMPL_JSON_DIGITS_MAX 4300

struct tmpl_json_error {
    size_t offset; /* in bytes, where the reader stopped */
    char text[160];
};

/* Reads exactly one value. MALFORMED (with *error), TOO_BIG (too deep, too long; with *error),
 * NO_MEMORY. The values lie in `arena`; the text is not needed afterwards. */
enum status tmpl_json_read(struct arena *arena, const char *text, size_t len,
                           struct tmpl_json_error *error, struct tmpl_value *out);
