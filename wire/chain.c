/* The block hash chain over SipHash-2-4-128. Any thread, no memory. */
#include "wire/chain.h"

#include <string.h>

/* The parts' own hashes are hashed together, so no part's end can pass for another's start. */
void chain_start(const struct siphash_key *key, const struct chain_root *root,
                 struct chain_hash *out)
{
    const char *parts[] = {root->model, root->numerics, root->kv_dtype, root->adapter,
                           root->tenant_salt};
    struct chain_hash hashes[sizeof(parts) / sizeof(parts[0])];
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        siphash_128(key, parts[i], strlen(parts[i]), hashes[i].byte);
    }
    siphash_128(key, hashes, sizeof(hashes), out->byte);
}

void chain_next(const struct siphash_key *key, const struct chain_hash *parent,
                const uint32_t tokens[KVGEOM_BLOCK_TOKENS], struct chain_hash *out)
{
    uint8_t link[sizeof(*parent) + 4 * KVGEOM_BLOCK_TOKENS];
    memcpy(link, parent, sizeof(*parent));
    uint8_t *at = link + sizeof(*parent);
    for (uint32_t i = 0; i < KVGEOM_BLOCK_TOKENS; i++) {
        for (uint32_t byte = 0; byte < 4; byte++) {
            *at++ = (uint8_t)(tokens[i] >> (8 * byte));
        }
    }
    siphash_128(key, link, sizeof(link), out->byte);
}

void chain_all(const struct siphash_key *key, const struct chain_hash *start,
               const uint32_t *tokens, uint32_t n_tokens, struct chain_hash *hashes)
{
    const struct chain_hash *parent = start;
    for (uint32_t i = 0; i < n_tokens / KVGEOM_BLOCK_TOKENS; i++) {
        chain_next(key, parent, tokens + (size_t)i * KVGEOM_BLOCK_TOKENS, &hashes[i]);
        parent = &hashes[i];
    }
}
