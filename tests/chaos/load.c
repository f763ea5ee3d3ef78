/* Clients over real ZeroMQ, as the protocol's document has them, with one difference: nothing is
 * forgiven. Each token must be the next one of the truth; none may come twice or after the end. A
 * connection that breaks, or is silent, is replaced by a new one, which takes the streams over. */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/check.h"
#include "base/rand.h"
#include "tests/chaos/chaos.h"

#define SILENCE_MS 3500.0 /* the router speaks every second to who waits */
#define MESSAGE_MAX (64u << 10)
#define TRUTH_MAX 256u
#define STATS_EVERY_MS 50.0

/* ---- the truth ---- */

static void draw(struct chaos *chaos, struct rand *rng, struct chaos_template *what, bool is_probe)
{
    struct wire_msg msg;
    struct engine_job job;

    what->n_prompt = is_probe ? (size_t)rand_between(rng, 1500, 2000)
                              : (size_t)rand_between(rng, 1, rand_chance(rng, 1, 3) ? 600 : 100);
    what->max_tokens = (uint32_t)(is_probe ? 60 : rand_between(rng, 1, 120));
    what->ignore_eos = is_probe || rand_chance(rng, 1, 2);
    what->temperature = rand_unit(rng) * 2;
    what->seed = rand_u64(rng);
    what->prompt = malloc(what->n_prompt * sizeof(uint32_t));
    what->truth = malloc(TRUTH_MAX * sizeof(uint32_t));
    CHECK(what->prompt && what->truth);
    for (size_t i = 0; i < what->n_prompt; i++)
        what->prompt[i] = (uint32_t)rand_below(rng, ORACLE_VOCAB);
    wire_msg_init(&msg, WIRE_KIND_GENERATE);
    msg.generate.sampling.max_tokens = what->max_tokens;
    msg.generate.sampling.temperature = what->temperature;
    msg.generate.sampling.ignore_eos = what->ignore_eos;
    job = (struct engine_job){.mode = ENGINE_WHOLE,
                              .attempt = 1,
                              .prompt = {what->prompt, what->n_prompt},
                              .sampling = &msg.generate.sampling,
                              .seed = what->seed,
                              .eos = oracle_eos,
                              .n_eos = ORACLE_N_EOS};
    CHECK(oracle_truth(&chaos->oracle, &job, what->truth, TRUTH_MAX, &what->n_truth) == STATUS_OK);
}

bool load_init(struct chaos *chaos, size_t n_templates, size_t n_probes)
{
    struct chaos_load *load = &chaos->load;
    struct rand rng;

    rand_init(&rng, chaos->rng_seed);
    load->ctx = zmq_ctx_new();
    load->n_templates = n_templates;
    load->n_probes = n_probes;
    load->templates = calloc(n_templates + n_probes, sizeof(*load->templates));
    CHECK(load->ctx && load->templates);
    CHECK(arena_create(64 * 1024, 8 << 20, &load->arena) == STATUS_OK);
    for (size_t i = 0; i < n_templates + n_probes; i++)
        draw(chaos, &rng, &load->templates[i], i >= n_templates);
    return true;
}

void load_fini(struct chaos *chaos)
{
    struct chaos_load *load = &chaos->load;

    for (size_t i = 0; i < load->n_templates + load->n_probes; i++) {
        free(load->templates[i].prompt);
        free(load->templates[i].truth);
    }
    free(load->templates);
    arena_destroy(load->arena);
    zmq_ctx_term(load->ctx);
}

/* ---- connections ---- */

static void set_option(void *sock, int option, int value)
{
    CHECK(zmq_setsockopt(sock, option, &value, sizeof(value)) == 0);
}

