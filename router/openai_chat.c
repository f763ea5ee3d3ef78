/* Readers of a chat: messages, tools and the template's own keywords, from JSON to the values that
 * a chat template sees. Messages take the shape that published templates expect, as vLLM does it:
 * content is one text (parts joined by line ends), a tool call's arguments are an object instead of
 * a text of JSON, null is absent. What is not known of a message goes through as it is. */
#include "router/openai_fields.h"

#include <stdio.h>
#include <string.h>

static struct tmpl_value name_value(const char *name)
{
    return tmpl_str(name, (uint32_t)strlen(name));
}

/* ---- JSON as it is -------------------------------------------------------------------------- */

static enum status convert(struct openai_reader *reader, const json_t *json,
                           struct tmpl_value *out);

static enum status convert_text(struct openai_reader *reader, const json_t *json,
                                struct tmpl_value *out)
{
    const enum status status =
        tmpl_string_make(reader->arena, json_string_value(json), json_string_length(json), out);

    return status == STATUS_OK ? STATUS_OK : openai_no_room(reader); /* jansson knows its UTF-8 */
}

static enum status convert_array(struct openai_reader *reader, const json_t *json,
                                 struct tmpl_value *out)
{
    const size_t n = json_array_size(json);
    struct tmpl_value *items = arena_alloc(reader->arena, n * sizeof(*items));
    enum status status = STATUS_OK;

    if (items == NULL) {
        return openai_no_room(reader);
    }
    for (size_t i = 0; i < n && status == STATUS_OK; i++) {
        status = convert(reader, json_array_get(json, i), &items[i]);
    }
    if (status != STATUS_OK) {
        return status;
    }
    *out = (struct tmpl_value){.kind = TMPL_LIST, .len = (uint32_t)n, .items = items};
    return STATUS_OK;
}

/* Of `pairs`, which may be more or less than the JSON had. */
static enum status make_dict(struct openai_reader *reader, const struct tmpl_pair *pairs, size_t n,
                             struct tmpl_value *out)
{
    return tmpl_dict_make(reader->arena, pairs, n, out) == STATUS_OK ? STATUS_OK
                                                                     : openai_no_room(reader);
}

/* The object's members without `skip` and, if `skip_null`, without nulls; room for one more. */
static enum status convert_members(struct openai_reader *reader, const json_t *json,
                                   const char *skip, bool skip_null, struct tmpl_pair **pairs_out,
                                   size_t *n_out)
{
    json_t *object = (json_t *)(uintptr_t)json; /* only read */
    struct tmpl_pair *pairs =
        arena_alloc(reader->arena, (json_object_size(json) + 1) * sizeof(*pairs));
    enum status status = STATUS_OK;
    const char *name;
    json_t *value;
    size_t n = 0;

    if (pairs == NULL) {
        return openai_no_room(reader);
    }
    json_object_foreach(object, name, value)
    {
        if ((skip != NULL && strcmp(name, skip) == 0) || (skip_null && json_is_null(value))) {
            continue;
        }
        if (tmpl_string_make(reader->arena, name, strlen(name), &pairs[n].key) != STATUS_OK) {
            return openai_no_room(reader);
        }
        status = convert(reader, value, &pairs[n].value);
        if (status != STATUS_OK) {
            return status;
        }
        n++;
    }
    *pairs_out = pairs;
    *n_out = n;
    return STATUS_OK;
}

static enum status convert_object(struct openai_reader *reader, const json_t *json,
                                  struct tmpl_value *out)
{
    struct tmpl_pair *pairs;
    size_t n;
    const enum status status = convert_members(reader, json, NULL, false, &pairs, &n);

    return status == STATUS_OK ? make_dict(reader, pairs, n, out) : status;
}

/* As deep as the body, OPENAI_DEPTH_MAX at most. */
static enum status convert(struct openai_reader *reader, const json_t *json, struct tmpl_value *out)
{
    switch (json_typeof(json)) {
    case JSON_OBJECT:
        return convert_object(reader, json, out);
    case JSON_ARRAY:
        return convert_array(reader, json, out);
    case JSON_STRING:
        return convert_text(reader, json, out);
    case JSON_INTEGER:
        *out = tmpl_int(json_integer_value(json));
        break;
    case JSON_REAL:
        *out = tmpl_float(json_real_value(json));
        break;
    case JSON_TRUE:
    case JSON_FALSE:
        *out = tmpl_bool(json_is_true(json));
        break;
    default:
        *out = tmpl_none();
    }
    return STATUS_OK;
}

