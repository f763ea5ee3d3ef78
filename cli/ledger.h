/* A request's latency ledger for people. */
#pragma once

#include <stdio.h>

#include "clients/c/baton.h"

/* A table of less than 80 columns: each phase, its time, a bar, and what is known about it. */
void ledger_print(FILE *file, const struct baton_ledger *ledger);