static void link_open(struct chaos *chaos, struct chaos_link *link)
{
    char address[64];

    link->sock = zmq_socket(chaos->load.ctx, ZMQ_DEALER);
    link->monitor = zmq_socket(chaos->load.ctx, ZMQ_PAIR);
    CHECK(link->sock && link->monitor);
    set_option(link->sock, ZMQ_LINGER, 0);
    set_option(link->sock, ZMQ_RECONNECT_IVL, 20);
    set_option(link->sock, ZMQ_SNDHWM, 10000);
    set_option(link->sock, ZMQ_RCVHWM, 100000);
    set_option(link->monitor, ZMQ_LINGER, 0);
    snprintf(address, sizeof(address), "inproc://monitor-%p", link->sock);
    CHECK(zmq_socket_monitor(link->sock, address, ZMQ_EVENT_DISCONNECTED) == 0);
    CHECK(zmq_connect(link->monitor, address) == 0);
    CHECK(zmq_connect(link->sock, chaos->fleet.clients[link->router]) == 0);
    link->greeted = link->welcome = false;
    link->heard_ms = chaos_now_ms();
    link->n_over = 0;
}

static void link_close(struct chaos_link *link)
{
    if (!link->sock)
        return;
    zmq_socket_monitor(link->sock, NULL, 0);
    zmq_close(link->monitor);
    zmq_close(link->sock);
    link->sock = link->monitor = NULL;
}

/* What is still on its way is thrown away with the socket: a token that comes again is a new one.
 */
static void link_reopen(struct chaos *chaos, struct chaos_link *link)
{
    link_close(link);
    link_open(chaos, link);
    chaos->load.n_broken_links++;
}

static bool post(struct chaos_link *link, const struct wire_msg *msg)
{
    uint8_t bytes[MESSAGE_MAX];
    size_t len;

    CHECK(wire_msg_encode(msg, bytes, sizeof(bytes), &len) == STATUS_OK);
    return zmq_send(link->sock, bytes, len, ZMQ_DONTWAIT) == (int)len;
}

static void greet(struct chaos_link *link)
{
    struct wire_msg msg;

    wire_msg_init(&msg, WIRE_KIND_HELLO);
    msg.hello.version_min = WIRE_VERSION_MIN;
    msg.hello.version_max = WIRE_VERSION_MAX;
    msg.hello.agent = wire_span_of("chaos");
    /* Waits in the socket until there is a connection. ZMQ_IMMEDIATE would tell that there is none,
     * but with it libzmq throws away what was received when the connection ends. */
    if (!post(link, &msg))
        return;
    link->greeted = true;
    link->greeted_ms = chaos_now_ms();
}

void load_open(struct chaos *chaos)
{
    struct chaos_load *load = &chaos->load;

    memset(load->streams, 0, sizeof(load->streams));
    memset(load->stats, 0, sizeof(load->stats));
    load->n_links = chaos->fleet.n_routers * CHAOS_LINKS_EACH;
    for (size_t i = 0; i < load->n_links; i++) {
        load->links[i].router = i / CHAOS_LINKS_EACH;
        link_open(chaos, &load->links[i]);
    }
}

void load_close(struct chaos *chaos)
{
    for (size_t i = 0; i < chaos->load.n_links; i++)
        link_close(&chaos->load.links[i]);
    chaos->load.n_links = 0;
    chaos->load.lanes = 0;
    memset(chaos->load.streams, 0, sizeof(chaos->load.streams));
}

/* ---- asking ---- */

static void ask(struct chaos *chaos, struct chaos_stream *stream)
{
    const struct chaos_template *what = stream->what;
    struct chaos_link *link = &chaos->load.links[stream->link];
    char label[32];
    struct wire_msg msg;

    stream->label = ++chaos->load.n_labels;
    stream->accepted = false;
    stream->n_got = 0;
    stream->asked_ms = chaos_now_ms();
    stream->bound_ms = stream->asked_ms + stream->deadline_ms + CHAOS_BOUND_MS;
    snprintf(label, sizeof(label), "%llu", (unsigned long long)stream->label);
    wire_msg_init(&msg, WIRE_KIND_GENERATE);
    msg.generate.label = wire_span_of(label);
    msg.generate.tokens = (struct wire_u32s){what->prompt, what->n_prompt};
    msg.generate.sampling.max_tokens = what->max_tokens;
    msg.generate.sampling.temperature = what->temperature;
    msg.generate.sampling.ignore_eos = what->ignore_eos;
    msg.generate.seeded = true;
    msg.generate.seed = what->seed;
    msg.generate.deadline_ms = stream->deadline_ms;
    if (link->welcome)
        (void)post(link, &msg); /* else it is asked with the welcome; so it is if this is lost */
}

