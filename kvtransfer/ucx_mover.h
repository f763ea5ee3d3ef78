/* The real mover: carries out the protocol's actions (mover.h) with UCX active messages between two
 * processes. One UCX worker per pair, two UCX contexts: shared memory for peers on this host (UCX
 * error mode none), TCP or RDMA for all others (peer error mode). Only the receiver moves bytes.
 *
 * It moves bytes and counts what it throws away; it knows nothing of requests, secrets or digests.
 * What it enforces itself: payloads come by rendezvous, headers have the size of struct kvt_header,
 * pieces are at most KVT_UCX_PIECE_BYTES_MAX, and offers come over the pair's own connection.
 *
 * All functions belong to one I/O thread. For the loop it is one source: `fd` for the descriptor,
 * `drain` and `arm` as base/loop.h wants them; who calls kvt_ucx_act touches the source. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "kvtransfer/mover.h"

#define KVT_UCX_PEERS_MAX 1024u             /* of peers_max */
#define KVT_UCX_PIECE_BYTES_MAX (64u << 20) /* one offer */
#define KVT_UCX_DESCRIPTORS_EACH 10u        /* per pair; 5 or 6 in use, more while offers wait */
#define KVT_UCX_BYTES_EACH (1536u * 1024u)  /* per pair (0.9 MB, with posix 1.1 MB of /dev/shm) */
#define KVT_UCX_LOCAL_WINDOW (8u << 20)     /* bytes a local pair hands to UCX at once */
#define KVT_UCX_ERROR_MAX 512               /* an error's sentence */
#define KVT_UCX_TRANSPORT_MAX 256           /* text of kvt_ucx_transport */

struct kvt_ucx;

struct kvt_ucx_cfg {
    const char *devices;   /* kv.devices, "lo" or "eth0,mlx5_0:1"; only these are ever bound */
    const char *tls;       /* of the network context, "tcp" or "rc,ud,tcp" */
    const char *local_tls; /* of the local context, "posix,cma"; also possible: sysv */
    bool network_private;  /* kv.network: private; needed beyond loopback */
    uint32_t peers_max;    /* pairs at once */
    uint32_t posts_max;    /* posts not yet answered, over all pairs */
    uint32_t offers_max;   /* offers not yet fetched or released, over all pairs */
};

/* "lo", "tcp", "posix,cma", not private, 64 pairs, 4096 posts, 4096 offers. */
struct kvt_ucx_cfg kvt_ucx_cfg_default(void);

/* Sets UCX up for this process (its signal handlers and memory hooks go off, process-wide) and
 * opens both contexts. On failure `error` (KVT_UCX_ERROR_MAX bytes) holds a sentence that says what
 * to change: INVALID (unknown device or transport), DENIED (beyond loopback without
 * network_private), FULL (descriptors), UNSUPPORTED (UCX lacks it), NO_MEMORY, IO. */
enum status kvt_ucx_create(const struct kvt_ucx_cfg *cfg, char *error, struct kvt_ucx **out);

/* Fences every pair, closes UCX. NULL is nothing. */
void kvt_ucx_destroy(struct kvt_ucx *mover);

/* Carries out one action, at once. Answers come as events, never from inside this call. Actions for
 * a pair that is not open are ignored. CLOSE returns when nothing can land any more: 1-5 ms. */
void kvt_ucx_act(struct kvt_ucx *mover, const struct kvt_act *act);

/* The next event; false if there is none. `address` in it stays valid until the pair is closed. */
bool kvt_ucx_event_next(struct kvt_ucx *mover, struct kvt_event *out);

/* A bounded piece of progress; true if there was any or events wait. */
bool kvt_ucx_drain(struct kvt_ucx *mover);

/* Asks every worker to announce its next input on the descriptor; true if all are quiet. */
bool kvt_ucx_arm(struct kvt_ucx *mover);

/* One descriptor for all pairs, readable when one of them has input. It stays the mover's. */
int kvt_ucx_fd(const struct kvt_ucx *mover);

/* What UCX really uses for a connected pair, for people: "posix/memory, cma/memory" or "tcp/lo".
 * NOT_FOUND for a pair that is not open or not connected. */
enum status kvt_ucx_transport(struct kvt_ucx *mover, uint32_t pair,
                              char text[KVT_UCX_TRANSPORT_MAX]);

struct kvt_ucx_counts {
    uint64_t pairs, posts, offers, fetches; /* now */
    uint64_t bytes_posted, bytes_fetched;   /* completed well */
    uint64_t offers_released;               /* unread, by RELEASE */
    /* thrown away here, no state changed */
    uint64_t bad_eager, bad_header, bad_size, bad_stranger;
    uint64_t overflows; /* offers over offers_max: their pair got ERROR */
    uint64_t failures;  /* posts and fetches that UCX reported as failed */
};
void kvt_ucx_counts(const struct kvt_ucx *mover, struct kvt_ucx_counts *out);
