/* See openai_request.h. The body is scanned for depth and size before jansson makes a tree of it;
 * the tree is walked once, member by member through the table of openai_fields.c, and freed; what
 * fields must hold together is checked at the end. */
#include "router/openai_fields.h"

#include <string.h>

#define COMPLETION_TOKENS 16 /* OpenAI's default of max_tokens */

/* ---- the body ------------------------------------------------------------------------------- */

/* Skips a string that starts at `i`; jansson judges what is in it. */
static size_t skip_string(const char *text, size_t len, size_t i)
{
    for (i++; i < len && text[i] != '"'; i++) {
        i += text[i] == '\\';
    }
    return i;
}

enum status openai_json_check(struct openai_reader *reader, const char *text, size_t len,
                              const char *param)
{
    size_t depth = 0, values = 1, objects = 0;

    for (size_t i = 0; i < len; i++) {
        if (text[i] == '"') {
            i = skip_string(text, len, i);
        } else if (text[i] == '[' || text[i] == '{') {
            depth++;
            values++;
            objects += text[i] == '{';
        } else if (text[i] == ']' || text[i] == '}') {
            depth -= depth > 0;
        } else if (text[i] == ',') {
            values++;
        }
        if (depth > OPENAI_DEPTH_MAX) {
            openai_error_set(reader->error, 400, "invalid_json", param,
                             "the JSON has arrays or objects more than %d deep (at byte %zu)",
                             OPENAI_DEPTH_MAX, i);
            return STATUS_INVALID;
        }
        if (values > OPENAI_VALUES_MAX || objects > OPENAI_OBJECTS_MAX) {
            openai_error_set(reader->error, 413, "request_too_large", param,
                             "the JSON has more than %d values or %d objects (at byte %zu)",
                             OPENAI_VALUES_MAX, OPENAI_OBJECTS_MAX, i);
            return STATUS_TOO_BIG;
        }
    }
    return STATUS_OK;
}

static enum status body_load(struct openai_reader *reader, const char *text, size_t len,
                             json_t **out)
{
    enum status status;
    json_error_t why;
    json_t *body;

    if (len > OPENAI_BODY_MAX) {
        openai_error_set(reader->error, 413, "request_too_large", NULL,
                         "the body has %zu bytes: expected at most %zu", len, OPENAI_BODY_MAX);
        return STATUS_TOO_BIG;
    }
    status = openai_json_check(reader, text, len, NULL);
    if (status != STATUS_OK) {
        return status;
    }
    body = json_loadb(text, len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL | JSON_DECODE_ANY, &why);
    if (body == NULL) {
        openai_error_set(reader->error, 400, "invalid_json", NULL,
                         "the body is not valid JSON: %s (line %d, column %d)", why.text, why.line,
                         why.column);
        return STATUS_INVALID;
    }
    if (!json_is_object(body)) {
        openai_wrong(reader, "body", body, "a JSON object");
        reader->error->param[0] = '\0';
        json_decref(body);
        return STATUS_INVALID;
    }
    *out = body;
    return STATUS_OK;
}

/* ---- its members ---------------------------------------------------------------------------- */

static enum status note_unknown(struct openai_reader *reader, const char *name)
{
    struct openai_request *req = reader->req;
    const size_t len = strnlen(name, WIRE_NAME_MAX);

    if (req->n_unknown < OPENAI_UNKNOWN_MAX) {
        const char *copy = arena_memdup(reader->arena, name, len);

        if (copy == NULL) {
            return openai_no_room(reader);
        }
        req->unknown[req->n_unknown] = (struct wire_span){copy, len};
    }
    req->n_unknown++;
    return STATUS_OK;
}

static enum status member_read(struct openai_reader *reader, const char *name, const json_t *value,
                               const json_t *body)
{
    const struct openai_field *field = openai_field_find(reader->req->api, name);

    if (field == NULL) {
        return note_unknown(reader, name);
    }
    if (json_is_null(value)) {
        return STATUS_OK;
    }
    switch (field->fate) {
    case OPENAI_HONOURED:
        return field->read(reader, field, value);
    case OPENAI_HARMLESS:
        reader->req->n_harmless++;
        return STATUS_OK;
    default:
        if (field->neutral != NULL && field->neutral(value, body)) {
            return STATUS_OK;
        }
        return openai_refuse(reader, name, "unsupported_parameter", "not supported here: %s",
                             field->instead);
    }
}

/* ---- what fields hold together -------------------------------------------------------------- */

static enum status missing(struct openai_reader *reader, const char *name, const char *what)
{
    return openai_wrong(reader, name, NULL, "%s", what);
}

static enum status finish_chat(struct openai_reader *reader)
{
    struct openai_request *req = reader->req;

    if (req->continue_final_message && req->add_generation_prompt) {
        if (reader->generation_prompt_given) {
            return openai_refuse(reader, "continue_final_message", "invalid_value",
                                 "cannot be true together with add_generation_prompt");
        }
        req->add_generation_prompt = false;
    }
    if (reader->top_logprobs_given && !req->logprobs) {
        return openai_refuse(reader, "top_logprobs", "invalid_value",
                             "expected logprobs to be true with it");
    }
    if (reader->tool_choice_auto && req->tools.kind != TMPL_LIST) {
        return openai_refuse(reader, "tool_choice", "invalid_value",
                             "\"auto\" expects tools, found none");
    }
    if (reader->tool_choice_none) {
        req->tools = tmpl_none();
    }
    req->parse_tool_calls = req->tools.kind == TMPL_LIST;
    return STATUS_OK;
}

