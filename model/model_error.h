/* How the loading of a model reports a failure: one sentence for people (the file, what was
 * expected, what was found, where, what to do) beside the status for programs. Whoever finds the
 * fault fills it; callers pass the status up. Any thread. */
#pragma once

#include "base/status.h"

#define MODEL_ERROR_MAX 768u

struct model_error {
    char text[MODEL_ERROR_MAX];
};

/* Writes the sentence (cut to fit) if `error` is not NULL, and returns `status`. */
__attribute__((format(printf, 3, 4))) enum status
model_fail(struct model_error *error, enum status status, const char *fmt, ...);
