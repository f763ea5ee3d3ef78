/* Random comparisons, bit for bit, of the ways in which one sequence can be computed (section 5 of
 * the design): test_exact [--seed N] [--rounds M] [--only forward|engine] [--quick]. A failure
 * prints the seed of its round, which alone makes it again. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/check.h"
#include "base/mem.h"
#include "tests/exact/rounds.h"

#define SEED 1u
#define FORWARD_ROUNDS 30u
#define ENGINE_ROUNDS 24u
#define QUICK_ROUNDS 3u
#define ENOUGH 10000u /* comparisons of a run with no options */

struct options {
    uint64_t seed, rounds; /* 0 rounds: as many as are enough */
    const char *only;
    bool quick;
};

static const struct part {
    const char *name;
    void (*run)(struct exact *exact, uint64_t seed);
    uint64_t rounds;
} parts[] = {
    {"forward", round_forward, FORWARD_ROUNDS},
    {"engine", round_engine, ENGINE_ROUNDS},
};

static bool parse(int argc, char **argv, struct options *out)
{
    *out = (struct options){.seed = SEED};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--quick") == 0)
            out->quick = true;
        else if (i + 1 < argc && strcmp(argv[i], "--seed") == 0)
            out->seed = strtoull(argv[++i], NULL, 10);
        else if (i + 1 < argc && strcmp(argv[i], "--rounds") == 0)
            out->rounds = strtoull(argv[++i], NULL, 10);
        else if (i + 1 < argc && strcmp(argv[i], "--only") == 0)
            out->only = argv[++i];
        else
            return false;
    }
    return true;
}

static void set_epoch(struct exact *exact, uint64_t epoch)
{
    for (uint32_t i = 0; i < 2 * EXACT_N_KINDS; i++) {
        struct truths *truths = &exact->truths[i / 2][i % 2];

        if (truths->epoch == epoch && truths->world != NULL)
            continue;
        truths_fini(truths);
        truths->epoch = epoch;
    }
}

static double seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void run_part(struct exact *exact, const struct part *part, const struct options *options)
{
    const uint64_t usual = options->quick ? QUICK_ROUNDS : part->rounds;
    const uint64_t n = options->rounds > 0 ? options->rounds : usual;
    const uint64_t before = tally_n(&exact->tally), n_sequences = exact->tally.n_sequences;
    const double begin = seconds();

    exact->tally.part = part->name;
    for (uint64_t i = 0; i < n && exact->tally.n_differ == 0; i++) {
        const uint64_t seed = options->seed + i;

        set_epoch(exact, seed / ROUNDS_EPOCH);
        exact->tally.seed = seed;
        part->run(exact, seed);
    }
    printf("%s: %" PRIu64 " rounds, %" PRIu64 " sequences, %" PRIu64 " comparisons, %.1f s\n",
           part->name, n, exact->tally.n_sequences - n_sequences, tally_n(&exact->tally) - before,
           seconds() - begin);
}

/* 12345 as "12,345". */
static const char *with_commas(uint64_t n, char text[32])
{
    char digits[32];
    const int len = snprintf(digits, sizeof(digits), "%" PRIu64, n);
    int at = 0;

    for (int i = 0; i < len; i++) {
        if (i > 0 && (len - i) % 3 == 0)
            text[at++] = ',';
        text[at++] = digits[i];
    }
    text[at] = '\0';
    return text;
}

int main(int argc, char **argv)
{
    struct exact *exact = mem_alloc_zero(1, sizeof(*exact));
    struct options options;
    uint64_t n, n_differ;
    char text[32];

    if (!parse(argc, argv, &options)) {
        fprintf(stderr,
                "usage: test_exact [--seed N] [--rounds M] [--only forward|engine] [--quick]\n");
        return 2;
    }
    CHECK(exact != NULL);
    exact->quick = options.quick;
    checkpoints_init(&exact->checkpoints, false);
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
        if (options.only == NULL || strcmp(options.only, parts[i].name) == 0)
            run_part(exact, &parts[i], &options);
    set_epoch(exact, UINT64_MAX);
    answers_fini(exact);
    checkpoints_fini(&exact->checkpoints);
    n = tally_n(&exact->tally); /* of a run that a difference has ended: up to that round */
    n_differ = exact->tally.n_differ;
    printf("%" PRIu64 " rows and %" PRIu64 " KVs of %" PRIu64 " sequences, up to %" PRIu64
           " in a step\n",
           exact->tally.n_rows, exact->tally.n_kvs, exact->tally.n_sequences,
           exact->tally.n_rows_max);
    printf("%" PRIu64 " hand-overs, %" PRIu64 " sequences and %" PRIu64 " nodes lost\n",
           exact->tally.n_hand_overs, exact->tally.n_losses, exact->tally.n_kills);
    printf("%s comparisons, ", with_commas(n, text));
    printf("%s differ\n", with_commas(n_differ, text));
    mem_free(exact);
    CHECK(mem_live() == 0);
    if (n_differ == 0 && argc == 1 && n < ENOUGH) {
        fprintf(stderr, "fewer than %u comparisons: more rounds are needed\n", ENOUGH);
        return 1;
    }
    return n_differ == 0 ? 0 : 1;
}
