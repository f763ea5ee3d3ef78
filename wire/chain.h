/* The hash chain that names the content of KV blocks: each link hashes its parent and the block's
 * 64 token ids, so equal names mean equal prompts from the first token on. A hash only finds a
 * candidate: who serves a hit compares the token ids and the parent too (a collision is a miss). */
#pragma once

#include "wire/kvgeom.h"
#include "wire/siphash.h"

struct chain_hash {
    uint8_t byte[16];
};

/* What KV depends on besides the tokens. Texts may be empty, never NULL. */
struct chain_root {
    const char *model;    /* hash of config and weights, as the fingerprint has it */
    const char *numerics; /* numerics identity */
    const char *kv_dtype;
    const char *adapter;
    const char *tenant_salt;
};

/* The parent of every first block under this root. */
void chain_start(const struct siphash_key *key, const struct chain_root *root,
                 struct chain_hash *out);
/* The name of the block with these tokens behind `parent`. */
void chain_next(const struct siphash_key *key, const struct chain_hash *parent,
                const uint32_t tokens[KVGEOM_BLOCK_TOKENS], struct chain_hash *out);
/* Names all full blocks of a prompt: hashes[n_tokens / 64]. */
void chain_all(const struct siphash_key *key, const struct chain_hash *start,
               const uint32_t *tokens, uint32_t n_tokens, struct chain_hash *hashes);
