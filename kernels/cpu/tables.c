/* Which tables there are in this build and which of them this machine can run. */
#include "kernels/cpu/cpu.h"

const struct ops scalar_ops = {
    .name = "scalar",
    .weight_bytes = cpu_weight_bytes,
    .pack = cpu_pack,
    .embed = cpu_embed,
    .norm = cpu_norm,
    .linear = scalar_linear,
    .angles = cpu_angles,
    .rope = cpu_rope,
    .attention = cpu_attention,
    .moe_route = cpu_moe_route,
    .moe_linear = scalar_moe_linear,
    .moe_sum = cpu_moe_sum,
    .sample = cpu_sample,
};

const struct ops vector_ops = {
    .name = "vector",
    .weight_bytes = cpu_weight_bytes,
    .pack = cpu_pack,
    .embed = cpu_embed,
    .norm = cpu_norm,
    .linear = cpu_linear,
    .angles = cpu_angles,
    .rope = cpu_rope,
    .attention = cpu_attention,
    .moe_route = cpu_moe_route,
    .moe_linear = cpu_moe_linear,
    .moe_sum = cpu_moe_sum,
    .sample = cpu_sample,
};

static bool usable_scalar(void)
{
    return true;
}

#if defined(__x86_64__)

/* The builtin also asks the system whether it saves the wide registers. */
static bool usable_avx2(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

static bool usable_avx512(void)
{
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
           usable_avx2();
}

static bool usable_avx512bf16(void)
{
    return __builtin_cpu_supports("avx512bf16") && usable_avx512();
}

const struct cpu_table cpu_tables[] = {
    {"scalar", &scalar_ops, NULL, &rows_scalar, usable_scalar},
    {"avx2", &vector_ops, &isa_avx2, &rows_avx2, usable_avx2},
    {"avx512", &vector_ops, &isa_avx512, &rows_avx512, usable_avx512},
    {"avx512bf16", &vector_ops, &isa_avx512bf16, &rows_avx512bf16, usable_avx512bf16},
};

#elif defined(__aarch64__)

const struct cpu_table cpu_tables[] = {
    {"scalar", &scalar_ops, NULL, &rows_scalar, usable_scalar},
    {"neon", &vector_ops, &isa_neon, &rows_neon, usable_scalar},
};

#else

const struct cpu_table cpu_tables[] = {
    {"scalar", &scalar_ops, NULL, &rows_scalar, usable_scalar},
};

#endif

const uint32_t cpu_n_tables = sizeof(cpu_tables) / sizeof(cpu_tables[0]);