static void attach(struct chaos *chaos, struct chaos_stream *stream)
{
    struct wire_msg msg;

    stream->bound_ms = chaos_now_ms() + stream->deadline_ms + CHAOS_BOUND_MS;
    wire_msg_init(&msg, WIRE_KIND_ATTACH);
    msg.req = stream->id;
    msg.attach.resume = stream->resume;
    msg.attach.next = stream->n_got;
    (void)post(&chaos->load.links[stream->link], &msg);
}

static struct chaos_stream *start(struct chaos *chaos, size_t link,
                                  const struct chaos_template *what, uint32_t deadline_ms)
{
    for (size_t i = 0; i < CHAOS_STREAMS_MAX; i++) {
        struct chaos_stream *stream = &chaos->load.streams[i];

        if (stream->used)
            continue;
        *stream = (struct chaos_stream){
            .used = true, .link = link, .what = what, .deadline_ms = deadline_ms};
        ask(chaos, stream);
        return stream;
    }
    CHECK_MSG(false, "too many streams");
    return NULL;
}

struct chaos_stream *load_probe(struct chaos *chaos, size_t router, uint32_t deadline_ms)
{
    struct chaos_load *load = &chaos->load;
    const struct chaos_template *what =
        &load->templates[load->n_templates + load->n_labels % load->n_probes];
    struct chaos_stream *stream = start(chaos, router * CHAOS_LINKS_EACH, what,
                                        deadline_ms ? deadline_ms : load->deadline_ms);

    stream->is_probe = true;
    return stream;
}

void load_drop(struct chaos_stream *stream)
{
    stream->used = false;
}

static bool is_open(const struct chaos_stream *stream)
{
    return stream->used && !stream->ended;
}

size_t load_n_open(const struct chaos *chaos)
{
    size_t n = 0;

    for (size_t i = 0; i < CHAOS_STREAMS_MAX; i++)
        n += is_open(&chaos->load.streams[i]);
    return n;
}

size_t load_n_on(const struct chaos *chaos, size_t router)
{
    size_t n = 0;

    for (size_t i = 0; i < CHAOS_STREAMS_MAX; i++) {
        const struct chaos_stream *stream = &chaos->load.streams[i];

        n +=
            is_open(stream) && stream->accepted && chaos->load.links[stream->link].router == router;
    }
    return n;
}

void load_ask_stats(struct chaos *chaos, size_t router)
{
    struct chaos_stats *stats = &chaos->load.stats[router];
    struct wire_msg msg;

    if (chaos_now_ms() - stats->asked_ms < STATS_EVERY_MS)
        return;
    for (size_t i = 0; i < chaos->load.n_links; i++) {
        struct chaos_link *link = &chaos->load.links[i];

        if (link->router != router || !link->welcome)
            continue;
        wire_msg_init(&msg, WIRE_KIND_STATS);
        if (post(link, &msg))
            stats->asked_ms = chaos_now_ms();
        return;
    }
}

/* ---- answers ---- */

static struct chaos_stream *stream_of(struct chaos *chaos, const struct chaos_link *link,
                                      const struct wire_id *id)
{
    for (size_t i = 0; i < CHAOS_STREAMS_MAX; i++) {
        struct chaos_stream *stream = &chaos->load.streams[i];

        if (is_open(stream) && stream->accepted && &chaos->load.links[stream->link] == link &&
            wire_id_equal(&stream->id, id))
            return stream;
    }
    return NULL;
}

