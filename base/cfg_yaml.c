/* The file. It is read twice: first as a stream of events, which costs no memory and finds all that
 * we refuse (too many nodes, too deep, anchors, aliases, tags, a second document) before anything
 * grows; then as libyaml's document, which is walked along the table. */
#include "base/cfg_values.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <yaml.h>

#include "base/mem.h"

/* What the functions below pass along. */
struct load {
    struct cfg *cfg;
    const char *name; /* of the file, for messages */
    yaml_document_t document;
    struct cfg_error *error;
};

/* "fleet.yaml:12:5" */
#define PLACE_MAX 320
static const char *place_text(const struct load *load, yaml_mark_t mark, char out[PLACE_MAX])
{
    snprintf(out, PLACE_MAX, "%.255s:%zu:%zu", load->name, mark.line + 1, mark.column + 1);
    return out;
}

static enum status fail_at(const struct load *load, yaml_mark_t mark, enum status status,
                           const char *what)
{
    char place[PLACE_MAX];
    return cfg_fail(load->error, status, "%s: %s", place_text(load, mark, place), what);
}

/* ---- first pass: the events ---- */

static enum status fail_parser(const struct load *load, const yaml_parser_t *parser)
{
    char what[256];
    const char *problem = parser->problem != NULL ? parser->problem : "cannot be read";
    if (parser->error == YAML_MEMORY_ERROR) {
        return cfg_fail(load->error, STATUS_NO_MEMORY, "%s: out of memory", load->name);
    }
    if (parser->error == YAML_READER_ERROR) { /* knows no line */
        return cfg_fail(load->error, STATUS_MALFORMED, "%s: byte %zu: not UTF-8 text: %s",
                        load->name, parser->problem_offset, problem);
    }
    snprintf(what, sizeof(what), "not YAML: %s%s%s", problem, parser->context != NULL ? ", " : "",
             parser->context != NULL ? parser->context : "");
    return fail_at(load, parser->problem_mark, STATUS_MALFORMED, what);
}

struct scan {
    size_t n_nodes;
    size_t n_documents;
    size_t depth;
};

static enum status scan_node(const struct load *load, struct scan *scan, const yaml_event_t *event,
                             const yaml_char_t *anchor, const yaml_char_t *tag)
{
    if (++scan->n_nodes > CFG_NODES_MAX) {
        return fail_at(load, event->start_mark, STATUS_TOO_BIG, "more than 10000 keys and values");
    }
    if (anchor != NULL || tag != NULL) {
        return fail_at(
            load, event->start_mark, STATUS_MALFORMED,
            "anchors (&name) and tags (!name) are not supported: write the value itself");
    }
    return STATUS_OK;
}

static enum status scan_scalar(const struct load *load, struct scan *scan,
                               const yaml_event_t *event)
{
    const yaml_char_t *text = event->data.scalar.value;
    size_t len = event->data.scalar.length;
    if (len > CFG_TEXT_MAX) {
        return fail_at(load, event->start_mark, STATUS_TOO_BIG, "a text of more than 4096 bytes");
    }
    if (memchr(text, '\0', len) != NULL) {
        return fail_at(load, event->start_mark, STATUS_MALFORMED, "a text with a zero byte in it");
    }
    return scan_node(load, scan, event, event->data.scalar.anchor, event->data.scalar.tag);
}

static enum status scan_event(const struct load *load, struct scan *scan, const yaml_event_t *event)
{
    switch (event->type) {
    case YAML_DOCUMENT_START_EVENT:
        if (++scan->n_documents > 1) {
            return fail_at(load, event->start_mark, STATUS_MALFORMED,
                           "a second document: expected one per file");
        }
        return STATUS_OK;
    case YAML_ALIAS_EVENT:
        return fail_at(load, event->start_mark, STATUS_MALFORMED,
                       "aliases (*name) are not supported: write the value itself");
    case YAML_SCALAR_EVENT:
        return scan_scalar(load, scan, event);
    case YAML_SEQUENCE_START_EVENT:
    case YAML_MAPPING_START_EVENT:
        if (++scan->depth > CFG_DEPTH_MAX) {
            return fail_at(load, event->start_mark, STATUS_TOO_BIG, "nested more than 8 deep");
        }
        return event->type == YAML_SEQUENCE_START_EVENT
                   ? scan_node(load, scan, event, event->data.sequence_start.anchor,
                               event->data.sequence_start.tag)
                   : scan_node(load, scan, event, event->data.mapping_start.anchor,
                               event->data.mapping_start.tag);
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        scan->depth--;
        return STATUS_OK;
    default:
        return STATUS_OK;
    }
}

