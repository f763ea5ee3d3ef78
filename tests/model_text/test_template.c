/* Chat templates beyond what jinja2 can be asked: limits, errors and their places, memory that runs
 * out, threads, the JSON reader and the constructors of values. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <pthread.h>
#include <time.h>

#include "base/mem.h"
#include "model/template.h"
#include "model/tmpl_json.h"

#define MEMORY_MAX ((size_t)64 << 20)

struct result {
    enum status status;
    struct template_error error;
    char text[4096];
};

/* Compiles `source` and renders it with variables given as JSON. */
static struct result run(const char *source, const char *json,
                         const struct template_options *options)
{
    struct result result = {0};
    struct tmpl_json_error json_error;
    struct template *tmpl = NULL;
    struct tmpl_value variables;
    struct arena *arena;
    struct buf out;

    buf_init(&out, MEMORY_MAX);
    assert_int_equal(arena_create(4096, MEMORY_MAX, &arena), STATUS_OK);
    assert_int_equal(tmpl_json_read(arena, json, strlen(json), &json_error, &variables), STATUS_OK);
    result.status = template_compile(source, strlen(source), &result.error, &tmpl);
    if (result.status == STATUS_OK)
        result.status = template_render(tmpl, &variables, options, &result.error, &out);
    snprintf(result.text, sizeof(result.text), "%s", buf_text(&out));
    template_destroy(tmpl);
    arena_destroy(arena);
    buf_fini(&out);
    return result;
}

static double seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void expect_error(const char *source, enum status status, uint32_t line, const char *part)
{
    struct result result = run(source, "{\"n\": 1, \"list\": [1, 2, 3]}", NULL);

    if (result.status != status || result.error.line != line || !strstr(result.error.text, part))
        fail_msg("%s: status %d, line %u: %s", source, result.status, result.error.line,
                 result.error.text);
    assert_int_equal(strlen(result.text), 0);
}

static void errors_say_what_and_where(void **state)
{
    (void)state;
    expect_error("a\n{{ x.y }}", STATUS_INVALID, 2, "'x' is undefined");
    expect_error("{{ n }}\n\n{{ n.x.y }}", STATUS_INVALID, 3, "'int object' has no attribute 'x'");
    expect_error("{% if n %}\n{{ 1 + 'a' }}{% endif %}", STATUS_INVALID, 2, "'int' and 'str'");
    expect_error("{% for x in list %}\n\n{% endif %}", STATUS_MALFORMED, 3, "endif");
    expect_error("\n{% block a %}{% endblock %}", STATUS_UNSUPPORTED, 2, "block");
    expect_error("{% include 'x' %}", STATUS_UNSUPPORTED, 1, "include");
    expect_error("{% for x in list recursive %}{% endfor %}", STATUS_UNSUPPORTED, 1, "Recursive");
    expect_error("\n\n{{ n|urlize }}", STATUS_UNSUPPORTED, 3, "urlize");
    expect_error("{{ n is wide }}", STATUS_UNSUPPORTED, 1, "wide");
    expect_error("{{ 'x'.encode() }}", STATUS_UNSUPPORTED, 1, "encode");
    expect_error("{{ lipsum() }}", STATUS_UNSUPPORTED, 1, "lipsum");
    expect_error("{{ self }}", STATUS_UNSUPPORTED, 1, "self");
    expect_error("{{ list.append(1) }}", STATUS_INVALID, 1, "unsafe");
    expect_error("{{ 'x'.__class__.y }}", STATUS_INVALID, 1, "unsafe");
    expect_error("{{ 9223372036854775807 + n }}", STATUS_INVALID, 1, "64 bits");
    expect_error("{{ 9223372036854775808 }}", STATUS_MALFORMED, 1, "64 bits");
    expect_error("\xff", STATUS_MALFORMED, 0, "UTF-8");
    expect_error("{{ 'a' }}\n{{ 'b }}", STATUS_MALFORMED, 2, "not closed");
    expect_error("{{ é }}", STATUS_MALFORMED, 1, "U+00E9");
}

static void raised_text_is_the_templates_own(void **state)
{
    struct result result = run("\n{{ raise_exception('Roles must alternate: ' ~ n) }}",
                               "{\"n\": \"%s {{ x }} \\u00e9\"}", NULL);

    (void)state;
    assert_int_equal(result.status, STATUS_INVALID);
    assert_true(result.error.raised);
    assert_int_equal(result.error.line, 2);
    assert_string_equal(result.error.text, "Roles must alternate: %s {{ x }} \xc3\xa9");
}

