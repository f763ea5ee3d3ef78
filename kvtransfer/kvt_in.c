/* What D takes. A hand-over (kvt_in) asks for the blocks it lacks; every offer is checked against
 * what was asked before a byte moves, fetched straight into its block, and its digest checked. With
 * the seal and every piece verified it has landed. When it fails or is closed, no new fetch starts
 * and the answer waits for those under way: until they have ended somebody may write the blocks.
 *
 * Every want has one answer: landed or refused from here, refused from P, or the fence.
 *
 * Fetches: at most cfg.fetch_bytes in flight over all pairs (one piece is always allowed). The
 * pairs take turns, so that no P's offers grow old behind another's long prompt; within a pair the
 * oldest hand-over goes first. */
#include <string.h>

#include "kvtransfer/kvt_state.h"

enum in_input {
    INPUT_ASK,
    INPUT_SEAL,
    INPUT_LANDED,  /* sealed, and every piece verified */
    INPUT_FAIL,    /* a cause of our own, the role, or P's refusal */
    INPUT_DRAINED, /* no fetch is left at the mover */
    INPUT_FENCED,
};

static const struct kvt_move in_moves[] = {
    {KVT_IN_FREE, INPUT_ASK, KVT_IN_FILLING},     {KVT_IN_FILLING, INPUT_SEAL, KVT_IN_SEALED},
    {KVT_IN_FILLING, INPUT_FAIL, KVT_IN_CLOSING}, {KVT_IN_FILLING, INPUT_FENCED, KVT_IN_FREE},
    {KVT_IN_SEALED, INPUT_LANDED, KVT_IN_FREE},   {KVT_IN_SEALED, INPUT_FAIL, KVT_IN_CLOSING},
    {KVT_IN_SEALED, INPUT_FENCED, KVT_IN_FREE},   {KVT_IN_CLOSING, INPUT_DRAINED, KVT_IN_FREE},
    {KVT_IN_CLOSING, INPUT_FENCED, KVT_IN_FREE},
};

static void in_move(struct kvt_in *in, enum in_input input)
{
    in->state = kvt_move(in_moves, sizeof(in_moves) / sizeof(in_moves[0]), (uint8_t)in->state,
                         (uint8_t)input);
}

static struct kvt_in *find_in(struct kvt *kvt, const struct kvt_key *key)
{
    for (uint32_t i = 0; i < kvt->cfg.transfers_max; i++) {
        struct kvt_in *in = &kvt->ins[i];
        if (in->state != KVT_IN_FREE && in->key.generation == key->generation &&
            in->key.attempt == key->attempt && wire_id_equal(&in->key.req, &key->req)) {
            return in;
        }
    }
    return NULL;
}

/* Constant time: how much of a guess was right must not show. */
static bool secret_equal(const uint8_t a[16], const uint8_t b[16])
{
    uint8_t differs = 0;
    for (size_t i = 0; i < 16; i++) {
        differs = (uint8_t)(differs | (a[i] ^ b[i]));
    }
    return differs == 0;
}

static uint8_t *piece_at(const struct kvt *kvt, const struct kvt_in *in, uint32_t piece,
                         size_t *len_out)
{
    size_t offset;
    kvgeom_piece(&kvt->cfg.geom, piece % kvt->n_groups, &offset, len_out);
    return kvt->cfg.pool + (size_t)in->blocks[piece / kvt->n_groups] * kvt->block_bytes + offset;
}

static void release(struct kvt *kvt, const struct kvt_pair *pair, uint64_t handle)
{
    kvt_act_add(kvt, KVT_ACT_RELEASE, pair->number)->handle = handle;
}

/* ---- a hand-over's end --------------------------------------------------------------------- */

