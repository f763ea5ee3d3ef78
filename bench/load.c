/* The way of a request, the slices of a measurement, and the sockets. A closed loop in one thread:
 * it sends while the window is open, reads what has come, and sleeps only when it can do neither.
 * Every token is checked at its client: place in the stream, number, end. */
#include "bench/load.h"

#include <string.h>
#include <time.h>
#include <zmq.h>

#include "base/mem.h"
#include "bench/now.h"

#define STALL_NS (5 * NS_PER_S) /* nothing came for so long: something was lost */
#define READS_A_TURN 256

static enum status failed(struct load *load, const char *why)
{
    if (!load->why)
        load->why = why;
    return STATUS_LOST;
}

/* ---- the way of a request ---- */

/* D goes on where the first token has reached its client: nothing orders P's connection and D's. */
static void activate(struct load *load, uint32_t idx)
{
    if (load->streams[idx].n_seen == 1 && load->streams[idx].has_d)
        load->active[load->n_active++] = idx;
}

static enum status start(struct load *load, uint32_t idx, uint32_t n_tokens)
{
    struct load_stream *stream = &load->streams[idx];

    *stream =
        (struct load_stream){.is_open = true, .client = idx % load->n_clients, .n_total = n_tokens};
    load->n_open++;
    if (!load->dialect->generate(load->ctx, idx, stream->client, n_tokens))
        return failed(load, "a request could not be sent");
    return STATUS_OK;
}

static enum status fill(struct load *load, const struct load_shape *shape)
{
    enum status status = STATUS_OK;

    for (uint32_t i = 0; i < shape->n_streams && load->n_open < shape->n_streams; i++)
        if (!load->streams[i].is_open && (status = start(load, i, shape->n_tokens)) != STATUS_OK)
            break;
    return status;
}

/* D's next token of the stream at `place` of the active ones; the last takes it out of them. */
static enum status decode(struct load *load, uint32_t place)
{
    const uint32_t idx = load->active[place];
    struct load_stream *stream = &load->streams[idx];
    const bool is_last = stream->n_decoded + 1 == stream->n_total;

    load->in_flight += stream->n_decoded > 0; /* the copy of the first token ends at the router */
    if (!load->dialect->token(load->ctx, idx, stream->n_decoded++, is_last))
        return failed(load, "a token could not be sent");
    if (!is_last)
        return STATUS_OK;
    load->active[place] = load->active[--load->n_active];
    if (!load->dialect->done(load->ctx, idx, stream->n_total))
        return failed(load, "an end could not be sent");
    return STATUS_OK;
}

static enum status end_step(struct load *load)
{
    return load->dialect->step_end(load->ctx) ? STATUS_OK
                                              : failed(load, "a step could not be sent");
}

/* One step of D: a token for each active stream, while the window is open. */
static enum status step(struct load *load, uint32_t window, bool *any_out)
{
    for (uint32_t n = load->n_active; n > 0 && load->in_flight < window; n--) {
        enum status status;

        if (load->turn >= load->n_active)
            load->turn = 0;
        if (load->n_active == 0)
            break;
        status = decode(load, load->turn);
        if (status != STATUS_OK)
            return status;
        load->turn++;
        *any_out = true;
    }
    return end_step(load);
}

static enum status seen(struct load *load, uint32_t idx, uint32_t index)
{
    struct load_stream *stream = &load->streams[idx];

    if (index != stream->n_seen || index >= stream->n_total)
        return failed(load, "a token was lost, doubled or out of order");
    stream->n_seen++;
    load->in_flight--;
    load->n_tokens++;
    if (load->samples && stream->sent_ns > 0)
        samples_add(load->samples, bench_now_ns() - stream->sent_ns);
    stream->sent_ns = 0;
    if (index == 0)
        activate(load, idx);
    return STATUS_OK;
}

static enum status heard(struct load *load, const struct load_event *event)
{
    struct load_stream *stream;

