/* Methods of Python's types that templates may call. What the sandbox forbids (all that changes a
 * list or dict, all that starts with an underscore) is undefined with a reason; what Python has and
 * we do not is an error that names it, never a silent nothing. */
#include "model/tmpl_filters.h"

#include <string.h>

#include "model/tmpl_strings.h"

static bool given(const struct tmpl_value *arg)
{
    return arg->kind != TMPL_MISSING && arg->kind != TMPL_NONE;
}

static bool want_string(struct tmpl_ctx *ctx, const struct tmpl_value *arg, const char *what)
{
    if (arg->kind == TMPL_STRING)
        return true;
    if (arg->kind == TMPL_UNDEFINED)
        tmpl_fail_undefined(ctx, arg);
    else
        tmpl_fail(ctx, STATUS_INVALID, "%s needs a string, not '%s'.", what, tmpl_type_name(arg));
    return false;
}

/* --- str: whole text --- */

TMPL_FILTER(str_upper)
{
    (void)args;
    (void)raw;
    return tmpl_str_case(ctx, subject, TMPL_TO_UPPER);
}

TMPL_FILTER(str_lower)
{
    (void)args;
    (void)raw;
    return tmpl_str_case(ctx, subject, TMPL_TO_LOWER);
}

TMPL_FILTER(str_capitalize)
{
    (void)args;
    (void)raw;
    return tmpl_str_capitalize(ctx, subject);
}

/* str.title: every letter after what is no letter starts a word. */
TMPL_FILTER(str_title)
{
    size_t mark = tmpl_mark(ctx), bytes;
    bool inside = false;
    struct tmpl_value text;

    (void)args;
    (void)raw;
    for (size_t i = 0; i < subject.len && !tmpl_failed(ctx); i += bytes) {
        uint32_t code = tmpl_utf8_decode(subject.text + i, &bytes);
        char mapped[TMPL_CASE_BYTES];

        if (inside && code == 0x3a3 && tmpl_is_final_sigma(subject.text, subject.len, i))
            tmpl_put_code(ctx, 0x3c2);
        else
            tmpl_put(ctx, mapped,
                     tmpl_case_map(code, inside ? TMPL_TO_LOWER : TMPL_TO_TITLE, mapped));
        inside = tmpl_is_upper(code) || tmpl_is_lower(code) || tmpl_is_title(code);
    }
    text = tmpl_take(ctx, mark);
    text.flags = subject.flags;
    return text;
}

TMPL_FILTER(str_swapcase)
{
    size_t mark = tmpl_mark(ctx), bytes;
    struct tmpl_value text;

    (void)args;
    (void)raw;
    for (size_t i = 0; i < subject.len && !tmpl_failed(ctx); i += bytes) {
        uint32_t code = tmpl_utf8_decode(subject.text + i, &bytes);
        char mapped[TMPL_CASE_BYTES];

        if (code == 0x3a3 && tmpl_is_final_sigma(subject.text, subject.len, i))
            tmpl_put_code(ctx, 0x3c2);
        else if (tmpl_is_upper(code))
            tmpl_put(ctx, mapped, tmpl_case_map(code, TMPL_TO_LOWER, mapped));
        else if (tmpl_is_lower(code))
            tmpl_put(ctx, mapped, tmpl_case_map(code, TMPL_TO_UPPER, mapped));
        else
            tmpl_put(ctx, subject.text + i, bytes);
    }
    text = tmpl_take(ctx, mark);
    text.flags = subject.flags;
    return text;
}

TMPL_FILTER(str_strip)
{
    (void)raw;
    return tmpl_str_strip(ctx, subject, args[0], true, true);
}

TMPL_FILTER(str_lstrip)
{
    (void)raw;
    return tmpl_str_strip(ctx, subject, args[0], true, false);
}

TMPL_FILTER(str_rstrip)
{
    (void)raw;
    return tmpl_str_strip(ctx, subject, args[0], false, true);
}

