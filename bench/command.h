/* The subjects of `baton bench`. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"
#include "bench/report.h"

struct bench_options {
    bool json;
    bool check;         /* a missed target is a failure */
    uint32_t slice_ms;  /* of each measurement, of Baton and of the limit in turn */
    uint32_t n_slices;  /* of each */
    uint32_t n_streams; /* wire: requests at once */
    uint32_t n_clients; /* wire: client connections */
    uint32_t n_tokens;  /* wire: tokens of a request where requests are counted */
    uint32_t n_prompt;  /* wire: ids of a prompt */
    uint32_t window;    /* wire: tokens on their way at once, where rates are measured */

    /* kernels, engine */
    uint32_t n_threads; /* 0: one for each CPU */
    bool cpu_time;      /* times of this process's CPUs instead of the wall's */
    bool matrices;      /* kernels: a line for each matrix */
    bool pair;          /* engine: two processes instead of one */
    const char *table;  /* of kernels; "auto": the best */
    const char *config; /* kernels: a config.json whose shapes count; NULL: a 1B Llama's */
    const char *model;  /* engine: a checkpoint's folder */
    const char *only;   /* engine: a list of what to measure; NULL: all */
};

/* Each prints its rows into the report. What goes wrong has been said on stderr. */
enum status bench_wire(const struct bench_options *options, struct report *report);
enum status bench_transfer(const struct bench_options *options, struct report *report);
enum status bench_kernels(const struct bench_options *options, struct report *report);
enum status bench_engine(const struct bench_options *options, struct report *report);