/* Offers of the hand-over that are not being fetched go back unread. */
static void release_queued(struct kvt *kvt, struct kvt_in *in)
{
    for (uint32_t i = 0; i < KVT_POSTS_MAX; i++) {
        struct kvt_offer *offer = &in->pair->offers[i];
        if (offer->arrival != 0 && offer->in == in && offer->op == 0) {
            release(kvt, in->pair, offer->handle);
            *offer = (struct kvt_offer){0};
        }
    }
}

static void note_closed(struct kvt *kvt, const struct kvt_in *in)
{
    struct kvt_note *note = kvt_note_add(kvt, KVT_NOTE_IN_CLOSED, in->pair->peer);
    note->key = in->key;
    note->status = in->why;
    note->path = in->pair->path;
}

static void say_refused(struct kvt *kvt, const struct kvt_in *in)
{
    struct wire_msg msg;
    wire_msg_init(&msg, WIRE_KIND_REFUSED);
    msg.req = in->key.req;
    msg.attempt = in->key.attempt;
    msg.generation = in->key.generation;
    msg.refused.code = (uint32_t)in->why;
    msg.refused.text = wire_span_of(status_text(in->why));
    kvt_pair_say(kvt, in->pair, &msg);
}

static void in_try_end(struct kvt *kvt, struct kvt_in *in)
{
    if (in->state != KVT_IN_CLOSING || (in->n_fetching > 0 && !PLANTED(5))) {
        return;
    }
    for (uint32_t i = 0; PLANTED(5) && i < KVT_POSTS_MAX; i++) {
        in->pair->offers[i].in = in->pair->offers[i].in == in ? NULL : in->pair->offers[i].in;
    }
    if (!in->answered) {
        say_refused(kvt, in);
    }
    note_closed(kvt, in);
    in_move(in, INPUT_DRAINED);
}

static void in_fail(struct kvt *kvt, struct kvt_in *in, enum status why)
{
    if (in->state == KVT_IN_CLOSING) {
        return;
    }
    in_move(in, INPUT_FAIL);
    in->why = why;
    release_queued(kvt, in);
    in_try_end(kvt, in);
}

static void in_try_land(struct kvt *kvt, struct kvt_in *in, uint64_t now_ns)
{
    if (in->state != KVT_IN_SEALED || (in->n_verified < in->n_wanted && !PLANTED(8))) {
        return;
    }
    if (PLANTED(8)) {
        release_queued(kvt, in);
        for (uint32_t i = 0; i < KVT_POSTS_MAX; i++) {
            in->pair->offers[i].in = in->pair->offers[i].in == in ? NULL : in->pair->offers[i].in;
        }
    }
    struct wire_msg msg;
    wire_msg_init(&msg, WIRE_KIND_LANDED);
    msg.req = in->key.req;
    msg.attempt = in->key.attempt;
    msg.generation = in->key.generation;
    msg.landed.bytes = in->bytes;
    kvt_pair_say(kvt, in->pair, &msg);
    struct kvt_note *note = kvt_note_add(kvt, KVT_NOTE_IN_LANDED, in->pair->peer);
    note->key = in->key;
    note->note = in->note;
    note->note_len = in->note_len;
    note->bytes = in->bytes;
    note->transfer_us = in->first_ns ? (now_ns - in->first_ns) / NS_PER_US : 0;
    note->path = in->pair->path;
    in_move(in, INPUT_LANDED);
}

void kvt_fetch_fenced(struct kvt *kvt, struct kvt_pair *pair, enum status why)
{
    for (uint32_t i = 0; i < KVT_POSTS_MAX; i++) {
        struct kvt_offer *offer = &pair->offers[i];
        kvt->fetch_bytes -= offer->op != 0 ? offer->bytes : 0;
        *offer = (struct kvt_offer){0};
    }
    pair->n_fetching = 0;
    pair->probe_op = 0;
    for (uint32_t i = 0; i < kvt->cfg.transfers_max; i++) {
        struct kvt_in *in = &kvt->ins[i];
        if (in->state != KVT_IN_FREE && in->pair == pair) {
            in->why = in->state == KVT_IN_CLOSING ? in->why : why;
            note_closed(kvt, in);
            in_move(in, INPUT_FENCED);
        }
    }
    kvt->fetch_due = true;
}

