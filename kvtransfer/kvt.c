/* The transfer protocol's frame: memory, the lists a step fills, dispatch, and the end of a step.
 * What happens is in kvt_pair.c, kvt_out.c and kvt_in.c. All memory is taken at creation:
 *
 *   pairs      peers_max, each with a peer's address, a probe and KVT_POSTS_MAX posts and offers
 *   hand-overs transfers_max a direction, each with its blocks, pieces and note
 *   parked     transfers_max wants
 *   lists      what all pairs can want in one step: each post, fetch and release has its slot */
#include "kvtransfer/kvt.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "kvtransfer/kvt_state.h"

#define PEERS_LIMIT 4096u
#define TRANSFERS_LIMIT 65536u
#define PIECE_BYTES_LIMIT (64u << 20)

static bool cfg_valid(const struct kvt_cfg *cfg)
{
    return cfg->self != 0 && kvgeom_valid(&cfg->geom) && cfg->pool && cfg->n_blocks > 0 &&
           cfg->peers_max > 0 && cfg->peers_max <= PEERS_LIMIT && cfg->transfers_max > 0 &&
           cfg->transfers_max <= TRANSFERS_LIMIT && cfg->blocks_max > 0 &&
           (uint64_t)cfg->blocks_max * kvgeom_n_groups(&cfg->geom) <= WIRE_TOKENS_MAX &&
           cfg->fetch_bytes > 0 && cfg->name && strlen(cfg->name) <= WIRE_NAME_MAX &&
           cfg->fingerprint && strlen(cfg->fingerprint) <= WIRE_NAME_MAX && cfg->numerics &&
           strlen(cfg->numerics) <= WIRE_NAME_MAX;
}

static bool pairs_create(struct kvt *kvt)
{
    kvt->pairs = mem_alloc_zero(kvt->cfg.peers_max, sizeof(*kvt->pairs));
    if (!kvt->pairs) {
        return false;
    }
    bool good = true;
    for (uint32_t i = 0; i < kvt->cfg.peers_max; i++) {
        struct kvt_pair *pair = &kvt->pairs[i];
        pair->address = mem_alloc_zero(1, WIRE_ADDRESS_MAX);
        pair->probe = mem_alloc_zero(1, KVT_PROBE_BYTES);
        good = good && pair->address && pair->probe;
    }
    return good;
}

static bool out_init(struct kvt *kvt, struct kvt_out *out)
{
    bool good = true;
    out->blocks = mem_alloc_zero(kvt->cfg.blocks_max, sizeof(*out->blocks));
    out->order = mem_alloc_zero(kvt->pieces_max, sizeof(*out->order));
    out->ready = mem_alloc_zero(kvt->pieces_max, sizeof(*out->ready));
    out->digests = mem_alloc_zero(kvt->pieces_max, sizeof(*out->digests));
    out->note = mem_alloc_zero(1, KVT_NOTE_BYTES_MAX);
    for (uint32_t i = 0; i < KVT_LENDS_MAX; i++) {
        out->lends[i].out = out;
        out->lends[i].have = mem_alloc_zero(kvt->have_words, sizeof(uint64_t));
        good = good && out->lends[i].have;
    }
    return good && out->blocks && out->order && out->ready && out->digests && out->note;
}

static bool in_init(struct kvt *kvt, struct kvt_in *in)
{
    in->blocks = mem_alloc_zero(kvt->cfg.blocks_max, sizeof(*in->blocks));
    in->pieces = mem_alloc_zero(kvt->pieces_max, sizeof(*in->pieces));
    in->digests = mem_alloc_zero(kvt->pieces_max, sizeof(*in->digests));
    in->note = mem_alloc_zero(1, KVT_NOTE_BYTES_MAX);
    return in->blocks && in->pieces && in->digests && in->note;
}

static bool transfers_create(struct kvt *kvt)
{
    uint32_t n = kvt->cfg.transfers_max;
    kvt->outs = mem_alloc_zero(n, sizeof(*kvt->outs));
    kvt->ins = mem_alloc_zero(n, sizeof(*kvt->ins));
    kvt->parked = mem_alloc_zero(n, sizeof(*kvt->parked));
    if (!kvt->outs || !kvt->ins || !kvt->parked) {
        return false;
    }
    bool good = true;
    for (uint32_t i = 0; i < n; i++) {
        kvt->parked[i].have = mem_alloc_zero(kvt->have_words, sizeof(uint64_t));
        good = out_init(kvt, &kvt->outs[i]) && in_init(kvt, &kvt->ins[i]) && kvt->parked[i].have &&
               good;
    }
    return good;
}

