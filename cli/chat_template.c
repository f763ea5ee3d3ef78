/* Reads and compiles the chat template of a checkpoint. Everything is done once, when a router
 * starts or a command runs. */
#include "cli/chat_template.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "model/model_file.h"
#include "model/tmpl_json.h"

#define CONFIG_NAME "tokenizer_config.json"
#define TEMPLATE_NAME "chat_template.jinja"
#define FILE_MAX ((size_t)16 << 20)    /* tokenizer_config.json with its thousands of tokens */
#define MEMORY_MAX ((size_t)512 << 20) /* of its tree */
#define ARENA_CHUNK ((size_t)64 << 10)

static const char plain[] = "{% for message in messages %}{{ message.content }}{% endfor %}";

/* ---- files ---- */

/* Reads FOLDER/NAME; *text is NULL where there is no such file, else to be freed. What is there
 * and cannot be read is an error: the model would be served without its template. */
static enum status read_beside(const char *folder, const char *name, size_t bytes_max,
                               struct model_error *error, char **text, size_t *len)
{
    char path[MODEL_PATH_MAX];
    enum status status = model_path_join(folder, name, error, path);

    *text = NULL;
    *len = 0;
    if (status == STATUS_OK)
        status = model_file_read(path, bytes_max, error, text, len);
    return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

/* The text of a value that is a string, or an object with "content" (as special tokens are). */
static const struct tmpl_value *content_of(const struct tmpl_value *value)
{
    if (value != NULL && value->kind == TMPL_DICT)
        value = tmpl_dict_get_str(value, "content", 7);
    return value != NULL && value->kind == TMPL_STRING ? value : NULL;
}

/* The template of a list of {"name", "template"}, or NULL. */
static const struct tmpl_value *named(const struct tmpl_value *list, const char *name)
{
    for (uint32_t i = 0; i < list->len; i++) {
        const struct tmpl_value *item = &list->items[i];
        const struct tmpl_value *is =
            item->kind == TMPL_DICT ? tmpl_dict_get_str(item, "name", 4) : NULL;

        if (is != NULL && is->kind == TMPL_STRING && is->len == strlen(name) &&
            memcmp(is->text, name, is->len) == 0)
            return tmpl_dict_get_str(item, "template", 8);
    }
    return NULL;
}

/* "chat_template" is a text, or several of them by name: then "default". None at all is no error.
 */
static enum status take_source(struct buf *source, const struct tmpl_value *config,
                               struct model_error *error)
{
    const struct tmpl_value *at = tmpl_dict_get_str(config, "chat_template", 13);
    enum status status;

    if (at == NULL || at->kind == TMPL_NONE)
        return STATUS_OK;
    if (at->kind == TMPL_LIST) {
        at = named(at, "default");
        if (at == NULL)
            return model_fail(
                error, STATUS_MALFORMED,
                "chat_template is a list, and no template in it is named \"default\"; "
                "write the one that is meant into " TEMPLATE_NAME);
    }
    if (at->kind != TMPL_STRING)
        return model_fail(error, STATUS_MALFORMED,
                          "chat_template is no text; a text is expected, or a list of objects "
                          "with \"name\" and \"template\"");
    status = buf_append(source, at->text, at->len);
    return status == STATUS_OK
               ? status
               : model_fail(error, status,
                            "chat_template has %zu bytes, and there is room for "
                            "%u at most: %s",
                            (size_t)at->len, TEMPLATE_SOURCE_MAX, status_text(status));
}

static enum status take_tokens(struct chat_template *chat, const struct tmpl_value *config)
{
    static const char *const names[] = {"bos_token", "eos_token", "unk_token", "pad_token"};
    struct tmpl_pair pairs[sizeof(names) / sizeof(names[0])];
    size_t n = 0;

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        const uint32_t len = (uint32_t)strlen(names[i]);
        const struct tmpl_value *text = content_of(tmpl_dict_get_str(config, names[i], len));

        if (text != NULL)
            pairs[n++] = (struct tmpl_pair){.key = tmpl_str(names[i], len), .value = *text};
    }
    return tmpl_dict_make(chat->arena, pairs, n, &chat->tokens);
}

