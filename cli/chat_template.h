/* The chat template of a checkpoint's folder: chat_template.jinja, else "chat_template" of its
 * tokenizer_config.json, and the special tokens that a template names (bos_token and so on). */
#pragma once

#include "base/arena.h"
#include "base/buf.h"
#include "model/template.h"
#include "model/tmpl_value.h"

#define CHAT_TEMPLATE_WHY_MAX 1024

struct chat_template {
    struct arena *arena; /* of the tokens */
    struct buf source;   /* empty: the folder has none */
    /* DICT of the special tokens, which every rendering must see: {"bos_token": "<s>", ...}. */
    struct tmpl_value tokens;
};

/* A folder without a template is no error; one whose files are there and cannot be read is. IO,
 * INVALID (no regular file), TOO_BIG, MALFORMED, NO_MEMORY, and a sentence that names the file. */
enum status chat_template_read(const char *folder, struct chat_template *out,
                               char why[CHAT_TEMPLATE_WHY_MAX]);
/* One of zeros is nothing. */
void chat_template_fini(struct chat_template *chat);

/* Compiles a source. Template_compile's statuses and a sentence. */
enum status chat_template_compile(const struct buf *source, struct template **out,
                                  char why[CHAT_TEMPLATE_WHY_MAX]);

/* For a model without one: the contents, one after the other. */
enum status chat_template_plain(struct template **out);
