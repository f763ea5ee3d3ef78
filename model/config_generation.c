/* End tokens of a config, and generation_config.json. Any thread. */
#include <string.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/mem.h"
#include "model/config_fields.h"
#include "model/model_file.h"

/* The classes' own end and begin tokens, used where config.json has no such field. */
static void default_ids(enum model_family family, struct model_config *config)
{
    switch (family) {
    case MODEL_LLAMA:
    case MODEL_MISTRAL:
    case MODEL_MIXTRAL:
        config->bos = 1;
        config->eos[0] = 2;
        break;
    case MODEL_GEMMA2:
    case MODEL_GEMMA3:
        config->bos = 2;
        config->eos[0] = 1;
        break;
    case MODEL_PHI3:
        config->bos = 1;
        config->eos[0] = 32000;
        break;
    default:
        return;
    }
    config->n_eos = 1;
}

enum status config_special_read(const struct config_reader *r, struct model_config *config)
{
    const json_t *bos = json_object_get(r->root, "bos_token_id");
    const json_t *eos = json_object_get(r->root, "eos_token_id");
    enum status status = STATUS_OK;

    default_ids(r->family, config);
    if (json_is_null(bos))
        config->bos = UINT32_MAX;
    else if (bos != NULL)
        status = config_u32(r, "bos_token_id", bos, 0, OPS_VOCAB_MAX - 1, &config->bos);
    if (status == STATUS_OK && eos != NULL)
        status = config_ids(r, "eos_token_id", eos, config->eos, &config->n_eos);
    return status;
}

static enum status read_generation(const struct config_reader *r, struct model_generation *out)
{
    static const struct {
        const char *name;
        size_t at;
        double min, max;
    } numbers[] = {
        {"temperature", offsetof(struct model_generation, temperature), 0, 100},
        {"top_p", offsetof(struct model_generation, top_p), 0, 1},
        {"min_p", offsetof(struct model_generation, min_p), 0, 1},
        {"repetition_penalty", offsetof(struct model_generation, repetition_penalty), 0.01, 100},
    };
    const json_t *eos = json_object_get(r->root, "eos_token_id");
    const json_t *top_k = json_object_get(r->root, "top_k");
    const json_t *sample = json_object_get(r->root, "do_sample");
    enum status status = STATUS_OK;

    if (eos != NULL && !json_is_null(eos))
        status = config_ids(r, "eos_token_id", eos, out->eos, &out->n_eos);
    for (size_t i = 0; status == STATUS_OK && i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        const json_t *value = json_object_get(r->root, numbers[i].name);

        if (value != NULL && !json_is_null(value))
            status = config_number(r, numbers[i].name, value, numbers[i].min, numbers[i].max,
                                   (double *)(void *)((char *)out + numbers[i].at));
    }
    if (status == STATUS_OK && top_k != NULL && !json_is_null(top_k))
        status = config_u32(r, "top_k", top_k, 0, OPS_VOCAB_MAX, &out->top_k);
    if (status == STATUS_OK && sample != NULL && !json_is_null(sample) && !json_is_boolean(sample))
        status = config_bad(r, STATUS_MALFORMED, "do_sample", sample, "true or false is expected");
    out->do_sample = json_is_true(sample);
    out->do_sample_given = json_is_boolean(sample);
    return status;
}

static struct model_generation neutral(const struct model_config *config)
{
    struct model_generation result = {
        .temperature = 1, .top_p = 1, .repetition_penalty = 1, .n_eos = config->n_eos};

    memcpy(result.eos, config->eos, sizeof(result.eos));
    return result;
}

enum status model_generation_read(const char *name, const char *json, size_t len,
                                  const struct model_config *config, struct model_error *error,
                                  struct model_generation *out)
{
    struct model_generation result = neutral(config);
    struct config_reader r = {.path = name, .family = config->family, .error = error};
    json_t *root;
    enum status status = config_parse(name, json, len, error, &root);

    if (status != STATUS_OK)
        return status;
    r.root = root;
    status = read_generation(&r, &result);
    json_decref(root);
    if (status == STATUS_OK)
        *out = result;
    return status;
}

enum status model_generation_open(const char *folder, const struct model_config *config,
                                  struct model_error *error, struct model_generation *out)
{
    char path[MODEL_PATH_MAX], *text;
    size_t len;
    enum status status = model_path_join(folder, "generation_config.json", error, path);

    if (status != STATUS_OK)
        return status;
    if (access(path, F_OK) != 0) {
        *out = neutral(config);
        return STATUS_OK;
    }
    status = model_file_read(path, MODEL_CONFIG_FILE_MAX, error, &text, &len);
    if (status != STATUS_OK)
        return status;
    status = model_generation_read(path, text, len, config, error, out);
    mem_free(text);
    return status;
}

uint64_t model_generation_hash(const struct model_generation *generation, uint64_t config_hash)
{
    uint32_t sorted[MODEL_EOS_MAX];
    uint32_t n = 0;

    for (uint32_t i = 0; i < generation->n_eos; i++) {
        uint32_t at = n++;

        for (; at > 0 && sorted[at - 1] > generation->eos[i]; at--)
            sorted[at] = sorted[at - 1];
        sorted[at] = generation->eos[i];
    }
    return XXH3_64bits_withSeed(sorted, n * sizeof(*sorted), config_hash);
}
