/* The in-process mover keeps the promises of its header. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "kvtransfer/local_mover.h"

#define N_NODES 3u
#define BYTES 4096u
#define EVENTS_MAX 64u

/* Node 0 offers to node 1. */
struct scene {
    struct local_mover *mover;
    uint64_t now_ns;
    struct kvt_event events[EVENTS_MAX];
    uint32_t nodes[EVENTS_MAX]; /* of events */
    size_t n_events;
    uint8_t addresses[N_NODES][64];
    size_t address_len[N_NODES];
    uint8_t src[BYTES];
    uint8_t dst[BYTES];
};

static void on_event(void *ctx, uint32_t node, const struct kvt_event *event)
{
    struct scene *scene = ctx;
    assert_true(scene->n_events < EVENTS_MAX);
    if (event->kind == KVT_EVENT_OPENED) {
        memcpy(scene->addresses[node], event->address, event->address_len);
        scene->address_len[node] = event->address_len;
    }
    scene->nodes[scene->n_events] = node;
    scene->events[scene->n_events++] = *event;
}

static void run(struct scene *scene, uint32_t ms)
{
    for (uint32_t i = 0; i < ms * 10; i++) {
        scene->now_ns += NS_PER_MS / 10;
        local_mover_run(scene->mover, scene->now_ns, on_event, scene);
    }
}

static void act(struct scene *scene, uint32_t node, struct kvt_act act)
{
    act.pair = act.pair ? act.pair : 1;
    local_mover_execute(scene->mover, node, &act, scene->now_ns);
}

static size_t n_events(const struct scene *scene, uint32_t node, enum kvt_event_kind kind)
{
    size_t n = 0;
    for (size_t i = 0; i < scene->n_events; i++) {
        n += scene->nodes[i] == node && scene->events[i].kind == kind;
    }
    return n;
}

static const struct kvt_event *event_of(const struct scene *scene, uint32_t node,
                                        enum kvt_event_kind kind)
{
    for (size_t i = scene->n_events; i > 0; i--) {
        if (scene->nodes[i - 1] == node && scene->events[i - 1].kind == kind) {
            return &scene->events[i - 1];
        }
    }
    fail_msg("no such event at node %u", node);
    return NULL;
}

static struct local_mover_counts counts_of(const struct scene *scene)
{
    struct local_mover_counts counts;
    local_mover_counts(scene->mover, &counts);
    return counts;
}

static void open_node(struct scene *scene, uint32_t node, enum kvt_path path)
{
    act(scene, node, (struct kvt_act){.kind = KVT_ACT_OPEN, .path = path});
    run(scene, 2);
    assert_int_equal(event_of(scene, node, KVT_EVENT_OPENED)->pair, 1);
}

static void connect_nodes(struct scene *scene, uint32_t node, uint32_t to)
{
    act(scene, node,
        (struct kvt_act){.kind = KVT_ACT_CONNECT,
                         .address = scene->addresses[to],
                         .address_len = scene->address_len[to]});
}

static void scene_open(struct scene *scene, enum kvt_path path, struct local_mover_faults faults)
{
    memset(scene, 0, sizeof(*scene));
    faults.delay_min_us = 300;
    faults.delay_max_us = 900;
    struct local_mover_cfg cfg = {
        .nodes_max = N_NODES, .workers_max = 6, .moves_max = 8, .seed = 7, .faults = faults};
    assert_int_equal(local_mover_create(&cfg, &scene->mover), STATUS_OK);
    scene->now_ns = NS_PER_S;
    memset(scene->src, 0xab, BYTES);
    open_node(scene, 0, path);
    open_node(scene, 1, path);
    connect_nodes(scene, 0, 1);
    connect_nodes(scene, 1, 0);
}

static void post(struct scene *scene, uint64_t op)
{
    act(scene, 0,
        (struct kvt_act){.kind = KVT_ACT_POST, .at = scene->src, .bytes = BYTES, .op = op});
}

static void fetch(struct scene *scene, uint64_t op)
{
    act(scene, 1,
        (struct kvt_act){.kind = KVT_ACT_FETCH,
                         .handle = event_of(scene, 1, KVT_EVENT_OFFERED)->handle,
                         .at = scene->dst,
                         .bytes = BYTES,
                         .op = op});
}

static void close_node(struct scene *scene, uint32_t node)
{
    act(scene, node, (struct kvt_act){.kind = KVT_ACT_CLOSE});
}

static size_t n_landed(const struct scene *scene)
{
    size_t n = 0;
    for (size_t i = 0; i < BYTES; i++) {
        n += scene->dst[i] == 0xab;
    }
    return n;
}

