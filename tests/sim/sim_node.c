/* Routers and workers of the simulated fleet: what a node's shell does, without sockets, threads
 * and UCX. After every input the role's outputs are carried out: actions, messages, the step. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "tests/sim/sim.h"

/* ---- start and stop ---- */

static enum status router_start(struct sim *sim, struct sim_proc *proc)
{
    struct router_cfg cfg = {.self = proc->incarnation,
                             .server = "sim",
                             .model = "oracle",
                             .tok = sim->tok,
                             .tmpl = sim->tmpl,
                             .vocab = ORACLE_VOCAB,
                             .nodes_max = 8,
                             .requests_max = 32,
                             .queue_max = 16,
                             .prefill_depth = 2,
                             .attempts_max = 12,
                             .deadline_ms = sim->deadline_ms,
                             .queue_ms = 15000,
                             .resume_ms = 8000};
    const char *why;

    rand_bytes(&sim->rng, cfg.key, sizeof(cfg.key));
    return router_create(&cfg, &proc->router, &why);
}

static struct kvt_cfg kvt_settings(const struct sim *sim, const struct sim_proc *proc)
{
    return (struct kvt_cfg){.self = proc->incarnation,
                            .name = proc->name,
                            .fingerprint = "sim",
                            .numerics = "sim",
                            .geom = sim->oracle.geom,
                            .pool = proc->pool,
                            .n_blocks = sim->oracle.n_blocks,
                            .peers_max = 4,
                            .transfers_max = 16,
                            .blocks_max = kvgeom_blocks(SIM_LEN_MAX),
                            .fetch_bytes = 4 * kvgeom_block_bytes(&sim->oracle.geom)};
}

static struct bond_cfg bond_settings(const struct sim *sim, const struct sim_proc *proc)
{
    struct bond_cfg cfg = {.self = proc->incarnation};

    cfg.join.version_min = WIRE_VERSION_MIN;
    cfg.join.version_max = WIRE_VERSION_MAX;
    cfg.join.name = wire_span_of(proc->name);
    cfg.join.role = proc->kind == SIM_PREFILL ? WIRE_ROLE_PREFILL : WIRE_ROLE_DECODE;
    cfg.join.fingerprint = cfg.join.numerics = wire_span_of("sim");
    cfg.join.model = wire_span_of("oracle");
    cfg.join.endpoint = wire_span_of(proc->name);
    cfg.join.host = wire_span_of("host");
    cfg.join.block_tokens = KVGEOM_BLOCK_TOKENS;
    cfg.join.blocks = sim->oracle.n_blocks;
    cfg.join.seqs_max = sim->engine.seqs_max;
    cfg.join.len_max = SIM_LEN_MAX;
    return cfg;
}

static enum status worker_start(struct sim *sim, struct sim_proc *proc)
{
    struct oracle_cfg oracle =
        sim->oracle; /* the pretended time passes on the virtual clock only */
    const char *why;
    enum status status;

    oracle.token_us = oracle.row_us = oracle.step_us = 0;
    status = oracle_create(&oracle, &proc->exec);

    if (status != STATUS_OK)
        return status;
    proc->pool = proc->exec.ops->pool(proc->exec.self);
    if (proc->kind == SIM_PREFILL) {
        const struct prefill_cfg cfg = {.engine = sim->engine,
                                        .kvt = kvt_settings(sim, proc),
                                        .bond = bond_settings(sim, proc),
                                        .eos = oracle_eos,
                                        .n_eos = ORACLE_N_EOS,
                                        .vocab = ORACLE_VOCAB};

        status = prefill_create(&cfg, &proc->prefill, &why);
    } else {
        const struct decode_cfg cfg = {.engine = sim->engine,
                                       .kvt = kvt_settings(sim, proc),
                                       .bond = bond_settings(sim, proc),
                                       .eos = oracle_eos,
                                       .n_eos = ORACLE_N_EOS,
                                       .vocab = ORACLE_VOCAB,
                                       .host = rand_chance(&sim->rng, 1, 2) ? "host" : "other"};

        status = decode_create(&cfg, &proc->decode, &why);
    }
    if (status != STATUS_OK)
        proc->exec.ops->destroy(proc->exec.self);
    return status;
}

bool sim_node_start(struct sim *sim, struct sim_proc *proc)
{
    const bool failing = sim_fault_on(sim, SIM_FAULT_MEMORY) && rand_chance(&sim->rng, 1, 3);
    enum status status;

    proc->step = NULL;
    proc->peers_version = 0;
    if (failing)
        mem_fail_after((int64_t)rand_below(&sim->rng, 60));
    status = proc->kind == SIM_ROUTER ? router_start(sim, proc) : worker_start(sim, proc);
    mem_fail_after(MEM_FAIL_NEVER);
    if (status != STATUS_OK && !failing)
        sim_violation(sim, "%s cannot start: %s", proc->name, status_text(status));
    return status == STATUS_OK;
}

