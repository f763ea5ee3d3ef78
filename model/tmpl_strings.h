/* What str's methods do, for the methods and the filters that share them. All results are built in
 * the render's memory and keep the markup of their subject where Python does. */
#pragma once

#include "model/tmpl_eval.h"
#include "model/tmpl_text.h"

/* Every code point through the case mapping; lower() knows the final sigma. */
struct tmpl_value tmpl_str_case(struct tmpl_ctx *ctx, struct tmpl_value text, enum tmpl_case to);
/* str.capitalize: the first in title case, the rest in lower case. */
struct tmpl_value tmpl_str_capitalize(struct tmpl_ctx *ctx, struct tmpl_value text);
/* str.strip and its sides; `chars` is a string, or MISSING or NONE for white space. */
struct tmpl_value tmpl_str_strip(struct tmpl_ctx *ctx, struct tmpl_value text,
                                 struct tmpl_value chars, bool left, bool right);
/* str.replace; `count` < 0 means all. */
struct tmpl_value tmpl_str_replace(struct tmpl_ctx *ctx, struct tmpl_value text,
                                   struct tmpl_value old, struct tmpl_value new, int64_t count);
/* str.splitlines: a LIST. */
struct tmpl_value tmpl_str_splitlines(struct tmpl_ctx *ctx, struct tmpl_value text, bool keep_ends);
/* Fills up to `width` code points: align is '<', '>', '^' (str.center). */
struct tmpl_value tmpl_str_pad(struct tmpl_ctx *ctx, struct tmpl_value text, int64_t width,
                               const char *fill, size_t fill_len, char align);
