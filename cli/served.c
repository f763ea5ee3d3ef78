/* Finds a model and holds it against a fleet's options. See served.h. */
#include "cli/served.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "cli/chat_template.h"
#include "cli/machine.h"
#include "kernels/device.h"
#include "model/model.h"
#include "model/safetensors.h"
#include "model/tensors.h"
#include "model/tokenizer.h"

#define DEMO_NAME "demo"
#define TABLES_MAX 16

/* ---- where it is ---- */

static bool is_checkpoint(const char *folder)
{
    char path[PATH_MAX + 16];

    snprintf(path, sizeof(path), "%s/config.json", folder);
    return access(path, F_OK) == 0;
}

/* The model that comes with the program: beside it, where it was built; below share/, where it was
 * installed. */
static enum status find_demo(struct served *served, char *why)
{
    static const char *const places[] = {DEMO_NAME, "../share/baton/" DEMO_NAME};
    char binary[PATH_MAX - 64], path[PATH_MAX];
    const ssize_t len = readlink("/proc/self/exe", binary, sizeof(binary) - 1);
    char *slash;

    binary[len > 0 ? len : 0] = '\0';
    slash = strrchr(binary, '/');
    if (!slash)
        return fleet_refuse(why,
                            "model: demo: this program's own folder is not known: give the path");
    *slash = '\0';
    for (size_t i = 0; i < 2; i++) {
        snprintf(path, sizeof(path), "%s/%s", binary, places[i]);
        if (!is_checkpoint(path))
            continue;
        if (!realpath(path, served->path))
            return fleet_refuse(why, "model: demo: %s: %s", path, strerror(errno));
        return STATUS_OK;
    }
    return fleet_refuse(
        why,
        "model: demo: the model that comes with the program is neither in %s/%s nor in "
        "%s/%s: install it there, or give the path of a checkpoint",
        binary, places[0], binary, places[1]);
}

/* A path in the file is relative to the file, elsewhere to the working directory; whole, as a
 * sentence should show it. */
static void whole_path(const struct fleet *fleet, const char *word, char *path, size_t room)
{
    const char *slash = strrchr(fleet->path, '/');
    const bool beside = slash && cfg_origin(fleet->cfg, "model") == CFG_FROM_FILE;
    char folder[PATH_MAX] = "";
    char *here = NULL;

    if (word[0] != '/' && beside)
        snprintf(folder, sizeof(folder), "%.*s", (int)(slash - fleet->path + 1), fleet->path);
    if (word[0] != '/' && folder[0] != '/')
        here = getcwd(NULL, 0);
    snprintf(path, room, "%s%s%s%s", here ? here : "", here ? "/" : "", folder, word);
    free(here); /* the C library's */
}

static enum status find_folder(struct served *served, const struct fleet *fleet, const char *word,
                               char *why)
{
    const char *const place = cfg_origin_text(fleet->cfg, "model");
    char path[3 * PATH_MAX];
    struct stat at;

    whole_path(fleet, word, path, sizeof(path));
    if (!realpath(path, served->path) || stat(served->path, &at) != 0)
        return fleet_refuse(
            why,
            "%s: model: '%s' is not there (%.1000s: %s): expected oracle, demo, or the "
            "folder of a checkpoint with its config.json",
            place, word, path, strerror(errno));
    if (!S_ISDIR(at.st_mode))
        return fleet_refuse(
            why,
            "%s: model: %.1000s is a file: expected the folder of a checkpoint in "
            "Hugging Face's format, with config.json, *.safetensors and tokenizer.json",
            place, path);
    if (!is_checkpoint(served->path))
        return fleet_refuse(
            why,
            "%s: model: %.1000s has no config.json: expected the folder of a checkpoint "
            "in Hugging Face's format",
            place, path);
    return STATUS_OK;
}

/* The last part of a path: its name and, in *len, how long that is. */
static const char *last_part(const char *path, size_t *len)
{
    size_t end = strlen(path), begin;

    while (end > 1 && path[end - 1] == '/')
        end--;
    for (begin = end; begin > 0 && path[begin - 1] != '/'; begin--)
        ;
    *len = end - begin;
    return path + begin;
}

/* What clients call it: as told, else the last part of the path as it was given. A link is called
 * by its own name; "." and ".." say nothing, there it is the folder's. */
static enum status choose_name(struct served *served, const struct fleet *fleet, char *why)
{
    const char *name = cfg_str(fleet->cfg, "model_name");
    size_t len = strlen(name);

