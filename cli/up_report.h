/* Tells the routers of a node that crashed, and over which requests: two such deaths take a request
 * out of service (DESIGN, "Poison"). A connection to each router is kept for that; a router that
 * cannot be reached learns of the death by the broken connection, as of any other. */
#pragma once

#include "base/loop.h"
#include "cli/fleet.h"
#include "wire/zctx.h"

struct up_report;

/* `name`: the node whose keys are used, where the fleet has keys. On failure the reason is logged.
 */
enum status up_report_open(const struct fleet *fleet, struct loop *loop, struct zctx *zctx,
                           const char *name, struct up_report **out);
/* NULL is nothing. */
void up_report_close(struct up_report *report);
void up_report_crash(struct up_report *report, const struct wire_crash *crash);
