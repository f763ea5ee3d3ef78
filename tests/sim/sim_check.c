/* Invariants of the simulated fleet. Cheap ones after each event of a process, and the great one
 * at the end: when everything is healed and answered, nothing is left anywhere. */
#include <string.h>

#include "base/check.h"
#include "tests/sim/sim.h"

/* Blocks of the engine's sequences and holds by name must tell the same story. */
static void check_blocks(struct sim *sim, struct sim_proc *proc)
{
    struct engine *engine = sim_engine(proc);
    struct blocks *blocks = engine_blocks(engine);
    uint8_t owner[64] = {0};
    uint64_t n_owned = 0;
    uint32_t n_held = 0;

    CHECK(blocks_n(blocks) <= 64);
    for (uint64_t seq = engine_next(engine, 0); seq; seq = engine_next(engine, seq)) {
        struct engine_view view;

        CHECK(engine_look(engine, seq, &view) == STATUS_OK);
        for (uint32_t i = 0; i < view.n_blocks; i++) {
            if (owner[view.blocks[i]]++ > 0)
                sim_violation(sim, "%s: block %u belongs to two sequences", proc->name,
                              view.blocks[i]);
            n_owned++;
        }
    }
    for (uint32_t i = 0; i < blocks_n(blocks); i++) {
        uint32_t n = 0;

        for (int holder = 0; holder < BLOCK_N_HOLDERS; holder++)
            n += blocks_holds(blocks, (enum block_holder)holder, i);
        n_held += n > 0;
    }
    if (n_owned != blocks_sum(blocks, BLOCK_HOLDER_SEQ))
        sim_violation(sim, "%s: sequences have %llu blocks, the pool counts %llu", proc->name,
                      (unsigned long long)n_owned,
                      (unsigned long long)blocks_sum(blocks, BLOCK_HOLDER_SEQ));
    if (n_held + blocks_n_free(blocks) != blocks_n(blocks))
        sim_violation(sim, "%s: %u blocks held, %u free, %u in all", proc->name, n_held,
                      blocks_n_free(blocks), blocks_n(blocks));
}

/* No free block may still be read or written by the mover. */
static void check_moving(struct sim *sim, struct sim_proc *proc)
{
    struct blocks *blocks = engine_blocks(sim_engine(proc));
    const size_t bytes = kvgeom_block_bytes(&sim->oracle.geom);

    for (uint32_t i = 0; i < blocks_n(blocks); i++) {
        uint32_t n = 0;

        for (int holder = 0; holder < BLOCK_N_HOLDERS; holder++)
            n += blocks_holds(blocks, (enum block_holder)holder, i);
        if (n == 0 && local_mover_touches(sim->mover, proc->pool + i * bytes, bytes))
            sim_violation(sim, "%s: block %u is free while bytes may still move", proc->name, i);
    }
}

void sim_check_proc(struct sim *sim, struct sim_proc *proc)
{
    struct local_mover_counts counts;

    if (!proc->alive || proc->kind == SIM_CLIENT || proc->kind == SIM_ROUTER)
        return;
    check_blocks(sim, proc);
    if (rand_chance(&sim->rng, 1, 64))
        check_moving(sim, proc);
    local_mover_counts(sim->mover, &counts);
    if (counts.misuse)
        sim_violation(sim, "%s: the mover was used against its contract", proc->name);
}

#define QUIET(condition, ...)                                                                      \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            if (complain)                                                                          \
                sim_violation(sim, __VA_ARGS__);                                                   \
            return false;                                                                          \
        }                                                                                          \
    } while (0)

static bool worker_quiet(struct sim *sim, struct sim_proc *proc, bool complain)
{
    struct blocks *blocks = engine_blocks(sim_engine(proc));
    struct kvt_counts counts;

    kvt_counts(sim_kvt(proc), &counts);
    QUIET(sim_n_requests(proc) == 0, "%s: %u requests are left", proc->name, sim_n_requests(proc));
    QUIET(engine_next(sim_engine(proc), 0) == 0, "%s: a sequence is left", proc->name);
    QUIET(counts.outs == 0 && counts.ins == 0, "%s: %llu out and %llu in transfers are left",
          proc->name, (unsigned long long)counts.outs, (unsigned long long)counts.ins);
    QUIET(counts.posts_pending == 0 && counts.fetches_pending == 0,
          "%s: %llu offers and %llu fetches are left", proc->name,
          (unsigned long long)counts.posts_pending, (unsigned long long)counts.fetches_pending);
    QUIET(blocks_n_free(blocks) == blocks_n(blocks), "%s: %u of %u blocks are free at the end",
          proc->name, blocks_n_free(blocks), blocks_n(blocks));
    return true;
}

bool sim_check_quiet(struct sim *sim, bool complain)
{
    for (uint32_t i = 0; i < sim->n_procs; i++) {
        struct sim_proc *proc = &sim->procs[i];

        if (proc->kind == SIM_CLIENT)
            continue;
        QUIET(proc->alive, "%s has not come back", proc->name);
        if (proc->kind == SIM_ROUTER) {
            QUIET(router_idle(proc->router), "%s: a request is left", proc->name);
            QUIET(router_ready(proc->router), "%s is not ready again", proc->name);
        } else if (!worker_quiet(sim, proc, complain)) {
            return false;
        }
    }
    return true;
}
