/* The transfer protocol's inside: the records of kvt.h's state machine and what its files call of
 * one another. kvt.c: creation, lists, dispatch. kvt_pair.c: pairs. kvt_out.c: hand-overs that P
 * gives. kvt_in.c: hand-overs that D takes. Nobody else includes this.
 *
 * Whoever finds a pair broken in the middle of a step only dooms it; the fence itself comes at the
 * end of the step (kvt_settle), when no loop stands on the pair's lists. */
#pragma once

#include "base/check.h"
#include "base/clock.h"
#include "kvtransfer/kvt.h"
#include "wire/kvdigest.h"
#include "wire/plant.h"
#include "wire/tombs.h"

#define KVT_PROBE_BYTES 4096u         /* the verified transfer before a pair is ready */
#define KVT_OUT_BYTES_MAX (16u << 20) /* messages of one step */
#define KVT_TOMBS_PER_TRANSFER 16u    /* ended hand-overs remembered, per record */
#define KVT_NOTES_PER_TRANSFER 2u     /* notes of one step, per record */
#define KVT_ACTS_PER_PAIR (2u * KVT_POSTS_MAX + 8u)
#define KVT_LISTS_SLACK 64u

enum kvt_pair_state {
    KVT_PAIR_FREE,
    KVT_PAIR_D_IDLE,    /* known; waits for its time to pair (again) */
    KVT_PAIR_D_OPENING, /* own worker asked for */
    KVT_PAIR_D_ASKED,   /* `pair` sent */
    KVT_PAIR_D_PROBING, /* `paired` came; the probe is awaited or being fetched */
    KVT_PAIR_D_READY,
    KVT_PAIR_P_OPENING, /* `pair` came; own worker asked for */
    KVT_PAIR_P_PAIRED,  /* `paired` sent; D's first heartbeat says that it has connected */
    KVT_PAIR_P_PROBING, /* probe posted */
    KVT_PAIR_P_READY,
    KVT_PAIR_N_STATES
};

/* One offer that P has posted and its mover has not completed. */
struct kvt_post {
    uint64_t op;           /* 0: free */
    struct kvt_lend *lend; /* NULL: the probe */
};

/* One offer that D has been told of and has neither fetched nor released. */
struct kvt_offer {
    uint64_t handle;
    uint64_t op;       /* 0: queued, else being fetched */
    uint64_t arrival;  /* 0: free */
    struct kvt_in *in; /* whose piece */
    uint32_t piece;
    size_t bytes;
};

struct kvt_pair {
    enum kvt_pair_state state;
    uint32_t number; /* the mover's; 0: no worker */
    uint64_t peer;
    uint32_t link;
    enum kvt_path path;
    bool session_live;
    struct wire_session session;
    uint8_t secret[16];
    uint8_t *address; /* [WIRE_ADDRESS_MAX], the peer's worker */
    size_t address_len;
    enum status doom; /* not OK: fenced at the end of this step */
    bool doom_quiet;  /* the peer knows: no `bye` */
    uint64_t since_ns;
    uint64_t eldest_op; /* post or fetch at the mover for longest; 0: none */
    uint64_t eldest_ns; /* since when it is the eldest */
    uint64_t retry_ns;
    char text[WIRE_ERROR_MAX]; /* why the peer refused */
    size_t text_len;

    /* P */
    struct kvt_post posts[KVT_POSTS_MAX];
    uint32_t n_posts;
    struct kvt_lend *lends; /* in the order of their wants */

    /* D */
    struct kvt_offer offers[KVT_POSTS_MAX];
    uint32_t n_fetching; /* the probe too */
    uint64_t probe_op;   /* 0: not being fetched */
    uint64_t probe_digest;
    uint8_t *probe; /* [KVT_PROBE_BYTES], where it lands */
};

enum kvt_lend_state {
    KVT_LEND_FREE,
    KVT_LEND_SERVING, /* offers go out as pieces become ready */
    KVT_LEND_SEALED,  /* all offered, seal sent; D's answer is awaited */
    KVT_LEND_LANDED,  /* answered; the mover still has posts */
    KVT_LEND_DYING,   /* refused by either side; the mover still has posts */
    KVT_LEND_N_STATES
};

/* One want being served. */
struct kvt_lend {
    enum kvt_lend_state state;
    struct kvt_out *out;
    struct kvt_pair *pair;
    struct kvt_lend *next; /* of the same pair */
    uint32_t generation;
    uint32_t cursor;    /* into out->order */
    uint32_t n_pending; /* posts at the mover */
    uint64_t bytes;
    enum status why;
    uint64_t quiet_ns; /* sealed: when nothing but D's answer was left to come */
    uint64_t *have;    /* bitmap [blocks_max] */
};