static enum status scan_bytes(const struct load *load, const void *bytes, size_t len)
{
    yaml_parser_t parser;
    struct scan scan = {0};
    enum status status = STATUS_OK;
    bool is_over = false;
    if (!yaml_parser_initialize(&parser)) {
        return cfg_fail(load->error, STATUS_NO_MEMORY, "%s: out of memory", load->name);
    }
    yaml_parser_set_input_string(&parser, bytes, len);
    while (status == STATUS_OK && !is_over) {
        yaml_event_t event;
        if (!yaml_parser_parse(&parser, &event)) {
            status = fail_parser(load, &parser);
            break;
        }
        status = scan_event(load, &scan, &event);
        is_over = event.type == YAML_STREAM_END_EVENT;
        yaml_event_delete(&event);
    }
    yaml_parser_delete(&parser);
    return status;
}

/* ---- second pass: the document along the table ---- */

static yaml_node_t *node_at(struct load *load, int number)
{
    return yaml_document_get_node(&load->document, number);
}

/* What a message calls a node. */
static const char *node_text(const yaml_node_t *node, char out[CFG_QUOTED_MAX])
{
    if (node->type == YAML_MAPPING_NODE) {
        return "a map";
    }
    if (node->type == YAML_SEQUENCE_NODE) {
        return "a list";
    }
    return node->data.scalar.length == 0 ? "nothing"
                                         : cfg_quote((const char *)node->data.scalar.value, out);
}

/* `key:` with nothing behind it, or the words YAML has for that. */
static bool is_nothing(const yaml_node_t *node)
{
    if (node->type != YAML_SCALAR_NODE || node->data.scalar.style != YAML_PLAIN_SCALAR_STYLE) {
        return false;
    }
    const char *text = (const char *)node->data.scalar.value;
    return text[0] == '\0' || strcmp(text, "~") == 0 || strcmp(text, "null") == 0;
}

static enum status fail_option(struct load *load, const struct cfg_option *option,
                               const yaml_node_t *node)
{
    char what[CFG_PATH_MAX + 512];
    char expected[256];
    char found[CFG_QUOTED_MAX];
    cfg_expected(option, expected, sizeof(expected));
    bool is_quoted =
        node->type == YAML_SCALAR_NODE && node->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
    snprintf(what, sizeof(what), "%s: expected %s, found %s%s", option->path, expected,
             option->secret ? "something else (not shown: it is a secret)" : node_text(node, found),
             is_quoted ? " in quotes" : "");
    return fail_at(load, node->start_mark, STATUS_INVALID, what);
}

static enum status load_list(struct load *load, struct cfg *cfg, size_t idx,
                             const yaml_node_t *node, const struct cfg_place *place)
{
    const struct cfg_option *option = &cfg->table->options[idx];
    const char *texts[CFG_LIST_MAX];
    size_t n_texts = (size_t)(node->data.sequence.items.top - node->data.sequence.items.start);
    if (n_texts > CFG_LIST_MAX) {
        return fail_at(load, node->start_mark, STATUS_TOO_BIG, "a list of more than 1024 texts");
    }
    for (size_t i = 0; i < n_texts; i++) {
        const yaml_node_t *item = node_at(load, node->data.sequence.items.start[i]);
        if (item->type != YAML_SCALAR_NODE || is_nothing(item)) {
            return fail_option(load, option, item);
        }
        texts[i] = (const char *)item->data.scalar.value;
    }
    return cfg_set_list(cfg, idx, texts, n_texts, place, load->error);
}

