/* See truth.h. */
#include "tests/exact/truth.h"

#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "tests/exact/kv.h"

static struct truth *compute(struct world *world, uint64_t epoch, uint32_t number)
{
    struct truth *truth = mem_alloc_zero(1, sizeof(*truth));
    struct place place = {.line = &truth->line};
    uint32_t n;

    CHECK(truth != NULL);
    line_make(&truth->line, epoch, number, world->vocab, world->len_max);
    n = truth->line.n;
    truth->logits = mem_alloc_zero((size_t)n * world->vocab, sizeof(*truth->logits));
    truth->sampled = mem_alloc_zero(n, sizeof(*truth->sampled));
    truth->kv = mem_alloc_zero(kvgeom_blocks(n), world->block_bytes);
    CHECK(truth->logits != NULL && truth->sampled != NULL && truth->kv != NULL);
    world_clear(world);
    for (uint32_t i = 0; i < n; i++) {
        (void)world_add(world, &place, 1, true);
        world_run(world);
        memcpy(truth->logits + (size_t)i * world->vocab, world->logits,
               world->vocab * sizeof(float));
        truth->sampled[i] = world->sampled[0];
    }
    for (uint32_t i = 0; i < place.n_blocks; i++)
        memcpy(truth->kv + i * world->block_bytes, world_block(world, place.blocks[i]),
               world->block_bytes);
    return truth;
}

const struct truth *truths_get(struct truths *truths, const struct checkpoints *checkpoints,
                               enum exact_kind kind, enum op_dtype dtype, uint32_t number)
{
    const struct setup setup = {.kind = kind,
                                .dtype = dtype,
                                .table = checkpoints->tables[checkpoints->n_tables - 1],
                                .n_threads = 1};

    CHECK(number < TRUTH_LINES);
    if (truths->world == NULL)
        truths->world = world_open(checkpoints, &setup, LINE_BLOCKS_MAX, 1, NULL);
    if (truths->lines[number] == NULL)
        truths->lines[number] = compute(truths->world, truths->epoch, number);
    return truths->lines[number];
}

void truths_fini(struct truths *truths)
{
    for (uint32_t i = 0; i < TRUTH_LINES; i++) {
        struct truth *truth = truths->lines[i];

        if (truth == NULL)
            continue;
        mem_free(truth->logits);
        mem_free(truth->sampled);
        mem_free(truth->kv);
        mem_free(truth);
    }
    if (truths->world != NULL)
        world_close(truths->world);
    *truths = (struct truths){0};
}

static bool is_same_sample(const struct op_sampled *a, const struct op_sampled *b, uint32_t n)
{
    return a->token == b->token && memcmp(&a->logprob, &b->logprob, sizeof(a->logprob)) == 0 &&
           memcmp(a->top_tokens, b->top_tokens, n * sizeof(*a->top_tokens)) == 0 &&
           memcmp(a->top_logprobs, b->top_logprobs, n * sizeof(*a->top_logprobs)) == 0;
}

void truth_check_row(const struct truth *truth, const struct world *world, uint32_t n,
                     uint32_t result, struct tally *tally)
{
    const size_t vocab = world->vocab, bytes = vocab * sizeof(float);
    const float *expected = truth->logits + (n - 1) * vocab;
    const float *found = world->logits + result * vocab;
    const size_t at = bytes_differ(expected, found, bytes) / sizeof(float);
    const struct op_sampled *a = &truth->sampled[n - 1], *b = &world->sampled[result];

    tally->n_rows++;
    if (at < vocab)
        tally_differ(tally, "logits after %u tokens of %u, id %zu: %a, alone %a", n, truth->line.n,
                     at, (double)found[at], (double)expected[at]);
    else if (!is_same_sample(a, b, world->params[result].n_logprobs))
        tally_differ(tally, "sampled after %u tokens: %u (%a), alone %u (%a), or its tops", n,
                     b->token, b->logprob, a->token, a->logprob);
}

void truth_check_kv(const struct truth *truth, const struct world *world, const struct place *place,
                    struct tally *tally)
{
    const uint32_t n_blocks = kvgeom_blocks(place->at);

    tally->n_kvs++;
    for (uint32_t i = 0; i < n_blocks; i++) {
        const uint32_t left = place->at - i * KVGEOM_BLOCK_TOKENS;

        if (!kv_check_block(&world->geom, truth->kv + i * world->block_bytes,
                            world_block(world, place->blocks[i]),
                            left < KVGEOM_BLOCK_TOKENS ? left : KVGEOM_BLOCK_TOKENS, i, 0, tally))
            return;
    }
}
