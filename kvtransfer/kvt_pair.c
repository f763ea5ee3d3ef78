/* Pairs: opening, probing, heartbeats, and the fence. A pair is one session, one worker on each
 * side and one secret; none of them outlives the others. D opens pairs and opens them again, P only
 * answers: a lost pair of P's is forgotten.
 *
 * The order of pairing makes each step's ground sure before the next: D's worker exists before its
 * address travels; P connects before it answers; D connects before its first heartbeat; P posts the
 * probe after that heartbeat, and D is ready when the probe's bytes have verified. Its next
 * heartbeat (or its first want) tells P. */
#include <stdio.h>
#include <string.h>

#include "kvtransfer/kvt_state.h"
#include "wire/fingerprint.h"

enum pair_input {
    INPUT_KNOWN,     /* D: the roster names this P */
    INPUT_START,     /* D: time to pair */
    INPUT_PAIR,      /* P: an acceptable `pair` */
    INPUT_OPENED,    /* the own worker stands */
    INPUT_PAIRED,    /* D: P's answer */
    INPUT_CONNECTED, /* P: D's first heartbeat */
    INPUT_VERIFIED,  /* the probe has landed well */
    INPUT_FENCED,
    INPUT_FORGOTTEN, /* D: the roster no longer names this P */
};

static const struct kvt_move pair_moves[] = {
    {KVT_PAIR_FREE, INPUT_KNOWN, KVT_PAIR_D_IDLE},
    {KVT_PAIR_D_IDLE, INPUT_START, KVT_PAIR_D_OPENING},
    {KVT_PAIR_D_IDLE, INPUT_FENCED, KVT_PAIR_D_IDLE},
    {KVT_PAIR_D_IDLE, INPUT_FORGOTTEN, KVT_PAIR_FREE},
    {KVT_PAIR_D_OPENING, INPUT_OPENED, KVT_PAIR_D_ASKED},
    {KVT_PAIR_D_OPENING, INPUT_FENCED, KVT_PAIR_D_IDLE},
    {KVT_PAIR_D_ASKED, INPUT_PAIRED, KVT_PAIR_D_PROBING},
    {KVT_PAIR_D_ASKED, INPUT_FENCED, KVT_PAIR_D_IDLE},
    {KVT_PAIR_D_PROBING, INPUT_VERIFIED, KVT_PAIR_D_READY},
    {KVT_PAIR_D_PROBING, INPUT_FENCED, KVT_PAIR_D_IDLE},
    {KVT_PAIR_D_READY, INPUT_FENCED, KVT_PAIR_D_IDLE},
    {KVT_PAIR_FREE, INPUT_PAIR, KVT_PAIR_P_OPENING},
    {KVT_PAIR_P_OPENING, INPUT_OPENED, KVT_PAIR_P_PAIRED},
    {KVT_PAIR_P_OPENING, INPUT_FENCED, KVT_PAIR_FREE},
    {KVT_PAIR_P_PAIRED, INPUT_CONNECTED, KVT_PAIR_P_PROBING},
    {KVT_PAIR_P_PAIRED, INPUT_FENCED, KVT_PAIR_FREE},
    {KVT_PAIR_P_PROBING, INPUT_VERIFIED, KVT_PAIR_P_READY},
    {KVT_PAIR_P_PROBING, INPUT_FENCED, KVT_PAIR_FREE},
    {KVT_PAIR_P_READY, INPUT_FENCED, KVT_PAIR_FREE},
};

static void pair_move(struct kvt_pair *pair, enum pair_input input)
{
    pair->state = kvt_move(pair_moves, sizeof(pair_moves) / sizeof(pair_moves[0]),
                           (uint8_t)pair->state, (uint8_t)input);
}

static bool is_p(const struct kvt_pair *pair)
{
    return pair->state >= KVT_PAIR_P_OPENING;
}

static bool is_ready(const struct kvt_pair *pair)
{
    return pair->state == KVT_PAIR_D_READY || pair->state == KVT_PAIR_P_READY;
}

static struct kvt_pair *find_free(struct kvt *kvt)
{
    for (uint32_t i = 0; i < kvt->cfg.peers_max; i++) {
        if (kvt->pairs[i].state == KVT_PAIR_FREE) {
            return &kvt->pairs[i];
        }
    }
    return NULL;
}

