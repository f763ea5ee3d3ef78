/* The configuration table: every type from every source, precedence, and what each wrong input is
 * told. */
#include "base/cfg.h"
#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct cfg_option options[] = {
    {"model", CFG_STRING, "demo", 1, 200, NULL, NULL, "The model's folder or name.", false},
    {"kv.block_bytes", CFG_SIZE, "64KiB", 4096, 1 << 30, NULL, "bytes", "One block.", false},
    {"kv.network", CFG_ENUM, "loopback", 0, 0, "loopback|private", NULL, "Who is near.", false},
    {"kv.devices", CFG_LIST, "lo", 0, 4, NULL, NULL, "Devices to bind.", false},
    {"log.json", CFG_BOOL, "false", 0, 0, NULL, NULL, "JSON lines.", false},
    {"log.level.min", CFG_INT, "1", -5, 5, NULL, NULL,
     "How much: a sentence long enough to be wrapped in the help and on the reference page, which "
     "is what this one is for.",
     false},
    {"router.deadline", CFG_DURATION, "10min", 0, 3600000, NULL, "ms", "A request's time.", false},
    {"router.share", CFG_FLOAT, "0.5", 0, 1, NULL, NULL, "A part of one.", false},
    {"router.key", CFG_STRING, "", 0, 8, NULL, NULL, "The \"key\".", true},
};

static const struct cfg_option node_options[] = {
    {"name", CFG_STRING, NULL, 1, 32, NULL, NULL, "The node's name.", false},
    {"role", CFG_ENUM, NULL, 0, 0, "router|prefill|decode", NULL, "What it does.", false},
    {"limits.blocks", CFG_INT, "100", 1, 1000, NULL, "blocks", "How many blocks.", false},
};

static const struct cfg_section sections[] = {
    {"nodes", {node_options, 3}, "name", 3, "The fleet's nodes."},
};

static const char *const env_others[] = {"BATON_LONG", NULL};

static const struct cfg_schema schema = {
    .table = {options, sizeof(options) / sizeof(options[0])},
    .sections = sections,
    .n_sections = 1,
    .env_prefix = "BATON_",
    .env_others = env_others,
};

static struct cfg *new_cfg(void)
{
    struct cfg *cfg;
    assert_int_equal(cfg_create(&schema, &cfg), STATUS_OK);
    return cfg;
}

static void load(struct cfg *cfg, const char *yaml)
{
    struct cfg_error error = {""};
    enum status status = cfg_load_buffer(cfg, "f.yaml", yaml, strlen(yaml), &error);
    assert_string_equal(error.text, "");
    assert_int_equal(status, STATUS_OK);
}

/* Loading `yaml` fails with just this sentence. */
static void assert_refused(const char *yaml, enum status expected, const char *sentence)
{
    struct cfg_error error = {""};
    struct cfg *cfg = new_cfg();
    enum status status = cfg_load_buffer(cfg, "f.yaml", yaml, strlen(yaml), &error);
    assert_string_equal(error.text, sentence);
    assert_int_equal(status, expected);
    cfg_destroy(cfg);
}

static void test_defaults(void **state)
{
    (void)state;
    struct cfg *cfg = new_cfg();
    struct cfg_error error;
    assert_string_equal(cfg_str(cfg, "model"), "demo");
    assert_int_equal(cfg_size(cfg, "kv.block_bytes"), 65536);
    assert_int_equal(cfg_enum(cfg, "kv.network"), 0);
    assert_int_equal(cfg_list_count(cfg, "kv.devices"), 1);
    assert_string_equal(cfg_list_at(cfg, "kv.devices", 0), "lo");
    assert_false(cfg_bool(cfg, "log.json"));
    assert_int_equal(cfg_int(cfg, "log.level.min"), 1);
    assert_int_equal(cfg_ms(cfg, "router.deadline"), 600000);
    assert_true(cfg_float(cfg, "router.share") == 0.5);
    assert_string_equal(cfg_origin_text(cfg, "model"), "default");
    assert_int_equal(cfg_items(cfg, "nodes"), 0);
    assert_int_equal(cfg_finish(cfg, &error), STATUS_OK);
    cfg_destroy(cfg);
    cfg_destroy(NULL);
}

