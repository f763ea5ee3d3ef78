/* The bench itself: its arithmetic, its command line, and that a load over a real router and over
 * the raw forwarder ends every request it began, and notices a token that is not there. Nothing
 * here judges a speed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/mem.h"
#include "bench/bench.h"
#include "bench/limits.h"
#include "bench/load.h"
#include "bench/report.h"

static void rows_are_judged(void **state)
{
    struct report_row row = {.kind = REPORT_RATE, .value = 60, .limit = 100, .target = 0.5};

    (void)state;
    assert_true(report_ratio(&row) > 0.599 && report_ratio(&row) < 0.601);
    assert_true(report_row_good(&row));
    row.value = 40;
    assert_false(report_row_good(&row));
    row = (struct report_row){.kind = REPORT_COST, .value = 100, .limit = 60, .target = 0.5};
    assert_true(report_ratio(&row) > 0.599 && report_ratio(&row) < 0.601);
    row = (struct report_row){.kind = REPORT_ADDED, .value = 149, .limit = 100, .target = 50};
    assert_true(report_row_good(&row));
    row.value = 151;
    assert_false(report_row_good(&row));
}

static void percentiles(void **state)
{
    struct samples samples;

    (void)state;
    assert_true(samples_init(&samples, 101));
    assert_true(samples_percentile_us(&samples, 50) == 0);
    for (uint64_t i = 0; i < 200; i++) /* backwards, and more than there is room for */
        samples_add(&samples, (100 - i % 101) * 1000);
    assert_int_equal(samples.n, 101);
    assert_true(samples_percentile_us(&samples, 0) == 0);
    assert_true(samples_percentile_us(&samples, 50) == 50);
    assert_true(samples_percentile_us(&samples, 99) == 99);
    assert_true(samples_percentile_us(&samples, 100) == 100);
    samples_fini(&samples);
}

static int run(char *first, char *second)
{
    char *args[] = {(char *)"bench", first, second, NULL};

    return bench_main(second ? 3 : first ? 2 : 1, args);
}

static void command_line(void **state)
{
    (void)state;
    assert_int_equal(run((char *)"--help", NULL), 0);
    assert_int_equal(run((char *)"nothing", NULL), 2);
    assert_int_equal(run((char *)"--nothing", NULL), 2);
    assert_int_equal(run((char *)"--slices", NULL), 2);
    assert_int_equal(run((char *)"--slices", (char *)"0"), 2);
    assert_int_equal(run((char *)"--slices", (char *)"3x"), 2);
    assert_int_equal(run((char *)"--streams", (char *)"100000"), 2);
}

/* ---- loads ---- */

struct pair {
    struct middle middle;
    struct load *load;
};

/* The sizes are those that the router's load reports; without one, any will do. */
static void pair_open(struct pair *pair, enum middle_kind kind, enum middle_transport transport)
{
    struct load_sizes sizes = {.generate = 200, .first = 100, .token = 100, .done = 200};

    pair->load = mem_alloc_zero(1, sizeof(*pair->load));
    assert_non_null(pair->load);
    assert_int_equal(middle_start(kind, transport, &pair->middle), STATUS_OK);
    if (kind == MIDDLE_ROUTER)
        assert_int_equal(load_open_baton(pair->load, &pair->middle, 3, 8, &sizes), STATUS_OK);
    else
        assert_int_equal(load_open_raw(pair->load, &pair->middle, 3, 8, &sizes), STATUS_OK);
    assert_true(sizes.token > 50 && sizes.token < 200);
}

static void pair_close(struct pair *pair)
{
    middle_stop(&pair->middle);
    load_close(pair->load);
    mem_free(pair->load);
}

static void load_is_whole(enum middle_kind kind, enum middle_transport transport)
{
    const struct load_shape shape = {.n_streams = 5, .n_tokens = 7, .window = 16};
    struct samples samples;
    struct pair pair;
    double seconds = 0;

    pair_open(&pair, kind, transport);
    assert_true(samples_init(&samples, 10000));
    assert_int_equal(load_rate(pair.load, &shape, 20 * NS_PER_MS, &seconds), STATUS_OK);
    assert_true(seconds >= 0.02);
    assert_int_equal(load_quiet(pair.load), STATUS_OK);
    assert_int_equal(pair.load->in_flight, 0);
    assert_int_equal(load_latency(pair.load, &shape, 2, 1000, 20 * NS_PER_MS, &samples), STATUS_OK);
    assert_true(samples.n > 0);
    assert_int_equal(load_drain(pair.load), STATUS_OK);
    assert_int_equal(pair.load->n_open, 0);
    assert_true(pair.load->n_requests >= 5);
    assert_int_equal(pair.load->n_tokens, 7 * pair.load->n_requests);
    assert_true(middle_cpu_ns(&pair.middle) > 0);
    samples_fini(&samples);
    pair_close(&pair);
}

static void router_over_tcp(void **state)
{
    (void)state;
    load_is_whole(MIDDLE_ROUTER, MIDDLE_TCP);
}

static void router_over_ipc(void **state)
{
    (void)state;
    load_is_whole(MIDDLE_ROUTER, MIDDLE_IPC);
}

static void raw_over_tcp(void **state)
{
    (void)state;
    load_is_whole(MIDDLE_RAW, MIDDLE_TCP);
}

static void raw_over_ipc(void **state)
{
    (void)state;
    load_is_whole(MIDDLE_RAW, MIDDLE_IPC);
}

static const struct load_dialect *whole;

static bool token_but_one(void *ctx, uint32_t stream, uint32_t index, bool is_last)
{
    return index == 3 || whole->token(ctx, stream, index, is_last);
}

static void a_lost_token_is_noticed(void **state)
{
    const struct load_shape shape = {.n_streams = 2, .n_tokens = 9, .window = 16};
    struct load_dialect lossy;
    struct pair pair;
    double seconds;

    (void)state;
    pair_open(&pair, MIDDLE_RAW, MIDDLE_TCP);
    whole = pair.load->dialect;
    lossy = *whole;
    lossy.token = token_but_one;
    pair.load->dialect = &lossy;
    assert_int_equal(load_rate(pair.load, &shape, NS_PER_S, &seconds), STATUS_LOST);
    assert_string_equal(pair.load->why, "a token was lost, doubled or out of order");
    pair_close(&pair);
}

static void limits_move_bytes(void **state)
{
    const struct limit_shape streamed = {.bytes = 65536, .n = 64, .window = 4};
    const struct limit_shape alone = {.bytes = 4096, .n = 16, .window = 1};
    double gb_per_s = 0;
    enum status status;

    (void)state;
    assert_int_equal(limit_memcpy(&streamed, &gb_per_s), STATUS_OK);
    assert_true(gb_per_s > 0);
    gb_per_s = 0;
    assert_int_equal(limit_tcp(&streamed, &gb_per_s), STATUS_OK);
    assert_true(gb_per_s > 0);
    assert_int_equal(limit_tcp(&alone, &gb_per_s), STATUS_OK);
    gb_per_s = 0;
    status = limit_vm_readv(&streamed, &gb_per_s);
    assert_true((status == STATUS_OK && gb_per_s > 0) || status == STATUS_DENIED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_judged),  cmocka_unit_test(percentiles),
        cmocka_unit_test(command_line),     cmocka_unit_test(router_over_tcp),
        cmocka_unit_test(router_over_ipc),  cmocka_unit_test(raw_over_tcp),
        cmocka_unit_test(raw_over_ipc),     cmocka_unit_test(a_lost_token_is_noticed),
        cmocka_unit_test(limits_move_bytes)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