static struct kvt_pair *find_peer(struct kvt *kvt, uint64_t peer, bool d_side)
{
    for (uint32_t i = 0; i < kvt->cfg.peers_max; i++) {
        struct kvt_pair *pair = &kvt->pairs[i];
        if (pair->state != KVT_PAIR_FREE && pair->peer == peer && kvt_pair_is_d(pair) == d_side) {
            return pair;
        }
    }
    return NULL;
}

/* The pair whose session runs on the link. */
static struct kvt_pair *find_link(struct kvt *kvt, uint32_t link)
{
    for (uint32_t i = 0; i < kvt->cfg.peers_max; i++) {
        struct kvt_pair *pair = &kvt->pairs[i];
        if (pair->state != KVT_PAIR_FREE && pair->link == link && pair->session_live) {
            return pair;
        }
    }
    return NULL;
}

/* ---- what goes out ------------------------------------------------------------------------- */

void kvt_pair_say(struct kvt *kvt, struct kvt_pair *pair, struct wire_msg *msg)
{
    if (pair->doom == STATUS_OK && wire_session_post(&pair->session, kvt->out, msg) != STATUS_OK) {
        kvt_pair_doom(kvt, pair, STATUS_LOST, false);
    }
}

/* Outside of any session (seq 0): the peer's may be unknown here, or broken. */
static void say_bye(struct kvt *kvt, uint32_t link, uint64_t to, uint32_t session, enum status code,
                    const char *text)
{
    if (link == WIRE_LINK_NONE || to == 0) {
        return;
    }
    struct wire_msg bye;
    wire_msg_init(&bye, WIRE_KIND_BYE);
    bye.session = session;
    bye.from = kvt->cfg.self;
    bye.to = to;
    bye.bye.code = (uint32_t)code;
    bye.bye.text = wire_span_of(text);
    /* Where even this has no room, the peer will notice the silence. */
    (void)wire_out_post(kvt->out, link, &bye);
}

static void say_heartbeat(struct kvt *kvt, struct kvt_pair *pair, uint64_t now_ns)
{
    struct wire_msg beat;
    wire_msg_init(&beat, WIRE_KIND_HEARTBEAT);
    if (pair->state == KVT_PAIR_D_READY) {
        beat.heartbeat.peers = (struct wire_u64s){.at = &pair->peer, .n = 1};
    }
    pair->session.beat_ns = now_ns;
    kvt_pair_say(kvt, pair, &beat);
}

static void say_pair(struct kvt *kvt, struct kvt_pair *pair, const struct kvt_event *opened)
{
    struct wire_msg msg;
    wire_msg_init(&msg, WIRE_KIND_PAIR);
    msg.pair.version_min = WIRE_VERSION_MIN;
    msg.pair.version_max = WIRE_VERSION_MAX;
    msg.pair.name = wire_span_of(kvt->name);
    msg.pair.fingerprint = wire_span_of(kvt->fingerprint);
    msg.pair.numerics = wire_span_of(kvt->numerics);
    msg.pair.layout = wire_span_of(kvt->layout);
    memcpy(msg.pair.secret.byte, pair->secret, sizeof(pair->secret));
    msg.pair.local = pair->path == KVT_PATH_LOCAL;
    msg.pair.address = (struct wire_span){(const char *)opened->address, opened->address_len};
    kvt_pair_say(kvt, pair, &msg);
}

static void say_paired(struct kvt *kvt, struct kvt_pair *pair, const struct kvt_event *opened)
{
    struct wire_msg msg;
    wire_msg_init(&msg, WIRE_KIND_PAIRED);
    msg.paired.version = WIRE_VERSION_MAX;
    msg.paired.address = (struct wire_span){(const char *)opened->address, opened->address_len};
    kvt_pair_say(kvt, pair, &msg);
}

static void act_connect(struct kvt *kvt, struct kvt_pair *pair, struct wire_span address)
{
    memcpy(pair->address, address.at, address.len);
    pair->address_len = address.len;
    struct kvt_act *act = kvt_act_add(kvt, KVT_ACT_CONNECT, pair->number);
    act->address = pair->address;
    act->address_len = pair->address_len;
}

static bool address_sound(size_t len)
{
    return len > 0 && len <= WIRE_ADDRESS_MAX;
}

/* ---- the fence ----------------------------------------------------------------------------- */

void kvt_pair_doom(struct kvt *kvt, struct kvt_pair *pair, enum status why, bool quiet)
{
    if (pair->doom == STATUS_OK) {
        pair->doom = why;
        pair->doom_quiet = quiet;
        kvt->n_doomed++;
    }
}

