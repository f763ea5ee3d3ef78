/* One protocol object and a hand that plays everything around it: the peer's messages, the mover's
 * events, time. For tests of single rows of the state tables. Every call drains the object's lists
 * into `acts`, `msgs` and `notes`, which grow until puppet_clear. */
#pragma once

#include "base/arena.h"
#include "kvtransfer/kvt.h"

#define PUPPET_SELF 0x1111u
#define PUPPET_PEER 0x2222u
#define PUPPET_LINK 7u
#define PUPPET_BLOCKS 64u
#define PUPPET_TRANSFERS 4u
#define PUPPET_BLOCKS_MAX 48u
#define PUPPET_GROUPS 2u
#define PUPPET_LIST_MAX 512u

struct puppet {
    struct kvt *kvt;
    struct kvt_cfg cfg;
    uint8_t *pool;
    uint64_t now_ns;
    struct arena *arena;
    struct kvt_act acts[PUPPET_LIST_MAX];
    size_t n_acts;
    struct wire_msg msgs[PUPPET_LIST_MAX];
    uint32_t links[PUPPET_LIST_MAX]; /* of msgs */
    size_t n_msgs;
    struct kvt_note notes[PUPPET_LIST_MAX];
    size_t n_notes;
    uint32_t session; /* the peer's end of the session */
    uint64_t seq;
    uint32_t pair; /* the mover's number */
    uint8_t secret[16];
    uint64_t next_handle;
};

struct puppet *puppet_create(void);
void puppet_destroy(struct puppet *puppet);
/* After every direct call into the object. */
void puppet_drain(struct puppet *puppet);
void puppet_clear(struct puppet *puppet);
/* Lets time pass in ticks of 50 ms, the peer's heartbeats coming if `alive`. */
void puppet_wait(struct puppet *puppet, uint32_t ms, bool alive);

size_t puppet_n_acts(const struct puppet *puppet, enum kvt_act_kind kind);
/* The last of its kind; there must be one. */
const struct kvt_act *puppet_act(const struct puppet *puppet, enum kvt_act_kind kind);
size_t puppet_n_msgs(const struct puppet *puppet, enum wire_kind kind);
const struct wire_msg *puppet_msg(const struct puppet *puppet, enum wire_kind kind);
size_t puppet_n_notes(const struct puppet *puppet, enum kvt_note_kind kind);
const struct kvt_note *puppet_note(const struct puppet *puppet, enum kvt_note_kind kind);

/* The peer says this on its session, next in order. */
void puppet_say(struct puppet *puppet, struct wire_msg *msg);
void puppet_say_raw(struct puppet *puppet, uint32_t link, const struct wire_msg *msg);
void puppet_say_heartbeat(struct puppet *puppet, bool verified);
void puppet_say_pair(struct puppet *puppet, uint32_t session);
void puppet_say_bye(struct puppet *puppet, enum status code, const char *text);
/* `pair` as a compatible D would say it. */
struct wire_msg puppet_pair_msg(const struct puppet *puppet, uint32_t session);

void puppet_event(struct puppet *puppet, const struct kvt_event *event);
void puppet_opened(struct puppet *puppet);
void puppet_posted(struct puppet *puppet, uint64_t op);
/* All posts since the last clear. */
void puppet_posted_all(struct puppet *puppet);
void puppet_fetched(struct puppet *puppet, uint64_t op, enum status status);
/* Returns the offer's handle. */
uint64_t puppet_offered(struct puppet *puppet, const struct kvt_header *header, size_t bytes);

/* How far a pair is brought. */
enum puppet_stage {
    PUPPET_D_IDLE, /* known, fenced once, waiting to try again */
    PUPPET_D_OPENING,
    PUPPET_D_ASKED,
    PUPPET_D_PROBING,
    PUPPET_D_READY,
    PUPPET_P_OPENING,
    PUPPET_P_PAIRED,
    PUPPET_P_PROBING,
    PUPPET_P_READY,
};
/* Leaves the lists empty. */
void puppet_bring(struct puppet *puppet, enum puppet_stage stage);
uint64_t puppet_pairs(const struct puppet *puppet);

struct wire_id puppet_req(uint8_t number);
/* A header that D would take, but for digest. */
struct kvt_header puppet_header(const struct puppet *puppet, const struct kvt_key *key,
                                uint32_t block, uint32_t group);
size_t puppet_piece_len(uint32_t group);
