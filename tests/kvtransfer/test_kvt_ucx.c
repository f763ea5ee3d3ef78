/* The protocol over the real mover: a P and a D in one process, each with its own UCX, on both
 * paths. What the random worlds prove in virtual time must also stand on real workers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/clock.h"
#include "kvtransfer/kvt.h"
#include "kvtransfer/ucx_mover.h"
#include "wire/kvdigest.h"

#define N_BLOCKS 24u
#define N_ASKED 20u
#define N_HAVE 2u
#define BOUND_MS 20000u

static const struct kvgeom geom = {
    .n_layers = 8, .n_kv_heads = 4, .head_dim = 64, .elem_bytes = 2, .group_layers = 4};
static const struct wire_id req = {{1, 2, 3}};
static const struct kvt_key key = {{{1, 2, 3}}, 1, 1};

struct side {
    struct kvt *kvt;
    struct kvt_ucx *ucx;
    uint8_t *pool;
    uint64_t n_notes[KVT_NOTE_IN_CLOSED + 1];
};

struct scene {
    struct side sides[2]; /* P, D */
    struct clock clock;
    struct arena *arena;
};

static void side_open(struct side *side, uint64_t self)
{
    char error[KVT_UCX_ERROR_MAX];
    struct kvt_ucx_cfg ucx = kvt_ucx_cfg_default();
    if (kvt_ucx_create(&ucx, error, &side->ucx) != STATUS_OK) {
        fail_msg("%s", error);
    }
    side->pool = aligned_alloc(4096, N_BLOCKS * kvgeom_block_bytes(&geom));
    assert_non_null(side->pool);
    memset(side->pool, 0, N_BLOCKS * kvgeom_block_bytes(&geom));
    struct kvt_cfg cfg = {.self = self,
                          .name = "side",
                          .fingerprint = "f",
                          .numerics = "n",
                          .geom = geom,
                          .pool = side->pool,
                          .n_blocks = N_BLOCKS,
                          .peers_max = 2,
                          .transfers_max = 2,
                          .blocks_max = N_BLOCKS,
                          .fetch_bytes = 8u << 20};
    assert_int_equal(kvt_create(&cfg, &side->kvt), STATUS_OK);
}

static void scene_open(struct scene *scene, enum kvt_path path)
{
    memset(scene, 0, sizeof(*scene));
    scene->clock = clock_monotonic();
    assert_int_equal(arena_create(1 << 16, 1 << 22, &scene->arena), STATUS_OK);
    side_open(&scene->sides[0], 100);
    side_open(&scene->sides[1], 200);
    kvt_peer_up(scene->sides[1].kvt, 100, 1, path, clock_now_ns(&scene->clock));
}

static void scene_close(struct scene *scene)
{
    for (int i = 0; i < 2; i++) {
        kvt_ucx_destroy(scene->sides[i].ucx);
        kvt_destroy(scene->sides[i].kvt);
        free(scene->sides[i].pool);
    }
    arena_destroy(scene->arena);
}

static void carry(struct scene *scene, struct side *side, struct side *other)
{
    uint64_t now_ns = clock_now_ns(&scene->clock);
    for (size_t i = 0; i < kvt_n_acts(side->kvt); i++) {
        kvt_ucx_act(side->ucx, kvt_act_at(side->kvt, i));
    }
    for (size_t i = 0; i < wire_out_count(kvt_out(side->kvt)); i++) {
        struct wire_out_item item = wire_out_at(kvt_out(side->kvt), i);
        struct wire_msg msg;
        arena_reset(scene->arena);
        assert_int_equal(wire_msg_decode(item.bytes, item.len, scene->arena, &msg, NULL),
                         STATUS_OK);
        kvt_message(other->kvt, 1, &msg, now_ns);
    }
    for (size_t i = 0; i < kvt_n_notes(side->kvt); i++) {
        side->n_notes[kvt_note_at(side->kvt, i)->kind]++;
    }
    kvt_clear(side->kvt);
}

static void turn(struct scene *scene)
{
    for (int i = 0; i < 2; i++) {
        struct side *side = &scene->sides[i];
        struct side *other = &scene->sides[!i];
        struct kvt_event event;
        kvt_ucx_drain(side->ucx);
        while (kvt_ucx_event_next(side->ucx, &event)) {
            kvt_event(side->kvt, &event, clock_now_ns(&scene->clock));
            carry(scene, side, other);
            carry(scene, other, side);
        }
        kvt_tick(side->kvt, clock_now_ns(&scene->clock));
        carry(scene, side, other);
        carry(scene, other, side);
    }
}

/* Turns until that side has had so many of these notes. */
static void until(struct scene *scene, int side, enum kvt_note_kind kind, uint64_t n)
{
    uint64_t end_ns = clock_now_ns(&scene->clock) + BOUND_MS * NS_PER_MS;
    while (scene->sides[side].n_notes[kind] < n) {
        if (clock_now_ns(&scene->clock) > end_ns) {
            fail_msg("note %d did not come to side %d", (int)kind, side);
        }
        turn(scene);
    }
}

