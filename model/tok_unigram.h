/* Unigram: the pieces have scores, and a text becomes the row of pieces with the largest sum. One
 * pass from left to right keeps the best row that ends at each byte. Immutable once filled. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "model/tok_json.h"
#include "model/tok_trie.h"
#include "model/tok_vocab.h"
#include "model/tok_work.h"

struct tok_unigram {
    const struct tok_vocab *vocab;
    struct tok_trie trie; /* of all pieces, by id */
    double *scores;       /* [vocab->n_model entries by id] */
    double unk_score;
    uint32_t unk_id; /* TOKENIZER_ID_NONE: a text that needs it cannot be encoded */
    bool byte_fallback;
    uint32_t fallback_ids[256];
};

/* Reads the object of the "model" key; on failure both are to be given to the fini functions. */
enum status tok_unigram_load(struct tok_unigram *unigram, struct tok_vocab *vocab,
                             const struct tok_json *model, bool byte_level);
void tok_unigram_fini(struct tok_unigram *unigram);

/* Appends the ids of one word. UNSUPPORTED if it has an unknown character and the file no unk_id.
 */
enum status tok_unigram_encode(const struct tok_unigram *unigram, struct tokenizer_workspace *work,
                               const char *word, size_t len);
