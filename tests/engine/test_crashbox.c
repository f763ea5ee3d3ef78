/* The crash box: what a child that aborts inside a step leaves behind. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <fcntl.h>
#include <cmocka.h>

#include "engine/crashbox.h"

#define N_ROWS 100u

static struct engine_row rows[N_ROWS];
static const struct engine_step step = {.number = 7, .n_rows = N_ROWS, .rows = rows};

static void name_rows(void)
{
    for (uint32_t i = 0; i < N_ROWS; i++)
        rows[i].req = (struct wire_id){{(uint8_t)i, 9, 8}};
}

enum death { IN_STEP, BETWEEN_STEPS, BEFORE_ANY };

/* A child maps the inherited descriptor and dies. */
static void die(int fd, enum death death)
{
    struct crashbox *box;
    pid_t child = fork();
    int how;
    assert_true(child >= 0);
    if (child == 0) {
        signal(SIGABRT, SIG_DFL);
        if (crashbox_open(fd, &box) != STATUS_OK)
            _exit(1);
        if (death != BEFORE_ANY)
            crashbox_begin(box, 55, &step);
        if (death == BETWEEN_STEPS)
            crashbox_end(box);
        abort();
    }
    assert_int_equal(waitpid(child, &how, 0), child);
    assert_true(WIFSIGNALED(how) && WTERMSIG(how) == SIGABRT);
}

static void test_deaths(void **state)
{
    (void)state;
    struct crashbox *box;
    struct wire_id reqs[N_ROWS];
    uint64_t incarnation = 1, number = 2;
    size_t n = 3;
    int fd;
    name_rows();
    assert_int_equal(crashbox_create(&fd, &box), STATUS_OK);
    assert_int_equal(fcntl(fd, F_GETFD), 0); /* to be inherited */
    die(fd, BEFORE_ANY);
    assert_int_equal(crashbox_read(box, &incarnation, &number, reqs, N_ROWS, &n), STATUS_NOT_FOUND);
    die(fd, BETWEEN_STEPS);
    assert_int_equal(crashbox_read(box, &incarnation, &number, reqs, N_ROWS, &n), STATUS_NOT_FOUND);
    assert_true(incarnation == 1 && number == 2 && n == 3);
    die(fd, IN_STEP);
    assert_int_equal(crashbox_read(box, &incarnation, &number, reqs, N_ROWS, &n), STATUS_OK);
    assert_true(incarnation == 55 && number == 7 && n == N_ROWS);
    for (uint32_t i = 0; i < N_ROWS; i++)
        assert_true(wire_id_equal(&reqs[i], &rows[i].req));
    assert_int_equal(crashbox_read(box, &incarnation, &number, reqs, 3, &n), STATUS_OK);
    assert_int_equal(n, 3);
    crashbox_reset(box);
    assert_int_equal(crashbox_read(box, &incarnation, &number, reqs, N_ROWS, &n), STATUS_NOT_FOUND);
    crashbox_close(box);
    close(fd);
}

/* A node gone mad: neither a shrunk file nor a wild count may hurt the supervisor. */
static void test_mad_child(void **state)
{
    (void)state;
    struct crashbox *box;
    static struct wire_id reqs[CRASHBOX_REQUESTS_MAX + 1];
    uint64_t incarnation, number;
    size_t n;
    int fd;
    name_rows();
    assert_int_equal(crashbox_create(&fd, &box), STATUS_OK);
    assert_int_equal(ftruncate(fd, 0), -1);
    crashbox_begin(box, 55, &step);
    memset((uint8_t *)box + 24, 0xff, 8); /* the count */
    assert_int_equal(crashbox_read(box, &incarnation, &number, reqs, CRASHBOX_REQUESTS_MAX + 1, &n),
                     STATUS_OK);
    assert_int_equal(n, CRASHBOX_REQUESTS_MAX);
    crashbox_close(box);
    close(fd);
}

static void test_not_a_box(void **state)
{
    (void)state;
    struct crashbox *box;
    assert_int_equal(crashbox_open(-1, &box), STATUS_INVALID);
    int fd = memfd_create("other", MFD_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(crashbox_open(fd, &box), STATUS_INVALID);
    assert_int_equal(ftruncate(fd, 32 + 16 * CRASHBOX_REQUESTS_MAX), 0); /* the size, but zeros */
    assert_int_equal(crashbox_open(fd, &box), STATUS_INVALID);
    close(fd);
    crashbox_close(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_deaths),
        cmocka_unit_test(test_mad_child),
        cmocka_unit_test(test_not_a_box),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
