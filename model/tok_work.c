/* Workspaces of the tokenizer. Each belongs to one thread. */
#include "model/tok_work.h"

#include <string.h>

#include "base/mem.h"
#include "model/tok_regex.h"
#include "model/tokenizer.h"

void *tok_block_need(struct tok_block *block, size_t bytes)
{
    if (block->bytes < bytes) {
        mem_free(block->mem);
        block->bytes = 0;
        block->mem = mem_alloc(bytes);
        if (block->mem == NULL) {
            return NULL;
        }
        block->bytes = bytes;
    }
    return block->mem;
}

enum status tok_ids_reserve(struct tok_ids *ids, size_t n)
{
    if (n <= ids->cap - ids->len) {
        return STATUS_OK;
    }
    size_t cap = ids->cap + ids->cap / (ids->cap < 1u << 20 ? 2 : 4) + n + 256;
    uint32_t *data = mem_realloc(ids->data, cap * sizeof *data);
    if (data == NULL) {
        return STATUS_NO_MEMORY;
    }
    ids->data = data;
    ids->cap = cap;
    return STATUS_OK;
}

void tok_cache_key(struct tok_cache_key *key, const char *bytes, size_t len)
{
    memset(key->words, 0, sizeof key->words);
    if (len >= 8) {
        memcpy(key->words, bytes, len);
    } else {
        /* Most words: without the call that a copy of unknown length costs. */
        uint64_t word = 0;
        for (size_t i = len; i > 0; i--) {
            word = word << 8 | (unsigned char)bytes[i - 1];
        }
        key->words[0] = word;
    }
    uint64_t hash = (key->words[0] ^ (uint64_t)len << 56) * 0x9e3779b97f4a7c15u;
    hash ^= hash >> 29;
    hash = (hash + key->words[1]) * 0xff51afd7ed558ccdu;
    hash ^= hash >> 31;
    hash = (hash + key->words[2]) * 0xc4ceb9fe1a85ec53u;
    key->slot = (uint32_t)(hash >> 40) & (TOK_CACHE_ENTRIES - 1);
}

void tok_cache_put(struct tokenizer_workspace *work, const struct tok_cache_key *key, size_t len,
                   const uint32_t *ids, size_t n_ids)
{
    if (n_ids > TOK_CACHE_IDS_MAX) {
        return;
    }
    struct tok_cache_entry *entry = &work->cache[key->slot];
    memcpy(entry->key, key->words, sizeof entry->key);
    memcpy(entry->ids, ids, n_ids * sizeof *ids);
    entry->len = (uint8_t)len;
    entry->n_ids = (uint8_t)n_ids;
}

static void fini_scratch(struct tokenizer_workspace *work)
{
    mem_free(work->ids.data);
    work->ids = (struct tok_ids){.data = NULL};
    struct tok_block *blocks[] = {&work->symbols, &work->heap, &work->paths, &work->chars};
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++) {
        mem_free(blocks[i]->mem);
        *blocks[i] = (struct tok_block){.mem = NULL};
    }
    buf_fini(&work->clean);
    buf_fini(&work->normal[0]);
    buf_fini(&work->normal[1]);
    for (size_t i = 0; i < TOK_STEPS_MAX; i++) {
        buf_fini(&work->steps[i]);
    }
}

void tok_work_shrink(struct tokenizer_workspace *work)
{
    size_t held = work->symbols.bytes + work->heap.bytes + work->paths.bytes + work->chars.bytes +
                  work->clean.cap + work->normal[0].cap + work->normal[1].cap +
                  work->ids.cap * sizeof *work->ids.data;
    for (size_t i = 0; i < TOK_STEPS_MAX; i++) {
        held += work->steps[i].cap;
    }
    if (held > TOK_WORK_KEPT_MAX) {
        fini_scratch(work);
    }
}

enum status tokenizer_workspace_create(const struct tokenizer *tok,
                                       struct tokenizer_workspace **out)
{
    (void)tok;
    struct tokenizer_workspace *work = mem_alloc_zero(1, sizeof *work);
    if (work == NULL) {
        return STATUS_NO_MEMORY;
    }
    size_t limit = TOK_GROWTH_MAX * TOKENIZER_TEXT_MAX;
    buf_init(&work->clean, limit);
    buf_init(&work->normal[0], limit);
    buf_init(&work->normal[1], limit);
    for (size_t i = 0; i < TOK_STEPS_MAX; i++) {
        buf_init(&work->steps[i], limit);
    }
    size_t cache_bytes = TOK_CACHE_ENTRIES * sizeof *work->cache;
    work->cache = mem_alloc_aligned(64, cache_bytes);
    if (work->cache == NULL || tok_regex_scratch_create(&work->regex) != STATUS_OK) {
        tokenizer_workspace_destroy(work);
        return STATUS_NO_MEMORY;
    }
    memset(work->cache, 0, cache_bytes);
    *out = work;
    return STATUS_OK;
}

void tokenizer_workspace_destroy(struct tokenizer_workspace *work)
{
    if (work == NULL) {
        return;
    }
    fini_scratch(work);
    tok_regex_scratch_destroy(work->regex);
    mem_free(work->cache);
    mem_free(work);
}