TMPL_FILTER(str_replace)
{
    int64_t count = -1;

    (void)raw;
    if (!want_string(ctx, &args[0], "replace") || !want_string(ctx, &args[1], "replace") ||
        (args[2].kind != TMPL_MISSING &&
         !tmpl_get_int(ctx, &args[2], "The count of replace", &count)))
        return subject;
    if (subject.flags & TMPL_MARKUP)
        return tmpl_str_replace(ctx, subject, args[0], tmpl_escape(ctx, args[1]), count);
    return tmpl_str_replace(ctx, subject, args[0], args[1], count);
}

TMPL_FILTER(str_splitlines)
{
    (void)raw;
    return tmpl_str_splitlines(ctx, subject,
                               args[0].kind != TMPL_MISSING && tmpl_truth(ctx, &args[0]));
}

TMPL_FILTER(str_join)
{
    struct tmpl_iter *iter = tmpl_iterate(ctx, args[0]);
    size_t mark = tmpl_mark(ctx);
    struct tmpl_value item;

    (void)raw;
    for (bool first = true; iter && tmpl_iter_next(ctx, iter, &item); first = false) {
        if (!want_string(ctx, &item, "join"))
            break;
        if (subject.flags & TMPL_MARKUP)
            item = tmpl_escape(ctx, item);
        if (!first)
            tmpl_put(ctx, subject.text, subject.len);
        tmpl_put(ctx, item.text, item.len);
    }
    item = tmpl_take(ctx, mark);
    item.flags = subject.flags;
    return item;
}

TMPL_FILTER(str_removeprefix)
{
    (void)raw;
    if (want_string(ctx, &args[0], "removeprefix") && subject.len >= args[0].len &&
        memcmp(subject.text, args[0].text, args[0].len) == 0)
        return tmpl_part(subject, subject.text + args[0].len, subject.len - args[0].len);
    return subject;
}

TMPL_FILTER(str_removesuffix)
{
    (void)raw;
    if (want_string(ctx, &args[0], "removesuffix") && subject.len >= args[0].len &&
        memcmp(subject.text + subject.len - args[0].len, args[0].text, args[0].len) == 0)
        return tmpl_part(subject, subject.text, subject.len - args[0].len);
    return subject;
}

static struct tmpl_value pad(struct tmpl_ctx *ctx, struct tmpl_value subject,
                             const struct tmpl_value *args, char align)
{
    struct tmpl_value fill = args[1].kind == TMPL_MISSING ? tmpl_text(" ") : args[1];
    int64_t width, fill_len;

    if (!tmpl_get_int(ctx, &args[0], "The width", &width) || !want_string(ctx, &fill, "Padding"))
        return subject;
    tmpl_length(ctx, &fill, &fill_len);
    if (fill_len != 1)
        return tmpl_fail(ctx, STATUS_INVALID,
                         "The fill character must be exactly one character long");
    return tmpl_str_pad(ctx, subject, width, fill.text, fill.len, align);
}

TMPL_FILTER(str_center)
{
    (void)raw;
    return pad(ctx, subject, args, '^');
}

TMPL_FILTER(str_ljust)
{
    (void)raw;
    return pad(ctx, subject, args, '<');
}

TMPL_FILTER(str_rjust)
{
    (void)raw;
    return pad(ctx, subject, args, '>');
}

TMPL_FILTER(str_zfill)
{
    bool sign = subject.len && (subject.text[0] == '-' || subject.text[0] == '+');
    size_t mark = tmpl_mark(ctx);
    struct tmpl_value text;
    int64_t width, len;

    (void)raw;
    if (!tmpl_get_int(ctx, &args[0], "The width", &width))
        return subject;
    tmpl_length(ctx, &subject, &len);
    tmpl_put(ctx, subject.text, sign);
    for (; len < width && !tmpl_failed(ctx); len++)
        tmpl_put_text(ctx, "0");
    tmpl_put(ctx, subject.text + sign, subject.len - sign);
    text = tmpl_take(ctx, mark);
    text.flags = subject.flags;
    return text;
}

TMPL_FILTER(str_format)
{
    (void)args;
    return tmpl_format_braces(ctx, subject, raw);
}

