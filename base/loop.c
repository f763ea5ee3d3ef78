/* The turn, as the header orders it, on top of libevent, which only polls: every descriptor's
 * callback does no more than mark its source ready. Removed sources are freed at the end of the
 * turn, so that callbacks may remove anything at any time. */
#include "base/loop.h"

#include <event2/event.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "base/check.h"
#include "base/loop_timers.h"
#include "base/mem.h"
#include "base/ring.h"

#define LOOP_SIGNALS_MAX 8
/* Rounds of drains and hooks within one turn, before the loop looks at descriptors and timers. */
#define LOOP_ROUNDS_MAX 8

struct loop_source {
    struct loop *loop;
    struct loop_source_desc desc;
    struct event *event; /* NULL without a descriptor */
    uint32_t budget_left;
    bool is_ready; /* must be drained */
    bool is_armed; /* its library will announce the next input */
    bool is_dead;
};

struct hook {
    void (*fn)(void *ctx); /* NULL: removed */
    void *ctx;
};

struct watch {
    struct event *event;
    void (*fn)(void *ctx, int signum);
    void *ctx;
};

/* Calls from other threads: a queue under a lock, for rare things; rings carry the traffic. */
struct posts {
    pthread_mutex_t lock;
    struct hook queue[LOOP_POSTS_MAX];
    uint32_t first;
    uint32_t n;
    struct ring_wake *wake;
    struct loop_source *source;
};

struct loop {
    struct loop_options options;
    struct event_base *base;
    struct event *sleep_timer; /* bounds the sleep */
    struct loop_timers timers;
    struct loop_source **sources; /* [n_sources] */
    uint32_t n_sources;
    uint32_t sources_capacity;
    bool has_dead;
    struct hook hooks[LOOP_HOOKS_MAX];
    struct watch watches[LOOP_SIGNALS_MAX];
    size_t n_watches;
    struct posts posts;
    _Atomic bool must_stop;
    uint64_t woke_ns; /* when this turn began; 0: asleep */
    _Atomic uint64_t n_turns;
    _Atomic uint64_t longest_ns;
    struct metric_counter *turns_metric;
    struct metric_histogram *turn_seconds_metric;
};

struct loop_timers *loop_timers_of(struct loop *loop)
{
    return &loop->timers;
}

uint64_t loop_now_ns(const struct loop *loop)
{
    return clock_now_ns(&loop->options.clock);
}

struct event_base *loop_base(struct loop *loop)
{
    return loop->base;
}

void loop_woke(struct loop *loop)
{
    if (loop->woke_ns == 0) {
        loop->woke_ns = loop_now_ns(loop);
    }
}

/* ---- sources ---- */

static void on_readable(evutil_socket_t fd, short what, void *ctx)
{
    (void)fd;
    (void)what;
    struct loop_source *source = ctx;
    loop_woke(source->loop);
    loop_touch(source);
}

/* Room for one more pointer in the list. */
static enum status sources_make_room(struct loop *loop)
{
    if (loop->n_sources < loop->sources_capacity) {
        return STATUS_OK;
    }
    if (loop->n_sources == LOOP_SOURCES_MAX) {
        return STATUS_FULL;
    }
    uint32_t capacity = loop->sources_capacity > 0 ? 2 * loop->sources_capacity : 16;
    struct loop_source **sources = mem_realloc(loop->sources, capacity * sizeof(*sources));
    if (sources == NULL) {
        return STATUS_NO_MEMORY;
    }
    loop->sources = sources;
    loop->sources_capacity = capacity;
    return STATUS_OK;
}

enum status loop_source_add(struct loop *loop, const struct loop_source_desc *desc,
                            struct loop_source **out)
{
    CHECK(desc->drain != NULL);
    enum status status = sources_make_room(loop);
    if (status != STATUS_OK) {
        return status;
    }
    struct loop_source *source = mem_alloc_zero(1, sizeof(*source));
    if (source == NULL) {
        return STATUS_NO_MEMORY;
    }
    source->loop = loop;
    source->desc = *desc;
    source->is_ready = true;
    if (source->desc.budget == 0) {
        source->desc.budget = LOOP_BUDGET_DEFAULT;
    }
    source->budget_left = source->desc.budget;
    if (desc->fd >= 0) {
        source->event = event_new(loop->base, desc->fd, EV_READ | EV_PERSIST, on_readable, source);
        status = source->event == NULL                 ? STATUS_NO_MEMORY
                 : event_add(source->event, NULL) != 0 ? STATUS_IO
                                                       : STATUS_OK;
    }
    if (status != STATUS_OK) {
        if (source->event != NULL) {
            event_free(source->event);
        }
        mem_free(source);
        return status;
    }
    loop->sources[loop->n_sources++] = source;
    *out = source;
    return STATUS_OK;
}

