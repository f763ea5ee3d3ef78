/* Reading pre-tokenizers from tokenizer.json. Runs while a tokenizer opens. */
#include <string.h>

#include "base/mem.h"
#include "model/tok_error.h"
#include "model/tok_pre.h"
#include "model/tok_steps.h"
#include "model/tok_unicode.h"

/* A new step of the kind, or NULL. The last place stays free: its buffer is emit_word's. */
static struct tok_pre_step *add(struct tok_pre *pre, enum tok_pre_kind kind)
{
    if (pre->n + 1 >= TOK_STEPS_MAX) {
        return NULL;
    }
    struct tok_pre_step *step = &pre->steps[pre->n++];
    step->kind = kind;
    return step;
}

static enum status too_many(const struct tok_step *from)
{
    return tok_fail(from->at.error, STATUS_TOO_BIG,
                    "tokenizer.json: more than %u pre-tokenizers in a row", TOK_STEPS_MAX - 1);
}

static enum status add_class(struct tok_pre *pre, const struct tok_step *from,
                             enum tok_pre_match match, enum tok_pre_behavior behavior)
{
    struct tok_pre_step *step = add(pre, TOK_PRE_SPLIT);
    if (step == NULL) {
        return too_many(from);
    }
    step->match = match;
    step->behavior = behavior;
    return STATUS_OK;
}

static enum status read_behavior(const struct tok_step *from, enum tok_pre_behavior *out)
{
    static const char *const names[] = {[TOK_PRE_ISOLATED] = "Isolated",
                                        [TOK_PRE_REMOVED] = "Removed",
                                        [TOK_PRE_CONTIGUOUS] = "Contiguous",
                                        [TOK_PRE_MERGED_PREVIOUS] = "MergedWithPrevious",
                                        [TOK_PRE_MERGED_NEXT] = "MergedWithNext"};
    char name[32];
    size_t len;
    enum status status = tok_json_find_text(&from->at, "behavior", name, sizeof name, &len);
    if (status != STATUS_OK) {
        return status;
    }
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(name, names[i]) == 0) {
            *out = (enum tok_pre_behavior)i;
            return STATUS_OK;
        }
    }
    return tok_fail(from->at.error, STATUS_UNSUPPORTED,
                    "tokenizer.json: at byte %zu: the behavior \"%s\" is not supported",
                    from->at.pos, name);
}

/* {"Regex": ".."} of a Split. */
static enum status load_regex(struct tok_pre_step *step, const struct tok_json *pattern)
{
    struct tok_json at;
    struct tok_json_string string;
    enum status status = tok_json_find(pattern, "Regex", &at);
    status = status == STATUS_OK ? tok_json_string(&at, &string) : status;
    if (status != STATUS_OK) {
        return status;
    }
    char *regex = mem_alloc(string.len + 1);
    if (regex == NULL) {
        return STATUS_NO_MEMORY;
    }
    size_t len = tok_json_unescape(&string, regex);
    enum tok_scan_kind kind = tok_scan_recognise(regex, len);
    /* Without gaps it is the same to keep all and to remove what does not match. */
    bool keeps = step->behavior == TOK_PRE_ISOLATED ||
                 (step->behavior == TOK_PRE_REMOVED && step->invert && !tok_scan_has_gaps(kind));
    if (kind != TOK_SCAN_NONE && keeps) {
        step->match = TOK_MATCH_SCAN;
        step->scan = kind;
    } else {
        step->match = TOK_MATCH_REGEX;
        status = tok_regex_create(regex, len, pattern->error, &step->regex);
    }
    mem_free(regex);
    return status;
}

