/* What a client may ask and how it becomes ids: texts, chats through the model's template, ids
 * within the vocabulary, parameters; and the logprobs that come back with each token. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <math.h>

#include "base/log.h"
#include "base/mem.h"
#include "model/template.h"
#include "router/state.h"
#include "tests/router/rig.h"

/* Letters, a line's end, and a beginning that is added to every text. */
#define TOKENIZER                                                                                  \
    "{\"version\": \"1.0\", \"added_tokens\": ["                                                   \
    "{\"id\": 0, \"content\": \"<s>\", \"special\": true, \"single_word\": false, "                \
    "\"lstrip\": false, \"rstrip\": false, \"normalized\": false},"                                \
    "{\"id\": 1, \"content\": \"<end>\", \"special\": true, \"single_word\": false, "              \
    "\"lstrip\": false, \"rstrip\": false, \"normalized\": false}],"                               \
    "\"normalizer\": null, \"pre_tokenizer\": null, \"decoder\": null, \"post_processor\": "       \
    "{\"type\": \"TemplateProcessing\", \"single\": [{\"SpecialToken\": {\"id\": \"<s>\", "        \
    "\"type_id\": 0}}, {\"Sequence\": {\"id\": \"A\", \"type_id\": 0}}], \"pair\": "               \
    "[{\"Sequence\": {\"id\": \"A\", \"type_id\": 0}}, {\"Sequence\": {\"id\": \"B\", "            \
    "\"type_id\": 1}}], \"special_tokens\": {\"<s>\": {\"id\": \"<s>\", \"ids\": [0], "            \
    "\"tokens\": [\"<s>\"]}}}, \"model\": {\"type\": \"BPE\", \"vocab\": {\"<s>\": 0, "            \
    "\"<end>\": 1, \"a\": 2, \"b\": 3, \"c\": 4, \":\": 5, \"z\": 6}, \"merges\": []}}"

#define TEMPLATE                                                                                   \
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'z' %}"                                 \
    "{{ raise_exception('no z here') }}{% endif %}{{ m.role }}:{{ m.content }}<end>"               \
    "{% endfor %}{% if add_generation_prompt %}b:{% endif %}"

static struct rig rig;
static struct tokenizer *tok;
static struct template *tmpl;
static struct arena *vars_arena;
static struct tmpl_value vars;

static void with_chat(struct router_cfg *cfg)
{
    cfg->tok = tok;
    cfg->tmpl = tmpl;
    cfg->tmpl_vars = &vars;
    cfg->vocab = 6; /* "z" is no id of the model */
    cfg->unix_offset_s = 86400 - 1;
}

static void without_chat(struct router_cfg *cfg)
{
    cfg->tok = tok;
    cfg->vocab = 6;
}

static void open_template(const char *source)
{
    struct template_error error;

    template_destroy(tmpl);
    if (template_compile(source, strlen(source), &error, &tmpl) != STATUS_OK)
        fail_msg("%s", error.text);
}

static int setup(void **state)
{
    struct tmpl_pair bos = {tmpl_str("bos_token", 9), tmpl_str("<s>", 3)};
    struct tokenizer_error error;

    (void)state;
    if (tokenizer_open_memory(TOKENIZER, strlen(TOKENIZER), &error, &tok) != STATUS_OK)
        fail_msg("%s", error.text);
    assert_int_equal(arena_create(4096, 1 << 16, &vars_arena), STATUS_OK);
    assert_int_equal(tmpl_dict_make(vars_arena, &bos, 1, &vars), STATUS_OK);
    tmpl = NULL;
    open_template(TEMPLATE);
    rig_init(&rig, with_chat);
    rig_fleet(&rig, 1);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    rig_fini(&rig);
    template_destroy(tmpl);
    arena_destroy(vars_arena);
    tokenizer_close(tok);
    return 0;
}

/* The fleet again, in front of another router. */
static void again(void (*change)(struct router_cfg *cfg))
{
    rig_fini(&rig);
    rig_init(&rig, change);
    rig_fleet(&rig, 1);
}

