/* The sampling parameters that a request has if it names none. */
#pragma once

#include "wire/msg.h"

struct wire_sampling sampling_defaults(void);
