/* The order of a turn, timers on a clock that stands still, and the two ways a loop can go wrong:
 * sleeping over an announcement, and not sleeping at all. The ping-pong bounces two balls between
 * two loops on two threads, 200,000 times (a million with BATON_LONG=1). */
#include "base/loop.h"
#include "base/mem.h"
#include "base/rand.h"
#include "base/ring.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* Longer than any test waits: what sleeps so long has lost its wake-up. */
#define LONG_NS (20 * NS_PER_S)

static uint64_t now_ns;

static struct loop *new_loop(struct clock clock)
{
    struct loop *loop;
    struct loop_options options = {.name = "test", .clock = clock};
    assert_int_equal(loop_create(&options, &loop), STATUS_OK);
    return loop;
}

static struct loop *manual_loop(void)
{
    now_ns = 1;
    return new_loop(clock_manual(&now_ns));
}

static void turn(struct loop *loop)
{
    assert_int_equal(loop_turn(loop, 0), STATUS_OK);
}

/* ---- timers ---- */

static char trace[256];

static void trace_add(void *ctx)
{
    strcat(trace, ctx);
}

static void test_timer_order(void **state)
{
    (void)state;
    struct loop *loop = manual_loop();
    static char names[7][2] = {"a", "b", "c", "d", "e", "f", "g"};
    static const uint64_t due_ns[7] = {50, 20, 40, 20, 10, 30, 60};
    struct loop_timer *timers[7];
    for (int i = 0; i < 7; i++) {
        assert_int_equal(loop_timer_create(loop, trace_add, names[i], &timers[i]), STATUS_OK);
        loop_timer_at(timers[i], due_ns[i]);
    }
    trace[0] = '\0';
    turn(loop);
    assert_string_equal(trace, "");
    now_ns = 30;
    turn(loop);
    assert_string_equal(trace, "ebdf");
    loop_timer_stop(timers[2]);
    loop_timer_at(timers[4], 55);
    assert_false(loop_timer_running(timers[2]));
    assert_true(loop_timer_running(timers[4]));
    now_ns = 100;
    turn(loop);
    assert_string_equal(trace, "ebdfaeg");
    for (int i = 0; i < 7; i++) {
        loop_timer_destroy(timers[i]);
    }
    loop_destroy(loop);
}

static void test_timer_random(void **state)
{
    (void)state;
    enum { N = 200 };
    struct loop *loop = manual_loop();
    struct loop_timer *timers[N];
    static char mark[] = "x";
    struct rand rng;
    size_t n_ran = 0;
    rand_init(&rng, 3);
    for (int i = 0; i < N; i++) {
        assert_int_equal(loop_timer_create(loop, trace_add, mark, &timers[i]), STATUS_OK);
    }
    uint64_t due_ns[N] = {0};
    for (int step = 0; step < 20000; step++) {
        size_t i = rand_below(&rng, N);
        if (rand_chance(&rng, 1, 4)) {
            loop_timer_stop(timers[i]);
            due_ns[i] = 0;
        } else {
            due_ns[i] = now_ns + 1 + rand_below(&rng, 100);
            loop_timer_at(timers[i], due_ns[i]);
        }
        now_ns += rand_below(&rng, 3);
        size_t n_due = 0;
        for (size_t k = 0; k < N; k++) {
            bool is_due = due_ns[k] != 0 && due_ns[k] <= now_ns;
            n_due += is_due;
            due_ns[k] = is_due ? 0 : due_ns[k];
        }
        trace[0] = '\0';
        turn(loop);
        assert_int_equal(strlen(trace), n_due);
        n_ran += n_due;
        for (size_t k = 0; k < N; k++) {
            assert_int_equal(loop_timer_running(timers[k]), due_ns[k] != 0);
        }
    }
    assert_true(n_ran > 1000);
    for (int i = 0; i < N; i++) {
        loop_timer_destroy(timers[i]);
    }
    loop_destroy(loop);
}

struct ticker {
    struct loop_timer *timer;
    int n_ticks;
    int n_wanted;
};

