/* `baton bench kernels`: each class of ops with the shapes of a model beside what the machine can
 * do, in turns. Opens the device and says which order; the measurements are in kernels_*.c. */
#include "bench/kernels.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"

#define ROUNDS_MIN 5u
#define ROW_NS (NS_PER_S)

/* Llama 3.2 1B, as configs/models/llama-1b.json has it. */
static const struct model_config llama_1b = {
    .vocab = 128256,
    .hidden = 2048,
    .intermediate = 8192,
    .n_layers = 16,
    .n_heads = 32,
    .n_kv_heads = 8,
    .head_dim = 64,
    .act = OP_ACT_SILU_MUL,
    .attention_scale = 0.125,
    .norm_eps = 1e-5,
    .rope = {.dim = 64, .theta = 500000},
};

uint32_t kernels_qkv_width(const struct model_config *config)
{
    return (config->n_heads + 2 * config->n_kv_heads) * config->head_dim;
}

bool kernels_more(const struct kernels_bench *bench, uint32_t n_rounds, uint64_t begin_ns)
{
    if (n_rounds < ROUNDS_MIN)
        return true;
    return n_rounds < bench->options->n_slices && bench_now_ns() - begin_ns < ROW_NS;
}

enum status kernels_numbers(struct device *dev, size_t bytes, void **out)
{
    uint64_t x = 88172645463325252u;
    uint64_t *words;
    void *memory;
    const enum status status = device_alloc(dev, bytes, &memory);

    if (status != STATUS_OK)
        return status;
    words = memory;
    for (size_t i = 0; i < bytes / sizeof(*words); i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        /* Four numbers: a sign and a fraction of one exponent. */
        words[i] = (x & UINT64_C(0x807f807f807f807f)) | UINT64_C(0x3c003c003c003c00);
    }
    *out = memory;
    return STATUS_OK;
}

void kernels_add(struct kernels_bench *bench, const struct kernels_work *work, const char *fmt, ...)
{
    const double peak = peaks_dot(bench->peaks), read = peaks_read(bench->peaks);
    const bool computes = work->flops / peak > work->bytes / read;
    struct report_row row = {.kind = REPORT_RATE,
                             .unit = computes ? "GF/s" : "GB/s",
                             .value = (computes ? work->flops : work->bytes) / work->seconds / 1e9,
                             .limit = computes ? peak : read,
                             .target = work->target};
    va_list args;

    va_start(args, fmt);
    vsnprintf(row.name, sizeof(row.name), fmt, args);
    va_end(args);
    report_add(bench->report, &row);
}

static enum status read_config(struct kernels_bench *bench)
{
    struct model_error error;
    enum status status;

    bench->config = llama_1b;
    if (!bench->options->config)
        return STATUS_OK;
    status = model_config_open(bench->options->config, &error, &bench->config);
    if (status != STATUS_OK)
        fprintf(stderr, "baton bench: %s\n", error.text);
    return status;
}

static enum status open_device(struct kernels_bench *bench)
{
    const struct model_config *config = &bench->config;
    struct device_cfg cfg = {.table = bench->options->table,
                             .n_threads = bench->options->n_threads,
                             .k_max = config->hidden};
    char why[DEVICE_WHY_MAX];
    enum status status;

    if (cfg.k_max < config->intermediate)
        cfg.k_max = config->intermediate;
    if (cfg.k_max < config->expert_intermediate)
        cfg.k_max = config->expert_intermediate;
    if (cfg.k_max < config->n_heads * config->head_dim)
        cfg.k_max = config->n_heads * config->head_dim;
    status = device_open(&cfg, &bench->dev, why);
    if (status != STATUS_OK) {
        fprintf(stderr, "baton bench: %s\n", why);
        return status;
    }
    bench->n_threads = device_info(bench->dev).n_threads;
    status = peaks_create(bench->n_threads, bench->options->cpu_time, &bench->peaks);
    if (status != STATUS_OK) {
        fprintf(stderr, "baton bench: the limits' memory and threads: %s\n", status_text(status));
        device_close(bench->dev);
    }
    return status;
}

enum status bench_kernels(const struct bench_options *options, struct report *report)
{
    static enum status (*const parts[])(struct kernels_bench *) = {
        kernels_linear, kernels_attention, kernels_rows, kernels_sampling};
    struct kernels_bench bench = {.options = options, .report = report};
    enum status status = read_config(&bench);

    if (status == STATUS_OK)
        status = open_device(&bench);
    if (status != STATUS_OK)
        return status;
    report_note(report, "table %s, %u threads, bf16, %s", device_info(bench.dev).table,
                bench.n_threads, options->cpu_time ? "CPU time" : "wall time, best slices");
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]) && status == STATUS_OK; i++)
        status = parts[i](&bench);
    if (status == STATUS_NO_MEMORY)
        fprintf(stderr, "baton bench: not enough memory for these shapes\n");
    peaks_destroy(bench.peaks);
    device_close(bench.dev);
    return status;
}
