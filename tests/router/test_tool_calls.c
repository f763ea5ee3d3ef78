/* Tool calls: what becomes a call, what stays content, and that no cut of the text changes it. An
 * answer is written down as one line: content as it is, a call as {index name id|arguments}, a
 * broken one (told early) as {index name id|arguments!raw}. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/mem.h"
#include "base/rand.h"
#include "router/tool_calls.h"
#include "router/tool_json.h"

#define LINE_MAX (1u << 20)

struct line {
    char text[LINE_MAX];
    size_t len;
    bool in_call;
};

static void put(struct line *line, const char *text, size_t len)
{
    assert_true(line->len + len < LINE_MAX);
    if (len > 0)
        memcpy(line->text + line->len, text, len);
    line->len += len;
    line->text[line->len] = '\0';
}

static void on_event(void *ctx, const struct tool_event *event)
{
    struct line *line = ctx;
    char head[16];

    assert_int_equal(line->in_call, event->kind != TOOL_CONTENT && event->kind != TOOL_CALL_BEGIN);
    switch (event->kind) {
    case TOOL_CONTENT:
    case TOOL_CALL_ARGS:
        put(line, event->text, event->len);
        break;
    case TOOL_CALL_BEGIN:
        put(line, head, (size_t)snprintf(head, sizeof(head), "{%u ", event->index));
        put(line, event->text, event->len);
        put(line, " ", 1);
        put(line, event->id, event->id_len);
        put(line, "|", 1);
        line->in_call = true;
        break;
    case TOOL_CALL_BROKEN:
        put(line, "!", 1);
        put(line, event->text, event->len);
        /* fall through */
    case TOOL_CALL_END:
        put(line, "}", 1);
        line->in_call = false;
        break;
    }
}

/* Pushes the parts that `cuts` [n_cuts], ascending, make of it. */
static void parse(enum tool_style style, bool early, const char *text, size_t len,
                  const size_t *cuts, size_t n_cuts, struct line *out)
{
    struct tool_calls *calls;
    size_t at = 0;

    out->len = 0;
    out->text[0] = '\0';
    out->in_call = false;
    assert_int_equal(tool_calls_create(style, early, on_event, out, &calls), STATUS_OK);
    for (size_t i = 0; i <= n_cuts; i++) {
        const size_t end = i < n_cuts ? cuts[i] : len;

        assert_int_equal(tool_calls_push(calls, text + at, end - at), STATUS_OK);
        at = end;
    }
    tool_calls_finish(calls);
    assert_false(out->in_call);
    tool_calls_destroy(calls);
}

static struct line whole, cut;

/* As a whole, cut at each place, and byte by byte. */
static void expect(enum tool_style style, bool early, const char *text, const char *expected)
{
    const size_t len = strlen(text);
    size_t cuts[4096];

    assert_true(len < 4096);
    parse(style, early, text, len, NULL, 0, &whole);
    assert_string_equal(whole.text, expected);
    for (size_t i = 0; i <= len; i++) {
        parse(style, early, text, len, &i, 1, &cut);
        assert_string_equal(cut.text, expected);
        cuts[i] = i;
    }
    parse(style, early, text, len, cuts, len, &cut);
    assert_string_equal(cut.text, expected);
}

struct row {
    const char *text, *expected; /* NULL: all of it is content */
};

static void expect_rows(enum tool_style style, const struct row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++)
        expect(style, false, rows[i].text, rows[i].expected ? rows[i].expected : rows[i].text);
}

#define EXPECT_ROWS(style, rows) expect_rows(style, rows, sizeof(rows) / sizeof((rows)[0]))

/* ---- the styles ---- */