/* As sizes are printed, by us and by others. */
static void test_sizes(void **state)
{
    static const struct {
        const char *text;
        uint64_t bytes; /* 0: refused */
    } sizes[] = {{"4096", 4096},
                 {"64KiB", 65536},
                 {"1.5 GiB", UINT64_C(3) << 29},
                 {"0.25MiB", 1 << 18},
                 {"5GB", UINT64_C(5000000000)},
                 {"2.47 GB", UINT64_C(2470000000)},
                 {"1.000001kB", 1000},
                 {"4.7TB", UINT64_C(4700000000000)},
                 {"7.999999TiB", UINT64_C(8796091922696)},
                 {"8388607.999999TiB", UINT64_C(9223372036853676296)},
                 {"8388608TiB", 0},
                 {"64KB", 0},
                 {"1.5", 0},
                 {"1.GB", 0},
                 {".5GB", 0},
                 {"1.0000001GB", 0},
                 {"-1GB", 0},
                 {"1e3kB", 0},
                 {"5  GB", 0},
                 {"5 gb", 0},
                 {"", 0}};

    (void)state;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        uint64_t bytes = 0;

        if (cfg_parse_size(sizes[i].text, &bytes) != (sizes[i].bytes > 0) ||
            bytes != sizes[i].bytes) {
            fail_msg("%s gave %llu", sizes[i].text, (unsigned long long)bytes);
        }
    }
}

static void test_file(void **state)
{
    (void)state;
    struct cfg *cfg = new_cfg();
    struct cfg_error error;
    load(cfg, "model: \"a \\u00e9 b\"\n"
              "kv:\n"
              "  block_bytes: 2.5 MB\n"
              "  network: private\n"
              "  devices: [eth0, \"ib0\"]\n"
              "log: {json: true, level: {min: -3}}\n"
              "router:\n"
              "nodes:\n"
              "  - name: r0\n"
              "    role: router\n"
              "  - {name: d0, role: decode, limits: {blocks: 7}}\n");
    assert_string_equal(cfg_str(cfg, "model"), "a \xc3\xa9 b");
    assert_int_equal(cfg_size(cfg, "kv.block_bytes"), 2500000);
    assert_int_equal(cfg_enum(cfg, "kv.network"), 1);
    assert_int_equal(cfg_list_count(cfg, "kv.devices"), 2);
    assert_string_equal(cfg_list_at(cfg, "kv.devices", 1), "ib0");
    assert_true(cfg_bool(cfg, "log.json"));
    assert_int_equal(cfg_int(cfg, "log.level.min"), -3);
    assert_int_equal(cfg_origin(cfg, "kv.network"), CFG_FROM_FILE);
    assert_string_equal(cfg_origin_text(cfg, "kv.network"), "f.yaml:4:12");
    assert_int_equal(cfg_items(cfg, "nodes"), 2);
    const struct cfg *node = cfg_item(cfg, "nodes", 1);
    assert_string_equal(cfg_str(node, "name"), "d0");
    assert_int_equal(cfg_enum(node, "role"), 2);
    assert_int_equal(cfg_int(node, "limits.blocks"), 7);
    assert_int_equal(cfg_int(cfg_item(cfg, "nodes", 0), "limits.blocks"), 100);
    assert_string_equal(cfg_origin_text(node, ""), "f.yaml:11:5");
    assert_int_equal(cfg_finish(cfg, &error), STATUS_OK);
    assert_int_equal(cfg_load_buffer(cfg, "g", "", 0, &error), STATUS_EXISTS);
    cfg_destroy(cfg);
    static const char *const empty[] = {"", "# a comment\n", "---\n", "~", "kv:\nnodes: []\n"};
    for (size_t i = 0; i < sizeof(empty) / sizeof(empty[0]); i++) {
        cfg = new_cfg();
        load(cfg, empty[i]);
        cfg_destroy(cfg);
    }
}

