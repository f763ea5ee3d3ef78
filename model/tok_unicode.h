/* Characters: UTF-8, general categories and the few properties that tokenizers ask for, with the
 * Unicode versions of the reference implementation. The reference mixes four versions: 16 in its
 * regex engine, 17 in `is_numeric` and lower case, 9 in normalisation and 8 in punctuation; a model
 * was trained with these, so they are part of the format. Pure functions, any thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TOK_CHAR_MAX 0x10ffffu
#define TOK_CHAR_REPLACEMENT 0xfffdu

/* One bit per general category, in utf8proc's order (bit 0 is unassigned), and white space. */
#define TOK_BIT_LU (1u << 1)
#define TOK_BIT_LL (1u << 2)
#define TOK_BIT_LT (1u << 3)
#define TOK_BIT_LM (1u << 4)
#define TOK_BIT_LO (1u << 5)
#define TOK_BIT_MN (1u << 6)
#define TOK_BIT_MC (1u << 7)
#define TOK_BIT_ME (1u << 8)
#define TOK_BIT_ND (1u << 9)
#define TOK_BIT_NL (1u << 10)
#define TOK_BIT_NO (1u << 11)
#define TOK_BIT_PC (1u << 12)
#define TOK_BITS_L (0x1fu << 1)
#define TOK_BITS_M (0x7u << 6)
#define TOK_BITS_N (0x7u << 9)
#define TOK_BITS_P (0x7fu << 12)
#define TOK_BITS_S (0xfu << 19)
#define TOK_BIT_SPACE (1u << 31) /* the White_Space property */

/* The bits of a character by the regex engine's Unicode 16. */
uint32_t tok_char_bits(uint32_t c);

/* The same from a table that the caller has at hand: ASCII without a call. */
extern const uint32_t tok_ascii_bits[128];

bool tok_char_is_space(uint32_t c);       /* White_Space */
bool tok_char_is_numeric(uint32_t c);     /* N, Unicode 17 */
bool tok_char_is_punctuation(uint32_t c); /* ASCII punctuation or P of Unicode 8 */
bool tok_char_is_word(uint32_t c);        /* \w of UTS 18: Alphabetic, M, Nd, Pc, Join_Control */
bool tok_char_is_mark(uint32_t c);        /* M of Unicode 9 */

/* Lower case of one character, one or two characters long. */
int tok_char_lower(uint32_t c, uint32_t out[2]);

/* Reads one character of valid UTF-8; *n is its length. */
static inline uint32_t tok_utf8_get(const char *text, unsigned *n)
{
    const unsigned char *b = (const unsigned char *)text;
    if (b[0] < 0x80) {
        *n = 1;
        return b[0];
    }
    if (b[0] < 0xe0) {
        *n = 2;
        return (uint32_t)(b[0] & 0x1f) << 6 | (b[1] & 0x3fu);
    }
    if (b[0] < 0xf0) {
        *n = 3;
        return (uint32_t)(b[0] & 0x0f) << 12 | (uint32_t)(b[1] & 0x3f) << 6 | (b[2] & 0x3fu);
    }
    *n = 4;
    return (uint32_t)(b[0] & 0x07) << 18 | (uint32_t)(b[1] & 0x3f) << 12 |
           (uint32_t)(b[2] & 0x3f) << 6 | (b[3] & 0x3fu);
}

/* Where the character before `pos` (> 0) begins, in valid UTF-8. */
static inline size_t tok_utf8_before(const char *text, size_t pos)
{
    do {
        pos--;
    } while (((unsigned char)text[pos] & 0xc0) == 0x80);
    return pos;
}

/* Writes a character, 1 to 4 bytes; returns how many. */
unsigned tok_utf8_put(uint32_t c, char out[4]);

/* Examines the bytes at `text` [len > 0]. Returns the length of the valid character there; or 0,
 * and *bad is the length of the ill-formed run that one U+FFFD replaces (the longest start of a
 * valid character, at least 1 byte), *cut is true if the run is a start that the text's end cut. */
unsigned tok_utf8_check(const char *text, size_t len, unsigned *bad, bool *cut);

/* The length of the longest prefix of valid UTF-8. */
size_t tok_utf8_valid_prefix(const char *text, size_t len);

/* GPT-2's mapping: bytes as printable characters. `tok_byte_char` gives 33..323. The inverse gives
 * -1 for a character outside the mapping. */
uint32_t tok_byte_char(uint8_t byte);
int tok_char_byte(uint32_t c);