void sim_node_stop(struct sim *sim, struct sim_proc *proc)
{
    if (proc->kind != SIM_ROUTER)
        local_mover_kill(sim->mover, sim_index(sim, proc), sim->now_ns);
    if (proc->router) {
        struct router_counts counts;

        router_counts(proc->router, &counts);
        sim->report->n_resubmitted += counts.resubmitted;
        sim->report->n_rereserved += counts.rereserved;
    } else {
        struct kvt_counts counts;
        struct engine_counts steps;

        kvt_counts(sim_kvt(proc), &counts);
        engine_counts(sim_engine(proc), &steps);
        sim->report->n_mismatches += counts.mismatches;
        sim->report->n_fences += counts.fences;
        sim->report->n_yields += steps.yields;
    }
    router_destroy(proc->router);
    prefill_destroy(proc->prefill);
    decode_destroy(proc->decode);
    if (proc->kind != SIM_ROUTER)
        proc->exec.ops->destroy(proc->exec.self);
    proc->router = NULL;
    proc->prefill = NULL;
    proc->decode = NULL;
    proc->step = NULL;
    proc->alive = false;
}

/* ---- looking ---- */

struct kvt *sim_kvt(struct sim_proc *proc)
{
    return proc->prefill ? prefill_kvt(proc->prefill) : decode_kvt(proc->decode);
}

struct engine *sim_engine(struct sim_proc *proc)
{
    return proc->prefill ? prefill_engine(proc->prefill) : decode_engine(proc->decode);
}

uint32_t sim_n_requests(const struct sim_proc *proc)
{
    return proc->prefill ? prefill_n_requests(proc->prefill) : decode_n_requests(proc->decode);
}

/* ---- outputs ---- */

struct piece_ctx {
    struct sim *sim;
    struct sim_proc *proc;
    uint64_t took_ns;
};

static void take_piece(void *arg, const struct engine_row *row, uint32_t block, uint32_t group,
                       uint64_t digest)
{
    const struct piece_ctx *ctx = arg;
    struct sim *sim = ctx->sim;
    struct sim_piece *piece = malloc(sizeof(*piece));

    CHECK(piece);
    *piece = (struct sim_piece){row->req, row->attempt, block, group, digest};
    sim_at(sim, sim->now_ns + ctx->took_ns - ctx->took_ns / (2 + rand_below(&sim->rng, 4)),
           (struct sim_event){.kind = SIM_EVENT_PIECE,
                              .proc = sim_index(sim, ctx->proc),
                              .incarnation = ctx->proc->incarnation,
                              .bytes = piece});
}

/* Tells the routers what the supervisor would: these requests were in the step that crashed. */
static void report_crash(struct sim *sim, struct sim_proc *proc, const struct engine_step *step)
{
    uint64_t words[64];
    uint8_t bytes[2048];
    struct wire_msg msg;
    size_t n = 0, len;

    for (uint32_t i = 0; i < step->n_rows && n + 2 <= 64; i++, n += 2)
        memcpy(&words[n], step->rows[i].req.byte, 16);
    wire_msg_init(&msg, WIRE_KIND_CRASH);
    msg.from = 1;
    msg.crash.incarnation = proc->incarnation;
    msg.crash.step = step->number;
    msg.crash.requests = (struct wire_u64s){words, n};
    CHECK(wire_msg_encode(&msg, bytes, sizeof(bytes), &len) == STATUS_OK);
    for (uint32_t i = 0; i < sim->n_routers; i++) {
        struct sim_event event = {.kind = SIM_EVENT_MESSAGE,
                                  .proc = i,
                                  .incarnation = sim->procs[i].incarnation,
                                  .len = len};

        event.bytes = malloc(len);
        CHECK(event.bytes);
        memcpy(event.bytes, bytes, len);
        sim_at(sim, sim->now_ns + rand_below(&sim->rng, 200 * NS_PER_MS), event);
    }
}

/* The router must end a request that crashes nodes again and again. */
static void count_crash(struct sim *sim, const struct wire_id *req)
{
    uint32_t i = 0;

    while (i < sim->n_crashes && !wire_id_equal(&sim->crashes[i].req, req))
        i++;
    if (i == sim->n_crashes) {
        if (i == 64)
            return;
        sim->crashes[sim->n_crashes++] = (struct sim_crash){.req = *req};
    }
    if (++sim->crashes[i].n > SIM_CRASHES_MAX)
        sim_violation(sim, "one request has crashed %u nodes", sim->crashes[i].n);
}