static void test_file_refused(void **state)
{
    (void)state;
    assert_refused("kv:\n  block_byte: 1\n", STATUS_INVALID,
                   "f.yaml:2:3: unknown key 'kv.block_byte'; did you mean kv.block_bytes?");
    assert_refused("block-bytes: 1\n", STATUS_INVALID,
                   "f.yaml:1:1: unknown key 'block-bytes'; did you mean kv.block_bytes?");
    assert_refused("node: []\n", STATUS_INVALID,
                   "f.yaml:1:1: unknown key 'node'; did you mean nodes?");
    assert_refused("quantum: 1\n", STATUS_INVALID, "f.yaml:1:1: unknown key 'quantum'");
    assert_refused("kv.network: private\n", STATUS_INVALID,
                   "f.yaml:1:1: key 'kv.network': expected nested maps instead of dots");
    assert_refused("kv: 5\n", STATUS_INVALID,
                   "f.yaml:1:5: kv: expected a map of options, found '5'");
    assert_refused("model: [a]\n", STATUS_INVALID,
                   "f.yaml:1:8: model: expected a text of 1 to 200 bytes, found a list");
    assert_refused("model:\n", STATUS_INVALID,
                   "f.yaml:1:7: model: expected a text of 1 to 200 bytes, found nothing");
    assert_refused("log:\n  json: yes\n", STATUS_INVALID,
                   "f.yaml:2:9: log.json: expected true or false, found 'yes'");
    assert_refused("log: {level: {min: \"1\"}}\n", STATUS_INVALID,
                   "f.yaml:1:20: log.level.min: expected an integer between -5 and 5, found '1' "
                   "in quotes");
    assert_refused("log: {level: {min: 6}}\n", STATUS_INVALID,
                   "f.yaml:1:20: log.level.min: expected an integer between -5 and 5, found '6'");
    assert_refused("kv: {block_bytes: 64KB}\n", STATUS_INVALID,
                   "f.yaml:1:19: kv.block_bytes: expected a size such as 4096, 64MiB or 1.5GB "
                   "between 4KiB and 1GiB, found '64KB'");
    assert_refused("kv: {network: public}\n", STATUS_INVALID,
                   "f.yaml:1:15: kv.network: expected one of loopback|private, found 'public'");
    assert_refused("kv: {devices: eth0}\n", STATUS_INVALID,
                   "f.yaml:1:15: kv.devices: expected a list of 0 to 4 texts, found 'eth0'");
    assert_refused("kv: {devices: [a, b, c, d, e]}\n", STATUS_INVALID,
                   "f.yaml:1:15: kv.devices: expected a list of 0 to 4 texts, found '5 texts'");
    assert_refused("router: {deadline: 600}\n", STATUS_INVALID,
                   "f.yaml:1:20: router.deadline: expected a duration such as 250ms, 3s or 10min "
                   "between 0 and 1h, found '600'");
    assert_refused("router: {share: nan}\n", STATUS_INVALID,
                   "f.yaml:1:17: router.share: expected a number between 0 and 1, found 'nan'");
    assert_refused("router: {key: much-too-long}\n", STATUS_INVALID,
                   "f.yaml:1:15: router.key: expected a text of 0 to 8 bytes, found something "
                   "else (not shown: it is a secret)");
    assert_refused("model: a\nmodel: b\n", STATUS_INVALID, "f.yaml:2:1: model: given twice");
    assert_refused("log: {}\nkv: {}\nlog: {}\n", STATUS_INVALID, "f.yaml:3:1: log: given twice");
    assert_refused("- a\n", STATUS_INVALID, "f.yaml:1:1: expected a map of options, found a list");
}

static void test_section_refused(void **state)
{
    (void)state;
    assert_refused("nodes: {}\n", STATUS_INVALID,
                   "f.yaml:1:8: nodes: expected a list of maps, found a map");
    assert_refused("nodes: [a]\n", STATUS_INVALID,
                   "f.yaml:1:9: nodes: expected each item to be a map of options, found 'a'");
    assert_refused("nodes:\n- name: a\n- name: a\n", STATUS_INVALID,
                   "f.yaml:3:3: nodes: the name 'a' was taken at f.yaml:2:3");
    assert_refused("nodes: [{}, {}, {}, {}]\n", STATUS_TOO_BIG,
                   "f.yaml:1:8: nodes: expected at most 3 items, found 4");
    assert_refused("nodes: [{rule: decode}]\n", STATUS_INVALID,
                   "f.yaml:1:10: unknown key 'rule'; did you mean role?");
    assert_refused("nodes: [{nodes: []}]\n", STATUS_INVALID, "f.yaml:1:10: unknown key 'nodes'");
    struct cfg *cfg = new_cfg();
    struct cfg_error error;
    load(cfg, "nodes:\n  - name: a\n");
    assert_int_equal(cfg_finish(cfg, &error), STATUS_INVALID);
    assert_string_equal(error.text, "f.yaml:2:5: role is missing: expected one of "
                                    "router|prefill|decode");
    cfg_destroy(cfg);
}

