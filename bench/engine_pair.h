/* `baton bench engine --pair`: prefill and decode on the same CPUs. */
#pragma once

#include "bench/command.h"

/* Two processes, each with the model and options->n_threads threads: one computes chunks of
 * prompts, the other steps of a batch. Reports what they do together beside what the same CPUs do
 * when one follows the other. Forks: the process must have no other threads. */
enum status engine_pair(const struct bench_options *options, struct report *report);
