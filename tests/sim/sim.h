/* The simulator: a whole fleet (routers, prefill and decode roles, clients) in one process, on a
 * virtual clock, from one seed. The same object code as in production; only sockets, UCX and
 * threads are replaced. Faults come from the seed; invariants are checked while it runs; a failing
 * seed replays exactly and prints what happened.
 *
 * sim.c: the event queue and the world. sim_net.c: connections and their faults. sim_node.c: the
 * worker roles, their compute and their mover. sim_request.c: what is asked. sim_text.c: stop
 * strings and texts. sim_client.c: clients, and what they must see. sim_check.c: invariants inside.
 */
#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/rand.h"
#include "decode/decode.h"
#include "engine/oracle.h"
#include "kvtransfer/local_mover.h"
#include "model/template.h"
#include "model/tokenizer.h"
#include "prefill/prefill.h"
#include "router/router.h"

#define SIM_ROUTERS_MAX 2
#define SIM_WORKERS_MAX 6
#define SIM_CLIENTS_MAX 8
#define SIM_PROCS_MAX (SIM_ROUTERS_MAX + SIM_WORKERS_MAX + SIM_CLIENTS_MAX)
#define SIM_CONNS_MAX 4096
#define SIM_EVENTS_MAX 65536
#define SIM_REQUESTS_MAX 6 /* of one client, one after the other */
#define SIM_BOUND_MS 4000u /* over the deadline: the promise of every request */
#define SIM_LEN_MAX 256u   /* tokens of a sequence */
#define SIM_TICK_MS 50u
#define SIM_QUIET_MS                                                                               \
    16000u                    /* after the last answer nothing is left: a stream waits 8 s for its \
                                 client, a fence comes after 5, a pairing takes 2 */
#define SIM_LIST_MAX 6u       /* ids in a list of a request */
#define SIM_STOPS_MAX 3u      /* stop strings of a request, */
#define SIM_STOP_BYTES_MAX 6u /* each */
#define SIM_TEMPLATE                                                                               \
    "{% for message in messages %}<{{ message.role }}>{{ message.content }}{% endfor %}"
#define SIM_TEMPLATE_BYTES 6u /* that it adds to a message of a user */
#define SIM_CRASHES_MAX 4u    /* of one request: two strikes, and those not yet reported */

enum sim_fault {
    SIM_FAULT_DROP = 1 << 0,      /* messages between our processes: dropped, */
    SIM_FAULT_DUPLICATE = 1 << 1, /* doubled, */
    SIM_FAULT_REORDER = 1 << 2,   /* overtaken, */
    SIM_FAULT_DELAY = 1 << 3,     /* late; */
    SIM_FAULT_PARTITION = 1 << 4, /* one direction of a connection is silent for a while */
    SIM_FAULT_FREEZE = 1 << 5,    /* a process stands still and comes back */
    SIM_FAULT_KILL = 1 << 6,      /* a process dies and is started again */
    SIM_FAULT_CRASH = 1 << 7,     /* a worker dies of the step that it executes; told to routers */
    SIM_FAULT_SLOW = 1 << 8,      /* clients read slowly, go away, come back */
    SIM_FAULT_POOL = 1 << 9,      /* pools just large enough for one longest sequence */
    SIM_FAULT_MEMORY = 1 << 10,   /* allocations fail */
    SIM_FAULT_FLIP = 1 << 11,     /* bits of KV change on the way; fetches fail or stall */
    SIM_FAULT_CLOCK = 1 << 12,    /* clocks jump forward */
    SIM_FAULT_STEP = 1 << 13,     /* a step takes far longer than its bound */
    SIM_FAULT_STALE = 1 << 14,    /* messages of an ended connection come again on the next */
    SIM_FAULT_ALL = (1 << 15) - 1,
};

struct sim_options {
    uint64_t seed;
    uint32_t faults; /* mask of what the seed may choose from */
    FILE *trace;     /* NULL: silent */
};

struct sim_report {
    bool failed;
    char why[512];
    uint64_t now_ms; /* virtual time at the end */
    uint64_t n_events, n_done, n_failed, n_tokens, n_tops, n_invalid, n_stopped;
    uint64_t n_kills, n_resubmitted, n_rereserved, n_mismatches, n_fences, n_yields;
};

/* Runs one seed. */
void sim_run(const struct sim_options *options, struct sim_report *report);

/* ---- inside ---- */

enum sim_kind { SIM_ROUTER, SIM_PREFILL, SIM_DECODE, SIM_CLIENT };

