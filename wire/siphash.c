/* SipHash-2-4 as its paper gives it: two rounds for each word of eight bytes, four at the end; the
 * 128-bit form differs in two constants and four more rounds. Any thread. */
#include "wire/siphash.h"

#include <string.h>

struct lanes {
    uint64_t v0, v1, v2, v3;
};

static uint64_t rotate(uint64_t x, unsigned bits)
{
    return x << bits | x >> (64 - bits);
}

static uint64_t load(const uint8_t *at)
{
    uint64_t word = 0;
    for (unsigned i = 0; i < 8; i++) {
        word |= (uint64_t)at[i] << (8 * i);
    }
    return word;
}

static void store(uint64_t word, uint8_t *at)
{
    for (unsigned i = 0; i < 8; i++) {
        at[i] = (uint8_t)(word >> (8 * i));
    }
}

static void mix(struct lanes *s, unsigned rounds)
{
    for (unsigned i = 0; i < rounds; i++) {
        s->v0 += s->v1;
        s->v2 += s->v3;
        s->v1 = rotate(s->v1, 13) ^ s->v0;
        s->v3 = rotate(s->v3, 16) ^ s->v2;
        s->v0 = rotate(s->v0, 32);
        s->v2 += s->v1;
        s->v0 += s->v3;
        s->v1 = rotate(s->v1, 17) ^ s->v2;
        s->v3 = rotate(s->v3, 21) ^ s->v0;
        s->v2 = rotate(s->v2, 32);
    }
}

static void take_word(struct lanes *s, uint64_t word)
{
    s->v3 ^= word;
    mix(s, 2);
    s->v0 ^= word;
}

/* `wide` is the constant that tells the 128-bit form apart at the start: 0xee or 0. */
static struct lanes take_all(const struct siphash_key *key, const uint8_t *at, size_t len,
                             uint64_t wide)
{
    uint64_t k0 = load(key->byte), k1 = load(key->byte + 8);
    struct lanes s = {k0 ^ UINT64_C(0x736f6d6570736575), k1 ^ UINT64_C(0x646f72616e646f6d) ^ wide,
                      k0 ^ UINT64_C(0x6c7967656e657261), k1 ^ UINT64_C(0x7465646279746573)};
    size_t whole = len & ~(size_t)7;
    for (size_t i = 0; i < whole; i += 8) {
        take_word(&s, load(at + i));
    }
    uint64_t last = (uint64_t)len << 56;
    for (size_t i = whole; i < len; i++) {
        last |= (uint64_t)at[i] << (8 * (i - whole));
    }
    take_word(&s, last);
    return s;
}

static uint64_t finish(struct lanes *s)
{
    mix(s, 4);
    return s->v0 ^ s->v1 ^ s->v2 ^ s->v3;
}

uint64_t siphash_64(const struct siphash_key *key, const void *data, size_t len)
{
    struct lanes s = take_all(key, data, len, 0);
    s.v2 ^= 0xff;
    return finish(&s);
}

void siphash_128(const struct siphash_key *key, const void *data, size_t len, uint8_t out[16])
{
    struct lanes s = take_all(key, data, len, 0xee);
    s.v2 ^= 0xee;
    store(finish(&s), out);
    s.v1 ^= 0xdd;
    store(finish(&s), out + 8);
}
