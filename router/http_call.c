/* The life of a call on the loop's thread. What has come of a choice lies in the choice until it is
 * sent: a stream sends it with each message, an answer as a whole at the end; so both are the same
 * code up to there. */
#include "router/http_call.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/idmap.h"
#include "base/mem.h"
#include "base/rand.h"
#include "model/tokenizer.h"
#include "router/json_pen.h"

#define JSON_TYPE "application/json"
#define EVENTS_TYPE "text/event-stream; charset=utf-8"
#define EVENTS_HEADERS "Cache-Control: no-cache\r\nX-Accel-Buffering: no\r\n"
#define HEADERS_MAX 512u
#define BODY_MAX (CALL_TEXT_MAX + (CALL_TEXT_MAX >> 1))
#define SEED_MASK ((UINT64_C(1) << 53) - 1) /* drawn ones: every client's numbers hold them */

static void post(struct call *call, const struct wire_msg *msg)
{
    router_message(call->door->core, ROUTER_DOOR_CLIENT, call->link, msg,
                   loop_now_ns(call->door->loop));
}

static const char *label_header(struct wire_span label, char out[HEADERS_MAX])
{
    out[0] = '\0';
    if (label.len > 0)
        snprintf(out, HEADERS_MAX, "X-Request-Id: %.*s\r\n", (int)label.len, label.at);
    return out;
}

/* ---- errors ---- */

void call_refuse(struct http_conn *conn, const struct openai_error *error, struct wire_span label)
{
    char headers[HEADERS_MAX];
    struct buf body;
    size_t len;

    (void)label_header(label, headers);
    len = strlen(headers);
    if (error->retry_s > 0)
        snprintf(headers + len, sizeof(headers) - len, "Retry-After: %u\r\n", error->retry_s);
    else if (error->http == 401)
        snprintf(headers + len, sizeof(headers) - len, "WWW-Authenticate: Bearer\r\n");
    buf_init(&body, 4 * sizeof(*error));
    (void)openai_error_body(error, &body);
    http_reply(conn, (unsigned)error->http, JSON_TYPE, headers, buf_data(&body), buf_len(&body));
    buf_fini(&body);
}

static void refuse_status(struct http_conn *conn, enum status status, uint32_t retry_ms,
                          const char *why, struct wire_span label)
{
    struct openai_error error;

    openai_error_of_status(status, wire_span_of(why), retry_ms, &error);
    call_refuse(conn, &error, label);
}

/* ---- ends ---- */

void call_free(struct call *call)
{
    struct http_door *door = call->door;
    const struct idmap_key key = idmap_key((uint8_t[16]){0}, call->link);
    uint32_t idx;

    if (idmap_remove(door->links, &key, &idx) == STATUS_OK) {
        door->calls[idx] = NULL;
        door->free_calls[door->n_free_calls++] = idx;
    }
    for (uint32_t i = 0; i < call->n_choices; i++) {
        tool_calls_destroy(call->choices[i].tools);
        buf_fini(&call->choices[i].text);
    }
    buf_fini(&call->reply);
    arena_destroy(call->arena);
    mem_free(call);
}

static void cancel(struct call *call, const struct choice *choice)
{
    struct wire_msg msg;

    wire_msg_init(&msg, WIRE_KIND_CANCEL);
    msg.req = choice->req;
    msg.cancel.resume = choice->resume;
    post(call, &msg);
}

/* Nobody waits for the answer any more. What is not accepted yet is cancelled when it is. */
static void begin_ending(struct call *call)
{
    call->state = CALL_ENDING;
    call->conn = NULL;
    for (uint32_t i = 0; i < call->n_choices; i++)
        if (call->choices[i].accepted && !call->choices[i].ended)
            cancel(call, &call->choices[i]);
}

void call_gone(struct call *call)
{
    call->conn = NULL;
    if (call->state == CALL_RUNNING)
        begin_ending(call);
}

/* The answer ends with an error. */
static void fail(struct call *call, const struct openai_error *error)
{
    struct http_door *door = call->door;

    if (call->state != CALL_RUNNING)
        return;
    if (!call->streaming) {
        call_refuse(call->conn, error, call->label);
    } else {
        buf_clear(&door->out);
        (void)openai_error_event(error, &door->out);
        (void)http_stream_write(call->conn, buf_data(&door->out), buf_len(&door->out));
        http_stream_end(call->conn);
    }
    begin_ending(call);
}

