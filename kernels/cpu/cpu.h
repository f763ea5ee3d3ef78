/* Inside of the CPU backend. Two kinds of table:
 *   scalar_*.c   the contract in plain C, whole ops, slow: the definition others are compared with;
 *   the vector tables: *_op.c splits an op into tasks and walks rows and blocks, once for all
 *   instruction sets; the innermost work is a struct cpu_isa, one for each isa_*.c, compiled with
 *   flags of its own. Kernels that are the same but for the width of a register are written once
 *   over vec.h, in *_kernel.h, which every isa_*.c includes. */
#pragma once

#include "kernels/cpu/rows.h"
#include "kernels/device.h"
#include "kernels/ops.h"
#include "kernels/pool.h"

#define CPU_TILE_ROWS 6u /* rows of a dot tile: 6 x 64 sums are 24 AVX-512 registers */
#define CPU_TABLES_MAX 8u

/* One tile of a matrix product: c[row][0..63] goes on (or starts, `fresh`) with `steps` steps of
 * DOT (NUMERICS.md): pairs of k in bf16, single k in f32. a is packed by pack_bf16 or pack_f32 for
 * this many rows; b is [steps][64][2] bf16 or [steps][64] fp32. All pointers 64-byte aligned. */
struct cpu_tile {
    const void *a;
    const void *b;
    float *c; /* [rows][64] */
    uint32_t steps;
    bool fresh;
    const char *ahead;    /* memory that will be read next: touch... */
    uint32_t ahead_lines; /* ...this many lines of 64 bytes on the way; 0: none */
};
typedef void (*cpu_tile_fn)(const struct cpu_tile *tile);

/* What follows the sums of one tile (NUMERICS.md, linear). */
struct cpu_finish {
    const float *c; /* [rows][64] */
    uint32_t rows;
    uint32_t n;           /* columns of the panel that exist (<= 64); paired: outputs (<= 32) */
    const float *bias;    /* NULL, or [n] */
    const void *residual; /* NULL, or [rows][stride] */
    void *y;              /* [rows][stride] */
    uint32_t stride;
    float softcap;
    enum op_act act;
    enum op_dtype dtype, y_dtype;
};

struct cpu_isa {
    const char *name;
    uint32_t a_step_bytes[2]; /* of one row in packed a, for OP_BF16 and OP_F32 */
    /* Packs `steps` steps of `rows` rows: [steps][rows] of a_step_bytes each. */
    void (*pack[2])(const void *const *x, uint32_t rows, uint32_t steps, void *a);
    cpu_tile_fn tile[2][CPU_TILE_ROWS]; /* [dtype][rows - 1] */
    void (*finish)(const struct cpu_finish *finish);
};

struct cpu_table {
    const char *name;
    const struct ops *ops;
    const struct cpu_isa *isa; /* NULL: scalar */
    const struct cpu_rows *rows;
    bool (*usable)(void);
};

/* Scalar first, then as preferred less to more; n from cpu_n_tables. */
extern const struct cpu_table cpu_tables[];
extern const uint32_t cpu_n_tables;

struct device {
    const struct cpu_table *table;
    struct pool *pool;
    uint32_t k_max;
    uint8_t *work; /* [threads][work_bytes], 64-byte aligned */
    size_t work_bytes;
};

/* Thread's own memory for the time of one task; CHECK: bytes <= work_bytes. */
void *cpu_work(struct device *dev, uint32_t thread, size_t bytes);

static inline size_t cpu_dtype_bytes(enum op_dtype dtype)
{
    return dtype == OP_F32 ? 4 : 2;
}

/* Packed weights, the same for all tables. */
size_t cpu_weight_bytes(const struct op_weight *w);
void cpu_pack(struct device *dev, const struct op_weight *w, const struct op_pack *op);
/* Bytes of one panel. */
size_t cpu_panel_bytes(const struct op_weight *w);

/* Where row n of a weight stands: panel and column. */
struct cpu_place {
    uint32_t panel, column;
};
static inline struct cpu_place cpu_weight_place(const struct op_weight *w, uint32_t row)
{
    uint32_t half = w->n / 2, up = w->paired && row >= half;
    struct cpu_place place = {row / OPS_PANEL, row % OPS_PANEL};

    if (w->paired) {
        row -= up * half;
        place.panel = row / (OPS_PANEL / 2);
        place.column = row % (OPS_PANEL / 2) + up * (OPS_PANEL / 2);
    }
    return place;
}
/* Panels of a weight. */
static inline uint32_t cpu_n_panels(const struct op_weight *w)
{
    return w->paired ? (w->n / 2 + 31) / 32 : (w->n + 63) / 64;
}

extern const struct ops scalar_ops, vector_ops;

void scalar_linear(struct device *dev, const struct op_linear *op);
void cpu_linear(struct device *dev, const struct op_linear *op);
void scalar_moe_linear(struct device *dev, const struct op_moe_linear *op);
void cpu_moe_linear(struct device *dev, const struct op_moe_linear *op);

#if defined(__x86_64__)
extern const struct cpu_isa isa_avx2, isa_avx512, isa_avx512bf16;
#elif defined(__aarch64__)
extern const struct cpu_isa isa_neon;
#endif
