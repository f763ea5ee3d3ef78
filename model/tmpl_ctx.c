/* The render's state: failures, limits, and text: what str() and repr() give. */
#include "model/tmpl_eval.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "model/tmpl_text.h"

/* Bytes that count as one step. */
#define BYTES_PER_STEP 64

struct tmpl_value tmpl_fail(struct tmpl_ctx *ctx, enum status status, const char *fmt, ...)
{
    va_list args;

    if (!tmpl_failed(ctx)) {
        ctx->status = status;
        ctx->error->line = ctx->line;
        ctx->error->raised = false;
        va_start(args, fmt);
        vsnprintf(ctx->error->text, sizeof(ctx->error->text), fmt, args);
        va_end(args);
    }
    return (struct tmpl_value){.kind = TMPL_UNDEFINED};
}

struct tmpl_value tmpl_fail_undefined(struct tmpl_ctx *ctx, const struct tmpl_value *value)
{
    const struct tmpl_undefined *why = value->why;
    size_t mark = tmpl_mark(ctx);
    struct tmpl_value name;

    if (!why)
        return tmpl_fail(ctx, STATUS_INVALID, "A value is undefined.");
    if (why->hint)
        return tmpl_fail(ctx, STATUS_INVALID, "%s", why->hint);
    tmpl_put_repr(ctx, &why->name);
    name = tmpl_take(ctx, mark);
    if (!why->type)
        return tmpl_fail(ctx, STATUS_INVALID, "%.*s is undefined", (int)name.len, name.text);
    if (why->name.kind == TMPL_STRING)
        return tmpl_fail(ctx, STATUS_INVALID, "'%s' has no attribute %.*s", why->type,
                         (int)name.len, name.text);
    return tmpl_fail(ctx, STATUS_INVALID, "%s has no element %.*s", why->type, (int)name.len,
                     name.text);
}

bool tmpl_charge(struct tmpl_ctx *ctx, uint64_t steps)
{
    if (tmpl_failed(ctx))
        return false;
    if (ctx->steps_left < steps) {
        tmpl_fail(ctx, STATUS_TOO_BIG, "The template takes more than %llu steps.",
                  (unsigned long long)ctx->options.steps_max);
        return false;
    }
    ctx->steps_left -= steps;
    return true;
}

bool tmpl_charge_bytes(struct tmpl_ctx *ctx, size_t bytes)
{
    return tmpl_charge(ctx, bytes / BYTES_PER_STEP + 1);
}

bool tmpl_enter(struct tmpl_ctx *ctx)
{
    if (tmpl_failed(ctx))
        return false;
    if (ctx->depth >= TMPL_EVAL_DEPTH_MAX) {
        tmpl_fail(ctx, STATUS_TOO_BIG, "Values or macro calls are nested too deep.");
        return false;
    }
    ctx->depth++;
    return true;
}

void tmpl_leave(struct tmpl_ctx *ctx)
{
    ctx->depth--;
}

void *tmpl_alloc(struct tmpl_ctx *ctx, size_t count, size_t bytes_each)
{
    size_t bytes;
    void *memory = NULL;

    if (!__builtin_mul_overflow(count, bytes_each, &bytes) && tmpl_charge_bytes(ctx, bytes))
        memory = arena_alloc(ctx->arena, bytes);
    if (!memory)
        tmpl_fail(ctx, STATUS_TOO_BIG, "The template needs more than %zu bytes of memory.",
                  ctx->options.memory_bytes_max);
    return memory;
}

void tmpl_put(struct tmpl_ctx *ctx, const char *text, size_t len)
{
    if (!tmpl_charge_bytes(ctx, len) || len == 0)
        return;
    if (len > ctx->options.output_bytes_max - ctx->out_len) {
        tmpl_fail(ctx, STATUS_TOO_BIG, "The template gives more than %zu bytes of text.",
                  ctx->options.output_bytes_max);
        return;
    }
    if (ctx->out_cap - ctx->out_len < len) {
        size_t cap = ctx->out_cap * 2 > ctx->out_len + len ? ctx->out_cap * 2 : ctx->out_len + len;
        char *grown = mem_realloc(ctx->out, cap < 4096 ? 4096 : cap);

        if (!grown) {
            tmpl_fail(ctx, STATUS_NO_MEMORY, "Out of memory.");
            return;
        }
        ctx->out = grown;
        ctx->out_cap = cap < 4096 ? 4096 : cap;
    }
    memcpy(ctx->out + ctx->out_len, text, len);
    ctx->out_len += len;
}