    if (len == 0)
        name = last_part(cfg_str(fleet->cfg, "model"), &len);
    if (len == 0 || (len <= 2 && strspn(name, ".") >= len))
        name = last_part(served->path, &len);
    if (len > WIRE_NAME_MAX)
        return fleet_refuse(why,
                            "the folder '%.*s' has too long a name for clients: set model_name",
                            len < 200 ? (int)len : 200, name);
    snprintf(served->name, sizeof(served->name), "%.*s", (int)len, name);
    return STATUS_OK;
}

/* ---- its shape ---- */

static uint32_t number(const struct fleet *fleet, const char *path)
{
    return (uint32_t)cfg_int(fleet->cfg, path); /* the table's ranges fit */
}

static enum status shape_oracle(struct served *served, const struct fleet *fleet, char *why)
{
    struct kvgeom geom = {.n_layers = number(fleet, "oracle.layers"),
                          .n_kv_heads = number(fleet, "oracle.kv_heads"),
                          .head_dim = number(fleet, "oracle.head_dim"),
                          .elem_bytes = number(fleet, "oracle.elem_bytes"),
                          .group_layers = 1};

    if (!kvgeom_valid(&geom))
        return fleet_refuse(
            why,
            "oracle: layers %u, kv_heads %u, head_dim %u and elem_bytes %u are no layout: "
            "elem_bytes must be 1, 2 or 4, and a block of 64 tokens less than 2 GiB",
            geom.n_layers, geom.n_kv_heads, geom.head_dim, geom.elem_bytes);
    geom.group_layers = kvgeom_choose_group(&geom);
    served->geom = geom;
    served->vocab = ORACLE_VOCAB;
    return STATUS_OK;
}

static enum status shape_checkpoint(struct served *served, char *why)
{
    struct model_error error = {""};
    enum status status = model_config_open(served->path, &error, &served->config);

    if (status == STATUS_OK)
        status = model_generation_open(served->path, &served->config, &error, &served->generation);
    if (status != STATUS_OK) {
        (void)fleet_refuse(why, "%s", error.text[0] ? error.text : status_text(status));
        return status;
    }
    served->geom = model_kvgeom(&served->config, served->dtype);
    served->vocab = served->config.vocab;
    if (!kvgeom_valid(&served->geom))
        return fleet_refuse(why, "%s: a KV block of 64 tokens of this model passes 2 GiB",
                            served->path);
    return STATUS_OK;
}

/* ---- what options mean together ---- */

/* The default gives way to what the model was made for; a wish does not. */
static enum status choose_len_max(struct served *served, const struct fleet *fleet, char *why)
{
    const uint32_t len_max = number(fleet, "engine.len_max");

    served->len_max = len_max;
    if (served->is_oracle || len_max <= served->config.positions_max)
        return STATUS_OK;
    if (cfg_origin(fleet->cfg, "engine.len_max") != CFG_FROM_DEFAULT)
        return fleet_refuse(
            why,
            "engine.len_max is %u (%s), but model '%s' was made for sequences of at "
            "most %u tokens: lower it, or leave it out",
            len_max, cfg_origin_text(fleet->cfg, "engine.len_max"), served->name,
            served->config.positions_max);
    served->len_max = served->config.positions_max;
    return STATUS_OK;
}

/* kv.blocks if it is given, else as many as kv.memory holds. */
static enum status choose_blocks(struct served *served, const struct fleet *fleet, char *why)
{
    const uint64_t block_bytes = kvgeom_block_bytes(&served->geom);
    const uint64_t longest = kvgeom_blocks(served->len_max);
    const uint64_t needed = longest < 2 ? 2 : longest;
    const uint64_t most = longest * number(fleet, "engine.seqs_max");
    const bool is_default = cfg_origin(fleet->cfg, "kv.memory") == CFG_FROM_DEFAULT;
    const char *option = cfg_int(fleet->cfg, "kv.blocks") > 0 ? "kv.blocks" : "kv.memory";
    uint64_t blocks = (uint64_t)cfg_int(fleet->cfg, "kv.blocks");
    char text[SERVED_BYTES_TEXT];

