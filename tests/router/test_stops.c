/* Stop strings in the router: where an answer ends, what its reader gets, and that no node goes on.
 * The matcher alone is in test_stop_text.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/log.h"
#include "base/mem.h"
#include "tests/router/rig.h"

enum { BOS, END_ID, HE, LLO, WOR, LD, E_, N_, ND, C3, A9, X, VOCAB };

#define SPECIAL(id, text)                                                                          \
    "{\"id\": " id ", \"content\": \"" text "\", \"special\": true, \"single_word\": false, "      \
    "\"lstrip\": false, \"rstrip\": false, \"normalized\": false}"
#define TOKENIZER                                                                                  \
    "{\"version\": \"1.0\", \"added_tokens\": [" SPECIAL("0", "<s>") ", " SPECIAL(                 \
        "1",                                                                                       \
        "<end>") "], \"normalizer\": null, \"pre_tokenizer\": null, \"post_processor\": null, "    \
                 "\"decoder\": "                                                                   \
                 "{\"type\": \"ByteLevel\", \"add_prefix_space\": false, \"trim_offsets\": true, " \
                 "\"use_regex\": true}, \"model\": {\"type\": \"BPE\", \"vocab\": {\"<s>\": 0, "   \
                 "\"<end>\": 1, "                                                                  \
                 "\"he\": 2, \"llo\": 3, \"\u0120wor\": 4, \"ld\": 5, \"E\": 6, \"N\": 7, "        \
                 "\"ND!\": 8, "                                                                    \
                 "\"\u00c3\": 9, \"\u00a9\": 10, \"x\": 11}, \"merges\": []}}"

static struct rig rig;
static struct tokenizer *tok;
static struct wire_msg job; /* of the request, as P got it */

/* What its reader has. */
static struct {
    char text[4096]; /* pieces, "|" behind each */
    uint32_t n, next;
    char end[16];
    bool accepted, done;
    struct wire_id id, resume;
    char reason[16], stop_text[600];
    uint32_t stop_id, n_tokens;
} heard;

static void with_tokenizer(struct router_cfg *cfg)
{
    cfg->tok = tok;
    cfg->vocab = VOCAB;
}

static int setup(void **state)
{
    struct tokenizer_error error;

    (void)state;
    if (tokenizer_open_memory(TOKENIZER, strlen(TOKENIZER), &error, &tok) != STATUS_OK)
        fail_msg("%s", error.text);
    rig_init(&rig, with_tokenizer);
    rig_fleet(&rig, 2);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    rig_fini(&rig);
    tokenizer_close(tok);
    return 0;
}

static void copy(char *to, size_t room, struct wire_span from)
{
    snprintf(to, room, "%.*s", (int)from.len, from.at);
}

/* Takes in what the last call made the router say to the client. */
static void hear(void)
{
    for (size_t i = 0; i < rig.n_answers; i++) {
        const struct wire_msg *msg = &rig.answers[i].msg;
        const size_t len = strlen(heard.text);

        if (rig.answers[i].link != RIG_CLIENT_LINK)
            continue;
        if (msg->kind == WIRE_KIND_ACCEPTED) {
            heard.accepted = true;
            heard.id = msg->req;
            heard.resume = msg->accepted.resume;
        } else if (msg->kind == WIRE_KIND_TOKEN) {
            assert_int_equal(msg->token.index, heard.next);
            assert_int_equal(strlen(heard.end), 0);
            heard.next++;
            snprintf(heard.text + len, sizeof(heard.text) - len, "%.*s|", (int)msg->token.text.len,
                     msg->token.text.at);
            copy(heard.end, sizeof(heard.end), msg->token.end);
        } else if (msg->kind == WIRE_KIND_DONE) {
            heard.done = true;
            copy(heard.reason, sizeof(heard.reason), msg->done.reason);
            copy(heard.stop_text, sizeof(heard.stop_text), msg->done.stop_text);
            heard.stop_id = msg->done.stop_id;
            heard.n_tokens = msg->done.n_tokens;
        } else if (msg->kind == WIRE_KIND_FAILED) {
            fail_msg("%.*s", (int)msg->failed.text.len, msg->failed.text.at);
        }
    }
    rig.n_answers = 0;
}