static void hermes(void **state)
{
    static const struct row rows[] = {
        {"", ""},
        {"Just an answer.\n", NULL},
        {" \n ", NULL},
        {"<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": 1}}\n</tool_call>",
         "{0 f |{\"a\": 1}}"},
        {"\n<tool_call>{\"arguments\":{ },\"name\":\"f\"}</tool_call>\n", "{0 f |{ }}"},
        {"Let me see.\n<tool_call>{\"name\":\"f\",\"arguments\":{}}</tool_call>\n"
         "<tool_call>\n{\"name\":\"g\",\"arguments\":{\"x\":[1,{\"y\":null}]}}\n</tool_call> \n",
         "Let me see.\n{0 f |{}}{1 g |{\"x\":[1,{\"y\":null}]}}"},
        {"<tool_call>{\"name\":\"f\",\"arguments\":{}}</tool_call>\n then text",
         "{0 f |{}}\n then text"},
        /* braces, quotes and marks in strings */
        {"<tool_call>{\"name\":\"f\",\"arguments\":{\"c\":\"} ] \\\" \\\\\\\" </tool_call> "
         "<tool_call>{\"}}</tool_call>",
         "{0 f |{\"c\":\"} ] \\\" \\\\\\\" </tool_call> <tool_call>{\"}}"},
        {"<tool_call>{\"name\":\"caf\\u00e9\\ud83d\\ude00\",\"arguments\":{\"k\":\"\u00fc\u65e5"
         "\"}}</tool_call>",
         "{0 caf\u00e9\U0001f600 |{\"k\":\"\u00fc\u65e5\"}}"},
        {"<tool_call>{\"name\":\"f\",\"id\":\"c1\",\"n\":-1.5e3,\"arguments\":{}}</tool_call>",
         "{0 f c1|{}}"},
        /* no arguments are empty ones */
        {"<tool_call>{\"name\":\"f\"}</tool_call>", "{0 f |{}}"},
        {"<tool_call>{\"name\":\"f\",\"arguments\":null}</tool_call>", "{0 f |{}}"},
        /* the closing mark may have stopped the model */
        {"<tool_call>{\"name\":\"f\",\"arguments\":{}}\n", "{0 f |{}}"},
        {"<tool_call>{\"name\":\"f\",\"arguments\":{}}</tool", "{0 f |{}}"},
        /* no calls */
        {"<tool_call>", NULL},
        {"  <tool_call>\n{\"name\":\"f\",\"arguments\":{\"a\":", NULL},
        {"<tool_call>{\"name\":\"f\",\"arguments\":{}}x</tool_call>", NULL},
        {"<tool_call>{\"name\":\"f\",\"arguments\":{\"a\":01}}</tool_call>", NULL},
        {"<tool_call>{\"name\":\"f\",\"arguments\":{\"a\":\"\n\"}}</tool_call>", NULL},
        {"<tool_call>{\"name\":\"f\",\"arguments\":{\"a\":1,}}</tool_call>", NULL},
        {"<tool_call>{\"name\":\"f\",\"arguments\":{]}}</tool_call>", NULL},
        {"<tool_call>{\"name\":\"f\",\"arguments\":\"{}\"}</tool_call>", NULL},
        {"<tool_call>{\"name\":\"f\",\"name\":\"g\",\"arguments\":{}}</tool_call>", NULL},
        {"<tool_call>{\"name\":\"f\",\"arguments\":{},\"parameters\":{}}</tool_call>", NULL},
        {"<tool_call>{\"name\":\"\",\"arguments\":{}}</tool_call>", NULL},
        {"<tool_call>{\"name\":\"\\ud83d\",\"arguments\":{}}</tool_call>", NULL},
        {"<tool_call>{\"name\":\"a\\nb\",\"arguments\":{}}</tool_call>", NULL},
        {"<tool_call>{\"name\":7,\"arguments\":{}}</tool_call>", NULL},
        {"<tool_call>{\"arguments\":{}}</tool_call>", NULL},
        {"<tool_call>f(1)</tool_call> <tool_cal <tool<tool_", NULL},
        {"<tool_call>{}}</tool_call>", NULL},
        /* and a good one behind a bad one */
        {"<tool_call>oops <tool_call>{\"name\":\"f\",\"arguments\":{}}</tool_call>",
         "<tool_call>oops {0 f |{}}"},
        {"<tool_call><tool_call>{\"name\":\"f\",\"arguments\":{}}</tool_call>",
         "<tool_call>{0 f |{}}"},
        {"<<tool_call>{\"name\":\"f\",\"arguments\":{}}</tool_call>", "<{0 f |{}}"},
    };

    (void)state;
    EXPECT_ROWS(TOOL_STYLE_HERMES, rows);
}

