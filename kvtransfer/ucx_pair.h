/* One pair inside the UCX mover: its worker, its connection, and the records of what is under way.
 * ucx_mover.c keeps the table of pairs and the order of progress; this keeps the conversation with
 * UCX. I/O thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "kvtransfer/ucx_mover.h"

#include <ucp/api/ucp.h>

struct handles;
struct objpool;
struct ucx_pair;

/* A link of a ring list; a list's head is one too. */
struct ucx_node {
    struct ucx_node *prev, *next;
};

void ucx_list_init(struct ucx_node *head);
bool ucx_list_is_empty(const struct ucx_node *head);
void ucx_list_append(struct ucx_node *head, struct ucx_node *node);
/* Takes a node out of its list; nothing if it is in none. */
void ucx_list_remove(struct ucx_node *node);

/* An event waiting to be read. In a list exactly while it waits. */
struct ucx_event {
    struct ucx_node node; /* first: cast back */
    enum kvt_event_kind kind;
    enum status status;
    struct ucx_pair *pair;
    struct ucx_record *record; /* NULL for OPENED and ERROR */
};

/* What a record stands for. An offer becomes a fetch in place, so its handle stays. */
enum ucx_record_kind {
    UCX_POST,    /* given to UCX, or answered and waiting in `event` */
    UCX_OFFER,   /* UCX holds the descriptor in `data` for us */
    UCX_QUEUED,  /* fetch wanted, the pair's window is full */
    UCX_FETCH,   /* given to UCX */
    UCX_FETCHED, /* waiting in `event` */
};

struct ucx_record {
    struct ucx_node node; /* first: in the pair's `records`, or in its `queue` while UCX_QUEUED */
    struct ucx_event event;
    enum ucx_record_kind kind;
    struct kvt_header header; /* POST: UCX reads it until it is done */
    void *at;
    size_t bytes;
    uint64_t op;
    uint64_t handle; /* of an offer */
    void *data;      /* of an offer: UCX's descriptor */
};

/* What all pairs of a mover share. */
struct ucx_shared {
    ucp_context_h ctx[2];    /* by enum kvt_path */
    struct objpool *posts;   /* struct ucx_record */
    struct objpool *offers;  /* struct ucx_record */
    struct handles *handles; /* of offers */
    struct ucx_node events;  /* struct ucx_event, oldest first */
    struct kvt_ucx_counts counts;
    /* UCX unpacks an address without being told its length: a short one ends in zeros here. */
    uint8_t address[2 * WIRE_ADDRESS_MAX];
};

struct ucx_pair {
    struct ucx_node node; /* first: in the mover's active or resting list, or in none: armed */
    struct ucx_shared *shared;
    uint32_t number;
    enum kvt_path path;
    bool used;           /* the slot is taken */
    bool closing;        /* callbacks of UCX only tidy up */
    ucp_worker_h worker; /* NULL: opening failed */
    ucp_ep_h ep;         /* NULL: not connected */
    ucp_address_t *address;
    size_t address_len;
    int fd; /* UCX's, readable when there is input */
    struct ucx_event opened, failed;
    struct ucx_node records, queue; /* struct ucx_record */
    size_t window_bytes;            /* in fetches given to UCX */
};

/* Creates the worker; UNSUPPORTED, NO_MEMORY, IO. */
enum status ucx_pair_open(struct ucx_pair *pair);
enum status ucx_pair_connect(struct ucx_pair *pair, const uint8_t *address, size_t len);
/* The fence. Afterwards the pair has no records, no events and no worker. */
void ucx_pair_close(struct ucx_pair *pair);

/* These answer with an event, now or later. */
void ucx_pair_post(struct ucx_pair *pair, const struct kvt_act *act);
void ucx_pair_fetch(struct ucx_pair *pair, struct ucx_record *record, const struct kvt_act *act);
/* Not answered. */
void ucx_pair_release(struct ucx_pair *pair, struct ucx_record *record);

/* One round of progress; true if there was any. */
bool ucx_pair_progress(struct ucx_pair *pair);

/* The pair is broken: one ERROR event, however often it is called. */
void ucx_pair_fail(struct ucx_pair *pair, enum status status);
/* Frees a record whose event has been read. */
void ucx_record_give(struct ucx_record *record);
