/* What good requests become: every honoured field, defaults, prompts, chats as templates see them,
 * values that ask for nothing, limits and lack of memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "model/template.h"
#include "router/openai_fields.h"

static struct arena *arena;
static struct openai_error error;
static struct openai_request req;

static int setup(void **state)
{
    (void)state;
    return arena_create(4096, OPENAI_ARENA_MAX, &arena) == STATUS_OK ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    arena_destroy(arena);
    return mem_live() == 0 ? 0 : -1;
}

static void read_with(const struct openai_request_cfg *cfg, enum openai_api api, const char *body)
{
    const enum status status =
        openai_request_read(cfg, api, body, strlen(body), arena, &error, &req);

    if (status != STATUS_OK) {
        fail_msg("%s\n%s", body, error.message);
    }
}

static void chat(const char *body)
{
    read_with(NULL, OPENAI_CHAT, body);
}

static void completion(const char *body)
{
    read_with(NULL, OPENAI_COMPLETIONS, body);
}

static void assert_span(const char *expected, struct wire_span found)
{
    assert_int_equal(strlen(expected), found.len);
    assert_memory_equal(expected, found.at, found.len);
}

/* What a template that shows all makes of the chat. */
static void assert_template(const char *source, const char *expected)
{
    const struct template_options options = {0};
    struct template_error why;
    struct template *tmpl;
    struct tmpl_value vars;
    struct buf out;

    buf_init(&out, 65536);
    assert_int_equal(STATUS_OK, template_compile(source, strlen(source), &why, &tmpl));
    assert_int_equal(STATUS_OK, openai_template_vars(&req, NULL, arena, &vars));
    if (template_render(tmpl, &vars, &options, &why, &out) != STATUS_OK) {
        fail_msg("%s", why.text);
    }
    assert_string_equal(expected, buf_text(&out));
    buf_fini(&out);
    template_destroy(tmpl);
}

/* ---- fields ---- */

static void completions_have_openais_defaults(void **state)
{
    (void)state;
    completion("{\"prompt\":\"hi\"}");
    assert_int_equal(0, req.model.len);
    assert_int_equal(1, req.n_prompts);
    assert_span("hi", req.prompts[0].text);
    assert_int_equal(16, req.sampling.max_tokens);
    assert_true(req.sampling.temperature == 1 && req.sampling.top_p == 1);
    assert_true(req.sampling.repetition_penalty == 1 && req.sampling.min_p == 0);
    assert_int_equal(1, req.n);
    assert_true(req.add_special_tokens && req.skip_special_tokens);
    assert_false(req.stream || req.echo || req.logprobs || req.seeded || req.sampling.ignore_eos);
}

static void models_defaults_give_way_to_the_request(void **state)
{
    const struct wire_sampling defaults = {
        .temperature = 0.6, .top_p = 0.9, .top_k = 20, .repetition_penalty = 1.05};
    const struct openai_request_cfg cfg = {.defaults = &defaults};

    (void)state;
    read_with(&cfg, OPENAI_COMPLETIONS, "{\"prompt\":\"hi\",\"top_p\":0.5,\"temperature\":null}");
    assert_true(req.sampling.temperature == 0.6 && req.sampling.top_p == 0.5);
    assert_true(req.sampling.top_k == 20 && req.sampling.repetition_penalty == 1.05);
    assert_int_equal(16, req.sampling.max_tokens);
}

