/* The roles of the random world and what they check: jobs at P (open, ready, seal, close), wants at
 * D (open, close), forged offers, and the faults. Checked here:
 *
 * - what D is told has landed is what P computed, byte for byte;
 * - blocks are freed only when the mover is done with them (world_drop);
 * - one note ends each hand-over, one answer of D's each want, and both within their bounds;
 * - P offers for a newer want, never again for an older one;
 * - a want for what P has ended is refused as cancelled, not waited for;
 * - an offer under a wrong header is never fetched;
 * - when all is over nothing is left, and all pairs are ready again. */
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "tests/kvtransfer/kvt_world_state.h"
#include "wire/kvdigest.h"

#define CLOSE_BOUND_MS (KVT_STALL_MS + 600u)
#define WANT_LIFE_MS 4000u

static uint64_t ms_ns(uint64_t ms)
{
    return ms * NS_PER_MS;
}

static bool one_in(struct world *world, uint32_t n)
{
    return rand_chance(&world->rng, 1, n);
}

/* What P computes for a block. */
static void fill_block(const struct job *job, uint32_t block, uint8_t *bytes)
{
    struct rand rng;
    rand_init(&rng, (uint64_t)job->req.byte[0] << 32 | (uint64_t)job->req.byte[1] << 8 | block);
    rand_bytes(&rng, bytes, kvgeom_block_bytes(&world_geom));
}

static void drop_unused(struct node *node, uint32_t n, const uint32_t *blocks)
{
    for (uint32_t i = 0; i < n; i++) {
        node->held[blocks[i]] = false;
    }
}

/* ---- P ------------------------------------------------------------------------------------- */

static void job_new(struct world *world)
{
    if (world->n_jobs == JOBS_MAX) {
        return;
    }
    struct job *job = &world->jobs[world->n_jobs++];
    job->req.byte[0] = (uint8_t)world->n_jobs;
    job->req.byte[1] = (uint8_t)rand_u64(&world->rng);
    job->attempt = (uint32_t)rand_below(&world->rng, 3);
    job->p = (uint32_t)rand_below(&world->rng, N_P);
    job->n_blocks = 1 + (uint32_t)rand_below(&world->rng, REQUEST_BLOCKS_MAX);
    uint32_t n_pieces = job->n_blocks * GROUPS;
    for (uint32_t i = 0; i < n_pieces; i++) {
        uint32_t at = (uint32_t)rand_below(&world->rng, i + 1);
        job->order[i] = job->order[at];
        job->order[at] = (uint8_t)i;
    }
}

static void job_open(struct world *world, struct job *job)
{
    struct node *p = &world->nodes[job->p];
    if (!world_hold(world, p, job->n_blocks, job->blocks)) {
        return;
    }
    enum status status =
        kvt_out_open(p->kvt, &job->req, job->attempt, job->blocks, job->n_blocks, world->now_ns);
    if (status != STATUS_OK) {
        if (status != STATUS_FULL) {
            world_violate(world, "kvt_out_open: %s", status_name(status));
        }
        drop_unused(p, job->n_blocks, job->blocks);
        return;
    }
    world_log(world, "job %u opens at P %u, %u blocks", job->req.byte[0], job->p, job->n_blocks);
    job->state = JOB_OPEN;
    job->n_ready = 0;
    job->posted = 0;
    for (uint32_t i = 0; i < job->n_blocks; i++) {
        fill_block(job, i, world_block(p, job->blocks[i]));
    }
    world_drain(world, p);
}

static void job_work(struct world *world, struct job *job)
{
    struct node *p = &world->nodes[job->p];
    if (job->n_ready < job->n_blocks * GROUPS) {
        uint32_t piece = job->order[job->n_ready++];
        uint32_t block = piece / GROUPS;
        uint32_t group = piece % GROUPS;
        size_t offset;
        size_t len;
        kvgeom_piece(&world_geom, group, &offset, &len);
        uint64_t digest =
            kvdigest_piece(&job->req, job->attempt, block, group * world_geom.group_layers,
                           world_block(p, job->blocks[block]) + offset, len);
        kvt_out_ready(p->kvt, &job->req, job->attempt, block, group, digest, world->now_ns);
    } else {
        job->state = JOB_SEALED;
        kvt_out_seal(p->kvt, &job->req, job->attempt, job->req.byte, sizeof(job->req.byte),
                     world->now_ns);
    }
    world_drain(world, p);
}

