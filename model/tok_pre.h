/* The pre-tokenizers of a tokenizer.json: a row of steps that cut a text into words, each of which
 * the model then encodes alone. A word runs through all steps before the next one is cut, so no
 * list of words is ever made.
 *
 * ByteLevel spells bytes as characters. Where it is the last step, nothing is spelt at all: the
 * model takes bytes. Where steps follow it, they see the spelling, and words go back to bytes at
 * the end. Immutable once loaded. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "model/tok_json.h"
#include "model/tok_regex.h"
#include "model/tok_scan.h"
#include "model/tok_work.h"

#define TOK_PRE_TEXT_MAX 256u /* bytes of a pattern that is no regex */

enum tok_pre_kind {
    TOK_PRE_SPLIT,        /* cuts where its matcher says */
    TOK_PRE_PREFIX_SPACE, /* a space in front, if there is none */
    TOK_PRE_SPELL,        /* bytes to characters */
    TOK_PRE_METASPACE,    /* spaces to another character, with or without one in front */
};

enum tok_pre_match {
    TOK_MATCH_SCAN,
    TOK_MATCH_REGEX,
    TOK_MATCH_TEXT,
    TOK_MATCH_NUMERIC, /* these: one character of the class */
    TOK_MATCH_PUNCTUATION,
    TOK_MATCH_SPACE,
    TOK_MATCH_CHAR,
    TOK_MATCH_WORDS, /* runs of word characters, runs of what is neither word nor space */
};

enum tok_pre_behavior {
    TOK_PRE_ISOLATED,
    TOK_PRE_REMOVED,
    TOK_PRE_CONTIGUOUS,
    TOK_PRE_MERGED_PREVIOUS,
    TOK_PRE_MERGED_NEXT,
};

enum tok_pre_prepend { TOK_PREPEND_ALWAYS, TOK_PREPEND_FIRST, TOK_PREPEND_NEVER };

struct tok_pre_step {
    enum tok_pre_kind kind;
    enum tok_pre_match match;
    enum tok_pre_behavior behavior;
    enum tok_pre_prepend prepend;
    enum tok_scan_kind scan;
    bool invert;
    struct tok_regex *regex;
    uint32_t c;                  /* of TOK_MATCH_CHAR */
    char text[TOK_PRE_TEXT_MAX]; /* a pattern, or Metaspace's replacement */
    size_t text_len;
};

struct tok_pre {
    struct tok_pre_step *steps; /* [n] */
    size_t n;
    bool byte_level; /* there is a ByteLevel: the model takes bytes */
    bool spelt;      /* and steps after it: words arrive spelt */
};

/* Called with each word. */
typedef enum status (*tok_pre_emit)(void *ctx, struct tokenizer_workspace *work, const char *word,
                                    size_t len);

/* Reads the value of the "pre_tokenizer" key. On failure, too, `pre` is to be given to fini. */
enum status tok_pre_load(struct tok_pre *pre, const struct tok_json *value);
void tok_pre_fini(struct tok_pre *pre);

/* Cuts valid UTF-8 into words. `first`: the text begins where the whole input does. */
enum status tok_pre_run(const struct tok_pre *pre, struct tokenizer_workspace *work,
                        const char *text, size_t len, bool first, tok_pre_emit emit, void *ctx);
