/* See world.h. */
#include "tests/exact/world.h"

#include <string.h>

#include "base/check.h"
#include "base/mem.h"

static void shuffle(uint32_t *order, uint32_t n, struct rand *rng)
{
    for (uint32_t i = 0; i < n; i++)
        order[i] = i;
    for (uint32_t i = n; rng != NULL && i > 1; i--) {
        const uint32_t k = (uint32_t)rand_below(rng, i), swap = order[k];

        order[k] = order[i - 1];
        order[i - 1] = swap;
    }
}

struct world *world_open(const struct checkpoints *checkpoints, const struct setup *setup,
                         uint32_t n_blocks, uint32_t rows_max, struct rand *rng)
{
    struct world *world = mem_alloc_zero(1, sizeof(*world));
    struct forward_args args = {.rows_max = rows_max, .samples_max = WORLD_SEQS_MAX};
    void *pool;

    CHECK(world != NULL && rows_max <= WORLD_ROWS_MAX);
    world->setup = *setup;
    world->model = setup_open(checkpoints, setup);
    world->vocab = model_config(world->model)->vocab;
    world->len_max = model_config(world->model)->positions_max;
    world->geom = model_kvgeom(model_config(world->model), setup->dtype);
    if (rng != NULL)
        world->geom.group_layers = (uint32_t)rand_between(rng, 1, world->geom.n_layers);
    world->block_bytes = kvgeom_block_bytes(&world->geom);
    world->n_blocks = n_blocks;
    world->rows_max = rows_max;
    args.geom = world->geom;
    if (rows_max < args.samples_max)
        args.samples_max = rows_max;
    CHECK(forward_create(world->model, &args, &world->forward) == STATUS_OK);
    CHECK(device_alloc(model_device(world->model), n_blocks * world->block_bytes, &pool) ==
          STATUS_OK);
    world->pool = pool;
    memset(world->pool, WORLD_PATTERN, n_blocks * world->block_bytes);
    world->order = mem_alloc_zero(n_blocks, sizeof(*world->order));
    world->logits = mem_alloc_zero((size_t)WORLD_SEQS_MAX * world->vocab, sizeof(*world->logits));
    CHECK(world->order != NULL && world->logits != NULL);
    shuffle(world->order, n_blocks, rng);
    return world;
}

void world_close(struct world *world)
{
    forward_destroy(world->forward);
    device_free(model_device(world->model), world->pool, world->n_blocks * world->block_bytes);
    model_close(world->model);
    mem_free(world->order);
    mem_free(world->logits);
    mem_free(world);
}

void world_clear(struct world *world)
{
    world->n_taken = 0;
}

uint8_t *world_block(const struct world *world, uint32_t block)
{
    return world->pool + block * world->block_bytes;
}

uint32_t world_take(struct world *world)
{
    uint32_t block;

    CHECK(world->n_taken < world->n_blocks);
    block = world->order[world->n_taken++];
    device_clear(model_device(world->model), world_block(world, block), world->block_bytes);
    return block;
}

uint32_t world_add(struct world *world, struct place *place, uint32_t n, bool sample)
{
    const uint32_t end = place->at + n, n_blocks = kvgeom_blocks(end);
    uint32_t result = UINT32_MAX;

    CHECK(n > 0 && end <= place->line->n && world->n_seqs < WORLD_SEQS_MAX);
    CHECK(world->n_rows + n <= world->rows_max);
    while (place->n_blocks < n_blocks)
        place->blocks[place->n_blocks++] = world_take(world);
    world->seqs[world->n_seqs] = (struct op_seq){
        .row = world->n_rows, .n_rows = n, .position = place->at, .block = world->n_entries};
    memcpy(world->tokens + world->n_rows, place->line->ids + place->at, n * sizeof(uint32_t));
    memcpy(world->entries + world->n_entries, place->blocks, n_blocks * sizeof(uint32_t));
    if (sample) {
        result = world->n_samples++;
        world->sample_seqs[result] = world->n_seqs;
        line_sampling(place->line, end, world->vocab, &world->lists[result],
                      &world->params[result]);
    }
    world->n_seqs++;
    world->n_rows += n;
    world->n_entries += n_blocks;
    place->at = end;
    return result;
}

void world_run(struct world *world)
{
    const struct forward_batch batch = {
        .tokens = world->tokens,
        .rows = {.n_seqs = world->n_seqs,
                 .n_rows = world->n_rows,
                 .seqs = world->seqs,
                 .blocks = world->entries},
        .pool = world->pool,
        .n_samples = world->n_samples,
        .sample_seqs = world->sample_seqs,
        .params = world->params,
        .sampled = world->sampled,
        .logits = world->logits,
    };

    CHECK(forward_run(world->forward, &batch) == STATUS_OK);
    world->n_rows = world->n_seqs = world->n_entries = world->n_samples = 0;
}

uint32_t world_touched(const struct world *world)
{
    for (uint32_t i = world->n_taken; i < world->n_blocks; i++) {
        const uint8_t *at = world_block(world, world->order[i]);

        if (at[0] != WORLD_PATTERN || memcmp(at, at + 1, world->block_bytes - 1) != 0)
            return world->order[i];
    }
    return UINT32_MAX;
}
