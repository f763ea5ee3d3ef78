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
 * After each input the caller carries out what the step wants, in this order: the actions, then the
 * messages (an answer must not be on its way before the fence it speaks of), then the notes, which
 * may call in again and so lengthen the lists; then kvt_clear.
 *
 * Who calls: a role (prefill, decode), on its I/O thread or in the simulator. */
#pragma once

#include "kvtransfer/mover.h"
#include "wire/kvgeom.h"
#include "wire/out.h"
#include "wire/session.h"

#define KVT_STALL_MS 5000u /* P: the eldest offer is not done, or an answer overdue: fence */
#define KVT_FETCH_STALL_MS                                                                         \
    2500u                      /* D: the eldest fetch is not done: fence. Shorter, so that a stuck \
                                  P which fills D's fetch window costs no other P its pair */
#define KVT_PAIRING_MS 5000u   /* from `pair` to a verified probe */
#define KVT_WANT_PARK_MS 5000u /* a want that came before its job waits this long at P */
#define KVT_REPAIR_MS 250u     /* pause before D opens a lost pair again */
#define KVT_INCOMPATIBLE_MS 5000u /* the same after a refusal */
#define KVT_POSTS_MAX 64u         /* offers of one pair that its mover has not completed */
#define KVT_NOTE_BYTES_MAX 4096u  /* the role's note in a seal */
#define KVT_LENDS_MAX 4u /* wants of one hand-over: the newest, and older ones that drain */

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
    uint64_t session_base;  /* session numbers start above it */
};

/* What one step wants done. The core appends; the shell carries out and clears. */
enum kvt_note_kind {
    KVT_NOTE_PAIR_READY, /* the pair with `peer` has verified a transfer */
    KVT_NOTE_PAIR_LOST,  /* `peer` is gone or fenced; pairing is tried again while it is known. Also
                            for a pair that was never ready, where `status` is INCOMPATIBLE (the
                            peer's sentence is in `note`) or FULL (no room, not tried again) */
    KVT_NOTE_OUT_LANDED, /* P: D has it all; the hand-over is closed, drop the holder */
    KVT_NOTE_OUT_REFUSED, /* P: the newest want ended (refused or fenced); a newer may come */
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
    const uint8_t *note; /* IN_LANDED, PAIR_LOST: valid until the next call into kvt */
    size_t note_len;
    uint64_t bytes;       /* IN_LANDED, OUT_LANDED: fetched */
    uint64_t transfer_us; /* IN_LANDED: from the first offer to the last byte verified */
    enum kvt_path path;
};

struct kvt_acts; /* list of struct kvt_act */

enum status kvt_create(const struct kvt_cfg *cfg, struct kvt **out);
void kvt_destroy(struct kvt *kvt);

/* ---- input: each appends to the lists below ---- */

/* D: this P exists (from a roster) and `link` leads to it, and is used for nothing else; pair with
 * it. P learns its D's from their `pair`. Known peer, same link: no-op; a new link: the session is
 * opened anew. */
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

/* ---- P ---- */

/* blocks[n_blocks]: pool indices, copied. FULL: no record free. EXISTS. STALE: this attempt has
 * ended here. TOO_BIG: over blocks_max. A parked want starts at once. The role has taken its
 * transfer holder before. Ends with exactly one note, OUT_LANDED or OUT_CLOSED. */
enum status kvt_out_open(struct kvt *kvt, const struct wire_id *req, uint32_t attempt,
                         const uint32_t *blocks, uint32_t n_blocks, uint64_t now_ns);
/* The piece's bytes are final and `digest` is theirs (kvdigest_piece with the group's first layer):
 * offer it as soon as it is wanted. Once a piece. */
void kvt_out_ready(struct kvt *kvt, const struct wire_id *req, uint32_t attempt, uint32_t block,
                   uint32_t group, uint64_t digest, uint64_t now_ns);
/* Every piece is ready; note goes into the seal (copied; at most KVT_NOTE_BYTES_MAX). */
void kvt_out_seal(struct kvt *kvt, const struct wire_id *req, uint32_t attempt, const uint8_t *note,
                  size_t note_len, uint64_t now_ns);
/* Ends it, D is told: OUT_CLOSED follows, at once or when all offers are completed or fenced. For a
 * request that is not open nothing follows. Later wants of this attempt are refused. */
void kvt_out_close(struct kvt *kvt, const struct wire_id *req, uint32_t attempt, uint64_t now_ns);

/* ---- D ---- */

/* Asks `peer` for all blocks but the first n_have. LOST: not paired (yet). FULL. EXISTS. TOO_BIG.
 * A process asks once with a key; asking again takes a higher generation. Ends with exactly one
 * note, IN_LANDED or IN_CLOSED. */
enum status kvt_in_open(struct kvt *kvt, uint64_t peer, const struct kvt_key *key,
                        const uint32_t *blocks, uint32_t n_blocks, uint32_t n_have,
                        uint64_t now_ns);
/* Ends it: IN_CLOSED with `why` follows, at once or when nothing can land any more. */
void kvt_in_close(struct kvt *kvt, const struct kvt_key *key, enum status why, uint64_t now_ns);

/* ---- output ---- */

struct wire_out *kvt_out(struct kvt *kvt); /* messages to peers */
size_t kvt_n_acts(const struct kvt *kvt);
const struct kvt_act *kvt_act_at(const struct kvt *kvt, size_t idx);
size_t kvt_n_notes(const struct kvt *kvt);
const struct kvt_note *kvt_note_at(const struct kvt *kvt, size_t idx);
/* After all was carried out. */
void kvt_clear(struct kvt *kvt);

/* ---- looking ---- */

bool kvt_paired(const struct kvt *kvt, uint64_t peer);
/* Incarnations of the ready pairs' peers, at most max; returns how many. */
size_t kvt_paired_list(const struct kvt *kvt, uint64_t *peers, size_t max);

struct kvt_counts {
    uint64_t pairs, outs, ins; /* records now */
    uint64_t posts_pending, fetches_pending;
    /* offers released unread, by cause */
    uint64_t offers_unknown, offers_bad_secret, offers_stale, offers_malformed, offers_duplicate;
    uint64_t mismatches, fences, stalls, wants_stale, bytes_landed;
};
void kvt_counts(const struct kvt *kvt, struct kvt_counts *out);
