/* A prefill node cut from the decode nodes, as by a switch: routers, prefill nodes here, decode
 * nodes in a network namespace, two cables between, one of which is pulled. */
#include "tests/chaos/chaos.h"

bool network_cut(struct chaos *chaos, struct chaos_result *result)
{
    (void)chaos;
    (void)result;
    return false;
}

void network_clean(void)
{
}
