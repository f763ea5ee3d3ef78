/* The post-processor of a tokenizer.json, as far as it adds tokens to one text: some before it and
 * some behind it. Immutable once loaded. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "model/tok_json.h"

#define TOK_POST_IDS_MAX 16u

struct tok_post {
    uint32_t before[TOK_POST_IDS_MAX], after[TOK_POST_IDS_MAX];
    size_t n_before, n_after;
};

/* Reads the value of the "post_processor" key. */
enum status tok_post_load(struct tok_post *post, const struct tok_json *value);
