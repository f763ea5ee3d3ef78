/* The compute thread: steps there, pieces and completions back, in order; the crash box around
 * each step; numerics flags set; a thread that can always be ended. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#if defined(__SSE2__)
#include <xmmintrin.h>
#endif

#include "base/loop.h"
#include "base/mem.h"
#include "engine/compute.h"
#include "engine/crashbox.h"
#include "tests/engine/rig.h"

#define N_PING_PONGS 100000u

/* What the loop's side has been told. */
struct told {
    struct loop *loop;
    struct compute *compute;
    uint32_t n_pieces, n_complete;
    enum status status;
    uint64_t took_ns;
};

static struct loop *open_loop(void)
{
    struct loop_options options = {.name = "test", .clock = clock_monotonic()};
    struct loop *loop;
    assert_int_equal(loop_create(&options, &loop), STATUS_OK);
    return loop;
}

static void on_event(void *ctx, const struct compute_event *event)
{
    struct told *told = ctx;
    if (event->kind == COMPUTE_PIECE) {
        told->n_pieces++;
        return;
    }
    told->n_complete++;
    told->status = event->status;
    told->took_ns = event->took_ns;
    loop_stop(told->loop);
}

static void wait_complete(struct told *told, uint32_t n)
{
    while (told->n_complete < n)
        assert_int_equal(loop_run(told->loop), STATUS_OK);
}

/* ---- an executor made for the test ----------------------------------------------------------- */

struct fake {
    struct crashbox *box;
    uint32_t n_pieces;         /* to tell in each step */
    uint32_t n_spins;          /* how long to dawdle before and after the pieces */
    atomic_bool hold, entered; /* stay in the step while held */
    bool flags_set;
    uint64_t step_in_box;
    enum status status;
};

static void spin(uint32_t n)
{
    for (volatile uint32_t i = 0; i < n; i++)
        continue;
}

static enum status fake_run(void *exec, const struct engine_step *step, exec_piece_fn piece,
                            void *ctx)
{
    struct fake *fake = exec;
    uint64_t incarnation = 0;
    struct wire_id req;
    size_t n = 0;
    atomic_store(&fake->entered, true);
    while (atomic_load(&fake->hold))
        continue;
#if defined(__SSE2__)
    fake->flags_set = (_mm_getcsr() & 0x8040) == 0x8040;
#else
    fake->flags_set = true;
#endif
    if (fake->box != NULL &&
        crashbox_read(fake->box, &incarnation, &fake->step_in_box, &req, 1, &n) == STATUS_OK)
        assert_true(incarnation == 99 && n == 1 && wire_id_equal(&req, &step->rows[0].req));
    for (uint32_t i = 0; i < fake->n_pieces; i++)
        piece(ctx, &step->rows[0], i, 0, i);
    spin(fake->n_spins);
    return fake->status;
}

static const struct exec_ops fake_ops = {.name = "fake", .run = fake_run};

static struct engine_row fake_row = {.req = {{1, 2, 3}}, .attempt = 4};
static const struct engine_step fake_step = {.number = 17, .n_rows = 1, .rows = &fake_row};

struct order {
    struct loop *loop;
    uint32_t next;
    bool complete;
};

static void on_ordered(void *ctx, const struct compute_event *event)
{
    struct order *order = ctx;
    if (event->kind == COMPUTE_COMPLETE) {
        assert_int_equal(event->status, STATUS_LOST);
        order->complete = true;
        loop_stop(order->loop);
        return;
    }
    assert_false(order->complete);
    assert_int_equal(event->block, order->next);
    assert_true(event->digest == order->next);
    assert_int_equal(event->attempt, 4);
    assert_true(wire_id_equal(&event->req, &fake_row.req));
    order->next++;
}

/* More pieces than the ring holds, all told before the completion; box and flags as promised. */
static void test_order(void **state)
{
    (void)state;
    struct loop *loop = open_loop();
    struct order order = {.loop = loop};
    struct fake fake = {.n_pieces = 20000, .status = STATUS_LOST};
    struct compute *compute;
    uint64_t u64;
    struct wire_id req;
    size_t n;
    int fd;
    assert_int_equal(crashbox_create(&fd, &fake.box), STATUS_OK);
    assert_int_equal(compute_create(loop, (struct exec){&fake_ops, &fake}, fake.box, 99, on_ordered,
                                    &order, &compute),
                     STATUS_OK);
    assert_int_equal(compute_starved_ns(compute), 0);
    compute_post(compute, &fake_step);
    assert_in_range(compute_starved_ns(compute), 0, UINT64_C(60000000000));
    assert_int_equal(loop_run(loop), STATUS_OK);
    assert_true(order.complete);
    assert_int_equal(order.next, 20000);
    assert_int_equal(compute_starved_ns(compute), 0);
    assert_true(fake.flags_set);
    assert_int_equal(fake.step_in_box, 17);
    assert_int_equal(crashbox_read(fake.box, &u64, &u64, &req, 1, &n), STATUS_NOT_FOUND);
    compute_destroy(compute);
    loop_destroy(loop);
    crashbox_close(fake.box);
    close(fd);
}

