/* Walking over Sequences. Runs while a tokenizer opens. */
#include "model/tok_steps.h"

#include <string.h>

#include "model/tok_error.h"

void tok_steps_init(struct tok_steps *steps, const struct tok_json *value, const char *key)
{
    steps->depth = 0;
    steps->key = key;
    steps->first = *value;
    steps->started = false;
}

/* The next element of the innermost array that has one, or DONE. */
static enum status next_element(struct tok_steps *steps, struct tok_json *item)
{
    while (steps->depth > 0) {
        struct tok_json *at = &steps->stack[steps->depth - 1].at;
        bool more;
        enum status status = tok_json_next_element(at, &steps->stack[steps->depth - 1].walk, &more);
        if (status != STATUS_OK) {
            return status;
        }
        if (more) {
            *item = *at;
            return tok_json_skip(at);
        }
        steps->depth--;
    }
    return STATUS_DONE;
}

enum status tok_steps_next(struct tok_steps *steps, struct tok_step *out)
{
    for (;;) {
        struct tok_json item = steps->first;
        enum status status = steps->started ? next_element(steps, &item) : STATUS_OK;
        steps->started = true;
        if (status != STATUS_OK) {
            return status;
        }
        size_t len;
        status = tok_json_find_text(&item, "type", out->type, sizeof out->type, &len);
        if (status != STATUS_OK) {
            return status == STATUS_NOT_FOUND ? tok_json_expected(&item, "a \"type\" in here")
                                              : status;
        }
        out->at = item;
        if (strcmp(out->type, "Sequence") != 0) {
            return STATUS_OK;
        }
        if (steps->depth == TOK_STEPS_DEPTH_MAX) {
            return tok_json_expected(&item, "at most 8 levels of Sequence");
        }
        struct tok_json array;
        status = tok_json_find(&item, steps->key, &array);
        if (status == STATUS_OK) {
            status = tok_json_enter(&array, '[', &steps->stack[steps->depth].walk);
        }
        if (status != STATUS_OK) {
            return tok_step_missing(out, status);
        }
        steps->stack[steps->depth++].at = array;
    }
}

enum status tok_step_unsupported(const struct tok_step *step, const char *kind)
{
    return tok_fail(step->at.error, STATUS_UNSUPPORTED,
                    "tokenizer.json: at byte %zu: the %s \"%s\" is not supported", step->at.pos,
                    kind, step->type);
}

enum status tok_step_missing(const struct tok_step *step, enum status status)
{
    if (status != STATUS_NOT_FOUND) {
        return status;
    }
    return tok_fail(step->at.error, STATUS_MALFORMED,
                    "tokenizer.json: at byte %zu: \"%s\" lacks a parameter that it must have",
                    step->at.pos, step->type);
}