    if (blocks == 0) {
        blocks = cfg_size(fleet->cfg, "kv.memory") / block_bytes;
        if (is_default && blocks > most)
            blocks = most;
        if (is_default && blocks < needed)
            blocks = needed;
    }
    if (blocks < needed)
        return fleet_refuse(
            why,
            "%s (%s) gives %llu blocks, but one sequence of engine.len_max %u tokens "
            "needs %llu blocks of 64, %s: raise the one or lower the other",
            option, cfg_origin_text(fleet->cfg, option), (unsigned long long)blocks,
            served->len_max, (unsigned long long)needed, served_bytes(needed * block_bytes, text));
    served->n_blocks = blocks < UINT32_MAX ? (uint32_t)blocks : UINT32_MAX;
    return STATUS_OK;
}

/* ---- life ---- */

static enum status served_fill(struct served *served, const struct fleet *fleet, char *why)
{
    static const char *const tables[] = {"auto", "scalar", "avx2", "avx512", "avx512bf16", "neon"};
    const char *word = cfg_str(fleet->cfg, "model");
    enum status status = STATUS_OK;

    served->table = tables[cfg_enum(fleet->cfg, "engine.table")];
    served->is_oracle = strcmp(word, "oracle") == 0;
    served->dtype = cfg_enum(fleet->cfg, "engine.dtype") == OPTIONS_BFLOAT16 ? OP_BF16 : OP_F32;
    if (!served->is_oracle && strcmp(word, DEMO_NAME) == 0)
        status = find_demo(served, why);
    else if (!served->is_oracle)
        status = find_folder(served, fleet, word, why);
    if (status == STATUS_OK)
        status = choose_name(served, fleet, why);
    if (status == STATUS_OK)
        status =
            served->is_oracle ? shape_oracle(served, fleet, why) : shape_checkpoint(served, why);
    if (status == STATUS_OK)
        status = choose_len_max(served, fleet, why);
    if (status == STATUS_OK)
        status = choose_blocks(served, fleet, why);
    return status;
}

enum status served_open(const struct fleet *fleet, struct served **out, char why[FLEET_WHY_MAX])
{
    struct served *served = mem_alloc_zero(1, sizeof(*served));
    enum status status;

    snprintf(why, FLEET_WHY_MAX, "out of memory");
    if (!served)
        return STATUS_NO_MEMORY;
    status = served_fill(served, fleet, why);
    if (status != STATUS_OK) {
        mem_free(served);
        return status;
    }
    *out = served;
    return STATUS_OK;
}

void served_close(struct served *served)
{
    mem_free(served);
}

/* ---- looking at the rest ---- */

static enum status check_weights(const struct served *served, char *why)
{
    struct model_error error = {""};
    struct safetensors *st = NULL;
    enum status status = safetensors_open(served->path, &error, &st);

    if (status == STATUS_OK)
        status = model_tensors_check(&served->config, st, &error);
    safetensors_close(st);
    if (status != STATUS_OK)
        (void)fleet_refuse(why, "%s", error.text[0] ? error.text : status_text(status));
    return status;
}

/* Elements of one more tensor. */
static enum status add_elements(void *ctx, const struct model_tensor *tensor)
{
    uint64_t *sum = ctx;

    *sum += tensor->shape[0] * (tensor->n_dims == 2 ? tensor->shape[1] : 1);
    return STATUS_OK;
}

/* Whether this machine can compute as engine.table says. */
static enum status check_table(const struct served *served, char *why)
{
    const char *names[TABLES_MAX];
    char list[200] = "auto";
    size_t n = device_tables(names, TABLES_MAX), len = strlen(list);

    if (strcmp(served->table, "auto") == 0)
        return STATUS_OK;
    for (size_t i = 0; i < n && i < TABLES_MAX; i++) {
        if (strcmp(served->table, names[i]) == 0)
            return STATUS_OK;
        len += (size_t)snprintf(list + len, sizeof(list) - len, ", %.20s", names[i]);
        if (len >= sizeof(list))
            break;
    }
    return fleet_refuse(
        why, "engine.table is %s, which this machine or this build has not: there are %s",
        served->table, list);
}

static enum status check_tokenizer(const struct served *served, char *why)
{
    char path[PATH_MAX + 16];
    struct tokenizer_error error = {""};
    struct tokenizer *tok;
    struct stat at;
    enum status status;

    snprintf(path, sizeof(path), "%s/tokenizer.json", served->path);
    if (lstat(path, &at) != 0)
        return fleet_refuse(why,
                            "%s: %s: a router turns text into tokens with it (baton make-model "
                            "--tokenizer FOLDER copies another checkpoint's)",
                            path, strerror(errno));
    status = tokenizer_open(path, &error, &tok);
    if (status != STATUS_OK)
        return fleet_refuse(why, "%s: %s", served->path,
                            error.text[0] ? error.text : status_text(status));
    tokenizer_close(tok);
    return STATUS_OK;
}

