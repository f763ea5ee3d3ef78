/* See rounds.h. A round chooses up to 96 instances of lines; each step takes some of those that are
 * not done, in random order, and a chunk of each. */
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "tests/exact/kv.h"
#include "tests/exact/rounds.h"

#define BLOCK KVGEOM_BLOCK_TOKENS
#define FREE_BLOCKS 5u /* that no one holds, to see that no one writes them */

/* How an instance is cut. */
enum cut {
    CUT_NONE,   /* in one go */
    CUT_SINGLE, /* token by token */
    CUT_SMALL,  /* 1 to 9 tokens */
    CUT_LARGE,  /* 1 to 200 tokens */
    CUT_BLOCKS, /* at borders of blocks */
    CUT_DECODE, /* a prompt in one go, then token by token */
    CUT_N
};

struct instance {
    const struct truth *truth;
    struct place place;
    uint32_t end; /* tokens to compute; perhaps not all of the line */
    enum cut cut;
    uint32_t prompt; /* of CUT_DECODE */
    /* KV that is there before its first step: of another pass, n_copied tokens; or */
    const struct truth *copied;
    uint32_t n_copied;
    /* full blocks of one that is computed at the same time, as soon as it has them. */
    const struct instance *shared;
    uint32_t n_shared; /* blocks; 0: none, or taken over */
    uint32_t result;   /* of the running step: UINT32_MAX none */
};

struct round {
    struct exact *exact;
    struct rand rng;
    struct world *world;
    struct instance instances[WORLD_SEQS_MAX];
    bool decodes;      /* most are cut token by token, in steps of all */
    uint32_t n, eager; /* of 4: how many of the instances a step takes */
};

/* ---- what a round is made of ---- */

static uint32_t choose_count(struct rand *rng)
{
    switch (rand_below(rng, 8)) {
    case 0:
        return 1;
    case 1:
        return (uint32_t)rand_between(rng, 65, WORLD_SEQS_MAX);
    default:
        return (uint32_t)rand_between(rng, 2, 64);
    }
}

static uint32_t tokens_max(const struct exact *exact, const struct setup *setup)
{
    const bool small = setup->kind != EXACT_DEMO;

    if (setup_is_slow(setup))
        return exact->quick ? 16 : small ? 200 : 48;
    return exact->quick ? 150 : small ? 3000 : 1500;
}

static struct truths *truths_of(struct round *round, const struct setup *setup)
{
    return &round->exact->truths[setup->kind][setup->dtype == OP_F32];
}

static void add_instance(struct round *round, const struct setup *setup, uint32_t number)
{
    struct rand *rng = &round->rng;
    struct instance *instance = &round->instances[round->n++];
    const struct truth *truth = truths_get(truths_of(round, setup), &round->exact->checkpoints,
                                           setup->kind, setup->dtype, number);

    *instance = (struct instance){
        .truth = truth,
        .place = {.line = &truth->line},
        .end = truth->line.n,
        .cut = (enum cut)rand_below(rng, CUT_N),
        .result = UINT32_MAX,
    };
    if (round->decodes && rand_chance(rng, 7, 8))
        instance->cut = CUT_SINGLE;
    if (rand_chance(rng, 1, 4))
        instance->end = (uint32_t)rand_between(rng, 1, truth->line.n);
    instance->prompt = (uint32_t)rand_between(rng, 1, instance->end);
}

/* A sibling's beginning, or its own. */
static void copy_some(struct round *round, const struct setup *setup, struct instance *instance,
                      uint32_t number)
{
    const uint32_t sibling =
        number - number % LINE_SIBLINGS + (uint32_t)rand_below(&round->rng, LINE_SIBLINGS);
    const struct truth *from = truths_get(truths_of(round, setup), &round->exact->checkpoints,
                                          setup->kind, setup->dtype, sibling);
    uint32_t n = line_common(&from->line, &instance->truth->line);

    if (n >= instance->end)
        n = instance->end - 1;
    if (n == 0)
        return;
    instance->copied = from;
    instance->n_copied = (uint32_t)rand_between(&round->rng, 1, n);
}

static void share_some(const struct round *round, struct instance *instance)
{
    for (const struct instance *from = round->instances; from < instance; from++) {
        uint32_t n = line_common(from->place.line, instance->place.line);

        if (n > from->end)
            n = from->end;
        if (n >= instance->end)
            n = instance->end - 1;
        if (n < BLOCK)
            continue;
        instance->shared = from;
        instance->n_shared = n / BLOCK;
        return;
    }
}

/* So many that each has its part of the work; where a line is longer, KV of its beginning is there
 * already. */
static void choose_instances(struct round *round, const struct setup *setup)
{
    const uint32_t n = choose_count(&round->rng), work = tokens_max(round->exact, setup) / n;

    round->decodes = n > FORWARD_LOGITS_ROWS; /* more sampled rows than logits in memory at once */
    round->eager = round->decodes ? 4 : (uint32_t)rand_between(&round->rng, 1, 4);
    for (uint32_t i = 0; i < n; i++) {
        struct instance *instance = &round->instances[i];
        const uint32_t number = (uint32_t)rand_below(&round->rng, TRUTH_LINES);
        const uint32_t part = (uint32_t)rand_between(&round->rng, 1, 2 * work + 1);

        add_instance(round, setup, number);
        if (instance->end > part) {
            instance->copied = instance->truth;
            instance->n_copied = instance->end - part;
        } else if (rand_chance(&round->rng, 1, 3)) {
            copy_some(round, setup, instance, number);
        } else if (rand_chance(&round->rng, 1, 2)) {
            share_some(round, instance);
        }
    }
}

