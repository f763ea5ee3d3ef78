/* Encoding by byte pairs. A word goes: cache, symbols, merges, ids. Any thread, each with its own
 * workspace. */
#include "model/tok_bpe.h"

#include "model/tok_bpe_class.h"
#include "model/tok_unicode.h"

/* Up to here a scan over all pairs for each merge beats a heap. */
#define SCAN_MAX 40u
#define NONE UINT32_MAX

/* The symbols of a word, and what its caller must know of its ends to fuse unknown characters. */
struct row {
    uint32_t *ids; /* [n] */
    size_t n;
    bool pending; /* an unknown character is not in the row yet */
    bool first_unk, last_unk;
};

static void row_put(struct row *row, uint32_t id)
{
    row->ids[row->n++] = id;
}

static void row_flush_unk(const struct tok_bpe *bpe, struct row *row)
{
    if (row->pending) {
        row->first_unk |= row->n == 0;
        row_put(row, bpe->unk_id);
        row->pending = false;
    }
}

/* One character that is no entry by itself, as the file writes it: bytes, unknown, or nothing. */
static void row_put_unknown(const struct tok_bpe *bpe, struct row *row, const char *text,
                            size_t len)
{
    if (bpe->byte_fallback) {
        bool all = true;
        for (size_t i = 0; i < len; i++) {
            all &= bpe->fallback_ids[(uint8_t)text[i]] != NONE;
        }
        if (all) {
            for (size_t i = 0; i < len; i++) {
                row_put(row, bpe->fallback_ids[(uint8_t)text[i]]);
            }
            return;
        }
    }
    if (bpe->unk_id != NONE) {
        if (row->pending && !bpe->fuse_unk) {
            row_flush_unk(bpe, row);
        }
        row->first_unk |= row->n == 0;
        row->pending = true;
    }
}

/* One character (or, byte level, one byte) with the affixes that its place in the word asks for. */
static void row_put_char(const struct tok_bpe *bpe, struct row *row, const char *text, size_t len,
                         bool first, bool last)
{
    char whole[2 * TOK_AFFIX_MAX + 8], written[2 * sizeof whole];
    size_t n = 0;
    if (!first) {
        memcpy(whole, bpe->prefix, bpe->prefix_len);
        n = bpe->prefix_len;
    }
    memcpy(whole + n, text, len);
    n += len;
    if (last) {
        memcpy(whole + n, bpe->suffix, bpe->suffix_len);
        n += bpe->suffix_len;
    }
    uint32_t id = tok_vocab_find(bpe->vocab, whole, n);
    if (id != NONE) {
        row_flush_unk(bpe, row);
        row_put(row, id);
        return;
    }
    size_t n_written = 0;
    for (size_t i = 0; bpe->vocab->byte_level && i < n; i++) {
        n_written += tok_utf8_put(tok_byte_char((uint8_t)whole[i]), written + n_written);
    }
    if (bpe->vocab->byte_level) {
        row_put_unknown(bpe, row, written, n_written);
    } else {
        row_put_unknown(bpe, row, whole, n);
    }
}

/* The most symbols that a word of `len` bytes can have. */
static size_t row_bound(const struct tok_bpe *bpe, size_t len)
{
    size_t each = 1 + 2 * bpe->prefix_len;
    each += bpe->vocab->byte_level && bpe->byte_fallback ? 1 : 0;
    return len * each + 2 * bpe->suffix_len + 1;
}

static void row_fill(const struct tok_bpe *bpe, struct row *row, const char *word, size_t len)
{
    bool affixes = bpe->prefix_len + bpe->suffix_len > 0;
    for (size_t pos = 0; pos < len;) {
        unsigned n = 1;
        uint32_t id = NONE;
        if (bpe->vocab->byte_level || (uint8_t)word[pos] < 0x80) {
            id = affixes ? NONE : bpe->byte_ids[(uint8_t)word[pos]];
        } else {
            (void)tok_utf8_get(word + pos, &n);
        }
        if (id != NONE) {
            row_flush_unk(bpe, row);
            row_put(row, id);
        } else {
            row_put_char(bpe, row, word + pos, n, pos == 0, pos + n == len);
        }
        pos += n;
    }
    row->last_unk = row->pending;
    row_flush_unk(bpe, row);
}

