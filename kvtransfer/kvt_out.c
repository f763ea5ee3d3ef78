/* What P gives. A hand-over (kvt_out) is opened by the role, its pieces become ready in any order,
 * and each want for it is one lend. Only the newest want's lend is served; an older one is refused
 * and lives on until its last post has left the mover or its pair is fenced, because until then
 * somebody may read the blocks. The hand-over's final note waits for all of them.
 *
 * P holds until an answer or a fence: no timeout here frees anything. */
#include <string.h>

#include "kvtransfer/kvt_state.h"

enum lend_input {
    INPUT_WANT,
    INPUT_SEAL,    /* all offered, seal sent */
    INPUT_LANDED,  /* D's answer */
    INPUT_REFUSED, /* D's answer, or ours */
    INPUT_DRAINED, /* no post is left at the mover */
    INPUT_FENCED,
};

static const struct kvt_move lend_moves[] = {
    {KVT_LEND_FREE, INPUT_WANT, KVT_LEND_SERVING},
    {KVT_LEND_SERVING, INPUT_SEAL, KVT_LEND_SEALED},
    {KVT_LEND_SERVING, INPUT_REFUSED, KVT_LEND_DYING},
    {KVT_LEND_SERVING, INPUT_FENCED, KVT_LEND_FREE},
    {KVT_LEND_SEALED, INPUT_LANDED, KVT_LEND_LANDED},
    {KVT_LEND_SEALED, INPUT_REFUSED, KVT_LEND_DYING},
    {KVT_LEND_SEALED, INPUT_FENCED, KVT_LEND_FREE},
    {KVT_LEND_LANDED, INPUT_DRAINED, KVT_LEND_FREE},
    {KVT_LEND_LANDED, INPUT_FENCED, KVT_LEND_FREE},
    {KVT_LEND_DYING, INPUT_DRAINED, KVT_LEND_FREE},
    {KVT_LEND_DYING, INPUT_FENCED, KVT_LEND_FREE},
};

enum out_input {
    OUT_OPEN,
    OUT_SEAL,   /* the role: every piece is ready */
    OUT_LANDED, /* the newest want's D has it */
    OUT_CLOSE,  /* the role ends it */
    OUT_ENDED,  /* the last lend is gone */
};

static const struct kvt_move out_moves[] = {
    {KVT_OUT_FREE, OUT_OPEN, KVT_OUT_COMPUTING},     {KVT_OUT_COMPUTING, OUT_SEAL, KVT_OUT_SEALED},
    {KVT_OUT_COMPUTING, OUT_CLOSE, KVT_OUT_CLOSING}, {KVT_OUT_SEALED, OUT_LANDED, KVT_OUT_LANDED},
    {KVT_OUT_SEALED, OUT_CLOSE, KVT_OUT_CLOSING},    {KVT_OUT_LANDED, OUT_CLOSE, KVT_OUT_CLOSING},
    {KVT_OUT_LANDED, OUT_ENDED, KVT_OUT_FREE},       {KVT_OUT_CLOSING, OUT_ENDED, KVT_OUT_FREE},
};

static void lend_move(struct kvt_lend *lend, enum lend_input input)
{
    lend->state = kvt_move(lend_moves, sizeof(lend_moves) / sizeof(lend_moves[0]),
                           (uint8_t)lend->state, (uint8_t)input);
}

static void out_move(struct kvt_out *out, enum out_input input)
{
    out->state = kvt_move(out_moves, sizeof(out_moves) / sizeof(out_moves[0]), (uint8_t)out->state,
                          (uint8_t)input);
}

static bool is_open(const struct kvt_out *out)
{
    return out->state == KVT_OUT_COMPUTING || out->state == KVT_OUT_SEALED;
}

static struct kvt_out *find_out(struct kvt *kvt, const struct wire_id *req, uint32_t attempt)
{
    for (uint32_t i = 0; i < kvt->cfg.transfers_max; i++) {
        struct kvt_out *out = &kvt->outs[i];
        if (out->state != KVT_OUT_FREE && out->attempt == attempt &&
            wire_id_equal(&out->req, req)) {
            return out;
        }
    }
    return NULL;
}

static struct kvt_parked *find_parked(struct kvt *kvt, const struct wire_id *req, uint32_t attempt)
{
    for (uint32_t i = 0; i < kvt->cfg.transfers_max; i++) {
        struct kvt_parked *parked = &kvt->parked[i];
        if (parked->pair && parked->attempt == attempt && wire_id_equal(&parked->req, req)) {
            return parked;
        }
    }
    return NULL;
}

