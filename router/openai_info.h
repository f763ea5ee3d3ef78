/* The small answers of the HTTP door: /v1/models, /tokenize, /detokenize, /version. Each appends
 * one whole JSON object or nothing: TOO_BIG, NO_MEMORY. Pure; any thread. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "wire/msg.h"

/* A model that is served. */
struct openai_model {
    struct wire_span name; /* what requests ask for */
    struct wire_span root; /* where it comes from: a checkpoint's folder or name */
    int64_t created;       /* Unix time in seconds */
    uint32_t max_model_len;
};

/* GET /v1/models, and GET /v1/models/NAME. */
enum status openai_info_models(const struct openai_model *models, size_t n, struct buf *out);
enum status openai_info_model(const struct openai_model *model, struct buf *out);

/* `strs` are the tokens as texts, [ids.n] of them; or none: null. */
enum status openai_info_tokenized(struct wire_u32s ids, struct wire_texts strs,
                                  uint32_t max_model_len, struct buf *out);
enum status openai_info_detokenized(struct wire_span text, struct buf *out);
enum status openai_info_version(const char *version, struct buf *out);
