/* `baton bench engine`: a whole model's forward pass on prompts and in generation, in tokens a
 * second, beside what its dot products and its reads would take at the machine's limits. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "bench/command.h"
#include "bench/engine_pair.h"
#include "bench/engine_rig.h"

#define PARTS_MAX 16u
#define RUNS_MAX 3u   /* of each, unless --slices says less */
#define LEN_MAX 8192u /* of a prompt, and of what is generated */
#define BATCH_PROMPT 128u
#define BATCH_IDS 64u
#define STEPS_SLICE 8u /* steps between two looks at the limits */

enum part_kind { PART_PROMPT, PART_SINGLE, PART_BATCH };

struct part {
    enum part_kind kind;
    uint32_t n; /* tokens, ids, sequences */
};

static const struct {
    const char *prefix;
    enum part_kind kind;
    uint32_t max;
} prefixes[] = {{"pp", PART_PROMPT, LEN_MAX}, {"tg", PART_SINGLE, LEN_MAX}, {"b", PART_BATCH, 64}};

struct engine_bench {
    const struct bench_options *options;
    struct report *report;
    struct rig *rig;
    struct peaks *peaks;
    struct laps laps;
    struct part parts[PARTS_MAX];
    uint32_t n_parts, n_runs;
};

static bool parse_part(const char *text, size_t len, struct part *out)
{
    for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++) {
        const size_t skip = strlen(prefixes[i].prefix);
        char *end;
        unsigned long n;

        if (len <= skip || strncmp(text, prefixes[i].prefix, skip) != 0)
            continue;
        n = strtoul(text + skip, &end, 10);
        if (end != text + len || n == 0 || n > prefixes[i].max)
            return false;
        *out = (struct part){prefixes[i].kind, (uint32_t)n};
        return true;
    }
    return false;
}

static bool parse_parts(struct engine_bench *bench)
{
    const char *at =
        bench->options->only ? bench->options->only : "pp512,pp2048,tg128,b2,b4,b8,b16,b32";

    while (*at) {
        const size_t len = strcspn(at, ",");

        if (bench->n_parts == PARTS_MAX || !parse_part(at, len, &bench->parts[bench->n_parts])) {
            fprintf(stderr,
                    "baton bench: --only '%s': at most %u of ppN, tgN (to %u) and bN (to 64)\n", at,
                    PARTS_MAX, LEN_MAX);
            return false;
        }
        bench->n_parts++;
        at += len + (at[len] == ',');
    }
    return true;
}

static uint32_t part_seqs(const struct part *part)
{
    return part->kind == PART_BATCH ? part->n : 1;
}

static uint32_t part_len(const struct part *part)
{
    return part->kind == PART_BATCH ? BATCH_PROMPT + BATCH_IDS : part->n;
}

static uint32_t pool_blocks(const struct engine_bench *bench)
{
    uint32_t most = 0;

    for (uint32_t i = 0; i < bench->n_parts; i++) {
        const struct part *part = &bench->parts[i];
        const uint32_t n = part_seqs(part) * kvgeom_blocks(part_len(part));

        most = n > most ? n : most;
    }
    return most;
}

/* ---- one part: a fixed list of steps, run several times ---- */

struct plan {
    struct rig_step *steps; /* [n] */
    uint32_t n, n_timed;    /* the last n_timed are what is measured */
    double tokens;          /* that they give */
};

/* Several short prompts share a step, a long one has several. */
static void plan_prompt(struct plan *plan, const struct rig_step *like, uint32_t n_tokens)
{
    const uint32_t most = RIG_ROWS_MAX / like->n_seqs, rows = n_tokens < most ? n_tokens : most;

    for (uint32_t at = 0; at < n_tokens; at += rows) {
        struct rig_step *step = &plan->steps[plan->n++];

        *step = *like;
        step->position = at;
        step->n_rows = n_tokens - at < rows ? n_tokens - at : rows;
        step->sample = at + step->n_rows == n_tokens;
    }
}

static enum status plan_make(const struct part *part, struct plan *plan)
{
    const struct rig_step like = {
        .n_seqs = part_seqs(part), .n_rows = 1, .len = part_len(part), .sample = true};
    const uint32_t n_prompt = part->kind == PART_PROMPT  ? part->n
                              : part->kind == PART_BATCH ? BATCH_PROMPT
                                                         : 0;

    *plan = (struct plan){.steps = mem_alloc_zero(part_len(part), sizeof(*plan->steps))};
    if (!plan->steps)
        return STATUS_NO_MEMORY;
    plan_prompt(plan, &like, n_prompt);
    for (uint32_t at = n_prompt; at < part_len(part); at++) {
        plan->steps[plan->n] = like;
        plan->steps[plan->n++].position = at;
    }
    plan->n_timed = part->kind == PART_PROMPT ? plan->n : part_len(part) - n_prompt;
    plan->tokens = (part->kind == PART_PROMPT ? n_prompt : plan->n_timed) * (double)like.n_seqs;
    return STATUS_OK;
}

