/* The header of one safetensors file: eight bytes of length, JSON, data. The reader walks over the
 * mapped text without building a tree, so a header costs its tensors and nothing else. Any thread.
 */
#include "model/st_header.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

#define LENGTH_BYTES 8u

struct reader {
    const struct st_source *source;
    struct arena *arena;
    struct model_error *error;
    struct tokenizer_error json_error;
    struct tok_json json;
    uint64_t data_at, data_bytes; /* where the data begins, and how much there is */
};

struct dtype_name {
    const char *name;
    enum op_dtype dtype;
};

static const struct dtype_name dtypes[] = {{"BF16", OP_BF16}, {"F16", OP_F16}, {"F32", OP_F32}};

enum status st_json_fail(const char *path, enum status status, const struct tokenizer_error *why,
                         struct model_error *error)
{
    /* The reader names the file it was written for. */
    static const char prefix[] = "tokenizer.json: ";
    const char *text = why->text;

    if (strncmp(text, prefix, sizeof(prefix) - 1) == 0)
        text += sizeof(prefix) - 1;
    return model_fail(error, status, "%.300s: JSON %s", path, text[0] ? text : status_text(status));
}

static enum status json_fail(struct reader *r, enum status status)
{
    return st_json_fail(r->source->path, status, &r->json_error, r->error);
}

enum status st_name_copy(const char *path, const struct tok_json_string *string,
                         struct arena *arena, struct model_error *error, char **out)
{
    char *name;
    size_t len;

    if (string->len == 0 || string->len > SAFETENSORS_NAME_MAX)
        return model_fail(error, STATUS_TOO_BIG,
                          "%.300s: a name '%.*s' of %zu bytes; names have 1 to %u", path,
                          (int)(string->len < 100 ? string->len : 100), string->raw, string->len,
                          SAFETENSORS_NAME_MAX);
    name = arena_alloc(arena, string->len + 1);
    if (name == NULL)
        return model_fail(error, STATUS_TOO_BIG, "%.300s: the names take too much memory", path);
    len = tok_json_unescape(string, name);
    name[len] = '\0';
    if (strlen(name) != len)
        return model_fail(error, STATUS_MALFORMED, "%.300s: the name '%.100s' contains a zero",
                          path, name);
    *out = name;
    return STATUS_OK;
}

/* Digits alone: no sign, fraction, exponent or leading zero. */
static enum status read_u64(struct reader *r, uint64_t *out)
{
    struct tok_json *json = &r->json;
    uint64_t value = 0;
    size_t start;

    (void)tok_json_peek(json);
    for (start = json->pos; json->pos < json->len; json->pos++) {
        unsigned digit = (unsigned char)json->text[json->pos] - (unsigned)'0';

        if (digit > 9)
            break;
        if (__builtin_mul_overflow(value, 10u, &value) ||
            __builtin_add_overflow(value, digit, &value)) {
            json->pos = start;
            return json_fail(r, tok_json_expected(json, "a number below 2^64"));
        }
    }
    if (json->pos == start || (json->pos - start > 1 && json->text[start] == '0')) {
        json->pos = start;
        return json_fail(r, tok_json_expected(json, "an integer without sign"));
    }
    *out = value;
    return STATUS_OK;
}

/* [number, ...] of at most `max`. */
static enum status read_numbers(struct reader *r, const char *name, const char *field, uint32_t max,
                                uint64_t *out, uint32_t *n)
{
    struct tok_json_walk walk;
    uint32_t count = 0;
    bool more;
    enum status status = tok_json_enter(&r->json, '[', &walk);

    if (status != STATUS_OK)
        return json_fail(r, status);
    for (;;) {
        status = tok_json_next_element(&r->json, &walk, &more);
        if (status != STATUS_OK)
            return json_fail(r, status);
        if (!more)
            break;
        if (count == max)
            return model_fail(r->error, STATUS_MALFORMED,
                              "%.300s: tensor '%.100s': %s has more than %u numbers",
                              r->source->path, name, field, max);
        status = read_u64(r, &out[count++]);
        if (status != STATUS_OK)
            return status;
    }
    *n = count;
    return STATUS_OK;
}

