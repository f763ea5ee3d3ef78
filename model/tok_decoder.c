/* Reading decoders. Runs while a tokenizer opens. */
#include "model/tok_decoder.h"

#include <string.h>

#include "model/tok_error.h"
#include "model/tok_steps.h"
#include "model/tok_unicode.h"

/* Which stage the next step belongs to. */
enum stage { STAGE_TOKEN, STAGE_JOINED, STAGE_FUSED };

static enum status refuse(const struct tok_step *step, const char *why)
{
    return tok_fail(step->at.error, STATUS_UNSUPPORTED,
                    "tokenizer.json: at byte %zu: the decoder \"%s\" %s, which is not supported",
                    step->at.pos, step->type, why);
}

static enum status load_replace(const struct tok_step *step, struct tok_decoder_step *out)
{
    struct tok_json pattern;
    out->kind = TOK_DECODER_REPLACE;
    enum status status = tok_json_find_text(&step->at, "content", out->content, sizeof out->content,
                                            &out->content_len);
    status = status == STATUS_OK ? tok_json_find(&step->at, "pattern", &pattern) : status;
    status = status == STATUS_OK ? tok_json_find_text(&pattern, "String", out->pattern,
                                                      sizeof out->pattern, &out->pattern_len)
                                 : status;
    if (status == STATUS_NOT_FOUND) {
        return refuse(step, "has a regular expression");
    }
    return status == STATUS_OK && out->pattern_len == 0 ? refuse(step, "has an empty pattern")
                                                        : status;
}

static enum status load_metaspace(const struct tok_step *step, struct tok_decoder_step *out)
{
    char scheme[16] = "always";
    size_t len;
    bool space = true;
    out->kind = TOK_DECODER_METASPACE;
    enum status status = tok_json_find_text(&step->at, "replacement", out->pattern,
                                            sizeof out->pattern, &out->pattern_len);
    if (status != STATUS_OK) {
        return status;
    }
    status = tok_json_find_text(&step->at, "prepend_scheme", scheme, sizeof scheme, &len);
    status = status == STATUS_NOT_FOUND ? STATUS_OK : status;
    status =
        status == STATUS_OK ? tok_json_find_bool(&step->at, "add_prefix_space", &space) : status;
    out->start = space && strcmp(scheme, "never") != 0;
    out->content[0] = ' ';
    out->content_len = 1;
    return status == STATUS_OK && out->pattern_len == 0 ? STATUS_NOT_FOUND : status;
}

static enum status load_strip(const struct tok_step *step, struct tok_decoder_step *out)
{
    struct tok_json at;
    unsigned n;
    out->kind = TOK_DECODER_STRIP;
    enum status status = tok_json_find_text(&step->at, "content", out->pattern, sizeof out->pattern,
                                            &out->pattern_len);
    status = status == STATUS_OK ? tok_json_find(&step->at, "start", &at) : status;
    status = status == STATUS_OK ? tok_json_u32(&at, &out->start) : status;
    status = status == STATUS_OK ? tok_json_find(&step->at, "stop", &at) : status;
    status = status == STATUS_OK ? tok_json_u32(&at, &out->stop) : status;
    if (status != STATUS_OK) {
        return status;
    }
    if (out->pattern_len == 0 || (out->c = tok_utf8_get(out->pattern, &n), n != out->pattern_len) ||
        out->stop > 4096) {
        return refuse(step, "strips something other than one character, 4096 times at most");
    }
    return STATUS_OK;
}

/* A step on text, before or behind the joining. */
static enum status load_text_step(struct tok_decoder *decoder, const struct tok_step *step,
                                  enum stage stage)
{
    struct tok_decoder_step *out = stage == STAGE_TOKEN
                                       ? &decoder->token_steps[decoder->n_token_steps]
                                       : &decoder->text_steps[decoder->n_text_steps];
    size_t *n = stage == STAGE_TOKEN ? &decoder->n_token_steps : &decoder->n_text_steps;
    unsigned n_char = 0;
    if (*n == TOK_DECODER_STEPS_MAX) {
        return refuse(step, "is one of more than 8");
    }
    enum status status;
    if (strcmp(step->type, "Replace") == 0) {
        status = load_replace(step, out);
        if (status == STATUS_OK && stage != STAGE_TOKEN) {
            out->c = tok_utf8_get(out->pattern, &n_char);
            if (n_char != out->pattern_len) {
                return refuse(step, "replaces several characters of joined text");
            }
        }
    } else if (strcmp(step->type, "Strip") == 0) {
        status = stage == STAGE_JOINED ? refuse(step, "strips byte tokens before Fuse")
                                       : load_strip(step, out);
    } else if (stage != STAGE_TOKEN) {
        return refuse(step, "comes after tokens were joined");
    } else if (strcmp(step->type, "Metaspace") == 0) {
        status = load_metaspace(step, out);
    } else if (strcmp(step->type, "BPEDecoder") == 0) {
        out->kind = TOK_DECODER_SUFFIX;
        decoder->waits = true;
        status = tok_json_find_text(&step->at, "suffix", out->pattern, sizeof out->pattern,
                                    &out->pattern_len);
        if (status == STATUS_OK && out->pattern_len == 0) {
            return refuse(step, "has an empty suffix");
        }
    } else {
        return tok_step_unsupported(step, "decoder");
    }
    *n += status == STATUS_OK;
    return status;
}

static enum status load_step(struct tok_decoder *decoder, const struct tok_step *step,
                             enum stage *stage)
{
    bool byte_level = strcmp(step->type, "ByteLevel") == 0;
    if (strcmp(step->type, "Fuse") == 0) {
        *stage = STAGE_FUSED;
        return STATUS_OK;
    }
    if (!byte_level && strcmp(step->type, "ByteFallback") != 0) {
        return load_text_step(decoder, step, *stage);
    }
    if (*stage != STAGE_TOKEN) {
        return refuse(step, "comes after tokens were joined");
    }
    decoder->join = byte_level ? TOK_JOIN_BYTE_LEVEL : TOK_JOIN_BYTE_FALLBACK;
    *stage = byte_level ? STAGE_FUSED : STAGE_JOINED;
    return STATUS_OK;
}

enum status tok_decoder_load(struct tok_decoder *decoder, const struct tok_json *value)
{
    *decoder = (struct tok_decoder){.join = TOK_JOIN_TEXT};
    enum stage stage = STAGE_TOKEN;
    struct tok_steps steps;
    struct tok_step step;
    tok_steps_init(&steps, value, "decoders");
    enum status status;
    while ((status = tok_steps_next(&steps, &step)) == STATUS_OK) {
        status = tok_step_missing(&step, load_step(decoder, &step, &stage));
        if (status != STATUS_OK) {
            return status;
        }
    }
    return status == STATUS_DONE ? STATUS_OK : status;
}