static enum status load_split(struct tok_pre *pre, const struct tok_step *from)
{
    struct tok_pre_step *step = add(pre, TOK_PRE_SPLIT);
    struct tok_json pattern;
    if (step == NULL) {
        return too_many(from);
    }
    enum status status = read_behavior(from, &step->behavior);
    status = status == STATUS_OK ? tok_json_find_bool(&from->at, "invert", &step->invert) : status;
    status = status == STATUS_OK ? tok_json_find(&from->at, "pattern", &pattern) : status;
    if (status != STATUS_OK) {
        return status;
    }
    step->match = TOK_MATCH_TEXT;
    status = tok_json_find_text(&pattern, "String", step->text, sizeof step->text, &step->text_len);
    if (status == STATUS_OK && step->text_len == 0) {
        return tok_fail(from->at.error, STATUS_UNSUPPORTED,
                        "tokenizer.json: a Split at an empty text");
    }
    return status == STATUS_NOT_FOUND ? load_regex(step, &pattern) : status;
}

static enum status load_byte_level(struct tok_pre *pre, const struct tok_step *from)
{
    bool space = true, regex = true;
    enum status status = tok_json_find_bool(&from->at, "add_prefix_space", &space);
    status = status == STATUS_OK ? tok_json_find_bool(&from->at, "use_regex", &regex) : status;
    if (status != STATUS_OK) {
        return status;
    }
    if (pre->byte_level) {
        return tok_fail(from->at.error, STATUS_UNSUPPORTED,
                        "tokenizer.json: at byte %zu: a second ByteLevel pre-tokenizer",
                        from->at.pos);
    }
    if (space && add(pre, TOK_PRE_PREFIX_SPACE) == NULL) {
        return too_many(from);
    }
    if (regex) {
        status = add_class(pre, from, TOK_MATCH_SCAN, TOK_PRE_ISOLATED);
        if (status != STATUS_OK) {
            return status;
        }
        pre->steps[pre->n - 1].scan = TOK_SCAN_GPT2;
    }
    pre->byte_level = true;
    /* Taken back at the end if nothing follows. */
    return add(pre, TOK_PRE_SPELL) != NULL ? STATUS_OK : too_many(from);
}

static enum status read_prepend(const struct tok_step *from, enum tok_pre_prepend *out)
{
    char name[16] = "always";
    size_t len;
    bool space = true;
    enum status status = tok_json_find_text(&from->at, "prepend_scheme", name, sizeof name, &len);
    status = status == STATUS_NOT_FOUND ? STATUS_OK : status;
    status =
        status == STATUS_OK ? tok_json_find_bool(&from->at, "add_prefix_space", &space) : status;
    if (status != STATUS_OK) {
        return status;
    }
    if (!space || strcmp(name, "never") == 0) {
        *out = TOK_PREPEND_NEVER;
    } else if (strcmp(name, "first") == 0) {
        *out = TOK_PREPEND_FIRST;
    } else if (strcmp(name, "always") == 0) {
        *out = TOK_PREPEND_ALWAYS;
    } else {
        return tok_fail(from->at.error, STATUS_UNSUPPORTED,
                        "tokenizer.json: at byte %zu: the prepend_scheme \"%s\" is not supported",
                        from->at.pos, name);
    }
    return STATUS_OK;
}

static enum status load_metaspace(struct tok_pre *pre, const struct tok_step *from)
{
    struct tok_pre_step *step = add(pre, TOK_PRE_METASPACE);
    if (step == NULL) {
        return too_many(from);
    }
    if (pre->byte_level) {
        return tok_fail(from->at.error, STATUS_UNSUPPORTED,
                        "tokenizer.json: at byte %zu: a Metaspace after a ByteLevel", from->at.pos);
    }
    bool split = true;
    enum status status = tok_json_find_text(&from->at, "replacement", step->text, sizeof step->text,
                                            &step->text_len);
    status = status == STATUS_OK ? read_prepend(from, &step->prepend) : status;
    status = status == STATUS_OK ? tok_json_find_bool(&from->at, "split", &split) : status;
    if (status == STATUS_OK && step->text_len == 0) {
        return tok_json_expected(
            &(struct tok_json){from->at.text, from->at.len, from->at.pos, from->at.error},
            "a replacement of one character in this Metaspace");
    }
    step->match = split ? TOK_MATCH_TEXT : TOK_MATCH_SCAN;
    step->behavior = TOK_PRE_MERGED_NEXT;
    return status;
}

