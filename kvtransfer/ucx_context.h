/* How Baton sets UCX up: what is process-wide, and the two contexts. Inside of the UCX mover. */
#pragma once

#include "base/status.h"
#include "kvtransfer/ucx_mover.h"

#include <ucp/api/ucp.h>

/* Process-wide: UCX's signal handlers, memory hooks and chatter off. Harmless when repeated. Before
 * the first context; no other thread may use UCX meanwhile. */
void ucx_process_setup(void);

/* Judges devices and transports; on failure a sentence goes to `error` (see kvt_ucx_create). */
enum status ucx_cfg_check(const struct kvt_ucx_cfg *cfg, char *error);

/* Opens the context of one path. */
enum status ucx_context_open(const struct kvt_ucx_cfg *cfg, enum kvt_path path, char *error,
                             ucp_context_h *out);
