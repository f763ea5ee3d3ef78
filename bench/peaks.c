/* The limits of the processors and of memory, measured with a pool of their own. */
#include "bench/peaks.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/mem.h"
#include "kernels/pool.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define READ_BYTES ((size_t)512 << 20)
#define SLICE_BYTES ((size_t)96 << 20) /* 1 to 2 ms */
#define SLICE_TASKS 64u
#define DOT_ROUNDS 10000u
#define DOT_TASKS 64u
#define SLICES_ENOUGH 40u
#define SETTLE_NS 100000
#define HUGE_PAGE ((size_t)2 << 20)

/* ---- laps ---- */

static uint64_t now_ns(bool cpu)
{
    struct timespec t;

    clock_gettime(cpu ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

void laps_init(struct laps *laps, bool cpu, uint32_t n_threads)
{
    laps->cpu = cpu;
    laps->n_threads = n_threads;
    laps->n = 0;
    laps->sum_ns = 0;
}

/* The CPU time of a worker is exact only once it sleeps, some 20 us after its last task. */
static void settle(const struct laps *laps)
{
    const struct timespec pause = {.tv_nsec = SETTLE_NS};

    if (laps->cpu)
        nanosleep(&pause, NULL);
}

void laps_begin(struct laps *laps)
{
    settle(laps);
    laps->begin_ns = now_ns(laps->cpu);
}

double laps_end(struct laps *laps)
{
    uint64_t ns;

    settle(laps);
    ns = now_ns(laps->cpu) - laps->begin_ns;
    if (laps->cpu)
        ns /= laps->n_threads;
    if (laps->n < LAPS_MAX) {
        laps->ns[laps->n++] = ns;
        laps->sum_ns += ns;
    }
    return (double)ns * 1e-9;
}

static int compare(const void *a, const void *b)
{
    const uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;

    return (left > right) - (left < right);
}

double laps_best(struct laps *laps)
{
    CHECK(laps->n > 0);
    qsort(laps->ns, laps->n, sizeof(laps->ns[0]), compare);
    return (double)laps->ns[0] * 1e-9;
}

double laps_mean(const struct laps *laps)
{
    CHECK(laps->n > 0);
    return (double)laps->sum_ns * 1e-9 / laps->n;
}

/* ---- limits ---- */

struct peaks {
    struct pool *pool;
    uint8_t *memory; /* [READ_BYTES] */
    size_t at;
    double dot_ops; /* of a slice */
    struct laps dot, read;
    _Alignas(64) float sink[SLICE_TASKS][16];
};

#if defined(__x86_64__)

__attribute__((target("avx512f,avx512bf16"))) static void dot_bf16(float *sink)
{
    __m512 sum[12];
    __m512i x = _mm512_set1_epi32(0x3f803f80);

#pragma GCC unroll 12
    for (int i = 0; i < 12; i++)
        sum[i] = _mm512_set1_ps((float)i);
    for (uint32_t round = 0; round < DOT_ROUNDS; round++) {
#pragma GCC unroll 12
        for (int i = 0; i < 12; i++)
            sum[i] = _mm512_dpbf16_ps(sum[i], (__m512bh)x, (__m512bh)x);
    }
#pragma GCC unroll 12
    for (int i = 0; i < 12; i++)
        _mm512_storeu_ps(sink, _mm512_add_ps(_mm512_loadu_ps(sink), sum[i]));
}

__attribute__((target("avx2,fma"))) static void dot_fma(float *sink)
{
    __m256 sum[12], x = _mm256_set1_ps(0.5f);

    for (int i = 0; i < 12; i++)
        sum[i] = _mm256_set1_ps((float)i);
    for (uint32_t round = 0; round < DOT_ROUNDS; round++) {
#pragma GCC unroll 12
        for (int i = 0; i < 12; i++)
            sum[i] = _mm256_fmadd_ps(sum[i], x, x);
    }
    for (int i = 0; i < 12; i++)
        _mm256_storeu_ps(sink, _mm256_add_ps(_mm256_loadu_ps(sink), sum[i]));
}

/* Gives the operations. */
static double dot_once(float *sink)
{
    if (__builtin_cpu_supports("avx512bf16")) {
        dot_bf16(sink);
        return 12.0 * DOT_ROUNDS * 64;
    }
    dot_fma(sink);
    return 12.0 * DOT_ROUNDS * 16;
}

#else

static double dot_once(float *sink)
{
    for (uint32_t round = 0; round < DOT_ROUNDS; round++)
        for (int i = 0; i < 16; i++)
            sink[i] = sink[i] * 0.5f + 0.5f;
    return 16.0 * DOT_ROUNDS * 2;
}

#endif

static void dot_task(void *ctx, uint32_t thread, uint32_t task)
{
    struct peaks *peaks = ctx;

    (void)thread;
    (void)dot_once(peaks->sink[task]);
}

static void read_task(void *ctx, uint32_t thread, uint32_t task)
{
    struct peaks *peaks = ctx;
    size_t part = SLICE_BYTES / SLICE_TASKS;
    const uint64_t *p = (const uint64_t *)(const void *)(peaks->memory + peaks->at + task * part);
    uint64_t a = 0, b = 0, c = 0, d = 0;

    (void)thread;
    for (size_t i = 0; i < part / 8; i += 32) { /* one word of each line: the line is read */
        a += p[i];
        b += p[i + 8];
        c += p[i + 16];
        d += p[i + 24];
    }
    peaks->sink[task][0] += (float)(a + b + c + d);
}

enum status peaks_create(uint32_t n_threads, bool cpu, struct peaks **out)
{
    struct peaks *peaks = mem_alloc_aligned(64, sizeof(*peaks));
    enum status status;

    if (!peaks)
        return STATUS_NO_MEMORY;
    memset(peaks, 0, sizeof(*peaks));
    status = pool_create(n_threads, false, &peaks->pool);
    if (status != STATUS_OK)
        goto fail_pool;
    status = STATUS_NO_MEMORY;
    peaks->memory = mem_alloc_aligned(HUGE_PAGE, READ_BYTES);
    if (!peaks->memory)
        goto fail_memory;
    (void)madvise(peaks->memory, READ_BYTES, MADV_HUGEPAGE); /* only a wish */
    memset(peaks->memory, 1, READ_BYTES);
    n_threads = pool_n_threads(peaks->pool);
    laps_init(&peaks->dot, cpu, n_threads);
    laps_init(&peaks->read, cpu, n_threads);
    peaks->dot_ops = dot_once(peaks->sink[0]) * DOT_TASKS;
    *out = peaks;
    return STATUS_OK;
fail_memory:
    pool_destroy(peaks->pool);
fail_pool:
    mem_free(peaks);
    return status;
}

void peaks_destroy(struct peaks *peaks)
{
    if (!peaks)
        return;
    mem_free(peaks->memory);
    pool_destroy(peaks->pool);
    mem_free(peaks);
}

void peaks_restart(struct peaks *peaks)
{
    laps_init(&peaks->dot, peaks->dot.cpu, peaks->dot.n_threads);
    laps_init(&peaks->read, peaks->read.cpu, peaks->read.n_threads);
}

void peaks_slice(struct peaks *peaks)
{
    peaks->at += SLICE_BYTES;
    if (peaks->at + SLICE_BYTES > READ_BYTES)
        peaks->at = 0;
    laps_begin(&peaks->read);
    pool_run(peaks->pool, SLICE_TASKS, read_task, peaks);
    (void)laps_end(&peaks->read);
    laps_begin(&peaks->dot);
    pool_run(peaks->pool, DOT_TASKS, dot_task, peaks);
    (void)laps_end(&peaks->dot);
}

void peaks_enough(struct peaks *peaks)
{
    while (peaks->dot.n < SLICES_ENOUGH)
        peaks_slice(peaks);
}

double peaks_dot(struct peaks *peaks)
{
    return peaks->dot_ops / laps_best(&peaks->dot) / 1e9;
}

double peaks_read(struct peaks *peaks)
{
    return (double)SLICE_BYTES / laps_best(&peaks->read) / 1e9;
}