/* ---- what goes out ------------------------------------------------------------------------- */

static void say_refused(struct kvt *kvt, struct kvt_pair *pair, const struct kvt_key *key,
                        enum status code)
{
    struct wire_msg msg;
    wire_msg_init(&msg, WIRE_KIND_REFUSED);
    msg.req = key->req;
    msg.attempt = key->attempt;
    msg.generation = key->generation;
    msg.refused.code = (uint32_t)code;
    msg.refused.text = wire_span_of(status_text(code));
    kvt->counts.wants_stale += code == STATUS_STALE;
    kvt_pair_say(kvt, pair, &msg);
}

static void say_seal(struct kvt *kvt, struct kvt_lend *lend)
{
    const struct kvt_out *out = lend->out;
    size_t n = 0;
    for (uint32_t block = 0; block < out->n_blocks; block++) {
        for (uint32_t group = 0; group < kvt->n_groups && !kvt_bit(lend->have, block); group++) {
            kvt->scratch[n++] = out->digests[block * kvt->n_groups + group];
        }
    }
    struct wire_msg msg;
    wire_msg_init(&msg, WIRE_KIND_SEAL);
    msg.req = out->req;
    msg.attempt = out->attempt;
    msg.generation = lend->generation;
    msg.seal.digests = (struct wire_u64s){.at = kvt->scratch, .n = n};
    msg.seal.note = (struct wire_span){(const char *)out->note, out->note_len};
    kvt_pair_say(kvt, lend->pair, &msg);
}

/* ---- a lend's end -------------------------------------------------------------------------- */

static void out_try_end(struct kvt *kvt, struct kvt_out *out)
{
    if (is_open(out)) {
        return;
    }
    for (uint32_t i = 0; i < KVT_LENDS_MAX; i++) {
        if (out->lends[i].state != KVT_LEND_FREE) {
            return;
        }
    }
    *kvt_note_add(kvt, out->end.kind, out->end.peer) = out->end;
    out_move(out, OUT_ENDED);
}

static void lend_unlink(struct kvt_lend *lend)
{
    struct kvt_lend **at = &lend->pair->lends;
    while (*at != lend) {
        CHECK(*at);
        at = &(*at)->next;
    }
    *at = lend->next;
}

/* The lend's blocks are read no more. */
static void lend_end(struct kvt *kvt, struct kvt_lend *lend, enum lend_input input)
{
    struct kvt_out *out = lend->out;
    struct kvt_pair *pair = lend->pair;
    for (uint32_t i = 0; i < KVT_POSTS_MAX; i++) {
        if (pair->posts[i].lend == lend) {
            pair->posts[i].lend = NULL;
        }
    }
    lend_unlink(lend);
    lend_move(lend, input);
    if (out->current == lend) {
        out->current = NULL;
        if (is_open(out)) {
            struct kvt_note *note = kvt_note_add(kvt, KVT_NOTE_OUT_REFUSED, pair->peer);
            note->key = (struct kvt_key){out->req, out->attempt, lend->generation};
            note->status = lend->why;
            note->path = pair->path;
        }
    }
    out_try_end(kvt, out);
}

static void lend_try_end(struct kvt *kvt, struct kvt_lend *lend)
{
    bool drained = lend->n_pending == 0 || (PLANTED(30) && lend->state == KVT_LEND_LANDED);
    if ((lend->state == KVT_LEND_DYING || lend->state == KVT_LEND_LANDED) && drained) {
        lend_end(kvt, lend, INPUT_DRAINED);
    }
}

/* Ours or D's; false if the lend had ended already in its own way. */
static bool lend_refuse(struct kvt_lend *lend, enum status why)
{
    if (lend->state != KVT_LEND_SERVING && lend->state != KVT_LEND_SEALED) {
        return false;
    }
    lend_move(lend, INPUT_REFUSED);
    lend->why = why;
    return true;
}

/* P serves this want no more and says so. */
static void lend_drop(struct kvt *kvt, struct kvt_lend *lend, enum status why)
{
    if (lend_refuse(lend, why)) {
        struct kvt_key key = {lend->out->req, lend->out->attempt, lend->generation};
        say_refused(kvt, lend->pair, &key, why);
        if (PLANTED(31)) {
            lend->n_pending = 0;
        }
        lend_try_end(kvt, lend);
    }
}

/* ---- offering ------------------------------------------------------------------------------ */

