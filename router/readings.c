/* Readings. A job carries the message's own bytes and is decoded again by the clerk: cheaper than a
 * deep copy that knows every field. The workspace is the clerk's thread's; a job's ids are copied
 * out of it before the next job runs. */
#include "router/readings.h"

#include <string.h>

#include "base/arena.h"
#include "base/check.h"
#include "base/mem.h"
#include "model/tokenizer.h"

#define ARENA_CHUNK ((size_t)16 << 10)
#define ARENA_MAX ((size_t)64 << 20) /* arrays of one decoded message, and its ids */

struct readings {
    struct clerk *clerk;
    struct prompt_reader reader;
    struct tokenizer_workspace *work; /* the clerk's thread's */
    readings_done_fn on_done;
    void *ctx;
};

struct reading {
    struct clerk_job job;
    struct readings *readings;
    struct arena *arena;
    uint32_t link;
    int64_t now_unix_s;
    struct wire_msg msg;
    enum status status;
    char why[WIRE_ERROR_MAX + 1];
    size_t len;
    uint8_t bytes[];
};

static enum status read_prompt(struct reading *reading)
{
    const struct readings *readings = reading->readings;
    struct wire_generate *generate = &reading->msg.generate;
    struct wire_u32s ids;
    uint32_t *copy;
    enum status status = prompt_read(&readings->reader, readings->work, reading->now_unix_s,
                                     generate, &ids, reading->why);

    if (status != STATUS_OK)
        return status;
    copy = arena_alloc(reading->arena, ids.n * sizeof(*copy));
    if (!copy)
        return STATUS_NO_MEMORY;
    memcpy(copy, ids.at, ids.n * sizeof(*copy));
    generate->tokens = (struct wire_u32s){copy, ids.n};
    generate->text = (struct wire_span){NULL, 0};
    generate->roles = generate->contents = (struct wire_texts){NULL, 0};
    return STATUS_OK;
}

static void on_run(struct clerk_job *job)
{
    struct reading *reading = (struct reading *)job;
    const char *why = "out of memory";

    reading->status =
        wire_msg_decode(reading->bytes, reading->len, reading->arena, &reading->msg, &why);
    CHECK(reading->status == STATUS_OK || reading->status == STATUS_NO_MEMORY);
    strcpy(reading->why, "the router is out of memory");
    if (reading->status == STATUS_OK)
        reading->status = read_prompt(reading);
    else
        wire_msg_init(&reading->msg, WIRE_KIND_GENERATE);
}

static void reading_free(struct clerk_job *job)
{
    struct reading *reading = (struct reading *)job;

    arena_destroy(reading->arena);
    mem_free(reading);
}

static void on_done(struct clerk_job *job)
{
    const struct reading *reading = (struct reading *)job;

    reading->readings->on_done(reading->readings->ctx, reading->link, &reading->msg,
                               reading->status, reading->why);
    reading_free(job);
}

enum status readings_post(struct readings *readings, uint32_t link, const void *bytes, size_t len,
                          int64_t now_unix_s)
{
    struct reading *reading = mem_alloc(sizeof(*reading) + len);

    if (!reading)
        return STATUS_NO_MEMORY;
    memset(reading, 0, sizeof(*reading));
    if (arena_create(ARENA_CHUNK, ARENA_MAX, &reading->arena) != STATUS_OK) {
        mem_free(reading);
        return STATUS_NO_MEMORY;
    }
    reading->job.run = on_run;
    reading->job.done = on_done;
    reading->job.drop = reading_free;
    reading->job.tenant = link;
    reading->readings = readings;
    reading->link = link;
    reading->now_unix_s = now_unix_s;
    reading->len = len;
    memcpy(reading->bytes, bytes, len);
    clerk_post(readings->clerk, &reading->job);
    return STATUS_OK;
}

enum status readings_create(struct clerk *clerk, const struct prompt_reader *reader,
                            readings_done_fn done, void *ctx, struct readings **out)
{
    struct readings *readings = mem_alloc_zero(1, sizeof(*readings));

    if (!readings)
        return STATUS_NO_MEMORY;
    readings->clerk = clerk;
    readings->reader = *reader;
    readings->on_done = done;
    readings->ctx = ctx;
    if (tokenizer_workspace_create(reader->tok, &readings->work) != STATUS_OK) {
        mem_free(readings);
        return STATUS_NO_MEMORY;
    }
    *out = readings;
    return STATUS_OK;
}

void readings_destroy(struct readings *readings)
{
    if (!readings)
        return;
    tokenizer_workspace_destroy(readings->work);
    mem_free(readings);
}
