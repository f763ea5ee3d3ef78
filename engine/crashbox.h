/* Memory shared by a node and its supervisor: which requests the executing step holds. Written
 * before and emptied after each step without a syscall; read only when the node has died. */
#pragma once

#include "engine/engine.h"

#define CRASHBOX_REQUESTS_MAX 4096u

struct crashbox;

/* Supervisor: makes one to be inherited (no close-on-exec); the descriptor's number goes to the
 * child. The descriptor is the caller's to close, here and in crashbox_open. IO. */
enum status crashbox_create(int *fd_out, struct crashbox **out);
/* Node: maps the inherited descriptor. INVALID where it is not a crash box, IO. */
enum status crashbox_open(int fd, struct crashbox **out);
/* Unmaps; NULL is nothing. */
void crashbox_close(struct crashbox *box);
/* Node, compute thread. */
void crashbox_begin(struct crashbox *box, uint64_t incarnation, const struct engine_step *step);
void crashbox_end(struct crashbox *box);
/* Supervisor, after the death: NOT_FOUND where no step was executing. Gives the first max ids. */
enum status crashbox_read(const struct crashbox *box, uint64_t *incarnation_out, uint64_t *step_out,
                          struct wire_id *reqs, size_t max, size_t *n_out);
/* For a new child. */
void crashbox_reset(struct crashbox *box);
