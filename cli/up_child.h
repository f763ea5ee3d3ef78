/* One node under supervision: its process, its pipes, its crash box, when it starts again.
 *
 *   state     event                          next      what happens
 *   RESTING   the pause is over              RUNNING   started
 *   RUNNING   listens                        RUNNING   its address is known to be good
 *   RUNNING   ends badly before it listened  GONE      start-up failed: told to the supervisor
 *   RUNNING   ends badly                     RESTING   pause doubled; shortest after a healthy life
 *   RUNNING   ends well                      GONE      it was drained
 *   any       told to stop, has ended        GONE */
#pragma once

#include <sys/types.h>

#include "base/loop.h"
#include "cli/exits.h"
#include "cli/fleet.h"
#include "engine/crashbox.h"

struct up_child;

enum up_state { UP_RESTING, UP_RUNNING, UP_GONE };

struct up_child_cfg {
    struct loop *loop;
    const struct fleet *fleet;
    const struct fleet_node *node;
    const char *run;     /* folder of the private sockets */
    uint32_t n_threads;  /* its share of the machine's cores, of a worker; 0: of a router */
    bool alone;          /* no other worker runs here */
    char *const *passed; /* [n_passed] options of the command line for every node */
    int n_passed;
    int color; /* of the name in front of its lines; 0: none */
    /* A status line of the node ("ready"). */
    void (*on_line)(void *ctx, struct up_child *child, const char *line);
    /* It has died by a signal of its own doing while it computed these requests. */
    void (*on_crash)(void *ctx, const struct wire_crash *crash);
    /* It is GONE. code: why; EXIT_DONE when it ended well or was told to. */
    void (*on_gone)(void *ctx, struct up_child *child, enum exit_code code);
    void *ctx;
};

enum status up_child_create(const struct up_child_cfg *cfg, struct up_child **out);
/* The process must be gone. NULL is nothing. */
void up_child_destroy(struct up_child *child);
void up_child_start(struct up_child *child);
/* SIGTERM, or nothing where no process is; it is not started again. */
void up_child_stop(struct up_child *child);
/* SIGKILL. */
void up_child_kill(struct up_child *child);
/* The process with this number has ended; false if it is another's. */
bool up_child_reap(struct up_child *child, pid_t pid, int wait_status);
enum up_state up_child_state(const struct up_child *child);
const struct fleet_node *up_child_node(const struct up_child *child);
/* How much of its model is loaded, in percent; 100 where nothing is being loaded. */
unsigned up_child_loaded(const struct up_child *child);
/* The sentence with which its process has refused to start, or "". */
const char *up_child_complaint(const struct up_child *child);
