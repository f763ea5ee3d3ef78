/* Matrix products of the vector tables: splits rows and panels into tasks and walks their blocks.
 *
 * A task is some panels of the weight (64 columns each) times a block of rows. Its thread first
 * packs the block's rows (once for all its tasks of that block), into [K block][row group]: what a
 * tile reads is then one stream. For each panel, K goes in blocks of 128 steps, so that a block of
 * weights (32 KiB) stays in the first-level cache while all row groups pass over it; the sums wait
 * in fp32 in between, which changes nothing. Each tile touches its share of the next block on the
 * way, so that memory works while few rows are multiplied: without that 8 to 16 rows are slow.
 *
 * Row groups are even (8 rows are 4 + 4, not 6 + 2). Which task runs where never changes a sum. */
#include "kernels/cpu/cpu.h"

#include "base/check.h"

/* Steps in a K block, by the number of row groups: 16 KiB of weights let the next block be fetched
 * beside it, 32 KiB cost fewer loads and stores of sums. */
#define STEPS_BLOCK_TWO 64u
#define STEPS_BLOCK_MORE 128u
#define STEP_BYTES 4u       /* of a row of x: a pair of bf16, or one fp32 */
#define ROWS_BLOCK_MAX 510u /* whole groups of six */
#define ROWS_BLOCK_MIN 126u
#define BLOCK_BYTES ((size_t)2 << 20) /* of packed rows: more than that is slow to walk again */
#define TASK_WORK                                                                                  \
    8000000u /* of a task at least, in bytes read plus half of products: some 10 us                \
              */

struct product {
    struct device *dev;
    const struct op_linear *op; /* its w is that of the first expert */
    const struct op_weight *w;  /* [n_experts] */
    uint32_t rows_block, panels_task, tasks_block;
    uint32_t n_experts;
    const uint32_t *first; /* [n_experts + 1] rows of op of each expert */
    uint32_t n_blocks;
    uint32_t blocks[OPS_EXPERTS_MAX + 1]; /* row blocks before each expert's */
    uint32_t packed[DEVICE_THREADS_MAX];  /* block that lies in each thread's work, + 1 */
};

/* A block of rows of one expert. */
struct block {
    const struct op_weight *w;
    uint32_t row, n_rows;
    uint32_t n_groups;
    uint32_t steps_block;
    uint8_t *a; /* packed */
    float *c;   /* [n_rows][64] */
};

static uint32_t steps_of(const struct op_weight *w)
{
    return w->dtype == OP_F32 ? w->k : w->k / 2;
}

static uint32_t group_row(const struct block *block, uint32_t group)
{
    uint32_t least = block->n_rows / block->n_groups, more = block->n_rows % block->n_groups;

    return group * least + (group < more ? group : more);
}

static void pack_block(const struct product *product, const struct block *block)
{
    const struct op_linear *op = product->op;
    const struct cpu_isa *isa = product->dev->table->isa;
    uint32_t steps = steps_of(block->w), step_bytes = isa->a_step_bytes[block->w->dtype];
    uint8_t *a = block->a;

    for (uint32_t at = 0; at < steps; at += block->steps_block) {
        uint32_t n = steps - at < block->steps_block ? steps - at : block->steps_block;

        for (uint32_t g = 0; g < block->n_groups; g++) {
            uint32_t from = group_row(block, g), rows = group_row(block, g + 1) - from;
            const void *x[CPU_TILE_ROWS];

            for (uint32_t r = 0; r < rows; r++) {
                uint32_t row = block->row + from + r;

                row = op->rows != NULL ? op->rows[row] : row;
                x[r] = (const uint8_t *)op->x +
                       (size_t)row * op->x_stride * cpu_dtype_bytes(block->w->dtype) +
                       at * (size_t)STEP_BYTES;
            }
            isa->pack[block->w->dtype](x, rows, n, a);
            a += (size_t)n * rows * step_bytes;
        }
    }
}