static void user_text_is_data(void **state)
{
    struct result result =
        run("{% for m in messages %}{{ m.content }}|{% endfor %}{% set x = messages[0].content %}"
            "{{ x }}{{ x | upper }}",
            "{\"messages\": [{\"content\": \"{{ 7*7 }}{% if %}{# #}\"}]}", NULL);

    (void)state;
    assert_string_equal(result.text,
                        "{{ 7*7 }}{% if %}{# #}|{{ 7*7 }}{% if %}{# #}{{ 7*7 }}{% IF %}{# #}");
}

/* Every one of these would run long or grow large without a limit. */
static void limits_end_a_render(void **state)
{
    static const char *const sources[] = {
        "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}",
        "{% set ns = namespace(x='ab') %}{% for i in range(100) %}{% set ns.x = ns.x + ns.x %}"
        "{% endfor %}",
        "{% set ns = namespace(x=[1]) %}{% for i in range(100) %}{% set ns.x = ns.x + ns.x %}"
        "{% endfor %}",
        "{{ 'a' * 4000000000 }}",
        "{{ [1] * 1000000000 }}",
        "{% for i in range(100000) %}{{ 'a' * 10000 }}{% endfor %}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        "{% macro m(x) %}{{ m([x]) }}{% endmacro %}{{ m(1) }}",
        "{% set ns = namespace(x=[1]) %}{% for i in range(100000) %}{% set ns.x = [ns.x] %}"
        "{% endfor %}{{ ns.x }}",
        "{% set ns = namespace(x=[1]) %}{% for i in range(100000) %}{% set ns.x = [ns.x] %}"
        "{% endfor %}{{ ns.x|tojson }}",
        "{% set ns = namespace(x=[1]) %}{% for i in range(5000) %}{% set ns.x = ns.x|map('upper') "
        "%}{% endfor %}{{ ns.x|list }}",
        "{% set ns = namespace(x=[1], y=[1]) %}{% for i in range(5000) %}{% set ns.x = [ns.x] %}"
        "{% set ns.y = [ns.y] %}{% endfor %}{{ ns.x == ns.y }}",
        "{{ range(100000)|map('string')|unique|list|length }}",
        "{{ ('a' * 1000000).rsplit('a' * 500000 + 'b') }}",
        "{{ ('a' * 1000000)|replace('', 'a' * 1000000) }}",
        "{{ '%9999s' % 'x' * 100000 }}",
        "{{ (('x,' * 100000).split(',') * 100)|join('y' * 10000) }}",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(sources) / sizeof(*sources); i++) {
        double start = seconds();
        struct result result = run(sources[i], "{}", NULL);

        if (result.status != STATUS_TOO_BIG)
            fail_msg("%s: status %d: %s", sources[i], result.status, result.error.text);
        if (seconds() - start > 20) /* under a sanitizer, beside other tests */
            fail_msg("%s: took %f s", sources[i], seconds() - start);
    }
}

static void options_set_the_limits(void **state)
{
    struct template_options steps = {.steps_max = 100};
    struct template_options output = {.output_bytes_max = 10};
    struct template_options memory = {.memory_bytes_max = 1 << 16};

    (void)state;
    assert_int_equal(run("{% for i in range(99) %}x{% endfor %}", "{}", &steps).status,
                     STATUS_TOO_BIG);
    assert_int_equal(run("{{ 1 }}", "{}", &steps).status, STATUS_OK);
    assert_int_equal(run("0123456789", "{}", &output).status, STATUS_OK);
    assert_int_equal(run("0123456789{{ 0 }}", "{}", &output).status, STATUS_TOO_BIG);
    assert_int_equal(run("{{ range(9999)|list|length }}", "{}", &memory).status, STATUS_TOO_BIG);
}

