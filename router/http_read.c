/* From a body to what the core can take: JSON, the chat template, ids. On the clerk's thread: here
 * nothing may be touched but the call itself and what the door keeps for this thread. */
#include <stdio.h>
#include <string.h>

#include "model/tmpl_value.h"
#include "model/tokenizer.h"
#include "router/http_call.h"
#include "router/openai_info.h"

static enum status fail(struct call *call, enum status status, const char *why)
{
    openai_error_of_status(status, wire_span_of(why), 0, &call->error);
    return status;
}

struct wire_span call_id_text(struct detokenizer *detok, uint32_t id)
{
    struct wire_span text = {"", 0};

    detokenizer_reset(detok);
    if (detokenizer_push(detok, id, &text.at, &text.len) != STATUS_OK)
        return (struct wire_span){"", 0};
    if (text.len == 0 && detokenizer_flush(detok, &text.at, &text.len) != STATUS_OK)
        return (struct wire_span){"", 0};
    return text;
}

static enum status keep_ids(struct call *call, struct wire_u32s ids, struct call_prompt *prompt)
{
    uint32_t *copy = arena_memdup(call->arena, ids.at, ids.n * sizeof(*copy));

    if (!copy)
        return fail(call, STATUS_NO_MEMORY, "");
    prompt->ids = (struct wire_u32s){copy, ids.n};
    return STATUS_OK;
}

/* ---- prompts ---- */

static enum status encode(struct call *call, struct wire_span text, int flags,
                          struct call_prompt *prompt)
{
    const struct http_door *door = call->door;
    char why[WIRE_ERROR_MAX + 1];
    struct wire_u32s ids;
    enum status status =
        prompt_encode(door->cfg.reader, door->work, text.at, text.len, flags, &ids, why);

    /* An empty text has no ids, which tokenize may say. */
    if (text.len == 0 && call->api == OPENAI_TOKENIZE && status == STATUS_INVALID) {
        prompt->ids = (struct wire_u32s){NULL, 0};
        return STATUS_OK;
    }
    return status == STATUS_OK ? keep_ids(call, ids, prompt) : fail(call, status, why);
}

/* The content of the last message; openai_request makes every content a text. */
static struct wire_span last_content(const struct call *call)
{
    const struct tmpl_value *messages = &call->req.messages;
    const struct tmpl_dict *last = messages->items[messages->len - 1].dict;

    for (uint32_t i = 0; i < last->n; i++) {
        const struct tmpl_pair *pair = &last->pairs[i];

        if (pair->value.kind == TMPL_STRING && pair->key.len == 7 &&
            memcmp(pair->key.text, "content", 7) == 0)
            return (struct wire_span){pair->value.text, pair->value.len};
    }
    return (struct wire_span){"", 0};
}

/* Where what the template wrote behind the last message begins: there the model goes on. */
static enum status cut_behind_last(struct call *call, struct wire_span *text)
{
    struct wire_span content = last_content(call);

    while (content.len > 0 && strchr(" \t\r\n", content.at[content.len - 1]))
        content.len--; /* templates trim */
    for (size_t at = text->len; at >= content.len && content.len > 0; at--)
        if (memcmp(text->at + at - content.len, content.at, content.len) == 0) {
            text->len = at;
            return STATUS_OK;
        }
    return fail(call, STATUS_INVALID,
                "continue_final_message: the last message's content is not in what the model's "
                "chat template writes");
}

static enum status read_chat(struct call *call, struct call_prompt *prompt)
{
    const struct http_door *door = call->door;
    const int flags =
        TOKENIZER_PARSE_SPECIAL | (call->req.add_special_tokens ? TOKENIZER_ADD_SPECIAL : 0);
    char why[WIRE_ERROR_MAX + 1] = "";
    struct tmpl_value vars;
    struct wire_span text;
    struct buf rendered;
    enum status status =
        openai_template_vars(&call->req, door->cfg.reader->tmpl_vars, call->arena, &vars);

    if (status != STATUS_OK)
        return fail(call, status, "");
    buf_init(&rendered, PROMPT_TEXT_MAX);
    status = prompt_render(door->cfg.reader, call->created, &vars, &rendered, why);
    text = (struct wire_span){(const char *)buf_data(&rendered), buf_len(&rendered)};
    if (status != STATUS_OK)
        (void)fail(call, status, why);
    else if (call->req.continue_final_message)
        status = cut_behind_last(call, &text);
    if (status == STATUS_OK)
        status = encode(call, text, flags, prompt);
    buf_fini(&rendered);
    return status;
}

/* The ids' text, for echo. */
static enum status echo_ids(struct call *call, struct call_prompt *prompt)
{
    struct detokenizer *detok = call->door->clerk_detok;
    struct buf text;
    const char *piece;
    size_t len;
    enum status status = STATUS_OK;

