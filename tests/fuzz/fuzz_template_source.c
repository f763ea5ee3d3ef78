/* Feeds bytes to the compiler of chat templates, and renders what compiles with a small
 * conversation. Limits are low, so that a run is short. */
#include "tests/fuzz/fuzz.h"

#include <string.h>

#include "base/check.h"
#include "model/template.h"
#include "model/tmpl_json.h"

static const char variables_json[] =
    "{\"messages\": [{\"role\": \"system\", \"content\": \"S\\u00e9 {{ x }}\"}, {\"role\": "
    "\"user\", \"content\": \"Hello, world\"}, {\"role\": \"assistant\", \"content\": null, "
    "\"tool_calls\": [{\"id\": \"123456789\", \"function\": {\"name\": \"f\", \"arguments\": "
    "{\"a\": [1, 2.5, true]}}}]}], \"tools\": [{\"type\": \"function\", \"function\": {\"name\": "
    "\"f\", \"parameters\": {\"properties\": {}}}}], \"n\": 7, \"list\": [3, 1, 2], \"text\": "
    "\"a b\\nc\", \"add_generation_prompt\": true, \"bos_token\": \"<s>\"}";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct template_options options = {
        .now_unix_s = 1732104000,
        .steps_max = 100000,
        .memory_bytes_max = 16 << 20,
        .output_bytes_max = 1 << 20,
    };
    struct tmpl_json_error json_error;
    struct template_error error;
    struct tmpl_value variables;
    struct template *tmpl;
    struct arena *arena;
    struct buf out;
    enum status status;

    if (template_compile((const char *)data, size, &error, &tmpl) != STATUS_OK) {
        CHECK(error.text[0] != 0);
        return 0;
    }
    CHECK(arena_create(4096, 1 << 20, &arena) == STATUS_OK);
    CHECK(tmpl_json_read(arena, variables_json, strlen(variables_json), &json_error, &variables) ==
          STATUS_OK);
    buf_init(&out, 1 << 20);
    status = template_render(tmpl, &variables, &options, &error, &out);
    CHECK(status == STATUS_OK || error.text[0] != 0 || error.raised);
    buf_fini(&out);
    arena_destroy(arena);
    template_destroy(tmpl);
    return 0;
}
