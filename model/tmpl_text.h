/* Text as Python sees it: UTF-8 by code point, case, white space, numbers as text. Knows nothing of
 * templates; used by their lexer, evaluator and JSON code. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes that the longest mapping of one code point takes (three code points). */
#define TMPL_CASE_BYTES 12
/* Bytes that tmpl_float_print takes at most. */
#define TMPL_FLOAT_BYTES 32

/* Strict: no overlong forms, no surrogates, nothing above U+10FFFF. */
bool tmpl_utf8_is_valid(const char *text, size_t len);

/* The code point at `text` of valid UTF-8 with at least one byte left; *bytes is its length. */
uint32_t tmpl_utf8_decode(const char *text, size_t *bytes);

/* Writes 1-4 bytes and returns how many. `code` is a valid scalar value. */
size_t tmpl_utf8_encode(uint32_t code, char out[4]);

/* Code points in valid UTF-8. */
size_t tmpl_utf8_count(const char *text, size_t len);

/* The byte offset of code point `index`; `len` if there are fewer. */
size_t tmpl_utf8_offset(const char *text, size_t len, size_t index);

/* The offset of the code point that ends at `end` (> 0). */
size_t tmpl_utf8_before(const char *text, size_t end);

/* Python's str.isspace, which is also what strip() and \s take. */
bool tmpl_is_space(uint32_t code);
/* Where str.splitlines splits. */
bool tmpl_is_line_break(uint32_t code);
/* Python's repr() shows it as it is. */
bool tmpl_is_printable(uint32_t code);
bool tmpl_is_alpha(uint32_t code);
bool tmpl_is_decimal(uint32_t code);
/* Python's isnumeric, near enough: decimals, letter numbers, other numbers. */
bool tmpl_is_numeric(uint32_t code);
bool tmpl_is_upper(uint32_t code);
bool tmpl_is_lower(uint32_t code);
bool tmpl_is_title(uint32_t code);

enum tmpl_case { TMPL_TO_UPPER, TMPL_TO_LOWER, TMPL_TO_TITLE };

/* Full case mapping of one code point, final sigma aside; returns the bytes written. */
size_t tmpl_case_map(uint32_t code, enum tmpl_case to, char out[TMPL_CASE_BYTES]);

/* Whether the sigma at `offset` ends a word, so that lower() makes it a final one. */
bool tmpl_is_final_sigma(const char *text, size_t len, size_t offset);

/* Bytes of text without leading (`left`) and trailing (`right`) white space. */
void tmpl_trim(const char **text, size_t *len, bool left, bool right);

/* Decimal digits; returns the length, without end mark. */
size_t tmpl_int_print(int64_t integer, char out[24]);

/* Python's repr of a float: shortest digits that read back the same. Returns the length. */
size_t tmpl_float_print(double real, char out[TMPL_FLOAT_BYTES]);

/* The nearest double of an integer's digits (with sign). */
double tmpl_big_to_double(const char *text, size_t len);

/* Python's int(text, base): white space, sign, underscores, 0x/0o/0b by base. False if it is no
 * integer; *overflow if it is one but has over 64 bits. */
bool tmpl_int_read(const char *text, size_t len, int base, int64_t *out, bool *overflow);

/* Python's float(text): also inf, nan, underscores. False if it is no number. */
bool tmpl_float_read(const char *text, size_t len, double *out);
