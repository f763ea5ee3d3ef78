/* SentencePiece's precompiled normalisation map: a double-array trie of texts and what replaces
 * them, which comes as base64 inside tokenizer.json. Immutable once loaded. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/status.h"
#include "model/tok_json.h"

struct tok_charsmap {
    uint32_t *units; /* [n_units], the double array */
    size_t n_units;
    char *texts; /* [n_texts], the replacements, each with an end; the last byte is an end */
    size_t n_texts;
};

/* `base64` is a JSON string. MALFORMED with a sentence if it is no such map. */
enum status tok_charsmap_load(struct tok_charsmap *map, struct tok_json *at,
                              const struct tok_json_string *base64);
void tok_charsmap_fini(struct tok_charsmap *map);

/* Appends the mapped text of valid UTF-8, cluster by cluster, to `out`. */
enum status tok_charsmap_append(const struct tok_charsmap *map, const char *text, size_t len,
                                struct buf *out);