/* All rows of the block times one panel, into block->c. */
static void multiply_panel(const struct product *product, const struct block *block,
                           const uint8_t *panel)
{
    const struct cpu_isa *isa = product->dev->table->isa;
    enum op_dtype dtype = block->w->dtype;
    uint32_t steps = steps_of(block->w), step_bytes = isa->a_step_bytes[dtype];
    const uint8_t *a = block->a;

    for (uint32_t at = 0; at < steps; at += block->steps_block) {
        uint32_t n = steps - at < block->steps_block ? steps - at : block->steps_block;
        const uint8_t *next = panel + (size_t)n * 4 * OPS_PANEL;
        uint32_t lines = block->n_groups > 1 ? n * OPS_PANEL * STEP_BYTES / 64 : 0;

        for (uint32_t g = 0; g < block->n_groups; g++) {
            uint32_t from = group_row(block, g), rows = group_row(block, g + 1) - from;
            uint32_t line = lines * g / block->n_groups;
            struct cpu_tile tile = {
                .a = a,
                .b = panel,
                .c = block->c + (size_t)from * OPS_PANEL,
                .steps = n,
                .fresh = at == 0,
                .ahead = (const char *)next + 64 * (size_t)line,
                .ahead_lines = lines * (g + 1) / block->n_groups - line,
            };

            isa->tile[dtype][rows - 1](&tile);
            a += (size_t)n * rows * step_bytes;
        }
        panel = next;
    }
}

static void finish_panel(const struct product *product, const struct block *block, uint32_t panel)
{
    const struct op_linear *op = product->op;
    uint32_t width = op->act != OP_ACT_NONE ? OPS_PANEL / 2 : OPS_PANEL;
    uint32_t n = op->act != OP_ACT_NONE ? block->w->n / 2 : block->w->n;
    size_t at = (size_t)block->row * op->y_stride + panel * width;
    struct cpu_finish finish = {
        .c = block->c,
        .rows = block->n_rows,
        .n = n - panel * width < width ? n - panel * width : width,
        .bias = op->bias != NULL ? op->bias + panel * width : NULL,
        .residual = op->residual != NULL
                        ? (const uint8_t *)op->residual + at * cpu_dtype_bytes(block->w->dtype)
                        : NULL,
        .y = (uint8_t *)op->y + at * cpu_dtype_bytes(op->y_dtype),
        .stride = op->y_stride,
        .softcap = op->softcap,
        .act = op->act,
        .dtype = block->w->dtype,
        .y_dtype = op->y_dtype,
    };

    product->dev->table->isa->finish(&finish);
}

static struct block find_block(const struct product *product, uint32_t idx, uint32_t thread)
{
    struct device *dev = product->dev;
    struct block block;
    uint32_t expert = 0, n_rows, left;
    size_t c_bytes = (size_t)ROWS_BLOCK_MAX * OPS_PANEL * sizeof(float);

    while (product->blocks[expert + 1] <= idx)
        expert++;
    n_rows = product->first[expert + 1] - product->first[expert];
    block.w = &product->w[expert];
    block.row = (idx - product->blocks[expert]) * product->rows_block;
    left = n_rows - block.row;
    block.n_rows = left < product->rows_block ? left : product->rows_block;
    block.row += product->first[expert];
    block.n_groups = (block.n_rows + CPU_TILE_ROWS - 1) / CPU_TILE_ROWS;
    block.steps_block = block.n_groups > 2 ? STEPS_BLOCK_MORE : STEPS_BLOCK_TWO;
    if (block.n_groups == 1)
        block.steps_block = steps_of(block.w);
    block.c = cpu_work(dev, thread,
                       c_bytes + (size_t)block.n_rows * steps_of(block.w) *
                                     dev->table->isa->a_step_bytes[block.w->dtype]);
    block.a = (uint8_t *)block.c + c_bytes;
    return block;
}

static void product_task(void *ctx, uint32_t thread, uint32_t task)
{
    struct product *product = ctx;
    uint32_t idx = task / product->tasks_block, n_panels = cpu_n_panels(product->w);
    uint32_t panel = task % product->tasks_block * product->panels_task;
    uint32_t end =
        panel + product->panels_task < n_panels ? panel + product->panels_task : n_panels;
    struct block block = find_block(product, idx, thread);
    size_t panel_bytes = cpu_panel_bytes(block.w);

    if (product->packed[thread] != idx + 1) {
        pack_block(product, &block);
        product->packed[thread] = idx + 1;
    }
    for (; panel < end; panel++) {
        multiply_panel(product, &block, (const uint8_t *)block.w->data + panel * panel_bytes);
        finish_panel(product, &block, panel);
    }
}

