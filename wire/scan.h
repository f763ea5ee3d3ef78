/* Looks over msgpack bytes from anywhere before anything is made of them. Five bytes can announce
 * four thousand million elements; after this scan every announced element is known to be there. */
#pragma once

#include <stddef.h>

#include "base/status.h"

/* OK if buf[len] is exactly one msgpack value without extension types, nested no deeper than
 * WIRE_DEPTH_MAX maps and arrays (a scalar alone is depth 0), with at most WIRE_KEYS_MAX keys a
 * map. Else MALFORMED or, over such a limit or WIRE_CONTROL_BYTES_MAX, TOO_BIG, and *why_out (may
 * be NULL) is a constant sentence. Takes no memory, does not recurse, reads each byte of a head
 * once. */
enum status wire_scan(const void *buf, size_t len, const char **why_out);
