/* `baton bench wire`: what the router costs. For each transport a router and a raw forwarder run as
 * child processes; slices of the two alternate, because the machine is shared and its speed drifts.
 * Rates and CPU times are those of the best slice of each side; latencies are the median over all.
 */
#include <stdio.h>

#include "base/clock.h"
#include "base/mem.h"
#include "bench/command.h"
#include "bench/load.h"
#include "bench/middle.h"

#define RATIO_MIN 0.5     /* of the raw rate */
#define ADDED_MAX_US 50.0 /* per streamed token, median */

#define STREAM_TOKENS 8192u /* of a request where tokens are counted: it hardly ever ends */
#define STEP 64u            /* tokens of one step of D, for the latency of a busy router */
#define STEP_PAUSE_NS (2 * NS_PER_MS)
#define SINGLE_PAUSE_NS (200 * NS_PER_US)
#define SAMPLES_MAX (1u << 20)

enum side { BATON, RAW, N_SIDES };

struct wire_bench {
    const struct bench_options *options;
    struct report *report;
    const char *transport;
    struct middle middles[N_SIDES];
    struct load *loads; /* [N_SIDES] */
};

/* The best slice's rates, and sums over all. */
struct rate {
    double tokens, requests; /* per second */
    double n_tokens, n_requests;
    double cpu_us; /* of the middle */
};

static enum status complain(const struct wire_bench *bench, enum side side, enum status status)
{
    fprintf(stderr, "baton bench: wire over %s, %s: %s\n", bench->transport,
            side == BATON ? "Baton" : "raw ZeroMQ",
            bench->loads[side].why ? bench->loads[side].why : status_text(status));
    return status;
}

static double larger(double a, double b)
{
    return a > b ? a : b;
}

static enum status rate_slice(struct wire_bench *bench, enum side side,
                              const struct load_shape *shape, uint64_t ns, struct rate *rate)
{
    struct load *load = &bench->loads[side];
    const uint64_t n_tokens = load->n_tokens, n_requests = load->n_requests;
    const uint64_t cpu_ns = middle_cpu_ns(&bench->middles[side]);
    double seconds = 0;
    enum status status = load_rate(load, shape, ns, &seconds);

    if (status != STATUS_OK)
        return complain(bench, side, status);
    rate->tokens = larger(rate->tokens, (double)(load->n_tokens - n_tokens) / seconds);
    rate->requests = larger(rate->requests, (double)(load->n_requests - n_requests) / seconds);
    status = load_quiet(load); /* so that no slice inherits tokens of the one before */
    if (status != STATUS_OK)
        return complain(bench, side, status);
    rate->n_tokens += (double)(load->n_tokens - n_tokens);
    rate->n_requests += (double)(load->n_requests - n_requests);
    rate->cpu_us += (double)(middle_cpu_ns(&bench->middles[side]) - cpu_ns) / 1e3;
    return STATUS_OK;
}

static enum status rates(struct wire_bench *bench, const struct load_shape *shape,
                         struct rate both[N_SIDES])
{
    const uint64_t ns = bench->options->slice_ms * NS_PER_MS;
    struct rate warm_up = {.tokens = 0};
    enum status status = STATUS_OK;

    for (int side = 0; side < N_SIDES && status == STATUS_OK; side++)
        status = rate_slice(bench, (enum side)side, shape, ns, &warm_up);
    for (uint32_t i = 0; i < bench->options->n_slices * N_SIDES && status == STATUS_OK; i++)
        status = rate_slice(bench, (enum side)(i % N_SIDES), shape, ns, &both[i % N_SIDES]);
    return status;
}

static void add(struct wire_bench *bench, const struct report_row *row, const char *name)
{
    struct report_row named = *row;

    snprintf(named.name, sizeof(named.name), "%s %s", bench->transport, name);
    report_add(bench->report, &named);
}

static enum status latency(struct wire_bench *bench, const struct load_shape *shape,
                           uint32_t n_step, uint64_t pause_ns, const char *name)
{
    struct samples samples[N_SIDES] = {{.ns = NULL}, {.ns = NULL}};
    struct report_row row = {.kind = REPORT_ADDED, .unit = "us", .target = ADDED_MAX_US};
    enum status status = STATUS_OK;

    for (int side = 0; side < N_SIDES; side++)
        if (!samples_init(&samples[side], SAMPLES_MAX))
            status = STATUS_NO_MEMORY;
    for (uint32_t i = 0; i < bench->options->n_slices * N_SIDES && status == STATUS_OK; i++) {
        const enum side side = (enum side)(i % N_SIDES);

        status = load_latency(&bench->loads[side], shape, n_step, pause_ns,
                              bench->options->slice_ms * NS_PER_MS, &samples[side]);
        if (status != STATUS_OK)
            complain(bench, side, status);
    }
    row.value = samples_percentile_us(&samples[BATON], 50);
    row.limit = samples_percentile_us(&samples[RAW], 50);
    row.value_tail = samples_percentile_us(&samples[BATON], 99);
    row.limit_tail = samples_percentile_us(&samples[RAW], 99);
    if (status == STATUS_OK)
        add(bench, &row, name);
    for (int side = 0; side < N_SIDES; side++)
        samples_fini(&samples[side]);
    return status;
}

