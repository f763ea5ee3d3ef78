/* Prints the ledger as a table. The phases overlap (KV travels while the prompt is computed), so
 * they need not add up to the total. */
#include "cli/ledger.h"

#define BAR_WIDTH 20

static void print_row(FILE *file, const char *phase, uint64_t us, uint64_t total_us,
                      const char *note)
{
    static const char bar[] = "####################";
    uint64_t width = total_us ? us * BAR_WIDTH / total_us : 0;

    if (width > BAR_WIDTH)
        width = BAR_WIDTH;
    fprintf(file, "  %-14s %12.3f ms  %-*.*s  %s\n", phase, (double)us / 1000.0, BAR_WIDTH,
            (int)width, bar, note);
}

void ledger_print(FILE *file, const struct baton_ledger *ledger)
{
    const uint64_t total = ledger->total_us;
    const uint64_t us = ledger->transfer_us;
    const uint32_t n_later = ledger->emitted_tokens > 1 ? ledger->emitted_tokens - 1 : 1;
    char note[80];

    fprintf(file, "\n  %-14s %15s  %-*s  %s\n", "phase", "time", BAR_WIDTH, "of the total", "");
    print_row(file, "router queue", ledger->router_queue_us, total, "");
    snprintf(note, sizeof(note), "%.20s", ledger->prefill_node);
    print_row(file, "prefill queue", ledger->prefill_queue_us, total, note);
    snprintf(note, sizeof(note), "%u tokens", ledger->prompt_tokens);
    print_row(file, "prefill", ledger->prefill_us, total, note);
    snprintf(note, sizeof(note), "%.1f MiB, %.2f GB/s", (double)ledger->transfer_bytes / 1048576.0,
             us ? (double)ledger->transfer_bytes / (double)us / 1000.0 : 0.0);
    print_row(file, "transfer", us, total, note);
    snprintf(note, sizeof(note), "%.20s", ledger->decode_node);
    print_row(file, "decode queue", ledger->decode_queue_us, total, note);
    print_row(file, "first step", ledger->first_step_us, total, "");
    snprintf(note, sizeof(note), "%.3f ms a token",
             (double)ledger->decode_us / 1000.0 / (double)n_later);
    print_row(file, "decode", ledger->decode_us, total, note);
    print_row(file, "first token", ledger->first_token_us, total, "as the router saw it");
    snprintf(note, sizeof(note), "%u tokens", ledger->emitted_tokens);
    print_row(file, "total", total, total, note);
    fprintf(file, "  path: %s; attempts: %u\n",
            ledger->transfer_path[0] ? ledger->transfer_path : "-", ledger->attempts);
}