static void test_yaml_refused(void **state)
{
    (void)state;
    assert_refused("model: &a x\n", STATUS_MALFORMED,
                   "f.yaml:1:8: anchors (&name) and tags (!name) are not supported: write the "
                   "value itself");
    assert_refused("model: !!str x\n", STATUS_MALFORMED,
                   "f.yaml:1:8: anchors (&name) and tags (!name) are not supported: write the "
                   "value itself");
    assert_refused("model: *a\n", STATUS_MALFORMED,
                   "f.yaml:1:8: aliases (*name) are not supported: write the value itself");
    assert_refused("model: a\n---\nmodel: b\n", STATUS_MALFORMED,
                   "f.yaml:2:1: a second document: expected one per file");
    assert_refused("[[[[[[[[[]]]]]]]]]\n", STATUS_TOO_BIG, "f.yaml:1:9: nested more than 8 deep");
    assert_refused("model: \"a\\0b\"\n", STATUS_MALFORMED,
                   "f.yaml:1:8: a text with a zero byte in it");
    assert_refused("model: \"a\n", STATUS_MALFORMED,
                   "f.yaml:2:1: not YAML: found unexpected end of stream, while scanning a quoted "
                   "scalar");
    struct cfg_error error;
    struct cfg *cfg = new_cfg();
    assert_int_equal(cfg_load_buffer(cfg, "f", "model: \xff", 8, &error), STATUS_MALFORMED);
    assert_non_null(strstr(error.text, "not UTF-8"));
    cfg_destroy(cfg);
}

/* A file of too many nodes, one of too long a text, one of too many bytes. */
static void test_too_big(void **state)
{
    (void)state;
    struct buf yaml;
    struct cfg_error error;
    buf_init(&yaml, 4 * CFG_FILE_BYTES_MAX);
    buf_append_str(&yaml, "kv: {devices: [");
    for (int i = 0; i <= CFG_NODES_MAX; i++) {
        buf_append_str(&yaml, "a,");
    }
    buf_append_str(&yaml, "]}");
    assert_refused(buf_text(&yaml), STATUS_TOO_BIG,
                   "f.yaml:1:20006: more than 10000 keys and values");
    buf_clear(&yaml);
    buf_printf(&yaml, "model: %0*d", CFG_TEXT_MAX + 1, 1);
    assert_refused(buf_text(&yaml), STATUS_TOO_BIG, "f.yaml:1:8: a text of more than 4096 bytes");
    buf_clear(&yaml);
    buf_printf(&yaml, "%*s", CFG_FILE_BYTES_MAX + 1, "");
    assert_refused(buf_text(&yaml), STATUS_TOO_BIG,
                   "f.yaml: expected at most 1 MiB, found 1048577 bytes");
    buf_fini(&yaml);
    struct cfg *cfg = new_cfg();
    assert_int_equal(cfg_load_file(cfg, "/nowhere.yaml", &error), STATUS_NOT_FOUND);
    assert_string_equal(error.text, "/nowhere.yaml: cannot be opened: No such file or directory");
    assert_int_equal(cfg_load_file(cfg, "/", &error), STATUS_IO);
    cfg_destroy(cfg);
}

