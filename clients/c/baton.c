/* A connection and its streams. ZeroMQ reconnects by itself; what this file adds is to notice the
 * silence, say hello again, and take every stream over from the first token that it lacks. */
#include "baton.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <zmq.h>

#include "baton_wire.h"

#define QUEUE_MAX 100000   /* messages each way */
#define LINGER_MS 500      /* the last cancels */
#define RECONNECT_MS 50    /* first pause */
#define RECONNECT_MAX 1000 /* longest pause */
#define ZMTP_MS 2000       /* ZMTP pings */
#define SILENCE_MS 3000    /* the router speaks every second to who waits: then it is gone */
#define LOST_MS 30000      /* a stream that could not be taken over for so long is lost */
#define CHORES_MS 250      /* how often silence is looked at */
#define HELLO_MS 1000      /* pause between two hellos; they wait for the connection */
#define CODE_CANCELLED 20
#define CODE_LOST 40
#define CODE_NOT_FOUND 11

struct stream {
    uint64_t number; /* 0: free */
    bool accepted;
    bool cancelled;
    uint8_t req[BATON_ID_BYTES];
    uint8_t resume[BATON_ID_BYTES];
    uint32_t next; /* index of the token that comes next */
    uint32_t credits;
    int64_t lost_ms; /* since when it is being taken over; 0: it is not */
};

struct baton {
    void *context;
    void *socket;
    char agent[BATON_NAME_MAX];
    char message[512];
    bool welcome;
    int64_t heard_ms, hello_ms;
    uint64_t n_numbers;
    size_t n_streams; /* in use */
    struct stream streams[BATON_STREAMS_MAX];
};

static int64_t now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

__attribute__((format(printf, 3, 4))) static int fail(struct baton *baton, int code,
                                                      const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    vsnprintf(baton->message, sizeof(baton->message), fmt, args);
    va_end(args);
    return code;
}

const char *baton_message(const struct baton *baton)
{
    return baton ? baton->message : "out of memory";
}

/* ---- sending ---- */

/* Takes the message over. */
static int send_message(struct baton *baton, char *bytes, size_t len)
{
    int sent;

    if (!bytes)
        return fail(baton, BATON_NO_MEMORY, "out of memory");
    do
        sent = zmq_send(baton->socket, bytes, len, ZMQ_DONTWAIT);
    while (sent < 0 && zmq_errno() == EINTR);
    free(bytes);
    if (sent >= 0)
        return BATON_OK;
    if (zmq_errno() == EAGAIN)
        return fail(baton, BATON_FULL, "the connection's queue is full");
    return fail(baton, BATON_SYSTEM, "cannot send: %s", zmq_strerror(zmq_errno()));
}

static int send_hello(struct baton *baton)
{
    size_t len = 0;
    char *bytes = baton_wire_hello(baton->agent, &len);

    baton->hello_ms = now_ms();
    return send_message(baton, bytes, len);
}

static void send_attach(struct baton *baton, struct stream *stream)
{
    size_t len = 0;
    char *bytes =
        baton_wire_attach(stream->req, stream->resume, stream->next, stream->credits, &len);

    (void)send_message(baton, bytes, len);
}

/* ---- life ---- */

static int set_option(void *socket, int option, int value)
{
    return zmq_setsockopt(socket, option, &value, sizeof(value));
}

static int set_key(void *socket, int option, const char *key)
{
    return zmq_setsockopt(socket, option, key, strlen(key) + 1);
}

static int set_options(void *socket, const struct baton_options *options)
{
    int64_t bytes_max = BATON_MESSAGE_BYTES_MAX;
    const char *server = options->server_key;
    int bad = zmq_setsockopt(socket, ZMQ_MAXMSGSIZE, &bytes_max, sizeof(bytes_max)) ||
              set_option(socket, ZMQ_SNDHWM, QUEUE_MAX) ||
              set_option(socket, ZMQ_RCVHWM, QUEUE_MAX) ||
              set_option(socket, ZMQ_LINGER, LINGER_MS) ||
              /* 1 would drop what has arrived but was not read when a connection ends: the last
                 tokens of a router that stops. */
              set_option(socket, ZMQ_IMMEDIATE, 0) ||
              set_option(socket, ZMQ_RECONNECT_IVL, RECONNECT_MS) ||
              set_option(socket, ZMQ_RECONNECT_IVL_MAX, RECONNECT_MAX) ||
              set_option(socket, ZMQ_HEARTBEAT_IVL, ZMTP_MS) ||
              set_option(socket, ZMQ_HEARTBEAT_TIMEOUT, 3 * ZMTP_MS);

    if (bad || !server)
        return bad;
    return !options->public_key || !options->secret_key ||
           set_key(socket, ZMQ_CURVE_SERVERKEY, server) ||
           set_key(socket, ZMQ_CURVE_PUBLICKEY, options->public_key) ||
           set_key(socket, ZMQ_CURVE_SECRETKEY, options->secret_key);
}

