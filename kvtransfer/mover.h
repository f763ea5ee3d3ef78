/* What moves bytes between two processes: the line between the transfer protocol (kvt.h, a state
 * machine) and its two movers (ucx_mover.h for real, local_mover.h in process with faults, for the
 * simulator). The protocol puts actions into a list, the mover carries them out and answers with
 * events. All on the I/O thread.
 *
 * A pair is one P and one D; each side has its own number for it, never used again. One pair is one
 * UCX worker, and closing the pair destroys it: that is the fence. After a close nothing can land,
 * no event of that pair comes any more, and the protocol completes its own records itself.
 *
 * The receiver moves the bytes: P posts an offer (header and address), D fetches it directly into
 * its block or releases it unread. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "wire/msg.h"

/* Same host: shared memory, error mode none. Network: TCP or RDMA, peer error mode. */
enum kvt_path { KVT_PATH_LOCAL, KVT_PATH_NETWORK };

/* The header of every active message, checked by D against what it asked for. Little-endian, no
 * padding, sent as it lies. */
struct kvt_header {
    uint32_t magic;   /* KVT_HEADER_MAGIC */
    uint32_t version; /* KVT_HEADER_VERSION */
    uint8_t secret[16];
    uint64_t from; /* incarnation of P */
    uint64_t to;   /* incarnation of D */
    uint8_t req[16];
    uint32_t attempt;
    uint32_t generation;
    uint32_t block; /* index within the sequence */
    uint32_t group; /* layer group */
    uint64_t bytes; /* length of the piece */
    uint64_t digest;
};
#define KVT_HEADER_MAGIC 0x4b544f42u /* "BOTK" */
#define KVT_HEADER_VERSION 1u
_Static_assert(sizeof(struct kvt_header) == 88, "the header is sent as it lies");

enum kvt_act_kind {
    KVT_ACT_OPEN,    /* create the pair's worker; answered by OPENED or ERROR */
    KVT_ACT_CONNECT, /* create the endpoint to the peer's worker at `address` */
    KVT_ACT_CLOSE,   /* destroy the worker: the fence. No event follows */
    KVT_ACT_POST,    /* offer `bytes` at `at` under `header`; answered by POSTED with `op` */
    KVT_ACT_FETCH,   /* fetch the offer `handle` into `at`; answered by FETCHED with `op` */
    KVT_ACT_RELEASE, /* release the offer `handle` unread; not answered */
};

struct kvt_act {
    enum kvt_act_kind kind;
    uint32_t pair;
    enum kvt_path path;     /* OPEN */
    const uint8_t *address; /* CONNECT: in the message being stepped; carry out before it goes */
    size_t address_len;
    struct kvt_header header; /* POST */
    void *at;                 /* POST, FETCH: `bytes` long */
    size_t bytes;
    uint64_t handle; /* FETCH, RELEASE: from OFFERED */
    uint64_t op;     /* POST, FETCH: chosen by the protocol, comes back in the answer */
};

enum kvt_event_kind {
    KVT_EVENT_OPENED,  /* `address` of the own worker (valid during the call), `secret` drawn */
    KVT_EVENT_ERROR,   /* the pair failed (open, connect, endpoint error): close it */
    KVT_EVENT_OFFERED, /* an offer came; `handle` must be fetched or released, once */
    KVT_EVENT_POSTED,  /* UCX is done with the buffer of `op` (no more than that) */
    KVT_EVENT_FETCHED, /* the bytes of `op` have landed, or failed */
};

struct kvt_event {
    enum kvt_event_kind kind;
    uint32_t pair;
    enum status status; /* ERROR, POSTED, FETCHED */
    const uint8_t *address;
    size_t address_len;
    uint8_t secret[16];       /* OPENED: fresh entropy for whoever needs it */
    struct kvt_header header; /* OFFERED, as received: nothing in it is trusted yet */
    size_t bytes;             /* OFFERED: length of the payload as the transport tells it */
    uint64_t handle;
    uint64_t op;
};