/* ---- content -------------------------------------------------------------------------------- */

/* The text of one part, or NULL with the error told. */
static const json_t *part_text(struct openai_reader *reader, const char *place, const json_t *part)
{
    const char *type = json_string_value(json_object_get(part, "type"));
    const char *key = type != NULL && strcmp(type, "refusal") == 0 ? "refusal" : "text";
    char deeper[OPENAI_PARAM_MAX];
    const json_t *text;

    if (!json_is_object(part)) {
        openai_wrong(reader, place, part, "an object with type and text");
        return NULL;
    }
    if (type == NULL || strcmp(type, key) != 0) {
        openai_place(deeper, "%s.type", place);
        openai_wrong(reader, deeper, json_object_get(part, "type"),
                     "\"text\", as this server reads text only");
        return NULL;
    }
    text = json_object_get(part, key);
    if (!json_is_string(text)) {
        openai_place(deeper, "%s.%s", place, key);
        openai_wrong(reader, deeper, text, "a string");
        return NULL;
    }
    return text;
}

static enum status parts_read(struct openai_reader *reader, const char *place, const json_t *parts,
                              struct tmpl_value *out)
{
    const size_t n = json_array_size(parts);
    const json_t *text;
    size_t len = n > 0 ? n - 1 : 0, at = 0;
    char one[OPENAI_PARAM_MAX], *joined;

    for (size_t i = 0; i < n; i++) {
        openai_place(one, "%s[%zu]", place, i);
        text = part_text(reader, one, json_array_get(parts, i));
        if (text == NULL) {
            return STATUS_INVALID;
        }
        len += json_string_length(text);
    }
    joined = arena_alloc(reader->arena, len);
    if (joined == NULL) {
        return openai_no_room(reader);
    }
    for (size_t i = 0; i < n; i++) {
        text = part_text(reader, "", json_array_get(parts, i));
        if (i > 0) {
            joined[at++] = '\n';
        }
        memcpy(joined + at, json_string_value(text), json_string_length(text));
        at += json_string_length(text);
    }
    *out = tmpl_str(joined, (uint32_t)len);
    return STATUS_OK;
}

static enum status content_read(struct openai_reader *reader, const char *message,
                                const json_t *content, struct tmpl_value *out)
{
    char place[OPENAI_PARAM_MAX];

    if (json_is_string(content)) {
        return convert_text(reader, content, out);
    }
    openai_place(place, "%s.content", message);
    if (json_is_array(content)) {
        return parts_read(reader, place, content, out);
    }
    return openai_wrong(reader, place, content, "a string or an array of text parts");
}

/* ---- tool calls ----------------------------------------------------------------------------- */

/* Templates want the object that the text of JSON holds; nothing is an empty one. */
static enum status arguments_read(struct openai_reader *reader, const char *place,
                                  const json_t *json, struct tmpl_value *out)
{
    enum status status;
    json_error_t why;
    json_t *parsed;

    if (json == NULL || json_is_null(json) ||
        (json_is_string(json) && json_string_length(json) == 0)) {
        return make_dict(reader, NULL, 0, out);
    }
    if (json_is_object(json)) {
        return convert(reader, json, out);
    }
    if (!json_is_string(json)) {
        return openai_wrong(reader, place, json, "a string that holds a JSON object");
    }
    status = openai_json_check(reader, json_string_value(json), json_string_length(json), place);
    if (status != STATUS_OK) {
        return status;
    }
    parsed = json_loadb(json_string_value(json), json_string_length(json),
                        JSON_ALLOW_NUL | JSON_DECODE_ANY, &why);
    if (!json_is_object(parsed)) {
        json_decref(parsed);
        return openai_wrong(reader, place, json, "a string that holds a JSON object");
    }
    status = convert(reader, parsed, out);
    json_decref(parsed);
    return status;
}

