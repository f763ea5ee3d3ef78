/* Opening one safetensors file or the shards of an index, and looking tensors up. The index is a
 * promise about where each tensor is; both directions are checked by walking two sorted lists, so
 * that a hostile index costs no more than a sort. Called by the loader; any thread. */
#include "model/safetensors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "base/mem.h"
#include "model/model_file.h"
#include "model/st_header.h"

#define ARENA_CHUNK ((size_t)64 << 10)
#define ARENA_MAX ((size_t)32 << 20) /* names of tensors and files */
#define FILE_NAME_MAX 255u

struct st_file {
    const char *name; /* arena */
    struct model_map map;
};

struct safetensors {
    struct arena *arena;
    struct st_list list;                       /* file by file, by place */
    const struct safetensors_tensor **by_name; /* [list.n] */
    struct st_file *files;                     /* [n_files] */
    uint32_t n_files;
    uint64_t bytes; /* of all tensors */
};

/* One line of an index. */
struct promise {
    const char *file, *name; /* arena */
};

struct index {
    struct promise *at; /* [n] of [cap] */
    uint32_t n, cap;
};

uint32_t safetensors_dtype_bytes(enum op_dtype dtype)
{
    return dtype == OP_F32 ? 4 : 2;
}

const char *safetensors_dtype_name(enum op_dtype dtype)
{
    switch (dtype) {
    case OP_BF16:
        return "bf16";
    case OP_F16:
        return "fp16";
    case OP_F32:
        return "fp32";
    }
    return "?";
}

/* --- making it --- */

static enum status create(struct model_error *error, struct safetensors **out)
{
    struct safetensors *st = mem_alloc_zero(1, sizeof(*st));

    if (st == NULL || arena_create(ARENA_CHUNK, ARENA_MAX, &st->arena) != STATUS_OK) {
        mem_free(st);
        return model_fail(error, STATUS_NO_MEMORY, "no memory to open a checkpoint");
    }
    *out = st;
    return STATUS_OK;
}

void safetensors_close(struct safetensors *st)
{
    if (st == NULL)
        return;
    for (uint32_t i = 0; i < st->n_files; i++)
        model_map_close(&st->files[i].map);
    mem_free(st->files);
    mem_free(st->by_name);
    mem_free(st->list.at);
    arena_destroy(st->arena);
    mem_free(st);
}

static enum status add_files(struct safetensors *st, uint32_t n, struct model_error *error)
{
    st->files = mem_alloc_zero(n, sizeof(*st->files));
    if (st->files == NULL)
        return model_fail(error, STATUS_NO_MEMORY, "no memory to open a checkpoint");
    st->n_files = n;
    return STATUS_OK;
}

static int compare_names(const void *a, const void *b)
{
    const struct safetensors_tensor *const *x = a, *const *y = b;

    return strcmp((*x)->name, (*y)->name);
}

/* The tensors from `first` on, sorted by name; to be freed. */
static enum status sort_names(const struct safetensors *st, uint32_t first,
                              struct model_error *error, const struct safetensors_tensor ***out)
{
    const uint32_t n = st->list.n - first;
    const struct safetensors_tensor **at = mem_alloc_zero(n, sizeof(*at));

    if (at == NULL)
        return model_fail(error, STATUS_NO_MEMORY, "no memory to open a checkpoint");
    for (uint32_t i = 0; i < n; i++)
        at[i] = &st->list.at[first + i];
    qsort(at, n, sizeof(*at), compare_names);
    *out = at;
    return STATUS_OK;
}

/* When all files are read: names, and the sum. */
static enum status finish(struct safetensors *st, struct model_error *error)
{
    enum status status = sort_names(st, 0, error, &st->by_name);

    if (status != STATUS_OK)
        return status;
    for (uint32_t i = 0; i < st->list.n; i++) {
        const struct safetensors_tensor *tensor = st->by_name[i];

        st->bytes += tensor->bytes;
        if (i > 0 && strcmp(st->by_name[i - 1]->name, tensor->name) == 0)
            return model_fail(error, STATUS_MALFORMED,
                              "%.200s: tensor '%.100s' is there twice (also in %.200s)",
                              st->files[tensor->file].name, tensor->name,
                              st->files[st->by_name[i - 1]->file].name);
    }
    return STATUS_OK;
}

