/* Writes random checkpoints: a plan of tensors and files first, then file by file, so that no more
 * than one buffer of data is ever in memory. A value is one of 65,536 levels of a uniform
 * distribution, looked up by 16 random bits: making them is faster than writing them. */
#include "model/make_model.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/rand.h"
#include "kernels/bf16.h"
#include "model/config.h"
#include "model/model_file.h"
#include "model/new_folder.h"
#include "model/tensors.h"
#include "model/tokenizer.h"

#define PIECE_BYTES ((size_t)1 << 20)
#define LEVELS 65536u
#define NORM_SPREAD 0.1 /* norms are their neutral value and up to this */
#define COPY_MAX ((size_t)256 << 20)

struct plan_tensor {
    struct model_tensor tensor;
    uint64_t bytes;
    uint32_t file;
};

struct maker {
    const struct make_model_args *args;
    struct model_error *error;
    struct model_config config;
    json_t *root; /* config.json */
    enum op_dtype dtype;
    struct plan_tensor *plan; /* [n] of [cap] */
    uint32_t n, cap, n_files;
    uint64_t shard_bytes, in_shard;
    uint8_t *levels[2]; /* [LEVELS] elements each: of weights, of norms */
    uint8_t *piece;     /* [PIECE_BYTES] */
    struct new_folder *folder;
    uint64_t total, done; /* bytes of data */
};

static const char *const tokenizer_files[] = {
    "tokenizer.json",      "tokenizer_config.json",  "special_tokens_map.json",
    "chat_template.jinja", "generation_config.json",
};

#define N_TOKENIZER_FILES (sizeof(tokenizer_files) / sizeof(tokenizer_files[0]))
#define FILES_MORE ((uint32_t)N_TOKENIZER_FILES + 2) /* config.json and the index */

/* --- the plan --- */

static enum status plan_one(void *ctx, const struct model_tensor *tensor)
{
    struct maker *m = ctx;
    struct plan_tensor *at;

    if (m->n == SAFETENSORS_TENSORS_MAX)
        return model_fail(m->error, STATUS_TOO_BIG, "%.200s: makes more than %u tensors",
                          m->args->config, SAFETENSORS_TENSORS_MAX);
    if (m->n == m->cap) {
        uint32_t cap = m->cap == 0 ? 256 : m->cap * 2;
        void *plan = mem_realloc(m->plan, cap * sizeof(*m->plan));

        if (plan == NULL)
            return model_fail(m->error, STATUS_NO_MEMORY, "no memory for the plan");
        m->plan = plan;
        m->cap = cap;
    }
    at = &m->plan[m->n++];
    at->tensor = *tensor;
    at->bytes = tensor->shape[0] * (tensor->n_dims == 2 ? tensor->shape[1] : 1) *
                safetensors_dtype_bytes(m->dtype);
    if (m->n_files == 0 || (m->in_shard > 0 && m->in_shard + at->bytes > m->shard_bytes)) {
        m->n_files++;
        m->in_shard = 0;
    }
    m->in_shard += at->bytes;
    m->total += at->bytes;
    at->file = m->n_files - 1;
    if (m->n_files > SAFETENSORS_FILES_MAX)
        return model_fail(m->error, STATUS_TOO_BIG,
                          "shards of %" PRIu64 " bytes make more than %u files", m->shard_bytes,
                          SAFETENSORS_FILES_MAX);
    return STATUS_OK;
}

/* --- values --- */

/* Round to nearest, ties to even; for the small finite values made here. */
static uint16_t f16_of_f32(float x)
{
    const uint32_t bits = f32_bits(x), sign = bits >> 16 & 0x8000u;
    const int exponent = (int)(bits >> 23 & 255u) - 127;
    uint32_t m = (bits & 0x7fffffu) | 0x800000u, shift, half;

    if (exponent > 15)
        return (uint16_t)(sign | 0x7c00u);
    if (exponent < -25)
        return (uint16_t)sign;
    shift = exponent < -14 ? (uint32_t)(13 + -14 - exponent) : 13;
    half = (m >> shift) +
           ((m >> (shift - 1) & 1u) & (((m & ((1u << (shift - 1)) - 1)) != 0) | (m >> shift & 1u)));
    /* The hidden bit counts as one exponent step for a normal number. */
    return (uint16_t)(sign + half + (exponent < -14 ? 0u : (uint32_t)(exponent + 14) << 10));
}

static enum status fill_levels(struct maker *m, uint8_t **levels, double middle, double spread)
{
    uint8_t *at = mem_alloc_aligned(64, (size_t)LEVELS * 4);

