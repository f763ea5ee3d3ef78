/* Compiles and renders templates: makes the state of the one and of the other, and ends it. */
#include "model/template.h"

#include <string.h>

#include "base/mem.h"
#include "model/tmpl_eval.h"
#include "model/tmpl_text.h"

#define ARENA_CHUNK ((size_t)16 << 10)
/* A tree takes some hundred bytes per token at worst. */
#define COMPILE_MEMORY_MAX ((size_t)256 << 20)

/* A message may have been cut inside a character. */
static void cut_error(struct template_error *error)
{
    size_t len = strnlen(error->text, sizeof(error->text) - 1);

    while (len > 0 && !tmpl_utf8_is_valid(error->text, len))
        len--;
    error->text[len] = 0;
}

enum status template_compile(const char *source, size_t len, struct template_error *error,
                             struct template **out)
{
    struct tmpl_compile *compile = NULL;
    struct template *tmpl = NULL;
    struct arena *arena;
    enum status status;

    memset(error, 0, sizeof(*error));
    status = arena_create(ARENA_CHUNK, COMPILE_MEMORY_MAX, &arena);
    if (status != STATUS_OK)
        return status;
    status = STATUS_NO_MEMORY;
    tmpl = arena_alloc_zero(arena, 1, sizeof(*tmpl));
    compile = arena_alloc_zero(arena, 1, sizeof(*compile));
    if (!tmpl || !compile)
        goto fail;
    tmpl->arena = arena;
    compile->arena = arena;
    compile->error = error;
    tmpl_lexer_start(compile, source, len);
    tmpl->body = tmpl_parse(compile);
    if (compile->status == STATUS_OK)
        tmpl_bind(compile, tmpl);
    status = compile->status;
    if (status != STATUS_OK)
        goto fail;
    *out = tmpl;
    return STATUS_OK;
fail:
    cut_error(error);
    arena_destroy(arena);
    return status;
}

void template_destroy(struct template *tmpl)
{
    if (tmpl)
        arena_destroy(tmpl->arena);
}

static struct template_options full_options(const struct template_options *options)
{
    struct template_options full = {0};

    if (options)
        full = *options;
    if (!full.steps_max)
        full.steps_max = TEMPLATE_STEPS_MAX;
    if (!full.memory_bytes_max)
        full.memory_bytes_max = TEMPLATE_MEMORY_MAX;
    if (full.memory_bytes_max < ARENA_CHUNK)
        full.memory_bytes_max = ARENA_CHUNK;
    if (!full.output_bytes_max)
        full.output_bytes_max = TEMPLATE_OUTPUT_MAX;
    return full;
}

enum status template_render(const struct template *tmpl, const struct tmpl_value *vars,
                            const struct template_options *options, struct template_error *error,
                            struct buf *out)
{
    struct tmpl_ctx ctx = {.vars = vars, .error = error, .options = full_options(options)};
    enum status status;

    memset(error, 0, sizeof(*error));
    if (vars->kind != TMPL_DICT)
        return STATUS_INVALID;
    status = arena_create(ARENA_CHUNK, ctx.options.memory_bytes_max, &ctx.arena);
    if (status != STATUS_OK)
        return status;
    ctx.steps_left = ctx.options.steps_max;
    tmpl_exec_template(&ctx, tmpl);
    status = ctx.status;
    if (status == STATUS_OK)
        status = buf_append(out, ctx.out ? ctx.out : "", ctx.out_len);
    cut_error(error);
    mem_free(ctx.out);
    arena_destroy(ctx.arena);
    return status;
}