/* Thousands of names in scopes inside scopes: refused soon, not looked up for ever. */
static void names_are_bounded(void **state)
{
    char *source = malloc(TEMPLATE_SOURCE_MAX), *at = source;
    double start = seconds();

    (void)state;
    for (int scope = 0; scope < 25; scope++) {
        at += sprintf(at, "{%% for x in y %%}");
        for (int i = 0; i < 1000; i++)
            at += sprintf(at, "{%%set a%d_%d=1%%}", scope, i);
    }
    for (int scope = 0; scope < 25; scope++)
        at += sprintf(at, "{%% endfor %%}");
    assert_int_equal(run(source, "{\"y\": []}", NULL).status, STATUS_TOO_BIG);
    free(source);
    assert_true(seconds() - start < 20);
}

/* A source of `n` times `unit`, between two others. */
static void expect_deep(const char *before, const char *unit, size_t n, const char *after,
                        enum status status)
{
    char *source = malloc(strlen(before) + n * strlen(unit) + strlen(after) + 1), *at = source;
    struct result result;

    at += sprintf(at, "%s", before);
    for (size_t i = 0; i < n; i++)
        at += sprintf(at, "%s", unit);
    sprintf(at, "%s", after);
    result = run(source, "{}", NULL);
    if (result.status != status)
        fail_msg("%s...: status %d: %s", unit, result.status, result.error.text);
    free(source);
}

static void nesting_is_bounded(void **state)
{
    (void)state;
    expect_deep("{{ ", "(", 100000, " }}", STATUS_TOO_BIG);
    expect_deep("{{ ", "[", 100000, " }}", STATUS_TOO_BIG);
    expect_deep("{{ ", "not ", 100000, "1 }}", STATUS_TOO_BIG);
    expect_deep("{{ ", "-", 100000, "1 }}", STATUS_TOO_BIG);
    expect_deep("{{ x", ".a", 100000, " }}", STATUS_TOO_BIG);
    expect_deep("{{ x", "|upper", 100000, " }}", STATUS_TOO_BIG);
    expect_deep("{{ 1", " + 1", 100000, " }}", STATUS_TOO_BIG);
    expect_deep("{{ 1", " if 1 else 1", 50000, " }}", STATUS_TOO_BIG);
    expect_deep("", "{% if 1 %}", 50000, "", STATUS_TOO_BIG);
    expect_deep("", "{% for x in y %}", 50000, "", STATUS_TOO_BIG);
    expect_deep("", "{% macro m() %}", 50000, "", STATUS_TOO_BIG);
    expect_deep("", "{{ 1 }}", 100000, "", STATUS_OK);
    expect_deep("{{ [[[[[[[[[[((((((((((", "1 + ", 100, "1))))))))))]]]]]]]]]] }}", STATUS_OK);
    expect_deep("{{ [", "1,", 100000, "]|length }}", STATUS_OK);
    expect_deep("{% if 0 %}", "{% elif 0 %}", 50000, "{% endif %}", STATUS_OK);
    expect_deep("", "a", TEMPLATE_SOURCE_MAX + 1, "", STATUS_TOO_BIG);
}

static const char *const whole_template =
    "{%- macro m(a, b=[1]) %}{% for x in b %}{{ a ~ x }}{% endfor %}{% endmacro -%}"
    "{% set ns = namespace(n=0) %}{% for k, v in d.items() if v %}{% set ns.n = ns.n + 1 %}"
    "{{ loop.index }}{{ k|upper }}={{ v|tojson(indent=1) }}{% else %}none{% endfor %}"
    "{% set t %}x{{ m('q', [1, 2]) }}{% endset %}{{ t|title ~ ns.n }}"
    "{% filter upper %}{{ users|map(attribute='n')|sort|join(',') }}{% endfilter %}";
static const char *const whole_json = "{\"d\": {\"a\": 1, \"b\": [1, {\"c\": null}], \"e\": \"\"}, "
                                      "\"users\": [{\"n\": \"b\"}, {\"n\": \"a\"}]}";
static const char *const whole_text = "1A=12B=[\n 1,\n {\n  \"c\": null\n }\n]Xq1q22A,B";