static void every_field_of_completions_is_read(void **state)
{
    (void)state;
    completion("{\"model\":\"m\",\"prompt\":[\"a\",\"\"],\"cache_salt\":\"salt\",\"priority\":-3,"
               "\"request_id\":\"mine\",\"deadline_ms\":5000,\"max_tokens\":100,\"min_tokens\":2,"
               "\"n\":3,\"seed\":-7,\"temperature\":0,\"top_p\":0.5,\"top_k\":40,\"min_p\":0.1,"
               "\"repetition_penalty\":1.5,\"presence_penalty\":-1,\"frequency_penalty\":2,"
               "\"logit_bias\":{\"5\":-100,\"0\":0.5},\"allowed_token_ids\":[1,2],"
               "\"bad_words\":[\"x\"],\"stop\":[\"a\",\"b\"],\"stop_token_ids\":[9],"
               "\"ignore_eos\":true,\"stream\":true,\"stream_options\":{\"include_usage\":true,"
               "\"continuous_usage_stats\":true,\"include_obfuscation\":false},\"logprobs\":5,"
               "\"include_stop_str_in_output\":true,\"skip_special_tokens\":false,"
               "\"return_token_ids\":true,\"return_tokens_as_token_ids\":true,"
               "\"add_special_tokens\":false}");
    assert_span("m", req.model);
    assert_int_equal(2, req.n_prompts);
    assert_int_equal(0, req.prompts[1].text.len);
    assert_span("salt", req.cache_salt);
    assert_int_equal(-3, req.priority);
    assert_span("mine", req.request_id);
    assert_int_equal(5000, req.deadline_ms);
    assert_true(req.sampling.max_tokens == 100 && req.sampling.min_tokens == 2 && req.n == 3);
    assert_true(req.seeded && req.seed == (uint64_t)-7);
    assert_true(req.sampling.temperature == 0 && req.sampling.top_p == 0.5);
    assert_true(req.sampling.top_k == 40 && req.sampling.min_p == 0.1);
    assert_true(req.sampling.repetition_penalty == 1.5 && req.sampling.presence_penalty == -1);
    assert_true(req.sampling.frequency_penalty == 2);
    assert_int_equal(2, req.sampling.bias_ids.n);
    assert_true(req.sampling.bias_ids.at[0] == 5 && req.sampling.bias_values.at[0] == -100);
    assert_true(req.sampling.bias_ids.at[1] == 0 && req.sampling.bias_values.at[1] == 0.5);
    assert_true(req.sampling.allowed_ids.n == 2 && req.sampling.allowed_ids.at[1] == 2);
    assert_int_equal(1, req.bad_words.n);
    assert_span("x", req.bad_words.at[0]);
    assert_int_equal(2, req.stops.n);
    assert_span("b", req.stops.at[1]);
    assert_true(req.sampling.stop_ids.n == 1 && req.sampling.stop_ids.at[0] == 9);
    assert_true(req.sampling.ignore_eos && req.stream && req.include_usage);
    assert_true(req.continuous_usage && req.logprobs && req.sampling.logprobs == 5);
    assert_true(req.include_stop && !req.skip_special_tokens && req.return_token_ids);
    assert_true(req.tokens_as_ids && !req.add_special_tokens);
    assert_int_equal(0, req.n_unknown + req.n_harmless);
}

static void numbers_may_be_written_in_several_ways(void **state)
{
    (void)state;
    completion("{\"prompt\":\"a\",\"max_tokens\":32.0,\"top_k\":-1,\"temperature\":1,"
               "\"seed\":9223372036854775807,\"logprobs\":0,\"stop\":\"one\",\"n\":2e0}");
    assert_int_equal(32, req.sampling.max_tokens);
    assert_int_equal(0, req.sampling.top_k);
    assert_true(req.seed == INT64_MAX);
    assert_true(req.logprobs && req.sampling.logprobs == 0);
    assert_int_equal(1, req.stops.n);
    assert_span("one", req.stops.at[0]);
    assert_int_equal(2, req.n);
}

static void prompts_have_four_forms(void **state)
{
    (void)state;
    completion("{\"prompt\":[\"a\",\"b\\u0000c\"]}");
    assert_int_equal(2, req.n_prompts);
    assert_int_equal(3, req.prompts[1].text.len);
    assert_memory_equal("b\0c", req.prompts[1].text.at, 3);
    completion("{\"prompt\":[5,6,7]}");
    assert_int_equal(1, req.n_prompts);
    assert_true(req.prompts[0].ids.n == 3 && req.prompts[0].ids.at[2] == 7);
    completion("{\"prompt\":[[5,6],[4294967295]]}");
    assert_int_equal(2, req.n_prompts);
    assert_true(req.prompts[0].ids.n == 2 && req.prompts[1].ids.at[0] == UINT32_MAX);
}

