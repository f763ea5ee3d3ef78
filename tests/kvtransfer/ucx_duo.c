/* See ucx_duo.h. */
#include "tests/kvtransfer/ucx_duo.h"

#include <dirent.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/check.h"

uint64_t now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000u;
}

size_t n_descriptors(void)
{
    size_t n = 0;
    DIR *dir = opendir("/proc/self/fd");
    CHECK(dir != NULL);
    while (readdir(dir) != NULL) {
        n++;
    }
    closedir(dir);
    return n;
}

uint8_t pattern(uint32_t piece, size_t at)
{
    return (uint8_t)(at * 7u + (at >> 8) * 13u + piece * 31u + 1u);
}

void pattern_fill(uint8_t *buf, uint32_t piece, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        buf[i] = pattern(piece, i);
    }
}

bool pattern_is(const uint8_t *buf, uint32_t piece, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        if (buf[i] != pattern(piece, i)) {
            return false;
        }
    }
    return true;
}

/* ---- one end ---- */

struct kvt_ucx_cfg cfg_plain(bool no_cma)
{
    struct kvt_ucx_cfg cfg = kvt_ucx_cfg_default();
    cfg.local_tls = no_cma ? "posix" : cfg.local_tls;
    return cfg;
}

void end_open(struct end *end, const struct kvt_ucx_cfg *cfg)
{
    char error[KVT_UCX_ERROR_MAX];
    struct kvt_ucx_cfg plain = kvt_ucx_cfg_default();
    memset(end, 0, sizeof(*end));
    if (kvt_ucx_create(cfg != NULL ? cfg : &plain, error, &end->mover) != STATUS_OK) {
        fprintf(stderr, "%s\n", error);
        CHECK(false);
    }
}

void end_close(struct end *end)
{
    kvt_ucx_destroy(end->mover);
    end->mover = NULL;
}

void end_act(struct end *end, enum kvt_act_kind kind, enum kvt_path path)
{
    struct kvt_act act = {.kind = kind, .pair = DUO_PAIR, .path = path};
    kvt_ucx_act(end->mover, &act);
}

void end_connect(struct end *end, const uint8_t *address, size_t len)
{
    struct kvt_act act = {.kind = KVT_ACT_CONNECT, .pair = DUO_PAIR};
    act.address = address;
    act.address_len = len;
    kvt_ucx_act(end->mover, &act);
}

void end_post(struct end *end, uint32_t i, void *at, size_t bytes)
{
    struct kvt_act act = {.kind = KVT_ACT_POST, .pair = DUO_PAIR, .at = at, .bytes = bytes};
    act.op = i;
    act.header.magic = KVT_HEADER_MAGIC;
    act.header.block = i;
    act.header.bytes = bytes;
    act.header.digest = ~(uint64_t)i;
    kvt_ucx_act(end->mover, &act);
}

void end_offer(struct end *end, enum kvt_act_kind kind, uint64_t handle, void *at, size_t bytes)
{
    struct kvt_act act = {.kind = kind, .pair = DUO_PAIR, .at = at, .bytes = bytes};
    act.handle = handle;
    act.op = handle;
    kvt_ucx_act(end->mover, &act);
}

static void end_on_offer(struct end *end, const struct kvt_event *event)
{
    end->last = event->header;
    CHECK(event->header.magic == KVT_HEADER_MAGIC && event->header.bytes == event->bytes);
    CHECK(event->header.digest == ~(uint64_t)event->header.block);
    if (end->on_offer == END_FETCH) {
        CHECK(event->bytes <= end->stride);
        end_offer(end, KVT_ACT_FETCH, event->handle, end->land + event->header.block * end->stride,
                  event->bytes);
    } else if (end->on_offer == END_RELEASE) {
        end_offer(end, KVT_ACT_RELEASE, event->handle, NULL, 0);
    } else if (end->handles != NULL) {
        end->handles[end->n_offered] = event->handle;
    }
    end->n_offered++;
}

static void end_event(struct end *end, const struct kvt_event *event)
{
    CHECK(event->pair == DUO_PAIR);
    switch (event->kind) {
    case KVT_EVENT_OPENED:
        CHECK(event->address_len > 0 && event->address_len <= sizeof(end->address));
        memcpy(end->address, event->address, event->address_len);
        end->address_len = event->address_len;
        end->n_opened++;
        break;
    case KVT_EVENT_ERROR:
        CHECK(event->status != STATUS_OK);
        end->n_errors++;
        break;
    case KVT_EVENT_OFFERED:
        end_on_offer(end, event);
        break;
    case KVT_EVENT_POSTED:
        end->n_posted++;
        end->n_failed += event->status != STATUS_OK;
        break;
    case KVT_EVENT_FETCHED:
        end->n_fetched++;
        end->n_failed += event->status != STATUS_OK;
        break;
    }
}

/* ---- both ---- */

static bool end_drain(struct end *end)
{
    struct kvt_event event;
    bool any = kvt_ucx_drain(end->mover);
    while (kvt_ucx_event_next(end->mover, &event)) {
        end_event(end, &event);
        any = true;
    }
    return any;
}

