/* Prints measurements. The table is for people, 80 columns; the JSON for scripts: both show value,
 * limit and ratio. */
#include "bench/report.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"

void report_init(struct report *report, const char *subject, bool json)
{
    memset(report, 0, sizeof(*report));
    report->subject = subject;
    report->json = json;
}

double report_ratio(const struct report_row *row)
{
    const double over = row->kind == REPORT_RATE ? row->value : row->limit;
    const double under = row->kind == REPORT_RATE ? row->limit : row->value;

    return under > 0 ? over / under : 0;
}

bool report_row_good(const struct report_row *row)
{
    if (row->target <= 0)
        return true;
    if (row->kind == REPORT_ADDED)
        return row->value - row->limit <= row->target;
    return report_ratio(row) >= row->target;
}

bool report_good(const struct report *report)
{
    for (size_t i = 0; i < report->n_rows; i++)
        if (!report_row_good(&report->rows[i]))
            return false;
    return true;
}

/* Names and units are our own constants, so nothing needs an escape. */
static void print_json(const struct report *report, const struct report_row *row)
{
    printf("{\"bench\":\"%s\",\"name\":\"%s\",\"unit\":\"%s\",\"value\":%.6g,\"limit\":%.6g,"
           "\"ratio\":%.4f",
           report->subject, row->name, row->unit, row->value, row->limit, report_ratio(row));
    if (row->kind == REPORT_ADDED)
        printf(",\"added\":%.6g", row->value - row->limit);
    if (row->value_tail > 0)
        printf(",\"value_p99\":%.6g,\"limit_p99\":%.6g", row->value_tail, row->limit_tail);
    if (row->mean > 0)
        printf(",\"mean\":%.6g", row->mean);
    if (row->target > 0)
        printf(",\"target\":%g,\"target_of\":\"%s\",\"good\":%s", row->target,
               row->kind == REPORT_ADDED ? "added" : "ratio",
               report_row_good(row) ? "true" : "false");
    printf("}\n");
}

static void print_number(double value)
{
    if (value >= 1000)
        printf(" %11.0f", value);
    else
        printf(" %11.*f", value >= 100 ? 1 : 2, value);
}

static void print_text(const struct report_row *row)
{
    char target[32] = "";

    printf("%-33s %-6s", row->name, row->unit);
    print_number(row->value);
    print_number(row->limit);
    if (row->kind == REPORT_ADDED)
        snprintf(target, sizeof(target), "%+.1f", row->value - row->limit);
    else
        snprintf(target, sizeof(target), "%.2f", report_ratio(row));
    printf(" %6s", target);
    if (row->target > 0)
        printf(" %s%-4g%s", row->kind == REPORT_ADDED ? "<" : ">", row->target,
               report_row_good(row) ? "" : "!");
    printf("\n");
}

void report_add(struct report *report, const struct report_row *row)
{
    CHECK(report->n_rows < REPORT_ROWS_MAX);
    if (!report->json && report->n_rows == 0)
        printf("%-33s %-6s %11s %11s %6s target\n", report->subject, "", "baton", "limit", "ratio");
    report->rows[report->n_rows++] = *row;
    if (report->json)
        print_json(report, row);
    else
        print_text(row);
    fflush(stdout);
}

void report_note(struct report *report, const char *fmt, ...)
{
    char text[REPORT_NOTE_MAX];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    if (report->json)
        printf("{\"bench\":\"%s\",\"note\":\"%s\"}\n", report->subject, text);
    else
        printf("%s\n", text);
    fflush(stdout);
}

/* ---- samples ---- */

bool samples_init(struct samples *samples, size_t capacity)
{
    *samples = (struct samples){.capacity = capacity};
    samples->ns = mem_alloc_zero(capacity, sizeof(*samples->ns));
    return samples->ns != NULL;
}

void samples_fini(struct samples *samples)
{
    mem_free(samples->ns);
    *samples = (struct samples){.ns = NULL};
}

void samples_add(struct samples *samples, uint64_t ns)
{
    if (samples->n < samples->capacity)
        samples->ns[samples->n++] = ns;
}

static int compare(const void *a, const void *b)
{
    const uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;

    return (left > right) - (left < right);
}

double samples_percentile_us(struct samples *samples, double percent)
{
    size_t idx;

    if (samples->n == 0)
        return 0;
    qsort(samples->ns, samples->n, sizeof(*samples->ns), compare);
    idx = (size_t)((double)(samples->n - 1) * percent / 100.0 + 0.5);
    return (double)samples->ns[idx] / 1e3;
}
