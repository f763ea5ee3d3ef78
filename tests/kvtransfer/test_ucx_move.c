/* Bytes through the UCX mover: both paths, all sizes, many at once, unread, asleep. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/rand.h"
#include "tests/kvtransfer/ucx_duo.h"

#define MIB (1024u * 1024u)

struct fixture {
    struct end p, d;
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    end_open(&f->p, NULL);
    end_open(&f->d, NULL);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    end_close(&f->p);
    end_close(&f->d);
    free(f);
    return 0;
}

/* Moves n pieces of the sizes given (cyclic) and compares every byte. */
static void move(struct fixture *f, enum kvt_path path, uint32_t n, const size_t *sizes,
                 uint32_t n_sizes, size_t stride)
{
    uint8_t *source = malloc(n * stride), *land = malloc(n * stride);
    assert_non_null(source);
    assert_non_null(land);
    memset(land, 0xEE, n * stride);
    f->d.land = land;
    f->d.stride = stride;
    f->p.n_posted = f->d.n_fetched = f->d.n_offered = 0;
    duo_pair(&f->p, &f->d, path);
    for (uint32_t i = 0; i < n; i++) {
        pattern_fill(source + i * stride, i, sizes[i % n_sizes]);
        end_post(&f->p, i, source + i * stride, sizes[i % n_sizes]);
    }
    assert_true(duo_pump(&f->p, &f->d, &f->d.n_fetched, n));
    assert_true(duo_pump(&f->p, &f->d, &f->p.n_posted, n));
    for (uint32_t i = 0; i < n; i++) {
        size_t bytes = sizes[i % n_sizes];
        assert_true(pattern_is(land + i * stride, i, bytes));
        assert_true(bytes == stride || land[i * stride + bytes] == 0xEE);
    }
    assert_int_equal(f->p.n_failed + f->d.n_failed + f->p.n_errors + f->d.n_errors, 0);
    end_act(&f->p, KVT_ACT_CLOSE, path);
    end_act(&f->d, KVT_ACT_CLOSE, path);
    struct kvt_ucx_counts counts;
    kvt_ucx_counts(f->d.mover, &counts);
    assert_int_equal(counts.pairs + counts.posts + counts.offers + counts.fetches, 0);
    free(source);
    free(land);
}

static void sizes_of_both_paths(void **state)
{
    static const size_t sizes[] = {64, 65, 4095, 4096, 65536, 1, MIB, 8 * MIB, 3 * MIB + 17};
    move(*state, KVT_PATH_LOCAL, 18, sizes, 9, 8 * MIB);
    move(*state, KVT_PATH_NETWORK, 18, sizes, 9, 8 * MIB);
}

static void many_random(void **state)
{
    struct rand rng;
    size_t sizes[512];
    rand_init(&rng, 7);
    for (size_t i = 0; i < 512; i++) {
        sizes[i] = (size_t)rand_between(&rng, 64, 200000);
    }
    move(*state, KVT_PATH_LOCAL, 512, sizes, 512, 200000);
    move(*state, KVT_PATH_NETWORK, 512, sizes, 512, 200000);
}

static void unread(void **state)
{
    struct fixture *f = *state;
    static uint8_t source[MIB];
    for (int path = KVT_PATH_LOCAL; path <= KVT_PATH_NETWORK; path++) {
        f->d.on_offer = END_RELEASE;
        f->p.n_posted = 0;
        duo_pair(&f->p, &f->d, (enum kvt_path)path);
        for (uint32_t i = 0; i < 100; i++) {
            end_post(&f->p, i, source, sizeof(source));
        }
        assert_true(duo_pump(&f->p, &f->d, &f->p.n_posted, 100));
        end_act(&f->p, KVT_ACT_CLOSE, KVT_PATH_LOCAL);
        end_act(&f->d, KVT_ACT_CLOSE, KVT_PATH_LOCAL);
    }
    struct kvt_ucx_counts counts;
    kvt_ucx_counts(f->d.mover, &counts);
    assert_int_equal(counts.offers_released, 200);
    assert_int_equal(counts.bytes_fetched, 0);
}

/* Both processes sleep between the pieces, so each step needs its wake-up. */
static void one_at_a_time(void **state)
{
    struct fixture *f = *state;
    struct rand rng;
    static uint8_t source[4096];
    rand_init(&rng, 11);
    for (int path = KVT_PATH_LOCAL; path <= KVT_PATH_NETWORK; path++) {
        struct child child;
        struct child_plan plan = {
            .path = (enum kvt_path)path, .role = CHILD_FETCHES, .n = 1, .bytes = sizeof(source)};
        f->p.n_posted = 0;
        child_start(&child, &f->p, &plan);
        for (uint32_t i = 0; i < 5000; i++) {
            uint64_t until_us = now_us() + rand_below(&rng, 60);
            end_post(&f->p, 0, source, sizeof(source));
            assert_true(duo_pump(&f->p, NULL, &f->p.n_posted, i + 1));
            while (now_us() < until_us) { /* so that the child is met falling asleep, too */
            }
        }
        end_act(&f->p, KVT_ACT_CLOSE, KVT_PATH_LOCAL);
        child_kill(&child);
    }
}

static void two_processes(void **state)
{
    struct fixture *f = *state;
    uint8_t *land = malloc(64 * MIB);
    assert_non_null(land);
    for (int path = KVT_PATH_LOCAL; path <= KVT_PATH_NETWORK; path++) {
        struct child child;
        struct child_plan plan = {.path = (enum kvt_path)path, .n = 256, .bytes = MIB / 4};
        memset(land, 0xEE, 64 * MIB);
        f->d.land = land;
        f->d.stride = plan.bytes;
        f->d.n_fetched = 0;
        child_start(&child, &f->d, &plan);
        assert_true(duo_pump(&f->d, NULL, &f->d.n_fetched, plan.n));
        for (uint32_t i = 0; i < plan.n; i++) {
            assert_true(pattern_is(land + i * plan.bytes, i, plan.bytes));
        }
        char text[KVT_UCX_TRANSPORT_MAX];
        assert_int_equal(kvt_ucx_transport(f->d.mover, DUO_PAIR, text), STATUS_OK);
        if (path == KVT_PATH_LOCAL) {
            assert_non_null(strstr(text, "posix/memory"));
            assert_null(strstr(text, "tcp"));
        } else {
            assert_string_equal(text, "tcp/lo");
        }
        end_act(&f->d, KVT_ACT_CLOSE, KVT_PATH_LOCAL);
        child_kill(&child);
    }
    assert_int_equal(f->d.n_failed, 0);
    free(land);
}

int main(int argc, char **argv)
{
    child_main(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(sizes_of_both_paths, set_up, tear_down),
        cmocka_unit_test_setup_teardown(many_random, set_up, tear_down),
        cmocka_unit_test_setup_teardown(unread, set_up, tear_down),
        cmocka_unit_test_setup_teardown(one_at_a_time, set_up, tear_down),
        cmocka_unit_test_setup_teardown(two_processes, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