static struct chaos_stream *stream_labelled(struct chaos *chaos, struct wire_span label)
{
    char text[32];
    uint64_t number;

    snprintf(text, sizeof(text), "%.*s", (int)label.len, label.at);
    number = strtoull(text, NULL, 10);
    for (size_t i = 0; number && i < CHAOS_STREAMS_MAX; i++)
        if (is_open(&chaos->load.streams[i]) && chaos->load.streams[i].label == number)
            return &chaos->load.streams[i];
    return NULL;
}

static void end(struct chaos *chaos, struct chaos_stream *stream, enum status code)
{
    struct chaos_link *link = &chaos->load.links[stream->link];

    link->over[link->n_over++ % (sizeof(link->over) / sizeof(link->over[0]))] = stream->id;
    stream->ended = true;
    stream->failed = code != STATUS_DONE;
    stream->code = code;
    if (stream->failed)
        chaos->load.n_failed++;
    else
        chaos->load.n_done++;
    if (!stream->is_probe)
        stream->used = false;
}

static void take_token(struct chaos *chaos, struct chaos_stream *stream,
                       const struct wire_token *token)
{
    const struct chaos_template *what = stream->what;

    if (token->index != stream->n_got)
        chaos_violation(chaos, "request %llu got token %u where %u was next",
                        (unsigned long long)stream->label, token->index, stream->n_got);
    else if (token->index >= what->n_truth || token->token != what->truth[token->index])
        chaos_violation(chaos, "request %llu got token %u = %u, the truth (of %zu) is another",
                        (unsigned long long)stream->label, token->index, token->token,
                        what->n_truth);
    stream->n_got = token->index + 1;
    chaos->load.n_tokens++;
}

static void take_done(struct chaos *chaos, struct chaos_stream *stream,
                      const struct wire_done *done)
{
    if (stream->n_got != stream->what->n_truth || done->n_tokens != stream->n_got)
        chaos_violation(chaos, "request %llu: done after %u of %zu tokens, %u announced",
                        (unsigned long long)stream->label, stream->n_got, stream->what->n_truth,
                        done->n_tokens);
    end(chaos, stream, STATUS_DONE);
}

static void take_failed(struct chaos *chaos, struct chaos_stream *stream,
                        const struct wire_failed *failed)
{
    const enum status code = (enum status)failed->code;

    /* Another process, or one that stops: the same request and seed, the same tokens again. */
    if ((code == STATUS_NOT_FOUND && stream->accepted) ||
        (code == STATUS_DRAINING && !chaos->fleet.is_ending)) {
        chaos->load.n_asked_again++;
        if (code == STATUS_DRAINING)
            stream->link = (stream->link + CHAOS_LINKS_EACH) % chaos->load.n_links;
        ask(chaos, stream);
        return;
    }
    if (!chaos->load.may_fail && !(code == STATUS_DRAINING && stream->n_got == 0))
        chaos_violation(chaos, "request %llu failed with %s after %u tokens: %.*s",
                        (unsigned long long)stream->label, status_name(code), stream->n_got,
                        (int)failed->text.len, failed->text.at);
    end(chaos, stream, code);
}

static void take_stats(struct chaos *chaos, const struct chaos_link *link,
                       const struct wire_stats_list *list)
{
    struct chaos_stats *stats = &chaos->load.stats[link->router];
    const struct {
        const char *name;
        uint64_t *value;
    } known[] = {{"nodes_ready", &stats->nodes_ready}, {"pairs", &stats->pairs},
                 {"blocks", &stats->blocks},           {"blocks_free", &stats->blocks_free},
                 {"sequences", &stats->sequences},     {"requests", &stats->requests},
                 {"queued", &stats->queued},           {"resubmitted", &stats->resubmitted},
                 {"rereserved", &stats->rereserved},   {"tokens_doubled", &stats->tokens_doubled}};

    for (size_t k = 0; k < sizeof(known) / sizeof(known[0]); k++) {
        bool found = false;

        for (size_t i = 0; i < list->names.n && i < list->values.n; i++) {
            if (!wire_span_equal(list->names.at[i], wire_span_of(known[k].name)))
                continue;
            *known[k].value = list->values.at[i];
            found = true;
        }
        if (!found)
            chaos_violation(chaos, "stats have no '%s'", known[k].name);
    }
    stats->at_ms = chaos_now_ms();
}

