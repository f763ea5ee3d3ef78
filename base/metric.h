/* The metrics registry: counters, gauges and histograms, printed as Prometheus text. Metrics are
 * made at start-up with fixed label sets and live as long as the registry. Each metric is written
 * by one thread; any thread may read or print while it is written (relaxed atomics: a histogram
 * read in the middle of an observation may be one apart between its sum and its count).
 * Creating and printing take a lock; updating takes none. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/status.h"

#define METRIC_LABELS_MAX 8
#define METRIC_BUCKETS_MAX 32
#define METRIC_TEXT_MAX 256 /* a name, a label value */

struct metric_registry;
struct metric_counter;
struct metric_gauge;
struct metric_histogram;

struct metric_label {
    const char *name;
    const char *value;
};

/* Which metric: the same name may come again with other label values, then its kind, help and
 * label names must be the same. All texts are copied. */
struct metric_desc {
    const char *name; /* [a-zA-Z_:][a-zA-Z0-9_:]*; counters end in _total, units are in the name */
    const char *help;
    const struct metric_label *labels; /* [n_labels], names [a-zA-Z_][a-zA-Z0-9_]* */
    size_t n_labels;
};

enum status metric_registry_create(struct metric_registry **out);

/* Frees all metrics; nobody may use them any more. NULL is nothing. */
void metric_registry_destroy(struct metric_registry *registry);

/* Makers. INVALID for a name, label or bucket that breaks the rules, or that contradicts the
 * first of its name; EXISTS for the same labels again; NO_MEMORY. */
enum status metric_counter_create(struct metric_registry *registry, const struct metric_desc *desc,
                                  struct metric_counter **out);
enum status metric_gauge_create(struct metric_registry *registry, const struct metric_desc *desc,
                                struct metric_gauge **out);
/* `bounds` are the upper bounds [n_bounds], finite and ascending; +Inf is added. */
enum status metric_histogram_create(struct metric_registry *registry,
                                    const struct metric_desc *desc, const double *bounds,
                                    size_t n_bounds, struct metric_histogram **out);

/* Updates, by the owner thread. A NULL metric is ignored, so that parts can run without any. */
void metric_counter_add(struct metric_counter *counter, uint64_t n);
void metric_gauge_set(struct metric_gauge *gauge, double value);
void metric_gauge_add(struct metric_gauge *gauge, double delta);
void metric_histogram_observe(struct metric_histogram *histogram, double value);

/* Reads, by any thread. */
uint64_t metric_counter_value(const struct metric_counter *counter);
double metric_gauge_value(const struct metric_gauge *gauge);
uint64_t metric_histogram_count(const struct metric_histogram *histogram);
double metric_histogram_sum(const struct metric_histogram *histogram);

/* Appends the whole registry in the text exposition format 0.0.4, families in order of creation.
 * TOO_BIG or NO_MEMORY from the buffer, which then holds an incomplete text. */
enum status metric_print(struct metric_registry *registry, struct buf *out);
