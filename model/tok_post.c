/* Reading post-processors. Runs while a tokenizer opens. */
#include "model/tok_post.h"

#include <string.h>

#include "model/tok_error.h"
#include "model/tok_steps.h"
#include "model/tokenizer.h"

static enum status put_before(struct tok_post *post, const struct tok_json *at, size_t place,
                              uint32_t id)
{
    if (post->n_before == TOK_POST_IDS_MAX) {
        return tok_fail(at->error, STATUS_TOO_BIG,
                        "tokenizer.json: the post-processor adds more than %u tokens",
                        TOK_POST_IDS_MAX);
    }
    memmove(post->before + place + 1, post->before + place,
            (post->n_before - place) * sizeof *post->before);
    post->before[place] = id;
    post->n_before++;
    return STATUS_OK;
}

static enum status put_after(struct tok_post *post, const struct tok_json *at, uint32_t id)
{
    if (post->n_after == TOK_POST_IDS_MAX) {
        return tok_fail(at->error, STATUS_TOO_BIG,
                        "tokenizer.json: the post-processor adds more than %u tokens",
                        TOK_POST_IDS_MAX);
    }
    post->after[post->n_after++] = id;
    return STATUS_OK;
}

/* The ids of a SpecialToken of a template, before the text (at *place, which moves on) or behind.
 */
static enum status load_special(struct tok_post *post, const struct tok_json *processor,
                                const struct tok_json *special, bool behind, size_t *place)
{
    char name[TOKENIZER_PIECE_MAX];
    size_t len;
    struct tok_json table, entry, ids;
    enum status status = tok_json_find_text(special, "id", name, sizeof name, &len);
    status = status == STATUS_OK ? tok_json_find(processor, "special_tokens", &table) : status;
    status = status == STATUS_OK ? tok_json_find(&table, name, &entry) : status;
    status = status == STATUS_OK ? tok_json_find(&entry, "ids", &ids) : status;
    struct tok_json_walk walk;
    status = status == STATUS_OK ? tok_json_enter(&ids, '[', &walk) : status;
    while (status == STATUS_OK) {
        bool more;
        uint32_t id;
        status = tok_json_next_element(&ids, &walk, &more);
        if (status != STATUS_OK || !more) {
            break;
        }
        status = tok_json_u32(&ids, &id);
        if (status == STATUS_OK && id >= TOKENIZER_IDS_MAX) {
            status = tok_json_expected(&ids, "a smaller id before this");
        }
        if (status == STATUS_OK) {
            status = behind ? put_after(post, &ids, id) : put_before(post, &ids, (*place)++, id);
        }
    }
    return status;
}

/* "single": [{"SpecialToken": {"id": "<s>"}}, {"Sequence": {"id": "A"}}, ..] */
static enum status load_template(struct tok_post *post, const struct tok_step *step)
{
    struct tok_json pieces, inner;
    struct tok_json_walk walk;
    enum status status = tok_json_find(&step->at, "single", &pieces);
    status = status == STATUS_OK ? tok_json_enter(&pieces, '[', &walk) : status;
    unsigned n_texts = 0;
    size_t place = 0;
    while (status == STATUS_OK) {
        bool more;
        status = tok_json_next_element(&pieces, &walk, &more);
        if (status != STATUS_OK || !more) {
            break;
        }
        struct tok_json piece = pieces;
        status = tok_json_skip(&pieces);
        if (status != STATUS_OK) {
            break;
        }
        status = tok_json_find(&piece, "Sequence", &inner);
        if (status == STATUS_OK) {
            n_texts++;
            continue;
        }
        if (status == STATUS_NOT_FOUND) {
            status = tok_json_find(&piece, "SpecialToken", &inner);
        }
        if (status == STATUS_OK) {
            status = load_special(post, &step->at, &inner, n_texts > 0, &place);
        }
    }
    if (status == STATUS_OK && n_texts != 1) {
        return tok_fail(step->at.error, STATUS_UNSUPPORTED,
                        "tokenizer.json: at byte %zu: a template that has the text %u times",
                        step->at.pos, n_texts);
    }
    return status;
}

/* "cls": ["<s>", 0] */
static enum status load_pair(const struct tok_step *step, const char *key, uint32_t *id)
{
    struct tok_json pair;
    struct tok_json_walk walk;
    struct tok_json_string text;
    bool more;
    enum status status = tok_json_find(&step->at, key, &pair);
    status = status == STATUS_OK ? tok_json_enter(&pair, '[', &walk) : status;
    status = status == STATUS_OK ? tok_json_next_element(&pair, &walk, &more) : status;
    status = status == STATUS_OK ? tok_json_string(&pair, &text) : status;
    status = status == STATUS_OK ? tok_json_next_element(&pair, &walk, &more) : status;
    return status == STATUS_OK ? tok_json_u32(&pair, id) : status;
}

static enum status load_step(struct tok_post *post, const struct tok_step *step)
{
    if (strcmp(step->type, "ByteLevel") == 0) {
        return STATUS_OK; /* moves offsets only */
    }
    if (strcmp(step->type, "TemplateProcessing") == 0) {
        return load_template(post, step);
    }
    if (strcmp(step->type, "RobertaProcessing") == 0 || strcmp(step->type, "BertProcessing") == 0) {
        uint32_t cls = 0, sep = 0;
        enum status status = load_pair(step, "cls", &cls);
        status = status == STATUS_OK ? load_pair(step, "sep", &sep) : status;
        status = status == STATUS_OK ? put_before(post, &step->at, 0, cls) : status;
        return status == STATUS_OK ? put_after(post, &step->at, sep) : status;
    }
    return tok_step_unsupported(step, "post-processor");
}

enum status tok_post_load(struct tok_post *post, const struct tok_json *value)
{
    *post = (struct tok_post){.n_before = 0};
    struct tok_steps steps;
    struct tok_step step;
    tok_steps_init(&steps, value, "processors");
    enum status status;
    while ((status = tok_steps_next(&steps, &step)) == STATUS_OK) {
        status = tok_step_missing(&step, load_step(post, &step));
        if (status != STATUS_OK) {
            return status;
        }
    }
    return status == STATUS_DONE ? STATUS_OK : status;
}
