/* The clerk. Jobs that wait stand in lines on the loop's side, one line for each tenant; two at a
 * time are on their way through the ring, so that the thread need not wait for the loop. The lines
 * are a list through the jobs themselves: nothing is allocated. */
#include "router/clerk.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>

#include "base/check.h"
#include "base/loop.h"
#include "base/mem.h"
#include "base/ring.h"

#define AHEAD 2u /* jobs with the thread */

struct clerk {
    struct ring *in;  /* loop -> thread: struct clerk_job *, NULL: stop */
    struct ring *out; /* thread -> loop */
    struct ring_wake *thread_wake, *loop_wake;
    struct loop_source *source;
    pthread_t thread;
    struct clerk_job *first, *end; /* lines, by whose turn it is */
    uint32_t n_ahead, n_jobs;
};

/* ---- on the clerk's thread ---- */

static struct clerk_job *next_job(struct clerk *clerk)
{
    struct clerk_job *job;

    while (!ring_pop(clerk->in, &job)) {
        struct pollfd fd = {.fd = ring_wake_fd(clerk->thread_wake), .events = POLLIN};

        ring_wake_arm(clerk->thread_wake);
        if (ring_is_empty(clerk->in))
            (void)poll(&fd, 1, -1);
        ring_wake_clear(clerk->thread_wake);
    }
    return job;
}

static void *work(void *ctx)
{
    struct clerk *clerk = ctx;
    struct clerk_job *job;

    while ((job = next_job(clerk)) != NULL) {
        job->run(job);
        CHECK(ring_push(clerk->out, &job));
        ring_wake_signal(clerk->loop_wake);
    }
    return NULL;
}

/* ---- on the loop's thread ---- */

/* The next tenant's first job; the tenant goes to the end, if there is more of it. */
static struct clerk_job *take_turn(struct clerk *clerk)
{
    struct clerk_job *job = clerk->first, *next = job->next;

    clerk->first = job->line;
    if (!clerk->first)
        clerk->end = NULL;
    if (next) {
        next->last = job->last;
        next->line = NULL;
        if (clerk->end)
            clerk->end->line = next;
        else
            clerk->first = next;
        clerk->end = next;
    }
    return job;
}

static void feed(struct clerk *clerk)
{
    while (clerk->first && clerk->n_ahead < AHEAD) {
        struct clerk_job *job = take_turn(clerk);

        clerk->n_ahead++;
        CHECK(ring_push(clerk->in, &job));
        ring_wake_signal(clerk->thread_wake);
    }
}

void clerk_post(struct clerk *clerk, struct clerk_job *job)
{
    struct clerk_job *line = clerk->first;

    job->next = job->line = NULL;
    job->last = job;
    clerk->n_jobs++;
    while (line && line->tenant != job->tenant)
        line = line->line;
    if (line) {
        line->last->next = job;
        line->last = job;
    } else if (clerk->end) {
        clerk->end->line = job;
        clerk->end = job;
    } else {
        clerk->first = clerk->end = job;
    }
    feed(clerk);
}

static bool on_drain(void *ctx)
{
    struct clerk *clerk = ctx;
    struct clerk_job *job;

    ring_wake_clear(clerk->loop_wake);
    if (!ring_pop(clerk->out, &job))
        return false;
    clerk->n_ahead--;
    clerk->n_jobs--;
    feed(clerk);
    job->done(job);
    return true;
}

static bool on_arm(void *ctx)
{
    struct clerk *clerk = ctx;

    ring_wake_arm(clerk->loop_wake);
    return ring_is_empty(clerk->out);
}

uint32_t clerk_n_jobs(const struct clerk *clerk)
{
    return clerk->n_jobs;
}

/* ---- life ---- */

/* Signals are the main thread's. */
static enum status start_thread(struct clerk *clerk)
{
    sigset_t all, before;
    int error;

    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    error = pthread_create(&clerk->thread, NULL, work, clerk);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error)
        return STATUS_NO_MEMORY;
    (void)pthread_setname_np(clerk->thread, "baton-clerk");
    return STATUS_OK;
}

static void release(struct clerk *clerk)
{
    loop_source_remove(clerk->source);
    ring_wake_close(clerk->loop_wake);
    ring_wake_close(clerk->thread_wake);
    ring_destroy(clerk->out);
    ring_destroy(clerk->in);
    mem_free(clerk);
}

enum status clerk_create(struct loop *loop, struct clerk **out)
{
    struct clerk *clerk = mem_alloc_zero(1, sizeof(*clerk));
    struct loop_source_desc desc = {
        .name = "clerk", .drain = on_drain, .arm = on_arm, .ctx = clerk};
    enum status status;

    if (!clerk)
        return STATUS_NO_MEMORY;
    if ((status = ring_create(sizeof(struct clerk_job *), AHEAD + 1, &clerk->in)) != STATUS_OK ||
        (status = ring_create(sizeof(struct clerk_job *), AHEAD, &clerk->out)) != STATUS_OK ||
        (status = ring_wake_open(&clerk->thread_wake)) != STATUS_OK ||
        (status = ring_wake_open(&clerk->loop_wake)) != STATUS_OK)
        goto fail;
    desc.fd = ring_wake_fd(clerk->loop_wake);
    status = loop_source_add(loop, &desc, &clerk->source);
    if (status == STATUS_OK)
        status = start_thread(clerk);
    if (status != STATUS_OK)
        goto fail;
    *out = clerk;
    return STATUS_OK;
fail:
    release(clerk);
    return status;
}

void clerk_destroy(struct clerk *clerk)
{
    struct clerk_job *stop = NULL, *job;

    if (!clerk)
        return;
    CHECK(ring_push(clerk->in, &stop));
    ring_wake_signal(clerk->thread_wake);
    (void)pthread_join(clerk->thread, NULL);
    while (ring_pop(clerk->out, &job))
        job->drop(job);
    while (clerk->first) {
        job = take_turn(clerk);
        job->drop(job);
    }
    release(clerk);
}
