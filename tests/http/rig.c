/* See rig.h. */
#include "tests/http/rig.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/loop.h"
#include "base/mem.h"

#define SELF 0x77u
#define TEMPLATE "{% for m in messages %}{{ m.role }}:{{ m.content }};{% endfor %}"

static uint64_t incarnation(uint32_t link)
{
    return 0x1000u + link;
}

/* ---- what the core posts ---- */

static void node_hears(struct http_rig *rig, uint32_t link, const struct wire_msg *msg)
{
    if (msg->kind == WIRE_KIND_JOB && link != RIG_P_LINK) {
        CHECK(rig->n_jobs < RIG_JOBS_MAX);
        rig->jobs[rig->n_jobs++] = (struct rig_job){.link = link,
                                                    .req = msg->req,
                                                    .attempt = msg->attempt,
                                                    .generation = msg->generation,
                                                    .n_prompt = (uint32_t)msg->job.prompt.n,
                                                    .n_emitted = (uint32_t)msg->job.emitted.n,
                                                    .n_told = (uint32_t)msg->job.emitted.n,
                                                    .max_tokens = msg->job.sampling.max_tokens,
                                                    .seed = msg->job.seed};
    }
    for (size_t i = 0; msg->kind == WIRE_KIND_CANCEL && i < rig->n_jobs; i++)
        if (rig->jobs[i].link == link && memcmp(&rig->jobs[i].req, &msg->req, 16) == 0)
            rig->jobs[i].cancelled = true;
}

static void on_sleep(void *ctx)
{
    struct http_rig *rig = ctx;
    struct wire_out *out = router_out(rig->core);
    struct wire_msg msg;

    if (rig->hold)
        return;
    for (size_t i = 0; i < wire_out_count(out); i++) {
        const struct wire_out_item item = wire_out_at(out, i);

        if (http_door_take(rig->door, item.link, item.bytes, item.len))
            continue;
        if (item.link == RIG_P_LINK || item.link == RIG_D_LINK || item.link == RIG_D2_LINK) {
            arena_reset(rig->arena);
            if (wire_msg_decode(item.bytes, item.len, rig->arena, &msg, NULL) == STATUS_OK)
                node_hears(rig, item.link, &msg);
        }
    }
    router_clear(rig->core);
}

/* ---- nodes ---- */

static void node_says(struct http_rig *rig, uint32_t link, struct wire_msg *msg)
{
    msg->from = incarnation(link);
    msg->to = msg->kind == WIRE_KIND_JOIN ? 0 : SELF;
    msg->session = 1;
    msg->seq = ++rig->seq[link];
    router_message(rig->core, ROUTER_DOOR_NODE, link, msg, rig->now_ns);
}

static void beat(struct http_rig *rig, uint32_t link)
{
    const uint64_t peers[] = {incarnation(RIG_P_LINK)};
    struct wire_msg msg;

    if (rig->seq[link] == 0)
        return;
    wire_msg_init(&msg, WIRE_KIND_HEARTBEAT);
    if (link != RIG_P_LINK)
        msg.heartbeat.peers = (struct wire_u64s){peers, 1};
    node_says(rig, link, &msg);
}

static void join(struct http_rig *rig, uint32_t link, enum wire_role role, const char *name)
{
    struct wire_msg msg;

    wire_msg_init(&msg, WIRE_KIND_JOIN);
    msg.join.version_min = msg.join.version_max = 1;
    msg.join.name = wire_span_of(name);
    msg.join.role = role;
    msg.join.fingerprint = wire_span_of("f");
    msg.join.numerics = wire_span_of("numerics");
    msg.join.block_tokens = 64;
    msg.join.blocks = 4096;
    msg.join.seqs_max = 16;
    msg.join.len_max = 16384;
    node_says(rig, link, &msg);
}

void http_rig_node_down(struct http_rig *rig, uint32_t link)
{
    rig->seq[link] = 0;
    router_link_down(rig->core, ROUTER_DOOR_NODE, link, rig->now_ns);
}

static struct wire_msg about(const struct rig_job *job, enum wire_kind kind)
{
    struct wire_msg msg;