void kvt_lend_post(struct kvt *kvt, struct kvt_pair *pair, struct kvt_lend *lend,
                   const struct kvt_header *header, void *at)
{
    struct kvt_post *post = pair->posts;
    while (post < pair->posts + KVT_POSTS_MAX && post->op != 0) {
        post++;
    }
    CHECK(post < pair->posts + KVT_POSTS_MAX);
    *post = (struct kvt_post){.op = kvt->next_op++, .lend = lend};
    pair->n_posts++;
    struct kvt_act *act = kvt_act_add(kvt, KVT_ACT_POST, pair->number);
    act->header = *header;
    act->header.magic = KVT_HEADER_MAGIC;
    act->header.version = KVT_HEADER_VERSION;
    memcpy(act->header.secret, pair->secret, sizeof(act->header.secret));
    act->header.from = kvt->cfg.self;
    act->header.to = pair->peer;
    act->at = at;
    act->bytes = (size_t)header->bytes;
    act->op = post->op;
}

static void post_piece(struct kvt *kvt, struct kvt_lend *lend, uint32_t piece)
{
    const struct kvt_out *out = lend->out;
    uint32_t block = piece / kvt->n_groups;
    uint32_t group = piece % kvt->n_groups;
    size_t offset;
    size_t len;
    kvgeom_piece(&kvt->cfg.geom, group, &offset, &len);
    struct kvt_header header = {
        .attempt = out->attempt,
        .generation = lend->generation,
        .block = block,
        .group = group,
        .bytes = len,
        .digest = out->digests[piece],
    };
    memcpy(header.req, out->req.byte, sizeof(header.req));
    uint8_t *at = kvt->cfg.pool + (size_t)out->blocks[block] * kvt->block_bytes + offset;
    lend->n_pending++;
    lend->bytes += len;
    kvt_lend_post(kvt, lend->pair, lend, &header, at);
}

/* Offers what is ready, then seals. */
static void lend_pump(struct kvt *kvt, struct kvt_lend *lend, uint64_t now_ns)
{
    struct kvt_out *out = lend->out;
    struct kvt_pair *pair = lend->pair;
    if (lend->state != KVT_LEND_SERVING || pair->doom != STATUS_OK) {
        return;
    }
    while (lend->cursor < out->n_ready && pair->n_posts < KVT_POSTS_MAX) {
        uint32_t piece = out->order[lend->cursor++];
        if (!kvt_bit(lend->have, piece / kvt->n_groups)) {
            post_piece(kvt, lend, piece);
        }
    }
    if (out->state == KVT_OUT_SEALED && lend->cursor == out->n_ready) {
        lend_move(lend, INPUT_SEAL);
        lend->quiet_ns = now_ns;
        say_seal(kvt, lend);
    }
}

/* The pair has room again: its lends in the order of their wants. */
static void pair_pump(struct kvt *kvt, struct kvt_pair *pair, uint64_t now_ns)
{
    for (struct kvt_lend *lend = pair->lends; lend; lend = lend->next) {
        lend_pump(kvt, lend, now_ns);
    }
}

void kvt_lend_posted(struct kvt *kvt, struct kvt_pair *pair, const struct kvt_event *event,
                     uint64_t now_ns)
{
    struct kvt_post *post = pair->posts;
    while (post < pair->posts + KVT_POSTS_MAX && post->op != event->op) {
        post++;
    }
    if (post == pair->posts + KVT_POSTS_MAX || event->op == 0) {
        return;
    }
    struct kvt_lend *lend = post->lend;
    *post = (struct kvt_post){0};
    pair->n_posts--;
    if (event->status != STATUS_OK) {
        kvt_pair_doom(kvt, pair, event->status, false);
    }
    if (lend) {
        lend->n_pending--;
        lend->quiet_ns = now_ns;
        lend_try_end(kvt, lend);
    }
    pair_pump(kvt, pair, now_ns);
}

void kvt_lend_fenced(struct kvt *kvt, struct kvt_pair *pair, enum status why)
{
    for (uint32_t i = 0; i < KVT_POSTS_MAX; i++) {
        pair->posts[i] = (struct kvt_post){0};
    }
    pair->n_posts = 0;
    while (pair->lends) {
        struct kvt_lend *lend = pair->lends;
        lend->n_pending = 0;
        if (lend->state == KVT_LEND_SERVING || lend->state == KVT_LEND_SEALED) {
            lend->why = why;
        }
        lend_end(kvt, lend, INPUT_FENCED);
    }
    for (uint32_t i = 0; i < kvt->cfg.transfers_max; i++) {
        if (kvt->parked[i].pair == pair && !PLANTED(34)) {
            kvt->parked[i].pair = NULL;
        }
    }
}

