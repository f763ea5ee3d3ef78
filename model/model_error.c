/* Error sentences of the loading. Names from files are cut by their writers (%.200s), so that what
 * follows them still fits. Any thread. */
#include "model/model_error.h"

#include <stdarg.h>
#include <stdio.h>

enum status model_fail(struct model_error *error, enum status status, const char *fmt, ...)
{
    if (error != NULL) {
        va_list args;

        va_start(args, fmt);
        vsnprintf(error->text, sizeof(error->text), fmt, args);
        va_end(args);
    }
    return status;
}
