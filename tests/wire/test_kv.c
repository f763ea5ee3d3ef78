/* Geometry: rows and pieces partition a block; choices of groups; overflow. Digests: any change of
 * bytes or place is seen. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/rand.h"
#include "wire/kvdigest_inline.h"
#include "wire/kvgeom.h"

static struct kvgeom small_geometry(struct rand *rng)
{
    struct kvgeom geom = {.n_layers = (uint32_t)rand_between(rng, 1, 9),
                          .n_kv_heads = (uint32_t)rand_between(rng, 1, 4),
                          .head_dim = (uint32_t)rand_between(rng, 1, 9),
                          .elem_bytes = 1u << rand_below(rng, 3)};
    geom.group_layers = (uint32_t)rand_between(rng, 1, geom.n_layers);
    return geom;
}

/* Every byte of the block belongs to exactly one row, in the order of the layout's name. */
static void rows_partition_a_block(void **state)
{
    (void)state;
    struct rand rng;
    rand_init(&rng, 8);
    for (uint32_t round = 0; round < 200; round++) {
        struct kvgeom geom = small_geometry(&rng);
        size_t expected = 0;
        assert_true(kvgeom_valid(&geom));
        for (uint32_t layer = 0; layer < geom.n_layers; layer++) {
            assert_int_equal(expected, layer * kvgeom_layer_bytes(&geom));
            for (uint32_t head = 0; head < geom.n_kv_heads; head++) {
                for (uint32_t value = 0; value < 2; value++) {
                    for (uint32_t token = 0; token < KVGEOM_BLOCK_TOKENS; token++) {
                        assert_int_equal(kvgeom_row(&geom, layer, head, value, token), expected);
                        expected += (size_t)geom.head_dim * geom.elem_bytes;
                    }
                }
            }
        }
        assert_int_equal(expected, kvgeom_block_bytes(&geom));
    }
}

static void pieces_partition_a_block(void **state)
{
    (void)state;
    struct rand rng;
    rand_init(&rng, 9);
    for (uint32_t round = 0; round < 1000; round++) {
        struct kvgeom geom = small_geometry(&rng);
        size_t expected = 0;
        for (uint32_t group = 0; group < kvgeom_n_groups(&geom); group++) {
            size_t offset = 0, len = 0;
            kvgeom_piece(&geom, group, &offset, &len);
            assert_int_equal(offset, expected);
            assert_true(len > 0 && len % kvgeom_layer_bytes(&geom) == 0);
            assert_true(len <= geom.group_layers * kvgeom_layer_bytes(&geom));
            expected += len;
        }
        assert_int_equal(expected, kvgeom_block_bytes(&geom));
    }
}

static void groups_are_chosen_well(void **state)
{
    (void)state;
    struct rand rng;
    rand_init(&rng, 10);
    for (uint32_t round = 0; round < 20000; round++) {
        struct kvgeom geom = {.n_layers = (uint32_t)rand_between(&rng, 1, 128),
                              .n_kv_heads = (uint32_t)rand_between(&rng, 1, 64),
                              .head_dim = (uint32_t)rand_between(&rng, 1, 32) * 8,
                              .elem_bytes = 1u << rand_below(&rng, 3)};
        geom.group_layers = kvgeom_choose_group(&geom);
        assert_true(geom.group_layers >= 1 && geom.group_layers <= geom.n_layers);
        size_t piece = geom.group_layers * kvgeom_layer_bytes(&geom);
        if (kvgeom_block_bytes(&geom) >= KVGEOM_PIECE_BYTES_MIN) {
            assert_true(piece >= KVGEOM_PIECE_BYTES_MIN);
        } else {
            assert_int_equal(geom.group_layers, geom.n_layers);
        }
        if (kvgeom_layer_bytes(&geom) <= KVGEOM_PIECE_BYTES_MAX) {
            assert_true(piece <= KVGEOM_PIECE_BYTES_MAX);
        } else {
            assert_int_equal(geom.group_layers, 1);
        }
    }
    /* 8 heads of 128 in bf16, 32 layers: 256 KiB a layer, so two at a time. */
    struct kvgeom llama = {.n_layers = 32, .n_kv_heads = 8, .head_dim = 128, .elem_bytes = 2};
    assert_int_equal(kvgeom_choose_group(&llama), 2);
    struct kvgeom uneven = {.n_layers = 16, .n_kv_heads = 13, .head_dim = 32, .elem_bytes = 2};
    assert_int_equal(kvgeom_choose_group(&uneven), 6);
}

static void impossible_geometries_are_refused(void **state)
{
    (void)state;
    const struct kvgeom good = {2, 2, 8, 2, 1};
    assert_true(kvgeom_valid(&good));
    const struct kvgeom bad[] = {
        {0, 2, 8, 2, 1},
        {2, 0, 8, 2, 1},
        {2, 2, 0, 2, 1},
        {2, 2, 8, 0, 1},
        {2, 2, 8, 3, 1},
        {2, 2, 8, 8, 1},
        {2, 2, 8, 2, 0},
        {2, 2, 8, 2, 3},
        {UINT32_MAX, UINT32_MAX, UINT32_MAX, 4, 1},
        {1u << 16, 1u << 16, 1u << 16, 4, 1},
        {1u << 31, 1u << 31, 4, 4, 1},
        {128, 128, 1025, 1, 1},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_false(kvgeom_valid(&bad[i]));
    }
    const struct kvgeom largest = {128, 128, 1024, 1, 1};
    assert_true(kvgeom_valid(&largest));
    assert_int_equal(kvgeom_block_bytes(&largest), 1ull << 31);
}