enum kvt_out_state {
    KVT_OUT_FREE,
    KVT_OUT_COMPUTING, /* pieces become ready */
    KVT_OUT_SEALED,    /* all pieces are */
    KVT_OUT_LANDED,    /* D has it; posts drain */
    KVT_OUT_CLOSING,   /* the role ended it; posts drain */
    KVT_OUT_N_STATES
};

struct kvt_out {
    enum kvt_out_state state;
    struct wire_id req;
    uint32_t attempt;
    bool asked;          /* a want has been served */
    uint32_t generation; /* the newest want's */
    struct kvt_lend lends[KVT_LENDS_MAX];
    struct kvt_lend *current; /* the newest want's, while it lives */
    uint32_t n_blocks;
    uint32_t n_ready;
    uint32_t *blocks;  /* [blocks_max] pool indices */
    uint32_t *order;   /* [pieces_max] pieces in the order they became ready */
    uint8_t *ready;    /* [pieces_max] */
    uint64_t *digests; /* [pieces_max] */
    uint8_t *note;     /* [KVT_NOTE_BYTES_MAX] */
    size_t note_len;
    struct kvt_note end; /* the final note, once its cause is known */
};

/* A want that came before its job. */
struct kvt_parked {
    struct kvt_pair *pair; /* NULL: free */
    struct wire_id req;
    uint32_t attempt;
    uint32_t generation;
    uint32_t n_blocks;
    uint64_t since_ns;
    uint64_t *have; /* bitmap [blocks_max] */
};

enum kvt_in_state {
    KVT_IN_FREE,
    KVT_IN_FILLING, /* asked; pieces land */
    KVT_IN_SEALED,  /* the seal is here, pieces are missing */
    KVT_IN_CLOSING, /* failed or closed; fetches are pending */
    KVT_IN_N_STATES
};

enum kvt_piece_state {
    KVT_PIECE_HELD,     /* D has it from elsewhere */
    KVT_PIECE_LACKED,   /* asked for */
    KVT_PIECE_QUEUED,   /* offered */
    KVT_PIECE_FETCHING, /* the mover writes */
    KVT_PIECE_VERIFIED,
};

struct kvt_in {
    enum kvt_in_state state;
    struct kvt_key key;
    struct kvt_pair *pair;
    enum status why;
    bool answered; /* P has refused the want: it needs no answer from here */
    uint32_t n_blocks;
    uint32_t n_have;
    uint32_t n_wanted;   /* pieces */
    uint32_t n_verified; /* pieces */
    uint32_t n_fetching; /* pieces */
    uint64_t bytes;
    uint64_t first_ns; /* the first offer; 0: none yet */
    uint32_t *blocks;  /* [blocks_max] pool indices */
    uint8_t *pieces;   /* [pieces_max] enum kvt_piece_state */
    uint64_t *digests; /* [pieces_max] from the header, or before it from the seal */
    uint8_t *note;     /* [KVT_NOTE_BYTES_MAX] */
    size_t note_len;
};

struct kvt {
    struct kvt_cfg cfg;
    char name[WIRE_NAME_MAX + 1];
    char fingerprint[WIRE_NAME_MAX + 1];
    char numerics[WIRE_NAME_MAX + 1];
    char layout[64];
    uint32_t n_groups;
    uint32_t pieces_max;
    size_t block_bytes;
    uint8_t probe[KVT_PROBE_BYTES];

    struct kvt_pair *pairs;    /* [peers_max] */
    struct kvt_out *outs;      /* [transfers_max] */
    struct kvt_in *ins;        /* [transfers_max] */
    struct kvt_parked *parked; /* [transfers_max] */
    struct wire_tombs *tombs;
    uint32_t *iota;    /* [blocks_max] 0, 1, 2... */
    uint64_t *scratch; /* [pieces_max] */
    size_t have_words; /* of a bitmap */

    struct wire_out *out;
    struct kvt_act *acts; /* [acts_max] */
    size_t n_acts, acts_max;
    struct kvt_note *notes; /* [notes_max] */
    size_t n_notes, notes_max;

    uint32_t next_number; /* of pairs */
    uint32_t next_session;
    uint64_t next_op;
    uint64_t next_order;
    uint64_t fetch_bytes; /* in flight */
    uint32_t fetch_turn;  /* the pair whose turn it is */
    bool fetch_due;       /* look for something to fetch at the end of the step */
    uint32_t n_doomed;
    struct kvt_counts counts;
};

