/* The heap, with one hook: tests make the n-th allocation fail, so that every unwinding path of a
 * constructor is walked. All heap memory of ours comes from here, mostly at start-up, through
 * arenas and pools; libraries below us keep using malloc. Safe on any thread. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* `bytes` of uninitialised memory aligned to 16, or NULL when out of memory. 0 bytes count as 1. */
void *mem_alloc(size_t bytes);

/* A zeroed array of `count` objects, or NULL when out of memory or the product overflows. */
void *mem_alloc_zero(size_t count, size_t bytes_each);

/* As mem_alloc, with an alignment that is a power of two (cache lines, pages, DMA). */
void *mem_alloc_aligned(size_t alignment, size_t bytes);

/* Resizes `ptr` (NULL: a new one). On NULL the old block is untouched. Not for aligned blocks. */
void *mem_realloc(void *ptr, size_t bytes);

/* A copy of `text` with its end, or NULL when out of memory. */
char *mem_strdup(const char *text);

/* Frees what any function above gave; NULL is nothing. */
void mem_free(void *ptr);

#define MEM_FAIL_NEVER (-1)

/* For tests: after `n_good` more successful allocations in this process every one fails, until
 * this is called again. MEM_FAIL_NEVER is the state at start. */
void mem_fail_after(int64_t n_good);

/* For tests: allocations given and not yet freed, by any thread. */
int64_t mem_live(void);
