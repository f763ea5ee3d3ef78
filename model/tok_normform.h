/* Unicode normalisation forms as the reference has them, which is Unicode 9: newer characters
 * neither decompose nor compose nor move. Linear but for the sorting of marks, which is O(n log n).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/status.h"
#include "model/tok_work.h"

enum tok_normform { TOK_NFC, TOK_NFD, TOK_NFKC, TOK_NFKD };

/* Appends the normal form of valid UTF-8 to `out`; `chars` is scratch memory. */
enum status tok_normform_append(enum tok_normform form, struct tok_block *chars, const char *text,
                                size_t len, struct buf *out);
