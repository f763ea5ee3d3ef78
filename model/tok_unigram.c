/* Unigram models: loading, and encoding by dynamic programming. Loading runs while a tokenizer
 * opens, encoding on any thread. */
#include "model/tok_unigram.h"

#include <stdio.h>

#include "base/mem.h"
#include "model/tok_error.h"
#include "model/tok_unicode.h"

/* An unknown character scores this much less than the worst piece. */
#define UNK_PENALTY 10.0

/* The best way to the end of a byte: the last piece of it, and where that began. */
struct path {
    double score;
    uint32_t start; /* UINT32_MAX: no way leads here */
    uint32_t id;
};

/* ["piece", score] */
static enum status load_piece(struct tok_json *json, struct tok_vocab *vocab, uint32_t id,
                              double *score)
{
    struct tok_json_walk walk;
    struct tok_json_string string;
    char text[TOKENIZER_PIECE_MAX];
    bool more = true;
    enum status status = tok_json_enter(json, '[', &walk);
    status = status == STATUS_OK ? tok_json_next_element(json, &walk, &more) : status;
    status = status == STATUS_OK ? tok_json_string(json, &string) : status;
    status = status == STATUS_OK ? tok_json_next_element(json, &walk, &more) : status;
    status = status == STATUS_OK ? tok_json_double(json, score) : status;
    status = status == STATUS_OK ? tok_json_next_element(json, &walk, &more) : status;
    if (status != STATUS_OK) {
        return status;
    }
    if (more) {
        return tok_json_expected(json, "']' after a piece and its score");
    }
    if (string.len > sizeof text) {
        return tok_json_expected(json, "shorter pieces before this");
    }
    status = tok_vocab_add(vocab, id, text, tok_json_unescape(&string, text), true);
    return status == STATUS_TOO_BIG ? tok_json_expected(json, "fewer pieces") : status;
}

static enum status count_pieces(struct tok_json json, uint32_t *out)
{
    struct tok_json_walk walk;
    uint32_t n = 0;
    bool more = true;
    enum status status = tok_json_enter(&json, '[', &walk);
    while (status == STATUS_OK && more) {
        status = tok_json_next_element(&json, &walk, &more);
        if (status == STATUS_OK && more) {
            n++;
            status = tok_json_skip(&json);
        }
    }
    if (status == STATUS_OK && n > TOKENIZER_IDS_MAX) {
        status = tok_fail(json.error, STATUS_TOO_BIG, "tokenizer.json: %u pieces, the limit is %u",
                          (unsigned)n, (unsigned)TOKENIZER_IDS_MAX);
    }
    if (status == STATUS_OK) {
        *out = n;
    }
    return status;
}

static enum status load_pieces(struct tok_unigram *unigram, struct tok_vocab *vocab,
                               struct tok_json json, bool byte_level)
{
    uint32_t n;
    enum status status = count_pieces(json, &n);
    status = status == STATUS_OK ? tok_vocab_init(vocab, byte_level, n) : status;
    if (status != STATUS_OK) {
        return status;
    }
    unigram->scores = mem_alloc((n + 1) * sizeof *unigram->scores);
    if (unigram->scores == NULL) {
        return STATUS_NO_MEMORY;
    }
    struct tok_json_walk walk;
    double lowest = 1e300;
    status = tok_json_enter(&json, '[', &walk);
    for (uint32_t id = 0; status == STATUS_OK && id < n; id++) {
        bool more;
        status = tok_json_next_element(&json, &walk, &more);
        status = status == STATUS_OK ? load_piece(&json, vocab, id, &unigram->scores[id]) : status;
        if (status == STATUS_OK && unigram->scores[id] < lowest) {
            lowest = unigram->scores[id];
        }
    }
    unigram->unk_score = lowest - UNK_PENALTY;
    return status;
}