/* Few large blocks of rows read the weights least often; but packed rows shall stay in a cache, and
 * every thread shall have several tasks. Whole groups of six, as even as can be. */
static uint32_t choose_rows(const struct product *product, uint32_t n_rows)
{
    uint32_t n_threads = pool_n_threads(product->dev->pool), n_blocks, most;
    const struct op_weight *w = product->w;
    size_t row_bytes = (size_t)steps_of(w) * product->dev->table->isa->a_step_bytes[w->dtype];

    most = BLOCK_BYTES / row_bytes < ROWS_BLOCK_MAX ? (uint32_t)(BLOCK_BYTES / row_bytes)
                                                    : ROWS_BLOCK_MAX;
    most = most > ROWS_BLOCK_MIN ? most : ROWS_BLOCK_MIN;
    while (most > ROWS_BLOCK_MIN && n_threads > 1 &&
           cpu_n_panels(w) * ((n_rows - 1) / most + 1) < 4 * n_threads)
        most = most / 2 > ROWS_BLOCK_MIN ? most / 2 : ROWS_BLOCK_MIN;
    n_blocks = (n_rows - 1) / most + 1;
    n_rows = (n_rows + n_blocks - 1) / n_blocks;
    return (n_rows + CPU_TILE_ROWS - 1) / CPU_TILE_ROWS * CPU_TILE_ROWS;
}

static void choose_tasks(struct product *product, uint32_t n_rows)
{
    uint32_t n_panels = cpu_n_panels(product->w), wanted;
    uint32_t n_threads = pool_n_threads(product->dev->pool);
    uint64_t panel_work;

    product->rows_block = choose_rows(product, n_rows);
    n_rows = n_rows < product->rows_block ? n_rows : product->rows_block;
    panel_work = cpu_panel_bytes(product->w) * (16 + n_rows);
    wanted = (uint32_t)(TASK_WORK / panel_work) + 1;
    if (wanted > (n_panels + 4 * n_threads - 1) / (4 * n_threads))
        wanted = (n_panels + 4 * n_threads - 1) / (4 * n_threads);
    product->panels_task = wanted;
    product->tasks_block = (n_panels + wanted - 1) / wanted;
}

static void product_run(struct product *product, uint32_t n_rows)
{
    const struct op_linear *op = product->op;
    uint32_t n_blocks = 0;

    CHECK(product->n_experts <= OPS_EXPERTS_MAX);
    CHECK(op->w.k % 2 == 0 && op->w.k > 0 && op->w.k <= product->dev->k_max && op->w.n > 0);
    CHECK(op->act == OP_ACT_NONE || (op->w.paired && op->bias == NULL && op->softcap == 0.0f));
    if (n_rows == 0)
        return;
    choose_tasks(product, n_rows);
    for (uint32_t e = 0; e < product->n_experts; e++) {
        uint32_t rows = product->first[e + 1] - product->first[e];

        product->blocks[e] = n_blocks;
        n_blocks += (rows + product->rows_block - 1) / product->rows_block;
    }
    product->blocks[product->n_experts] = n_blocks;
    for (uint32_t i = 0; i < DEVICE_THREADS_MAX; i++)
        product->packed[i] = 0;
    pool_run(product->dev->pool, n_blocks * product->tasks_block, product_task, product);
}

void cpu_linear(struct device *dev, const struct op_linear *op)
{
    const uint32_t first[2] = {0, op->n_rows};
    struct product product = {.dev = dev, .op = op, .w = &op->w, .n_experts = 1, .first = first};

    product_run(&product, op->n_rows);
}

void cpu_moe_linear(struct device *dev, const struct op_moe_linear *op)
{
    const struct op_linear linear = {
        .x = op->x,
        .rows = op->rows,
        .x_stride = op->x_stride,
        .y_stride = op->y_stride,
        .n_rows = op->n_places,
        .w = op->w[0],
        .act = op->act,
        .y_dtype = op->y_dtype,
        .y = op->y,
    };
    struct product product = {
        .dev = dev, .op = &linear, .w = op->w, .n_experts = op->n_experts, .first = op->first};

    product_run(&product, op->n_places);
}
