/* The table as text: for --help, as the reference page, and with the values in force. */
#include "base/cfg_values.h"

#include <stdio.h>
#include <string.h>

#define PRINT_COLUMNS 96

/* `text` in lines of at most PRINT_COLUMNS, each behind `indent` blanks and `lead`. */
static enum status print_wrapped(struct buf *out, size_t indent, const char *lead, const char *text)
{
    enum status status = STATUS_OK;
    size_t room = PRINT_COLUMNS - indent - strlen(lead);
    while (*text != '\0' && status == STATUS_OK) {
        size_t len = strcspn(text, "\n");
        if (len > room) {
            len = room;
            while (len > 0 && text[len] != ' ') {
                len--;
            }
            len = len > 0 ? len : strcspn(text, " \n"); /* a word longer than the line */
        }
        status = buf_printf(out, "%*s%s%.*s\n", (int)indent, "", lead, (int)len, text);
        text += len;
        text += *text == ' ' || *text == '\n';
    }
    return status;
}

/* "bytes; 4KiB to 1GiB; default 64KiB": what is known of the option besides its explanation. */
static enum status print_facts(struct buf *out, const struct cfg_option *option)
{
    char min[32];
    char max[32];
    enum status status = STATUS_OK;
    if (option->unit != NULL) {
        status = buf_printf(out, "%s; ", option->unit);
    }
    if (status == STATUS_OK && option->type == CFG_ENUM) {
        status = buf_printf(out, "%s; ", option->names);
    } else if (status == STATUS_OK && option->type == CFG_BOOL) {
        status = buf_append_str(out, "true|false; ");
    } else if (status == STATUS_OK && (option->min != 0 || option->max != 0)) {
        cfg_print_number(option->type, option->min, min, sizeof(min));
        cfg_print_number(option->type, option->max, max, sizeof(max));
        status = buf_printf(out, "%s to %s%s; ", min, max,
                            option->type == CFG_STRING ? " bytes"
                            : option->type == CFG_LIST ? " texts"
                                                       : "");
    }
    if (status == STATUS_OK && option->secret) {
        status = buf_append_str(out, "secret; ");
    }
    if (status != STATUS_OK) {
        return status;
    }
    if (option->text == NULL) {
        return buf_append_str(out, "must be given");
    }
    return buf_printf(out, "default %s", option->text[0] != '\0' ? option->text : "empty");
}

/* ---- --help ---- */

static enum status print_help_option(struct buf *out, const struct cfg_option *option)
{
    static const char *const nouns[] = {
        [CFG_BOOL] = "",          [CFG_INT] = "=NUMBER",   [CFG_SIZE] = "=SIZE",
        [CFG_DURATION] = "=TIME", [CFG_FLOAT] = "=NUMBER", [CFG_STRING] = "=TEXT",
        [CFG_ENUM] = "=WORD",     [CFG_LIST] = "=A,B"};
    char flag[CFG_PATH_MAX];
    snprintf(flag, sizeof(flag), "%s", option->path);
    for (char *at = flag; *at != '\0'; at++) {
        *at = *at == '_' ? '-' : *at;
    }
    enum status status = buf_printf(out, "  --%s%s  (", flag, nouns[option->type]);
    if (status == STATUS_OK) {
        status = print_facts(out, option);
    }
    if (status == STATUS_OK) {
        status = buf_append_str(out, ")\n");
    }
    return status != STATUS_OK ? status : print_wrapped(out, 6, "", option->help);
}

enum status cfg_print_help(const struct cfg_schema *schema, struct buf *out)
{
    enum status status = STATUS_OK;
    for (size_t i = 0; i < schema->table.n_options && status == STATUS_OK; i++) {
        status = print_help_option(out, &schema->table.options[i]);
    }
    return status;
}

/* ---- the reference page ---- */

/* Text in double quotes, as YAML reads it. */
static enum status print_quoted(struct buf *out, const char *text, size_t len)
{
    enum status status = buf_append_str(out, "\"");
    for (size_t i = 0; i < len && status == STATUS_OK; i++) {
        if (text[i] == '"' || text[i] == '\\') {
            status = buf_printf(out, "\\%c", text[i]);
        } else if ((unsigned char)text[i] < 0x20) {
            status = buf_printf(out, "\\x%02x", (unsigned)text[i]);
        } else {
            status = buf_append(out, &text[i], 1);
        }
    }
    return status != STATUS_OK ? status : buf_append_str(out, "\"");
}

/* "a, b" as ["a", "b"]. */
static enum status print_yaml_list(struct buf *out, const char *text)
{
    enum status status = buf_append_str(out, "[");
    while (*text != '\0' && status == STATUS_OK) {
        text += strspn(text, " ");
        size_t len = strcspn(text, ",");
        status = print_quoted(out, text, len);
        text += len;
        if (*text == ',' && status == STATUS_OK) {
            status = buf_append_str(out, ", ");
            text++;
        }
    }
    return status != STATUS_OK ? status : buf_append_str(out, "]");
}

static enum status print_yaml_value(struct buf *out, const struct cfg_option *option)
{
    if (option->type == CFG_STRING) {
        return print_quoted(out, option->text, strlen(option->text));
    }
    return option->type == CFG_LIST ? print_yaml_list(out, option->text)
                                    : buf_append_str(out, option->text);
}

/* The length of the part of `path` that names its map: "kv" of kv.block_bytes. */
static size_t group_len(const char *path)
{
    const char *dot = strrchr(path, '.');
    return dot != NULL ? (size_t)(dot - path) : 0;
}

