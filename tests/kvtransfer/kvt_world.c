/* The world's physics: nodes, wires, the mover, block ownership and time. What the roles do and
 * what they check is in kvt_script.c. */
#include "tests/kvtransfer/kvt_world_state.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"

const struct kvgeom world_geom = {
    .n_layers = 3, .n_kv_heads = 1, .head_dim = 8, .elem_bytes = 1, .group_layers = 2};

void world_log(const struct world *world, const char *format, ...)
{
    if (!world->verbose) {
        return;
    }
    va_list args;
    va_start(args, format);
    printf("%10.3f ms  ", (double)world->now_ns / 1e6);
    vprintf(format, args);
    printf("\n");
    va_end(args);
}

void world_violate(struct world *world, const char *format, ...)
{
    if (world->violated) {
        return;
    }
    world->violated = true;
    va_list args;
    va_start(args, format);
    vsnprintf(world->violation, sizeof(world->violation), format, args);
    va_end(args);
    world_log(world, "VIOLATION: %s", world->violation);
}

/* ---- blocks -------------------------------------------------------------------------------- */

uint8_t *world_block(const struct node *node, uint32_t block)
{
    return node->pool + (size_t)block * kvgeom_block_bytes(&world_geom);
}

/* Whatever lay there is gone: a reader of a freed block reads noise. */
static void scramble(struct world *world, struct node *node, uint32_t block)
{
    rand_bytes(&world->rng, world_block(node, block), kvgeom_block_bytes(&world_geom));
}

bool world_hold(struct world *world, struct node *node, uint32_t n, uint32_t *blocks)
{
    uint32_t got = 0;
    for (uint32_t i = 0; i < N_BLOCKS && got < n; i++) {
        uint32_t block = (node->next_block + i) % N_BLOCKS;
        if (!node->held[block]) {
            blocks[got++] = block;
        }
    }
    if (got < n) {
        return false;
    }
    node->next_block = (blocks[n - 1] + 1) % N_BLOCKS;
    for (uint32_t i = 0; i < n; i++) {
        node->held[blocks[i]] = true;
        scramble(world, node, blocks[i]);
    }
    return true;
}

void world_drop(struct world *world, struct node *node, uint32_t n, const uint32_t *blocks)
{
    for (uint32_t i = 0; i < n; i++) {
        if (local_mover_touches(world->mover, world_block(node, blocks[i]),
                                kvgeom_block_bytes(&world_geom))) {
            world_violate(world, "node %u freed block %u while the mover may touch it", node->idx,
                          blocks[i]);
        }
        node->held[blocks[i]] = false;
        scramble(world, node, blocks[i]);
    }
}

static void check_range(struct world *world, uint32_t idx, const uint8_t *at, size_t bytes,
                        const char *what)
{
    struct node *node = &world->nodes[idx];
    size_t block_bytes = kvgeom_block_bytes(&world_geom);
    if (at < node->pool || at >= node->pool + N_BLOCKS * block_bytes) {
        return; /* a probe */
    }
    size_t offset = (size_t)(at - node->pool);
    if (!node->held[offset / block_bytes] ||
        offset / block_bytes != (offset + bytes - 1) / block_bytes) {
        world_violate(world, "a fetch %s block %zu of node %u, which nobody holds", what,
                      offset / block_bytes, idx);
    }
}

static void on_copy(void *ctx, uint32_t from_node, const void *from, uint32_t to_node, void *to,
                    size_t bytes)
{
    struct world *world = ctx;
    check_range(world, from_node, from, bytes, "reads");
    check_range(world, to_node, to, bytes, "writes");
}

/* ---- nodes and wires ----------------------------------------------------------------------- */

void world_start(struct world *world, struct node *node)
{
    char name[16];
    snprintf(name, sizeof(name), "node-%u", node->idx);
    struct kvt_cfg cfg = {
        .self = rand_u64(&world->rng) | 1,
        .name = name,
        .fingerprint = "model",
        .numerics = "numerics",
        .geom = world_geom,
        .pool = node->pool,
        .n_blocks = N_BLOCKS,
        .peers_max = PEERS_MAX,
        .transfers_max = TRANSFERS_MAX,
        .blocks_max = REQUEST_BLOCKS_MAX,
        .fetch_bytes = 4096,
        .session_base = rand_below(&world->rng, 1000),
    };
    CHECK(kvt_create(&cfg, &node->kvt) == STATUS_OK);
    node->self = cfg.self;
    node->life++;
    node->alive = true;
    node->frozen = false;
    node->debt_ns = 0;
    memset(node->held, 0, sizeof(node->held));
}

