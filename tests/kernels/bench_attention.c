/* How fast attention is beside what the machine can do, both measured in the same run in
 * alternating slices, best of many; no test, run by hand:
 *     bench_kernels_attention [threads] [table] [seconds per line]
 * Prefill is compared with the dot-product peak in CPU time: the two products of what is visible.
 * Decode is compared with the read bandwidth in wall time: K and V of all sequences, once. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "tests/kernels/bench_limits.h"
#include "tests/kernels/rig.h"

#define SEQS_MAX 64u
#define LAYERS 8u /* in turn, so that KV comes from memory */

struct shape {
    const char *name;
    uint32_t n_heads, n_kv_heads, head_dim;
    uint32_t n_seqs, n_rows, position; /* of each sequence */
};

struct bench {
    struct device *dev;
    struct bench_limits *limits;
    uint32_t n_threads;
    double seconds;
};

static double visible(const struct shape *shape)
{
    return shape->n_rows * (shape->position + (shape->n_rows + 1) / 2.0);
}

static void bench_shape(struct bench *bench, const struct shape *shape)
{
    static struct bench_times op_times, dot_times, read_times;
    uint32_t tokens = shape->position + shape->n_rows, width = shape->n_heads * shape->head_dim;
    uint32_t blocks_seq = (tokens + 63) / 64, n_blocks = blocks_seq * shape->n_seqs;
    uint32_t rows = shape->n_rows * shape->n_seqs, *blocks = malloc(n_blocks * sizeof(*blocks));
    size_t head = 2u * 64 * 2 * shape->head_dim, layer = head * shape->n_kv_heads;
    struct rig_tensor q = rig_tensor_random((size_t)rows * width, OP_BF16, 1.0f, 1);
    struct rig_tensor y = rig_tensor_make((size_t)rows * width, OP_BF16);
    size_t pool_bytes = layer * LAYERS * n_blocks;
    struct op_seq seqs[SEQS_MAX];
    double flops = 4.0 * shape->n_heads * shape->head_dim * visible(shape) * shape->n_seqs;
    double bytes = 4.0 * tokens * shape->n_kv_heads * shape->head_dim * shape->n_seqs;
    double dot_flops = 0, read_bytes = 0, peak, read, end, op_cpu_s;
    struct rig_tensor some = rig_tensor_random(layer * LAYERS / 2, OP_BF16, 1.0f, 2);
    void *pool;

    CHECK(blocks != NULL && shape->n_seqs <= SEQS_MAX);
    CHECK(device_alloc(bench->dev, pool_bytes, &pool) == STATUS_OK);
    for (uint32_t i = 0; i < n_blocks; i++) {
        memcpy((uint8_t *)pool + i * layer * LAYERS, some.data, layer * LAYERS);
        blocks[i] = (uint32_t)((uint64_t)i * 7919 % n_blocks);
    }
    for (uint32_t i = 0; i < shape->n_seqs; i++)
        seqs[i] =
            (struct op_seq){i * shape->n_rows, shape->n_rows, shape->position, i * blocks_seq};
    op_times.n = dot_times.n = read_times.n = 0;
    op_times.n_threads = bench->n_threads;
    end = bench_wall_now() + bench->seconds;
    for (uint32_t round = 0; bench_wall_now() < end || round < 12; round++) {
        struct op_attention op = {
            .q = q.data,
            .q_stride = width,
            .y_stride = width,
            .n_heads = shape->n_heads,
            .n_kv_heads = shape->n_kv_heads,
            .head_dim = shape->head_dim,
            .scale = 0.125f,
            .dtype = OP_BF16,
            .batch = {shape->n_seqs, rows, seqs, blocks},
            .kv = {pool, layer * LAYERS, layer * (round % LAYERS), head, head / 2},
            .y = y.data,
        };

        bench_start(&op_times);
        device_ops(bench->dev)->attention(bench->dev, &op);
        bench_stop(&op_times);
        dot_flops = bench_limit_dot(bench->limits, &dot_times);
        read_bytes = bench_limit_read(bench->limits, &read_times);
    }
    op_cpu_s = bench_cpu_s(&op_times);
    peak = dot_flops / bench_cpu_s(&dot_times) / 1e9;
    read = read_bytes / read_times.wall_s / 1e9;
    printf("%-24s | wall %9.1f us, CPU %9.1f us | %7.1f GFLOP/s of %6.1f, %5.1f GB/s of %5.1f |"
           " %.2f of peak, %.2f of read\n",
           shape->name, op_times.wall_s * 1e6, op_cpu_s * 1e6, flops / op_cpu_s / 1e9, peak,
           bytes / op_times.wall_s / 1e9, read, flops / op_cpu_s / 1e9 / peak,
           bytes / op_times.wall_s / 1e9 / read);
    (void)fflush(stdout);
    device_free(bench->dev, pool, pool_bytes);
    free(blocks);
    rig_tensor_drop(&q);
    rig_tensor_drop(&y);
    rig_tensor_drop(&some);
}

int main(int argc, char **argv)
{
    static const struct shape shapes[] = {
        {"prefill 512 at 0, 32/8x64", 32, 8, 64, 1, 512, 0},
        {"prefill 512 at 1536", 32, 8, 64, 1, 512, 1536},
        {"prefill 512 at 1536, x128", 32, 8, 128, 1, 512, 1536},
        {"prefill 512 at 1536, MHA", 32, 32, 64, 1, 512, 1536},
        {"verify 4 at 2048", 32, 8, 64, 8, 4, 2048},
        {"decode 1 at 2048", 32, 8, 64, 1, 1, 2047},
        {"decode 1 at 16384", 32, 8, 64, 1, 1, 16383},
        {"decode 16 at 2048", 32, 8, 64, 16, 1, 2047},
        {"decode 16 at 2048, x128", 32, 8, 128, 16, 1, 2047},
        {"decode 16 at 2048, MHA", 32, 32, 64, 16, 1, 2047},
    };
    uint32_t n_threads = argc > 1 ? (uint32_t)atoi(argv[1]) : 2;
    struct device_cfg cfg = {
        .table = argc > 2 ? argv[2] : "auto", .n_threads = n_threads, .k_max = 4096};
    struct bench bench = {.n_threads = n_threads, .seconds = argc > 3 ? atof(argv[3]) : 1.0};
    char why[DEVICE_WHY_MAX];

    if (device_open(&cfg, &bench.dev, why) != STATUS_OK) {
        (void)fprintf(stderr, "%s\n", why);
        return EXIT_FAILURE;
    }
    if (bench_limits_create(n_threads, &bench.limits) != STATUS_OK)
        return EXIT_FAILURE;
    printf("table %s, %u threads\n", device_info(bench.dev).table, n_threads);
    for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++)
        bench_shape(&bench, &shapes[i]);
    bench_limits_destroy(bench.limits);
    device_close(bench.dev);
    return EXIT_SUCCESS;
}
