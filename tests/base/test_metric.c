/* The registry: its rules, its text, and a reader beside a writer. */
#include "base/mem.h"
#include "base/metric.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <pthread.h>
#include <string.h>

static struct metric_desc desc_of(const char *name, const struct metric_label *labels, size_t n)
{
    return (struct metric_desc){.name = name, .help = "Help.", .labels = labels, .n_labels = n};
}

static void test_text(void **state)
{
    (void)state;
    struct metric_registry *registry;
    struct metric_counter *counters[2];
    struct metric_gauge *gauge;
    struct metric_histogram *histogram;
    static const double bounds[] = {0.1, 1, 2.5};
    struct metric_label a[] = {{"node", "p\"0\\\n"}, {"path", "x"}};
    struct metric_label b[] = {{"node", "p1"}, {"path", "x"}};
    struct metric_desc desc = {"baton_x_total", "Back\\slash and\nline.", a, 2};
    struct buf out;
    assert_int_equal(metric_registry_create(&registry), STATUS_OK);
    assert_int_equal(metric_counter_create(registry, &desc, &counters[0]), STATUS_OK);
    struct metric_desc gauge_desc = desc_of("baton_g", NULL, 0);
    assert_int_equal(metric_gauge_create(registry, &gauge_desc, &gauge), STATUS_OK);
    struct metric_desc histogram_desc = desc_of("baton_h_seconds", b, 1);
    assert_int_equal(metric_histogram_create(registry, &histogram_desc, bounds, 3, &histogram),
                     STATUS_OK);
    desc.labels = b;
    assert_int_equal(metric_counter_create(registry, &desc, &counters[1]), STATUS_OK);
    metric_counter_add(counters[0], 7);
    metric_counter_add(counters[1], UINT64_C(1) << 60);
    metric_gauge_set(gauge, 0.1);
    metric_gauge_add(gauge, 0.2);
    for (int i = 0; i < 4; i++) {
        metric_histogram_observe(histogram, (double)i);
    }
    metric_histogram_observe(histogram, 1e9);
    buf_init(&out, 100000);
    assert_int_equal(metric_print(registry, &out), STATUS_OK);
    assert_string_equal(buf_text(&out),
                        "# HELP baton_x_total Back\\\\slash and\\nline.\n"
                        "# TYPE baton_x_total counter\n"
                        "baton_x_total{node=\"p\\\"0\\\\\\n\",path=\"x\"} 7\n"
                        "baton_x_total{node=\"p1\",path=\"x\"} 1152921504606846976\n"
                        "# HELP baton_g Help.\n"
                        "# TYPE baton_g gauge\n"
                        "baton_g 0.30000000000000004\n"
                        "# HELP baton_h_seconds Help.\n"
                        "# TYPE baton_h_seconds histogram\n"
                        "baton_h_seconds_bucket{node=\"p1\",le=\"0.1\"} 1\n"
                        "baton_h_seconds_bucket{node=\"p1\",le=\"1\"} 2\n"
                        "baton_h_seconds_bucket{node=\"p1\",le=\"2.5\"} 3\n"
                        "baton_h_seconds_bucket{node=\"p1\",le=\"+Inf\"} 5\n"
                        "baton_h_seconds_sum{node=\"p1\"} 1000000006\n"
                        "baton_h_seconds_count{node=\"p1\"} 5\n");
    assert_int_equal(metric_counter_value(counters[0]), 7);
    assert_int_equal(metric_histogram_count(histogram), 5);
    assert_true(metric_histogram_sum(histogram) == 1000000006);
    buf_fini(&out);
    buf_init(&out, 50);
    assert_int_equal(metric_print(registry, &out), STATUS_TOO_BIG);
    buf_fini(&out);
    metric_registry_destroy(registry);
}