/* Takes tokens and, where the folder has no file of its own for it, the template. */
static enum status take_config(struct chat_template *chat, const char *text, size_t len,
                               struct model_error *error)
{
    struct tmpl_json_error json = {0};
    struct tmpl_value config;
    enum status status = tmpl_json_read(chat->arena, text, len, &json, &config);

    if (status != STATUS_OK)
        return model_fail(error, status, "%s (at byte %zu)",
                          json.text[0] ? json.text : status_text(status), json.offset);
    if (config.kind != TMPL_DICT)
        return model_fail(error, STATUS_MALFORMED, "a JSON object is expected");
    if (buf_len(&chat->source) == 0)
        status = take_source(&chat->source, &config, error);
    if (status != STATUS_OK)
        return status;
    status = take_tokens(chat, &config);
    return status == STATUS_OK ? status
                               : model_fail(error, status, "no memory for its special tokens");
}

static enum status read_config(const char *folder, struct chat_template *chat,
                               struct model_error *error)
{
    struct model_error inner = {""};
    char *text;
    size_t len;
    enum status status = read_beside(folder, CONFIG_NAME, FILE_MAX, error, &text, &len);

    if (status != STATUS_OK || text == NULL)
        return status;
    status = take_config(chat, text, len, &inner);
    mem_free(text);
    return status == STATUS_OK
               ? status
               : model_fail(error, status, "%.300s/" CONFIG_NAME ": %s", folder, inner.text);
}

static enum status read_template(const char *folder, struct buf *source, struct model_error *error)
{
    char *text;
    size_t len;
    enum status status =
        read_beside(folder, TEMPLATE_NAME, TEMPLATE_SOURCE_MAX, error, &text, &len);

    if (status != STATUS_OK || text == NULL)
        return status;
    status = buf_append(source, text, len);
    mem_free(text);
    return status == STATUS_OK
               ? status
               : model_fail(error, status, "%.300s/" TEMPLATE_NAME ": no memory to read it",
                            folder);
}

enum status chat_template_read(const char *folder, struct chat_template *out,
                               char why[CHAT_TEMPLATE_WHY_MAX])
{
    struct chat_template chat = {.arena = NULL};
    struct model_error error = {"no memory to read a chat template"};
    enum status status;

    buf_init(&chat.source, TEMPLATE_SOURCE_MAX);
    status = arena_create(ARENA_CHUNK, MEMORY_MAX, &chat.arena);
    if (status == STATUS_OK)
        status = tmpl_dict_make(chat.arena, NULL, 0, &chat.tokens);
    if (status == STATUS_OK)
        status = read_template(folder, &chat.source, &error);
    if (status == STATUS_OK)
        status = read_config(folder, &chat, &error);
    if (status != STATUS_OK) {
        snprintf(why, CHAT_TEMPLATE_WHY_MAX, "%s", error.text);
        chat_template_fini(&chat);
        return status;
    }
    *out = chat;
    return STATUS_OK;
}

void chat_template_fini(struct chat_template *chat)
{
    buf_fini(&chat->source);
    arena_destroy(chat->arena);
    *chat = (struct chat_template){.arena = NULL};
}

/* ---- compiling ---- */

enum status chat_template_compile(const struct buf *source, struct template **out,
                                  char why[CHAT_TEMPLATE_WHY_MAX])
{
    struct template_error error = {0};
    enum status status =
        template_compile((const char *)buf_data(source), buf_len(source), &error, out);

    if (status != STATUS_OK)
        snprintf(why, CHAT_TEMPLATE_WHY_MAX,
                 "chat template, line %u: %.600s To serve the model without chats (baton chat "
                 "--raw, /v1/completions) remove " TEMPLATE_NAME
                 ", or chat_template from " CONFIG_NAME,
                 (unsigned)error.line, error.text[0] ? error.text : status_text(status));
    return status;
}

enum status chat_template_plain(struct template **out)
{
    struct template_error error = {0};

    return template_compile(plain, sizeof(plain) - 1, &error, out);
}