static void release(void *ctx)
{
    struct fake *fake = ctx;
    atomic_store(&fake->hold, false);
}

/* Ends while a step runs that has more to tell than anyone will ever read. */
static void test_destroy_in_step(void **state)
{
    (void)state;
    int64_t live = mem_live();
    for (int round = 0; round < 20; round++) {
        struct loop *loop = open_loop();
        struct order order = {.loop = loop};
        struct fake fake = {.n_pieces = round % 2 ? 20000 : 3, .status = STATUS_OK};
        struct compute *compute;
        atomic_store(&fake.hold, round % 3 == 0);
        assert_int_equal(compute_create(loop, (struct exec){&fake_ops, &fake}, NULL, 0, on_ordered,
                                        &order, &compute),
                         STATUS_OK);
        if (round > 2)
            compute_post(compute, &fake_step);
        while (round > 2 && !atomic_load(&fake.entered))
            continue;
        release(&fake);
        compute_destroy(compute);
        assert_int_equal(loop_turn(loop, 0), STATUS_OK);
        loop_destroy(loop);
        if (round > 2)
            assert_true(fake.flags_set); /* it was waited for */
    }
    compute_destroy(NULL);
    assert_int_equal(mem_live(), live);
}

static void test_create_no_memory(void **state)
{
    (void)state;
    struct loop *loop = open_loop();
    struct order order = {.loop = loop};
    struct fake fake = {0};
    int64_t live = mem_live();
    enum status status = STATUS_NO_MEMORY;
    int n = 0;
    for (; status != STATUS_OK && n < 100; n++) {
        struct compute *compute;
        mem_fail_after(n);
        status = compute_create(loop, (struct exec){&fake_ops, &fake}, NULL, 0, on_ordered, &order,
                                &compute);
        mem_fail_after(MEM_FAIL_NEVER);
        if (status == STATUS_OK)
            compute_destroy(compute);
        else
            assert_int_equal(status, STATUS_NO_MEMORY);
        assert_int_equal(loop_turn(loop, 0), STATUS_OK);
    }
    assert_true(n > 4 && status == STATUS_OK);
    assert_true(mem_live() <= live + 2); /* the loop may keep its tables */
    loop_destroy(loop);
}

/* The engine and the oracle behind the thread: the same truth as inline. */
static void test_engine_behind_thread(void **state)
{
    (void)state;
    static struct rig_job jobs[20];
    struct loop *loop = open_loop();
    struct rig rig;
    struct engine_cfg cfg = rig_cfg();
    struct told told = {.loop = loop};
    uint64_t seqs[20];
    rig_open(&rig, &cfg, true);
    assert_int_equal(compute_create(loop, rig.exec, NULL, 0, on_event, &told, &told.compute),
                     STATUS_OK);
    for (uint32_t i = 0; i < 20; i++) {
        rig_job_init(&jobs[i], i, 30 * i + 1, 60);
        seqs[i] = rig_add(&rig, &jobs[i], i % 3 ? ENGINE_WHOLE : ENGINE_PREFILL);
    }
    const struct engine_step *step;
    for (uint32_t n = 1; (step = engine_plan(rig.engine)) != NULL; n++) {
        compute_post(told.compute, step);
        wait_complete(&told, n);
        assert_int_equal(told.status, STATUS_OK);
        assert_true(told.took_ns > 0);
        engine_complete(rig.engine, told.took_ns, rig.results, &rig.n_results);
    }
    uint32_t n_pieces = 0;
    for (uint32_t i = 0; i < 20; i++) {
        bool held = rig_look(&rig, seqs[i]).state == ENGINE_HELD;
        assert_true(rig_look(&rig, seqs[i]).state >= ENGINE_HELD);
        rig_expect_truth(&rig, seqs[i], &jobs[i], !held);
        n_pieces += i % 3 ? 0 : 2 * kvgeom_blocks(30 * i + 1);
    }
    assert_int_equal(told.n_pieces, n_pieces);
    compute_destroy(told.compute);
    rig_close(&rig);
    loop_destroy(loop);
}

