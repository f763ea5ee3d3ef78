/* What stands between the bench and itself: a child process that is a real Baton router, or one
 * that forwards raw ZeroMQ messages. It runs until it is stopped, or until its parent is gone. */
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include "base/status.h"

#define MIDDLE_ENDPOINT_MAX 256
#define MIDDLE_STREAMS_MAX 1024u  /* requests at once */
#define MIDDLE_LEN_MAX (1u << 20) /* tokens of a sequence */
#define MIDDLE_MODEL "bench"
#define MIDDLE_QUEUE_MAX 100000u /* messages to one peer, as in the router's shell */

struct middle {
    pid_t pid;
    char nodes[MIDDLE_ENDPOINT_MAX];   /* where nodes connect */
    char clients[MIDDLE_ENDPOINT_MAX]; /* the raw one has one door: the same */
};

enum middle_kind { MIDDLE_ROUTER, MIDDLE_RAW };
enum middle_transport { MIDDLE_TCP, MIDDLE_IPC };

/* Forks, and returns when the child's doors are bound. LOST if it ends before. */
enum status middle_start(enum middle_kind kind, enum middle_transport transport,
                         struct middle *out);
void middle_stop(struct middle *middle);
/* CPU time of the child so far, all its threads. */
uint64_t middle_cpu_ns(const struct middle *middle);

/* ---- the raw protocol: the first bytes of a message say where it goes ---- */

enum raw_to {
    RAW_TO_CLIENT = 1,
    RAW_TO_P = 2,
    RAW_TO_D = 4,
    RAW_ACCEPT = 8, /* its first RAW_ACCEPT_BYTES go to the client: as the router's "accepted" */
};

enum raw_what { RAW_JOB, RAW_TOKEN, RAW_DONE, RAW_ACCEPTED };

struct raw_head {
    uint8_t to;   /* bits of enum raw_to; 0: it ends in the middle */
    uint8_t what; /* enum raw_what; for the receiver */
    uint16_t client;
    uint32_t stream;
    uint32_t index;
};
#define RAW_ACCEPT_BYTES 96u
#define RAW_ID_BYTES 4u

/* Routing ids of the raw DEALERs: four letters. */
void raw_id_client(uint16_t client, char id[RAW_ID_BYTES]);
#define RAW_ID_P "P..."
#define RAW_ID_D "D..."
