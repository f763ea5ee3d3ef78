/* The transfer protocol: D asks, P offers, D fetches. A state machine without I/O, clock or
 * entropy; one object per node serves both directions (a P sends, a D receives, a node that does
 * both has both kinds of records). The role above it owns the blocks: kvt moves bytes and never
 * frees a block. It tells the role by notes when bytes can no longer move, and only then may the
 * role drop its transfer holder.
 *
 * The two sides of one hand-over:
 *
 *   D: open_in ─want──▶ P          P: open_out, ready(piece)... seal
 *   D ◀──offer, offer, ...─ P      one per piece that D lacks, as they are computed
 *   D: fetch into the block, check the digest
 *   D ◀──seal── P                  digests of all pieces and the role's note
 *   D ──landed─▶ P                 or refused: the one answer; D touches P's memory no more
 *
 * Who calls: a role (prefill, decode), on its I/O thread or in the simulator. */
#pragma once

#include "kvtransfer/mover.h"
#include "wire/kvgeom.h"
#include "wire/out.h"
#include "wire/session.h"

#define KVT_STALL_MS 5000u     /* an offer or fetch without any progress on its pair: fence */
#define KVT_WANT_PARK_MS 5000u /* a want that came before its job waits this long at P */
#define KVT_REPAIR_MS 250u     /* pause before D opens a lost pair again */
#define KVT_MISMATCH_TRIES 3u  /* fetches of one piece whose digest differs */

struct kvt;

/* One hand-over. Generation 0 in P's own calls: P serves the newest want. */
struct kvt_key {
    struct wire_id req;
    uint32_t attempt;
    uint32_t generation;
};

struct kvt_cfg {
    uint64_t self; /* own incarnation */
    const char *name;
    const char *fingerprint; /* compared at pairing; a difference is refused with a sentence */
    const char *numerics;
    struct kvgeom geom;
    uint8_t *pool;          /* base of the block pool; block i at pool + i * block bytes */
    uint32_t n_blocks;      /* of the pool */
    uint32_t peers_max;     /* pairs at once */
    uint32_t transfers_max; /* hand-overs at once, each direction */
    uint32_t blocks_max;    /* blocks of one hand-over */
    uint64_t fetch_bytes;   /* in flight at most, over all pairs (kv.fetch_bytes) */
    uint64_t session_base;  /* first session number's base: grows with every process start */
};

/* What one step wants done. The core appends; the shell carries out and clears. */
enum kvt_note_kind {
    KVT_NOTE_PAIR_READY,  /* the pair with `peer` has verified a transfer */
    KVT_NOTE_PAIR_LOST,   /* `peer` is gone or fenced; pairing is tried again while it is known */
    KVT_NOTE_OUT_LANDED,  /* P: D has it all; the hand-over is closed, drop the holder */
    KVT_NOTE_OUT_REFUSED, /* P: that want ended (refused or fenced); a newer want may come */
    KVT_NOTE_OUT_CLOSED,  /* P: after kvt_out_close: nothing moves any more, drop the holder */
    KVT_NOTE_IN_LANDED,   /* D: every piece has landed and verified, seal's note in `note` */
    KVT_NOTE_IN_CLOSED,   /* D: failed (`status`) or closed by kvt_in_close: nothing can land any
                             more, drop the holder */
};

struct kvt_note {
    enum kvt_note_kind kind;
    uint64_t peer;
    struct kvt_key key;
    enum status status;
    const uint8_t *note; /* IN_LANDED: valid until the next call into kvt */
    size_t note_len;
    uint64_t bytes;       /* IN_LANDED, OUT_LANDED: fetched */
    uint64_t transfer_us; /* IN_LANDED: from the first offer to the last byte verified */
    enum kvt_path path;
};

struct kvt_acts; /* list of struct kvt_act */

enum status kvt_create(const struct kvt_cfg *cfg, struct kvt **out);
void kvt_destroy(struct kvt *kvt);

/* ---- input: each appends to the lists below ---------------------------------------------------*/

