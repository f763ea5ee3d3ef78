/* The shell of a worker role: carries bytes between the role's state machine and the world. It owns
 * the ZeroMQ sockets, the UCX mover, the compute thread and the timer; the role decides everything.
 *
 *   links       a DEALER to each router; a prefill node's ROUTER for its peers; a decode node's
 *               DEALER to each prefill node that some roster names
 *   one input   message, link up or down, mover event, compute event, tick: into the role, then at
 *               once out again whatever the role wants: mover actions, then messages (an answer
 *               must not overtake the fence it speaks of), then the next step
 *
 * Two roles are put into it: worker_prefill.c and worker_decode.c. Everything on the main thread.
 */
#pragma once

#include "cli/process.h"
#include "engine/compute.h"
#include "engine/exec.h"
#include "kvtransfer/kvt.h"
#include "wire/bond.h"

struct worker_peer;

/* What a role is to its shell. self is the role. Called by the shell only, with the loop's time. */
struct worker_ops {
    void (*destroy)(void *self); /* NULL is nothing */
    void (*router_up)(void *self, uint32_t link, uint64_t now_ns);
    /* A connection to a peer that `peers` named; never called where that gives none. */
    void (*peer_up)(void *self, uint64_t peer, uint32_t link, uint64_t now_ns);
    void (*link_down)(void *self, uint32_t link, uint64_t now_ns);
    void (*message)(void *self, uint32_t link, const struct wire_msg *msg, uint64_t now_ns);
    void (*kvt_event)(void *self, const struct kvt_event *event, uint64_t now_ns);
    void (*compute_event)(void *self, const struct compute_event *event, uint64_t now_ns);
    void (*tick)(void *self, uint64_t starved_ns, uint64_t now_ns);
    void (*drain)(void *self);
    /* The step to run now, once, or NULL. */
    const struct engine_step *(*step)(void *self, uint64_t now_ns);
    /* The peers to be connected to; the version grows at each change. */
    size_t (*peers)(void *self, struct worker_peer *peers, size_t max, uint64_t *version_out);
    void (*clear)(void *self); /* everything it wanted has been carried out */
};

struct worker_peer {
    uint64_t incarnation;
    const char *endpoint; /* the role's memory */
};

/* A role and the parts of it that the shell looks at. */
struct worker_role {
    const struct worker_ops *ops;
    void *self;
    struct wire_out *out; /* messages to routers */
    struct kvt *kvt;      /* its messages to peers, and actions */
    struct bond *bond;
    struct engine *engine;
};

/* What a role is created from; the shell has filled it in. */
struct worker_setup {
    struct engine_cfg engine;
    struct kvt_cfg kvt;
    struct bond_cfg bond;
    const uint32_t *eos; /* [n_eos] */
    uint32_t n_eos;
    uint32_t vocab;
    const char *host;
};

enum status worker_prefill_create(const struct worker_setup *setup, struct worker_role *out,
                                  const char **why_out);
enum status worker_decode_create(const struct worker_setup *setup, struct worker_role *out,
                                 const char **why_out);

/* Runs the node of `process` until it is told to stop; everything is closed again after it. */
enum exit_code worker_run(struct process *process);
