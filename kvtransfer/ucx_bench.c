/* Two children of this process are one P and one D: D fetches each piece as it is offered, into a
 * ring of `window` pieces, without digests. Wake-ups are those of a node: an end that has nothing
 * to do arms its workers and sleeps in poll. A child that gives up exits; the parent sees that its
 * result is missing. */
#include "kvtransfer/ucx_bench.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"

#define PAIR 1u
#define SILENCE_MS 30000

/* What an end tells the parent. */
struct result {
    uint64_t ns;
    double cpu_us;
    char transport[KVT_UCX_TRANSPORT_MAX];
};

struct side {
    const struct kvt_ucx_bench *bench;
    struct kvt_ucx *mover;
    int other; /* to the other end: addresses, and the end of the run */
    uint8_t *ring;
    uint32_t n_posted, n_done;
    bool is_sender, failed;
    uint64_t start_ns;
    double start_cpu_us;
};

static uint64_t now_ns(void)
{
    struct clock clock = clock_monotonic();
    return clock_now_ns(&clock);
}

static double cpu_us(void)
{
    struct rusage use;
    getrusage(RUSAGE_SELF, &use);
    return (double)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) * 1e6 +
           (double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec);
}

static void post(struct side *side)
{
    struct kvt_act act = {.kind = KVT_ACT_POST, .pair = PAIR, .bytes = side->bench->bytes};
    act.header.block = side->n_posted;
    act.at = side->ring + (size_t)(side->n_posted % side->bench->window) * act.bytes;
    kvt_ucx_act(side->mover, &act);
    side->n_posted++;
}

static void fetch(struct side *side, const struct kvt_event *event)
{
    struct kvt_act act = {.kind = KVT_ACT_FETCH, .pair = PAIR, .bytes = event->bytes};
    act.handle = event->handle;
    act.at = side->ring + (size_t)(event->header.block % side->bench->window) * event->bytes;
    kvt_ucx_act(side->mover, &act);
}

static bool connect_ends(struct side *side, const struct kvt_event *event)
{
    uint8_t address[WIRE_ADDRESS_MAX];
    if (send(side->other, event->address, event->address_len, MSG_NOSIGNAL) < 0) {
        return false;
    }
    ssize_t len = recv(side->other, address, sizeof(address), 0);
    if (len <= 0) {
        return false;
    }
    struct kvt_act act = {.kind = KVT_ACT_CONNECT, .pair = PAIR, .address = address};
    act.address_len = (size_t)len;
    kvt_ucx_act(side->mover, &act);
    for (uint32_t i = 0; side->is_sender && i < side->bench->window && i < side->bench->n; i++) {
        post(side);
    }
    return true;
}

static void on_event(struct side *side, const struct kvt_event *event)
{
    if (event->status != STATUS_OK || event->kind == KVT_EVENT_ERROR) {
        side->failed = true;
    } else if (event->kind == KVT_EVENT_OPENED) {
        side->failed = !connect_ends(side, event);
    } else if (event->kind == KVT_EVENT_OFFERED) {
        if (side->start_ns == 0) {
            side->start_ns = now_ns();
            side->start_cpu_us = cpu_us();
        }
        fetch(side, event);
    } else {
        side->n_done++;
        if (side->is_sender && side->n_posted < side->bench->n) {
            post(side);
        }
    }
}

/* Runs until every piece is done with; false if it cannot. */
static bool pump(struct side *side)
{
    struct pollfd fd = {.fd = kvt_ucx_fd(side->mover), .events = POLLIN};
    while (side->n_done < side->bench->n && !side->failed) {
        struct kvt_event event;
        bool any = kvt_ucx_drain(side->mover);
        while (kvt_ucx_event_next(side->mover, &event)) {
            on_event(side, &event);
        }
        if (!any && kvt_ucx_arm(side->mover) && poll(&fd, 1, SILENCE_MS) == 0) {
            return false;
        }
    }
    return !side->failed;
}

