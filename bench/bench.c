/* The command line of `baton bench`. */
#include "bench/bench.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "bench/command.h"
#include "bench/load.h"
#include "kernels/device.h"

enum { CODE_DONE = 0, CODE_FAILED = 1, CODE_USAGE = 2 };

static const char help[] =
    "Usage: baton bench [wire | transfer | kernels | engine] [OPTION ...]\n\n"
    "Measures Baton beside the limit of this machine, in turns within one run.\n"
    "  wire      a real router between simulated nodes and clients, beside raw\n"
    "            ZeroMQ forwarding of messages of the same number and sizes\n"
    "  transfer  KV pieces between two processes, beside process_vm_readv and\n"
    "            a plain TCP connection\n"
    "  kernels   each op with the shapes of a model, beside the dot-product peak\n"
    "            and the read bandwidth\n"
    "  engine    prompts and generation of a whole model, beside the same\n"
    "Without a subject: all but engine, which needs --model.\n\n"
    "  --json           one JSON object a line: value, limit, ratio\n"
    "  --check          exit 1 where a row misses its target\n"
    "  --slices N       slices of each measurement (40; transfer: at most 5;\n"
    "                   kernels: those of a second; engine: at most 3)\n"
    "  --threads N      kernels, engine: threads that compute (one for each CPU)\n"
    "  --table NAME     kernels, engine: scalar, avx2, ... (the best there is)\n"
    "  --cpu-time       kernels, engine: by CPU time, where others use the machine\n"
    "  --config FILE    kernels: shapes of this config.json (a 1B Llama's)\n"
    "  --matrices       kernels: a line for each matrix, not for a layer\n"
    "  --model FOLDER   engine: the checkpoint\n"
    "  --only LIST      engine: of pp512, pp2048, tg128, bN; else all of them\n"
    "  --pair           engine: prefill and decode in two processes on the same\n"
    "                   CPUs, beside one after the other\n"
    "  --slice MS       wire: length of a slice (20); --pair: a 50th of a phase\n"
    "  --streams N      wire: requests at once (64)\n"
    "  --clients N      wire: client connections (8)\n"
    "  --tokens N       wire: tokens a request, for requests/s (16)\n"
    "  --prompt N       wire: ids a prompt (64)\n"
    "  --window N       wire: tokens on their way at once, at most (1024)\n";

struct subject {
    const char *name;
    enum status (*run)(const struct bench_options *options, struct report *report);
    bool needs_model; /* runs only when named */
};

static const struct subject subjects[] = {{"wire", bench_wire, false},
                                          {"transfer", bench_transfer, false},
                                          {"kernels", bench_kernels, false},
                                          {"engine", bench_engine, true}};
#define N_SUBJECTS (sizeof(subjects) / sizeof(subjects[0]))

static int complain(const char *what, const char *text)
{
    fprintf(stderr, "baton bench: %s '%s'; see baton bench --help\n", what, text);
    return CODE_USAGE;
}

struct text_option {
    const char *name;
    const char **at;
};

struct flag_option {
    const char *name;
    bool *at;
};

struct number_option {
    const char *name;
    uint32_t *at;
    uint32_t min, max;
};

static bool take_flag(struct bench_options *options, const char *name)
{
    const struct flag_option flags[] = {{"--json", &options->json},
                                        {"--check", &options->check},
                                        {"--cpu-time", &options->cpu_time},
                                        {"--matrices", &options->matrices},
                                        {"--pair", &options->pair}};

    for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
        if (strcmp(name, flags[i].name) == 0)
            return *flags[i].at = true;
    return false;
}

/* Sets *taken if `name` is such an option; false after a complaint. */
static bool take_text(struct bench_options *options, const char *name, const char *value,
                      bool *taken)
{
    const struct text_option texts[] = {{"--table", &options->table},
                                        {"--config", &options->config},
                                        {"--model", &options->model},
                                        {"--only", &options->only}};

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        if (strcmp(name, texts[i].name) != 0)
            continue;
        *taken = true;
        *texts[i].at = value;
        if (!value)
            fprintf(stderr, "baton bench: %s wants a value\n", name);
        return value != NULL;
    }
    return true;
}

