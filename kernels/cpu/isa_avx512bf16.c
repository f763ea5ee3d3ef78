/* The table for AVX-512 with vdpbf16ps: that of AVX-512 but for the bf16 tile and for rounding. */
#include "kernels/cpu/finish_kernel.h"
#include "kernels/cpu/tile_table.h"

const struct cpu_isa isa_avx512bf16 = {
    .name = "avx512bf16",
    .a_step_bytes = {4, 4},
    .pack = {pack_bf16, pack_f32},
    .tile = {TILE_BF16, TILE_F32},
    .finish = finish_tile,
};
