/* Connections of the simulated fleet. One number names a connection on both sides and is never
 * used again. In order and without loss, as TCP gives it, unless a fault says otherwise. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "tests/sim/sim.h"

uint32_t sim_connect(struct sim *sim, uint32_t from, uint32_t to)
{
    struct sim_conn *conn;
    uint32_t number;

    if (!sim->procs[to].alive) { /* tried again, as a socket would */
        sim_at(sim, sim->now_ns + rand_between(&sim->rng, 20, 200) * NS_PER_MS,
               (struct sim_event){.kind = SIM_EVENT_CONNECT,
                                  .proc = from,
                                  .incarnation = sim->procs[from].incarnation,
                                  .other = to});
        return 0;
    }
    if (sim->n_conns + 1 >= SIM_CONNS_MAX) {
        sim_violation(sim, "over %d connections: someone connects without end", SIM_CONNS_MAX);
        return 0;
    }
    number = ++sim->n_conns;
    conn = &sim->conns[number];
    *conn = (struct sim_conn){
        .open = true,
        .end = {from, to},
        .incarnation = {sim->procs[from].incarnation, sim->procs[to].incarnation}};
    sim_at(sim, sim->now_ns + sim->delay_ns,
           (struct sim_event){.kind = SIM_EVENT_LINK_UP,
                              .proc = from,
                              .incarnation = conn->incarnation[0],
                              .conn = number,
                              .arg = conn->incarnation[1]});
    return number;
}

/* A worker keeps trying to reach a router, as its DEALER would. */
static void reconnect(struct sim *sim, const struct sim_conn *conn)
{
    const struct sim_proc *from = &sim->procs[conn->end[0]];

    if (from->kind == SIM_CLIENT || sim->procs[conn->end[1]].kind != SIM_ROUTER || !from->alive ||
        from->incarnation != conn->incarnation[0])
        return;
    sim_at(sim, sim->now_ns + rand_between(&sim->rng, 10, 300) * NS_PER_MS,
           (struct sim_event){.kind = SIM_EVENT_CONNECT,
                              .proc = conn->end[0],
                              .incarnation = conn->incarnation[0],
                              .other = conn->end[1]});
}

void sim_disconnect(struct sim *sim, uint32_t number, bool silent)
{
    struct sim_conn *conn = &sim->conns[number];

    if (!conn->open)
        return;
    conn->open = false;
    sim_trace(sim, NULL, "connection %u of %s and %s breaks%s", number,
              sim->procs[conn->end[0]].name, sim->procs[conn->end[1]].name,
              silent ? " silently" : "");
    for (size_t i = 0; i < 2; i++)
        sim_at(sim,
               sim->now_ns + (silent ? 4000 * NS_PER_MS : 0) +
                   rand_below(&sim->rng, 100 * NS_PER_MS),
               (struct sim_event){.kind = SIM_EVENT_LINK_DOWN,
                                  .proc = conn->end[i],
                                  .incarnation = conn->incarnation[i],
                                  .conn = number});
    reconnect(sim, conn);
}

void sim_proc_gone(struct sim *sim, uint32_t proc, bool silent)
{
    for (uint32_t i = 1; i <= sim->n_conns; i++)
        if (sim->conns[i].open && (sim->conns[i].end[0] == proc || sim->conns[i].end[1] == proc))
            sim_disconnect(sim, i, silent);
}

/* ---- sending ---- */

static void deliver(struct sim *sim, uint32_t number, size_t side, const void *bytes, size_t len,
                    uint64_t due_ns)
{
    struct sim_event event = {.kind = SIM_EVENT_MESSAGE,
                              .proc = sim->conns[number].end[side],
                              .incarnation = sim->conns[number].incarnation[side],
                              .conn = number,
                              .len = len};

    event.bytes = malloc(len);
    CHECK(event.bytes);
    memcpy(event.bytes, bytes, len);
    sim_at(sim, due_ns, event);
}

/* Keeps some old messages and now and then sends one of them again, on any open connection. */
static void stale(struct sim *sim, uint32_t number, size_t side, const void *bytes, size_t len)
{
    const size_t slot = sim->n_last % 64;

    if (!sim_fault_on(sim, SIM_FAULT_STALE))
        return;
    if (len <= sizeof(sim->last[0]) && rand_chance(&sim->rng, 1, 4)) {
        memcpy(sim->last[slot], bytes, len);
        sim->last_len[slot] = len;
        sim->n_last++;
    }
    if (sim->n_last > 0 && rand_chance(&sim->rng, 1, 200)) {
        const size_t n = sim->n_last < 64 ? sim->n_last : 64;
        const size_t pick = rand_below(&sim->rng, n);

        deliver(sim, number, side, sim->last[pick], sim->last_len[pick],
                sim->now_ns + sim->delay_ns);
    }
}

void sim_send(struct sim *sim, struct sim_proc *from, uint32_t number, const void *bytes,
              size_t len)
{
    struct sim_conn *conn = &sim->conns[number];
    const size_t side = conn->end[0] == sim_index(sim, from) ? 1 : 0;
    /* A client's connection is TCP as it is; between our own processes anything may happen. */
    const bool ours = sim->procs[conn->end[0]].kind != SIM_CLIENT;
    uint64_t due_ns = sim->now_ns + 1 + rand_below(&sim->rng, 2 * sim->delay_ns);

    CHECK(number > 0 && number <= sim->n_conns);
    if (!conn->open)
        return;
    if (conn->silent_until_ns[side] > sim->now_ns) {
        if (ours) /* what is lost in a partition is lost */
            return;
        due_ns = conn->silent_until_ns[side];
    }
    if (ours && sim_fault_on(sim, SIM_FAULT_DROP) && rand_chance(&sim->rng, 1, 300))
        return;
    if (sim_fault_on(sim, SIM_FAULT_DELAY) && rand_chance(&sim->rng, 1, 100))
        due_ns += rand_below(&sim->rng, 3000 * NS_PER_MS);
    if (due_ns <= conn->last_due_ns[side] &&
        !(ours && sim_fault_on(sim, SIM_FAULT_REORDER) && rand_chance(&sim->rng, 1, 50)))
        due_ns = conn->last_due_ns[side] + 1;
    if (due_ns > conn->last_due_ns[side])
        conn->last_due_ns[side] = due_ns;
    deliver(sim, number, side, bytes, len, due_ns);
    if (ours && sim_fault_on(sim, SIM_FAULT_DUPLICATE) && rand_chance(&sim->rng, 1, 100))
        deliver(sim, number, side, bytes, len, due_ns + rand_below(&sim->rng, 500 * NS_PER_MS));
    if (ours)
        stale(sim, number, side, bytes, len);
}

void sim_send_all(struct sim *sim, struct sim_proc *from, struct wire_out *out)
{
    for (size_t i = 0; i < wire_out_count(out); i++) {
        const struct wire_out_item item = wire_out_at(out, i);

        sim_send(sim, from, item.link, item.bytes, item.len);
    }
}
