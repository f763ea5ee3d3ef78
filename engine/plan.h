/* What goes into the next step. Private to the engine. */
#pragma once

#include "engine/seq.h"

/* Fills engine->step.rows, row_seqs and load; returns the number of rows. Gives growing sequences
 * their blocks, oldest first, and makes young ones yield where the pool is dry. */
uint32_t plan_rows(struct engine *engine);