static void fail_status(struct call *call, enum status status, struct wire_span text,
                        uint32_t retry_ms)
{
    struct openai_error error;

    openai_error_of_status(status, text, retry_ms, &error);
    fail(call, &error);
}

/* ---- sending ---- */

static struct openai_usage usage_of(const struct call *call)
{
    struct openai_usage usage = {0};

    for (uint32_t i = 0; i < call->n_choices; i++) {
        usage.completion_tokens += call->choices[i].n_tokens;
        if (i % call->req.n == 0)
            usage.prompt_tokens += call->choices[i].n_prompt;
    }
    return usage;
}

/* One event; false where the stream is over. */
static bool send_event(struct call *call, enum status status)
{
    char headers[HEADERS_MAX];

    if (status != STATUS_OK) {
        fail_status(call, status, (struct wire_span){"", 0}, 0);
        return false;
    }
    if (!call->streaming) {
        snprintf(headers, sizeof(headers), EVENTS_HEADERS);
        if (call->label.len > 0)
            snprintf(headers, sizeof(headers), EVENTS_HEADERS "X-Request-Id: %.*s\r\n",
                     (int)call->label.len, call->label.at);
        http_stream_begin(call->conn, 200, EVENTS_TYPE, headers);
        call->streaming = true;
    }
    return http_stream_write(call->conn, buf_data(&call->door->out), buf_len(&call->door->out));
}

static struct openai_piece piece_of(const struct call *call, struct choice *choice)
{
    const uint32_t index = (uint32_t)(choice - call->choices);

    return (struct openai_piece){
        .index = index,
        .first = !choice->begun,
        .text = {(const char *)buf_data(&choice->text), buf_len(&choice->text)},
        .tokens = choice->tokens,
        .n_tokens = choice->n_kept,
        .calls = choice->calls,
        .n_calls = choice->n_calls,
        .stop_id = OPENAI_STOP_ID_NONE,
        .prompt_ids = call->prompts[choice->prompt].ids,
    };
}

static void add_finish(const struct choice *choice, struct openai_piece *piece)
{
    piece->finish = choice->finish;
    piece->stop_text = choice->stop_text;
    piece->stop_id = choice->stop_id;
}

/* What has come since the last event, as an event. Nothing, unless it is the first, is none. */
static void stream_piece(struct call *call, struct choice *choice, bool finish)
{
    struct http_door *door = call->door;
    struct openai_piece piece = piece_of(call, choice);
    const struct openai_usage usage = usage_of(call);

    if (!finish && choice->begun && piece.text.len == 0 && piece.n_tokens == 0 &&
        piece.n_calls == 0)
        return;
    if (finish)
        add_finish(choice, &piece);
    choice->begun = true;
    buf_clear(&door->out);
    (void)send_event(call, openai_reply_chunk(&call->answer, &piece, &usage, &door->out));
    buf_clear(&choice->text);
    choice->n_kept = choice->n_calls = 0;
    choice->tokens = NULL;
    choice->calls = NULL;
    choice->cap_kept = 0;
}

static void reply_whole(struct call *call)
{
    struct openai_piece *pieces = arena_alloc_zero(call->arena, call->n_choices, sizeof(*pieces));
    const struct openai_usage usage = usage_of(call);
    char headers[HEADERS_MAX];
    enum status status = pieces ? STATUS_OK : STATUS_NO_MEMORY;
    struct buf body;

    buf_init(&body, BODY_MAX);
    for (uint32_t i = 0; pieces && i < call->n_choices; i++) {
        pieces[i] = piece_of(call, &call->choices[i]);
        add_finish(&call->choices[i], &pieces[i]);
    }
    if (status == STATUS_OK)
        status = openai_reply_whole(&call->answer, pieces, call->n_choices, &usage, &body);
    if (status != STATUS_OK)
        fail_status(call, status, (struct wire_span){"", 0}, 0);
    else
        http_reply(call->conn, 200, JSON_TYPE, label_header(call->label, headers), buf_data(&body),
                   buf_len(&body));
    buf_fini(&body);
}

static void end_stream(struct call *call)
{
    struct buf *out = &call->door->out;
    const struct openai_usage usage = usage_of(call);
    enum status status = STATUS_OK;

    buf_clear(out);
    if (call->answer.include_usage)
        status = openai_reply_usage(&call->answer, &usage, out);
    if (status == STATUS_OK)
        status = openai_reply_done(out);
    if (send_event(call, status))
        http_stream_end(call->conn);
    else if (call->conn)
        http_conn_cut(call->conn);
}

