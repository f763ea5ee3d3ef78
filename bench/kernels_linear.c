/* Matrix products: the matrices of one layer (q k v, o, gate and up, down) and the head, for one to
 * 2048 rows. A matrix is there several times and taken in turn, so that it comes from memory. Each
 * is timed on its own; a layer's time is the sum of the best of each. */
#include <string.h>

#include "base/mem.h"
#include "bench/kernels.h"

#define COLD_BYTES ((size_t)128 << 20) /* copies of a matrix together: more than a cache */
#define COPIES_MAX 64u
#define MATRICES_MAX 4u
#define LAP_BYTES 4e7 /* a lap has as many calls as take about a ms */

struct matrix {
    const char *name;
    uint32_t n, k;
    bool paired;
    bool head; /* fp32 out; only the rows that are sampled */
    struct op_weight copies[COPIES_MAX];
    uint32_t n_copies, next;
    struct laps laps;
    uint32_t n_calls; /* of a lap */
};

struct products {
    struct kernels_bench *bench;
    const char *name;
    struct matrix matrices[MATRICES_MAX];
    uint32_t n_matrices;
    void *x, *y;
    size_t x_bytes, y_bytes;
};

static size_t matrix_packed_bytes(const struct kernels_bench *bench, const struct matrix *matrix)
{
    const struct op_weight w = {
        .n = matrix->n, .k = matrix->k, .dtype = OP_BF16, .paired = matrix->paired};

    return device_ops(bench->dev)->weight_bytes(&w);
}

static enum status matrix_make(struct kernels_bench *bench, struct matrix *matrix)
{
    const size_t bytes = matrix_packed_bytes(bench, matrix);
    const uint32_t wanted = (uint32_t)(COLD_BYTES / bytes) + 1;

    while (matrix->n_copies < wanted && matrix->n_copies < COPIES_MAX) {
        struct op_weight *w = &matrix->copies[matrix->n_copies];
        void *data;
        const enum status status = kernels_numbers(bench->dev, bytes, &data);

        if (status != STATUS_OK)
            return status;
        *w = (struct op_weight){data, matrix->n, matrix->k, OP_BF16, matrix->paired};
        matrix->n_copies++;
    }
    return STATUS_OK;
}

static void products_drop(struct products *products)
{
    struct device *dev = products->bench->dev;

    for (uint32_t i = 0; i < products->n_matrices; i++) {
        struct matrix *matrix = &products->matrices[i];

        for (uint32_t c = 0; c < matrix->n_copies; c++)
            device_free(dev, (void *)(uintptr_t)matrix->copies[c].data,
                        matrix_packed_bytes(products->bench, matrix));
    }
    device_free(dev, products->x, products->x_bytes);
    device_free(dev, products->y, products->y_bytes);
}

/* Activations for the widest matrix. */
static enum status products_make(struct products *products, uint32_t rows_max)
{
    struct device *dev = products->bench->dev;
    size_t n_max = 0, k_max = 0;
    enum status status;

    for (uint32_t i = 0; i < products->n_matrices; i++) {
        struct matrix *matrix = &products->matrices[i];

        n_max = n_max > matrix->n ? n_max : matrix->n;
        k_max = k_max > matrix->k ? k_max : matrix->k;
        status = matrix_make(products->bench, matrix);
        if (status != STATUS_OK)
            return status;
    }
    products->x_bytes = rows_max * k_max * sizeof(uint16_t);
    products->y_bytes = rows_max * n_max * sizeof(float);
    status = kernels_numbers(dev, products->x_bytes, &products->x);
    if (status == STATUS_OK)
        status = device_alloc(dev, products->y_bytes, &products->y);
    return status;
}

static double matrix_flops(const struct matrix *matrix, uint32_t rows)
{
    return 2.0 * matrix->n * matrix->k * rows;
}

static double matrix_bytes(const struct matrix *matrix)
{
    return 2.0 * matrix->n * matrix->k;
}

