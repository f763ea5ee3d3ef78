#include "tests/kernels/bench_limits.h"

#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

#include "kernels/pool.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define READ_BYTES ((size_t)512 << 20)
#define SLICE_BYTES ((size_t)96 << 20) /* 1 to 2 ms */
#define SLICE_TASKS 64u
#define DOT_ROUNDS 20000u
#define DOT_TASKS 64u

struct bench_limits {
    struct pool *pool;
    uint8_t *memory; /* [READ_BYTES] */
    size_t at;
    _Alignas(64) float sink[SLICE_TASKS][16];
};

static double seconds(clockid_t clock)
{
    struct timespec t;

    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

double bench_wall_now(void)
{
    return seconds(CLOCK_MONOTONIC);
}

void bench_start(struct bench_times *times)
{
    times->cpu_start = seconds(CLOCK_PROCESS_CPUTIME_ID);
    times->wall_start = bench_wall_now();
}

void bench_stop(struct bench_times *times)
{
    double wall_s = bench_wall_now() - times->wall_start;
    double cpu_s = seconds(CLOCK_PROCESS_CPUTIME_ID) - times->cpu_start;

    if (times->n == 0 || wall_s < times->wall_s)
        times->wall_s = wall_s;
    if (times->n < BENCH_SAMPLES_MAX)
        times->cpu_s[times->n++] = cpu_s / times->n_threads;
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

double bench_cpu_s(struct bench_times *times)
{
    qsort(times->cpu_s, times->n, sizeof(times->cpu_s[0]), compare_doubles);
    return times->cpu_s[times->n / 10];
}

enum status bench_limits_create(unsigned n_threads, struct bench_limits **out)
{
    struct bench_limits *limits = aligned_alloc(64, sizeof(*limits));
    enum status status;

    if (limits == NULL)
        return STATUS_NO_MEMORY;
    status = pool_create(n_threads, false, &limits->pool);
    if (status != STATUS_OK)
        goto fail_pool;
    limits->memory =
        mmap(NULL, READ_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (limits->memory == MAP_FAILED)
        goto fail_memory;
    (void)madvise(limits->memory, READ_BYTES, MADV_HUGEPAGE);
    for (size_t i = 0; i < READ_BYTES; i += 64)
        limits->memory[i] = (uint8_t)i;
    limits->at = 0;
    *out = limits;
    return STATUS_OK;
fail_memory:
    status = STATUS_NO_MEMORY;
    pool_destroy(limits->pool);
fail_pool:
    free(limits);
    return status;
}

void bench_limits_destroy(struct bench_limits *limits)
{
    (void)munmap(limits->memory, READ_BYTES);
    pool_destroy(limits->pool);
    free(limits);
}

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
    struct bench_limits *limits = ctx;

    (void)thread;
    (void)dot_once(limits->sink[task]);
}

double bench_limit_dot(struct bench_limits *limits, struct bench_times *times)
{
    unsigned n_threads = pool_n_threads(limits->pool);

    times->n_threads = n_threads;
    bench_start(times);
    pool_run(limits->pool, DOT_TASKS, dot_task, limits);
    bench_stop(times);
    return dot_once(limits->sink[0]) * DOT_TASKS;
}

static void read_task(void *ctx, uint32_t thread, uint32_t task)
{
    struct bench_limits *limits = ctx;
    size_t part = SLICE_BYTES / SLICE_TASKS;
    const uint64_t *p = (const uint64_t *)(const void *)(limits->memory + limits->at + task * part);
    uint64_t a = 0, b = 0, c = 0, d = 0;

    (void)thread;
    for (size_t i = 0; i < part / 8; i += 32) { /* one word of each line: the line is read */
        a += p[i];
        b += p[i + 8];
        c += p[i + 16];
        d += p[i + 24];
    }
    limits->sink[task][0] += (float)(a + b + c + d);
}

double bench_limit_read(struct bench_limits *limits, struct bench_times *times)
{
    unsigned n_threads = pool_n_threads(limits->pool);

    times->n_threads = n_threads;
    limits->at += SLICE_BYTES;
    if (limits->at + SLICE_BYTES > READ_BYTES)
        limits->at = 0;
    bench_start(times);
    pool_run(limits->pool, SLICE_TASKS, read_task, limits);
    bench_stop(times);
    return (double)SLICE_BYTES;
}