static void job_close(struct world *world, struct job *job)
{
    struct node *p = &world->nodes[job->p];
    world_log(world, "job %u is closed", job->req.byte[0]);
    bool open = job->state != JOB_NEW;
    job->state = open ? JOB_CLOSING : JOB_ENDED;
    job->ended_here = true;
    job->close_ns = world->now_ns;
    job->close_debt_ns = p->debt_ns;
    kvt_out_close(p->kvt, &job->req, job->attempt, world->now_ns);
    world_drain(world, p);
}

static void job_noted(struct world *world, struct node *node, const struct kvt_note *note)
{
    for (uint32_t i = 0; i < world->n_jobs; i++) {
        struct job *job = &world->jobs[i];
        if (!wire_id_equal(&job->req, &note->key.req) || job->p != node->idx) {
            continue;
        }
        bool open = job->state == JOB_OPEN || job->state == JOB_SEALED;
        if (note->kind == KVT_NOTE_OUT_REFUSED) {
            world->sums.refused++;
            if (!open) {
                world_violate(world, "OUT_REFUSED for job %u, which is not open", i + 1);
            }
            return;
        }
        bool landed = note->kind == KVT_NOTE_OUT_LANDED;
        if (landed ? job->state != JOB_SEALED : job->state != JOB_CLOSING) {
            world_violate(world, "a final note for job %u in state %d", i + 1, (int)job->state);
        }
        world_log(world, "job %u %s", i + 1, landed ? "has landed" : "has closed");
        world->sums.outs_landed += landed;
        world->sums.outs_closed += !landed;
        job->state = JOB_ENDED;
        job->ended_here = true;
        world_drop(world, node, job->n_blocks, job->blocks);
        return;
    }
    world_violate(world, "a note for a job that never was");
}

/* ---- D ------------------------------------------------------------------------------------- */

static struct want *find_want(struct world *world, const struct node *node,
                              const struct kvt_key *key)
{
    for (uint32_t i = 0; i < world->n_wants; i++) {
        struct want *want = &world->wants[i];
        if (want->d == node->idx && want->life == node->life &&
            wire_id_equal(&want->key.req, &key->req) && want->key.generation == key->generation) {
            return want;
        }
    }
    return NULL;
}

static void want_new(struct world *world)
{
    if (world->n_jobs == 0 || world->n_wants == WANTS_MAX) {
        return;
    }
    /* Mostly recent ones, so that wants meet their jobs in every phase. */
    uint32_t span = world->n_jobs < 6 || one_in(world, 8) ? world->n_jobs : 6;
    uint32_t job_idx = world->n_jobs - 1 - (uint32_t)rand_below(&world->rng, span);
    struct job *job = &world->jobs[job_idx];
    struct node *d = &world->nodes[N_P + rand_below(&world->rng, N_D)];
    struct want *want = &world->wants[world->n_wants];
    if (d->frozen || !world_hold(world, d, job->n_blocks, want->blocks)) {
        return;
    }
    want->job = job_idx;
    want->d = d->idx;
    want->life = d->life;
    want->n_have = one_in(world, 2) ? (uint32_t)rand_below(&world->rng, job->n_blocks + 1) : 0;
    for (uint32_t i = 0; i < want->n_have; i++) {
        fill_block(job, i, world_block(d, want->blocks[i]));
    }
    bool older = job->generation > 0 && one_in(world, 6);
    uint32_t generation =
        older ? 1 + (uint32_t)rand_below(&world->rng, job->generation) : job->generation + 1;
    want->key = (struct kvt_key){job->req, job->attempt, generation};
    if (find_want(world, d, &want->key)) { /* a D asks once with a key */
        drop_unused(d, job->n_blocks, want->blocks);
        return;
    }
    enum status status = kvt_in_open(d->kvt, world->nodes[job->p].self, &want->key, want->blocks,
                                     job->n_blocks, want->n_have, world->now_ns);
    if (status != STATUS_OK) {
        drop_unused(d, job->n_blocks, want->blocks);
        return;
    }
    job->generation += !older;
    want->state = WANT_OPEN;
    want->open_ns = world->now_ns;
    world->n_wants++;
    world_log(world, "D %u wants job %u generation %u, has %u", d->idx, job_idx + 1,
              want->key.generation, want->n_have);
    world_drain(world, d);
}

