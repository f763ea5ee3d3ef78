/* Every line that the log writes to a file is read back and compared without its time. */
#include "base/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define TEXT_MAX 400000

static char path[] = "/tmp/baton-log-XXXXXX";
static char text[TEXT_MAX];

static void open_log(enum log_level level, enum log_format format, uint32_t lines_per_s)
{
    struct log_options options = {
        .level = level, .format = format, .path = path, .site_lines_per_s = lines_per_s};
    assert_int_equal(truncate(path, 0), 0);
    assert_int_equal(log_open(&options), STATUS_OK);
}

/* What was written since open_log. */
static const char *written(void)
{
    log_close();
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    size_t len = fread(text, 1, sizeof(text) - 1, file);
    text[len] = '\0';
    fclose(file);
    return text;
}

static int set_up(void **state)
{
    (void)state;
    int fd = mkstemp(path);
    return fd < 0 ? -1 : close(fd);
}

static int tear_down(void **state)
{
    (void)state;
    return unlink(path);
}

static void test_text(void **state)
{
    (void)state;
    static const uint8_t id[16] = {0xab, 1};
    open_log(LOG_LEVEL_INFO, LOG_FORMAT_TEXT, 0);
    LOG_DEBUG("test", "below the level");
    LOG_INFO("test", "all kinds", log_str("s", "plain"), log_str("q", "two words"),
             log_i64("i", -5), log_u64("u", UINT64_MAX), log_f64("f", 0.25), log_bool("b", true),
             log_hex("h", 255), log_req(id), log_status(STATUS_FULL), log_errno(ENOENT),
             log_str("e", ""), log_str("n", NULL));
    const char *line = written();
    assert_int_equal(line[26], 'Z');
    assert_string_equal(line + 28, "INFO test \"all kinds\" s=plain q=\"two words\" i=-5"
                                   " u=18446744073709551615 f=0.25 b=true h=00000000000000ff"
                                   " req=ab010000000000000000000000000000 status=FULL"
                                   " error=\"No such file or directory\" e=\"\" n=\"\"\n");
}

static void test_json(void **state)
{
    (void)state;
    open_log(LOG_LEVEL_DEBUG, LOG_FORMAT_JSON, 0);
    LOG_DEBUG("test", "no fields");
    LOG_ERROR("test", "some", log_str("s", "a\"b"), log_u64("u", 1), log_f64("f", (double)NAN),
              log_hex("h", 1));
    const char *line = written();
    assert_memory_equal(line, "{\"time\":\"", 9);
    assert_string_equal(strstr(line, "\"level\":\"ERROR\""),
                        "\"level\":\"ERROR\",\"component\":\"test\",\"msg\":\"some\""
                        ",\"s\":\"a\\\"b\",\"u\":1,\"f\":\"nan\",\"h\":\"0000000000000001\"}\n");
    assert_non_null(
        strstr(line, "\"level\":\"DEBUG\",\"component\":\"test\",\"msg\":\"no fields\"}\n"));
}

/* A value cannot end its line, forge a field, or move the cursor. */
static void test_escape(void **state)
{
    (void)state;
    open_log(LOG_LEVEL_INFO, LOG_FORMAT_TEXT, 0);
    LOG_INFO(
        "test", "m",
        log_str("v", "a\nERROR x=1\t\x1b[2J\x7f\\ \xff\xc3\xa9 \xc0\xaf \xed\xa0\x80 \xc2\x9b"));
    const char *line = written();
    assert_string_equal(line + 28,
                        "INFO test \"m\" v=\"a\\nERROR x=1\\t\\u001b[2J\\u007f\\\\ \\ufffd\xc3\xa9"
                        " \\ufffd\\ufffd \\ufffd\\ufffd\\ufffd \\u009b\"\n");
}