static void llama(void **state)
{
    static const struct row rows[] = {
        {"{\"name\": \"f\", \"parameters\": {\"a\": \"b\"}}", "{0 f |{\"a\": \"b\"}}"},
        {"\n\n{\"type\":\"function\",\"name\":\"f\",\"parameters\":{}}", "{0 f |{}}"},
        {"<|python_tag|>{\"name\": \"f\", \"parameters\": {}}", "{0 f |{}}"},
        {"Well: <|python_tag|>{\"name\": \"f\", \"arguments\": {}}", "Well: {0 f |{}}"},
        {"{\"name\":\"f\",\"parameters\":{}}; {\"name\":\"g\",\"parameters\":{}}\n",
         "{0 f |{}}{1 g |{}}"},
        {"{\"name\":\"f\",\"parameters\":{}}<|python_tag|>{\"name\":\"g\"}", "{0 f |{}}{1 g |{}}"},
        {"{\"name\":\"f\",\"parameters\":{}} is what I would call",
         "{0 f |{}} is what I would call"},
        {"{\"name\":\"f\",\"parameters\":{}} ; no", "{0 f |{}} ; no"},
        {"{\"name\":\"f\",\"parameters\":{}} ;", "{0 f |{}} ;"},
        /* JSON that is an answer */
        {"{\"name\": \"Ada\", \"age\": 36}", NULL},
        {"{\"name\": \"Ada\"}", NULL},
        {"{\"parameters\": {}}", NULL},
        {"{\"name\":\"f\",\"parameters\":null}", NULL},
        {"Here: {\"name\":\"f\",\"parameters\":{}}", NULL},
        {"{{\"name\":\"f\",\"parameters\":{}}", NULL},
        {"{\"a\":1} {\"name\":\"f\",\"parameters\":{}}", NULL},
        {"[{\"name\":\"f\",\"parameters\":{}}]", NULL},
        {"<|python_tag|>brave_search.call(query=\"x\")", NULL},
        {"<|python_tag|>print(1)", NULL},
        {"<|python_tag|", NULL},
    };

    (void)state;
    EXPECT_ROWS(TOOL_STYLE_LLAMA, rows);
}

static void mistral(void **state)
{
    static const struct row rows[] = {
        {"[TOOL_CALLS][{\"name\": \"f\", \"arguments\": {\"a\": 1}, \"id\": \"abc123def\"}]",
         "{0 f abc123def|{\"a\": 1}}"},
        {"[TOOL_CALLS] [{\"name\":\"f\",\"arguments\":{}} , {\"name\":\"g\",\"arguments\":{}}] ",
         "{0 f |{}}{1 g |{}}"},
        {"[TOOL_CALLS] {\"name\":\"f\",\"arguments\":{}}", "{0 f |{}}"},
        {"[TOOL_CALLS]f{\"a\": \"[ARGS]}\"}", "{0 f |{\"a\": \"[ARGS]}\"}}"},
        {"[TOOL_CALLS]get.it-now_2 {}[TOOL_CALLS]g[ARGS]{}", "{0 get.it-now_2 |{}}{1 g |{}}"},
        {"So:[TOOL_CALLS]f[CALL_ID]abc123def[ARGS]{\"a\":1}", "So:{0 f abc123def|{\"a\":1}}"},
        {"[TOOL_CALLS]f{} and more", "{0 f |{}} and more"},
        /* the list breaks behind a good call: the rest is content */
        {"[TOOL_CALLS][{\"name\":\"f\",\"arguments\":{}}, {\"name\":\"g\"; x]",
         "{0 f |{}}, {\"name\":\"g\"; x]"},
        {"[TOOL_CALLS][{\"name\":\"f\",\"arguments\":{}}", "{0 f |{}}"},
        {"[TOOL_CALLS][{\"name\":\"f\",\"arguments\":{}},", "{0 f |{}},"},
        {"[TOOL_CALLS][{\"name\":\"f\",\"arguments\":{}},]", "{0 f |{}},]"},
        /* no calls */
        {"[TOOL_CALLS][]", NULL},
        {"[TOOL_CALLS][1]", NULL},
        {"[TOOL_CALLS]f", NULL},
        {"[TOOL_CALLS]f g{}", NULL},
        {"[TOOL_CALLS]f[ARGS]", NULL},
        {"[TOOL_CALLS]f[ARGS][ARGS]{}", NULL},
        {"[TOOL_CALLS]f[CALL_ID][ARGS]{}", NULL},
        {"[TOOL_CALLS]f[ARGS][CALL_ID]a{}", NULL},
        {"[TOOL_CALLS]f[NO]{}", NULL},
        {"[TOOL_CALLS]f{\"a\":tru}", NULL},
        {"[TOOL_CALLS]{}", NULL},
        {"[TOOL_CALLS]\u00e9{}", NULL},
        {"[{\"name\":\"f\",\"arguments\":{}}]", NULL},
        /* what stands in a broken call's strings is nobody's call */
        {"[TOOL_CALLS]f{\"a\":\"[TOOL_CALLS]g{}\", bad", NULL},
    };

    (void)state;
    EXPECT_ROWS(TOOL_STYLE_MISTRAL, rows);
}