static enum status build_trie(struct tok_unigram *unigram)
{
    const struct tok_vocab *vocab = unigram->vocab;
    struct tok_trie_key *keys = mem_alloc((vocab->n_ids + 1) * sizeof *keys);
    if (keys == NULL) {
        return STATUS_NO_MEMORY;
    }
    size_t n = 0;
    for (uint32_t id = 0; id < vocab->n_ids; id++) {
        const struct tok_entry *entry = &vocab->entries[id];
        bool spelt = (entry->flags & TOK_ENTRY_SPELT) != 0;
        if (entry->len > 0 && spelt == vocab->byte_level) {
            keys[n++] = (struct tok_trie_key){tok_vocab_bytes(vocab, id), entry->len, id};
        }
    }
    enum status status = tok_trie_build(&unigram->trie, keys, n);
    mem_free(keys);
    return status;
}

enum status tok_unigram_load(struct tok_unigram *unigram, struct tok_vocab *vocab,
                             const struct tok_json *model, bool byte_level)
{
    *unigram = (struct tok_unigram){.vocab = vocab, .unk_id = TOKENIZER_ID_NONE};
    *vocab = (struct tok_vocab){.byte_level = byte_level};
    struct tok_json pieces, unk;
    enum status status = tok_json_find(model, "vocab", &pieces);
    if (status == STATUS_NOT_FOUND) {
        return tok_fail(model->error, STATUS_MALFORMED,
                        "tokenizer.json: the Unigram model has no vocab");
    }
    status = status == STATUS_OK ? load_pieces(unigram, vocab, pieces, byte_level) : status;
    if (status != STATUS_OK) {
        return status;
    }
    status = tok_json_find(model, "unk_id", &unk);
    if (status == STATUS_OK) {
        status = tok_json_u32(&unk, &unigram->unk_id);
        if (status == STATUS_OK && unigram->unk_id >= vocab->n_ids) {
            status = tok_fail(model->error, STATUS_MALFORMED,
                              "tokenizer.json: unk_id is %u, but there are %u pieces",
                              (unsigned)unigram->unk_id, (unsigned)vocab->n_ids);
        }
    } else if (status == STATUS_NOT_FOUND) {
        status = STATUS_OK;
    }
    status = status == STATUS_OK
                 ? tok_json_find_bool(model, "byte_fallback", &unigram->byte_fallback)
                 : status;
    for (unsigned i = 0; i < 256; i++) {
        char name[8];
        snprintf(name, sizeof name, "<0x%02X>", i);
        unigram->fallback_ids[i] = tok_vocab_find_text(vocab, name, 6);
    }
    return status == STATUS_OK ? build_trie(unigram) : status;
}

void tok_unigram_fini(struct tok_unigram *unigram)
{
    tok_trie_fini(&unigram->trie);
    mem_free(unigram->scores);
    unigram->scores = NULL;
}

static inline void offer(struct path *path, double score, size_t start, uint32_t id)
{
    if (path->start == UINT32_MAX || score > path->score) {
        *path = (struct path){.score = score, .start = (uint32_t)start, .id = id};
    }
}

/* Fills paths [len + 1]. */
static enum status find_paths(const struct tok_unigram *unigram, const char *word, size_t len,
                              struct path *paths)
{
    const struct tok_trie *trie = &unigram->trie;
    for (size_t i = 0; i <= len; i++) {
        paths[i] = (struct path){.score = 0, .start = UINT32_MAX, .id = 0};
    }
    for (size_t pos = 0; pos < len;) {
        unsigned n_char = 1;
        if (!unigram->vocab->byte_level) {
            (void)tok_utf8_get(word + pos, &n_char);
        }
        bool single = false;
        uint32_t node = trie->n > 0 ? trie->roots[(uint8_t)word[pos]] : TOK_TRIE_NONE;
        for (size_t end = pos + 1; node != TOK_TRIE_NONE; end++) {
            uint32_t id = trie->values[node];
            if (id != TOK_TRIE_NONE) {
                offer(&paths[end], unigram->scores[id] + paths[pos].score, pos, id);
                single |= end == pos + n_char;
            }
            if (end == len) {
                break;
            }
            node = tok_trie_child(trie, node, (uint8_t)word[end]);
        }
        if (!single) {
            if (unigram->unk_id == TOKENIZER_ID_NONE) {
                return STATUS_UNSUPPORTED;
            }
            offer(&paths[pos + n_char], unigram->unk_score + paths[pos].score, pos,
                  unigram->unk_id);
        }
        pos += n_char;
    }
    return STATUS_OK;
}

