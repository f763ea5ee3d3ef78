/* Every state of a call (http_call.h), with scripted nodes: what a client reads, what a node is
 * told, and that nothing is left. */
#include "tests/http/rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/log.h"

#define COMPLETIONS "/v1/completions"
#define CHAT "/v1/chat/completions"
#define TOOLS "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":{}}}],"
#define A_CALL(x) "<tool_call>{\"name\": \"f\", \"arguments\": {\"x\": " #x "}}</tool_call>"

static struct http_rig rig;

static int setup(void **state)
{
    static const struct log_options silent = {.level = LOG_LEVEL_OFF};

    (void)state;
    (void)log_open(&silent);
    http_rig_init(&rig, TOOL_STYLE_HERMES, NULL, 0);
    return 0;
}

/* Whatever a test did: no call, no request, no job is left. */
static int teardown(void **state)
{
    (void)state;
    RIG_UNTIL(&rig, !http_door_busy(rig.door));
    RIG_UNTIL(&rig, router_idle(rig.core));
    http_rig_fini(&rig);
    return 0;
}

static int ask(const char *path, const char *body)
{
    const int fd = http_rig_client(&rig, 0);

    http_rig_post(fd, path, "", body);
    return fd;
}

static void until(int fd, const char *text)
{
    RIG_UNTIL(&rig, http_rig_heard(&rig, fd, text));
}

static void until_jobs(size_t n)
{
    RIG_UNTIL(&rig, rig.n_jobs >= n);
}

/* ---- answers ---- */

static void a_whole_answer(void **state)
{
    const int fd = ask(COMPLETIONS, "{\"prompt\":\"hello\",\"max_tokens\":3,\"seed\":-5}");

    (void)state;
    until_jobs(1);
    assert_int_equal(rig.jobs[0].n_prompt, 5);
    assert_int_equal(rig.jobs[0].seed, (uint64_t)-5);
    http_rig_say(&rig, 0, "abc", "length");
    until(fd, "\"total_tokens\":8");
    assert_non_null(strstr(rig.heard, "\"text\":\"abc\""));
    assert_non_null(strstr(rig.heard, "\"finish_reason\":\"length\""));
    assert_non_null(strstr(rig.heard, "\"seed\":-5"));
    assert_non_null(strstr(rig.heard, "\"system_fingerprint\":\"numerics\""));
    close(fd);
}

/* An event for each token, at once; the role with the first; nothing after [DONE]. */
static void a_stream(void **state)
{
    const int fd = ask(CHAT, "{\"messages\":[{\"role\":\"user\",\"content\":\"q\"}],"
                             "\"max_tokens\":40,\"stream\":true}");

    (void)state;
    until_jobs(1);
    for (int i = 0; i < 10; i++)
        http_rig_turn(&rig);
    assert_false(http_rig_heard(&rig, fd, "HTTP"));
    http_rig_say(&rig, 0, "a", "");
    until(fd, "\"delta\":{\"role\":\"assistant\",\"content\":\"a\"}");
    http_rig_say(&rig, 0, "b", "");
    until(fd, "\"delta\":{\"content\":\"b\"}");
    http_rig_say(&rig, 0, "c.", "stop"); /* whose text is not told */
    until(fd, "data: [DONE]\n\n\r\n0\r\n\r\n");
    assert_int_equal(http_rig_count(&rig, "data: "), 5);
    assert_int_equal(http_rig_count(&rig, "\"role\""), 1);
    assert_int_equal(http_rig_count(&rig, "\"finish_reason\":\"stop\""), 1);
    assert_int_equal(http_rig_count(&rig, "\"usage\""), 0);
    http_rig_forget(&rig);
    http_rig_post(fd, COMPLETIONS, "", "{\"prompt\":\"x\",\"max_tokens\":1}"); /* and again */
    until_jobs(2);
    http_rig_say(&rig, 1, "y", "length");
    until(fd, "\"text\":\"y\"");
    close(fd);
}