/* ---- what comes of a choice ---- */

/* Where what is kept of a choice lies: as long as the call, or as this message. */
static struct arena *room_of(const struct call *call)
{
    return call->req.stream ? call->door->scratch : call->arena;
}

static bool keep_text(struct arena *room, const char *at, size_t len, struct wire_span *out)
{
    out->at = arena_memdup(room, at, len);
    out->len = len;
    return out->at != NULL;
}

struct sink {
    struct call *call;
    struct choice *choice;
    bool full;
};

static bool add_call(struct sink *sink, const struct tool_event *event)
{
    struct arena *room = room_of(sink->call);
    struct choice *choice = sink->choice;
    struct openai_call *calls =
        arena_alloc(room, (choice->n_calls + 1) * sizeof(*calls)); /* few: copied each time */
    struct openai_call *call;
    char id[TOOL_ID_MAX + 1];
    uint8_t random[16];

    if (!calls)
        return false;
    if (choice->n_calls > 0)
        memcpy(calls, choice->calls, choice->n_calls * sizeof(*calls));
    choice->calls = calls;
    call = &calls[choice->n_calls++];
    *call = (struct openai_call){.index = event->index};
    if (event->id_len == 0) {
        rand_entropy(random, sizeof(random));
        tool_id_write(sink->call->door->cfg.tools, random, id);
    } else {
        snprintf(id, sizeof(id), "%.*s", (int)event->id_len, event->id);
    }
    return keep_text(room, id, strlen(id), &call->id) &&
           keep_text(room, event->text, event->len, &call->name);
}

static bool add_arguments(struct sink *sink, const struct tool_event *event)
{
    struct choice *choice = sink->choice;
    struct openai_call *call = &choice->calls[choice->n_calls - 1];

    return keep_text(room_of(sink->call), event->text, event->len, &call->arguments);
}

static void on_tool(void *ctx, const struct tool_event *event)
{
    struct sink *sink = *(struct sink **)ctx;
    const bool dropped = !sink->call->req.parallel_tool_calls && event->index > 0;
    bool ok = true;

    if (event->kind == TOOL_CONTENT)
        ok = buf_append(&sink->choice->text, event->text, event->len) == STATUS_OK;
    else if (event->kind == TOOL_CALL_BEGIN && !dropped)
        ok = add_call(sink, event);
    else if (event->kind == TOOL_CALL_ARGS && !dropped)
        ok = add_arguments(sink, event);
    sink->full |= !ok;
}

static bool take_text(struct call *call, struct choice *choice, struct wire_span text)
{
    struct sink sink = {.call = call, .choice = choice};

    if (!choice->tools)
        return buf_append(&choice->text, text.at, text.len) == STATUS_OK;
    call->sink = &sink;
    sink.full = tool_calls_push(choice->tools, text.at, text.len) != STATUS_OK || sink.full;
    return !sink.full;
}

static bool finish_text(struct call *call, struct choice *choice)
{
    struct sink sink = {.call = call, .choice = choice};

    if (!choice->tools)
        return true;
    call->sink = &sink;
    tool_calls_finish(choice->tools);
    if (tool_calls_n(choice->tools) > 0 && strcmp(choice->finish, "stop") == 0)
        choice->finish = "tool_calls";
    return !sink.full;
}

static bool keep_token(struct call *call, struct choice *choice, const struct wire_token *in)
{
    struct arena *room = room_of(call);
    struct detokenizer *detok = call->door->detok;
    struct openai_token *token;
    struct openai_top *tops;
    struct wire_span text;

    if (choice->n_kept == choice->cap_kept) {
        const size_t cap = choice->cap_kept ? 2 * choice->cap_kept : 16;
        struct openai_token *more = arena_alloc(room, cap * sizeof(*more));

        if (!more)
            return false;
        if (choice->n_kept > 0)
            memcpy(more, choice->tokens, choice->n_kept * sizeof(*more));
        choice->tokens = more;
        choice->cap_kept = cap;
    }
    tops = arena_alloc_zero(room, in->top_ids.n + 1, sizeof(*tops));
    if (!tops)
        return false;
    for (size_t i = 0; i < in->top_ids.n; i++) {
        tops[i].id = in->top_ids.at[i];
        memcpy(&tops[i].logprob, in->top_logprobs.at + i * sizeof(double), sizeof(double));
        text = call_id_text(detok, tops[i].id);
        if (!keep_text(room, text.at, text.len, &tops[i].text))
            return false;
    }
    token = &choice->tokens[choice->n_kept];
    *token = (struct openai_token){.id = in->token,
                                   .logprob = in->logprob,
                                   .offset = choice->n_chars,
                                   .tops = tops,
                                   .n_tops = in->top_ids.n};
    text = call_id_text(detok, in->token);
    if (!keep_text(room, text.at, text.len, &token->text))
        return false;
    choice->n_kept++;
    return true;
}