/* Makes each allocation fail in turn: an error comes back, and nothing is lost. */
static void out_of_memory_is_an_error(void **state)
{
    int64_t live = mem_live(), n_good = 0;
    struct tmpl_json_error json_error;
    struct template_error error;
    struct tmpl_value variables;
    struct template *tmpl;
    struct arena *arena;
    struct buf out;
    bool done = false;

    (void)state;
    assert_string_equal(run(whole_template, whole_json, NULL).text, whole_text);
    for (; !done && n_good < 1000; n_good++) {
        enum status status;

        tmpl = NULL;
        arena = NULL;
        buf_init(&out, MEMORY_MAX);
        mem_fail_after(n_good);
        status = arena_create(1024, MEMORY_MAX, &arena);
        if (status == STATUS_OK)
            status = tmpl_json_read(arena, whole_json, strlen(whole_json), &json_error, &variables);
        if (status == STATUS_OK)
            status = template_compile(whole_template, strlen(whole_template), &error, &tmpl);
        if (status == STATUS_OK)
            status = template_render(tmpl, &variables, NULL, &error, &out);
        mem_fail_after(MEM_FAIL_NEVER);
        done = status == STATUS_OK;
        if (!done && status != STATUS_NO_MEMORY && status != STATUS_TOO_BIG)
            fail_msg("allocation %lld: status %d", (long long)n_good, status);
        if (!done)
            assert_int_equal(buf_len(&out), 0);
        template_destroy(tmpl);
        arena_destroy(arena);
        buf_fini(&out);
        assert_int_equal(mem_live(), live);
    }
    assert_true(done && n_good > 5);
}

struct shared {
    const struct template *tmpl;
    const struct tmpl_value *variables;
    int n_bad;
};

static void *render_often(void *argument)
{
    struct shared *shared = argument;

    for (int i = 0; i < 200; i++) {
        struct template_error error;
        struct buf out;

        buf_init(&out, MEMORY_MAX);
        if (template_render(shared->tmpl, shared->variables, NULL, &error, &out) != STATUS_OK ||
            strcmp(buf_text(&out), whole_text) != 0)
            shared->n_bad++;
        buf_fini(&out);
    }
    return NULL;
}

