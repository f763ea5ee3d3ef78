/* The variable `loop`: where a for stands and what comes before and after. */
#include "model/tmpl_eval.h"

#include <string.h>

/* The item that follows the current one, read ahead; false at the end. */
static bool loop_peek(struct tmpl_ctx *ctx, struct tmpl_loop *loop)
{
    if (!loop->peeked && !loop->ended) {
        loop->peeked = tmpl_iter_next(ctx, loop->iter, &loop->after);
        loop->ended = !loop->peeked;
    }
    return loop->peeked;
}

bool tmpl_loop_next(struct tmpl_ctx *ctx, struct tmpl_loop *loop)
{
    if (!loop_peek(ctx, loop))
        return false;
    loop->index0++;
    loop->before = loop->current;
    loop->current = loop->after;
    loop->peeked = false;
    return true;
}

int64_t tmpl_loop_length(struct tmpl_ctx *ctx, struct tmpl_loop *loop)
{
    struct tmpl_value rest;

    if (loop->length >= 0)
        return loop->length;
    if (loop->source.kind != TMPL_MISSING && tmpl_length(ctx, &loop->source, &loop->length))
        return loop->length;
    /* Without a length of its own the rest is read at once, and kept for the loop. */
    rest = tmpl_to_list(ctx, (struct tmpl_value){.kind = TMPL_ITER, .object = loop->iter});
    if (tmpl_failed(ctx))
        return 0;
    loop->iter = tmpl_iterate(ctx, rest);
    loop->length = (int64_t)rest.len + loop->index0 + 1 + loop->peeked;
    return loop->length;
}

static struct tmpl_value loop_cycle(struct tmpl_ctx *ctx, struct tmpl_value subject,
                                    const struct tmpl_value *args, const struct tmpl_arguments *raw)
{
    const struct tmpl_loop *loop = subject.object;

    (void)args;
    if (raw->n == 0 || raw->n_named)
        return tmpl_fail(ctx, STATUS_INVALID, "loop.cycle needs items, and none by name.");
    return raw->values[loop->index0 % raw->n];
}

static struct tmpl_value loop_changed(struct tmpl_ctx *ctx, struct tmpl_value subject,
                                      const struct tmpl_value *args,
                                      const struct tmpl_arguments *raw)
{
    struct tmpl_loop *loop = subject.object;
    struct tmpl_value now = tmpl_make_list(ctx, raw->values, raw->n, TMPL_TUPLE);

    (void)args;
    if (raw->n_named)
        return tmpl_fail(ctx, STATUS_INVALID, "loop.changed takes no arguments by name.");
    if (loop->changed.kind != TMPL_MISSING && tmpl_equal(ctx, &loop->changed, &now))
        return tmpl_bool(false);
    loop->changed = now;
    return tmpl_bool(true);
}

static const struct tmpl_filter cycle_method = {.name = "cycle", .run = loop_cycle};
static const struct tmpl_filter changed_method = {.name = "changed", .run = loop_changed};

enum attribute {
    LOOP_INDEX,
    LOOP_INDEX0,
    LOOP_REVINDEX,
    LOOP_REVINDEX0,
    LOOP_FIRST,
    LOOP_LAST,
    LOOP_LENGTH,
    LOOP_PREVITEM,
    LOOP_NEXTITEM,
    LOOP_DEPTH,
    LOOP_DEPTH0,
    LOOP_CYCLE,
    LOOP_CHANGED,
    LOOP_ATTRIBUTES,
};

static struct tmpl_value loop_method(struct tmpl_ctx *ctx, struct tmpl_value loop,
                                     const struct tmpl_filter *run)
{
    struct tmpl_method *method = tmpl_alloc(ctx, 1, sizeof(*method));

    if (method)
        *method = (struct tmpl_method){.object = loop, .run = run};
    return (struct tmpl_value){.kind = TMPL_METHOD, .object = method};
}

static struct tmpl_value get(struct tmpl_ctx *ctx, struct tmpl_value value,
                             enum attribute attribute)
{
    struct tmpl_loop *loop = value.object;

    switch (attribute) {
    case LOOP_INDEX:
        return tmpl_int(loop->index0 + 1);
    case LOOP_INDEX0:
        return tmpl_int(loop->index0);
    case LOOP_REVINDEX:
        return tmpl_int(tmpl_loop_length(ctx, loop) - loop->index0);
    case LOOP_REVINDEX0:
        return tmpl_int(tmpl_loop_length(ctx, loop) - loop->index0 - 1);
    case LOOP_FIRST:
        return tmpl_bool(loop->index0 == 0);
    case LOOP_LAST:
        return tmpl_bool(!loop_peek(ctx, loop));
    case LOOP_LENGTH:
        return tmpl_int(tmpl_loop_length(ctx, loop));
    case LOOP_PREVITEM:
        return loop->index0 == 0 ? tmpl_undefined_hint(ctx, "there is no previous item")
                                 : loop->before;
    case LOOP_NEXTITEM:
        return loop_peek(ctx, loop) ? loop->after
                                    : tmpl_undefined_hint(ctx, "there is no next item");
    case LOOP_DEPTH:
        return tmpl_int(1);
    case LOOP_DEPTH0:
        return tmpl_int(0);
    case LOOP_CYCLE:
        return loop_method(ctx, value, &cycle_method);
    default:
        return loop_method(ctx, value, &changed_method);
    }
}

struct tmpl_value tmpl_loop_attribute(struct tmpl_ctx *ctx, struct tmpl_value loop,
                                      const char *name, size_t len)
{
    static const char *const names[] = {"index",  "index0", "revindex", "revindex0", "first",
                                        "last",   "length", "previtem", "nextitem",  "depth",
                                        "depth0", "cycle",  "changed"};

    for (int i = 0; i < LOOP_ATTRIBUTES; i++) {
        if (strlen(names[i]) == len && memcmp(names[i], name, len) == 0)
            return get(ctx, loop, (enum attribute)i);
    }
    return tmpl_missing();
}
