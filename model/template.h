/* Chat templates: the subset of Jinja that published models use, rendered as Python's jinja2 does
 * with Hugging Face's settings (trim_blocks, lstrip_blocks, loop controls, generation blocks, its
 * own tojson, raise_exception, strftime_now, no mutation). A template is compiled once and then
 * rendered many times, by several threads at once if need be. Text that comes from users is data:
 * it is never read as template syntax.
 *
 * What lies outside the subset is refused with its name, when compiling where possible: blocks,
 * extends, include, import, autoescape, recursive loops, a few HTML filters. Integers have 64 bits
 * (larger ones in the input print and compare but do not compute). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/status.h"
#include "model/tmpl_value.h"

/* Longest template source. */
#define TEMPLATE_SOURCE_MAX (1u << 20)

/* What went wrong, as a sentence. */
struct template_error {
    uint32_t line;  /* of the template, from 1; 0 if the error has no place */
    bool raised;    /* the template itself refused its input (raise_exception): a client's error */
    char text[512]; /* with end mark; for `raised` exactly the template's own words */
};

struct template_options {
    int64_t now_unix_s;      /* what strftime_now() shows */
    int32_t utc_offset_s;    /* of the zone in which it shows it */
    uint64_t steps_max;      /* 0: TEMPLATE_STEPS_MAX */
    size_t memory_bytes_max; /* of values made while rendering; 0: TEMPLATE_MEMORY_MAX */
    size_t output_bytes_max; /* 0: TEMPLATE_OUTPUT_MAX */
};

/* A step is about one expression node or 64 bytes of text handled: some 100 million a second. */
#define TEMPLATE_STEPS_MAX (20u * 1000 * 1000)
#define TEMPLATE_MEMORY_MAX ((size_t)256 << 20)
#define TEMPLATE_OUTPUT_MAX ((size_t)64 << 20)

struct template;

/* Compiles UTF-8 source. MALFORMED (bad syntax or UTF-8), UNSUPPORTED (outside the subset), TOO_BIG
 * (longer, deeper or with more names than allowed), NO_MEMORY: *error says what and where. */
enum status template_compile(const char *source, size_t len, struct template_error *error,
                             struct template **out);

/* NULL is nothing. No render may be running. */
void template_destroy(struct template *tmpl);

/* Appends the rendering to *out. `vars` is a DICT of the variables that the template sees. To get
 * what Hugging Face's apply_chat_template gives, pass: messages, tools (None if there are none),
 * documents (None), add_generation_prompt, the special tokens (bos_token, eos_token, ...) as
 * strings, and the caller's extra keywords. `options` may be NULL: all defaults, clock at 0.
 * INVALID (the template raised, or an operation failed: *error), TOO_BIG (a limit: *error),
 * UNSUPPORTED, NO_MEMORY. Nothing is appended on failure. Thread-safe for one `tmpl` and `vars`.
 * Takes at most 256 KiB of stack. */
enum status template_render(const struct template *tmpl, const struct tmpl_value *vars,
                            const struct template_options *options, struct template_error *error,
                            struct buf *out);