static void wire_up(struct world *world, struct wire *wire)
{
    wire->links[0] = world->next_link++;
    wire->links[1] = world->next_link++;
    wire->up = true;
}

/* What a node's roster tells it: who is gone, who is there. */
static void roster(struct world *world, struct node *node)
{
    for (uint32_t i = 0; i < world->n_graves; i++) {
        kvt_peer_gone(node->kvt, world->graves[i], world->now_ns);
        world_drain(world, node);
    }
    for (uint32_t i = 0; i < N_WIRES; i++) {
        struct wire *wire = &world->wires[i];
        if (wire->up && wire->ends[0] == node->idx) {
            uint64_t peer = world->nodes[wire->ends[1]].self;
            kvt_peer_up(node->kvt, peer, wire->links[0], wire->path, world->now_ns);
            world_drain(world, node);
        }
    }
}

/* Each end that lives learns it; a frozen one does not, and finds out by silence. */
void world_wire_cut(struct world *world, struct wire *wire, uint64_t until_ns)
{
    world->sums.cuts++;
    wire->up = false;
    wire->restore_ns = until_ns;
    for (uint32_t end = 0; end < 2; end++) {
        struct node *node = &world->nodes[wire->ends[end]];
        if (node->alive && !node->frozen) {
            kvt_link_down(node->kvt, wire->links[end], world->now_ns);
            world_drain(world, node);
        }
    }
}

static void send_copy(struct world *world, const struct wire *wire, uint32_t end,
                      const struct wire_out_item *item)
{
    if (world->n_flights == FLIGHTS_MAX) {
        return;
    }
    struct flight *flight = &world->flights[world->n_flights++];
    uint32_t slow = rand_chance(&world->rng, world->chance_reorder, 1000) ? 30000 : 800;
    flight->at_ns = world->now_ns + NS_PER_US * rand_between(&world->rng, 50, slow);
    flight->node = wire->ends[!end];
    flight->life = world->nodes[flight->node].life;
    flight->link = wire->links[!end];
    flight->len = item->len;
    flight->bytes = malloc(item->len);
    CHECK(flight->bytes);
    memcpy(flight->bytes, item->bytes, item->len);
}

static void send_item(struct world *world, struct node *node, struct wire_out_item item)
{
    for (uint32_t i = 0; i < N_WIRES; i++) {
        struct wire *wire = &world->wires[i];
        for (uint32_t end = 0; end < 2; end++) {
            if (!wire->up || wire->links[end] != item.link || wire->ends[end] != node->idx) {
                continue;
            }
            script_said(world, node, &item);
            if (rand_chance(&world->rng, world->chance_drop, 1000)) {
                world->sums.lost++;
                return;
            }
            send_copy(world, wire, end, &item);
            if (rand_chance(&world->rng, world->chance_double, 1000)) {
                world->sums.doubled++;
                send_copy(world, wire, end, &item);
            }
        }
    }
}

/* Actions, then messages, then notes, until nothing is left. */
void world_drain(struct world *world, struct node *node)
{
    size_t act = 0;
    size_t item = 0;
    size_t note = 0;
    for (;;) {
        if (act < kvt_n_acts(node->kvt)) {
            const struct kvt_act *at = kvt_act_at(node->kvt, act++);
            script_act(world, node, at);
            local_mover_execute(world->mover, node->idx, at, world->now_ns);
        } else if (item < wire_out_count(kvt_out(node->kvt))) {
            send_item(world, node, wire_out_at(kvt_out(node->kvt), item++));
        } else if (note < kvt_n_notes(node->kvt)) {
            script_note(world, node, kvt_note_at(node->kvt, note++));
        } else {
            break;
        }
    }
    kvt_clear(node->kvt);
}

