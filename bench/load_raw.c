/* The raw dialect: messages of the right sizes whose first bytes say where the middle sends them.
 * As cheap as can be at both ends, so that the limit is the sockets'. */
#include <string.h>
#include <zmq.h>

#include "base/clock.h"
#include "base/mem.h"
#include "bench/load.h"

struct raw {
    struct load *load;
    struct load_sizes sizes;
    uint32_t n_clients;
    char bytes[]; /* of the largest message; its head is written for each */
};

static bool send_bytes(struct raw *raw, uint32_t socket, const struct raw_head *head, size_t len)
{
    memcpy(raw->bytes, head, sizeof(*head));
    return zmq_send(raw->load->sockets[socket], raw->bytes, len, 0) >= 0;
}

static uint16_t client_of(const struct raw *raw, uint32_t stream)
{
    return (uint16_t)raw->load->streams[stream].client;
}

static bool raw_generate(void *ctx, uint32_t stream, uint32_t client, uint32_t n_tokens)
{
    struct raw *raw = ctx;
    const struct raw_head head = {.to = RAW_TO_P | RAW_TO_D | RAW_ACCEPT,
                                  .what = RAW_JOB,
                                  .client = (uint16_t)client,
                                  .stream = stream,
                                  .index = n_tokens};

    return send_bytes(raw, client, &head, raw->sizes.generate);
}

static bool raw_first(void *ctx, uint32_t stream)
{
    struct raw *raw = ctx;
    const struct raw_head head = {
        .to = RAW_TO_CLIENT, .what = RAW_TOKEN, .client = client_of(raw, stream), .stream = stream};

    return send_bytes(raw, raw->n_clients, &head, raw->sizes.first);
}

/* Raw messages go one by one: one in, one out is what they are the limit of. */
static bool raw_step_end(void *ctx)
{
    (void)ctx;
    return true;
}

static bool raw_token(void *ctx, uint32_t stream, uint32_t index, bool is_last)
{
    struct raw *raw = ctx;
    const struct raw_head head = {.to = index > 0 ? RAW_TO_CLIENT : 0,
                                  .what = RAW_TOKEN,
                                  .client = client_of(raw, stream),
                                  .stream = stream,
                                  .index = index};

    (void)is_last;
    return send_bytes(raw, raw->n_clients + 1, &head, raw->sizes.token);
}

static bool raw_done(void *ctx, uint32_t stream, uint32_t n_tokens)
{
    struct raw *raw = ctx;
    const struct raw_head head = {.to = RAW_TO_CLIENT,
                                  .what = RAW_DONE,
                                  .client = client_of(raw, stream),
                                  .stream = stream,
                                  .index = n_tokens};

    return send_bytes(raw, raw->n_clients + 1, &head, raw->sizes.done);
}

static struct load_event raw_read(void *ctx, uint32_t idx, const void *bytes, size_t len)
{
    const struct raw *raw = ctx;
    struct load_event event = {.heard = LOAD_BROKEN};
    struct raw_head head;

    if (len < sizeof(head))
        return event;
    memcpy(&head, bytes, sizeof(head));
    event.stream = head.stream;
    event.index = head.index;
    if (head.what == RAW_JOB)
        event.heard = idx == raw->n_clients ? LOAD_JOB_P : LOAD_JOB_D;
    else if (head.what == RAW_TOKEN)
        event.heard = LOAD_TOKEN;
    else
        event.heard = head.what == RAW_DONE ? LOAD_DONE : LOAD_NOTHING;
    return event;
}

static bool raw_beat(void *ctx, uint64_t now_ns)
{
    (void)ctx;
    (void)now_ns;
    return true;
}

static void raw_close(void *ctx)
{
    mem_free(ctx);
}

static const struct load_dialect raw_dialect = {
    .generate = raw_generate,
    .first = raw_first,
    .token = raw_token,
    .done = raw_done,
    .step_end = raw_step_end,
    .read = raw_read,
    .beat = raw_beat,
    .close = raw_close,
};

/* A ROUTER knows a peer once it has spoken: each sends itself a message through the middle. */
static enum status greet(struct load *load, struct raw *raw)
{
    char answer[sizeof(struct raw_head)];

    for (uint32_t i = 0; i < load->n_clients + 2; i++) {
        struct raw_head head = {.to = RAW_TO_CLIENT, .what = RAW_ACCEPTED, .client = (uint16_t)i};

        if (i >= load->n_clients)
            head.to = i == load->n_clients ? RAW_TO_P : RAW_TO_D;
        if (!send_bytes(raw, i, &head, sizeof(head)) ||
            zmq_recv(load->sockets[i], answer, sizeof(answer), 0) < 0) {
            load->why = "the raw middle does not answer";
            return STATUS_LOST;
        }
    }
    return STATUS_OK;
}

enum status load_open_raw(struct load *load, const struct middle *middle, uint32_t n_clients,
                          uint32_t n_prompt, const struct load_sizes *sizes)
{
    const size_t most[] = {sizes->generate, sizes->first, sizes->token, sizes->done};
    size_t bytes = sizeof(struct raw_head);
    struct raw *raw;
    enum status status;

    load->n_clients = n_clients;
    load->n_prompt = n_prompt;
    for (size_t i = 0; i < sizeof(most) / sizeof(most[0]); i++)
        bytes = most[i] > bytes ? most[i] : bytes;
    status = load_connect(load, middle, true);
    if (status != STATUS_OK)
        return status;
    raw = mem_alloc_zero(1, sizeof(*raw) + bytes);
    if (!raw) {
        load->why = "out of memory";
        return STATUS_NO_MEMORY;
    }
    raw->load = load;
    raw->sizes = *sizes;
    raw->n_clients = n_clients;
    load->dialect = &raw_dialect;
    load->ctx = raw;
    return greet(load, raw);
}