/* --- one file --- */

static enum status open_one(struct safetensors *st, const char *path, struct model_error *error)
{
    struct st_source source = {.path = path};
    enum status status = add_files(st, 1, error);

    if (status != STATUS_OK)
        return status;
    st->files[0].name = arena_strdup(st->arena, path);
    if (st->files[0].name == NULL)
        return model_fail(error, STATUS_NO_MEMORY, "no memory to open a checkpoint");
    status = model_map_open(path, error, &st->files[0].map);
    if (status != STATUS_OK)
        return status;
    source.bytes = st->files[0].map.bytes;
    source.len = st->files[0].map.len;
    status = st_header_read(&source, st->arena, &st->list, error);
    return status == STATUS_OK ? finish(st, error) : status;
}

enum status safetensors_open_memory(const void *bytes, size_t len, struct model_error *error,
                                    struct safetensors **out)
{
    struct st_source source = {.path = "the model in memory", .bytes = bytes, .len = len};
    struct safetensors *st;
    enum status status = create(error, &st);

    if (status != STATUS_OK)
        return status;
    CHECK((uintptr_t)bytes % 8 == 0);
    status = add_files(st, 1, error);
    if (status == STATUS_OK) {
        st->files[0].name = source.path;
        status = st_header_read(&source, st->arena, &st->list, error);
    }
    if (status == STATUS_OK)
        status = finish(st, error);
    if (status != STATUS_OK) {
        safetensors_close(st);
        return status;
    }
    *out = st;
    return STATUS_OK;
}

/* --- an index --- */

static int compare_promises(const void *a, const void *b)
{
    const struct promise *x = a, *y = b;
    int files = x->file == y->file ? 0 : strcmp(x->file, y->file);

    return files != 0 ? files : strcmp(x->name, y->name);
}

/* A shard lies beside its index: a plain name that cannot lead elsewhere. */
static bool is_plain_name(const char *name)
{
    static const char ending[] = ".safetensors";
    size_t len = strlen(name);

    return name[0] != '.' && strchr(name, '/') == NULL && len <= FILE_NAME_MAX &&
           len >= sizeof(ending) && strcmp(name + len - (sizeof(ending) - 1), ending) == 0;
}

static enum status add_promise(struct index *index, const char *path, struct promise promise,
                               struct model_error *error)
{
    if (index->n == SAFETENSORS_TENSORS_MAX)
        return model_fail(error, STATUS_TOO_BIG, "%.300s: more than %u tensors", path,
                          SAFETENSORS_TENSORS_MAX);
    if (!is_plain_name(promise.file))
        return model_fail(error, STATUS_MALFORMED,
                          "%.300s: tensor '%.100s' is said to be in '%.100s'; expected the name of "
                          "a .safetensors file in the same folder",
                          path, promise.name, promise.file);
    if (index->n == index->cap) {
        uint32_t cap = index->cap == 0 ? 512 : index->cap * 2;
        void *at = mem_realloc(index->at, cap * sizeof(*index->at));

        if (at == NULL)
            return model_fail(error, STATUS_NO_MEMORY, "%.300s: no memory for its tensors", path);
        index->at = at;
        index->cap = cap;
    }
    index->at[index->n++] = promise;
    return STATUS_OK;
}

/* The object of weight_map. */
static enum status read_weight_map(struct tok_json *json, const char *path, struct arena *arena,
                                   struct index *index, struct model_error *error)
{
    struct tok_json_walk walk;
    struct tok_json_string key, file, last = {.len = 0};
    char *last_file = NULL;
    bool more;
    enum status status = tok_json_enter(json, '{', &walk);

    while (status == STATUS_OK) {
        char *name = NULL;

        status = tok_json_next_member(json, &walk, &key, &more);
        if (status != STATUS_OK || !more)
            break;
        status = tok_json_string(json, &file);
        if (status != STATUS_OK)
            break;
        status = st_name_copy(path, &key, arena, error, &name);
        /* Neighbours are mostly in the same file: share its name. */
        if (status == STATUS_OK && (last_file == NULL || last.len != file.len ||
                                    memcmp(last.raw, file.raw, file.len) != 0))
            status = st_name_copy(path, &file, arena, error, &last_file);
        last = file;
        if (status == STATUS_OK)
            status =
                add_promise(index, path, (struct promise){.file = last_file, .name = name}, error);
        if (status != STATUS_OK)
            return status;
    }
    return status == STATUS_OK ? STATUS_OK : st_json_fail(path, status, json->error, error);
}

