/* Life of a config, reading it, and the two short sources: environment and command line. */
#include "base/cfg.h"

#include <stdio.h>
#include <string.h>

#include "base/cfg_values.h"
#include "base/check.h"
#include "base/mem.h"

#define CFG_ARENA_CHUNK_BYTES (32 * 1024)
/* A file of 1 MiB: its texts once, a place for each value, and items at their defaults. */
#define CFG_ARENA_LIMIT_BYTES (64 * 1024 * 1024)

/* ---- life ---- */

/* A path is words of [a-z0-9_] joined by single dots. */
static bool is_path(const char *path)
{
    size_t len = strlen(path);
    return len > 0 && len < CFG_PATH_MAX && strstr(path, "..") == NULL && path[0] != '.' &&
           path[len - 1] != '.' &&
           path[strspn(path, "abcdefghijklmnopqrstuvwxyz0123456789_.")] == '\0';
}

/* Our own table: no two options with one name, also not in the environment. */
static void table_check(const struct cfg_table *table)
{
    CHECK(table->n_options <= CFG_OPTIONS_MAX);
    for (size_t i = 0; i < table->n_options; i++) {
        const struct cfg_option *option = &table->options[i];
        CHECK_MSG(is_path(option->path), option->path);
        CHECK_MSG(option->min <= option->max && option->help != NULL, option->path);
        CHECK_MSG((option->type == CFG_ENUM) == (option->names != NULL), option->path);
        char name[CFG_ENV_NAME_MAX];
        cfg_env_name("", option->path, name);
        for (size_t k = 0; k < i; k++) {
            char other[CFG_ENV_NAME_MAX];
            cfg_env_name("", table->options[k].path, other);
            CHECK_MSG(strcmp(name, other) != 0, option->path);
        }
    }
}

enum status cfg_create(const struct cfg_schema *schema, struct cfg **out)
{
    table_check(&schema->table);
    for (size_t i = 0; i < schema->n_sections; i++) {
        table_check(&schema->sections[i].table);
    }
    struct arena *arena;
    enum status status = arena_create(CFG_ARENA_CHUNK_BYTES, CFG_ARENA_LIMIT_BYTES, &arena);
    if (status != STATUS_OK) {
        return status;
    }
    struct cfg *cfg = arena_alloc_zero(arena, 1, sizeof(*cfg));
    if (cfg == NULL) {
        goto fail_arena;
    }
    *cfg = (struct cfg){
        .schema = schema, .table = &schema->table, .arena = arena, .origin_text = "default"};
    cfg->values = arena_alloc_zero(arena, schema->table.n_options, sizeof(*cfg->values));
    cfg->sections = arena_alloc_zero(arena, schema->n_sections, sizeof(*cfg->sections));
    if (cfg->values == NULL || cfg->sections == NULL || cfg_defaults(cfg) != STATUS_OK) {
        goto fail_arena;
    }
    *out = cfg;
    return STATUS_OK;

fail_arena:
    arena_destroy(arena);
    return STATUS_NO_MEMORY;
}

void cfg_destroy(struct cfg *cfg)
{
    if (cfg != NULL) {
        arena_destroy(cfg->arena); /* cfg itself lies there */
    }
}

/* ---- reading ---- */

size_t cfg_option_find(const struct cfg_table *table, const char *path)
{
    size_t idx = 0;
    while (idx < table->n_options && strcmp(table->options[idx].path, path) != 0) {
        idx++;
    }
    return idx;
}

static const struct cfg_value *value_of(const struct cfg *cfg, const char *path, enum cfg_type type)
{
    size_t idx = cfg_option_find(cfg->table, path);
    CHECK_MSG(idx < cfg->table->n_options, path);
    CHECK_MSG(cfg->table->options[idx].type == type, path);
    CHECK_MSG(cfg->values[idx].is_set, path);
    return &cfg->values[idx];
}

bool cfg_bool(const struct cfg *cfg, const char *path)
{
    return value_of(cfg, path, CFG_BOOL)->as.flag;
}

