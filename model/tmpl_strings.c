/* str's methods that filters share. */
#include "model/tmpl_strings.h"

#include <string.h>

/* The text put since `mark`, as markup if `like` is. */
static struct tmpl_value take_like(struct tmpl_ctx *ctx, size_t mark, struct tmpl_value like)
{
    struct tmpl_value text = tmpl_take(ctx, mark);

    text.flags = like.flags;
    return text;
}

static void put_case(struct tmpl_ctx *ctx, struct tmpl_value text, size_t from, enum tmpl_case to)
{
    char mapped[TMPL_CASE_BYTES];
    size_t bytes;

    for (size_t i = from; i < text.len && !tmpl_failed(ctx); i += bytes) {
        uint32_t code = tmpl_utf8_decode(text.text + i, &bytes);

        if (code == 0x3a3 && to == TMPL_TO_LOWER && tmpl_is_final_sigma(text.text, text.len, i))
            tmpl_put_code(ctx, 0x3c2);
        else
            tmpl_put(ctx, mapped, tmpl_case_map(code, to, mapped));
    }
}

struct tmpl_value tmpl_str_case(struct tmpl_ctx *ctx, struct tmpl_value text, enum tmpl_case to)
{
    size_t mark = tmpl_mark(ctx);

    put_case(ctx, text, 0, to);
    return take_like(ctx, mark, text);
}

struct tmpl_value tmpl_str_capitalize(struct tmpl_ctx *ctx, struct tmpl_value text)
{
    size_t mark = tmpl_mark(ctx), bytes;
    char mapped[TMPL_CASE_BYTES];
    uint32_t code;

    if (text.len == 0)
        return text;
    code = tmpl_utf8_decode(text.text, &bytes);
    tmpl_put(ctx, mapped, tmpl_case_map(code, TMPL_TO_TITLE, mapped));
    put_case(ctx, text, bytes, TMPL_TO_LOWER);
    return take_like(ctx, mark, text);
}

static bool has_char(struct tmpl_value chars, const char *text, size_t bytes)
{
    return memmem(chars.text, chars.len, text, bytes) != NULL;
}

struct tmpl_value tmpl_str_strip(struct tmpl_ctx *ctx, struct tmpl_value text,
                                 struct tmpl_value chars, bool left, bool right)
{
    const char *start = text.text;
    size_t len = text.len, bytes, at;

    tmpl_charge_bytes(ctx, text.len);
    if (chars.kind == TMPL_MISSING || chars.kind == TMPL_NONE) {
        tmpl_trim(&start, &len, left, right);
        return tmpl_part(text, start, len);
    }
    if (chars.kind != TMPL_STRING)
        return tmpl_fail(ctx, STATUS_INVALID, "strip arg must be None or str");
    tmpl_charge_bytes(ctx, chars.len);
    while (left && len) {
        tmpl_utf8_decode(start, &bytes);
        if (!tmpl_charge_bytes(ctx, chars.len) || !has_char(chars, start, bytes))
            break;
        start += bytes;
        len -= bytes;
    }
    while (right && len) {
        at = tmpl_utf8_before(start, len);
        if (!tmpl_charge_bytes(ctx, chars.len) || !has_char(chars, start + at, len - at))
            break;
        len = at;
    }
    return tmpl_part(text, start, len);
}

/* An empty `old` stands between all characters and at both ends. */
static void put_interleaved(struct tmpl_ctx *ctx, struct tmpl_value text, struct tmpl_value new,
                            int64_t count)
{
    size_t bytes, i = 0;

    while (count != 0 && !tmpl_failed(ctx)) {
        tmpl_put(ctx, new.text, new.len);
        count--;
        if (i >= text.len)
            return;
        tmpl_utf8_decode(text.text + i, &bytes);
        tmpl_put(ctx, text.text + i, bytes);
        i += bytes;
    }
    tmpl_put(ctx, text.text + i, text.len - i);
}

struct tmpl_value tmpl_str_replace(struct tmpl_ctx *ctx, struct tmpl_value text,
                                   struct tmpl_value old, struct tmpl_value new, int64_t count)
{
    const char *at = text.text, *end = text.text + text.len;
    size_t mark = tmpl_mark(ctx);

    if (old.len == 0) {
        put_interleaved(ctx, text, new, count);
        return take_like(ctx, mark, text);
    }
    while (count != 0 && !tmpl_failed(ctx)) {
        const char *found = memmem(at, (size_t)(end - at), old.text, old.len);

        if (!found)
            break;
        tmpl_put(ctx, at, (size_t)(found - at));
        tmpl_put(ctx, new.text, new.len);
        at = found + old.len;
        count--;
    }
    tmpl_put(ctx, at, (size_t)(end - at));
    return take_like(ctx, mark, text);
}

struct tmpl_value tmpl_str_splitlines(struct tmpl_ctx *ctx, struct tmpl_value text, bool keep_ends)
{
    struct tmpl_items items = {0};
    size_t start = 0, bytes;

    tmpl_charge_bytes(ctx, text.len);
    for (size_t i = 0; i < text.len && !tmpl_failed(ctx); i += bytes) {
        uint32_t code = tmpl_utf8_decode(text.text + i, &bytes);

        if (!tmpl_is_line_break(code))
            continue;
        if (code == '\r' && i + 1 < text.len && text.text[i + 1] == '\n')
            bytes = 2;
        tmpl_items_add(ctx, &items,
                       tmpl_part(text, text.text + start, i + (keep_ends ? bytes : 0) - start));
        start = i + bytes;
    }
    if (start < text.len)
        tmpl_items_add(ctx, &items, tmpl_part(text, text.text + start, text.len - start));
    return tmpl_make_list(ctx, items.items, items.n, TMPL_LIST);
}

struct tmpl_value tmpl_str_pad(struct tmpl_ctx *ctx, struct tmpl_value text, int64_t width,
                               const char *fill, size_t fill_len, char align)
{
    int64_t len = (int64_t)tmpl_utf8_count(text.text, text.len), left, margin = width - len;
    size_t mark = tmpl_mark(ctx);

    if (margin <= 0)
        return text;
    /* str.center's own way of rounding. */
    left = align == '<' ? 0 : align == '>' ? margin : margin / 2 + (margin & width & 1);
    for (int64_t i = 0; i < left && !tmpl_failed(ctx); i++)
        tmpl_put(ctx, fill, fill_len);
    tmpl_put(ctx, text.text, text.len);
    for (int64_t i = left; i < margin && !tmpl_failed(ctx); i++)
        tmpl_put(ctx, fill, fill_len);
    return take_like(ctx, mark, text);
}
