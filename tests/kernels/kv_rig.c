#include "tests/kernels/kv_rig.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "kernels/bf16.h"

#define POISON 0xff
#define EXTRA_BLOCKS 3u

/* One run on its way. */
struct kv_run {
    struct device *dev;
    const struct kv_world *world;
    const struct kv_feed *feed;
    uint64_t random;
    uint32_t done[KV_SEQS_MAX];
    uint32_t n_blocks, first_block[KV_SEQS_MAX];
    uint32_t *blocks; /* [n_blocks] all sequences' tables, one after the other */
    struct op_kv kv;
    size_t pool_bytes;
    struct kv_result result;
};

static size_t number_bytes(const struct kv_world *world)
{
    return world->shape.dtype == OP_F32 ? 4 : 2;
}

static uint32_t row_width(const struct kv_shape *shape)
{
    return (shape->n_heads + 2 * shape->n_kv_heads) * shape->head_dim;
}

struct kv_world kv_world_make(const struct kv_shape *shape, uint64_t seed)
{
    struct kv_world world = {.shape = *shape};
    uint32_t width = row_width(shape), heads = (shape->n_heads + shape->n_kv_heads);

    CHECK(shape->n_seqs <= KV_SEQS_MAX);
    for (uint32_t i = 0; i < shape->n_seqs; i++) {
        world.first[i] = world.n_rows;
        world.n_rows += shape->length[i];
    }
    world.qkv = rig_tensor_random((size_t)world.n_rows * width, shape->dtype, 1.0f, seed + 1);
    for (size_t i = 0; i < world.qkv.n; i++) {
        float x = rig_get(&world.qkv, i) * shape->spread;

        if (i % width >= (size_t)heads * shape->head_dim)
            continue; /* values */
        if (shape->dtype == OP_F32)
            ((float *)world.qkv.data)[i] = x;
        else
            ((uint16_t *)world.qkv.data)[i] = bf16_of_f32(x);
    }
    world.q_norm = rig_tensor_random(shape->head_dim, OP_F32, 1.0f, seed + 2);
    world.k_norm = rig_tensor_random(shape->head_dim, OP_F32, 1.0f, seed + 3);
    world.freqs = rig_tensor_make(shape->rot_dim / 2, OP_F32);
    for (uint32_t i = 0; i < shape->rot_dim / 2; i++)
        ((float *)world.freqs.data)[i] = 1.0f / (1.0f + (float)(i * i));
    return world;
}

void kv_world_drop(struct kv_world *world)
{
    rig_tensor_drop(&world->qkv);
    rig_tensor_drop(&world->q_norm);
    rig_tensor_drop(&world->k_norm);
    rig_tensor_drop(&world->freqs);
}

static uint32_t blocks_of(uint32_t tokens)
{
    return (tokens + OPS_BLOCK_TOKENS - 1) / OPS_BLOCK_TOKENS;
}

/* The pool: the layer that is used lies in the middle of each block. */
static void make_pool(struct kv_run *run)
{
    const struct kv_shape *shape = &run->world->shape;
    size_t head = 2 * (size_t)OPS_BLOCK_TOKENS * shape->head_dim * number_bytes(run->world);
    size_t layer = head * shape->n_kv_heads;

    for (uint32_t i = 0; i < shape->n_seqs; i++) {
        run->first_block[i] = run->n_blocks;
        run->n_blocks += blocks_of(shape->length[i]);
    }
    run->kv = (struct op_kv){
        .layer_at = layer, .head_bytes = head, .value_bytes = head / 2, .block_bytes = 3 * layer};
    run->pool_bytes = run->kv.block_bytes * (run->n_blocks + EXTRA_BLOCKS);
    run->kv.pool = aligned_alloc(64, run->pool_bytes);
    run->blocks = malloc((run->n_blocks + EXTRA_BLOCKS) * sizeof(run->blocks[0]));
    CHECK(run->kv.pool != NULL && run->blocks != NULL);
    memset(run->kv.pool, POISON, run->pool_bytes);
    for (uint32_t i = 0; i < run->n_blocks + EXTRA_BLOCKS; i++)
        run->blocks[i] = i;
    for (uint32_t i = run->n_blocks + EXTRA_BLOCKS - 1; i > 0; i--) {
        uint32_t other = rig_below(&run->random, i + 1), mine = run->blocks[i];

        run->blocks[i] = run->blocks[other];
        run->blocks[other] = mine;
    }
    for (uint32_t i = 0; i < run->n_blocks; i++)
        memset(run->kv.pool + run->blocks[i] * run->kv.block_bytes + layer, 0, layer);
}

