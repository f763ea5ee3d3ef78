/* The two children. The router is router/shell.h on a loop of its own with one ZeroMQ I/O thread,
 * as in `baton router`; only its limits are wider, so that they are not what is measured. The raw
 * one is the least a program can do with one ROUTER socket: block, then forward without copies
 * until nothing is left. */
#include "bench/middle.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <zmq.h>

#include "base/loop.h"
#include "base/rand.h"
#include "model/tokenizer.h"
#include "router/shell.h"

/* ---- the router ---- */

static struct router_cfg core_cfg(void)
{
    struct router_cfg cfg = {
        .vocab = 131072, /* above every id that the bench sends */
        .server = "bench",
        .model = MIDDLE_MODEL,
        .nodes_max = 256,
        .requests_max = 2 * MIDDLE_STREAMS_MAX,
        .queue_max = 2 * MIDDLE_STREAMS_MAX,
        .prefill_depth = MIDDLE_STREAMS_MAX, /* the bench's P computes in no time */
        .attempts_max = 8,
        .deadline_ms = 600000,
        .queue_ms = 60000,
        .resume_ms = 30000,
    };

    rand_entropy(&cfg.self, sizeof(cfg.self));
    rand_entropy(cfg.key, sizeof(cfg.key));
    return cfg;
}

/* Runs for ever; returns only if it cannot start. */
static void run_router(const char *nodes, const char *clients, int parent)
{
    const struct zctx_cfg zctx_cfg = {.io_threads = 1, .sockets_max = 64};
    const struct loop_options options = {.name = "router", .clock = clock_monotonic()};
    uint32_t numbers = 0;
    struct router_shell_cfg cfg = {.core = core_cfg(),
                                   .numbers = &numbers,
                                   .nodes = nodes,
                                   .clients = clients,
                                   .clients_max = 4096};
    char why[ROUTER_SHELL_WHY_MAX];
    struct router_shell *shell;
    struct tokenizer *tok;
    struct middle told = {.pid = getpid()};
    struct loop *loop;

    if (zctx_open(&zctx_cfg, &cfg.zctx) != STATUS_OK || loop_create(&options, &loop) != STATUS_OK ||
        tokenizer_open_bytes(&tok) != STATUS_OK)
        return;
    cfg.core.tok = tok;
    if (router_shell_open(&cfg, loop, &shell, why) != STATUS_OK) {
        fprintf(stderr, "bench: the router does not start: %s\n", why);
        return;
    }
    snprintf(told.nodes, sizeof(told.nodes), "%s", router_shell_nodes(shell));
    snprintf(told.clients, sizeof(told.clients), "%s", router_shell_clients(shell));
    if (write(parent, &told, sizeof(told)) == (ssize_t)sizeof(told))
        (void)loop_run(loop);
}

/* ---- raw ---- */

void raw_id_client(uint16_t client, char id[RAW_ID_BYTES])
{
    id[0] = 'C';
    for (size_t i = 1; i < RAW_ID_BYTES; i++, client = (uint16_t)(client / 10))
        id[i] = (char)('0' + client % 10);
}

/* Sends `part` to the peer of this routing id and leaves it empty. */
static void raw_send(void *socket, const char id[RAW_ID_BYTES], zmq_msg_t *part)
{
    if (zmq_send(socket, id, RAW_ID_BYTES, ZMQ_SNDMORE) < 0 || zmq_msg_send(part, socket, 0) < 0)
        fprintf(stderr, "bench: raw message lost: %s\n", zmq_strerror(zmq_errno()));
}

static void raw_send_copy(void *socket, const char *id, zmq_msg_t *msg)
{
    zmq_msg_t copy;

    zmq_msg_init(&copy);
    zmq_msg_copy(&copy, msg); /* shares the bytes of all but small ones */
    raw_send(socket, id, &copy);
    zmq_msg_close(&copy);
}

static void raw_accept(void *socket, const char *id, const zmq_msg_t *msg, struct raw_head head)
{
    const size_t len = zmq_msg_size(msg) < RAW_ACCEPT_BYTES ? zmq_msg_size(msg) : RAW_ACCEPT_BYTES;
    zmq_msg_t answer;

    head.what = RAW_ACCEPTED;
    zmq_msg_init_size(&answer, len);
    memset(zmq_msg_data(&answer), 0, len);
    memcpy(zmq_msg_data(&answer), &head, sizeof(head));
    raw_send(socket, id, &answer);
    zmq_msg_close(&answer);
}

