/* The heap's failure hook, arenas, pools and buffers. */
#include "base/arena.h"
#include "base/buf.h"
#include "base/mem.h"
#include "base/objpool.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void test_mem(void **state)
{
    (void)state;
    int64_t live = mem_live();
    void *a = mem_alloc(0);
    char *b = mem_strdup("text");
    uint64_t *c = mem_alloc_zero(3, sizeof(*c));
    void *d = mem_alloc_aligned(128, 1);
    assert_non_null(a);
    assert_string_equal(b, "text");
    assert_int_equal(c[0] | c[1] | c[2], 0);
    assert_int_equal((uintptr_t)d % 128, 0);
    assert_null(mem_alloc_zero(SIZE_MAX / 2, 4));
    b = mem_realloc(b, 100);
    assert_string_equal(b, "text");
    assert_int_equal(mem_live(), live + 4);
    mem_free(a);
    mem_free(b);
    mem_free(c);
    mem_free(d);
    mem_free(NULL);
    assert_int_equal(mem_live(), live);
}

static void test_mem_fails(void **state)
{
    (void)state;
    mem_fail_after(2);
    void *a = mem_alloc(1);
    void *b = mem_alloc(1);
    assert_non_null(a);
    assert_non_null(b);
    assert_null(mem_alloc(1));
    assert_null(mem_alloc_zero(1, 1));
    assert_null(mem_alloc_aligned(64, 1));
    assert_null(mem_strdup("x"));
    assert_null(mem_realloc(a, 100));
    mem_fail_after(MEM_FAIL_NEVER);
    mem_free(a);
    mem_free(b);
}

static void test_arena(void **state)
{
    (void)state;
    struct arena *arena;
    assert_int_equal(arena_create(0, 10, &arena), STATUS_INVALID);
    assert_int_equal(arena_create(100, 99, &arena), STATUS_INVALID);
    assert_int_equal(arena_create(256, 1024, &arena), STATUS_OK);
    uint8_t *before = NULL;
    for (size_t i = 0; i < 20; i++) {
        uint8_t *ptr = arena_alloc(arena, 17);
        assert_non_null(ptr);
        assert_int_equal((uintptr_t)ptr % ARENA_ALIGNMENT, 0);
        memset(ptr, (int)i, 17);
        assert_true(before == NULL || before[16] == i - 1);
        before = ptr;
    }
    assert_int_equal(arena_used_bytes(arena), 20 * 32);
    assert_non_null(arena_alloc(arena, 0));
    assert_string_equal(arena_strdup(arena, "hello"), "hello");
    assert_memory_equal(arena_memdup(arena, "abc", 3), "abc", 3);
    size_t high = arena_high_bytes(arena);
    arena_reset(arena);
    assert_int_equal(arena_used_bytes(arena), 0);
    assert_int_equal(arena_high_bytes(arena), high);
    arena_destroy(arena);
    arena_destroy(NULL);
}

static void test_arena_limit(void **state)
{
    (void)state;
    struct arena *arena;
    int64_t live = mem_live();
    assert_int_equal(arena_create(128, 512, &arena), STATUS_OK);
    assert_null(arena_alloc(arena, 513));
    assert_null(arena_alloc(arena, SIZE_MAX));
    assert_null(arena_alloc_zero(arena, SIZE_MAX / 4, 8));
    uint8_t *small = arena_alloc(arena, 64);
    assert_non_null(arena_alloc(arena, 384)); /* a chunk of its own: the limit is reached */
    uint8_t *behind = arena_alloc(arena, 64);
    assert_ptr_equal(behind, small + 64); /* the ordinary chunk went on */
    assert_null(arena_alloc(arena, 16));
    arena_reset(arena);
    const uint8_t *zero = arena_alloc_zero(arena, 8, 8);
    assert_int_equal(zero[0] | zero[63], 0);
    arena_reset(arena);
    mem_fail_after(0);
    assert_null(arena_alloc(arena, 300));
    mem_fail_after(MEM_FAIL_NEVER);
    arena_destroy(arena);
    assert_int_equal(mem_live(), live);
}

