/* What a worker computes with: the oracle, or a checkpoint's weights in memory and their executor.
 * Opening a checkpoint takes seconds: it is done before the node's loop runs, on the main thread;
 * from then on the compute thread alone uses it, until it has ended. */
#pragma once

#include "cli/process.h"
#include "engine/exec.h"
#include "wire/fingerprint.h"

struct model;

struct worker_model {
    struct model *model; /* NULL: the oracle */
    struct exec exec;
    struct engine_cfg engine;
    char fingerprint[FINGERPRINT_TEXT_MAX];
    char numerics[FINGERPRINT_TEXT_MAX]; /* the identity alone */
    const uint32_t *eos;                 /* [n_eos] */
    uint32_t n_eos;
    uint32_t vocab;
};

/* Loads it. While it does, status lines on stdout say how far it is,
 *     loading 45%
 * and at the end one line says what takes the memory; SIGTERM and SIGINT end the process at once.
 * On failure a sentence is printed, and process->exit_code is what to end with. */
enum status worker_model_open(struct process *process, struct worker_model *out);
/* What was opened; a model of zeros is nothing. */
void worker_model_close(struct worker_model *model);