static void told_early(void **state)
{
    (void)state;
    expect(TOOL_STYLE_HERMES, true,
           "<tool_call>{\"name\":\"f\",\"arguments\":{\"a\":1}}</tool_call>", "{0 f |{\"a\":1}}");
    expect(TOOL_STYLE_HERMES, true,
           "<tool_call>{\"arguments\":{\"a\":1},\"id\":\"i\",\"name\":\"f\"}</tool_call>",
           "{0 f i|{\"a\":1}}");
    expect(TOOL_STYLE_MISTRAL, true, "[TOOL_CALLS]f[CALL_ID]i[ARGS]{\"a\":1}[TOOL_CALLS]g{}",
           "{0 f i|{\"a\":1}}{1 g |{}}");
    expect(TOOL_STYLE_HERMES, true, "a <tool_call>{\"name\":\"f\",\"arguments\":{\"a\":\"b",
           "a {0 f |{\"a\":\"b!<tool_call>{\"name\":\"f\",\"arguments\":{\"a\":\"b}");
    expect(TOOL_STYLE_HERMES, true, "<tool_call>{\"name\":\"f\",\"arguments\":{\"a\":x",
           "{0 f |{\"a\":!<tool_call>{\"name\":\"f\",\"arguments\":{\"a\":}x");
    expect(TOOL_STYLE_LLAMA, true, "{\"name\":\"f\",\"parameters\":{},\"age\":1} {",
           "{0 f |{}!{\"name\":\"f\",\"parameters\":{},\"age}\":1} {");
    expect(TOOL_STYLE_HERMES, true, "<tool_call>{\"name\":\"f\",\"arg", /* no arguments yet */
           "<tool_call>{\"name\":\"f\",\"arg");
}

static void streams_arguments(void **state)
{
    struct tool_calls *calls;

    (void)state;
    whole.len = 0;
    whole.in_call = false;
    assert_int_equal(tool_calls_create(TOOL_STYLE_HERMES, true, on_event, &whole, &calls),
                     STATUS_OK);
    assert_int_equal(tool_calls_push(calls, "Hi<tool_call>{\"name\":\"f\",", 25), STATUS_OK);
    assert_string_equal(whole.text, "Hi");
    assert_int_equal(tool_calls_push(calls, "\"arguments\":{\"a\":", 17), STATUS_OK);
    assert_string_equal(whole.text, "Hi{0 f |{\"a\":");
    assert_int_equal(tool_calls_push(calls, "[1,", 3), STATUS_OK);
    assert_string_equal(whole.text, "Hi{0 f |{\"a\":[1,");
    assert_int_equal(tool_calls_push(calls, "2]}}</tool_call>", 16), STATUS_OK);
    assert_string_equal(whole.text, "Hi{0 f |{\"a\":[1,2]}}");
    assert_int_equal(tool_calls_n(calls), 1);
    tool_calls_destroy(calls);
}

