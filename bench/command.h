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
};

/* Each prints its rows into the report. What goes wrong has been said on stderr. */
enum status bench_wire(const struct bench_options *options, struct report *report);
enum status bench_transfer(const struct bench_options *options, struct report *report);