static enum status read_index(const char *path, const char *text, size_t len, struct arena *arena,
                              struct index *index, struct model_error *error)
{
    struct tokenizer_error why = {""};
    struct tok_json json;
    struct tok_json_walk walk;
    struct tok_json_string key;
    bool more, found = false;
    enum status status;

    tok_json_init(&json, text, len, &why);
    status = tok_json_enter(&json, '{', &walk);
    while (status == STATUS_OK) {
        status = tok_json_next_member(&json, &walk, &key, &more);
        if (status != STATUS_OK || !more)
            break;
        if (!tok_json_string_is(&key, "weight_map")) {
            status = tok_json_skip(&json);
            continue;
        }
        if (found)
            return model_fail(error, STATUS_MALFORMED, "%.300s: weight_map is there twice", path);
        found = true;
        status = read_weight_map(&json, path, arena, index, error);
        if (status != STATUS_OK)
            return status;
    }
    if (status == STATUS_OK)
        status = tok_json_end(&json);
    if (status != STATUS_OK)
        return st_json_fail(path, status, &why, error);
    if (index->n == 0)
        return model_fail(error, STATUS_MALFORMED, "%.300s: has no tensor in a weight_map", path);
    qsort(index->at, index->n, sizeof(*index->at), compare_promises);
    return STATUS_OK;
}

/* What a shard has against what the index says of it: two lists sorted by name. */
static enum status compare_shard(const struct safetensors *st, uint32_t first,
                                 const struct promise *at, uint32_t n, struct model_error *error)
{
    const uint32_t n_there = st->list.n - first;
    const struct safetensors_tensor **there;
    enum status status = sort_names(st, first, error, &there);

    if (status != STATUS_OK)
        return status;
    for (uint32_t i = 0; status == STATUS_OK && (i < n || i < n_there); i++) {
        int order = i == n ? 1 : i == n_there ? -1 : strcmp(at[i].name, there[i]->name);

        if (order < 0)
            status = model_fail(error, STATUS_MALFORMED,
                                "%.200s: the index says that tensor '%.100s' is in %.100s, "
                                "but it is not",
                                SAFETENSORS_INDEX_NAME, at[i].name, at[0].file);
        else if (order > 0)
            status = model_fail(error, STATUS_MALFORMED,
                                "%.100s: has a tensor '%.100s' that %.200s does not name there",
                                at[0].file, there[i]->name, SAFETENSORS_INDEX_NAME);
    }
    mem_free(there);
    return status;
}

static enum status open_shard(struct safetensors *st, const char *folder, uint32_t file,
                              const struct promise *at, uint32_t n, struct model_error *error)
{
    struct st_source source = {.file = file};
    const uint32_t first = st->list.n;
    struct model_error why = {""};
    char path[MODEL_PATH_MAX];
    enum status status = model_path_join(folder, at[0].file, error, path);

    if (status != STATUS_OK)
        return status;
    st->files[file].name = at[0].file;
    status = model_map_open(path, &why, &st->files[file].map);
    if (status == STATUS_NOT_FOUND || status == STATUS_IO)
        return model_fail(error, status, "%.600s; %s names it%s", why.text, SAFETENSORS_INDEX_NAME,
                          status == STATUS_NOT_FOUND ? ": download it" : "");
    if (status != STATUS_OK)
        return model_fail(error, status, "%s", why.text);
    source.path = path;
    source.bytes = st->files[file].map.bytes;
    source.len = st->files[file].map.len;
    status = st_header_read(&source, st->arena, &st->list, error);
    return status == STATUS_OK ? compare_shard(st, first, at, n, error) : status;
}

