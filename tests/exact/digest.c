/* The bits of whole models as one number each: logits, ids, logprobs and KV of a batch of lines, by
 * every vector table. Whichever compiler builds this must come to the numbers below; a change that
 * moves one changes the contract's version (kernels/NUMERICS.md). digest --print shows them. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "tests/exact/truth.h"

#define N_LINES 20u
#define EPOCH 7u
#define SKIPPED 77

static const uint64_t numbers[EXACT_N_KINDS][2] = {
    /* [kind][bf16, f32] */
    {UINT64_C(0x66cd8a92a08079a7), UINT64_C(0xf9a5ff10e38f182f)},
    {UINT64_C(0xb78f00a18875315a), UINT64_C(0xf39bc059a5b28007)},
    {UINT64_C(0x0ffaa943039de735), UINT64_C(0x614eb6b45fad4eba)},
};

/* FNV-1a. */
static void digest_add(uint64_t *digest, const void *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        *digest = (*digest ^ ((const uint8_t *)bytes)[i]) * UINT64_C(0x100000001b3);
}

static void add_sample(const struct world *world, uint32_t result, uint64_t *digest)
{
    const struct op_sampled *sampled = &world->sampled[result];
    const uint32_t n = world->params[result].n_logprobs;

    digest_add(digest, world->logits + (size_t)result * world->vocab, world->vocab * sizeof(float));
    digest_add(digest, &sampled->token, sizeof(sampled->token));
    digest_add(digest, &sampled->logprob, sizeof(sampled->logprob));
    digest_add(digest, sampled->top_tokens, n * sizeof(*sampled->top_tokens));
    digest_add(digest, sampled->top_logprobs, n * sizeof(*sampled->top_logprobs));
}

/* All lines, each in one go but for its last tokens, which are decoded. */
static uint64_t digest_of(struct world *world, struct line *lines)
{
    static struct place places[N_LINES];
    uint64_t digest = UINT64_C(0xcbf29ce484222325);
    bool more = true;

    for (uint32_t i = 0; i < N_LINES; i++) {
        line_make(&lines[i], EPOCH, i, world->vocab, world->len_max);
        places[i] = (struct place){.line = &lines[i]};
    }
    while (more) {
        uint32_t n = 0;

        for (uint32_t i = 0; i < N_LINES; i++) {
            const uint32_t left = lines[i].n - places[i].at;
            const uint32_t chunk = left > 3 && places[i].at == 0 ? left - 3 : left > 0;

            if (chunk > 0 && world->n_rows + chunk <= world->rows_max)
                n = world_add(world, &places[i], chunk, true) + 1;
        }
        more = n > 0;
        if (more)
            world_run(world);
        for (uint32_t i = 0; i < n; i++)
            add_sample(world, i, &digest);
    }
    for (uint32_t i = 0; i < N_LINES; i++)
        for (uint32_t k = 0; k < places[i].n_blocks; k++)
            digest_add(&digest, world_block(world, places[i].blocks[k]), world->block_bytes);
    return digest;
}

static uint64_t digest_with(const struct checkpoints *checkpoints, const struct setup *setup)
{
    struct line *lines = mem_alloc_zero(N_LINES, sizeof(*lines));
    struct world *world =
        world_open(checkpoints, setup, N_LINES * LINE_BLOCKS_MAX, WORLD_ROWS_MAX, NULL);
    uint64_t digest;

    CHECK(lines != NULL);
    digest = digest_of(world, lines);
    world_close(world);
    mem_free(lines);
    return digest;
}

static bool is_of_this_class(const struct checkpoints *checkpoints)
{
    const struct setup setup = {
        .kind = EXACT_MOE, .dtype = OP_BF16, .table = "scalar", .n_threads = 1};
    struct model *model = setup_open(checkpoints, &setup);
    const bool is = strcmp(device_info(model_device(model)).kind, "cpu") == 0;

    model_close(model);
    return is;
}

int main(int argc, char **argv)
{
    const bool print = argc == 2 && strcmp(argv[1], "--print") == 0;
    struct checkpoints checkpoints;
    uint32_t n_wrong = 0;
    bool ours;

    checkpoints_init(&checkpoints, true);
    ours = is_of_this_class(&checkpoints);
    for (uint32_t i = 0; ours && i < 2 * EXACT_N_KINDS; i++) {
        /* The scalar table is slow; test_exact compares it with the others. */
        for (uint32_t t = checkpoints.n_tables > 1; t < checkpoints.n_tables; t++) {
            const struct setup setup = {.kind = (enum exact_kind)(i / 2),
                                        .dtype = i % 2 ? OP_F32 : OP_BF16,
                                        .table = checkpoints.tables[t],
                                        .n_threads = 2};
            const uint64_t digest = digest_with(&checkpoints, &setup);
            char text[80];

            setup_print(&setup, text);
            if (print)
                printf("0x%016" PRIx64 " %s\n", digest, text);
            else if (digest != numbers[i / 2][i % 2])
                fprintf(stderr, "%s: 0x%016" PRIx64 ", expected 0x%016" PRIx64 "\n", text, digest,
                        numbers[i / 2][i % 2]);
            n_wrong += digest != numbers[i / 2][i % 2];
        }
    }
    checkpoints_fini(&checkpoints);
    if (!ours)
        return SKIPPED;
    if (!print)
        printf("%u digests differ\n", n_wrong);
    return print || n_wrong == 0 ? 0 : 1;
}