static void run_lap(struct products *products, struct matrix *matrix, uint32_t rows)
{
    const struct ops *ops = device_ops(products->bench->dev);
    const double work = matrix_bytes(matrix) + matrix_flops(matrix, rows) / 16;
    const uint32_t n_calls = work >= LAP_BYTES ? 1 : (uint32_t)(LAP_BYTES / work) + 1;

    laps_begin(&matrix->laps);
    for (uint32_t i = 0; i < n_calls; i++) {
        const struct op_linear op = {
            .x = products->x,
            .x_stride = matrix->k,
            .y_stride = matrix->paired ? matrix->n / 2 : matrix->n,
            .n_rows = rows,
            .w = matrix->copies[matrix->next],
            .act = matrix->paired ? products->bench->config.act : OP_ACT_NONE,
            .y_dtype = matrix->head ? OP_F32 : OP_BF16,
            .y = products->y,
        };

        matrix->next = (matrix->next + 1) % matrix->n_copies;
        ops->linear(products->bench->dev, &op);
    }
    (void)laps_end(&matrix->laps);
    matrix->n_calls = n_calls;
}

/* What is asked of so many rows. */
static double target(uint32_t rows)
{
    return rows == 1 ? 0.85 : rows == 8 || rows == 16 ? 0.65 : rows >= 64 ? 0.80 : 0;
}

static void measure(struct products *products, uint32_t rows)
{
    struct kernels_bench *bench = products->bench;
    struct kernels_work all = {.target = target(rows)};
    const uint64_t begin_ns = bench_now_ns();

    peaks_restart(bench->peaks);
    for (uint32_t i = 0; i < products->n_matrices; i++)
        laps_init(&products->matrices[i].laps, bench->options->cpu_time, bench->n_threads);
    for (uint32_t round = 0; kernels_more(bench, round, begin_ns); round++) {
        for (uint32_t i = 0; i < products->n_matrices; i++)
            run_lap(products, &products->matrices[i], rows);
        peaks_slice(bench->peaks);
    }
    peaks_enough(bench->peaks);
    for (uint32_t i = 0; i < products->n_matrices; i++) {
        struct matrix *matrix = &products->matrices[i];
        const struct kernels_work one = {
            .flops = matrix_flops(matrix, rows),
            .bytes = matrix_bytes(matrix),
            .seconds = laps_best(&matrix->laps) / matrix->n_calls,
            .target = target(rows),
        };

        all.flops += one.flops;
        all.bytes += one.bytes;
        all.seconds += one.seconds;
        if (bench->options->matrices)
            kernels_add(bench, &one, "linear, %s, %u row%s", matrix->name, rows,
                        rows > 1 ? "s" : "");
    }
    if (!bench->options->matrices)
        kernels_add(bench, &all, "linear, %s, %u row%s", products->name, rows, rows > 1 ? "s" : "");
}

static enum status measure_all(struct products *products, const uint32_t *rows, size_t n_rows)
{
    enum status status = products_make(products, rows[n_rows - 1]);

    for (size_t i = 0; i < n_rows && status == STATUS_OK; i++)
        measure(products, rows[i]);
    products_drop(products);
    return status;
}

enum status kernels_linear(struct kernels_bench *bench)
{
    static const uint32_t layer_rows[] = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 2048};
    static const uint32_t head_rows[] = {1, 2, 4, 8, 16, 32};
    const struct model_config *config = &bench->config;
    const uint32_t heads = config->n_heads * config->head_dim;
    const uint32_t kv_heads = config->n_kv_heads * config->head_dim;
    struct products *products = mem_alloc_zero(1, sizeof(*products));
    struct matrix *m;
    enum status status;

    if (!products)
        return STATUS_NO_MEMORY;
    products->bench = bench;
    products->name = "layer";
    m = products->matrices;
    *m++ = (struct matrix){.name = "qkv", .n = heads + 2 * kv_heads, .k = config->hidden};
    *m++ = (struct matrix){.name = "o", .n = config->hidden, .k = heads};
    if (config->intermediate > 0) {
        *m++ = (struct matrix){
            .name = "gate_up", .n = 2 * config->intermediate, .k = config->hidden, .paired = true};
        *m++ = (struct matrix){.name = "down", .n = config->hidden, .k = config->intermediate};
    }
    products->n_matrices = (uint32_t)(m - products->matrices);
    status = measure_all(products, layer_rows, sizeof(layer_rows) / sizeof(layer_rows[0]));
    if (status == STATUS_OK) {
        memset(products, 0, sizeof(*products));
        products->bench = bench;
        products->name = "head";
        products->n_matrices = 1;
        products->matrices[0] =
            (struct matrix){.name = "head", .n = config->vocab, .k = config->hidden, .head = true};
        status = measure_all(products, head_rows, sizeof(head_rows) / sizeof(head_rows[0]));
    }
    mem_free(products);
    return status;
}
