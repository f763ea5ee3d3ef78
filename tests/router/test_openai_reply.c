/* Answers of the HTTP door against golden texts, and random bytes through the writer read back by
 * another reader of JSON. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/mem.h"
#include "base/rand.h"
#include "router/json_pen.h"
#include "router/openai_error.h"
#include "router/openai_info.h"
#include "router/openai_reply.h"

#define SPAN(text) ((struct wire_span){text, sizeof(text) - 1})

static struct buf out;

static int setup(void **state)
{
    (void)state;
    buf_init(&out, 1 << 20);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    buf_fini(&out);
    return mem_live() == 0 ? 0 : -1;
}

/* Exactly these bytes; and JSON behind "data: ", if that is there. */
static void assert_out(const char *expected)
{
    const char *text = buf_text(&out);

    assert_string_equal(expected, text);
    if (strncmp(text, "data: ", 6) == 0) {
        assert_string_equal("\n\n", text + strlen(text) - 2);
        text += 6;
    }
    if (text[0] == '{') {
        json_t *json = json_loads(text, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);

        assert_non_null(json);
        json_decref(json);
    }
    buf_clear(&out);
}

static struct openai_answer answer_of(enum openai_api api)
{
    return (struct openai_answer){
        .api = api,
        .id = SPAN("cmpl-1"),
        .model = SPAN("m"),
        .fingerprint = SPAN("fp"),
        .created = 1700000000,
        .seed = (uint64_t)-7,
    };
}

#define HEAD(object)                                                                               \
    "{\"id\":\"cmpl-1\",\"object\":\"" object                                                      \
    "\",\"created\":1700000000,\"model\":\"m\",\"system_fingerprint\":\"fp\",\"seed\":-7,"         \
    "\"choices\":["
#define USAGE                                                                                      \
    "\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2,\"total_tokens\":5,"                   \
    "\"prompt_tokens_details\":{\"cached_tokens\":1}}"

static const struct openai_usage usage = {3, 2, 1};

static const struct openai_top tops[] = {
    {7, {"a", 1}, -0.25}, {8, {"\xc3\xa9", 2}, -1.5}, {9, {"a", 1}, -HUGE_VAL}};
static const struct openai_token tokens[] = {
    {7, {"a", 1}, -0.25, 0, tops, 3},
    {300, {"\xe2\x82", 2}, -2, 1, tops, 1},
};

/* ---- whole answers ---- */

static void completion(void **state)
{
    struct openai_answer answer = answer_of(OPENAI_COMPLETIONS);
    const struct openai_piece pieces[] = {
        {.index = 0, .text = SPAN("a\n"), .finish = "length", .stop_id = OPENAI_STOP_ID_NONE},
        {.index = 1,
         .text = SPAN("b"),
         .finish = "stop",
         .stop_text = SPAN("END"),
         .stop_id = OPENAI_STOP_ID_NONE},
        {.index = 2, .finish = "stop", .stop_id = 17},
    };

    (void)state;
    assert_int_equal(STATUS_OK, openai_reply_whole(&answer, pieces, 3, &usage, &out));
    assert_out(HEAD("text_completion") "{\"index\":0,\"text\":\"a\\n\",\"logprobs\":null,"
                                       "\"finish_reason\":\"length\",\"stop_reason\":null},"
                                       "{\"index\":1,\"text\":\"b\",\"logprobs\":null,"
                                       "\"finish_reason\":\"stop\",\"stop_reason\":\"END\"},"
                                       "{\"index\":2,\"text\":\"\",\"logprobs\":null,"
                                       "\"finish_reason\":\"stop\",\"stop_reason\":17}]," USAGE
                                       "}");
}