static enum status load_option(struct load *load, struct cfg *cfg, size_t idx,
                               const yaml_node_t *node)
{
    const struct cfg_option *option = &cfg->table->options[idx];
    char text[PLACE_MAX];
    struct cfg_place place = {CFG_FROM_FILE, place_text(load, node->start_mark, text)};
    if (option->type == CFG_LIST && node->type == YAML_SEQUENCE_NODE) {
        return load_list(load, cfg, idx, node, &place);
    }
    bool is_text = option->type == CFG_STRING;
    if (option->type == CFG_LIST || node->type != YAML_SCALAR_NODE || is_nothing(node) ||
        (!is_text && node->data.scalar.style != YAML_PLAIN_SCALAR_STYLE)) {
        return fail_option(load, option, node);
    }
    return cfg_set_text(cfg, idx, (const char *)node->data.scalar.value, &place, load->error);
}

/* True if `path` is a map of options: some option's path goes on behind it. */
static bool is_group(const struct cfg_table *table, const char *path)
{
    size_t len = strlen(path);
    for (size_t i = 0; i < table->n_options; i++) {
        if (strncmp(table->options[i].path, path, len) == 0 && table->options[i].path[len] == '.') {
            return true;
        }
    }
    return false;
}

static enum status fail_unknown(struct load *load, const struct cfg *cfg, const char *path,
                                const yaml_node_t *key)
{
    char what[CFG_PATH_MAX + 256];
    char quoted[CFG_QUOTED_MAX];
    const char *near = cfg_nearest(cfg->table, path);
    for (size_t i = 0; cfg->schema != NULL && i < cfg->schema->n_sections; i++) {
        struct cfg_option option = {.path = cfg->schema->sections[i].path};
        const struct cfg_table table = {.options = &option, .n_options = 1};
        near = cfg_nearest(&table, path) != NULL ? option.path : near;
    }
    snprintf(what, sizeof(what), "unknown key %s%s%s%s", cfg_quote(path, quoted),
             near != NULL ? "; did you mean " : "", near != NULL ? near : "",
             near != NULL ? "?" : "");
    return fail_at(load, key->start_mark, STATUS_INVALID, what);
}

/* Keys before `pair` were known, so this compares no more than the table is long. */
static bool is_double(struct load *load, const yaml_node_t *map, const yaml_node_pair_t *pair)
{
    const yaml_node_t *key = node_at(load, pair->key);
    for (const yaml_node_pair_t *at = map->data.mapping.pairs.start; at < pair; at++) {
        const char *other = (const char *)node_at(load, at->key)->data.scalar.value;
        if (strcmp(other, (const char *)key->data.scalar.value) == 0) {
            return true;
        }
    }
    return false;
}

static enum status load_section(struct load *load, size_t idx, const yaml_node_t *node);

/* A map of options; `path` (room for CFG_PATH_MAX) is where it stands, "" at the top. Depth is
 * bounded by the table, whose paths are bounded, and by the first pass. */
static enum status load_map(struct load *load, struct cfg *cfg, const yaml_node_t *map, char *path);

static enum status load_pair(struct load *load, struct cfg *cfg, const yaml_node_t *key,
                             const yaml_node_t *node, char *path)
{
    size_t idx = cfg_option_find(cfg->table, path);
    if (idx < cfg->table->n_options) {
        return load_option(load, cfg, idx, node);
    }
    for (size_t i = 0; cfg->schema != NULL && i < cfg->schema->n_sections; i++) {
        if (strcmp(cfg->schema->sections[i].path, path) == 0) {
            return load_section(load, i, node);
        }
    }
    if (!is_group(cfg->table, path)) {
        return fail_unknown(load, cfg, path, key);
    }
    if (is_nothing(node)) {
        return STATUS_OK;
    }
    if (node->type != YAML_MAPPING_NODE) {
        char what[CFG_PATH_MAX + 128];
        char found[CFG_QUOTED_MAX];
        snprintf(what, sizeof(what), "%s: expected a map of options, found %s", path,
                 node_text(node, found));
        return fail_at(load, node->start_mark, STATUS_INVALID, what);
    }
    return load_map(load, cfg, node, path);
}

