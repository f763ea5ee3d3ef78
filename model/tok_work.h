/* The scratch memory of one thread's encoding, and its cache of words. Private to the tokenizer's
 * parts; each part uses the blocks that are named for it. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/status.h"

struct tok_regex_scratch;

/* Memory that grows when asked for more and does not keep what was in it. */
struct tok_block {
    void *mem;
    size_t bytes;
};

/* Ids being collected. */
struct tok_ids {
    uint32_t *data; /* [cap] */
    size_t len, cap;
};

#define TOK_CACHE_KEY_MAX 24u
#define TOK_CACHE_IDS_MAX 8u
#define TOK_CACHE_ENTRIES 16384u /* a power of two; 1 MiB */
#define TOK_STEPS_MAX 24u        /* normalizers or pre-tokenizers in a row */

/* One word and its ids: a cache line, so a hit costs one. */
struct tok_cache_entry {
    uint64_t key[TOK_CACHE_KEY_MAX / 8]; /* the word, filled up with zeroes */
    uint32_t ids[TOK_CACHE_IDS_MAX];
    uint8_t len; /* bytes of the word; 0: the entry is empty */
    uint8_t n_ids;
    uint8_t unused[6];
};

struct tokenizer_workspace {
    struct tok_ids ids;
    struct tok_cache_entry *cache;   /* [TOK_CACHE_ENTRIES], direct mapped; NULL: none */
    struct buf clean;                /* the text with its ill-formed bytes replaced */
    struct buf normal[2];            /* what the normalizers make of it, in turns */
    struct buf steps[TOK_STEPS_MAX]; /* texts that pre-tokenizers change */
    struct tok_block symbols;        /* of BPE */
    struct tok_block heap;
    struct tok_block paths; /* of Unigram */
    struct tok_block chars; /* of the normalizers */
    struct tok_regex_scratch *regex;
};

/* Texts of the pipeline can grow over the input by this factor at most: NFKD makes 18 characters of
 * one (33 bytes of 3), a Replace may make more and then gives TOO_BIG. */
#define TOK_GROWTH_MAX 12u

/* What a workspace may keep between two texts. */
#define TOK_WORK_KEPT_MAX ((size_t)16 << 20)

/* Gives the scratch memory back if the last text made it large. */
void tok_work_shrink(struct tokenizer_workspace *work);

/* At least `bytes` of memory, or NULL. */
void *tok_block_need(struct tok_block *block, size_t bytes);

/* Room for `n` more ids. */
enum status tok_ids_reserve(struct tok_ids *ids, size_t n);

static inline enum status tok_ids_put(struct tok_ids *ids, uint32_t id)
{
    if (ids->len == ids->cap) {
        enum status status = tok_ids_reserve(ids, 1);
        if (status != STATUS_OK) {
            return status;
        }
    }
    ids->data[ids->len++] = id;
    return STATUS_OK;
}

/* A word as the cache looks it up. */
struct tok_cache_key {
    uint64_t words[TOK_CACHE_KEY_MAX / 8];
    uint32_t slot;
};

void tok_cache_key(struct tok_cache_key *key, const char *bytes, size_t len);

/* The entry that holds the word, or NULL. */
static inline const struct tok_cache_entry *
tok_cache_get(const struct tokenizer_workspace *work, const struct tok_cache_key *key, size_t len)
{
    const struct tok_cache_entry *entry = &work->cache[key->slot];
    return entry->len == len && entry->key[0] == key->words[0] && entry->key[1] == key->words[1] &&
                   entry->key[2] == key->words[2]
               ? entry
               : NULL;
}

/* Remembers the ids; more than TOK_CACHE_IDS_MAX are not kept. */
void tok_cache_put(struct tokenizer_workspace *work, const struct tok_cache_key *key, size_t len,
                   const uint32_t *ids, size_t n_ids);