static void on_tick(void *ctx)
{
    struct ticker *ticker = ctx;
    if (++ticker->n_ticks == ticker->n_wanted) {
        loop_timer_destroy(ticker->timer); /* in its own callback */
    }
}

static void test_timer_every(void **state)
{
    (void)state;
    struct loop *loop = manual_loop();
    struct ticker ticker = {.n_wanted = 4};
    assert_int_equal(loop_timer_create(loop, on_tick, &ticker, &ticker.timer), STATUS_OK);
    loop_timer_every(ticker.timer, 10);
    now_ns = 12;
    turn(loop);
    assert_int_equal(ticker.n_ticks, 1);
    now_ns = 21; /* 11 + 10: no drift */
    turn(loop);
    assert_int_equal(ticker.n_ticks, 2);
    now_ns = 1000; /* 97 periods missed: one tick */
    turn(loop);
    turn(loop);
    assert_int_equal(ticker.n_ticks, 3);
    now_ns = 1010;
    turn(loop);
    assert_int_equal(ticker.n_ticks, 4);
    now_ns = 5000;
    turn(loop);
    assert_int_equal(ticker.n_ticks, 4);
    loop_destroy(loop);
}

static void on_again(void *ctx)
{
    struct ticker *ticker = ctx;
    ticker->n_ticks++;
    loop_timer_after(ticker->timer, 0);
}

/* A timer that is due at once again does not keep the loop from its other work. */
static void test_timer_now(void **state)
{
    (void)state;
    struct loop *loop = manual_loop();
    struct ticker ticker = {.n_wanted = -1};
    assert_int_equal(loop_timer_create(loop, on_again, &ticker, &ticker.timer), STATUS_OK);
    loop_timer_after(ticker.timer, 0);
    for (int i = 1; i < 5; i++) {
        assert_int_equal(loop_turn(loop, LONG_NS), STATUS_OK); /* and it does not sleep */
        assert_int_equal(ticker.n_ticks, i);
    }
    loop_timer_destroy(ticker.timer);
    loop_destroy(loop);
}

static void on_stop(void *ctx)
{
    loop_stop(ctx);
}

/* On the real clock: sleeps until the timer, not longer, not shorter. */
static void test_timer_sleep(void **state)
{
    (void)state;
    struct loop *loop = new_loop(clock_monotonic());
    struct loop_timer *timers[2];
    uint64_t start_ns = loop_now_ns(loop);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(loop_timer_create(loop, on_stop, loop, &timers[i]), STATUS_OK);
    }
    loop_timer_after(timers[0], 3 * NS_PER_MS);
    loop_timer_after(timers[1], LONG_NS);
    assert_int_equal(loop_run(loop), STATUS_OK);
    uint64_t slept_ns = loop_now_ns(loop) - start_ns;
    assert_true(slept_ns >= 3 * NS_PER_MS && slept_ns < LONG_NS / 2);
    assert_true(loop_turns(loop) <= 4); /* it slept: it did not spin */
    assert_true(loop_longest_turn_ns(loop, true) < LONG_NS / 2);
    assert_int_equal(loop_longest_turn_ns(loop, false), 0);
    for (int i = 0; i < 2; i++) {
        loop_timer_destroy(timers[i]);
    }
    loop_destroy(loop);
}

/* ---- sources ---- */

/* Something to drain: `n_left` pieces of work; touches `other` after each. */
struct work {
    char name[2];
    int n_left;
    int n_drains;
    int n_arms;
    int n_refusals; /* of arm, still to come */
    struct loop_source *self;
    struct loop_source *other;
    bool must_remove;
};

static bool work_drain(void *ctx)
{
    struct work *work = ctx;
    work->n_drains++;
    if (work->must_remove) {
        loop_source_remove(work->self);
        work->self = NULL;
        return true;
    }
    if (work->n_left == 0) {
        return false;
    }
    work->n_left--;
    strcat(trace, work->name);
    if (work->other != NULL) {
        loop_touch(work->other);
    }
    return true;
}

static bool work_arm(void *ctx)
{
    struct work *work = ctx;
    work->n_arms++;
    if (work->n_refusals > 0) {
        work->n_refusals--;
        return false;
    }
    return true;
}

