/* The command line of `baton bench`. */
#include "bench/bench.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "bench/command.h"
#include "bench/load.h"

enum { CODE_DONE = 0, CODE_FAILED = 1, CODE_USAGE = 2 };

static const char help[] =
    "Usage: baton bench [wire | transfer] [OPTION ...]\n\n"
    "Measures Baton beside the limit of this machine, in turns within one run.\n"
    "  wire      a real router between simulated nodes and clients, beside raw\n"
    "            ZeroMQ forwarding of messages of the same number and sizes\n"
    "  transfer  KV pieces between two processes, beside process_vm_readv and\n"
    "            a plain TCP connection\n"
    "Without a subject: all of them.\n\n"
    "  --json           one JSON object a line: value, limit, ratio\n"
    "  --check          exit 1 where a row misses its target\n"
    "  --slices N       slices of each measurement (40; transfer: at most 5)\n"
    "  --slice MS       wire: length of a slice (20)\n"
    "  --streams N      wire: requests at once (64)\n"
    "  --clients N      wire: client connections (8)\n"
    "  --tokens N       wire: tokens a request, for requests/s (16)\n"
    "  --prompt N       wire: ids a prompt (64)\n"
    "  --window N       wire: tokens on their way at once, at most (1024)\n";

struct subject {
    const char *name;
    enum status (*run)(const struct bench_options *options, struct report *report);
};

static const struct subject subjects[] = {{"wire", bench_wire}, {"transfer", bench_transfer}};
#define N_SUBJECTS (sizeof(subjects) / sizeof(subjects[0]))

static int complain(const char *what, const char *text)
{
    fprintf(stderr, "baton bench: %s '%s'; see baton bench --help\n", what, text);
    return CODE_USAGE;
}

struct number_option {
    const char *name;
    uint32_t *at;
    uint32_t min, max;
};

/* Takes args[*i], and its value if it has one. False after a complaint. */
static bool take_option(struct bench_options *options, int argc, char **argv, int *i)
{
    const struct number_option numbers[] = {
        {"--slice", &options->slice_ms, 10, 1000},
        {"--slices", &options->n_slices, 1, 1000},
        {"--streams", &options->n_streams, 1, MIDDLE_STREAMS_MAX},
        {"--clients", &options->n_clients, 1, LOAD_CLIENTS_MAX},
        {"--tokens", &options->n_tokens, 2, 65536},
        {"--prompt", &options->n_prompt, 1, LOAD_PROMPT_MAX},
        {"--window", &options->window, 1, MIDDLE_QUEUE_MAX / 2},
    };
    const char *name = argv[*i];

    if (strcmp(name, "--json") == 0)
        return options->json = true;
    if (strcmp(name, "--check") == 0)
        return options->check = true;
    for (size_t k = 0; k < sizeof(numbers) / sizeof(numbers[0]); k++) {
        const struct number_option *number = &numbers[k];
        char *end = NULL;
        unsigned long value;

        if (strcmp(name, number->name) != 0)
            continue;
        errno = 0;
        value = *i + 1 < argc ? strtoul(argv[*i + 1], &end, 10) : 0;
        if (!end || end == argv[*i + 1] || *end || errno || value < number->min ||
            value > number->max) {
            fprintf(stderr, "baton bench: %s wants a number from %u to %u\n", name, number->min,
                    number->max);
            return false;
        }
        *number->at = (uint32_t)value;
        *i += 1;
        return true;
    }
    complain("unknown option", name);
    return false;
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
        chosen[k] = chosen[k] || !any;
    return run(&options, chosen);
}
