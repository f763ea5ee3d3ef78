/* Error sentences of the tokenizer. Any thread. */
#include "model/tok_error.h"

#include <stdarg.h>
#include <stdio.h>

enum status tok_fail(struct tokenizer_error *error, enum status status, const char *fmt, ...)
{
    if (error != NULL) {
        va_list args;
        va_start(args, fmt);
        vsnprintf(error->text, sizeof error->text, fmt, args);
        va_end(args);
    }
    return status;
}
