/* The fence of the UCX mover: after a close nothing lands, whatever the peer does, and soon. The
 * times are limits of a busy test machine; usually a close takes 1-5 ms. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "tests/kvtransfer/ucx_duo.h"

#define MIB ((size_t)1024 * 1024)
#define CLOSE_US_MAX 500000
#define N_CYCLES 2000u

static const char *const path_name[] = {"local", "network"};

/* Closes and proves that what lies in `land` does not change any more, and that no event follows.
 */
static void close_is_a_fence(struct end *end, uint8_t *land, size_t bytes, void (*after)(void *),
                             void *arg, const char *what, enum kvt_path path)
{
    uint8_t *copy = malloc(bytes);
    assert_non_null(copy);
    uint64_t start = now_us();
    end_act(end, KVT_ACT_CLOSE, path);
    uint64_t took = now_us() - start;
    memcpy(copy, land, bytes);
    uint32_t n_events = end->n_fetched + end->n_offered + end->n_errors;
    if (after != NULL) {
        after(arg);
    }
    duo_idle(end, NULL, 60);
    assert_int_equal(end->n_fetched + end->n_offered + end->n_errors, n_events);
    assert_memory_equal(copy, land, bytes);
    fprintf(stderr, "%s, %s: closed in %llu us with %u of %u fetched\n", what, path_name[path],
            (unsigned long long)took, end->n_fetched, end->n_offered);
    assert_true(took < CLOSE_US_MAX);
    struct kvt_ucx_counts counts;
    kvt_ucx_counts(end->mover, &counts);
    assert_int_equal(counts.pairs + counts.posts + counts.offers + counts.fetches, 0);
    free(copy);
}

static void nothing(int signum)
{
    (void)signum;
}

static void child_resume(void *arg)
{
    kill(((struct child *)arg)->pid, SIGCONT);
}

enum blow { BLOW_NONE, BLOW_KILL, BLOW_STOP };

/* A child posts; after `n_before` fetches the blow falls, some progress later comes the fence. */
static void fence_amid_of(bool no_cma, enum kvt_path path, enum blow blow, uint32_t n_before,
                          int ms_between)
{
    static const char *const what[] = {"peer alive", "peer killed", "peer stopped"};
    struct end d;
    struct child child;
    struct child_plan plan = {.path = path, .n = 256, .bytes = MIB / 4, .no_cma = no_cma};
    struct kvt_ucx_cfg cfg = cfg_plain(no_cma);
    size_t bytes = plan.n * plan.bytes;
    uint8_t *land = calloc(1, bytes);
    assert_non_null(land);
    end_open(&d, &cfg);
    d.land = land;
    d.stride = plan.bytes;
    /* After the first fence the pair opens again. A stopped peer that wakes up to a broken
     * connection must survive that, which takes several rounds to try. */
    for (int round = 0; round < (blow == BLOW_STOP ? 4 : 2); round++) {
        d.n_fetched = d.n_offered = d.n_errors = 0;
        child_start(&child, &d, &plan);
        assert_true(duo_pump(&d, NULL, n_before > 0 ? &d.n_fetched : &d.n_offered,
                             n_before > 0 ? n_before : 1));
        if (blow != BLOW_NONE) {
            kill(child.pid, blow == BLOW_KILL ? SIGKILL : SIGSTOP);
        }
        if (ms_between > 0) {
            duo_idle(&d, NULL, ms_between);
        }
        close_is_a_fence(&d, land, bytes, blow == BLOW_STOP ? child_resume : NULL, &child,
                         what[blow], path);
        child_kill(&child);
    }
    end_close(&d);
    free(land);
}

static void fence_amid(enum kvt_path path, enum blow blow, uint32_t n_before, int ms_between)
{
    fence_amid_of(false, path, blow, n_before, ms_between);
}

/* Where the kernel forbids CMA, the sender's bytes come through shared memory. */
static void fence_without_cma(void **state)
{
    (void)state;
    for (int blow = BLOW_NONE; blow <= BLOW_STOP; blow++) {
        fence_amid_of(true, KVT_PATH_LOCAL, (enum blow)blow, 10, 0);
        fence_amid_of(true, KVT_PATH_LOCAL, (enum blow)blow, 10, 50);
    }
}