static void hand_over(struct scene *scene, uint32_t *p_blocks, uint32_t *d_blocks)
{
    struct side *p = &scene->sides[0];
    struct side *d = &scene->sides[1];
    size_t block_bytes = kvgeom_block_bytes(&geom);
    uint64_t now_ns = clock_now_ns(&scene->clock);
    for (uint32_t i = 0; i < N_ASKED; i++) {
        p_blocks[i] = (i * 7 + 3) % N_BLOCKS;
        d_blocks[i] = (i * 5 + 1) % N_BLOCKS;
        for (size_t k = 0; k < block_bytes; k++) {
            p->pool[p_blocks[i] * block_bytes + k] = (uint8_t)(k * 31 + k / 251 + i);
        }
    }
    assert_int_equal(kvt_in_open(d->kvt, 100, &key, d_blocks, N_ASKED, N_HAVE, now_ns), STATUS_OK);
    carry(scene, d, p);
    assert_int_equal(kvt_out_open(p->kvt, &req, 1, p_blocks, N_ASKED, now_ns), STATUS_OK);
    for (uint32_t i = 0; i < N_ASKED; i++) {
        for (uint32_t group = 0; group < kvgeom_n_groups(&geom); group++) {
            size_t offset;
            size_t len;
            kvgeom_piece(&geom, group, &offset, &len);
            const uint8_t *at = p->pool + p_blocks[i] * block_bytes + offset;
            kvt_out_ready(p->kvt, &req, 1, i, group,
                          kvdigest_piece(&req, 1, i, group * geom.group_layers, at, len), now_ns);
            carry(scene, p, d);
        }
    }
}

static void test_lands(void **state)
{
    enum kvt_path path = *(enum kvt_path *)*state;
    struct scene scene;
    uint32_t p_blocks[N_ASKED];
    uint32_t d_blocks[N_ASKED];
    scene_open(&scene, path);
    until(&scene, 1, KVT_NOTE_PAIR_READY, 1);
    until(&scene, 0, KVT_NOTE_PAIR_READY, 1);
    hand_over(&scene, p_blocks, d_blocks);
    kvt_out_seal(scene.sides[0].kvt, &req, 1, NULL, 0, clock_now_ns(&scene.clock));
    until(&scene, 1, KVT_NOTE_IN_LANDED, 1);
    until(&scene, 0, KVT_NOTE_OUT_LANDED, 1);
    size_t block_bytes = kvgeom_block_bytes(&geom);
    for (uint32_t i = 0; i < N_ASKED; i++) {
        const uint8_t *got = scene.sides[1].pool + d_blocks[i] * block_bytes;
        if (i >= N_HAVE) {
            assert_memory_equal(got, scene.sides[0].pool + p_blocks[i] * block_bytes, block_bytes);
        } else {
            assert_int_equal(got[block_bytes - 1], 0);
        }
    }
    scene_close(&scene);
}

/* D lets go in the middle: both ends end, and the pair is whole. Then P's side is fenced away. */
static void test_closes(void **state)
{
    enum kvt_path path = *(enum kvt_path *)*state;
    struct scene scene;
    uint32_t p_blocks[N_ASKED];
    uint32_t d_blocks[N_ASKED];
    scene_open(&scene, path);
    until(&scene, 1, KVT_NOTE_PAIR_READY, 1);
    hand_over(&scene, p_blocks, d_blocks);
    turn(&scene);
    kvt_in_close(scene.sides[1].kvt, &key, STATUS_CANCELLED, clock_now_ns(&scene.clock));
    until(&scene, 1, KVT_NOTE_IN_CLOSED, 1);
    until(&scene, 0, KVT_NOTE_OUT_REFUSED, 1);
    kvt_out_close(scene.sides[0].kvt, &req, 1, clock_now_ns(&scene.clock));
    until(&scene, 0, KVT_NOTE_OUT_CLOSED, 1);
    assert_true(kvt_paired(scene.sides[1].kvt, 100));
    kvt_peer_gone(scene.sides[0].kvt, 200, clock_now_ns(&scene.clock));
    until(&scene, 1, KVT_NOTE_PAIR_LOST, 1);
    until(&scene, 1, KVT_NOTE_PAIR_READY, 2);
    scene_close(&scene);
}

int main(void)
{
    static enum kvt_path local = KVT_PATH_LOCAL;
    static enum kvt_path network = KVT_PATH_NETWORK;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate(test_lands, &local),
        cmocka_unit_test_prestate(test_lands, &network),
        cmocka_unit_test_prestate(test_closes, &local),
        cmocka_unit_test_prestate(test_closes, &network),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