static void test_moves(void **state)
{
    (void)state;
    struct scene scene;
    scene_open(&scene, KVT_PATH_LOCAL, (struct local_mover_faults){0});
    post(&scene, 11);
    assert_true(local_mover_touches(scene.mover, scene.src + BYTES - 1, 1));
    assert_false(local_mover_touches(scene.mover, scene.src + BYTES, 1));
    run(&scene, 2);
    assert_int_equal(event_of(&scene, 1, KVT_EVENT_OFFERED)->bytes, BYTES);
    assert_int_equal(n_events(&scene, 0, KVT_EVENT_POSTED), 0);
    fetch(&scene, 12);
    assert_true(local_mover_touches(scene.mover, scene.dst, 1));
    run(&scene, 5);
    assert_int_equal(event_of(&scene, 1, KVT_EVENT_FETCHED)->op, 12);
    assert_int_equal(event_of(&scene, 0, KVT_EVENT_POSTED)->op, 11);
    assert_int_equal(n_landed(&scene), BYTES);
    assert_false(local_mover_touches(scene.mover, scene.dst, BYTES));
    assert_false(local_mover_touches(scene.mover, scene.src, BYTES));
    assert_int_equal(counts_of(&scene).moves, 0);
    fetch(&scene, 13); /* the same offer again is against the rules */
    assert_int_equal(counts_of(&scene).misuse, 1);
    assert_true(local_mover_next_ns(scene.mover) == CLOCK_NEVER);
    local_mover_destroy(scene.mover);
}

static void test_release(void **state)
{
    (void)state;
    struct scene scene;
    scene_open(&scene, KVT_PATH_LOCAL, (struct local_mover_faults){0});
    post(&scene, 11);
    run(&scene, 2);
    act(&scene, 1,
        (struct kvt_act){.kind = KVT_ACT_RELEASE,
                         .handle = event_of(&scene, 1, KVT_EVENT_OFFERED)->handle});
    run(&scene, 2);
    assert_int_equal(n_events(&scene, 0, KVT_EVENT_POSTED), 1);
    assert_int_equal(n_landed(&scene), 0);
    local_mover_destroy(scene.mover);
}

/* After D's close nothing lands, though a part may have; P waits until its own close. */
static void test_the_receivers_close_fences(void **state)
{
    (void)state;
    for (int network = 0; network < 2; network++) {
        size_t torn = 0;
        for (uint32_t us = 0; us < 2000; us += 100) {
            struct scene scene;
            scene_open(&scene, network ? KVT_PATH_NETWORK : KVT_PATH_LOCAL,
                       (struct local_mover_faults){0});
            post(&scene, 11);
            run(&scene, 2);
            fetch(&scene, 12);
            scene.now_ns += us * NS_PER_US;
            local_mover_run(scene.mover, scene.now_ns, on_event, &scene);
            close_node(&scene, 1);
            size_t then = n_landed(&scene);
            torn += then > 0 && then < BYTES;
            bool done = n_events(&scene, 1, KVT_EVENT_FETCHED) > 0;
            assert_false(local_mover_touches(scene.mover, scene.dst, BYTES));
            run(&scene, 10);
            assert_int_equal(n_landed(&scene), then);
            assert_int_equal(n_events(&scene, 1, KVT_EVENT_FETCHED), done);
            assert_int_equal(n_events(&scene, 0, KVT_EVENT_POSTED), done);
            assert_int_equal(n_events(&scene, 0, KVT_EVENT_ERROR), network);
            assert_int_equal(local_mover_touches(scene.mover, scene.src, BYTES), !done);
            close_node(&scene, 0);
            assert_false(local_mover_touches(scene.mover, scene.src, BYTES));
            assert_int_equal(counts_of(&scene).moves + counts_of(&scene).workers, 0);
            local_mover_destroy(scene.mover);
        }
        assert_true(torn > 0);
    }
}

static void test_the_senders_end_stops_the_fetch(void **state)
{
    (void)state;
    for (int killed = 0; killed < 2; killed++) {
        struct scene scene;
        scene_open(&scene, KVT_PATH_NETWORK, (struct local_mover_faults){0});
        post(&scene, 11);
        run(&scene, 2);
        fetch(&scene, 12);
        if (killed) {
            local_mover_kill(scene.mover, 0, scene.now_ns);
        } else {
            close_node(&scene, 0);
        }
        memset(scene.src, 0xee, BYTES); /* the owner uses it anew */
        run(&scene, 10);
        assert_int_equal(n_events(&scene, 1, KVT_EVENT_FETCHED), 0);
        assert_int_equal(n_events(&scene, 1, KVT_EVENT_ERROR), 1);
        assert_null(memchr(scene.dst, 0xee, BYTES));
        close_node(&scene, 1);
        assert_int_equal(counts_of(&scene).moves, 0);
        local_mover_destroy(scene.mover);
    }
}

