/* Any bytes as a safetensors file: refused with a sentence, or a list of tensors that lie in the
 * file one behind the other and can all be found. */
#include "tests/fuzz/fuzz.h"

#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "model/safetensors.h"

static void use(const struct safetensors *st, const uint8_t *bytes, size_t size)
{
    const uint8_t *end = NULL;
    uint64_t sum = 0;

    for (uint32_t i = 0; i < safetensors_n(st); i++) {
        const struct safetensors_tensor *tensor = safetensors_at(st, i);

        CHECK(tensor->data >= bytes + 8 && tensor->data + tensor->bytes <= bytes + size);
        CHECK(end == NULL || tensor->data == end);
        CHECK(safetensors_find(st, tensor->name) == tensor);
        end = tensor->data + tensor->bytes;
        sum += tensor->bytes;
    }
    CHECK(end == NULL || end == bytes + size);
    CHECK(sum == safetensors_bytes(st));
    CHECK(safetensors_find(st, "no such tensor\x01") == NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct model_error error = {""};
    struct safetensors *st = NULL;
    uint8_t *copy = mem_alloc(size);

    CHECK(copy != NULL);
    memcpy(copy, data, size);
    if (safetensors_open_memory(copy, size, &error, &st) == STATUS_OK) {
        use(st, copy, size);
        safetensors_close(st);
    } else {
        CHECK(strlen(error.text) > 10);
    }
    mem_free(copy);
    CHECK(mem_live() == 0);
    return 0;
}
