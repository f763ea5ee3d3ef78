/* Sampling parameters as a whole: what must hold between their fields, ids within the model's
 * vocabulary, and copies that own their arrays. The router asks before it admits a request, the
 * roles ask again before they compute one. No I/O, no memory of its own; any thread. */
#pragma once

#include "wire/msg.h"

/* A bias reaches so far either way. */
#define WIRE_BIAS_VALUE_MAX 100.0
/* Logits are divided by it: so they stay where the sampler's numbers are exact. */
#define WIRE_REPETITION_MIN 0.01

/* INVALID where an id is not below vocab: why[WIRE_ERROR_MAX] then names it, its place under that
 * name, and the vocabulary. */
enum status wire_ids_check(const char *name, struct wire_u32s ids, uint32_t vocab, char *why);
/* INVALID with a sentence in why[WIRE_ERROR_MAX]. The fields are within their own limits. */
enum status wire_sampling_check(const struct wire_sampling *sampling, uint32_t vocab, char *why);

/* The same of a job: its prompt and emitted ids too. */
enum status wire_job_check(const struct wire_job *job, uint32_t vocab, char *why);

/* Bytes of all its arrays: a multiple of 8. */
size_t wire_sampling_bytes(const struct wire_sampling *sampling);
/* A copy whose arrays lie in memory[wire_sampling_bytes], aligned to 8. */
struct wire_sampling wire_sampling_copy(const struct wire_sampling *sampling, void *memory);
