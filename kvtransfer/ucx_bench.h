/* How fast the UCX mover moves pieces between two processes of this machine, through the same code
 * and the same sleeping as in a node. For `baton bench` and `baton doctor`. Both ends are children,
 * so the caller itself never opens UCX; it must not have other threads that hold locks. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "kvtransfer/ucx_mover.h"

#define KVT_UCX_BENCH_WINDOW_MAX 256u

struct kvt_ucx_bench {
    struct kvt_ucx_cfg cfg;
    enum kvt_path path;
    size_t bytes;    /* of one piece */
    uint32_t n;      /* pieces */
    uint32_t window; /* offered at once; 1 measures latency */
};

struct kvt_ucx_bench_row {
    double gb_per_s;      /* 1e9 bytes, from the first offer to the last byte landed */
    double us_per_piece;  /* the same time over the pieces */
    double cpu_us_sender; /* user and system time of P, per piece */
    double cpu_us_receiver;
    char transport[KVT_UCX_TRANSPORT_MAX];
};

/* INVALID, IO; LOST if an end dies or nothing moves for 30 s. */
enum status kvt_ucx_bench(const struct kvt_ucx_bench *bench, struct kvt_ucx_bench_row *out);
