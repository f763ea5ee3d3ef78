/* The floating-point mode of the numerics contract, set and put back: results and operands below
 * the smallest normal count as zero (x86: FTZ and DAZ, Arm: FZ), rounding to nearest even. */
#pragma once

#include <stdint.h>

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

struct fpmode {
    uint64_t word; /* what was set before */
};

static inline struct fpmode fpmode_enter(void)
{
    struct fpmode before = {0};

#if defined(__x86_64__)
    before.word = _mm_getcsr();
    _mm_setcsr(0x9fc0u); /* FTZ, all exceptions masked, nearest even, DAZ */
#elif defined(__aarch64__)
    __asm__ volatile("mrs %0, fpcr" : "=r"(before.word));
    __asm__ volatile("msr fpcr, %0" : : "r"(UINT64_C(1) << 24));
#else
#error "the floating-point mode of this architecture is not known"
#endif
    return before;
}

static inline void fpmode_leave(struct fpmode before)
{
#if defined(__x86_64__)
    _mm_setcsr((unsigned int)before.word);
#elif defined(__aarch64__)
    __asm__ volatile("msr fpcr, %0" : : "r"(before.word));
#endif
}