/* D: this P exists (from a roster) and `link` leads to it; pair with it. P learns its D's from
 * their `pair`. Known peer, same link: no-op; a new link: the session is opened anew. */
void kvt_peer_up(struct kvt *kvt, uint64_t peer, uint32_t link, enum kvt_path path,
                 uint64_t now_ns);
/* The peer left the roster or its process died: fence, forget. */
void kvt_peer_gone(struct kvt *kvt, uint64_t peer, uint64_t now_ns);
/* The connection broke. */
void kvt_link_down(struct kvt *kvt, uint32_t link, uint64_t now_ns);
/* A message of the peer link: pair, paired, want, seal, landed, refused, heartbeat, bye. */
void kvt_message(struct kvt *kvt, uint32_t link, const struct wire_msg *msg, uint64_t now_ns);
void kvt_event(struct kvt *kvt, const struct kvt_event *event, uint64_t now_ns);
/* Heartbeats, stalls, parked wants, re-pairing. At least every 50 ms. */
void kvt_tick(struct kvt *kvt, uint64_t now_ns);

/* ---- P
 * -----------------------------------------------------------------------------------------*/

/* blocks[n_blocks]: pool indices, copied. FULL: no record free. EXISTS. A parked want starts at
 * once. The role has taken its transfer holder before. */
enum status kvt_out_open(struct kvt *kvt, const struct wire_id *req, uint32_t attempt,
                         const uint32_t *blocks, uint32_t n_blocks, uint64_t now_ns);
/* The piece's bytes are final and this is their digest: offer it as soon as it is wanted. */
void kvt_out_ready(struct kvt *kvt, const struct wire_id *req, uint32_t attempt, uint32_t block,
                   uint32_t group, uint64_t digest, uint64_t now_ns);
/* Every piece is ready; note goes into the seal (copied). */
void kvt_out_seal(struct kvt *kvt, const struct wire_id *req, uint32_t attempt, const uint8_t *note,
                  size_t note_len, uint64_t now_ns);
/* Ends it: OUT_CLOSED follows, at once or when D has answered or its pair is fenced. */
void kvt_out_close(struct kvt *kvt, const struct wire_id *req, uint32_t attempt, uint64_t now_ns);

/* ---- D
 * -----------------------------------------------------------------------------------------*/

/* Asks `peer` for all blocks but the first n_have. LOST: not paired (yet). FULL. EXISTS. */
enum status kvt_in_open(struct kvt *kvt, uint64_t peer, const struct kvt_key *key,
                        const uint32_t *blocks, uint32_t n_blocks, uint32_t n_have,
                        uint64_t now_ns);
/* Ends it: IN_CLOSED with `why` follows, at once or when nothing can land any more. */
void kvt_in_close(struct kvt *kvt, const struct kvt_key *key, enum status why, uint64_t now_ns);

/* ---- output
 * ------------------------------------------------------------------------------------*/

struct wire_out *kvt_out(struct kvt *kvt); /* messages to peers */
size_t kvt_n_acts(const struct kvt *kvt);
const struct kvt_act *kvt_act_at(const struct kvt *kvt, size_t idx);
size_t kvt_n_notes(const struct kvt *kvt);
const struct kvt_note *kvt_note_at(const struct kvt *kvt, size_t idx);
/* After all was carried out. */
void kvt_clear(struct kvt *kvt);

/* ---- looking
 * -----------------------------------------------------------------------------------*/

bool kvt_paired(const struct kvt *kvt, uint64_t peer);
/* Incarnations of the ready pairs' peers, at most max; returns how many. */
size_t kvt_paired_list(const struct kvt *kvt, uint64_t *peers, size_t max);

struct kvt_counts {
    uint64_t pairs, outs, ins; /* records now */
    uint64_t posts_pending, fetches_pending;
    uint64_t offers_unknown, offers_bad_secret, offers_stale; /* released unread, by cause */
    uint64_t mismatches, fences, stalls, wants_stale, bytes_landed;
};
void kvt_counts(const struct kvt *kvt, struct kvt_counts *out);
