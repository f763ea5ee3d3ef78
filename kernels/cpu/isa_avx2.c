/* The table for AVX2 and FMA: all kernels are those written over vec.h. */
#include "kernels/cpu/finish_kernel.h"
#include "kernels/cpu/tile_table.h"

const struct cpu_isa isa_avx2 = {
    .name = "avx2",
    .a_step_bytes = {8, 4},
    .pack = {pack_bf16, pack_f32},
    .tile = {TILE_BF16, TILE_F32},
    .finish = finish_tile,
};
