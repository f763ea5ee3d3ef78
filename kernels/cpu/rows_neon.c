/* Row kernels for this instruction set: all are those written over vec.h. */
#include "kernels/cpu/attn_kernel.h"
#include "kernels/cpu/rows_kernel.h"
#include "kernels/cpu/sample_kernel.h"

const struct cpu_rows rows_neon = {
    .norm = rows_norm,
    .rope = rows_rope,
    .moe_sum = rows_moe_sum,
    .attention = rows_attention,
    .sample = rows_sample,
};