static void want_close(struct world *world, struct want *want)
{
    struct node *d = &world->nodes[want->d];
    world_log(world, "D %u closes job %u generation %u", want->d, want->job + 1,
              want->key.generation);
    want->state = WANT_CLOSING;
    want->close_ns = world->now_ns;
    want->close_debt_ns = d->debt_ns;
    kvt_in_close(d->kvt, &want->key, STATUS_CANCELLED, world->now_ns);
    world_drain(world, d);
}

static void check_landed(struct world *world, struct node *node, const struct want *want,
                         const struct kvt_note *note)
{
    const struct job *job = &world->jobs[want->job];
    uint8_t expected[4096];
    CHECK(kvgeom_block_bytes(&world_geom) <= sizeof(expected));
    for (uint32_t i = 0; i < job->n_blocks; i++) {
        fill_block(job, i, expected);
        if (memcmp(expected, world_block(node, want->blocks[i]), kvgeom_block_bytes(&world_geom)) !=
            0) {
            world_violate(world, "job %u landed at D %u with wrong bytes in block %u",
                          want->job + 1, node->idx, i);
        }
    }
    if (note->note_len != sizeof(job->req.byte) ||
        memcmp(note->note, job->req.byte, note->note_len) != 0) {
        world_violate(world, "job %u landed with another note", want->job + 1);
    }
}

static void want_noted(struct world *world, struct node *node, const struct kvt_note *note)
{
    struct want *want = find_want(world, node, &note->key);
    if (!want || (want->state != WANT_OPEN && want->state != WANT_CLOSING)) {
        world_violate(world, "D %u ends a hand-over that is not open", node->idx);
        return;
    }
    if (note->kind == KVT_NOTE_IN_LANDED) {
        world->sums.landed++;
        check_landed(world, node, want, note);
    } else {
        world->sums.closed++;
    }
    world_log(world, "D %u: job %u generation %u %s %s", node->idx, want->job + 1,
              want->key.generation, note->kind == KVT_NOTE_IN_LANDED ? "landed" : "closed",
              status_name(note->status));
    want->state = WANT_ENDED;
    world_drop(world, node, world->jobs[want->job].n_blocks, want->blocks);
}

/* ---- what the world shows ------------------------------------------------------------------ */

void script_note(struct world *world, struct node *node, const struct kvt_note *note)
{
    switch (note->kind) {
    case KVT_NOTE_PAIR_READY:
    case KVT_NOTE_PAIR_LOST:
        world_log(world, "node %u: pair with %016llx %s %s", node->idx,
                  (unsigned long long)note->peer,
                  note->kind == KVT_NOTE_PAIR_READY ? "ready" : "lost", status_name(note->status));
        break;
    case KVT_NOTE_OUT_LANDED:
    case KVT_NOTE_OUT_REFUSED:
    case KVT_NOTE_OUT_CLOSED:
        job_noted(world, node, note);
        break;
    case KVT_NOTE_IN_LANDED:
    case KVT_NOTE_IN_CLOSED:
        want_noted(world, node, note);
        break;
    }
}

void script_act(struct world *world, struct node *node, const struct kvt_act *act)
{
    if (act->kind != KVT_ACT_POST || act->header.req[0] == 0) {
        return;
    }
    struct job *job = &world->jobs[act->header.req[0] - 1];
    if (act->header.generation < job->posted) {
        world_violate(world, "P %u offers job %u for generation %u after %u", node->idx,
                      act->header.req[0], act->header.generation, job->posted);
    }
    job->posted = act->header.generation;
}

/* Every message that a node says. */
void script_said(struct world *world, struct node *node, const struct wire_out_item *item)
{
    struct wire_msg msg;
    arena_reset(world->arena);
    if (wire_msg_decode(item->bytes, item->len, world->arena, &msg, NULL) != STATUS_OK) {
        world_violate(world, "node %u says what nobody can read", node->idx);
        return;
    }
    bool answer = msg.kind == WIRE_KIND_LANDED || msg.kind == WIRE_KIND_REFUSED;
    if (answer && node->idx >= N_P) {
        struct kvt_key key = {msg.req, msg.attempt, msg.generation};
        struct want *want = find_want(world, node, &key);
        if (!want || ++want->n_answers > 1) {
            world_violate(world, "D %u answers a want twice", node->idx);
        }
    } else if (msg.kind == WIRE_KIND_REFUSED && msg.refused.code == STATUS_NOT_FOUND &&
               world->jobs[msg.req.byte[0] - 1].ended_here) {
        world_violate(world, "P %u has forgotten that it ended job %u", node->idx, msg.req.byte[0]);
    }
}