static enum status finish_completions(struct openai_reader *reader)
{
    struct openai_request *req = reader->req;

    if (req->sampling.max_tokens == 0) {
        req->sampling.max_tokens = COMPLETION_TOKENS;
    }
    if (req->echo && req->logprobs) {
        return openai_refuse(reader, "logprobs", "unsupported_parameter",
                             "not supported together with echo: only tokens that were drawn have "
                             "logprobs here");
    }
    if (req->n_prompts * req->n > OPENAI_CHOICES_MAX) {
        return openai_refuse(reader, "n", "invalid_value",
                             "%zu prompts times n %u are more than %d answers", req->n_prompts,
                             req->n, OPENAI_CHOICES_MAX);
    }
    return STATUS_OK;
}

static enum status finish_generation(struct openai_reader *reader)
{
    const struct openai_request *req = reader->req;
    const struct wire_sampling *sampling = &req->sampling;
    const enum status status =
        req->api == OPENAI_CHAT ? finish_chat(reader) : finish_completions(reader);

    if (status != STATUS_OK) {
        return status;
    }
    if (sampling->max_tokens > 0 && sampling->min_tokens > sampling->max_tokens) {
        return openai_refuse(reader, "min_tokens", "invalid_value",
                             "expected at most max_tokens, %u, found %u", sampling->max_tokens,
                             sampling->min_tokens);
    }
    if (reader->stream_options_given && !req->stream) {
        return openai_refuse(reader, "stream_options", "invalid_value",
                             "expected stream to be true with it");
    }
    return STATUS_OK;
}

static enum status finish(struct openai_reader *reader)
{
    const struct openai_request *req = reader->req;

    switch (req->api) {
    case OPENAI_COMPLETIONS:
        if (req->n_prompts == 0) {
            return missing(reader, "prompt", "a string or an array");
        }
        return finish_generation(reader);
    case OPENAI_CHAT:
        if (!req->is_chat) {
            return missing(reader, "messages", "an array of messages");
        }
        return finish_generation(reader);
    case OPENAI_TOKENIZE:
        if (req->is_chat == (req->n_prompts > 0)) {
            return openai_refuse(
                reader, "prompt", req->is_chat ? "invalid_value" : "missing_required_parameter",
                "expected either prompt or messages, found %s", req->is_chat ? "both" : "neither");
        }
        if (req->is_chat && !reader->special_tokens_given) {
            reader->req->add_special_tokens = false; /* the template writes them */
        }
        return req->is_chat ? finish_chat(reader) : STATUS_OK;
    default:
        return req->n_prompts == 0 ? missing(reader, "tokens", "an array of token ids") : STATUS_OK;
    }
}

/* ---- all of it ------------------------------------------------------------------------------ */

static void set_defaults(struct openai_request *req, const struct wire_sampling *defaults)
{
    struct wire_sampling *sampling = &req->sampling;

    *sampling = (struct wire_sampling){.temperature = 1, .top_p = 1, .repetition_penalty = 1};
    if (defaults != NULL) {
        sampling->temperature = defaults->temperature;
        sampling->top_p = defaults->top_p;
        sampling->top_k = defaults->top_k;
        sampling->min_p = defaults->min_p;
        sampling->repetition_penalty = defaults->repetition_penalty;
        sampling->presence_penalty = defaults->presence_penalty;
        sampling->frequency_penalty = defaults->frequency_penalty;
    }
    req->n = 1;
    req->tools = req->documents = req->template_kwargs = req->messages = tmpl_none();
    req->add_generation_prompt = req->parallel_tool_calls = req->skip_special_tokens = true;
}

enum status openai_request_read(const struct openai_request_cfg *cfg, enum openai_api api,
                                const char *body, size_t len, struct arena *arena,
                                struct openai_error *error, struct openai_request *out)
{
    struct openai_request req = {.api = api};
    struct openai_reader reader = {.arena = arena, .error = error, .req = &req};
    json_t *root = NULL, *value;
    const char *name;
    enum status status;

    if (cfg != NULL) {
        reader.cfg = *cfg;
    }
    status = body_load(&reader, body, len, &root);
    if (status != STATUS_OK) {
        return status;
    }
    set_defaults(&req, reader.cfg.defaults);
    req.add_special_tokens = api == OPENAI_COMPLETIONS ||
                             (api == OPENAI_TOKENIZE && json_object_get(root, "messages") == NULL);
    json_object_foreach(root, name, value)
    {
        status = member_read(&reader, name, value, root);
        if (status != STATUS_OK) {
            break;
        }
    }
    json_decref(root);
    if (status == STATUS_OK) {
        status = finish(&reader);
    }
    if (status == STATUS_OK) {
        *out = req;
    }
    return status;
}
