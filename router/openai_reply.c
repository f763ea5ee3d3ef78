/* See openai_reply.h. Each writer runs twice (json_pen.h), so it must not depend on anything but
 * its arguments. */
#include "router/openai_reply.h"

#include <stdio.h>
#include <string.h>

#include "router/json_pen.h"

#define TOKEN_NAME_MAX 24 /* "token_id:4294967295" */

struct openai_answer openai_answer_of(const struct openai_request *req)
{
    return (struct openai_answer){
        .api = req->api,
        .logprobs = req->logprobs,
        .token_ids = req->return_token_ids,
        .tokens_as_ids = req->tokens_as_ids,
        .include_usage = req->include_usage,
        .continuous_usage = req->continuous_usage,
    };
}

void openai_id_write(const struct openai_request *req, const struct wire_id *id,
                     char out[OPENAI_ID_MAX])
{
    int n = snprintf(out, OPENAI_ID_MAX, "%s-", req->api == OPENAI_CHAT ? "chatcmpl" : "cmpl");

    if (req->request_id.len > 0) {
        snprintf(out + n, OPENAI_ID_MAX - (size_t)n, "%.*s", (int)req->request_id.len,
                 req->request_id.at);
        return;
    }
    for (size_t i = 0; i < sizeof(id->byte); i++) {
        n += snprintf(out + n, OPENAI_ID_MAX - (size_t)n, "%02x", id->byte[i]);
    }
}

/* ---- logprobs ------------------------------------------------------------------------------- */

static double bounded(double logprob)
{
    return logprob > OPENAI_LOGPROB_MIN ? logprob : OPENAI_LOGPROB_MIN;
}

/* A token as a string: its text, or its id where the client wants that. */
static void pen_token(struct json_pen *pen, const struct openai_answer *answer, uint32_t id,
                      struct wire_span text)
{
    char name[TOKEN_NAME_MAX];

    if (answer->tokens_as_ids) {
        snprintf(name, sizeof(name), "token_id:%u", id);
        text = wire_span_of(name);
    }
    pen_text(pen, text);
}

static void pen_chat_token(struct json_pen *pen, const struct openai_answer *answer, uint32_t id,
                           struct wire_span text, double logprob)
{
    pen_str(pen, "{\"token\":");
    pen_token(pen, answer, id, text);
    pen_str(pen, ",\"logprob\":");
    pen_f64(pen, bounded(logprob));
    pen_str(pen, ",\"bytes\":");
    pen_bytes(pen, text);
}

static void pen_chat_logprobs(struct json_pen *pen, const struct openai_answer *answer,
                              const struct openai_piece *piece)
{
    pen_str(pen, "{\"content\":[");
    for (size_t i = 0; i < piece->n_tokens; i++) {
        const struct openai_token *token = &piece->tokens[i];

        pen_str(pen, i > 0 ? "," : "");
        pen_chat_token(pen, answer, token->id, token->text, token->logprob);
        pen_str(pen, ",\"top_logprobs\":[");
        for (size_t k = 0; k < token->n_tops; k++) {
            const struct openai_top *top = &token->tops[k];

            pen_str(pen, k > 0 ? "," : "");
            pen_chat_token(pen, answer, top->id, top->text, top->logprob);
            pen_str(pen, "}");
        }
        pen_str(pen, "]}");
    }
    pen_str(pen, "],\"refusal\":null}");
}

/* Two ids may have one text, or both none that is UTF-8: an object with a name twice would be read
 * by chance. */
static bool named_before(const struct openai_answer *answer, const struct openai_token *token,
                         size_t n, uint32_t id, struct wire_span text)
{
    for (size_t i = 0; i < n; i++) {
        if (token->tops[i].id == id ||
            (!answer->tokens_as_ids && pen_equal(token->tops[i].text, text))) {
            return true;
        }
    }
    return false;
}

/* The likeliest by name, and the token itself if it is none of them. */
static void pen_top_object(struct json_pen *pen, const struct openai_answer *answer,
                           const struct openai_token *token)
{
    bool any = false;

    pen_str(pen, "{");
    for (size_t i = 0; i < token->n_tops; i++) {
        const struct openai_top *top = &token->tops[i];

        if (named_before(answer, token, i, top->id, top->text)) {
            continue;
        }
        pen_str(pen, any ? "," : "");
        pen_token(pen, answer, top->id, top->text);
        pen_str(pen, ":");
        pen_f64(pen, bounded(top->logprob));
        any = true;
    }
    if (!named_before(answer, token, token->n_tops, token->id, token->text)) {
        pen_str(pen, any ? "," : "");
        pen_token(pen, answer, token->id, token->text);
        pen_str(pen, ":");
        pen_f64(pen, bounded(token->logprob));
    }
    pen_str(pen, "}");
}

