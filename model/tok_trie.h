/* A set of byte strings that finds all members which begin at a place of a text, shortest first.
 * For Unigram pieces, added tokens and normalisation maps. Nodes lie in breadth-first order, so the
 * children of one are neighbours: nine bytes a node, no pointers. Immutable once built. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

#define TOK_TRIE_NONE UINT32_MAX

struct tok_trie_key {
    const char *bytes; /* [len], alive until the trie is built */
    uint32_t len;
    uint32_t value; /* not TOK_TRIE_NONE */
};

struct tok_trie {
    uint8_t *labels;     /* [n], the byte that leads to the node */
    uint32_t *children;  /* [n + 1], the first child; the next node's first child ends them */
    uint32_t *values;    /* [n], or TOK_TRIE_NONE */
    uint32_t roots[256]; /* the node of each first byte, or TOK_TRIE_NONE */
    uint32_t n;
};

/* Sorts `keys`. Of equal keys the one with the largest value counts; empty ones are left out. */
enum status tok_trie_build(struct tok_trie *trie, struct tok_trie_key *keys, size_t n_keys);
void tok_trie_fini(struct tok_trie *trie);

/* The child of `node` by `label`, or TOK_TRIE_NONE. */
static inline uint32_t tok_trie_child(const struct tok_trie *trie, uint32_t node, uint8_t label)
{
    uint32_t low = trie->children[node], high = trie->children[node + 1];
    while (high - low > 8) {
        uint32_t middle = low + (high - low) / 2;
        if (trie->labels[middle] <= label) {
            low = middle;
        } else {
            high = middle;
        }
    }
    for (; low < high; low++) {
        if (trie->labels[low] == label) {
            return low;
        }
    }
    return TOK_TRIE_NONE;
}

/* The longest member that begins at `text` [len]: its value, and its length at *n; or
 * TOK_TRIE_NONE. */
uint32_t tok_trie_longest(const struct tok_trie *trie, const char *text, size_t len, size_t *n);