/* ---- offers -------------------------------------------------------------------------------- */

/* Ours to look at? Counts what is not. */
static bool header_sound(struct kvt *kvt, const struct kvt_pair *pair,
                         const struct kvt_event *event)
{
    const struct kvt_header *header = &event->header;
    if (header->magic != KVT_HEADER_MAGIC || header->version != KVT_HEADER_VERSION ||
        header->bytes != event->bytes) {
        kvt->counts.offers_malformed++;
    } else if (!secret_equal(header->secret, pair->secret) && !PLANTED(6)) {
        kvt->counts.offers_bad_secret++;
    } else if ((header->from != pair->peer && !PLANTED(2)) || header->to != kvt->cfg.self) {
        kvt->counts.offers_stale++;
    } else {
        return true;
    }
    return false;
}

/* The hand-over that asked for this piece, or NULL, counted. A piece of the wrong length fails the
 * hand-over: this P has the secret, so it is P that is broken. */
static struct kvt_in *asked_by(struct kvt *kvt, const struct kvt_pair *pair,
                               const struct kvt_header *header, uint32_t *piece_out)
{
    struct kvt_key key = {.attempt = header->attempt, .generation = header->generation};
    memcpy(key.req.byte, header->req, sizeof(key.req.byte));
    struct kvt_in *in = find_in(kvt, &key);
    if (!in || in->pair != pair || in->state == KVT_IN_CLOSING) {
        kvt->counts.offers_unknown++;
        return NULL;
    }
    if (header->block >= in->n_blocks || header->group >= kvt->n_groups) {
        kvt->counts.offers_malformed++;
        in_fail(kvt, in, STATUS_PROTOCOL);
        return NULL;
    }
    uint32_t piece = header->block * kvt->n_groups + header->group;
    if (in->pieces[piece] != KVT_PIECE_LACKED &&
        !(PLANTED(7) && in->pieces[piece] == KVT_PIECE_VERIFIED)) {
        kvt->counts.offers_duplicate++;
        return NULL;
    }
    size_t len;
    piece_at(kvt, in, piece, &len);
    if (header->bytes != len) {
        kvt->counts.offers_malformed++;
        in_fail(kvt, in, STATUS_PROTOCOL);
        return NULL;
    }
    if (in->state == KVT_IN_SEALED && in->digests[piece] != header->digest && !PLANTED(33)) {
        kvt->counts.mismatches++;
        in_fail(kvt, in, STATUS_MISMATCH);
        return NULL;
    }
    *piece_out = piece;
    return in;
}

/* The probe is no hand-over's: zero request, the session's number as attempt. */
static bool take_probe(struct kvt *kvt, struct kvt_pair *pair, const struct kvt_event *event)
{
    const struct kvt_header *header = &event->header;
    if (pair->state != KVT_PAIR_D_PROBING || pair->probe_op != 0 ||
        header->attempt != pair->session.number || header->bytes != KVT_PROBE_BYTES) {
        kvt->counts.offers_unknown++;
        return false;
    }
    pair->probe_op = kvt->next_op++;
    pair->probe_digest = header->digest;
    pair->n_fetching++;
    memset(pair->probe, 0, KVT_PROBE_BYTES);
    struct kvt_act *act = kvt_act_add(kvt, KVT_ACT_FETCH, pair->number);
    act->handle = event->handle;
    act->at = pair->probe;
    act->bytes = KVT_PROBE_BYTES;
    act->op = pair->probe_op;
    return true;
}

