/* The registry: families in a list, each with its metrics in a list, both in order of creation.
 * Every metric has one writer, so an update is a relaxed load and store, without a locked
 * instruction. Label sets are rendered once, at creation, as they will be printed. */
#include "base/metric.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"

enum metric_kind { KIND_COUNTER, KIND_GAUGE, KIND_HISTOGRAM };

static const char *const kind_names[] = {"counter", "gauge", "histogram"};

/* The head of every metric. */
struct metric {
    struct metric *next;
    char *labels; /* rendered: a="x",b="y"; empty if none */
};

struct metric_counter {
    struct metric metric;
    _Atomic uint64_t value;
};

struct metric_gauge {
    struct metric metric;
    _Atomic uint64_t value_bits; /* of a double */
};

struct metric_histogram {
    struct metric metric;
    _Atomic uint64_t sum_bits; /* of a double */
    _Atomic uint64_t count;
    size_t n_bounds;
    double bounds[METRIC_BUCKETS_MAX];
    _Atomic uint64_t buckets[METRIC_BUCKETS_MAX]; /* not cumulative; +Inf is what count adds */
};

struct family {
    struct family *next;
    enum metric_kind kind;
    char *name;
    char *help;        /* escaped */
    char *label_names; /* a,b */
    struct metric *first;
    struct metric **end;
};

struct metric_registry {
    pthread_mutex_t lock;
    struct family *first;
    struct family **end;
};

/* ---- creation ---- */

enum status metric_registry_create(struct metric_registry **out)
{
    struct metric_registry *registry = mem_alloc_zero(1, sizeof(*registry));
    if (registry == NULL) {
        return STATUS_NO_MEMORY;
    }
    CHECK(pthread_mutex_init(&registry->lock, NULL) == 0);
    registry->end = &registry->first;
    *out = registry;
    return STATUS_OK;
}

static void metric_free(struct metric *metric)
{
    mem_free(metric->labels);
    mem_free(metric);
}

static void family_free(struct family *family)
{
    while (family->first != NULL) {
        struct metric *metric = family->first;
        family->first = metric->next;
        metric_free(metric);
    }
    mem_free(family->name);
    mem_free(family->help);
    mem_free(family->label_names);
    mem_free(family);
}

void metric_registry_destroy(struct metric_registry *registry)
{
    if (registry == NULL) {
        return;
    }
    while (registry->first != NULL) {
        struct family *family = registry->first;
        registry->first = family->next;
        family_free(family);
    }
    pthread_mutex_destroy(&registry->lock);
    mem_free(registry);
}

static bool is_name(const char *name, bool may_have_colon)
{
    size_t len = strlen(name);
    if (len == 0 || len > METRIC_TEXT_MAX || (name[0] >= '0' && name[0] <= '9')) {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        char c = name[i];
        bool is_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
        if (!is_letter && !(c >= '0' && c <= '9') && !(c == ':' && may_have_colon)) {
            return false;
        }
    }
    return true;
}

static enum status desc_check(const struct metric_desc *desc, enum metric_kind kind)
{
    if (!is_name(desc->name, true) || desc->n_labels > METRIC_LABELS_MAX) {
        return STATUS_INVALID;
    }
    for (size_t i = 0; i < desc->n_labels; i++) {
        const struct metric_label *label = &desc->labels[i];
        bool is_reserved = strncmp(label->name, "__", 2) == 0 ||
                           (kind == KIND_HISTOGRAM && strcmp(label->name, "le") == 0);
        if (!is_name(label->name, false) || is_reserved || strlen(label->value) > METRIC_TEXT_MAX) {
            return STATUS_INVALID;
        }
        for (size_t k = 0; k < i; k++) {
            if (strcmp(desc->labels[k].name, label->name) == 0) {
                return STATUS_INVALID;
            }
        }
    }
    return STATUS_OK;
}

/* Label values escape the quote, too; help texts do not (exposition format 0.0.4). */
static enum status append_escaped(struct buf *out, const char *text, bool escape_quote)
{
    enum status status = STATUS_OK;
    for (; *text != '\0' && status == STATUS_OK; text++) {
        if (*text == '\n') {
            status = buf_append(out, "\\n", 2);
        } else if (*text == '\\' || (*text == '"' && escape_quote)) {
            char pair[2] = {'\\', *text};
            status = buf_append(out, pair, 2);
        } else {
            status = buf_append(out, text, 1);
        }
    }
    return status;
}

