/* The vocabulary: ids to bytes by an array, bytes to ids by an open hash table. No tree, no object
 * per entry.
 *
 * A byte-level vocabulary spells bytes as printable characters. Its entries are stored as the bytes
 * they mean, so that text needs no translation; an entry that is no such spelling (an added token
 * with a space in it) is stored as written and marked. Immutable once filled. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/status.h"
#include "model/tokenizer.h"

enum tok_entry_flags {
    TOK_ENTRY_USED = 1,  /* the id exists */
    TOK_ENTRY_MODEL = 2, /* it is in the model's vocabulary, so text can become it */
    TOK_ENTRY_SPELT = 4, /* byte-level, and stored as the bytes that the spelling means */
    TOK_ENTRY_ADDED = 8, /* an added token */
    TOK_ENTRY_SPECIAL = 16,
};

struct tok_entry {
    uint32_t offset; /* into `bytes` */
    uint16_t len;
    uint8_t flags;
};

struct tok_vocab {
    bool byte_level;
    char *bytes; /* [n_bytes], all entries one after the other, then 8 zero bytes */
    size_t n_bytes, cap_bytes;
    struct tok_entry *entries; /* [n_ids] */
    uint32_t n_ids, cap_ids;
    uint32_t *slots; /* [slot_mask + 1], an id or TOKENIZER_ID_NONE; at most half full */
    uint32_t slot_mask;
    uint32_t n_model; /* entries of the model */
};

/* Sizes the tables for about `n` entries. */
enum status tok_vocab_init(struct tok_vocab *vocab, bool byte_level, uint32_t n);
void tok_vocab_fini(struct tok_vocab *vocab);

/* Adds an entry of the model, given as the file writes it. INVALID if the id is taken, or if the
 * text is there already and not allowed `again` (then the text leads to the last id that has it).
 * TOO_BIG, NO_MEMORY. */
enum status tok_vocab_add(struct tok_vocab *vocab, uint32_t id, const char *text, size_t len,
                          bool again);

/* Gives a new id beyond the model's, or one that the model has, to an added token. */
enum status tok_vocab_add_outside(struct tok_vocab *vocab, uint32_t id, const char *text,
                                  size_t len, bool special);

/* From text as the file writes it to the form in which entries are stored; `out` [len]. Returns its
 * length; *spelt is false if a character of a byte-level text is no spelling of a byte. */
size_t tok_vocab_store_form(const struct tok_vocab *vocab, const char *text, size_t len, char *out,
                            bool *spelt);

/* The id of the model whose stored form these bytes are, or TOKENIZER_ID_NONE. */
uint32_t tok_vocab_find(const struct tok_vocab *vocab, const char *bytes, size_t len);

/* The id of the model that the file writes so. */
uint32_t tok_vocab_find_text(const struct tok_vocab *vocab, const char *text, size_t len);

/* As the file writes it. Returns the length, writes only if it fits; 0 for an unused id. */
size_t tok_vocab_text(const struct tok_vocab *vocab, uint32_t id, char *out, size_t cap);

static inline const char *tok_vocab_bytes(const struct tok_vocab *vocab, uint32_t id)
{
    return vocab->bytes + vocab->entries[id].offset;
}

/* A hash of a short run of bytes. */
static inline uint64_t tok_hash(const char *bytes, size_t len)
{
    uint64_t hash = (uint64_t)len * 0x9e3779b97f4a7c15u;
    while (len >= 8) {
        uint64_t word;
        memcpy(&word, bytes, 8);
        hash = (hash ^ word) * 0xff51afd7ed558ccdu;
        hash ^= hash >> 32;
        bytes += 8;
        len -= 8;
    }
    if (len > 0) {
        uint64_t word = 0;
        memcpy(&word, bytes, len);
        hash = (hash ^ word) * 0xff51afd7ed558ccdu;
        hash ^= hash >> 32;
    }
    return hash * 0xc4ceb9fe1a85ec53u >> 20;
}
