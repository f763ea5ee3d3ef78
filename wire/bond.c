/* A node's sessions with its routers. See bond.h for the state table. */
#include "wire/bond.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "wire/plant.h"
#include "wire/session.h"

enum bond_state { BOND_FREE, BOND_DOWN, BOND_JOINING, BOND_REFUSED, BOND_UP };

struct bond_router {
    enum bond_state state;
    struct wire_session session;
    uint32_t number;     /* of the last session tried */
    uint64_t refused_ns; /* when the last refusal came */
    bool lost;           /* not yet taken by bond_take_lost */
};

struct bond {
    struct bond_cfg cfg;
    uint32_t n_numbers; /* session numbers given out, over all routers */
    struct bond_router routers[BOND_ROUTERS_MAX];
};

enum status bond_create(const struct bond_cfg *cfg, struct bond **out)
{
    struct bond *bond = mem_alloc_zero(1, sizeof(*bond));
    if (!bond)
        return STATUS_NO_MEMORY;
    bond->cfg = *cfg;
    *out = bond;
    return STATUS_OK;
}

void bond_destroy(struct bond *bond)
{
    mem_free(bond);
}

static struct bond_router *router_find(struct bond *bond, uint32_t link)
{
    for (size_t i = 0; i < BOND_ROUTERS_MAX; i++) {
        struct bond_router *router = &bond->routers[i];
        if (router->state != BOND_FREE && router->session.link == link)
            return router;
    }
    return NULL;
}

static void router_join(struct bond *bond, struct bond_router *router, uint32_t link,
                        struct wire_out *out, uint64_t now_ns)
{
    struct wire_msg msg;

    wire_session_open(&router->session, link, ++bond->n_numbers, bond->cfg.self, 0, now_ns);
    router->state = BOND_JOINING;
    wire_msg_init(&msg, WIRE_KIND_JOIN);
    msg.join = bond->cfg.join;
    (void)wire_session_post(&router->session, out, &msg);
}

/* The session is over; whatever it carried counts as lost. */
static void router_lose(struct bond_router *router)
{
    if (router->state == BOND_UP && !PLANTED(22))
        router->lost = true;
}

enum status bond_link_up(struct bond *bond, uint32_t link, struct wire_out *out, uint64_t now_ns)
{
    struct bond_router *router = router_find(bond, link);

    for (size_t i = 0; !router && i < BOND_ROUTERS_MAX; i++)
        if (bond->routers[i].state == BOND_FREE)
            router = &bond->routers[i];
    if (!router)
        return STATUS_FULL;
    router_lose(router);
    router_join(bond, router, link, out, now_ns);
    return STATUS_OK;
}

void bond_link_down(struct bond *bond, uint32_t link)
{
    struct bond_router *router = router_find(bond, link);

    if (!router)
        return;
    router_lose(router);
    router->state = router->lost ? BOND_DOWN : BOND_FREE;
}

bool bond_has(const struct bond *bond, uint32_t link)
{
    return router_find((struct bond *)bond, link) != NULL;
}

static enum status take_bye(struct bond *bond, struct bond_router *router,
                            const struct wire_msg *msg, struct wire_out *out, uint64_t now_ns)
{
    enum status code = (enum status)msg->bye.code;

    /* A bye about an older session of ours says nothing about this one. */
    if (msg->session != router->session.number || router->state == BOND_REFUSED)
        return STATUS_AGAIN;
    router_lose(router);
    if (router->state == BOND_JOINING || code == STATUS_INCOMPATIBLE) {
        char text[WIRE_ERROR_MAX];

        snprintf(text, sizeof(text), "%.*s", (int)msg->bye.text.len, msg->bye.text.at);
        LOG_WARN("node", "a router refused this node", log_status(code), log_str("text", text));
        router->state = BOND_REFUSED;
        router->refused_ns = now_ns;
    } else {
        router_join(bond, router, router->session.link, out, now_ns);
    }
    return STATUS_AGAIN;
}

enum status bond_take(struct bond *bond, uint32_t link, const struct wire_msg *msg,
                      struct wire_out *out, uint64_t now_ns)
{
    struct bond_router *router = router_find(bond, link);
    enum status status;

    if (!router || router->state == BOND_DOWN)
        return STATUS_AGAIN;
    if (msg->kind == WIRE_KIND_BYE)
        return take_bye(bond, router, msg, out, now_ns);
    if (router->state == BOND_REFUSED)
        return STATUS_AGAIN;
    if (router->session.peer == 0 && msg->kind == WIRE_KIND_WELCOME &&
        msg->session == router->session.number)
        router->session.peer = msg->from;
    status = wire_session_take(&router->session, msg, now_ns);
    if (status == STATUS_LOST) {
        router_lose(router);
        router_join(bond, router, link, out, now_ns);
        return STATUS_AGAIN;
    }
    if (status != STATUS_OK)
        return STATUS_AGAIN;
    if (msg->kind == WIRE_KIND_WELCOME) {
        router->state = BOND_UP;
        return STATUS_AGAIN;
    }
    if (msg->kind == WIRE_KIND_HEARTBEAT || router->state != BOND_UP)
        return STATUS_AGAIN;
    return STATUS_OK;
}

void bond_post(struct bond *bond, uint32_t link, struct wire_out *out, struct wire_msg *msg)
{
    struct bond_router *router = router_find(bond, link);

    if (router && router->state == BOND_UP)
        (void)wire_session_post(&router->session, out, msg);
}

void bond_tick(struct bond *bond, const struct wire_heartbeat *beat, struct wire_out *out,
               uint64_t now_ns)
{
    for (size_t i = 0; i < BOND_ROUTERS_MAX; i++) {
        struct bond_router *router = &bond->routers[i];
        struct wire_msg msg;

        if (router->state == BOND_REFUSED &&
            now_ns - router->refused_ns >= BOND_REFUSED_MS * NS_PER_MS)
            router_join(bond, router, router->session.link, out, now_ns);
        if (router->state != BOND_UP && router->state != BOND_JOINING)
            continue;
        if (wire_session_silent(&router->session, now_ns)) {
            router_lose(router);
            router_join(bond, router, router->session.link, out, now_ns);
        } else if (router->state == BOND_UP && wire_session_beat_due(&router->session, now_ns)) {
            router->session.beat_ns = now_ns;
            wire_msg_init(&msg, WIRE_KIND_HEARTBEAT);
            msg.heartbeat = *beat;
            (void)wire_session_post(&router->session, out, &msg);
        }
    }
}

bool bond_take_lost(struct bond *bond, uint32_t *link_out)
{
    for (size_t i = 0; i < BOND_ROUTERS_MAX; i++) {
        struct bond_router *router = &bond->routers[i];

        if (!router->lost)
            continue;
        router->lost = false;
        *link_out = router->session.link;
        if (router->state == BOND_DOWN)
            router->state = BOND_FREE;
        return true;
    }
    return false;
}

void bond_leave(struct bond *bond, enum status code, struct wire_out *out)
{
    for (size_t i = 0; i < BOND_ROUTERS_MAX; i++) {
        struct bond_router *router = &bond->routers[i];
        struct wire_msg msg;

        if (router->state != BOND_UP)
            continue;
        wire_msg_init(&msg, WIRE_KIND_BYE);
        msg.bye.code = code;
        msg.bye.text = wire_span_of(status_text(code));
        (void)wire_session_post(&router->session, out, &msg);
    }
}

uint32_t bond_n_up(const struct bond *bond)
{
    uint32_t n = 0;

    for (size_t i = 0; i < BOND_ROUTERS_MAX; i++)
        n += bond->routers[i].state == BOND_UP;
    return n;
}
