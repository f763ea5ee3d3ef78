/* Which nodes share memory with this one. Two nodes whose host texts are equal run under one
 * kernel, see the same /dev/shm, and may read each other's memory: same boot, same mount, same
 * process namespace, same user. Containers on one machine differ in one of these, unless they share
 * it on purpose, and then use the network path. */
#pragma once

#include <stdbool.h>

#define HOST_TEXT_MAX 33

/* 32 hexadecimal digits. Where something cannot be found out, or memory is not to be shared, the
 * text is drawn at random: then no other node is taken for a neighbour. */
void host_identity(char text[HOST_TEXT_MAX], bool share);
