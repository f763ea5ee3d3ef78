/* Two ends for the tests of the UCX mover: both in this process, or one of them in a child (this
 * program started again, because UCX's state does not survive a fork). The pump sleeps exactly as
 * the loop does: only when both ends are armed; a lost wake-up shows as a time-out. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "kvtransfer/ucx_mover.h"

#define DUO_PAIR 7u
#define DUO_TIMEOUT_MS 20000

/* One end: counts what its events say. D ends fetch each offer at once unless told otherwise. */
struct end {
    struct kvt_ucx *mover;
    uint8_t address[WIRE_ADDRESS_MAX];
    size_t address_len;
    uint32_t n_opened, n_errors, n_offered, n_posted, n_fetched, n_failed;
    enum { END_FETCH, END_RELEASE, END_KEEP } on_offer;
    uint8_t *land; /* piece i of the header's block goes to land + i * stride */
    size_t stride;
    uint64_t *handles; /* [n_offered], for END_KEEP; may be NULL */
    struct kvt_header last;
};

/* NULL: the default configuration. */
void end_open(struct end *end, const struct kvt_ucx_cfg *cfg);
struct kvt_ucx_cfg cfg_plain(bool no_cma);
void end_close(struct end *end);
void end_act(struct end *end, enum kvt_act_kind kind, enum kvt_path path);
void end_connect(struct end *end, const uint8_t *address, size_t len);
void end_post(struct end *end, uint32_t i, void *at, size_t bytes);
void end_offer(struct end *end, enum kvt_act_kind kind, uint64_t handle, void *at, size_t bytes);

/* Drains both (b may be NULL) until `*counter` reaches `goal`; false on time-out. */
bool duo_pump(struct end *a, struct end *b, const uint32_t *counter, uint32_t goal);
/* Drains both for a while, whatever comes. */
void duo_idle(struct end *a, struct end *b, int ms);
/* Opens DUO_PAIR on both and connects them. */
void duo_pair(struct end *p, struct end *d, enum kvt_path path);

uint8_t pattern(uint32_t piece, size_t at);
void pattern_fill(uint8_t *buf, uint32_t piece, size_t bytes);
bool pattern_is(const uint8_t *buf, uint32_t piece, size_t bytes);

uint64_t now_us(void);
size_t n_descriptors(void);

/* The other end in a child: posts `n` pieces of `bytes` (`sink` false), or keeps what is offered.
 */
struct child {
    pid_t pid;
    int socket;
};
struct child_plan {
    enum kvt_path path;
    enum { CHILD_POSTS, CHILD_KEEPS, CHILD_FETCHES } role; /* KEEPS: neither fetches nor releases */
    uint32_t n;
    size_t bytes;
    bool no_cma; /* local_tls: posix */
};
/* Starts it and connects DUO_PAIR of `end` (already opened as a pair) with it. */
void child_start(struct child *child, struct end *end, const struct child_plan *plan);
void child_kill(struct child *child);
/* First line of main: runs the child and exits if this process is one. */
void child_main(int argc, char **argv);