    if (at == NULL)
        return model_fail(m->error, STATUS_NO_MEMORY, "no memory for the values");
    for (uint32_t i = 0; i < LEVELS; i++) {
        /* Symmetric about the middle and never on it. */
        float value = (float)(middle + spread * (((double)i + 0.5) / (LEVELS / 2.0) - 1));

        if (m->dtype == OP_F32)
            ((float *)(void *)at)[i] = value;
        else
            ((uint16_t *)(void *)at)[i] =
                m->dtype == OP_BF16 ? bf16_of_f32(value) : f16_of_f32(value);
    }
    *levels = at;
    return STATUS_OK;
}

static enum status make_levels(struct maker *m)
{
    const json_t *range = json_object_get(m->root, "initializer_range");
    double deviation = m->args->deviation;
    enum status status;

    if (deviation <= 0)
        deviation = json_is_number(range) ? json_number_value(range) : 0.02;
    if (!(deviation > 0 && deviation <= 100))
        return model_fail(m->error, STATUS_INVALID,
                          "a deviation of %g; more than 0 and at most 100 is expected", deviation);
    status = fill_levels(m, &m->levels[0], 0, deviation * sqrt(3));
    if (status == STATUS_OK)
        status = fill_levels(m, &m->levels[1], m->config.norm_adds_one ? 0 : 1, NORM_SPREAD);
    m->piece = status == STATUS_OK ? mem_alloc_aligned(64, PIECE_BYTES) : NULL;
    if (status == STATUS_OK && m->piece == NULL)
        status = model_fail(m->error, STATUS_NO_MEMORY, "no memory for the values");
    return status;
}

/* Four values for each 64 random bits; `bytes` is a multiple of four elements or the last piece. */
static void fill_piece(const struct maker *m, struct rand *rng, const uint8_t *levels, size_t bytes)
{
    if (m->dtype == OP_F32) {
        const uint32_t *from = (const uint32_t *)(const void *)levels;
        uint32_t *to = (uint32_t *)(void *)m->piece;

        for (size_t i = 0; i < bytes / 4; i += 4) {
            uint64_t bits = rand_u64(rng);

            for (unsigned k = 0; k < 4; k++)
                to[i + k] = from[bits >> (16 * k) & 0xffffu];
        }
    } else {
        const uint16_t *from = (const uint16_t *)(const void *)levels;
        uint16_t *to = (uint16_t *)(void *)m->piece;

        for (size_t i = 0; i < bytes / 2; i += 4) {
            uint64_t bits = rand_u64(rng);

            for (unsigned k = 0; k < 4; k++)
                to[i + k] = from[bits >> (16 * k) & 0xffffu];
        }
    }
}

/* FNV-1a: mixes the name into the seed. */
static uint64_t hash_name(const char *name)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);

    for (; *name != '\0'; name++)
        hash = (hash ^ (uint8_t)*name) * UINT64_C(0x100000001b3);
    return hash;
}

/* --- files --- */

static void shard_name(const struct maker *m, uint32_t file, char out[64])
{
    if (m->n_files == 1)
        snprintf(out, 64, "%s", SAFETENSORS_ONE_NAME);
    else
        snprintf(out, 64, "model-%05u-of-%05u.safetensors", file + 1, m->n_files);
}

/* Length and JSON, padded so that the data is aligned. */
static enum status make_header(const struct maker *m, uint32_t first, uint32_t end, struct buf *out)
{
    static const char *const dtypes[] = {[OP_BF16] = "BF16", [OP_F32] = "F32", [OP_F16] = "F16"};
    uint8_t len_bytes[8] = {0};
    uint64_t at = 0, len;
    enum status status = buf_append(out, len_bytes, sizeof(len_bytes));

    if (status == STATUS_OK)
        status = buf_append_str(out, "{\"__metadata__\":{\"format\":\"pt\"}");
    for (uint32_t i = first; status == STATUS_OK && i < end; i++) {
        const struct plan_tensor *p = &m->plan[i];
        char shape[48];

        snprintf(shape, sizeof(shape), p->tensor.n_dims == 2 ? "%" PRIu64 ",%" PRIu64 : "%" PRIu64,
                 p->tensor.shape[0], p->tensor.shape[1]);
        status = buf_printf(out,
                            ",\"%s\":{\"dtype\":\"%s\",\"shape\":[%s],\"data_offsets\":[%" PRIu64
                            ",%" PRIu64 "]}",
                            p->tensor.name, dtypes[m->dtype], shape, at, at + p->bytes);
        at += p->bytes;
    }
    if (status == STATUS_OK)
        status = buf_append_str(out, "}");
    while (status == STATUS_OK && buf_len(out) % 8 != 0)
        status = buf_append_str(out, " ");
    if (status != STATUS_OK)
        return model_fail(m->error, status,
                          "a header has no room for its tensors: smaller shards "
                          "have smaller headers");
    len = buf_len(out) - 8;
    for (unsigned i = 0; i < 8; i++)
        ((uint8_t *)(uintptr_t)buf_data(out))[i] = (uint8_t)(len >> (8 * i));
    return STATUS_OK;
}