/* Two prompts, two choices each: four jobs with four seeds, each answer at its index. */
static void choices_and_prompts(void **state)
{
    const int fd = ask(COMPLETIONS, "{\"prompt\":[\"p\",\"qq\"],\"n\":2,\"max_tokens\":1,"
                                    "\"seed\":7}");
    static const char *const texts[] = {"a", "b", "c", "d"};
    const char *at = rig.heard;

    (void)state;
    until_jobs(4);
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(rig.jobs[i].n_prompt, i / 2 + 1);
        for (size_t k = 0; k < i; k++)
            assert_true(rig.jobs[i].seed != rig.jobs[k].seed);
    }
    assert_int_equal(rig.jobs[0].seed, 7);
    for (size_t i = 4; i-- > 0;)
        http_rig_say(&rig, i, texts[i], "length");
    until(fd, "\"total_tokens\":7");
    for (size_t i = 0; i < 4; i++) {
        char want[40];

        snprintf(want, sizeof(want), "{\"index\":%zu,\"text\":\"%s\"", i, texts[i]);
        assert_non_null(at = strstr(at, want));
    }
    close(fd);
}

/* A stream goes on where its node was lost: the client sees nothing of it. */
static void a_lost_node(void **state)
{
    const int fd = ask(COMPLETIONS, "{\"prompt\":\"x\",\"max_tokens\":4,\"stream\":true}");
    uint32_t lost;

    (void)state;
    until_jobs(1);
    http_rig_say(&rig, 0, "ab", "");
    until(fd, "\"text\":\"b\"");
    lost = rig.jobs[0].link;
    http_rig_node_down(&rig, lost);
    http_rig_pass(&rig, 200);
    until_jobs(2);
    assert_int_not_equal(rig.jobs[1].link, lost);
    assert_int_equal(rig.jobs[1].n_emitted, 2);
    http_rig_say(&rig, 1, "cd", "length");
    until(fd, "[DONE]");
    assert_int_equal(http_rig_count(&rig, "data: "), 6);
    assert_int_equal(http_rig_count(&rig, "error"), 0);
    close(fd);
}

/* ---- failures ---- */

static void a_failure_before_the_first_word(void **state)
{
    const int fd = ask(COMPLETIONS, "{\"prompt\":\"x\",\"max_tokens\":4,\"stream\":true}");

    (void)state;
    until_jobs(1);
    http_rig_fail(&rig, 0, STATUS_INVALID);
    until(fd, "\"message\"");
    assert_non_null(strstr(rig.heard, "HTTP/1.1 400 "));
    assert_null(strstr(rig.heard, "data: "));
    close(fd);
}

static void a_failure_in_the_stream(void **state)
{
    const int fd = ask(COMPLETIONS, "{\"prompt\":\"x\",\"max_tokens\":4,\"stream\":true}");

    (void)state;
    until_jobs(1);
    http_rig_say(&rig, 0, "a", "");
    until(fd, "\"text\":\"a\"");
    http_rig_fail(&rig, 0, STATUS_INVALID);
    until(fd, "data: {\"error\":{");
    until(fd, "0\r\n\r\n");
    assert_int_equal(http_rig_count(&rig, "[DONE]"), 0);
    http_rig_forget(&rig); /* the connection is as good as new */
    http_rig_send(fd, "GET /health HTTP/1.1\r\nHost: h\r\n\r\n");
    until(fd, "200 OK");
    close(fd);
}

/* One choice fails: the answer is an error, the others are told to stop. */
static void a_failed_choice(void **state)
{
    const int fd = ask(COMPLETIONS, "{\"prompt\":\"x\",\"n\":3,\"max_tokens\":4}");

    (void)state;
    until_jobs(3);
    http_rig_say(&rig, 0, "abcd", "length");
    http_rig_say(&rig, 2, "a", "");
    http_rig_fail(&rig, 1, STATUS_INVALID);
    until(fd, "\"message\"");
    assert_non_null(strstr(rig.heard, "HTTP/1.1 400 "));
    RIG_UNTIL(&rig, rig.jobs[2].cancelled);
    assert_int_equal(http_rig_count(&rig, "HTTP/1.1"), 1);
    close(fd);
}