static void chats_have_their_own_defaults(void **state)
{
    (void)state;
    chat("{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"max_tokens\":null}");
    assert_int_equal(0, req.sampling.max_tokens); /* what the context leaves */
    assert_true(req.is_chat && req.add_generation_prompt && !req.continue_final_message);
    assert_true(!req.add_special_tokens && req.parallel_tool_calls && !req.parse_tool_calls);
    chat("{\"max_completion_tokens\":7,\"max_tokens\":9,\"messages\":[{\"role\":\"user\","
         "\"content\":\"hi\"}],\"logprobs\":true,\"top_logprobs\":20}");
    assert_int_equal(7, req.sampling.max_tokens);
    assert_true(req.logprobs && req.sampling.logprobs == 20);
    chat("{\"max_tokens\":9,\"max_completion_tokens\":7,\"messages\":[{\"role\":\"user\","
         "\"content\":\"hi\"}],\"logprobs\":false,\"top_logprobs\":0}");
    assert_int_equal(7, req.sampling.max_tokens);
    assert_false(req.logprobs);
}

/* Whoever spells a default out is served like one who does not. */
static void values_that_ask_for_nothing_are_taken(void **state)
{
    (void)state;
    completion("{\"prompt\":\"a\",\"n\":2,\"best_of\":2,\"suffix\":\"\",\"response_format\":"
               "{\"type\":\"text\"},\"use_beam_search\":false,\"guided_json\":null,"
               "\"prompt_logprobs\":null,\"logits_processors\":[],\"kv_transfer_params\":{},"
               "\"thinking_token_budget\":-1,\"echo\":null}");
    chat("{\"messages\":[{\"role\":\"user\",\"content\":\"a\"}],\"modalities\":[\"text\"],"
         "\"functions\":[],\"function_call\":\"none\",\"verbosity\":\"medium\",\"echo\":false,"
         "\"include_reasoning\":true,\"tools\":[],\"tool_choice\":\"none\",\"audio\":null}");
    assert_int_equal(0, req.n_unknown + req.n_harmless);
}

static void harmless_and_unknown_fields_are_counted(void **state)
{
    (void)state;
    completion("{\"prompt\":\"a\",\"user\":\"u\",\"store\":true,\"x1\":1,\"x2\":{},\"x3\":null,"
               "\"x4\":4,\"x5\":5,\"x6\":6,\"x7\":7,\"x8\":8,\"x9\":9}");
    assert_int_equal(2, req.n_harmless);
    assert_int_equal(9, req.n_unknown);
    assert_span("x1", req.unknown[0]);
    assert_span("x8", req.unknown[OPENAI_UNKNOWN_MAX - 1]);
}

static void tokenize_and_detokenize(void **state)
{
    (void)state;
    read_with(NULL, OPENAI_TOKENIZE, "{\"prompt\":\"hi\",\"return_token_strs\":true}");
    assert_true(!req.is_chat && req.add_special_tokens && req.token_strs);
    assert_span("hi", req.prompts[0].text);
    read_with(NULL, OPENAI_TOKENIZE,
              "{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"prompt\":null}");
    assert_true(req.is_chat && !req.add_special_tokens && req.add_generation_prompt);
    read_with(
        NULL, OPENAI_TOKENIZE,
        "{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"add_special_tokens\":true}");
    assert_true(req.add_special_tokens);
    read_with(NULL, OPENAI_DETOKENIZE, "{\"model\":\"m\",\"tokens\":[1,2,3]}");
    assert_true(req.n_prompts == 1 && req.prompts[0].ids.n == 3);
    read_with(NULL, OPENAI_DETOKENIZE, "{\"tokens\":[]}");
    assert_true(req.n_prompts == 1 && req.prompts[0].ids.n == 0);
}

/* ---- chats ---- */

static void content_becomes_one_text(void **state)
{
    (void)state;
    chat("{\"messages\":[{\"role\":\"system\",\"content\":[{\"type\":\"text\",\"text\":\"a\"},"
         "{\"type\":\"text\",\"text\":\"\xc3\xa9\"}]},{\"role\":\"user\",\"content\":[],"
         "\"name\":\"bob\"},{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[]},"
         "{\"role\":\"tool\",\"tool_call_id\":\"c1\",\"content\":\"4\",\"extra\":[1,2.5,null]}]}");
    assert_template("{% for m in messages %}{{ m | tojson }}\n{% endfor %}",
                    "{\"role\": \"system\", \"content\": \"a\\n\xc3\xa9\"}\n"
                    "{\"role\": \"user\", \"content\": \"\", \"name\": \"bob\"}\n"
                    "{\"role\": \"assistant\", \"content\": \"\"}\n"
                    "{\"role\": \"tool\", \"tool_call_id\": \"c1\", \"content\": \"4\", \"extra\": "
                    "[1, 2.5, null]}\n");
}

