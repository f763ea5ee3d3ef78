/* The normalizers of a tokenizer.json: a row of steps that each rewrite a text before it is cut
 * into words. Immutable once loaded. */
#pragma once

#include <stddef.h>

#include "base/status.h"
#include "model/tok_charsmap.h"
#include "model/tok_json.h"
#include "model/tok_normform.h"
#include "model/tok_regex.h"
#include "model/tok_work.h"

#define TOK_NORM_TEXT_MAX 256u /* bytes of a pattern that is no regex, or of what replaces it */

enum tok_norm_kind {
    TOK_NORM_FORM,
    TOK_NORM_LOWERCASE,
    TOK_NORM_STRIP,
    TOK_NORM_STRIP_ACCENTS,
    TOK_NORM_NMT,
    TOK_NORM_PREPEND,
    TOK_NORM_REPLACE,
    TOK_NORM_REPLACE_REGEX,
    TOK_NORM_CHARSMAP,
    TOK_NORM_BYTE_LEVEL,
};

struct tok_norm_step {
    enum tok_norm_kind kind;
    enum tok_normform form;
    bool left, right; /* of STRIP */
    char pattern[TOK_NORM_TEXT_MAX], content[TOK_NORM_TEXT_MAX];
    size_t pattern_len, content_len;
    struct tok_regex *regex;
    struct tok_charsmap map;
};

struct tok_norm {
    struct tok_norm_step *steps; /* [n] */
    size_t n;
};

/* Reads the value of the "normalizer" key. On failure, too, `norm` is to be given to fini. */
enum status tok_norm_load(struct tok_norm *norm, const struct tok_json *value);
void tok_norm_fini(struct tok_norm *norm);

/* *out is `text` itself if nothing changes, else memory of the workspace (`normal`). */
enum status tok_norm_apply(const struct tok_norm *norm, struct tokenizer_workspace *work,
                           const char *text, size_t len, const char **out, size_t *out_len);