static enum status function_read(struct openai_reader *reader, const char *call,
                                 const json_t *function, struct tmpl_value *out)
{
    char place[OPENAI_PARAM_MAX];
    struct tmpl_pair *pairs;
    enum status status;
    size_t n;

    openai_place(place, "%s.function", call);
    if (!json_is_object(function)) {
        return openai_wrong(reader, place, function, "an object with name and arguments");
    }
    if (!json_is_string(json_object_get(function, "name"))) {
        openai_place(place, "%s.function.name", call);
        return openai_wrong(reader, place, json_object_get(function, "name"), "a string");
    }
    status = convert_members(reader, function, "arguments", true, &pairs, &n);
    if (status != STATUS_OK) {
        return status;
    }
    pairs[n].key = name_value("arguments");
    openai_place(place, "%s.function.arguments", call);
    status = arguments_read(reader, place, json_object_get(function, "arguments"), &pairs[n].value);
    return status == STATUS_OK ? make_dict(reader, pairs, n + 1, out) : status;
}

static bool is_function_type(const json_t *type)
{
    return type == NULL || json_is_null(type) ||
           (json_is_string(type) && strcmp(json_string_value(type), "function") == 0);
}

static enum status call_read(struct openai_reader *reader, const char *place, const json_t *call,
                             struct tmpl_value *out)
{
    char deeper[OPENAI_PARAM_MAX];
    struct tmpl_pair *pairs;
    enum status status;
    size_t n;

    if (!json_is_object(call)) {
        return openai_wrong(reader, place, call, "an object with id, type and function");
    }
    if (!is_function_type(json_object_get(call, "type"))) {
        openai_place(deeper, "%s.type", place);
        return openai_wrong(reader, deeper, json_object_get(call, "type"), "\"function\"");
    }
    status = convert_members(reader, call, "function", true, &pairs, &n);
    if (status != STATUS_OK) {
        return status;
    }
    pairs[n].key = name_value("function");
    status = function_read(reader, place, json_object_get(call, "function"), &pairs[n].value);
    return status == STATUS_OK ? make_dict(reader, pairs, n + 1, out) : status;
}

static enum status calls_read(struct openai_reader *reader, const char *message,
                              const json_t *calls, struct tmpl_value *out)
{
    const size_t n = json_array_size(calls);
    enum status status = STATUS_OK;
    char place[OPENAI_PARAM_MAX];
    struct tmpl_value *items;

    openai_place(place, "%s.tool_calls", message);
    if (!json_is_array(calls) || n > OPENAI_CALLS_MAX) {
        return openai_wrong(reader, place, calls, "an array of at most %d calls", OPENAI_CALLS_MAX);
    }
    items = arena_alloc(reader->arena, n * sizeof(*items));
    if (items == NULL) {
        return openai_no_room(reader);
    }
    for (size_t i = 0; i < n && status == STATUS_OK; i++) {
        openai_place(place, "%s.tool_calls[%zu]", message, i);
        status = call_read(reader, place, json_array_get(calls, i), &items[i]);
    }
    *out = (struct tmpl_value){.kind = TMPL_LIST, .len = (uint32_t)n, .items = items};
    return status;
}

/* ---- messages ------------------------------------------------------------------------------- */

/* What would be lost without a word if it went to a template. */
static enum status message_check(struct openai_reader *reader, const char *message,
                                 const json_t *json)
{
    static const struct {
        const char *name, *instead;
    } lost[] = {{"function_call", "use tool_calls"}, {"audio", "this server reads text only"}};
    char place[OPENAI_PARAM_MAX];

    for (size_t i = 0; i < sizeof(lost) / sizeof(lost[0]); i++) {
        const json_t *value = json_object_get(json, lost[i].name);

        openai_place(place, "%s.%s", message, lost[i].name);
        if (value != NULL && !json_is_null(value)) {
            return openai_refuse(reader, place, "unsupported_parameter", "not supported here: %s",
                                 lost[i].instead);
        }
    }
    return STATUS_OK;
}

/* One member of a message, as a template wants it. */
static enum status message_member(struct openai_reader *reader, const char *place, const char *name,
                                  const json_t *value, struct tmpl_pair *pair)
{
    if (tmpl_string_make(reader->arena, name, strlen(name), &pair->key) != STATUS_OK) {
        return openai_no_room(reader);
    }
    if (strcmp(name, "content") == 0) {
        return content_read(reader, place, value, &pair->value);
    }
    if (strcmp(name, "tool_calls") == 0) {
        return calls_read(reader, place, value, &pair->value);
    }
    return convert(reader, value, &pair->value);
}