static bool take_piece(struct kvt *kvt, struct kvt_pair *pair, const struct kvt_event *event,
                       uint64_t now_ns)
{
    uint32_t piece;
    struct kvt_in *in = asked_by(kvt, pair, &event->header, &piece);
    if (!in) {
        return false;
    }
    struct kvt_offer *offer = pair->offers;
    while (offer < pair->offers + KVT_POSTS_MAX && offer->arrival != 0) {
        offer++;
    }
    if (offer == pair->offers + KVT_POSTS_MAX) {
        kvt_pair_doom(kvt, pair, STATUS_PROTOCOL, false);
        return false;
    }
    *offer = (struct kvt_offer){
        .handle = event->handle,
        .arrival = kvt->next_order++,
        .in = in,
        .piece = piece,
        .bytes = event->bytes,
    };
    in->pieces[piece] = KVT_PIECE_QUEUED;
    in->digests[piece] = event->header.digest;
    in->first_ns = in->first_ns ? in->first_ns : now_ns;
    kvt->fetch_due = true;
    return true;
}

void kvt_fetch_offered(struct kvt *kvt, struct kvt_pair *pair, const struct kvt_event *event,
                       uint64_t now_ns)
{
    bool taken = false;
    if (!kvt_pair_is_d(pair)) {
        kvt->counts.offers_unknown++;
    } else if (header_sound(kvt, pair, event)) {
        struct wire_id req;
        memcpy(req.byte, event->header.req, sizeof(req.byte));
        taken = wire_id_is_zero(&req) ? take_probe(kvt, pair, event)
                                      : take_piece(kvt, pair, event, now_ns);
    }
    if (!taken) {
        release(kvt, pair, event->handle);
    }
}

/* ---- fetching ------------------------------------------------------------------------------ */

/* The pair's first queued offer. */
static struct kvt_offer *next_offer(struct kvt_pair *pair)
{
    struct kvt_offer *best = NULL;
    for (uint32_t i = 0; i < KVT_POSTS_MAX; i++) {
        struct kvt_offer *offer = &pair->offers[i];
        bool queued = offer->arrival != 0 && offer->op == 0;
        if (queued && (!best || offer->arrival < best->arrival)) {
            best = offer;
        }
    }
    return best;
}

static void fetch(struct kvt *kvt, struct kvt_pair *pair, struct kvt_offer *offer)
{
    struct kvt_in *in = offer->in;
    size_t len;
    uint8_t *at = piece_at(kvt, in, offer->piece, &len);
    CHECK(len == offer->bytes);
    offer->op = kvt->next_op++;
    in->pieces[offer->piece] = KVT_PIECE_FETCHING;
    in->n_fetching++;
    if (pair->n_fetching++ == 0) {
    }
    kvt->fetch_bytes += len;
    struct kvt_act *act = kvt_act_add(kvt, KVT_ACT_FETCH, pair->number);
    act->handle = offer->handle;
    act->at = at;
    act->bytes = len;
    act->op = offer->op;
}

void kvt_fetch_pump(struct kvt *kvt)
{
    kvt->fetch_due = false;
    uint32_t n_idle = 0;
    while (n_idle < kvt->cfg.peers_max) {
        struct kvt_pair *pair = &kvt->pairs[kvt->fetch_turn];
        struct kvt_offer *offer = kvt_pair_is_d(pair) ? next_offer(pair) : NULL;
        if (offer) {
            if (kvt->fetch_bytes > 0 && kvt->fetch_bytes + offer->bytes > kvt->cfg.fetch_bytes) {
                return; /* it stays this pair's turn */
            }
            fetch(kvt, pair, offer);
        }
        n_idle = offer ? 0 : n_idle + 1;
        kvt->fetch_turn = (kvt->fetch_turn + 1) % kvt->cfg.peers_max;
    }
}

static void probe_done(struct kvt *kvt, struct kvt_pair *pair, uint64_t now_ns)
{
    struct wire_id none = {{0}};
    uint64_t digest =
        kvdigest_piece(&none, pair->session.number, 0, 0, pair->probe, KVT_PROBE_BYTES);
    pair->probe_op = 0;
    if (digest != pair->probe_digest || memcmp(pair->probe, kvt->probe, KVT_PROBE_BYTES) != 0) {
        kvt->counts.mismatches++;
        kvt_pair_doom(kvt, pair, STATUS_MISMATCH, false);
        return;
    }
    kvt_pair_verified(kvt, pair, now_ns);
}