/* None is good: such a model takes texts, not chats. */
static enum status check_template(const struct served *served, char *why)
{
    char sentence[CHAT_TEMPLATE_WHY_MAX];
    struct template *tmpl = NULL;
    struct chat_template chat;
    enum status status = chat_template_read(served->path, &chat, sentence);

    if (status != STATUS_OK)
        return fleet_refuse(why, "%s", sentence);
    if (buf_len(&chat.source) > 0)
        status = chat_template_compile(&chat.source, &tmpl, sentence);
    if (status != STATUS_OK)
        status = fleet_refuse(why, "%.600s: %.500s", served->path, sentence);
    template_destroy(tmpl);
    chat_template_fini(&chat);
    return status;
}

static enum status check_memory(const struct served *served, uint32_t n_workers, char *why)
{
    const uint64_t pool = (uint64_t)served->n_blocks * kvgeom_block_bytes(&served->geom);
    const uint64_t have = machine_memory();
    char texts[3][SERVED_BYTES_TEXT];
    uint64_t weights = 0;
    enum status status = model_tensors_expected(&served->config, add_elements, &weights);

    if (status != STATUS_OK)
        return status;
    weights *= served->dtype == OP_BF16 ? 2 : 4;
    if (weights + pool <= have / n_workers)
        return STATUS_OK;
    return fleet_refuse(
        why,
        "model '%s' does not fit: %u node%s with %s of weights and a KV pool of %s "
        "each, and this machine has %s of memory: lower kv.memory or engine.len_max, or "
        "start fewer nodes here",
        served->name, n_workers, n_workers == 1 ? "" : "s", served_bytes(weights, texts[0]),
        served_bytes(pool, texts[1]), served_bytes(have, texts[2]));
}

enum status served_check(const struct served *served, uint32_t n_workers, uint32_t n_routers,
                         char why[FLEET_WHY_MAX])
{
    enum status status = STATUS_OK;

    if (served->is_oracle)
        return STATUS_OK;
    if (n_workers > 0)
        status = check_table(served, why);
    if (status == STATUS_OK && n_workers > 0)
        status = check_weights(served, why);
    if (status == STATUS_OK && n_routers > 0)
        status = check_tokenizer(served, why);
    if (status == STATUS_OK && n_routers > 0)
        status = check_template(served, why);
    if (status == STATUS_OK && n_workers > 0)
        status = check_memory(served, n_workers, why);
    return status;
}

/* ---- what the parts below want ---- */

struct engine_cfg served_engine_cfg(const struct served *served, const struct fleet *fleet)
{
    return (struct engine_cfg){.geom = served->geom,
                               .n_blocks = served->n_blocks,
                               .seqs_max = number(fleet, "engine.seqs_max"),
                               .batch_max = number(fleet, "engine.batch_max"),
                               .chunk_max = number(fleet, "engine.chunk_max"),
                               .len_max = served->len_max,
                               .chunk_ms = (uint32_t)cfg_ms(fleet->cfg, "engine.chunk")};
}

struct oracle_cfg served_oracle_cfg(const struct served *served, const struct fleet *fleet)
{
    return (struct oracle_cfg){.geom = served->geom,
                               .n_blocks = served->n_blocks,
                               .model_seed = (uint64_t)cfg_int(fleet->cfg, "oracle.seed"),
                               .token_us = number(fleet, "oracle.token_us"),
                               .row_us = number(fleet, "oracle.row_us"),
                               .step_us = number(fleet, "oracle.step_us"),
                               .poison_tails = cfg_bool(fleet->cfg, "oracle.poison_tails")};
}

const char *served_dtype_name(enum op_dtype dtype)
{
    return dtype == OP_BF16 ? "bf16" : "f32";
}

const char *served_bytes(uint64_t bytes, char text[SERVED_BYTES_TEXT])
{
    static const char *const units[] = {"kB", "MB", "GB", "TB", "PB"};
    double value = (double)bytes / 1e3;
    size_t unit = 0;

    for (; value >= 1000 && unit + 1 < sizeof(units) / sizeof(units[0]); unit++)
        value /= 1e3;
    snprintf(text, SERVED_BYTES_TEXT, "%.*f %s",
             value < 10    ? 2
             : value < 100 ? 1
                           : 0,
             value, units[unit]);
    return text;
}
