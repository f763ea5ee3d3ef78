/* Prompts. A template has limits on its steps, its memory and its output: it is the model's, but
 * what it walks over is the client's. */
#include "router/prompt.h"

#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "model/template.h"
#include "model/tokenizer.h"
#include "wire/sampling.h"

#define CHAT_STEPS_MAX 2000000u            /* of a template: some 20 ms */
#define CHAT_MEMORY_MAX ((size_t)64 << 20) /* of its values */
#define CHAT_INPUT_MAX ((size_t)32 << 20)  /* of the chat as values: 8 MiB of text and its heads */
#define CHAT_ARENA_CHUNK ((size_t)64 << 10)

/* ---- chats ---- */

static struct tmpl_value word(const char *text)
{
    return tmpl_str(text, (uint32_t)strlen(text));
}

/* {"role": ..., "content": ...} for each message. */
static enum status chat_messages(struct arena *arena, const struct wire_generate *in,
                                 struct tmpl_value *out, char *why)
{
    struct tmpl_value *items = arena_alloc_zero(arena, in->roles.n, sizeof(*items));
    enum status status = items ? STATUS_OK : STATUS_NO_MEMORY;

    for (size_t i = 0; i < in->roles.n && status == STATUS_OK; i++) {
        const struct wire_span role = in->roles.at[i], content = in->contents.at[i];
        struct tmpl_pair pairs[2] = {{.key = word("role")}, {.key = word("content")}};

        status = tmpl_string_make(arena, role.at, role.len, &pairs[0].value);
        if (status == STATUS_OK)
            status = tmpl_string_make(arena, content.at, content.len, &pairs[1].value);
        if (status == STATUS_MALFORMED) {
            snprintf(why, WIRE_ERROR_MAX, "message %zu of the chat is not UTF-8", i);
            return STATUS_INVALID;
        }
        if (status == STATUS_OK)
            status = tmpl_dict_make(arena, pairs, 2, &items[i]);
    }
    if (status == STATUS_OK)
        status = tmpl_list_make(arena, items, in->roles.n, out);
    if (status != STATUS_OK)
        snprintf(why, WIRE_ERROR_MAX, "the chat does not fit: %s", status_text(status));
    return status;
}

/* What Hugging Face's apply_chat_template gives to a template. */
static enum status chat_vars(const struct prompt_reader *reader, struct arena *arena,
                             struct tmpl_value messages, struct tmpl_value *out)
{
    const struct tmpl_value *own = reader->tmpl_vars;
    const size_t n_own = own ? own->dict->n : 0;
    struct tmpl_pair *pairs = arena_alloc_zero(arena, n_own + 4, sizeof(*pairs));

    if (!pairs)
        return STATUS_NO_MEMORY;
    if (n_own > 0)
        memcpy(pairs, own->dict->pairs, n_own * sizeof(*pairs));
    pairs[n_own] = (struct tmpl_pair){word("messages"), messages};
    pairs[n_own + 1] = (struct tmpl_pair){word("tools"), tmpl_none()};
    pairs[n_own + 2] = (struct tmpl_pair){word("documents"), tmpl_none()};
    pairs[n_own + 3] = (struct tmpl_pair){word("add_generation_prompt"), tmpl_bool(true)};
    return tmpl_dict_make(arena, pairs, n_own + 4, out);
}

/* The sentence is the template's own where it refuses its input. */
static void chat_why(const struct template_error *error, enum status status, char *why)
{
    if (error->raised || error->line == 0)
        snprintf(why, WIRE_ERROR_MAX, "the chat template refuses these messages: %s",
                 error->text[0] ? error->text : status_text(status));
    else
        snprintf(why, WIRE_ERROR_MAX, "the chat template fails in line %u: %s", error->line,
                 error->text);
}