enum sim_event_kind {
    SIM_EVENT_MESSAGE,
    SIM_EVENT_CONNECT,   /* proc opens its connection to `other` */
    SIM_EVENT_LINK_UP,   /* the connection stands, for the side that opened it */
    SIM_EVENT_LINK_DOWN, /* the side learns that it broke */
    SIM_EVENT_TICK,
    SIM_EVENT_PIECE,
    SIM_EVENT_COMPLETE,
    SIM_EVENT_RUN_MOVER, /* look what the mover has */
    SIM_EVENT_START,
    SIM_EVENT_FAULT,
    SIM_EVENT_CLIENT, /* the client's next act */
};

struct sim_event {
    uint64_t due_ns, order;
    enum sim_event_kind kind;
    uint32_t proc;
    uint64_t incarnation; /* of proc when it was made; 0: any */
    uint32_t conn;
    uint32_t other;
    uint64_t arg;
    void *bytes; /* owned */
    size_t len;
};

/* What a compute step reports of a piece. */
struct sim_piece {
    struct wire_id req;
    uint32_t attempt, block, group;
    uint64_t digest;
};

struct sim_conn {
    bool open;
    uint32_t end[2]; /* procs: 0 opened it */
    uint64_t incarnation[2];
    uint64_t added;              /* of D to P: which entry of the roster it is for */
    uint64_t last_due_ns[2];     /* toward end i, for the order */
    uint64_t silent_until_ns[2]; /* partition, toward end i */
};

/* The text of an undisturbed stream. */
struct sim_text {
    char bytes[3 * SIM_LEN_MAX];
    size_t given[SIM_LEN_MAX]; /* bytes told with the tokens up to and with each */
    const char *end;           /* told with the last token; "": it fails after it */
    struct wire_span stop;     /* the stop string that ended it, or none */
    uint32_t stop_id;          /* the stop or end id that did, or WIRE_NO_ID */
};

struct sim_request {
    struct wire_generate generate; /* points into the arrays below */
    uint32_t prompt[SIM_LEN_MAX];
    uint32_t n_prompt;
    char text[SIM_LEN_MAX]; /* of a chat */
    struct wire_span role, content;
    uint32_t bias_ids[SIM_LIST_MAX], allowed_ids[SIM_LIST_MAX], bad_ids[SIM_LIST_MAX];
    double bias_values[SIM_LIST_MAX];
    uint32_t stop_ids[1];
    struct wire_span stops[SIM_STOPS_MAX];
    char stop_bytes[SIM_STOPS_MAX][SIM_STOP_BYTES_MAX];
    uint32_t truth[SIM_LEN_MAX];
    double truth_logprobs[SIM_LEN_MAX];
    struct engine_top truth_tops[SIM_LEN_MAX * WIRE_TOPS_MAX];
    size_t n_truth;
    bool truth_fails; /* after these no id is left to sample */
    struct sim_text truth_text;
    struct wire_id id, resume;
    uint32_t n_got;
    bool accepted, ended;
    uint64_t asked_ns;
    uint64_t bound_ns;
};

struct sim_client {
    struct sim_request *request; /* the present one */
    uint32_t n_left;
    uint32_t router; /* proc */
    uint32_t conn;   /* 0: none */
    uint32_t dial;   /* connection that does not stand yet; 0: none */
    bool attach;     /* the next connection takes the stream over */
    bool cancelled;
    bool stingy;      /* gives credits late */
    bool mute;        /* gives none any more */
    uint64_t gone_ns; /* away since; 0: here */
};

struct sim_proc {
    enum sim_kind kind;
    bool alive;
    char name[16];
    uint64_t incarnation;
    uint64_t frozen_until_ns;
    uint64_t offset_ns; /* its clock against the world's */
    struct router *router;
    struct prefill *prefill;
    struct decode *decode;
    struct exec exec;
    uint8_t *pool;
    const struct engine_step *step; /* running */
    uint64_t step_took_ns;
    uint64_t peers_version;
    struct sim_client client;
    uint64_t n_ticks;
};

/* A request that was in the step of crashes. */
struct sim_crash {
    struct wire_id req;
    uint32_t n;
};

