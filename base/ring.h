/* The only way two threads of ours talk: a ring with one producer and one consumer, of fixed-size
 * records that are copied in and out; and a wake-up for a consumer that sleeps in poll. Neither
 * side ever waits. What travels by pointer inside a record changes its owner with the record.
 *
 * Wake-up protocol (one ring_wake serves all rings of one consumer):
 *     consumer: pop until dry; ring_wake_arm; look once more; sleep on the descriptor only if
 *               every ring is still dry; after waking, ring_wake_clear.
 *     producer: push; ring_wake_signal.
 * Both sides read-modify-write the same flag, and such operations have one order: either the
 * producer sees the flag and writes the descriptor, or the consumer's second look sees the
 * record. So no wake-up is lost, and a busy consumer costs the producer no system call. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

/* Two processors never share a line of this size (128: the adjacent-line prefetcher pairs 64s). */
#define RING_LINE_BYTES 128

struct ring;

/* Room for at least `n_records` (rounded up to a power of two, at most 2^24) of `record_bytes`.
 * NO_MEMORY; INVALID for a size of 0 or out of range. */
enum status ring_create(size_t record_bytes, uint32_t n_records, struct ring **out);

/* Both threads must have stopped using it. NULL is nothing. */
void ring_destroy(struct ring *ring);

/* Producer: copies a record in; false if the ring is full. */
bool ring_push(struct ring *ring, const void *record);

/* Consumer: copies the oldest record out; false if the ring is empty. */
bool ring_pop(struct ring *ring, void *record);

/* Consumer: true if there is nothing to pop now. */
bool ring_is_empty(const struct ring *ring);

/* Records inside: exact on a thread that keeps the other still, else a recent value. */
uint32_t ring_count(const struct ring *ring);

/* What fits. */
uint32_t ring_capacity(const struct ring *ring);

struct ring_wake;

/* IO if the system has no descriptor left, NO_MEMORY. */
enum status ring_wake_open(struct ring_wake **out);

/* NULL is nothing. */
void ring_wake_close(struct ring_wake *wake);

/* The descriptor to poll for reading. It stays the wake's. */
int ring_wake_fd(const struct ring_wake *wake);

/* Consumer: from here on a signal writes the descriptor. Look at the rings again after it. */
void ring_wake_arm(struct ring_wake *wake);

/* Consumer: takes the signal back. Costs a system call only if it was armed since the last time. */
void ring_wake_clear(struct ring_wake *wake);

/* Producers, any thread: wakes the consumer if it is armed. Call it after the push. */
void ring_wake_signal(struct ring_wake *wake);