void tmpl_put_text(struct tmpl_ctx *ctx, const char *text)
{
    tmpl_put(ctx, text, strlen(text));
}

void tmpl_put_code(struct tmpl_ctx *ctx, uint32_t code)
{
    char bytes[4];

    tmpl_put(ctx, bytes, tmpl_utf8_encode(code, bytes));
}

struct tmpl_value tmpl_take(struct tmpl_ctx *ctx, size_t mark)
{
    size_t len = ctx->out_len - mark;
    char *copy;

    if (tmpl_failed(ctx))
        return tmpl_text("");
    if (len == 0)
        return tmpl_text("");
    copy = tmpl_alloc(ctx, len, 1);
    if (!copy || len > UINT32_MAX) {
        tmpl_fail(ctx, STATUS_TOO_BIG, "A string is too long.");
        return tmpl_text("");
    }
    memcpy(copy, ctx->out + mark, len);
    ctx->out_len = mark;
    return tmpl_str(copy, (uint32_t)len);
}

struct tmpl_value tmpl_text(const char *text)
{
    return tmpl_str(text, (uint32_t)strlen(text));
}

struct tmpl_value tmpl_part(struct tmpl_value whole, const char *text, size_t len)
{
    whole.text = text;
    whole.len = (uint32_t)len;
    return whole;
}

struct tmpl_value tmpl_to_str(struct tmpl_ctx *ctx, struct tmpl_value value)
{
    size_t mark = tmpl_mark(ctx);

    if (value.kind == TMPL_STRING)
        return value;
    tmpl_put_str(ctx, &value);
    return tmpl_take(ctx, mark);
}

void tmpl_put_escaped(struct tmpl_ctx *ctx, const char *text, size_t len)
{
    size_t start = 0;

    for (size_t i = 0; i < len; i++) {
        const char *entity = text[i] == '&'    ? "&amp;"
                             : text[i] == '<'  ? "&lt;"
                             : text[i] == '>'  ? "&gt;"
                             : text[i] == '\'' ? "&#39;"
                             : text[i] == '"'  ? "&#34;"
                                               : NULL;

        if (entity) {
            tmpl_put(ctx, text + start, i - start);
            tmpl_put_text(ctx, entity);
            start = i + 1;
        }
    }
    tmpl_put(ctx, text + start, len - start);
}

static void put_string_repr(struct tmpl_ctx *ctx, const struct tmpl_value *value)
{
    const char *text = value->text;
    size_t len = value->len, bytes;
    char quote = memchr(text, '\'', len) && !memchr(text, '"', len) ? '"' : '\'';
    char escape[16];

    if (value->flags & TMPL_MARKUP)
        tmpl_put_text(ctx, "Markup(");
    tmpl_put(ctx, &quote, 1);
    for (size_t i = 0; i < len && !tmpl_failed(ctx); i += bytes) {
        uint32_t code = tmpl_utf8_decode(text + i, &bytes);

        if (code == '\n' || code == '\r' || code == '\t' || code == '\\' ||
            code == (uint32_t)quote) {
            char letter = code == '\n' ? 'n' : code == '\r' ? 'r' : code == '\t' ? 't' : (char)code;

            tmpl_put(ctx, "\\", 1);
            tmpl_put(ctx, &letter, 1);
        } else if (tmpl_is_printable(code)) {
            tmpl_put(ctx, text + i, bytes);
        } else {
            int n = code < 0x100     ? snprintf(escape, sizeof(escape), "\\x%02x", code)
                    : code < 0x10000 ? snprintf(escape, sizeof(escape), "\\u%04x", code)
                                     : snprintf(escape, sizeof(escape), "\\U%08x", code);

            tmpl_put(ctx, escape, (size_t)n);
        }
    }
    tmpl_put(ctx, &quote, 1);
    if (value->flags & TMPL_MARKUP)
        tmpl_put_text(ctx, ")");
}

static void put_pairs(struct tmpl_ctx *ctx, const struct tmpl_pair *pairs, uint32_t n)
{
    tmpl_put_text(ctx, "{");
    for (uint32_t i = 0; i < n && !tmpl_failed(ctx); i++) {
        if (i)
            tmpl_put_text(ctx, ", ");
        tmpl_put_repr(ctx, &pairs[i].key);
        tmpl_put_text(ctx, ": ");
        tmpl_put_repr(ctx, &pairs[i].value);
    }
    tmpl_put_text(ctx, "}");
}

