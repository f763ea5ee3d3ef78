/* The figures of all rounds, a row for each fault and phase. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "tests/chaos/chaos.h"

#define ROWS_MAX 64u
#define ROUNDS_MAX 4096u

struct row {
    char fault[32], phase[32];
    uint32_t n_rounds, n_missed, n_times;
    double times[ROUNDS_MAX]; /* ms until noticed */
    uint64_t n_hit, n_done, n_failed, n_asked_again, n_violations;
};

struct table {
    size_t n_rows;
    struct row rows[ROWS_MAX];
};

struct table *table_create(void)
{
    struct table *table = calloc(1, sizeof(*table));

    CHECK(table);
    return table;
}

void table_destroy(struct table *table)
{
    free(table);
}

void table_add(struct table *table, const char *fault, const char *phase,
               const struct chaos_result *result)
{
    struct row *row = NULL;

    for (size_t i = 0; i < table->n_rows && !row; i++)
        if (strcmp(table->rows[i].fault, fault) == 0 && strcmp(table->rows[i].phase, phase) == 0)
            row = &table->rows[i];
    if (!row) {
        CHECK(table->n_rows < ROWS_MAX);
        row = &table->rows[table->n_rows++];
        snprintf(row->fault, sizeof(row->fault), "%s", fault);
        snprintf(row->phase, sizeof(row->phase), "%s", phase);
    }
    row->n_rounds++;
    row->n_missed += result->missed;
    row->n_hit += result->n_hit;
    row->n_done += result->n_done;
    row->n_failed += result->n_failed;
    row->n_asked_again += result->n_asked_again;
    row->n_violations += result->n_violations;
    if (result->has_detected && row->n_times < ROUNDS_MAX)
        row->times[row->n_times++] = result->detected_ms;
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* Nearest rank: of 20 rounds the p99 is the longest. */
static double percentile(const double *sorted, size_t n, size_t percent)
{
    return sorted[(n * percent + 99) / 100 - 1];
}

static void print_times(const double *times, size_t n, FILE *out)
{
    double *sorted = malloc((n + 1) * sizeof(*sorted));

    CHECK(sorted);
    memcpy(sorted, times, n * sizeof(*sorted));
    qsort(sorted, n, sizeof(*sorted), by_value);
    if (n > 0)
        fprintf(out, " %.0f | %.0f |", percentile(sorted, n, 50), percentile(sorted, n, 99));
    else
        fprintf(out, " - | - |");
    free(sorted);
}

/* All rows of a fault on P and D together: "kill -9" of a node, "freeze" of a node. */
static void print_noticed(const struct table *table, const char *what, double limit_ms, FILE *out)
{
    double *all = malloc(ROWS_MAX * ROUNDS_MAX * sizeof(*all));
    size_t n = 0;

    CHECK(all);
    for (size_t i = 0; i < table->n_rows; i++) {
        const struct row *row = &table->rows[i];

        if (strncmp(row->fault, what, strlen(what)) != 0 || strstr(row->fault, "router"))
            continue;
        memcpy(all + n, row->times, row->n_times * sizeof(*all));
        n += row->n_times;
    }
    if (n > 0) {
        fprintf(out, "%s noticed by every router (ms): p50 | p99 |", what);
        print_times(all, n, out);
        fprintf(out, " limit %.0f, %zu times\n", limit_ms, n);
    }
    free(all);
}

void table_print(const struct table *table, FILE *out)
{
    fprintf(out, "| fault | phase | rounds | noticed p50 ms | p99 ms | streams hit | completed |"
                 " failed, typed | asked again | violations |\n"
                 "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n");
    for (size_t i = 0; i < table->n_rows; i++) {
        const struct row *row = &table->rows[i];

        fprintf(out, "| %s | %s | %u |", row->fault, row->phase, row->n_rounds);
        print_times(row->times, row->n_times, out);
        fprintf(out, " %llu | %llu | %llu | %llu | %llu |\n", (unsigned long long)row->n_hit,
                (unsigned long long)row->n_done, (unsigned long long)row->n_failed,
                (unsigned long long)row->n_asked_again, (unsigned long long)row->n_violations);
        if (row->n_missed > 0)
            fprintf(stderr, "chaos: %s, %s: %u rounds came after their phase\n", row->fault,
                    row->phase, row->n_missed);
    }
    fprintf(out, "\n");
    print_noticed(table, "kill", 1000, out);
    print_noticed(table, "freeze", 3000, out);
}