static struct wire_msg request(const struct wire_span *stop, size_t n)
{
    static const uint32_t prompt[] = {HE, LLO};
    struct wire_msg msg;

    wire_msg_init(&msg, WIRE_KIND_GENERATE);
    msg.generate.tokens = (struct wire_u32s){prompt, 2};
    msg.generate.stop = (struct wire_texts){stop, n};
    return msg;
}

static void ask(const struct wire_msg *msg)
{
    memset(&heard, 0, sizeof(heard));
    rig_client(&rig, msg);
    assert_non_null(rig_answer(&rig, RIG_P_LINK, WIRE_KIND_JOB));
    job = *rig_answer(&rig, RIG_P_LINK, WIRE_KIND_JOB);
    hear();
    assert_true(heard.accepted);
}

static void ask_for(const char *stop)
{
    const struct wire_span span = wire_span_of(stop);
    const struct wire_msg msg = request(&span, 1);

    ask(&msg);
}

static uint32_t d_link(void)
{
    return job.job.peer == RIG_D ? RIG_D_LINK : RIG_D2_LINK;
}

/* The next id, of P or of D. */
static void first(uint32_t index, uint32_t id)
{
    rig_first(&rig, &job, index, id);
}

static void token(uint32_t index, uint32_t id, const char *end)
{
    rig_token(&rig, d_link(), job.job.peer, &job, index, id, end);
}

static bool told(uint32_t link)
{
    return rig_answer(&rig, link, WIRE_KIND_CANCEL) != NULL;
}

static void assert_heard(const char *text, const char *end)
{
    assert_string_equal(heard.text, text);
    assert_string_equal(heard.end, end);
}

static void assert_done(const char *reason, const char *stop_text, uint32_t stop_id, uint32_t n)
{
    assert_true(heard.done);
    assert_string_equal(heard.reason, reason);
    assert_string_equal(heard.stop_text, stop_text);
    assert_int_equal(heard.stop_id, stop_id);
    assert_int_equal(heard.n_tokens, n);
    assert_true(router_idle(rig.router));
}

static void attach(uint32_t next, uint32_t credits)
{
    struct wire_msg msg;

    wire_msg_init(&msg, WIRE_KIND_ATTACH);
    msg.req = heard.id;
    msg.attach.resume = heard.resume;
    msg.attach.next = next;
    msg.attach.credits = credits;
    heard.next = next;
    heard.text[0] = heard.end[0] = '\0';
    rig_client(&rig, &msg);
    hear();
}

/* ---- where it ends ---- */

static void found_across_tokens(void **state)
{
    struct router_counts counts;

    (void)state;
    ask_for("lo wor");
    first(0, HE);
    hear();
    token(0, HE, "");
    token(1, LLO, "");
    hear();
    assert_heard("he|l|", "");
    assert_false(told(d_link()));
    token(2, WOR, "");
    assert_true(told(d_link()));
    hear();
    assert_heard("he|l||", "stop");
    assert_done("stop", "lo wor", WIRE_NO_ID, 3);
    token(3, LD, ""); /* D is a step ahead */
    token(4, LD, "stop");
    assert_int_equal(rig.n_answers, 0);
    router_counts(rig.router, &counts);
    assert_int_equal(counts.done, 1);
    assert_int_equal(counts.tokens, 3);
}

static void found_in_the_first_token(void **state)
{
    (void)state;
    ask_for("e");
    first(0, HE);
    assert_true(told(RIG_P_LINK) && told(d_link()));
    hear();
    assert_heard("h|", "stop");
    assert_done("stop", "e", WIRE_NO_ID, 1);
    token(0, HE, ""); /* D's copy comes late */
    assert_int_equal(rig.n_answers, 0);
}

static void nothing_is_left_on_the_nodes(void **state)
{
    struct router_counts counts;

    (void)state;
    for (int i = 0; i < 20; i++) { /* more than a node has room for */
        ask_for("llo");
        first(0, HE);
        hear();
        token(0, HE, "");
        token(1, LLO, "");
        hear();
        assert_done("stop", "llo", WIRE_NO_ID, 2);
    }
    router_counts(rig.router, &counts);
    assert_int_equal(counts.done, 20);
    assert_int_equal(counts.requests, 0);
}