static void piece_done(struct kvt *kvt, struct kvt_in *in, uint32_t piece, uint64_t now_ns)
{
    in->n_fetching--;
    if (in->state == KVT_IN_CLOSING) {
        in_try_end(kvt, in);
        return;
    }
    size_t len;
    const uint8_t *at = piece_at(kvt, in, piece, &len);
    uint32_t layer = (piece % kvt->n_groups) * kvt->cfg.geom.group_layers;
    uint64_t digest =
        kvdigest_piece(&in->key.req, in->key.attempt, piece / kvt->n_groups, layer, at, len);
    if (digest != in->digests[piece] && !PLANTED(3)) {
        kvt->counts.mismatches++;
        in_fail(kvt, in, STATUS_MISMATCH);
        return;
    }
    in->pieces[piece] = KVT_PIECE_VERIFIED;
    in->n_verified++;
    in->bytes += len;
    kvt->counts.bytes_landed += len;
    in_try_land(kvt, in, now_ns);
}

void kvt_fetch_done(struct kvt *kvt, struct kvt_pair *pair, const struct kvt_event *event,
                    uint64_t now_ns)
{
    bool probe = pair->probe_op != 0 && pair->probe_op == event->op;
    struct kvt_offer *offer = pair->offers;
    while (offer < pair->offers + KVT_POSTS_MAX && offer->op != event->op) {
        offer++;
    }
    if (event->op == 0 || (!probe && offer == pair->offers + KVT_POSTS_MAX)) {
        return;
    }
    if (event->status != STATUS_OK) {
        /* Whether bytes may still land is the fence's to settle; the record ends with it. */
        kvt_pair_doom(kvt, pair, event->status, false);
        return;
    }
    pair->n_fetching--;
    if (probe) {
        probe_done(kvt, pair, now_ns);
    } else {
        struct kvt_offer done = *offer;
        *offer = (struct kvt_offer){0};
        kvt->fetch_bytes -= done.bytes;
        kvt->fetch_due = true;
        if (done.in) {
            piece_done(kvt, done.in, done.piece, now_ns);
        }
    }
}

/* ---- messages ------------------------------------------------------------------------------ */

/* Each wanted piece's digest against its header's, or to compare when that comes. */
static bool seal_matches(struct kvt *kvt, struct kvt_in *in, const uint64_t *digests)
{
    for (uint32_t i = 0; i < in->n_wanted; i++) {
        uint32_t piece = in->n_have * kvt->n_groups + i;
        if (in->pieces[piece] == KVT_PIECE_LACKED) {
            in->digests[piece] = digests[i];
        } else if (in->digests[piece] != digests[i] && !PLANTED(33)) {
            return false;
        }
    }
    return true;
}

void kvt_fetch_seal(struct kvt *kvt, struct kvt_pair *pair, const struct wire_msg *msg,
                    uint64_t now_ns)
{
    struct kvt_key key = {msg->req, msg->attempt, msg->generation};
    struct kvt_in *in = find_in(kvt, &key);
    if (!in || in->pair != pair || in->state != KVT_IN_FILLING) {
        return;
    }
    if (msg->seal.digests.n != in->n_wanted || msg->seal.note.len > KVT_NOTE_BYTES_MAX) {
        in_fail(kvt, in, STATUS_PROTOCOL);
        return;
    }
    if (!seal_matches(kvt, in, msg->seal.digests.at)) {
        kvt->counts.mismatches++;
        in_fail(kvt, in, STATUS_MISMATCH);
        return;
    }
    in->note_len = msg->seal.note.len;
    if (in->note_len > 0) {
        memcpy(in->note, msg->seal.note.at, in->note_len);
    }
    in_move(in, INPUT_SEAL);
    in_try_land(kvt, in, now_ns);
}

