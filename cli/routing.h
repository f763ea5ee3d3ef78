/* The router as a process: the core and shell of router/ with what this program gives them. */
#pragma once

#include "cli/process.h"

/* Runs the router node of `process` until it is told to stop; everything is closed after it. */
enum exit_code routing_run(struct process *process);