static void note_lost(struct kvt *kvt, struct kvt_pair *pair, enum status why)
{
    struct kvt_note *note = kvt_note_add(kvt, KVT_NOTE_PAIR_LOST, pair->peer);
    note->status = why;
    note->path = pair->path;
    note->note = (const uint8_t *)pair->text;
    note->note_len = pair->text_len;
}

void kvt_pair_fence(struct kvt *kvt, struct kvt_pair *pair, enum status why, bool quiet,
                    uint64_t now_ns)
{
    bool was_ready = is_ready(pair);
    if (pair->number != 0) {
        if (!PLANTED(32)) {
            kvt_act_add(kvt, KVT_ACT_CLOSE, pair->number);
        }
        kvt->counts.fences++;
        pair->number = 0;
    }
    if (pair->session_live && !quiet) {
        say_bye(kvt, pair->link, pair->peer, pair->session.number, why, status_text(why));
    }
    pair->session_live = false;
    kvt_lend_fenced(kvt, pair, why);
    kvt_fetch_fenced(kvt, pair, why);
    if (was_ready || why == STATUS_INCOMPATIBLE) {
        note_lost(kvt, pair, why);
    }
    pair->text_len = 0;
    pair->retry_ns = clock_add_ns(
        now_ns, NS_PER_MS * (why == STATUS_INCOMPATIBLE ? KVT_INCOMPATIBLE_MS : KVT_REPAIR_MS));
    if (pair->doom != STATUS_OK) {
        pair->doom = STATUS_OK;
        kvt->n_doomed--;
    }
    pair_move(pair, INPUT_FENCED);
}

/* ---- D: opening ---------------------------------------------------------------------------- */

static void pair_start(struct kvt *kvt, struct kvt_pair *pair, uint64_t now_ns)
{
    pair_move(pair, INPUT_START);
    pair->number = kvt->next_number++;
    pair->since_ns = now_ns;
    struct kvt_act *act = kvt_act_add(kvt, KVT_ACT_OPEN, pair->number);
    act->path = pair->path;
}

void kvt_peer_up(struct kvt *kvt, uint64_t peer, uint32_t link, enum kvt_path path, uint64_t now_ns)
{
    struct kvt_pair *pair = find_peer(kvt, peer, true);
    if (pair && pair->link == link) {
        return;
    }
    if (pair) {
        kvt_pair_fence(kvt, pair, STATUS_LOST, true, now_ns);
    } else {
        pair = find_free(kvt);
        if (!pair) {
            kvt_note_add(kvt, KVT_NOTE_PAIR_LOST, peer)->status = STATUS_FULL;
            return;
        }
        pair_move(pair, INPUT_KNOWN);
        pair->peer = peer;
    }
    pair->link = link;
    pair->path = path;
    pair_start(kvt, pair, now_ns);
    kvt_settle(kvt, now_ns);
}

void kvt_peer_gone(struct kvt *kvt, uint64_t peer, uint64_t now_ns)
{
    struct kvt_pair *pair = find_peer(kvt, peer, true);
    if (pair) {
        kvt_pair_fence(kvt, pair, STATUS_LOST, false, now_ns);
        pair_move(pair, INPUT_FORGOTTEN);
    }
    pair = find_peer(kvt, peer, false);
    if (pair) {
        kvt_pair_fence(kvt, pair, STATUS_LOST, false, now_ns);
    }
    kvt_settle(kvt, now_ns);
}

void kvt_link_down(struct kvt *kvt, uint32_t link, uint64_t now_ns)
{
    for (uint32_t i = 0; i < kvt->cfg.peers_max; i++) {
        struct kvt_pair *pair = &kvt->pairs[i];
        if (pair->state != KVT_PAIR_FREE && pair->link == link) {
            /* A link's number never comes back: D waits for the next kvt_peer_up. */
            pair->link = WIRE_LINK_NONE;
            kvt_pair_fence(kvt, pair, STATUS_LOST, true, now_ns);
        }
    }
    kvt_settle(kvt, now_ns);
}

static void on_paired(struct kvt *kvt, struct kvt_pair *pair, const struct wire_msg *msg,
                      uint64_t now_ns)
{
    if (pair->state != KVT_PAIR_D_ASKED || !address_sound(msg->paired.address.len)) {
        kvt_pair_doom(kvt, pair, STATUS_PROTOCOL, false);
        return;
    }
    if (msg->paired.version < WIRE_VERSION_MIN || msg->paired.version > WIRE_VERSION_MAX) {
        kvt_pair_doom(kvt, pair, STATUS_INCOMPATIBLE, false);
        return;
    }
    act_connect(kvt, pair, msg->paired.address);
    pair_move(pair, INPUT_PAIRED);
    say_heartbeat(kvt, pair, now_ns);
}

