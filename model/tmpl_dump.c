/* json.dumps as Hugging Face's tojson calls it: no HTML escapes, Python's separators. */
#include "model/tmpl_eval.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "model/tmpl_text.h"

static void put_string(struct tmpl_ctx *ctx, const struct tmpl_value *value, bool ensure_ascii)
{
    static const char from[] = "\"\\\n\r\t\f\b", to[] = "\"\\nrtfb";
    const char *text = value->text;
    size_t start = 0, bytes;
    char escape[16];

    tmpl_put_text(ctx, "\"");
    for (size_t i = 0; i < value->len && !tmpl_failed(ctx); i += bytes) {
        uint32_t code = tmpl_utf8_decode(text + i, &bytes);
        const char *simple = code < 0x80 && code ? strchr(from, (int)code) : NULL;
        int n;

        if (!simple && code >= 0x20 && (!ensure_ascii || code < 0x7f))
            continue;
        tmpl_put(ctx, text + start, i - start);
        start = i + bytes;
        if (simple)
            n = snprintf(escape, sizeof(escape), "\\%c", to[simple - from]);
        else if (code < 0x10000)
            n = snprintf(escape, sizeof(escape), "\\u%04x", code);
        else
            n = snprintf(escape, sizeof(escape), "\\u%04x\\u%04x",
                         0xd800 + ((code - 0x10000) >> 10), 0xdc00 + (code & 0x3ff));
        tmpl_put(ctx, escape, (size_t)n);
    }
    tmpl_put(ctx, text + start, value->len - start);
    tmpl_put_text(ctx, "\"");
}

static void put_float(struct tmpl_ctx *ctx, double real)
{
    char text[TMPL_FLOAT_BYTES];

    if (isnan(real))
        tmpl_put_text(ctx, "NaN");
    else if (isinf(real))
        tmpl_put_text(ctx, real < 0 ? "-Infinity" : "Infinity");
    else
        tmpl_put(ctx, text, tmpl_float_print(real, text));
}

static void put_line(struct tmpl_ctx *ctx, const struct tmpl_dump_options *options, uint32_t level)
{
    if (!options->has_indent)
        return;
    tmpl_put_text(ctx, "\n");
    for (uint32_t i = 0; i < level; i++)
        tmpl_put(ctx, options->indent.text, options->indent.len);
}

static void put(struct tmpl_ctx *ctx, const struct tmpl_value *value,
                const struct tmpl_dump_options *options, uint32_t level);

/* What is not a string becomes one as Python does it. */
static void put_key(struct tmpl_ctx *ctx, const struct tmpl_value *key,
                    const struct tmpl_dump_options *options)
{
    if (key->kind == TMPL_STRING) {
        put_string(ctx, key, options->ensure_ascii);
        return;
    }
    if (key->kind == TMPL_TUPLE) {
        tmpl_fail(ctx, STATUS_INVALID, "keys must be str, int, float, bool or None, not tuple");
        return;
    }
    tmpl_put_text(ctx, "\"");
    put(ctx, key, options, 0);
    tmpl_put_text(ctx, "\"");
}

/* Positions of a dict's pairs, sorted by key if asked; NULL after a failure. */
static const struct tmpl_pair *sorted_pairs(struct tmpl_ctx *ctx, const struct tmpl_dict *dict)
{
    struct tmpl_value *keys = tmpl_alloc(ctx, dict->n, sizeof(*keys));
    struct tmpl_value *positions = tmpl_alloc(ctx, dict->n, sizeof(*positions));
    struct tmpl_pair *pairs = tmpl_alloc(ctx, dict->n, sizeof(*pairs));

    if (!keys || !positions || !pairs)
        return NULL;
    for (uint32_t i = 0; i < dict->n; i++) {
        keys[i] = dict->pairs[i].key;
        positions[i] = tmpl_int(i);
    }
    tmpl_sort(ctx, keys, positions, dict->n, false);
    for (uint32_t i = 0; i < dict->n; i++)
        pairs[i] = dict->pairs[positions[i].integer];
    return pairs;
}

static void put_dict(struct tmpl_ctx *ctx, const struct tmpl_dict *dict,
                     const struct tmpl_dump_options *options, uint32_t level)
{
    const struct tmpl_pair *pairs = options->sort_keys ? sorted_pairs(ctx, dict) : dict->pairs;

    if (dict->n == 0 || !pairs) {
        tmpl_put_text(ctx, "{}");
        return;
    }
    tmpl_put_text(ctx, "{");
    for (uint32_t i = 0; i < dict->n && !tmpl_failed(ctx); i++) {
        if (i)
            tmpl_put(ctx, options->item_separator.text, options->item_separator.len);
        put_line(ctx, options, level + 1);
        put_key(ctx, &pairs[i].key, options);
        tmpl_put(ctx, options->key_separator.text, options->key_separator.len);
        put(ctx, &pairs[i].value, options, level + 1);
    }
    put_line(ctx, options, level);
    tmpl_put_text(ctx, "}");
}

static void put_list(struct tmpl_ctx *ctx, const struct tmpl_value *value,
                     const struct tmpl_dump_options *options, uint32_t level)
{
    if (value->len == 0) {
        tmpl_put_text(ctx, "[]");
        return;
    }
    tmpl_put_text(ctx, "[");
    for (uint32_t i = 0; i < value->len && !tmpl_failed(ctx); i++) {
        if (i)
            tmpl_put(ctx, options->item_separator.text, options->item_separator.len);
        put_line(ctx, options, level + 1);
        put(ctx, &value->items[i], options, level + 1);
    }
    put_line(ctx, options, level);
    tmpl_put_text(ctx, "]");
}

static void put(struct tmpl_ctx *ctx, const struct tmpl_value *value,
                const struct tmpl_dump_options *options, uint32_t level)
{
    if (!tmpl_enter(ctx))
        return;
    switch (value->kind) {
    case TMPL_NONE:
        tmpl_put_text(ctx, "null");
        break;
    case TMPL_BOOL:
        tmpl_put_text(ctx, value->boolean ? "true" : "false");
        break;
    case TMPL_INT:
    case TMPL_BIG:
        tmpl_put_repr(ctx, value);
        break;
    case TMPL_FLOAT:
        put_float(ctx, value->real);
        break;
    case TMPL_STRING:
        put_string(ctx, value, options->ensure_ascii);
        break;
    case TMPL_LIST:
    case TMPL_TUPLE:
        put_list(ctx, value, options, level);
        break;
    case TMPL_DICT:
        put_dict(ctx, value->dict, options, level);
        break;
    default:
        tmpl_fail(ctx, STATUS_INVALID, "Object of type %s is not JSON serializable",
                  tmpl_type_name(value));
    }
    tmpl_leave(ctx);
}

void tmpl_put_json(struct tmpl_ctx *ctx, const struct tmpl_value *value,
                   const struct tmpl_dump_options *options)
{
    put(ctx, value, options, 0);
}