enum render { RENDER_HELP, RENDER_LABELS, RENDER_LABEL_NAMES };

/* A text of the descriptor in its own memory, or NULL when out of memory. */
static char *render(const struct metric_desc *desc, enum render what)
{
    struct buf text;
    buf_init(&text, SIZE_MAX / 2);
    enum status status = buf_append(&text, "", 0);
    if (what == RENDER_HELP) {
        status = append_escaped(&text, desc->help, false);
    }
    for (size_t i = 0; i < desc->n_labels && what != RENDER_HELP && status == STATUS_OK; i++) {
        const struct metric_label *label = &desc->labels[i];
        status = buf_printf(&text, "%s%s", i > 0 ? "," : "", label->name);
        if (what == RENDER_LABELS && status == STATUS_OK) {
            status = buf_append_str(&text, "=\"");
        }
        if (what == RENDER_LABELS && status == STATUS_OK) {
            status = append_escaped(&text, label->value, true);
        }
        if (what == RENDER_LABELS && status == STATUS_OK) {
            status = buf_append_str(&text, "\"");
        }
    }
    char *copy = status == STATUS_OK ? mem_strdup(buf_text(&text)) : NULL;
    buf_fini(&text);
    return copy;
}

static struct family *family_find(struct metric_registry *registry, const char *name)
{
    struct family *family = registry->first;
    while (family != NULL && strcmp(family->name, name) != 0) {
        family = family->next;
    }
    return family;
}

/* A family of no metrics yet, not in the registry yet. */
static struct family *family_new(const struct metric_desc *desc, enum metric_kind kind)
{
    struct family *family = mem_alloc_zero(1, sizeof(*family));
    if (family == NULL) {
        return NULL;
    }
    family->kind = kind;
    family->end = &family->first;
    family->name = mem_strdup(desc->name);
    family->help = render(desc, RENDER_HELP);
    family->label_names = render(desc, RENDER_LABEL_NAMES);
    if (family->name == NULL || family->help == NULL || family->label_names == NULL) {
        family_free(family);
        return NULL;
    }
    return family;
}

/* INVALID if `fresh`, of the same name, contradicts the family; EXISTS if it has these labels. */
static enum status family_check(const struct family *family, const struct family *fresh,
                                const char *labels)
{
    if (family->kind != fresh->kind || strcmp(family->help, fresh->help) != 0 ||
        strcmp(family->label_names, fresh->label_names) != 0) {
        return STATUS_INVALID;
    }
    for (const struct metric *metric = family->first; metric != NULL; metric = metric->next) {
        if (strcmp(metric->labels, labels) == 0) {
            return STATUS_EXISTS;
        }
    }
    return STATUS_OK;
}

/* Puts the metric under its family, which is made if this is its first. */
static enum status registry_add(struct metric_registry *registry, struct family *fresh,
                                struct metric *metric)
{
    enum status status = STATUS_OK;
    pthread_mutex_lock(&registry->lock);
    struct family *family = family_find(registry, fresh->name);
    if (family == NULL) {
        family = fresh;
        fresh = NULL;
        *registry->end = family;
        registry->end = &family->next;
    } else {
        status = family_check(family, fresh, metric->labels);
    }
    if (status == STATUS_OK) {
        *family->end = metric;
        family->end = &metric->next;
    }
    pthread_mutex_unlock(&registry->lock);
    if (fresh != NULL) {
        family_free(fresh);
    }
    return status;
}

static enum status metric_new(struct metric_registry *registry, const struct metric_desc *desc,
                              enum metric_kind kind, size_t bytes, struct metric **out)
{
    enum status status = desc_check(desc, kind);
    if (status != STATUS_OK) {
        return status;
    }
    struct metric *metric = mem_alloc_zero(1, bytes);
    if (metric == NULL) {
        return STATUS_NO_MEMORY;
    }
    metric->labels = render(desc, RENDER_LABELS);
    struct family *fresh = metric->labels != NULL ? family_new(desc, kind) : NULL;
    if (fresh == NULL) {
        metric_free(metric);
        return STATUS_NO_MEMORY;
    }
    *out = metric; /* the makers below write the caller's output only on STATUS_OK */
    status = registry_add(registry, fresh, metric);
    if (status != STATUS_OK) {
        metric_free(metric);
    }
    return status;
}