/* Merges a short row by scanning for the best pair each time. */
static void merge_by_scan(const struct tok_bpe *bpe, struct row *row)
{
    const struct tok_merge *pairs[SCAN_MAX];
    uint32_t *ids = row->ids;
    size_t n = row->n;
    for (size_t i = 0; i + 1 < n; i++) {
        pairs[i] = tok_bpe_merge(bpe, ids[i], ids[i + 1]);
    }
    for (;;) {
        size_t best = n;
        uint32_t rank = NONE;
        for (size_t i = 0; i + 1 < n; i++) {
            if (pairs[i] != NULL && pairs[i]->rank < rank) {
                rank = pairs[i]->rank;
                best = i;
            }
        }
        if (best == n) {
            break;
        }
        ids[best] = pairs[best]->id;
        n--;
        for (size_t i = best + 1; i < n; i++) {
            ids[i] = ids[i + 1];
            pairs[i - 1] = pairs[i];
        }
        if (best > 0) {
            pairs[best - 1] = tok_bpe_merge(bpe, ids[best - 1], ids[best]);
        }
        if (best + 1 < n) {
            pairs[best] = tok_bpe_merge(bpe, ids[best], ids[best + 1]);
        }
    }
    row->n = n;
}

/* A heap of (rank << 32 | position): the lowest rank first, the leftmost of equals. */
struct heap {
    uint64_t *keys; /* [n] */
    size_t n;
};

static void heap_sink(struct heap *heap, size_t at)
{
    uint64_t key = heap->keys[at];
    for (;;) {
        size_t child = 4 * at + 1, best = child;
        if (child >= heap->n) {
            break;
        }
        size_t end = child + 4 < heap->n ? child + 4 : heap->n;
        for (size_t i = child + 1; i < end; i++) {
            best = heap->keys[i] < heap->keys[best] ? i : best;
        }
        if (heap->keys[best] >= key) {
            break;
        }
        heap->keys[at] = heap->keys[best];
        at = best;
    }
    heap->keys[at] = key;
}

static void heap_push(struct heap *heap, uint64_t key)
{
    size_t at = heap->n++;
    while (at > 0 && heap->keys[(at - 1) / 4] > key) {
        heap->keys[at] = heap->keys[(at - 1) / 4];
        at = (at - 1) / 4;
    }
    heap->keys[at] = key;
}

static uint64_t heap_pop(struct heap *heap)
{
    uint64_t key = heap->keys[0];
    heap->keys[0] = heap->keys[--heap->n];
    if (heap->n > 0) {
        heap_sink(heap, 0);
    }
    return key;
}

/* Merges a long row. Symbols are a linked list by position; a heap entry is stale when the pair at
 * its position has another rank by now. Each merge pushes two entries at most and pops one, so the
 * heap never holds more than two for each symbol. */
static enum status merge_by_heap(const struct tok_bpe *bpe, struct tokenizer_workspace *work,
                                 struct row *row, uint32_t *prev, uint32_t *next)
{
    size_t n = row->n;
    uint32_t *ids = row->ids;
    struct heap heap = {.keys = tok_block_need(&work->heap, 2 * n * sizeof(uint64_t)), .n = 0};
    if (heap.keys == NULL) {
        return STATUS_NO_MEMORY;
    }
    for (uint32_t i = 0; i < n; i++) {
        prev[i] = i - 1; /* NONE for the first */
        next[i] = i + 1 < n ? i + 1 : NONE;
        const struct tok_merge *merge = i + 1 < n ? tok_bpe_merge(bpe, ids[i], ids[i + 1]) : NULL;
        if (merge != NULL) {
            heap.keys[heap.n++] = (uint64_t)merge->rank << 32 | i;
        }
    }
    for (size_t i = heap.n / 4 + 1; i-- > 0;) {
        if (i < heap.n) {
            heap_sink(&heap, i);
        }
    }
    while (heap.n > 0) {
        uint64_t key = heap_pop(&heap);
        uint32_t at = (uint32_t)key, right = next[at];
        if (ids[at] == NONE || right == NONE) {
            continue;
        }
        const struct tok_merge *merge = tok_bpe_merge(bpe, ids[at], ids[right]);
        if (merge == NULL || merge->rank != key >> 32) {
            continue;
        }
        ids[at] = merge->id;
        ids[right] = NONE;
        next[at] = next[right];
        if (next[at] != NONE) {
            prev[next[at]] = at;
            merge = tok_bpe_merge(bpe, ids[at], ids[next[at]]);
            if (merge != NULL) {
                heap_push(&heap, (uint64_t)merge->rank << 32 | at);
            }
        }
        if (prev[at] != NONE) {
            merge = tok_bpe_merge(bpe, ids[prev[at]], ids[at]);
            if (merge != NULL) {
                heap_push(&heap, (uint64_t)merge->rank << 32 | prev[at]);
            }
        }
    }
    size_t kept = 0;
    for (uint32_t i = 0; i != NONE; i = next[i]) {
        ids[kept++] = ids[i];
    }
    row->n = kept;
    return STATUS_OK;
}