static void assert_refused(enum status code, const char *words)
{
    const struct wire_msg *failed = rig_answer(&rig, RIG_CLIENT_LINK, WIRE_KIND_FAILED);

    assert_non_null(failed);
    if (failed->failed.code != code ||
        !memmem(failed->failed.text.at, failed->failed.text.len, words, strlen(words)))
        fail_msg("expected %s and \"%s\" in: %s: %.*s", status_name(code), words,
                 status_name((enum status)failed->failed.code), (int)failed->failed.text.len,
                 failed->failed.text.at);
    assert_null(rig_answer(&rig, RIG_P_LINK, WIRE_KIND_JOB));
}

static void assert_prompt(const uint32_t *ids, size_t n)
{
    const struct wire_msg *job = rig_answer(&rig, RIG_P_LINK, WIRE_KIND_JOB);

    assert_non_null(job);
    assert_int_equal(job->job.prompt.n, n);
    assert_memory_equal(job->job.prompt.at, ids, n * sizeof(*ids));
}

static struct wire_msg generate(void)
{
    struct wire_msg msg;

    wire_msg_init(&msg, WIRE_KIND_GENERATE);
    return msg;
}

static void ask_chat(size_t n, const char *const *roles, const char *const *contents)
{
    struct wire_span role[4], content[4];
    struct wire_msg msg = generate();

    for (size_t i = 0; i < n; i++) {
        role[i] = wire_span_of(roles[i]);
        content[i] = wire_span_of(contents[i]);
    }
    msg.generate.roles = (struct wire_texts){role, n};
    msg.generate.contents = (struct wire_texts){content, n};
    rig_client(&rig, &msg);
}

/* ---- prompts ---- */

static void chats_go_through_the_template(void **state)
{
    /* <s> comes from the template alone, a: c <end> of each message, b: as the answer's start. */
    static const uint32_t ids[] = {0, 2, 5, 4, 1, 3, 5, 3, 3, 1, 3, 5};

    (void)state;
    ask_chat(2, (const char *const[]){"a", "b"}, (const char *const[]){"c", "bb"});
    assert_prompt(ids, 12);
}

static void texts_get_what_the_model_begins_with(void **state)
{
    /* Special tokens written in a text are no ids; here their letters are no ids either. */
    static const uint32_t ids[] = {0, 2, 3};
    struct wire_msg msg = generate();

    (void)state;
    msg.generate.text = wire_span_of("ab");
    rig_client(&rig, &msg);
    assert_prompt(ids, 3);
}

static void exactly_one_prompt(void **state)
{
    static const uint32_t ids[] = {2};
    static const struct wire_span word = {"a", 1};
    struct wire_msg msg;

    (void)state;
    for (int mask = 0; mask < 8; mask++) {
        msg = generate();
        if (mask & 1)
            msg.generate.tokens = (struct wire_u32s){ids, 1};
        if (mask & 2)
            msg.generate.text = word;
        if (mask & 4)
            msg.generate.roles = msg.generate.contents = (struct wire_texts){&word, 1};
        if (mask == 1 || mask == 2 || mask == 4)
            continue;
        rig_client(&rig, &msg);
        assert_refused(STATUS_INVALID, "exactly one of");
    }
    msg = generate();
    msg.generate.roles = (struct wire_texts){&word, 1};
    rig_client(&rig, &msg);
    assert_refused(STATUS_INVALID, "roles has 1 elements and contents 0");
    msg.generate.roles.n = 0;
    msg.generate.contents = (struct wire_texts){&word, 1};
    rig_client(&rig, &msg);
    assert_refused(STATUS_INVALID, "roles has 0 elements and contents 1");
}

