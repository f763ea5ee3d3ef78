/* Reads and compiles the chat template of a checkpoint. Everything is done once, when a router
 * starts or a command runs. */
#include "cli/chat_template.h"

#include <stdio.h>
#include <string.h>

#include "model/tmpl_json.h"

#define FILE_MAX ((size_t)16 << 20)    /* tokenizer_config.json with its thousands of tokens */
#define MEMORY_MAX ((size_t)512 << 20) /* of its tree */
#define ARENA_CHUNK ((size_t)64 << 10)

static const char plain[] = "{% for message in messages %}{{ message.content }}{% endfor %}";

/* ---- files ---- */

/* Reads FOLDER/NAME; an absent file leaves `out` empty. */
static enum status read_beside(const char *folder, const char *name, struct buf *out)
{
    char path[4200];
    enum status status = STATUS_OK;
    size_t n = 1;
    FILE *stream;

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    stream = fopen(path, "rbe");
    while (stream != NULL && n > 0 && status == STATUS_OK) {
        uint8_t *room;

        status = buf_reserve(out, 1 << 16, &room);
        if (status == STATUS_OK) {
            n = fread(room, 1, 1 << 16, stream);
            buf_grew(out, n);
        }
    }
    if (stream != NULL)
        fclose(stream);
    return status;
}

/* The text of a value that is a string, or an object with "content" (as special tokens are). */
static const struct tmpl_value *content_of(const struct tmpl_value *value)
{
    if (value != NULL && value->kind == TMPL_DICT)
        value = tmpl_dict_get_str(value, "content", 7);
    return value != NULL && value->kind == TMPL_STRING ? value : NULL;
}

/* "chat_template" is a text, or several of them by name: then "default". */
static const struct tmpl_value *template_of(const struct tmpl_value *config)
{
    const struct tmpl_value *at = tmpl_dict_get_str(config, "chat_template", 13);

    for (uint32_t i = 0; at != NULL && at->kind == TMPL_LIST && i < at->len; i++) {
        const struct tmpl_value *item = &at->items[i];
        const struct tmpl_value *name =
            item->kind == TMPL_DICT ? tmpl_dict_get_str(item, "name", 4) : NULL;

        if (name != NULL && name->kind == TMPL_STRING && name->len == 7 &&
            memcmp(name->text, "default", 7) == 0)
            return tmpl_dict_get_str(item, "template", 8);
    }
    return at;
}

/* Takes tokens and, where the folder has no file of its own for it, the template. */
static enum status take_config(struct chat_template *chat, const struct tmpl_value *config)
{
    static const char *const names[] = {"bos_token", "eos_token", "unk_token", "pad_token"};
    const struct tmpl_value *source = content_of(template_of(config));
    struct tmpl_pair pairs[sizeof(names) / sizeof(names[0])];
    size_t n = 0;

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        const uint32_t len = (uint32_t)strlen(names[i]);
        const struct tmpl_value *text = content_of(tmpl_dict_get_str(config, names[i], len));

        if (text != NULL)
            pairs[n++] = (struct tmpl_pair){.key = tmpl_str(names[i], len), .value = *text};
    }
    if (buf_len(&chat->source) == 0 && source != NULL &&
        buf_append(&chat->source, source->text, source->len) != STATUS_OK)
        return STATUS_TOO_BIG;
    return tmpl_dict_make(chat->arena, pairs, n, &chat->tokens);
}

static enum status read_config(const char *folder, struct chat_template *chat, char *why)
{
    struct tmpl_json_error error = {0};
    struct tmpl_value config;
    struct buf text;
    enum status status;

    buf_init(&text, FILE_MAX);
    status = read_beside(folder, "tokenizer_config.json", &text);
    if (status == STATUS_OK && buf_len(&text) > 0) {
        status = tmpl_json_read(chat->arena, (const char *)buf_data(&text), buf_len(&text), &error,
                                &config);
        if (status == STATUS_OK && config.kind != TMPL_DICT)
            status = STATUS_MALFORMED;
        if (status == STATUS_OK)
            status = take_config(chat, &config);
    }
    if (status != STATUS_OK)
        snprintf(why, CHAT_TEMPLATE_WHY_MAX,
                 "%.600s/tokenizer_config.json is no JSON object: %s (at byte %zu)", folder,
                 error.text[0] ? error.text : status_text(status), error.offset);
    buf_fini(&text);
    return status;
}

enum status chat_template_read(const char *folder, struct chat_template *out,
                               char why[CHAT_TEMPLATE_WHY_MAX])
{
    struct chat_template chat = {.arena = NULL};
    enum status status;

    snprintf(why, CHAT_TEMPLATE_WHY_MAX, "%.600s: its chat template cannot be read", folder);
    buf_init(&chat.source, TEMPLATE_SOURCE_MAX);
    status = arena_create(ARENA_CHUNK, MEMORY_MAX, &chat.arena);
    if (status == STATUS_OK)
        status = read_beside(folder, "chat_template.jinja", &chat.source);
    if (status == STATUS_OK)
        status = tmpl_dict_make(chat.arena, NULL, 0, &chat.tokens);
    if (status == STATUS_OK)
        status = read_config(folder, &chat, why);
    if (status != STATUS_OK) {
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
        snprintf(why, CHAT_TEMPLATE_WHY_MAX, "chat template, line %u: %s", (unsigned)error.line,
                 error.text[0] ? error.text : status_text(status));
    return status;
}

enum status chat_template_plain(struct template **out)
{
    struct template_error error = {0};

    return template_compile(plain, sizeof(plain) - 1, &error, out);
}
