/* The one way in which the tokenizer's parts report a failure: a sentence for people and a status
 * for programs. */
#pragma once

#include "base/status.h"
#include "model/tokenizer.h"

/* Writes the sentence (cut to fit) if `error` is not NULL, and returns `status`. */
__attribute__((format(printf, 3, 4))) enum status
tok_fail(struct tokenizer_error *error, enum status status, const char *fmt, ...);