static void a_failed_choice_of_a_stream(void **state)
{
    const int fd = ask(COMPLETIONS, "{\"prompt\":\"x\",\"n\":2,\"max_tokens\":4,\"stream\":true}");

    (void)state;
    until_jobs(2);
    http_rig_say(&rig, 0, "ab", "");
    http_rig_say(&rig, 1, "c", "");
    until(fd, "\"index\":1");
    http_rig_fail(&rig, 1, STATUS_INVALID);
    until(fd, "0\r\n\r\n");
    assert_int_equal(http_rig_count(&rig, "\"error\""), 1);
    RIG_UNTIL(&rig, rig.jobs[0].cancelled);
    close(fd);
}

/* The core has room for four in its queue and eight in all: the fifth choice is refused. */
static void more_choices_than_room(void **state)
{
    const int fd = ask(COMPLETIONS, "{\"prompt\":\"x\",\"n\":20,\"max_tokens\":4}");

    (void)state;
    until(fd, "\"message\"");
    assert_non_null(strstr(rig.heard, "HTTP/1.1 429 "));
    assert_non_null(strstr(rig.heard, "Retry-After: 1\r\n"));
    close(fd);
}

static void wrong_models_and_lengths(void **state)
{
    static const struct {
        const char *body, *status, *words;
    } rows[] = {
        {"{\"prompt\":\"x\",\"model\":\"gpt\"}", "404", "'oracle' is"},
        {"{\"prompt\":\"x\",\"max_tokens\":20000}", "400", "longest sequence"},
        {"{\"prompt\":\"\"}", "400", "the prompt is empty"},
        {"{\"prompt\":\"x\",\"n\":0}", "400", "\"param\":\"n\""},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const int fd = http_rig_client(&rig, 0);

        http_rig_post(fd, COMPLETIONS, "X-Request-Id: me-7\r\n", rows[i].body);
        until(fd, "\"message\"");
        assert_memory_equal(rig.heard + strlen("HTTP/1.1 "), rows[i].status, 3);
        assert_non_null(strstr(rig.heard, rows[i].words));
        assert_non_null(strstr(rig.heard, "X-Request-Id: me-7\r\n"));
        close(fd);
    }
    assert_int_equal(rig.n_jobs, 0);
}

/* ---- clients who leave ---- */

static void gone_in_the_stream(void **state)
{
    const int fd = ask(COMPLETIONS, "{\"prompt\":\"x\",\"max_tokens\":40,\"n\":2,\"stream\":true}");

    (void)state;
    until_jobs(2);
    http_rig_say(&rig, 0, "a", "");
    until(fd, "\"text\":\"a\"");
    close(fd);
    RIG_UNTIL(&rig, http_rig_running(&rig) == 0);
}

static void gone_before_the_answer(void **state)
{
    const int fd = ask(COMPLETIONS, "{\"prompt\":\"x\",\"max_tokens\":40}");

    (void)state;
    until_jobs(1);
    http_rig_say(&rig, 0, "abc", "");
    close(fd);
    RIG_UNTIL(&rig, http_rig_running(&rig) == 0);
}

static void gone_while_it_is_read(void **state)
{
    int fd;

    (void)state;
    http_rig_block(&rig);
    fd = ask(COMPLETIONS, "{\"prompt\":\"x\",\"max_tokens\":40}");
    RIG_UNTIL(&rig, clerk_n_jobs(rig.clerk) == 2);
    close(fd);
    for (int i = 0; i < 20; i++)
        http_rig_turn(&rig);
    http_rig_unblock(&rig);
    RIG_UNTIL(&rig, clerk_n_jobs(rig.clerk) == 0);
    for (int i = 0; i < 20; i++)
        http_rig_turn(&rig);
    assert_int_equal(rig.n_jobs, 0);
}