/* Takes over what stood on the connection before, or asks what was never accepted. */
static void take_welcome(struct chaos *chaos, struct chaos_link *link)
{
    link->welcome = true;
    for (size_t i = 0; i < CHAOS_STREAMS_MAX; i++) {
        struct chaos_stream *stream = &chaos->load.streams[i];

        if (!is_open(stream) || &chaos->load.links[stream->link] != link)
            continue;
        if (stream->accepted)
            attach(chaos, stream);
        else
            ask(chaos, stream);
    }
}

static void take_accepted(struct chaos *chaos, const struct wire_msg *msg)
{
    struct chaos_stream *stream = stream_labelled(chaos, msg->accepted.label);

    if (!stream || stream->accepted)
        return;
    stream->accepted = true;
    stream->id = msg->req;
    stream->resume = msg->accepted.resume;
}

static bool is_over(const struct chaos_link *link, const struct wire_id *id)
{
    const size_t room = sizeof(link->over) / sizeof(link->over[0]);

    for (size_t i = 0; i < (link->n_over < room ? link->n_over : room); i++)
        if (wire_id_equal(&link->over[i], id))
            return true;
    return false;
}

static void take_message(struct chaos *chaos, struct chaos_link *link, const struct wire_msg *msg)
{
    struct chaos_stream *stream = stream_of(chaos, link, &msg->req);

    link->heard_ms = chaos_now_ms();
    if (!stream && msg->kind == WIRE_KIND_FAILED)
        stream = stream_labelled(chaos, msg->failed.label);
    if (msg->kind == WIRE_KIND_WELCOME)
        take_welcome(chaos, link);
    else if (msg->kind == WIRE_KIND_ACCEPTED)
        take_accepted(chaos, msg);
    else if (msg->kind == WIRE_KIND_STATS_LIST)
        take_stats(chaos, link, &msg->stats_list);
    else if (msg->kind == WIRE_KIND_FAILED && !stream)
        chaos_violation(chaos, "an error about nothing: %s: %.*s",
                        status_name((enum status)msg->failed.code), (int)msg->failed.text.len,
                        msg->failed.text.at);
    else if (!stream && is_over(link, &msg->req))
        chaos_violation(chaos, "%s after the end of its request", wire_kind_name(msg->kind));
    if (!stream)
        return;
    if (msg->kind == WIRE_KIND_TOKEN)
        take_token(chaos, stream, &msg->token);
    else if (msg->kind == WIRE_KIND_DONE)
        take_done(chaos, stream, &msg->done);
    else if (msg->kind == WIRE_KIND_FAILED)
        take_failed(chaos, stream, &msg->failed);
}

/* ---- a turn ---- */

static void link_receive(struct chaos *chaos, struct chaos_link *link)
{
    static uint8_t bytes[MESSAGE_MAX];
    struct wire_msg msg;
    const char *why;
    int n;

    while ((n = zmq_recv(link->sock, bytes, sizeof(bytes), ZMQ_DONTWAIT)) >= 0) {
        arena_reset(chaos->load.arena);
        if (n > (int)sizeof(bytes) ||
            wire_msg_decode(bytes, (size_t)n, chaos->load.arena, &msg, &why) != STATUS_OK)
            chaos_violation(chaos, "a malformed message of %d bytes from a router", n);
        else
            take_message(chaos, link, &msg);
    }
}

