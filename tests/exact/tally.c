/* See tally.h. */
#include "tests/exact/tally.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define PRINTED_MAX 10u

void tally_differ(struct tally *tally, const char *format, ...)
{
    va_list args;

    if (tally->n_differ++ >= PRINTED_MAX)
        return;
    fprintf(stderr, "DIFFERS: ");
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fprintf(stderr, "\n  in: %s, %s\n  again: test_exact --only %s --seed %" PRIu64 " --rounds 1\n",
            tally->part, tally->setup, tally->part, tally->seed);
}

uint64_t tally_n(const struct tally *tally)
{
    return tally->n_rows + tally->n_kvs;
}

size_t bytes_differ(const void *a, const void *b, size_t n)
{
    const uint8_t *x = a, *y = b;
    size_t i = 0;

    if (memcmp(a, b, n) == 0)
        return n;
    while (x[i] == y[i])
        i++;
    return i;
}