static void completion_with_logprobs(void **state)
{
    static const uint32_t prompt[] = {5, 6};
    const struct openai_top wrong[] = {{1, {"\xe2", 1}, -1}, {2, {"\xf0", 1}, -2}};
    const struct openai_token cut = {3, {"\x80", 1}, -3, 0, wrong, 2};
    struct openai_answer answer = answer_of(OPENAI_COMPLETIONS);
    struct openai_piece piece = {.text = SPAN("a"),
                                 .tokens = tokens,
                                 .n_tokens = 2,
                                 .finish = "length",
                                 .stop_id = OPENAI_STOP_ID_NONE,
                                 .prompt_ids = {prompt, 2}};

    (void)state;
    answer.logprobs = answer.token_ids = true;
    assert_int_equal(STATUS_OK, openai_reply_whole(&answer, &piece, 1, &usage, &out));
    assert_out(HEAD("text_completion") "{\"index\":0,\"text\":\"a\",\"logprobs\":{\"tokens\":"
                                       "[\"a\",\"\xef\xbf\xbd\"],\"token_logprobs\":[-0.25,-2],"
                                       "\"top_logprobs\":[{\"a\":-0.25,\"\xc3\xa9\":-1.5},"
                                       "{\"a\":-0.25,\"\xef\xbf\xbd\":-2}],\"text_offset\":[0,1]},"
                                       "\"finish_reason\":\"length\",\"stop_reason\":null,"
                                       "\"prompt_token_ids\":[5,6],\"token_ids\":[7,300]}]," USAGE
                                       "}");
    /* Two that leave as the same text: the likelier one has the name. */
    piece.tokens = &cut;
    piece.n_tokens = 1;
    answer.token_ids = false;
    assert_int_equal(STATUS_OK, openai_reply_whole(&answer, &piece, 1, &usage, &out));
    assert_out(HEAD("text_completion") "{\"index\":0,\"text\":\"a\",\"logprobs\":{\"tokens\":"
                                       "[\"\xef\xbf\xbd\"],\"token_logprobs\":[-3],"
                                       "\"top_logprobs\":[{\"\xef\xbf\xbd\":-1}],"
                                       "\"text_offset\":[0]},\"finish_reason\":\"length\","
                                       "\"stop_reason\":null}]," USAGE "}");
    piece.tokens = tokens;
    answer.tokens_as_ids = true;
    assert_int_equal(STATUS_OK, openai_reply_whole(&answer, &piece, 1, &usage, &out));
    assert_out(HEAD("text_completion") "{\"index\":0,\"text\":\"a\",\"logprobs\":{\"tokens\":"
                                       "[\"token_id:7\"],\"token_logprobs\":[-0.25],"
                                       "\"top_logprobs\":[{\"token_id:7\":-0.25,\"token_id:8\":"
                                       "-1.5,\"token_id:9\":-9999}],\"text_offset\":[0]},"
                                       "\"finish_reason\":\"length\",\"stop_reason\":null}]," USAGE
                                       "}");
}

static void chat(void **state)
{
    static const uint32_t prompt[] = {5};
    struct openai_answer answer = answer_of(OPENAI_CHAT);
    struct openai_piece piece = {.text = SPAN("hi"),
                                 .tokens = tokens,
                                 .n_tokens = 1,
                                 .finish = "stop",
                                 .stop_id = OPENAI_STOP_ID_NONE,
                                 .prompt_ids = {prompt, 1}};

    (void)state;
    assert_int_equal(STATUS_OK, openai_reply_whole(&answer, &piece, 1, &usage, &out));
    assert_out(HEAD("chat.completion") "{\"index\":0,\"message\":{\"role\":\"assistant\","
                                       "\"content\":\"hi\",\"refusal\":null},\"logprobs\":null,"
                                       "\"finish_reason\":\"stop\",\"stop_reason\":null}]," USAGE
                                       "}");
    answer.logprobs = answer.token_ids = true;
    answer.fingerprint = SPAN("");
    assert_int_equal(STATUS_OK, openai_reply_whole(&answer, &piece, 1, &usage, &out));
    assert_out("{\"id\":\"cmpl-1\",\"object\":\"chat.completion\",\"created\":1700000000,"
               "\"model\":\"m\",\"system_fingerprint\":null,\"seed\":-7,\"choices\":["
               "{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"hi\",\"refusal\":"
               "null},\"logprobs\":{\"content\":[{\"token\":\"a\",\"logprob\":-0.25,\"bytes\":[97],"
               "\"top_logprobs\":[{\"token\":\"a\",\"logprob\":-0.25,\"bytes\":[97]},{\"token\":"
               "\"\xc3\xa9\",\"logprob\":-1.5,\"bytes\":[195,169]},{\"token\":\"a\",\"logprob\":"
               "-9999,\"bytes\":[97]}]}],\"refusal\":null},\"finish_reason\":\"stop\","
               "\"stop_reason\":null,\"token_ids\":[7]}],\"prompt_token_ids\":[5]," USAGE "}");
}

