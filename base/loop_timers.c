/* The heap and the public functions of timers. A timer's place in the heap is reserved when it is
 * created, so that starting one cannot fail in the middle of something important. */
#include "base/loop_timers.h"

#include <stddef.h>

#include "base/check.h"
#include "base/mem.h"

#define NOT_RUNNING UINT32_MAX
#define TIMERS_CAPACITY_FIRST 16

struct loop_timer {
    struct loop_timers *timers;
    void (*fn)(void *ctx);
    void *ctx;
    uint64_t due_ns;
    uint64_t period_ns; /* 0: once */
    uint64_t start_no;
    uint32_t place; /* in the heap, or NOT_RUNNING */
};

/* ---- the heap ---- */

static bool is_before(const struct loop_timer *a, const struct loop_timer *b)
{
    return a->due_ns != b->due_ns ? a->due_ns < b->due_ns : a->start_no < b->start_no;
}

static void heap_put(struct loop_timers *timers, uint32_t place, struct loop_timer *timer)
{
    timers->heap[place] = timer;
    timer->place = place;
}

/* Moves `timer` from the hole at `place` towards the root as far as it belongs. */
static void heap_rise(struct loop_timers *timers, uint32_t place, struct loop_timer *timer)
{
    while (place > 0 && is_before(timer, timers->heap[(place - 1) / 2])) {
        heap_put(timers, place, timers->heap[(place - 1) / 2]);
        place = (place - 1) / 2;
    }
    heap_put(timers, place, timer);
}

/* The same away from the root. */
static void heap_sink(struct loop_timers *timers, uint32_t place, struct loop_timer *timer)
{
    for (;;) {
        uint32_t child = 2 * place + 1;
        if (child + 1 < timers->n_running &&
            is_before(timers->heap[child + 1], timers->heap[child])) {
            child++;
        }
        if (child >= timers->n_running || !is_before(timers->heap[child], timer)) {
            break;
        }
        heap_put(timers, place, timers->heap[child]);
        place = child;
    }
    heap_put(timers, place, timer);
}

static void heap_insert(struct loop_timers *timers, struct loop_timer *timer)
{
    timer->start_no = timers->n_starts++;
    heap_rise(timers, timers->n_running++, timer);
}

static void heap_remove(struct loop_timers *timers, struct loop_timer *timer)
{
    uint32_t place = timer->place;
    timer->place = NOT_RUNNING;
    struct loop_timer *last = timers->heap[--timers->n_running];
    if (last == timer) {
        return;
    }
    if (place > 0 && is_before(last, timers->heap[(place - 1) / 2])) {
        heap_rise(timers, place, last);
    } else {
        heap_sink(timers, place, last);
    }
}

/* ---- for the loop ---- */

void loop_timers_fini(struct loop_timers *timers)
{
    CHECK_MSG(timers->n_created == 0, "a loop was destroyed before its timers");
    mem_free(timers->heap);
}

uint64_t loop_timers_next_ns(const struct loop_timers *timers)
{
    return timers->n_running > 0 ? timers->heap[0]->due_ns : CLOCK_NEVER;
}

void loop_timers_run(struct loop_timers *timers, uint64_t now_ns)
{
    /* What callbacks start from here on waits for the next turn, even if it is due at once. */
    uint64_t start_no_end = timers->n_starts;
    while (timers->n_running > 0) {
        struct loop_timer *timer = timers->heap[0];
        if (timer->due_ns > now_ns || timer->start_no >= start_no_end) {
            break;
        }
        heap_remove(timers, timer);
        if (timer->period_ns > 0) {
            timer->due_ns = clock_add_ns(timer->due_ns, timer->period_ns);
            if (timer->due_ns <= now_ns) {
                timer->due_ns = clock_add_ns(now_ns, timer->period_ns);
            }
            heap_insert(timers, timer);
        }
        timer->fn(timer->ctx); /* may destroy the timer: nothing of it is touched after this */
    }
}

/* ---- public ---- */

enum status loop_timer_create(struct loop *loop, void (*fn)(void *ctx), void *ctx,
                              struct loop_timer **out)
{
    struct loop_timers *timers = loop_timers_of(loop);
    if (timers->n_created == timers->capacity) {
        uint32_t capacity = timers->capacity > 0 ? 2 * timers->capacity : TIMERS_CAPACITY_FIRST;
        struct loop_timer **heap =
            mem_realloc(timers->heap, capacity * sizeof(struct loop_timer *));
        if (heap == NULL) {
            return STATUS_NO_MEMORY;
        }
        timers->heap = heap;
        timers->capacity = capacity;
    }
    struct loop_timer *timer = mem_alloc_zero(1, sizeof(*timer));
    if (timer == NULL) {
        return STATUS_NO_MEMORY;
    }
    *timer = (struct loop_timer){.timers = timers, .fn = fn, .ctx = ctx, .place = NOT_RUNNING};
    timers->n_created++;
    *out = timer;
    return STATUS_OK;
}

void loop_timer_destroy(struct loop_timer *timer)
{
    if (timer != NULL) {
        loop_timer_stop(timer);
        timer->timers->n_created--;
        mem_free(timer);
    }
}

static void timer_start(struct loop_timer *timer, uint64_t due_ns, uint64_t period_ns)
{
    loop_timer_stop(timer);
    timer->due_ns = due_ns;
    timer->period_ns = period_ns;
    heap_insert(timer->timers, timer);
}

void loop_timer_at(struct loop_timer *timer, uint64_t due_ns)
{
    timer_start(timer, due_ns, 0);
}

void loop_timer_after(struct loop_timer *timer, uint64_t delay_ns)
{
    timer_start(timer, clock_add_ns(clock_now_ns(&timer->timers->clock), delay_ns), 0);
}

void loop_timer_every(struct loop_timer *timer, uint64_t period_ns)
{
    CHECK(period_ns > 0);
    timer_start(timer, clock_add_ns(clock_now_ns(&timer->timers->clock), period_ns), period_ns);
}

void loop_timer_stop(struct loop_timer *timer)
{
    if (timer->place != NOT_RUNNING) {
        heap_remove(timer->timers, timer);
    }
}

bool loop_timer_running(const struct loop_timer *timer)
{
    return timer->place != NOT_RUNNING;
}
