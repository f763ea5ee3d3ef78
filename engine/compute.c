/* The compute thread. Steps go to it and events come back through two rings; each side has a wake,
 * so both can sleep. At most one step is on its way, so its ring never fills; events are dropped
 * only when the owner destroys the object. Should the ring of events be full, the thread waits for
 * the loop: a step with that many pieces has a loop that is busy fetching or sending them.
 *
 * All functions of the header belong to the loop's thread; run_* run on the compute thread. */
#include "engine/compute.h"

#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>
#if defined(__SSE2__)
#include <xmmintrin.h>
#endif

#include "base/check.h"
#include "base/clock.h"
#include "base/loop.h"
#include "base/mem.h"
#include "base/ring.h"
#include "engine/crashbox.h"

#define STEPS_MAX 2u     /* one step and the order to stop */
#define EVENTS_MAX 4096u /* pieces of several steps of 512 tokens, and completions */
#define FULL_PAUSE_NS 50000

struct compute {
    struct exec exec;
    struct crashbox *crashbox;
    uint64_t incarnation;
    compute_event_fn on_event;
    void *ctx;

    struct ring *steps;  /* loop -> thread: const struct engine_step *, NULL: stop */
    struct ring *events; /* thread -> loop: struct compute_event */
    struct ring_wake *thread_wake, *loop_wake;
    struct loop_source *source;
    pthread_t thread;
    atomic_bool stopping; /* events need not be kept any more */

    bool busy;           /* the loop's view: posted, COMPLETE not told yet */
    uint64_t started_ns; /* while busy */

    atomic_int tid;            /* of the thread; 0: not yet */
    uint64_t looked_ns;        /* when its waiting was looked at last, */
    uint64_t waited_ns;        /* what it was then, */
    uint64_t waited_before_ns; /* and what it was when the running step began, or a tick before */
};

static uint64_t now_ns(void)
{
    struct clock clock = clock_monotonic();
    return clock_now_ns(&clock);
}

/* ---- on the compute thread ------------------------------------------------------------------- */

/* Denormals are zero, in and out: part of the numerics contract. */
static void run_set_numerics(void)
{
#if defined(__SSE2__)
    const unsigned int flush_to_zero = 0x8000, denormals_are_zero = 0x0040;
    _mm_setcsr(_mm_getcsr() | flush_to_zero | denormals_are_zero);
#elif defined(__aarch64__)
    const uint64_t flush_to_zero = UINT64_C(1) << 24;
    uint64_t fpcr;
    __asm__ volatile("mrs %0, fpcr" : "=r"(fpcr));
    __asm__ volatile("msr fpcr, %0" : : "r"(fpcr | flush_to_zero));
#endif
}

static void run_tell(struct compute *compute, const struct compute_event *event)
{
    const struct timespec pause = {.tv_nsec = FULL_PAUSE_NS};
    while (!ring_push(compute->events, event)) {
        if (atomic_load_explicit(&compute->stopping, memory_order_acquire))
            return;
        ring_wake_signal(compute->loop_wake);
        nanosleep(&pause, NULL);
    }
    ring_wake_signal(compute->loop_wake);
}

static void run_piece(void *ctx, const struct engine_row *row, uint32_t block, uint32_t group,
                      uint64_t digest)
{
    struct compute_event event = {
        .kind = COMPUTE_PIECE,
        .req = row->req,
        .attempt = row->attempt,
        .block = block,
        .group = group,
        .digest = digest,
    };
    run_tell(ctx, &event);
}

static void run_step(struct compute *compute, const struct engine_step *step)
{
    struct compute_event event = {.kind = COMPUTE_COMPLETE};
    uint64_t start = now_ns();
    if (compute->crashbox != NULL)
        crashbox_begin(compute->crashbox, compute->incarnation, step);
    event.status = compute->exec.ops->run(compute->exec.self, step, run_piece, compute);
    if (compute->crashbox != NULL)
        crashbox_end(compute->crashbox);
    event.took_ns = now_ns() - start;
    run_tell(compute, &event);
}

/* Blocks until there is an order. */
static const struct engine_step *run_next(struct compute *compute)
{
    const struct engine_step *step;
    while (!ring_pop(compute->steps, &step)) {
        struct pollfd fd = {.fd = ring_wake_fd(compute->thread_wake), .events = POLLIN};
        ring_wake_arm(compute->thread_wake);
        if (ring_is_empty(compute->steps))
            poll(&fd, 1, -1);
        ring_wake_clear(compute->thread_wake);
    }
    return step;
}