/* ---- the core's messages ---- */

static struct choice *choice_of_label(struct call *call, struct wire_span label)
{
    char text[16];
    unsigned long n;

    if (label.len == 0 || label.len >= sizeof(text))
        return NULL;
    memcpy(text, label.at, label.len);
    text[label.len] = '\0';
    n = strtoul(text, NULL, 10);
    return n < call->n_choices ? &call->choices[n] : NULL;
}

static struct choice *choice_of_req(struct call *call, const struct wire_id *req)
{
    for (uint32_t i = 0; i < call->n_choices; i++)
        if (call->choices[i].accepted && memcmp(&call->choices[i].req, req, sizeof(*req)) == 0)
            return &call->choices[i];
    return NULL;
}

static void take_accepted(struct call *call, struct choice *choice, const struct wire_msg *msg)
{
    choice->req = msg->req;
    choice->resume = msg->accepted.resume;
    choice->n_prompt = msg->accepted.prompt_tokens;
    choice->accepted = true;
    if (call->answer.id.len == 0) {
        openai_id_write(&call->req, &msg->req, call->id);
        call->answer.id = wire_span_of(call->id);
    }
    if (call->state == CALL_ENDING)
        cancel(call, choice);
}

static void take_token(struct call *call, struct choice *choice, const struct wire_token *token)
{
    choice->n_tokens++;
    if (call->state != CALL_RUNNING)
        return;
    if (((call->answer.logprobs || call->answer.token_ids) && !keep_token(call, choice, token)) ||
        !take_text(call, choice, token->text)) {
        fail_status(call, STATUS_NO_MEMORY, (struct wire_span){"", 0}, 0);
        return;
    }
    choice->n_chars += (uint32_t)pen_chars(token->text);
    if (call->req.stream)
        stream_piece(call, choice, false);
}

/* Of ids only those that the client named: an end of the model's own is no reason to tell. */
static bool keep_stop(struct call *call, struct choice *choice, const struct wire_done *done)
{
    const struct wire_u32s stops = call->req.sampling.stop_ids;

    for (size_t i = 0; i < stops.n; i++)
        if (stops.at[i] == done->stop_id)
            choice->stop_id = done->stop_id;
    return done->stop_text.len == 0 ||
           keep_text(call->arena, done->stop_text.at, done->stop_text.len, &choice->stop_text);
}

static void take_done(struct call *call, struct choice *choice, const struct wire_done *done)
{
    choice->ended = true;
    call->n_ended++;
    if (call->state != CALL_RUNNING)
        return;
    choice->finish = wire_span_equal(done->reason, wire_span_of("length")) ? "length" : "stop";
    if (!keep_stop(call, choice, done) || !finish_text(call, choice)) {
        fail_status(call, STATUS_NO_MEMORY, (struct wire_span){"", 0}, 0);
        return;
    }
    if (call->req.stream) {
        stream_piece(call, choice, false);
        if (call->state == CALL_RUNNING)
            stream_piece(call, choice, true);
    }
    if (call->state == CALL_RUNNING && call->n_ended == call->n_choices) {
        if (call->req.stream)
            end_stream(call);
        else
            reply_whole(call);
        call->state = CALL_ENDING;
    }
}

static void take_failed(struct call *call, struct choice *choice, const struct wire_failed *failed)
{
    choice->ended = true;
    call->n_ended++;
    fail_status(call, (enum status)failed->code, failed->text, failed->retry_ms);
}

/* msg lies in the core's list of messages, which may move when something is posted: whoever posts
 * has read it before. */
