/* The id map against a plain array of the same entries, and the handle table. */
#include "base/handles.h"
#include "base/idmap.h"
#include "base/mem.h"
#include "base/rand.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

static const uint64_t hash_key[2] = {1, 2};

static struct idmap_key key_of(uint32_t n)
{
    uint8_t id[IDMAP_ID_BYTES] = {0};
    memcpy(id, &n, sizeof(n));
    return idmap_key(id, n % 3);
}

static void test_idmap(void **state)
{
    (void)state;
    struct idmap *map;
    uint32_t value = 77;
    assert_int_equal(idmap_create(0, hash_key, &map), STATUS_INVALID);
    assert_int_equal(idmap_create(2, hash_key, &map), STATUS_OK);
    struct idmap_key a = key_of(1);
    struct idmap_key b = key_of(2);
    struct idmap_key c = key_of(3);
    assert_int_equal(idmap_find(map, &a, &value), STATUS_NOT_FOUND);
    assert_int_equal(value, 77);
    assert_int_equal(idmap_insert(map, &a, 10), STATUS_OK);
    assert_int_equal(idmap_insert(map, &a, 11), STATUS_EXISTS);
    assert_int_equal(idmap_insert(map, &b, 20), STATUS_OK);
    assert_int_equal(idmap_insert(map, &c, 30), STATUS_FULL);
    assert_int_equal(idmap_find(map, &a, &value), STATUS_OK);
    assert_int_equal(value, 10);
    assert_int_equal(idmap_remove(map, &a, &value), STATUS_OK);
    assert_int_equal(value, 10);
    assert_int_equal(idmap_remove(map, &a, NULL), STATUS_NOT_FOUND);
    assert_int_equal(idmap_insert(map, &c, 30), STATUS_OK);
    assert_int_equal(idmap_count(map), 2);
    idmap_destroy(map);
    idmap_destroy(NULL);
}

/* The same id under another aux is another key. */
static void test_idmap_aux(void **state)
{
    (void)state;
    struct idmap *map;
    uint8_t id[IDMAP_ID_BYTES] = {9};
    uint32_t value;
    struct idmap_key a = idmap_key(id, 1);
    struct idmap_key b = idmap_key(id, 2);
    assert_int_equal(idmap_create(4, hash_key, &map), STATUS_OK);
    assert_int_equal(idmap_insert(map, &a, 1), STATUS_OK);
    assert_int_equal(idmap_insert(map, &b, 2), STATUS_OK);
    assert_int_equal(idmap_find(map, &b, &value), STATUS_OK);
    assert_int_equal(value, 2);
    idmap_destroy(map);
}

#define N_KEYS 600

/* Every entry is found, none too many, and the walk meets each exactly once. */
static void assert_same(const struct idmap *map, const uint32_t *model)
{
    uint32_t n = 0;
    uint32_t value;
    for (uint32_t i = 0; i < N_KEYS; i++) {
        struct idmap_key key = key_of(i);
        enum status status = idmap_find(map, &key, &value);
        assert_int_equal(status, model[i] != 0 ? STATUS_OK : STATUS_NOT_FOUND);
        assert_true(model[i] == 0 || value == model[i]);
        n += model[i] != 0;
    }
    assert_int_equal(idmap_count(map), n);
    uint8_t seen[N_KEYS] = {0};
    uint32_t cursor = 0;
    struct idmap_key key;
    uint32_t n_walked = 0;
    while (idmap_next(map, &cursor, &key, &value)) {
        uint32_t i;
        memcpy(&i, key.bytes, sizeof(i));
        assert_true(i < N_KEYS && !seen[i] && model[i] == value);
        seen[i] = 1;
        n_walked++;
    }
    assert_int_equal(n_walked, n);
    assert_false(idmap_next(map, &cursor, NULL, NULL));
}

static void test_idmap_random(void **state)
{
    (void)state;
    struct idmap *map;
    struct rand rng;
    uint32_t model[N_KEYS] = {0};
    rand_init(&rng, 7);
    assert_int_equal(idmap_create(256, hash_key, &map), STATUS_OK);
    for (int step = 0; step < 60000; step++) {
        uint32_t i = (uint32_t)rand_below(&rng, N_KEYS);
        struct idmap_key key = key_of(i);
        if (rand_chance(&rng, 1, 2)) {
            bool is_full = idmap_count(map) == 256;
            enum status status = idmap_insert(map, &key, (uint32_t)step + 1);
            assert_int_equal(status, model[i] ? STATUS_EXISTS : is_full ? STATUS_FULL : STATUS_OK);
            model[i] = status == STATUS_OK ? (uint32_t)step + 1 : model[i];
        } else {
            enum status status = idmap_remove(map, &key, NULL);
            assert_int_equal(status, model[i] != 0 ? STATUS_OK : STATUS_NOT_FOUND);
            model[i] = 0;
        }
        if (step % 500 == 0) {
            assert_same(map, model);
        }
    }
    assert_same(map, model);
    idmap_destroy(map);
}

static void test_handles(void **state)
{
    (void)state;
    struct handles *handles;
    int objects[3];
    uint64_t names[3];
    uint64_t other;
    assert_int_equal(handles_create(0, &handles), STATUS_INVALID);
    assert_int_equal(handles_create(3, &handles), STATUS_OK);
    assert_null(handles_find(handles, HANDLE_NONE));
    for (int i = 0; i < 3; i++) {
        assert_int_equal(handles_insert(handles, &objects[i], &names[i]), STATUS_OK);
        assert_true(names[i] != HANDLE_NONE && handle_slot(names[i]) < 3);
    }
    assert_int_equal(handles_insert(handles, &objects[0], &other), STATUS_FULL);
    assert_ptr_equal(handles_find(handles, names[1]), &objects[1]);
    assert_ptr_equal(handles_remove(handles, names[1]), &objects[1]);
    assert_null(handles_find(handles, names[1]));
    assert_null(handles_remove(handles, names[1]));
    assert_int_equal(handles_insert(handles, &objects[0], &other), STATUS_OK);
    assert_int_equal(handle_slot(other), handle_slot(names[1]));
    assert_null(handles_find(handles, names[1]));
    assert_ptr_equal(handles_find(handles, other), &objects[0]);
    assert_null(handles_find(handles, other | 0xffff));
    assert_int_equal(handles_count(handles), 3);
    handles_destroy(handles);
}

static void test_no_memory(void **state)
{
    (void)state;
    int64_t live = mem_live();
    struct idmap *map;
    struct handles *handles;
    for (int64_t n = 0; n < 2; n++) {
        mem_fail_after(n);
        assert_int_equal(idmap_create(4, hash_key, &map), STATUS_NO_MEMORY);
        mem_fail_after(n);
        assert_int_equal(handles_create(4, &handles), STATUS_NO_MEMORY);
        mem_fail_after(MEM_FAIL_NEVER);
        assert_int_equal(mem_live(), live);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_idmap),        cmocka_unit_test(test_idmap_aux),
        cmocka_unit_test(test_idmap_random), cmocka_unit_test(test_handles),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
