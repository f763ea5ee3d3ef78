/* The vocabulary's tables. Filled by one thread while a tokenizer opens, read by any afterwards. */
#include "model/tok_vocab.h"

#include "base/mem.h"
#include "model/tok_unicode.h"

enum status tok_vocab_init(struct tok_vocab *vocab, bool byte_level, uint32_t n)
{
    *vocab = (struct tok_vocab){.byte_level = byte_level};
    uint32_t n_slots = 64;
    while (n_slots < 2 * (uint64_t)n + 2) {
        n_slots *= 2;
    }
    vocab->slots = mem_alloc((size_t)n_slots * sizeof *vocab->slots);
    if (vocab->slots == NULL) {
        return STATUS_NO_MEMORY;
    }
    memset(vocab->slots, 0xff, (size_t)n_slots * sizeof *vocab->slots);
    vocab->slot_mask = n_slots - 1;
    return STATUS_OK;
}

void tok_vocab_fini(struct tok_vocab *vocab)
{
    mem_free(vocab->bytes);
    mem_free(vocab->entries);
    mem_free(vocab->slots);
    *vocab = (struct tok_vocab){.byte_level = false};
}

size_t tok_vocab_store_form(const struct tok_vocab *vocab, const char *text, size_t len, char *out,
                            bool *spelt)
{
    *spelt = vocab->byte_level;
    size_t n = 0;
    for (size_t pos = 0; vocab->byte_level && pos < len;) {
        unsigned n_char;
        int byte = tok_char_byte(tok_utf8_get(text + pos, &n_char));
        if (byte < 0) {
            *spelt = false;
            break;
        }
        out[n++] = (char)byte;
        pos += n_char;
    }
    if (!*spelt) {
        memcpy(out, text, len);
        return len;
    }
    return n;
}

static uint32_t find_stored(const struct tok_vocab *vocab, const char *bytes, size_t len,
                            bool spelt, uint32_t *slot)
{
    uint32_t i = (uint32_t)tok_hash(bytes, len) & vocab->slot_mask;
    while (vocab->slots[i] != TOKENIZER_ID_NONE) {
        const struct tok_entry *entry = &vocab->entries[vocab->slots[i]];
        if (entry->len == len && ((entry->flags & TOK_ENTRY_SPELT) != 0) == spelt &&
            memcmp(vocab->bytes + entry->offset, bytes, len) == 0) {
            break;
        }
        i = (i + 1) & vocab->slot_mask;
    }
    *slot = i;
    return vocab->slots[i];
}

uint32_t tok_vocab_find(const struct tok_vocab *vocab, const char *bytes, size_t len)
{
    uint32_t slot;
    return find_stored(vocab, bytes, len, vocab->byte_level, &slot);
}

uint32_t tok_vocab_find_text(const struct tok_vocab *vocab, const char *text, size_t len)
{
    char stored[TOKENIZER_PIECE_MAX];
    if (len > sizeof stored) {
        return TOKENIZER_ID_NONE;
    }
    bool spelt;
    uint32_t slot;
    size_t n = tok_vocab_store_form(vocab, text, len, stored, &spelt);
    return find_stored(vocab, stored, n, spelt, &slot);
}

static enum status grow(struct tok_vocab *vocab, uint32_t id, size_t len)
{
    if (id >= vocab->cap_ids) {
        uint32_t cap = vocab->cap_ids == 0 ? 1024 : vocab->cap_ids * 2;
        cap = cap > id ? cap : id + 1;
        struct tok_entry *entries = mem_realloc(vocab->entries, cap * sizeof *entries);
        if (entries == NULL) {
            return STATUS_NO_MEMORY;
        }
        memset(entries + vocab->cap_ids, 0, (cap - vocab->cap_ids) * sizeof *entries);
        vocab->entries = entries;
        vocab->cap_ids = cap;
    }
    if (vocab->n_bytes + len + 8 > vocab->cap_bytes) {
        size_t cap = 2 * vocab->cap_bytes + len + 8192;
        char *bytes = mem_realloc(vocab->bytes, cap);
        if (bytes == NULL) {
            return STATUS_NO_MEMORY;
        }
        vocab->bytes = bytes;
        vocab->cap_bytes = cap;
    }
    return STATUS_OK;
}