static void blocks_and_texts(void **state)
{
    (void)state;
    char text[64];
    assert_int_equal(kvgeom_blocks(0), 0);
    assert_int_equal(kvgeom_blocks(1), 1);
    assert_int_equal(kvgeom_blocks(64), 1);
    assert_int_equal(kvgeom_blocks(65), 2);
    assert_int_equal(kvgeom_blocks(UINT32_MAX), 1u << 26);
    const struct kvgeom geom = {16, 8, 64, 2, 4};
    kvgeom_print(&geom, text);
    assert_string_equal(text, "L16.H8.D64.E2.G4.B64");
    const struct kvgeom longest = {UINT32_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX};
    kvgeom_print(&longest, text);
    assert_true(strlen(text) < 64);
}

/* ---- digests -------------------------------------------------------------------------------- */

#define PIECE 20000

/* The same by the book. */
static uint64_t by_the_book(const struct wire_id *req, uint32_t attempt, uint32_t block,
                            uint32_t first_layer, const uint8_t *bytes, size_t len)
{
    uint32_t place[8] = {0};
    uint64_t leaves[PIECE / KVGEOM_LEAF_BYTES + 1], n = 0;
    memcpy(place, req, 16);
    place[4] = attempt;
    place[5] = block;
    place[6] = first_layer;
    uint64_t seed = XXH3_64bits(place, sizeof(place));
    for (size_t at = 0; at < len; at += KVGEOM_LEAF_BYTES) {
        size_t left = len - at;
        left = left < KVGEOM_LEAF_BYTES ? left : KVGEOM_LEAF_BYTES;
        leaves[n] = XXH3_64bits_withSeed(bytes + at, left, seed + n);
        n++;
    }
    return XXH3_64bits(leaves, n * 8);
}

static void digests_follow_the_book(void **state)
{
    (void)state;
    struct rand rng;
    static uint8_t bytes[PIECE];
    struct wire_id req;
    rand_init(&rng, 11);
    rand_bytes(&rng, bytes, sizeof(bytes));
    rand_bytes(&rng, &req, sizeof(req));
    static const size_t lengths[] = {0, 1, 4095, 4096, 4097, 8192, PIECE};
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        uint64_t book = by_the_book(&req, 1, 2, 3, bytes, lengths[i]);
        assert_true(kvdigest_piece(&req, 1, 2, 3, bytes, lengths[i]) == book);
        /* The version for machines without wide vectors, which is not chosen here. */
        assert_true(kvdigest_inline(&req, 1, 2, 3, bytes, lengths[i]) == book);
    }
    /* More leaves than are hashed at once. */
    size_t len = 130 * KVGEOM_LEAF_BYTES + 5;
    uint8_t *large = calloc(1, len);
    assert_non_null(large);
    uint64_t before = kvdigest_piece(&req, 1, 2, 3, large, len);
    for (size_t at = 0; at < len; at += KVGEOM_LEAF_BYTES / 2) {
        large[at] = 1;
        assert_true(kvdigest_piece(&req, 1, 2, 3, large, len) != before);
        large[at] = 0;
    }
    free(large);
    /* Pinned: digests travel between builds. */
    struct wire_id zero = {{0}};
    assert_true(kvdigest_piece(&zero, 0, 0, 0, "baton", 5) == UINT64_C(0x111596644a49b1a2));
}

static void digests_see_every_change(void **state)
{
    (void)state;
    struct rand rng;
    static uint8_t bytes[PIECE];
    struct wire_id req;
    rand_init(&rng, 12);
    rand_bytes(&rng, bytes, sizeof(bytes));
    rand_bytes(&rng, &req, sizeof(req));
    uint64_t good = kvdigest_piece(&req, 1, 2, 3, bytes, PIECE);
    assert_true(kvdigest_piece(&req, 2, 2, 3, bytes, PIECE) != good);
    assert_true(kvdigest_piece(&req, 1, 3, 3, bytes, PIECE) != good);
    assert_true(kvdigest_piece(&req, 1, 2, 4, bytes, PIECE) != good);
    assert_true(kvdigest_piece(&req, 2, 1, 3, bytes, PIECE) != good);
    assert_true(kvdigest_piece(&req, 1, 2, 3, bytes, PIECE - 1) != good);
    for (size_t i = 0; i < 16; i++) {
        req.byte[i] ^= 1;
        assert_true(kvdigest_piece(&req, 1, 2, 3, bytes, PIECE) != good);
        req.byte[i] ^= 1;
    }
    for (size_t i = 0; i < PIECE; i += 37) {
        bytes[i] ^= 0x10;
        assert_true(kvdigest_piece(&req, 1, 2, 3, bytes, PIECE) != good);
        bytes[i] ^= 0x10;
    }
    /* Two leaves changed places. */
    static uint8_t swapped[PIECE];
    memcpy(swapped, bytes, PIECE);
    memcpy(swapped, bytes + 4096, 4096);
    memcpy(swapped + 4096, bytes, 4096);
    assert_true(kvdigest_piece(&req, 1, 2, 3, swapped, PIECE) != good);
    /* Equal leaves in other places too: a torn fetch of zeros is still in order. */
    memset(bytes, 0, PIECE);
    good = kvdigest_piece(&req, 1, 2, 3, bytes, PIECE);
    assert_true(kvdigest_piece(&req, 1, 2, 3, bytes, PIECE - 4096) != good);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_partition_a_block),
        cmocka_unit_test(pieces_partition_a_block),
        cmocka_unit_test(groups_are_chosen_well),
        cmocka_unit_test(impossible_geometries_are_refused),
        cmocka_unit_test(blocks_and_texts),
        cmocka_unit_test(digests_follow_the_book),
        cmocka_unit_test(digests_see_every_change),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
