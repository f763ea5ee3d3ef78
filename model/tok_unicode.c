/* Characters. Categories come from utf8proc, corrected by the tables of what newer and older
 * Unicode versions have it otherwise. Any thread. */
#include "model/tok_unicode.h"

#include <string.h>
#include <utf8proc.h>

#include "model/tok_unicode_tables.h"

/* White space is a fixed list: the property has not changed since Unicode 6.3. */
bool tok_char_is_space(uint32_t c)
{
    if (c < 0x80) {
        return c == ' ' || (c >= 9 && c <= 13);
    }
    if (c < 0x1680) {
        return c == 0x85 || c == 0xa0;
    }
    return c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 ||
           c == 0x202f || c == 0x205f || c == 0x3000;
}

/* The range that holds `c`, or NULL. */
static const struct tok_range *find_range(const struct tok_range *ranges, size_t n, uint32_t c)
{
    size_t low = 0, high = n;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (c > ranges[middle].last) {
            low = middle + 1;
        } else if (c < ranges[middle].first) {
            high = middle;
        } else {
            return &ranges[middle];
        }
    }
    return NULL;
}

uint32_t tok_char_bits(uint32_t c)
{
    if (c < 0x80) {
        return tok_ascii_bits[c];
    }
    unsigned category = (unsigned)utf8proc_category((utf8proc_int32_t)c);
    if (category == UTF8PROC_CATEGORY_CN || c == 0x1171e) {
        const struct tok_range *range = find_range(tok_category_patches, tok_category_patches_n, c);
        category = range != NULL ? range->category : category;
    }
    return 1u << category | (tok_char_is_space(c) ? TOK_BIT_SPACE : 0);
}

bool tok_char_is_numeric(uint32_t c)
{
    if (c < 0x80) {
        return c >= '0' && c <= '9';
    }
    if ((c >= 0x11de0 && c <= 0x11de9) || (c >= 0x16ff4 && c <= 0x16ff6)) {
        return true; /* new in Unicode 17 */
    }
    return (tok_char_bits(c) & TOK_BITS_N) != 0;
}

bool tok_char_is_punctuation(uint32_t c)
{
    if (c < 0x80) {
        return c > ' ' && c < 0x7f && (tok_ascii_bits[c] & (TOK_BITS_P | TOK_BITS_S)) != 0;
    }
    if (c == 0x166d || c == 0x111c9) {
        return true; /* was punctuation in Unicode 8 */
    }
    return (tok_char_bits(c) & TOK_BITS_P) != 0 &&
           find_range(tok_not_punctuation, tok_not_punctuation_n, c) == NULL;
}

bool tok_char_is_word(uint32_t c)
{
    if ((tok_char_bits(c) & (TOK_BITS_L | TOK_BITS_M | TOK_BIT_ND | TOK_BIT_NL | TOK_BIT_PC)) !=
        0) {
        return true;
    }
    /* The joiners, and the circled and squared letters that are Alphabetic. */
    return c == 0x200c || c == 0x200d || (c >= 0x24b6 && c <= 0x24e9) ||
           (c >= 0x1f130 && c <= 0x1f149) || (c >= 0x1f150 && c <= 0x1f169) ||
           (c >= 0x1f170 && c <= 0x1f189);
}

bool tok_char_is_mark(uint32_t c)
{
    if (c < 0x300) {
        return false;
    }
    if (c == 0x1cf2 || c == 0x1cf3) {
        return true; /* was a mark in Unicode 9 */
    }
    return (tok_char_bits(c) & TOK_BITS_M) != 0 &&
           find_range(tok_not_marks, tok_not_marks_n, c) == NULL;
}

int tok_char_lower(uint32_t c, uint32_t out[2])
{
    static const uint32_t newer[][2] = {{0x1c89, 0x1c8a}, {0xa7cb, 0x264},  {0xa7cc, 0xa7cd},
                                        {0xa7ce, 0xa7cf}, {0xa7d2, 0xa7d3}, {0xa7d4, 0xa7d5},
                                        {0xa7da, 0xa7db}, {0xa7dc, 0x19b}};
    out[0] = c;
    if (c < 0x80) {
        out[0] = c >= 'A' && c <= 'Z' ? c + 32 : c;
    } else if (c == 0x130) {
        out[0] = 'i';
        out[1] = 0x307;
        return 2;
    } else if (c >= 0x10d50 && c <= 0x10d65) {
        out[0] = c + 0x20;
    } else if (c >= 0x16ea0 && c <= 0x16eb8) {
        out[0] = c + 0x1b;
    } else {
        out[0] = (uint32_t)utf8proc_tolower((utf8proc_int32_t)c);
        for (size_t i = 0; i < sizeof newer / sizeof *newer; i++) {
            out[0] = newer[i][0] == c ? newer[i][1] : out[0];
        }
    }
    return 1;
}

unsigned tok_utf8_put(uint32_t c, char out[4])
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (char)(0xc0 | c >> 6);
        out[1] = (char)(0x80 | (c & 0x3f));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (char)(0xe0 | c >> 12);
        out[1] = (char)(0x80 | (c >> 6 & 0x3f));
        out[2] = (char)(0x80 | (c & 0x3f));
        return 3;
    }
    out[0] = (char)(0xf0 | c >> 18);
    out[1] = (char)(0x80 | (c >> 12 & 0x3f));
    out[2] = (char)(0x80 | (c >> 6 & 0x3f));
    out[3] = (char)(0x80 | (c & 0x3f));
    return 4;
}