static enum status read_dtype(struct reader *r, const char *name, enum op_dtype *out)
{
    struct tok_json_string text;
    enum status status = tok_json_string(&r->json, &text);

    if (status != STATUS_OK)
        return json_fail(r, status);
    for (size_t i = 0; i < sizeof(dtypes) / sizeof(dtypes[0]); i++) {
        if (tok_json_string_is(&text, dtypes[i].name)) {
            *out = dtypes[i].dtype;
            return STATUS_OK;
        }
    }
    return model_fail(r->error, STATUS_UNSUPPORTED,
                      "%.300s: tensor '%.100s' has dtype %.*s; BF16, F16 and F32 are supported",
                      r->source->path, name, (int)(text.len < 40 ? text.len : 40), text.raw);
}

/* dtype x shape = span, and the span lies in the data. */
static enum status check_span(const struct reader *r, struct safetensors_tensor *tensor,
                              const uint64_t span[2])
{
    const char *path = r->source->path, *name = tensor->name;
    uint64_t bytes = safetensors_dtype_bytes(tensor->dtype);

    for (uint32_t i = 0; i < tensor->n_dims; i++)
        if (__builtin_mul_overflow(bytes, tensor->shape[i], &bytes))
            return model_fail(r->error, STATUS_MALFORMED,
                              "%.300s: tensor '%.100s': its shape has more than 2^64 bytes", path,
                              name);
    if (span[0] > span[1] || span[1] > r->data_bytes)
        return model_fail(r->error, STATUS_MALFORMED,
                          "%.300s: tensor '%.100s': data_offsets %" PRIu64 " to %" PRIu64
                          " are not in the file's %" PRIu64
                          " bytes of data: is it truncated? Then download it again",
                          path, name, span[0], span[1], r->data_bytes);
    if (span[1] - span[0] != bytes)
        return model_fail(r->error, STATUS_MALFORMED,
                          "%.300s: tensor '%.100s': its shape and dtype need %" PRIu64
                          " bytes, data_offsets give %" PRIu64,
                          path, name, bytes, span[1] - span[0]);
    if ((r->data_at + span[0]) % safetensors_dtype_bytes(tensor->dtype) != 0)
        return model_fail(r->error, STATUS_MALFORMED,
                          "%.300s: tensor '%.100s' begins at byte %" PRIu64
                          " of the file, which is not aligned to its %u-byte elements; saving the "
                          "checkpoint again with a current safetensors library aligns it",
                          path, name, r->data_at + span[0], safetensors_dtype_bytes(tensor->dtype));
    tensor->data = r->source->bytes + r->data_at + span[0];
    tensor->bytes = bytes;
    return STATUS_OK;
}

enum field { FIELD_DTYPE = 1, FIELD_SHAPE = 2, FIELD_SPAN = 4, FIELDS_ALL = 7 };

/* One member of a tensor's object into `tensor` or `span`. */
static enum status read_field(struct reader *r, const struct tok_json_string *key, unsigned *seen,
                              struct safetensors_tensor *tensor, uint64_t span[2])
{
    enum field field;
    uint32_t n = 0;
    enum status status;

    if (tok_json_string_is(key, "dtype"))
        field = FIELD_DTYPE;
    else if (tok_json_string_is(key, "shape"))
        field = FIELD_SHAPE;
    else if (tok_json_string_is(key, "data_offsets"))
        field = FIELD_SPAN;
    else
        return model_fail(r->error, STATUS_MALFORMED,
                          "%.300s: tensor '%.100s' has a field '%.*s'; dtype, shape and "
                          "data_offsets are expected",
                          r->source->path, tensor->name, (int)(key->len < 60 ? key->len : 60),
                          key->raw);
    if ((*seen & field) != 0)
        return model_fail(r->error, STATUS_MALFORMED, "%.300s: tensor '%.100s' has a field twice",
                          r->source->path, tensor->name);
    *seen |= field;
    if (field == FIELD_DTYPE)
        return read_dtype(r, tensor->name, &tensor->dtype);
    if (field == FIELD_SHAPE)
        return read_numbers(r, tensor->name, "shape", SAFETENSORS_DIMS_MAX, tensor->shape,
                            &tensor->n_dims);
    status = read_numbers(r, tensor->name, "data_offsets", 2, span, &n);
    if (status == STATUS_OK && n != 2)
        status = model_fail(r->error, STATUS_MALFORMED,
                            "%.300s: tensor '%.100s': data_offsets has %u numbers, not 2",
                            r->source->path, tensor->name, n);
    return status;
}