static void one_of_several(void **state)
{
    const struct wire_span stop[] = {wire_span_of("x"), wire_span_of(" wor"), wire_span_of("wor")};
    const struct wire_msg msg = request(stop, 3);

    (void)state;
    ask(&msg);
    first(0, HE);
    hear();
    token(1, WOR, "");
    hear();
    assert_heard("he||", "stop");
    assert_done("stop", " wor", WIRE_NO_ID, 2); /* the longer one of two that end there */
}

static void the_string_may_stay(void **state)
{
    const struct wire_span stop = wire_span_of("END");
    struct wire_msg msg = request(&stop, 1);

    (void)state;
    msg.generate.include_stop = true;
    ask(&msg);
    first(0, E_);
    hear();
    token(1, ND, "");
    hear();
    assert_heard("|END|", "stop"); /* without the "!" behind it */
    assert_done("stop", "END", WIRE_NO_ID, 2);
}

static void a_string_counts_before_the_length(void **state)
{
    const struct wire_span stop = wire_span_of("END");
    struct wire_msg msg = request(&stop, 1);

    (void)state;
    msg.generate.sampling.max_tokens = 2;
    ask(&msg);
    first(0, E_);
    hear();
    token(1, ND, "length");
    hear();
    assert_heard("||", "stop");
    assert_done("stop", "END", WIRE_NO_ID, 2);
}

static void characters_may_be_split(void **state)
{
    (void)state;
    ask_for("\xc3\xa9");
    first(0, C3);
    hear();
    token(1, A9, "");
    hear();
    assert_heard("||", "stop");
    assert_done("stop", "\xc3\xa9", WIRE_NO_ID, 2);
}

/* ---- what was held back ---- */

static void held_text_comes_with_the_last_token(void **state)
{
    const struct wire_span stop = wire_span_of("END");
    struct wire_msg msg = request(&stop, 1);

    (void)state;
    msg.generate.sampling.max_tokens = 3;
    ask(&msg);
    first(0, X);
    hear();
    token(1, E_, "");
    hear();
    assert_heard("x||", "");
    token(2, N_, "length");
    hear();
    assert_heard("x||EN|", "length");
    rig_link_down(&rig, ROUTER_DOOR_NODE, d_link()); /* instead of its done */
    hear();
    assert_done("length", "", WIRE_NO_ID, 3);
}

static void held_text_comes_with_a_stop_id(void **state)
{
    const uint32_t ids[] = {END_ID};
    const struct wire_span stop = wire_span_of("END");
    struct wire_msg msg = request(&stop, 1);

    (void)state;
    msg.generate.sampling.stop_ids = (struct wire_u32s){ids, 1};
    ask(&msg);
    first(0, E_);
    hear();
    token(1, END_ID, "stop");
    hear();
    assert_heard("|E|", "stop");
    rig_link_down(&rig, ROUTER_DOOR_NODE, d_link());
    hear();
    assert_done("stop", "", END_ID, 2);
}

/* ---- readers ---- */

static void slow_readers_do_not_keep_nodes(void **state)
{
    const struct wire_span stop = wire_span_of("lo wor");
    struct wire_msg msg = request(&stop, 1);

    (void)state;
    msg.generate.credits = 1;
    ask(&msg);
    first(0, HE);
    hear();
    token(1, LLO, "");
    hear();
    token(2, WOR, "");
    assert_true(told(d_link())); /* though the reader has one token only */
    hear();
    assert_heard("he|", "");
    assert_false(heard.done);
    token(3, LD, "");
    assert_int_equal(rig.n_answers, 0);
    wire_msg_init(&msg, WIRE_KIND_CREDIT);
    msg.req = heard.id;
    msg.credit.resume = heard.resume;
    msg.credit.credits = 5;
    rig_client(&rig, &msg);
    hear();
    assert_heard("he|l||", "stop");
    assert_done("stop", "lo wor", WIRE_NO_ID, 3);
}

static void taken_over_in_held_text(void **state)
{
    (void)state;
    ask_for("lo wor");
    first(0, HE);
    hear();
    token(1, LLO, "");
    hear();
    assert_heard("he|l|", "");
    rig_link_down(&rig, ROUTER_DOOR_CLIENT, RIG_CLIENT_LINK);
    attach(2, 0); /* "lo" was held back with the token before */
    assert_heard("", "");
    attach(1, 0);
    assert_heard("l|", "");
    attach(0, 0);
    assert_heard("he|l|", "");
    attach(2, 0);
    token(2, X, "");
    hear();
    assert_heard("lox|", "");
    attach(1, 0);
    assert_heard("l|lox|", "");
}

