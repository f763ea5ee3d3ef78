/* Byte pair encoding. The vocabulary's merges are a hash table from two ids to a rank and the id of
 * what they become; a word is a row of symbols of which the pair with the lowest rank (the leftmost
 * of equals) is merged until none is left: by scanning for short words, with a heap for long ones,
 * so n symbols cost O(n log n) at worst.
 *
 * Words come from the pre-tokenizer. Where a file has none (SentencePiece style), the whole text
 * would be one word; it is cut where no merge can ever reach across, which changes nothing and
 * makes the cache work. Immutable once filled. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "model/tok_json.h"
#include "model/tok_vocab.h"
#include "model/tok_work.h"

#define TOK_AFFIX_MAX 64u

struct tok_merge {
    uint64_t pair; /* left id << 32 | right id; UINT64_MAX: empty */
    uint32_t rank;
    uint32_t id;
};

struct tok_bpe {
    const struct tok_vocab *vocab;
    struct tok_merge *merges; /* [merge_mask + 1], open addressing, at most half full */
    uint32_t merge_mask;
    uint32_t byte_ids[256];     /* the id of each byte alone (byte level) or ASCII character */
    uint32_t fallback_ids[256]; /* the id of "<0xNN>" */
    uint32_t unk_id;            /* TOKENIZER_ID_NONE: unknown characters vanish */
    bool byte_fallback, fuse_unk, ignore_merges;
    bool cuts;                                         /* words may be cut at joins */
    char prefix[TOK_AFFIX_MAX], suffix[TOK_AFFIX_MAX]; /* of inner and of last symbols */
    size_t prefix_len, suffix_len;
    uint64_t joins[256][4]; /* does any merge's result have these two classes side by side? */
};

/* Reads the object of the "model" key. `bpe` and `vocab` are initialised here; on failure they are
 * to be given to the fini functions all the same. */
enum status tok_bpe_load(struct tok_bpe *bpe, struct tok_vocab *vocab, const struct tok_json *model,
                         bool byte_level);
void tok_bpe_fini(struct tok_bpe *bpe);

/* Appends the ids of one word (stored form: bytes, or characters if not byte level). */
enum status tok_bpe_encode(const struct tok_bpe *bpe, struct tokenizer_workspace *work,
                           const char *word, size_t len);