static void threads_share_a_template(void **state)
{
    struct shared shared[4];
    struct tmpl_json_error json_error;
    struct template_error error;
    struct tmpl_value variables;
    struct template *tmpl;
    struct arena *arena;
    pthread_t threads[4];

    (void)state;
    assert_int_equal(arena_create(4096, MEMORY_MAX, &arena), STATUS_OK);
    assert_int_equal(tmpl_json_read(arena, whole_json, strlen(whole_json), &json_error, &variables),
                     STATUS_OK);
    assert_int_equal(template_compile(whole_template, strlen(whole_template), &error, &tmpl),
                     STATUS_OK);
    for (int i = 0; i < 4; i++) {
        shared[i] = (struct shared){.tmpl = tmpl, .variables = &variables};
        assert_int_equal(pthread_create(&threads[i], NULL, render_often, &shared[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(shared[i].n_bad, 0);
    }
    template_destroy(tmpl);
    arena_destroy(arena);
}

static void json_keeps_what_python_keeps(void **state)
{
    struct result result =
        run("{{ d|tojson }} {{ d.a }} {{ big }} {{ f }}",
            "{\"d\": {\"z\": 1, \"a\": 2, \"z\": 3, \"\\ud83d\\ude00\": \"\\u0000\\n\"}, \"big\": "
            "-123456789012345678901234567890, \"f\": [1.0, 1e5, -0.0, -0, 9223372036854775807]}",
            NULL);

    (void)state;
    assert_string_equal(result.text, "{\"z\": 3, \"a\": 2, \"\xf0\x9f\x98\x80\": \"\\u0000\\n\"} 2 "
                                     "-123456789012345678901234567890 "
                                     "[1.0, 100000.0, -0.0, 0, 9223372036854775807]");
}

static void json_refuses_with_a_sentence(void **state)
{
    static const char *const bad[] = {"",
                                      "{",
                                      "[1,]",
                                      "{\"a\":}",
                                      "{\"a\" 1}",
                                      "{a: 1}",
                                      "[1 2]",
                                      "01",
                                      "1.",
                                      ".5",
                                      "1e",
                                      "-",
                                      "+1",
                                      "nul",
                                      "NaN",
                                      "Infinity",
                                      "\"\\x41\"",
                                      "\"a",
                                      "\"\\ud800\"",
                                      "\"\\udc00\"",
                                      "\"\\ud800\\u0041\"",
                                      "\"\\u12\"",
                                      "\"\n\"",
                                      "1 2",
                                      "\"\xff\"",
                                      "\"\xc0\x80\"",
                                      "\"\xed\xa0\x80\"",
                                      "[\"\\",
                                      "{\"a\": 1,}",
                                      "tru"};
    struct tmpl_json_error error;
    struct tmpl_value value;
    struct arena *arena;
    char deep[300];

    (void)state;
    assert_int_equal(arena_create(4096, MEMORY_MAX, &arena), STATUS_OK);
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        if (tmpl_json_read(arena, bad[i], strlen(bad[i]), &error, &value) != STATUS_MALFORMED ||
            !error.text[0])
            fail_msg("%s: %s", bad[i], error.text);
    }
    memset(deep, '[', sizeof(deep));
    assert_int_equal(tmpl_json_read(arena, deep, sizeof(deep), &error, &value), STATUS_TOO_BIG);
    arena_destroy(arena);
}

/* 200,000 equal keys and as many different ones: no choice of keys makes a dict slow. */
static void large_dicts_are_fast(void **state)
{
    size_t n = 200000;
    struct tmpl_pair *pairs = calloc(n, sizeof(*pairs));
    struct tmpl_value dict, key;
    struct arena *arena;
    double start = seconds();

    (void)state;
    assert_int_equal(arena_create(1 << 16, MEMORY_MAX, &arena), STATUS_OK);
    for (size_t i = 0; i < n; i++)
        pairs[i] = (struct tmpl_pair){tmpl_int((int64_t)(i * 7919 % n)), tmpl_int((int64_t)i)};
    assert_int_equal(tmpl_dict_make(arena, pairs, n, &dict), STATUS_OK);
    for (size_t i = 0; i < n; i++) {
        const struct tmpl_value *found = tmpl_dict_get(&dict, &pairs[i].key);

        assert_non_null(found);
        assert_int_equal(found->integer, i);
        pairs[i].key = tmpl_str("same", 4);
    }
    assert_int_equal(tmpl_dict_make(arena, pairs, n, &dict), STATUS_OK);
    assert_int_equal(dict.dict->n, 1);
    assert_int_equal(tmpl_dict_get_str(&dict, "same", 4)->integer, n - 1);
    key = tmpl_float(1);
    pairs[0] = (struct tmpl_pair){tmpl_int(1), tmpl_int(5)};
    pairs[1] = (struct tmpl_pair){tmpl_bool(true), tmpl_int(6)};
    assert_int_equal(tmpl_dict_make(arena, pairs, 2, &dict), STATUS_OK);
    assert_int_equal(tmpl_dict_get(&dict, &key)->integer, 6);
    pairs[0].key = dict;
    assert_int_equal(tmpl_dict_make(arena, pairs, 1, &dict), STATUS_INVALID);
    assert_true(seconds() - start < 10);
    arena_destroy(arena);
    free(pairs);
}

static void strings_are_checked(void **state)
{
    struct tmpl_value value;
    struct arena *arena;

    (void)state;
    assert_int_equal(arena_create(4096, MEMORY_MAX, &arena), STATUS_OK);
    assert_int_equal(tmpl_string_make(arena, "a\xc3\xa9", 3, &value), STATUS_OK);
    assert_int_equal(value.len, 3);
    assert_int_equal(tmpl_string_make(arena, "\xc3", 1, &value), STATUS_MALFORMED);
    assert_int_equal(tmpl_string_make(arena, "\xf4\x90\x80\x80", 4, &value), STATUS_MALFORMED);
    assert_int_equal(tmpl_string_make(arena, "\xe0\x80\x80", 3, &value), STATUS_MALFORMED);
    arena_destroy(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(errors_say_what_and_where),
        cmocka_unit_test(raised_text_is_the_templates_own),
        cmocka_unit_test(user_text_is_data),
        cmocka_unit_test(limits_end_a_render),
        cmocka_unit_test(options_set_the_limits),
        cmocka_unit_test(nesting_is_bounded),
        cmocka_unit_test(names_are_bounded),
        cmocka_unit_test(out_of_memory_is_an_error),
        cmocka_unit_test(threads_share_a_template),
        cmocka_unit_test(json_keeps_what_python_keeps),
        cmocka_unit_test(json_refuses_with_a_sentence),
        cmocka_unit_test(large_dicts_are_fast),
        cmocka_unit_test(strings_are_checked),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