int baton_open(const struct baton_options *options, struct baton **out)
{
    struct baton *baton = calloc(1, sizeof(*baton));
    char endpoint[300];

    if (!baton)
        return BATON_NO_MEMORY;
    *out = baton; /* also on failure: it holds the message */
    snprintf(baton->agent, sizeof(baton->agent), "%s",
             options->agent ? options->agent : "libbaton");
    snprintf(endpoint, sizeof(endpoint), "%s%.256s",
             strstr(options->endpoint, "://") ? "" : "tcp://", options->endpoint);
    baton->context = zmq_ctx_new();
    baton->socket = baton->context ? zmq_socket(baton->context, ZMQ_DEALER) : NULL;
    if (!baton->socket)
        return fail(baton, BATON_SYSTEM, "no socket: %s", zmq_strerror(zmq_errno()));
    if (set_options(baton->socket, options))
        return fail(baton, BATON_INVALID,
                    "the keys are not usable: expected three texts of 40 "
                    "characters (Z85)");
    if (zmq_connect(baton->socket, endpoint) != 0)
        return fail(baton, BATON_INVALID, "cannot connect to %s: %s", endpoint,
                    zmq_strerror(zmq_errno()));
    baton->heard_ms = now_ms();
    return BATON_OK;
}

void baton_close(struct baton *baton)
{
    if (!baton)
        return;
    for (size_t i = 0; baton->n_streams > 0 && i < BATON_STREAMS_MAX; i++)
        if (baton->streams[i].number)
            (void)baton_cancel(baton, baton->streams[i].number);
    if (baton->socket)
        zmq_close(baton->socket);
    while (baton->context && zmq_ctx_term(baton->context) != 0 && zmq_errno() == EINTR)
        ;
    free(baton);
}

/* ---- requests ---- */

void baton_request_init(struct baton_request *request)
{
    *request = (struct baton_request){
        .max_tokens = 16, .temperature = 1.0, .top_p = 1.0, .repetition_penalty = 1.0};
}

static struct stream *stream_find(struct baton *baton, uint64_t number)
{
    for (size_t i = 0; number && i < BATON_STREAMS_MAX; i++)
        if (baton->streams[i].number == number)
            return &baton->streams[i];
    return NULL;
}

static struct stream *stream_of_req(struct baton *baton, const uint8_t *req)
{
    for (size_t i = 0; i < BATON_STREAMS_MAX; i++)
        if (baton->streams[i].number && baton->streams[i].accepted &&
            memcmp(baton->streams[i].req, req, BATON_ID_BYTES) == 0)
            return &baton->streams[i];
    return NULL;
}

static void stream_free(struct baton *baton, struct stream *stream)
{
    *stream = (struct stream){.number = 0};
    baton->n_streams--;
}

int baton_generate(struct baton *baton, const struct baton_request *request, uint64_t *stream_out)
{
    struct stream *stream = NULL;
    char label[32];
    size_t len = 0;
    char *bytes;
    int result;

    if ((request->n_tokens > 0) + (request->text != NULL) + (request->n_messages > 0) != 1)
        return fail(baton, BATON_INVALID, "a request has one of text, tokens and messages");
    if (request->n_stop > BATON_STOPS_MAX)
        return fail(baton, BATON_INVALID, "%zu stop strings: a request has at most %d",
                    request->n_stop, BATON_STOPS_MAX);
    if (!baton->welcome)
        return fail(baton, BATON_UNREACHABLE, "the router has not answered yet");
    for (size_t i = 0; !stream && i < BATON_STREAMS_MAX; i++)
        if (!baton->streams[i].number)
            stream = &baton->streams[i];
    if (!stream)
        return fail(baton, BATON_FULL, "%d requests run already", BATON_STREAMS_MAX);
    snprintf(label, sizeof(label), "%llu", (unsigned long long)(baton->n_numbers + 1));
    bytes = baton_wire_generate(label, request, &len);
    result = send_message(baton, bytes, len);
    if (result != BATON_OK)
        return result;
    *stream = (struct stream){.number = ++baton->n_numbers, .credits = request->credits};
    baton->n_streams++;
    *stream_out = stream->number;
    return BATON_OK;
}