static void on_event(void *ctx, uint32_t idx, const struct kvt_event *event)
{
    struct world *world = ctx;
    struct node *node = &world->nodes[idx];
    CHECK(node->alive && !node->frozen);
    kvt_event(node->kvt, event, world->now_ns);
    world_drain(world, node);
    script_event(world, node, event);
}

/* ---- faults -------------------------------------------------------------------------------- */

void world_kill(struct world *world, struct node *node)
{
    world->sums.kills++;
    world_log(world, "kill node %u", node->idx);
    local_mover_kill(world->mover, node->idx, world->now_ns);
    node->alive = false;
    node->frozen = false;
    script_killed(world, node);
    kvt_destroy(node->kvt);
    node->kvt = NULL;
    world->graves[world->n_graves++ % GRAVES_MAX] = node->self;
    CHECK(world->n_graves < GRAVES_MAX);
    world_start(world, node);
    for (uint32_t i = 0; i < N_WIRES; i++) {
        struct wire *wire = &world->wires[i];
        if (wire->up && (wire->ends[0] == node->idx || wire->ends[1] == node->idx)) {
            uint64_t down_ns = NS_PER_MS * rand_below(&world->rng, 500);
            world_wire_cut(world, wire, world->now_ns + down_ns);
        }
    }
}

void world_freeze(struct world *world, struct node *node, uint64_t until_ns)
{
    world->sums.freezes++;
    world_log(world, "freeze node %u until %.0f ms", node->idx, (double)until_ns / 1e6);
    node->frozen = true;
    node->frozen_at_ns = world->now_ns;
    node->thaw_ns = until_ns;
    local_mover_freeze(world->mover, node->idx, true, world->now_ns);
}

static void thaw(struct world *world, struct node *node)
{
    node->frozen = false;
    node->debt_ns += world->now_ns - node->frozen_at_ns;
    local_mover_freeze(world->mover, node->idx, false, world->now_ns);
}

/* ---- time ---------------------------------------------------------------------------------- */

static void deliver(struct world *world, struct flight flight)
{
    struct node *node = &world->nodes[flight.node];
    struct wire_msg msg;
    arena_reset(world->arena);
    if (node->alive && node->life == flight.life) {
        CHECK(wire_msg_decode(flight.bytes, flight.len, world->arena, &msg, NULL) == STATUS_OK);
        kvt_message(node->kvt, flight.link, &msg, world->now_ns);
        world_drain(world, node);
    }
    free(flight.bytes);
}

static bool deliver_next(struct world *world)
{
    uint32_t best = FLIGHTS_MAX;
    for (uint32_t i = 0; i < world->n_flights; i++) {
        const struct flight *flight = &world->flights[i];
        if (flight->at_ns <= world->now_ns && !world->nodes[flight->node].frozen &&
            (best == FLIGHTS_MAX || flight->at_ns < world->flights[best].at_ns)) {
            best = i;
        }
    }
    if (best == FLIGHTS_MAX) {
        return false;
    }
    struct flight flight = world->flights[best];
    /* Keep the order: equal times must not be swapped by the removal. */
    memmove(&world->flights[best], &world->flights[best + 1],
            (world->n_flights - best - 1) * sizeof(flight));
    world->n_flights--;
    deliver(world, flight);
    return true;
}

static void tick(struct world *world)
{
    for (uint32_t i = 0; i < N_WIRES; i++) {
        if (!world->wires[i].up && world->now_ns >= world->wires[i].restore_ns) {
            wire_up(world, &world->wires[i]);
        }
    }
    for (uint32_t i = 0; i < N_NODES; i++) {
        struct node *node = &world->nodes[i];
        if (node->frozen && world->now_ns >= node->thaw_ns) {
            thaw(world, node);
        }
        if (!node->frozen) {
            kvt_tick(node->kvt, world->now_ns);
            world_drain(world, node);
            roster(world, node);
        }
    }
}

static void advance(struct world *world, uint32_t n_steps, bool busy)
{
    for (uint32_t i = 0; i < n_steps && !world->violated; i++) {
        world->now_ns += NS_PER_MS;
        local_mover_run(world->mover, world->now_ns, on_event, world);
        while (deliver_next(world)) {
        }
        script_step(world, busy);
        if (++world->n_steps % STEPS_PER_TICK == 0) {
            tick(world);
        }
    }
}