/* Monitor events are two frames; the only kind asked for is that the connection broke. */
static bool link_broke(struct chaos_link *link)
{
    char frame[256];
    bool broke = false;

    while (zmq_recv(link->monitor, frame, sizeof(frame), ZMQ_DONTWAIT) >= 0)
        broke = true;
    return broke;
}

static bool has_streams(const struct chaos *chaos, const struct chaos_link *link)
{
    for (size_t i = 0; i < CHAOS_STREAMS_MAX; i++)
        if (is_open(&chaos->load.streams[i]) &&
            &chaos->load.links[chaos->load.streams[i].link] == link)
            return true;
    return false;
}

static void link_pump(struct chaos *chaos, struct chaos_link *link)
{
    const double now = chaos_now_ms();

    link_receive(chaos, link);
    if (link_broke(link)) {
        chaos->load.broken_at_ms = chaos_wall_ms();
        link_receive(chaos, link); /* what came before the end of the connection */
        link_reopen(chaos, link);
    } else if (has_streams(chaos, link) && link->greeted && now - link->heard_ms > SILENCE_MS &&
               now - link->greeted_ms > SILENCE_MS) {
        link_reopen(chaos, link);
    }
    if (!link->greeted)
        greet(link);
}

static void check_bounds(struct chaos *chaos)
{
    const double now = chaos_now_ms();

    for (size_t i = 0; i < CHAOS_STREAMS_MAX; i++) {
        struct chaos_stream *stream = &chaos->load.streams[i];

        if (!is_open(stream) || now <= stream->bound_ms)
            continue;
        chaos_violation(chaos, "request %llu has not ended within its bound: %s, %u of %zu tokens",
                        (unsigned long long)stream->label,
                        stream->accepted ? "accepted" : "not accepted", stream->n_got,
                        stream->what->n_truth);
        end(chaos, stream, STATUS_DEADLINE);
    }
}

static void fill_lanes(struct chaos *chaos)
{
    struct chaos_load *load = &chaos->load;
    size_t n = 0;

    for (size_t i = 0; i < CHAOS_STREAMS_MAX; i++)
        n += is_open(&load->streams[i]) && !load->streams[i].is_probe;
    for (size_t tries = 0; n < load->lanes && tries < load->lanes + load->n_links; tries++) {
        const size_t link = load->turn++ % load->n_links;

        if (!load->links[link].welcome)
            continue;
        start(chaos, link, &load->templates[load->n_labels % load->n_templates], load->deadline_ms);
        n++;
    }
}

size_t load_poll_items(struct chaos_load *load, zmq_pollitem_t *items)
{
    size_t n = 0;

    for (size_t i = 0; i < load->n_links; i++) {
        items[n++] = (zmq_pollitem_t){.socket = load->links[i].sock, .events = ZMQ_POLLIN};
        items[n++] = (zmq_pollitem_t){.socket = load->links[i].monitor, .events = ZMQ_POLLIN};
    }
    return n;
}

void load_pump(struct chaos *chaos)
{
    for (size_t i = 0; i < chaos->load.n_links; i++)
        link_pump(chaos, &chaos->load.links[i]);
    check_bounds(chaos);
    fill_lanes(chaos);
}

void load_placed(struct chaos *chaos, const struct chaos_place *place)
{
    struct chaos_load *load = &chaos->load;

    load->places[load->n_places++ % (sizeof(load->places) / sizeof(load->places[0]))] = *place;
}

const struct chaos_place *load_place(const struct chaos *chaos, const struct chaos_stream *stream)
{
    const struct chaos_load *load = &chaos->load;
    const size_t room = sizeof(load->places) / sizeof(load->places[0]);
    char id[33];

    if (!stream->accepted)
        return NULL;
    wire_id_print(&stream->id, id);
    for (size_t i = load->n_places; i > 0 && i + room > load->n_places; i--)
        if (strcmp(load->places[(i - 1) % room].req, id) == 0)
            return &load->places[(i - 1) % room];
    return NULL;
}