int baton_cancel(struct baton *baton, uint64_t number)
{
    struct stream *stream = stream_find(baton, number);
    size_t len = 0;
    char *bytes;

    if (!stream)
        return fail(baton, BATON_INVALID, "no such stream");
    stream->cancelled = true;
    if (!stream->accepted)
        return BATON_OK; /* said as soon as its name is known */
    bytes = baton_wire_cancel(stream->req, stream->resume, &len);
    return send_message(baton, bytes, len);
}

int baton_credit(struct baton *baton, uint64_t number, uint32_t credits)
{
    struct stream *stream = stream_find(baton, number);
    size_t len = 0;
    char *bytes;

    if (!stream || !stream->accepted)
        return fail(baton, BATON_INVALID, "no such stream, or not accepted yet");
    bytes = baton_wire_credit(stream->req, stream->resume, credits, &len);
    return send_message(baton, bytes, len);
}

int baton_ask_model(struct baton *baton)
{
    size_t len = 0;
    char *bytes;

    if (!baton->welcome)
        return fail(baton, BATON_UNREACHABLE, "the router has not answered yet");
    bytes = baton_wire_models(&len);
    return send_message(baton, bytes, len);
}

/* ---- events ---- */

int baton_fd(const struct baton *baton)
{
    int fd = -1;
    size_t len = sizeof(fd);

    return zmq_getsockopt(baton->socket, ZMQ_FD, &fd, &len) == 0 ? fd : -1;
}

static bool take_welcome(struct baton *baton, struct baton_event *event)
{
    baton->welcome = true;
    event->kind = BATON_WELCOME;
    for (size_t i = 0; i < BATON_STREAMS_MAX; i++)
        if (baton->streams[i].number && baton->streams[i].lost_ms && baton->streams[i].accepted)
            send_attach(baton, &baton->streams[i]);
    return true;
}

/* The first answer to a request names it; the same answer to an attach only says that it goes on.
 */
static bool take_accepted(struct baton *baton, const struct baton_in *in, struct baton_event *event)
{
    struct stream *stream = stream_of_req(baton, in->req);

    if (stream) {
        stream->lost_ms = 0;
        return false;
    }
    stream = stream_find(baton, strtoull(in->label, NULL, 10));
    if (!stream || stream->accepted || !in->has_req)
        return false;
    stream->accepted = true;
    stream->lost_ms = 0;
    memcpy(stream->req, in->req, BATON_ID_BYTES);
    memcpy(stream->resume, in->resume, BATON_ID_BYTES);
    event->kind = BATON_ACCEPTED;
    event->stream = stream->number;
    if (stream->cancelled)
        (void)baton_cancel(baton, stream->number);
    return true;
}

static bool take_token(struct baton *baton, const struct baton_in *in, struct baton_event *event)
{
    struct stream *stream = stream_of_req(baton, in->req);

    if (!stream || in->event.index < stream->next)
        return false;
    if (in->event.index > stream->next) { /* one was lost on the way */
        send_attach(baton, stream);
        return false;
    }
    stream->next++;
    event->kind = BATON_TOKEN;
    event->stream = stream->number;
    return true;
}

static bool take_end(struct baton *baton, const struct baton_in *in, struct baton_event *event)
{
    struct stream *stream = in->has_req ? stream_of_req(baton, in->req) : NULL;

    if (!stream && in->kind == BATON_KIND_FAILED && in->label[0])
        stream = stream_find(baton, strtoull(in->label, NULL, 10));
    if (!stream && (in->has_req || in->kind == BATON_KIND_DONE))
        return false;
    event->kind = in->kind == BATON_KIND_DONE ? BATON_DONE : BATON_FAILED;
    event->stream = stream ? stream->number : 0;
    if (stream && stream->lost_ms && in->event.code == CODE_NOT_FOUND) {
        event->code = CODE_LOST;
        snprintf(event->text, sizeof(event->text),
                 "the router that had this request is gone: ask again with the same seed for the "
                 "same answer");
    }
    if (stream)
        stream_free(baton, stream);
    return true;
}

static bool take_message(struct baton *baton, const void *bytes, size_t len,
                         struct baton_event *event)
{
    struct baton_in in;

