/* Reading a BPE model from tokenizer.json: two walks over the vocabulary (count, fill), one over
 * the merges. Runs while a tokenizer opens. */
#include "model/tok_bpe.h"

#include <stdio.h>

#include "base/mem.h"
#include "model/tok_bpe_class.h"
#include "model/tok_error.h"
#include "model/tok_unicode.h"

static enum status count_elements(struct tok_json json, char open, uint32_t *out)
{
    struct tok_json_walk walk;
    uint32_t n = 0;
    bool more = true;
    enum status status = tok_json_enter(&json, open, &walk);
    while (status == STATUS_OK) {
        struct tok_json_string key;
        status = open == '{' ? tok_json_next_member(&json, &walk, &key, &more)
                             : tok_json_next_element(&json, &walk, &more);
        if (status != STATUS_OK || !more) {
            break;
        }
        status = tok_json_skip(&json);
        n++;
    }
    if (status == STATUS_OK) {
        *out = n;
    }
    return status;
}

/* One entry: its text is in `key`, its id is next. */
static enum status load_entry(struct tok_vocab *vocab, struct tok_json *json,
                              const struct tok_json_string *key)
{
    char text[TOKENIZER_PIECE_MAX];
    size_t at = json->pos;
    uint32_t id;
    enum status status = tok_json_u32(json, &id);
    if (status != STATUS_OK) {
        return status;
    }
    if (key->len > sizeof text) {
        return tok_fail(json->error, STATUS_TOO_BIG,
                        "tokenizer.json: at byte %zu: an entry of %zu bytes, the limit is %u", at,
                        key->len, TOKENIZER_PIECE_MAX);
    }
    status = tok_vocab_add(vocab, id, text, tok_json_unescape(key, text), false);
    if (status == STATUS_INVALID) {
        return tok_fail(json->error, STATUS_MALFORMED,
                        "tokenizer.json: at byte %zu: id %u or its text is in the vocabulary twice",
                        at, (unsigned)id);
    }
    if (status == STATUS_TOO_BIG) {
        return tok_fail(json->error, status, "tokenizer.json: at byte %zu: id %u, the limit is %u",
                        at, (unsigned)id, (unsigned)TOKENIZER_IDS_MAX - 1);
    }
    return status;
}

static enum status load_vocab(struct tok_vocab *vocab, struct tok_json json, bool byte_level)
{
    struct tok_json_walk walk;
    uint32_t n;
    enum status status = count_elements(json, '{', &n);
    if (status != STATUS_OK) {
        return status;
    }
    if (n > TOKENIZER_IDS_MAX) {
        return tok_fail(json.error, STATUS_TOO_BIG,
                        "tokenizer.json: %u entries in the vocabulary, the limit is %u",
                        (unsigned)n, (unsigned)TOKENIZER_IDS_MAX);
    }
    status = tok_vocab_init(vocab, byte_level, n);
    if (status == STATUS_OK) {
        status = tok_json_enter(&json, '{', &walk);
    }
    while (status == STATUS_OK) {
        struct tok_json_string key;
        bool more;
        status = tok_json_next_member(&json, &walk, &key, &more);
        if (status != STATUS_OK || !more) {
            break;
        }
        status = load_entry(vocab, &json, &key);
    }
    return status;
}

/* The two sides of a merge as texts. */
struct sides {
    char left[TOKENIZER_PIECE_MAX], right[TOKENIZER_PIECE_MAX];
    size_t left_len, right_len;
};

/* "left right" or ["left", "right"]. */
static enum status read_sides(struct tok_json *json, struct sides *sides)
{
    struct tok_json_string string, second;
    enum status status;
    if (tok_json_peek(json) == '[') {
        struct tok_json_walk walk;
        bool more;
        (void)tok_json_enter(json, '[', &walk);
        for (int i = 0; i < 2; i++) {
            status = tok_json_next_element(json, &walk, &more);
            if (status == STATUS_OK) {
                status = more ? tok_json_string(json, i == 0 ? &string : &second)
                              : tok_json_expected(json, "two strings");
            }
            if (status != STATUS_OK) {
                return status;
            }
        }
        status = tok_json_next_element(json, &walk, &more);
        if (status != STATUS_OK || more) {
            return status != STATUS_OK ? status : tok_json_expected(json, "']' after two strings");
        }
    } else {
        status = tok_json_string(json, &string);
        if (status != STATUS_OK) {
            return status;
        }
        const char *space = memchr(string.raw, ' ', string.len);
        size_t n_left = space != NULL ? (size_t)(space - string.raw) : 0;
        if (space == NULL || memchr(space + 1, ' ', string.len - n_left - 1) != NULL) {
            return tok_json_expected(json, "two texts with one space between them before this");
        }
        second = (struct tok_json_string){space + 1, string.len - n_left - 1, string.escaped};
        string.len = n_left;
    }
    if (string.len > TOKENIZER_PIECE_MAX || second.len > TOKENIZER_PIECE_MAX) {
        return tok_json_expected(json, "shorter texts in a merge before this");
    }
    sides->left_len = tok_json_unescape(&string, sides->left);
    sides->right_len = tok_json_unescape(&second, sides->right);
    return STATUS_OK;
}