static void taken_over_after_the_match(void **state)
{
    (void)state;
    ask_for("lo wor");
    first(0, HE);
    hear();
    rig_link_down(&rig, ROUTER_DOOR_CLIENT, RIG_CLIENT_LINK);
    token(1, LLO, "");
    token(2, WOR, ""); /* nobody reads */
    assert_true(told(d_link()));
    attach(0, 2);
    assert_heard("he|l|", "");
    assert_false(heard.done);
    attach(2, 0);
    assert_heard("|", "stop");
    assert_done("stop", "lo wor", WIRE_NO_ID, 3);
}

/* ---- losses ---- */

static void goes_on_after_a_loss(void **state)
{
    uint32_t other;

    (void)state;
    ask_for("lo wor");
    other = d_link() == RIG_D_LINK ? RIG_D2_LINK : RIG_D_LINK;
    first(0, HE);
    hear();
    token(0, HE, "");
    token(1, LLO, "");
    hear();
    rig_link_down(&rig, ROUTER_DOOR_NODE, d_link());
    assert_non_null(rig_answer(&rig, other, WIRE_KIND_JOB));
    job = *rig_answer(&rig, RIG_P_LINK, WIRE_KIND_JOB);
    assert_int_equal(job.job.emitted.n, 2);
    first(2, WOR);
    assert_true(told(RIG_P_LINK) && told(other));
    hear();
    assert_heard("he|l||", "stop");
    assert_done("stop", "lo wor", WIRE_NO_ID, 3);
}

static void a_doubled_token_is_read_once(void **state)
{
    (void)state;
    ask_for("EE");
    first(0, E_);
    hear();
    token(0, E_, ""); /* D's copy */
    token(0, E_, "");
    assert_false(told(d_link()));
    assert_int_equal(rig.n_answers, 0);
    token(1, X, "");
    hear();
    assert_heard("|Ex|", "");
    token(2, E_, "");
    token(3, E_, "");
    assert_true(told(d_link()));
}

/* ---- options ---- */

static void not_before_min_tokens(void **state)
{
    const struct wire_span stop[] = {wire_span_of("hello"), wire_span_of("he")};
    struct wire_msg msg = request(stop, 2);

    (void)state;
    msg.generate.sampling.min_tokens = 1;
    ask(&msg);
    first(0, HE);
    hear();
    token(1, LLO, ""); /* the string began too early */
    hear();
    assert_heard("he|llo|", "");
    token(2, HE, "");
    hear();
    assert_heard("he|llo||", "stop");
    assert_done("stop", "he", WIRE_NO_ID, 3);
}

static void special_tokens_may_be_seen(void **state)
{
    const struct wire_span stop = wire_span_of("x<end>");
    struct wire_msg msg = request(&stop, 1);

    (void)state;
    ask(&msg);
    first(0, X);
    hear();
    token(1, END_ID, ""); /* no text: the string is not there */
    token(2, HE, "");
    assert_false(told(d_link()));
    rig_link_down(&rig, ROUTER_DOOR_CLIENT, RIG_CLIENT_LINK);
    rig_wait(&rig, 2100);
    msg.generate.keep_special = true;
    ask(&msg);
    first(0, X);
    hear();
    token(1, BOS, "");
    hear();
    assert_heard("|x<s>|", "");
    token(2, X, "");
    hear();
    token(3, END_ID, "");
    hear();
    assert_heard("|x<s>|||", "stop");
    assert_done("stop", "x<end>", WIRE_NO_ID, 4);
}

/* A stop id has a text only where what ends an answer stays in it. */
static void the_stop_id_may_stay(void **state)
{
    struct wire_msg msg = request(NULL, 0);

    (void)state;
    for (int i = 0; i < 2; i++) {
        msg.generate.include_stop = i > 0;
        ask(&msg);
        first(0, HE);
        hear();
        token(1, LLO, "stop");
        hear();
        assert_heard(i > 0 ? "he|llo|" : "he||", "stop");
        rig_link_down(&rig, ROUTER_DOOR_NODE, d_link());
        hear();
        assert_done("stop", "", LLO, 2);
    }
}