static enum status load_map(struct load *load, struct cfg *cfg, const yaml_node_t *map, char *path)
{
    size_t path_len = strlen(path);
    const yaml_node_pair_t *pair = map->data.mapping.pairs.start;
    for (; pair < map->data.mapping.pairs.top; pair++) {
        const yaml_node_t *key = node_at(load, pair->key);
        if (key->type != YAML_SCALAR_NODE) {
            return fail_at(load, key->start_mark, STATUS_INVALID, "a key must be a word");
        }
        const char *word = (const char *)key->data.scalar.value;
        size_t room = CFG_PATH_MAX - path_len;
        int len = snprintf(path + path_len, room, "%s%s", path_len > 0 ? "." : "", word);
        enum status status;
        if (strchr(word, '.') != NULL) {
            char what[CFG_QUOTED_MAX + 64];
            char quoted[CFG_QUOTED_MAX];
            snprintf(what, sizeof(what), "key %s: expected nested maps instead of dots",
                     cfg_quote(word, quoted));
            status = fail_at(load, key->start_mark, STATUS_INVALID, what);
        } else if (len < 0 || (size_t)len >= room) {
            status = fail_unknown(load, cfg, path, key);
        } else if (is_double(load, map, pair)) {
            char what[CFG_PATH_MAX + 32];
            snprintf(what, sizeof(what), "%s: given twice", path);
            status = fail_at(load, key->start_mark, STATUS_INVALID, what);
        } else {
            status = load_pair(load, cfg, key, node_at(load, pair->value), path);
        }
        path[path_len] = '\0';
        if (status != STATUS_OK) {
            return status;
        }
    }
    return STATUS_OK;
}

/* ---- repeated sections ---- */

/* An item at its defaults. */
static struct cfg *item_new(struct cfg *cfg, const struct cfg_section *section, const char *place)
{
    struct cfg *item = arena_alloc_zero(cfg->arena, 1, sizeof(*item));
    if (item == NULL) {
        return NULL;
    }
    item->table = &section->table;
    item->arena = cfg->arena;
    item->origin_text = arena_strdup(cfg->arena, place);
    item->values = arena_alloc_zero(cfg->arena, section->table.n_options, sizeof(*item->values));
    if (item->origin_text == NULL || item->values == NULL || cfg_defaults(item) != STATUS_OK) {
        return NULL;
    }
    return item;
}

/* Two items may not have the same name. */
static enum status check_key(struct load *load, const struct cfg_section *section,
                             const struct cfg_items *items, const struct cfg *item,
                             yaml_mark_t mark)
{
    if (section->key == NULL) {
        return STATUS_OK;
    }
    size_t idx = cfg_option_find(&section->table, section->key);
    for (size_t i = 0; i < items->n && item->values[idx].is_set; i++) {
        const struct cfg_value *other = &items->items[i]->values[idx];
        if (other->is_set && strcmp(other->text, item->values[idx].text) == 0) {
            char what[CFG_PATH_MAX + PLACE_MAX + 128];
            char quoted[CFG_QUOTED_MAX];
            snprintf(what, sizeof(what), "%s: the %s %s was taken at %s", section->path,
                     section->key, cfg_quote(other->text, quoted), items->items[i]->origin_text);
            return fail_at(load, mark, STATUS_INVALID, what);
        }
    }
    return STATUS_OK;
}

static enum status load_item(struct load *load, const struct cfg_section *section,
                             struct cfg_items *items, const yaml_node_t *node)
{
    char place[PLACE_MAX];
    char path[CFG_PATH_MAX] = "";
    if (node->type != YAML_MAPPING_NODE) {
        char what[CFG_PATH_MAX + 128];
        char found[CFG_QUOTED_MAX];
        snprintf(what, sizeof(what), "%s: expected each item to be a map of options, found %s",
                 section->path, node_text(node, found));
        return fail_at(load, node->start_mark, STATUS_INVALID, what);
    }
    struct cfg *item = item_new(load->cfg, section, place_text(load, node->start_mark, place));
    if (item == NULL) {
        return cfg_fail(load->error, STATUS_NO_MEMORY, "%s: out of memory", load->name);
    }
    enum status status = load_map(load, item, node, path);
    if (status == STATUS_OK) {
        status = check_key(load, section, items, item, node->start_mark);
    }
    if (status == STATUS_OK) {
        items->items[items->n++] = item;
    }
    return status;
}