static void insert_merge(struct tok_bpe *bpe, uint64_t pair, uint32_t rank, uint32_t id)
{
    uint32_t slot = tok_bpe_pair_slot(bpe, pair);
    while (bpe->merges[slot].pair != UINT64_MAX && bpe->merges[slot].pair != pair) {
        slot = (slot + 1) & bpe->merge_mask;
    }
    bpe->merges[slot] = (struct tok_merge){.pair = pair, .rank = rank, .id = id};
}

/* Notes which classes of characters stand side by side in the result of a merge. */
static void note_joins(struct tok_bpe *bpe, uint32_t id)
{
    const char *bytes = tok_vocab_bytes(bpe->vocab, id);
    size_t len = bpe->vocab->entries[id].len;
    int before = -1;
    for (size_t pos = 0; pos < len;) {
        unsigned n;
        int class = tok_bpe_class(tok_utf8_get(bytes + pos, &n));
        if (before >= 0) {
            bpe->joins[before][class >> 6] |= 1ull << (class & 63);
        }
        before = class;
        pos += n;
    }
}

static enum status load_merge(struct tok_bpe *bpe, struct tok_json *json, struct sides *sides,
                              uint32_t rank)
{
    enum status status = read_sides(json, sides);
    if (status != STATUS_OK) {
        return status;
    }
    uint32_t left = tok_vocab_find_text(bpe->vocab, sides->left, sides->left_len);
    uint32_t right = tok_vocab_find_text(bpe->vocab, sides->right, sides->right_len);
    uint32_t id = TOKENIZER_ID_NONE;
    if (left != TOKENIZER_ID_NONE && right != TOKENIZER_ID_NONE) {
        const struct tok_entry *a = &bpe->vocab->entries[left], *b = &bpe->vocab->entries[right];
        size_t drop = bpe->prefix_len < b->len ? bpe->prefix_len : b->len;
        char both[2 * TOKENIZER_PIECE_MAX];
        memcpy(both, bpe->vocab->bytes + a->offset, a->len);
        memcpy(both + a->len, bpe->vocab->bytes + b->offset + drop, b->len - drop);
        if (bpe->vocab->byte_level && (a->flags & b->flags & TOK_ENTRY_SPELT) == 0) {
            return STATUS_OK; /* not spellings of bytes: no text can contain them */
        }
        id = tok_vocab_find(bpe->vocab, both, a->len + b->len - drop);
    }
    if (id == TOKENIZER_ID_NONE) {
        return tok_fail(json->error, STATUS_MALFORMED,
                        "tokenizer.json: before byte %zu: merge %u joins \"%.*s\" and \"%.*s\", "
                        "which (or whose result) the vocabulary does not have",
                        json->pos, (unsigned)rank, sides->left_len > 40 ? 40 : (int)sides->left_len,
                        sides->left, sides->right_len > 40 ? 40 : (int)sides->right_len,
                        sides->right);
    }
    insert_merge(bpe, (uint64_t)left << 32 | right, rank, id);
    if (!bpe->vocab->byte_level) {
        note_joins(bpe, id);
    }
    return STATUS_OK;
}

static enum status load_merges(struct tok_bpe *bpe, struct tok_json json)
{
    uint32_t n, rank = 0;
    enum status status = count_elements(json, '[', &n);
    if (status != STATUS_OK) {
        return status;
    }
    if (n > 8 * TOKENIZER_IDS_MAX) {
        return tok_fail(json.error, STATUS_TOO_BIG, "tokenizer.json: %u merges, the limit is %u",
                        (unsigned)n, 8 * (unsigned)TOKENIZER_IDS_MAX);
    }
    uint32_t n_slots = 16;
    while (n_slots < 2 * (uint64_t)n) {
        n_slots *= 2;
    }
    struct sides *sides = mem_alloc(sizeof *sides);
    bpe->merges = mem_alloc((size_t)n_slots * sizeof *bpe->merges);
    bpe->merge_mask = n_slots - 1;
    if (sides == NULL || bpe->merges == NULL) {
        mem_free(sides);
        return STATUS_NO_MEMORY;
    }
    memset(bpe->merges, 0xff, (size_t)n_slots * sizeof *bpe->merges);
    struct tok_json_walk walk;
    status = tok_json_enter(&json, '[', &walk);
    while (status == STATUS_OK) {
        bool more;
        status = tok_json_next_element(&json, &walk, &more);
        if (status != STATUS_OK || !more) {
            break;
        }
        /* Files made by old scripts begin with the first line of merges.txt. */
        struct tok_json peek = json;
        struct tok_json_string first;
        bool header = rank == 0 && tok_json_peek(&peek) == '"' &&
                      tok_json_string(&peek, &first) == STATUS_OK && first.len >= 8 &&
                      memcmp(first.raw, "#version", 8) == 0;
        if (header) {
            json = peek;
        } else {
            status = load_merge(bpe, &json, sides, rank++);
        }
    }
    mem_free(sides);
    return status;
}

