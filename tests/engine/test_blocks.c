/* The pool of blocks: counts by holder, free only at zero, and the bugs that must abort. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/mem.h"
#include "engine/blocks.h"

static void test_take_and_drop(void **state)
{
    (void)state;
    struct blocks *blocks;
    uint32_t idx[4], other[4];
    assert_int_equal(blocks_create(0, &blocks), STATUS_INVALID);
    assert_int_equal(blocks_create(4, &blocks), STATUS_OK);
    assert_int_equal(blocks_take(blocks, BLOCK_HOLDER_SEQ, 3, idx), STATUS_OK);
    assert_int_equal(blocks_n_free(blocks), 1);
    assert_int_equal(blocks_take(blocks, BLOCK_HOLDER_SEQ, 2, other), STATUS_FULL);
    assert_int_equal(blocks_n_free(blocks), 1);
    assert_int_equal(blocks_sum(blocks, BLOCK_HOLDER_SEQ), 3);
    assert_true(idx[0] != idx[1] && idx[1] != idx[2] && idx[0] != idx[2]);
    blocks_drop(blocks, BLOCK_HOLDER_SEQ, idx, 3);
    assert_int_equal(blocks_n_free(blocks), 4);
    assert_int_equal(blocks_n_free_low(blocks), 1);
    assert_int_equal(blocks_take(blocks, BLOCK_HOLDER_IN, 4, other), STATUS_OK);
    assert_int_equal(blocks_n_free_low(blocks), 0);
    blocks_destroy(blocks);
    blocks_destroy(NULL);
}

static void test_free_only_at_zero(void **state)
{
    (void)state;
    struct blocks *blocks;
    uint32_t idx[2];
    assert_int_equal(blocks_create(2, &blocks), STATUS_OK);
    assert_int_equal(blocks_take(blocks, BLOCK_HOLDER_SEQ, 2, idx), STATUS_OK);
    blocks_hold(blocks, BLOCK_HOLDER_OUT, idx, 2);
    blocks_hold(blocks, BLOCK_HOLDER_OUT, idx, 1);
    blocks_drop(blocks, BLOCK_HOLDER_SEQ, idx, 2);
    assert_int_equal(blocks_n_free(blocks), 0);
    assert_int_equal(blocks_holds(blocks, BLOCK_HOLDER_OUT, idx[0]), 2);
    blocks_drop(blocks, BLOCK_HOLDER_OUT, idx, 2);
    assert_int_equal(blocks_n_free(blocks), 1);
    assert_int_equal(blocks_sum(blocks, BLOCK_HOLDER_OUT), 1);
    blocks_drop(blocks, BLOCK_HOLDER_OUT, idx, 1);
    assert_int_equal(blocks_n_free(blocks), 2);
    assert_int_equal(blocks_sum(blocks, BLOCK_HOLDER_SEQ), 0);
    blocks_destroy(blocks);
}

/* Runs it in a child and expects an abort. */
static void expect_abort(void (*bug)(struct blocks *blocks, const uint32_t *idx))
{
    struct blocks *blocks;
    uint32_t idx[2];
    int how;
    assert_int_equal(blocks_create(2, &blocks), STATUS_OK);
    assert_int_equal(blocks_take(blocks, BLOCK_HOLDER_SEQ, 1, idx), STATUS_OK);
    idx[1] = 1 - idx[0]; /* a free one */
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        signal(SIGABRT, SIG_DFL);
        if (close(2) != 0)
            _exit(1);
        bug(blocks, idx);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &how, 0), child);
    assert_true(WIFSIGNALED(how) && WTERMSIG(how) == SIGABRT);
    blocks_destroy(blocks);
}

static void drop_of_other_name(struct blocks *blocks, const uint32_t *idx)
{
    blocks_drop(blocks, BLOCK_HOLDER_OUT, idx, 1);
}

static void drop_of_free(struct blocks *blocks, const uint32_t *idx)
{
    blocks_drop(blocks, BLOCK_HOLDER_SEQ, idx + 1, 1);
}

static void hold_of_free(struct blocks *blocks, const uint32_t *idx)
{
    blocks_hold(blocks, BLOCK_HOLDER_SEQ, idx + 1, 1);
}

static void drop_of_none(struct blocks *blocks, const uint32_t *idx)
{
    (void)idx;
    blocks_drop(blocks, BLOCK_HOLDER_SEQ, &(uint32_t){2}, 1);
}

static void test_bugs_abort(void **state)
{
    (void)state;
    expect_abort(drop_of_other_name);
    expect_abort(drop_of_free);
    expect_abort(hold_of_free);
    expect_abort(drop_of_none);
}

static void test_no_memory(void **state)
{
    (void)state;
    int64_t live = mem_live();
    for (int n = 0; n < 3; n++) {
        struct blocks *blocks;
        mem_fail_after(n);
        assert_int_equal(blocks_create(8, &blocks), STATUS_NO_MEMORY);
        mem_fail_after(MEM_FAIL_NEVER);
        assert_int_equal(mem_live(), live);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_take_and_drop),
        cmocka_unit_test(test_free_only_at_zero),
        cmocka_unit_test(test_bugs_abort),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