static enum status row_merge(const struct tok_bpe *bpe, struct tokenizer_workspace *work,
                             struct row *row, size_t bound)
{
    if (row->n <= SCAN_MAX) {
        merge_by_scan(bpe, row);
        return STATUS_OK;
    }
    return merge_by_heap(bpe, work, row, row->ids + bound, row->ids + 2 * bound);
}

/* What one word left to its right neighbour. */
struct seam {
    bool unk; /* it ended with unknown characters */
};

static enum status encode_uncached(const struct tok_bpe *bpe, struct tokenizer_workspace *work,
                                   const char *word, size_t len, struct row *row)
{
    size_t bound = row_bound(bpe, len);
    size_t n_arrays = bound <= SCAN_MAX ? 1 : 3;
    row->ids = tok_block_need(&work->symbols, n_arrays * bound * sizeof *row->ids);
    if (row->ids == NULL) {
        return STATUS_NO_MEMORY;
    }
    row_fill(bpe, row, word, len);
    return row->n > 1 ? row_merge(bpe, work, row, bound) : STATUS_OK;
}

/* One word between cuts. */
static enum status encode_word(const struct tok_bpe *bpe, struct tokenizer_workspace *work,
                               const char *word, size_t len, struct seam *seam)
{
    struct tok_cache_key key;
    bool cached = len <= TOK_CACHE_KEY_MAX;
    if (cached) {
        tok_cache_key(&key, word, len);
        const struct tok_cache_entry *entry = tok_cache_get(work, &key, len);
        if (entry != NULL) {
            seam->unk = false;
            enum status status = tok_ids_reserve(&work->ids, TOK_CACHE_IDS_MAX);
            if (status != STATUS_OK) {
                return status;
            }
            memcpy(work->ids.data + work->ids.len, entry->ids, sizeof entry->ids);
            work->ids.len += entry->n_ids;
            return STATUS_OK;
        }
    }
    struct row row = {.n = 0};
    uint32_t whole = bpe->ignore_merges ? tok_vocab_find(bpe->vocab, word, len) : NONE;
    if (whole != NONE) {
        row.ids = &whole;
        row.n = 1;
    } else {
        enum status status = encode_uncached(bpe, work, word, len, &row);
        if (status != STATUS_OK) {
            return status;
        }
    }
    size_t skip = bpe->fuse_unk && seam->unk && row.first_unk ? 1 : 0;
    enum status status = tok_ids_reserve(&work->ids, row.n);
    if (status != STATUS_OK) {
        return status;
    }
    memcpy(work->ids.data + work->ids.len, row.ids + skip, (row.n - skip) * sizeof *row.ids);
    work->ids.len += row.n - skip;
    seam->unk = row.last_unk || (row.n == 0 && seam->unk);
    if (cached && !row.first_unk && !row.last_unk) {
        tok_cache_put(work, &key, len, row.ids, row.n);
    }
    return STATUS_OK;
}

enum status tok_bpe_encode(const struct tok_bpe *bpe, struct tokenizer_workspace *work,
                           const char *word, size_t len)
{
    struct seam seam = {.unk = false};
    if (!bpe->cuts) {
        return encode_word(bpe, work, word, len, &seam);
    }
    for (size_t start = 0; start < len;) {
        unsigned n;
        size_t end = start;
        int class = tok_bpe_class(tok_utf8_get(word + end, &n));
        const uint64_t *joins = bpe->joins[class];
        for (end += n; end < len; end += n) {
            class = tok_bpe_class(tok_utf8_get(word + end, &n));
            if ((joins[class >> 6] >> (class & 63) & 1) == 0) {
                break;
            }
            joins = bpe->joins[class];
        }
        enum status status = encode_word(bpe, work, word + start, end - start, &seam);
        if (status != STATUS_OK) {
            return status;
        }
        start = end;
    }
    return STATUS_OK;
}