/* The core has the request, and its word that it is accepted is still on its way. */
static void gone_before_it_is_accepted(void **state)
{
    const int fd = ask(COMPLETIONS, "{\"prompt\":\"x\",\"max_tokens\":40,\"n\":2}");
    struct router_counts counts = {0};

    (void)state;
    rig.hold = true;
    for (int i = 0; counts.admitted < 2 && i < RIG_TURNS_MAX; i++) {
        http_rig_turn(&rig);
        router_counts(rig.core, &counts);
    }
    assert_int_equal(counts.admitted, 2);
    close(fd);
    for (int i = 0; i < 20; i++)
        http_rig_turn(&rig);
    rig.hold = false;
    RIG_UNTIL(&rig, rig.n_jobs == 2 && http_rig_running(&rig) == 0);
}

/* The client has left, and the failure or the end of its answer came in the same turn. */
static void gone_with_the_last_word(void **state)
{
    static const char *const ends[] = {"length", "stop", ""};

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        const int fd = ask(COMPLETIONS, "{\"prompt\":\"x\",\"max_tokens\":2,\"stream\":true}");

        until_jobs(i + 1);
        http_rig_say(&rig, i, "a", "");
        until(fd, "\"text\":\"a\"");
        close(fd);
        http_rig_say(&rig, i, "b", ends[i]);
        if (i == 2)
            http_rig_fail(&rig, i, STATUS_INVALID);
        RIG_UNTIL(&rig, !http_door_busy(rig.door));
    }
}

/* ---- readers ---- */

/* All of an answer in one turn, more than a reader may leave unread: a reader who takes it gets it
 * whole. */
static void much_at_once(void **state)
{
    const int fd = ask(COMPLETIONS, "{\"prompt\":\"x\",\"max_tokens\":4000,\"stream\":true}");
    static char text[4001];

    (void)state;
    until_jobs(1);
    memset(text, 'a', 4000);
    http_rig_say(&rig, 0, text, "length");
    until(fd, "[DONE]");
    assert_true(rig.n_heard > 512 << 10);
    assert_int_equal(http_rig_count(&rig, "\"text\":\"a\""), 4000);
    close(fd);
}

/* One who reads nothing is cut, also where the last words come in the turn in which it is cut. */
static void slow_readers_are_cut(void **state)
{
    static char text[4001];
    char byte;

    (void)state;
    memset(text, 'a', 4000);
    for (size_t i = 0; i < 2; i++) {
        const int fd = http_rig_client(&rig, 4096);

        http_rig_post(fd, COMPLETIONS, "",
                      "{\"prompt\":\"x\",\"max_tokens\":16000,"
                      "\"stream\":true}");
        until_jobs(i + 1);
        for (int k = 0; k < 3; k++) {
            http_rig_say(&rig, i, text, "");
            if (i == 0) /* turn by turn, or all in one */
                http_rig_turn(&rig);
        }
        http_rig_say(&rig, i, text, "length");
        for (int k = 0; k < 50; k++)
            http_rig_turn(&rig);
        RIG_UNTIL(&rig, router_idle(rig.core));
        while (recv(fd, &byte, 1, MSG_PEEK) > 0 && http_rig_hear(&rig, fd))
            http_rig_turn(&rig);
        assert_int_equal(http_rig_count(&rig, "[DONE]"), 0);
        close(fd);
        http_rig_turn(&rig);
    }
}

/* ---- tools ---- */

static void tool_calls_as_a_whole(void **state)
{
    const int fd = ask(CHAT, "{" TOOLS "\"messages\":[{\"role\":\"user\",\"content\":\"q\"}],"
                             "\"max_tokens\":200}");

    (void)state;
    until_jobs(1);
    http_rig_say(&rig, 0, "Well. " A_CALL(1) "\n" A_CALL(2) ".", "stop");
    until(fd, "\"usage\"");
    assert_non_null(strstr(rig.heard, "\"content\":\"Well. \""));
    assert_non_null(strstr(rig.heard, "\"finish_reason\":\"tool_calls\""));
    assert_int_equal(http_rig_count(&rig, "\"id\":\"call_"), 2);
    assert_non_null(strstr(rig.heard, "\"arguments\":\"{\\\"x\\\": 1}\""));
    assert_non_null(strstr(rig.heard, "\"arguments\":\"{\\\"x\\\": 2}\""));
    close(fd);
}