/* ---- wants --------------------------------------------------------------------------------- */

struct want {
    struct kvt_pair *pair;
    struct kvt_key key;
    uint32_t n_blocks;
    const uint64_t *have; /* bitmap */
};

static struct kvt_lend *find_lend(struct kvt_out *out)
{
    for (uint32_t i = 0; i < KVT_LENDS_MAX; i++) {
        if (out->lends[i].state == KVT_LEND_FREE) {
            return &out->lends[i];
        }
    }
    return NULL;
}

/* Whether the want may be served; else the answer. AGAIN: none, it is being served. */
static enum status want_judge(struct kvt_out *out, const struct want *want)
{
    uint32_t generation = want->key.generation;
    if (!is_open(out)) {
        return STATUS_CANCELLED;
    }
    if (want->n_blocks != out->n_blocks) {
        return STATUS_INVALID;
    }
    if (out->asked && generation == out->generation) {
        bool served = out->current && out->current->pair == want->pair;
        return served ? STATUS_AGAIN : STATUS_STALE;
    }
    if (out->asked && generation < out->generation && !PLANTED(4)) {
        return STATUS_STALE;
    }
    return find_lend(out) ? STATUS_OK : STATUS_FULL;
}

static void want_serve(struct kvt *kvt, struct kvt_out *out, const struct want *want,
                       uint64_t now_ns)
{
    enum status status = want_judge(out, want);
    if (status != STATUS_OK) {
        if (status != STATUS_AGAIN) {
            say_refused(kvt, want->pair, &want->key, status);
        }
        return;
    }
    struct kvt_lend *lend = find_lend(out);
    struct kvt_lend *older = out->current;
    out->current = lend;
    out->asked = true;
    out->generation = want->key.generation;
    lend_move(lend, INPUT_WANT);
    lend->pair = want->pair;
    lend->next = NULL;
    lend->generation = want->key.generation;
    lend->cursor = 0;
    lend->n_pending = 0;
    lend->bytes = 0;
    lend->why = STATUS_OK;
    memcpy(lend->have, want->have, kvt->have_words * sizeof(uint64_t));
    struct kvt_lend **tail = &want->pair->lends;
    while (*tail) {
        tail = &(*tail)->next;
    }
    *tail = lend;
    if (older) {
        lend_drop(kvt, older, STATUS_STALE);
    }
    lend_pump(kvt, lend, now_ns);
}

/* A want whose job has not come yet waits; the newest of a request is kept. */
static void want_park(struct kvt *kvt, const struct want *want, uint64_t now_ns)
{
    struct kvt_parked *parked = find_parked(kvt, &want->key.req, want->key.attempt);
    if (parked && want->key.generation <= parked->generation) {
        if (want->key.generation < parked->generation || want->pair != parked->pair) {
            say_refused(kvt, want->pair, &want->key, STATUS_STALE);
        }
        return;
    }
    if (parked) {
        struct kvt_key key = {parked->req, parked->attempt, parked->generation};
        say_refused(kvt, parked->pair, &key, STATUS_STALE);
    }
    for (uint32_t i = 0; !parked && i < kvt->cfg.transfers_max; i++) {
        parked = kvt->parked[i].pair ? NULL : &kvt->parked[i];
    }
    if (!parked) {
        say_refused(kvt, want->pair, &want->key, STATUS_FULL);
        return;
    }
    parked->pair = want->pair;
    parked->req = want->key.req;
    parked->attempt = want->key.attempt;
    parked->generation = want->key.generation;
    parked->n_blocks = want->n_blocks;
    parked->since_ns = now_ns;
    memcpy(parked->have, want->have, kvt->have_words * sizeof(uint64_t));
}

/* Fills the bitmap; false where the list is not ascending or names a block that is none. */
static bool have_read(struct kvt *kvt, const struct wire_want *want, uint64_t *have)
{
    memset(have, 0, kvt->have_words * sizeof(uint64_t));
    for (size_t i = 0; i < want->have.n; i++) {
        uint32_t block = want->have.at[i];
        if (block >= want->n_blocks || (i > 0 && block <= want->have.at[i - 1])) {
            return false;
        }
        kvt_bit_set(have, block);
    }
    return true;
}