static void fence_with_live_peer(void **state)
{
    (void)state;
    fence_amid(KVT_PATH_LOCAL, BLOW_NONE, 0, 0);
    fence_amid(KVT_PATH_NETWORK, BLOW_NONE, 0, 0);
    fence_amid(KVT_PATH_LOCAL, BLOW_NONE, 10, 0);
    fence_amid(KVT_PATH_NETWORK, BLOW_NONE, 10, 0);
}

static void fence_with_killed_peer(void **state)
{
    (void)state;
    fence_amid(KVT_PATH_LOCAL, BLOW_KILL, 10, 0);
    fence_amid(KVT_PATH_NETWORK, BLOW_KILL, 10, 0);
    fence_amid(KVT_PATH_LOCAL, BLOW_KILL, 10, 50);
    fence_amid(KVT_PATH_NETWORK, BLOW_KILL, 10, 50);
}

static void fence_with_stopped_peer(void **state)
{
    (void)state;
    fence_amid(KVT_PATH_LOCAL, BLOW_STOP, 10, 0);
    fence_amid(KVT_PATH_NETWORK, BLOW_STOP, 10, 0);
    fence_amid(KVT_PATH_LOCAL, BLOW_STOP, 10, 50);
    fence_amid(KVT_PATH_NETWORK, BLOW_STOP, 10, 50);
}

/* Everything offered, nothing taken, and then all fetches at once with the fence right behind. */
static void fence_with_all_pending(void **state)
{
    (void)state;
    for (int path = KVT_PATH_LOCAL; path <= KVT_PATH_NETWORK; path++) {
        for (int blow = BLOW_NONE; blow <= BLOW_STOP; blow++) {
            static const char *const what[] = {"all pending", "all pending, peer killed",
                                               "all pending, peer stopped"};
            struct end d;
            struct child child;
            uint64_t handles[128];
            struct child_plan plan = {.path = (enum kvt_path)path, .n = 128, .bytes = MIB};
            uint8_t *land = calloc(1, plan.n * plan.bytes);
            assert_non_null(land);
            end_open(&d, NULL);
            d.on_offer = END_KEEP;
            d.handles = handles;
            child_start(&child, &d, &plan);
            assert_true(duo_pump(&d, NULL, &d.n_offered, plan.n));
            if (blow != BLOW_NONE) {
                kill(child.pid, blow == BLOW_KILL ? SIGKILL : SIGSTOP);
            }
            for (uint32_t i = 0; i < plan.n - 10; i++) { /* the last ten stay unread */
                end_offer(&d, KVT_ACT_FETCH, handles[i], land + i * plan.bytes, plan.bytes);
            }
            close_is_a_fence(&d, land, plan.n * plan.bytes, blow == BLOW_STOP ? child_resume : NULL,
                             &child, what[blow], (enum kvt_path)path);
            child_kill(&child);
            end_close(&d);
            free(land);
        }
    }
}

/* The other direction: P has posted, D never fetches, and P fences. */
static void fence_of_posts(void **state)
{
    (void)state;
    for (int path = KVT_PATH_LOCAL; path <= KVT_PATH_NETWORK; path++) {
        for (int blow = BLOW_NONE; blow <= BLOW_STOP; blow++) {
            static const char *const what[] = {"posts", "posts, peer killed",
                                               "posts, peer stopped"};
            struct end p;
            struct child child;
            struct child_plan plan = {.path = (enum kvt_path)path, .role = CHILD_KEEPS};
            uint8_t *source = calloc(1, MIB);
            assert_non_null(source);
            end_open(&p, NULL);
            child_start(&child, &p, &plan);
            for (uint32_t i = 0; i < 1000; i++) {
                end_post(&p, i, source, MIB);
            }
            duo_idle(&p, NULL, 20);
            assert_int_equal(p.n_posted, 0);
            if (blow != BLOW_NONE) {
                kill(child.pid, blow == BLOW_KILL ? SIGKILL : SIGSTOP);
                duo_idle(&p, NULL, 50);
            }
            /* A reset connection is seen and ends the posts; shared memory notices nothing. */
            bool noticed = blow == BLOW_KILL && path == KVT_PATH_NETWORK;
            assert_int_equal(p.n_errors, noticed ? 1 : 0);
            assert_int_equal(p.n_failed, noticed ? 1000 : 0);
            close_is_a_fence(&p, source, MIB, NULL, NULL, what[blow], (enum kvt_path)path);
            child_kill(&child);
            end_close(&p);
            free(source);
        }
    }
}

