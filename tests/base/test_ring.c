/* The ring between two real threads, and its wake-up with a consumer that truly sleeps. */
#include "base/ring.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>

#define N_ITEMS UINT64_C(1000000)

struct record {
    uint64_t number;
    uint64_t check;
    uint32_t odd_size;
} __attribute__((packed));

struct pair {
    struct ring *ring;
    struct ring_wake *wake;
};

static struct record record_of(uint64_t number)
{
    return (struct record){number, number * 3 + 1, (uint32_t)(number >> 3)};
}

static void test_order(void **state)
{
    (void)state;
    struct ring *ring;
    uint32_t value;
    assert_int_equal(ring_create(0, 4, &ring), STATUS_INVALID);
    assert_int_equal(ring_create(4, 0, &ring), STATUS_INVALID);
    assert_int_equal(ring_create(sizeof(value), 3, &ring), STATUS_OK);
    assert_int_equal(ring_capacity(ring), 4);
    assert_false(ring_pop(ring, &value));
    for (uint32_t round = 0; round < 100; round++) {
        for (uint32_t i = 0; i < 4; i++) {
            uint32_t record = round * 4 + i;
            assert_true(ring_push(ring, &record));
        }
        assert_false(ring_push(ring, &round));
        assert_int_equal(ring_count(ring), 4);
        for (uint32_t i = 0; i < 4; i++) {
            assert_true(ring_pop(ring, &value));
            assert_int_equal(value, round * 4 + i);
        }
        assert_true(ring_is_empty(ring));
    }
    ring_destroy(ring);
    ring_destroy(NULL);
}

static void *produce(void *ctx)
{
    struct pair *pair = ctx;
    for (uint64_t i = 0; i < N_ITEMS; i++) {
        struct record record = record_of(i);
        while (!ring_push(pair->ring, &record)) {
            sched_yield();
        }
        if (pair->wake != NULL) {
            ring_wake_signal(pair->wake);
        }
    }
    return NULL;
}

/* Pops until dry; the next number expected. */
static uint64_t consume(struct ring *ring, uint64_t next)
{
    struct record record;
    while (ring_pop(ring, &record)) {
        struct record expected = record_of(next);
        assert_memory_equal(&record, &expected, sizeof(record));
        next++;
    }
    return next;
}

static void test_two_threads(void **state)
{
    (void)state;
    struct pair pair = {NULL, NULL};
    pthread_t producer;
    uint64_t next = 0;
    assert_int_equal(ring_create(sizeof(struct record), 512, &pair.ring), STATUS_OK);
    assert_int_equal(pthread_create(&producer, NULL, produce, &pair), 0);
    while (next < N_ITEMS) {
        next = consume(pair.ring, next);
        sched_yield();
    }
    pthread_join(producer, NULL);
    assert_true(ring_is_empty(pair.ring));
    ring_destroy(pair.ring);
}

/* The consumer follows the protocol of the header; a lost wake-up makes its poll time out. */
static void test_wake(void **state)
{
    (void)state;
    struct pair pair;
    pthread_t producer;
    uint64_t next = 0;
    uint64_t n_sleeps = 0;
    assert_int_equal(ring_create(sizeof(struct record), 8, &pair.ring), STATUS_OK);
    assert_int_equal(ring_wake_open(&pair.wake), STATUS_OK);
    assert_int_equal(pthread_create(&producer, NULL, produce, &pair), 0);
    while (next < N_ITEMS) {
        next = consume(pair.ring, next);
        ring_wake_arm(pair.wake);
        if (ring_is_empty(pair.ring) && next < N_ITEMS) {
            struct pollfd fd = {.fd = ring_wake_fd(pair.wake), .events = POLLIN};
            n_sleeps++;
            assert_int_equal(poll(&fd, 1, 20000), 1);
        }
        ring_wake_clear(pair.wake);
    }
    pthread_join(producer, NULL);
    print_message("%llu sleeps\n", (unsigned long long)n_sleeps);
    ring_wake_close(pair.wake);
    ring_destroy(pair.ring);
}

/* An unarmed consumer costs no write, an armed one exactly one. */
static void test_wake_flag(void **state)
{
    (void)state;
    struct ring_wake *wake;
    assert_int_equal(ring_wake_open(&wake), STATUS_OK);
    struct pollfd fd = {.fd = ring_wake_fd(wake), .events = POLLIN};
    ring_wake_signal(wake);
    assert_int_equal(poll(&fd, 1, 0), 0);
    ring_wake_arm(wake);
    assert_int_equal(poll(&fd, 1, 0), 0);
    ring_wake_signal(wake);
    ring_wake_signal(wake);
    assert_int_equal(poll(&fd, 1, 0), 1);
    ring_wake_clear(wake);
    assert_int_equal(poll(&fd, 1, 0), 0);
    ring_wake_signal(wake);
    assert_int_equal(poll(&fd, 1, 0), 0);
    ring_wake_close(wake);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_two_threads),
        cmocka_unit_test(test_wake),
        cmocka_unit_test(test_wake_flag),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