/* ---- P: answering -------------------------------------------------------------------------- */

static bool part_equal(const char *part, const char *ours, struct wire_span theirs,
                       struct wire_span name, char why[WIRE_ERROR_MAX])
{
    if (wire_span_equal(wire_span_of(ours), theirs)) {
        return true;
    }
    snprintf(why, WIRE_ERROR_MAX, "The %s differs: '%s' here, '%.*s' at %.*s.", part, ours,
             (int)theirs.len, theirs.at, (int)name.len, name.at);
    return false;
}

/* Every text is at most WIRE_NAME_MAX long, so the sentence fits. */
static bool compatible(const struct kvt *kvt, const struct wire_pair *ask, char why[WIRE_ERROR_MAX])
{
    if (ask->version_min > WIRE_VERSION_MAX || ask->version_max < WIRE_VERSION_MIN) {
        snprintf(why, WIRE_ERROR_MAX,
                 "The protocol version differs: %d to %d here, %u to %u there.", WIRE_VERSION_MIN,
                 WIRE_VERSION_MAX, ask->version_min, ask->version_max);
        return false;
    }
    return part_equal("layout", kvt->layout, ask->layout, ask->name, why) &&
           part_equal("numerics identity", kvt->numerics, ask->numerics, ask->name, why) &&
           part_equal("fingerprint", kvt->fingerprint, ask->fingerprint, ask->name, why);
}

/* Whatever the new `pair` replaces; false if it is itself an old one. */
static bool clear_way(struct kvt *kvt, uint32_t link, const struct wire_msg *msg, uint64_t now_ns)
{
    struct kvt_pair *old = find_peer(kvt, msg->from, false);
    if (old && msg->session <= old->session.number) {
        return false;
    }
    if (old) {
        kvt_pair_fence(kvt, old, STATUS_LOST, true, now_ns);
    }
    /* A new incarnation behind the old one's link: that process is gone. */
    for (uint32_t i = 0; i < kvt->cfg.peers_max; i++) {
        struct kvt_pair *pair = &kvt->pairs[i];
        if (is_p(pair) && pair->link == link) {
            kvt_pair_fence(kvt, pair, STATUS_LOST, true, now_ns);
        }
    }
    return true;
}

static void on_pair(struct kvt *kvt, uint32_t link, const struct wire_msg *msg, uint64_t now_ns)
{
    if (msg->to != kvt->cfg.self || msg->from == 0) {
        say_bye(kvt, link, msg->from, msg->session, STATUS_STALE, "That process has ended.");
        return;
    }
    if (!clear_way(kvt, link, msg, now_ns)) {
        return;
    }
    struct wire_session session;
    wire_session_open(&session, link, msg->session, kvt->cfg.self, msg->from, now_ns);
    static const uint8_t no_secret[16];
    if (wire_session_take(&session, msg, now_ns) != STATUS_OK ||
        !address_sound(msg->pair.address.len) ||
        memcmp(msg->pair.secret.byte, no_secret, sizeof(no_secret)) == 0) {
        say_bye(kvt, link, msg->from, msg->session, STATUS_PROTOCOL, "This pair cannot be.");
        return;
    }
    char why[WIRE_ERROR_MAX];
    if (!compatible(kvt, &msg->pair, why)) {
        say_bye(kvt, link, msg->from, msg->session, STATUS_INCOMPATIBLE, why);
        return;
    }
    struct kvt_pair *pair = find_free(kvt);
    if (!pair) {
        say_bye(kvt, link, msg->from, msg->session, STATUS_FULL, "kv.peers_max is reached here.");
        return;
    }
    pair_move(pair, INPUT_PAIR);
    pair->number = kvt->next_number++;
    pair->peer = msg->from;
    pair->link = link;
    pair->path = msg->pair.local ? KVT_PATH_LOCAL : KVT_PATH_NETWORK;
    pair->session = session;
    pair->session_live = true;
    memcpy(pair->secret, msg->pair.secret.byte, sizeof(pair->secret));
    memcpy(pair->address, msg->pair.address.at, msg->pair.address.len);
    pair->address_len = msg->pair.address.len;
    pair->since_ns = now_ns;
    kvt_act_add(kvt, KVT_ACT_OPEN, pair->number)->path = pair->path;
}