    if (!baton_wire_read(bytes, len, &in))
        return false; /* a router that speaks nonsense; silence will tell */
    baton->heard_ms = now_ms();
    *event = in.event;
    switch (in.kind) {
    case BATON_KIND_WELCOME:
        return take_welcome(baton, event);
    case BATON_KIND_ACCEPTED:
        return take_accepted(baton, &in, event);
    case BATON_KIND_TOKEN:
        return take_token(baton, &in, event);
    case BATON_KIND_DONE:
    case BATON_KIND_FAILED:
        return take_end(baton, &in, event);
    case BATON_KIND_MODEL_LIST:
        event->kind = BATON_MODEL;
        return true;
    case BATON_KIND_HEARTBEAT:
    case BATON_KIND_OTHER:
        break;
    }
    return false;
}

/* Hello until there is an answer; after silence hello again, which takes all streams over. */
static bool chores(struct baton *baton, struct baton_event *event)
{
    const int64_t now = now_ms();
    const bool silent = baton->n_streams > 0 && now - baton->heard_ms >= SILENCE_MS;

    if ((!baton->welcome || silent) && (baton->hello_ms == 0 || now - baton->hello_ms >= HELLO_MS))
        (void)send_hello(baton);
    for (size_t i = 0; i < BATON_STREAMS_MAX && baton->n_streams > 0; i++) {
        struct stream *stream = &baton->streams[i];

        if (!stream->number)
            continue;
        if (silent && !stream->lost_ms)
            stream->lost_ms = now;
        if (!stream->lost_ms || now - stream->lost_ms < LOST_MS)
            continue;
        memset(event, 0, sizeof(*event));
        event->kind = BATON_FAILED;
        event->stream = stream->number;
        event->code = CODE_LOST;
        snprintf(event->text, sizeof(event->text), "the router has been silent for %d s",
                 LOST_MS / 1000);
        stream_free(baton, stream);
        return true;
    }
    return false;
}

/* 1: an event; 0: nothing is there now. */
static int next_now(struct baton *baton, struct baton_event *event)
{
    for (;;) {
        zmq_msg_t message;
        bool is_event;

        zmq_msg_init(&message);
        if (zmq_msg_recv(&message, baton->socket, ZMQ_DONTWAIT) < 0) {
            zmq_msg_close(&message);
            if (zmq_errno() == EINTR)
                continue;
            if (zmq_errno() != EAGAIN)
                return fail(baton, BATON_SYSTEM, "cannot receive: %s", zmq_strerror(zmq_errno()));
            return chores(baton, event);
        }
        is_event = take_message(baton, zmq_msg_data(&message), zmq_msg_size(&message), event);
        zmq_msg_close(&message);
        if (is_event)
            return 1;
    }
}

int baton_next(struct baton *baton, struct baton_event *event, int timeout_ms)
{
    const int64_t end = timeout_ms < 0 ? INT64_MAX : now_ms() + timeout_ms;

    for (;;) {
        zmq_pollitem_t item = {.socket = baton->socket, .events = ZMQ_POLLIN};
        const int result = next_now(baton, event);
        int64_t left = end - now_ms();

        if (result != 0 || left <= 0)
            return result;
        if (zmq_poll(&item, 1, (long)(left < CHORES_MS ? left : CHORES_MS)) < 0 &&
            zmq_errno() == EINTR)
            return 0; /* the caller's signal */
    }
}

/* ---- blocking ---- */

int baton_wait(struct baton *baton, int timeout_ms)
{
    const int64_t end = now_ms() + timeout_ms;
    struct baton_event event;

    while (!baton->welcome) {
        const int64_t left = end - now_ms();
        const int result = left > 0 ? baton_next(baton, &event, (int)left) : 0;

        if (result < 0)
            return result;
        if (result > 0 && event.kind == BATON_FAILED)
            return fail(baton, BATON_REFUSED, "%.400s", event.text);
        if (left <= 0)
            return fail(baton, BATON_UNREACHABLE, "no answer within %d ms", timeout_ms);
    }
    return BATON_OK;
}

int baton_complete(struct baton *baton, const struct baton_request *request,
                   int (*on_event)(void *ctx, const struct baton_event *event), void *ctx,
                   struct baton_event *last)
{
    uint64_t stream;
    int result = baton_generate(baton, request, &stream);

    while (result == BATON_OK) {
        const int got = baton_next(baton, last, 1000);

        if (got < 0)
            return got;
        if (got == 0 || last->stream != stream)
            continue;
        if (on_event && on_event(ctx, last) != 0)
            (void)baton_cancel(baton, stream);
        if (last->kind == BATON_DONE)
            return BATON_OK;
        if (last->kind == BATON_FAILED)
            result = fail(baton, BATON_REFUSED, "%.400s", last->text);
    }
    return result;
}
