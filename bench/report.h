/* Rows of measurements: the statistics of slices, and the printing as a table of 80 columns or as
 * one JSON object a line. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define REPORT_ROWS_MAX 128
#define REPORT_NAME_MAX 64
#define REPORT_NOTE_MAX 200

/* How value and limit relate. */
enum report_kind {
    REPORT_RATE,  /* more is better: ratio = value / limit */
    REPORT_COST,  /* less is better: ratio = limit / value */
    REPORT_ADDED, /* a cost, judged by value - limit */
};

struct report_row {
    enum report_kind kind;
    char name[REPORT_NAME_MAX];
    const char *unit;  /* constant text */
    double value;      /* Baton */
    double limit;      /* the machine, in the same run */
    double target;     /* smallest ratio, or of ADDED the largest difference; 0: none */
    double value_tail; /* p99 of a latency, 0: none */
    double limit_tail;
    double mean; /* of all slices where value is the best, 0: none */
};

struct report {
    bool json;
    const char *subject; /* constant text: "wire" */
    struct report_row rows[REPORT_ROWS_MAX];
    size_t n_rows;
};

void report_init(struct report *report, const char *subject, bool json);
/* Adds and prints a row at once; long runs show what they have. The heading comes with the first.
 * `name` is copied and cut. */
void report_add(struct report *report, const struct report_row *row);
/* A remark under the rows, or a JSON object with "note". */
__attribute__((format(printf, 2, 3))) void report_note(struct report *report, const char *fmt, ...);
double report_ratio(const struct report_row *row);
/* Whether the row keeps its target; true where it has none. */
bool report_row_good(const struct report_row *row);
bool report_good(const struct report *report);

/* ---- samples: latencies of one kind, with a bound; more are counted but not kept ---- */

struct samples {
    uint64_t *ns; /* [capacity] */
    size_t n;
    size_t capacity;
};

/* False when out of memory. */
bool samples_init(struct samples *samples, size_t capacity);
void samples_fini(struct samples *samples);
void samples_add(struct samples *samples, uint64_t ns);
/* In microseconds; sorts. 0 without samples. */
double samples_percentile_us(struct samples *samples, double percent);