/* All members in the client's order, without nulls and empty lists of calls. */
static enum status message_members(struct openai_reader *reader, const char *place,
                                   const json_t *json, struct tmpl_value *out)
{
    const char *role = json_string_value(json_object_get(json, "role"));
    json_t *object = (json_t *)(uintptr_t)json; /* only read */
    struct tmpl_pair *pairs =
        arena_alloc(reader->arena, (json_object_size(json) + 1) * sizeof(*pairs));
    enum status status = STATUS_OK;
    bool has_content = false;
    const char *name;
    json_t *value;
    size_t n = 0;

    if (pairs == NULL) {
        return openai_no_room(reader);
    }
    json_object_foreach(object, name, value)
    {
        if (json_is_null(value) || (json_is_array(value) && json_array_size(value) == 0 &&
                                    strcmp(name, "tool_calls") == 0)) {
            continue;
        }
        status = message_member(reader, place, name, value, &pairs[n++]);
        if (status != STATUS_OK) {
            return status;
        }
        has_content |= strcmp(name, "content") == 0;
    }
    if (!has_content) {
        if (strcmp(role, "assistant") != 0) {
            return content_read(reader, place, NULL, NULL);
        }
        pairs[n++] = (struct tmpl_pair){name_value("content"), tmpl_str("", 0)};
    }
    return make_dict(reader, pairs, n, out);
}

static enum status message_read(struct openai_reader *reader, size_t at, const json_t *json,
                                struct tmpl_value *out)
{
    const json_t *role = json_object_get(json, "role");
    char place[OPENAI_PARAM_MAX], deeper[OPENAI_PARAM_MAX];
    enum status status;

    openai_place(place, "messages[%zu]", at);
    if (!json_is_object(json)) {
        return openai_wrong(reader, place, json, "an object with role and content");
    }
    if (!json_is_string(role) || json_string_length(role) == 0 ||
        json_string_length(role) > WIRE_NAME_MAX) {
        openai_place(deeper, "%s.role", place);
        return openai_wrong(reader, deeper, role,
                            "system, developer, user, assistant or tool as a string");
    }
    status = message_check(reader, place, json);
    return status == STATUS_OK ? message_members(reader, place, json, out) : status;
}

OPENAI_READER(openai_read_messages)
{
    const size_t n = json_array_size(value);
    enum status status = STATUS_OK;
    struct tmpl_value *items;

    if (!json_is_array(value) || n == 0 || n > WIRE_TURNS_MAX) {
        return openai_wrong(reader, field->name, value, "an array of 1 to %d messages",
                            WIRE_TURNS_MAX);
    }
    items = arena_alloc(reader->arena, n * sizeof(*items));
    if (items == NULL) {
        return openai_no_room(reader);
    }
    for (size_t i = 0; i < n && status == STATUS_OK; i++) {
        status = message_read(reader, i, json_array_get(value, i), &items[i]);
    }
    if (status == STATUS_OK) {
        reader->req->is_chat = true;
        reader->req->messages =
            (struct tmpl_value){.kind = TMPL_LIST, .len = (uint32_t)n, .items = items};
    }
    return status;
}

/* ---- tools and keywords --------------------------------------------------------------------- */

static enum status tool_check(struct openai_reader *reader, size_t at, const json_t *tool)
{
    const json_t *function = json_object_get(tool, "function");
    const json_t *name = json_object_get(function, "name");
    char place[OPENAI_PARAM_MAX];

    openai_place(place, "tools[%zu]", at);
    if (!json_is_object(tool)) {
        return openai_wrong(reader, place, tool, "an object with type and function");
    }
    if (!is_function_type(json_object_get(tool, "type"))) {
        openai_place(place, "tools[%zu].type", at);
        return openai_wrong(reader, place, json_object_get(tool, "type"), "\"function\"");
    }
    if (!json_is_object(function)) {
        openai_place(place, "tools[%zu].function", at);
        return openai_wrong(reader, place, function, "an object with a name");
    }
    if (!json_is_string(name) || json_string_length(name) == 0 ||
        json_string_length(name) > WIRE_NAME_MAX) {
        openai_place(place, "tools[%zu].function.name", at);
        return openai_wrong(reader, place, name, "a string of 1 to %d bytes", WIRE_NAME_MAX);
    }
    return STATUS_OK;
}

OPENAI_READER(openai_read_tools)
{
    const size_t n = json_array_size(value);
    enum status status = STATUS_OK;

    if (!json_is_array(value) || n > OPENAI_TOOLS_MAX) {
        return openai_wrong(reader, field->name, value, "an array of at most %d tools",
                            OPENAI_TOOLS_MAX);
    }
    for (size_t i = 0; i < n && status == STATUS_OK; i++) {
        status = tool_check(reader, i, json_array_get(value, i));
    }
    return status == STATUS_OK && n > 0 ? convert(reader, value, &reader->req->tools) : status;
}

