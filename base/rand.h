/* Two sources of randomness that must not be confused: `struct rand` is seeded, repeatable and
 * predictable, for the simulator, tests and back-off jitter; rand_entropy is the kernel's, for
 * incarnations, secrets, request seeds and hash keys. Neither is the sampler's noise, which is
 * Philox by position and lives with the kernels. A `struct rand` belongs to one thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* xoshiro256** state; never all zero. Read it only through the functions below. */
struct rand {
    uint64_t s[4];
};

/* Spreads `seed` over the state with splitmix64: neighbouring seeds give unrelated streams. */
void rand_init(struct rand *rng, uint64_t seed);

/* The next 64 bits. */
uint64_t rand_u64(struct rand *rng);

/* Uniform in [0, bound), without bias. `bound` must not be 0. */
uint64_t rand_below(struct rand *rng, uint64_t bound);

/* Uniform in [low, high], both ends included; low <= high. */
uint64_t rand_between(struct rand *rng, uint64_t low, uint64_t high);

/* True `numerator` times in `denominator`. */
bool rand_chance(struct rand *rng, uint64_t numerator, uint64_t denominator);

/* Uniform in [0, 1), a multiple of 2^-53. */
double rand_unit(struct rand *rng);

/* Fills `len` bytes. */
void rand_bytes(struct rand *rng, void *buf, size_t len);

/* Fills `len` bytes with the kernel's entropy. Never fails: without entropy a process cannot make
 * an incarnation or a secret, so it aborts instead of going on with a guessable one. */
void rand_entropy(void *buf, size_t len);