void call_take(struct call *call, const struct wire_msg *msg)
{
    struct choice *choice = NULL;

    arena_reset(call->door->scratch);
    if (msg->kind == WIRE_KIND_ACCEPTED)
        choice = choice_of_label(call, msg->accepted.label);
    else if (msg->kind == WIRE_KIND_FAILED)
        choice = choice_of_label(call, msg->failed.label);
    else if (msg->kind == WIRE_KIND_TOKEN || msg->kind == WIRE_KIND_DONE)
        choice = choice_of_req(call, &msg->req);
    if (!choice || choice->ended)
        return;
    if (msg->kind == WIRE_KIND_ACCEPTED)
        take_accepted(call, choice, msg);
    else if (msg->kind == WIRE_KIND_TOKEN)
        take_token(call, choice, &msg->token);
    else if (msg->kind == WIRE_KIND_DONE)
        take_done(call, choice, &msg->done);
    else
        take_failed(call, choice, &msg->failed);
    if (call->state == CALL_ENDING && call->n_ended == call->n_choices)
        call_free(call);
}

/* ---- beginning ---- */

/* The n-th answer's seed: of the first the one that was given. */
static uint64_t seed_of(uint64_t seed, uint32_t n)
{
    struct rand rng;

    if (n == 0)
        return seed;
    rand_init(&rng, seed + n);
    return rand_u64(&rng);
}

static void post_choice(struct call *call, uint32_t n)
{
    const struct openai_request *req = &call->req;
    const struct wire_u32s ids = call->prompts[call->choices[n].prompt].ids;
    char label[16];
    struct wire_msg msg;

    snprintf(label, sizeof(label), "%u", n);
    wire_msg_init(&msg, WIRE_KIND_GENERATE);
    msg.generate.label = wire_span_of(label);
    msg.generate.model = req->model;
    msg.generate.tokens = ids;
    msg.generate.sampling = req->sampling;
    msg.generate.deadline_ms = req->deadline_ms;
    msg.generate.seeded = true;
    msg.generate.seed = seed_of(call->answer.seed, n);
    msg.generate.stop = req->stops;
    msg.generate.include_stop = req->include_stop;
    msg.generate.keep_special =
        !req->skip_special_tokens || (req->parse_tool_calls && call->choices[n].tools);
    if (req->sampling.max_tokens == 0)
        msg.generate.sampling.max_tokens = ids.n < call->len_max ? call->len_max - (uint32_t)ids.n
                                                                 : 1; /* is refused by the core */
    post(call, &msg);
}

static enum status choices_create(struct call *call)
{
    const uint32_t n_choices = (uint32_t)(call->n_prompts * call->req.n);
    struct choice *choices = arena_alloc_zero(call->arena, n_choices, sizeof(*choices));

    if (!choices)
        return STATUS_NO_MEMORY;
    call->choices = choices;
    for (uint32_t i = 0; i < n_choices; i++) {
        struct choice *choice = &choices[i];
        const struct call_prompt *prompt = &call->prompts[i / call->req.n];

        choice->prompt = i / call->req.n;
        choice->n_prompt = (uint32_t)prompt->ids.n;
        choice->stop_id = OPENAI_STOP_ID_NONE;
        choice->stop_text = (struct wire_span){"", 0};
        buf_init(&choice->text, CALL_TEXT_MAX);
        call->n_choices++;
        if (call->req.parse_tool_calls && call->door->cfg.tools != TOOL_STYLE_NONE &&
            tool_calls_create(call->door->cfg.tools, false, on_tool, &call->sink, &choice->tools) !=
                STATUS_OK)
            return STATUS_NO_MEMORY;
        if (call->req.echo) {
            if (buf_append(&choice->text, prompt->text.at, prompt->text.len) != STATUS_OK)
                return STATUS_NO_MEMORY;
            choice->n_chars = (uint32_t)pen_chars(prompt->text);
        }
    }
    return STATUS_OK;
}

static void start(struct call *call)
{
    struct http_door *door = call->door;
    struct wire_id drawn;

    call->answer = openai_answer_of(&call->req);
    call->answer.created = call->created;
    call->answer.model = wire_span_of(door->cfg.model);
    call->answer.fingerprint = wire_span_of(router_numerics(door->core));
    rand_entropy(&drawn, sizeof(drawn));
    memcpy(&call->answer.seed, drawn.byte, sizeof(call->answer.seed));
    call->answer.seed = call->req.seeded ? call->req.seed : call->answer.seed & SEED_MASK;
    call->state = CALL_RUNNING;
    if (choices_create(call) != STATUS_OK) {
        refuse_status(call->conn, STATUS_NO_MEMORY, 0, "", call->label);
        call_free(call);
        return;
    }
    http_conn_set_tag(call->conn, call->tag | TAG_CORE);
    for (uint32_t i = 0; i < call->n_choices; i++)
        post_choice(call, i);
}