/* Opens the maps of `path` that `before` has not opened yet; the depth at which its key stands. */
static enum status print_groups(struct buf *out, const char *before, const char *path,
                                size_t *depth_out)
{
    enum status status = STATUS_OK;
    size_t depth = 0;
    bool is_open = before != NULL;
    const char *at = path;
    for (const char *dot; (dot = strchr(at, '.')) != NULL && status == STATUS_OK; at = dot + 1) {
        size_t len = (size_t)(dot - path);
        is_open = is_open && group_len(before) >= len && memcmp(before, path, len) == 0 &&
                  before[len] == '.';
        if (!is_open) {
            status = buf_printf(out, "%s%*s%.*s:\n", depth == 0 ? "\n" : "", (int)(2 * depth), "",
                                (int)(dot - at), at);
        }
        depth++;
    }
    *depth_out = depth;
    return status;
}

/* One option under its explanation; without a default, commented out. */
static enum status print_reference_option(struct buf *out, const struct cfg_option *option,
                                          size_t depth, const char *env_prefix)
{
    char env[CFG_ENV_NAME_MAX];
    const char *key =
        strrchr(option->path, '.') != NULL ? strrchr(option->path, '.') + 1 : option->path;
    int indent = (int)(2 * depth);
    enum status status = buf_printf(out, "\n%*s# ", indent, "");
    if (status == STATUS_OK) {
        status = print_facts(out, option);
    }
    if (status == STATUS_OK && env_prefix != NULL) {
        cfg_env_name(env_prefix, option->path, env);
        status = buf_printf(out, "; %s", env);
    }
    if (status == STATUS_OK) {
        status = buf_append_str(out, "\n");
    }
    if (status == STATUS_OK) {
        status = print_wrapped(out, (size_t)indent, "# ", option->help);
    }
    if (status == STATUS_OK) {
        status = buf_printf(out, "%*s%s%s: ", indent, "", option->text == NULL ? "# " : "", key);
    }
    if (status == STATUS_OK && option->text != NULL) {
        status = print_yaml_value(out, option);
    }
    return status != STATUS_OK ? status : buf_append_str(out, "\n");
}

static enum status print_reference_table(struct buf *out, const struct cfg_table *table,
                                         const char *env_prefix)
{
    enum status status = STATUS_OK;
    const char *before = NULL;
    for (size_t i = 0; i < table->n_options && status == STATUS_OK; i++) {
        const struct cfg_option *option = &table->options[i];
        size_t depth = 0;
        status = print_groups(out, before, option->path, &depth);
        if (status == STATUS_OK) {
            status = print_reference_option(out, option, depth, env_prefix);
        }
        before = option->path;
    }
    return status;
}

/* A section as a comment: an item cannot have defaults alone. */
static enum status print_reference_section(struct buf *out, const struct cfg_section *section)
{
    struct buf item;
    buf_init(&item, CFG_FILE_BYTES_MAX);
    enum status status = buf_append_str(out, "\n");
    if (status == STATUS_OK) {
        status = print_wrapped(out, 0, "# ", section->help);
    }
    if (status == STATUS_OK) {
        status = buf_printf(out, "# At most %u items:\n#\n# %s:\n# -", section->items_max,
                            section->path);
    }
    if (status == STATUS_OK) {
        status = print_reference_table(&item, &section->table, NULL);
    }
    const char *text = buf_text(&item);
    text += *text == '\n'; /* the first option starts behind the dash */
    while (*text != '\0' && status == STATUS_OK) {
        size_t len = strcspn(text, "\n");
        bool is_first = text == buf_text(&item) + 1;
        status = buf_printf(out, "%s%s%.*s\n", is_first ? "" : "#",
                            len > 0 ? (is_first ? " " : "   ") : "", (int)len, text);
        text += len + (text[len] == '\n');
    }
    buf_fini(&item);
    return status;
}

enum status cfg_print_reference(const struct cfg_schema *schema, struct buf *out)
{
    enum status status = buf_append_str(
        out, "# Every option with its default. Above each: unit; range; default; the name in the\n"
             "# environment. The command line wins over the environment, that over the file.\n");
    if (status == STATUS_OK) {
        status = print_reference_table(out, &schema->table, schema->env_prefix);
    }
    for (size_t i = 0; i < schema->n_sections && status == STATUS_OK; i++) {
        status = print_reference_section(out, &schema->sections[i]);
    }
    return status;
}

/* ---- the values in force ---- */

static enum status print_values_of(struct buf *out, const struct cfg *cfg, const char *prefix,
                                   size_t number)
{
    enum status status = STATUS_OK;
    for (size_t i = 0; i < cfg->table->n_options && status == STATUS_OK; i++) {
        const struct cfg_option *option = &cfg->table->options[i];
        const struct cfg_value *value = &cfg->values[i];
        if (prefix[0] != '\0') {
            status = buf_printf(out, "%s[%zu].", prefix, number);
        }
        if (status == STATUS_OK) {
            status = buf_printf(out, "%s = %s  (%s)\n", option->path,
                                !value->is_set   ? "?"
                                : option->secret ? "(set)"
                                                 : value->text,
                                value->is_set ? value->origin_text : "not given");
        }
    }
    return status;
}

enum status cfg_print_values(const struct cfg *cfg, struct buf *out)
{
    enum status status = print_values_of(out, cfg, "", 0);
    for (size_t i = 0; cfg->schema != NULL && i < cfg->schema->n_sections; i++) {
        for (size_t k = 0; k < cfg->sections[i].n && status == STATUS_OK; k++) {
            status =
                print_values_of(out, cfg->sections[i].items[k], cfg->schema->sections[i].path, k);
        }
    }
    return status;
}
