/* The precompiled map. A double-array unit packs: bits 0-7 the label (and bit 31 for a value unit),
 * bit 8 "has a value", bits 10-30 the offset, shifted left by 8 more if bit 9 is set; the layout of
 * the darts-clone library. A lookup walks by exclusive or. Loading runs while a tokenizer opens,
 * mapping on any thread. */
#include "model/tok_charsmap.h"

#include <stdbool.h>
#include <string.h>
#include <utf8proc.h>

#include "base/mem.h"
#include "model/tok_error.h"
#include "model/tok_unicode.h"

/* The reference maps whole grapheme clusters below this length, and single characters else. */
#define CLUSTER_MAX 6u

static int base64_value(char c)
{
    return c >= 'A' && c <= 'Z'   ? c - 'A'
           : c >= 'a' && c <= 'z' ? c - 'a' + 26
           : c >= '0' && c <= '9' ? c - '0' + 52
           : c == '+'             ? 62
           : c == '/'             ? 63
                                  : -1;
}

/* Decodes in place; returns the length, or SIZE_MAX. */
static size_t base64_decode(char *text, size_t len)
{
    while (len > 0 && text[len - 1] == '=') {
        len--;
    }
    uint32_t bits = 0;
    unsigned n_bits = 0;
    size_t n = 0;
    for (size_t i = 0; i < len; i++) {
        int value = base64_value(text[i]);
        if (value < 0) {
            return SIZE_MAX;
        }
        bits = bits << 6 | (uint32_t)value;
        n_bits += 6;
        if (n_bits >= 8) {
            n_bits -= 8;
            text[n++] = (char)(bits >> n_bits);
        }
    }
    return n;
}

enum status tok_charsmap_load(struct tok_charsmap *map, struct tok_json *at,
                              const struct tok_json_string *base64)
{
    *map = (struct tok_charsmap){.units = NULL};
    char *bytes = mem_alloc(base64->len + 8);
    if (bytes == NULL) {
        return STATUS_NO_MEMORY;
    }
    size_t len = base64_decode(bytes, tok_json_unescape(base64, bytes));
    uint32_t n_trie = 0;
    if (len != SIZE_MAX && len >= 4) {
        memcpy(&n_trie, bytes, 4);
    }
    if (len == SIZE_MAX || len < 8 || n_trie < 4 || n_trie % 4 != 0 || n_trie > len - 5 ||
        bytes[len - 1] != 0 ||
        tok_utf8_valid_prefix(bytes + 4 + n_trie, len - 4 - n_trie) != len - 4 - n_trie) {
        mem_free(bytes);
        return tok_fail(at->error, STATUS_MALFORMED,
                        "tokenizer.json: before byte %zu: precompiled_charsmap is no base64 of a "
                        "SentencePiece map",
                        at->pos);
    }
    map->n_units = n_trie / 4;
    map->units = mem_alloc(n_trie);
    map->n_texts = len - 4 - n_trie;
    map->texts = mem_alloc(map->n_texts);
    if (map->units == NULL || map->texts == NULL) {
        tok_charsmap_fini(map);
        mem_free(bytes);
        return STATUS_NO_MEMORY;
    }
    memcpy(map->units, bytes + 4, n_trie);
    memcpy(map->texts, bytes + 4 + n_trie, map->n_texts);
    mem_free(bytes);
    return STATUS_OK;
}

void tok_charsmap_fini(struct tok_charsmap *map)
{
    mem_free(map->units);
    mem_free(map->texts);
    *map = (struct tok_charsmap){.units = NULL};
}

static uint32_t unit_offset(uint32_t unit)
{
    return (unit >> 10) << ((unit & 1u << 9) >> 6);
}

/* What replaces the shortest key that `text` begins with, or NULL. (The shortest: so it is in the
 * reference.) */