static enum status load_delimiter(struct tok_pre *pre, const struct tok_step *from)
{
    enum status status = add_class(pre, from, TOK_MATCH_TEXT, TOK_PRE_REMOVED);
    if (status != STATUS_OK) {
        return status;
    }
    struct tok_pre_step *step = &pre->steps[pre->n - 1];
    status =
        tok_json_find_text(&from->at, "delimiter", step->text, sizeof step->text, &step->text_len);
    return status == STATUS_OK && step->text_len == 0 ? STATUS_NOT_FOUND : status;
}

static enum status load_step(struct tok_pre *pre, const struct tok_step *from)
{
    const char *type = from->type;
    enum status status;
    if (strcmp(type, "ByteLevel") == 0) {
        return load_byte_level(pre, from);
    }
    if (strcmp(type, "Split") == 0) {
        return load_split(pre, from);
    }
    if (strcmp(type, "Metaspace") == 0) {
        return load_metaspace(pre, from);
    }
    if (strcmp(type, "CharDelimiterSplit") == 0) {
        return load_delimiter(pre, from);
    }
    if (strcmp(type, "Digits") == 0) {
        bool individual = false;
        status = tok_json_find_bool(&from->at, "individual_digits", &individual);
        return status != STATUS_OK ? status
                                   : add_class(pre, from, TOK_MATCH_NUMERIC,
                                               individual ? TOK_PRE_ISOLATED : TOK_PRE_CONTIGUOUS);
    }
    if (strcmp(type, "Punctuation") == 0) {
        enum tok_pre_behavior behavior = TOK_PRE_ISOLATED;
        status = read_behavior(from, &behavior);
        return status != STATUS_OK && status != STATUS_NOT_FOUND
                   ? status
                   : add_class(pre, from, TOK_MATCH_PUNCTUATION, behavior);
    }
    if (strcmp(type, "WhitespaceSplit") == 0) {
        return add_class(pre, from, TOK_MATCH_SPACE, TOK_PRE_REMOVED);
    }
    if (strcmp(type, "Whitespace") == 0) {
        status = add_class(pre, from, TOK_MATCH_WORDS, TOK_PRE_REMOVED);
        if (status == STATUS_OK) {
            pre->steps[pre->n - 1].invert = true;
        }
        return status;
    }
    if (strcmp(type, "BertPreTokenizer") == 0) {
        status = add_class(pre, from, TOK_MATCH_SPACE, TOK_PRE_REMOVED);
        return status != STATUS_OK ? status
                                   : add_class(pre, from, TOK_MATCH_PUNCTUATION, TOK_PRE_ISOLATED);
    }
    return tok_step_unsupported(from, "pre-tokenizer");
}

enum status tok_pre_load(struct tok_pre *pre, const struct tok_json *value)
{
    *pre = (struct tok_pre){.n = 0};
    pre->steps = mem_alloc_zero(TOK_STEPS_MAX, sizeof *pre->steps);
    if (pre->steps == NULL) {
        return STATUS_NO_MEMORY;
    }
    struct tok_steps steps;
    struct tok_step step;
    tok_steps_init(&steps, value, "pretokenizers");
    enum status status;
    while ((status = tok_steps_next(&steps, &step)) == STATUS_OK) {
        status = tok_step_missing(&step, load_step(pre, &step));
        if (status != STATUS_OK) {
            return status;
        }
    }
    if (status != STATUS_DONE) {
        return status;
    }
    bool spells_last = pre->n > 0 && pre->steps[pre->n - 1].kind == TOK_PRE_SPELL;
    pre->n -= spells_last;
    pre->spelt = pre->byte_level && !spells_last;
    return STATUS_OK;
}

void tok_pre_fini(struct tok_pre *pre)
{
    for (size_t i = 0; i < pre->n; i++) {
        tok_regex_destroy(pre->steps[i].regex);
    }
    mem_free(pre->steps);
    *pre = (struct tok_pre){.n = 0};
}