/* ---- forgery ------------------------------------------------------------------------------- */

static uint64_t garbage_digest(const struct world *world, const struct kvt_header *header)
{
    struct wire_id req;
    memcpy(req.byte, header->req, sizeof(req.byte));
    return kvdigest_piece(&req, header->attempt, header->block,
                          header->group * world_geom.group_layers, world->garbage, header->bytes);
}

/* Remembers what is genuine. */
void script_event(struct world *world, struct node *node, const struct kvt_event *event)
{
    if (event->kind == KVT_EVENT_OFFERED &&
        event->header.digest != garbage_digest(world, &event->header)) {
        world->seen[world->n_seen++ % SEEN_MAX] =
            (struct seen){node->idx, node->life, event->pair, event->header};
    }
}

/* A piece that D still lacks, under a perfect header but for the bytes: only the seal can tell. */
static bool aim_at_lacked(struct world *world, struct node *node, struct kvt_header *header)
{
    for (uint32_t i = world->n_wants; i > 0; i--) {
        const struct want *want = &world->wants[i - 1];
        const struct job *job = &world->jobs[want->job];
        if (want->state == WANT_OPEN && want->d == node->idx && want->n_have < job->n_blocks &&
            world->nodes[job->p].self == header->from) {
            memcpy(header->req, job->req.byte, sizeof(header->req));
            header->attempt = job->attempt;
            header->generation = want->key.generation;
            header->block = job->n_blocks - 1;
            header->group = 0;
            return true;
        }
    }
    return false;
}

static void forge(struct world *world)
{
    uint32_t n = world->n_seen < SEEN_MAX ? world->n_seen : SEEN_MAX;
    if (n == 0) {
        return;
    }
    struct seen seen = world->seen[rand_below(&world->rng, n)];
    struct node *node = &world->nodes[seen.node];
    if (seen.life != node->life || node->frozen) {
        return;
    }
    struct kvt_header header = seen.header;
    bool evil = true;
    uint32_t kind = (uint32_t)rand_below(&world->rng, 6);
    switch (kind) {
    case 0:
        header.secret[rand_below(&world->rng, 16)] ^= 1;
        (void)aim_at_lacked(world, node, &header);
        break;
    case 1:
        evil = aim_at_lacked(world, node, &header);
        header.from ^= 2;
        break;
    case 2:
        header.to ^= 2;
        break;
    case 3:
        header.generation += 1000;
        break;
    case 4: /* the same piece once more */
        evil = header.req[0] != 0;
        break;
    default:
        evil = false;
        if (!aim_at_lacked(world, node, &header)) {
            return;
        }
    }
    size_t offset;
    size_t len;
    kvgeom_piece(&world_geom, header.group, &offset, &len);
    header.bytes = len;
    header.digest = garbage_digest(world, &header);
    world_log(world, "forgery %u to D %u: job %u generation %u block %u group %u", kind, seen.node,
              header.req[0], header.generation, header.block, header.group);
    world->sums.forged += local_mover_forge(world->mover, seen.node, seen.pair, &header,
                                            world->garbage, len, evil, world->now_ns);
}

/* ---- what happens -------------------------------------------------------------------------- */

static void disturb(struct world *world)
{
    struct node *node = &world->nodes[rand_below(&world->rng, N_NODES)];
    if (node->frozen) {
        return;
    }
    switch (rand_below(&world->rng, 3)) {
    case 0:
        world_kill(world, node);
        break;
    case 1:
        world_freeze(world, node, world->now_ns + ms_ns(rand_below(&world->rng, 6500)));
        break;
    default: {
        struct wire *wire = &world->wires[rand_below(&world->rng, N_WIRES)];
        if (wire->up) {
            world_log(world, "wire between D %u and P %u breaks", wire->ends[0], wire->ends[1]);
            world_wire_cut(world, wire, world->now_ns + ms_ns(rand_below(&world->rng, 1000)));
        }
    }
    }
}

void script_killed(struct world *world, struct node *node)
{
    for (uint32_t i = 0; i < world->n_jobs; i++) {
        struct job *job = &world->jobs[i];
        if (job->p == node->idx) {
            job->state = job->state == JOB_NEW ? JOB_NEW : JOB_ENDED;
            job->ended_here = false;
        }
    }
    for (uint32_t i = 0; i < world->n_wants; i++) {
        struct want *want = &world->wants[i];
        if (want->d == node->idx) {
            want->state = WANT_ENDED;
        }
    }
}