enum status prompt_render(const struct prompt_reader *reader, int64_t now_unix_s,
                          const struct tmpl_value *vars, struct buf *out, char *why)
{
    const struct template_options options = {
        .now_unix_s = now_unix_s,
        .steps_max = CHAT_STEPS_MAX,
        .memory_bytes_max = CHAT_MEMORY_MAX,
        .output_bytes_max = PROMPT_TEXT_MAX,
    };
    struct template_error error = {0};
    enum status status;

    if (!reader->tmpl) {
        snprintf(why, WIRE_ERROR_MAX,
                 "this model has no chat template: send it a text (over HTTP POST /v1/completions, "
                 "with baton chat --raw) or tokens");
        return STATUS_INVALID;
    }
    status = template_render(reader->tmpl, vars, &options, &error, out);
    if (status != STATUS_OK)
        chat_why(&error, status, why);
    return status;
}

/* ---- ids ---- */

enum status prompt_encode(const struct prompt_reader *reader, struct tokenizer_workspace *work,
                          const char *text, size_t len, int flags, struct wire_u32s *out, char *why)
{
    enum status status = tokenizer_encode(reader->tok, text, len, flags, work, &out->at, &out->n);

    snprintf(why, WIRE_ERROR_MAX, "the text cannot be made into tokens");
    if (status == STATUS_OK && out->n == 0)
        snprintf(why, WIRE_ERROR_MAX, "the prompt is empty: expected at least one token");
    if (status == STATUS_OK && (out->n == 0 || out->n > WIRE_TOKENS_MAX))
        status = out->n == 0 ? STATUS_INVALID : STATUS_TOO_BIG;
    if (status == STATUS_TOO_BIG)
        snprintf(why, WIRE_ERROR_MAX,
                 "the text has more tokens than a request may have: shorten it");
    return status == STATUS_OK ? wire_ids_check("the prompt's ids", *out, reader->vocab, why)
                               : status;
}

/* The template has written the special tokens itself: none are added. */
static enum status read_chat(const struct prompt_reader *reader, struct tokenizer_workspace *work,
                             int64_t now_unix_s, const struct wire_generate *in,
                             struct wire_u32s *out, char *why)
{
    struct tmpl_value messages, vars;
    struct arena *arena;
    struct buf text;
    enum status status;

    if (in->roles.n != in->contents.n) {
        snprintf(why, WIRE_ERROR_MAX, "roles has %zu elements and contents %zu: expected as many",
                 in->roles.n, in->contents.n);
        return STATUS_INVALID;
    }
    snprintf(why, WIRE_ERROR_MAX, "the router is out of memory");
    if (arena_create(CHAT_ARENA_CHUNK, CHAT_INPUT_MAX, &arena) != STATUS_OK)
        return STATUS_NO_MEMORY;
    buf_init(&text, PROMPT_TEXT_MAX);
    status = chat_messages(arena, in, &messages, why);
    if (status == STATUS_OK)
        status = chat_vars(reader, arena, messages, &vars);
    if (status == STATUS_OK)
        status = prompt_render(reader, now_unix_s, &vars, &text, why);
    if (status == STATUS_OK)
        status = prompt_encode(reader, work, (const char *)buf_data(&text), buf_len(&text),
                               TOKENIZER_PARSE_SPECIAL, out, why);
    buf_fini(&text);
    arena_destroy(arena);
    return status;
}

enum status prompt_read(const struct prompt_reader *reader, struct tokenizer_workspace *work,
                        int64_t now_unix_s, const struct wire_generate *in, struct wire_u32s *out,
                        char *why)
{
    const bool chat = in->roles.n > 0 || in->contents.n > 0;

    if ((in->tokens.n > 0) + (in->text.len > 0) + chat != 1) {
        snprintf(why, WIRE_ERROR_MAX,
                 "generate: expected exactly one of tokens, text, and roles with contents, and not "
                 "empty");
        return STATUS_INVALID;
    }
    if (chat)
        return read_chat(reader, work, now_unix_s, in, out, why);
    if (in->text.len > 0)
        return prompt_encode(reader, work, in->text.at, in->text.len, TOKENIZER_ADD_SPECIAL, out,
                             why);
    *out = in->tokens;
    return wire_ids_check("tokens", *out, reader->vocab, why);
}