    if (event->heard == LOAD_NOTHING)
        return STATUS_OK;
    if (event->heard == LOAD_BROKEN)
        return failed(load, "the middle answered with an error");
    if (event->stream >= MIDDLE_STREAMS_MAX || !load->streams[event->stream].is_open)
        return failed(load, "a message came for a request that is not open");
    stream = &load->streams[event->stream];
    if (event->heard == LOAD_TOKEN)
        return seen(load, event->stream, event->index);
    if (event->heard == LOAD_DONE) {
        if (stream->n_seen != stream->n_total)
            return failed(load, "a request ended early");
        stream->is_open = false;
        load->n_open--;
        load->n_requests++;
        return STATUS_OK;
    }
    if (event->heard == LOAD_JOB_D) {
        stream->has_d = true;
        activate(load, event->stream);
        return STATUS_OK;
    }
    load->in_flight++;
    if (!load->dialect->first(load->ctx, event->stream))
        return failed(load, "a first token could not be sent");
    return STATUS_OK;
}

/* ---- sockets ---- */

static enum status read_socket(struct load *load, uint32_t idx, bool *any_out)
{
    enum status status = STATUS_OK;
    zmq_msg_t msg;

    zmq_msg_init(&msg);
    for (int i = 0; i < READS_A_TURN && status == STATUS_OK; i++) {
        struct load_event event;

        if (zmq_msg_recv(&msg, load->sockets[idx], ZMQ_DONTWAIT) < 0)
            break;
        event = load->dialect->read(load->ctx, idx, zmq_msg_data(&msg), zmq_msg_size(&msg));
        status = heard(load, &event);
        *any_out = true;
    }
    zmq_msg_close(&msg);
    return status;
}

static enum status read_all(struct load *load, bool *any_out)
{
    enum status status = STATUS_OK;

    for (uint32_t i = 0; i < load->n_clients + 2 && status == STATUS_OK; i++)
        status = read_socket(load, i, any_out);
    return status;
}

static void wait_input(struct load *load, long ms)
{
    zmq_pollitem_t items[LOAD_CLIENTS_MAX + 2];

    for (uint32_t i = 0; i < load->n_clients + 2; i++)
        items[i] = (zmq_pollitem_t){.socket = load->sockets[i], .events = ZMQ_POLLIN};
    (void)zmq_poll(items, (int)load->n_clients + 2, ms);
}

static enum status beat(struct load *load, uint64_t now)
{
    return load->dialect->beat(load->ctx, now) ? STATUS_OK : failed(load, "no heartbeat was sent");
}

/* Reads, and where nothing is there sleeps until something is; *heard_ns tells when something was
 * there last. */
static enum status listen_on(struct load *load, bool may_sleep, uint64_t *heard_ns)
{
    const uint64_t now = bench_now_ns();
    bool any = false;
    enum status status = read_all(load, &any);

    if (status == STATUS_OK)
        status = beat(load, now);
    if (any || !may_sleep)
        *heard_ns = now;
    else if (now - *heard_ns > STALL_NS)
        return failed(load, "nothing came for 5 s");
    else
        wait_input(load, 20);
    return status;
}

/* ---- slices ---- */

enum status load_rate(struct load *load, const struct load_shape *shape, uint64_t ns,
                      double *seconds_out)
{
    const uint64_t begin = bench_now_ns();
    uint64_t heard_ns = begin;
    enum status status = STATUS_OK;

    while (status == STATUS_OK && bench_now_ns() - begin < ns) {
        bool any = false;

        status = fill(load, shape);
        if (status == STATUS_OK)
            status = step(load, shape->window, &any);
        if (status == STATUS_OK)
            status = listen_on(load, !any, &heard_ns);
    }
    if (status == STATUS_OK)
        *seconds_out = (double)(bench_now_ns() - begin) / 1e9;
    return status;
}

/* Until every stream is open and active, and nothing is on its way. */
static enum status settle(struct load *load, const struct load_shape *shape)
{
    uint64_t heard_ns = bench_now_ns();
    enum status status = fill(load, shape);

