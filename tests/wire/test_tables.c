/* Tombstones and link numbers against plain models that search arrays. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/rand.h"
#include "wire/tombs.h"
#include "wire/zlink.h"

#define CAPACITY 13
#define IDS 30

static struct wire_id id_of(uint32_t number)
{
    struct wire_id id = {{0}};
    memcpy(id.byte, &number, sizeof(number));
    id.byte[9] = 1;
    return id;
}

/* The model: newest first. */
struct model {
    uint32_t id[CAPACITY];
    uint32_t attempt[CAPACITY];
    size_t n;
};

static void model_add(struct model *model, uint32_t id, uint32_t attempt)
{
    size_t at = 0;
    while (at < model->n && model->id[at] != id) {
        at++;
    }
    if (at < model->n) {
        attempt = attempt > model->attempt[at] ? attempt : model->attempt[at];
    } else if (model->n < CAPACITY) {
        model->n++;
    } else {
        at = CAPACITY - 1;
    }
    memmove(&model->id[1], &model->id[0], at * sizeof(uint32_t));
    memmove(&model->attempt[1], &model->attempt[0], at * sizeof(uint32_t));
    model->id[0] = id;
    model->attempt[0] = attempt;
}

static bool model_has(const struct model *model, uint32_t id, uint32_t attempt)
{
    for (size_t i = 0; i < model->n; i++) {
        if (model->id[i] == id) {
            return model->attempt[i] >= attempt;
        }
    }
    return false;
}

static void tombs_forget_the_oldest(void **state)
{
    (void)state;
    struct wire_tombs *tombs;
    struct model model = {.n = 0};
    struct rand rng;
    rand_init(&rng, 6);
    assert_int_equal(wire_tombs_create(CAPACITY, &tombs), STATUS_OK);
    for (uint32_t round = 0; round < 20000; round++) {
        uint32_t number = (uint32_t)rand_below(&rng, IDS);
        uint32_t attempt = (uint32_t)rand_below(&rng, 4);
        struct wire_id id = id_of(number);
        if (rand_chance(&rng, 1, 3)) {
            wire_tombs_add(tombs, &id, attempt);
            model_add(&model, number, attempt);
        }
        for (uint32_t each = 0; each < IDS; each++) {
            id = id_of(each);
            assert_int_equal(wire_tombs_has(tombs, &id, attempt), model_has(&model, each, attempt));
        }
    }
    wire_tombs_destroy(tombs);
}

static void one_tomb_is_enough(void **state)
{
    (void)state;
    struct wire_tombs *tombs;
    assert_int_equal(wire_tombs_create(1, &tombs), STATUS_OK);
    struct wire_id a = id_of(1), b = id_of(2);
    assert_false(wire_tombs_has(tombs, &a, 0));
    wire_tombs_add(tombs, &a, 2);
    assert_true(wire_tombs_has(tombs, &a, 0));
    assert_true(wire_tombs_has(tombs, &a, 2));
    assert_false(wire_tombs_has(tombs, &a, 3));
    wire_tombs_add(tombs, &b, 0);
    assert_false(wire_tombs_has(tombs, &a, 0));
    assert_true(wire_tombs_has(tombs, &b, 0));
    wire_tombs_destroy(tombs);
}

/* ---- links ---------------------------------------------------------------------------------- */

struct known {
    uint32_t number;
    uint32_t id;
    int fd;
};

static void links_agree_with_a_list(void **state)
{
    (void)state;
    struct zlink_table *table;
    struct known known[CAPACITY]; /* newest first */
    size_t n = 0;
    uint32_t numbers = 0, last = 0;
    struct rand rng;
    rand_init(&rng, 7);
    assert_int_equal(zlink_create(CAPACITY, &numbers, &table), STATUS_OK);
    for (uint32_t round = 0; round < 20000; round++) {
        uint32_t id = (uint32_t)rand_below(&rng, IDS);
        size_t at = 0;
        while (at < n && known[at].id != id) {
            at++;
        }
        struct zlink *link = zlink_by_id(table, &id, sizeof(id));
        assert_int_equal(link != NULL, at < n);
        struct known entry;
        if (link && rand_chance(&rng, 1, 2)) {
            entry = known[at];
            assert_int_equal(link->number, entry.number);
            zlink_use(table, link);
        } else if (link) {
            zlink_drop(table, link);
            memmove(&known[at], &known[at + 1], (n - at - 1) * sizeof(entry));
            n--;
            continue;
        } else {
            char user[64];
            uint32_t evicted;
            entry = (struct known){0, id, (int)rand_below(&rng, 1000) + (int)round * 1000};
            snprintf(user, sizeof(user), "user %u", id);
            assert_int_equal(zlink_add(table, &id, sizeof(id), entry.fd, user, &link, &evicted),
                             STATUS_OK);
            entry.number = link->number;
            assert_true(entry.number > last);
            last = entry.number;
            assert_int_equal(evicted, n == CAPACITY ? known[n - 1].number : 0);
            at = n == CAPACITY ? n - 1 : n++;
        }
        memmove(&known[1], &known[0], at * sizeof(entry));
        known[0] = entry;
        assert_int_equal(zlink_count(table), n);
        for (size_t i = 0; i < n; i++) {
            const struct zlink *found = zlink_by_number(table, known[i].number);
            assert_non_null(found);
            assert_ptr_equal(found, zlink_by_fd(table, known[i].fd));
            assert_memory_equal(found->id, &known[i].id, sizeof(known[i].id));
        }
        assert_null(zlink_by_number(table, last + 1));
    }
    zlink_destroy(table);
}

static void link_numbers_end(void **state)
{
    (void)state;
    struct zlink_table *table;
    struct zlink *link;
    uint32_t numbers = UINT32_MAX - 1, evicted;
    assert_int_equal(zlink_create(2, &numbers, &table), STATUS_OK);
    assert_int_equal(zlink_add(table, "a", 1, ZLINK_NO_FD, "", &link, &evicted), STATUS_OK);
    assert_int_equal(link->number, UINT32_MAX);
    assert_int_equal(zlink_add(table, "b", 1, ZLINK_NO_FD, "", &link, &evicted), STATUS_FULL);
    assert_null(zlink_by_fd(table, ZLINK_NO_FD));
    zlink_destroy(table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tombs_forget_the_oldest),
        cmocka_unit_test(one_tomb_is_enough),
        cmocka_unit_test(links_agree_with_a_list),
        cmocka_unit_test(link_numbers_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