/* Between two pieces: how far it is, and whether to go on. */
static enum status look_around(struct maker *m)
{
    if (m->args->progress != NULL)
        m->args->progress(m->args->ctx, m->done, m->total);
    if (m->args->stop != NULL && *m->args->stop != 0)
        return model_fail(m->error, STATUS_CANCELLED,
                          "%.300s: stopped, and what was written is removed", m->args->out);
    return STATUS_OK;
}

static enum status write_tensor(struct maker *m, int fd, const char *name,
                                const struct plan_tensor *p)
{
    const uint8_t *levels = m->levels[p->tensor.kind == MODEL_TENSOR_NORM];
    struct rand rng;
    enum status status = STATUS_OK;

    rand_init(&rng, m->args->seed ^ hash_name(p->tensor.name));
    for (uint64_t at = 0; status == STATUS_OK && at < p->bytes; at += PIECE_BYTES) {
        size_t bytes = p->bytes - at < PIECE_BYTES ? (size_t)(p->bytes - at) : PIECE_BYTES;

        fill_piece(m, &rng, levels, bytes);
        status = new_folder_write(m->folder, fd, name, m->piece, bytes, m->error);
        m->done += bytes;
        if (status == STATUS_OK)
            status = look_around(m);
    }
    return status;
}

static enum status write_shard(struct maker *m, uint32_t file, uint32_t first, uint32_t end)
{
    char name[64];
    struct buf header;
    int fd;
    enum status status;

    buf_init(&header, (size_t)SAFETENSORS_HEADER_MAX);
    shard_name(m, file, name);
    status = make_header(m, first, end, &header);
    if (status == STATUS_OK)
        status = new_folder_open(m->folder, name, m->error, &fd);
    if (status == STATUS_OK) {
        status =
            new_folder_write(m->folder, fd, name, buf_data(&header), buf_len(&header), m->error);
        for (uint32_t i = first; status == STATUS_OK && i < end; i++)
            status = write_tensor(m, fd, name, &m->plan[i]);
        status = new_folder_close(m->folder, fd, name, status, m->error);
    }
    buf_fini(&header);
    return status;
}

static enum status write_index(const struct maker *m, uint64_t bytes)
{
    struct buf text;
    char name[64];
    enum status status;

    buf_init(&text, SAFETENSORS_INDEX_MAX);
    status = buf_printf(
        &text, "{\n  \"metadata\": {\"total_size\": %" PRIu64 "},\n  \"weight_map\": {", bytes);
    for (uint32_t i = 0; status == STATUS_OK && i < m->n; i++) {
        shard_name(m, m->plan[i].file, name);
        status = buf_printf(&text, "%s\n    \"%s\": \"%s\"", i > 0 ? "," : "",
                            m->plan[i].tensor.name, name);
    }
    if (status == STATUS_OK)
        status = buf_append_str(&text, "\n  }\n}\n");
    if (status != STATUS_OK)
        status = model_fail(m->error, status, "the index has no room for its tensors");
    else
        status = new_folder_put(m->folder, SAFETENSORS_INDEX_NAME, buf_data(&text), buf_len(&text),
                                m->error);
    buf_fini(&text);
    return status;
}

/* The config as it was read, but for the dtype of what is written. */
static enum status write_config(const struct maker *m)
{
    static const char *const dtypes[] = {
        [OP_BF16] = "bfloat16", [OP_F32] = "float32", [OP_F16] = "float16"};
    const char *field = json_object_get(m->root, "dtype") != NULL ? "dtype" : "torch_dtype";
    struct buf text;
    size_t len = 0;
    uint8_t *room = NULL;
    enum status status = STATUS_OK;

    buf_init(&text, MODEL_CONFIG_FILE_MAX * 4);
    if (json_object_set_new(m->root, field, json_string(dtypes[m->dtype])) == 0)
        len = json_dumpb(m->root, NULL, 0, JSON_INDENT(2));
    if (len == 0 || buf_reserve(&text, len + 1, &room) != STATUS_OK)
        status = model_fail(m->error, STATUS_NO_MEMORY, "no memory to write config.json");
    if (status == STATUS_OK) {
        (void)json_dumpb(m->root, (char *)room, len, JSON_INDENT(2));
        room[len] = '\n';
        status = new_folder_put(m->folder, "config.json", room, len + 1, m->error);
    }
    buf_fini(&text);
    return status;
}

static enum status copy_tokenizer(const struct maker *m)
{
    enum status status = STATUS_OK;