static void tool_calls_in_a_stream(void **state)
{
    const int fd = ask(CHAT, "{" TOOLS "\"messages\":[{\"role\":\"user\",\"content\":\"q\"}],"
                             "\"max_tokens\":200,\"stream\":true}");

    (void)state;
    until_jobs(1);
    http_rig_say(&rig, 0, "<tool", "");
    for (int i = 0; i < 20; i++)
        http_rig_turn(&rig);
    assert_false(http_rig_heard(&rig, fd, "tool"));
    http_rig_say(&rig, 0, &A_CALL(1)[5], "");
    until(fd, "\"arguments\"");
    http_rig_say(&rig, 0, A_CALL(2) ".", "stop");
    until(fd, "[DONE]");
    assert_int_equal(http_rig_count(&rig, "\"index\":0,\"id\":\"call_"), 1);
    assert_int_equal(http_rig_count(&rig, "\"index\":1,\"id\":\"call_"), 1);
    assert_int_equal(http_rig_count(&rig, "\"finish_reason\":\"tool_calls\""), 1);
    assert_int_equal(http_rig_count(&rig, "<tool"), 0);
    close(fd);
}

/* Only the first is told; without tools in the request such a text is a text. */
static void tool_calls_that_are_not_wanted(void **state)
{
    int fd = ask(CHAT, "{" TOOLS "\"messages\":[{\"role\":\"user\",\"content\":\"q\"}],"
                       "\"max_tokens\":200,\"parallel_tool_calls\":false}");

    (void)state;
    until_jobs(1);
    http_rig_say(&rig, 0, A_CALL(1) A_CALL(2) ".", "stop");
    until(fd, "\"usage\"");
    assert_int_equal(http_rig_count(&rig, "\"id\":\"call_"), 1);
    close(fd);
    fd = ask(CHAT, "{\"messages\":[{\"role\":\"user\",\"content\":\"q\"}],\"max_tokens\":200}");
    until_jobs(2);
    http_rig_say(&rig, 1, A_CALL(1) ".", "stop");
    until(fd, "\"usage\"");
    assert_int_equal(http_rig_count(&rig, "\"id\":\"call_"), 0);
    assert_int_equal(http_rig_count(&rig, "<tool_call>"), 1);
    assert_int_equal(http_rig_count(&rig, "\"finish_reason\":\"stop\""), 1);
    close(fd);
}

/* A call that the length cuts is content, and ends as such. */
static void tool_calls_that_are_cut(void **state)
{
    const int fd = ask(CHAT, "{" TOOLS "\"messages\":[{\"role\":\"user\",\"content\":\"q\"}],"
                             "\"max_tokens\":21,\"stream\":true}");

    (void)state;
    until_jobs(1);
    http_rig_say(&rig, 0, "<tool_call>{\"name\": \"", "length");
    until(fd, "[DONE]");
    assert_non_null(strstr(rig.heard, "<tool_call>{\\\"name\\\": \\\""));
    assert_non_null(strstr(rig.heard, "\"finish_reason\":\"length\""));
    close(fd);
}

/* ---- the door itself ---- */

static void too_many_bodies(void **state)
{
    int fds[4], more;

    (void)state;
    http_rig_block(&rig);
    for (int i = 0; i < 4; i++)
        fds[i] = ask("/tokenize", "{\"prompt\":\"x\"}");
    RIG_UNTIL(&rig, clerk_n_jobs(rig.clerk) == 5);
    more = http_rig_client(&rig, 0);
    http_rig_post(more, COMPLETIONS, "X-Request-Id: me-8\r\n", "{\"prompt\":\"x\"}");
    until(more, "\"message\"");
    assert_non_null(strstr(rig.heard, "HTTP/1.1 429 "));
    assert_non_null(strstr(rig.heard, "Retry-After: "));
    assert_non_null(strstr(rig.heard, "X-Request-Id: me-8\r\n"));
    http_rig_unblock(&rig);
    for (int i = 0; i < 4; i++) {
        http_rig_forget(&rig);
        until(fds[i], "\"tokens\":[120]");
        close(fds[i]);
    }
    close(more);
}