static void chat_with_calls(void **state)
{
    const struct openai_answer answer = answer_of(OPENAI_CHAT);
    const struct openai_call calls[] = {{0, SPAN("call_1"), SPAN("f"), SPAN("{\"x\": 1}")},
                                        {1, SPAN("call_2"), SPAN("g"), SPAN("{}")}};
    const struct openai_piece piece = {
        .calls = calls, .n_calls = 2, .finish = "tool_calls", .stop_id = OPENAI_STOP_ID_NONE};

    (void)state;
    assert_int_equal(STATUS_OK, openai_reply_whole(&answer, &piece, 1, &usage, &out));
    assert_out(HEAD("chat.completion") "{\"index\":0,\"message\":{\"role\":\"assistant\","
                                       "\"content\":null,\"refusal\":null,\"tool_calls\":["
                                       "{\"id\":\"call_1\",\"type\":\"function\",\"function\":"
                                       "{\"name\":\"f\",\"arguments\":\"{\\\"x\\\": 1}\"}},"
                                       "{\"id\":\"call_2\",\"type\":\"function\",\"function\":"
                                       "{\"name\":\"g\",\"arguments\":\"{}\"}}]},\"logprobs\":null,"
                                       "\"finish_reason\":\"tool_calls\",\"stop_reason\":null}]"
                                       "," USAGE "}");
}

/* ---- streams ---- */

static void chunk(const struct openai_answer *answer, const struct openai_piece *piece)
{
    assert_int_equal(STATUS_OK, openai_reply_chunk(answer, piece, &usage, &out));
}

#define CHUNK "data: " HEAD("chat.completion.chunk")

static void stream_of_a_chat(void **state)
{
    struct openai_answer answer = answer_of(OPENAI_CHAT);
    const struct openai_piece first = {.first = true, .text = SPAN("Hi")};
    const struct openai_piece empty = {.first = true};
    const struct openai_piece next = {.index = 2, .text = SPAN(" \"you\"")};
    const struct openai_piece last = {.finish = "stop", .stop_id = OPENAI_STOP_ID_NONE};

    (void)state;
    chunk(&answer, &first);
    assert_out(CHUNK "{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"Hi\"},"
                     "\"logprobs\":null,\"finish_reason\":null}]}\n\n");
    chunk(&answer, &empty);
    assert_out(CHUNK "{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},"
                     "\"logprobs\":null,\"finish_reason\":null}]}\n\n");
    answer.include_usage = true;
    chunk(&answer, &next);
    assert_out(CHUNK "{\"index\":2,\"delta\":{\"content\":\" \\\"you\\\"\"},\"logprobs\":null,"
                     "\"finish_reason\":null}],\"usage\":null}\n\n");
    chunk(&answer, &last);
    assert_out(CHUNK "{\"index\":0,\"delta\":{},\"logprobs\":null,\"finish_reason\":\"stop\","
                     "\"stop_reason\":null}],\"usage\":null}\n\n");
    assert_int_equal(STATUS_OK, openai_reply_usage(&answer, &usage, &out));
    assert_out(CHUNK "]," USAGE "}\n\n");
    answer.continuous_usage = true;
    chunk(&answer, &next);
    assert_out(CHUNK "{\"index\":2,\"delta\":{\"content\":\" \\\"you\\\"\"},\"logprobs\":null,"
                     "\"finish_reason\":null}]," USAGE "}\n\n");
    assert_int_equal(STATUS_OK, openai_reply_done(&out));
    assert_out("data: [DONE]\n\n");
}

static void stream_of_calls(void **state)
{
    const struct openai_answer answer = answer_of(OPENAI_CHAT);
    const struct openai_call begin = {0, SPAN("call_1"), SPAN("f"), SPAN("")};
    const struct openai_call more = {0, SPAN(""), SPAN(""), SPAN("{\"x\"")};
    const struct openai_piece first = {.first = true, .calls = &begin, .n_calls = 1};
    const struct openai_piece next = {.calls = &more, .n_calls = 1};
    const struct openai_piece both = {.text = SPAN("t"), .calls = &more, .n_calls = 1};

    (void)state;
    chunk(&answer, &first);
    assert_out(CHUNK "{\"index\":0,\"delta\":{\"role\":\"assistant\",\"tool_calls\":[{\"index\":0,"
                     "\"id\":\"call_1\",\"type\":\"function\",\"function\":{\"name\":\"f\","
                     "\"arguments\":\"\"}}]},\"logprobs\":null,\"finish_reason\":null}]}\n\n");
    chunk(&answer, &next);
    assert_out(CHUNK "{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{"
                     "\"arguments\":\"{\\\"x\\\"\"}}]},\"logprobs\":null,\"finish_reason\":null}]}"
                     "\n\n");
    chunk(&answer, &both);
    assert_out(CHUNK "{\"index\":0,\"delta\":{\"content\":\"t\",\"tool_calls\":[{\"index\":0,"
                     "\"function\":{\"arguments\":\"{\\\"x\\\"\"}}]},\"logprobs\":null,"
                     "\"finish_reason\":null}]}\n\n");
}