static enum status read_tensor(struct reader *r, const char *name, struct safetensors_tensor *out)
{
    struct safetensors_tensor tensor = {.name = name, .file = r->source->file};
    struct tok_json_walk walk;
    struct tok_json_string key;
    uint64_t span[2] = {0, 0};
    unsigned seen = 0;
    bool more;
    enum status status = tok_json_enter(&r->json, '{', &walk);

    if (status != STATUS_OK)
        return json_fail(r, status);
    for (;;) {
        status = tok_json_next_member(&r->json, &walk, &key, &more);
        if (status != STATUS_OK)
            return json_fail(r, status);
        if (!more)
            break;
        status = read_field(r, &key, &seen, &tensor, span);
        if (status != STATUS_OK)
            return status;
    }
    if (seen != FIELDS_ALL)
        return model_fail(r->error, STATUS_MALFORMED, "%.300s: tensor '%.100s' has no %s",
                          r->source->path, name,
                          (seen & FIELD_DTYPE) == 0   ? "dtype"
                          : (seen & FIELD_SHAPE) == 0 ? "shape"
                                                      : "data_offsets");
    status = check_span(r, &tensor, span);
    if (status == STATUS_OK)
        *out = tensor;
    return status;
}

static enum status list_add(const struct reader *r, struct st_list *list,
                            const struct safetensors_tensor *tensor)
{
    if (list->n == SAFETENSORS_TENSORS_MAX)
        return model_fail(r->error, STATUS_TOO_BIG, "%.300s: more than %u tensors", r->source->path,
                          SAFETENSORS_TENSORS_MAX);
    if (list->n == list->cap) {
        uint32_t cap = list->cap == 0 ? 512 : list->cap * 2;
        void *at = mem_realloc(list->at, cap * sizeof(*list->at));

        if (at == NULL)
            return model_fail(r->error, STATUS_NO_MEMORY, "%.300s: no memory for its tensors",
                              r->source->path);
        list->at = at;
        list->cap = cap;
    }
    list->at[list->n++] = *tensor;
    return STATUS_OK;
}

static int by_place(const void *a, const void *b)
{
    const struct safetensors_tensor *x = a, *y = b;

    if (x->data != y->data)
        return x->data < y->data ? -1 : 1;
    if (x->bytes != y->bytes) /* empty ones first: they end where the next begins */
        return x->bytes < y->bytes ? -1 : 1;
    return strcmp(x->name, y->name);
}

/* Sorted by place, each tensor begins where the one before it ends, and the last ends the file. */
static enum status check_places(const struct reader *r, struct safetensors_tensor *at, uint32_t n)
{
    const uint8_t *data = r->source->bytes + r->data_at, *end = data;
    const char *path = r->source->path;

    qsort(at, n, sizeof(*at), by_place);
    for (uint32_t i = 0; i < n; i++) {
        if (at[i].data < end)
            return model_fail(r->error, STATUS_MALFORMED,
                              "%.300s: tensors '%.100s' and '%.100s' overlap at byte %zu of the "
                              "data",
                              path, at[i - 1].name, at[i].name, (size_t)(at[i].data - data));
        if (at[i].data > end)
            return model_fail(r->error, STATUS_MALFORMED,
                              "%.300s: a hole of %zu bytes before tensor '%.100s'", path,
                              (size_t)(at[i].data - end), at[i].name);
        end = at[i].data + at[i].bytes;
    }
    if ((uint64_t)(end - data) != r->data_bytes)
        return model_fail(r->error, STATUS_MALFORMED,
                          "%.300s: the tensors end at byte %zu of %" PRIu64 " bytes of data", path,
                          (size_t)(end - data), r->data_bytes);
    return STATUS_OK;
}

