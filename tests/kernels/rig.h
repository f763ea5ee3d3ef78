/* What tests of kernels share: devices for every table, tensors with guarded ends, random numbers
 * that make roundings and signs matter. */
#pragma once

#include "kernels/ops.h"

#define RIG_GUARD 64u /* elements before and behind a tensor that nothing may touch */

/* xorshift64*; state must not be 0. */
uint64_t rig_random(uint64_t *state);
uint32_t rig_below(uint64_t *state, uint32_t n);
/* About normal with deviation `scale`; now and then a zero of either sign, a large or a tiny one.
 */
float rig_number(uint64_t *state, float scale);

/* Opens the table with so many threads; fails the test where that fails. */
struct device *rig_device(const char *table, uint32_t n_threads);
#define RIG_K_MAX 4096u

/* A tensor of n elements of dtype in host memory, between two guards. */
struct rig_tensor {
    void *data;
    size_t n;
    enum op_dtype dtype;
    void *memory;
};
struct rig_tensor rig_tensor_make(size_t n, enum op_dtype dtype);
/* Random numbers, the same for the same seed and n. */
struct rig_tensor rig_tensor_random(size_t n, enum op_dtype dtype, float scale, uint64_t seed);
/* Frees it after checking its guards. */
void rig_tensor_drop(struct rig_tensor *tensor);
size_t rig_bytes(const struct rig_tensor *tensor);
float rig_get(const struct rig_tensor *tensor, size_t at);

/* A packed weight of [n][k] numbers `rows`; free with rig_weight_drop. */
struct op_weight rig_weight(struct device *dev, const struct rig_tensor *rows, uint32_t n,
                            uint32_t k, enum op_dtype dtype, bool paired);
void rig_weight_drop(struct device *dev, struct op_weight *w);