static void on_read(struct clerk_job *job)
{
    struct call *call = (struct call *)job;
    char headers[HEADERS_MAX];

    call->door->n_reading--;
    if (!call->conn) {
        call_free(call);
    } else if (call->status != STATUS_OK) {
        call_refuse(call->conn, &call->error, call->label);
        call_free(call);
    } else if (call->api == OPENAI_TOKENIZE || call->api == OPENAI_DETOKENIZE) {
        http_reply(call->conn, 200, JSON_TYPE, label_header(call->label, headers),
                   buf_data(&call->reply), buf_len(&call->reply));
        call_free(call);
    } else {
        start(call);
    }
}

static void on_drop(struct clerk_job *job)
{
    call_free((struct call *)job);
}

/* A label is shown to people and goes into headers: plain characters only. */
struct wire_span call_label(const struct http_request *req)
{
    const struct http_span *value = http_header_find(req, "x-request-id");

    if (!value || value->len == 0 || value->len > WIRE_NAME_MAX)
        return (struct wire_span){"", 0};
    for (size_t i = 0; i < value->len; i++)
        if (value->at[i] <= ' ' || value->at[i] >= 127)
            return (struct wire_span){"", 0};
    return (struct wire_span){value->at, value->len};
}

/* W3C's trace context, as the client's tracer wrote it: the access line joins its trace. */
static void keep_trace(struct call *call, const struct http_request *req)
{
    static const char form[] = "00-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx-xxxxxxxxxxxxxxxx-xx";
    const struct http_span *value = http_header_find(req, "traceparent");

    if (!value || value->len != HTTP_TRACE_LEN)
        return;
    for (size_t i = 0; i < HTTP_TRACE_LEN; i++) {
        const char c = value->at[i];
        const bool is_hex = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');

        if (form[i] == 'x' ? !is_hex : c != form[i])
            return;
    }
    memcpy(call->trace, value->at, HTTP_TRACE_LEN);
}

static struct call *call_create(struct http_door *door, const struct http_request *req)
{
    const struct wire_span label = call_label(req);
    struct call *call = mem_alloc_zero(1, sizeof(*call));

    if (!call)
        return NULL;
    call->door = door;
    keep_trace(call, req);
    buf_init(&call->reply, BODY_MAX);
    if (arena_create(CALL_ARENA_CHUNK, OPENAI_ARENA_MAX, &call->arena) != STATUS_OK) {
        mem_free(call);
        return NULL;
    }
    call->body =
        (struct wire_span){arena_memdup(call->arena, req->body.at, req->body.len), req->body.len};
    call->label = (struct wire_span){arena_memdup(call->arena, label.at, label.len), label.len};
    if (!call->body.at || !call->label.at) {
        arena_destroy(call->arena);
        mem_free(call);
        return NULL;
    }
    return call;
}

void call_begin(struct http_door *door, struct http_conn *conn, const struct http_request *req,
                enum openai_api api)
{
    struct idmap_key key;
    struct call *call;
    uint32_t idx;

    if (door->n_reading >= door->cfg.calls_max || door->n_free_calls == 0) {
        refuse_status(conn, STATUS_FULL, 1000, "too many requests wait: try again later",
                      call_label(req));
        return;
    }
    call = call_create(door, req);
    if (!call) {
        refuse_status(conn, STATUS_NO_MEMORY, 1000, "", call_label(req));
        return;
    }
    idx = door->free_calls[--door->n_free_calls];
    door->calls[idx] = call;
    call->link = ++*door->cfg.numbers;
    key = idmap_key((uint8_t[16]){0}, call->link);
    CHECK(idmap_insert(door->links, &key, idx) == STATUS_OK);
    call->conn = conn;
    call->tag = http_conn_tag(conn);
    call->api = api;
    call->created = (int64_t)(loop_now_ns(door->loop) / NS_PER_S) + door->cfg.unix_offset_s;
    call->len_max = router_len_limit(door->core);
    call->job = (struct clerk_job){
        .run = call_read, .done = on_read, .drop = on_drop, .tenant = call->link};
    http_conn_set_user(conn, call);
    door->n_reading++;
    clerk_post(door->clerk, &call->job);
}