int64_t cfg_int(const struct cfg *cfg, const char *path)
{
    return value_of(cfg, path, CFG_INT)->as.number;
}

uint64_t cfg_size(const struct cfg *cfg, const char *path)
{
    return (uint64_t)value_of(cfg, path, CFG_SIZE)->as.number;
}

uint64_t cfg_ms(const struct cfg *cfg, const char *path)
{
    return (uint64_t)value_of(cfg, path, CFG_DURATION)->as.number;
}

double cfg_float(const struct cfg *cfg, const char *path)
{
    return value_of(cfg, path, CFG_FLOAT)->as.real;
}

const char *cfg_str(const struct cfg *cfg, const char *path)
{
    return value_of(cfg, path, CFG_STRING)->text;
}

int cfg_enum(const struct cfg *cfg, const char *path)
{
    return (int)value_of(cfg, path, CFG_ENUM)->as.number;
}

size_t cfg_list_count(const struct cfg *cfg, const char *path)
{
    return value_of(cfg, path, CFG_LIST)->n_list;
}

const char *cfg_list_at(const struct cfg *cfg, const char *path, size_t idx)
{
    const struct cfg_value *value = value_of(cfg, path, CFG_LIST);
    CHECK_MSG(idx < value->n_list, path);
    return value->list[idx];
}

static const struct cfg_items *items_of(const struct cfg *cfg, const char *section)
{
    CHECK_MSG(cfg->schema != NULL, "an item has no sections");
    for (size_t i = 0; i < cfg->schema->n_sections; i++) {
        if (strcmp(cfg->schema->sections[i].path, section) == 0) {
            return &cfg->sections[i];
        }
    }
    CHECK_MSG(false, section);
    return NULL;
}

size_t cfg_items(const struct cfg *cfg, const char *section)
{
    return items_of(cfg, section)->n;
}

const struct cfg *cfg_item(const struct cfg *cfg, const char *section, size_t idx)
{
    const struct cfg_items *items = items_of(cfg, section);
    CHECK_MSG(idx < items->n, section);
    return items->items[idx];
}

enum cfg_origin cfg_origin(const struct cfg *cfg, const char *path)
{
    if (path[0] == '\0') {
        return cfg->schema == NULL ? CFG_FROM_FILE : CFG_FROM_DEFAULT;
    }
    size_t idx = cfg_option_find(cfg->table, path);
    CHECK_MSG(idx < cfg->table->n_options, path);
    return cfg->values[idx].origin;
}

const char *cfg_origin_text(const struct cfg *cfg, const char *path)
{
    if (path[0] == '\0') {
        return cfg->origin_text;
    }
    size_t idx = cfg_option_find(cfg->table, path);
    CHECK_MSG(idx < cfg->table->n_options, path);
    return cfg->values[idx].is_set ? cfg->values[idx].origin_text : "not given";
}

static enum status check_required(const struct cfg *cfg, struct cfg_error *error)
{
    for (size_t i = 0; i < cfg->table->n_options; i++) {
        if (!cfg->values[i].is_set) {
            char expected[256];
            cfg_expected(&cfg->table->options[i], expected, sizeof(expected));
            return cfg_fail(error, STATUS_INVALID, "%s: %s is missing: expected %s",
                            cfg->schema == NULL ? cfg->origin_text : "configuration",
                            cfg->table->options[i].path, expected);
        }
    }
    return STATUS_OK;
}

enum status cfg_finish(const struct cfg *cfg, struct cfg_error *error)
{
    enum status status = check_required(cfg, error);
    for (size_t i = 0; i < cfg->schema->n_sections && status == STATUS_OK; i++) {
        const struct cfg_items *items = &cfg->sections[i];
        for (size_t k = 0; k < items->n && status == STATUS_OK; k++) {
            status = check_required(items->items[k], error);
        }
    }
    return status;
}

/* ---- the environment ---- */