static void arguments_become_objects(void **state)
{
    (void)state;
    chat("{\"messages\":[{\"role\":\"assistant\",\"tool_calls\":[{\"id\":\"c1\",\"type\":"
         "\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{\\\"x\\\": [1, 2.0]}\"}},"
         "{\"id\":\"c2\",\"function\":{\"arguments\":\"\",\"name\":\"g\"}},{\"function\":{\"name\":"
         "\"h\",\"arguments\":{\"y\":null}}}]}]}");
    assert_template("{{ messages[0].content == '' }} {% for c in messages[0].tool_calls %}"
                    "{{ c.id }} {{ c.function.name }} {{ c.function.arguments | tojson }}|"
                    "{% endfor %}",
                    "True c1 f {\"x\": [1, 2.0]}|c2 g {}| h {\"y\": null}|");
}

#define TOOL                                                                                       \
    "{\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":{\"b\":1,\"a\":0.1}}}"
#define HI "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]"

static void tools_reach_the_template_unless_not_wanted(void **state)
{
    const char *show = "{{ tools | tojson }} {{ tools is none }}";

    (void)state;
    chat("{" HI ",\"tools\":[" TOOL "],\"parallel_tool_calls\":false}");
    assert_true(req.parse_tool_calls && !req.parallel_tool_calls);
    assert_template(show, "[{\"type\": \"function\", \"function\": {\"name\": \"f\", "
                          "\"parameters\": {\"b\": 1, \"a\": 0.1}}}] False");
    chat("{\"tool_choice\":\"auto\"," HI ",\"tools\":[" TOOL "]}");
    assert_true(req.parse_tool_calls);
    chat("{\"tool_choice\":\"none\"," HI ",\"tools\":[" TOOL "]}");
    assert_false(req.parse_tool_calls);
    assert_template(show, "null True");
}

static void template_sees_the_clients_keywords(void **state)
{
    const char *show = "{{ add_generation_prompt }} {{ enable_thinking }} {{ reasoning_effort }} "
                       "{{ documents | tojson }} {{ messages | length }} {{ x }}";

    (void)state;
    chat("{" HI "}");
    assert_template(show, "True   null 1 ");
    chat("{" HI ",\"chat_template_kwargs\":{\"enable_thinking\":false,\"messages\":[],\"x\":\"y\"},"
         "\"add_generation_prompt\":false,\"reasoning_effort\":\"low\","
         "\"documents\":[{\"title\":\"t\"}]}");
    assert_template(show, "False False low [{\"title\": \"t\"}] 1 y");
    chat("{" HI ",\"reasoning_effort\":\"none\"}");
    assert_template(show, "True False none null 1 ");
    chat("{" HI ",\"continue_final_message\":true}");
    assert_true(req.continue_final_message && !req.add_generation_prompt);
    assert_template(show, "False   null 1 ");
}

static void template_keeps_what_the_model_brings(void **state)
{
    struct tmpl_pair pair = {tmpl_str("bos_token", 9), tmpl_str("<s>", 3)};
    struct tmpl_value base, vars;
    const struct tmpl_value *bos;

    (void)state;
    assert_int_equal(STATUS_OK, tmpl_dict_make(arena, &pair, 1, &base));
    chat("{" HI "}");
    assert_int_equal(STATUS_OK, openai_template_vars(&req, &base, arena, &vars));
    bos = tmpl_dict_get_str(&vars, "bos_token", 9);
    assert_true(bos != NULL && bos->len == 3);
}

/* ---- limits ---- */

/* Each ends with another field: what fails last must not be forgotten. */
static const struct {
    enum openai_api api;
    const char *body;
} rich[] = {
    {OPENAI_CHAT, "{\"tools\":[" TOOL "],\"stop\":[\"a\"]," HI "}"},
    {OPENAI_CHAT, "{" HI ",\"tools\":[" TOOL "]}"},
    {OPENAI_CHAT, "{" HI ",\"zzz\":1}"},
    {OPENAI_CHAT, "{" HI ",\"stop\":[\"a\",\"b\"]}"},
    {OPENAI_CHAT, "{" HI ",\"logit_bias\":{\"1\":1,\"2\":2}}"},
    {OPENAI_CHAT, "{" HI ",\"stop_token_ids\":[1]}"},
    {OPENAI_CHAT, "{" HI ",\"chat_template_kwargs\":{\"a\":{\"b\":[\"c\"]}}}"},
    {OPENAI_CHAT,
     "{\"messages\":[{\"role\":\"assistant\",\"tool_calls\":[{\"function\":{\"name\":\"f\","
     "\"arguments\":\"{}\"}}]}]}"},
    {OPENAI_CHAT,
     "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"a\"}]}]}"},
    {OPENAI_COMPLETIONS, "{\"prompt\":[\"a\",\"b\"],\"bad_words\":\"x\"}"},
    {OPENAI_COMPLETIONS, "{\"prompt\":[[1],[2]]}"},
    {OPENAI_DETOKENIZE, "{\"tokens\":[1]}"},
};

/* Every allocation of ours fails once: an error each time, nothing leaks, nothing is half read. */
static void lack_of_memory_is_an_error(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(rich) / sizeof(rich[0]); i++) {
        enum status status = STATUS_NO_MEMORY;
        struct arena *own;
        size_t used;

        arena_reset(arena);
        read_with(NULL, rich[i].api, rich[i].body);
        used = arena_used_bytes(arena);
        for (int64_t n = 0; status != STATUS_OK; n++) {
            assert_true(n < 1000);
            assert_int_equal(STATUS_OK, arena_create(16, 1 << 20, &own)); /* a chunk for each */
            mem_fail_after(n);
            status = openai_request_read(NULL, rich[i].api, rich[i].body, strlen(rich[i].body), own,
                                         &error, &req);
            mem_fail_after(MEM_FAIL_NEVER);
            if (status != STATUS_OK) {
                assert_int_equal(STATUS_TOO_BIG, status);
                assert_int_equal(413, error.http);
            } else {
                assert_int_equal(used, arena_used_bytes(own)); /* all of it */
            }
            arena_destroy(own);
        }
    }
}