/* Reads the affix in the form in which words come. */
static enum status load_affix(const struct tok_bpe *bpe, const struct tok_json *model,
                              const char *key, char out[TOK_AFFIX_MAX], size_t *out_len)
{
    char text[TOK_AFFIX_MAX];
    size_t len;
    enum status status = tok_json_find_text(model, key, text, sizeof text, &len);
    if (status == STATUS_OK) {
        bool spelt;
        *out_len = tok_vocab_store_form(bpe->vocab, text, len, out, &spelt);
        if (bpe->vocab->byte_level && !spelt) {
            return tok_fail(model->error, STATUS_UNSUPPORTED,
                            "tokenizer.json: %s \"%s\" is no byte-level text", key, text);
        }
    }
    return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

static enum status load_unk(struct tok_bpe *bpe, const struct tok_json *model)
{
    char text[TOKENIZER_PIECE_MAX];
    size_t len;
    enum status status = tok_json_find_text(model, "unk_token", text, sizeof text, &len);
    if (status == STATUS_NOT_FOUND) {
        return STATUS_OK;
    }
    if (status == STATUS_OK) {
        bpe->unk_id = tok_vocab_find_text(bpe->vocab, text, len);
        if (bpe->unk_id == TOKENIZER_ID_NONE) {
            return tok_fail(model->error, STATUS_MALFORMED,
                            "tokenizer.json: the unk_token \"%.40s\" is not in the vocabulary",
                            text);
        }
    }
    return status;
}

static void fill_byte_tables(struct tok_bpe *bpe)
{
    for (unsigned i = 0; i < 256; i++) {
        char byte = (char)i, name[8];
        bpe->byte_ids[i] = i < 0x80 || bpe->vocab->byte_level ? tok_vocab_find(bpe->vocab, &byte, 1)
                                                              : TOKENIZER_ID_NONE;
        snprintf(name, sizeof name, "<0x%02X>", i);
        bpe->fallback_ids[i] = tok_vocab_find_text(bpe->vocab, name, 6);
    }
}

enum status tok_bpe_load(struct tok_bpe *bpe, struct tok_vocab *vocab, const struct tok_json *model,
                         bool byte_level)
{
    *bpe = (struct tok_bpe){.vocab = vocab, .unk_id = TOKENIZER_ID_NONE};
    *vocab = (struct tok_vocab){.byte_level = byte_level};
    struct tok_json entries, merges, dropout;
    enum status status = tok_json_find(model, "vocab", &entries);
    status = status == STATUS_OK ? tok_json_find(model, "merges", &merges) : status;
    if (status != STATUS_OK) {
        return status != STATUS_NOT_FOUND
                   ? status
                   : tok_fail(model->error, STATUS_MALFORMED,
                              "tokenizer.json: the BPE model has no vocab or no merges");
    }
    double chance = 0;
    status = tok_json_find(model, "dropout", &dropout);
    status = status == STATUS_OK          ? tok_json_double(&dropout, &chance)
             : status == STATUS_NOT_FOUND ? STATUS_OK
                                          : status;
    if (status == STATUS_OK && chance != 0) {
        return tok_fail(model->error, STATUS_UNSUPPORTED,
                        "tokenizer.json: BPE dropout is %g: only 0 gives the same ids twice",
                        chance);
    }
    status = status == STATUS_OK ? load_vocab(vocab, entries, byte_level) : status;
    status = status == STATUS_OK ? load_affix(bpe, model, "continuing_subword_prefix", bpe->prefix,
                                              &bpe->prefix_len)
                                 : status;
    status = status == STATUS_OK
                 ? load_affix(bpe, model, "end_of_word_suffix", bpe->suffix, &bpe->suffix_len)
                 : status;
    status = status == STATUS_OK ? load_merges(bpe, merges) : status;
    status = status == STATUS_OK ? load_unk(bpe, model) : status;
    status = status == STATUS_OK ? tok_json_find_bool(model, "byte_fallback", &bpe->byte_fallback)
                                 : status;
    status = status == STATUS_OK ? tok_json_find_bool(model, "fuse_unk", &bpe->fuse_unk) : status;
    status = status == STATUS_OK ? tok_json_find_bool(model, "ignore_merges", &bpe->ignore_merges)
                                 : status;
    if (status == STATUS_OK) {
        fill_byte_tables(bpe);
        bpe->cuts = !byte_level && !bpe->ignore_merges && bpe->prefix_len + bpe->suffix_len == 0;
    }
    return status;
}

void tok_bpe_fini(struct tok_bpe *bpe)
{
    mem_free(bpe->merges);
    bpe->merges = NULL;
}
