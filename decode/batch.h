/* The tokens of one step, collected into one message for each router: what a step costs a router
 * is then mostly what it sends on, not what it receives. A step of one token stays one `token`. */
#pragma once

#include "wire/bond.h"

struct batch;

/* n_max: tokens of one step. */
enum status batch_create(uint32_t n_max, struct batch **out);
void batch_destroy(struct batch *batch);
/* Adds a `token` message with its envelope for that router; posts what was collected for another.
 */
void batch_add(struct batch *batch, struct bond *bond, struct wire_out *out, uint32_t link,
               const struct wire_msg *token);
/* Posts what is left. Before anything else is said of these requests. */
void batch_flush(struct batch *batch, struct bond *bond, struct wire_out *out);
