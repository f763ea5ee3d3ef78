/* Names and texts of the status list. */
#include "base/status.h"

#include <stddef.h>

const char *status_text(enum status status)
{
    switch (status) {
#define X(name, number, text)                                                                      \
    case STATUS_##name:                                                                            \
        return text;
        STATUS_TABLE(X)
#undef X
    }
    return "unknown status";
}

const char *status_name(enum status status)
{
    switch (status) {
#define X(name, number, text)                                                                      \
    case STATUS_##name:                                                                            \
        return #name;
        STATUS_TABLE(X)
#undef X
    }
    return "UNKNOWN";
}