/* A prompt that begins with the poisoned id crashes whoever computes it. */
static bool step_crashes(struct sim *sim, const struct engine_step *step)
{
    for (uint32_t i = 0; i < step->n_rows; i++)
        if (step->rows[i].tokens[0] == sim->crash_print) {
            count_crash(sim, &step->rows[i].req);
            return true;
        }
    return false;
}

/* Returns false where the process died of it. */
static bool run_step(struct sim *sim, struct sim_proc *proc, const struct engine_step *step)
{
    struct piece_ctx ctx = {sim, proc, oracle_step_ns(&sim->oracle, step)};

    ctx.took_ns += 1000;
    if (sim_fault_on(sim, SIM_FAULT_CRASH) && step_crashes(sim, step)) {
        sim_trace(sim, proc, "crashes in step %llu", (unsigned long long)step->number);
        report_crash(sim, proc, step);
        sim_kill(sim, proc, sim->now_ns + rand_between(&sim->rng, 50, 500) * NS_PER_MS);
        return false;
    }
    if (sim_fault_on(sim, SIM_FAULT_STEP) && rand_chance(&sim->rng, 1, 400))
        ctx.took_ns += rand_below(&sim->rng, 8000) * NS_PER_MS;
    /* The bytes are written now, the events come when a real node would have them. */
    CHECK(proc->exec.ops->run(proc->exec.self, step, take_piece, &ctx) == STATUS_OK);
    proc->step = step;
    proc->step_took_ns = ctx.took_ns;
    sim_at(sim, sim->now_ns + ctx.took_ns,
           (struct sim_event){.kind = SIM_EVENT_COMPLETE,
                              .proc = sim_index(sim, proc),
                              .incarnation = proc->incarnation});
    return true;
}

static void look_at_mover(struct sim *sim)
{
    const uint64_t due_ns = local_mover_next_ns(sim->mover);

    if (due_ns == CLOCK_NEVER || due_ns >= sim->mover_due_ns)
        return;
    sim->mover_due_ns = due_ns < sim->now_ns ? sim->now_ns : due_ns;
    sim_at(sim, sim->mover_due_ns, (struct sim_event){.kind = SIM_EVENT_RUN_MOVER});
}

/* The open connection of a decode node for that entry of its roster, or 0. */
static uint32_t peer_conn(const struct sim *sim, const struct sim_proc *proc, uint64_t added)
{
    for (uint32_t i = 1; i <= sim->n_conns; i++)
        if (sim->conns[i].open && &sim->procs[sim->conns[i].end[0]] == proc &&
            sim->conns[i].added == added)
            return i;
    return 0;
}

static void connect_peers(struct sim *sim, struct sim_proc *proc)
{
    const struct decode_peer *peers;
    uint64_t version;
    size_t n;

    if (!proc->decode)
        return;
    n = decode_peers(proc->decode, &peers, &version);
    if (version == proc->peers_version)
        return;
    proc->peers_version = version;
    for (size_t i = 0; i < n; i++)
        for (uint32_t p = 0; p < sim->n_procs; p++)
            if (strcmp(sim->procs[p].name, peers[i].endpoint) == 0 &&
                !peer_conn(sim, proc, peers[i].added))
                sim_at(sim, sim->now_ns + rand_below(&sim->rng, 20 * NS_PER_MS),
                       (struct sim_event){.kind = SIM_EVENT_CONNECT,
                                          .proc = sim_index(sim, proc),
                                          .incarnation = proc->incarnation,
                                          .other = p});
}

static void carry_out(struct sim *sim, struct sim_proc *proc)
{
    struct kvt *kvt;
    const struct engine_step *step;
    const uint64_t now_ns = sim_clock(sim, proc);

    if (proc->router) {
        sim_send_all(sim, proc, router_out(proc->router));
        router_clear(proc->router);
        return;
    }
    kvt = sim_kvt(proc);
    for (size_t i = 0; i < kvt_n_acts(kvt); i++)
        local_mover_execute(sim->mover, sim_index(sim, proc), kvt_act_at(kvt, i), sim->now_ns);
    sim_send_all(sim, proc, kvt_out(kvt));
    sim_send_all(sim, proc, proc->prefill ? prefill_out(proc->prefill) : decode_out(proc->decode));
    if (proc->prefill)
        prefill_clear(proc->prefill);
    else
        decode_clear(proc->decode);
    look_at_mover(sim);
    connect_peers(sim, proc);
    step = proc->prefill ? prefill_step(proc->prefill, now_ns) : decode_step(proc->decode, now_ns);
    if (step)
        (void)run_step(sim, proc, step);
}

/* ---- inputs ---- */