void kvt_fetch_refused(struct kvt *kvt, struct kvt_pair *pair, const struct wire_msg *msg)
{
    struct kvt_key key = {msg->req, msg->attempt, msg->generation};
    struct kvt_in *in = find_in(kvt, &key);
    if (in && in->pair == pair) {
        bool coded = msg->refused.code != STATUS_OK;
        in->answered = true;
        in_fail(kvt, in, coded ? (enum status)msg->refused.code : STATUS_REFUSED);
    }
}

/* ---- the role ------------------------------------------------------------------------------ */

static struct kvt_pair *find_ready(struct kvt *kvt, uint64_t peer)
{
    for (uint32_t i = 0; i < kvt->cfg.peers_max; i++) {
        struct kvt_pair *pair = &kvt->pairs[i];
        if (pair->state == KVT_PAIR_D_READY && pair->peer == peer) {
            return pair;
        }
    }
    return NULL;
}

static void in_fill(struct kvt *kvt, struct kvt_in *in, const uint32_t *blocks, uint32_t n_blocks,
                    uint32_t n_have)
{
    in->n_blocks = n_blocks;
    in->n_have = n_have;
    in->n_wanted = (n_blocks - n_have) * kvt->n_groups;
    in->n_verified = 0;
    in->n_fetching = 0;
    in->bytes = 0;
    in->first_ns = 0;
    in->note_len = 0;
    in->why = STATUS_OK;
    in->answered = false;
    memset(in->pieces, KVT_PIECE_HELD, (size_t)n_have * kvt->n_groups);
    memset(in->pieces + (size_t)n_have * kvt->n_groups, KVT_PIECE_LACKED, in->n_wanted);
    for (uint32_t i = 0; i < n_blocks; i++) {
        CHECK(blocks[i] < kvt->cfg.n_blocks);
        in->blocks[i] = blocks[i];
    }
}

enum status kvt_in_open(struct kvt *kvt, uint64_t peer, const struct kvt_key *key,
                        const uint32_t *blocks, uint32_t n_blocks, uint32_t n_have, uint64_t now_ns)
{
    CHECK(n_blocks > 0 && n_have <= n_blocks && !wire_id_is_zero(&key->req));
    if (n_blocks > kvt->cfg.blocks_max) {
        return STATUS_TOO_BIG;
    }
    if (find_in(kvt, key)) {
        return STATUS_EXISTS;
    }
    struct kvt_pair *pair = find_ready(kvt, peer);
    if (!pair) {
        return STATUS_LOST;
    }
    struct kvt_in *in = kvt->ins;
    while (in < kvt->ins + kvt->cfg.transfers_max && in->state != KVT_IN_FREE) {
        in++;
    }
    if (in == kvt->ins + kvt->cfg.transfers_max) {
        return STATUS_FULL;
    }
    in_move(in, INPUT_ASK);
    in->key = *key;
    in->pair = pair;
    in_fill(kvt, in, blocks, n_blocks, n_have);
    struct wire_msg msg;
    wire_msg_init(&msg, WIRE_KIND_WANT);
    msg.req = key->req;
    msg.attempt = key->attempt;
    msg.generation = key->generation;
    msg.want.layout = wire_span_of(kvt->layout);
    msg.want.n_blocks = n_blocks;
    msg.want.have = (struct wire_u32s){.at = kvt->iota, .n = n_have};
    kvt_pair_say(kvt, pair, &msg);
    kvt_settle(kvt, now_ns);
    return STATUS_OK;
}

void kvt_in_close(struct kvt *kvt, const struct kvt_key *key, enum status why, uint64_t now_ns)
{
    struct kvt_in *in = find_in(kvt, key);
    if (in) {
        in_fail(kvt, in, why);
    }
    kvt_settle(kvt, now_ns);
}