struct world *world_create(uint64_t seed, bool verbose)
{
    struct world *world = calloc(1, sizeof(*world));
    CHECK(world);
    rand_init(&world->rng, seed);
    world->verbose = verbose;
    world->now_ns = NS_PER_S;
    world->next_link = 1;
    bool rough = rand_chance(&world->rng, 2, 3);
    world->chance_drop = rough ? (uint32_t)rand_below(&world->rng, 4) : 0;
    world->chance_double = rough ? (uint32_t)rand_below(&world->rng, 30) : 0;
    world->chance_reorder = rough ? (uint32_t)rand_below(&world->rng, 4) : 0;
    struct local_mover_cfg cfg = {
        .nodes_max = N_NODES,
        .workers_max = 2 * N_NODES * PEERS_MAX,
        .moves_max = 2 * N_NODES * PEERS_MAX * KVT_POSTS_MAX,
        .seed = rand_u64(&world->rng),
        .faults = {.delay_min_us = 20, .delay_max_us = rough ? 3000 : 500},
        .watch = on_copy,
        .watch_ctx = world,
    };
    if (rough) {
        cfg.faults.open_error = (uint32_t)rand_below(&world->rng, 50000);
        cfg.faults.fetch_error = (uint32_t)rand_below(&world->rng, 3000);
        cfg.faults.flip = (uint32_t)rand_below(&world->rng, 10000);
        cfg.faults.stall = (uint32_t)rand_below(&world->rng, 3000);
        cfg.faults.lose_offer = (uint32_t)rand_below(&world->rng, 3000);
    }
    CHECK(local_mover_create(&cfg, &world->mover) == STATUS_OK);
    CHECK(arena_create(1 << 16, 1 << 22, &world->arena) == STATUS_OK);
    rand_bytes(&world->rng, world->garbage, sizeof(world->garbage));
    for (uint32_t i = 0; i < N_NODES; i++) {
        world->nodes[i].idx = i;
        world->nodes[i].pool = calloc(N_BLOCKS, kvgeom_block_bytes(&world_geom));
        CHECK(world->nodes[i].pool);
        world_start(world, &world->nodes[i]);
    }
    for (uint32_t d = 0; d < N_D; d++) {
        for (uint32_t p = 0; p < N_P; p++) {
            struct wire *wire = &world->wires[d * N_P + p];
            wire->ends[0] = N_P + d;
            wire->ends[1] = p;
            wire->path = rand_chance(&world->rng, 1, 2) ? KVT_PATH_LOCAL : KVT_PATH_NETWORK;
            wire_up(world, wire);
        }
    }
    return world;
}

void world_destroy(struct world *world)
{
    for (uint32_t i = 0; i < N_NODES; i++) {
        kvt_destroy(world->nodes[i].kvt);
        free(world->nodes[i].pool);
    }
    for (uint32_t i = 0; i < world->n_flights; i++) {
        free(world->flights[i].bytes);
    }
    local_mover_destroy(world->mover);
    arena_destroy(world->arena);
    free(world);
}

void world_run(struct world *world, uint32_t busy_ms)
{
    advance(world, busy_ms, true);
    struct local_mover_faults calm = {.delay_min_us = 20, .delay_max_us = 500};
    local_mover_set_faults(world->mover, &calm);
    world->chance_drop = world->chance_double = world->chance_reorder = 0;
    for (uint32_t i = 0; i < N_NODES; i++) {
        if (world->nodes[i].frozen) {
            world->nodes[i].thaw_ns = world->now_ns;
        }
    }
    script_end(world);
    advance(world, QUIET_MS, false);
    if (!world->violated) {
        script_check_end(world);
    }
    for (uint32_t i = 0; i < N_NODES; i++) {
        struct kvt_counts counts;
        kvt_counts(world->nodes[i].kvt, &counts);
        world->sums.fences += counts.fences;
        world->sums.stalls += counts.stalls;
        world->sums.mismatches += counts.mismatches;
    }
}

const char *world_violation(const struct world *world)
{
    return world->violated ? world->violation : NULL;
}

struct world_sums world_sums(const struct world *world)
{
    return world->sums;
}