static void draining_and_not_ready(void **state)
{
    static const char *const closed[] = {"/readyz", "/v1/models", "/v1/models/oracle"};
    int fd = http_rig_client(&rig, 0);
    char line[80];

    (void)state;
    http_rig_send(fd, "GET /readyz HTTP/1.1\r\nHost: h\r\n\r\n");
    until(fd, "200 OK");
    router_drain(rig.core);
    for (size_t i = 0; i < 3; i++) {
        http_rig_forget(&rig);
        snprintf(line, sizeof(line), "GET %s HTTP/1.1\r\nHost: h\r\n\r\n", closed[i]);
        http_rig_send(fd, line);
        until(fd, "\"message\"");
        assert_non_null(strstr(rig.heard, "HTTP/1.1 503 "));
    }
    http_rig_forget(&rig);
    http_rig_post(fd, COMPLETIONS, "", "{\"prompt\":\"x\"}");
    until(fd, "\"message\"");
    assert_non_null(strstr(rig.heard, "HTTP/1.1 503 "));
    assert_non_null(strstr(rig.heard, "Retry-After: "));
    http_rig_forget(&rig);
    http_rig_send(fd, "GET /livez HTTP/1.1\r\nHost: h\r\n\r\n");
    until(fd, "200 OK");
    http_door_drain(rig.door);
    http_rig_pass(&rig, 500);
    assert_false(http_rig_hear(&rig, fd));
    close(fd);
}

/* A request that no node can serve is not left waiting without a word; who runs stays alive. */
static void not_ready_is_said(void **state)
{
    int fd = http_rig_client(&rig, 0);

    (void)state;
    http_rig_node_down(&rig, RIG_P_LINK);
    http_rig_post(fd, COMPLETIONS, "X-Request-Id: me-8\r\n", "{\"prompt\":\"x\"}");
    until(fd, "\"not_ready\"");
    assert_non_null(strstr(rig.heard, "HTTP/1.1 503 "));
    assert_non_null(strstr(rig.heard, "Retry-After: "));
    assert_non_null(strstr(rig.heard, "X-Request-Id: me-8\r\n"));
    http_rig_forget(&rig);
    http_rig_send(fd, "GET /health HTTP/1.1\r\nHost: h\r\n\r\n");
    until(fd, "200 OK");
    assert_int_equal(http_rig_running(&rig), 0);
    close(fd);
}

static void strange_paths_lead_on(void **state)
{
    int fd = http_rig_client(&rig, 0);

    (void)state;
    http_rig_send(fd, "GET /v1 HTTP/1.1\r\nHost: h\r\n\r\n");
    until(fd, "\"message\"");
    assert_non_null(strstr(rig.heard, "HTTP/1.1 404 "));
    assert_non_null(strstr(rig.heard, "/v1/chat/completions"));
    close(fd);
}

/* Running answers are ended by a drain as they would be without it. */
static void a_drain_waits(void **state)
{
    const int fd = ask(COMPLETIONS, "{\"prompt\":\"x\",\"max_tokens\":3,\"stream\":true}");

    (void)state;
    until_jobs(1);
    http_rig_say(&rig, 0, "a", "");
    until(fd, "\"text\":\"a\"");
    router_drain(rig.core);
    http_door_drain(rig.door);
    http_rig_pass(&rig, 500);
    assert_true(http_door_busy(rig.door));
    http_rig_say(&rig, 0, "bc", "length");
    until(fd, "[DONE]");
    RIG_UNTIL(&rig, !http_rig_hear(&rig, fd));
    close(fd);
}