/* Stores the bytes and makes the id exist. */
static enum status put(struct tok_vocab *vocab, uint32_t id, const char *bytes, size_t len,
                       unsigned flags)
{
    enum status status = grow(vocab, id, len);
    if (status != STATUS_OK) {
        return status;
    }
    vocab->entries[id] = (struct tok_entry){.offset = (uint32_t)vocab->n_bytes,
                                            .len = (uint16_t)len,
                                            .flags = (uint8_t)(flags | TOK_ENTRY_USED)};
    memcpy(vocab->bytes + vocab->n_bytes, bytes, len);
    vocab->n_bytes += len;
    memset(vocab->bytes + vocab->n_bytes, 0, 8);
    vocab->n_ids = id >= vocab->n_ids ? id + 1 : vocab->n_ids;
    return STATUS_OK;
}

static bool has(const struct tok_vocab *vocab, uint32_t id)
{
    return id < vocab->n_ids && (vocab->entries[id].flags & TOK_ENTRY_USED) != 0;
}

enum status tok_vocab_add(struct tok_vocab *vocab, uint32_t id, const char *text, size_t len,
                          bool again)
{
    if (id >= TOKENIZER_IDS_MAX || len > TOKENIZER_PIECE_MAX ||
        2 * ((uint64_t)vocab->n_model + 1) > vocab->slot_mask) {
        return STATUS_TOO_BIG;
    }
    char stored[TOKENIZER_PIECE_MAX];
    bool spelt;
    size_t n = tok_vocab_store_form(vocab, text, len, stored, &spelt);
    uint32_t slot;
    bool known = find_stored(vocab, stored, n, spelt, &slot) != TOKENIZER_ID_NONE;
    if (has(vocab, id) || (known && !again)) {
        return STATUS_INVALID;
    }
    enum status status =
        put(vocab, id, stored, n, TOK_ENTRY_MODEL | (spelt ? TOK_ENTRY_SPELT : 0u));
    if (status == STATUS_OK) {
        vocab->slots[slot] = id;
        vocab->n_model += !known;
    }
    return status;
}

enum status tok_vocab_add_outside(struct tok_vocab *vocab, uint32_t id, const char *text,
                                  size_t len, bool special)
{
    if (id >= TOKENIZER_IDS_MAX || len > TOKENIZER_PIECE_MAX) {
        return STATUS_TOO_BIG;
    }
    if (!has(vocab, id)) {
        char stored[TOKENIZER_PIECE_MAX];
        bool spelt;
        size_t n = tok_vocab_store_form(vocab, text, len, stored, &spelt);
        enum status status = put(vocab, id, stored, n, spelt ? TOK_ENTRY_SPELT : 0u);
        if (status != STATUS_OK) {
            return status;
        }
    }
    vocab->entries[id].flags |= TOK_ENTRY_ADDED;
    if (special) {
        vocab->entries[id].flags |= TOK_ENTRY_SPECIAL;
    }
    return STATUS_OK;
}

size_t tok_vocab_text(const struct tok_vocab *vocab, uint32_t id, char *out, size_t cap)
{
    if (!has(vocab, id)) {
        return 0;
    }
    const struct tok_entry *entry = &vocab->entries[id];
    const char *bytes = vocab->bytes + entry->offset;
    if ((entry->flags & TOK_ENTRY_SPELT) == 0) {
        if (entry->len <= cap) {
            memcpy(out, bytes, entry->len);
        }
        return entry->len;
    }
    size_t n = 0;
    for (size_t i = 0; i < entry->len; i++) {
        n += tok_byte_char((uint8_t)bytes[i]) < 0x80 ? 1 : 2;
    }
    for (size_t i = 0, at = 0; n <= cap && i < entry->len; i++) {
        char one[4];
        unsigned n_one = tok_utf8_put(tok_byte_char((uint8_t)bytes[i]), one);
        memcpy(out + at, one, n_one);
        at += n_one;
    }
    return n;
}