static bool lists_create(struct kvt *kvt)
{
    kvt->acts_max = (size_t)kvt->cfg.peers_max * KVT_ACTS_PER_PAIR + KVT_LISTS_SLACK;
    kvt->notes_max = (size_t)kvt->cfg.transfers_max * 2 * KVT_NOTES_PER_TRANSFER +
                     (size_t)kvt->cfg.peers_max * 2 + KVT_LISTS_SLACK;
    kvt->acts = mem_alloc_zero(kvt->acts_max, sizeof(*kvt->acts));
    kvt->notes = mem_alloc_zero(kvt->notes_max, sizeof(*kvt->notes));
    kvt->iota = mem_alloc_zero(kvt->cfg.blocks_max, sizeof(*kvt->iota));
    kvt->scratch = mem_alloc_zero(kvt->pieces_max, sizeof(*kvt->scratch));
    if (!kvt->acts || !kvt->notes || !kvt->iota || !kvt->scratch) {
        return false;
    }
    for (uint32_t i = 0; i < kvt->cfg.blocks_max; i++) {
        kvt->iota[i] = i;
    }
    return wire_out_create(KVT_OUT_BYTES_MAX, &kvt->out) == STATUS_OK &&
           wire_tombs_create((size_t)kvt->cfg.transfers_max * KVT_TOMBS_PER_TRANSFER,
                             &kvt->tombs) == STATUS_OK;
}

enum status kvt_create(const struct kvt_cfg *cfg, struct kvt **out)
{
    if (!cfg_valid(cfg)) {
        return STATUS_INVALID;
    }
    size_t piece_bytes = kvgeom_layer_bytes(&cfg->geom) * cfg->geom.group_layers;
    if (piece_bytes > PIECE_BYTES_LIMIT) {
        return STATUS_TOO_BIG;
    }
    struct kvt *kvt = mem_alloc_zero(1, sizeof(*kvt));
    if (!kvt) {
        return STATUS_NO_MEMORY;
    }
    kvt->cfg = *cfg;
    snprintf(kvt->name, sizeof(kvt->name), "%s", cfg->name);
    snprintf(kvt->fingerprint, sizeof(kvt->fingerprint), "%s", cfg->fingerprint);
    snprintf(kvt->numerics, sizeof(kvt->numerics), "%s", cfg->numerics);
    kvgeom_print(&cfg->geom, kvt->layout);
    kvt->n_groups = kvgeom_n_groups(&cfg->geom);
    kvt->pieces_max = cfg->blocks_max * kvt->n_groups;
    kvt->block_bytes = kvgeom_block_bytes(&cfg->geom);
    kvt->have_words = (cfg->blocks_max + 63) / 64;
    kvt->next_number = 1;
    kvt->next_session = (uint32_t)cfg->session_base + 1;
    kvt->next_op = 1;
    kvt->next_order = 1;
    for (uint32_t i = 0; i < KVT_PROBE_BYTES; i++) {
        kvt->probe[i] = (uint8_t)(i * 167 + i / 256);
    }
    if (!pairs_create(kvt) || !transfers_create(kvt) || !lists_create(kvt)) {
        kvt_destroy(kvt);
        return STATUS_NO_MEMORY;
    }
    *out = kvt;
    return STATUS_OK;
}

static void transfers_destroy(struct kvt *kvt)
{
    for (uint32_t i = 0; kvt->outs && i < kvt->cfg.transfers_max; i++) {
        struct kvt_out *out = &kvt->outs[i];
        for (uint32_t k = 0; k < KVT_LENDS_MAX; k++) {
            mem_free(out->lends[k].have);
        }
        mem_free(out->blocks);
        mem_free(out->order);
        mem_free(out->ready);
        mem_free(out->digests);
        mem_free(out->note);
    }
    for (uint32_t i = 0; kvt->ins && i < kvt->cfg.transfers_max; i++) {
        mem_free(kvt->ins[i].blocks);
        mem_free(kvt->ins[i].pieces);
        mem_free(kvt->ins[i].digests);
        mem_free(kvt->ins[i].note);
    }
    for (uint32_t i = 0; kvt->parked && i < kvt->cfg.transfers_max; i++) {
        mem_free(kvt->parked[i].have);
    }
    mem_free(kvt->outs);
    mem_free(kvt->ins);
    mem_free(kvt->parked);
}

void kvt_destroy(struct kvt *kvt)
{
    if (!kvt) {
        return;
    }
    for (uint32_t i = 0; kvt->pairs && i < kvt->cfg.peers_max; i++) {
        mem_free(kvt->pairs[i].address);
        mem_free(kvt->pairs[i].probe);
    }
    mem_free(kvt->pairs);
    transfers_destroy(kvt);
    wire_tombs_destroy(kvt->tombs);
    wire_out_destroy(kvt->out);
    mem_free(kvt->acts);
    mem_free(kvt->notes);
    mem_free(kvt->iota);
    mem_free(kvt->scratch);
    mem_free(kvt);
}

/* ---- lists --------------------------------------------------------------------------------- */

struct kvt_act *kvt_act_add(struct kvt *kvt, enum kvt_act_kind kind, uint32_t pair)
{
    CHECK_MSG(kvt->n_acts < kvt->acts_max, "the caller carries out the actions after each input");
    struct kvt_act *act = &kvt->acts[kvt->n_acts++];
    *act = (struct kvt_act){.kind = kind, .pair = pair};
    return act;
}