enum status metric_counter_create(struct metric_registry *registry, const struct metric_desc *desc,
                                  struct metric_counter **out)
{
    struct metric *metric;
    enum status status =
        metric_new(registry, desc, KIND_COUNTER, sizeof(struct metric_counter), &metric);
    if (status == STATUS_OK) {
        *out = (struct metric_counter *)metric;
    }
    return status;
}

enum status metric_gauge_create(struct metric_registry *registry, const struct metric_desc *desc,
                                struct metric_gauge **out)
{
    struct metric *metric;
    enum status status =
        metric_new(registry, desc, KIND_GAUGE, sizeof(struct metric_gauge), &metric);
    if (status == STATUS_OK) {
        *out = (struct metric_gauge *)metric;
    }
    return status;
}

enum status metric_histogram_create(struct metric_registry *registry,
                                    const struct metric_desc *desc, const double *bounds,
                                    size_t n_bounds, struct metric_histogram **out)
{
    if (n_bounds == 0 || n_bounds > METRIC_BUCKETS_MAX) {
        return STATUS_INVALID;
    }
    for (size_t i = 0; i < n_bounds; i++) {
        if (!isfinite(bounds[i]) || (i > 0 && bounds[i] <= bounds[i - 1])) {
            return STATUS_INVALID;
        }
    }
    struct metric *metric;
    enum status status =
        metric_new(registry, desc, KIND_HISTOGRAM, sizeof(struct metric_histogram), &metric);
    if (status == STATUS_OK) {
        struct metric_histogram *histogram = (struct metric_histogram *)metric;
        memcpy(histogram->bounds, bounds, n_bounds * sizeof(bounds[0]));
        histogram->n_bounds = n_bounds;
        *out = histogram;
    }
    return status;
}

/* ---- update and read ---- */

static uint64_t load(const _Atomic uint64_t *value)
{
    return atomic_load_explicit(value, memory_order_relaxed);
}

/* Only the owner writes, so nothing can come between its load and its store. */
static void add_u64(_Atomic uint64_t *value, uint64_t n)
{
    atomic_store_explicit(value, load(value) + n, memory_order_relaxed);
}

static double load_f64(const _Atomic uint64_t *bits)
{
    uint64_t value_bits = load(bits);
    double value;
    memcpy(&value, &value_bits, sizeof(value));
    return value;
}

static void store_f64(_Atomic uint64_t *bits, double value)
{
    uint64_t value_bits;
    memcpy(&value_bits, &value, sizeof(value_bits));
    atomic_store_explicit(bits, value_bits, memory_order_relaxed);
}

void metric_counter_add(struct metric_counter *counter, uint64_t n)
{
    if (counter != NULL) {
        add_u64(&counter->value, n);
    }
}

void metric_gauge_set(struct metric_gauge *gauge, double value)
{
    if (gauge != NULL) {
        store_f64(&gauge->value_bits, value);
    }
}

void metric_gauge_add(struct metric_gauge *gauge, double delta)
{
    if (gauge != NULL) {
        store_f64(&gauge->value_bits, load_f64(&gauge->value_bits) + delta);
    }
}

void metric_histogram_observe(struct metric_histogram *histogram, double value)
{
    if (histogram == NULL) {
        return;
    }
    for (size_t i = 0; i < histogram->n_bounds; i++) {
        if (value <= histogram->bounds[i]) {
            add_u64(&histogram->buckets[i], 1);
            break;
        }
    }
    store_f64(&histogram->sum_bits, load_f64(&histogram->sum_bits) + value);
    add_u64(&histogram->count, 1);
}

uint64_t metric_counter_value(const struct metric_counter *counter)
{
    return load(&counter->value);
}

double metric_gauge_value(const struct metric_gauge *gauge)
{
    return load_f64(&gauge->value_bits);
}

uint64_t metric_histogram_count(const struct metric_histogram *histogram)
{
    return load(&histogram->count);
}

double metric_histogram_sum(const struct metric_histogram *histogram)
{
    return load_f64(&histogram->sum_bits);
}