static void post_probe(struct kvt *kvt, struct kvt_pair *pair)
{
    struct wire_id none = {{0}};
    uint32_t session = pair->session.number;
    struct kvt_header header = {
        .attempt = session,
        .bytes = KVT_PROBE_BYTES,
        .digest = kvdigest_piece(&none, session, 0, 0, kvt->probe, KVT_PROBE_BYTES),
    };
    pair_move(pair, INPUT_CONNECTED);
    kvt_lend_post(kvt, pair, NULL, &header, kvt->probe);
}

static void on_heartbeat(struct kvt *kvt, struct kvt_pair *pair, const struct wire_msg *msg,
                         uint64_t now_ns)
{
    if (pair->state == KVT_PAIR_P_PAIRED) {
        post_probe(kvt, pair);
        return;
    }
    for (size_t i = 0; pair->state == KVT_PAIR_P_PROBING && i < msg->heartbeat.peers.n; i++) {
        if (msg->heartbeat.peers.at[i] == kvt->cfg.self) {
            kvt_pair_verified(kvt, pair, now_ns);
        }
    }
}

/* ---- both ---------------------------------------------------------------------------------- */

void kvt_pair_verified(struct kvt *kvt, struct kvt_pair *pair, uint64_t now_ns)
{
    pair_move(pair, INPUT_VERIFIED);
    struct kvt_note *note = kvt_note_add(kvt, KVT_NOTE_PAIR_READY, pair->peer);
    note->path = pair->path;
    if (kvt_pair_is_d(pair)) {
        say_heartbeat(kvt, pair, now_ns);
    }
}

static void on_opened(struct kvt *kvt, struct kvt_pair *pair, const struct kvt_event *event,
                      uint64_t now_ns)
{
    if (!address_sound(event->address_len)) {
        kvt_pair_doom(kvt, pair, STATUS_TOO_BIG, false);
        return;
    }
    if (pair->state == KVT_PAIR_D_OPENING) {
        pair_move(pair, INPUT_OPENED);
        memcpy(pair->secret, event->secret, sizeof(pair->secret));
        wire_session_open(&pair->session, pair->link, kvt->next_session++, kvt->cfg.self,
                          pair->peer, now_ns);
        pair->session_live = true;
        say_pair(kvt, pair, event);
    } else if (pair->state == KVT_PAIR_P_OPENING) {
        pair_move(pair, INPUT_OPENED);
        struct kvt_act *act = kvt_act_add(kvt, KVT_ACT_CONNECT, pair->number);
        act->address = pair->address;
        act->address_len = pair->address_len;
        say_paired(kvt, pair, event);
    }
}

void kvt_pair_event(struct kvt *kvt, struct kvt_pair *pair, const struct kvt_event *event,
                    uint64_t now_ns)
{
    switch (event->kind) {
    case KVT_EVENT_OPENED:
        on_opened(kvt, pair, event, now_ns);
        break;
    case KVT_EVENT_ERROR:
        kvt_pair_doom(kvt, pair, event->status == STATUS_OK ? STATUS_LOST : event->status, false);
        break;
    case KVT_EVENT_OFFERED:
        kvt_fetch_offered(kvt, pair, event, now_ns);
        break;
    case KVT_EVENT_POSTED:
        kvt_lend_posted(kvt, pair, event, now_ns);
        break;
    case KVT_EVENT_FETCHED:
        kvt_fetch_done(kvt, pair, event, now_ns);
        break;
    }
}

/* P's sentence goes to D's role with the note. */
static void on_bye(struct kvt *kvt, struct kvt_pair *pair, const struct wire_msg *msg)
{
    struct wire_span text = msg->bye.text;
    pair->text_len = text.len < sizeof(pair->text) ? text.len : sizeof(pair->text);
    memcpy(pair->text, text.at ? text.at : "", pair->text_len);
    bool refused = msg->bye.code == STATUS_INCOMPATIBLE;
    kvt_pair_doom(kvt, pair, refused ? STATUS_INCOMPATIBLE : STATUS_LOST, true);
}