/* --- str: searching --- */

/* The part between start and end, which are code points; *first is its offset in code points.
 * False if it starts behind the end. */
static bool search_window(struct tmpl_ctx *ctx, struct tmpl_value subject,
                          const struct tmpl_value *args, struct tmpl_value *window, int64_t *first)
{
    int64_t len, bounds[2];
    size_t from, to;

    tmpl_length(ctx, &subject, &len);
    bounds[0] = 0;
    bounds[1] = len;
    for (int i = 0; i < 2; i++) {
        if (!given(&args[1 + i]))
            continue;
        if (!tmpl_get_int(ctx, &args[1 + i], "A bound of the search", &bounds[i]))
            return false;
        if (bounds[i] < 0)
            bounds[i] = bounds[i] + len < 0 ? 0 : bounds[i] + len;
    }
    if (bounds[1] > len)
        bounds[1] = len;
    if (bounds[0] > bounds[1])
        return false;
    from = tmpl_utf8_offset(subject.text, subject.len, (size_t)bounds[0]);
    to = tmpl_utf8_offset(subject.text, subject.len, (size_t)bounds[1]);
    *window = tmpl_part(subject, subject.text + from, to - from);
    *first = bounds[0];
    return true;
}

/* The last place of `part`, which libc has no search for. Each comparison is paid for. */
static const char *find_last(struct tmpl_ctx *ctx, struct tmpl_value text, struct tmpl_value part)
{
    const char *at = text.text + text.len;

    if (part.len == 0)
        return at;
    for (at -= part.len < text.len ? part.len : text.len; part.len <= text.len; at--) {
        if (*at == *part.text) {
            if (!tmpl_charge_bytes(ctx, part.len))
                break;
            if (memcmp(at, part.text, part.len) == 0)
                return at;
        }
        if (at == text.text)
            break;
    }
    return NULL;
}

/* The code point where args[0] is found, or -1. */
static int64_t search(struct tmpl_ctx *ctx, struct tmpl_value subject,
                      const struct tmpl_value *args, bool last)
{
    struct tmpl_value window;
    const char *found;
    int64_t first;

    if (!want_string(ctx, &args[0], "A search") ||
        !search_window(ctx, subject, args, &window, &first))
        return -1;
    if (last)
        found = find_last(ctx, window, args[0]);
    else
        found = memmem(window.text, window.len, args[0].text, args[0].len);
    return found ? first + (int64_t)tmpl_utf8_count(window.text, (size_t)(found - window.text))
                 : -1;
}

TMPL_FILTER(str_find)
{
    (void)raw;
    return tmpl_int(search(ctx, subject, args, false));
}

TMPL_FILTER(str_rfind)
{
    (void)raw;
    return tmpl_int(search(ctx, subject, args, true));
}

TMPL_FILTER(str_index)
{
    int64_t found = search(ctx, subject, args, false);

    (void)raw;
    return found < 0 ? tmpl_fail(ctx, STATUS_INVALID, "substring not found") : tmpl_int(found);
}

TMPL_FILTER(str_rindex)
{
    int64_t found = search(ctx, subject, args, true);

    (void)raw;
    return found < 0 ? tmpl_fail(ctx, STATUS_INVALID, "substring not found") : tmpl_int(found);
}

TMPL_FILTER(str_count)
{
    struct tmpl_value window;
    int64_t first, n = 0;

    (void)raw;
    if (!want_string(ctx, &args[0], "count") || !search_window(ctx, subject, args, &window, &first))
        return tmpl_int(0);
    if (args[0].len == 0)
        return tmpl_int((int64_t)tmpl_utf8_count(window.text, window.len) + 1);
    for (;;) {
        const char *found = memmem(window.text, window.len, args[0].text, args[0].len);

        if (!found)
            return tmpl_int(n);
        n++;
        window.len -= (uint32_t)(found + args[0].len - window.text);
        window.text = found + args[0].len;
    }
}

