/* The limits: the same bytes by the plainest means. The other process is a child that ends with its
 * side of the pipe or connection. */
#include "bench/limits.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "bench/now.h"

#define PAGE 4096

static double rate(const struct limit_shape *shape, uint64_t begin_ns)
{
    return (double)shape->bytes * shape->n / (double)(bench_now_ns() - begin_ns);
}

static uint8_t *ring_alloc(const struct limit_shape *shape, int fill)
{
    const size_t bytes = shape->bytes * shape->window;
    uint8_t *ring = mem_alloc_aligned(PAGE, bytes);

    if (ring)
        memset(ring, fill, bytes); /* the pages are there before the clock runs */
    return ring;
}

static uint8_t *piece(uint8_t *ring, const struct limit_shape *shape, uint32_t i)
{
    return ring + (size_t)(i % shape->window) * shape->bytes;
}

/* ---- memcpy ---- */

enum status limit_memcpy(const struct limit_shape *shape, double *gb_per_s_out)
{
    uint8_t *from = ring_alloc(shape, 0x5a), *to = ring_alloc(shape, 0);
    enum status status = from && to ? STATUS_OK : STATUS_NO_MEMORY;
    const uint64_t begin_ns = bench_now_ns();

    for (uint32_t i = 0; i < shape->n && status == STATUS_OK; i++) {
        memcpy(piece(to, shape, i), piece(from, shape, i), shape->bytes);
        __asm__ volatile("" : : "r"(to) : "memory"); /* each copy happens */
    }
    if (status == STATUS_OK)
        *gb_per_s_out = rate(shape, begin_ns);
    mem_free(from);
    mem_free(to);
    return status;
}

/* ---- a child ---- */

/* Runs fn(shape, ends[1]) in a child; the parent's end goes to *end_out. */
static enum status child_start(void (*fn)(const struct limit_shape *shape, int end),
                               const struct limit_shape *shape, const int ends[2], pid_t *pid_out)
{
    const pid_t pid = fork();

    if (pid < 0)
        return STATUS_IO;
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(ends[0]);
        fn(shape, ends[1]);
        _exit(0);
    }
    *pid_out = pid;
    return STATUS_OK;
}

static void child_stop(pid_t pid)
{
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

/* ---- process_vm_readv ---- */

static void vm_child(const struct limit_shape *shape, int end)
{
    uint8_t *ring = ring_alloc(shape, 0x5a);

    if (ring && write(end, &ring, sizeof(ring)) == (ssize_t)sizeof(ring))
        pause(); /* until the parent stops it */
}

static enum status vm_read(const struct limit_shape *shape, pid_t pid, uint8_t *from, uint8_t *to)
{
    for (uint32_t i = 0; i < shape->n; i++) {
        const struct iovec local = {.iov_base = piece(to, shape, i), .iov_len = shape->bytes};
        const struct iovec remote = {.iov_base = piece(from, shape, i), .iov_len = shape->bytes};

        if (process_vm_readv(pid, &local, 1, &remote, 1, 0) != (ssize_t)shape->bytes)
            return errno == EPERM ? STATUS_DENIED : STATUS_IO;
    }
    return STATUS_OK;
}

enum status limit_vm_readv(const struct limit_shape *shape, double *gb_per_s_out)
{
    uint8_t *from = NULL, *to = ring_alloc(shape, 0);
    enum status status = STATUS_NO_MEMORY;
    uint64_t begin_ns;
    int ends[2];
    pid_t pid;

    if (!to || socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0)
        goto fail_memory;
    status = child_start(vm_child, shape, ends, &pid);
    close(ends[1]);
    if (status != STATUS_OK)
        goto fail_socket;
    status = STATUS_LOST;
    if (read(ends[0], &from, sizeof(from)) == (ssize_t)sizeof(from)) {
        begin_ns = bench_now_ns();
        status = vm_read(shape, pid, from, to);
        if (status == STATUS_OK)
            *gb_per_s_out = rate(shape, begin_ns);
    }
    child_stop(pid);
fail_socket:
    close(ends[0]);
fail_memory:
    mem_free(to);
    return status;
}

/* ---- TCP ---- */

static void tcp_child(const struct limit_shape *shape, int end)
{
    uint8_t *ring = ring_alloc(shape, 0x5a);
    char answer;

    for (uint32_t i = 0; ring && i < shape->n; i++) {
        for (size_t at = 0; at < shape->bytes;) {
            const ssize_t n =
                send(end, piece(ring, shape, i) + at, shape->bytes - at, MSG_NOSIGNAL);

            if (n <= 0)
                return;
            at += (size_t)n;
        }
        if (shape->window == 1 && recv(end, &answer, 1, 0) != 1)
            return;
    }
    pause(); /* until the parent stops it: what is in flight must not be reset */
}

/* A connected pair over loopback; both ends are ours. */
static enum status tcp_pair(int ends[2])
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);
    const int listener = socket(AF_INET, SOCK_STREAM, 0);
    const int on = 1;

    ends[0] = ends[1] = -1;
    if (listener >= 0 && bind(listener, (struct sockaddr *)&address, len) == 0 &&
        listen(listener, 1) == 0 && getsockname(listener, (struct sockaddr *)&address, &len) == 0) {
        ends[0] = socket(AF_INET, SOCK_STREAM, 0);
        if (ends[0] >= 0 && connect(ends[0], (struct sockaddr *)&address, len) == 0)
            ends[1] = accept(listener, NULL, NULL);
    }
    if (listener >= 0)
        close(listener);
    for (int i = 0; i < 2 && ends[1] >= 0; i++)
        setsockopt(ends[i], IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (ends[1] >= 0)
        return STATUS_OK;
    if (ends[0] >= 0)
        close(ends[0]);
    return STATUS_IO;
}

static enum status tcp_receive(const struct limit_shape *shape, int end, uint8_t *ring)
{
    const char answer = 0;

    for (uint32_t i = 0; i < shape->n; i++)
        if (recv(end, piece(ring, shape, i), shape->bytes, MSG_WAITALL) != (ssize_t)shape->bytes ||
            (shape->window == 1 && send(end, &answer, 1, MSG_NOSIGNAL) != 1))
            return STATUS_LOST;
    return STATUS_OK;
}

enum status limit_tcp(const struct limit_shape *shape, double *gb_per_s_out)
{
    uint8_t *ring = ring_alloc(shape, 0);
    enum status status = STATUS_NO_MEMORY;
    uint64_t begin_ns;
    int ends[2];
    pid_t pid;

    if (!ring)
        return status;
    status = tcp_pair(ends);
    if (status != STATUS_OK)
        goto fail_pair;
    status = child_start(tcp_child, shape, ends, &pid);
    close(ends[1]);
    if (status != STATUS_OK)
        goto fail_child;
    begin_ns = bench_now_ns();
    status = tcp_receive(shape, ends[0], ring);
    if (status == STATUS_OK)
        *gb_per_s_out = rate(shape, begin_ns);
    child_stop(pid);
fail_child:
    close(ends[0]);
fail_pair:
    mem_free(ring);
    return status;
}