void kvt_lend_want(struct kvt *kvt, struct kvt_pair *pair, const struct wire_msg *msg,
                   uint64_t now_ns)
{
    if (pair->state == KVT_PAIR_P_PROBING) {
        kvt_pair_verified(kvt, pair, now_ns);
    } else if (pair->state != KVT_PAIR_P_READY) {
        kvt_pair_doom(kvt, pair, STATUS_PROTOCOL, false);
        return;
    }
    struct want want = {
        .pair = pair,
        .key = {msg->req, msg->attempt, msg->generation},
        .n_blocks = msg->want.n_blocks,
        .have = kvt->scratch,
    };
    enum status refuse = STATUS_OK;
    if (!wire_span_equal(msg->want.layout, wire_span_of(kvt->layout))) {
        refuse = STATUS_INCOMPATIBLE;
    } else if (want.n_blocks > kvt->cfg.blocks_max) {
        refuse = STATUS_TOO_BIG;
    } else if (want.n_blocks == 0 || !have_read(kvt, &msg->want, kvt->scratch)) {
        refuse = STATUS_INVALID;
    } else if (wire_tombs_has(kvt->tombs, &msg->req, msg->attempt)) {
        refuse = STATUS_CANCELLED;
    }
    if (refuse != STATUS_OK) {
        say_refused(kvt, pair, &want.key, refuse);
        return;
    }
    struct kvt_out *out = find_out(kvt, &msg->req, msg->attempt);
    if (out) {
        want_serve(kvt, out, &want, now_ns);
    } else {
        want_park(kvt, &want, now_ns);
    }
}

/* D's `landed` or `refused`. A lend that has ended here already is not found: a no-op. */
void kvt_lend_answer(struct kvt *kvt, struct kvt_pair *pair, const struct wire_msg *msg)
{
    struct kvt_lend *lend = pair->lends;
    while (lend && (lend->generation != msg->generation || lend->out->attempt != msg->attempt ||
                    !wire_id_equal(&lend->out->req, &msg->req))) {
        lend = lend->next;
    }
    if (!lend) {
        struct kvt_parked *parked = find_parked(kvt, &msg->req, msg->attempt);
        if (parked && parked->pair == pair && parked->generation == msg->generation) {
            parked->pair = NULL;
        }
        return;
    }
    if (msg->kind == WIRE_KIND_REFUSED) {
        bool coded = msg->refused.code != STATUS_OK;
        lend_refuse(lend, coded ? (enum status)msg->refused.code : STATUS_REFUSED);
    } else if (lend->state == KVT_LEND_SEALED) {
        struct kvt_out *out = lend->out;
        lend_move(lend, INPUT_LANDED);
        out_move(out, OUT_LANDED);
        if (!PLANTED(9)) {
            wire_tombs_add(kvt->tombs, &out->req, out->attempt);
        }
        out->end = (struct kvt_note){
            .kind = KVT_NOTE_OUT_LANDED,
            .peer = pair->peer,
            .key = {out->req, out->attempt, lend->generation},
            .bytes = lend->bytes,
            .path = pair->path,
        };
    } else if (lend->state == KVT_LEND_SERVING) {
        kvt_pair_doom(kvt, pair, STATUS_PROTOCOL, false); /* landed before the seal */
        return;
    }
    lend_try_end(kvt, lend);
}

bool kvt_lend_overdue(const struct kvt_pair *pair, uint64_t now_ns)
{
    for (const struct kvt_lend *lend = pair->lends; lend; lend = lend->next) {
        if (lend->state == KVT_LEND_SEALED && lend->n_pending == 0 &&
            kvt_passed(lend->quiet_ns, now_ns, KVT_STALL_MS)) {
            return true;
        }
    }
    return false;
}

void kvt_lend_tick(struct kvt *kvt, uint64_t now_ns)
{
    for (uint32_t i = 0; i < kvt->cfg.transfers_max; i++) {
        struct kvt_parked *parked = &kvt->parked[i];
        if (parked->pair && kvt_passed(parked->since_ns, now_ns, KVT_WANT_PARK_MS)) {
            struct kvt_key key = {parked->req, parked->attempt, parked->generation};
            say_refused(kvt, parked->pair, &key, STATUS_NOT_FOUND);
            parked->pair = NULL;
        }
    }
}

/* ---- the role ------------------------------------------------------------------------------ */