static enum status tokens(struct wire_bench *bench)
{
    const struct load_shape shape = {.n_streams = bench->options->n_streams,
                                     .n_tokens = STREAM_TOKENS,
                                     .window = bench->options->window};
    struct report_row row = {.kind = REPORT_RATE, .unit = "/s", .target = RATIO_MIN};
    struct rate both[N_SIDES] = {{.tokens = 0}, {.tokens = 0}};
    enum status status = rates(bench, &shape, both);

    if (status != STATUS_OK)
        return status;
    row.value = both[BATON].tokens;
    row.limit = both[RAW].tokens;
    add(bench, &row, "tokens");
    row = (struct report_row){.kind = REPORT_COST, .unit = "us"};
    row.value = both[BATON].cpu_us / both[BATON].n_tokens;
    row.limit = both[RAW].cpu_us / both[RAW].n_tokens;
    add(bench, &row, "CPU a token, all threads");
    status = latency(bench, &shape, 1, SINGLE_PAUSE_NS, "token latency, one at a time");
    if (status == STATUS_OK)
        status = latency(bench, &shape, STEP, STEP_PAUSE_NS, "token latency, steps of 64");
    return status;
}

static enum status requests(struct wire_bench *bench)
{
    const struct load_shape shape = {.n_streams = bench->options->n_streams,
                                     .n_tokens = bench->options->n_tokens,
                                     .window = bench->options->window};
    struct report_row row = {.kind = REPORT_RATE, .unit = "/s", .target = RATIO_MIN};
    struct rate both[N_SIDES] = {{.tokens = 0}, {.tokens = 0}};
    enum status status = STATUS_OK;
    char name[REPORT_NAME_MAX];

    for (int side = 0; side < N_SIDES && status == STATUS_OK; side++) {
        status = load_drain(&bench->loads[side]);
        if (status != STATUS_OK)
            complain(bench, (enum side)side, status);
    }
    if (status == STATUS_OK)
        status = rates(bench, &shape, both);
    if (status != STATUS_OK)
        return status;
    row.value = both[BATON].requests;
    row.limit = both[RAW].requests;
    snprintf(name, sizeof(name), "requests of %u tokens", bench->options->n_tokens);
    add(bench, &row, name);
    row = (struct report_row){.kind = REPORT_COST, .unit = "us"};
    row.value = both[BATON].cpu_us / both[BATON].n_requests;
    row.limit = both[RAW].cpu_us / both[RAW].n_requests;
    add(bench, &row, "CPU a request, all threads");
    return STATUS_OK;
}

/* The children are started before this process has any thread. */
static enum status with_loads(struct wire_bench *bench, struct load loads[N_SIDES])
{
    const struct bench_options *options = bench->options;
    struct load_sizes sizes;
    enum status status = load_open_baton(&loads[BATON], &bench->middles[BATON], options->n_clients,
                                         options->n_prompt, &sizes);

    if (status != STATUS_OK)
        return complain(bench, BATON, status);
    status = load_open_raw(&loads[RAW], &bench->middles[RAW], options->n_clients, options->n_prompt,
                           &sizes);
    if (status != STATUS_OK)
        return complain(bench, RAW, status);
    if (bench->report->n_rows == 0)
        report_note(bench->report,
                    "messages: token %zu, first %zu, done %zu, generate %zu bytes; "
                    "%u streams, %u clients, window %u",
                    sizes.token, sizes.first, sizes.done, sizes.generate, options->n_streams,
                    options->n_clients, options->window);
    status = tokens(bench);
    if (status == STATUS_OK)
        status = requests(bench);
    return status;
}

static enum status over(struct wire_bench *bench, enum middle_transport transport)
{
    struct load *loads = mem_alloc_zero(N_SIDES, sizeof(*loads));
    enum status status = STATUS_NO_MEMORY;

    bench->loads = loads;
    bench->transport = transport == MIDDLE_TCP ? "tcp" : "ipc";
    if (!loads)
        return status;
    status = middle_start(MIDDLE_ROUTER, transport, &bench->middles[BATON]);
    if (status == STATUS_OK)
        status = middle_start(MIDDLE_RAW, transport, &bench->middles[RAW]);
    if (status == STATUS_OK)
        status = with_loads(bench, loads);
    else
        fprintf(stderr, "baton bench: no child process: %s\n", status_text(status));
    for (int side = 0; side < N_SIDES; side++) {
        middle_stop(&bench->middles[side]); /* first: a router would complain of lost nodes */
        load_close(&loads[side]);
    }
    mem_free(loads);
    return status;
}

enum status bench_wire(const struct bench_options *options, struct report *report)
{
    enum status status = STATUS_OK;

    for (int transport = MIDDLE_TCP; transport <= MIDDLE_IPC && status == STATUS_OK; transport++) {
        struct wire_bench bench = {.options = options, .report = report};

        status = over(&bench, (enum middle_transport)transport);
    }
    return status;
}
