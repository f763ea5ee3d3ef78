/* Opening a tokenizer: map the file, check its form once from end to end, note where each part is,
 * then read the parts in the order in which they need one another. One thread, before anything uses
 * it. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "model/git_lfs.h"
#include "model/tok_error.h"
#include "model/tok_model.h"
#include "model/tok_unicode.h"
#include "model/tokenizer.h"

enum part {
    PART_VERSION,
    PART_ADDED,
    PART_NORMALIZER,
    PART_PRE,
    PART_POST,
    PART_DECODER,
    PART_MODEL,
    N_PARTS
};

static const char *const part_names[N_PARTS] = {
    [PART_VERSION] = "version",   [PART_ADDED] = "added_tokens",  [PART_NORMALIZER] = "normalizer",
    [PART_PRE] = "pre_tokenizer", [PART_POST] = "post_processor", [PART_DECODER] = "decoder",
    [PART_MODEL] = "model"};

struct parts {
    struct tok_json at[N_PARTS];
    bool has[N_PARTS]; /* there, and not null */
};

static enum status find_parts(struct tok_json json, struct parts *parts)
{
    struct tok_json_walk walk;
    enum status status = tok_json_enter(&json, '{', &walk);
    while (status == STATUS_OK) {
        struct tok_json_string key;
        bool more;
        status = tok_json_next_member(&json, &walk, &key, &more);
        if (status != STATUS_OK || !more) {
            break;
        }
        for (int i = 0; i < N_PARTS; i++) {
            if (tok_json_string_is(&key, part_names[i])) {
                if (parts->at[i].text != NULL) {
                    return tok_fail(json.error, STATUS_MALFORMED,
                                    "tokenizer.json: at byte %zu: the key \"%s\" is there twice",
                                    json.pos, part_names[i]);
                }
                struct tok_json null = parts->at[i] = json;
                parts->has[i] = !tok_json_null(&null);
            }
        }
        status = tok_json_skip(&json);
    }
    return status == STATUS_OK ? tok_json_end(&json) : status;
}

static enum status check_version(struct tok_json at)
{
    struct tok_json_string version;
    enum status status = tok_json_string(&at, &version);
    if (status == STATUS_OK && !tok_json_string_is(&version, "1.0")) {
        return tok_fail(at.error, STATUS_UNSUPPORTED,
                        "tokenizer.json: version \"%.*s\", expected \"1.0\"",
                        version.len > 40 ? 40 : (int)version.len, version.raw);
    }
    return status;
}

/* Old files do not say what their model is: an object of entries is BPE, an array is Unigram. */
static enum status model_kind(const struct tok_json *model, enum tok_model_kind *kind)
{
    char type[32] = "";
    size_t len;
    struct tok_json vocab;
    enum status status = tok_json_find_text(model, "type", type, sizeof type, &len);
    if (status == STATUS_NOT_FOUND) {
        status = tok_json_find(model, "vocab", &vocab);
        if (status == STATUS_OK) {
            strcpy(type, tok_json_peek(&vocab) == '[' ? "Unigram" : "BPE");
        }
    }
    if (status != STATUS_OK && status != STATUS_NOT_FOUND) {
        return status;
    }
    if (strcmp(type, "BPE") == 0) {
        *kind = TOK_MODEL_BPE;
    } else if (strcmp(type, "Unigram") == 0) {
        *kind = TOK_MODEL_UNIGRAM;
    } else {
        return tok_fail(model->error, STATUS_UNSUPPORTED,
                        "tokenizer.json: the model type is \"%s\", expected BPE or Unigram", type);
    }
    return STATUS_OK;
}

static enum status load_model(struct tokenizer *tok, const struct tok_json *model)
{
    enum status status = model_kind(model, &tok->kind);
    if (status != STATUS_OK) {
        return status;
    }
    return tok->kind == TOK_MODEL_BPE
               ? tok_bpe_load(&tok->bpe, &tok->vocab, model, tok->pre.byte_level)
               : tok_unigram_load(&tok->unigram, &tok->vocab, model, tok->pre.byte_level);
}

static enum status load_added(struct tokenizer *tok, const struct tok_json *value)
{
    struct tokenizer_workspace *work;
    enum status status = tokenizer_workspace_create(tok, &work);
    if (status == STATUS_OK) {
        status = tok_added_load(&tok->added, &tok->vocab, &tok->norm, work, value);
        tokenizer_workspace_destroy(work);
    }
    return status;
}