static void pen_completion_logprobs(struct json_pen *pen, const struct openai_answer *answer,
                                    const struct openai_piece *piece)
{
    const struct openai_token *tokens = piece->tokens;
    const size_t n = piece->n_tokens;

    pen_str(pen, "{\"tokens\":[");
    for (size_t i = 0; i < n; i++) {
        pen_str(pen, i > 0 ? "," : "");
        pen_token(pen, answer, tokens[i].id, tokens[i].text);
    }
    pen_str(pen, "],\"token_logprobs\":[");
    for (size_t i = 0; i < n; i++) {
        pen_str(pen, i > 0 ? "," : "");
        pen_f64(pen, bounded(tokens[i].logprob));
    }
    pen_str(pen, "],\"top_logprobs\":[");
    for (size_t i = 0; i < n; i++) {
        pen_str(pen, i > 0 ? "," : "");
        pen_top_object(pen, answer, &tokens[i]);
    }
    pen_str(pen, "],\"text_offset\":[");
    for (size_t i = 0; i < n; i++) {
        pen_str(pen, i > 0 ? "," : "");
        pen_u64(pen, tokens[i].offset);
    }
    pen_str(pen, "]}");
}

/* ---- choices -------------------------------------------------------------------------------- */

static void pen_calls(struct json_pen *pen, const struct openai_piece *piece, bool chunk)
{
    pen_str(pen, "\"tool_calls\":[");
    for (size_t i = 0; i < piece->n_calls; i++) {
        const struct openai_call *call = &piece->calls[i];
        const bool begins = call->id.len > 0 || call->name.len > 0;

        pen_str(pen, i > 0 ? ",{" : "{");
        if (chunk) {
            pen_str(pen, "\"index\":");
            pen_u64(pen, call->index);
            pen_str(pen, ",");
        }
        if (begins) {
            pen_member(pen, "id", call->id);
            pen_str(pen, ",\"type\":\"function\",\"function\":{");
            pen_member(pen, "name", call->name);
            pen_str(pen, ",");
        } else {
            pen_str(pen, "\"function\":{");
        }
        pen_member(pen, "arguments", call->arguments);
        pen_str(pen, "}}");
    }
    pen_str(pen, "]");
}

static void pen_delta(struct json_pen *pen, const struct openai_piece *piece)
{
    const bool has_text = piece->text.len > 0 || (piece->first && piece->n_calls == 0);

    pen_str(pen, ",\"delta\":{");
    if (piece->first) {
        pen_str(pen, "\"role\":\"assistant\"");
    }
    if (has_text) {
        pen_str(pen, piece->first ? "," : "");
        pen_member(pen, "content", piece->text);
    }
    if (piece->n_calls > 0) {
        pen_str(pen, piece->first || has_text ? "," : "");
        pen_calls(pen, piece, true);
    }
    pen_str(pen, "}");
}

static void pen_message(struct json_pen *pen, const struct openai_piece *piece)
{
    pen_str(pen, ",\"message\":{\"role\":\"assistant\",");
    if (piece->n_calls > 0) {
        pen_member_or_null(pen, "content", piece->text);
        pen_str(pen, ",\"refusal\":null,");
        pen_calls(pen, piece, false);
    } else {
        pen_member(pen, "content", piece->text);
        pen_str(pen, ",\"refusal\":null");
    }
    pen_str(pen, "}");
}

static void pen_end(struct json_pen *pen, const struct openai_piece *piece)
{
    pen_str(pen, ",");
    pen_member_or_null(pen, "finish_reason", wire_span_of(piece->finish ? piece->finish : ""));
    if (piece->finish == NULL) {
        return;
    }
    if (piece->stop_text.len == 0 && piece->stop_id != OPENAI_STOP_ID_NONE) {
        pen_str(pen, ",\"stop_reason\":");
        pen_i64(pen, piece->stop_id);
    } else {
        pen_str(pen, ",");
        pen_member_or_null(pen, "stop_reason", piece->stop_text);
    }
}

static void pen_token_ids(struct json_pen *pen, const struct openai_piece *piece)
{
    pen_str(pen, ",\"token_ids\":[");
    for (size_t i = 0; i < piece->n_tokens; i++) {
        pen_str(pen, i > 0 ? "," : "");
        pen_u64(pen, piece->tokens[i].id);
    }
    pen_str(pen, "]");
}

static void pen_choice(struct json_pen *pen, const struct openai_answer *answer,
                       const struct openai_piece *piece, bool chunk)
{
    const bool is_chat = answer->api == OPENAI_CHAT;

    pen_str(pen, "{\"index\":");
    pen_u64(pen, piece->index);
    if (!is_chat) {
        pen_str(pen, ",");
        pen_member(pen, "text", piece->text);
    } else if (chunk) {
        pen_delta(pen, piece);
    } else {
        pen_message(pen, piece);
    }
    pen_str(pen, ",\"logprobs\":");
    if (!answer->logprobs || (chunk && piece->n_tokens == 0)) {
        pen_str(pen, "null");
    } else if (is_chat) {
        pen_chat_logprobs(pen, answer, piece);
    } else {
        pen_completion_logprobs(pen, answer, piece);
    }
    pen_end(pen, piece);
    if (answer->token_ids) {
        if (!is_chat && (piece->first || !chunk)) {
            pen_str(pen, ",\"prompt_token_ids\":");
            pen_u32s(pen, piece->prompt_ids);
        }
        pen_token_ids(pen, piece);
    }
    pen_str(pen, "}");
}

