/* Feeds bytes as the JSON input of a template that walks through all of it: every kind of value
 * meets loops, tests, filters, formats and tojson. */
#include "tests/fuzz/fuzz.h"

#include <string.h>

#include "base/check.h"
#include "model/template.h"
#include "model/tmpl_json.h"

static const char source[] =
    "{%- macro walk(v, depth) %}{% if depth > 6 %}...{% elif v is mapping %}"
    "{% for k, w in v.items() %}{{ k }}={{ walk(w, depth + 1) }};{% endfor %}"
    "{{ v|dictsort|tojson(sort_keys=true) }}{{ v.role }}{{ v.get('content') }}"
    "{% elif v is string %}{{ v|trim|upper|lower|title|capitalize }}{{ v[::-1] }}{{ v[1:3] }}"
    "{{ v.split() }}{{ v.split('<')[-1] }}{{ v|e }}{{ v|truncate(5) }}{{ v|int }}{{ v|float }}"
    "{{ v|indent }}{{ v.splitlines() }}{{ v|urlencode }}{{ v|wordcount }}{{ v.title() }}"
    "{{ '%s %r' % (v, v) }}{{ '{:>9}'.format(v) }}{{ v|replace('a', 'bb') }}{{ v.rsplit(' ', 1) }}"
    "{% elif v is number %}{{ v }}{{ v|round(1) if v is float }}{{ v < 3 }}"
    "{{ v + 1.5 }}{{ '%5.1f' % v }}"
    "{% elif v is iterable %}{% for w in v %}{{ loop.last }}{{ walk(w, depth + 1) }}{% endfor %}"
    "{{ v|first }}{{ v|last }}{{ v[1:] }}{{ v|map('string')|unique|sort|join(',') }}"
    "{{ v|select|list|length }}{% else %}{{ v }}{% endif %}{% endmacro -%}"
    "{{ messages|tojson(indent=1) }}{{ messages }}{{ walk(messages, 0) }}";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct template_options options = {
        .steps_max = 300000,
        .memory_bytes_max = 32 << 20,
        .output_bytes_max = 4 << 20,
    };
    struct tmpl_json_error json_error;
    struct template_error error;
    struct tmpl_value input, variables;
    struct tmpl_pair pair = {.key = tmpl_str("messages", 8)};
    struct template *tmpl;
    struct arena *arena;
    struct buf out;

    CHECK(arena_create(4096, 64 << 20, &arena) == STATUS_OK);
    if (tmpl_json_read(arena, (const char *)data, size, &json_error, &input) != STATUS_OK) {
        CHECK(json_error.text[0] != 0 && json_error.offset <= size);
        arena_destroy(arena);
        return 0;
    }
    pair.value = input;
    CHECK(tmpl_dict_make(arena, &pair, 1, &variables) == STATUS_OK);
    CHECK(template_compile(source, strlen(source), &error, &tmpl) == STATUS_OK);
    buf_init(&out, 4 << 20);
    if (template_render(tmpl, &variables, &options, &error, &out) != STATUS_OK)
        CHECK(error.text[0] != 0);
    buf_fini(&out);
    template_destroy(tmpl);
    arena_destroy(arena);
    return 0;
}