static void keys(void **state)
{
    static const struct http_key known[] = {{"a", "secret-1"}, {"b", "s2"}};
    static const struct {
        const char *header, *status;
    } rows[] = {
        {"", "401"},
        {"Authorization: Bearer secret-1\r\n", "200"},
        {"Authorization: bearer s2\r\n", "200"},
        {"Authorization: Bearer secret-\r\n", "401"},
        {"Authorization: Bearer secret-11\r\n", "401"},
        {"Authorization: Bearer s2s2\r\n", "401"},
        {"Authorization: Bearer \r\n", "401"},
        {"Authorization: Basic s2\r\n", "401"},
        {"Authorization: s2\r\n", "401"},
    };

    (void)state;
    http_rig_fini(&rig);
    http_rig_init(&rig, TOOL_STYLE_NONE, known, 2);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const int fd = http_rig_client(&rig, 0);
        char line[160];

        snprintf(line, sizeof(line),
                 "GET /v1/models HTTP/1.1\r\nHost: h\r\nX-Request-Id: me\r\n%s\r\n",
                 rows[i].header);
        http_rig_send(fd, line);
        until(fd, "\r\n\r\n");
        assert_memory_equal(rig.heard + strlen("HTTP/1.1 "), rows[i].status, 3);
        assert_true((strstr(rig.heard, "WWW-Authenticate: Bearer\r\n") != NULL) ==
                    (rows[i].status[0] == '4'));
        if (rows[i].status[0] == '4')
            assert_non_null(strstr(rig.heard, "X-Request-Id: me\r\n"));
        http_rig_forget(&rig);
        http_rig_send(fd, "GET /health HTTP/1.1\r\nHost: h\r\n\r\n");
        until(fd, "200 OK");
        close(fd);
    }
}

/* A label that is no plain word is not echoed. */
static void labels(void **state)
{
    static const struct {
        const char *header;
        bool echoed;
    } rows[] = {{"X-Request-Id: a-B.9/:\r\n", true},
                {"X-Request-Id: two words\r\n", false},
                {"X-Request-Id: \xc3\xa4\r\n", false},
                {"", false}};

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        for (size_t k = 0; k < 2; k++) {
            const int fd = http_rig_client(&rig, 0);

            http_rig_post(fd, COMPLETIONS, rows[i].header,
                          k ? "{\"prompt\":\"x\",\"max_tokens\":1}"
                            : "{\"prompt\":\"x\",\"max_tokens\":1,\"stream\":true}");
            until_jobs(2 * i + k + 1);
            http_rig_say(&rig, 2 * i + k, "y", "length");
            until(fd, "\"finish_reason\":\"length\"");
            assert_true((strstr(rig.heard, "X-Request-Id") != NULL) == rows[i].echoed);
            if (rows[i].echoed)
                assert_non_null(strstr(rig.heard, rows[i].header));
            close(fd);
        }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_whole_answer),
        TEST(a_stream),
        TEST(choices_and_prompts),
        TEST(a_lost_node),
        TEST(a_failure_before_the_first_word),
        TEST(a_failure_in_the_stream),
        TEST(a_failed_choice),
        TEST(a_failed_choice_of_a_stream),
        TEST(more_choices_than_room),
        TEST(wrong_models_and_lengths),
        TEST(gone_in_the_stream),
        TEST(gone_before_the_answer),
        TEST(gone_while_it_is_read),
        TEST(gone_before_it_is_accepted),
        TEST(gone_with_the_last_word),
        TEST(much_at_once),
        TEST(slow_readers_are_cut),
        TEST(tool_calls_as_a_whole),
        TEST(tool_calls_in_a_stream),
        TEST(tool_calls_that_are_not_wanted),
        TEST(tool_calls_that_are_cut),
        TEST(too_many_bodies),
        TEST(draining_and_not_ready),
        TEST(not_ready_is_said),
        TEST(strange_paths_lead_on),
        TEST(a_drain_waits),
        TEST(keys),
        TEST(labels),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
