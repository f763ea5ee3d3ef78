/* Reading normalizers from tokenizer.json. Runs while a tokenizer opens. */
#include <string.h>

#include "base/mem.h"
#include "model/tok_error.h"
#include "model/tok_norm.h"
#include "model/tok_steps.h"

/* {"String": ".."} or {"Regex": ".."} */
static enum status load_replace(struct tok_norm_step *step, const struct tok_json *value)
{
    struct tok_json pattern, text;
    struct tok_json_string string;
    enum status status = tok_json_find_text(value, "content", step->content, sizeof step->content,
                                            &step->content_len);
    status = status == STATUS_OK ? tok_json_find(value, "pattern", &pattern) : status;
    if (status != STATUS_OK) {
        return status;
    }
    status = tok_json_find_text(&pattern, "String", step->pattern, sizeof step->pattern,
                                &step->pattern_len);
    if (status != STATUS_NOT_FOUND) {
        step->kind = TOK_NORM_REPLACE;
        if (status == STATUS_OK && step->pattern_len == 0) {
            return tok_fail(value->error, STATUS_UNSUPPORTED,
                            "tokenizer.json: a Replace of an empty text");
        }
        return status;
    }
    step->kind = TOK_NORM_REPLACE_REGEX;
    status = tok_json_find(&pattern, "Regex", &text);
    status = status == STATUS_OK ? tok_json_string(&text, &string) : status;
    if (status != STATUS_OK) {
        return status;
    }
    char *regex = mem_alloc(string.len + 1);
    if (regex == NULL) {
        return STATUS_NO_MEMORY;
    }
    status = tok_regex_create(regex, tok_json_unescape(&string, regex), value->error, &step->regex);
    mem_free(regex);
    return status;
}

static enum status load_charsmap(struct tok_norm_step *step, const struct tok_json *value,
                                 bool *empty)
{
    struct tok_json at;
    struct tok_json_string base64;
    step->kind = TOK_NORM_CHARSMAP;
    enum status status = tok_json_find(value, "precompiled_charsmap", &at);
    *empty = status == STATUS_NOT_FOUND;
    if (*empty) {
        return STATUS_OK;
    }
    status = status == STATUS_OK ? tok_json_string(&at, &base64) : status;
    *empty = status == STATUS_OK && base64.len == 0;
    return status == STATUS_OK && !*empty ? tok_charsmap_load(&step->map, &at, &base64) : status;
}

/* A name without parameters. */
static bool simple_kind(const char *type, struct tok_norm_step *step)
{
    static const struct {
        const char *type;
        enum tok_norm_kind kind;
        enum tok_normform form;
    } kinds[] = {{"NFC", TOK_NORM_FORM, TOK_NFC},
                 {"NFD", TOK_NORM_FORM, TOK_NFD},
                 {"NFKC", TOK_NORM_FORM, TOK_NFKC},
                 {"NFKD", TOK_NORM_FORM, TOK_NFKD},
                 {"Lowercase", TOK_NORM_LOWERCASE, TOK_NFC},
                 {"StripAccents", TOK_NORM_STRIP_ACCENTS, TOK_NFC},
                 {"Nmt", TOK_NORM_NMT, TOK_NFC},
                 {"ByteLevel", TOK_NORM_BYTE_LEVEL, TOK_NFC}};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (strcmp(type, kinds[i].type) == 0) {
            step->kind = kinds[i].kind;
            step->form = kinds[i].form;
            return true;
        }
    }
    return false;
}

/* Fills the next step; it counts (norm->n) as soon as it owns something. */
static enum status load_step(struct tok_norm *norm, const struct tok_step *from)
{
    if (norm->n == TOK_STEPS_MAX) {
        return tok_fail(from->at.error, STATUS_TOO_BIG,
                        "tokenizer.json: more than %u normalizers in a row", TOK_STEPS_MAX);
    }
    struct tok_norm_step *step = &norm->steps[norm->n++];
    enum status status = STATUS_OK;
    bool empty = false;
    if (simple_kind(from->type, step)) {
        return STATUS_OK;
    }
    if (strcmp(from->type, "Strip") == 0) {
        step->kind = TOK_NORM_STRIP;
        status = tok_json_find_bool(&from->at, "strip_left", &step->left);
        return status == STATUS_OK ? tok_json_find_bool(&from->at, "strip_right", &step->right)
                                   : status;
    }
    if (strcmp(from->type, "Prepend") == 0) {
        step->kind = TOK_NORM_PREPEND;
        status = tok_json_find_text(&from->at, "prepend", step->content, sizeof step->content,
                                    &step->content_len);
    } else if (strcmp(from->type, "Replace") == 0) {
        status = load_replace(step, &from->at);
    } else if (strcmp(from->type, "Precompiled") == 0) {
        status = load_charsmap(step, &from->at, &empty);
        norm->n -= empty;
    } else {
        return tok_step_unsupported(from, "normalizer");
    }
    return tok_step_missing(from, status);
}

enum status tok_norm_load(struct tok_norm *norm, const struct tok_json *value)
{
    *norm = (struct tok_norm){.n = 0};
    norm->steps = mem_alloc_zero(TOK_STEPS_MAX, sizeof *norm->steps);
    if (norm->steps == NULL) {
        return STATUS_NO_MEMORY;
    }
    struct tok_steps steps;
    struct tok_step step;
    tok_steps_init(&steps, value, "normalizers");
    enum status status;
    while ((status = tok_steps_next(&steps, &step)) == STATUS_OK) {
        status = load_step(norm, &step);
        if (status != STATUS_OK) {
            return status;
        }
    }
    return status == STATUS_DONE ? STATUS_OK : status;
}

void tok_norm_fini(struct tok_norm *norm)
{
    for (size_t i = 0; i < norm->n; i++) {
        tok_regex_destroy(norm->steps[i].regex);
        tok_charsmap_fini(&norm->steps[i].map);
    }
    mem_free(norm->steps);
    *norm = (struct tok_norm){.n = 0};
}