static void stream_of_a_completion(void **state)
{
    static const uint32_t prompt[] = {5, 6};
    struct openai_answer answer = answer_of(OPENAI_COMPLETIONS);
    struct openai_piece piece = {.first = true,
                                 .text = SPAN("a"),
                                 .tokens = tokens,
                                 .n_tokens = 1,
                                 .prompt_ids = {prompt, 2}};

    (void)state;
    answer.logprobs = answer.token_ids = true;
    chunk(&answer, &piece);
    assert_out("data: " HEAD(
        "text_completion") "{\"index\":0,\"text\":\"a\",\"logprobs\":{\"tokens\":[\"a\"],"
                           "\"token_logprobs\":[-0.25],\"top_logprobs\":[{\"a\":-0.25,"
                           "\"\xc3\xa9\":-1.5}],\"text_offset\":[0]},\"finish_reason\":null,"
                           "\"prompt_token_ids\":[5,6],\"token_ids\":[7]}]}\n\n");
    piece = (struct openai_piece){.finish = "length", .stop_id = OPENAI_STOP_ID_NONE};
    chunk(&answer, &piece);
    assert_out("data: " HEAD(
        "text_completion") "{\"index\":0,\"text\":\"\",\"logprobs\":null,\"finish_reason\":"
                           "\"length\",\"stop_reason\":null,\"token_ids\":[]}]}\n\n");
    answer.api = OPENAI_CHAT;
    answer.logprobs = false;
    piece = (struct openai_piece){.first = true, .prompt_ids = {prompt, 2}};
    chunk(&answer, &piece);
    assert_out(CHUNK "{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},"
                     "\"logprobs\":null,\"finish_reason\":null,\"token_ids\":[]}],"
                     "\"prompt_token_ids\":[5,6]}\n\n");
}

static void ids(void **state)
{
    struct openai_request req = {.api = OPENAI_CHAT};
    char label[WIRE_NAME_MAX], id[OPENAI_ID_MAX];
    struct wire_id bytes = {{0x01, 0xab}};

    (void)state;
    openai_id_write(&req, &bytes, id);
    assert_string_equal("chatcmpl-01ab0000000000000000000000000000", id);
    req.api = OPENAI_COMPLETIONS;
    memset(label, 'x', sizeof(label));
    req.request_id = (struct wire_span){label, sizeof(label)};
    openai_id_write(&req, &bytes, id);
    assert_int_equal(5 + WIRE_NAME_MAX, strlen(id));
    assert_memory_equal("cmpl-xxx", id, 8);
}

/* ---- errors and small answers ---- */

static void errors(void **state)
{
    static const struct {
        enum status status;
        int http;
        const char *type, *code;
        uint32_t retry_s;
    } cases[] = {
        {STATUS_INVALID, 400, "invalid_request_error", "invalid_value", 0},
        {STATUS_TOO_BIG, 400, "invalid_request_error", "context_length_exceeded", 0},
        {STATUS_DENIED, 401, "invalid_request_error", "invalid_api_key", 0},
        {STATUS_NOT_FOUND, 404, "invalid_request_error", "model_not_found", 0},
        {STATUS_FULL, 429, "rate_limit_error", "rate_limit_exceeded", 3},
        {STATUS_DRAINING, 503, "server_error", "shutting_down", 3},
        {STATUS_LOST, 503, "server_error", "unavailable", 3},
        {STATUS_MISMATCH, 500, "server_error", "kv_mismatch", 0},
        {STATUS_INTERNAL, 500, "server_error", "internal_error", 0},
    };
    struct openai_error error;

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        openai_error_of_status(cases[i].status, SPAN("why"), 2001, &error);
        assert_int_equal(cases[i].http, error.http);
        assert_string_equal(cases[i].type, error.type);
        assert_string_equal(cases[i].code, error.code);
        assert_int_equal(cases[i].retry_s, error.retry_s);
        assert_string_equal("why", error.message);
    }
    openai_error_of_status(STATUS_FULL, SPAN(""), 0, &error);
    assert_int_equal(1, error.retry_s);
    assert_string_equal("no room now", error.message);
    openai_error_set(&error, 413, "request_too_large", "prompt", "%d \"bytes\"", 9);
    assert_int_equal(STATUS_OK, openai_error_body(&error, &out));
    assert_out("{\"error\":{\"message\":\"9 \\\"bytes\\\"\",\"type\":\"invalid_request_error\","
               "\"param\":\"prompt\",\"code\":\"request_too_large\"}}");
    openai_error_of_status(STATUS_LOST, SPAN("node \xff"), 0, &error);
    assert_int_equal(STATUS_OK, openai_error_event(&error, &out));
    assert_out("data: {\"error\":{\"message\":\"node \xef\xbf\xbd\",\"type\":\"server_error\","
               "\"param\":null,\"code\":\"unavailable\"}}\n\n");
}