struct kvt_note *kvt_note_add(struct kvt *kvt, enum kvt_note_kind kind, uint64_t peer)
{
    CHECK_MSG(kvt->n_notes < kvt->notes_max, "the caller takes the notes after each input");
    struct kvt_note *note = &kvt->notes[kvt->n_notes++];
    *note = (struct kvt_note){.kind = kind, .peer = peer};
    return note;
}

struct wire_out *kvt_out(struct kvt *kvt)
{
    return kvt->out;
}

size_t kvt_n_acts(const struct kvt *kvt)
{
    return kvt->n_acts;
}

const struct kvt_act *kvt_act_at(const struct kvt *kvt, size_t idx)
{
    CHECK(idx < kvt->n_acts);
    return &kvt->acts[idx];
}

size_t kvt_n_notes(const struct kvt *kvt)
{
    return kvt->n_notes;
}

const struct kvt_note *kvt_note_at(const struct kvt *kvt, size_t idx)
{
    CHECK(idx < kvt->n_notes);
    return &kvt->notes[idx];
}

void kvt_clear(struct kvt *kvt)
{
    kvt->n_acts = 0;
    kvt->n_notes = 0;
    wire_out_clear(kvt->out);
}

uint8_t kvt_move(const struct kvt_move *moves, size_t n_moves, uint8_t from, uint8_t input)
{
    size_t at = 0;
    while (at < n_moves && (moves[at].from != from || moves[at].input != input)) {
        at++;
    }
    CHECK_MSG(at < n_moves, "this input is not allowed in this state; the tables are in README.md");
    return moves[at].to;
}

/* ---- input --------------------------------------------------------------------------------- */

void kvt_settle(struct kvt *kvt, uint64_t now_ns)
{
    /* A fence says `bye` and ends records, which dooms no other pair but by a full out list; the
     * loop runs until that has ended too, at most once a pair. */
    while (kvt->n_doomed > 0) {
        for (uint32_t i = 0; i < kvt->cfg.peers_max; i++) {
            struct kvt_pair *pair = &kvt->pairs[i];
            if (pair->doom != STATUS_OK) {
                kvt_pair_fence(kvt, pair, pair->doom, pair->doom_quiet, now_ns);
            }
        }
    }
    if (kvt->fetch_due) {
        kvt_fetch_pump(kvt);
    }
}

void kvt_message(struct kvt *kvt, uint32_t link, const struct wire_msg *msg, uint64_t now_ns)
{
    kvt_pair_message(kvt, link, msg, now_ns);
    kvt_settle(kvt, now_ns);
}

void kvt_event(struct kvt *kvt, const struct kvt_event *event, uint64_t now_ns)
{
    for (uint32_t i = 0; i < kvt->cfg.peers_max; i++) {
        struct kvt_pair *pair = &kvt->pairs[i];
        if (pair->number != 0 && pair->number == event->pair) {
            kvt_pair_event(kvt, pair, event, now_ns);
            break;
        }
    }
    kvt_settle(kvt, now_ns);
}

void kvt_tick(struct kvt *kvt, uint64_t now_ns)
{
    for (uint32_t i = 0; i < kvt->cfg.peers_max; i++) {
        if (kvt->pairs[i].state != KVT_PAIR_FREE) {
            kvt_pair_tick(kvt, &kvt->pairs[i], now_ns);
        }
    }
    kvt_lend_tick(kvt, now_ns);
    kvt_settle(kvt, now_ns);
}

/* ---- looking ------------------------------------------------------------------------------- */

static bool is_ready(const struct kvt_pair *pair)
{
    return pair->state == KVT_PAIR_D_READY || pair->state == KVT_PAIR_P_READY;
}

bool kvt_paired(const struct kvt *kvt, uint64_t peer)
{
    for (uint32_t i = 0; i < kvt->cfg.peers_max; i++) {
        if (kvt->pairs[i].peer == peer && is_ready(&kvt->pairs[i])) {
            return true;
        }
    }
    return false;
}

size_t kvt_paired_list(const struct kvt *kvt, uint64_t *peers, size_t max)
{
    size_t n = 0;
    for (uint32_t i = 0; i < kvt->cfg.peers_max && n < max; i++) {
        size_t known = 0;
        while (known < n && peers[known] != kvt->pairs[i].peer) {
            known++;
        }
        if (is_ready(&kvt->pairs[i]) && known == n) {
            peers[n++] = kvt->pairs[i].peer;
        }
    }
    return n;
}

void kvt_counts(const struct kvt *kvt, struct kvt_counts *out)
{
    struct kvt_counts counts = kvt->counts;
    for (uint32_t i = 0; i < kvt->cfg.peers_max; i++) {
        counts.pairs += kvt->pairs[i].state != KVT_PAIR_FREE;
        counts.posts_pending += kvt->pairs[i].n_posts;
        counts.fetches_pending += kvt->pairs[i].n_fetching;
    }
    for (uint32_t i = 0; i < kvt->cfg.transfers_max; i++) {
        counts.outs += kvt->outs[i].state != KVT_OUT_FREE;
        counts.ins += kvt->ins[i].state != KVT_IN_FREE;
    }
    *out = counts;
}
