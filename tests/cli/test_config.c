/* What the command line says to wrong and right files: each refusal names the place, what was
 * expected and found, and what to do. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/cli/run.h"

#define ROOM (128 * 1024)
#define NODES                                                                                      \
    "nodes:\n- { name: r, role: router }\n- { name: p, role: prefill }\n- { name: d, role: "       \
    "decode }\n"

static char out[ROOM], err[ROOM];

/* The file must be refused with exit status 3 and a sentence that has all the parts. */
static void refused(const char *text, const char *part, const char *other_part)
{
    const char *path = run_file("fleet.yaml", text);

    assert_int_equal(run_once(out, err, ROOM, "check-config", path, NULL), 3);
    if (!strstr(err, part) || !strstr(err, other_part))
        fail_msg("expected '%s' and '%s' in: %s", part, other_part, err);
    assert_string_equal(out, "");
    /* The one that would run it says the same, before it starts anything. */
    assert_int_equal(run_once(out, err, ROOM, "up", path, NULL), 3);
    assert_non_null(strstr(err, part));
}

static void good_files_are_good(void **state)
{
    char path[4096];
    const char *const names[] = {"local.yaml", "small-fleet.yaml"};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        snprintf(path, sizeof(path), "%s/configs/%s", getenv("BATON_ROOT"), names[i]);
        assert_int_equal(run_once(out, err, ROOM, "check-config", path, "--values", NULL), 0);
        assert_non_null(strstr(out, "is good"));
        assert_non_null(strstr(out, "kv.memory = 1GiB"));
    }
}

static void keys_and_types(void **state)
{
    (void)state;
    refused("kv: { blcoks: 5 }\n" NODES, "fleet.yaml:1:7", "kv.blocks");
    refused("kv: { blocks: many }\n" NODES, "fleet.yaml:1:15", "many");
    refused("kv: { blocks: -1 }\n" NODES, "fleet.yaml:1:15", "between 0 and");
    refused("kv: [\n" NODES, "fleet.yaml:", "");
    refused("model: gpt\n" NODES, "oracle", "gpt");
    refused("nodes:\n- { name: r, role: rooter }\n", "fleet.yaml:2", "router");
    refused("nodes:\n- { role: router }\n", "name is missing", "");
}

static void nodes_together(void **state)
{
    (void)state;
    refused("model: oracle\n", "there is no router node", "role: router");
    refused("nodes:\n- { name: r, role: router }\n- { name: p, role: prefill }\n",
            "there is no decode node", "");
    refused(NODES "- { name: r, role: decode }\n", "r", "fleet.yaml:");
    refused(NODES "- { name: r2, role: router }\n", "is also clients of 'r'", "5556");
    refused(NODES "- { name: r2, role: router, clients: '127.0.0.1:7', http: '127.0.0.1:7' }\n",
            "http: tcp://127.0.0.1:7 is also clients of 'r2'", "8001");
    refused(NODES "- { name: r2, role: router, clients: '127.0.0.1:7', http: '*:7' }\n",
            "is also clients of 'r2'", "");
    refused(NODES "- { name: r2, role: router, clients: '127.0.0.1:7', http: '127.0.0.1:5555' }\n",
            "is also clients of 'r'", "");
    refused(NODES "- { name: d2, role: decode, listen: 127.0.0.1:7 }\n",
            "a decode node does not listen", "fleet.yaml:5");
    refused(NODES "- { name: d2, role: decode, clients: 127.0.0.1:7 }\n", "only a router", "");
    refused(NODES "- { name: 'a b', role: decode }\n", "letters, digits", "'a b'");
    refused(NODES "- { name: r2, role: router, clients: nowhere }\n", "host:port", "nowhere");
    refused(NODES "- { name: r2, role: router, clients: '127.0.0.1:99999' }\n", "0 to 65535", "");
    refused("kv: { blocks: 100 }\nengine: { len_max: 16384 }\n" NODES, "needs 256 blocks",
            "gives 100 blocks");
    refused("kv: { blocks: 1 }\n" NODES, "kv.blocks (", "fleet.yaml:1:15");
    refused("kv: { memory: 1MiB }\n" NODES, "kv.memory (", "fleet.yaml:1:15");
    refused("engine: { threads: 0 }\n" NODES, "auto or a number from 1 to 256", "'0'");
    refused("engine: { threads: many }\n" NODES, "fleet.yaml:1:20", "'many'");
    refused("engine: { dtype: fp8 }\n" NODES, "bfloat16", "fp8");
    refused("engine: { table: sse }\n" NODES, "avx512bf16", "sse");
    refused("engine: { chunk_max: 100 }\n" NODES, "multiple of 64", "fleet.yaml:1");
    refused("oracle: { elem_bytes: 3 }\n" NODES, "1, 2 or 4", "elem_bytes 3");
}

static void exposure(void **state)
{
    const char *path;

    (void)state;
    refused(NODES "- { name: r2, role: router, clients: '0.0.0.0:6000' }\n", "baton keygen",
            "--insecure");
    refused(NODES "- { name: p2, role: prefill, listen: '0.0.0.0:6000' }\n", "advertise", "");
    refused(NODES "- { name: p2, role: prefill, listen: '10.0.0.1:6000' }\n", "baton keygen",
            "'p2'");
    refused("kv: { devices: [eth0] }\n" NODES, "kv.network: private", "eth0");
    path = run_file("fleet.yaml", NODES "- { name: p2, role: prefill, listen: '10.0.0.1:6000' }\n");
    assert_int_equal(run_once(out, err, ROOM, "check-config", path, "--insecure", NULL), 0);
    path = run_file("fleet.yaml", "kv: { devices: [eth0], network: private }\n" NODES);
    assert_int_equal(run_once(out, err, ROOM, "check-config", path, NULL), 0);
}

