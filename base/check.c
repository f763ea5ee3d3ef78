/* The end of the road for a broken invariant. One write(2) of a text on the stack: no locks and no
 * heap, because either may be what broke. */
#include "base/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void check_failed(const char *file, int line, const char *function, const char *condition,
                  const char *msg)
{
    char text[512];
    int len = snprintf(text, sizeof(text), "%s:%d: %s: CHECK(%s) failed%s%s\n", file, line,
                       function, condition, msg != NULL ? ": " : "", msg != NULL ? msg : "");
    if (len >= (int)sizeof(text)) {
        len = (int)sizeof(text) - 1;
        text[len - 1] = '\n';
    }
    ssize_t written = write(STDERR_FILENO, text, (size_t)len);
    (void)written; /* there is nobody left to tell */
    abort();
}