enum status kvt_out_open(struct kvt *kvt, const struct wire_id *req, uint32_t attempt,
                         const uint32_t *blocks, uint32_t n_blocks, uint64_t now_ns)
{
    CHECK(n_blocks > 0 && !wire_id_is_zero(req));
    if (n_blocks > kvt->cfg.blocks_max) {
        return STATUS_TOO_BIG;
    }
    if (find_out(kvt, req, attempt)) {
        return STATUS_EXISTS;
    }
    if (wire_tombs_has(kvt->tombs, req, attempt)) {
        return STATUS_STALE;
    }
    struct kvt_out *out = kvt->outs;
    while (out < kvt->outs + kvt->cfg.transfers_max && out->state != KVT_OUT_FREE) {
        out++;
    }
    if (out == kvt->outs + kvt->cfg.transfers_max) {
        return STATUS_FULL;
    }
    out_move(out, OUT_OPEN);
    out->req = *req;
    out->attempt = attempt;
    out->asked = false;
    out->generation = 0;
    out->current = NULL;
    out->n_blocks = n_blocks;
    out->n_ready = 0;
    out->note_len = 0;
    memset(out->ready, 0, (size_t)n_blocks * kvt->n_groups);
    for (uint32_t i = 0; i < n_blocks; i++) {
        CHECK(blocks[i] < kvt->cfg.n_blocks);
        out->blocks[i] = blocks[i];
    }
    struct kvt_parked *parked = find_parked(kvt, req, attempt);
    if (parked) {
        struct want want = {
            .pair = parked->pair,
            .key = {parked->req, parked->attempt, parked->generation},
            .n_blocks = parked->n_blocks,
            .have = parked->have,
        };
        parked->pair = NULL;
        want_serve(kvt, out, &want, now_ns);
    }
    kvt_settle(kvt, now_ns);
    return STATUS_OK;
}

void kvt_out_ready(struct kvt *kvt, const struct wire_id *req, uint32_t attempt, uint32_t block,
                   uint32_t group, uint64_t digest, uint64_t now_ns)
{
    struct kvt_out *out = find_out(kvt, req, attempt);
    if (!out || out->state != KVT_OUT_COMPUTING) {
        return;
    }
    CHECK(block < out->n_blocks && group < kvt->n_groups);
    uint32_t piece = block * kvt->n_groups + group;
    CHECK_MSG(!out->ready[piece], "a piece becomes ready once: its bytes are final");
    out->ready[piece] = 1;
    out->digests[piece] = digest;
    out->order[out->n_ready++] = piece;
    if (out->current) {
        lend_pump(kvt, out->current, now_ns);
    }
    kvt_settle(kvt, now_ns);
}

void kvt_out_seal(struct kvt *kvt, const struct wire_id *req, uint32_t attempt, const uint8_t *note,
                  size_t note_len, uint64_t now_ns)
{
    struct kvt_out *out = find_out(kvt, req, attempt);
    if (!out || out->state != KVT_OUT_COMPUTING) {
        return;
    }
    CHECK_MSG(out->n_ready == out->n_blocks * kvt->n_groups,
              "every piece is ready before the seal");
    CHECK(note_len <= KVT_NOTE_BYTES_MAX);
    if (note_len > 0) {
        memcpy(out->note, note, note_len);
    }
    out->note_len = note_len;
    out_move(out, OUT_SEAL);
    if (out->current) {
        lend_pump(kvt, out->current, now_ns);
    }
    kvt_settle(kvt, now_ns);
}

void kvt_out_close(struct kvt *kvt, const struct wire_id *req, uint32_t attempt, uint64_t now_ns)
{
    struct kvt_out *out = find_out(kvt, req, attempt);
    struct kvt_parked *parked = find_parked(kvt, req, attempt);
    if (!PLANTED(9)) {
        wire_tombs_add(kvt->tombs, req, attempt);
    }
    if (parked) {
        struct kvt_key key = {parked->req, parked->attempt, parked->generation};
        say_refused(kvt, parked->pair, &key, STATUS_CANCELLED);
        parked->pair = NULL;
    }
    if (out && out->state != KVT_OUT_CLOSING) {
        out_move(out, OUT_CLOSE);
        out->end = (struct kvt_note){
            .kind = KVT_NOTE_OUT_CLOSED,
            .key = {out->req, out->attempt, out->generation},
            .status = STATUS_CANCELLED,
        };
        for (uint32_t i = 0; i < KVT_LENDS_MAX && out->state == KVT_OUT_CLOSING; i++) {
            lend_drop(kvt, &out->lends[i], STATUS_CANCELLED);
        }
        if (out->state == KVT_OUT_CLOSING) {
            out_try_end(kvt, out);
        }
    }
    kvt_settle(kvt, now_ns);
}