static enum status load_section(struct load *load, size_t idx, const yaml_node_t *node)
{
    const struct cfg_section *section = &load->cfg->schema->sections[idx];
    struct cfg_items *items = &load->cfg->sections[idx];
    char what[CFG_PATH_MAX + 128];
    char found[CFG_QUOTED_MAX];
    if (node->type != YAML_SEQUENCE_NODE) {
        snprintf(what, sizeof(what), "%s: expected a list of maps, found %s", section->path,
                 node_text(node, found));
        return fail_at(load, node->start_mark, STATUS_INVALID, what);
    }
    size_t n = (size_t)(node->data.sequence.items.top - node->data.sequence.items.start);
    if (n > section->items_max) {
        snprintf(what, sizeof(what), "%s: expected at most %u items, found %zu", section->path,
                 section->items_max, n);
        return fail_at(load, node->start_mark, STATUS_TOO_BIG, what);
    }
    items->items = arena_alloc_zero(load->cfg->arena, n, sizeof(struct cfg *));
    if (items->items == NULL) {
        return cfg_fail(load->error, STATUS_NO_MEMORY, "%s: out of memory", load->name);
    }
    enum status status = STATUS_OK;
    for (size_t i = 0; i < n && status == STATUS_OK; i++) {
        status = load_item(load, section, items, node_at(load, node->data.sequence.items.start[i]));
    }
    return status;
}

/* ---- public ---- */

static enum status load_document(struct load *load, const void *bytes, size_t len)
{
    yaml_parser_t parser;
    if (!yaml_parser_initialize(&parser)) {
        return cfg_fail(load->error, STATUS_NO_MEMORY, "%s: out of memory", load->name);
    }
    yaml_parser_set_input_string(&parser, bytes, len);
    if (!yaml_parser_load(&parser, &load->document)) {
        enum status status = fail_parser(load, &parser);
        yaml_parser_delete(&parser);
        return status;
    }
    enum status status = STATUS_OK;
    const yaml_node_t *root = yaml_document_get_root_node(&load->document);
    char path[CFG_PATH_MAX] = "";
    if (root != NULL && root->type == YAML_MAPPING_NODE) {
        status = load_map(load, load->cfg, root, path);
    } else if (root != NULL && !is_nothing(root)) {
        char what[128];
        char found[CFG_QUOTED_MAX];
        snprintf(what, sizeof(what), "expected a map of options, found %s", node_text(root, found));
        status = fail_at(load, root->start_mark, STATUS_INVALID, what);
    }
    yaml_document_delete(&load->document);
    yaml_parser_delete(&parser);
    return status;
}

enum status cfg_load_buffer(struct cfg *cfg, const char *name, const void *bytes, size_t len,
                            struct cfg_error *error)
{
    struct load load = {.cfg = cfg, .name = name, .error = error};
    if (cfg->has_file) {
        return cfg_fail(error, STATUS_EXISTS, "%s: a configuration has one file", name);
    }
    if (len > CFG_FILE_BYTES_MAX) {
        return cfg_fail(error, STATUS_TOO_BIG, "%s: expected at most 1 MiB, found %zu bytes", name,
                        len);
    }
    cfg->has_file = true;
    enum status status = scan_bytes(&load, bytes, len);
    return status != STATUS_OK ? status : load_document(&load, bytes, len);
}

/* Reads to the end of the file, or one byte past the limit. */
static enum status read_all(int fd, uint8_t *bytes, size_t room, size_t *len)
{
    size_t n_read = 0;
    while (n_read < room) {
        ssize_t n = read(fd, bytes + n_read, room - n_read);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return STATUS_IO;
        }
        if (n == 0) {
            break;
        }
        n_read += (size_t)n;
    }
    *len = n_read;
    return STATUS_OK;
}

enum status cfg_load_file(struct cfg *cfg, const char *path, struct cfg_error *error)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        return cfg_fail(error, errno == ENOENT ? STATUS_NOT_FOUND : STATUS_IO,
                        "%s: cannot be opened: %s", path, strerrordesc_np(errno));
    }
    size_t room = CFG_FILE_BYTES_MAX + 1;
    size_t len = 0;
    uint8_t *bytes = mem_alloc(room);
    enum status status = bytes == NULL ? STATUS_NO_MEMORY : read_all(fd, bytes, room, &len);
    if (status == STATUS_OK) {
        status = cfg_load_buffer(cfg, path, bytes, len, error);
    } else {
        cfg_fail(error, status, "%s: cannot be read: %s", path,
                 bytes == NULL ? "out of memory" : strerrordesc_np(errno));
    }
    mem_free(bytes);
    close(fd);
    return status;
}
