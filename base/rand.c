/* xoshiro256** seeded by splitmix64, and the kernel's entropy. Both generators are written from
 * their published recurrences. */
#include "base/rand.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "base/check.h"

static uint64_t splitmix_next(uint64_t *x)
{
    *x += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t z = *x;
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static uint64_t rotate_left(uint64_t x, unsigned bits)
{
    return (x << bits) | (x >> (64 - bits));
}

void rand_init(struct rand *rng, uint64_t seed)
{
    for (size_t i = 0; i < 4; i++) {
        rng->s[i] = splitmix_next(&seed);
    }
}

uint64_t rand_u64(struct rand *rng)
{
    uint64_t *s = rng->s;
    uint64_t result = rotate_left(s[1] * 5, 7) * 9;
    uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate_left(s[3], 45);
    return result;
}

uint64_t rand_below(struct rand *rng, uint64_t bound)
{
    CHECK(bound > 0);
    /* Draws below 2^64 mod bound are thrown away: what is left divides evenly. */
    uint64_t n_uneven = (UINT64_MAX - bound + 1) % bound;
    uint64_t x;
    do {
        x = rand_u64(rng);
    } while (x < n_uneven);
    return x % bound;
}

uint64_t rand_between(struct rand *rng, uint64_t low, uint64_t high)
{
    CHECK(low <= high);
    if (low == 0 && high == UINT64_MAX) {
        return rand_u64(rng);
    }
    return low + rand_below(rng, high - low + 1);
}

bool rand_chance(struct rand *rng, uint64_t numerator, uint64_t denominator)
{
    return rand_below(rng, denominator) < numerator;
}

double rand_unit(struct rand *rng)
{
    return (double)(rand_u64(rng) >> 11) * 0x1p-53;
}

void rand_bytes(struct rand *rng, void *buf, size_t len)
{
    uint8_t *to = buf;
    while (len > 0) {
        uint64_t x = rand_u64(rng);
        size_t n = len < sizeof(x) ? len : sizeof(x);
        memcpy(to, &x, n);
        to += n;
        len -= n;
    }
}

void rand_entropy(void *buf, size_t len)
{
    uint8_t *to = buf;
    while (len > 0) {
        ssize_t n = getrandom(to, len, 0);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        CHECK_MSG(n > 0, "getrandom failed: no entropy, no incarnation, no secret");
        to += n;
        len -= (size_t)n;
    }
}