static void work_add(struct loop *loop, struct work *work, int fd, uint32_t budget)
{
    struct loop_source_desc desc = {.name = "work",
                                    .fd = fd,
                                    .drain = work_drain,
                                    .arm = work_arm,
                                    .ctx = work,
                                    .budget = budget};
    assert_int_equal(loop_source_add(loop, &desc, &work->self), STATUS_OK);
}

static void test_drain(void **state)
{
    (void)state;
    struct loop *loop = manual_loop();
    struct work a = {.name = "a", .n_left = 2};
    struct work b = {.name = "b", .n_left = 1};
    work_add(loop, &a, -1, 0);
    work_add(loop, &b, -1, 0);
    trace[0] = '\0';
    b.other = a.self;
    turn(loop);
    assert_string_equal(trace, "aab");
    assert_int_equal(a.n_drains, 4); /* two, dry, touched by b: dry again */
    assert_int_equal(a.n_arms, 1);   /* only when all was done */
    turn(loop);
    assert_int_equal(a.n_drains + b.n_drains, 6); /* quiet and armed: left alone */
    a.n_left = 1;
    loop_touch(a.self);
    turn(loop);
    assert_string_equal(trace, "aaba");
    assert_int_equal(a.n_arms, 2);
    assert_int_equal(b.n_arms, 1);
    loop_source_remove(a.self);
    loop_source_remove(b.self);
    loop_destroy(loop);
}

/* A greedy source is stopped at its budget, others get their turn, and the loop does not sleep. */
static void test_budget(void **state)
{
    (void)state;
    struct loop *loop = manual_loop();
    struct work a = {.name = "a", .n_left = 7};
    struct work b = {.name = "b", .n_left = 1};
    work_add(loop, &a, -1, 3);
    work_add(loop, &b, -1, 3);
    trace[0] = '\0';
    assert_int_equal(loop_turn(loop, LONG_NS), STATUS_OK);
    assert_string_equal(trace, "aaab");
    assert_int_equal(a.n_arms, 0);
    assert_int_equal(loop_turn(loop, LONG_NS), STATUS_OK);
    assert_string_equal(trace, "aaabaaa");
    turn(loop);
    assert_string_equal(trace, "aaabaaaa");
    assert_int_equal(a.n_arms, 1);
    loop_source_remove(a.self);
    loop_source_remove(b.self);
    loop_destroy(loop);
}

static bool slow_drain(void *ctx)
{
    now_ns += 400 * NS_PER_US;
    return work_drain(ctx);
}

/* So is one whose drains are few but slow: the timers and the others wait no longer than its slice.
 */
static void test_slice(void **state)
{
    (void)state;
    struct loop *loop = manual_loop();
    struct work a = {.name = "a", .n_left = 7};
    struct work b = {.name = "b", .n_left = 1};
    const struct loop_source_desc desc = {
        .name = "slow", .fd = -1, .drain = slow_drain, .arm = work_arm, .ctx = &a};
    assert_int_equal(loop_source_add(loop, &desc, &a.self), STATUS_OK);
    work_add(loop, &b, -1, 0);
    trace[0] = '\0';
    assert_int_equal(loop_turn(loop, LONG_NS), STATUS_OK);
    assert_string_equal(trace, "aaab");
    assert_int_equal(a.n_arms, 0);
    assert_int_equal(loop_turn(loop, LONG_NS), STATUS_OK);
    assert_string_equal(trace, "aaabaaa");
    turn(loop);
    assert_string_equal(trace, "aaabaaaa");
    loop_source_remove(a.self);
    loop_source_remove(b.self);
    loop_destroy(loop);
}

/* An arm that says "there is more" keeps the loop awake and brings another drain. */
static void test_arm_refused(void **state)
{
    (void)state;
    struct loop *loop = manual_loop();
    struct work work = {.name = "w", .n_refusals = 2};
    work_add(loop, &work, -1, 0);
    assert_int_equal(loop_turn(loop, LONG_NS), STATUS_OK);
    assert_int_equal(loop_turn(loop, LONG_NS), STATUS_OK);
    assert_int_equal(work.n_arms, 2);
    turn(loop);
    assert_int_equal(work.n_arms, 3);
    assert_int_equal(work.n_drains, 3);
    turn(loop);
    assert_int_equal(work.n_drains, 3);
    loop_source_remove(work.self);
    loop_destroy(loop);
}