static void check_poison(const uint8_t *p, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        CHECK_MSG(p[i] == POISON, "a byte of the pool that is nobody's was written");
}

/* Copies out what lies in the pool, checks and frees it. */
static void drop_pool(struct kv_run *run)
{
    const struct kv_shape *shape = &run->world->shape;
    size_t row = shape->head_dim * number_bytes(run->world);
    size_t layer = run->kv.head_bytes * shape->n_kv_heads;
    uint8_t *to = run->result.kv.data;

    for (uint32_t s = 0; s < shape->n_seqs; s++)
        for (uint32_t t = 0; t < shape->length[s]; t++)
            for (uint32_t h = 0; h < shape->n_kv_heads * 2; h++, to += row) {
                uint32_t block = run->blocks[run->first_block[s] + t / OPS_BLOCK_TOKENS];
                size_t at = run->kv.layer_at + h / 2 * run->kv.head_bytes;

                at += h % 2 * run->kv.value_bytes + t % OPS_BLOCK_TOKENS * row;
                memcpy(to, run->kv.pool + block * run->kv.block_bytes + at, row);
            }
    for (uint32_t i = 0; i < run->n_blocks + EXTRA_BLOCKS; i++) {
        const uint8_t *block = run->kv.pool + run->blocks[i] * run->kv.block_bytes;

        check_poison(block, layer);
        check_poison(block + 2 * layer, layer);
        if (i >= run->n_blocks)
            check_poison(block + layer, layer);
    }
    free(run->kv.pool);
    free(run->blocks);
}

/* Chooses the rows of one step; 0 when all sequences have ended. */
static uint32_t choose(struct kv_run *run, struct op_seq *seqs, uint32_t *chosen, uint32_t *n_rows)
{
    const struct kv_shape *shape = &run->world->shape;
    uint32_t n = 0, start = rig_below(&run->random, shape->n_seqs);

    *n_rows = 0;
    for (uint32_t i = 0; i < shape->n_seqs && n < run->feed->seqs_max; i++) {
        uint32_t s = (start + i) % shape->n_seqs, left = shape->length[s] - run->done[s], rows;

        if (left == 0)
            continue;
        rows = run->feed->exact ? run->feed->rows_max
                                : 1 + rig_below(&run->random, run->feed->rows_max);
        rows = rows < left ? rows : left;
        seqs[n] = (struct op_seq){*n_rows, rows, run->done[s], run->first_block[s]};
        *n_rows += rows;
        chosen[n++] = s;
    }
    return n;
}

/* One step's rope and attention. qkv and y have wider strides than they need. */
static void compute(struct kv_run *run, const struct op_batch *batch, struct rig_tensor *qkv,
                    struct rig_tensor *y, const uint32_t *positions)
{
    const struct kv_shape *shape = &run->world->shape;
    uint32_t half = shape->rot_dim / 2;
    struct rig_tensor angles = rig_tensor_make((size_t)batch->n_rows * shape->rot_dim, OP_F32);
    struct op_angles turn = {.positions = positions,
                             .freqs = run->world->freqs.data,
                             .scale = 1.0f,
                             .n_rows = batch->n_rows,
                             .n_freqs = half,
                             .y = angles.data};
    struct op_rope rope = {.qkv = qkv->data,
                           .stride = row_width(shape) + 5,
                           .n_heads = shape->n_heads,
                           .n_kv_heads = shape->n_kv_heads,
                           .head_dim = shape->head_dim,
                           .rot_dim = shape->rot_dim,
                           .angles = angles.data,
                           .eps = 1e-6f,
                           .dtype = shape->dtype,
                           .batch = *batch,
                           .kv = run->kv};
    struct op_attention attention = {.q = qkv->data,
                                     .q_stride = rope.stride,
                                     .y_stride = shape->n_heads * shape->head_dim + 3,
                                     .n_heads = shape->n_heads,
                                     .n_kv_heads = shape->n_kv_heads,
                                     .head_dim = shape->head_dim,
                                     .scale = shape->scale,
                                     .softcap = shape->softcap,
                                     .window = shape->window,
                                     .dtype = shape->dtype,
                                     .batch = *batch,
                                     .kv = run->kv,
                                     .y = y->data};