OPENAI_READER(openai_read_tool_choice)
{
    const char *choice = json_string_value(value);

    if (choice != NULL && strcmp(choice, "none") == 0) {
        reader->tool_choice_none = true;
        return STATUS_OK;
    }
    if (choice != NULL && strcmp(choice, "auto") == 0) {
        reader->tool_choice_auto = true;
        return STATUS_OK;
    }
    if (json_is_object(value) || (choice != NULL && strcmp(choice, "required") == 0)) {
        return openai_refuse(reader, field->name, "unsupported_parameter",
                             "a call cannot be forced here, as that would constrain what the model "
                             "writes: expected \"auto\" or \"none\"");
    }
    return openai_wrong(reader, field->name, value, "\"auto\" or \"none\"");
}

OPENAI_READER(openai_read_documents)
{
    if (!json_is_array(value)) {
        return openai_wrong(reader, field->name, value, "an array of objects");
    }
    for (size_t i = 0; i < json_array_size(value); i++) {
        if (!json_is_object(json_array_get(value, i))) {
            return openai_wrong(reader, field->name, json_array_get(value, i),
                                "objects in the array");
        }
    }
    return convert(reader, value, &reader->req->documents);
}

OPENAI_READER(openai_read_template_kwargs)
{
    if (!json_is_object(value)) {
        return openai_wrong(reader, field->name, value, "an object");
    }
    return convert(reader, value, &reader->req->template_kwargs);
}

/* ---- a template's variables ----------------------------------------------------------------- */

#define OWN_VARS 7

/* Appends the pairs of a dict; later names win. */
static size_t add_dict(struct tmpl_pair *pairs, size_t n, const struct tmpl_value *dict)
{
    if (dict == NULL || dict->kind != TMPL_DICT || dict->dict->n == 0) {
        return n;
    }
    memcpy(pairs + n, dict->dict->pairs, dict->dict->n * sizeof(*pairs));
    return n + dict->dict->n;
}

static size_t add_var(struct tmpl_pair *pairs, size_t n, const char *name, struct tmpl_value value)
{
    pairs[n] = (struct tmpl_pair){name_value(name), value};
    return n + 1;
}

/* reasoning_effort also switches thinking for templates that know only that, unless the client
 * says otherwise. */
static size_t add_effort(struct tmpl_pair *pairs, size_t n, const struct openai_request *req)
{
    const struct wire_span effort = req->reasoning_effort;

    if (effort.len == 0) {
        return n;
    }
    if (req->template_kwargs.kind != TMPL_DICT ||
        tmpl_dict_get_str(&req->template_kwargs, "enable_thinking", 15) == NULL) {
        n = add_var(pairs, n, "enable_thinking",
                    tmpl_bool(!wire_span_equal(effort, wire_span_of("none"))));
    }
    return add_var(pairs, n, "reasoning_effort", tmpl_str(effort.at, (uint32_t)effort.len));
}

enum status openai_template_vars(const struct openai_request *req, const struct tmpl_value *base,
                                 struct arena *arena, struct tmpl_value *out)
{
    size_t n = OWN_VARS;
    struct tmpl_pair *pairs;

    n += base != NULL && base->kind == TMPL_DICT ? base->dict->n : 0;
    n += req->template_kwargs.kind == TMPL_DICT ? req->template_kwargs.dict->n : 0;
    pairs = arena_alloc(arena, n * sizeof(*pairs));
    if (pairs == NULL) {
        return STATUS_NO_MEMORY;
    }
    n = add_dict(pairs, 0, base);
    n = add_dict(pairs, n, &req->template_kwargs);
    n = add_effort(pairs, n, req);
    n = add_var(pairs, n, "messages", req->messages);
    n = add_var(pairs, n, "tools", req->tools);
    n = add_var(pairs, n, "documents", req->documents);
    n = add_var(pairs, n, "add_generation_prompt", tmpl_bool(req->add_generation_prompt));
    n = add_var(pairs, n, "continue_final_message", tmpl_bool(req->continue_final_message));
    return tmpl_dict_make(arena, pairs, n, out) == STATUS_OK ? STATUS_OK : STATUS_NO_MEMORY;
}