static bool take_number(struct bench_options *options, const char *name, const char *value,
                        bool *taken)
{
    const struct number_option numbers[] = {
        {"--slice", &options->slice_ms, 10, 1000},
        {"--slices", &options->n_slices, 1, 1000},
        {"--streams", &options->n_streams, 1, MIDDLE_STREAMS_MAX},
        {"--clients", &options->n_clients, 1, LOAD_CLIENTS_MAX},
        {"--tokens", &options->n_tokens, 2, 65536},
        {"--prompt", &options->n_prompt, 1, LOAD_PROMPT_MAX},
        {"--window", &options->window, 1, MIDDLE_QUEUE_MAX / 2},
        {"--threads", &options->n_threads, 1, DEVICE_THREADS_MAX},
    };

    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        const struct number_option *number = &numbers[i];
        char *end = NULL;
        unsigned long n;

        if (strcmp(name, number->name) != 0)
            continue;
        *taken = true;
        errno = 0;
        n = value ? strtoul(value, &end, 10) : 0;
        if (!end || end == value || *end || errno || n < number->min || n > number->max) {
            fprintf(stderr, "baton bench: %s wants a number from %u to %u\n", name, number->min,
                    number->max);
            return false;
        }
        *number->at = (uint32_t)n;
        return true;
    }
    return true;
}

/* Takes args[*i], and its value if it has one. False after a complaint. */
static bool take_option(struct bench_options *options, int argc, char **argv, int *i)
{
    const char *name = argv[*i], *value = *i + 1 < argc ? argv[*i + 1] : NULL;
    bool taken = false;

    if (take_flag(options, name))
        return true;
    if (!take_number(options, name, value, &taken) || !take_text(options, name, value, &taken))
        return false;
    *i += 1;
    if (!taken)
        complain("unknown option", name);
    return taken;
}

static int run(const struct bench_options *options, const bool chosen[N_SUBJECTS])
{
    const struct log_options quiet = {.level = LOG_LEVEL_WARN, .site_lines_per_s = 10};
    int code = CODE_DONE;

    (void)log_open(&quiet); /* for the children too */
    for (size_t i = 0; i < N_SUBJECTS; i++) {
        struct report report;

        if (!chosen[i])
            continue;
        report_init(&report, subjects[i].name, options->json);
        if (subjects[i].run(options, &report) != STATUS_OK)
            code = CODE_FAILED;
        if (options->check && !report_good(&report)) {
            fprintf(stderr, "baton bench: %s misses a target (marked with !)\n", subjects[i].name);
            code = CODE_FAILED;
        }
    }
    return code;
}

int bench_main(int argc, char **argv)
{
    struct bench_options options = {.slice_ms = 20,
                                    .n_slices = 40,
                                    .n_streams = 64,
                                    .n_clients = 8,
                                    .n_tokens = 16,
                                    .n_prompt = 64,
                                    .window = 1024};
    bool chosen[N_SUBJECTS] = {false};
    bool any = false;

    for (int i = 1; i < argc; i++) {
        bool found = false;

        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            fputs(help, stdout);
            return CODE_DONE;
        }
        for (size_t k = 0; k < N_SUBJECTS && !found; k++) {
            found = strcmp(argv[i], subjects[k].name) == 0;
            chosen[k] = chosen[k] || found;
        }
        any = any || found;
        if (found)
            continue;
        if (argv[i][0] != '-')
            return complain("unknown subject", argv[i]);
        if (!take_option(&options, argc, argv, &i))
            return CODE_USAGE;
    }
    for (size_t k = 0; k < N_SUBJECTS; k++)
        chosen[k] = chosen[k] || (!any && !subjects[k].needs_model);
    for (size_t k = 0; k < N_SUBJECTS; k++)
        if (chosen[k] && subjects[k].needs_model && !options.model) {
            fprintf(stderr, "baton bench: %s wants --model FOLDER\n", subjects[k].name);
            return CODE_USAGE;
        }
    return run(&options, chosen);
}