static void test_objpool(void **state)
{
    (void)state;
    struct objpool *pool;
    struct objpool_stats stats;
    void *objects[3];
    assert_int_equal(objpool_create("x", 0, 3, &pool), STATUS_INVALID);
    assert_int_equal(objpool_create("x", SIZE_MAX / 2, 3, &pool), STATUS_INVALID);
    assert_int_equal(objpool_create("things", 20, 3, &pool), STATUS_OK);
    for (uint32_t i = 0; i < 3; i++) {
        objects[i] = objpool_take(pool);
        assert_non_null(objects[i]);
        assert_int_equal(objpool_index(pool, objects[i]), i);
        assert_ptr_equal(objpool_at(pool, i), objects[i]);
        memset(objects[i], 0xff, 20);
    }
    assert_null(objpool_take(pool));
    objpool_give(pool, objects[1]);
    assert_int_equal(objpool_used(pool), 2);
    assert_ptr_equal(objpool_take(pool), objects[1]);
    for (uint32_t i = 0; i < 3; i++) {
        objpool_give(pool, objects[i]);
    }
    objpool_stats(pool, &stats);
    assert_string_equal(stats.name, "things");
    assert_int_equal(stats.n_used, 0);
    assert_int_equal(stats.n_high, 3);
    assert_int_equal(stats.n_refused, 1);
    objpool_destroy(pool);
}

/* True if `fn` aborts. */
static int dies(void (*fn)(void))
{
    int how;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        signal(SIGABRT, SIG_DFL);
        close(STDERR_FILENO);
        fn();
        _exit(0);
    }
    assert_int_equal(waitpid(child, &how, 0), child);
    return WIFSIGNALED(how) && WTERMSIG(how) == SIGABRT;
}

static void give_twice(void)
{
    struct objpool *pool;
    if (objpool_create("x", 8, 2, &pool) == STATUS_OK) {
        void *object = objpool_take(pool);
        objpool_give(pool, object);
        objpool_give(pool, object);
    }
}

static void give_stranger(void)
{
    struct objpool *pool;
    uint64_t stranger;
    if (objpool_create("x", 8, 2, &pool) == STATUS_OK) {
        objpool_give(pool, &stranger);
    }
}

static void test_objpool_dies(void **state)
{
    (void)state;
    assert_true(dies(give_twice));
    assert_true(dies(give_stranger));
}

static void test_objpool_no_memory(void **state)
{
    (void)state;
    int64_t live = mem_live();
    struct objpool *pool = NULL;
    for (int64_t n = 0; n < 4; n++) {
        mem_fail_after(n);
        assert_int_equal(objpool_create("x", 8, 2, &pool), STATUS_NO_MEMORY);
        mem_fail_after(MEM_FAIL_NEVER);
        assert_null(pool);
        assert_int_equal(mem_live(), live);
    }
}

static void test_buf(void **state)
{
    (void)state;
    struct buf buf;
    buf_init(&buf, 1000);
    assert_int_equal(buf_len(&buf), 0);
    assert_string_equal(buf_text(&buf), "");
    for (int i = 0; i < 100; i++) {
        assert_int_equal(buf_printf(&buf, "%08d,", i), STATUS_OK);
    }
    assert_int_equal(buf_len(&buf), 900);
    assert_int_equal(buf_append(&buf, "x", 101), STATUS_TOO_BIG);
    assert_int_equal(buf_printf(&buf, "%200d", 1), STATUS_TOO_BIG);
    assert_int_equal(buf_len(&buf), 900);
    buf_consume(&buf, 891);
    assert_string_equal(buf_text(&buf), "00000099,");
    uint8_t *room;
    assert_int_equal(buf_reserve(&buf, 991, &room), STATUS_OK);
    memset(room, 'y', 991);
    buf_grew(&buf, 991);
    assert_int_equal(buf_len(&buf), 1000);
    assert_memory_equal(buf_data(&buf), "00000099,yy", 11);
    assert_int_equal(buf_append_str(&buf, "z"), STATUS_TOO_BIG);
    buf_clear(&buf);
    assert_int_equal(buf_append_str(&buf, "z"), STATUS_OK);
    assert_string_equal(buf_text(&buf), "z");
    buf_fini(&buf);
    mem_fail_after(0);
    assert_int_equal(buf_append_str(&buf, "z"), STATUS_NO_MEMORY);
    mem_fail_after(MEM_FAIL_NEVER);
    assert_string_equal(buf_text(&buf), "");
    buf_fini(&buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mem),
        cmocka_unit_test(test_mem_fails),
        cmocka_unit_test(test_arena),
        cmocka_unit_test(test_arena_limit),
        cmocka_unit_test(test_objpool),
        cmocka_unit_test(test_objpool_dies),
        cmocka_unit_test(test_objpool_no_memory),
        cmocka_unit_test(test_buf),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
