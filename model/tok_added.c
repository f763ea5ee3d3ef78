/* Loading added tokens and finding them in texts. Loading runs while a tokenizer opens, finding on
 * any thread. */
#include "model/tok_added.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "model/tok_error.h"
#include "model/tok_unicode.h"

#define ARENA_CHUNK ((size_t)64 << 10)
#define ARENA_MAX ((size_t)64 << 20)

static enum status read_token(const struct tok_json *at, struct tok_added_token *token,
                              char content[TOK_ADDED_CONTENT_MAX], size_t *len)
{
    *token = (struct tok_added_token){.normalized = true};
    enum status status = tok_json_find_text(at, "content", content, TOK_ADDED_CONTENT_MAX, len);
    if (status == STATUS_NOT_FOUND) {
        return tok_fail(at->error, STATUS_MALFORMED,
                        "tokenizer.json: at byte %zu: an added token without content", at->pos);
    }
    const struct {
        const char *key;
        bool *out;
    } flags[] = {{"single_word", &token->single_word},
                 {"lstrip", &token->lstrip},
                 {"rstrip", &token->rstrip},
                 {"special", &token->special},
                 {"normalized", &token->normalized}};
    for (size_t i = 0; status == STATUS_OK && i < sizeof flags / sizeof *flags; i++) {
        status = tok_json_find_bool(at, flags[i].key, flags[i].out);
    }
    return status;
}

/* Fills in what to look for. */
static enum status set_pattern(struct tok_added *added, struct tok_added_token *token,
                               const struct tok_norm *norm, struct tokenizer_workspace *work,
                               const char *content, size_t len)
{
    const char *pattern = content;
    size_t pattern_len = len;
    if (token->normalized) {
        enum status status = tok_norm_apply(norm, work, content, len, &pattern, &pattern_len);
        if (status != STATUS_OK) {
            return status;
        }
        token->renamed = pattern_len != len || memcmp(pattern, content, len) != 0;
    }
    token->pattern = arena_memdup(added->arena, pattern, pattern_len);
    token->pattern_len = (uint32_t)pattern_len;
    return token->pattern != NULL ? STATUS_OK : STATUS_NO_MEMORY;
}

/* A token that came before with the same id is replaced. */
static enum status put_token(struct tok_added *added, const struct tok_added_token *token,
                             bool known)
{
    for (size_t i = 0; known && i < added->n; i++) {
        if (added->tokens[i].id == token->id) {
            added->tokens[i] = *token;
            return STATUS_OK;
        }
    }
    if (added->n == added->cap) {
        size_t cap = added->cap * 2 + 64;
        struct tok_added_token *tokens = mem_realloc(added->tokens, cap * sizeof *tokens);
        if (tokens == NULL) {
            return STATUS_NO_MEMORY;
        }
        added->tokens = tokens;
        added->cap = cap;
    }
    added->tokens[added->n++] = *token;
    return STATUS_OK;
}

/* The id of an added token with this text that came before and is not the model's. */
static uint32_t find_outside(const struct tok_vocab *vocab, uint32_t first, uint32_t end,
                             const char *text, size_t len)
{
    char stored[TOK_ADDED_CONTENT_MAX];
    bool spelt;
    size_t n = tok_vocab_store_form(vocab, text, len, stored, &spelt);
    for (uint32_t id = first; id < end && id < vocab->n_ids; id++) {
        const struct tok_entry *entry = &vocab->entries[id];
        if ((entry->flags & TOK_ENTRY_MODEL) == 0 && entry->len == n &&
            ((entry->flags & TOK_ENTRY_SPELT) != 0) == spelt &&
            memcmp(tok_vocab_bytes(vocab, id), stored, n) == 0) {
            return id;
        }
    }
    return TOKENIZER_ID_NONE;
}

static int compare_ids(const void *a, const void *b)
{
    const struct tok_added_token *x = a, *y = b;
    return x->id < y->id ? -1 : x->id > y->id;
}

static enum status build_trie(const struct tok_added *added, bool normalized, struct tok_trie *trie)
{
    struct tok_trie_key *keys = mem_alloc((added->n + 1) * sizeof *keys);
    if (keys == NULL) {
        return STATUS_NO_MEMORY;
    }
    size_t n = 0;
    for (size_t i = 0; i < added->n; i++) {
        const struct tok_added_token *token = &added->tokens[i];
        if (token->normalized == normalized && token->pattern_len > 0) {
            keys[n++] = (struct tok_trie_key){token->pattern, token->pattern_len, (uint32_t)i};
        }
    }
    enum status status = tok_trie_build(trie, keys, n);
    mem_free(keys);
    return status;
}