static void test_rules(void **state)
{
    (void)state;
    static const char *const bad_names[] = {"", "1a", "a-b", "a b", "\xc3\xa9"};
    struct metric_registry *registry;
    struct metric_counter *counter = NULL;
    struct metric_gauge *gauge;
    struct metric_histogram *histogram;
    assert_int_equal(metric_registry_create(&registry), STATUS_OK);
    for (size_t i = 0; i < sizeof(bad_names) / sizeof(bad_names[0]); i++) {
        struct metric_desc bad = desc_of(bad_names[i], NULL, 0);
        assert_int_equal(metric_counter_create(registry, &bad, &counter), STATUS_INVALID);
        struct metric_label label = {bad_names[i], "x"};
        struct metric_desc bad_label = desc_of("a", &label, 1);
        assert_int_equal(metric_counter_create(registry, &bad_label, &counter), STATUS_INVALID);
    }
    struct metric_label twice[] = {{"a", "1"}, {"a", "2"}};
    struct metric_desc desc = desc_of("a", twice, 2);
    assert_int_equal(metric_counter_create(registry, &desc, &counter), STATUS_INVALID);
    assert_null(counter);
    desc.n_labels = 1;
    assert_int_equal(metric_counter_create(registry, &desc, &counter), STATUS_OK);
    assert_int_equal(metric_counter_create(registry, &desc, &counter), STATUS_EXISTS);
    assert_int_equal(metric_gauge_create(registry, &desc, &gauge), STATUS_INVALID);
    desc.labels = &twice[1];
    assert_int_equal(metric_counter_create(registry, &desc, &counter), STATUS_OK);
    desc.help = "Another help.";
    assert_int_equal(metric_counter_create(registry, &desc, &counter), STATUS_INVALID);
    const double bad_bounds[][2] = {{1, 1}, {2, 1}, {1, (double)INFINITY}, {(double)NAN, 1}};
    struct metric_desc histogram_desc = desc_of("h", NULL, 0);
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(
            metric_histogram_create(registry, &histogram_desc, bad_bounds[i], 2, &histogram),
            STATUS_INVALID);
    }
    metric_counter_add(NULL, 1); /* a part that runs without metrics */
    metric_gauge_set(NULL, 1);
    metric_histogram_observe(NULL, 1);
    metric_registry_destroy(registry);
    metric_registry_destroy(NULL);
}

static void test_no_memory(void **state)
{
    (void)state;
    int64_t live = mem_live();
    struct metric_registry *registry;
    struct metric_counter *counter;
    struct metric_label label = {"a", "b"};
    struct metric_desc desc = desc_of("a", &label, 1);
    enum status status = STATUS_NO_MEMORY;
    assert_int_equal(metric_registry_create(&registry), STATUS_OK);
    int64_t n = 0;
    for (; status == STATUS_NO_MEMORY; n++) {
        mem_fail_after(n);
        status = metric_counter_create(registry, &desc, &counter);
        mem_fail_after(MEM_FAIL_NEVER);
    }
    assert_int_equal(status, STATUS_OK);
    assert_true(n > 5);
    metric_registry_destroy(registry);
    assert_int_equal(mem_live(), live);
}

struct shared {
    struct metric_counter *counter;
    struct metric_histogram *histogram;
};

static void *update(void *ctx)
{
    struct shared *shared = ctx;
    for (int i = 0; i < 200000; i++) {
        metric_counter_add(shared->counter, 1);
        metric_histogram_observe(shared->histogram, (double)(i % 3));
    }
    return NULL;
}

static void test_two_threads(void **state)
{
    (void)state;
    static const double bounds[] = {0.5, 1.5};
    struct metric_registry *registry;
    struct shared shared;
    struct buf out;
    pthread_t writer;
    struct metric_desc counter_desc = desc_of("c_total", NULL, 0);
    struct metric_desc histogram_desc = desc_of("h", NULL, 0);
    buf_init(&out, 100000);
    assert_int_equal(metric_registry_create(&registry), STATUS_OK);
    assert_int_equal(metric_counter_create(registry, &counter_desc, &shared.counter), STATUS_OK);
    assert_int_equal(
        metric_histogram_create(registry, &histogram_desc, bounds, 2, &shared.histogram),
        STATUS_OK);
    assert_int_equal(pthread_create(&writer, NULL, update, &shared), 0);
    for (uint64_t before = 0, now = 0; now < 200000; before = now) {
        buf_clear(&out);
        assert_int_equal(metric_print(registry, &out), STATUS_OK);
        now = metric_counter_value(shared.counter);
        assert_true(now >= before);
    }
    pthread_join(writer, NULL);
    assert_int_equal(metric_histogram_count(shared.histogram), 200000);
    buf_fini(&out);
    metric_registry_destroy(registry);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_rules),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_two_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
