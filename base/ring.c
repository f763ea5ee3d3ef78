/* The ring: head and tail count records for ever (they wrap at 2^32, the capacity is a power of
 * two), each on a cache line of its own beside the owner's last look at the other one, so that the
 * common push and pop touch no line of the other side.
 * The wake-up: one flag and one eventfd; the protocol and why it loses nothing are in the header.
 * Its order comes from read-modify-writes alone, no fences: thread sanitizers understand it. */
#include "base/ring.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/check.h"
#include "base/mem.h"

#define RING_RECORDS_MAX (UINT32_C(1) << 24)
#define RING_RECORD_BYTES_MAX (1024 * 1024)

struct ring {
    /* The consumer's line. */
    _Alignas(RING_LINE_BYTES) _Atomic uint32_t head;
    uint32_t tail_seen;
    /* The producer's line. */
    _Alignas(RING_LINE_BYTES) _Atomic uint32_t tail;
    uint32_t head_seen;
    /* Never written after creation. */
    _Alignas(RING_LINE_BYTES) uint8_t *records; /* [mask + 1][record_bytes] */
    size_t record_bytes;
    uint32_t mask;
};

struct ring_wake {
    _Alignas(RING_LINE_BYTES) _Atomic uint32_t is_armed;
    /* The consumer's: armed since the last clear, so the descriptor may have been written. */
    _Alignas(RING_LINE_BYTES) bool was_armed;
    int fd;
};

enum status ring_create(size_t record_bytes, uint32_t n_records, struct ring **out)
{
    if (record_bytes == 0 || record_bytes > RING_RECORD_BYTES_MAX || n_records == 0 ||
        n_records > RING_RECORDS_MAX) {
        return STATUS_INVALID;
    }
    uint32_t capacity = 1;
    while (capacity < n_records) {
        capacity *= 2;
    }
    struct ring *ring = mem_alloc_aligned(RING_LINE_BYTES, sizeof(*ring));
    if (ring == NULL) {
        return STATUS_NO_MEMORY;
    }
    memset(ring, 0, sizeof(*ring));
    ring->records = mem_alloc_aligned(RING_LINE_BYTES, capacity * record_bytes);
    if (ring->records == NULL) {
        mem_free(ring);
        return STATUS_NO_MEMORY;
    }
    ring->record_bytes = record_bytes;
    ring->mask = capacity - 1;
    *out = ring;
    return STATUS_OK;
}

void ring_destroy(struct ring *ring)
{
    if (ring != NULL) {
        mem_free(ring->records);
        mem_free(ring);
    }
}

bool ring_push(struct ring *ring, const void *record)
{
    uint32_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);
    if (tail - ring->head_seen > ring->mask) {
        ring->head_seen = atomic_load_explicit(&ring->head, memory_order_acquire);
        if (tail - ring->head_seen > ring->mask) {
            return false;
        }
    }
    memcpy(ring->records + (size_t)(tail & ring->mask) * ring->record_bytes, record,
           ring->record_bytes);
    atomic_store_explicit(&ring->tail, tail + 1, memory_order_release);
    return true;
}

bool ring_pop(struct ring *ring, void *record)
{
    uint32_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);
    if (head == ring->tail_seen) {
        ring->tail_seen = atomic_load_explicit(&ring->tail, memory_order_acquire);
        if (head == ring->tail_seen) {
            return false;
        }
    }
    memcpy(record, ring->records + (size_t)(head & ring->mask) * ring->record_bytes,
           ring->record_bytes);
    atomic_store_explicit(&ring->head, head + 1, memory_order_release);
    return true;
}

uint32_t ring_count(const struct ring *ring)
{
    /* Head first: it only grows, so the difference is never negative, only too large for a moment
     * when this is neither the producer nor the consumer. */
    uint32_t head = atomic_load_explicit(&ring->head, memory_order_acquire);
    uint32_t count = atomic_load_explicit(&ring->tail, memory_order_acquire) - head;
    return count <= ring->mask ? count : ring->mask + 1;
}

bool ring_is_empty(const struct ring *ring)
{
    return ring_count(ring) == 0;
}

uint32_t ring_capacity(const struct ring *ring)
{
    return ring->mask + 1;
}

enum status ring_wake_open(struct ring_wake **out)
{
    struct ring_wake *wake = mem_alloc_aligned(RING_LINE_BYTES, sizeof(*wake));
    if (wake == NULL) {
        return STATUS_NO_MEMORY;
    }
    memset(wake, 0, sizeof(*wake));
    wake->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (wake->fd < 0) {
        mem_free(wake);
        return STATUS_IO;
    }
    *out = wake;
    return STATUS_OK;
}

void ring_wake_close(struct ring_wake *wake)
{
    if (wake != NULL) {
        CHECK(close(wake->fd) == 0);
        mem_free(wake);
    }
}

int ring_wake_fd(const struct ring_wake *wake)
{
    return wake->fd;
}

void ring_wake_arm(struct ring_wake *wake)
{
    wake->was_armed = true;
    atomic_exchange_explicit(&wake->is_armed, 1, memory_order_acq_rel);
}

void ring_wake_clear(struct ring_wake *wake)
{
    if (!wake->was_armed) {
        return;
    }
    /* A producer that took the flag may write only after this read. Then the descriptor is readable
     * once more for nothing, and whoever sleeps on it has armed again and clears again. */
    atomic_exchange_explicit(&wake->is_armed, 0, memory_order_acq_rel);
    wake->was_armed = false;
    uint64_t n_signals;
    ssize_t n = read(wake->fd, &n_signals, sizeof(n_signals));
    CHECK(n == (ssize_t)sizeof(n_signals) || errno == EAGAIN || errno == EINTR);
}

void ring_wake_signal(struct ring_wake *wake)
{
    if (atomic_exchange_explicit(&wake->is_armed, 0, memory_order_acq_rel) == 0) {
        return;
    }
    uint64_t one = 1;
    ssize_t n;
    do {
        n = write(wake->fd, &one, sizeof(one));
    } while (n < 0 && errno == EINTR);
    CHECK(n == (ssize_t)sizeof(one));
}