struct ping_pong {
    struct loop *loop;
    struct compute *compute;
    struct fake fake;
    uint32_t n_complete;
};

/* Posts the next step from within the event, as a role does. */
static void on_pong(void *ctx, const struct compute_event *event)
{
    struct ping_pong *game = ctx;
    if (event->kind == COMPUTE_PIECE)
        return;
    if (++game->n_complete == N_PING_PONGS) {
        loop_stop(game->loop);
        return;
    }
    game->fake.n_spins = game->n_complete * 7919u % 16001u;
    spin(game->n_complete % 97);
    compute_post(game->compute, &fake_step);
}

/* Many short steps, each side with its own delay, so that every wake-up is tried while the other is
 * just going to sleep. A lost one hangs. */
static void test_ping_pong(void **state)
{
    (void)state;
    struct ping_pong game = {.loop = open_loop(), .fake = {.n_pieces = 1}};
    assert_int_equal(compute_create(game.loop, (struct exec){&fake_ops, &game.fake}, NULL, 0,
                                    on_pong, &game, &game.compute),
                     STATUS_OK);
    compute_post(game.compute, &fake_step);
    assert_int_equal(loop_run(game.loop), STATUS_OK);
    assert_int_equal(game.n_complete, N_PING_PONGS);
    compute_destroy(game.compute);
    loop_destroy(game.loop);
}

/* ---- a thread that does not get its processor ---- */

struct starved {
    struct told told;
    struct loop_timer *timer;
    uint64_t most_ns;
    atomic_bool over;
};

static void pin(void)
{
    cpu_set_t all, one;
    int cpu = 0;
    assert_int_equal(pthread_getaffinity_np(pthread_self(), sizeof all, &all), 0);
    while (!CPU_ISSET(cpu, &all))
        cpu++;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    assert_int_equal(pthread_setaffinity_np(pthread_self(), sizeof one, &one), 0);
}

/* Beside the step on its processor until the test is over. */
static void *run_rival(void *ctx)
{
    struct starved *starved = ctx;
    pin();
    while (!atomic_load(&starved->over))
        ;
    return NULL;
}

static enum status run_pinned(void *self, const struct engine_step *step, exec_piece_fn piece,
                              void *ctx)
{
    struct starved *starved = self;
    (void)step, (void)piece, (void)ctx;
    pin();
    while (!atomic_load(&starved->over))
        ;
    return STATUS_OK;
}

static void on_look(void *ctx)
{
    struct starved *starved = ctx;
    uint64_t ns = compute_starved_ns(starved->told.compute);
    if (ns > starved->most_ns)
        starved->most_ns = ns;
    if (ns > 30 * NS_PER_MS)
        atomic_store(&starved->over, true);
}

/* Ends as soon as the waiting is told; a kernel that never tells lets the test time out. */
static void test_starved(void **state)
{
    static const struct exec_ops ops = {.name = "pinned", .run = run_pinned};
    struct starved starved = {.told = {.loop = open_loop()}};
    pthread_t rival;
    (void)state;
    assert_int_equal(compute_create(starved.told.loop, (struct exec){&ops, &starved}, NULL, 0,
                                    on_event, &starved.told, &starved.told.compute),
                     STATUS_OK);
    assert_int_equal(pthread_create(&rival, NULL, run_rival, &starved), 0);
    assert_int_equal(loop_timer_create(starved.told.loop, on_look, &starved, &starved.timer),
                     STATUS_OK);
    loop_timer_every(starved.timer, 5 * NS_PER_MS);
    compute_post(starved.told.compute, &fake_step);
    wait_complete(&starved.told, 1);
    assert_true(starved.most_ns > 30 * NS_PER_MS);
    assert_true(starved.most_ns < starved.told.took_ns + 10 * NS_PER_MS);
    loop_timer_destroy(starved.timer);
    pthread_join(rival, NULL);
    compute_destroy(starved.told.compute);
    loop_destroy(starved.told.loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_destroy_in_step),
        cmocka_unit_test(test_create_no_memory),
        cmocka_unit_test(test_engine_behind_thread),
        cmocka_unit_test(test_ping_pong),
        cmocka_unit_test(test_starved),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