/* One end, in its own process. */
static void run_side(const struct kvt_ucx_bench *bench, bool is_sender, int other, int parent)
{
    char error[KVT_UCX_ERROR_MAX];
    struct side side = {.bench = bench, .other = other, .is_sender = is_sender};
    size_t ring_bytes = bench->bytes * bench->window;
    side.ring = mem_alloc_aligned(4096, ring_bytes);
    if (side.ring == NULL || kvt_ucx_create(&bench->cfg, error, &side.mover) != STATUS_OK) {
        _exit(1);
    }
    memset(side.ring, is_sender ? 0x5A : 0, ring_bytes); /* pages are there before the clock runs */
    struct kvt_act act = {.kind = KVT_ACT_OPEN, .pair = PAIR, .path = bench->path};
    kvt_ucx_act(side.mover, &act);
    if (is_sender) {
        side.start_ns = now_ns();
        side.start_cpu_us = cpu_us();
    }
    if (!pump(&side)) {
        _exit(1);
    }
    struct result result = {.ns = now_ns() - side.start_ns, .cpu_us = cpu_us() - side.start_cpu_us};
    kvt_ucx_transport(side.mover, PAIR, result.transport);
    char last = 0;
    bool told = send(other, &last, 1, MSG_NOSIGNAL) == 1 && recv(other, &last, 1, 0) == 1;
    if (!told || write(parent, &result, sizeof(result)) != (ssize_t)sizeof(result)) {
        _exit(1);
    }
    kvt_ucx_destroy(side.mover);
    _exit(0);
}

/* Starts one end; returns the descriptor its result comes from, or -1. */
static int start_side(const struct kvt_ucx_bench *bench, bool is_sender, const int sockets[2],
                      pid_t *pid)
{
    int result[2];
    if (pipe(result) != 0) {
        return -1;
    }
    *pid = fork();
    if (*pid == 0) {
        close(result[0]);
        close(sockets[is_sender ? 1 : 0]);
        run_side(bench, is_sender, sockets[is_sender ? 0 : 1], result[1]);
    }
    close(result[1]);
    if (*pid < 0) {
        close(result[0]);
        return -1;
    }
    return result[0];
}

static bool collect_side(int fd, pid_t pid, struct result *out)
{
    bool good = fd >= 0 && read(fd, out, sizeof(*out)) == (ssize_t)sizeof(*out);
    if (fd >= 0) {
        close(fd);
        waitpid(pid, NULL, 0);
    }
    return good;
}

enum status kvt_ucx_bench(const struct kvt_ucx_bench *bench, struct kvt_ucx_bench_row *out)
{
    int sockets[2];
    pid_t pids[2] = {-1, -1};
    struct result sender, receiver;
    if (bench->bytes == 0 || bench->bytes > KVT_UCX_PIECE_BYTES_MAX || bench->n == 0 ||
        bench->window == 0 || bench->window > KVT_UCX_BENCH_WINDOW_MAX) {
        return STATUS_INVALID;
    }
    if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, sockets) != 0) {
        return STATUS_IO;
    }
    int from_sender = start_side(bench, true, sockets, &pids[0]);
    int from_receiver = start_side(bench, false, sockets, &pids[1]);
    close(sockets[0]);
    close(sockets[1]);
    bool good = collect_side(from_sender, pids[0], &sender);
    good = collect_side(from_receiver, pids[1], &receiver) && good;
    if (!good) {
        return STATUS_LOST;
    }
    double n = (double)bench->n;
    out->gb_per_s = n * (double)bench->bytes / (double)receiver.ns;
    out->us_per_piece = (double)receiver.ns / n / 1e3;
    out->cpu_us_sender = sender.cpu_us / n;
    out->cpu_us_receiver = receiver.cpu_us / n;
    memcpy(out->transport, receiver.transport, sizeof(out->transport));
    return STATUS_OK;
}