static void open_world(struct round *round, const struct setup *setup)
{
    const uint32_t rows_max = (uint32_t)rand_between(
        &round->rng, round->decodes ? WORLD_ROWS_MAX / 2 : 1, WORLD_ROWS_MAX);
    uint32_t n_blocks = FREE_BLOCKS;

    for (uint32_t i = 0; i < round->n; i++)
        n_blocks += kvgeom_blocks(round->instances[i].end);
    round->world = world_open(&round->exact->checkpoints, setup, n_blocks, rows_max, &round->rng);
    for (uint32_t i = 0; i < round->n; i++) {
        struct place *place = &round->instances[i].place;
        const uint32_t n = round->instances[i].n_copied;

        for (uint32_t k = 0; k < kvgeom_blocks(n); k++) {
            place->blocks[place->n_blocks++] = world_take(round->world);
            kv_copy_rows(&round->world->geom, world_block(round->world, place->blocks[k]),
                         round->instances[i].copied->kv + k * round->world->block_bytes,
                         n - k * BLOCK < BLOCK ? n - k * BLOCK : BLOCK);
        }
        place->at = n;
    }
}

/* ---- steps ---- */

static uint32_t chunk_of(struct round *round, const struct instance *instance)
{
    const uint32_t at = instance->place.at, left = instance->end - at;
    struct rand *rng = &round->rng;
    uint32_t n = left;

    switch (instance->cut) {
    case CUT_SINGLE:
        n = 1;
        break;
    case CUT_SMALL:
        n = (uint32_t)rand_between(rng, 1, 9);
        break;
    case CUT_LARGE:
        n = (uint32_t)rand_between(rng, 1, 200);
        break;
    case CUT_BLOCKS:
        n = (uint32_t)rand_between(rng, 1, 4) * BLOCK - at % BLOCK;
        break;
    case CUT_DECODE:
        n = at < instance->prompt ? instance->prompt - at : 1;
        break;
    case CUT_NONE:
    case CUT_N:
        break;
    }
    return n < left ? n : left;
}

/* Can it be computed now? Takes over the blocks that it has waited for. */
static bool is_ready(struct instance *instance)
{
    struct place *place = &instance->place;

    if (place->at >= instance->end)
        return false;
    if (instance->n_shared == 0)
        return true;
    if (instance->shared->place.at < instance->n_shared * BLOCK)
        return false;
    memcpy(place->blocks, instance->shared->place.blocks, instance->n_shared * sizeof(uint32_t));
    place->n_blocks = instance->n_shared;
    place->at = instance->n_shared * BLOCK;
    instance->n_shared = 0;
    return true;
}

static void add_chunk(struct round *round, struct instance *instance)
{
    struct world *world = round->world;
    const uint32_t room = world->rows_max - world->n_rows;
    uint32_t n = chunk_of(round, instance);
    bool sample;

    if (n > room)
        n = room;
    sample = instance->cut != CUT_LARGE || instance->place.at + n == instance->end ||
             rand_chance(&round->rng, 1, 2);
    if (n > 0)
        instance->result = world_add(world, &instance->place, n, sample);
}

static void check_step(struct round *round)
{
    for (uint32_t i = 0; i < round->n; i++) {
        struct instance *instance = &round->instances[i];

        if (instance->result == UINT32_MAX)
            continue;
        truth_check_row(instance->truth, round->world, instance->place.at, instance->result,
                        &round->exact->tally);
        instance->result = UINT32_MAX;
    }
}

/* False when all are done. */
static bool step(struct round *round)
{
    struct tally *tally = &round->exact->tally;
    struct world *world = round->world;
    uint32_t order[WORLD_SEQS_MAX], n_ready = 0;

    for (uint32_t i = 0; i < round->n; i++)
        if (is_ready(&round->instances[i]))
            order[n_ready++] = i;
    if (n_ready == 0)
        return false;
    for (uint32_t i = n_ready; i > 0; i--) {
        const uint32_t k = (uint32_t)rand_below(&round->rng, i), chosen = order[k];

        order[k] = order[i - 1];
        if (i == 1 || rand_chance(&round->rng, round->eager, 4))
            add_chunk(round, &round->instances[chosen]);
    }
    if (world->n_seqs == 0)
        return true;
    if (world->n_seqs > tally->n_rows_max)
        tally->n_rows_max = world->n_seqs;
    world_run(world);
    check_step(round);
    return true;
}

/* ---- a round ---- */

static void check_end(struct round *round)
{
    struct tally *tally = &round->exact->tally;
    const uint32_t touched = world_touched(round->world);

    for (uint32_t i = 0; i < round->n; i++) {
        const struct instance *instance = &round->instances[i];

        CHECK(instance->place.at == instance->end);
        truth_check_kv(instance->truth, round->world, &instance->place, tally);
    }
    tally->n_sequences += round->n;
    if (touched != UINT32_MAX)
        tally_differ(tally, "block %u, which no one holds, was written", touched);
}

void round_forward(struct exact *exact, uint64_t seed)
{
    struct round *round = mem_alloc_zero(1, sizeof(*round));
    struct setup setup;

    CHECK(round != NULL);
    round->exact = exact;
    rand_init(&round->rng, seed);
    setup.kind = setup_choose_kind(&round->rng, exact->quick);
    setup.dtype = rand_chance(&round->rng, 1, 3) ? OP_F32 : OP_BF16;
    setup_choose(&exact->checkpoints, &round->rng, &setup);
    setup_print(&setup, exact->tally.setup);
    choose_instances(round, &setup);
    open_world(round, &setup);
    while (step(round))
        continue;
    check_end(round);
    world_close(round->world);
    mem_free(round);
}