static void templates_refuse_with_their_words(void **state)
{
    (void)state;
    ask_chat(1, (const char *const[]){"z"}, (const char *const[]){"c"});
    assert_refused(STATUS_INVALID, "the chat template refuses these messages: no z here");
    ask_chat(1, (const char *const[]){"a"}, (const char *const[]){"\xff"});
    assert_refused(STATUS_INVALID, "message 0 of the chat is not UTF-8");
    again(without_chat);
    ask_chat(1, (const char *const[]){"a"}, (const char *const[]){"c"});
    assert_refused(STATUS_INVALID, "this model has no chat template: send it a text");
    open_template("a\n{{ 1 // 0 }}");
    again(with_chat);
    ask_chat(1, (const char *const[]){"a"}, (const char *const[]){"c"});
    assert_refused(STATUS_INVALID, "in line 2");
    open_template("{% for i in range(9999) %}{% for k in range(9999) %}{% endfor %}{% endfor %}");
    again(with_chat);
    ask_chat(1, (const char *const[]){"a"}, (const char *const[]){"c"});
    assert_refused(STATUS_TOO_BIG, "the chat template");
}

/* Templates show the date: the clock's second 1 and the offset are the first of January 1970. */
static void templates_know_the_date(void **state)
{
    static const uint32_t second[] = {3}, first[] = {2};

    (void)state;
    open_template("{% if strftime_now('%d') == '02' %}b{% else %}a{% endif %}");
    again(with_chat);
    ask_chat(1, (const char *const[]){"a"}, (const char *const[]){"c"});
    assert_prompt(second, 1);
    open_template("{% if strftime_now('%Y') == '1970' %}a{% else %}b{% endif %}");
    again(with_chat);
    ask_chat(1, (const char *const[]){"a"}, (const char *const[]){"c"});
    assert_prompt(first, 1);
}

static void no_memory_is_told(void **state)
{
    bool refused = true;
    int64_t n = 0;

    (void)state;
    for (; refused && n < 1000; n++) {
        rig.n_answers = 0;
        mem_fail_after(n);
        struct wire_span role = wire_span_of("a"), content = wire_span_of("c");
        struct wire_msg msg = generate();
        msg.generate.roles = (struct wire_texts){&role, 1};
        msg.generate.contents = (struct wire_texts){&content, 1};
        router_message(rig.router, ROUTER_DOOR_CLIENT, RIG_CLIENT_LINK, &msg, rig.now_ns);
        mem_fail_after(MEM_FAIL_NEVER);
        refused = router_idle(rig.router);
        router_clear(rig.router);
    }
    assert_in_range(n, 3, 999);
}

/* ---- ids and parameters ---- */

static void ids_are_in_the_vocabulary(void **state)
{
    static const uint32_t ids[] = {2, 5, 6};
    struct wire_msg msg = generate();

    (void)state;
    msg.generate.tokens = (struct wire_u32s){ids, 3};
    rig_client(&rig, &msg);
    assert_refused(STATUS_INVALID, "tokens[2] is 6: the model's vocabulary ends at 6");
    msg = generate();
    msg.generate.text = wire_span_of("az"); /* an id of the tokenizer, none of the model */
    rig_client(&rig, &msg);
    assert_refused(STATUS_INVALID, "the prompt's ids[2] is 6");
    msg = generate();
    msg.generate.tokens = (struct wire_u32s){ids, 2};
    msg.generate.sampling.bad_ids = (struct wire_u32s){ids, 3};
    rig_client(&rig, &msg);
    assert_refused(STATUS_INVALID, "bad_ids[2] is 6");
    msg.generate.sampling.bad_ids.n = 2;
    rig_client(&rig, &msg);
    assert_prompt(ids, 2);
    assert_int_equal(rig_answer(&rig, RIG_D_LINK, WIRE_KIND_JOB)->job.sampling.bad_ids.at[1], 5);
}

static void with_len_max(struct router_cfg *cfg)
{
    without_chat(cfg);
    cfg->len_max = 100; /* nodes say 512 */
}