/* ---- limits ---- */

static void only_so_many_calls(void **state)
{
    static const char call[] = "[TOOL_CALLS]f{}", item[] = "{\"name\":\"f\",\"arguments\":{}},";
    static char text[LINE_MAX], tail[4096];

    (void)state;
    text[0] = tail[0] = '\0';
    for (size_t i = 0; i < TOOL_CALLS_MAX + 2; i++)
        strcat(text, call);
    parse(TOOL_STYLE_MISTRAL, false, text, strlen(text), NULL, 0, &whole);
    assert_non_null(strstr(whole.text, "{63 f |{}}[TOOL_CALLS]f{}[TOOL_CALLS]f{}"));
    strcpy(text, "[TOOL_CALLS][");
    for (size_t i = 0; i < TOOL_CALLS_MAX + 1; i++)
        strcat(text, item);
    parse(TOOL_STYLE_MISTRAL, false, text, strlen(text), NULL, 0, &whole);
    snprintf(tail, sizeof(tail), "{63 f |{}},%s", item);
    assert_non_null(strstr(whole.text, tail));
}

/* A call of just the limit, and one that is longer by a byte. */
static void only_so_long(void **state)
{
    static const char head[] = "<tool_call>{\"name\":\"f\",\"arguments\":{\"a\":\"";
    static const char end[] = "\"}}</tool_call>";
    static char text[TOOL_CALL_BYTES_MAX + 2];
    const size_t n_head = strlen(head), n_end = strlen(end);

    (void)state;
    for (size_t more = 0; more < 2; more++) {
        const size_t len = TOOL_CALL_BYTES_MAX + more;
        const size_t cuts[] = {1000, 100000, len - 5};

        memset(text, 'x', len);
        memcpy(text, head, n_head);
        memcpy(text + len - n_end, end, n_end + 1);
        parse(TOOL_STYLE_HERMES, false, text, len, NULL, 0, &whole);
        assert_int_equal(strncmp(whole.text, "{0 f |", 6) == 0, more == 0);
        if (more)
            assert_string_equal(whole.text, text);
        parse(TOOL_STYLE_HERMES, false, text, len, cuts, 3, &cut);
        assert_string_equal(cut.text, whole.text);
        parse(TOOL_STYLE_HERMES, true, text, len, NULL, 0, &whole);
        parse(TOOL_STYLE_HERMES, true, text, len, cuts, 3, &cut);
        assert_string_equal(cut.text, whole.text);
    }
}

/* Blanks wait for a call behind them, but not for ever. */
static void only_so_many_blanks(void **state)
{
    char text[TOOL_BLANKS_MAX + 1];
    struct tool_calls *calls;

    (void)state;
    memset(text, ' ', sizeof(text));
    whole.len = 0;
    whole.text[0] = '\0';
    whole.in_call = false;
    assert_int_equal(tool_calls_create(TOOL_STYLE_HERMES, false, on_event, &whole, &calls),
                     STATUS_OK);
    assert_int_equal(tool_calls_push(calls, text, TOOL_BLANKS_MAX), STATUS_OK);
    assert_int_equal(whole.len, 0);
    assert_int_equal(tool_calls_push(calls, text, 1), STATUS_OK);
    assert_int_equal(whole.len, TOOL_BLANKS_MAX + 1);
    tool_calls_destroy(calls);
}

static void out_of_memory(void **state)
{
    struct tool_calls *calls;

    (void)state;
    mem_fail_after(0);
    assert_int_equal(tool_calls_create(TOOL_STYLE_LLAMA, false, on_event, &whole, &calls),
                     STATUS_NO_MEMORY);
    mem_fail_after(1);
    assert_int_equal(tool_calls_create(TOOL_STYLE_LLAMA, false, on_event, &whole, &calls),
                     STATUS_OK);
    assert_int_equal(tool_calls_push(calls, "x", 1), STATUS_NO_MEMORY);
    mem_fail_after(MEM_FAIL_NEVER);
    tool_calls_destroy(calls);
}

