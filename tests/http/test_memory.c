/* The n-th allocation of a request fails, and all after it, for every n until it goes through: the
 * client gets an answer or the end of the connection within the request's bound, nothing is left,
 * and the next request is served. */
#include "tests/http/rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#define TURNS 40        /* without memory */
#define BOUND_MS 14000u /* RIG_DEADLINE_MS and 4 s */
#define GOOD_ENOUGH 8   /* allocations that are not needed, in a row: then all were walked */

static struct http_rig rig;
static int64_t live;

static int setup(void **state)
{
    static const struct log_options silent = {.level = LOG_LEVEL_OFF};

    (void)state;
    return log_open(&silent) == STATUS_OK ? 0 : -1;
}

struct kind {
    const char *path, *body, *said, *good;
    size_t n_jobs;
};

static bool answered(int fd)
{
    const bool open = http_rig_hear(&rig, fd);
    const char *head = strstr(rig.heard, "\r\n\r\n");
    const char *length = strstr(rig.heard, "Content-Length: ");
    size_t len = 0;

    if (!open)
        return true;
    if (!head)
        return false;
    if (length && length < head && sscanf(length, "Content-Length: %zu", &len) == 1)
        return strlen(head + 4) >= len;
    return strstr(head, "\r\n0\r\n\r\n") != NULL;
}

static void answer_jobs(const struct kind *kind)
{
    for (size_t i = 0; i < rig.n_jobs; i++)
        if (!rig.jobs[i].cancelled && rig.jobs[i].n_told == 0)
            http_rig_say(&rig, i, kind->said, "length");
}

/* Whether it went well. */
static bool ask(const struct kind *kind, int64_t n)
{
    const int fd = http_rig_client(&rig, 0);
    bool over = false, good;

    mem_fail_after(n);
    http_rig_post(fd, kind->path, "X-Request-Id: me\r\n", kind->body);
    for (int i = 0; i < TURNS && !over; i++) {
        http_rig_turn(&rig);
        answer_jobs(kind);
        over = answered(fd);
    }
    mem_fail_after(MEM_FAIL_NEVER);
    for (uint32_t ms = 0; ms < BOUND_MS && !over; ms += 50) {
        http_rig_pass(&rig, 50);
        answer_jobs(kind);
        over = answered(fd);
    }
    if (!over)
        fail_msg("%s without allocation %d: no answer; heard: %s", kind->body, (int)n, rig.heard);
    good = strstr(rig.heard, kind->good) != NULL;
    assert_true(!good || strstr(rig.heard, "HTTP/1.1 200") != NULL);
    close(fd);
    for (uint32_t ms = 0; ms < BOUND_MS && !router_idle(rig.core); ms += 50)
        http_rig_pass(&rig, 50);
    assert_true(router_idle(rig.core));
    RIG_UNTIL(&rig, !http_door_busy(rig.door));
    return good;
}

static void sweep(const struct kind *kind)
{
    int n_good = 0, n_bad = 0;

    for (int64_t n = 0; n_good < GOOD_ENOUGH; n++) {
        live = mem_live();
        http_rig_init(&rig, TOOL_STYLE_HERMES, NULL, 0);
        if (ask(kind, n)) {
            n_good++;
        } else {
            n_good = 0;
            n_bad++;
        }
        if (n >= 2000)
            fail_msg("never good: %s", rig.heard);
        http_rig_fini(&rig);
        assert_int_equal(mem_live(), live);
    }
    assert_true(n_bad > 3);
}

static void a_whole_answer(void **state)
{
    const struct kind kind = {"/v1/completions",
                              "{\"prompt\":[\"x\",\"y\"],\"max_tokens\":3,\"logprobs\":0,"
                              "\"stop\":[\"z\"],\"return_token_ids\":true}",
                              "abc", "\"total_tokens\":8", 2};

    (void)state;
    sweep(&kind);
}

static void a_stream(void **state)
{
    const struct kind kind = {"/v1/chat/completions",
                              "{\"messages\":[{\"role\":\"user\",\"content\":\"q\"}],"
                              "\"max_tokens\":3,\"stream\":true,\"logprobs\":true,\"n\":2}",
                              "abc", "[DONE]", 2};

    (void)state;
    sweep(&kind);
}

static void a_tool_call(void **state)
{
    const struct kind kind = {
        "/v1/chat/completions",
        "{\"messages\":[{\"role\":\"user\",\"content\":\"q\"}],\"max_tokens\":61,"
        "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":{}}}]}",
        "<tool_call>{\"name\": \"f\", \"arguments\": {\"x\": 1}}</tool_call>  ", "\"usage\"", 1};

    (void)state;
    assert_int_equal(strlen(kind.said), 61);
    sweep(&kind);
}

static void small_answers(void **state)
{
    static const struct kind kinds[] = {
        {"/tokenize", "{\"prompt\":\"xyz\",\"return_token_strs\":true}", "", "\"count\":3", 0},
        {"/detokenize", "{\"tokens\":[120,121]}", "", "\"prompt\":\"xy\"", 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        sweep(&kinds[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_whole_answer),
        cmocka_unit_test(a_stream),
        cmocka_unit_test(a_tool_call),
        cmocka_unit_test(small_answers),
    };

    return cmocka_run_group_tests(tests, setup, NULL);
}