void loop_source_remove(struct loop_source *source)
{
    if (source == NULL) {
        return;
    }
    CHECK_MSG(!source->is_dead, "a source was removed twice");
    if (source->event != NULL) {
        event_free(source->event);
        source->event = NULL;
    }
    source->is_dead = true;
    source->is_ready = false;
    source->is_armed = true;
    source->loop->has_dead = true;
}

void loop_touch(struct loop_source *source)
{
    if (!source->is_dead) {
        source->is_ready = true;
        source->is_armed = false;
    }
}

static void sources_bury(struct loop *loop)
{
    if (!loop->has_dead) {
        return;
    }
    uint32_t n_kept = 0;
    for (uint32_t i = 0; i < loop->n_sources; i++) {
        if (loop->sources[i]->is_dead) {
            mem_free(loop->sources[i]);
        } else {
            loop->sources[n_kept++] = loop->sources[i];
        }
    }
    loop->n_sources = n_kept;
    loop->has_dead = false;
}

/* Drains one source until it is quiet or has no budget. Few drains of a peer that sends what is
 * slow to read are as bad as many: timers and other sources must not wait for all of them. */
static void source_drain(struct loop_source *source)
{
    const struct loop *loop = source->loop;
    uint64_t start_ns = loop_now_ns(loop);
    while (source->is_ready && source->budget_left > 0) {
        source->budget_left--;
        source->is_ready = false; /* a touch during the drain sets it again */
        source->is_armed = false;
        if (source->desc.drain(source->desc.ctx) && !source->is_dead) {
            source->is_ready = true;
        }
        if (loop_now_ns(loop) - start_ns >= LOOP_SLICE_NS) {
            source->budget_left = 0;
        }
    }
}

/* Drains all, again and again, as sources touch one another. */
static void sources_drain(struct loop *loop)
{
    bool did_work = true;
    while (did_work) {
        did_work = false;
        for (uint32_t i = 0; i < loop->n_sources; i++) {
            struct loop_source *source = loop->sources[i];
            if (source->is_ready && source->budget_left > 0) {
                did_work = true;
                source_drain(source);
            }
        }
    }
}

/* True if a drain now would do something. */
static bool sources_are_waiting(const struct loop *loop)
{
    for (uint32_t i = 0; i < loop->n_sources; i++) {
        if (loop->sources[i]->is_ready && loop->sources[i]->budget_left > 0) {
            return true;
        }
    }
    return false;
}

/* Arms all that are quiet. True if the loop may sleep. */
static bool sources_arm(struct loop *loop)
{
    for (uint32_t i = 0; i < loop->n_sources; i++) {
        struct loop_source *source = loop->sources[i];
        if (source->is_ready || source->is_armed) {
            continue;
        }
        source->is_armed = true; /* a touch during the call takes it back */
        if (source->desc.arm != NULL && !source->desc.arm(source->desc.ctx)) {
            loop_touch(source);
        }
    }
    for (uint32_t i = 0; i < loop->n_sources; i++) {
        if (loop->sources[i]->is_ready) {
            return false;
        }
    }
    return true;
}

/* ---- hooks ---- */

enum status loop_hook_add(struct loop *loop, void (*fn)(void *ctx), void *ctx)
{
    for (size_t i = 0; i < LOOP_HOOKS_MAX; i++) {
        if (loop->hooks[i].fn == NULL) {
            loop->hooks[i] = (struct hook){.fn = fn, .ctx = ctx};
            return STATUS_OK;
        }
    }
    return STATUS_FULL;
}

void loop_hook_remove(struct loop *loop, void (*fn)(void *ctx), void *ctx)
{
    for (size_t i = 0; i < LOOP_HOOKS_MAX; i++) {
        if (loop->hooks[i].fn == fn && loop->hooks[i].ctx == ctx) {
            loop->hooks[i].fn = NULL;
            return;
        }
    }
}

static void hooks_run(struct loop *loop)
{
    for (size_t i = 0; i < LOOP_HOOKS_MAX; i++) {
        if (loop->hooks[i].fn != NULL) {
            loop->hooks[i].fn(loop->hooks[i].ctx);
        }
    }
}

/* ---- posts ---- */

enum status loop_post(struct loop *loop, void (*fn)(void *ctx), void *ctx)
{
    struct posts *posts = &loop->posts;
    enum status status = STATUS_FULL;
    pthread_mutex_lock(&posts->lock);
    if (posts->n < LOOP_POSTS_MAX) {
        posts->queue[(posts->first + posts->n) % LOOP_POSTS_MAX] = (struct hook){fn, ctx};
        posts->n++;
        status = STATUS_OK;
    }
    pthread_mutex_unlock(&posts->lock);
    ring_wake_signal(posts->wake);
    return status;
}