static void jobs_step(struct world *world, bool busy)
{
    for (uint32_t i = 0; i < world->n_jobs && !world->violated; i++) {
        struct job *job = &world->jobs[i];
        struct node *p = &world->nodes[job->p];
        if (p->frozen) {
            continue;
        }
        bool open = job->state == JOB_OPEN || job->state == JOB_SEALED;
        if (job->state == JOB_CLOSING && world->now_ns - job->close_ns > ms_ns(CLOSE_BOUND_MS) +
                                                                             p->debt_ns -
                                                                             job->close_debt_ns) {
            world_violate(world, "job %u was closed and has not ended within its bound", i + 1);
        } else if (busy && job->state == JOB_NEW && one_in(world, 20)) {
            job_open(world, job);
        } else if (busy && job->state == JOB_OPEN && one_in(world, 4)) {
            job_work(world, job);
        } else if ((open && (one_in(world, 1000) || (!busy && one_in(world, 50)))) ||
                   (job->state == JOB_NEW && one_in(world, 2000))) {
            job_close(world, job);
        }
    }
}

static void wants_step(struct world *world)
{
    for (uint32_t i = 0; i < world->n_wants && !world->violated; i++) {
        struct want *want = &world->wants[i];
        struct node *d = &world->nodes[want->d];
        if (d->frozen) {
            continue;
        }
        if (want->state == WANT_CLOSING &&
            world->now_ns - want->close_ns >
                ms_ns(CLOSE_BOUND_MS) + d->debt_ns - want->close_debt_ns) {
            world_violate(world, "D %u closed job %u and has not ended within its bound", want->d,
                          want->job + 1);
        } else if (want->state == WANT_OPEN &&
                   (world->now_ns - want->open_ns > ms_ns(WANT_LIFE_MS) || one_in(world, 800))) {
            want_close(world, want);
        }
    }
}

void script_step(struct world *world, bool busy)
{
    jobs_step(world, busy);
    wants_step(world);
    if (busy && !world->violated) {
        if (one_in(world, 50)) {
            job_new(world);
        }
        if (one_in(world, 15)) {
            want_new(world);
        }
        if (one_in(world, 10)) {
            forge(world);
        }
        if (one_in(world, 1200)) {
            disturb(world);
        }
    }
    struct local_mover_counts counts;
    local_mover_counts(world->mover, &counts);
    if (counts.evil_fetched > 0) {
        world_violate(world, "a forged offer was fetched");
    } else if (counts.misuse > 0) {
        world_violate(world, "the mover was misused");
    }
}

void script_end(struct world *world)
{
    for (uint32_t i = 0; i < world->n_jobs; i++) {
        struct job *job = &world->jobs[i];
        if (job->state == JOB_NEW) {
            job->state = JOB_ENDED;
        }
    }
}

void script_check_end(struct world *world)
{
    for (uint32_t i = 0; i < world->n_jobs; i++) {
        if (world->jobs[i].state != JOB_ENDED) {
            world_violate(world, "job %u never ended", i + 1);
        }
    }
    for (uint32_t i = 0; i < world->n_wants; i++) {
        if (world->wants[i].state != WANT_ENDED) {
            world_violate(world, "want %u never ended", i);
        }
    }
    for (uint32_t i = 0; i < N_NODES; i++) {
        struct node *node = &world->nodes[i];
        struct kvt_counts counts;
        kvt_counts(node->kvt, &counts);
        if (counts.outs + counts.ins + counts.posts_pending + counts.fetches_pending > 0) {
            world_violate(world, "node %u is left with records or transfers", i);
        }
        for (uint32_t k = 0; k < N_WIRES; k++) {
            uint32_t p = world->wires[k].ends[1];
            if (world->wires[k].ends[0] == i && !kvt_paired(node->kvt, world->nodes[p].self)) {
                world_violate(world, "D %u and P %u did not pair again", i, p);
            }
        }
    }
    struct local_mover_counts counts;
    local_mover_counts(world->mover, &counts);
    if (counts.moves > 0 || counts.workers != 2 * N_WIRES) {
        world_violate(world, "the mover is left with %llu moves and %llu workers",
                      (unsigned long long)counts.moves, (unsigned long long)counts.workers);
    }
}