static void test_cut(void **state)
{
    (void)state;
    char longest[2 * LOG_LINE_MAX];
    memset(longest, 'x', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = '\0';
    open_log(LOG_LEVEL_INFO, LOG_FORMAT_TEXT, 0);
    LOG_INFO("test", "m", log_u64("a", 1), log_str("v", longest), log_u64("b", 2));
    assert_string_equal(written() + 28, "INFO test \"m\" a=1 cut=true\n");
    open_log(LOG_LEVEL_INFO, LOG_FORMAT_JSON, 0);
    longest[LOG_LINE_MAX - 150] = '\0';
    LOG_INFO("test", "m", log_str("v", longest), log_str("w", longest));
    const char *line = written();
    assert_true(strlen(line) < LOG_LINE_MAX);
    assert_string_equal(line + strlen(line) - 15, "x\",\"cut\":true}\n");
}

static void log_once(void)
{
    LOG_INFO("test", "again and again");
}

/* A site of five lines a second writes five (ten if the second turns meanwhile), counts the rest,
 * and reports them with its first line of another second. */
static void test_rate(void **state)
{
    (void)state;
    uint64_t before = log_n_suppressed();
    struct log_site site = {0};
    open_log(LOG_LEVEL_INFO, LOG_FORMAT_TEXT, 5);
    for (int i = 0; i < 100; i++) {
        log_write(&site, LOG_LEVEL_INFO, "test", "m", NULL, 0);
        log_once();
    }
    uint64_t n_suppressed = log_n_suppressed() - before;
    assert_in_range(n_suppressed, 180, 190);
    site.window_s = 1; /* another second than this one */
    log_write(&site, LOG_LEVEL_INFO, "test", "m", NULL, 0);
    const char *line = written();
    int n_lines = 0;
    for (const char *at = line; (at = strchr(at, '\n')) != NULL; at++) {
        n_lines++;
    }
    assert_int_equal(n_lines, 201 - (int)n_suppressed);
    const char *report = strstr(line, "suppressed=9");
    assert_non_null(report);
    log_close();
}

static void *log_many(void *ctx)
{
    (void)ctx;
    for (uint64_t i = 0; i < 1000; i++) {
        LOG_INFO("test", "from a thread", log_u64("i", i), log_str("tail", "the end"));
    }
    return NULL;
}

/* Lines of two threads never mix. */
static void test_threads(void **state)
{
    (void)state;
    pthread_t threads[2];
    open_log(LOG_LEVEL_INFO, LOG_FORMAT_TEXT, 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, log_many, NULL), 0);
    }
    for (int i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
    }
    char *rest = (char *)(uintptr_t)written();
    int n_lines = 0;
    for (char *line; (line = strsep(&rest, "\n")) != NULL && *line != '\0'; n_lines++) {
        assert_memory_equal(line + 26, "Z INFO test \"from a thread\" i=", 30);
        assert_string_equal(line + strlen(line) - 15, " tail=\"the end\"");
    }
    assert_int_equal(n_lines, 2000);
}

static void test_settings(void **state)
{
    (void)state;
    struct log_options options = {.level = LOG_LEVEL_ERROR, .path = "/nowhere/at/all"};
    assert_int_equal(log_open(&options), STATUS_IO);
    assert_true(log_enabled(LOG_LEVEL_INFO));
    open_log(LOG_LEVEL_OFF, LOG_FORMAT_TEXT, 0);
    assert_false(log_enabled(LOG_LEVEL_ERROR));
    errno = 5;
    LOG_ERROR("test", "not written");
    assert_int_equal(errno, 5);
    assert_string_equal(written(), "");
}

/* A reader that has stopped must not stop the program: lines are lost, counted, and come again. */
static void test_full_pipe(void **state)
{
    (void)state;
    static char fifo[sizeof(path) + 5];
    snprintf(fifo, sizeof(fifo), "%s.fifo", path);
    assert_int_equal(mkfifo(fifo, 0600), 0);
    int reader = open(fifo, O_RDONLY | O_NONBLOCK);
    assert_true(reader >= 0);
    struct log_options options = {.level = LOG_LEVEL_INFO, .path = fifo};
    assert_int_equal(log_open(&options), STATUS_OK);
    uint64_t lost = log_n_lost();
    alarm(20); /* what waits for the reader would wait for ever */
    for (int i = 0; i < 5000; i++) {
        LOG_INFO("test", "a line that nobody reads", log_i64("i", i));
    }
    alarm(0);
    lost = log_n_lost() - lost;
    assert_in_range(lost, 1, 4999);
    while (read(reader, text, sizeof(text)) > 0) {
    }
    LOG_INFO("test", "read again");
    assert_true(read(reader, text, sizeof(text)) > 0);
    log_close();
    close(reader);
    assert_int_equal(unlink(fifo), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text),     cmocka_unit_test(test_json),
        cmocka_unit_test(test_escape),   cmocka_unit_test(test_cut),
        cmocka_unit_test(test_rate),     cmocka_unit_test(test_threads),
        cmocka_unit_test(test_settings), cmocka_unit_test(test_full_pipe),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
