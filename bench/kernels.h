/* Inside of `baton bench kernels`: what its files share. */
#pragma once

#include "bench/command.h"
#include "bench/now.h"
#include "bench/peaks.h"
#include "kernels/ops.h"
#include "model/config.h"

struct kernels_bench {
    const struct bench_options *options;
    struct report *report;
    struct model_config config;
    struct device *dev;
    uint32_t n_threads;
    struct peaks *peaks;
};

/* Whether a measurement goes on after so many rounds that began at begin_ns: at least a few, then
 * until there are n_slices or a second has passed. */
bool kernels_more(const struct kernels_bench *bench, uint32_t n_rounds, uint64_t begin_ns);
/* Columns of q, k and v side by side. */
uint32_t kernels_qkv_width(const struct model_config *config);
/* Device memory with numbers of about 0.01 to 0.02 of either sign, as bf16. */
enum status kernels_numbers(struct device *dev, size_t bytes, void **out);

/* A row that stands beside the nearer of the two limits: the dot products that an op needs, or the
 * bytes that it has to read. */
struct kernels_work {
    double flops, bytes;
    double seconds; /* what it took */
    double target;  /* 0: none */
};
__attribute__((format(printf, 3, 4))) void
kernels_add(struct kernels_bench *bench, const struct kernels_work *work, const char *fmt, ...);

/* What each prints is in README.md. */
enum status kernels_linear(struct kernels_bench *bench);
enum status kernels_rows(struct kernels_bench *bench);
enum status kernels_attention(struct kernels_bench *bench);
enum status kernels_sampling(struct kernels_bench *bench);
