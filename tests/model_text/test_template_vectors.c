/* Chat templates against stored renderings of jinja2 (template_vectors.py writes them). The
 * published templates themselves are not in the repository: they are looked for in
 * $BATON_SHARED/data/templates, or ../shared beside the repository, and skipped where absent. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "model/template.h"
#include "model/tmpl_json.h"

#define MEMORY_MAX ((size_t)64 << 20)
#define PATH_BYTES 1024

struct file {
    struct arena *arena;
    char *text;
    size_t len;
};

static bool file_read(const char *path, struct file *file)
{
    FILE *stream = fopen(path, "rb");
    char block[4096];
    size_t n;
    struct buf buf;

    if (!stream)
        return false;
    assert_int_equal(arena_create(1 << 16, MEMORY_MAX, &file->arena), STATUS_OK);
    buf_init(&buf, MEMORY_MAX);
    while ((n = fread(block, 1, sizeof(block), stream)) > 0)
        assert_int_equal(buf_append(&buf, block, n), STATUS_OK);
    fclose(stream);
    file->len = buf_len(&buf);
    file->text = arena_memdup(file->arena, buf_data(&buf), file->len);
    assert_non_null(file->text);
    buf_fini(&buf);
    return true;
}

static const struct tmpl_value *get(const struct tmpl_value *dict, const char *key)
{
    return tmpl_dict_get_str(dict, key, strlen(key));
}

static struct file read_vectors(const char *name, struct tmpl_value *out)
{
    struct tmpl_json_error error;
    char path[PATH_BYTES];
    struct file file;

    assert_non_null(getenv("BATON_ROOT"));
    snprintf(path, sizeof(path), "%s/tests/model_text/vectors/%s", getenv("BATON_ROOT"), name);
    assert_true(file_read(path, &file));
    if (tmpl_json_read(file.arena, file.text, file.len, &error, out) != STATUS_OK)
        fail_msg("%s: %s", path, error.text);
    return file;
}

/* "%016x" of FNV-1a, as the script stores it. */
static void hash_text(const void *data, size_t len, char out[17])
{
    const unsigned char *bytes = data;
    uint64_t hash = 0xcbf29ce484222325u;

    for (size_t i = 0; i < len; i++)
        hash = (hash ^ bytes[i]) * 0x100000001b3u;
    snprintf(out, 17, "%016llx", (unsigned long long)hash);
}

static bool is_text(const struct tmpl_value *want, const void *text, size_t len)
{
    return want && want->len == len && memcmp(want->text, text, len) == 0;
}

/* Whether a rendering, or its failure, is what the vector says. */
static bool is_expected(const struct tmpl_value *want, enum status status,
                        const struct template_error *error, const struct buf *out)
{
    const struct tmpl_value *bytes = get(want, "bytes");
    char hash[17];

    if (get(want, "raised"))
        return status == STATUS_INVALID && error->raised &&
               is_text(get(want, "raised"), error->text, strlen(error->text));
    if (get(want, "error"))
        return status != STATUS_OK && !error->raised && error->text[0];
    if (status != STATUS_OK)
        return false;
    if (!bytes)
        return is_text(get(want, "text"), buf_data(out), buf_len(out));
    hash_text(buf_data(out), buf_len(out), hash);
    return bytes->integer == (int64_t)buf_len(out) && is_text(get(want, "fnv1a"), hash, 16);
}

/* Compiles and renders; true if the result is as wanted. */
static bool check(const struct tmpl_value *want, const char *source, size_t len,
                  const struct tmpl_value *variables, int64_t now, const char *name)
{
    struct template_options options = {.now_unix_s = now};
    struct template_error error = {0};
    struct template *tmpl = NULL;
    struct buf out;
    enum status status;
    bool good;

    buf_init(&out, MEMORY_MAX);
    status = template_compile(source, len, &error, &tmpl);
    if (status == STATUS_OK)
        status = template_render(tmpl, variables, &options, &error, &out);
    good = is_expected(want, status, &error, &out);
    if (!good)
        print_error("%s: status %d, line %u: %s\n%.*s\n", name, status, error.line, error.text,
                    (int)buf_len(&out), buf_text(&out));
    template_destroy(tmpl);
    buf_fini(&out);
    return good;
}

static void features_render_as_jinja2(void **state)
{
    const struct tmpl_value *cases, *variables;
    struct tmpl_value vectors;
    struct file file = read_vectors("template_features.json", &vectors);
    uint32_t n_bad = 0;

    (void)state;
    cases = get(&vectors, "cases");
    variables = get(&vectors, "variables");
    assert_true(cases->len > 900);
    for (uint32_t i = 0; i < cases->len; i++) {
        const struct tmpl_value *source = get(&cases->items[i], "template");
        char name[200];

        snprintf(name, sizeof(name), "%.*s", (int)(source->len < 150 ? source->len : 150),
                 source->text);
        n_bad += !check(&cases->items[i], source->text, source->len, variables,
                        get(&vectors, "now")->integer, name);
    }
    arena_destroy(file.arena);
    assert_int_equal(n_bad, 0);
}

static bool open_template(const struct tmpl_value *name, struct file *file)
{
    const char *shared = getenv("BATON_SHARED"), *root = getenv("BATON_ROOT");
    char path[PATH_BYTES];

    snprintf(path, sizeof(path), "%s%s/data/templates/%.*s", shared ? shared : root,
             shared ? "" : "/../shared", (int)name->len, name->text);
    return file_read(path, file);
}

static void published_templates_render_as_jinja2(void **state)
{
    const struct tmpl_value *conversations, *templates;
    struct tmpl_value vectors;
    struct file file = read_vectors("template_published.json", &vectors), source;
    uint32_t n_bad = 0, n_there = 0;

    (void)state;
    conversations = get(&vectors, "conversations");
    templates = get(&vectors, "templates");
    for (uint32_t i = 0; i < templates->dict->n; i++) {
        const struct tmpl_pair *pair = &templates->dict->pairs[i];

        if (!open_template(&pair->key, &source)) {
            print_message("skipped: %.*s is not there (set BATON_SHARED)\n", (int)pair->key.len,
                          pair->key.text);
            continue;
        }
        n_there++;
        assert_int_equal(pair->value.len, conversations->len);
        for (uint32_t k = 0; k < conversations->len; k++) {
            const struct tmpl_value *conversation = &conversations->items[k];
            char name[200];

            snprintf(name, sizeof(name), "%.*s, %.*s", (int)pair->key.len, pair->key.text,
                     (int)get(conversation, "name")->len, get(conversation, "name")->text);
            n_bad += !check(&pair->value.items[k], source.text, source.len,
                            get(conversation, "variables"), 0, name);
        }
        arena_destroy(source.arena);
    }
    arena_destroy(file.arena);
    assert_int_equal(n_bad, 0);
    if (n_there == 0)
        skip();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(features_render_as_jinja2),
        cmocka_unit_test(published_templates_render_as_jinja2),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