/* startswith and endswith, for one string or a tuple of them. */
static struct tmpl_value has_end(struct tmpl_ctx *ctx, struct tmpl_value subject,
                                 const struct tmpl_value *args, bool at_end)
{
    const struct tmpl_value *parts = &args[0];
    struct tmpl_value window;
    uint32_t n = 1;
    int64_t first;

    if (args[0].kind == TMPL_TUPLE) {
        parts = args[0].items;
        n = args[0].len;
    }
    if (!search_window(ctx, subject, args, &window, &first))
        return tmpl_bool(false);
    for (uint32_t i = 0; i < n; i++) {
        if (!want_string(ctx, &parts[i], at_end ? "endswith" : "startswith"))
            break;
        if (parts[i].len <= window.len &&
            memcmp(at_end ? window.text + window.len - parts[i].len : window.text, parts[i].text,
                   parts[i].len) == 0)
            return tmpl_bool(true);
    }
    return tmpl_bool(false);
}

TMPL_FILTER(str_startswith)
{
    (void)raw;
    return has_end(ctx, subject, args, false);
}

TMPL_FILTER(str_endswith)
{
    (void)raw;
    return has_end(ctx, subject, args, true);
}

/* --- str: splitting --- */

/* The next word of text split at white space, from the left or right; the rest stays in *text. */
static bool next_word(struct tmpl_value *text, bool right, bool whole, struct tmpl_value *word)
{
    const char *start = text->text;
    size_t len = text->len, i, bytes;

    tmpl_trim(&start, &len, !right, right);
    *text = tmpl_part(*text, start, len);
    if (len == 0)
        return false;
    if (whole) {
        *word = *text;
        text->len = 0;
        return true;
    }
    if (right) {
        for (i = len; i > 0; i = tmpl_utf8_before(start, i)) {
            if (tmpl_is_space(tmpl_utf8_decode(start + tmpl_utf8_before(start, i), &bytes)))
                break;
        }
        *word = tmpl_part(*text, start + i, len - i);
        text->len = (uint32_t)i;
        return true;
    }
    for (i = 0; i < len && !tmpl_is_space(tmpl_utf8_decode(start + i, &bytes)); i += bytes)
        ;
    *word = tmpl_part(*text, start, i);
    *text = tmpl_part(*text, start + i, len - i);
    return true;
}

/* The same at a separator; always finds something until *done. */
static bool next_part(struct tmpl_ctx *ctx, struct tmpl_value *text, struct tmpl_value separator,
                      bool right, bool whole, bool *done, struct tmpl_value *part)
{
    const char *found = NULL, *end = text->text + text->len;

    if (*done)
        return false;
    if (!whole)
        found = right ? find_last(ctx, *text, separator)
                      : memmem(text->text, text->len, separator.text, separator.len);
    if (!found) {
        *part = *text;
        *done = true;
    } else if (right) {
        *part = tmpl_part(*text, found + separator.len, (size_t)(end - found) - separator.len);
        text->len = (uint32_t)(found - text->text);
    } else {
        *part = tmpl_part(*text, text->text, (size_t)(found - text->text));
        *text = tmpl_part(*text, found + separator.len, (size_t)(end - found) - separator.len);
    }
    return true;
}

static struct tmpl_value split(struct tmpl_ctx *ctx, struct tmpl_value subject,
                               const struct tmpl_value *args, bool right)
{
    struct tmpl_items items = {0};
    bool by_space = !given(&args[0]), done = false;
    struct tmpl_value part;
    int64_t most = -1;

    if (!by_space && (!want_string(ctx, &args[0], "split")))
        return subject;
    if (!by_space && args[0].len == 0)
        return tmpl_fail(ctx, STATUS_INVALID, "empty separator");
    if (args[1].kind != TMPL_MISSING && !tmpl_get_int(ctx, &args[1], "maxsplit", &most))
        return subject;
    tmpl_charge_bytes(ctx, subject.len);
    for (;;) {
        bool whole = most >= 0 && (int64_t)items.n >= most;

        if (by_space ? !next_word(&subject, right, whole, &part)
                     : !next_part(ctx, &subject, args[0], right, whole, &done, &part))
            break;
        if (!tmpl_items_add(ctx, &items, part))
            break;
    }
    for (size_t i = 0; right && i < items.n / 2; i++) {
        part = items.items[i];
        items.items[i] = items.items[items.n - 1 - i];
        items.items[items.n - 1 - i] = part;
    }
    return tmpl_make_list(ctx, items.items, items.n, TMPL_LIST);
}