/* ---- objects -------------------------------------------------------------------------------- */

static void pen_usage(struct json_pen *pen, const struct openai_usage *usage)
{
    pen_str(pen, "{\"prompt_tokens\":");
    pen_u64(pen, usage->prompt_tokens);
    pen_str(pen, ",\"completion_tokens\":");
    pen_u64(pen, usage->completion_tokens);
    pen_str(pen, ",\"total_tokens\":");
    pen_u64(pen, (uint64_t)usage->prompt_tokens + usage->completion_tokens);
    pen_str(pen, ",\"prompt_tokens_details\":{\"cached_tokens\":");
    pen_u64(pen, usage->cached_tokens);
    pen_str(pen, "}}");
}

/* Up to and with the opening of choices. */
static void pen_head(struct json_pen *pen, const struct openai_answer *answer, const char *object)
{
    pen_str(pen, "{");
    pen_member(pen, "id", answer->id);
    pen_str(pen, ",\"object\":\"");
    pen_str(pen, object);
    pen_str(pen, "\",\"created\":");
    pen_i64(pen, answer->created);
    pen_str(pen, ",");
    pen_member(pen, "model", answer->model);
    pen_str(pen, ",");
    pen_member_or_null(pen, "system_fingerprint", answer->fingerprint);
    pen_str(pen, ",\"seed\":");
    pen_i64(pen, (int64_t)answer->seed);
    pen_str(pen, ",\"choices\":[");
}

struct job {
    const struct openai_answer *answer;
    const struct openai_piece *pieces; /* [n] */
    size_t n;
    const struct openai_usage *usage;
};

static void write_whole(struct json_pen *pen, const void *what)
{
    const struct job *job = what;
    const bool is_chat = job->answer->api == OPENAI_CHAT;

    pen_head(pen, job->answer, is_chat ? "chat.completion" : "text_completion");
    for (size_t i = 0; i < job->n; i++) {
        pen_str(pen, i > 0 ? "," : "");
        pen_choice(pen, job->answer, &job->pieces[i], false);
    }
    pen_str(pen, "]");
    if (is_chat && job->answer->token_ids && job->n > 0) {
        pen_str(pen, ",\"prompt_token_ids\":");
        pen_u32s(pen, job->pieces[0].prompt_ids);
    }
    pen_str(pen, ",\"usage\":");
    pen_usage(pen, job->usage);
    pen_str(pen, "}");
}

static void write_chunk(struct json_pen *pen, const void *what)
{
    const struct job *job = what;
    const struct openai_answer *answer = job->answer;
    const bool is_chat = answer->api == OPENAI_CHAT;

    pen_str(pen, "data: ");
    pen_head(pen, answer, is_chat ? "chat.completion.chunk" : "text_completion");
    if (job->n > 0) {
        pen_choice(pen, answer, job->pieces, true);
    }
    pen_str(pen, "]");
    if (is_chat && answer->token_ids && job->n > 0 && job->pieces->first) {
        pen_str(pen, ",\"prompt_token_ids\":");
        pen_u32s(pen, job->pieces->prompt_ids);
    }
    if (job->usage != NULL && (job->n == 0 || answer->continuous_usage)) {
        pen_str(pen, ",\"usage\":");
        pen_usage(pen, job->usage);
    } else if (answer->include_usage) {
        pen_str(pen, ",\"usage\":null");
    }
    pen_str(pen, "}\n\n");
}

enum status openai_reply_whole(const struct openai_answer *answer,
                               const struct openai_piece *choices, size_t n,
                               const struct openai_usage *usage, struct buf *out)
{
    const struct job job = {answer, choices, n, usage};

    return pen_append(out, write_whole, &job);
}

enum status openai_reply_chunk(const struct openai_answer *answer, const struct openai_piece *piece,
                               const struct openai_usage *usage, struct buf *out)
{
    const struct job job = {answer, piece, 1, usage};

    return pen_append(out, write_chunk, &job);
}

enum status openai_reply_usage(const struct openai_answer *answer, const struct openai_usage *usage,
                               struct buf *out)
{
    const struct job job = {answer, NULL, 0, usage};

    return pen_append(out, write_chunk, &job);
}

enum status openai_reply_done(struct buf *out)
{
    return buf_append_str(out, "data: [DONE]\n\n");
}
