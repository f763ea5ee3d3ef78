/* `baton bench transfer`: KV pieces between two processes through the UCX mover, as a node uses it,
 * for each path and size; beside the plainest way to move the same bytes between two processes. The
 * best of slices that alternate. */
#include <stdio.h>

#include "base/clock.h"
#include "bench/command.h"
#include "bench/limits.h"
#include "kvtransfer/ucx_bench.h"

#define WINDOW 16u
#define SLICES_MAX 5u /* each starts two processes */
/* Of a slice: enough to hide its first moments, which belong to page tables and connections. */
#define STREAM_BYTES (256u << 20)
#define STREAM_PIECES_MAX 4096u
#define ALONE_BYTES (64u << 20)
#define ALONE_PIECES_MAX 512u

static const size_t sizes[] = {16u << 10, 64u << 10, 256u << 10, 1u << 20, 4u << 20};
#define N_SIZES (sizeof(sizes) / sizeof(sizes[0]))

struct plan {
    const struct bench_options *options;
    struct report *report;
    enum kvt_path path;
    char transport[KVT_UCX_TRANSPORT_MAX];
};

static enum status complain(const struct plan *plan, const char *what, enum status status)
{
    fprintf(stderr, "baton bench: transfer over %s, %s: %s\n",
            plan->path == KVT_PATH_LOCAL ? "shared memory" : "TCP", what, status_text(status));
    return status;
}

static uint32_t n_slices(const struct bench_options *options)
{
    return options->n_slices < SLICES_MAX ? options->n_slices : SLICES_MAX;
}

static struct limit_shape shape_of(size_t bytes, uint32_t window)
{
    const size_t n = (window > 1 ? STREAM_BYTES : ALONE_BYTES) / bytes;
    const size_t n_max = window > 1 ? STREAM_PIECES_MAX : ALONE_PIECES_MAX;

    return (struct limit_shape){
        .bytes = bytes, .window = window, .n = (uint32_t)(n < n_max ? n : n_max)};
}

/* One slice of each; the rates grow to the best. */
static enum status slice(struct plan *plan, const struct limit_shape *shape, double *baton,
                         double *limit)
{
    const struct kvt_ucx_bench bench = {.cfg = kvt_ucx_cfg_default(),
                                        .path = plan->path,
                                        .bytes = shape->bytes,
                                        .n = shape->n,
                                        .window = shape->window};
    struct kvt_ucx_bench_row row;
    double gb_per_s = 0;
    enum status status = kvt_ucx_bench(&bench, &row);

    if (status != STATUS_OK)
        return complain(plan, "UCX", status);
    *baton = row.gb_per_s > *baton ? row.gb_per_s : *baton;
    snprintf(plan->transport, sizeof(plan->transport), "%s", row.transport);
    status = plan->path == KVT_PATH_LOCAL ? limit_vm_readv(shape, &gb_per_s)
                                          : limit_tcp(shape, &gb_per_s);
    if (status != STATUS_OK)
        return complain(plan, "the limit", status);
    *limit = gb_per_s > *limit ? gb_per_s : *limit;
    return STATUS_OK;
}

static void name_row(const struct plan *plan, size_t bytes, const char *what,
                     struct report_row *row)
{
    const char *path = plan->path == KVT_PATH_LOCAL ? "local" : "tcp";

    if (bytes >= 1u << 20)
        snprintf(row->name, sizeof(row->name), "%s %zu MiB %s", path, bytes >> 20, what);
    else
        snprintf(row->name, sizeof(row->name), "%s %zu KiB %s", path, bytes >> 10, what);
}

/* Rate with a window, time of a piece without one. */
static enum status measure(struct plan *plan, size_t bytes, uint32_t window)
{
    const struct limit_shape shape = shape_of(bytes, window);
    struct report_row row = {.kind = REPORT_RATE, .unit = "GB/s"};
    double baton = 0, limit = 0;
    enum status status = STATUS_OK;

    for (uint32_t i = 0; i < n_slices(plan->options) && status == STATUS_OK; i++)
        status = slice(plan, &shape, &baton, &limit);
    if (status != STATUS_OK)
        return status;
    row.value = baton;
    row.limit = limit;
    if (window == 1) {
        row.kind = REPORT_COST;
        row.unit = "us";
        row.value = (double)bytes / baton / 1e3;
        row.limit = (double)bytes / limit / 1e3;
    }
    name_row(plan, bytes, window == 1 ? "alone" : "streamed", &row);
    report_add(plan->report, &row);
    return STATUS_OK;
}

static enum status over(struct plan *plan)
{
    enum status status = STATUS_OK;

    for (size_t i = 0; i < N_SIZES && status == STATUS_OK; i++)
        status = measure(plan, sizes[i], WINDOW);
    for (size_t i = 0; i < N_SIZES && status == STATUS_OK; i++)
        status = measure(plan, sizes[i], 1);
    if (status == STATUS_OK)
        report_note(plan->report, "%s: UCX used %s", plan->path == KVT_PATH_LOCAL ? "local" : "tcp",
                    plan->transport);
    return status;
}

/* How fast one thread copies at all, for scale. */
static enum status copies(const struct bench_options *options, struct report *report)
{
    const struct limit_shape shape = shape_of(1u << 20, WINDOW);
    double best = 0, gb_per_s = 0;
    enum status status = STATUS_OK;

    for (uint32_t i = 0; i < n_slices(options) && status == STATUS_OK; i++) {
        status = limit_memcpy(&shape, &gb_per_s);
        best = gb_per_s > best ? gb_per_s : best;
    }
    if (status == STATUS_OK)
        report_note(report, "memcpy of 1 MiB pieces in one thread: %.1f GB/s", best);
    return status;
}

enum status bench_transfer(const struct bench_options *options, struct report *report)
{
    struct plan plan = {.options = options, .report = report, .path = KVT_PATH_LOCAL};
    enum status status = over(&plan);

    if (status == STATUS_OK) {
        plan.path = KVT_PATH_NETWORK;
        status = over(&plan);
    }
    return status == STATUS_OK ? copies(options, report) : status;
}