struct sums {
    double best_s, mean_s, bound_s; /* of the steps that are timed */
};

static enum status run_once(struct engine_bench *bench, const struct plan *plan, double *best_s,
                            struct sums *sums)
{
    for (uint32_t i = 0; i < plan->n; i++) {
        enum status status;
        double seconds;

        laps_begin(&bench->laps);
        status = rig_run(bench->rig, &plan->steps[i]);
        seconds = laps_end(&bench->laps);

        if (status != STATUS_OK)
            return status;
        if (best_s[i] == 0 || seconds < best_s[i])
            best_s[i] = seconds;
        if (i >= plan->n - plan->n_timed)
            sums->mean_s += seconds / bench->n_runs;
        if (plan->steps[i].n_rows > 1 || i % STEPS_SLICE == 0)
            peaks_slice(bench->peaks);
    }
    return STATUS_OK;
}

/* A step is the slice: of each the best run counts. */
static enum status run_plan(struct engine_bench *bench, const struct plan *plan, double *best_s,
                            struct sums *sums)
{
    enum status status = rig_run(bench->rig, &plan->steps[0]); /* memory is touched */

    *sums = (struct sums){.best_s = 0};
    peaks_restart(bench->peaks);
    for (uint32_t run = 0; status == STATUS_OK && run < bench->n_runs; run++)
        status = run_once(bench, plan, best_s, sums);
    if (status != STATUS_OK)
        return status;
    peaks_enough(bench->peaks);
    for (uint32_t i = plan->n - plan->n_timed; i < plan->n; i++) {
        sums->best_s += best_s[i];
        sums->bound_s += rig_bound(bench->rig, &plan->steps[i], bench->peaks);
    }
    return STATUS_OK;
}

static enum status measure(struct engine_bench *bench, const struct part *part)
{
    struct report_row row = {.kind = REPORT_RATE, .unit = "tok/s"};
    struct plan plan;
    struct sums sums;
    double *best_s;
    enum status status = plan_make(part, &plan);

    if (status != STATUS_OK)
        return status;
    best_s = mem_alloc_zero(plan.n, sizeof(*best_s));
    status = best_s ? run_plan(bench, &plan, best_s, &sums) : STATUS_NO_MEMORY;
    if (status == STATUS_OK) {
        if (part->kind == PART_PROMPT)
            snprintf(row.name, sizeof(row.name), "pp%u: a prompt", part->n);
        else if (part->kind == PART_SINGLE)
            snprintf(row.name, sizeof(row.name), "tg%u: generation alone", part->n);
        else
            snprintf(row.name, sizeof(row.name), "b%u: generation of %u", part->n, part->n);
        row.value = plan.tokens / sums.best_s;
        row.mean = plan.tokens / sums.mean_s;
        row.limit = plan.tokens / sums.bound_s;
        report_add(bench->report, &row);
    }
    mem_free(best_s);
    mem_free(plan.steps);
    return status;
}

static enum status run_parts(struct engine_bench *bench)
{
    enum status status = STATUS_OK;

    bench->n_runs = bench->options->n_slices < RUNS_MAX ? bench->options->n_slices : RUNS_MAX;
    report_note(bench->report, "table %s, %u threads, bf16, %s, best of %u runs of each step",
                rig_table(bench->rig), rig_n_threads(bench->rig),
                bench->options->cpu_time ? "CPU time" : "wall time", bench->n_runs);
    for (uint32_t i = 0; i < bench->n_parts && status == STATUS_OK; i++)
        status = measure(bench, &bench->parts[i]);
    return status;
}

enum status bench_engine(const struct bench_options *options, struct report *report)
{
    struct engine_bench bench = {.options = options, .report = report};
    enum status status;

    if (options->pair)
        return engine_pair(options, report);
    if (!parse_parts(&bench))
        return STATUS_INVALID;
    status = rig_open(options, pool_blocks(&bench), &bench.rig);
    if (status != STATUS_OK)
        return status;
    laps_init(&bench.laps, options->cpu_time, rig_n_threads(bench.rig));
    status = peaks_create(rig_n_threads(bench.rig), options->cpu_time, &bench.peaks);
    if (status == STATUS_OK)
        status = run_parts(&bench);
    if (status != STATUS_OK)
        fprintf(stderr, "baton bench: engine: %s\n", status_text(status));
    peaks_destroy(bench.peaks);
    rig_close(bench.rig);
    return status;
}
