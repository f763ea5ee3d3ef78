/* What a tokenizer is made of. Private to tokenizer.c and detokenizer.c. */
#pragma once

#include "model/tok_added.h"
#include "model/tok_bpe.h"
#include "model/tok_decoder.h"
#include "model/tok_norm.h"
#include "model/tok_post.h"
#include "model/tok_pre.h"
#include "model/tok_unigram.h"
#include "model/tok_vocab.h"

enum tok_model_kind { TOK_MODEL_BYTES, TOK_MODEL_BPE, TOK_MODEL_UNIGRAM };

struct tokenizer {
    enum tok_model_kind kind;
    struct tok_vocab vocab;
    struct tok_bpe bpe;
    struct tok_unigram unigram;
    struct tok_norm norm;
    struct tok_pre pre;
    struct tok_added added;
    struct tok_post post;
    struct tok_decoder decoder;
};