static void requests_have_limits(void **state)
{
    static const uint32_t ids[512] = {2};
    struct wire_msg msg = generate();

    (void)state;
    msg.generate.tokens = (struct wire_u32s){ids, 101};
    msg.generate.sampling.max_tokens = 400;
    rig_client(&rig, &msg);
    assert_prompt(ids, 101);
    again(with_len_max);
    rig_client(&rig, &msg);
    assert_refused(STATUS_TOO_BIG, "100 tokens");
    rig_fini(&rig);
    rig_init(&rig, without_chat); /* no node says how long a sequence may be */
    msg.generate.tokens.n = 1;
    msg.generate.sampling.max_tokens = ROUTER_TOPS_MAX / 20 + 1;
    msg.generate.sampling.logprobs = 20;
    rig_client(&rig, &msg);
    assert_refused(STATUS_TOO_BIG, "logprobs 20");
    msg.generate.sampling.max_tokens--;
    rig_client(&rig, &msg);
    assert_non_null(rig_answer(&rig, RIG_CLIENT_LINK, WIRE_KIND_ACCEPTED));
}

/* A node says that the request itself is at fault: no other one is asked. */
static void what_is_at_fault_everywhere_ends(void **state)
{
    static const uint32_t ids[] = {2};
    const uint32_t links[] = {RIG_P_LINK, RIG_D_LINK};
    const uint64_t nodes[] = {RIG_P, RIG_D};
    struct wire_msg msg = generate(), job;

    (void)state;
    msg.generate.tokens = (struct wire_u32s){ids, 1};
    for (int i = 0; i < 2; i++) {
        rig_client(&rig, &msg);
        job = *rig_answer(&rig, RIG_P_LINK, WIRE_KIND_JOB);
        struct wire_msg failed;
        wire_msg_init(&failed, WIRE_KIND_FAILED);
        failed.req = job.req;
        failed.attempt = job.attempt;
        failed.generation = job.generation;
        failed.failed.code = STATUS_INVALID;
        failed.failed.text = wire_span_of("no id was left");
        rig_node(&rig, links[i], nodes[i], &failed);
        assert_refused(STATUS_INVALID, "no id was left");
        assert_null(rig_answer(&rig, RIG_D_LINK, WIRE_KIND_JOB));
        assert_non_null(rig_answer(&rig, links[1 - i], WIRE_KIND_CANCEL));
        assert_true(router_idle(rig.router));
    }
}

/* ---- logprobs ---- */

static const uint32_t top_ids[] = {4, 2, 3, 5};
static const double top_logprobs[] = {-0.5, -1.25, -1e30, -2};

/* A token of D with the n tops from `first` on. */
static void tell(const struct wire_msg *job, uint32_t index, size_t first, size_t n)
{
    struct wire_msg msg;

    wire_msg_init(&msg, WIRE_KIND_TOKEN);
    msg.req = job->req;
    msg.attempt = job->attempt;
    msg.generation = job->generation;
    msg.token.index = index;
    msg.token.token = 2;
    msg.token.logprob = top_logprobs[first];
    msg.token.top_ids = (struct wire_u32s){top_ids + first, n};
    msg.token.top_logprobs =
        (struct wire_span){(const char *)(top_logprobs + first), n * sizeof(double)};
    rig_node(&rig, RIG_D_LINK, RIG_D, &msg);
}

static void tell_first(const struct wire_msg *job)
{
    struct wire_msg msg;

    wire_msg_init(&msg, WIRE_KIND_FIRST);
    msg.req = job->req;
    msg.attempt = job->attempt;
    msg.generation = job->generation;
    msg.first.token = 2;
    msg.first.logprob = top_logprobs[0];
    msg.first.top_ids = (struct wire_u32s){top_ids, 3};
    msg.first.top_logprobs = (struct wire_span){(const char *)top_logprobs, 3 * sizeof(double)};
    rig_node(&rig, RIG_P_LINK, RIG_P, &msg);
}

static struct wire_msg start(uint32_t n_tops, struct wire_msg *accepted)
{
    static const uint32_t ids[] = {2};
    struct wire_msg msg = generate();