static void test_env(void **state)
{
    (void)state;
    struct cfg_error error;
    struct cfg *cfg = new_cfg();
    char *good[] = {"HOME=/root",
                    "BATON_KV_BLOCK_BYTES=8KiB",
                    "BATON_KV_DEVICES= a, b ",
                    "BATON_ROUTER_KEY=",
                    "BATON_LONG=1",
                    "BATONX=1",
                    "BATON_LOG_LEVEL_MIN=2",
                    "no equals sign",
                    NULL};
    assert_int_equal(cfg_load_env(cfg, good, &error), STATUS_OK);
    assert_int_equal(cfg_size(cfg, "kv.block_bytes"), 8192);
    assert_string_equal(cfg_list_at(cfg, "kv.devices", 1), "b");
    assert_string_equal(cfg_origin_text(cfg, "log.level.min"), "BATON_LOG_LEVEL_MIN");
    char *unknown[] = {"BATON_KV_BLOCKBYTES=1", NULL};
    assert_int_equal(cfg_load_env(cfg, unknown, &error), STATUS_INVALID);
    assert_string_equal(error.text, "environment: BATON_KV_BLOCKBYTES is no option; did you mean "
                                    "BATON_KV_BLOCK_BYTES?");
    char *wrong[] = {"BATON_LOG_JSON=1", NULL};
    assert_int_equal(cfg_load_env(cfg, wrong, &error), STATUS_INVALID);
    assert_string_equal(error.text, "BATON_LOG_JSON: log.json: expected true or false, found '1'");
    cfg_destroy(cfg);
}

static void assert_args(int n_args, char *const *args, enum status expected, const char *sentence)
{
    struct cfg_error error = {""};
    struct cfg *cfg = new_cfg();
    char *rest[16];
    int n_rest;
    assert_int_equal(cfg_load_args(cfg, n_args, args, rest, &n_rest, &error), expected);
    assert_string_equal(error.text, sentence);
    cfg_destroy(cfg);
}

static void test_args(void **state)
{
    (void)state;
    struct cfg_error error = {""};
    struct cfg *cfg = new_cfg();
    char *args[] = {"fleet.yaml",
                    "--kv.block-bytes=8KiB",
                    "--model",
                    "x=y",
                    "--log.json",
                    "--set",
                    "kv.network=private",
                    "--verbose",
                    "--set=router.share=1",
                    "--",
                    "--kv.nothing",
                    "-h"};
    char *rest[16];
    int n_rest;
    int n_args = (int)(sizeof(args) / sizeof(args[0]));
    assert_int_equal(cfg_load_args(cfg, n_args, args, rest, &n_rest, &error), STATUS_OK);
    assert_int_equal(n_rest, 4);
    assert_string_equal(rest[0], "fleet.yaml");
    assert_string_equal(rest[1], "--verbose");
    assert_string_equal(rest[2], "--kv.nothing");
    assert_string_equal(rest[3], "-h");
    assert_int_equal(cfg_size(cfg, "kv.block_bytes"), 8192);
    assert_string_equal(cfg_str(cfg, "model"), "x=y");
    assert_true(cfg_bool(cfg, "log.json"));
    assert_int_equal(cfg_enum(cfg, "kv.network"), 1);
    assert_true(cfg_float(cfg, "router.share") == 1);
    assert_string_equal(cfg_origin_text(cfg, "log.json"), "command line");
    cfg_destroy(cfg);
    assert_args(1, (char *[]){"--kv.blockbytes=1"}, STATUS_INVALID,
                "command line: 'kv.blockbytes=1' is no option; did you mean --kv.block_bytes?");
    assert_args(1, (char *[]){"--set"}, STATUS_INVALID, "command line: --set: expected path=value");
    assert_args(2, (char *[]){"--set", "model"}, STATUS_INVALID,
                "command line: --set: expected path=value, found 'model'");
    assert_args(2, (char *[]){"--set", "zzzzzz=1"}, STATUS_INVALID,
                "command line: 'zzzzzz=1' is no option");
    assert_args(1, (char *[]){"--kv.network"}, STATUS_INVALID,
                "command line: kv.network: expected one of loopback|private, found nothing");
}

/* Whatever the order of loading: command line, environment, file, default. */
static void test_precedence(void **state)
{
    (void)state;
    for (int order = 0; order < 6; order++) {
        struct cfg *cfg = new_cfg();
        struct cfg_error error;
        char *env[] = {"BATON_KV_BLOCK_BYTES=8KiB", "BATON_MODEL=env", NULL};
        char *args[] = {"--model=args"};
        char *rest[1];
        int n_rest;
        for (int step = 0; step < 3; step++) {
            int which = (order + (order < 3 ? step : 2 * step)) % 3;
            if (which == 0) {
                load(cfg, "model: file\nkv: {block_bytes: 4KiB}\nlog: {json: true}\n");
            } else if (which == 1) {
                assert_int_equal(cfg_load_env(cfg, env, &error), STATUS_OK);
            } else {
                assert_int_equal(cfg_load_args(cfg, 1, args, rest, &n_rest, &error), STATUS_OK);
            }
        }
        assert_string_equal(cfg_str(cfg, "model"), "args");
        assert_int_equal(cfg_size(cfg, "kv.block_bytes"), 8192);
        assert_true(cfg_bool(cfg, "log.json"));
        assert_int_equal(cfg_origin(cfg, "log.json"), CFG_FROM_FILE);
        assert_int_equal(cfg_origin(cfg, "router.share"), CFG_FROM_DEFAULT);
        cfg_destroy(cfg);
    }
}