static void small_answers(void **state)
{
    static const uint32_t id_list[] = {0, 4294967295};
    const struct wire_span strs[] = {SPAN("a"), SPAN("\t")};
    const struct openai_model model = {SPAN("m"), SPAN("/models/\"m\""), 1700000000, 4096};

    (void)state;
    assert_int_equal(STATUS_OK, openai_info_models(&model, 1, &out));
    assert_out("{\"object\":\"list\",\"data\":[{\"id\":\"m\",\"object\":\"model\",\"created\":"
               "1700000000,\"owned_by\":\"baton\",\"root\":\"/models/\\\"m\\\"\",\"parent\":null,"
               "\"max_model_len\":4096}]}");
    assert_int_equal(STATUS_OK, openai_info_models(NULL, 0, &out));
    assert_out("{\"object\":\"list\",\"data\":[]}");
    assert_int_equal(STATUS_OK, openai_info_model(&model, &out));
    assert_out("{\"id\":\"m\",\"object\":\"model\",\"created\":1700000000,\"owned_by\":\"baton\","
               "\"root\":\"/models/\\\"m\\\"\",\"parent\":null,\"max_model_len\":4096}");
    assert_int_equal(STATUS_OK, openai_info_tokenized((struct wire_u32s){id_list, 2},
                                                      (struct wire_texts){strs, 2}, 9, &out));
    assert_out("{\"count\":2,\"max_model_len\":9,\"tokens\":[0,4294967295],\"token_strs\":[\"a\","
               "\"\\t\"]}");
    assert_int_equal(STATUS_OK,
                     openai_info_tokenized((struct wire_u32s){0}, (struct wire_texts){0}, 9, &out));
    assert_out("{\"count\":0,\"max_model_len\":9,\"tokens\":[],\"token_strs\":null}");
    assert_int_equal(STATUS_OK, openai_info_detokenized(SPAN("a\\b"), &out));
    assert_out("{\"prompt\":\"a\\\\b\"}");
    assert_int_equal(STATUS_OK, openai_info_version("0.1", &out));
    assert_out("{\"version\":\"0.1\"}");
}

/* ---- the writer ---- */

static void texts_are_escaped(void **state)
{
    static const struct {
        struct wire_span text;
        const char *json;
        size_t chars;
    } cases[] = {
        {SPAN("\"\\/\b\f\n\r\t"), "\\\"\\\\/\\b\\f\\n\\r\\t", 8},
        {SPAN("\x01\x1f\x7f\0"), "\\u0001\\u001f\x7f\\u0000", 4},
        {SPAN("\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"), "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", 3},
        {SPAN("\xc3"), "\xef\xbf\xbd", 1},                 /* cut off */
        {SPAN("\xe2\x82x"), "\xef\xbf\xbdx", 2},           /* cut off, then a letter */
        {SPAN("\xf0\x9f\x98"), "\xef\xbf\xbd", 1},         /* one wrong part */
        {SPAN("\x80\xbf"), "\xef\xbf\xbd\xef\xbf\xbd", 2}, /* no head */
        {SPAN("\xc0\xaf"), "\xef\xbf\xbd\xef\xbf\xbd", 2}, /* overlong */
        {SPAN("\xe0\x80\x80"), "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd", 3},
        {SPAN("\xed\xa0\x80"), "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd", 3}, /* a surrogate */
        {SPAN("\xf4\x90\x80\x80"), "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd", 4},
        {SPAN("\xf5\xff"), "\xef\xbf\xbd\xef\xbf\xbd", 2},
        {SPAN("\xef\xbf\xbf\xee\x80\x80"), "\xef\xbf\xbf\xee\x80\x80", 2},
    };
    char expected[128];

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(STATUS_OK, openai_info_detokenized(cases[i].text, &out));
        snprintf(expected, sizeof(expected), "{\"prompt\":\"%s\"}", cases[i].json);
        assert_out(expected);
        assert_int_equal(cases[i].chars, pen_chars(cases[i].text));
    }
}