/* The largest prompt of ids fits, and so does its arena's promise. */
static void longest_prompt_is_read(void **state)
{
    const size_t n = WIRE_TOKENS_MAX;
    char *body = mem_alloc(2 * n + 32), *at = body;

    (void)state;
    assert_non_null(body);
    at += sprintf(at, "{\"prompt\":[1");
    for (size_t i = 1; i < n; i++) {
        *at++ = ',';
        *at++ = '2';
    }
    strcpy(at, "]}");
    completion(body);
    assert_int_equal(n, req.prompts[0].ids.n);
    mem_free(body);
}

/* The dearest body that is taken: arrays and objects to the limit. */
static void dearest_body_fits_into_the_arena(void **state)
{
    struct buf body;

    (void)state;
    buf_init(&body, OPENAI_BODY_MAX);
    assert_int_equal(STATUS_OK, buf_append_str(&body, "{" HI ",\"chat_template_kwargs\":{\"a\":["));
    for (size_t i = 0; i < OPENAI_OBJECTS_MAX - 3; i++) {
        assert_int_equal(STATUS_OK, buf_append_str(&body, i > 0 ? ",{\"a\":[]}" : "{\"a\":[]}"));
    }
    for (size_t i = 0; i < OPENAI_VALUES_MAX - 3 * OPENAI_OBJECTS_MAX - 16; i++) {
        assert_int_equal(STATUS_OK, buf_append_str(&body, ",\"\""));
    }
    assert_int_equal(STATUS_OK, buf_append_str(&body, "]}}"));
    chat(buf_text(&body));
    assert_true(arena_used_bytes(arena) < OPENAI_ARENA_MAX);
    buf_fini(&body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        TEST(completions_have_openais_defaults),
        TEST(models_defaults_give_way_to_the_request),
        TEST(every_field_of_completions_is_read),
        TEST(numbers_may_be_written_in_several_ways),
        TEST(prompts_have_four_forms),
        TEST(chats_have_their_own_defaults),
        TEST(values_that_ask_for_nothing_are_taken),
        TEST(harmless_and_unknown_fields_are_counted),
        TEST(tokenize_and_detokenize),
        TEST(content_becomes_one_text),
        TEST(arguments_become_objects),
        TEST(tools_reach_the_template_unless_not_wanted),
        TEST(template_sees_the_clients_keywords),
        TEST(template_keeps_what_the_model_brings),
        TEST(lack_of_memory_is_an_error),
        TEST(longest_prompt_is_read),
        TEST(dearest_body_fits_into_the_arena),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