    for (size_t i = 0; status == STATUS_OK && m->args->tokenizer != NULL && i < N_TOKENIZER_FILES;
         i++) {
        char path[MODEL_PATH_MAX], *text;
        size_t len;

        status = model_path_join(m->args->tokenizer, tokenizer_files[i], m->error, path);
        if (status != STATUS_OK || (i > 0 && access(path, F_OK) != 0))
            continue; /* only the first must be there */
        status = model_file_read(path, COPY_MAX, m->error, &text, &len);
        if (status != STATUS_OK)
            break;
        status = new_folder_put(m->folder, tokenizer_files[i], text, len, m->error);
        mem_free(text);
    }
    return status;
}

/* --- all of it --- */

/* What will be written, from above: a tensor's line in a header and in the index has its name and
 * less than a hundred bytes, and the tokenizer is small beside any weights. */
static uint64_t bytes_needed(const struct maker *m)
{
    uint64_t bytes = MODEL_CONFIG_FILE_MAX;

    for (uint32_t i = 0; i < m->n; i++)
        bytes += m->plan[i].bytes + 2 * (strlen(m->plan[i].tensor.name) + 100);
    return bytes;
}

/* Before hours of weights: whether the tokenizer is one. */
static enum status check_tokenizer(const struct maker *m)
{
    struct tokenizer_error why = {""};
    struct tokenizer *tok;
    enum status status;

    if (m->args->tokenizer == NULL)
        return STATUS_OK;
    status = tokenizer_open(m->args->tokenizer, &why, &tok);
    if (status != STATUS_OK)
        return model_fail(m->error, status, "the tokenizer in %.200s: %s", m->args->tokenizer,
                          why.text[0] != '\0' ? why.text : status_text(status));
    tokenizer_close(tok);
    return STATUS_OK;
}

static enum status read_config(struct maker *m)
{
    char path[MODEL_PATH_MAX], *text;
    struct stat info;
    json_error_t why;
    size_t len;
    enum status status = STATUS_OK;

    snprintf(path, sizeof(path), "%s", m->args->config);
    if (stat(m->args->config, &info) == 0 && S_ISDIR(info.st_mode))
        status = model_path_join(m->args->config, "config.json", m->error, path);
    if (status == STATUS_OK)
        status = model_file_read(path, MODEL_CONFIG_FILE_MAX, m->error, &text, &len);
    if (status != STATUS_OK)
        return status;
    status = model_config_read(path, text, len, m->error, &m->config);
    if (status == STATUS_OK) {
        m->root = json_loadb(text, len, JSON_REJECT_DUPLICATES, &why);
        if (m->root == NULL)
            status = model_fail(m->error, STATUS_NO_MEMORY, "%.200s: %s", path, why.text);
    }
    mem_free(text);
    return status;
}

static enum status write_weights(struct maker *m, struct make_model_result *result)
{
    enum status status = look_around(m);

    *result = (struct make_model_result){.n_tensors = m->n, .n_files = m->n_files};
    for (uint32_t i = 0, end; status == STATUS_OK && i < m->n; i = end) {
        for (end = i; end < m->n && m->plan[end].file == m->plan[i].file; end++)
            result->bytes += m->plan[end].bytes;
        status = write_shard(m, m->plan[i].file, i, end);
    }
    if (status == STATUS_OK && m->n_files > 1)
        status = write_index(m, result->bytes);
    return status;
}

static void maker_destroy(struct maker *m)
{
    mem_free(m->piece);
    mem_free(m->levels[1]);
    mem_free(m->levels[0]);
    mem_free(m->plan);
    json_decref(m->root);
    mem_free(m);
}

enum status make_model(const struct make_model_args *args, struct model_error *error,
                       struct make_model_result *out)
{
    struct maker *m = mem_alloc_zero(1, sizeof(*m));
    struct make_model_result result;
    enum status status;

    if (m == NULL)
        return model_fail(error, STATUS_NO_MEMORY, "no memory to make a model");
    m->args = args;
    m->error = error;
    m->shard_bytes = args->shard_bytes > 0 ? args->shard_bytes : MAKE_MODEL_SHARD_BYTES;
    status = read_config(m);
    m->dtype = args->dtype_given ? args->dtype : m->config.dtype;
    if (status == STATUS_OK)
        status = model_tensors_expected(&m->config, plan_one, m);
    if (status == STATUS_OK)
        status = make_levels(m);
    if (status == STATUS_OK)
        status = check_tokenizer(m);
    if (status == STATUS_OK)
        status = new_folder_create(args->out, bytes_needed(m), m->n_files + FILES_MORE, error,
                                   &m->folder);
    if (status == STATUS_OK)
        status = copy_tokenizer(m);
    if (status == STATUS_OK)
        status = write_weights(m, &result);
    if (status == STATUS_OK)
        status = write_config(m);
    if (status == STATUS_OK)
        *out = result;
    new_folder_destroy(m->folder, status == STATUS_OK);
    maker_destroy(m);
    return status;
}
