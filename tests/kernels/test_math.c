/* The functions of the contract: their accuracy against libm, the fused product without the
 * instruction against libm's exact one, Philox against its published vectors, bf16 by its rule. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>

#include "kernels/fpmode.h"
#include "kernels/mathfn.h"
#include "kernels/philox.h"
#include "tests/kernels/rig.h"

/* Bits of all fp32, in steps that visit every exponent and many mantissas. */
#define STEP 10007u

static double relative(double got, double truth)
{
    return truth == 0.0 ? fabs(got) : fabs((got - truth) / truth);
}

static void functions_are_accurate(void **state)
{
    double exp2_worst = 0, log_worst = 0, tanh_worst = 0, silu_worst = 0;

    (void)state;
    for (uint64_t bits = 0; bits < UINT64_C(1) << 32; bits += STEP) {
        float x = f32_of_bits((uint32_t)bits);
        double t = x;

        if (x >= -125.0f && x <= 127.0f)
            exp2_worst = fmax(exp2_worst, relative(math_exp2(x), exp2(t)));
        if (x >= 0x1p-126f && isfinite(x))
            log_worst = fmax(log_worst, relative(math_log(x), log(t)));
        if (fabsf(x) > 1e-30f && isfinite(x))
            tanh_worst = fmax(tanh_worst, relative(math_tanh(x), tanh(t)));
        if (fabsf(x) > 1e-30f && x > -20.0f && x < 1e30f)
            silu_worst = fmax(silu_worst, relative(math_silu(x), t / (1.0 + exp(-t))));
    }
    assert_true(exp2_worst < 1.0e-7);
    assert_true(log_worst < 1.0e-7);
    assert_true(tanh_worst < 2.0e-7);
    assert_true(silu_worst < 1.5e-6);
}

static void edges_are_as_stated(void **state)
{
    (void)state;
    for (int n = -125; n <= 127; n++)
        assert_true(math_exp2((float)n) == ldexpf(1.0f, n));
    assert_true(f32_bits(math_exp2(-125.5f)) == 0 && f32_bits(math_exp2(-INFINITY)) == 0);
    assert_true(math_exp2(1e30f) == 0x1p127f && math_exp2(INFINITY) == 0x1p127f);
    assert_true(isnan(math_exp2(NAN)));
    assert_true(math_log(1.0f) == 0.0f);
    assert_true(math_tanh(50.0f) == 1.0f && math_tanh(-50.0f) == -1.0f);
    assert_true(fabsf(math_gelu_tanh(1.0f) - 0.841192f) < 1e-5f);
    assert_true(fabsf(math_gelu_tanh(-1.0f) + 0.158808f) < 1e-5f);
}

static void tables_are_accurate(void **state)
{
    (void)state;
    for (double x = 0; x < MATH_ANGLE_MAX; x += 3.73) {
        struct math_angle angle = math_sincos_d(x);

        assert_true(fabs(angle.sin - sin(x)) < 0x1p-50 && fabs(angle.cos - cos(x)) < 0x1p-50);
    }
    for (double x = 1e-3; x < 1e7; x *= 1.0003)
        assert_true(fabs(math_log2_d(x) - log2(x)) < 1e-14);
    for (double x = -90; x < 90; x += 0.0037)
        assert_true(relative(math_exp2_d(x), exp2(x)) < 1e-15);
}

/* An fp32 near where the product and the addend cancel, or any bits at all. */
static float addend(uint64_t *random, float a, float b)
{
    uint32_t bits = (uint32_t)rig_random(random);
    uint32_t shift = (uint32_t)rig_below(random, 30) - 15u;

    if (rig_below(random, 2))
        return f32_of_bits(bits);
    return f32_of_bits(((f32_bits(a * b) + (shift << 23)) & 0xff800000u) | (bits & 0x7fffffu));
}

static void products_are_fused(void **state)
{
    uint64_t random = 77;

    (void)state;
    for (int flush = 0; flush < 2; flush++) {
        for (uint32_t i = 0; i < 3000000; i++) {
            struct fpmode mode;
            float a = f32_of_bits((uint32_t)rig_random(&random));
            float b = f32_of_bits((uint32_t)rig_random(&random));
            float c = addend(&random, a, b), got, truth;

            mode = fpmode_enter();
            if (!flush)
                fpmode_leave(mode);
            got = math_fma(a, b, c);
            truth = fmaf(a, b, c);
            fpmode_leave(mode);
            if (!isnan(truth))
                assert_int_equal(f32_bits(got), f32_bits(truth));
        }
    }
}

static void philox_is_the_published_one(void **state)
{
    const struct philox_words zeros = {{0, 0, 0, 0}};
    const struct philox_words ones = {{~0u, ~0u, ~0u, ~0u}};
    const struct philox_words pi = {{0x243f6a88u, 0x85a308d3u, 0x13198a2eu, 0x03707344u}};
    struct philox_words got;

    (void)state;
    got = philox4x32_10(zeros, 0);
    assert_int_equal(got.word[0], 0x6627e8d5u);
    assert_int_equal(got.word[3], 0x9b00dbd8u);
    got = philox4x32_10(ones, ~UINT64_C(0));
    assert_int_equal(got.word[0], 0x408f276du);
    assert_int_equal(got.word[3], 0x6d5451fdu);
    got = philox4x32_10(pi, UINT64_C(0x299f31d0a4093822));
    assert_int_equal(got.word[0], 0xd16cfe09u);
    assert_int_equal(got.word[3], 0x24126ea1u);
}

static void narrowing_follows_its_rule(void **state)
{
    (void)state;
    assert_int_equal(bf16_of_f32(1.0f), 0x3f80);
    assert_int_equal(bf16_of_f32(f32_of_bits(0x3f808000u)), 0x3f80); /* a tie, to even */
    assert_int_equal(bf16_of_f32(f32_of_bits(0x3f818000u)), 0x3f82);
    assert_int_equal(bf16_of_f32(f32_of_bits(0x3f808001u)), 0x3f81);
    assert_int_equal(bf16_of_f32(f32_of_bits(0x7f7fffffu)), 0x7f80); /* overflows */
    assert_int_equal(bf16_of_f32(f32_of_bits(0x807fffffu)), 0x8000); /* below the normals */
    assert_int_equal(bf16_of_f32(f32_of_bits(0x7f800001u)), 0x7fc0); /* a quiet NaN */
    assert_true(f32_of_f16(0x3c00) == 1.0f && f32_of_f16(0xc000) == -2.0f);
    assert_true(f32_of_f16(0x0001) == 0x1p-24f && f32_of_f16(0x03ff) == 0x3ffp-24f);
    assert_true(f32_of_f16(0x7bff) == 65504.0f && isinf(f32_of_f16(0x7c00)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(functions_are_accurate),      cmocka_unit_test(edges_are_as_stated),
        cmocka_unit_test(tables_are_accurate),         cmocka_unit_test(products_are_fused),
        cmocka_unit_test(philox_is_the_published_one), cmocka_unit_test(narrowing_follows_its_rule),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