static void hook_send(void *ctx)
{
    struct work *work = ctx;
    if (work->must_remove) { /* here: something to send */
        work->must_remove = false;
        strcat(trace, "h");
        loop_touch(work->self);
    }
}

/* A hook sends, the send swallows the announcement of input: the source is looked at again. */
static void test_hook(void **state)
{
    (void)state;
    struct loop *loop = manual_loop();
    struct work work = {.name = "w"};
    work_add(loop, &work, -1, 0);
    assert_int_equal(loop_hook_add(loop, hook_send, &work), STATUS_OK);
    turn(loop);
    trace[0] = '\0';
    work.must_remove = true;
    work.n_left = 0;
    int n_drains = work.n_drains;
    int n_arms = work.n_arms;
    turn(loop);
    assert_string_equal(trace, "h");
    assert_int_equal(work.n_drains, n_drains + 1);
    assert_int_equal(work.n_arms, n_arms + 1);
    loop_hook_remove(loop, hook_send, &work);
    work.must_remove = true;
    turn(loop);
    assert_string_equal(trace, "h");
    loop_source_remove(work.self);
    for (int i = 0; i < LOOP_HOOKS_MAX; i++) {
        assert_int_equal(loop_hook_add(loop, hook_send, &work), STATUS_OK);
    }
    assert_int_equal(loop_hook_add(loop, hook_send, &work), STATUS_FULL);
    loop_destroy(loop);
}

static void test_remove_inside(void **state)
{
    (void)state;
    struct loop *loop = manual_loop();
    int fd = eventfd(1, EFD_NONBLOCK);
    struct work a = {.name = "a", .must_remove = true};
    struct work b = {.name = "b", .n_left = 1};
    work_add(loop, &a, fd, 0);
    work_add(loop, &b, -1, 0);
    trace[0] = '\0';
    turn(loop);
    turn(loop);
    assert_string_equal(trace, "b");
    assert_int_equal(a.n_drains, 1);
    loop_source_remove(b.self);
    loop_destroy(loop);
    close(fd);
}

static bool read_eventfd(void *ctx)
{
    uint64_t value;
    struct work *work = ctx;
    if (read(work->n_left, &value, sizeof(value)) != (ssize_t)sizeof(value)) {
        return false;
    }
    work->n_drains += (int)value;
    return true;
}

/* A descriptor wakes the loop; after it was drained, the loop sleeps again. */
static void test_descriptor(void **state)
{
    (void)state;
    struct loop *loop = new_loop(clock_monotonic());
    int fd = eventfd(0, EFD_NONBLOCK);
    struct work work = {.n_left = fd};
    struct loop_source_desc desc = {.name = "fd", .fd = fd, .drain = read_eventfd, .ctx = &work};
    struct loop_source *source;
    assert_int_equal(loop_source_add(loop, &desc, &source), STATUS_OK);
    turn(loop);
    assert_int_equal(eventfd_write(fd, 5), 0);
    assert_int_equal(loop_turn(loop, LONG_NS), STATUS_OK);
    assert_int_equal(loop_turn(loop, 2 * NS_PER_MS), STATUS_OK);
    assert_int_equal(work.n_drains, 5);
    uint64_t start_ns = loop_now_ns(loop);
    assert_int_equal(loop_turn(loop, 2 * NS_PER_MS), STATUS_OK);
    assert_true(loop_now_ns(loop) - start_ns >= 2 * NS_PER_MS);
    loop_source_remove(source);
    loop_destroy(loop);
    close(fd);
}

/* ---- other threads and signals ---- */

struct posted {
    struct loop *loop;
    uint64_t n_run;
};

static void on_post(void *ctx)
{
    struct posted *posted = ctx;
    posted->n_run++;
}

