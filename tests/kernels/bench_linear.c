/* How fast linear is beside what the machine can do, both measured in the same run in alternating
 * slices, best of many; no test, run by hand:
 *     bench_kernels_linear [threads] [table] [seconds per line] [rows ...]
 * Products are compared with the dot-product peak in CPU time, weights read with the read bandwidth
 * in wall time (bench_limits.h); "bound" is the nearer of the two. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/ops.h"
#include "tests/kernels/bench_limits.h"
#include "tests/kernels/rig.h"

#define COPIES 6u /* weights of a shape, used in turn, so that they come from memory */

struct shape {
    const char *name;
    uint32_t n, k;
    bool paired;
};

struct bench {
    struct device *dev;
    struct bench_limits *limits;
    uint32_t n_threads;
    double seconds;
};

static void bench_shape(struct bench *bench, const struct shape *shape, uint32_t m)
{
    struct rig_tensor rows = rig_tensor_random((size_t)shape->n * shape->k, OP_BF16, 0.1f, 1);
    struct rig_tensor x = rig_tensor_random((size_t)m * shape->k, OP_BF16, 1.0f, 2);
    struct rig_tensor y = rig_tensor_make((size_t)m * shape->n, OP_BF16);
    struct op_weight w[COPIES];
    static struct bench_times op_times, dot_times, read_times;
    double flops = 2.0 * m * shape->n * shape->k, bytes = 2.0 * shape->n * shape->k;
    double dot_flops = 0.0, read_bytes = 0.0, peak, read, of_peak, of_read;
    double end, op_cpu_s;

    for (uint32_t i = 0; i < COPIES; i++)
        w[i] = rig_weight(bench->dev, &rows, shape->n, shape->k, OP_BF16, shape->paired);
    op_times.n = dot_times.n = read_times.n = 0;
    op_times.n_threads = bench->n_threads;
    end = bench_wall_now() + bench->seconds;
    for (uint32_t round = 0; bench_wall_now() < end || round < 12; round++) {
        struct op_linear op = {
            .x = x.data,
            .x_stride = shape->k,
            .y_stride = shape->paired ? shape->n / 2 : shape->n,
            .n_rows = m,
            .w = w[round % COPIES],
            .act = shape->paired ? OP_ACT_SILU_MUL : OP_ACT_NONE,
            .y_dtype = OP_BF16,
            .y = y.data,
        };

        bench_start(&op_times);
        device_ops(bench->dev)->linear(bench->dev, &op);
        bench_stop(&op_times);
        dot_flops = bench_limit_dot(bench->limits, &dot_times);
        read_bytes = bench_limit_read(bench->limits, &read_times);
    }
    op_cpu_s = bench_cpu_s(&op_times);
    peak = dot_flops / bench_cpu_s(&dot_times) / 1e9;
    read = read_bytes / read_times.wall_s / 1e9;
    of_peak = flops / op_cpu_s / 1e9 / peak;
    of_read = bytes / op_times.wall_s / 1e9 / read;
    printf("%-8s %5u | wall %8.1f us, CPU %8.1f us | %7.1f GFLOP/s of %6.1f, %5.1f GB/s of %5.1f |"
           " %.2f of peak, %.2f of read\n",
           shape->name, m, op_times.wall_s * 1e6, op_cpu_s * 1e6, of_peak * peak, peak,
           of_read * read, read, of_peak, of_read);
    (void)fflush(stdout);
    for (uint32_t i = 0; i < COPIES; i++)
        rig_weight_drop(bench->dev, &w[i]);
    rig_tensor_drop(&rows);
    rig_tensor_drop(&x);
    rig_tensor_drop(&y);
}

int main(int argc, char **argv)
{
    /* Those of a layer of the 1B shape: q k v, o, gate and up, down. */
    static const struct shape shapes[] = {
        {"qkv", 3072, 2048, false},
        {"o", 2048, 2048, false},
        {"gate_up", 16384, 2048, true},
        {"down", 2048, 8192, false},
    };
    static const uint32_t all_rows[] = {1, 2, 4, 6, 8, 12, 16, 24, 32, 64, 128, 256, 512, 2048};
    uint32_t n_threads = argc > 1 ? (uint32_t)atoi(argv[1]) : 2;
    const char *table = argc > 2 ? argv[2] : "auto";
    struct device_cfg cfg = {.table = table, .n_threads = n_threads, .k_max = 8192};
    struct bench bench = {.n_threads = n_threads, .seconds = argc > 3 ? atof(argv[3]) : 0.5};
    char why[DEVICE_WHY_MAX];

    if (device_open(&cfg, &bench.dev, why) != STATUS_OK) {
        (void)fprintf(stderr, "%s\n", why);
        return EXIT_FAILURE;
    }
    if (bench_limits_create(n_threads, &bench.limits) != STATUS_OK)
        return EXIT_FAILURE;
    printf("table %s, %u threads\n", device_info(bench.dev).table, n_threads);
    for (size_t s = 0; s < sizeof(shapes) / sizeof(shapes[0]); s++) {
        if (argc > 4)
            for (int i = 4; i < argc; i++)
                bench_shape(&bench, &shapes[s], (uint32_t)atoi(argv[i]));
        else
            for (size_t i = 0; i < sizeof(all_rows) / sizeof(all_rows[0]); i++)
                bench_shape(&bench, &shapes[s], all_rows[i]);
    }
    bench_limits_destroy(bench.limits);
    device_close(bench.dev);
    return EXIT_SUCCESS;
}