static void *run_thread(void *ctx)
{
    struct compute *compute = ctx;
    const struct engine_step *step;
    run_set_numerics();
    atomic_store(&compute->tid, gettid());
    while ((step = run_next(compute)) != NULL)
        run_step(compute, step);
    return NULL;
}

/* ---- on the loop's thread -------------------------------------------------------------------- */

static bool on_drain(void *ctx)
{
    struct compute *compute = ctx;
    struct compute_event event;
    ring_wake_clear(compute->loop_wake);
    if (!ring_pop(compute->events, &event))
        return false;
    if (event.kind == COMPUTE_COMPLETE)
        compute->busy = false;
    compute->on_event(compute->ctx, &event); /* may destroy the object */
    return true;
}

static bool on_arm(void *ctx)
{
    struct compute *compute = ctx;
    ring_wake_arm(compute->loop_wake);
    return ring_is_empty(compute->events);
}

/* The thread takes no signals: handlers belong to the loop's thread. */
static enum status start_thread(struct compute *compute)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&compute->thread, NULL, run_thread, compute);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error != 0)
        return STATUS_NO_MEMORY;
    pthread_setname_np(compute->thread, "baton-compute");
    return STATUS_OK;
}

static void release(struct compute *compute)
{
    loop_source_remove(compute->source);
    ring_wake_close(compute->loop_wake);
    ring_wake_close(compute->thread_wake);
    ring_destroy(compute->events);
    ring_destroy(compute->steps);
    mem_free(compute);
}

enum status compute_create(struct loop *loop, struct exec exec, struct crashbox *crashbox,
                           uint64_t incarnation, compute_event_fn on_event, void *ctx,
                           struct compute **out)
{
    struct compute *compute = mem_alloc_zero(1, sizeof *compute);
    if (compute == NULL)
        return STATUS_NO_MEMORY;
    compute->exec = exec;
    compute->crashbox = crashbox;
    compute->incarnation = incarnation;
    compute->on_event = on_event;
    compute->ctx = ctx;
    enum status status = ring_create(sizeof(struct engine_step *), STEPS_MAX, &compute->steps);
    if (status == STATUS_OK)
        status = ring_create(sizeof(struct compute_event), EVENTS_MAX, &compute->events);
    if (status == STATUS_OK)
        status = ring_wake_open(&compute->thread_wake);
    if (status == STATUS_OK)
        status = ring_wake_open(&compute->loop_wake);
    if (status != STATUS_OK)
        goto fail;
    struct loop_source_desc desc = {
        .name = "compute",
        .fd = ring_wake_fd(compute->loop_wake),
        .drain = on_drain,
        .arm = on_arm,
        .ctx = compute,
    };
    status = loop_source_add(loop, &desc, &compute->source);
    if (status == STATUS_OK)
        status = start_thread(compute);
    if (status != STATUS_OK)
        goto fail;
    *out = compute;
    return STATUS_OK;
fail:
    release(compute);
    return status;
}

void compute_destroy(struct compute *compute)
{
    const struct engine_step *stop = NULL;
    if (compute == NULL)
        return;
    atomic_store_explicit(&compute->stopping, true, memory_order_release);
    CHECK(ring_push(compute->steps, &stop));
    ring_wake_signal(compute->thread_wake);
    pthread_join(compute->thread, NULL);
    release(compute);
}

void compute_post(struct compute *compute, const struct engine_step *step)
{
    CHECK_MSG(!compute->busy, "the step before has not been told complete");
    compute->busy = true;
    compute->started_ns = now_ns();
    CHECK(ring_push(compute->steps, &step));
    ring_wake_signal(compute->thread_wake);
}

/* The thread's wait on run queues since it began: the second number of its schedstat. */
static uint64_t read_waited_ns(const struct compute *compute)
{
    char path[64], text[96];
    ssize_t len;
    uint64_t waited_ns;
    snprintf(path, sizeof path, "/proc/self/task/%d/schedstat", atomic_load(&compute->tid));
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    len = read(fd, text, sizeof text - 1);
    close(fd);
    text[len > 0 ? len : 0] = '\0';
    return sscanf(text, "%*u %" SCNu64, &waited_ns) == 1 ? waited_ns : 0;
}

uint64_t compute_starved_ns(struct compute *compute)
{
    const uint64_t waited_ns = read_waited_ns(compute), now = now_ns();
    if (!compute->busy || compute->started_ns > compute->looked_ns)
        compute->waited_before_ns = compute->busy ? compute->waited_ns : waited_ns;
    compute->waited_ns = waited_ns;
    compute->looked_ns = now;
    return compute->busy ? waited_ns - compute->waited_before_ns : 0;
}
