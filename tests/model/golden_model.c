/* The values of the tiny checkpoints. Their spreads are the whole art: see `rules`. */
#include "tests/model/golden_model.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/mem.h"
#include "base/rand.h"
#include "kernels/bf16.h"
#include "model/model_file.h"
#include "model/tensors.h"

#define FILE_MAX ((size_t)8 << 20)

/* A value is middle + spread * u, u uniform with variance 1. The spread of a matrix is divided by
 * the root of its columns, so that a row of normed activations gives a result of about that size.
 */
struct rule {
    const char *ending; /* of the tensor's name; the first that fits */
    double middle, spread;
};

static const struct rule rules[] = {
    {"embed_tokens.weight", 0, 1},
    {"lm_head.weight", 0, 3},
    {"q_norm.weight", 1.2, 0.3}, /* q and k: scores of the size of 1.7 */
    {"k_norm.weight", 1.2, 0.3},
    {"q_proj.weight", 0, 1.3},
    {"k_proj.weight", 0, 1.3},
    {"qkv_proj.weight", 0, 1.3},  /* of q and k: see spread_of */
    {"o_proj.weight", 0, 0.6},    /* what a block adds is less than what there is: */
    {"down_proj.weight", 0, 0.4}, /* bf16 shall be off by less than a hundredth */
    {"w2.weight", 0, 0.5},
    {"mlp.gate.weight", 0, 2}, /* routers */
    {"block_sparse_moe.gate.weight", 0, 4},
    {"model.norm.weight", 0, 1}, /* of both signs, or a tied head would repeat each token */
    {"norm.weight", 1, 0.3},
    {"k_proj.bias", 0, 1},
    {"o_proj.bias", 0, 0.2},
    {".bias", 0, 0.5},
    {"", 0, 1},
};

/* The norms after Gemma's blocks have names that are others' norms before blocks. */
static const struct rule post_rules[] = {
    {"post_attention_layernorm.weight", 0.28, 0.08},
    {"post_feedforward_layernorm.weight", 0.2, 0.05},
};

struct writer {
    const struct model_config *config;
    uint64_t seed, at; /* offset of the next tensor's data */
    struct buf header, data;
};

static bool ends_with(const char *name, const char *ending)
{
    const size_t len = strlen(name), n = strlen(ending);

    return len >= n && strcmp(name + len - n, ending) == 0;
}

static const struct rule *rule_of(const struct writer *w, const char *name)
{
    size_t i = 0;

    for (; w->config->post_norms && i < sizeof(post_rules) / sizeof(post_rules[0]); i++)
        if (ends_with(name, post_rules[i].ending))
            return &post_rules[i];
    for (i = 0; !ends_with(name, rules[i].ending); i++)
        continue;
    return &rules[i];
}

static double spread_of(const struct writer *w, const struct model_tensor *tensor, uint64_t row)
{
    const struct model_config *c = w->config;
    double spread = rule_of(w, tensor->name)->spread;

    if (tensor->n_dims == 1)
        return spread;
    /* v shares a matrix with q and k where names are fused; it keeps its own size. */
    if (strstr(tensor->name, "qkv_proj") != NULL)
        spread = row < (uint64_t)(c->n_heads + c->n_kv_heads) * c->head_dim
                     ? spread / c->rope.attention_factor
                     : 1;
    if (strstr(tensor->name, "experts.") != NULL && ends_with(tensor->name, "down_proj.weight"))
        spread = 0.9;
    /* Gemma multiplies its embedding by the root of the columns itself. */
    if (ends_with(tensor->name, "embed_tokens.weight") && c->embed_scale == 1)
        return spread;
    return spread / sqrt((double)tensor->shape[1]);
}

static uint64_t hash_name(const char *name)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);

    for (; *name != '\0'; name++)
        hash = (hash ^ (uint8_t)*name) * UINT64_C(0x100000001b3);
    return hash;
}

static void put_data(struct writer *w, const struct model_tensor *tensor)
{
    const double root3 = 1.7320508075688772;
    const uint64_t columns = tensor->n_dims == 2 ? tensor->shape[1] : 1;
    double middle = rule_of(w, tensor->name)->middle;
    struct rand rng;

    /* Gemma's norms multiply by 1 + w. */
    if (tensor->kind == MODEL_TENSOR_NORM && w->config->norm_adds_one)
        middle -= 1;
    rand_init(&rng, w->seed ^ hash_name(tensor->name));
    for (uint64_t row = 0; row < tensor->shape[0]; row++) {
        const double spread = spread_of(w, tensor, row) * root3;

        for (uint64_t i = 0; i < columns; i++) {
            uint16_t value = bf16_of_f32((float)(middle + spread * (2 * rand_unit(&rng) - 1)));
            float wide = f32_of_bf16(value);

            CHECK((w->config->dtype == OP_F32
                       ? buf_append(&w->data, &wide, sizeof(wide))
                       : buf_append(&w->data, &value, sizeof(value))) == STATUS_OK);
        }
    }
}

static enum status put_tensor(void *ctx, const struct model_tensor *tensor)
{
    struct writer *w = ctx;
    char shape[48];
    uint64_t end;

    put_data(w, tensor);
    end = buf_len(&w->data);
    snprintf(shape, sizeof(shape), tensor->n_dims == 2 ? "%" PRIu64 ",%" PRIu64 : "%" PRIu64,
             tensor->shape[0], tensor->shape[1]);
    CHECK(buf_printf(&w->header,
                     "%s\"%s\":{\"dtype\":\"%s\",\"shape\":[%s],\"data_offsets\":[%" PRIu64
                     ",%" PRIu64 "]}",
                     w->at == 0 ? "{" : ",", tensor->name,
                     w->config->dtype == OP_F32 ? "F32" : "BF16", shape, w->at, end) == STATUS_OK);
    w->at = end;
    return STATUS_OK;
}

static void write_file(const char *folder, const struct writer *w)
{
    char path[MODEL_PATH_MAX];
    uint8_t len[8];
    FILE *file;

    for (unsigned i = 0; i < 8; i++)
        len[i] = (uint8_t)((uint64_t)buf_len(&w->header) >> (8 * i));
    CHECK(model_path_join(folder, "model.safetensors", NULL, path) == STATUS_OK);
    file = fopen(path, "wb");
    CHECK(file != NULL);
    CHECK(fwrite(len, 1, 8, file) == 8);
    CHECK(fwrite(buf_data(&w->header), 1, buf_len(&w->header), file) == buf_len(&w->header));
    CHECK(fwrite(buf_data(&w->data), 1, buf_len(&w->data), file) == buf_len(&w->data));
    CHECK(fclose(file) == 0);
}

void golden_model_write(const char *folder, uint64_t seed)
{
    struct model_config *config = mem_alloc_zero(1, sizeof(*config));
    struct writer w = {.config = config, .seed = seed};
    struct model_error error;

    CHECK(config != NULL);
    if (model_config_open(folder, &error, config) != STATUS_OK) {
        fprintf(stderr, "%s\n", error.text);
        CHECK(false);
    }
    CHECK(config->dtype != OP_F16);
    buf_init(&w.header, FILE_MAX);
    buf_init(&w.data, FILE_MAX);
    CHECK(model_tensors_expected(config, put_tensor, &w) == STATUS_OK);
    CHECK(buf_append_str(&w.header, "}") == STATUS_OK);
    while (buf_len(&w.header) % 8 != 0)
        CHECK(buf_append_str(&w.header, " ") == STATUS_OK);
    write_file(folder, &w);
    buf_fini(&w.header);
    buf_fini(&w.data);
    mem_free(config);
}