    if (shape->qk_norm) {
        rope.q_norm = run->world->q_norm.data;
        rope.k_norm = run->world->k_norm.data;
    }
    if (half > 0)
        device_ops(run->dev)->angles(run->dev, &turn);
    device_ops(run->dev)->rope(run->dev, &rope);
    device_ops(run->dev)->attention(run->dev, &attention);
    CHECK(device_wait(run->dev) == STATUS_OK);
    rig_tensor_drop(&angles);
}

static void step(struct kv_run *run, const struct op_seq *seqs, const uint32_t *chosen,
                 uint32_t n_seqs, uint32_t n_rows)
{
    const struct kv_shape *shape = &run->world->shape;
    size_t number = number_bytes(run->world), width = row_width(shape);
    size_t heads = (size_t)shape->n_heads * shape->head_dim;
    struct op_batch batch = {n_seqs, n_rows, seqs, run->blocks};
    struct rig_tensor qkv = rig_tensor_make(n_rows * (width + 5), shape->dtype);
    struct rig_tensor y = rig_tensor_make(n_rows * (heads + 3), shape->dtype);
    uint32_t *positions = malloc(n_rows * sizeof(positions[0]));

    CHECK(positions != NULL);
    for (uint32_t i = 0; i < n_seqs; i++)
        for (uint32_t r = 0; r < seqs[i].n_rows; r++) {
            size_t from = run->world->first[chosen[i]] + seqs[i].position + r;

            positions[seqs[i].row + r] = seqs[i].position + r;
            memcpy((uint8_t *)qkv.data + (seqs[i].row + r) * (width + 5) * number,
                   (const uint8_t *)run->world->qkv.data + from * width * number, width * number);
        }
    compute(run, &batch, &qkv, &y, positions);
    for (uint32_t i = 0; i < n_seqs; i++) {
        for (uint32_t r = 0; r < seqs[i].n_rows; r++) {
            size_t to = run->world->first[chosen[i]] + seqs[i].position + r;
            size_t row = seqs[i].row + r;

            for (size_t gap = (row * (heads + 3) + heads) * number;
                 gap < (row + 1) * (heads + 3) * number; gap++)
                CHECK_MSG(((const uint8_t *)y.data)[gap] == 0xa5, "written between rows");
            memcpy((uint8_t *)run->result.q.data + to * heads * number,
                   (const uint8_t *)qkv.data + row * (width + 5) * number, heads * number);
            memcpy((uint8_t *)run->result.y.data + to * heads * number,
                   (const uint8_t *)y.data + row * (heads + 3) * number, heads * number);
        }
        run->done[chosen[i]] += seqs[i].n_rows;
    }
    free(positions);
    rig_tensor_drop(&qkv);
    rig_tensor_drop(&y);
}

struct kv_result kv_run(struct device *dev, const struct kv_world *world,
                        const struct kv_feed *feed)
{
    const struct kv_shape *shape = &world->shape;
    size_t heads = (size_t)shape->n_heads * shape->head_dim;
    size_t kv = 2 * (size_t)shape->n_kv_heads * shape->head_dim;
    struct kv_run run = {.dev = dev, .world = world, .feed = feed, .random = feed->seed * 2 + 1};
    struct op_seq seqs[KV_SEQS_MAX];
    uint32_t chosen[KV_SEQS_MAX], n_seqs, n_rows;

    make_pool(&run);
    run.result.q = rig_tensor_make(world->n_rows * heads, shape->dtype);
    run.result.kv = rig_tensor_make(world->n_rows * kv, shape->dtype);
    run.result.y = rig_tensor_make(world->n_rows * heads, shape->dtype);
    while ((n_seqs = choose(&run, seqs, chosen, &n_rows)) > 0)
        step(&run, seqs, chosen, n_seqs, n_rows);
    drop_pool(&run);
    return run.result;
}

void kv_result_drop(struct kv_result *result)
{
    rig_tensor_drop(&result->q);
    rig_tensor_drop(&result->kv);
    rig_tensor_drop(&result->y);
}
