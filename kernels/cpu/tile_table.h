/* One function for each number of rows, from the tiles that the including isa_*.c has. */
#pragma once

#include "kernels/cpu/tile_dpbf16.h"
#include "kernels/cpu/tile_kernel.h"
#include "kernels/cpu/tile_pairs.h"

#ifdef VEC_ANY

static void tile_bf16_1(const struct cpu_tile *tile)
{
    tile_bf16(tile, 1);
}
static void tile_bf16_2(const struct cpu_tile *tile)
{
    tile_bf16(tile, 2);
}
static void tile_bf16_3(const struct cpu_tile *tile)
{
    tile_bf16(tile, 3);
}
static void tile_bf16_4(const struct cpu_tile *tile)
{
    tile_bf16(tile, 4);
}
static void tile_bf16_5(const struct cpu_tile *tile)
{
    tile_bf16(tile, 5);
}
static void tile_bf16_6(const struct cpu_tile *tile)
{
    tile_bf16(tile, 6);
}
static void tile_f32_1(const struct cpu_tile *tile)
{
    tile_f32(tile, 1);
}
static void tile_f32_2(const struct cpu_tile *tile)
{
    tile_f32(tile, 2);
}
static void tile_f32_3(const struct cpu_tile *tile)
{
    tile_f32(tile, 3);
}
static void tile_f32_4(const struct cpu_tile *tile)
{
    tile_f32(tile, 4);
}
static void tile_f32_5(const struct cpu_tile *tile)
{
    tile_f32(tile, 5);
}
static void tile_f32_6(const struct cpu_tile *tile)
{
    tile_f32(tile, 6);
}

#define TILE_BF16                                                                                  \
    {                                                                                              \
        tile_bf16_1, tile_bf16_2, tile_bf16_3, tile_bf16_4, tile_bf16_5, tile_bf16_6               \
    }
#define TILE_F32                                                                                   \
    {                                                                                              \
        tile_f32_1, tile_f32_2, tile_f32_3, tile_f32_4, tile_f32_5, tile_f32_6                     \
    }

#endif
