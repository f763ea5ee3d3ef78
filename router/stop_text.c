/* Each string has its own Knuth-Morris-Pratt automaton: at most 16 steps a byte, amortised, in a
 * table of two bytes for each byte of the strings. Aho and Corasick's one automaton for all would
 * take one step a byte, but a table of 256 ways for each of up to 8192 states; a token has some
 * four bytes, so there is nothing to win.
 *
 * The automaton's state is how much of the string the text ends with. The largest of the states is
 * what is held back, and its bytes can be read from the string itself. */
#include "router/stop_text.h"

#include <string.h>

#include "base/check.h"
#include "base/mem.h"

struct stop_string {
    const uint8_t *bytes;  /* [len] */
    const uint16_t *falls; /* [len]: the longest border of the first i + 1 bytes */
    uint16_t len;
    uint16_t state; /* the text ends with so many of its bytes; below len until the match */
};

struct stop_text {
    bool include, matched;
    uint16_t n;
    uint16_t longest; /* index of the string with the largest state */
    uint32_t n_pushed;
    size_t given; /* bytes given out */
    struct stop_match match;
    struct stop_string strings[STOP_STRINGS_MAX];
};

/* ---- life ---- */

static void falls_fill(const uint8_t *bytes, uint16_t *falls, size_t len)
{
    uint16_t border = 0;

    falls[0] = 0;
    for (size_t i = 1; i < len; i++) {
        while (border > 0 && bytes[i] != bytes[border])
            border = falls[border - 1];
        border += bytes[i] == bytes[border];
        falls[i] = border;
    }
}

enum status stop_text_create(const struct wire_span *strings, size_t n, bool include,
                             struct stop_text **out)
{
    size_t bytes = 0;
    struct stop_text *stop;
    uint16_t *falls;
    uint8_t *at;

    if (n == 0 || n > STOP_STRINGS_MAX)
        return STATUS_INVALID;
    for (size_t i = 0; i < n; i++) {
        if (strings[i].len == 0)
            return STATUS_INVALID;
        if (strings[i].len > STOP_BYTES_MAX)
            return STATUS_TOO_BIG;
        bytes += strings[i].len;
    }
    stop = mem_alloc_zero(1, sizeof(*stop) + bytes * (sizeof(*falls) + 1));
    if (!stop)
        return STATUS_NO_MEMORY;
    stop->n = (uint16_t)n;
    stop->include = include;
    falls = (uint16_t *)(void *)(stop + 1);
    at = (uint8_t *)(falls + bytes);
    for (size_t i = 0; i < n; i++) {
        const size_t len = strings[i].len;

        memcpy(at, strings[i].at, len);
        falls_fill(at, falls, len);
        stop->strings[i] = (struct stop_string){.bytes = at, .falls = falls, .len = (uint16_t)len};
        at += len;
        falls += len;
    }
    *out = stop;
    return STATUS_OK;
}

void stop_text_destroy(struct stop_text *stop)
{
    mem_free(stop);
}

void stop_text_reset(struct stop_text *stop)
{
    stop->matched = false;
    stop->longest = 0;
    stop->n_pushed = 0;
    stop->given = 0;
    for (size_t i = 0; i < stop->n; i++)
        stop->strings[i].state = 0;
}

/* ---- the text ---- */

size_t stop_text_held(const struct stop_text *stop)
{
    return stop->matched ? 0 : stop->strings[stop->longest].state;
}

/* Takes one byte; the index of the longest string that is complete with it, or -1. */
static int step(struct stop_text *stop, uint8_t byte)
{
    int complete = -1;

    stop->longest = 0;
    for (int i = 0; i < stop->n; i++) {
        struct stop_string *string = &stop->strings[i];
        uint16_t state = string->state;

        while (state > 0 && string->bytes[state] != byte)
            state = string->falls[state - 1];
        state += string->bytes[state] == byte;
        if (state == string->len) {
            if (complete < 0 || string->len > stop->strings[complete].len)
                complete = i;
            state = string->falls[state - 1]; /* only kept below len: the stream has ended */
        }
        string->state = state;
        if (state > stop->strings[stop->longest].state)
            stop->longest = (uint16_t)i;
    }
    return complete;
}

/* Gives out the first `n` bytes of what was held (`held`, the beginning of string `longest`) and
 * `text` put together. */
static size_t give(struct stop_text *stop, uint16_t longest, size_t held, const char *text,
                   size_t n, char *out)
{
    const size_t head = n < held ? n : held;

    memcpy(out, stop->strings[longest].bytes, head);
    if (n > head)
        memcpy(out + head, text, n - head);
    stop->given += n;
    return n;
}

enum status stop_text_push(struct stop_text *stop, const char *text, size_t len, char *out,
                           size_t cap, size_t *out_len)
{
    const size_t held = stop_text_held(stop);
    const uint16_t longest = stop->longest;
    const uint32_t token = stop->n_pushed;

    if (cap < held || cap - held < len)
        return STATUS_TOO_BIG;
    stop->n_pushed++;
    for (size_t i = 0; i < len && !stop->matched; i++) {
        const int complete = step(stop, (uint8_t)text[i]);
        size_t n = held + i + 1;

        if (complete < 0)
            continue;
        CHECK(stop->strings[complete].len <= n);
        stop->matched = true;
        if (!stop->include)
            n -= stop->strings[complete].len;
        *out_len = give(stop, longest, held, text, n, out);
        stop->match = (struct stop_match){(uint32_t)complete, token, stop->given};
        return STATUS_OK;
    }
    if (stop->matched)
        *out_len = 0;
    else
        *out_len = give(stop, longest, held, text, held + len - stop_text_held(stop), out);
    return STATUS_OK;
}

enum status stop_text_flush(struct stop_text *stop, char *out, size_t cap, size_t *out_len)
{
    const size_t held = stop_text_held(stop);

    if (cap < held)
        return STATUS_TOO_BIG;
    *out_len = give(stop, stop->longest, held, NULL, held, out);
    for (size_t i = 0; i < stop->n; i++)
        stop->strings[i].state = 0;
    return STATUS_OK;
}

bool stop_text_matched(const struct stop_text *stop, struct stop_match *out)
{
    if (stop->matched)
        *out = stop->match;
    return stop->matched;
}

struct wire_span stop_text_string(const struct stop_text *stop, uint32_t string)
{
    CHECK(string < stop->n);
    return (struct wire_span){(const char *)stop->strings[string].bytes, stop->strings[string].len};
}