/* One token of the file. `next_id` is the first that was not given away yet. */
static enum status load_token(struct tok_added *added, struct tok_vocab *vocab,
                              const struct tok_norm *norm, struct tokenizer_workspace *work,
                              const struct tok_json *at, uint32_t first_id, uint32_t *next_id)
{
    struct tok_added_token token;
    char content[TOK_ADDED_CONTENT_MAX];
    size_t len = 0;
    enum status status = read_token(at, &token, content, &len);
    if (status != STATUS_OK || len == 0) {
        return status;
    }
    token.id = tok_vocab_find_text(vocab, content, len);
    if (token.id == TOKENIZER_ID_NONE) {
        token.id = find_outside(vocab, first_id, *next_id, content, len);
    }
    bool known = token.id != TOKENIZER_ID_NONE;
    if (!known) {
        token.id = (*next_id)++;
    }
    status = set_pattern(added, &token, norm, work, content, len);
    status = status == STATUS_OK
                 ? tok_vocab_add_outside(vocab, token.id, content, len, token.special)
                 : status;
    return status == STATUS_OK ? put_token(added, &token, known) : status;
}

enum status tok_added_load(struct tok_added *added, struct tok_vocab *vocab,
                           const struct tok_norm *norm, struct tokenizer_workspace *work,
                           const struct tok_json *value)
{
    *added = (struct tok_added){.n = 0};
    struct tok_json json = *value;
    struct tok_json_walk walk;
    uint32_t first_id = vocab->n_model, next_id = first_id;
    enum status status = arena_create(ARENA_CHUNK, ARENA_MAX, &added->arena);
    status = status == STATUS_OK ? tok_json_enter(&json, '[', &walk) : status;
    while (status == STATUS_OK) {
        bool more;
        status = tok_json_next_element(&json, &walk, &more);
        if (status != STATUS_OK || !more) {
            break;
        }
        if (added->n == TOK_ADDED_MAX) {
            return tok_json_expected(&json, "at most 16384 added tokens");
        }
        struct tok_json at = json;
        status = tok_json_skip(&json);
        status = status == STATUS_OK ? load_token(added, vocab, norm, work, &at, first_id, &next_id)
                                     : status;
    }
    if (status != STATUS_OK) {
        return status;
    }
    if (added->n > 0) {
        qsort(added->tokens, added->n, sizeof *added->tokens, compare_ids);
    }
    status = build_trie(added, false, &added->plain);
    return status == STATUS_OK ? build_trie(added, true, &added->normalized) : status;
}

void tok_added_fini(struct tok_added *added)
{
    tok_trie_fini(&added->plain);
    tok_trie_fini(&added->normalized);
    mem_free(added->tokens);
    arena_destroy(added->arena);
    *added = (struct tok_added){.n = 0};
}

const struct tok_added_token *tok_added_find(const struct tok_added *added, uint32_t id)
{
    size_t low = 0, high = added->n;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (added->tokens[middle].id < id) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < added->n && added->tokens[low].id == id ? &added->tokens[low] : NULL;
}

/* Is the match a word of its own? */
static bool stands_alone(const char *text, size_t len, size_t start, size_t end)
{
    unsigned n;
    if (start > 0 && tok_char_is_word(tok_utf8_get(text + tok_utf8_before(text, start), &n))) {
        return false;
    }
    return end == len || !tok_char_is_word(tok_utf8_get(text + end, &n));
}

uint32_t tok_added_next(const struct tok_added *added, const struct tok_trie *trie,
                        const char *text, size_t len, bool parse_special,
                        struct tok_added_walk *walk, size_t *start, size_t *end)
{
    if (trie->n == 0) {
        return TOKENIZER_ID_NONE;
    }
    for (size_t pos = walk->from; pos < len;) {
        size_t n_match = 0;
        if (trie->roots[(uint8_t)text[pos]] == TOK_TRIE_NONE) {
            pos++;
            continue;
        }
        uint32_t i = tok_trie_longest(trie, text + pos, len - pos, &n_match);
        if (i == TOK_TRIE_NONE) {
            pos++;
            continue;
        }
        const struct tok_added_token *token = &added->tokens[i];
        size_t from = pos, to = pos + n_match;
        pos = to;
        if ((token->special && !parse_special) ||
            (token->single_word && !stands_alone(text, len, from, to))) {
            continue;
        }
        unsigned n;
        while (token->lstrip && from > walk->done) {
            size_t before = tok_utf8_before(text, from);
            if (!tok_char_is_space(tok_utf8_get(text + before, &n))) {
                break;
            }
            from = before;
        }
        while (token->rstrip && to < len && tok_char_is_space(tok_utf8_get(text + to, &n))) {
            to += n;
        }
        walk->from = pos;
        walk->done = to;
        *start = from;
        *end = to;
        return token->id;
    }
    walk->from = len;
    return TOKENIZER_ID_NONE;
}
