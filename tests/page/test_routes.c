/* How the door serves the page: its files whole, strict, and to everybody; what it shows only with
 * the key, whatever stands behind the question mark. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/log.h"
#include "tests/http/rig.h"

static struct http_rig rig;
static const struct http_key known[] = {{"a", "secret"}};

static int setup(void **state)
{
    (void)state;
    http_rig_init(&rig, TOOL_STYLE_NONE, known, 1);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    http_rig_fini(&rig);
    return 0;
}

/* Asks, and reads to the end of the connection. */
static void ask(const char *method, const char *path, const char *headers)
{
    const int fd = http_rig_client(&rig, 0);
    char line[512];

    snprintf(line, sizeof(line), "%s %s HTTP/1.1\r\nHost: h\r\nConnection: close\r\n%s\r\n", method,
             path, headers);
    http_rig_send(fd, line);
    RIG_UNTIL(&rig, !http_rig_hear(&rig, fd));
    close(fd);
}

static void assert_code(const char *code)
{
    assert_memory_equal(rig.heard + strlen("HTTP/1.1 "), code, 3);
}

static const char *body(void)
{
    const char *end = strstr(rig.heard, "\r\n\r\n");

    assert_non_null(end);
    return end + 4;
}

static void assert_header(const char *line)
{
    const char *at = strstr(rig.heard, line);

    assert_true(at && at < body());
}

static const struct {
    const char *path, *file, *type;
} files[] = {
    {"/", "index.html", "Content-Type: text/html; charset=utf-8\r\n"},
    {"/page.css", "page.css", "Content-Type: text/css; charset=utf-8\r\n"},
    {"/page.js", "page.js", "Content-Type: text/javascript; charset=utf-8\r\n"},
    {"/chat.js", "chat.js", "Content-Type: text/javascript; charset=utf-8\r\n"},
};

/* What is in the program is what is in the tree, byte for byte. */
static void files_are_served(void **state)
{
    static char text[1 << 18];
    const char *root = getenv("BATON_ROOT");
    char path[4096];
    size_t len;

    (void)state;
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        FILE *file;

        ask("GET", files[i].path, "");
        assert_code("200");
        assert_header(files[i].type);
        assert_header("Content-Security-Policy: default-src 'self';");
        assert_header("X-Content-Type-Options: nosniff\r\n");
        if (!root)
            continue;
        snprintf(path, sizeof(path), "%s/router/page/%s", root, files[i].file);
        file = fopen(path, "rb");
        assert_non_null(file);
        len = fread(text, 1, sizeof(text), file);
        fclose(file);
        assert_int_equal(rig.n_heard - (size_t)(body() - rig.heard), len);
        assert_memory_equal(body(), text, len);
    }
}

static void only_what_there_is(void **state)
{
    (void)state;
    ask("HEAD", "/", "");
    assert_code("200");
    assert_string_equal(body(), "");
    ask("POST", "/", "Content-Length: 0\r\n");
    assert_code("405");
    ask("GET", "/index.html", "");
    assert_code("404");
    ask("GET", "/page.css/", "");
    assert_code("404");
}

static void fleet_needs_the_key(void **state)
{
    (void)state;
    ask("GET", "/fleet.json", "");
    assert_code("401");
    assert_null(strstr(rig.heard, "nodes"));
    ask("GET", "/fleet.json", "Authorization: Bearer secre\r\n");
    assert_code("401");
    ask("GET", "/fleet.json", "Authorization: Bearer secret\r\n");
    assert_code("200");
    assert_header("Cache-Control: no-store\r\n");
}

/* A query that is no number asks for all. */
static void since(void **state)
{
    static const struct {
        const char *query;
        size_t n;
    } rows[] = {
        {"", 1},
        {"?since=0", 1},
        {"?since=1", 0},
        {"?since=2", 1}, /* not given out yet, and so is: */
        {"?since=11", 1},
        {"?since=", 1},
        {"?since=1x", 1},
        {"?since=-1", 1},
        {"?since=18446744073709551617", 1}, /* 2^64 + 1 */
        {"?since=9999999999999999999", 1},
        {"?other=1", 1},
    };
    const int fd = http_rig_client(&rig, 0);
    char path[64];

    (void)state;
    http_rig_post(fd, "/v1/completions", "Authorization: Bearer secret\r\n",
                  "{\"prompt\":\"p\",\"max_tokens\":1}");
    RIG_UNTIL(&rig, rig.n_jobs > 0);
    http_rig_say(&rig, 0, "a", "length");
    RIG_UNTIL(&rig, http_rig_heard(&rig, fd, "\"length\""));
    close(fd);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        json_t *root;

        snprintf(path, sizeof(path), "/fleet.json%s", rows[i].query);
        ask("GET", path, "Authorization: Bearer secret\r\n");
        assert_code("200");
        root = json_loads(body(), JSON_REJECT_DUPLICATES, NULL);
        assert_non_null(root);
        assert_int_equal(json_array_size(json_object_get(root, "ended")), rows[i].n);
        assert_int_equal(json_array_size(json_object_get(root, "nodes")), 3);
        json_decref(root);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(files_are_served, setup, teardown),
        cmocka_unit_test_setup_teardown(only_what_there_is, setup, teardown),
        cmocka_unit_test_setup_teardown(fleet_needs_the_key, setup, teardown),
        cmocka_unit_test_setup_teardown(since, setup, teardown),
    };
    const struct log_options silent = {.level = LOG_LEVEL_OFF};

    (void)log_open(&silent);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
