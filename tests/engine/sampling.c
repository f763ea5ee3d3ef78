/* The defaults of the messages' own table, as a struct. */
#include "tests/engine/sampling.h"

static const struct wire_u32s no_ids;
static const struct wire_f64s no_values;

#define FIELD(type, member, key, limit, dflt) .member = FIELD_##type(dflt),
#define FIELD_u32(dflt) (dflt)
#define FIELD_f64(dflt) (dflt)
#define FIELD_flag(dflt) (dflt)
#define FIELD_u32s(dflt) no_ids
#define FIELD_f64s(dflt) no_values

struct wire_sampling sampling_defaults(void)
{
    return (struct wire_sampling){WIRE_SAMPLING(FIELD)};
}