static bool posts_drain(void *ctx)
{
    struct loop *loop = ctx;
    struct posts *posts = &loop->posts;
    struct hook call = {.fn = NULL};
    ring_wake_clear(posts->wake);
    pthread_mutex_lock(&posts->lock);
    if (posts->n > 0) {
        call = posts->queue[posts->first];
        posts->first = (posts->first + 1) % LOOP_POSTS_MAX;
        posts->n--;
    }
    pthread_mutex_unlock(&posts->lock);
    if (call.fn == NULL) {
        return false;
    }
    call.fn(call.ctx);
    return true;
}

static bool posts_arm(void *ctx)
{
    struct loop *loop = ctx;
    ring_wake_arm(loop->posts.wake);
    pthread_mutex_lock(&loop->posts.lock);
    bool is_quiet = loop->posts.n == 0;
    pthread_mutex_unlock(&loop->posts.lock);
    return is_quiet && !atomic_load_explicit(&loop->must_stop, memory_order_acquire);
}

static enum status posts_init(struct loop *loop)
{
    enum status status = ring_wake_open(&loop->posts.wake);
    if (status != STATUS_OK) {
        return status;
    }
    struct loop_source_desc desc = {.name = "posts",
                                    .fd = ring_wake_fd(loop->posts.wake),
                                    .drain = posts_drain,
                                    .arm = posts_arm,
                                    .ctx = loop};
    return loop_source_add(loop, &desc, &loop->posts.source);
}

/* ---- signals ---- */

static void on_signal(evutil_socket_t signum, short what, void *ctx)
{
    (void)what;
    const struct watch *watch = ctx;
    watch->fn(watch->ctx, (int)signum);
}

enum status loop_signal_watch(struct loop *loop, int signum, void (*fn)(void *ctx, int signum),
                              void *ctx)
{
    if (loop->n_watches == LOOP_SIGNALS_MAX) {
        return STATUS_FULL;
    }
    struct watch *watch = &loop->watches[loop->n_watches];
    *watch = (struct watch){.fn = fn, .ctx = ctx};
    watch->event = evsignal_new(loop->base, signum, on_signal, watch);
    if (watch->event == NULL) {
        return STATUS_INVALID;
    }
    if (event_add(watch->event, NULL) != 0) {
        event_free(watch->event);
        return STATUS_IO;
    }
    loop->n_watches++;
    return STATUS_OK;
}

/* ---- the turn ---- */

/* Ends the turn's measurement. */
static void turn_account(struct loop *loop, uint64_t now_ns)
{
    uint64_t length_ns = now_ns - loop->woke_ns;
    if (length_ns > atomic_load_explicit(&loop->longest_ns, memory_order_relaxed)) {
        atomic_store_explicit(&loop->longest_ns, length_ns, memory_order_relaxed);
    }
    atomic_fetch_add_explicit(&loop->n_turns, 1, memory_order_relaxed);
    metric_counter_add(loop->turns_metric, 1);
    metric_histogram_observe(loop->turn_seconds_metric, (double)length_ns * 1e-9);
}

static void on_sleep_over(evutil_socket_t fd, short what, void *ctx)
{
    (void)fd;
    (void)what;
    loop_woke(ctx);
}

/* Looks at the descriptors; sleeps at most `block_ns`. */
static enum status loop_poll(struct loop *loop, uint64_t now_ns, uint64_t block_ns)
{
    int flags = EVLOOP_ONCE;
    uint64_t next_ns = loop_timers_next_ns(&loop->timers);
    uint64_t until_timer_ns = next_ns > now_ns ? next_ns - now_ns : 0;
    if (next_ns != CLOCK_NEVER && until_timer_ns < block_ns) {
        block_ns = until_timer_ns;
    }
    if (block_ns == 0) {
        flags |= EVLOOP_NONBLOCK;
    } else if (block_ns == CLOCK_NEVER) {
        event_del(loop->sleep_timer);
    } else {
        uint64_t us = (block_ns - 1) / NS_PER_US + 1; /* up: never early */
        struct timeval timeout = {.tv_sec = (time_t)(us / 1000000),
                                  .tv_usec = (suseconds_t)(us % 1000000)};
        if (event_add(loop->sleep_timer, &timeout) != 0) {
            return STATUS_IO;
        }
    }
    loop->woke_ns = block_ns == 0 ? now_ns : 0;
    if (event_base_loop(loop->base, flags) < 0) {
        return STATUS_IO;
    }
    loop_woke(loop);
    return STATUS_OK;
}