static void dispatch(struct kvt *kvt, struct kvt_pair *pair, const struct wire_msg *msg,
                     uint64_t now_ns)
{
    bool p = is_p(pair);
    if (msg->kind == WIRE_KIND_HEARTBEAT) {
        on_heartbeat(kvt, pair, msg, now_ns);
    } else if (msg->kind == WIRE_KIND_WANT && p) {
        kvt_lend_want(kvt, pair, msg, now_ns);
    } else if ((msg->kind == WIRE_KIND_LANDED || msg->kind == WIRE_KIND_REFUSED) && p) {
        kvt_lend_answer(kvt, pair, msg);
    } else if (msg->kind == WIRE_KIND_PAIRED && !p) {
        on_paired(kvt, pair, msg, now_ns);
    } else if (msg->kind == WIRE_KIND_SEAL && !p) {
        kvt_fetch_seal(kvt, pair, msg, now_ns);
    } else if (msg->kind == WIRE_KIND_REFUSED && !p) {
        kvt_fetch_refused(kvt, pair, msg);
    } else {
        kvt_pair_doom(kvt, pair, STATUS_PROTOCOL, false);
    }
}

void kvt_pair_message(struct kvt *kvt, uint32_t link, const struct wire_msg *msg, uint64_t now_ns)
{
    if (msg->kind == WIRE_KIND_PAIR) {
        on_pair(kvt, link, msg, now_ns);
        return;
    }
    struct kvt_pair *pair = find_link(kvt, link);
    if (msg->kind == WIRE_KIND_BYE) {
        if (pair && msg->to == kvt->cfg.self && msg->session == pair->session.number) {
            on_bye(kvt, pair, msg);
        }
        return;
    }
    enum status status = pair ? wire_session_take(&pair->session, msg, now_ns) : STATUS_STALE;
    if (status == STATUS_OK) {
        dispatch(kvt, pair, msg, now_ns);
    } else if (status == STATUS_LOST) {
        kvt_pair_doom(kvt, pair, STATUS_LOST, false);
    } else if (status != STATUS_AGAIN) {
        say_bye(kvt, link, msg->from, msg->session, STATUS_STALE,
                "This session is not known here.");
    }
}

/* Offers are fetched in the order in which they were made, so the eldest is the next to end. */
static uint64_t find_eldest(const struct kvt_pair *pair)
{
    uint64_t eldest = pair->probe_op;
    for (uint32_t i = 0; i < KVT_POSTS_MAX; i++) {
        uint64_t post = pair->posts[i].op;
        uint64_t fetch = pair->offers[i].op;
        eldest = post != 0 && (eldest == 0 || post < eldest) ? post : eldest;
        eldest = fetch != 0 && (eldest == 0 || fetch < eldest) ? fetch : eldest;
    }
    return eldest;
}

/* Progress of others on the pair is no excuse: one lost offer would hold its blocks for ever. */
static bool stalled(struct kvt_pair *pair, uint64_t now_ns)
{
    uint64_t eldest = find_eldest(pair);
    if (eldest != pair->eldest_op) {
        pair->eldest_op = eldest;
        pair->eldest_ns = now_ns;
    }
    uint32_t bound_ms = is_p(pair) ? KVT_STALL_MS : KVT_FETCH_STALL_MS;
    return (eldest != 0 && kvt_passed(pair->eldest_ns, now_ns, bound_ms)) ||
           kvt_lend_overdue(pair, now_ns);
}

void kvt_pair_tick(struct kvt *kvt, struct kvt_pair *pair, uint64_t now_ns)
{
    if (pair->state == KVT_PAIR_D_IDLE) {
        if (pair->link != WIRE_LINK_NONE && now_ns >= pair->retry_ns) {
            pair_start(kvt, pair, now_ns);
        }
        return;
    }
    if (pair->session_live && wire_session_silent(&pair->session, now_ns)) {
        kvt_pair_doom(kvt, pair, STATUS_LOST, false);
    } else if (stalled(pair, now_ns)) {
        kvt->counts.stalls++;
        if (PLANTED(1)) {
            kvt_lend_fenced(kvt, pair, STATUS_STUCK);
            kvt_fetch_fenced(kvt, pair, STATUS_STUCK);
            return;
        }
        kvt_pair_doom(kvt, pair, STATUS_STUCK, false);
    } else if (!is_ready(pair) && kvt_passed(pair->since_ns, now_ns, KVT_PAIRING_MS)) {
        kvt_pair_doom(kvt, pair, STATUS_LOST, false);
    } else if (pair->session_live && pair->state != KVT_PAIR_D_ASKED &&
               wire_session_beat_due(&pair->session, now_ns)) {
        /* Not while ASKED: P takes D's first heartbeat for "connected". */
        say_heartbeat(kvt, pair, now_ns);
    }
}