/* A run of unknown characters: what the reference makes of it is the piece that it spells by
 * chance, else its bytes, else one unknown id. */
static enum status put_unknown(const struct tok_unigram *unigram, struct tok_ids *ids,
                               const char *run, size_t len)
{
    uint32_t id = tok_vocab_find(unigram->vocab, run, len);
    bool bytes = id == TOKENIZER_ID_NONE && unigram->byte_fallback && !unigram->vocab->byte_level;
    for (size_t i = 0; bytes && i < len; i++) {
        bytes = unigram->fallback_ids[(uint8_t)run[i]] != TOKENIZER_ID_NONE;
    }
    if (!bytes) {
        return tok_ids_put(ids, id != TOKENIZER_ID_NONE ? id : unigram->unk_id);
    }
    enum status status = STATUS_OK;
    for (size_t i = 0; status == STATUS_OK && i < len; i++) {
        status = tok_ids_put(ids, unigram->fallback_ids[(uint8_t)run[i]]);
    }
    return status;
}

/* Turns the links around, so that they lead from the start to the end, and collects the ids. */
static enum status collect(const struct tok_unigram *unigram, struct tok_ids *ids, const char *word,
                           size_t len, struct path *paths)
{
    size_t end = len;
    for (uint32_t next = (uint32_t)len; end > 0;) {
        uint32_t start = paths[end].start;
        paths[end].start = next;
        next = (uint32_t)end;
        end = start;
        if (start == 0) {
            paths[0].start = next;
        }
    }
    enum status status = STATUS_OK;
    for (size_t at = 0; at < len && status == STATUS_OK;) {
        size_t stop = paths[at].start;
        if (paths[stop].id != unigram->unk_id) {
            /* Of pieces with equal texts the last one counts, which is what the trie has. */
            status = tok_ids_put(ids, paths[stop].id);
        } else {
            while (stop < len && paths[paths[stop].start].id == unigram->unk_id) {
                stop = paths[stop].start;
            }
            status = put_unknown(unigram, ids, word + at, stop - at);
        }
        at = stop;
    }
    return status;
}

enum status tok_unigram_encode(const struct tok_unigram *unigram, struct tokenizer_workspace *work,
                               const char *word, size_t len)
{
    struct tok_cache_key key;
    enum status status = tok_ids_reserve(&work->ids, TOK_CACHE_IDS_MAX);
    if (status != STATUS_OK) {
        return status;
    }
    if (len <= TOK_CACHE_KEY_MAX) {
        tok_cache_key(&key, word, len);
        const struct tok_cache_entry *entry = tok_cache_get(work, &key, len);
        if (entry != NULL) {
            memcpy(work->ids.data + work->ids.len, entry->ids, sizeof entry->ids);
            work->ids.len += entry->n_ids;
            return STATUS_OK;
        }
    }
    struct path *paths = tok_block_need(&work->paths, (len + 1) * sizeof *paths);
    if (paths == NULL) {
        return STATUS_NO_MEMORY;
    }
    size_t before = work->ids.len;
    status = find_paths(unigram, word, len, paths);
    status = status == STATUS_OK ? collect(unigram, &work->ids, word, len, paths) : status;
    if (status == STATUS_OK && len <= TOK_CACHE_KEY_MAX) {
        tok_cache_put(work, &key, len, work->ids.data + before, work->ids.len - before);
    }
    return status;
}