/* P is in the middle of sending when D freezes or dies, and P fences with its buffers full. */
static void fence_amid_sending(void **state)
{
    (void)state;
    for (int path = KVT_PATH_LOCAL; path <= KVT_PATH_NETWORK; path++) {
        for (int blow = BLOW_NONE; blow <= BLOW_STOP; blow++) {
            static const char *const what[] = {"sending", "sending, peer killed",
                                               "sending, peer stopped"};
            for (int ms_between = 0; ms_between <= 50; ms_between += 50) {
                struct end p;
                struct child child;
                struct child_plan plan = {
                    .path = (enum kvt_path)path, .role = CHILD_FETCHES, .n = 64, .bytes = 4 * MIB};
                uint8_t *source = calloc(1, plan.bytes);
                assert_non_null(source);
                end_open(&p, NULL);
                child_start(&child, &p, &plan);
                for (uint32_t i = 0; i < plan.n; i++) {
                    end_post(&p, i, source, plan.bytes);
                }
                assert_true(duo_pump(&p, NULL, &p.n_posted, 2));
                if (blow != BLOW_NONE) {
                    kill(child.pid, blow == BLOW_KILL ? SIGKILL : SIGSTOP);
                }
                if (ms_between > 0) {
                    duo_idle(&p, NULL, ms_between);
                }
                close_is_a_fence(&p, source, MIB, blow == BLOW_STOP ? child_resume : NULL, &child,
                                 what[blow], (enum kvt_path)path);
                child_kill(&child);
                end_close(&p);
                free(source);
            }
        }
    }
}

static size_t resident_kib(void)
{
    unsigned long size, resident;
    FILE *file = fopen("/proc/self/statm", "r");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%lu %lu", &size, &resident), 2);
    fclose(file);
    return resident * 4;
}

static void cycles_leave_nothing(void **state)
{
    (void)state;
    struct end p, d;
    static uint8_t source[65536], land[65536];
    size_t descriptors = 0, resident = 0;
    int64_t live = 0;
    end_open(&p, NULL);
    end_open(&d, NULL);
    d.land = land;
    d.stride = sizeof(land);
    for (uint32_t i = 0; i < N_CYCLES; i++) {
        enum kvt_path path = i % 2 == 0 ? KVT_PATH_LOCAL : KVT_PATH_NETWORK;
        if (i == N_CYCLES / 4) { /* by now every cache inside UCX has its size */
            descriptors = n_descriptors();
            resident = resident_kib();
            live = mem_live();
        }
        d.n_fetched = 0;
        duo_pair(&p, &d, path);
        end_post(&p, 0, source, sizeof(source));
        if (i % 3 != 0) {
            assert_true(duo_pump(&p, &d, &d.n_fetched, 1));
        }
        end_act(i % 4 < 2 ? &p : &d, KVT_ACT_CLOSE, path);
        end_act(i % 4 < 2 ? &d : &p, KVT_ACT_CLOSE, path);
    }
    size_t grown = resident_kib() > resident ? resident_kib() - resident : 0;
    fprintf(stderr, "%u cycles: %zu descriptors, %zu KiB more\n", N_CYCLES, n_descriptors(), grown);
    assert_int_equal(n_descriptors(), descriptors);
    assert_true(mem_live() == live);
    assert_true(grown < 4096);
    end_close(&p);
    end_close(&d);
}

int main(int argc, char **argv)
{
    child_main(argc, argv);
    signal(SIGPIPE, nothing);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fence_with_live_peer),    cmocka_unit_test(fence_with_killed_peer),
        cmocka_unit_test(fence_with_stopped_peer), cmocka_unit_test(fence_with_all_pending),
        cmocka_unit_test(fence_without_cma),       cmocka_unit_test(fence_of_posts),
        cmocka_unit_test(fence_amid_sending),      cmocka_unit_test(cycles_leave_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
