/* The world of the simulator: its event queue, its fleet drawn from the seed, its faults. */
#include "tests/sim/sim.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"

#define START_NS (1000 * NS_PER_S)

/* ---- small things ---- */

void sim_trace(struct sim *sim, const struct sim_proc *proc, const char *format, ...)
{
    va_list args;

    if (!sim->options.trace)
        return;
    fprintf(sim->options.trace, "%9.3f %-4s ", (double)(sim->now_ns - START_NS) / 1e6,
            proc ? proc->name : "-");
    va_start(args, format);
    vfprintf(sim->options.trace, format, args);
    va_end(args);
    fputc('\n', sim->options.trace);
}

void sim_violation(struct sim *sim, const char *format, ...)
{
    va_list args;

    if (sim->report->failed)
        return;
    sim->report->failed = true;
    va_start(args, format);
    vsnprintf(sim->report->why, sizeof(sim->report->why), format, args);
    va_end(args);
    sim_trace(sim, NULL, "VIOLATION: %s", sim->report->why);
}

uint64_t sim_clock(const struct sim *sim, const struct sim_proc *proc)
{
    return sim->now_ns + proc->offset_ns;
}

uint32_t sim_index(const struct sim *sim, const struct sim_proc *proc)
{
    return (uint32_t)(proc - sim->procs);
}

bool sim_fault_on(const struct sim *sim, enum sim_fault fault)
{
    return !sim->healed && (sim->faults & fault);
}

/* ---- the queue: a binary heap by time, then by order of making ---- */

static bool before(const struct sim_event *a, const struct sim_event *b)
{
    return a->due_ns < b->due_ns || (a->due_ns == b->due_ns && a->order < b->order);
}

