/* A device: where tensors live and ops run. One implementation now, the CPU; the CUDA plugin is the
 * other. Everything is posted in order to the device's one queue; the CPU runs it at once. One
 * thread (the node's compute thread) owns a device and calls everything here; device_ptr users on
 * other threads (KV transfer) only touch bytes.
 *
 * Memory from device_alloc is 64-byte aligned, zeroed and, on the CPU, backed by huge pages where
 * the system gives them. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

#ifdef __cplusplus
extern "C" {
#endif

#define DEVICE_WHY_MAX 160u
#define DEVICE_THREADS_MAX 256u

struct device;

struct device_cfg {
    const char *table;  /* NULL or "auto": the best of this machine; else a name of device_tables */
    uint32_t n_threads; /* with the caller's; 0: one for each CPU this process may use */
    uint32_t k_max;     /* longest row that a linear will read, elements: sizes the workspaces */
    bool pin;           /* bind workers to CPUs; only where no other process shares them */
};

struct device_info {
    const char *table; /* "scalar", "avx2", "avx512", "avx512bf16", "neon" */
    const char *kind;  /* of the numerics identity: "cpu", "cpu_arm" */
    uint32_t n_threads;
};

/* Names of the tables in this build that this machine can run, scalar first, the best last; fills
 * at most max, returns how many there are. */
size_t device_tables(const char **names, size_t max);

/* NOT_FOUND (no such table), UNSUPPORTED (the machine cannot run it), INVALID, NO_MEMORY, IO; `why`
 * is then a sentence. */
enum status device_open(const struct device_cfg *cfg, struct device **out,
                        char why[DEVICE_WHY_MAX]);
/* Waits for the queue; NULL is nothing. Memory must have been freed before. */
void device_close(struct device *dev);
struct device_info device_info(const struct device *dev);

/* NO_MEMORY. bytes > 0. */
enum status device_alloc(struct device *dev, size_t bytes, void **out);
/* The same bytes as given to alloc; NULL is nothing. */
void device_free(struct device *dev, void *memory, size_t bytes);

/* Host to device, device to host, device to device; and zeros. Host memory stays the caller's until
 * device_wait. */
void device_copy(struct device *dev, void *dst, const void *src, size_t bytes);
void device_clear(struct device *dev, void *dst, size_t bytes);
/* Until all that was posted has run. The first error since the last call, or OK. */
enum status device_wait(struct device *dev);

#ifdef __cplusplus
}
#endif
