/* The recently ended: a fixed table of (request, attempt) keys, oldest forgotten first. A node
 * forgets a request through it, so that a late message about the request is a no-op. */
#pragma once

#include "wire/msg.h"

struct wire_tombs;

enum status wire_tombs_create(size_t capacity, struct wire_tombs **out);
void wire_tombs_destroy(struct wire_tombs *tombs);
/* Remembers that the request ended, with every attempt up to this one. Keeps the highest. */
void wire_tombs_add(struct wire_tombs *tombs, const struct wire_id *req, uint32_t attempt);
/* Whether this attempt (or a later one) of the request has ended here. */
bool wire_tombs_has(const struct wire_tombs *tombs, const struct wire_id *req, uint32_t attempt);