TMPL_FILTER(str_split)
{
    (void)raw;
    return split(ctx, subject, args, false);
}

TMPL_FILTER(str_rsplit)
{
    (void)raw;
    return split(ctx, subject, args, true);
}

static struct tmpl_value partition(struct tmpl_ctx *ctx, struct tmpl_value subject,
                                   struct tmpl_value separator, bool right)
{
    struct tmpl_value *parts = tmpl_alloc(ctx, 3, sizeof(*parts));
    const char *found;

    if (!parts || !want_string(ctx, &separator, "partition"))
        return subject;
    if (separator.len == 0)
        return tmpl_fail(ctx, STATUS_INVALID, "empty separator");
    found = right ? find_last(ctx, subject, separator)
                  : memmem(subject.text, subject.len, separator.text, separator.len);
    parts[0] = parts[1] = parts[2] = tmpl_part(subject, subject.text, 0);
    if (!found) {
        parts[right ? 2 : 0] = subject;
    } else {
        size_t before = (size_t)(found - subject.text), after = before + separator.len;

        parts[0] = tmpl_part(subject, subject.text, before);
        parts[1] = tmpl_part(subject, found, separator.len);
        parts[2] = tmpl_part(subject, subject.text + after, subject.len - after);
    }
    return tmpl_make_list(ctx, parts, 3, TMPL_TUPLE);
}

TMPL_FILTER(str_partition)
{
    (void)raw;
    return partition(ctx, subject, args[0], false);
}

TMPL_FILTER(str_rpartition)
{
    (void)raw;
    return partition(ctx, subject, args[0], true);
}

const struct tmpl_filter tmpl_str_methods[] = {
    {"capitalize", str_capitalize, {"", 0, false}},
    {"center", str_center, {"width,fillchar", 1, false}},
    {"count", str_count, {"sub,start,end", 1, false}},
    {"endswith", str_endswith, {"suffix,start,end", 1, false}},
    {"find", str_find, {"sub,start,end", 1, false}},
    {"format", str_format, {NULL, 0, true}},
    {"index", str_index, {"sub,start,end", 1, false}},
    {"join", str_join, {"iterable", 1, false}},
    {"ljust", str_ljust, {"width,fillchar", 1, false}},
    {"lower", str_lower, {"", 0, false}},
    {"lstrip", str_lstrip, {"chars", 0, false}},
    {"partition", str_partition, {"sep", 1, false}},
    {"removeprefix", str_removeprefix, {"prefix", 1, false}},
    {"removesuffix", str_removesuffix, {"suffix", 1, false}},
    {"replace", str_replace, {"old,new,count", 2, false}},
    {"rfind", str_rfind, {"sub,start,end", 1, false}},
    {"rindex", str_rindex, {"sub,start,end", 1, false}},
    {"rjust", str_rjust, {"width,fillchar", 1, false}},
    {"rpartition", str_rpartition, {"sep", 1, false}},
    {"rsplit", str_rsplit, {"sep,maxsplit", 0, true}},
    {"rstrip", str_rstrip, {"chars", 0, false}},
    {"split", str_split, {"sep,maxsplit", 0, true}},
    {"splitlines", str_splitlines, {"keepends", 0, true}},
    {"startswith", str_startswith, {"prefix,start,end", 1, false}},
    {"strip", str_strip, {"chars", 0, false}},
    {"swapcase", str_swapcase, {"", 0, false}},
    {"title", str_title, {"", 0, false}},
    {"upper", str_upper, {"", 0, false}},
    {"zfill", str_zfill, {"width", 1, false}},
    {NULL, NULL, {NULL, 0, false}},
};