/* ---- random ---- */

/* A text of fragments that are near calls. */
static size_t random_text(struct rand *rng, char *out)
{
    static const char *const parts[] = {"<tool_call>",
                                        "</tool_call>",
                                        "<|python_tag|>",
                                        "[TOOL_CALLS]",
                                        "[ARGS]",
                                        "[CALL_ID]",
                                        "{\"name\":\"f\",\"arguments\":{}}",
                                        "{\"name\":\"g\",\"parameters\":{\"a\":[1]}}",
                                        "\"name\":",
                                        "\"arguments\":",
                                        "\"f\"",
                                        "{",
                                        "}",
                                        "[",
                                        "]",
                                        ",",
                                        ":",
                                        ";",
                                        " ",
                                        "\n",
                                        "\"",
                                        "\\",
                                        "f",
                                        "1",
                                        "true",
                                        "-0.5e+3",
                                        "{}",
                                        "\\u00e9",
                                        "\u00e9",
                                        "<",
                                        "\"id\":\"x\","};
    const size_t n = rand_below(rng, 14);
    size_t len = 0;

    for (size_t i = 0; i < n; i++) {
        const char *part = parts[rand_below(rng, sizeof(parts) / sizeof(parts[0]))];

        memcpy(out + len, part, strlen(part));
        len += strlen(part);
    }
    out[len] = '\0';
    return len;
}

static void random_texts(void **state)
{
    char text[1024];
    struct rand rng;
    size_t n_with_calls = 0;

    (void)state;
    rand_init(&rng, 1);
    for (size_t i = 0; i < 100000; i++) {
        const enum tool_style style = (enum tool_style)(1 + rand_below(&rng, 3));
        const size_t len = random_text(&rng, text);
        const bool early = rand_below(&rng, 2);
        size_t cuts[1024], n_cuts = 0;

        for (size_t at = 0; at < len; at += 1 + rand_below(&rng, 9))
            cuts[n_cuts++] = at;
        parse(style, early, text, len, NULL, 0, &whole);
        parse(style, early, text, len, cuts, n_cuts, &cut);
        assert_string_equal(cut.text, whole.text);
        if (strstr(whole.text, "{0 "))
            n_with_calls++;
        else
            assert_string_equal(whole.text, text); /* nothing is lost */
    }
    print_message("%zu of 100000 texts had calls\n", n_with_calls);
    assert_true(n_with_calls > 2000);
    assert_int_equal(mem_live(), 0);
}

/* Where the first value of the text ends: its length, or 0 for none. */
static size_t json_end(const char *text, size_t len)
{
    struct tool_json json;

    tool_json_init(&json);
    for (size_t i = 0; i < len; i++) {
        const enum tool_json_result result = tool_json_step(&json, (uint8_t)text[i]);

        if (result == TOOL_JSON_DONE)
            return i + 1;
        if (result == TOOL_JSON_BEFORE)
            return i;
        if (result == TOOL_JSON_BAD)
            return 0;
    }
    return 0;
}

/* The checker against jansson, on texts that both must read alike. */
static void json_as_jansson(void **state)
{
    static const char *const parts[] = {
        "{",       "}",   "[",       "]",       ",",   ":",   "\"a\"", "\"\\n\\u00e9\"",
        "\"b\"",   "1",   "-0",      "-2.5e-3", "0.1", "1e5", "true",  "false",
        "null",    " ",   "\n",      "\"",      "tru", "01",  "-",     ".",
        "{\"a\":", "[1,", "\"\\x\"", "\"\t\""};
    size_t n_good = 0;
    struct rand rng;

    (void)state;
    rand_init(&rng, 2);
    for (size_t i = 0; i < 300000; i++) {
        const size_t n = 1 + rand_below(&rng, 9);
        char text[256] = "[";
        json_error_t error;
        json_t *value;
        size_t end;

        for (size_t k = 0; k < n; k++)
            strcat(text, parts[rand_below(&rng, sizeof(parts) / sizeof(parts[0]))]);
        strcat(text, "]");
        value = json_loads(text, JSON_DISABLE_EOF_CHECK, &error);
        end = json_end(text, strlen(text));
        if (!value && strstr(error.text, "overflow"))
            continue; /* of a double, which is no matter of syntax */
        if ((value != NULL) != (end > 0) || (value && (size_t)error.position != end))
            fail_msg("%s: %zu, jansson %s %d", text, end, value ? "good" : error.text,
                     error.position);
        n_good += value != NULL;
        json_decref(value);
    }
    assert_true(n_good > 10000);
}

