/* Normalizers, pre-tokenizers, post-processors and decoders all come as one object or as a
 * "Sequence" that holds several, possibly Sequences again. This walks over the single ones in
 * order, without recursion. */
#pragma once

#include <stddef.h>

#include "base/status.h"
#include "model/tok_json.h"

#define TOK_STEPS_DEPTH_MAX 8u

struct tok_steps {
    struct {
        struct tok_json at;
        struct tok_json_walk walk;
    } stack[TOK_STEPS_DEPTH_MAX];
    size_t depth;
    const char *key; /* of the array in a Sequence */
    struct tok_json first;
    bool started;
};

/* One step: its object and its "type". */
struct tok_step {
    struct tok_json at;
    char type[64];
};

/* `value` is what the top level has; `key` is "normalizers", "decoders" and so on. */
void tok_steps_init(struct tok_steps *steps, const struct tok_json *value, const char *key);

/* OK with a step, DONE, or an error with a sentence. */
enum status tok_steps_next(struct tok_steps *steps, struct tok_step *out);

/* "the KIND "TYPE" is not supported", for a step that nobody knows. */
enum status tok_step_unsupported(const struct tok_step *step, const char *kind);

/* Turns the NOT_FOUND of a parameter that must be there into a sentence. */
enum status tok_step_missing(const struct tok_step *step, enum status status);