    wire_msg_init(&msg, kind);
    msg.req = job->req;
    msg.attempt = job->attempt;
    msg.generation = job->generation;
    return msg;
}

void http_rig_say(struct http_rig *rig, size_t idx, const char *text, const char *end)
{
    struct rig_job *job = &rig->jobs[idx];

    CHECK(idx < rig->n_jobs);
    for (size_t i = 0; text[i]; i++) {
        struct wire_msg msg = about(job, WIRE_KIND_TOKEN);

        msg.token.index = job->n_told++;
        msg.token.token = (unsigned char)text[i];
        msg.token.end = wire_span_of(text[i + 1] ? "" : end);
        node_says(rig, job->link, &msg);
    }
    if (end[0]) {
        struct wire_msg msg = about(job, WIRE_KIND_DONE);

        msg.done.reason = wire_span_of(end);
        msg.done.n_tokens = job->n_told;
        node_says(rig, job->link, &msg);
    }
}

void http_rig_fail(struct http_rig *rig, size_t idx, enum status code)
{
    struct wire_msg msg = about(&rig->jobs[idx], WIRE_KIND_FAILED);

    msg.failed.code = code;
    msg.failed.text = wire_span_of("scripted");
    node_says(rig, rig->jobs[idx].link, &msg);
}

size_t http_rig_running(const struct http_rig *rig)
{
    size_t n = 0;

    for (size_t i = 0; i < rig->n_jobs; i++)
        n += !rig->jobs[i].cancelled;
    return n;
}

/* ---- time ---- */

void http_rig_turn(struct http_rig *rig)
{
    CHECK(loop_turn(rig->loop, NS_PER_MS / 2) == STATUS_OK);
}

void http_rig_pass(struct http_rig *rig, uint64_t ms)
{
    for (uint64_t i = 0; i < ms; i += 50) {
        rig->now_ns += 50 * NS_PER_MS;
        beat(rig, RIG_P_LINK);
        beat(rig, RIG_D_LINK);
        beat(rig, RIG_D2_LINK);
        router_tick(rig->core, rig->now_ns);
        http_rig_turn(rig);
    }
}

static void run_block(struct clerk_job *job)
{
    struct http_rig *rig = (struct http_rig *)((char *)job - offsetof(struct http_rig, block));

    while (sem_wait(&rig->go) != 0)
        continue;
}

static void end_block(struct clerk_job *job)
{
    (void)job;
}

void http_rig_block(struct http_rig *rig)
{
    rig->block = (struct clerk_job){.run = run_block, .done = end_block, .drop = end_block};
    clerk_post(rig->clerk, &rig->block);
}

void http_rig_unblock(struct http_rig *rig)
{
    CHECK(sem_post(&rig->go) == 0);
}

/* ---- life ---- */

static void open_core(struct http_rig *rig)
{
    struct router_cfg cfg = {.self = SELF,
                             .server = "rig",
                             .model = "oracle",
                             .tok = rig->tok,
                             .tmpl = rig->tmpl,
                             .vocab = 256,
                             .nodes_max = 4,
                             .requests_max = 8,
                             .queue_max = 4,
                             .prefill_depth = 8,
                             .attempts_max = 3,
                             .deadline_ms = RIG_DEADLINE_MS,
                             .queue_ms = 5000,
                             .resume_ms = 2000};
    const char *why;

    memset(cfg.key, 7, sizeof(cfg.key));
    CHECK(router_create(&cfg, &rig->core, &why) == STATUS_OK);
    rig->reader = router_reader(&cfg);
}

