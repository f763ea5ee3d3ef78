/* Added tokens: texts that become an id wherever they stand, before any word is cut. Those that are
 * `normalized` are looked for in the normalised text, the others in the text as it came. The
 * leftmost match counts, of several there the longest. Immutable once loaded. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/status.h"
#include "model/tok_json.h"
#include "model/tok_norm.h"
#include "model/tok_trie.h"
#include "model/tok_vocab.h"

#define TOK_ADDED_MAX 16384u        /* tokens */
#define TOK_ADDED_CONTENT_MAX 1024u /* bytes of one */

struct tok_added_token {
    uint32_t id;
    bool single_word, lstrip, rstrip, normalized, special;
    bool
        renamed; /* its normalised form differs: that is what text must have, and what it becomes */
    const char *pattern; /* [pattern_len], what to look for */
    uint32_t pattern_len;
};

struct tok_added {
    struct arena *arena;            /* holds the patterns */
    struct tok_added_token *tokens; /* [n], by id */
    size_t n, cap;
    struct tok_trie plain, normalized; /* values are indices of tokens */
};

/* Reads the value of the "added_tokens" key, and gives ids to tokens that the model does not have,
 * counting on from its size (as the reference does: the file's own ids are not used). On failure,
 * too, `added` is to be given to fini. */
enum status tok_added_load(struct tok_added *added, struct tok_vocab *vocab,
                           const struct tok_norm *norm, struct tokenizer_workspace *work,
                           const struct tok_json *value);
void tok_added_fini(struct tok_added *added);

/* The token with this id, or NULL. */
const struct tok_added_token *tok_added_find(const struct tok_added *added, uint32_t id);

/* Where a walk over a text stands; start with zeroes. */
struct tok_added_walk {
    size_t from; /* look from here */
    size_t done; /* up to here the text belongs to tokens */
};

/* The next token in valid UTF-8: its id and the text [*start, *end) that it takes, spaces that it
 * strips included; or TOKENIZER_ID_NONE. Special ones only if `parse_special`. */
uint32_t tok_added_next(const struct tok_added *added, const struct tok_trie *trie,
                        const char *text, size_t len, bool parse_special,
                        struct tok_added_walk *walk, size_t *start, size_t *end);