/* The reference page loads, changes nothing, and names every option; so does the help. */
static void test_print(void **state)
{
    (void)state;
    struct buf page;
    struct buf help;
    struct buf before;
    struct buf after;
    struct cfg *cfg = new_cfg();
    buf_init(&page, 100000);
    buf_init(&help, 100000);
    buf_init(&before, 100000);
    buf_init(&after, 100000);
    assert_int_equal(cfg_print_reference(&schema, &page), STATUS_OK);
    assert_int_equal(cfg_print_help(&schema, &help), STATUS_OK);
    for (size_t i = 0; i < schema.table.n_options; i++) {
        assert_non_null(strstr(buf_text(&page), options[i].help) != NULL ||
                                strlen(options[i].help) > 80
                            ? buf_text(&page)
                            : NULL);
    }
    assert_non_null(strstr(buf_text(&page), "\nkv:\n\n"
                                            "  # bytes; 4KiB to 1GiB; default 64KiB; "
                                            "BATON_KV_BLOCK_BYTES\n"
                                            "  # One block.\n"
                                            "  block_bytes: 64KiB\n"));
    assert_non_null(strstr(buf_text(&page), "  devices: [\"lo\"]\n"));
    assert_non_null(strstr(buf_text(&page), "# nodes:\n# - # 1 to 32 bytes; must be given\n"));
    assert_non_null(strstr(buf_text(&help), "  --kv.block-bytes=SIZE  (bytes; 4KiB to 1GiB; "
                                            "default 64KiB)\n      One block.\n"));
    assert_int_equal(cfg_print_values(cfg, &before), STATUS_OK);
    load(cfg, buf_text(&page));
    assert_int_equal(cfg_print_values(cfg, &after), STATUS_OK);
    assert_non_null(strstr(buf_text(&before), "kv.block_bytes = 64KiB  (default)\n"));
    assert_non_null(strstr(buf_text(&after), "kv.block_bytes = 64KiB  (f.yaml:"));
    assert_non_null(strstr(buf_text(&after), "router.key = (set)"));
    for (const char *line = buf_text(&page); line != NULL; line = strchr(line + 1, '\n')) {
        assert_true(strcspn(line + 1, "\n") <= 100);
    }
    buf_fini(&page);
    buf_fini(&help);
    buf_fini(&before);
    buf_fini(&after);
    cfg_destroy(cfg);
}

static void test_no_memory(void **state)
{
    (void)state;
    static const char yaml[] = "model: x\nnodes: [{name: a, role: decode}]\n";
    int64_t live = mem_live();
    enum status status = STATUS_NO_MEMORY;
    for (int64_t n = 0; status == STATUS_NO_MEMORY; n++) {
        struct cfg *cfg;
        struct cfg_error error = {""};
        mem_fail_after(n);
        status = cfg_create(&schema, &cfg);
        if (status == STATUS_OK) {
            status = cfg_load_buffer(cfg, "f", yaml, strlen(yaml), &error);
            cfg_destroy(cfg);
        }
        mem_fail_after(MEM_FAIL_NEVER);
        assert_int_equal(mem_live(), live);
    }
    assert_int_equal(status, STATUS_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_file),
        cmocka_unit_test(test_file_refused),
        cmocka_unit_test(test_section_refused),
        cmocka_unit_test(test_yaml_refused),
        cmocka_unit_test(test_too_big),
        cmocka_unit_test(test_env),
        cmocka_unit_test(test_args),
        cmocka_unit_test(test_precedence),
        cmocka_unit_test(test_print),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