static void json_depth(void **state)
{
    char text[2 * TOOL_JSON_DEPTH_MAX + 3];

    (void)state;
    memset(text, '[', TOOL_JSON_DEPTH_MAX);
    memset(text + TOOL_JSON_DEPTH_MAX, ']', TOOL_JSON_DEPTH_MAX);
    assert_int_equal(json_end(text, 2 * TOOL_JSON_DEPTH_MAX), 2 * TOOL_JSON_DEPTH_MAX);
    memset(text, '[', TOOL_JSON_DEPTH_MAX + 1);
    memset(text + TOOL_JSON_DEPTH_MAX + 1, ']', TOOL_JSON_DEPTH_MAX + 1);
    assert_int_equal(json_end(text, 2 * TOOL_JSON_DEPTH_MAX + 2), 0);
    assert_int_equal(json_end("42 ", 3), 2);
    assert_int_equal(json_end(" {\"a\":1}", 8), 8);
}

/* ---- styles and ids ---- */

static void styles(void **state)
{
    static const struct {
        const char *source;
        enum tool_style style;
    } rows[] = {
        {"{{ messages }}", TOOL_STYLE_NONE},
        {"{{ '<tool_call>\\n{\"name\": <function-name>' }}", TOOL_STYLE_HERMES},
        {"<tool_call>\\n<function=example>", TOOL_STYLE_NONE},
        {"<tool_call>{name}<arg_key>", TOOL_STYLE_NONE},
        {"{{- '[TOOL_CALLS][' }}", TOOL_STYLE_MISTRAL},
        {"{{- '<|python_tag|>' + x }}", TOOL_STYLE_LLAMA},
        {"{\"name\": function name, \"parameters\": dictionary of argument name", TOOL_STYLE_LLAMA},
    };
    enum tool_style style;
    char id[TOOL_ID_MAX + 1];
    uint8_t random[16];

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        assert_int_equal(tool_style_of_template(rows[i].source, strlen(rows[i].source)),
                         rows[i].style);
    assert_int_equal(tool_style_named("qwen", &style), STATUS_OK);
    assert_int_equal(style, TOOL_STYLE_HERMES);
    assert_int_equal(tool_style_named("gpt", &style), STATUS_NOT_FOUND);
    memset(random, 0xff, sizeof(random));
    tool_id_write(TOOL_STYLE_MISTRAL, random, id);
    assert_string_equal(id, "VVVVVVVVV");
    random[0] = 0x21;
    random[15] = 0;
    tool_id_write(TOOL_STYLE_HERMES, random, id);
    assert_string_equal(id, "call_1PVVVVVVVVVVVVVVVVVVVVVV");
    expect(TOOL_STYLE_NONE, false, "<tool_call>{\"name\":\"f\",\"arguments\":{}}</tool_call>",
           "<tool_call>{\"name\":\"f\",\"arguments\":{}}</tool_call>");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hermes),
        cmocka_unit_test(llama),
        cmocka_unit_test(mistral),
        cmocka_unit_test(told_early),
        cmocka_unit_test(streams_arguments),
        cmocka_unit_test(only_so_many_calls),
        cmocka_unit_test(only_so_long),
        cmocka_unit_test(only_so_many_blanks),
        cmocka_unit_test(out_of_memory),
        cmocka_unit_test(random_texts),
        cmocka_unit_test(json_as_jansson),
        cmocka_unit_test(json_depth),
        cmocka_unit_test(styles),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