void cfg_env_name(const char *prefix, const char *path, char out[CFG_ENV_NAME_MAX])
{
    int len = snprintf(out, CFG_ENV_NAME_MAX, "%s%s", prefix, path);
    CHECK_MSG(len > 0 && len < CFG_ENV_NAME_MAX, path);
    for (char *at = out + strlen(prefix); *at != '\0'; at++) {
        if (*at == '.') {
            *at = '_';
        } else if (*at >= 'a' && *at <= 'z') {
            *at = (char)(*at - 'a' + 'A');
        }
    }
}

/* True if the variable with our prefix is known not to be an option. */
static bool is_other(const struct cfg_schema *schema, const char *name, size_t name_len)
{
    for (const char *const *other = schema->env_others; other != NULL && *other != NULL; other++) {
        if (strlen(*other) == name_len && memcmp(*other, name, name_len) == 0) {
            return true;
        }
    }
    return false;
}

static enum status load_variable(struct cfg *cfg, const char *variable, size_t name_len,
                                 struct cfg_error *error)
{
    const struct cfg_schema *schema = cfg->schema;
    char name[CFG_ENV_NAME_MAX];
    for (size_t i = 0; i < schema->table.n_options; i++) {
        cfg_env_name(schema->env_prefix, schema->table.options[i].path, name);
        if (strlen(name) == name_len && memcmp(name, variable, name_len) == 0) {
            struct cfg_place place = {CFG_FROM_ENV, name};
            return cfg_set_text(cfg, i, variable + name_len + 1, &place, error);
        }
    }
    char word[CFG_PATH_MAX];
    size_t prefix_len = strlen(schema->env_prefix);
    snprintf(word, sizeof(word), "%.*s", (int)(name_len - prefix_len), variable + prefix_len);
    for (char *at = word; *at != '\0'; at++) {
        if (*at >= 'A' && *at <= 'Z') {
            *at = (char)(*at - 'A' + 'a');
        }
    }
    const char *near = cfg_nearest(&schema->table, word);
    if (near != NULL) {
        cfg_env_name(schema->env_prefix, near, name);
    }
    return cfg_fail(error, STATUS_INVALID, "environment: %.*s is no option%s%s%s", (int)name_len,
                    variable, near != NULL ? "; did you mean " : "", near != NULL ? name : "",
                    near != NULL ? "?" : "");
}

enum status cfg_load_env(struct cfg *cfg, char *const *environment, struct cfg_error *error)
{
    const char *prefix = cfg->schema->env_prefix;
    enum status status = STATUS_OK;
    for (; *environment != NULL && status == STATUS_OK; environment++) {
        const char *end = strchr(*environment, '=');
        size_t name_len = end != NULL ? (size_t)(end - *environment) : 0;
        if (strncmp(*environment, prefix, strlen(prefix)) == 0 && name_len > strlen(prefix) &&
            !is_other(cfg->schema, *environment, name_len)) {
            status = load_variable(cfg, *environment, name_len, error);
        }
    }
    return status;
}

/* ---- the command line ---- */

/* One argument taken apart. */
struct arg {
    char path[CFG_PATH_MAX]; /* dashes are underscores */
    const char *value;       /* behind the '=', or NULL */
};

static void arg_split(const char *text, struct arg *arg)
{
    size_t len = strcspn(text, "=");
    arg->value = text[len] == '=' ? text + len + 1 : NULL;
    snprintf(arg->path, sizeof(arg->path), "%.*s", (int)(len < CFG_PATH_MAX ? len : CFG_PATH_MAX),
             text);
    for (char *at = arg->path; *at != '\0'; at++) {
        if (*at == '-') {
            *at = '_';
        }
    }
}

static enum status fail_arg(const struct cfg *cfg, const char *text, const char *path,
                            struct cfg_error *error)
{
    char quoted[CFG_QUOTED_MAX];
    const char *near = cfg_nearest(cfg->table, path);
    return cfg_fail(error, STATUS_INVALID, "command line: %s is no option%s%s%s",
                    cfg_quote(text, quoted), near != NULL ? "; did you mean --" : "",
                    near != NULL ? near : "", near != NULL ? "?" : "");
}