    msg.generate.tokens = (struct wire_u32s){ids, 1};
    msg.generate.sampling.max_tokens = 5;
    msg.generate.sampling.logprobs = n_tops;
    rig_client(&rig, &msg);
    *accepted = *rig_answer(&rig, RIG_CLIENT_LINK, WIRE_KIND_ACCEPTED);
    return *rig_answer(&rig, RIG_P_LINK, WIRE_KIND_JOB);
}

/* The client got, as its token idx of this step, these tops. */
static void assert_tops(uint32_t index, size_t first, size_t n)
{
    for (size_t i = 0; i < rig.n_answers; i++) {
        const struct wire_msg *msg = &rig.answers[i].msg;

        if (msg->kind != WIRE_KIND_TOKEN || msg->token.index != index)
            continue;
        assert_true(msg->token.logprob == top_logprobs[first]);
        assert_int_equal(msg->token.top_ids.n, n);
        assert_int_equal(msg->token.top_logprobs.len, n * sizeof(double));
        if (n > 0)
            assert_memory_equal(msg->token.top_ids.at, top_ids + first, n * sizeof(uint32_t));
        assert_memory_equal(msg->token.top_logprobs.at, top_logprobs + first, n * sizeof(double));
        return;
    }
    fail_msg("no token %u came", index);
}

static void tops_reach_the_client(void **state)
{
    struct wire_msg accepted, attach;
    const struct wire_msg job = start(3, &accepted);

    (void)state;
    tell_first(&job);
    assert_tops(0, 0, 3);
    tell(&job, 0, 0, 3); /* the copy */
    assert_null(rig_answer(&rig, RIG_CLIENT_LINK, WIRE_KIND_TOKEN));
    tell(&job, 1, 1, 2); /* a vocabulary may have fewer */
    assert_tops(1, 1, 2);
    tell(&job, 2, 1, 3);
    assert_tops(2, 1, 3);
    wire_msg_init(&attach, WIRE_KIND_ATTACH); /* the same once more for who takes it over */
    attach.req = accepted.req;
    attach.attach.resume = accepted.accepted.resume;
    rig_client(&rig, &attach);
    assert_tops(0, 0, 3);
    assert_tops(1, 1, 2);
    assert_tops(2, 1, 3);
}

static void different_logprobs_are_an_error(void **state)
{
    struct wire_msg accepted;
    struct wire_msg job = start(3, &accepted);

    (void)state;
    tell_first(&job);
    tell(&job, 0, 0, 2);
    assert_refused(STATUS_MISMATCH, "two nodes computed different tokens or logprobs");
    job = start(3, &accepted);
    tell_first(&job);
    tell(&job, 0, 1, 3);
    assert_refused(STATUS_MISMATCH, "two nodes computed different tokens or logprobs");

    static const uint32_t others[] = {4, 3, 2}; /* with the same logprobs */
    struct wire_msg copy;
    job = start(3, &accepted);
    tell_first(&job);
    wire_msg_init(&copy, WIRE_KIND_TOKEN);
    copy.req = job.req;
    copy.attempt = job.attempt;
    copy.generation = job.generation;
    copy.token.token = 2;
    copy.token.logprob = top_logprobs[0];
    copy.token.top_ids = (struct wire_u32s){others, 3};
    copy.token.top_logprobs = (struct wire_span){(const char *)top_logprobs, 3 * sizeof(double)};
    rig_node(&rig, RIG_D_LINK, RIG_D, &copy);
    assert_refused(STATUS_MISMATCH, "two nodes computed different tokens or logprobs");
}

