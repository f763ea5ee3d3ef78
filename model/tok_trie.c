/* The trie's construction, level by level over the sorted keys. Runs while a tokenizer opens. */
#include "model/tok_trie.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

static int compare_keys(const void *a, const void *b)
{
    const struct tok_trie_key *x = a, *y = b;
    size_t n = x->len < y->len ? x->len : y->len;
    int order = memcmp(x->bytes, y->bytes, n);
    if (order != 0) {
        return order;
    }
    if (x->len != y->len) {
        return x->len < y->len ? -1 : 1;
    }
    return x->value < y->value ? -1 : x->value > y->value;
}

/* Length of the common start of two sorted neighbours: what the second does not add to the trie. */
static size_t common(const struct tok_trie_key *a, const struct tok_trie_key *b)
{
    size_t n = 0;
    while (n < a->len && n < b->len && a->bytes[n] == b->bytes[n]) {
        n++;
    }
    return n;
}

/* The keys that share a node's path. */
struct span {
    uint32_t first, end;
};

/* Appends the children of the keys [span) at `depth` as nodes; their spans go to `spans`. */
static void add_level(struct tok_trie *trie, const struct tok_trie_key *keys, struct span span,
                      size_t depth, struct span *spans)
{
    for (uint32_t i = span.first; i < span.end;) {
        if (keys[i].len <= depth) {
            i++;
            continue;
        }
        uint8_t label = (uint8_t)keys[i].bytes[depth];
        uint32_t node = trie->n++;
        trie->labels[node] = label;
        trie->values[node] = TOK_TRIE_NONE;
        spans[node].first = i;
        while (i < span.end && keys[i].len > depth && (uint8_t)keys[i].bytes[depth] == label) {
            if (keys[i].len == depth + 1) {
                trie->values[node] = keys[i].value;
            }
            i++;
        }
        spans[node].end = i;
    }
}

enum status tok_trie_build(struct tok_trie *trie, struct tok_trie_key *keys, size_t n_keys)
{
    *trie = (struct tok_trie){.n = 0};
    memset(trie->roots, 0xff, sizeof trie->roots);
    qsort(keys, n_keys, sizeof *keys, compare_keys);
    size_t n_nodes = 0;
    for (size_t i = 0; i < n_keys; i++) {
        n_nodes += keys[i].len - (i > 0 ? common(&keys[i - 1], &keys[i]) : 0);
    }
    if (n_nodes >= TOK_TRIE_NONE || n_keys >= TOK_TRIE_NONE) {
        return STATUS_TOO_BIG;
    }
    struct span *spans = mem_alloc((n_nodes + 1) * sizeof *spans);
    trie->labels = mem_alloc(n_nodes + 1);
    trie->values = mem_alloc((n_nodes + 1) * sizeof *trie->values);
    trie->children = mem_alloc((n_nodes + 1) * sizeof *trie->children);
    if (spans == NULL || trie->labels == NULL || trie->values == NULL || trie->children == NULL) {
        mem_free(spans);
        tok_trie_fini(trie);
        return STATUS_NO_MEMORY;
    }
    /* Breadth first: the nodes of one depth are [level, end). */
    add_level(trie, keys, (struct span){0, (uint32_t)n_keys}, 0, spans);
    for (uint32_t node = 0; node < trie->n; node++) {
        trie->roots[trie->labels[node]] = node;
    }
    uint32_t level = 0;
    for (size_t depth = 1; level < trie->n; depth++) {
        uint32_t end = trie->n;
        for (; level < end; level++) {
            trie->children[level] = trie->n;
            add_level(trie, keys, spans[level], depth, spans);
        }
    }
    trie->children[trie->n] = trie->n;
    mem_free(spans);
    return STATUS_OK;
}

void tok_trie_fini(struct tok_trie *trie)
{
    mem_free(trie->labels);
    mem_free(trie->values);
    mem_free(trie->children);
    *trie = (struct tok_trie){.n = 0};
}

uint32_t tok_trie_longest(const struct tok_trie *trie, const char *text, size_t len, size_t *n)
{
    uint32_t found = TOK_TRIE_NONE;
    uint32_t node = len > 0 && trie->n > 0 ? trie->roots[(uint8_t)text[0]] : TOK_TRIE_NONE;
    for (size_t i = 1; node != TOK_TRIE_NONE; i++) {
        if (trie->values[node] != TOK_TRIE_NONE) {
            found = trie->values[node];
            *n = i;
        }
        if (i == len) {
            break;
        }
        node = tok_trie_child(trie, node, (uint8_t)text[i]);
    }
    return found;
}