static const char *look_up(const struct tok_charsmap *map, const char *text, size_t len)
{
    uint32_t at = unit_offset(map->units[0]);
    for (size_t i = 0; i < len && text[i] != 0; i++) {
        at ^= (uint8_t)text[i];
        if (at >= map->n_units || (map->units[at] & (1u << 31 | 0xff)) != (uint8_t)text[i]) {
            return NULL;
        }
        uint32_t unit = map->units[at];
        at ^= unit_offset(unit);
        if ((unit >> 8 & 1) != 0) {
            uint32_t value = at < map->n_units ? map->units[at] & ~(1u << 31) : UINT32_MAX;
            bool begins = value < map->n_texts && ((uint8_t)map->texts[value] & 0xc0) != 0x80;
            return begins ? map->texts + value : NULL;
        }
    }
    return NULL;
}

/* Maps the characters of a cluster one by one. */
static enum status append_chars(const struct tok_charsmap *map, const char *text, size_t len,
                                struct buf *out)
{
    enum status status = STATUS_OK;
    for (size_t pos = 0; pos < len && status == STATUS_OK;) {
        unsigned n;
        (void)tok_utf8_get(text + pos, &n);
        const char *mapped = look_up(map, text + pos, n);
        status = mapped != NULL ? buf_append_str(out, mapped) : buf_append(out, text + pos, n);
        pos += n;
    }
    return status;
}

/* Printable ASCII: two in a row are always two clusters. */
static bool is_plain(uint32_t c)
{
    return c >= 0x20 && c < 0x7f;
}

/* Marks that are newer than utf8proc's Unicode: they extend a cluster. */
static bool is_newer_mark(uint32_t c)
{
    static const uint32_t ranges[][2] = {
        {0x897, 0x897},     {0x1acf, 0x1add},   {0x1ae0, 0x1aeb},   {0x10d69, 0x10d6d},
        {0x10efa, 0x10efc}, {0x113b8, 0x113c0}, {0x113c2, 0x113c2}, {0x113c5, 0x113c5},
        {0x113c7, 0x113ca}, {0x113cc, 0x113d0}, {0x113d2, 0x113d2}, {0x113e1, 0x113e2},
        {0x11b60, 0x11b67}, {0x11f5a, 0x11f5a}, {0x1611e, 0x1612f}, {0x1e5ee, 0x1e5ef},
        {0x1e6e3, 0x1e6e3}, {0x1e6e6, 0x1e6e6}, {0x1e6ee, 0x1e6ef}, {0x1e6f5, 0x1e6f5}};
    for (size_t i = 0; c >= 0x897 && i < sizeof ranges / sizeof *ranges; i++) {
        if (c <= ranges[i][1]) {
            return c >= ranges[i][0];
        }
    }
    return false;
}

/* Ends a cluster whatever follows. */
static bool is_control(uint32_t c)
{
    const uint32_t controls = 0xfu << 24; /* Zl, Zp, Cc, Cf */
    return (tok_char_bits(c) & controls) != 0 && c != 0x200c && c != 0x200d;
}

/* Does a cluster end between the two? utf8proc's answer, but for what Unicode changed since. */
static bool breaks_between(uint32_t c, uint32_t next, int32_t *state)
{
    if (is_plain(c) && is_plain(next)) {
        return true;
    }
    bool prepends = c == 0x113d1;           /* new: joins what follows */
    uint32_t left = c == 0x11a3a ? 'a' : c; /* does so no more */
    return utf8proc_grapheme_break_stateful((int32_t)left, (int32_t)next, state) &&
           (is_newer_mark(next) ? is_control(c) : !prepends || is_control(next));
}

enum status tok_charsmap_append(const struct tok_charsmap *map, const char *text, size_t len,
                                struct buf *out)
{
    enum status status = STATUS_OK;
    unsigned n = 0;
    for (size_t pos = 0; pos < len && status == STATUS_OK;) {
        int32_t state = 0;
        uint32_t c = tok_utf8_get(text + pos, &n), next;
        size_t end = pos + n;
        while (end < len) {
            next = tok_utf8_get(text + end, &n);
            if (breaks_between(c, next, &state)) {
                break;
            }
            c = next;
            end += n;
        }
        const char *mapped = end - pos < CLUSTER_MAX ? look_up(map, text + pos, end - pos) : NULL;
        status = mapped != NULL ? buf_append_str(out, mapped)
                                : append_chars(map, text + pos, end - pos, out);
        pos = end;
    }
    return status;
}
