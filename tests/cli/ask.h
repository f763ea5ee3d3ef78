/* Requests to a running fleet through libbaton, and the truth they are compared with. */
#pragma once

#include <stdint.h>

#include "clients/c/baton.h"

#define ASK_TOKENS_MAX 8192
/* The model of every fleet that is asked here, and its pool: small, because its next token is a
 * hash over all of its KV. */
#define ASK_MODEL                                                                                  \
    "oracle: { layers: 2, head_dim: 16 }\nkv: { blocks: 64 }\nengine: { len_max: 4096 }\n"

struct ask_answer {
    uint32_t tokens[ASK_TOKENS_MAX];
    size_t n;
    struct baton_event last; /* DONE or FAILED */
};

/* Connects, and waits for the welcome. */
struct baton *ask_open(const char *endpoint);
/* A text prompt with a seed and a fixed length. */
void ask_request(struct baton_request *request, const char *prompt, uint64_t seed,
                 uint32_t max_tokens);
/* Takes one event of the stream into the answer; true at its end. Checks order and ids. */
bool ask_take(struct ask_answer *answer, const struct baton_event *event);
/* From start to end; the result of baton_complete. */
int ask(struct baton *baton, const struct baton_request *request, struct ask_answer *answer);
/* Fails the test unless it ends well and is the truth. */
void ask_well(struct baton *baton, const struct baton_request *request, struct ask_answer *answer);
/* The next event; fails the test if none comes in time. */
void ask_next(struct baton *baton, struct baton_event *event);
/* What the oracle of ASK_MODEL says to it. */
void ask_truth(const struct baton_request *request, struct ask_answer *truth);
/* Fails the test unless the answer is well and the truth. */
void ask_expect_true(const struct baton_request *request, const struct ask_answer *answer);