/* Sleeps until one has input, if both are armed. */
static void ends_sleep(struct end *a, struct end *b, int ms)
{
    struct pollfd fds[2] = {{.fd = kvt_ucx_fd(a->mover), .events = POLLIN},
                            {.fd = b != NULL ? kvt_ucx_fd(b->mover) : -1, .events = POLLIN}};
    bool quiet = kvt_ucx_arm(a->mover);
    quiet = (b == NULL || kvt_ucx_arm(b->mover)) && quiet;
    if (quiet) {
        poll(fds, 2, ms);
    }
}

bool duo_pump(struct end *a, struct end *b, const uint32_t *counter, uint32_t goal)
{
    uint64_t end_us = now_us() + DUO_TIMEOUT_MS * 1000u;
    while (*counter < goal) {
        bool any = end_drain(a);
        any = (b != NULL && end_drain(b)) || any;
        if (!any && *counter < goal) {
            ends_sleep(a, b, DUO_TIMEOUT_MS);
        }
        if (now_us() > end_us) {
            return false;
        }
    }
    return true;
}

void duo_idle(struct end *a, struct end *b, int ms)
{
    uint64_t end_us = now_us() + (uint64_t)ms * 1000u;
    while (now_us() < end_us) {
        bool any = end_drain(a);
        any = (b != NULL && end_drain(b)) || any;
        if (!any) {
            ends_sleep(a, b, 1);
        }
    }
}

void duo_pair(struct end *p, struct end *d, enum kvt_path path)
{
    p->n_opened = d->n_opened = 0;
    end_act(p, KVT_ACT_OPEN, path);
    end_act(d, KVT_ACT_OPEN, path);
    assert_true(duo_pump(p, d, &p->n_opened, 1));
    assert_true(duo_pump(p, d, &d->n_opened, 1));
    end_connect(p, d->address, d->address_len);
    end_connect(d, p->address, p->address_len);
}

/* ---- the child ---- */

static void socket_send(int fd, const void *buf, size_t len)
{
    CHECK(send(fd, buf, len, MSG_NOSIGNAL) == (ssize_t)len);
}

static void socket_receive(int fd, void *buf, size_t len)
{
    if (recv(fd, buf, len, MSG_WAITALL) != (ssize_t)len) {
        _exit(3); /* the parent is gone */
    }
}

static void swap_addresses(struct end *end, int fd)
{
    static uint8_t address[WIRE_ADDRESS_MAX];
    size_t len;
    socket_send(fd, &end->address_len, sizeof(end->address_len));
    socket_send(fd, end->address, end->address_len);
    socket_receive(fd, &len, sizeof(len));
    CHECK(len <= sizeof(address));
    socket_receive(fd, address, len);
    end_connect(end, address, len);
}

void child_start(struct child *child, struct end *end, const struct child_plan *plan)
{
    int sockets[2];
    char number[16];
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets) == 0);
    CHECK(snprintf(number, sizeof(number), "%d", sockets[1]) > 0);
    child->pid = fork();
    CHECK(child->pid >= 0);
    if (child->pid == 0) {
        close(sockets[0]);
        execl("/proc/self/exe", "child", "--child", number, (char *)NULL);
        _exit(4);
    }
    close(sockets[1]);
    child->socket = sockets[0];
    socket_send(child->socket, plan, sizeof(*plan));
    end->n_opened = 0;
    end_act(end, KVT_ACT_OPEN, plan->path);
    assert_true(duo_pump(end, NULL, &end->n_opened, 1));
    swap_addresses(end, child->socket);
}

void child_kill(struct child *child)
{
    int status = 0;
    kill(child->pid, SIGKILL);
    assert_int_equal(waitpid(child->pid, &status, 0), child->pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL); /* not dead before, by UCX */
    close(child->socket);
}

void child_main(int argc, char **argv)
{
    if (argc != 3 || strcmp(argv[1], "--child") != 0) {
        return;
    }
    int fd = atoi(argv[2]);
    struct child_plan plan;
    struct end end;
    socket_receive(fd, &plan, sizeof(plan));
    struct kvt_ucx_cfg cfg = cfg_plain(plan.no_cma);
    end_open(&end, &cfg);
    end.on_offer = plan.role == CHILD_FETCHES ? END_FETCH : END_KEEP;
    end_act(&end, KVT_ACT_OPEN, plan.path);
    CHECK(duo_pump(&end, NULL, &end.n_opened, 1));
    swap_addresses(&end, fd);
    uint8_t *bytes = malloc(plan.n * plan.bytes + 1);
    CHECK(bytes != NULL);
    end.land = bytes;
    end.stride = plan.bytes;
    for (uint32_t i = 0; i < plan.n && plan.role == CHILD_POSTS; i++) {
        pattern_fill(bytes + i * plan.bytes, i, plan.bytes);
        end_post(&end, i, bytes + i * plan.bytes, plan.bytes);
    }
    for (;;) { /* until the parent closes the socket or kills us; sleeps without a time limit */
        struct pollfd fds[2] = {{.fd = kvt_ucx_fd(end.mover), .events = POLLIN},
                                {.fd = fd, .events = POLLIN}};
        if (end_drain(&end) || !kvt_ucx_arm(end.mover)) {
            continue;
        }
        poll(fds, 2, -1);
        if (fds[1].revents != 0) {
            _exit(0);
        }
    }
}