static void test_faults(void **state)
{
    (void)state;
    struct scene scene;
    scene_open(&scene, KVT_PATH_LOCAL, (struct local_mover_faults){.flip = 1000000});
    post(&scene, 11);
    run(&scene, 2);
    fetch(&scene, 12);
    run(&scene, 5);
    assert_int_equal(n_landed(&scene), BYTES - 1);
    struct local_mover_faults faults = {.delay_max_us = 100, .stall = 1000000};
    local_mover_set_faults(scene.mover, &faults);
    post(&scene, 13);
    run(&scene, 2);
    fetch(&scene, 14);
    run(&scene, 50);
    assert_int_equal(n_events(&scene, 1, KVT_EVENT_FETCHED), 1);
    assert_true(local_mover_touches(scene.mover, scene.dst, BYTES));
    faults = (struct local_mover_faults){.fetch_error = 1000000};
    local_mover_set_faults(scene.mover, &faults);
    post(&scene, 15);
    run(&scene, 2);
    fetch(&scene, 16);
    run(&scene, 2);
    assert_int_equal(event_of(&scene, 1, KVT_EVENT_FETCHED)->status, STATUS_IO);
    faults = (struct local_mover_faults){.lose_offer = 1000000, .open_error = 1000000};
    local_mover_set_faults(scene.mover, &faults);
    size_t offers = n_events(&scene, 1, KVT_EVENT_OFFERED);
    post(&scene, 17);
    run(&scene, 50);
    assert_int_equal(n_events(&scene, 1, KVT_EVENT_OFFERED), offers);
    assert_true(local_mover_touches(scene.mover, scene.src, BYTES));
    act(&scene, 2, (struct kvt_act){.kind = KVT_ACT_OPEN});
    run(&scene, 1);
    assert_int_equal(n_events(&scene, 2, KVT_EVENT_ERROR), 1);
    local_mover_destroy(scene.mover);
}

static void test_freeze(void **state)
{
    (void)state;
    struct scene scene;
    scene_open(&scene, KVT_PATH_LOCAL, (struct local_mover_faults){0});
    local_mover_freeze(scene.mover, 1, true, scene.now_ns);
    post(&scene, 11);
    run(&scene, 20);
    assert_int_equal(n_events(&scene, 1, KVT_EVENT_OFFERED), 0);
    local_mover_freeze(scene.mover, 1, false, scene.now_ns);
    run(&scene, 2);
    fetch(&scene, 12);
    local_mover_freeze(scene.mover, 0, true, scene.now_ns); /* P: its memory can still be read */
    run(&scene, 20);
    assert_int_equal(n_events(&scene, 1, KVT_EVENT_FETCHED), 1);
    assert_int_equal(n_events(&scene, 0, KVT_EVENT_POSTED), 0);
    local_mover_freeze(scene.mover, 0, false, scene.now_ns);
    run(&scene, 2);
    assert_int_equal(n_events(&scene, 0, KVT_EVENT_POSTED), 1);
    local_mover_destroy(scene.mover);
}

static void test_strangers(void **state)
{
    (void)state;
    struct scene scene;
    scene_open(&scene, KVT_PATH_LOCAL, (struct local_mover_faults){0});
    open_node(&scene, 2, KVT_PATH_LOCAL);
    connect_nodes(&scene, 2, 1); /* node 1 knows nothing of it */
    act(&scene, 2,
        (struct kvt_act){.kind = KVT_ACT_POST, .at = scene.src, .bytes = BYTES, .op = 5});
    run(&scene, 5);
    assert_int_equal(n_events(&scene, 1, KVT_EVENT_OFFERED), 0);
    assert_int_equal(n_events(&scene, 2, KVT_EVENT_POSTED), 1);
    assert_int_equal(counts_of(&scene).strangers, 1);
    struct kvt_header header = {.magic = 1};
    assert_true(
        local_mover_forge(scene.mover, 1, 1, &header, scene.src, BYTES, true, scene.now_ns));
    assert_false(
        local_mover_forge(scene.mover, 1, 9, &header, scene.src, BYTES, true, scene.now_ns));
    run(&scene, 2);
    assert_int_equal(counts_of(&scene).evil_fetched, 0);
    fetch(&scene, 6);
    assert_int_equal(counts_of(&scene).evil_fetched, 1);
    run(&scene, 5);
    assert_int_equal(counts_of(&scene).moves, 0);
    act(&scene, 1, (struct kvt_act){.kind = KVT_ACT_CLOSE, .pair = 4});
    act(&scene, 1, (struct kvt_act){.kind = KVT_ACT_OPEN}); /* open already */
    assert_int_equal(counts_of(&scene).misuse, 2);
    local_mover_destroy(scene.mover);
}

static void test_creation_fails_cleanly(void **state)
{
    (void)state;
    struct local_mover_cfg cfg = {.nodes_max = 2, .workers_max = 4, .moves_max = 8};
    struct local_mover *mover = NULL;
    int64_t live = mem_live();
    enum status status = STATUS_NO_MEMORY;
    for (int64_t n = 0; status != STATUS_OK; n++) {
        mem_fail_after(n);
        status = local_mover_create(&cfg, &mover);
        mem_fail_after(MEM_FAIL_NEVER);
        assert_true(status == STATUS_OK || (status == STATUS_NO_MEMORY && mem_live() == live));
    }
    local_mover_destroy(mover);
    cfg.moves_max = 0;
    assert_int_equal(local_mover_create(&cfg, &mover), STATUS_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_moves),
        cmocka_unit_test(test_release),
        cmocka_unit_test(test_the_receivers_close_fences),
        cmocka_unit_test(test_the_senders_end_stops_the_fetch),
        cmocka_unit_test(test_faults),
        cmocka_unit_test(test_freeze),
        cmocka_unit_test(test_strangers),
        cmocka_unit_test(test_creation_fails_cleanly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
