/* A model with a pool, driven step by step without an engine: sequences of equal length, ids at
 * random, greedy sampling. What `baton bench engine` measures. One thread owns it. */
#pragma once

#include "bench/command.h"
#include "bench/peaks.h"
#include "model/forward.h"

#define RIG_SEQS_MAX 64u
#define RIG_ROWS_MAX 512u /* of a step */

/* One step: n_rows of each of n_seqs sequences, whose first row is at `position`. */
struct rig_step {
    uint32_t n_seqs, n_rows, position;
    uint32_t len; /* that each will reach: keeps their blocks apart */
    bool sample;  /* the last row of each */
};

/* What a step cannot do without: dot products, and weights and KV read once. */
struct rig_need {
    double flops, bytes;
};

struct rig;

/* Opens options->model with so many blocks of KV; shows progress on a terminal.
 * What goes wrong has been said on stderr. */
enum status rig_open(const struct bench_options *options, uint32_t n_blocks, struct rig **out);
void rig_close(struct rig *rig); /* NULL is nothing */
const char *rig_table(const struct rig *rig);
uint32_t rig_n_threads(const struct rig *rig);
enum status rig_run(struct rig *rig, const struct rig_step *step);
struct rig_need rig_need(const struct rig *rig, const struct rig_step *step);
/* Seconds of the nearer limit. */
double rig_bound(const struct rig *rig, const struct rig_step *step, struct peaks *peaks);