void sim_node_message(struct sim *sim, struct sim_proc *proc, uint32_t conn,
                      const struct wire_msg *msg)
{
    const uint64_t now_ns = sim_clock(sim, proc);
    const bool failing = sim_fault_on(sim, SIM_FAULT_MEMORY) && rand_chance(&sim->rng, 1, 500);

    if (failing)
        mem_fail_after((int64_t)rand_below(&sim->rng, 3));
    if (proc->prefill)
        prefill_message(proc->prefill, conn, msg, now_ns);
    else if (proc->decode)
        decode_message(proc->decode, conn, msg, now_ns);
    else
        router_message(proc->router,
                       conn && sim->procs[sim->conns[conn].end[0]].kind == SIM_CLIENT
                           ? ROUTER_DOOR_CLIENT
                           : ROUTER_DOOR_NODE,
                       conn, msg, now_ns);
    mem_fail_after(MEM_FAIL_NEVER);
    carry_out(sim, proc);
}

void sim_node_link_up(struct sim *sim, struct sim_proc *proc, uint32_t number, uint64_t peer)
{
    const struct sim_proc *other = &sim->procs[sim->conns[number].end[1]];
    const uint64_t now_ns = sim_clock(sim, proc);
    const struct decode_peer *peers;
    uint64_t version;
    size_t n;

    (void)peer; /* a socket does not know who answers */
    if (other->kind == SIM_ROUTER) {
        if (proc->prefill)
            prefill_router_up(proc->prefill, number, now_ns);
        else
            decode_router_up(proc->decode, number, now_ns);
    } else {
        n = decode_peers(proc->decode, &peers, &version);
        for (size_t i = 0; i < n; i++)
            if (strcmp(peers[i].endpoint, other->name) == 0) {
                sim->conns[number].added = peers[i].added;
                decode_peer_up(proc->decode, peers[i].incarnation, number, now_ns);
            }
    }
    carry_out(sim, proc);
}

void sim_node_link_down(struct sim *sim, struct sim_proc *proc, uint32_t number)
{
    const struct sim_conn *conn = &sim->conns[number];
    const uint64_t now_ns = sim_clock(sim, proc);

    if (proc->prefill)
        prefill_link_down(proc->prefill, number, now_ns);
    else if (proc->decode)
        decode_link_down(proc->decode, number, now_ns);
    else
        router_link_down(proc->router,
                         sim->procs[conn->end[0]].kind == SIM_CLIENT ? ROUTER_DOOR_CLIENT
                                                                     : ROUTER_DOOR_NODE,
                         number, now_ns);
    if (proc->decode && sim->procs[conn->end[1]].kind == SIM_PREFILL)
        sim_at(sim, sim->now_ns + rand_between(&sim->rng, 20, 300) * NS_PER_MS,
               (struct sim_event){.kind = SIM_EVENT_CONNECT,
                                  .proc = sim_index(sim, proc),
                                  .incarnation = proc->incarnation,
                                  .other = conn->end[1]});
    carry_out(sim, proc);
}

void sim_node_tick(struct sim *sim, struct sim_proc *proc)
{
    const uint64_t now_ns = sim_clock(sim, proc);

    if (proc->prefill)
        prefill_tick(proc->prefill, 0, now_ns);
    else if (proc->decode)
        decode_tick(proc->decode, 0, now_ns);
    else
        router_tick(proc->router, now_ns);
    carry_out(sim, proc);
}

void sim_node_piece(struct sim *sim, struct sim_proc *proc, const struct sim_piece *piece)
{
    if (proc->prefill)
        prefill_piece(proc->prefill, &piece->req, piece->attempt, piece->block, piece->group,
                      piece->digest, sim_clock(sim, proc));
    carry_out(sim, proc);
}

void sim_node_complete(struct sim *sim, struct sim_proc *proc)
{
    const uint64_t now_ns = sim_clock(sim, proc);

    proc->step = NULL;
    if (proc->prefill)
        prefill_complete(proc->prefill, proc->step_took_ns, now_ns);
    else
        decode_complete(proc->decode, proc->step_took_ns, now_ns);
    carry_out(sim, proc);
}

static void deliver(void *ctx, uint32_t node, const struct kvt_event *event)
{
    struct sim *sim = ctx;
    struct sim_proc *proc = &sim->procs[node];
    const uint64_t now_ns = sim_clock(sim, proc);

    CHECK(proc->alive);
    if (proc->prefill)
        prefill_kvt_event(proc->prefill, event, now_ns);
    else
        decode_kvt_event(proc->decode, event, now_ns);
    carry_out(sim, proc);
}

void sim_run_mover(struct sim *sim)
{
    sim->mover_due_ns = CLOCK_NEVER;
    local_mover_run(sim->mover, sim->now_ns, deliver, sim);
    look_at_mover(sim);
}