/* Whatever goes in, jansson reads it back; and what was UTF-8 comes back as it was. */
static void random_bytes_are_json(void **state)
{
    struct rand rng;
    uint8_t bytes[64];

    (void)state;
    rand_init(&rng, 5);
    for (int round = 0; round < 20000; round++) {
        const size_t len = rand_below(&rng, sizeof(bytes));
        const struct wire_span text = {(const char *)bytes, len};
        json_t *json, *direct;
        const json_t *value;

        rand_bytes(&rng, bytes, len);
        for (size_t i = 0; i < len && round % 2; i++) {
            bytes[i] &= 0x7F; /* half of them ASCII */
        }
        buf_clear(&out);
        assert_int_equal(STATUS_OK, openai_info_detokenized(text, &out));
        json = json_loadb((const char *)buf_data(&out), buf_len(&out), JSON_ALLOW_NUL, NULL);
        assert_non_null(json);
        value = json_object_get(json, "prompt");
        direct = json_stringn(text.at, text.len); /* NULL if it is no UTF-8 */
        assert_true(direct == NULL || json_equal(direct, value));
        assert_true(round % 2 == 0 || direct != NULL);
        json_decref(direct);
        json_decref(json);
    }
}

static void write_f64(struct json_pen *pen, const void *what)
{
    pen_f64(pen, *(const double *)what);
}

static void numbers_come_back(void **state)
{
    static const double cases[] = {0, -0.0, 0.1, -1e-300, 1e300, DBL_MAX, DBL_MIN, 5e-324, -9999};
    struct rand rng;
    double value;

    (void)state;
    rand_init(&rng, 6);
    for (int i = 0; i < 20000; i++) {
        const uint64_t bits = rand_u64(&rng);

        memcpy(&value, &bits, sizeof(value));
        if (i < 9) {
            value = cases[i];
        }
        if (!isfinite(value)) {
            continue;
        }
        assert_int_equal(STATUS_OK, pen_append(&out, write_f64, &value));
        json_t *json = json_loads(buf_text(&out), JSON_DECODE_ANY, NULL);
        assert_non_null(json);
        assert_true(json_number_value(json) == value);
        json_decref(json);
        buf_clear(&out);
    }
    value = NAN;
    assert_int_equal(STATUS_OK, pen_append(&out, write_f64, &value));
    assert_out("null");
    value = -HUGE_VAL;
    assert_int_equal(STATUS_OK, pen_append(&out, write_f64, &value));
    assert_out("-1.7976931348623157e+308");
}

/* An answer that does not fit leaves nothing behind. */
static void all_or_nothing(void **state)
{
    const struct openai_answer answer = answer_of(OPENAI_CHAT);
    const struct openai_piece piece = {.first = true, .text = SPAN("Hi")};
    struct buf small;
    size_t limit = 0;

    (void)state;
    chunk(&answer, &piece);
    for (enum status status = STATUS_TOO_BIG; status != STATUS_OK; limit++) {
        buf_init(&small, limit);
        status = openai_reply_chunk(&answer, &piece, NULL, &small);
        assert_true(status == STATUS_OK || status == STATUS_TOO_BIG);
        assert_int_equal(status == STATUS_OK ? buf_len(&out) : 0, buf_len(&small));
        buf_fini(&small);
    }
    assert_int_equal(buf_len(&out) + 1, limit);
    buf_init(&small, 4096);
    mem_fail_after(0);
    assert_int_equal(STATUS_NO_MEMORY, openai_reply_chunk(&answer, &piece, NULL, &small));
    mem_fail_after(MEM_FAIL_NEVER);
    assert_int_equal(0, buf_len(&small));
    buf_fini(&small);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        TEST(completion),
        TEST(completion_with_logprobs),
        TEST(chat),
        TEST(chat_with_calls),
        TEST(stream_of_a_chat),
        TEST(stream_of_calls),
        TEST(stream_of_a_completion),
        TEST(ids),
        TEST(errors),
        TEST(small_answers),
        TEST(texts_are_escaped),
        TEST(random_bytes_are_json),
        TEST(numbers_come_back),
        TEST(all_or_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
