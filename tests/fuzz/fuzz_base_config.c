/* Feeds bytes to the loader of the fleet file. The schema has one option of every type, groups two
 * deep, a required option, a secret and a repeated section. What loads is printed, too. */
#include "tests/fuzz/fuzz.h"

#include "base/cfg.h"

static const struct cfg_option options[] = {
    {"text", CFG_STRING, "a", 0, 64, NULL, NULL, "A text.", false},
    {"a.size", CFG_SIZE, "64KiB", 0, 1 << 30, NULL, "bytes", "A size.", false},
    {"a.word", CFG_ENUM, "one", 0, 0, "one|two", NULL, "A word.", false},
    {"a.list", CFG_LIST, "x,y", 0, 8, NULL, NULL, "A list.", false},
    {"a.b.flag", CFG_BOOL, "false", 0, 0, NULL, NULL, "A flag.", false},
    {"a.b.number", CFG_INT, "1", 0, 0, NULL, NULL, "A number.", false},
    {"c.time", CFG_DURATION, "10min", 0, 3600000, NULL, "ms", "A time.", false},
    {"c.real", CFG_FLOAT, "0.5", -1, 1, NULL, NULL, "A real.", false},
    {"c.key", CFG_STRING, NULL, 0, 0, NULL, NULL, "A secret.", true},
};

static const struct cfg_option item_options[] = {
    {"name", CFG_STRING, NULL, 1, 32, NULL, NULL, "A name.", false},
    {"part.size", CFG_SIZE, "1MiB", 0, 0, NULL, "bytes", "A size.", false},
};

static const struct cfg_section sections[] = {{"nodes", {item_options, 2}, "name", 64, "Items."}};

static const struct cfg_schema schema = {
    .table = {options, sizeof(options) / sizeof(options[0])},
    .sections = sections,
    .n_sections = 1,
    .env_prefix = "FUZZ_",
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cfg *cfg;
    struct cfg_error error;
    struct buf out;
    if (cfg_create(&schema, &cfg) != STATUS_OK) {
        return 0;
    }
    buf_init(&out, 4 * CFG_FILE_BYTES_MAX);
    if (cfg_load_buffer(cfg, "fuzz", data, size, &error) == STATUS_OK) {
        (void)cfg_finish(cfg, &error);
        (void)cfg_print_values(cfg, &out);
    }
    buf_fini(&out);
    cfg_destroy(cfg);
    return 0;
}
