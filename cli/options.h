/* The options of a fleet file: the one table behind file, environment, command line, help, the
 * reference page and `baton check-config` (base/cfg.h). Only options that do something stand here.
 * What the options mean together is checked in fleet.c. */
#pragma once

#include "base/cfg.h"

#define OPTIONS_NODES "nodes" /* the section of nodes */

/* The same order as in the table's names. */
enum options_role { OPTIONS_ROUTER, OPTIONS_PREFILL, OPTIONS_DECODE };
enum options_network { OPTIONS_NETWORK_LOOPBACK, OPTIONS_NETWORK_PRIVATE };
enum options_dtype { OPTIONS_BFLOAT16, OPTIONS_FLOAT32 };
enum options_format { OPTIONS_LOG_TEXT, OPTIONS_LOG_JSON };

const struct cfg_schema *options_schema(void);