/* All shards of a sorted index, in the order of their names. */
static enum status open_shards(struct safetensors *st, const char *folder,
                               const struct index *index, struct model_error *error)
{
    uint32_t n_files = 0, file = 0;
    enum status status;

    for (uint32_t i = 0; i < index->n; i++)
        n_files += i == 0 || strcmp(index->at[i].file, index->at[i - 1].file) != 0;
    if (n_files > SAFETENSORS_FILES_MAX)
        return model_fail(error, STATUS_TOO_BIG, "%.200s/%s: names %u files; at most %u are read",
                          folder, SAFETENSORS_INDEX_NAME, n_files, SAFETENSORS_FILES_MAX);
    status = add_files(st, n_files, error);
    for (uint32_t i = 0, n; status == STATUS_OK && i < index->n; i += n) {
        for (n = 1; i + n < index->n && strcmp(index->at[i + n].file, index->at[i].file) == 0; n++)
            ;
        status = open_shard(st, folder, file++, index->at + i, n, error);
    }
    return status;
}

static enum status open_index(struct safetensors *st, const char *folder, const char *path,
                              struct model_error *error)
{
    struct index index = {.n = 0};
    char *text;
    size_t len;
    enum status status = model_file_read(path, SAFETENSORS_INDEX_MAX, error, &text, &len);

    if (status != STATUS_OK)
        return status;
    status = read_index(path, text, len, st->arena, &index, error);
    mem_free(text);
    if (status == STATUS_OK)
        status = open_shards(st, folder, &index, error);
    if (status == STATUS_OK)
        status = finish(st, error);
    mem_free(index.at);
    return status;
}

/* --- opening --- */

/* A link that leads nowhere is there too: opening it says so. */
static bool is_named(const char *path)
{
    struct stat info;

    return lstat(path, &info) == 0;
}

static enum status open_folder(struct safetensors *st, const char *folder,
                               struct model_error *error)
{
    char path[MODEL_PATH_MAX];
    enum status status = model_path_join(folder, SAFETENSORS_ONE_NAME, error, path);

    if (status != STATUS_OK)
        return status;
    if (is_named(path))
        return open_one(st, path, error);
    status = model_path_join(folder, SAFETENSORS_INDEX_NAME, error, path);
    if (status != STATUS_OK)
        return status;
    if (is_named(path))
        return open_index(st, folder, path, error);
    return model_fail(error, STATUS_NOT_FOUND,
                      "%.300s: has neither %s nor %s; weights in other formats (.bin, .gguf) are "
                      "not read",
                      folder, SAFETENSORS_ONE_NAME, SAFETENSORS_INDEX_NAME);
}

enum status safetensors_open(const char *path, struct model_error *error, struct safetensors **out)
{
    struct safetensors *st;
    struct stat info;
    enum status status = create(error, &st);

    if (status != STATUS_OK)
        return status;
    if (stat(path, &info) == 0 && S_ISDIR(info.st_mode))
        status = open_folder(st, path, error);
    else
        status = open_one(st, path, error);
    if (status != STATUS_OK) {
        safetensors_close(st);
        return status;
    }
    *out = st;
    return STATUS_OK;
}

/* --- using it --- */

uint32_t safetensors_n(const struct safetensors *st)
{
    return st->list.n;
}

const struct safetensors_tensor *safetensors_at(const struct safetensors *st, uint32_t idx)
{
    CHECK(idx < st->list.n);
    return &st->list.at[idx];
}

uint64_t safetensors_bytes(const struct safetensors *st)
{
    return st->bytes;
}

const struct safetensors_tensor *safetensors_find(const struct safetensors *st, const char *name)
{
    uint32_t low = 0, high = st->list.n;

    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        int order = strcmp(name, st->by_name[mid]->name);

        if (order == 0)
            return st->by_name[mid];
        if (order < 0)
            high = mid;
        else
            low = mid + 1;
    }
    return NULL;
}

uint32_t safetensors_n_files(const struct safetensors *st)
{
    return st->n_files;
}

const char *safetensors_file_name(const struct safetensors *st, uint32_t file)
{
    CHECK(file < st->n_files);
    return st->files[file].name;
}

void safetensors_forget(const struct safetensors *st, const struct safetensors_tensor *tensor)
{
    const struct model_map *map = &st->files[tensor->file].map;
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t first = ((uintptr_t)tensor->data + page - 1) / page * page;
    uintptr_t end = ((uintptr_t)tensor->data + (uintptr_t)tensor->bytes) / page * page;

    if (map->bytes != NULL && end > first)
        (void)madvise((void *)first, end - first, MADV_DONTNEED);
}