static void other_sources(void **state)
{
    const char *path = run_file("fleet.yaml", "kv: { blocks: 600 }\n" NODES);

    (void)state;
    assert_int_equal(run_once(out, err, ROOM, "check-config", path, "--values", NULL), 0);
    assert_non_null(strstr(out, "kv.blocks = 600"));
    setenv("BATON_KV_BLOCKS", "700", 1);
    assert_int_equal(run_once(out, err, ROOM, "check-config", path, "--values", NULL), 0);
    assert_non_null(strstr(out, "kv.blocks = 700"));
    assert_int_equal(
        run_once(out, err, ROOM, "check-config", path, "--kv.blocks=800", "--values", NULL), 0);
    assert_non_null(strstr(out, "kv.blocks = 800"));
    unsetenv("BATON_KV_BLOCKS");
    assert_int_equal(run_once(out, err, ROOM, "check-config", path, "--kv.blcoks=800", NULL), 3);
    assert_non_null(strstr(err, "kv.blocks"));
    setenv("BATON_KV_BLOKCS", "700", 1);
    assert_int_equal(run_once(out, err, ROOM, "check-config", path, NULL), 3);
    assert_non_null(strstr(err, "BATON_KV_BLOCKS"));
    unsetenv("BATON_KV_BLOKCS");
}

static void reference_is_the_table(void **state)
{
    char path[4096];
    static char committed[ROOM];
    FILE *file;
    size_t n;

    (void)state;
    snprintf(path, sizeof(path), "%s/configs/reference.yaml", getenv("BATON_ROOT"));
    file = fopen(path, "re");
    assert_non_null(file);
    n = fread(committed, 1, ROOM - 1, file);
    committed[n] = '\0';
    fclose(file);
    assert_int_equal(run_once(out, err, ROOM, "check-config", "--reference", NULL), 0);
    if (strcmp(out, committed) != 0)
        fail_msg("make it anew: baton check-config --reference > configs/reference.yaml");
}

static void commands(void **state)
{
    static const char *const names[] = {"up",     "chat",   "router",       "prefill",
                                        "decode", "keygen", "check-config", "make-model"};

    (void)state;
    assert_int_equal(run_once(out, err, ROOM, "chta", NULL), 2);
    assert_non_null(strstr(err, "did you mean 'chat'"));
    assert_int_equal(run_once(out, err, ROOM, "help", "chat", NULL), 0);
    assert_non_null(strstr(out, "Usage: baton chat "));
    assert_int_equal(run_once(out, err, ROOM, "help", "chta", NULL), 2);
    assert_int_equal(run_once(out, err, ROOM, "version", NULL), 0);
    assert_int_equal(strncmp(out, "baton ", 6), 0);
    assert_int_equal(run_once(out, err, ROOM, "help", NULL), 0);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        assert_non_null(strstr(out, names[i]));
    }
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        size_t column = 0;

        assert_int_equal(run_once(out, err, ROOM, names[i], "--help", NULL), 0);
        assert_non_null(strstr(out, "Usage: baton"));
        for (const char *at = out; *at; at++) {
            column = *at == '\n' ? 0 : column + 1;
            assert_true(column <= 80);
        }
        assert_int_equal(run_once(out, err, ROOM, names[i], NULL), 2);
    }
    assert_int_equal(run_once(out, err, ROOM, "up", "nowhere.yaml", NULL), 3);
    assert_non_null(strstr(err, "nowhere.yaml"));
    assert_int_equal(
        run_once(out, err, ROOM, "up", run_file("fleet.yaml", NODES), "--frobnicate", NULL), 2);
    assert_non_null(strstr(err, "--frobnicate"));
}

/* A node alone cannot guess where the others are. */
static void auto_is_for_up_alone(void **state)
{
    const char *path = run_file("fleet.yaml", NODES);

    (void)state;
    assert_int_equal(run_once(out, err, ROOM, "prefill", path, "--name", "p", NULL), 3);
    assert_non_null(strstr(err, "listen:"));
    assert_int_equal(run_once(out, err, ROOM, "prefill", path, "--name", "x", NULL), 2);
    assert_non_null(strstr(err, "'x'"));
    assert_int_equal(run_once(out, err, ROOM, "up", path, "--only", "p", NULL), 3);
    assert_non_null(strstr(err, "--only"));
    assert_int_equal(run_once(out, err, ROOM, "up", path, "--only", "x", NULL), 2);
}

static int teardown(void **state)
{
    (void)state;
    run_folder_remove();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_files_are_good),
        cmocka_unit_test(keys_and_types),
        cmocka_unit_test(nodes_together),
        cmocka_unit_test(exposure),
        cmocka_unit_test(other_sources),
        cmocka_unit_test(reference_is_the_table),
        cmocka_unit_test(commands),
        cmocka_unit_test(auto_is_for_up_alone),
    };

    return cmocka_run_group_tests(tests, NULL, teardown);
}