/* ---- kvt.c --------------------------------------------------------------------------------- */

struct kvt_act *kvt_act_add(struct kvt *kvt, enum kvt_act_kind kind, uint32_t pair);
struct kvt_note *kvt_note_add(struct kvt *kvt, enum kvt_note_kind kind, uint64_t peer);
/* The end of each step: fences what is doomed, starts the fetches that have room. */
void kvt_settle(struct kvt *kvt, uint64_t now_ns);

/* A row of a state table: in `from`, `input` leads to `to`. What has no row cannot happen. */
struct kvt_move {
    uint8_t from;
    uint8_t input;
    uint8_t to;
};
/* The next state; a move without a row is our own bug. */
uint8_t kvt_move(const struct kvt_move *moves, size_t n_moves, uint8_t from, uint8_t input);

/* A clock that seems to go back has told nothing. */
static inline bool kvt_passed(uint64_t since_ns, uint64_t now_ns, uint32_t ms)
{
    return now_ns > since_ns && now_ns - since_ns >= ms * NS_PER_MS;
}

static inline bool kvt_bit(const uint64_t *bits, uint32_t idx)
{
    return (bits[idx / 64] >> (idx % 64)) & 1;
}

static inline void kvt_bit_set(uint64_t *bits, uint32_t idx)
{
    bits[idx / 64] |= 1ull << (idx % 64);
}

/* ---- kvt_pair.c ---------------------------------------------------------------------------- */

void kvt_pair_doom(struct kvt *kvt, struct kvt_pair *pair, enum status why, bool quiet);
/* Closes the worker and ends all records of the pair. Only outside loops over those. */
void kvt_pair_fence(struct kvt *kvt, struct kvt_pair *pair, enum status why, bool quiet,
                    uint64_t now_ns);
/* Posts on the pair's session; a pair that cannot is doomed. */
void kvt_pair_say(struct kvt *kvt, struct kvt_pair *pair, struct wire_msg *msg);
void kvt_pair_verified(struct kvt *kvt, struct kvt_pair *pair, uint64_t now_ns);
void kvt_pair_tick(struct kvt *kvt, struct kvt_pair *pair, uint64_t now_ns);
void kvt_pair_event(struct kvt *kvt, struct kvt_pair *pair, const struct kvt_event *event,
                    uint64_t now_ns);
void kvt_pair_message(struct kvt *kvt, uint32_t link, const struct wire_msg *msg, uint64_t now_ns);

static inline bool kvt_pair_is_d(const struct kvt_pair *pair)
{
    return pair->state >= KVT_PAIR_D_IDLE && pair->state <= KVT_PAIR_D_READY;
}

/* ---- kvt_out.c ----------------------------------------------------------------------------- */

void kvt_lend_want(struct kvt *kvt, struct kvt_pair *pair, const struct wire_msg *msg,
                   uint64_t now_ns);
void kvt_lend_answer(struct kvt *kvt, struct kvt_pair *pair, const struct wire_msg *msg);
void kvt_lend_posted(struct kvt *kvt, struct kvt_pair *pair, const struct kvt_event *event,
                     uint64_t now_ns);
/* Takes a free post slot of the pair and adds the action; `at` is final until POSTED or fence. */
void kvt_lend_post(struct kvt *kvt, struct kvt_pair *pair, struct kvt_lend *lend,
                   const struct kvt_header *header, void *at);
/* The pair's worker is closed: every lend on it has ended. */
void kvt_lend_fenced(struct kvt *kvt, struct kvt_pair *pair, enum status why);
/* Whether a sealed lend of the pair should have been answered long ago. */
bool kvt_lend_overdue(const struct kvt_pair *pair, uint64_t now_ns);
void kvt_lend_tick(struct kvt *kvt, uint64_t now_ns);

/* ---- kvt_in.c ------------------------------------------------------------------------------ */

void kvt_fetch_offered(struct kvt *kvt, struct kvt_pair *pair, const struct kvt_event *event,
                       uint64_t now_ns);
void kvt_fetch_done(struct kvt *kvt, struct kvt_pair *pair, const struct kvt_event *event,
                    uint64_t now_ns);
void kvt_fetch_seal(struct kvt *kvt, struct kvt_pair *pair, const struct wire_msg *msg,
                    uint64_t now_ns);
/* P will not serve the want. */
void kvt_fetch_refused(struct kvt *kvt, struct kvt_pair *pair, const struct wire_msg *msg);
void kvt_fetch_fenced(struct kvt *kvt, struct kvt_pair *pair, enum status why);
void kvt_fetch_pump(struct kvt *kvt);
