/* Chat templates on a pipe, for scripts that compare with jinja2. Reads requests from standard
 * input and answers each on standard output; numbers are 32-bit, native order.
 *
 *   request: length, template, length, variables as JSON, clock (seconds of 1970, UTC)
 *   answer:  status, line, raised, length, text (the rendering, or the error's sentence) */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "model/template.h"
#include "model/tmpl_json.h"

#define MEMORY_MAX ((size_t)256 << 20)

static char *read_text(uint32_t *len)
{
    char *text;

    if (fread(len, sizeof(*len), 1, stdin) != 1)
        return NULL;
    text = malloc(*len + 1);
    CHECK(text && fread(text, 1, *len, stdin) == *len);
    return text;
}

static void answer(enum status status, const struct template_error *error, const void *text,
                   size_t len)
{
    uint32_t head[4] = {status, error->line, error->raised, (uint32_t)len};

    fwrite(head, sizeof(head), 1, stdout);
    fwrite(text, 1, len, stdout);
    fflush(stdout);
}

static void run(const char *source, uint32_t source_len, const char *json, uint32_t json_len,
                uint32_t now)
{
    struct template_options options = {.now_unix_s = now};
    struct template_error error = {0};
    struct tmpl_json_error json_error;
    struct template *tmpl = NULL;
    struct tmpl_value vars;
    struct arena *arena;
    struct buf out;
    enum status status;

    buf_init(&out, MEMORY_MAX);
    CHECK(arena_create(1 << 16, MEMORY_MAX, &arena) == STATUS_OK);
    CHECK(tmpl_json_read(arena, json, json_len, &json_error, &vars) == STATUS_OK);
    status = template_compile(source, source_len, &error, &tmpl);
    if (status == STATUS_OK)
        status = template_render(tmpl, &vars, &options, &error, &out);
    if (status == STATUS_OK)
        answer(status, &error, buf_data(&out), buf_len(&out));
    else
        answer(status, &error, error.text, strlen(error.text));
    template_destroy(tmpl);
    arena_destroy(arena);
    buf_fini(&out);
}

int main(void)
{
    uint32_t source_len, json_len, now;
    char *source, *json;

    while ((source = read_text(&source_len)) != NULL) {
        json = read_text(&json_len);
        CHECK(json && fread(&now, sizeof(now), 1, stdin) == 1);
        run(source, source_len, json, json_len, now);
        free(source);
        free(json);
    }
    return 0;
}