/* ---- the text ---- */

/* A double as Prometheus reads it: %.17g when fewer digits would change it. */
static enum status print_f64(struct buf *out, double value)
{
    if (isnan(value)) {
        return buf_append_str(out, "NaN");
    }
    if (isinf(value)) {
        return buf_append_str(out, value > 0 ? "+Inf" : "-Inf");
    }
    char text[40];
    for (int n_digits = 6; n_digits <= 17; n_digits++) {
        snprintf(text, sizeof(text), "%.*g", n_digits, value);
        if (strtod(text, NULL) == value) {
            break;
        }
    }
    return buf_append_str(out, text);
}

/* name_suffix{labels} and the blank behind it. */
static enum status print_name(struct buf *out, const struct family *family, const char *suffix,
                              const struct metric *metric)
{
    bool has_labels = metric->labels[0] != '\0';
    return buf_printf(out, "%s%s%s%s%s ", family->name, suffix, has_labels ? "{" : "",
                      metric->labels, has_labels ? "}" : "");
}

static enum status print_u64(struct buf *out, uint64_t value)
{
    return buf_printf(out, "%llu\n", (unsigned long long)value);
}

static enum status print_bucket(struct buf *out, const struct family *family,
                                const struct metric *metric, double bound, uint64_t n)
{
    const char *comma = metric->labels[0] != '\0' ? "," : "";
    enum status status =
        buf_printf(out, "%s_bucket{%s%sle=\"", family->name, metric->labels, comma);
    if (status == STATUS_OK) {
        status = print_f64(out, bound);
    }
    return status != STATUS_OK ? status : buf_printf(out, "\"} %llu\n", (unsigned long long)n);
}

static enum status print_histogram(struct buf *out, const struct family *family,
                                   const struct metric_histogram *histogram)
{
    const struct metric *metric = &histogram->metric;
    enum status status = STATUS_OK;
    uint64_t count = load(&histogram->count);
    uint64_t cumulated = 0;
    for (size_t i = 0; i < histogram->n_bounds && status == STATUS_OK; i++) {
        cumulated += load(&histogram->buckets[i]);
        status = print_bucket(out, family, metric, histogram->bounds[i], cumulated);
    }
    if (count < cumulated) {
        count = cumulated; /* an observation in progress; buckets must never exceed the count */
    }
    if (status == STATUS_OK) {
        status = print_bucket(out, family, metric, (double)INFINITY, count);
    }
    if (status == STATUS_OK) {
        status = print_name(out, family, "_sum", metric);
    }
    if (status == STATUS_OK) {
        status = print_f64(out, load_f64(&histogram->sum_bits));
    }
    if (status == STATUS_OK) {
        status = buf_append_str(out, "\n");
    }
    if (status == STATUS_OK) {
        status = print_name(out, family, "_count", metric);
    }
    return status != STATUS_OK ? status : print_u64(out, count);
}

static enum status print_metric(struct buf *out, const struct family *family,
                                const struct metric *metric)
{
    if (family->kind == KIND_HISTOGRAM) {
        return print_histogram(out, family, (const struct metric_histogram *)metric);
    }
    enum status status = print_name(out, family, "", metric);
    if (status != STATUS_OK) {
        return status;
    }
    if (family->kind == KIND_COUNTER) {
        return print_u64(out, load(&((const struct metric_counter *)metric)->value));
    }
    status = print_f64(out, load_f64(&((const struct metric_gauge *)metric)->value_bits));
    return status != STATUS_OK ? status : buf_append_str(out, "\n");
}

static enum status print_family(struct buf *out, const struct family *family)
{
    enum status status = buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", family->name, family->help,
                                    family->name, kind_names[family->kind]);
    const struct metric *metric = family->first;
    for (; metric != NULL && status == STATUS_OK; metric = metric->next) {
        status = print_metric(out, family, metric);
    }
    return status;
}

enum status metric_print(struct metric_registry *registry, struct buf *out)
{
    enum status status = STATUS_OK;
    pthread_mutex_lock(&registry->lock);
    for (struct family *family = registry->first; family != NULL && status == STATUS_OK;
         family = family->next) {
        status = print_family(out, family);
    }
    pthread_mutex_unlock(&registry->lock);
    return status;
}