    buf_init(&text, PROMPT_TEXT_MAX);
    detokenizer_reset(detok);
    for (size_t i = 0; i < prompt->ids.n && status == STATUS_OK; i++) {
        status = detokenizer_push(detok, prompt->ids.at[i], &piece, &len);
        if (status == STATUS_OK)
            status = buf_append(&text, piece, len);
    }
    if (status == STATUS_OK)
        status = detokenizer_flush(detok, &piece, &len);
    if (status == STATUS_OK)
        status = buf_append(&text, piece, len);
    if (status == STATUS_OK) {
        prompt->text.len = buf_len(&text);
        prompt->text.at = arena_memdup(call->arena, buf_data(&text), buf_len(&text));
        status = prompt->text.at ? STATUS_OK : STATUS_NO_MEMORY;
    }
    buf_fini(&text);
    return status == STATUS_OK ? status : fail(call, status, "");
}

static enum status read_prompt(struct call *call, const struct openai_prompt *in,
                               struct call_prompt *prompt)
{
    const int flags = call->req.add_special_tokens ? TOKENIZER_ADD_SPECIAL : 0;
    const bool needs_text = call->req.echo || call->api == OPENAI_DETOKENIZE;

    prompt->text = in->text;
    if (in->ids.n == 0 && call->api != OPENAI_DETOKENIZE)
        return encode(call, in->text, flags, prompt);
    prompt->ids = in->ids;
    return needs_text ? echo_ids(call, prompt) : STATUS_OK;
}

/* Words that are one id become ids that may not come; others cannot be forbidden id by id. */
static enum status read_bad_words(struct call *call)
{
    const struct http_door *door = call->door;
    struct openai_request *req = &call->req;
    const size_t n = req->sampling.bad_ids.n, n_words = req->bad_words.n;
    uint32_t *ids;

    if (n_words == 0)
        return STATUS_OK;
    ids = arena_alloc(call->arena, (n + n_words) * sizeof(*ids));
    if (!ids)
        return fail(call, STATUS_NO_MEMORY, "");
    if (n > 0)
        memcpy(ids, req->sampling.bad_ids.at, n * sizeof(*ids));
    for (size_t i = 0; i < n_words; i++) {
        char why[WIRE_ERROR_MAX + 1];
        struct wire_u32s one = {NULL, 0};

        (void)prompt_encode(door->cfg.reader, door->work, req->bad_words.at[i].at,
                            req->bad_words.at[i].len, 0, &one, why);
        if (one.n != 1)
            return fail(call, STATUS_INVALID,
                        "bad_words: only words that are one token can be forbidden here");
        ids[n + i] = one.at[0];
    }
    req->sampling.bad_ids = (struct wire_u32s){ids, n + n_words};
    return STATUS_OK;
}

/* ---- the small answers ---- */

static enum status write_tokens(struct call *call)
{
    const struct wire_u32s ids = call->prompts[0].ids;
    struct wire_texts strs = {NULL, 0};
    enum status status;

    if (call->req.token_strs && ids.n > 0) {
        struct wire_span *texts = arena_alloc(call->arena, ids.n * sizeof(*texts));

        for (size_t i = 0; texts && i < ids.n; i++) {
            char piece[TOKENIZER_PIECE_MAX];
            const size_t len =
                tokenizer_piece(call->door->cfg.reader->tok, ids.at[i], piece, sizeof(piece));

            texts[i] = (struct wire_span){arena_memdup(call->arena, piece, len), len};
            if (!texts[i].at)
                texts = NULL;
        }
        if (!texts)
            return fail(call, STATUS_NO_MEMORY, "");
        strs = (struct wire_texts){texts, ids.n};
    }
    status = openai_info_tokenized(ids, strs, call->len_max, &call->reply);
    return status == STATUS_OK ? status : fail(call, status, "");
}

static enum status write_text(struct call *call)
{
    const enum status status = openai_info_detokenized(call->prompts[0].text, &call->reply);

    return status == STATUS_OK ? status : fail(call, status, "");
}

/* ---- all of it ---- */

static enum status read_all(struct call *call)
{
    const struct http_door *door = call->door;
    const struct openai_request_cfg cfg = {.vocab = door->cfg.reader->vocab,
                                           .defaults = door->cfg.defaults};
    enum status status = openai_request_read(&cfg, call->api, call->body.at, call->body.len,
                                             call->arena, &call->error, &call->req);

    if (status != STATUS_OK)
        return status;
    call->n_prompts = call->req.is_chat ? 1 : call->req.n_prompts;
    call->prompts = arena_alloc_zero(call->arena, call->n_prompts, sizeof(*call->prompts));
    if (!call->prompts)
        return fail(call, STATUS_NO_MEMORY, "");
    if (call->req.is_chat)
        status = read_chat(call, &call->prompts[0]);
    for (size_t i = 0; !call->req.is_chat && i < call->n_prompts && status == STATUS_OK; i++)
        status = read_prompt(call, &call->req.prompts[i], &call->prompts[i]);
    if (status == STATUS_OK)
        status = read_bad_words(call);
    if (status == STATUS_OK && call->api == OPENAI_TOKENIZE)
        status = write_tokens(call);
    else if (status == STATUS_OK && call->api == OPENAI_DETOKENIZE)
        status = write_text(call);
    return status;
}

void call_read(struct clerk_job *job)
{
    struct call *call = (struct call *)job;

    call->status = read_all(call);
}
