/* What the machine can do, on so many threads: dot products in registers, and reading memory that
 * is in no cache. Each call measures one slice of about a ms; callers keep many. Times are of the
 * wall, and of this process's CPUs: on a machine that others use, a computation longer than a few
 * ms is never left alone, and only the second can be compared with its limit. The best wall time
 * counts; of CPU times the fastest tenth is left out, as the system's account of them is coarse. */
#pragma once

#include "base/status.h"

#define BENCH_SAMPLES_MAX 2000u

struct bench_times {
    unsigned n_threads, n;
    double wall_start, cpu_start;
    double wall_s;                   /* best */
    double cpu_s[BENCH_SAMPLES_MAX]; /* of all threads, over their number */
};
void bench_start(struct bench_times *times);
void bench_stop(struct bench_times *times);
double bench_cpu_s(struct bench_times *times);
double bench_wall_now(void);

struct bench_limits;

enum status bench_limits_create(unsigned n_threads, struct bench_limits **out);
void bench_limits_destroy(struct bench_limits *limits);
/* Runs a slice and keeps its time; gives the operations (bytes) of a slice. The widest bf16, else
 * fp32 product of this CPU. */
double bench_limit_dot(struct bench_limits *limits, struct bench_times *times);
double bench_limit_read(struct bench_limits *limits, struct bench_times *times);
