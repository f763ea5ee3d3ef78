/* What every node's process has: loop, ZeroMQ context, keys and allow-list, an incarnation, signals
 * and the way to end. A role is put on top of it. Everything on the main thread.
 *
 * stdout of a node carries its few status lines, for `baton up` and for scripts:
 *     listening nodes=ENDPOINT clients=ENDPOINT
 *     loading 45%, model ...    of a worker, before it listens
 *     ready / unready           of a router
 * Everything else is log, on stderr. */
#pragma once

#include "base/loop.h"
#include "cli/exits.h"
#include "cli/served.h"
#include "engine/crashbox.h"
#include "wire/zap.h"

struct process {
    const struct fleet *fleet;
    const struct fleet_node *node;
    const struct served *served;
    uint32_t n_threads; /* that compute, of a worker */
    bool pin;           /* each to a core of its own: none is shared */
    struct loop *loop;
    struct zctx *zctx;
    struct zap *zap; /* NULL without keys */
    struct keys own;
    uint32_t numbers; /* links given out, over all sockets */
    uint64_t incarnation;
    struct crashbox *crashbox; /* NULL: nobody supervises */
    struct loop_timer *drain_timer;
    void (*on_drain)(void *ctx); /* asked to stop: finish, then call process_end */
    void *ctx;
    bool draining;
    uint64_t drained_ns; /* since when */
    enum exit_code exit_code;
};

struct process_args {
    const struct served *served;
    uint32_t n_threads;
    bool pin;
    long parent;          /* process to die with; 0: none */
    int crashbox_fd;      /* -1: none */
    uint32_t sockets_max; /* ZeroMQ sockets this role may open */
    uint64_t descriptors; /* file descriptors it may need */
};

/* Opens the log too. On failure a sentence is printed and exit_code is what to end with. */
enum status process_open(struct process *process, const struct fleet *fleet,
                         const struct fleet_node *node, const struct process_args *args);
void process_close(struct process *process);
/* Runs until process_end; gives the exit code. */
enum exit_code process_run(struct process *process);
void process_end(struct process *process, enum exit_code code);
/* Logs the sentence and ends with EXIT_FATAL. */
void process_fatal(struct process *process, const char *sentence, enum status status);
/* Prints a status line at once; a reader who is gone is no error. */
__attribute__((format(printf, 1, 2))) void process_say(const char *fmt, ...);
/* An error for the user, before there is a log: "baton: ..." on stderr. */
__attribute__((format(printf, 1, 2))) void process_complain(const char *fmt, ...);
/* Sets the log up as the fleet says; `path` is stderr. */
void process_log_open(const struct fleet *fleet);
