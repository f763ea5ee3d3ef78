/* What the tokenizer's tests share: the stored tokenizers, and a random number generator. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "model/tokenizer.h"

/* Sanitizers slow everything down and take memory: bounds are wider then. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define TOK_SANITIZED
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define TOK_SANITIZED
#endif
#endif

/* The stored kinds; vectors/tokenizer has KIND.json and KIND.txt. */
#define TOK_KINDS(X)                                                                               \
    X(gpt2)                                                                                        \
    X(llama3)                                                                                      \
    X(qwen2)                                                                                       \
    X(o200k)                                                                                       \
    X(tekken)                                                                                      \
    X(deepseek)                                                                                    \
    X(llama2)                                                                                      \
    X(metaspace)                                                                                   \
    X(unigram)                                                                                     \
    X(unigram_bytes)                                                                               \
    X(odd_steps)                                                                                   \
    X(word_marks)

extern const char *const tok_kinds[];
extern const size_t tok_n_kinds;

/* Opens a stored tokenizer; fails the test with the sentence if it cannot. */
struct tokenizer *tok_fixture_open(const char *kind);

/* Reads a file of vectors/tokenizer whole; the caller frees it. */
char *tok_fixture_read(const char *name, size_t *len);

/* xorshift64*: the same on every machine. */
uint64_t tok_random(uint64_t *state);

/* Random valid UTF-8 with much white space, punctuation, digits, case and marks, at most `cap`
 * bytes; returns how many. */
size_t tok_random_text(uint64_t *state, char *out, size_t cap);