    while (status == STATUS_OK && (load->n_active < shape->n_streams || load->in_flight > 0)) {
        status = listen_on(load, true, &heard_ns);
        if (status == STATUS_OK)
            status = fill(load, shape);
    }
    return status;
}

enum status load_latency(struct load *load, const struct load_shape *shape, uint32_t n_step,
                         uint64_t pause_ns, uint64_t ns, struct samples *samples)
{
    const struct timespec pause = {.tv_nsec = (long)pause_ns};
    const uint64_t begin = bench_now_ns();
    enum status status = settle(load, shape);

    load->samples = samples;
    while (status == STATUS_OK && bench_now_ns() - begin < ns) {
        uint32_t n = load->n_active < n_step ? load->n_active : n_step;

        while (n-- > 0 &&
               status == STATUS_OK) { /* backwards: a stream that ends leaves its place */
            if (load->streams[load->active[n]].n_decoded > 0)
                load->streams[load->active[n]].sent_ns = bench_now_ns();
            status = decode(load, n);
        }
        if (status == STATUS_OK)
            status = end_step(load);
        if (status == STATUS_OK)
            status = settle(load, shape);
        nanosleep(&pause, NULL);
    }
    load->samples = NULL;
    return status;
}

enum status load_quiet(struct load *load)
{
    uint64_t heard_ns = bench_now_ns();
    enum status status = STATUS_OK;

    while (status == STATUS_OK && load->in_flight > 0)
        status = listen_on(load, true, &heard_ns);
    return status;
}

enum status load_drain(struct load *load)
{
    uint64_t heard_ns = bench_now_ns();
    enum status status = STATUS_OK;

    while (status == STATUS_OK && load->n_open > 0) {
        bool any = false;

        status = step(load, 1024, &any);
        if (status == STATUS_OK)
            status = listen_on(load, !any, &heard_ns);
    }
    return status;
}

/* ---- life ---- */

static void *dealer(struct load *load, const char *endpoint, const char *id)
{
    const int options[][2] = {
        {ZMQ_SNDHWM, MIDDLE_QUEUE_MAX}, {ZMQ_RCVHWM, MIDDLE_QUEUE_MAX}, {ZMQ_LINGER, 0}};
    void *socket = zmq_socket(load->zmq, ZMQ_DEALER);

    if (!socket)
        return NULL;
    for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++)
        zmq_setsockopt(socket, options[i][0], &options[i][1], sizeof(int));
    if (id)
        zmq_setsockopt(socket, ZMQ_ROUTING_ID, id, RAW_ID_BYTES);
    if (zmq_connect(socket, endpoint) == 0)
        return socket;
    zmq_close(socket);
    return NULL;
}

enum status load_connect(struct load *load, const struct middle *middle, bool with_ids)
{
    load->sockets = mem_alloc_zero(load->n_clients + 2, sizeof(*load->sockets));
    load->zmq = zmq_ctx_new();
    if (!load->sockets || !load->zmq)
        return failed(load, "out of memory");
    for (uint32_t i = 0; i < load->n_clients + 2; i++) {
        const bool is_client = i < load->n_clients;
        char id[RAW_ID_BYTES];

        raw_id_client((uint16_t)i, id);
        if (!is_client)
            memcpy(id, i == load->n_clients ? RAW_ID_P : RAW_ID_D, sizeof(id));
        load->sockets[i] =
            dealer(load, is_client ? middle->clients : middle->nodes, with_ids ? id : NULL);
        if (!load->sockets[i])
            return failed(load, "a socket could not be connected");
    }
    return STATUS_OK;
}

void load_close(struct load *load)
{
    if (load->ctx)
        load->dialect->close(load->ctx);
    for (uint32_t i = 0; load->sockets && i < load->n_clients + 2; i++)
        if (load->sockets[i])
            zmq_close(load->sockets[i]);
    if (load->zmq)
        zmq_ctx_term(load->zmq);
    mem_free(load->sockets);
    memset(load, 0, sizeof(*load));
}