static void on_last_post(void *ctx)
{
    struct posted *posted = ctx;
    loop_stop(posted->loop);
}

#define N_POSTS 20000

static void *post_many(void *ctx)
{
    struct posted *posted = ctx;
    for (int i = 0; i <= N_POSTS; i++) {
        while (loop_post(posted->loop, i < N_POSTS ? on_post : on_last_post, posted) ==
               STATUS_FULL) {
            sched_yield();
        }
    }
    return NULL;
}

static void test_post(void **state)
{
    (void)state;
    struct posted posted = {.loop = new_loop(clock_monotonic())};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, post_many, &posted), 0);
    assert_int_equal(loop_run(posted.loop), STATUS_OK);
    pthread_join(thread, NULL);
    assert_int_equal(posted.n_run, N_POSTS);
    for (int i = 0; i < LOOP_POSTS_MAX; i++) {
        assert_int_equal(loop_post(posted.loop, on_post, &posted), STATUS_OK);
    }
    assert_int_equal(loop_post(posted.loop, on_post, &posted), STATUS_FULL);
    loop_destroy(posted.loop);
}

static void *stop_it(void *ctx)
{
    loop_stop(ctx);
    return NULL;
}

static void test_stop(void **state)
{
    (void)state;
    struct loop *loop = new_loop(clock_monotonic());
    for (int i = 0; i < 500; i++) {
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, stop_it, loop), 0);
        assert_int_equal(loop_run(loop), STATUS_OK);
        pthread_join(thread, NULL);
    }
    loop_stop(loop);
    assert_int_equal(loop_run(loop), STATUS_OK);
    loop_destroy(loop);
}

static void on_sigterm(void *ctx, int signum)
{
    struct posted *posted = ctx;
    posted->n_run += (uint64_t)signum;
    loop_stop(posted->loop);
}

static void test_signal(void **state)
{
    (void)state;
    struct posted posted = {.loop = new_loop(clock_monotonic())};
    assert_int_equal(loop_signal_watch(posted.loop, SIGTERM, on_sigterm, &posted), STATUS_OK);
    assert_int_equal(loop_signal_watch(posted.loop, SIGINT, on_sigterm, &posted), STATUS_OK);
    assert_int_equal(raise(SIGTERM), 0);
    assert_int_equal(loop_run(posted.loop), STATUS_OK);
    assert_int_equal(posted.n_run, SIGTERM);
    loop_destroy(posted.loop);
}

static void test_no_memory(void **state)
{
    (void)state;
    int64_t live = mem_live();
    struct metric_registry *registry;
    struct loop *loop = NULL;
    enum status status = STATUS_NO_MEMORY;
    for (int64_t n = 0; status == STATUS_NO_MEMORY; n++) {
        assert_int_equal(metric_registry_create(&registry), STATUS_OK);
        struct loop_options options = {"test", clock_monotonic(), registry};
        mem_fail_after(n);
        status = loop_create(&options, &loop);
        mem_fail_after(MEM_FAIL_NEVER);
        if (status == STATUS_OK) {
            struct buf out;
            buf_init(&out, 100000);
            turn(loop);
            assert_int_equal(metric_print(registry, &out), STATUS_OK);
            assert_non_null(strstr(buf_text(&out), "baton_loop_turns_total{loop=\"test\"} 1\n"));
            buf_fini(&out);
            loop_destroy(loop);
        }
        metric_registry_destroy(registry);
        assert_int_equal(mem_live(), live);
    }
    assert_int_equal(status, STATUS_OK);
}

/* ---- ping-pong ---- */

#define N_BALLS 2

struct player {
    struct loop *loop;
    struct ring *in;
    struct ring_wake *wake;
    struct player *other;
    struct rand rng;
    uint64_t n_seen;
    uint64_t n_seen_before;
    uint64_t n_wanted;
    bool is_stuck;
};