/* Finds the header's text: its length against the limit and the file. */
static enum status begin(struct reader *r)
{
    const struct st_source *source = r->source;
    uint64_t len = 0;

    if (source->len < LENGTH_BYTES)
        return model_fail(
            r->error, STATUS_MALFORMED,
            "%.300s: has %zu bytes; a safetensors file begins with 8 bytes of length: "
            "download it again",
            source->path, source->len);
    for (unsigned i = 0; i < LENGTH_BYTES; i++)
        len |= (uint64_t)source->bytes[i] << (8 * i);
    if (len > SAFETENSORS_HEADER_MAX)
        return model_fail(r->error, STATUS_TOO_BIG,
                          "%.300s: says that its header has %" PRIu64 " bytes; at most %" PRIu64
                          " are read (is it a safetensors file?)",
                          source->path, len, SAFETENSORS_HEADER_MAX);
    if (len > source->len - LENGTH_BYTES)
        return model_fail(r->error, STATUS_MALFORMED,
                          "%.300s: says that its header has %" PRIu64
                          " bytes, but the file has %zu: is it truncated? Then download it again",
                          source->path, len, source->len);
    r->data_at = LENGTH_BYTES + len;
    r->data_bytes = source->len - r->data_at;
    tok_json_init(&r->json, (const char *)source->bytes + LENGTH_BYTES, (size_t)len,
                  &r->json_error);
    if (len == 0 || r->json.text[0] != '{')
        return json_fail(r, tok_json_expected(&r->json, "the header's '{'"));
    return STATUS_OK;
}

/* The next member of the header: a tensor, or what people write about the file. */
static enum status read_member(struct reader *r, const struct tok_json_string *key, bool *metadata,
                               struct st_list *list)
{
    struct safetensors_tensor tensor;
    char *name = NULL;
    enum status status;

    if (tok_json_string_is(key, "__metadata__")) {
        if (*metadata)
            return model_fail(r->error, STATUS_MALFORMED, "%.300s: __metadata__ is there twice",
                              r->source->path);
        *metadata = true;
        if (tok_json_peek(&r->json) != '{')
            return json_fail(r, tok_json_expected(&r->json, "an object"));
        status = tok_json_skip(&r->json);
        return status == STATUS_OK ? STATUS_OK : json_fail(r, status);
    }
    status = st_name_copy(r->source->path, key, r->arena, r->error, &name);
    if (status == STATUS_OK)
        status = read_tensor(r, name, &tensor);
    if (status == STATUS_OK)
        status = list_add(r, list, &tensor);
    return status;
}

enum status st_header_read(const struct st_source *source, struct arena *arena,
                           struct st_list *list, struct model_error *error)
{
    struct reader r = {.source = source, .arena = arena, .error = error};
    struct tok_json_walk walk;
    struct tok_json_string key;
    const uint32_t first = list->n;
    bool more, metadata = false;
    enum status status = begin(&r);

    if (status != STATUS_OK)
        return status;
    status = tok_json_enter(&r.json, '{', &walk);
    while (status == STATUS_OK) {
        status = tok_json_next_member(&r.json, &walk, &key, &more);
        if (status != STATUS_OK || !more)
            break;
        status = read_member(&r, &key, &metadata, list);
        if (status != STATUS_OK)
            return status;
    }
    if (status == STATUS_OK)
        status = tok_json_end(&r.json);
    if (status != STATUS_OK)
        return json_fail(&r, status);
    if (list->n == first && r.data_bytes == 0)
        return STATUS_OK;
    if (list->n == first)
        return model_fail(error, STATUS_MALFORMED,
                          "%.300s: has no tensor, but %" PRIu64 " bytes of data", source->path,
                          r.data_bytes);
    return check_places(&r, list->at + first, list->n - first);
}