static void put_items(struct tmpl_ctx *ctx, const struct tmpl_value *value)
{
    bool tuple = value->kind == TMPL_TUPLE;

    tmpl_put_text(ctx, tuple ? "(" : "[");
    for (uint32_t i = 0; i < value->len && !tmpl_failed(ctx); i++) {
        if (i)
            tmpl_put_text(ctx, ", ");
        tmpl_put_repr(ctx, &value->items[i]);
    }
    tmpl_put_text(ctx, !tuple ? "]" : value->len == 1 ? ",)" : ")");
}

static void put_view(struct tmpl_ctx *ctx, const struct tmpl_value *value)
{
    static const char *const names[] = {"dict_keys(", "dict_values(", "dict_items("};
    const struct tmpl_view *view = value->object;
    struct tmpl_value list = tmpl_to_list(ctx, *value);

    tmpl_put_text(ctx, names[view->kind]);
    tmpl_put_repr(ctx, &list);
    tmpl_put_text(ctx, ")");
}

/* The evaluator's own kinds. What Python prints with an address is refused: no template can mean
 * it. */
static void put_object(struct tmpl_ctx *ctx, const struct tmpl_value *value)
{
    char text[96];

    switch (value->kind) {
    case TMPL_NAMESPACE: {
        const struct tmpl_namespace *space = value->object;

        tmpl_put_text(ctx, "<Namespace ");
        put_pairs(ctx, space->pairs, space->n);
        tmpl_put_text(ctx, ">");
        break;
    }
    case TMPL_RANGE: {
        const struct tmpl_range *range = value->object;
        int n = range->step == 1 ? snprintf(text, sizeof(text), "range(%lld, %lld)",
                                            (long long)range->start, (long long)range->stop)
                                 : snprintf(text, sizeof(text), "range(%lld, %lld, %lld)",
                                            (long long)range->start, (long long)range->stop,
                                            (long long)range->step);

        tmpl_put(ctx, text, (size_t)n);
        break;
    }
    case TMPL_VIEW:
        put_view(ctx, value);
        break;
    case TMPL_MACRO: {
        const struct tmpl_macro *macro = value->object;

        tmpl_put_text(ctx, "<Macro ");
        if (macro->name.kind == TMPL_STRING)
            tmpl_put_repr(ctx, &macro->name);
        else
            tmpl_put_text(ctx, "anonymous");
        tmpl_put_text(ctx, ">");
        break;
    }
    case TMPL_LOOP: {
        struct tmpl_loop *loop = value->object;
        int n = snprintf(text, sizeof(text), "<LoopContext %lld/%lld>",
                         (long long)(loop->index0 + 1), (long long)tmpl_loop_length(ctx, loop));

        tmpl_put(ctx, text, (size_t)n);
        break;
    }
    default:
        tmpl_fail(ctx, STATUS_UNSUPPORTED, "A %s cannot be printed; use '|list' or call it.",
                  tmpl_type_name(value));
    }
}

void tmpl_put_repr(struct tmpl_ctx *ctx, const struct tmpl_value *value)
{
    char text[TMPL_FLOAT_BYTES];

    if (!tmpl_enter(ctx))
        return;
    switch (value->kind) {
    case TMPL_UNDEFINED:
        tmpl_put_text(ctx, "Undefined");
        break;
    case TMPL_NONE:
        tmpl_put_text(ctx, "None");
        break;
    case TMPL_BOOL:
        tmpl_put_text(ctx, value->boolean ? "True" : "False");
        break;
    case TMPL_INT:
        tmpl_put(ctx, text, tmpl_int_print(value->integer, text));
        break;
    case TMPL_BIG:
        tmpl_put(ctx, value->text, value->len);
        break;
    case TMPL_FLOAT:
        tmpl_put(ctx, text, tmpl_float_print(value->real, text));
        break;
    case TMPL_STRING:
        put_string_repr(ctx, value);
        break;
    case TMPL_LIST:
    case TMPL_TUPLE:
        put_items(ctx, value);
        break;
    case TMPL_DICT:
        put_pairs(ctx, value->dict->pairs, value->dict->n);
        break;
    default:
        put_object(ctx, value);
    }
    tmpl_leave(ctx);
}

void tmpl_put_str(struct tmpl_ctx *ctx, const struct tmpl_value *value)
{
    if (value->kind == TMPL_STRING)
        tmpl_put(ctx, value->text, value->len);
    else if (value->kind != TMPL_UNDEFINED)
        tmpl_put_repr(ctx, value);
}