static bool player_drain(void *ctx)
{
    struct player *player = ctx;
    uint64_t ball;
    ring_wake_clear(player->wake);
    if (!ring_pop(player->in, &ball)) {
        return false;
    }
    player->n_seen++;
    /* Mostly short, so that the other is caught on its way to sleep; sometimes long, so that it
     * sleeps already. */
    uint64_t n_spins = rand_below(&player->rng, rand_chance(&player->rng, 1, 50) ? 20000 : 600);
    for (volatile uint64_t i = 0; i < n_spins; i++) {
    }
    if (ball > 0) {
        ball--;
        assert_true(ring_push(player->other->in, &ball));
        ring_wake_signal(player->other->wake);
    } else {
        loop_stop(player->loop);
        loop_stop(player->other->loop);
    }
    return true;
}

static bool player_arm(void *ctx)
{
    struct player *player = ctx;
    ring_wake_arm(player->wake);
    return ring_is_empty(player->in);
}

/* Every ten seconds: has anything come? */
static void player_watch(void *ctx)
{
    struct player *player = ctx;
    if (player->n_seen == player->n_seen_before) {
        player->is_stuck = true;
        loop_stop(player->loop);
        loop_stop(player->other->loop);
    }
    player->n_seen_before = player->n_seen;
}

static void *player_run(void *ctx)
{
    struct player *player = ctx;
    struct loop_source *source;
    struct loop_timer *watch;
    struct loop_source_desc desc = {.name = "ring",
                                    .fd = ring_wake_fd(player->wake),
                                    .drain = player_drain,
                                    .arm = player_arm,
                                    .ctx = player};
    assert_int_equal(loop_source_add(player->loop, &desc, &source), STATUS_OK);
    assert_int_equal(loop_timer_create(player->loop, player_watch, player, &watch), STATUS_OK);
    loop_timer_every(watch, 10 * NS_PER_S);
    assert_int_equal(loop_run(player->loop), STATUS_OK);
    loop_timer_destroy(watch);
    loop_source_remove(source);
    return NULL;
}

static void test_ping_pong(void **state)
{
    (void)state;
    const char *is_long = getenv("BATON_LONG");
    uint64_t n_bounces = is_long != NULL && strcmp(is_long, "1") == 0 ? 1000000 : 200000;
    struct player players[2];
    pthread_t threads[2];
    for (size_t i = 0; i < 2; i++) {
        players[i] = (struct player){.loop = new_loop(clock_monotonic()), .other = &players[1 - i]};
        rand_init(&players[i].rng, i);
        assert_int_equal(ring_create(sizeof(uint64_t), 16, &players[i].in), STATUS_OK);
        assert_int_equal(ring_wake_open(&players[i].wake), STATUS_OK);
    }
    for (uint64_t ball = 0; ball < N_BALLS; ball++) {
        uint64_t left = n_bounces / N_BALLS;
        assert_true(ring_push(players[ball % 2].in, &left));
    }
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, player_run, &players[i]), 0);
    }
    for (size_t i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
    }
    uint64_t n_seen = players[0].n_seen + players[1].n_seen;
    print_message("%llu bounces in %llu turns\n", (unsigned long long)n_seen,
                  (unsigned long long)loop_turns(players[0].loop) + loop_turns(players[1].loop));
    for (size_t i = 0; i < 2; i++) {
        assert_false(players[i].is_stuck);
        loop_destroy(players[i].loop);
        ring_wake_close(players[i].wake);
        ring_destroy(players[i].in);
    }
    /* The first ball down stops the game; the other one is not far behind it. */
    assert_true(n_seen > n_bounces / N_BALLS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_timer_order),   cmocka_unit_test(test_timer_random),
        cmocka_unit_test(test_timer_every),   cmocka_unit_test(test_timer_now),
        cmocka_unit_test(test_timer_sleep),   cmocka_unit_test(test_drain),
        cmocka_unit_test(test_budget),        cmocka_unit_test(test_slice),
        cmocka_unit_test(test_arm_refused),   cmocka_unit_test(test_hook),
        cmocka_unit_test(test_remove_inside), cmocka_unit_test(test_descriptor),
        cmocka_unit_test(test_post),          cmocka_unit_test(test_stop),
        cmocka_unit_test(test_signal),        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_ping_pong),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