void http_rig_init(struct http_rig *rig, enum tool_style tools, const struct http_key *keys,
                   size_t n_keys)
{
    const struct loop_options options = {.name = "test", .clock = clock_manual(&rig->now_ns)};
    struct http_door_cfg cfg = {.address = "127.0.0.1:0",
                                .conns_max = 64,
                                .tools = tools,
                                .model = "oracle",
                                .root = "root",
                                .version = "rig",
                                .keys = keys,
                                .n_keys = n_keys,
                                .calls_max = 4,
                                .unix_offset_s = 1000};
    struct template_error error;
    char why[HTTP_WHY_MAX];

    (void)signal(SIGPIPE, SIG_IGN); /* as the program does */
    memset(rig, 0, sizeof(*rig));
    rig->now_ns = NS_PER_S;
    rig->numbers = 100; /* links of nodes lie below */
    CHECK(sem_init(&rig->go, 0, 0) == 0);
    CHECK((rig->heard = mem_alloc(RIG_HEARD_MAX)) != NULL);
    http_rig_forget(rig);
    CHECK(loop_create(&options, &rig->loop) == STATUS_OK);
    CHECK(tokenizer_open_bytes(&rig->tok) == STATUS_OK);
    CHECK(template_compile(TEMPLATE, strlen(TEMPLATE), &error, &rig->tmpl) == STATUS_OK);
    CHECK(arena_create(1 << 20, 16 << 20, &rig->arena) == STATUS_OK);
    open_core(rig);
    CHECK(clerk_create(rig->loop, &rig->clerk) == STATUS_OK);
    cfg.reader = &rig->reader;
    cfg.numbers = &rig->numbers;
    CHECK(http_door_open(&cfg, rig->loop, rig->core, rig->clerk, &rig->door, why) == STATUS_OK);
    CHECK(loop_hook_add(rig->loop, on_sleep, rig) == STATUS_OK);
    join(rig, RIG_P_LINK, WIRE_ROLE_PREFILL, "p");
    join(rig, RIG_D_LINK, WIRE_ROLE_DECODE, "d");
    join(rig, RIG_D2_LINK, WIRE_ROLE_DECODE, "d2");
    http_rig_pass(rig, 50);
    CHECK(router_ready(rig->core));
}

void http_rig_fini(struct http_rig *rig)
{
    loop_hook_remove(rig->loop, on_sleep, rig);
    clerk_destroy(rig->clerk);
    http_door_close(rig->door);
    router_destroy(rig->core);
    arena_destroy(rig->arena);
    template_destroy(rig->tmpl);
    tokenizer_close(rig->tok);
    loop_destroy(rig->loop);
    mem_free(rig->heard);
    CHECK(sem_destroy(&rig->go) == 0);
}

/* ---- clients ---- */

int http_rig_client(struct http_rig *rig, int receive_bytes)
{
    const char *colon = strrchr(http_door_endpoint(rig->door), ':');
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)atoi(colon + 1)),
                                  .sin_addr = {htonl(INADDR_LOOPBACK)}};
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    CHECK(fd >= 0);
    if (receive_bytes > 0)
        CHECK(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &receive_bytes, sizeof(receive_bytes)) == 0);
    CHECK(connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0);
    CHECK(fcntl(fd, F_SETFL, O_NONBLOCK) == 0);
    http_rig_forget(rig);
    return fd;
}

void http_rig_send(int fd, const char *text)
{
    CHECK(send(fd, text, strlen(text), MSG_NOSIGNAL) == (ssize_t)strlen(text));
}

void http_rig_post(int fd, const char *path, const char *headers, const char *body)
{
    char head[1024];

    snprintf(head, sizeof(head), "POST %s HTTP/1.1\r\nHost: h\r\n%sContent-Length: %zu\r\n\r\n",
             path, headers, strlen(body));
    http_rig_send(fd, head);
    http_rig_send(fd, body);
}

bool http_rig_hear(struct http_rig *rig, int fd)
{
    const size_t room = RIG_HEARD_MAX - 1 - rig->n_heard;
    const ssize_t n = recv(fd, rig->heard + rig->n_heard, room, 0);

    if (n > 0)
        rig->n_heard += (size_t)n;
    rig->heard[rig->n_heard] = '\0';
    return n > 0 || (n < 0 && errno == EAGAIN);
}

bool http_rig_heard(struct http_rig *rig, int fd, const char *text)
{
    (void)http_rig_hear(rig, fd);
    return strstr(rig->heard, text) != NULL;
}

void http_rig_forget(struct http_rig *rig)
{
    rig->n_heard = 0;
    rig->heard[0] = '\0';
}

size_t http_rig_count(const struct http_rig *rig, const char *text)
{
    size_t n = 0;

    for (const char *at = rig->heard; (at = strstr(at, text)) != NULL; at += strlen(text))
        n++;
    return n;
}