/* Takes args[*at], and the next one where that is its value. AGAIN if it is not ours. */
static enum status load_arg(struct cfg *cfg, int n_args, char *const *args, int *at,
                            struct cfg_error *error)
{
    static const struct cfg_place place = {CFG_FROM_ARGS, "command line"};
    const char *text = args[*at] + 2;
    struct arg arg;
    bool is_set = strcmp(text, "set") == 0 || strncmp(text, "set=", 4) == 0;
    if (is_set && text[3] == '\0' && *at + 1 == n_args) {
        return cfg_fail(error, STATUS_INVALID, "command line: --set: expected path=value");
    }
    if (is_set) {
        text = text[3] == '=' ? text + 4 : args[++*at];
    }
    arg_split(text, &arg);
    if (is_set && arg.value == NULL) {
        char quoted[CFG_QUOTED_MAX];
        return cfg_fail(error, STATUS_INVALID, "command line: --set: expected path=value, found %s",
                        cfg_quote(text, quoted));
    }
    size_t idx = cfg_option_find(cfg->table, arg.path);
    if (idx == cfg->table->n_options) {
        bool is_ours = is_set || strchr(arg.path, '.') != NULL;
        return is_ours ? fail_arg(cfg, text, arg.path, error) : STATUS_AGAIN;
    }
    if (arg.value == NULL && cfg->table->options[idx].type == CFG_BOOL) {
        arg.value = "true";
    }
    if (arg.value == NULL && *at + 1 < n_args) {
        arg.value = args[++*at];
    }
    return cfg_set_text(cfg, idx, arg.value != NULL ? arg.value : "", &place, error);
}

enum status cfg_load_args(struct cfg *cfg, int n_args, char *const *args, char **rest, int *n_rest,
                          struct cfg_error *error)
{
    int n_left = 0;
    bool is_over = false;
    for (int i = 0; i < n_args; i++) {
        enum status status = STATUS_AGAIN;
        if (!is_over && strcmp(args[i], "--") == 0) {
            is_over = true;
            continue;
        }
        if (!is_over && strncmp(args[i], "--", 2) == 0) {
            status = load_arg(cfg, n_args, args, &i, error);
        }
        if (status == STATUS_AGAIN) {
            rest[n_left++] = args[i];
        } else if (status != STATUS_OK) {
            return status;
        }
    }
    *n_rest = n_left;
    return STATUS_OK;
}

/* ---- the nearest key ---- */

/* Levenshtein's distance, both words cut to CFG_PATH_MAX; dashes count as underscores. */
static size_t edit_distance(const char *a, const char *b)
{
    size_t row[CFG_PATH_MAX + 1];
    size_t b_len = strnlen(b, CFG_PATH_MAX);
    for (size_t k = 0; k <= b_len; k++) {
        row[k] = k;
    }
    for (size_t i = 0; i < CFG_PATH_MAX && a[i] != '\0'; i++) {
        size_t diagonal = row[0];
        char c = a[i] == '-' ? '_' : a[i];
        row[0] = i + 1;
        for (size_t k = 0; k < b_len; k++) {
            size_t best = diagonal + (c != b[k]);
            diagonal = row[k + 1];
            best = row[k] + 1 < best ? row[k] + 1 : best;
            row[k + 1] = diagonal + 1 < best ? diagonal + 1 : best;
        }
    }
    return row[b_len];
}

const char *cfg_nearest(const struct cfg_table *table, const char *word)
{
    const char *nearest = NULL;
    size_t best = strlen(word) / 3 + 2; /* farther is not a misspelling */
    for (size_t i = 0; i < table->n_options; i++) {
        const char *path = table->options[i].path;
        const char *dot = strrchr(path, '.');
        size_t distance = edit_distance(word, path);
        size_t without_section = dot != NULL ? edit_distance(word, dot + 1) + 1 : SIZE_MAX;
        distance = without_section < distance ? without_section : distance;
        if (distance < best) {
            best = distance;
            nearest = path;
        }
    }
    return nearest;
}
