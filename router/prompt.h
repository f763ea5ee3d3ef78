/* From what a client asks to the ids of its prompt: ids as they are, a text through the tokenizer,
 * or a chat through the model's template and then the tokenizer. Pure; takes milliseconds for a
 * long text: the shell lets the clerk call it, hosts without a clerk (the simulator) the core. */
#pragma once

#include <stdint.h>

#include "base/buf.h"
#include "wire/msg.h"

struct template;
struct tmpl_value;
struct tokenizer;
struct tokenizer_workspace;

/* What turns text into ids; read by several threads. */
struct prompt_reader {
    const struct tokenizer *tok;
    const struct template *tmpl;        /* NULL: the model has no chat template */
    const struct tmpl_value *tmpl_vars; /* see router_cfg */
    uint32_t vocab;
};

/* The ids of a request: its own array, or in the workspace. Else a sentence of at most
 * WIRE_ERROR_MAX bytes in why: INVALID, TOO_BIG, UNSUPPORTED, NO_MEMORY. */
enum status prompt_read(const struct prompt_reader *reader, struct tokenizer_workspace *work,
                        int64_t now_unix_s, const struct wire_generate *in, struct wire_u32s *out,
                        char *why);

/* The template's text for variables that are all there. */
enum status prompt_render(const struct prompt_reader *reader, int64_t now_unix_s,
                          const struct tmpl_value *vars, struct buf *out, char *why);
/* A text's ids, in the workspace; flags of tokenizer_encode. */
enum status prompt_encode(const struct prompt_reader *reader, struct tokenizer_workspace *work,
                          const char *text, size_t len, int flags, struct wire_u32s *out,
                          char *why);

#define PROMPT_TEXT_MAX (4 * WIRE_TEXT_MAX) /* bytes of a rendered prompt */
