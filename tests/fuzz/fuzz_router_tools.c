/* Feeds a model's text to the parser of tool calls, whole and cut; both must tell the same, no byte
 * may get lost where there is no call, and what ends as a call has arguments that are JSON.
 * The first byte chooses style and mode, the second the cuts. */
#include "tests/fuzz/fuzz.h"

#include <string.h>

#include "base/buf.h"
#include "base/check.h"
#include "router/tool_calls.h"
#include "router/tool_json.h"

#define BYTES_MAX ((size_t)64 << 20)

struct told {
    struct buf all;  /* the kinds and texts of all events, neighbours of one kind put together */
    struct buf rest; /* what is no call */
    struct buf args; /* of the present call */
    int last;
    size_t n_ended;
};

static void append(struct buf *buf, const void *bytes, size_t len)
{
    CHECK(len == 0 || buf_append(buf, bytes, len) == STATUS_OK);
}

/* One object and nothing behind it. (tests/router compares the checker with jansson.) */
static void args_check(const struct told *told)
{
    const uint8_t *bytes = buf_data(&told->args);
    const size_t len = buf_len(&told->args);
    struct tool_json json;

    CHECK(len > 0 && bytes[0] == '{');
    tool_json_init(&json);
    for (size_t i = 0; i < len; i++)
        CHECK(tool_json_step(&json, bytes[i]) == (i + 1 < len ? TOOL_JSON_MORE : TOOL_JSON_DONE));
}

static void on_event(void *ctx, const struct tool_event *event)
{
    struct told *told = ctx;
    const char head[2] = {'\0', (char)event->kind};

    CHECK(event->index < TOOL_CALLS_MAX || event->kind == TOOL_CONTENT);
    if ((int)event->kind != told->last)
        append(&told->all, head, sizeof(head));
    told->last = (int)event->kind;
    append(&told->all, event->text, event->len);
    append(&told->all, event->id, event->id_len);
    if (event->kind == TOOL_CONTENT || event->kind == TOOL_CALL_BROKEN)
        append(&told->rest, event->text, event->len);
    if (event->kind == TOOL_CALL_BEGIN) {
        CHECK(event->len > 0 && event->len <= TOOL_NAME_MAX && event->id_len <= TOOL_ID_MAX);
        buf_clear(&told->args);
    }
    if (event->kind == TOOL_CALL_ARGS)
        append(&told->args, event->text, event->len);
    if (event->kind == TOOL_CALL_END) {
        args_check(told);
        told->n_ended++;
    }
}

static void parse(const uint8_t *data, size_t size, uint32_t cuts, struct told *told)
{
    const enum tool_style style = (enum tool_style)(data[0] % 4);
    struct tool_calls *calls;
    size_t at = 2;

    *told = (struct told){.last = -1};
    buf_init(&told->all, BYTES_MAX);
    buf_init(&told->rest, BYTES_MAX);
    buf_init(&told->args, BYTES_MAX);
    CHECK(tool_calls_create(style, data[0] & 4, on_event, told, &calls) == STATUS_OK);
    while (at < size) {
        size_t n = size - at;

        if (cuts) {
            cuts = cuts * 1664525u + 1013904223u;
            n = 1 + (cuts >> 24) % 12 < n ? 1 + (cuts >> 24) % 12 : n;
        }
        CHECK(tool_calls_push(calls, (const char *)data + at, n) == STATUS_OK);
        at += n;
    }
    tool_calls_finish(calls);
    tool_calls_destroy(calls);
}

static void told_fini(struct told *told)
{
    buf_fini(&told->all);
    buf_fini(&told->rest);
    buf_fini(&told->args);
}

static int same(const struct buf *a, const uint8_t *bytes, size_t len)
{
    return buf_len(a) == len && (len == 0 || memcmp(buf_data(a), bytes, len) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct told whole, cut;

    if (size < 2)
        return 0;
    parse(data, size, 0, &whole);
    parse(data, size, 1u + data[1], &cut);
    CHECK(same(&cut.all, buf_data(&whole.all), buf_len(&whole.all)));
    if (whole.n_ended == 0)
        CHECK(same(&whole.rest, data + 2, size - 2));
    told_fini(&whole);
    told_fini(&cut);
    return 0;
}