static void raw_forward(void *socket, zmq_msg_t *msg)
{
    char client[RAW_ID_BYTES];
    struct raw_head head;

    if (zmq_msg_size(msg) < sizeof(head))
        return;
    memcpy(&head, zmq_msg_data(msg), sizeof(head));
    raw_id_client(head.client, client);
    if (head.to & RAW_ACCEPT)
        raw_accept(socket, client, msg, head);
    if (head.to & RAW_TO_D)
        raw_send_copy(socket, RAW_ID_D, msg);
    if (head.to & RAW_TO_P)
        raw_send(socket, RAW_ID_P, msg);
    else if (head.to & RAW_TO_CLIENT)
        raw_send(socket, client, msg);
}

static bool raw_take(void *socket)
{
    zmq_msg_t id, msg;
    bool any;

    zmq_msg_init(&id);
    zmq_msg_init(&msg);
    any = zmq_msg_recv(&id, socket, ZMQ_DONTWAIT) >= 0 && zmq_msg_recv(&msg, socket, 0) >= 0;
    if (any)
        raw_forward(socket, &msg);
    zmq_msg_close(&msg);
    zmq_msg_close(&id);
    return any;
}

static void run_raw(const char *endpoint, int parent)
{
    void *ctx = zmq_ctx_new();
    void *socket = zmq_socket(ctx, ZMQ_ROUTER);
    zmq_pollitem_t item = {.socket = socket, .events = ZMQ_POLLIN};
    const int options[][2] = {
        {ZMQ_SNDHWM, MIDDLE_QUEUE_MAX}, {ZMQ_RCVHWM, MIDDLE_QUEUE_MAX}, {ZMQ_ROUTER_MANDATORY, 1}};
    struct middle told = {.pid = getpid()};
    size_t len = sizeof(told.nodes);

    for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++)
        zmq_setsockopt(socket, options[i][0], &options[i][1], sizeof(int));
    if (zmq_bind(socket, endpoint) != 0 ||
        zmq_getsockopt(socket, ZMQ_LAST_ENDPOINT, told.nodes, &len) != 0)
        return;
    memcpy(told.clients, told.nodes, sizeof(told.clients));
    if (write(parent, &told, sizeof(told)) != (ssize_t)sizeof(told))
        return;
    while (zmq_poll(&item, 1, -1) >= 0)
        while (raw_take(socket)) {
        }
}

/* ---- life ---- */

static void run_child(enum middle_kind kind, enum middle_transport transport, int parent)
{
    char nodes[MIDDLE_ENDPOINT_MAX] = "tcp://127.0.0.1:*";
    char clients[MIDDLE_ENDPOINT_MAX] = "tcp://127.0.0.1:*";

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (transport == MIDDLE_IPC) { /* names without a file: nothing to remove afterwards */
        snprintf(nodes, sizeof(nodes), "ipc://@baton-bench-%d-nodes", getpid());
        snprintf(clients, sizeof(clients), "ipc://@baton-bench-%d-clients", getpid());
    }
    if (kind == MIDDLE_ROUTER)
        run_router(nodes, clients, parent);
    else
        run_raw(nodes, parent);
    _exit(1);
}

enum status middle_start(enum middle_kind kind, enum middle_transport transport, struct middle *out)
{
    struct middle told;
    int ends[2];
    pid_t pid;
    ssize_t n;

    if (pipe(ends) != 0)
        return STATUS_IO;
    fflush(stdout);
    pid = fork();
    if (pid == 0) {
        close(ends[0]);
        run_child(kind, transport, ends[1]);
    }
    close(ends[1]);
    n = pid < 0 ? -1 : read(ends[0], &told, sizeof(told));
    close(ends[0]);
    if (n == (ssize_t)sizeof(told)) {
        *out = told;
        return STATUS_OK;
    }
    if (pid > 0)
        waitpid(pid, NULL, 0);
    return pid < 0 ? STATUS_IO : STATUS_LOST;
}

void middle_stop(struct middle *middle)
{
    if (middle->pid <= 0)
        return;
    kill(middle->pid, SIGKILL);
    waitpid(middle->pid, NULL, 0);
    middle->pid = 0;
}

uint64_t middle_cpu_ns(const struct middle *middle)
{
    struct timespec now;
    clockid_t clock;

    if (clock_getcpuclockid(middle->pid, &clock) != 0 || clock_gettime(clock, &now) != 0)
        return 0;
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}
