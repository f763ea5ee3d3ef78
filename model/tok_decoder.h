/* The decoder of a tokenizer.json, sorted into three stages, each of which can work on a stream:
 *   1. steps that change the text of one token (Replace, Metaspace, BPEDecoder, Strip);
 *   2. how tokens are joined: as text, as spelt bytes, with byte tokens, or with spaces;
 *   3. steps on the joined text, one character after the other (Strip, Replace of one character).
 * A decoder that cannot be sorted so is refused. Immutable once loaded. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "model/tok_json.h"

#define TOK_DECODER_STEPS_MAX 8u
#define TOK_DECODER_TEXT_MAX 64u

enum tok_decoder_kind {
    TOK_DECODER_REPLACE,   /* every `pattern` by `content` */
    TOK_DECODER_METASPACE, /* `pattern` by a space, by nothing in the first token if `start` */
    TOK_DECODER_SUFFIX,    /* `pattern` by a space, by nothing in the last token */
    TOK_DECODER_STRIP,     /* up to `start` and `stop` times the character `c` at the ends */
};

struct tok_decoder_step {
    enum tok_decoder_kind kind;
    char pattern[TOK_DECODER_TEXT_MAX], content[TOK_DECODER_TEXT_MAX];
    size_t pattern_len, content_len;
    uint32_t c; /* of STRIP; in stage 3 also the pattern of REPLACE */
    uint32_t start, stop;
};

enum tok_decoder_join {
    TOK_JOIN_TEXT,
    TOK_JOIN_SPACES, /* there is no decoder */
    TOK_JOIN_BYTE_LEVEL,
    TOK_JOIN_BYTE_FALLBACK,
};

struct tok_decoder {
    struct tok_decoder_step token_steps[TOK_DECODER_STEPS_MAX];
    size_t n_token_steps;
    enum tok_decoder_join join;
    struct tok_decoder_step text_steps[TOK_DECODER_STEPS_MAX];
    size_t n_text_steps;
    bool waits; /* a token's text is not known before the next token is there */
};

/* Reads the value of the "decoder" key. */
enum status tok_decoder_load(struct tok_decoder *decoder, const struct tok_json *value);
