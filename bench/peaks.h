/* What the machine can do on so many threads: dot products in registers, and reading memory that is
 * in no cache; and the laps that ops and these limits are timed with. A slice of a limit takes one
 * or two ms and stands between slices of what is measured; of each the best one counts, because
 * machines are shared and drift. One thread calls everything here. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

#define LAPS_MAX 4096u

/* Times of one thing, by the wall or by the CPUs (of the whole process, over the number of
 * threads): the latter for a machine that others use, where nothing longer than a few ms is ever
 * left alone. CPU times do not show what one thread waits for another, and a lap should last a ms
 * or more. */
struct laps {
    bool cpu;
    uint32_t n_threads;
    uint32_t n; /* LAPS_MAX at most are kept */
    uint64_t begin_ns, sum_ns;
    uint64_t ns[LAPS_MAX];
};

void laps_init(struct laps *laps, bool cpu, uint32_t n_threads);
void laps_begin(struct laps *laps);
/* Seconds of this lap. */
double laps_end(struct laps *laps);
/* Seconds, of at least one lap. */
double laps_best(struct laps *laps);
double laps_mean(const struct laps *laps);

struct peaks;

/* INVALID, NO_MEMORY, IO. Takes half a GiB of memory, more than any cache. */
enum status peaks_create(uint32_t n_threads, bool cpu, struct peaks **out);
void peaks_destroy(struct peaks *peaks); /* NULL is nothing */
/* Forgets the slices so far: the machine may have changed since. */
void peaks_restart(struct peaks *peaks);
/* Runs a slice of each limit. */
void peaks_slice(struct peaks *peaks);
/* More slices where long work left few. */
void peaks_enough(struct peaks *peaks);
/* The best of the slices, at least one, in 1e9 a second: operations of the widest bf16, else fp32
 * product of this CPU; bytes read. */
double peaks_dot(struct peaks *peaks);
double peaks_read(struct peaks *peaks);