/* More than was asked for, or an id outside the vocabulary: the node's fault, tried again. */
static void nodes_say_no_more_than_asked(void **state)
{
    struct wire_msg accepted;
    struct wire_msg job = start(2, &accepted), bad;
    static const double infinite[] = {-INFINITY};

    (void)state;
    tell(&job, 0, 0, 3);
    assert_null(rig_answer(&rig, RIG_CLIENT_LINK, WIRE_KIND_TOKEN));
    job = *rig_answer(&rig, RIG_P_LINK, WIRE_KIND_JOB);
    assert_int_equal(job.attempt, 2);
    wire_msg_init(&bad, WIRE_KIND_TOKEN);
    bad.req = job.req;
    bad.attempt = job.attempt;
    bad.generation = job.generation;
    bad.token.token = 2;
    bad.token.top_ids = (struct wire_u32s){top_ids, 1};
    bad.token.top_logprobs = (struct wire_span){(const char *)infinite, sizeof(double)};
    rig_node(&rig, RIG_D_LINK, RIG_D, &bad);
    assert_null(rig_answer(&rig, RIG_CLIENT_LINK, WIRE_KIND_TOKEN));
    assert_non_null(rig_answer(&rig, RIG_P_LINK, WIRE_KIND_JOB)); /* a third one */
    job = start(0, &accepted);
    rig_token(&rig, RIG_D_LINK, RIG_D, &job, 0, 6, "");
    assert_null(rig_answer(&rig, RIG_CLIENT_LINK, WIRE_KIND_TOKEN));
}

static void steps_carry_tops(void **state)
{
    static const uint32_t ids[] = {2, 2}, zero[] = {0, 0};
    static const double logprobs[] = {-0.5, -1.25};
    static const uint8_t n_tops[] = {1, 3};
    struct wire_msg accepted;
    const struct wire_msg a = start(1, &accepted), b = start(3, &accepted);
    const struct wire_id reqs[] = {a.req, b.req};
    const uint32_t attempts[] = {a.attempt, b.attempt};
    const uint32_t generations[] = {a.generation, b.generation};
    struct wire_msg msg;

    (void)state;
    wire_msg_init(&msg, WIRE_KIND_TOKENS);
    msg.tokens.reqs = (struct wire_span){(const char *)reqs, sizeof(reqs)};
    msg.tokens.attempts = (struct wire_u32s){attempts, 2};
    msg.tokens.generations = (struct wire_u32s){generations, 2};
    msg.tokens.indexes = (struct wire_u32s){zero, 2};
    msg.tokens.tokens = (struct wire_u32s){ids, 2};
    msg.tokens.logprobs = (struct wire_span){(const char *)logprobs, sizeof(logprobs)};
    msg.tokens.ends = (struct wire_span){"\0\0", 2};
    msg.tokens.n_tops = (struct wire_span){(const char *)n_tops, 2};
    msg.tokens.top_ids = (struct wire_u32s){top_ids, 4};
    msg.tokens.top_logprobs = (struct wire_span){(const char *)top_logprobs, sizeof(top_logprobs)};
    rig_node(&rig, RIG_D_LINK, RIG_D, &msg);
    size_t n = 0;
    for (size_t i = 0; i < rig.n_answers; i++) {
        const struct wire_token *token = &rig.answers[i].msg.token;

        if (rig.answers[i].msg.kind != WIRE_KIND_TOKEN)
            continue;
        assert_int_equal(token->top_ids.n, n_tops[n]);
        assert_int_equal(token->top_ids.at[0], top_ids[n]);
        n++;
    }
    assert_int_equal(n, 2);
    msg.tokens.top_ids.n = 3; /* fewer than the counts say */
    rig_node(&rig, RIG_D_LINK, RIG_D, &msg);
    assert_int_equal(rig_answer(&rig, RIG_D_LINK, WIRE_KIND_BYE)->bye.code, STATUS_PROTOCOL);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(chats_go_through_the_template),
        T(texts_get_what_the_model_begins_with),
        T(exactly_one_prompt),
        T(templates_refuse_with_their_words),
        T(templates_know_the_date),
        T(no_memory_is_told),
        T(ids_are_in_the_vocabulary),
        T(requests_have_limits),
        T(what_is_at_fault_everywhere_ends),
        T(tops_reach_the_client),
        T(different_logprobs_are_an_error),
        T(nodes_say_no_more_than_asked),
        T(steps_carry_tops),
    };
    const struct log_options silent = {.level = LOG_LEVEL_OFF};

    (void)log_open(&silent);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