unsigned tok_utf8_check(const char *text, size_t len, unsigned *bad, bool *cut)
{
    const unsigned char *b = (const unsigned char *)text;
    unsigned n = b[0] < 0x80    ? 1
                 : b[0] < 0xc2  ? 0
                 : b[0] < 0xe0  ? 2
                 : b[0] < 0xf0  ? 3
                 : b[0] <= 0xf4 ? 4
                                : 0;
    *cut = false;
    *bad = 1;
    if (n <= 1) {
        return n;
    }
    /* The second byte excludes overlong forms, surrogates and what lies past U+10FFFF. */
    unsigned low = b[0] == 0xe0 ? 0xa0 : b[0] == 0xf0 ? 0x90 : 0x80;
    unsigned high = b[0] == 0xed ? 0x9f : b[0] == 0xf4 ? 0x8f : 0xbf;
    for (unsigned i = 1; i < n; i++) {
        if (i >= len) {
            *bad = i;
            *cut = true;
            return 0;
        }
        if (b[i] < low || b[i] > high) {
            *bad = i;
            return 0;
        }
        low = 0x80;
        high = 0xbf;
    }
    return n;
}

size_t tok_utf8_valid_prefix(const char *text, size_t len)
{
    size_t pos = 0;
    while (pos < len) {
        uint64_t word;
        if (len - pos >= 8) {
            memcpy(&word, text + pos, 8);
            if ((word & 0x8080808080808080u) == 0) {
                pos += 8;
                continue;
            }
        }
        unsigned bad;
        bool cut;
        unsigned n = tok_utf8_check(text + pos, len - pos, &bad, &cut);
        if (n == 0) {
            return pos;
        }
        pos += n;
    }
    return pos;
}

uint32_t tok_byte_char(uint8_t byte)
{
    /* Printable Latin-1 stands for itself; the rest, in order, is 256 and up. */
    if ((byte >= '!' && byte <= '~') || (byte >= 0xa1 && byte != 0xad)) {
        return byte;
    }
    if (byte < '!') {
        return 256u + byte;
    }
    return byte == 0xad ? 256u + 67 : 256u + 33 + (byte - 0x7fu);
}

int tok_char_byte(uint32_t c)
{
    if (c < 256) {
        return tok_byte_char((uint8_t)c) == c ? (int)c : -1;
    }
    if (c > 323) {
        return -1;
    }
    c -= 256;
    return c < 33 ? (int)c : c == 67 ? 0xad : (int)(c - 33 + 0x7f);
}

const uint32_t tok_ascii_bits[128] = {
    0x04000000u, 0x04000000u, 0x04000000u, 0x04000000u, 0x04000000u, 0x04000000u, 0x04000000u,
    0x04000000u, 0x04000000u, 0x84000000u, 0x84000000u, 0x84000000u, 0x84000000u, 0x84000000u,
    0x04000000u, 0x04000000u, 0x04000000u, 0x04000000u, 0x04000000u, 0x04000000u, 0x04000000u,
    0x04000000u, 0x04000000u, 0x04000000u, 0x04000000u, 0x04000000u, 0x04000000u, 0x04000000u,
    0x04000000u, 0x04000000u, 0x04000000u, 0x04000000u, 0x80800000u, 0x00040000u, 0x00040000u,
    0x00040000u, 0x00100000u, 0x00040000u, 0x00040000u, 0x00040000u, 0x00004000u, 0x00008000u,
    0x00040000u, 0x00080000u, 0x00040000u, 0x00002000u, 0x00040000u, 0x00040000u, 0x00000200u,
    0x00000200u, 0x00000200u, 0x00000200u, 0x00000200u, 0x00000200u, 0x00000200u, 0x00000200u,
    0x00000200u, 0x00000200u, 0x00040000u, 0x00040000u, 0x00080000u, 0x00080000u, 0x00080000u,
    0x00040000u, 0x00040000u, 0x00000002u, 0x00000002u, 0x00000002u, 0x00000002u, 0x00000002u,
    0x00000002u, 0x00000002u, 0x00000002u, 0x00000002u, 0x00000002u, 0x00000002u, 0x00000002u,
    0x00000002u, 0x00000002u, 0x00000002u, 0x00000002u, 0x00000002u, 0x00000002u, 0x00000002u,
    0x00000002u, 0x00000002u, 0x00000002u, 0x00000002u, 0x00000002u, 0x00000002u, 0x00000002u,
    0x00004000u, 0x00040000u, 0x00008000u, 0x00200000u, 0x00001000u, 0x00200000u, 0x00000004u,
    0x00000004u, 0x00000004u, 0x00000004u, 0x00000004u, 0x00000004u, 0x00000004u, 0x00000004u,
    0x00000004u, 0x00000004u, 0x00000004u, 0x00000004u, 0x00000004u, 0x00000004u, 0x00000004u,
    0x00000004u, 0x00000004u, 0x00000004u, 0x00000004u, 0x00000004u, 0x00000004u, 0x00000004u,
    0x00000004u, 0x00000004u, 0x00000004u, 0x00000004u, 0x00004000u, 0x00080000u, 0x00008000u,
    0x00080000u, 0x04000000u,
};
