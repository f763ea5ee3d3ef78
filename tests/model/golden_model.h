/* Tiny checkpoints for comparisons with the reference: made by code from a config.json and a seed,
 * so that nothing large is committed and both sides read the same file. Unlike make-model's, their
 * weights are chosen so that nothing hides: attention is peaked, norms and biases vary widely, and
 * routers decide clearly. All values are exact in bf16. */
#pragma once

#include <stdint.h>

/* Writes folder/model.safetensors for folder/config.json, in the config's dtype (bf16 or fp32). The
 * values depend on the seed and the tensors' names alone. Aborts with a sentence where it cannot:
 * its callers are tests. */
void golden_model_write(const char *folder, uint64_t seed);
