/* malloc with a countdown to failure and a count of what is out. Both counters are atomics of the
 * process: a test arms them, whichever thread allocates. They cost nothing where it matters,
 * because nothing allocates per token. */
#include "base/mem.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* Successful allocations left before the injected failure; negative: none is injected. */
static _Atomic int64_t mem_n_good_left = MEM_FAIL_NEVER;
static _Atomic int64_t mem_n_live;

/* Counts down to zero and stays there. */
static int mem_must_fail(void)
{
    int64_t left = atomic_load_explicit(&mem_n_good_left, memory_order_relaxed);
    while (left > 0) {
        if (atomic_compare_exchange_weak_explicit(&mem_n_good_left, &left, left - 1,
                                                  memory_order_relaxed, memory_order_relaxed)) {
            return 0;
        }
    }
    return left == 0;
}

static void *mem_count(void *ptr)
{
    if (ptr != NULL) {
        atomic_fetch_add_explicit(&mem_n_live, 1, memory_order_relaxed);
    }
    return ptr;
}

void *mem_alloc(size_t bytes)
{
    return mem_must_fail() ? NULL : mem_count(malloc(bytes > 0 ? bytes : 1));
}

void *mem_alloc_zero(size_t count, size_t bytes_each)
{
    size_t bytes; /* checked here, because sanitizers take the question as a bug */
    if (__builtin_mul_overflow(count, bytes_each, &bytes) || mem_must_fail()) {
        return NULL;
    }
    return mem_count(calloc(1, bytes > 0 ? bytes : 1));
}

void *mem_alloc_aligned(size_t alignment, size_t bytes)
{
    void *ptr = NULL;
    if (alignment < sizeof(void *)) {
        alignment = sizeof(void *);
    }
    if (mem_must_fail() || posix_memalign(&ptr, alignment, bytes > 0 ? bytes : 1) != 0) {
        return NULL;
    }
    return mem_count(ptr);
}

void *mem_realloc(void *ptr, size_t bytes)
{
    if (ptr == NULL) {
        return mem_alloc(bytes);
    }
    return mem_must_fail() ? NULL : realloc(ptr, bytes > 0 ? bytes : 1);
}

char *mem_strdup(const char *text)
{
    size_t bytes = strlen(text) + 1;
    char *copy = mem_alloc(bytes);
    return copy == NULL ? NULL : memcpy(copy, text, bytes);
}

void mem_free(void *ptr)
{
    if (ptr != NULL) {
        atomic_fetch_sub_explicit(&mem_n_live, 1, memory_order_relaxed);
        free(ptr);
    }
}

void mem_fail_after(int64_t n_good)
{
    atomic_store_explicit(&mem_n_good_left, n_good, memory_order_relaxed);
}

int64_t mem_live(void)
{
    return atomic_load_explicit(&mem_n_live, memory_order_relaxed);
}
