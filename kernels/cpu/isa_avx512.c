/* The table for AVX-512 without vdpbf16ps: all kernels are those written over vec.h. */
#include "kernels/cpu/finish_kernel.h"
#include "kernels/cpu/tile_table.h"

const struct cpu_isa isa_avx512 = {
    .name = "avx512",
    .a_step_bytes = {8, 4},
    .pack = {pack_bf16, pack_f32},
    .tile = {TILE_BF16, TILE_F32},
    .finish = finish_tile,
};