static enum status load_parts(struct tokenizer *tok, const struct parts *parts,
                              struct tokenizer_error *error)
{
    if (!parts->has[PART_MODEL]) {
        return tok_fail(error, STATUS_MALFORMED, "tokenizer.json: there is no \"model\"");
    }
    enum status status = STATUS_OK;
    if (parts->has[PART_VERSION]) {
        status = check_version(parts->at[PART_VERSION]);
    }
    if (status == STATUS_OK && parts->has[PART_PRE]) {
        status = tok_pre_load(&tok->pre, &parts->at[PART_PRE]);
    }
    if (status == STATUS_OK && parts->has[PART_NORMALIZER]) {
        status = tok_norm_load(&tok->norm, &parts->at[PART_NORMALIZER]);
    }
    status = status == STATUS_OK ? load_model(tok, &parts->at[PART_MODEL]) : status;
    if (status == STATUS_OK && parts->has[PART_ADDED]) {
        status = load_added(tok, &parts->at[PART_ADDED]);
    }
    if (status == STATUS_OK && parts->has[PART_POST]) {
        status = tok_post_load(&tok->post, &parts->at[PART_POST]);
    }
    tok->decoder.join = TOK_JOIN_SPACES;
    if (status == STATUS_OK && parts->has[PART_DECODER]) {
        status = tok_decoder_load(&tok->decoder, &parts->at[PART_DECODER]);
    }
    return status;
}

enum status tokenizer_open_memory(const char *json, size_t len, struct tokenizer_error *error,
                                  struct tokenizer **out)
{
    struct tokenizer_error unused;
    error = error != NULL ? error : &unused;
    error->text[0] = 0;
    if (len > TOKENIZER_FILE_MAX) {
        return tok_fail(error, STATUS_TOO_BIG, "tokenizer.json: %zu bytes, the limit is %zu", len,
                        TOKENIZER_FILE_MAX);
    }
    struct tok_json cursor;
    struct parts parts = {.has = {false}};
    tok_json_init(&cursor, json, len, error);
    enum status status = find_parts(cursor, &parts);
    if (status != STATUS_OK) {
        return status;
    }
    struct tokenizer *tok = mem_alloc_zero(1, sizeof *tok);
    status = tok != NULL ? load_parts(tok, &parts, error) : STATUS_NO_MEMORY;
    if (status != STATUS_OK) {
        tokenizer_close(tok);
        if (error->text[0] == 0) {
            (void)tok_fail(error, status, "tokenizer.json: %s", status_text(status));
        }
        return status;
    }
    *out = tok;
    return STATUS_OK;
}

static enum status open_file(const char *path, struct tokenizer_error *error, int *out,
                             size_t *out_len)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        int why = errno;
        char target[100];
        ssize_t n = why == ENOENT ? readlink(path, target, sizeof target - 1) : -1;
        if (n > 0) {
            target[n] = '\0';
            return tok_fail(error, STATUS_IO, "%s: is a link to %s, which is not there", path,
                            target);
        }
        return tok_fail(error, why == ENOENT ? STATUS_NOT_FOUND : STATUS_IO, "%s: %s", path,
                        strerror(why));
    }
    struct stat info;
    if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode) || info.st_size == 0 ||
        (uint64_t)info.st_size > TOKENIZER_FILE_MAX) {
        close(fd);
        return tok_fail(error, STATUS_MALFORMED,
                        "%s: expected a file of 1 to %zu bytes, found none", path,
                        TOKENIZER_FILE_MAX);
    }
    *out = fd;
    *out_len = (size_t)info.st_size;
    return STATUS_OK;
}

enum status tokenizer_open(const char *path, struct tokenizer_error *error, struct tokenizer **out)
{
    char file[4096];
    struct stat info;
    bool folder = stat(path, &info) == 0 && S_ISDIR(info.st_mode);
    int n = snprintf(file, sizeof file, folder ? "%s/tokenizer.json" : "%s", path);
    if (n < 0 || (size_t)n >= sizeof file) {
        return tok_fail(error, STATUS_TOO_BIG, "the path of the tokenizer is too long");
    }
    int fd = -1;
    size_t len = 0;
    enum status status = open_file(file, error, &fd, &len);
    if (status != STATUS_OK) {
        return status;
    }
    void *bytes = mmap(NULL, len, PROT_READ, MAP_PRIVATE, fd, 0);
    int why = errno;
    close(fd);
    if (bytes == MAP_FAILED) {
        return tok_fail(error, STATUS_IO, "%s: %s", file, strerror(why));
    }
    status = git_lfs_is_pointer(bytes, len)
                 ? tok_fail(error, STATUS_MALFORMED, "%s: " GIT_LFS_ADVICE, file)
                 : tokenizer_open_memory(bytes, len, error, out);
    munmap(bytes, len);
    return status;
}

enum status tokenizer_open_bytes(struct tokenizer **out)
{
    struct tokenizer *tok = mem_alloc_zero(1, sizeof *tok);
    if (tok == NULL) {
        return STATUS_NO_MEMORY;
    }
    tok->kind = TOK_MODEL_BYTES;
    tok->decoder.join = TOK_JOIN_BYTE_LEVEL;
    enum status status = tok_vocab_init(&tok->vocab, true, 256);
    for (uint32_t id = 0; id < 256 && status == STATUS_OK; id++) {
        char text[4];
        unsigned n = tok_utf8_put(tok_byte_char((uint8_t)id), text);
        status = tok_vocab_add(&tok->vocab, id, text, n, false);
    }
    if (status != STATUS_OK) {
        tokenizer_close(tok);
        return status;
    }
    *out = tok;
    return STATUS_OK;
}