enum status loop_turn(struct loop *loop, uint64_t block_ns)
{
    loop_woke(loop);
    loop_timers_run(&loop->timers, loop_now_ns(loop));
    for (uint32_t i = 0; i < loop->n_sources; i++) {
        loop->sources[i]->budget_left = loop->sources[i]->desc.budget;
    }
    int n_rounds = 0;
    do {
        sources_drain(loop);
        hooks_run(loop);
        n_rounds++;
    } while (n_rounds < LOOP_ROUNDS_MAX && sources_are_waiting(loop));
    bool may_sleep = sources_arm(loop);
    sources_bury(loop);
    if (atomic_load_explicit(&loop->must_stop, memory_order_acquire)) {
        may_sleep = false;
    }
    uint64_t now_ns = loop_now_ns(loop);
    turn_account(loop, now_ns);
    return loop_poll(loop, now_ns, may_sleep ? block_ns : 0);
}

enum status loop_run(struct loop *loop)
{
    enum status status;
    do {
        status = loop_turn(loop, CLOCK_NEVER);
    } while (status == STATUS_OK &&
             !atomic_exchange_explicit(&loop->must_stop, false, memory_order_acq_rel));
    return status;
}

void loop_stop(struct loop *loop)
{
    atomic_store_explicit(&loop->must_stop, true, memory_order_release);
    ring_wake_signal(loop->posts.wake);
}

/* ---- life ---- */

static enum status base_create(struct loop *loop)
{
    struct event_config *config = event_config_new();
    if (config == NULL) {
        return STATUS_NO_MEMORY;
    }
    /* Without PRECISE_TIMER libevent reads a clock that ticks every 4 ms. */
    event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK | EVENT_BASE_FLAG_PRECISE_TIMER);
    loop->base = event_base_new_with_config(config);
    event_config_free(config);
    if (loop->base == NULL) {
        return STATUS_IO;
    }
    loop->sleep_timer = event_new(loop->base, -1, 0, on_sleep_over, loop);
    return loop->sleep_timer != NULL ? STATUS_OK : STATUS_NO_MEMORY;
}

static enum status metrics_create(struct loop *loop)
{
    static const double bounds[] = {20e-6, 50e-6, 100e-6, 200e-6, 500e-6, 1e-3,
                                    2e-3,  5e-3,  10e-3,  50e-3,  0.25,   1};
    if (loop->options.metrics == NULL) {
        return STATUS_OK;
    }
    struct metric_label label = {.name = "loop", .value = loop->options.name};
    struct metric_desc desc = {.name = "baton_loop_turns_total",
                               .help = "Turns of an event loop.",
                               .labels = &label,
                               .n_labels = 1};
    enum status status = metric_counter_create(loop->options.metrics, &desc, &loop->turns_metric);
    if (status != STATUS_OK) {
        return status;
    }
    desc.name = "baton_loop_turn_seconds";
    desc.help = "Length of an event loop's turns, without the sleep.";
    return metric_histogram_create(loop->options.metrics, &desc, bounds,
                                   sizeof(bounds) / sizeof(bounds[0]), &loop->turn_seconds_metric);
}

enum status loop_create(const struct loop_options *options, struct loop **out)
{
    struct loop *loop = mem_alloc_zero(1, sizeof(*loop));
    if (loop == NULL) {
        return STATUS_NO_MEMORY;
    }
    CHECK(pthread_mutex_init(&loop->posts.lock, NULL) == 0);
    loop->options = *options;
    loop->timers.clock = options->clock;
    enum status status = base_create(loop);
    if (status == STATUS_OK) {
        status = posts_init(loop);
    }
    if (status == STATUS_OK) {
        status = metrics_create(loop);
    }
    if (status != STATUS_OK) {
        loop_destroy(loop);
        return status;
    }
    *out = loop;
    return STATUS_OK;
}

void loop_destroy(struct loop *loop)
{
    if (loop == NULL) {
        return;
    }
    for (size_t i = 0; i < loop->n_watches; i++) {
        event_free(loop->watches[i].event);
    }
    loop_source_remove(loop->posts.source);
    sources_bury(loop);
    CHECK_MSG(loop->n_sources == 0, "a loop was destroyed before its sources");
    loop_timers_fini(&loop->timers);
    ring_wake_close(loop->posts.wake);
    mem_free(loop->sources);
    if (loop->sleep_timer != NULL) {
        event_free(loop->sleep_timer);
    }
    if (loop->base != NULL) {
        event_base_free(loop->base);
    }
    pthread_mutex_destroy(&loop->posts.lock);
    mem_free(loop);
}

uint64_t loop_turns(const struct loop *loop)
{
    return atomic_load_explicit(&loop->n_turns, memory_order_relaxed);
}

uint64_t loop_longest_turn_ns(struct loop *loop, bool reset)
{
    return reset ? atomic_exchange_explicit(&loop->longest_ns, 0, memory_order_relaxed)
                 : atomic_load_explicit(&loop->longest_ns, memory_order_relaxed);
}