/* ---- limits ---- */

static void assert_refused(const struct wire_msg *msg, enum status code, const char *words)
{
    const struct wire_msg *failed;

    rig_client(&rig, msg);
    failed = rig_answer(&rig, RIG_CLIENT_LINK, WIRE_KIND_FAILED);
    assert_non_null(failed);
    assert_int_equal(failed->failed.code, code);
    if (!memmem(failed->failed.text.at, failed->failed.text.len, words, strlen(words)))
        fail_msg("'%.*s' has no '%s'", (int)failed->failed.text.len, failed->failed.text.at, words);
}

static void limits(void **state)
{
    static char bytes[WIRE_STOP_BYTES_MAX + 1];
    struct wire_span stop[WIRE_STOPS_MAX + 1];
    struct wire_msg msg;

    (void)state;
    memset(bytes, 'x', sizeof(bytes));
    for (size_t i = 0; i < WIRE_STOPS_MAX + 1; i++)
        stop[i] = (struct wire_span){bytes, WIRE_STOP_BYTES_MAX};
    msg = request(stop, WIRE_STOPS_MAX + 1);
    assert_refused(&msg, STATUS_TOO_BIG, "stop has 17 texts: expected at most 16");
    msg = request(stop, WIRE_STOPS_MAX);
    stop[15].len++;
    assert_refused(&msg, STATUS_TOO_BIG, "stop[15] has 513 bytes: expected 1 to 512");
    stop[15].len = 0;
    assert_refused(&msg, STATUS_INVALID, "stop[15] has 0 bytes: expected 1 to 512");
    stop[15].len = 1;
    stop[15].at = "E";
    ask(&msg); /* all at their limits */
    first(0, E_);
    hear();
    assert_done("stop", "E", WIRE_NO_ID, 1);
}

static void the_longest_string_is_held(void **state)
{
    static char bytes[WIRE_STOP_BYTES_MAX];
    const struct wire_span stop = {bytes, sizeof(bytes)};
    struct wire_msg msg = request(&stop, 1);

    (void)state;
    memset(bytes, 'x', sizeof(bytes));
    msg.generate.tokens.n = 1;
    msg.generate.sampling.max_tokens = 511;
    msg.generate.include_stop = true;
    ask(&msg);
    first(0, X);
    hear();
    for (uint32_t i = 1; i < 510; i++) {
        token(i, X, "");
        hear();
    }
    assert_int_equal(strspn(heard.text, "|"), 510); /* all of it may become the string */
    token(510, X, "length");
    hear();
    assert_int_equal(strspn(heard.text + 510, "x"), 511);
    assert_string_equal(heard.end, "length");
}

static void no_memory_is_an_answer(void **state)
{
    const struct wire_span stop = wire_span_of("END");
    const struct wire_msg msg = request(&stop, 1);
    bool accepted = false;
    int n = 0;

    (void)state;
    for (; !accepted; n++) {
        mem_fail_after(n);
        rig_client(&rig, &msg);
        mem_fail_after(MEM_FAIL_NEVER);
        accepted = rig_answer(&rig, RIG_CLIENT_LINK, WIRE_KIND_ACCEPTED) != NULL;
        assert_true(accepted || router_idle(rig.router));
        assert_true(n < 50);
    }
    assert_true(n > 6); /* record, two texts of three parts each */
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(found_across_tokens),
        T(found_in_the_first_token),
        T(nothing_is_left_on_the_nodes),
        T(one_of_several),
        T(the_string_may_stay),
        T(a_string_counts_before_the_length),
        T(characters_may_be_split),
        T(held_text_comes_with_the_last_token),
        T(held_text_comes_with_a_stop_id),
        T(slow_readers_do_not_keep_nodes),
        T(taken_over_in_held_text),
        T(taken_over_after_the_match),
        T(goes_on_after_a_loss),
        T(a_doubled_token_is_read_once),
        T(not_before_min_tokens),
        T(special_tokens_may_be_seen),
        T(the_stop_id_may_stay),
        T(limits),
        T(the_longest_string_is_held),
        T(no_memory_is_an_answer),
    };
    const struct log_options silent = {.level = LOG_LEVEL_OFF};

    (void)log_open(&silent);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