struct sim {
    struct sim_options options;
    struct sim_report *report;
    struct rand rng;
    uint64_t now_ns;
    uint64_t order;
    struct sim_event *heap; /* [SIM_EVENTS_MAX] */
    size_t n_heap;
    struct sim_conn *conns; /* [SIM_CONNS_MAX]; number 0 is none */
    uint32_t n_conns;
    struct sim_proc procs[SIM_PROCS_MAX];
    uint32_t n_procs, n_routers, n_prefills, n_decodes, n_clients;
    struct tokenizer *tok;
    struct template *tmpl;
    struct local_mover *mover;
    uint64_t mover_due_ns;
    struct arena *arena; /* of the message being taken */
    struct oracle_cfg oracle;
    struct engine_cfg engine;
    uint32_t deadline_ms;
    uint32_t faults;        /* this seed's */
    uint64_t faults_end_ns; /* then everything heals */
    bool healed;
    uint64_t delay_ns;            /* usual one way */
    struct sim_crash crashes[64]; /* who crashed how often */
    uint32_t n_crashes;
    uint64_t crash_print;  /* a prompt's first id that crashes whoever runs it; UINT64_MAX none */
    uint8_t last[64][512]; /* old messages for SIM_FAULT_STALE */
    size_t last_len[64];
    uint32_t n_last;
};

/* sim.c */
void sim_trace(struct sim *sim, const struct sim_proc *proc, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void sim_violation(struct sim *sim, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* bytes are taken over. */
void sim_at(struct sim *sim, uint64_t due_ns, struct sim_event event);
uint64_t sim_clock(const struct sim *sim, const struct sim_proc *proc);
uint32_t sim_index(const struct sim *sim, const struct sim_proc *proc);
bool sim_fault_on(const struct sim *sim, enum sim_fault fault);
void sim_kill(struct sim *sim, struct sim_proc *proc, uint64_t restart_ns);

/* sim_net.c */
uint32_t sim_connect(struct sim *sim, uint32_t from, uint32_t to);
void sim_send(struct sim *sim, struct sim_proc *from, uint32_t conn, const void *bytes, size_t len);
/* Breaks it; both sides learn it after a while, unless `silent`. */
void sim_disconnect(struct sim *sim, uint32_t conn, bool silent);
void sim_proc_gone(struct sim *sim, uint32_t proc, bool silent);
void sim_send_all(struct sim *sim, struct sim_proc *from, struct wire_out *out);

/* sim_node.c */
bool sim_node_start(struct sim *sim, struct sim_proc *proc);
void sim_node_stop(struct sim *sim, struct sim_proc *proc);
void sim_node_message(struct sim *sim, struct sim_proc *proc, uint32_t conn,
                      const struct wire_msg *msg);
void sim_node_link_up(struct sim *sim, struct sim_proc *proc, uint32_t conn, uint64_t peer);
void sim_node_link_down(struct sim *sim, struct sim_proc *proc, uint32_t conn);
void sim_node_tick(struct sim *sim, struct sim_proc *proc);
void sim_node_piece(struct sim *sim, struct sim_proc *proc, const struct sim_piece *piece);
void sim_node_complete(struct sim *sim, struct sim_proc *proc);
void sim_node_mover(struct sim *sim, struct sim_proc *proc, const struct kvt_event *event);
void sim_run_mover(struct sim *sim);
struct kvt *sim_kvt(struct sim_proc *proc);
struct engine *sim_engine(struct sim_proc *proc);
uint32_t sim_n_requests(const struct sim_proc *proc);

/* sim_request.c */
void sim_request_draw(struct sim *sim, struct sim_request *request);
/* Whether the token came with the logprobs of the undisturbed stream. */
bool sim_request_tops_equal(const struct sim_request *request, const struct wire_token *token);

/* sim_text.c */
/* Draws stop strings, and cuts the request's truth, as the oracle gave it, where one of them is. */
void sim_text_draw(struct sim *sim, struct sim_request *request);
/* Whether the token came with the text and end of the undisturbed stream. */
bool sim_text_equal(const struct sim_request *request, const struct wire_token *token);
/* Whether the answer says rightly why it ended. */
bool sim_text_done(const struct sim_request *request, const struct wire_done *done);

/* sim_client.c */
void sim_client_start(struct sim *sim, struct sim_proc *proc);
void sim_client_message(struct sim *sim, struct sim_proc *proc, const struct wire_msg *msg);
void sim_client_link_up(struct sim *sim, struct sim_proc *proc, uint32_t conn);
void sim_client_link_down(struct sim *sim, struct sim_proc *proc, uint32_t conn);
void sim_client_act(struct sim *sim, struct sim_proc *proc);
bool sim_client_finished(const struct sim_proc *proc);
void sim_client_stop(struct sim_proc *proc);

/* sim_check.c */
void sim_check_proc(struct sim *sim, struct sim_proc *proc);
/* Everything healed and finished: nothing may be left. True when all is quiet. */
bool sim_check_quiet(struct sim *sim, bool complain);
