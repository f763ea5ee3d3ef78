/* API keys of HTTP: which files are taken, what is said of the others, and where HTTP may listen
 * with and without them. That keys open the door is in tests/deploy/test_metrics.py. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "tests/cli/ask.h"
#include "tests/cli/run.h"

#define ROOM (64 * 1024)
#define NODES(http)                                                                                \
    ASK_MODEL "nodes:\n- { name: r, role: router, clients: '127.0.0.1:0', http: '" http "' }\n"    \
              "- { name: p, role: prefill }\n- { name: d, role: decode }\n"
#define WITH_KEYS "http: { keys: keys.txt }\n"
#define GOOD "0123456789abcdef"

static char out[ROOM], err[ROOM];

/* check-config's exit status for a fleet whose key file has this text and mode. */
static int check(const char *text, mode_t mode)
{
    char path[256];

    if (text)
        assert_int_equal(chmod(run_file("keys.txt", text), mode), 0);
    snprintf(path, sizeof(path), "%s", run_file("fleet.yaml", WITH_KEYS NODES("127.0.0.1:0")));
    return run_once(out, err, ROOM, "check-config", path, NULL);
}

static void refused(const char *text, const char *why)
{
    assert_int_equal(check(text, 0600), 3);
    if (!strstr(err, why))
        fail_msg("expected '%s' in: %s", why, err);
}

static void a_file_of_ones_own_is_taken(void **state)
{
    (void)state;
    assert_int_equal(check(NULL, 0), 3);
    assert_non_null(strstr(err, "keys.txt: http.keys: No such file"));
    assert_int_equal(
        check("# all\n\na: " GOOD "\n  b-2@x.org:\t" GOOD "x  \r\nc: " GOOD "#:", 0600), 0);
    assert_non_null(strstr(out, "API keys: "));
    assert_int_equal(check("a: " GOOD "\n", 0400), 0);
    for (mode_t bit = 1; bit <= 040; bit <<= 1) {
        assert_int_equal(check("a: " GOOD "\n", 0600 | bit), 3);
        assert_non_null(strstr(err, "others may read or write these keys"));
    }
}

static void what_is_no_key_is_refused(void **state)
{
    static const char longest[] =
        "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
        "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
        "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
        "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    static char text[ROOM];
    size_t len = 0;

    (void)state;
    refused("", "there is no key in it");
    refused("# only\n", "there is no key in it");
    refused("a: " GOOD "\nb: 0123456789abcde\n", "keys.txt:2: expected a key of 16 to 256");
    refused("a: 0123456789 abcdefgh\n", "keys.txt:1: expected a key");
    refused("a: 0123456789\xc3\xa4"
            "bcdefgh\n",
            "keys.txt:1: expected a key");
    refused(GOOD "\n", "keys.txt:1: expected  name: key");
    refused(": " GOOD "\n", "expected  name: key");
    refused("a b: " GOOD "\n", "expected  name: key");
    refused("a: " GOOD "\na: " GOOD "x\n", "keys.txt:2: the name 'a' is there already");
    refused("a: " GOOD "\nb: " GOOD "\n", "keys.txt:2: this key is that of 'a' already");
    assert_null(strstr(err, GOOD)); /* a message may be shown around */
    snprintf(text, sizeof(text), "a: %s\n", longest);
    assert_int_equal(check(text, 0600), 0);
    snprintf(text, sizeof(text), "a: %sx\n", longest);
    refused(text, "expected a key of 16 to 256");
    for (int i = 0; i < 1024; i++)
        len += (size_t)snprintf(text + len, sizeof(text) - len, "n%d: %s%d\n", i, GOOD, i);
    assert_int_equal(check(text, 0600), 0);
    snprintf(text + len, sizeof(text) - len, "one: %sx\n", GOOD);
    refused(text, "keys.txt:1025: there are more than 1024 keys");
}

static int check_at(const char *fleet, const char *option)
{
    char path[256];

    snprintf(path, sizeof(path), "%s", run_file("fleet.yaml", fleet));
    return run_once(out, err, ROOM, "check-config", path, option, NULL);
}

static void beyond_loopback_needs_keys(void **state)
{
    (void)state;
    assert_int_equal(check_at(NODES("127.0.0.1:0"), NULL), 0);
    assert_int_equal(check_at(NODES("0.0.0.0:0"), NULL), 3);
    assert_non_null(strstr(err, "0.0.0.0:0 would answer anybody who can reach this machine. Name "
                                "a file of API keys as http.keys, or set BATON_API_KEY"));
    assert_int_equal(check_at(NODES("*:0"), NULL), 3);
    assert_int_equal(check_at(NODES("0.0.0.0:0"), "--insecure"), 0);
    assert_int_equal(chmod(run_file("keys.txt", "a: " GOOD "\n"), 0600), 0);
    assert_int_equal(check_at(WITH_KEYS NODES("0.0.0.0:0"), NULL), 0);
    assert_non_null(strstr(out, "http 0.0.0.0:0"));
}

static void the_environment_has_a_key(void **state)
{
    (void)state;
    setenv("BATON_API_KEY", GOOD, 1);
    assert_int_equal(check_at(NODES("0.0.0.0:0"), NULL), 0);
    assert_non_null(strstr(out, "API keys: BATON_API_KEY"));
    assert_int_equal(check("a: " GOOD "\n", 0600), 3);
    assert_non_null(strstr(err, "BATON_API_KEY: this key is that of 'a' already"));
    assert_int_equal(check("env: " GOOD "x\n", 0600), 3);
    assert_non_null(strstr(err, "the name 'env' is there already"));
    setenv("BATON_API_KEY", "short", 1);
    assert_int_equal(check_at(NODES("127.0.0.1:0"), NULL), 3);
    assert_non_null(strstr(err, "BATON_API_KEY: expected a key of 16 to 256"));
    setenv("BATON_API_KEY", "", 1); /* as if it were not there */
    assert_int_equal(check_at(NODES("0.0.0.0:0"), NULL), 3);
    unsetenv("BATON_API_KEY");
}

/* A router started alone checks as `up` does; beyond loopback it warns. */
static void a_router_checks_and_warns(void **state)
{
    struct run *up;
    char path[256];

    (void)state;
    assert_int_equal(chmod(run_file("keys.txt", "a: " GOOD "\n"), 0644), 0);
    snprintf(path, sizeof(path), "%s", run_file("fleet.yaml", WITH_KEYS NODES("*:0")));
    assert_int_equal(run_once(out, err, ROOM, "up", path, NULL), 3);
    assert_non_null(strstr(err, "others may read or write these keys"));
    assert_int_equal(chmod(run_file("keys.txt", "a: " GOOD "\n"), 0600), 0);
    up = run_start("up", path, NULL);
    run_await_err(up, "put TLS in front");
    run_await_out(up, "ready");
    assert_null(strstr(up->err.text, GOOD));
    assert_int_equal(run_stop(up, SIGTERM), 0);
}

static int teardown(void **state)
{
    (void)state;
    run_folder_remove();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_of_ones_own_is_taken), cmocka_unit_test(what_is_no_key_is_refused),
        cmocka_unit_test(beyond_loopback_needs_keys),  cmocka_unit_test(the_environment_has_a_key),
        cmocka_unit_test(a_router_checks_and_warns),
    };

    return cmocka_run_group_tests(tests, NULL, teardown);
}