void sim_at(struct sim *sim, uint64_t due_ns, struct sim_event event)
{
    size_t at = sim->n_heap;

    if (sim->n_heap == SIM_EVENTS_MAX) {
        sim_violation(sim, "over %d events wait: some queue has no bound", SIM_EVENTS_MAX);
        free(event.bytes);
        return;
    }
    event.due_ns = due_ns;
    event.order = ++sim->order;
    sim->n_heap++;
    while (at > 0 && before(&event, &sim->heap[(at - 1) / 2])) {
        sim->heap[at] = sim->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    sim->heap[at] = event;
}

static struct sim_event take_first(struct sim *sim)
{
    const struct sim_event first = sim->heap[0];
    const struct sim_event last = sim->heap[--sim->n_heap];
    size_t at = 0;

    for (;;) {
        size_t child = 2 * at + 1;

        if (child >= sim->n_heap)
            break;
        if (child + 1 < sim->n_heap && before(&sim->heap[child + 1], &sim->heap[child]))
            child++;
        if (!before(&sim->heap[child], &last))
            break;
        sim->heap[at] = sim->heap[child];
        at = child;
    }
    sim->heap[at] = last;
    return first;
}

/* ---- processes ---- */

static void proc_start(struct sim *sim, struct sim_proc *proc)
{
    const uint32_t idx = sim_index(sim, proc);

    proc->incarnation = rand_u64(&sim->rng) | 1;
    proc->offset_ns = rand_below(&sim->rng, 100 * NS_PER_S);
    proc->frozen_until_ns = 0;
    proc->n_ticks = 0;
    if (proc->kind == SIM_CLIENT) {
        proc->alive = true;
        sim_client_start(sim, proc);
        return;
    }
    if (!sim_node_start(sim, proc)) {
        sim_trace(sim, proc, "could not start, tried again");
        sim_at(sim, sim->now_ns + 500 * NS_PER_MS,
               (struct sim_event){.kind = SIM_EVENT_START, .proc = idx});
        return;
    }
    proc->alive = true;
    sim_trace(sim, proc, "started, incarnation %016llx", (unsigned long long)proc->incarnation);
    sim_at(
        sim, sim->now_ns + rand_below(&sim->rng, SIM_TICK_MS * NS_PER_MS),
        (struct sim_event){.kind = SIM_EVENT_TICK, .proc = idx, .incarnation = proc->incarnation});
    if (proc->kind == SIM_ROUTER)
        return;
    for (uint32_t i = 0; i < sim->n_routers; i++)
        sim_at(sim, sim->now_ns + rand_below(&sim->rng, 20 * NS_PER_MS),
               (struct sim_event){.kind = SIM_EVENT_CONNECT,
                                  .proc = idx,
                                  .incarnation = proc->incarnation,
                                  .other = i});
}

void sim_kill(struct sim *sim, struct sim_proc *proc, uint64_t restart_ns)
{
    if (!proc->alive)
        return;
    sim_trace(sim, proc, "killed");
    sim->report->n_kills++;
    proc->alive = false;
    sim_node_stop(sim, proc);
    sim_proc_gone(sim, sim_index(sim, proc), rand_chance(&sim->rng, 1, 4));
    sim_at(sim, restart_ns,
           (struct sim_event){.kind = SIM_EVENT_START, .proc = sim_index(sim, proc)});
}

/* ---- faults ---- */

static struct sim_proc *draw_server(struct sim *sim)
{
    const uint32_t n = sim->n_routers + sim->n_prefills + sim->n_decodes;

    return &sim->procs[rand_below(&sim->rng, n)];
}

static void partition(struct sim *sim)
{
    const uint32_t conn = 1 + (uint32_t)rand_below(&sim->rng, sim->n_conns);
    const size_t side = rand_below(&sim->rng, 2);

    sim->conns[conn].silent_until_ns[side] =
        sim->now_ns + rand_between(&sim->rng, 100, 6000) * NS_PER_MS;
    sim_trace(sim, NULL, "connection %u is silent toward %s", conn,
              sim->procs[sim->conns[conn].end[side]].name);
}

static void one_fault(struct sim *sim)
{
    struct sim_proc *proc = draw_server(sim);
    const uint32_t draw = (uint32_t)rand_below(&sim->rng, 5);

    if (sim->n_conns == 0)
        return;
    if (draw == 0 && sim_fault_on(sim, SIM_FAULT_KILL)) {
        sim_kill(sim, proc, sim->now_ns + rand_between(&sim->rng, 10, 2000) * NS_PER_MS);
    } else if (draw == 1 && sim_fault_on(sim, SIM_FAULT_FREEZE) && proc->alive &&
               proc->frozen_until_ns <= sim->now_ns) { /* a shorter one would turn the order */
        proc->frozen_until_ns = sim->now_ns + rand_between(&sim->rng, 50, 8000) * NS_PER_MS;
        sim_trace(sim, proc, "frozen for %llu ms",
                  (unsigned long long)((proc->frozen_until_ns - sim->now_ns) / NS_PER_MS));
        if (proc->kind != SIM_ROUTER)
            local_mover_freeze(sim->mover, sim_index(sim, proc), true, sim->now_ns);
    } else if (draw == 2 && sim_fault_on(sim, SIM_FAULT_PARTITION)) {
        partition(sim);
    } else if (draw == 3 && sim_fault_on(sim, SIM_FAULT_CLOCK)) {
        proc->offset_ns += rand_between(&sim->rng, 1, 5000) * NS_PER_MS;
        sim_trace(sim, proc, "clock jumped");
    } else if (draw == 4 && sim_fault_on(sim, SIM_FAULT_DROP)) {
        sim_disconnect(sim, (uint32_t)rand_between(&sim->rng, 1, sim->n_conns), false);
    }
}

static void heal(struct sim *sim)
{
    const struct local_mover_faults none = {.delay_min_us = 1, .delay_max_us = 500};

    sim->healed = true;
    sim->crash_print = UINT64_MAX;
    local_mover_set_faults(sim->mover, &none);
    for (uint32_t i = 1; i <= sim->n_conns; i++)
        sim->conns[i].silent_until_ns[0] = sim->conns[i].silent_until_ns[1] = 0;
    sim_trace(sim, NULL, "healed");
}

static void fault_event(struct sim *sim)
{
    if (sim->now_ns >= sim->faults_end_ns) {
        heal(sim);
        return;
    }
    one_fault(sim);
    sim_at(sim, sim->now_ns + rand_between(&sim->rng, 10, 1500) * NS_PER_MS,
           (struct sim_event){.kind = SIM_EVENT_FAULT});
}

/* ---- one event ---- */

/* True where the event is to wait until its process thaws. */
static bool hold_back(struct sim *sim, struct sim_proc *proc, struct sim_event *event)
{
    if (proc->frozen_until_ns == 0)
        return false;
    if (proc->frozen_until_ns > sim->now_ns && proc->alive) {
        sim_at(sim, proc->frozen_until_ns, *event);
        return true;
    }
    proc->frozen_until_ns = 0;
    if (proc->kind != SIM_ROUTER && proc->kind != SIM_CLIENT)
        local_mover_freeze(sim->mover, sim_index(sim, proc), false, sim->now_ns);
    return false;
}

static void message_event(struct sim *sim, struct sim_proc *proc, const struct sim_event *event)
{
    struct wire_msg msg;
    const char *why = "";
    char line[256];
    enum status status;

    if (event->conn && !sim->conns[event->conn].open) /* 0: the supervisor's */
        return;
    arena_reset(sim->arena);
    status = wire_msg_decode(event->bytes, event->len, sim->arena, &msg, &why);
    if (status == STATUS_NO_MEMORY)
        return; /* a lost message */
    if (status != STATUS_OK) {
        sim_violation(sim, "%s got a message that cannot be decoded: %s", proc->name, why);
        return;
    }
    if (sim->options.trace && msg.kind != WIRE_KIND_HEARTBEAT) {
        wire_msg_print(&msg, line, sizeof(line));
        sim_trace(sim, proc, "conn %u: %s", event->conn, line);
    }
    if (proc->kind == SIM_CLIENT)
        sim_client_message(sim, proc, &msg);
    else
        sim_node_message(sim, proc, event->conn, &msg);
}

static void proc_event(struct sim *sim, struct sim_proc *proc, const struct sim_event *event)
{
    switch (event->kind) {
    case SIM_EVENT_MESSAGE:
        message_event(sim, proc, event);
        break;
    case SIM_EVENT_CONNECT:
        proc->client.dial = sim_connect(sim, sim_index(sim, proc), event->other);
        break;
    case SIM_EVENT_LINK_UP:
        if (!sim->conns[event->conn].open)
            break;
        if (proc->kind == SIM_CLIENT)
            sim_client_link_up(sim, proc, event->conn);
        else
            sim_node_link_up(sim, proc, event->conn, event->arg);
        break;
    case SIM_EVENT_LINK_DOWN:
        if (proc->kind == SIM_CLIENT)
            sim_client_link_down(sim, proc, event->conn);
        else
            sim_node_link_down(sim, proc, event->conn);
        break;
    case SIM_EVENT_TICK:
        sim_at(sim, sim->now_ns + SIM_TICK_MS * NS_PER_MS,
               (struct sim_event){.kind = SIM_EVENT_TICK,
                                  .proc = sim_index(sim, proc),
                                  .incarnation = proc->incarnation});
        sim_node_tick(sim, proc);
        break;
    case SIM_EVENT_PIECE:
        sim_node_piece(sim, proc, event->bytes);
        break;
    case SIM_EVENT_COMPLETE:
        sim_node_complete(sim, proc);
        break;
    case SIM_EVENT_CLIENT:
        sim_client_act(sim, proc);
        break;
    case SIM_EVENT_RUN_MOVER:
    case SIM_EVENT_START:
    case SIM_EVENT_FAULT:
        CHECK(false);
    }
}

static void one_event(struct sim *sim)
{
    struct sim_event event = take_first(sim);
    struct sim_proc *proc = &sim->procs[event.proc];

    CHECK(event.due_ns >= sim->now_ns);
    sim->now_ns = event.due_ns;
    sim->report->n_events++;
    if (event.kind == SIM_EVENT_RUN_MOVER) {
        sim_run_mover(sim);
    } else if (event.kind == SIM_EVENT_FAULT) {
        fault_event(sim);
    } else if (event.kind == SIM_EVENT_START) {
        if (!proc->alive)
            proc_start(sim, proc);
    } else if (event.incarnation && (event.incarnation != proc->incarnation || !proc->alive)) {
        /* meant for a process that is no more */
    } else if (hold_back(sim, proc, &event)) {
        return; /* its bytes live on */
    } else {
        proc_event(sim, proc, &event);
        if (event.kind != SIM_EVENT_MESSAGE || rand_chance(&sim->rng, 1, 8))
            sim_check_proc(sim, proc);
    }
    free(event.bytes);
}

/* ---- the world ---- */

static void draw_world(struct sim *sim)
{
    struct rand *rng = &sim->rng;
    struct kvgeom *geom = &sim->oracle.geom;

    sim->n_routers = rand_chance(rng, 1, 4) ? 2 : 1;
    sim->n_prefills = (uint32_t)rand_between(rng, 1, 3);
    sim->n_decodes = (uint32_t)rand_between(rng, 1, 3);
    sim->n_clients = (uint32_t)rand_between(rng, 1, SIM_CLIENTS_MAX);
    for (uint32_t bit = 1; bit < SIM_FAULT_ALL; bit <<= 1)
        if (rand_chance(rng, 1, 3))
            sim->faults |= bit;
    if (rand_chance(rng, 1, 16))
        sim->faults = 0;
    sim->faults &= sim->options.faults;
    sim->faults_end_ns = sim->now_ns + rand_between(rng, 500, 12000) * NS_PER_MS;
    sim->delay_ns = rand_between(rng, 10, 2000) * NS_PER_US;
    sim->deadline_ms = (uint32_t)rand_between(rng, 20000, 40000);
    *geom = (struct kvgeom){.n_layers = 1 + (uint32_t)rand_below(rng, 3),
                            .n_kv_heads = 1,
                            .head_dim = 2,
                            .elem_bytes = 2,
                            .group_layers = 1};
    geom->group_layers = 1 + (uint32_t)rand_below(rng, geom->n_layers);
    sim->oracle.model_seed = rand_u64(rng);
    sim->oracle.token_us = (uint32_t)rand_below(rng, 300);
    sim->oracle.row_us = (uint32_t)rand_below(rng, 2000);
    sim->oracle.step_us = (uint32_t)rand_between(rng, 10, 5000);
    sim->oracle.poison_tails = rand_chance(rng, 1, 2);
    sim->oracle.n_blocks = (uint32_t)rand_between(rng, 8, 24);
    if (sim->faults & SIM_FAULT_POOL)
        sim->oracle.n_blocks = kvgeom_blocks(SIM_LEN_MAX) + 1;
    sim->engine = (struct engine_cfg){.geom = *geom,
                                      .n_blocks = sim->oracle.n_blocks,
                                      .seqs_max = (uint32_t)rand_between(rng, 2, 8),
                                      .batch_max = (uint32_t)rand_between(rng, 1, 8),
                                      .chunk_max = 64 * (uint32_t)rand_between(rng, 1, 3),
                                      .len_max = SIM_LEN_MAX,
                                      .chunk_ms = 500};
    sim->crash_print = sim->faults & SIM_FAULT_CRASH ? rand_below(rng, 16) : UINT64_MAX;
}

static void add_proc(struct sim *sim, enum sim_kind kind, const char *prefix, uint32_t number)
{
    struct sim_proc *proc = &sim->procs[sim->n_procs++];

    proc->kind = kind;
    snprintf(proc->name, sizeof(proc->name), "%s%u", prefix, number);
    proc_start(sim, proc);
}

static void create_mover(struct sim *sim)
{
    struct local_mover_cfg cfg = {.nodes_max = SIM_PROCS_MAX,
                                  .workers_max = 64,
                                  .moves_max = 4096,
                                  .seed = rand_u64(&sim->rng)};

    cfg.faults.delay_min_us = 1;
    cfg.faults.delay_max_us = (uint32_t)rand_between(&sim->rng, 10, 20000);
    if (sim->faults & SIM_FAULT_FLIP) {
        cfg.faults.flip = (uint32_t)rand_below(&sim->rng, 50000);
        cfg.faults.fetch_error = (uint32_t)rand_below(&sim->rng, 20000);
        cfg.faults.stall = (uint32_t)rand_below(&sim->rng, 10000);
        cfg.faults.lose_offer = (uint32_t)rand_below(&sim->rng, 5000);
        cfg.faults.open_error = (uint32_t)rand_below(&sim->rng, 50000);
    }
    CHECK(local_mover_create(&cfg, &sim->mover) == STATUS_OK);
    sim->mover_due_ns = CLOCK_NEVER;
}

static struct sim *sim_create(const struct sim_options *options, struct sim_report *report)
{
    struct sim *sim = calloc(1, sizeof(*sim));
    struct template_error error;

    CHECK(sim);
    sim->options = *options;
    sim->report = report;
    sim->now_ns = START_NS;
    rand_init(&sim->rng, options->seed);
    sim->heap = malloc(SIM_EVENTS_MAX * sizeof(*sim->heap));
    sim->conns = calloc(SIM_CONNS_MAX, sizeof(*sim->conns));
    CHECK(sim->heap && sim->conns);
    CHECK(arena_create(4096, 1 << 20, &sim->arena) == STATUS_OK);
    CHECK(tokenizer_open_bytes(&sim->tok) == STATUS_OK);
    CHECK(template_compile(SIM_TEMPLATE, strlen(SIM_TEMPLATE), &error, &sim->tmpl) == STATUS_OK);
    draw_world(sim);
    create_mover(sim);
    sim_trace(sim, NULL, "seed %llu: %u routers, %u prefill, %u decode, %u clients, faults %x",
              (unsigned long long)options->seed, sim->n_routers, sim->n_prefills, sim->n_decodes,
              sim->n_clients, sim->faults);
    for (uint32_t i = 0; i < sim->n_routers; i++)
        add_proc(sim, SIM_ROUTER, "r", i);
    for (uint32_t i = 0; i < sim->n_prefills; i++)
        add_proc(sim, SIM_PREFILL, "p", i);
    for (uint32_t i = 0; i < sim->n_decodes; i++)
        add_proc(sim, SIM_DECODE, "d", i);
    for (uint32_t i = 0; i < sim->n_clients; i++)
        add_proc(sim, SIM_CLIENT, "c", i);
    sim_at(sim, sim->now_ns + NS_PER_MS, (struct sim_event){.kind = SIM_EVENT_FAULT});
    return sim;
}

static void sim_destroy(struct sim *sim)
{
    mem_fail_after(MEM_FAIL_NEVER);
    for (uint32_t i = 0; i < sim->n_procs; i++) {
        if (sim->procs[i].kind == SIM_CLIENT)
            sim_client_stop(&sim->procs[i]);
        else if (sim->procs[i].alive)
            sim_node_stop(sim, &sim->procs[i]);
    }
    for (size_t i = 0; i < sim->n_heap; i++)
        free(sim->heap[i].bytes);
    local_mover_destroy(sim->mover);
    template_destroy(sim->tmpl);
    tokenizer_close(sim->tok);
    arena_destroy(sim->arena);
    free(sim->conns);
    free(sim->heap);
    free(sim);
}

static bool clients_finished(const struct sim *sim)
{
    for (uint32_t i = 0; i < sim->n_procs; i++)
        if (sim->procs[i].kind == SIM_CLIENT && !sim_client_finished(&sim->procs[i]))
            return false;
    return true;
}

/* Until all clients have what they came for, and then until nothing is left: at most as long as
 * an orphaned stream waits for its client, and the bounds of a fence and a pairing. */
static void run(struct sim *sim)
{
    const uint64_t over_ns = sim->now_ns + 900 * NS_PER_S;
    uint64_t quiet_by_ns = 0;

    while (!sim->report->failed && sim->n_heap > 0) {
        if (sim->now_ns > over_ns) {
            sim_violation(sim, "clients still wait after 900 s");
        } else if (!sim->healed || !clients_finished(sim)) {
            quiet_by_ns = 0;
        } else if (quiet_by_ns == 0) {
            quiet_by_ns = sim->now_ns + SIM_QUIET_MS * NS_PER_MS;
        } else if (sim->report->n_events % 16 == 0 && sim_check_quiet(sim, false)) {
            return;
        } else if (sim->now_ns > quiet_by_ns) {
            (void)sim_check_quiet(sim, true);
            return;
        }
        one_event(sim);
    }
}

void sim_run(const struct sim_options *options, struct sim_report *report)
{
    struct sim *sim;

    memset(report, 0, sizeof(*report));
    sim = sim_create(options, report);
    run(sim);
    report->now_ms = (sim->now_ns - START_NS) / NS_PER_MS;
    sim_destroy(sim);
}
