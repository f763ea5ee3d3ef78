/* Readers of a request's plain fields, and what all readers say when a value is not what it should
 * be. Chats are read by openai_chat.c. */
#include "router/openai_fields.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define FOUND_MAX 96      /* bytes of a description */
#define FOUND_TEXT_MAX 40 /* of a text that is shown */
#define TWO_POW_63 9223372036854775808.0

/* ---- what is said --------------------------------------------------------------------------- */

static void describe_text(const json_t *value, char *out)
{
    const char *text = json_string_value(value);
    size_t len = json_string_length(value), shown = len;

    if (len > FOUND_TEXT_MAX) {
        shown = FOUND_TEXT_MAX;
        while (shown > 0 && ((unsigned char)text[shown] & 0xC0) == 0x80) {
            shown--; /* not in the middle of a character */
        }
    }
    if (len == 0) {
        snprintf(out, FOUND_MAX, "an empty string");
    } else {
        snprintf(out, FOUND_MAX, "the string \"%.*s\"%s", (int)shown, text,
                 shown < len ? "..." : "");
    }
}

/* A value as the end of a sentence, in out[FOUND_MAX]. */
static void describe(const json_t *value, char *out)
{
    switch (value == NULL ? JSON_NULL : json_typeof(value)) {
    case JSON_OBJECT:
        snprintf(out, FOUND_MAX, "an object");
        break;
    case JSON_ARRAY:
        snprintf(out, FOUND_MAX, "an array of %zu", json_array_size(value));
        break;
    case JSON_STRING:
        describe_text(value, out);
        break;
    case JSON_INTEGER:
        snprintf(out, FOUND_MAX, "%" PRId64, (int64_t)json_integer_value(value));
        break;
    case JSON_REAL:
        snprintf(out, FOUND_MAX, "%.17g", json_real_value(value));
        break;
    case JSON_TRUE:
        snprintf(out, FOUND_MAX, "true");
        break;
    case JSON_FALSE:
        snprintf(out, FOUND_MAX, "false");
        break;
    default:
        snprintf(out, FOUND_MAX, "%s", value == NULL ? "nothing" : "null");
    }
}

void openai_place(char *out, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(out, OPENAI_PARAM_MAX, format, args);
    va_end(args);
}

enum status openai_wrong(struct openai_reader *reader, const char *name, const json_t *found,
                         const char *expected, ...)
{
    char what[FOUND_MAX], wanted[256];
    va_list args;

    va_start(args, expected);
    vsnprintf(wanted, sizeof(wanted), expected, args);
    va_end(args);
    describe(found, what);
    openai_error_set(reader->error, 400,
                     found == NULL ? "missing_required_parameter" : "invalid_value", name,
                     "%s: expected %s, found %s", name, wanted, what);
    return STATUS_INVALID;
}

enum status openai_refuse(struct openai_reader *reader, const char *name, const char *code,
                          const char *format, ...)
{
    char sentence[512];
    va_list args;

    va_start(args, format);
    vsnprintf(sentence, sizeof(sentence), format, args);
    va_end(args);
    openai_error_set(reader->error, 400, code, name, "%s: %s", name, sentence);
    return STATUS_INVALID;
}

enum status openai_no_room(struct openai_reader *reader)
{
    openai_error_set(reader->error, 413, "request_too_large", NULL,
                     "the request takes more memory than one request may: send less at once");
    return STATUS_TOO_BIG;
}

/* ---- plain values --------------------------------------------------------------------------- */

bool openai_integer(const json_t *value, int64_t low, int64_t high, int64_t *out)
{
    int64_t integer;

    if (json_is_integer(value)) {
        integer = json_integer_value(value);
    } else {
        const double real = json_real_value(value);

        if (!json_is_real(value) || real != floor(real) || !(fabs(real) < TWO_POW_63)) {
            return false;
        }
        integer = (int64_t)real;
    }
    if (integer < low || integer > high) {
        return false;
    }
    *out = integer;
    return true;
}

enum status openai_integer_read(struct openai_reader *reader, const char *name, const json_t *value,
                                int64_t low, int64_t high, int64_t *out)
{
    if (!openai_integer(value, low, high, out)) {
        return openai_wrong(reader, name, value, "an integer from %" PRId64 " to %" PRId64, low,
                            high);
    }
    return STATUS_OK;
}

enum status openai_text_read(struct openai_reader *reader, const char *name, const json_t *value,
                             size_t low, size_t high, struct wire_span *out)
{
    const size_t len = json_string_length(value);
    char *text;

    if (!json_is_string(value)) {
        return openai_wrong(reader, name, value, "a string");
    }
    if (len < low || len > high) {
        return openai_wrong(reader, name, value, "a string of %zu to %zu bytes", low, high);
    }
    text = arena_memdup(reader->arena, json_string_value(value), len);
    if (text == NULL) {
        return openai_no_room(reader);
    }
    *out = (struct wire_span){text, len};
    return STATUS_OK;
}

static enum status id_read(struct openai_reader *reader, const char *name, size_t at,
                           const json_t *value, uint32_t *out)
{
    const uint32_t vocab = reader->cfg.vocab;
    char place[OPENAI_PARAM_MAX];
    int64_t id;

    if (openai_integer(value, 0, vocab > 0 ? (int64_t)vocab - 1 : UINT32_MAX, &id)) {
        *out = (uint32_t)id;
        return STATUS_OK;
    }
    openai_place(place, "%s[%zu]", name, at);
    if (vocab > 0) {
        return openai_wrong(reader, place, value,
                            "a token id below the model's vocabulary of %" PRIu32, vocab);
    }
    return openai_wrong(reader, place, value, "a token id");
}

enum status openai_ids_read(struct openai_reader *reader, const char *name, const json_t *value,
                            size_t low, size_t high, struct wire_u32s *out)
{
    const size_t n = json_array_size(value);
    enum status status = STATUS_OK;
    uint32_t *ids;

    if (!json_is_array(value) || n < low || n > high) {
        return openai_wrong(reader, name, value, "an array of %zu to %zu token ids", low, high);
    }
    ids = arena_alloc(reader->arena, n * sizeof(*ids));
    if (ids == NULL) {
        return openai_no_room(reader);
    }
    for (size_t i = 0; i < n && status == STATUS_OK; i++) {
        status = id_read(reader, name, i, json_array_get(value, i), &ids[i]);
    }
    if (status == STATUS_OK) {
        *out = (struct wire_u32s){ids, n};
    }
    return status;
}

/* ---- members -------------------------------------------------------------------------------- */

static void *member(struct openai_reader *reader, const struct openai_field *field)
{
    return (char *)reader->req + field->offset;
}

OPENAI_READER(openai_read_flag)
{
    if (!json_is_boolean(value)) {
        return openai_wrong(reader, field->name, value, "true or false");
    }
    *(bool *)member(reader, field) = json_is_true(value);
    return STATUS_OK;
}

OPENAI_READER(openai_read_u32)
{
    int64_t integer = 0;
    const enum status status = openai_integer_read(reader, field->name, value, (int64_t)field->low,
                                                   (int64_t)field->high, &integer);

    if (status == STATUS_OK) {
        *(uint32_t *)member(reader, field) = (uint32_t)integer;
    }
    return status;
}

OPENAI_READER(openai_read_f64)
{
    const double number = json_number_value(value);

    if (!json_is_number(value) || !(number >= field->low && number <= field->high)) {
        return openai_wrong(reader, field->name, value, "a number from %g to %g", field->low,
                            field->high);
    }
    *(double *)member(reader, field) = number;
    return STATUS_OK;
}

OPENAI_READER(openai_read_above)
{
    const double number = json_number_value(value);

    if (!json_is_number(value) || !(number > field->low && number <= field->high)) {
        return openai_wrong(reader, field->name, value, "a number above %g and at most %g",
                            field->low, field->high);
    }
    *(double *)member(reader, field) = number;
    return STATUS_OK;
}

OPENAI_READER(openai_read_name)
{
    return openai_text_read(reader, field->name, value, 1, (size_t)field->high,
                            member(reader, field));
}

OPENAI_READER(openai_read_ids)
{
    return openai_ids_read(reader, field->name, value, (size_t)field->low, (size_t)field->high,
                           member(reader, field));
}

OPENAI_READER(openai_read_texts)
{
    const size_t n = json_is_array(value) ? json_array_size(value) : 1;
    const size_t n_max = (size_t)field->low, bytes_max = (size_t)field->high;
    enum status status = STATUS_OK;
    struct wire_span *texts;
    char place[OPENAI_PARAM_MAX];

    if (!(json_is_array(value) || json_is_string(value)) || n > n_max) {
        return openai_wrong(reader, field->name, value, "a string or an array of at most %zu",
                            n_max);
    }
    texts = arena_alloc(reader->arena, n * sizeof(*texts));
    if (texts == NULL) {
        return openai_no_room(reader);
    }
    for (size_t i = 0; i < n && status == STATUS_OK; i++) {
        const bool alone = json_is_string(value);

        openai_place(place, alone ? "%s" : "%s[%zu]", field->name, i);
        status = openai_text_read(reader, place, alone ? value : json_array_get(value, i), 1,
                                  bytes_max, &texts[i]);
    }
    if (status == STATUS_OK) {
        *(struct wire_texts *)member(reader, field) = (struct wire_texts){texts, n};
    }
    return status;
}

/* ---- prompts -------------------------------------------------------------------------------- */

#define PROMPT_IS "a string, an array of strings, of token ids, or of arrays of token ids"

/* One of several. */
static enum status prompt_read(struct openai_reader *reader, size_t at, const json_t *value,
                               struct openai_prompt *out)
{
    char place[OPENAI_PARAM_MAX];

    *out = (struct openai_prompt){0};
    openai_place(place, "prompt[%zu]", at);
    if (json_is_array(value)) {
        return openai_ids_read(reader, place, value, 1, WIRE_TOKENS_MAX, &out->ids);
    }
    return openai_text_read(reader, place, value, 0, WIRE_TEXT_MAX, &out->text);
}

static enum status prompts_read(struct openai_reader *reader, const json_t *value,
                                struct openai_prompt *prompts, size_t n)
{
    const json_t *first = json_array_get(value, 0);
    enum status status = STATUS_OK;

    if (!json_is_array(value)) {
        return openai_text_read(reader, "prompt", value, 0, WIRE_TEXT_MAX, &prompts->text);
    }
    if (json_is_number(first)) {
        return openai_ids_read(reader, "prompt", value, 1, WIRE_TOKENS_MAX, &prompts->ids);
    }
    for (size_t i = 0; i < n && status == STATUS_OK; i++) {
        const json_t *one = json_array_get(value, i);

        if (json_typeof(one) != json_typeof(first)) {
            return openai_wrong(reader, "prompt", one, "elements of one kind, as the first is");
        }
        status = prompt_read(reader, i, one, &prompts[i]);
    }
    return status;
}

OPENAI_READER(openai_read_prompt)
{
    const json_t *first = json_array_get(value, 0);
    const bool is_list = json_is_array(value) && !json_is_number(first);
    const size_t n = is_list ? json_array_size(value) : 1;
    struct openai_prompt *prompts;
    enum status status;

    if (reader->req->api == OPENAI_TOKENIZE && !json_is_string(value)) {
        return openai_wrong(reader, field->name, value, "a string");
    }
    if (!(json_is_string(value) || json_is_array(value)) ||
        (is_list && !json_is_string(first) && !json_is_array(first))) {
        return openai_wrong(reader, field->name, is_list && first != NULL ? first : value,
                            PROMPT_IS);
    }
    if (n > OPENAI_PROMPTS_MAX) {
        return openai_wrong(reader, field->name, value, "at most %d prompts", OPENAI_PROMPTS_MAX);
    }
    prompts = arena_alloc_zero(reader->arena, n, sizeof(*prompts));
    if (prompts == NULL) {
        return openai_no_room(reader);
    }
    status = prompts_read(reader, value, prompts, n);
    if (status == STATUS_OK) {
        reader->req->prompts = prompts;
        reader->req->n_prompts = n;
    }
    return status;
}

OPENAI_READER(openai_read_tokens)
{
    struct openai_prompt *prompt = arena_alloc_zero(reader->arena, 1, sizeof(*prompt));
    enum status status;

    if (prompt == NULL) {
        return openai_no_room(reader);
    }
    status = openai_ids_read(reader, field->name, value, 0, WIRE_TOKENS_MAX, &prompt->ids);
    if (status == STATUS_OK) {
        reader->req->prompts = prompt;
        reader->req->n_prompts = 1;
    }
    return status;
}

/* ---- fields with a rule of their own --------------------------------------------------------- */

OPENAI_READER(openai_read_seed)
{
    int64_t seed = 0;
    const enum status status =
        openai_integer_read(reader, field->name, value, INT64_MIN, INT64_MAX, &seed);

    if (status == STATUS_OK) {
        reader->req->seeded = true;
        reader->req->seed = (uint64_t)seed;
    }
    return status;
}

OPENAI_READER(openai_read_priority)
{
    return openai_integer_read(reader, field->name, value, INT64_MIN, INT64_MAX,
                               &reader->req->priority);
}

OPENAI_READER(openai_read_top_k)
{
    int64_t top_k = 0;
    const enum status status = openai_integer_read(reader, field->name, value, (int64_t)field->low,
                                                   (int64_t)field->high, &top_k);

    if (status == STATUS_OK) {
        reader->req->sampling.top_k = top_k < 0 ? 0 : (uint32_t)top_k; /* both mean: all */
    }
    return status;
}

/* A token id as a member's name: plain digits, so that no id has two names. */
static bool id_of_name(const char *name, uint32_t vocab, uint32_t *out)
{
    uint64_t id = 0;
    size_t n = 0;

    for (; name[n] >= '0' && name[n] <= '9' && n < 10; n++) {
        id = id * 10 + (uint64_t)(name[n] - '0');
    }
    if (n == 0 || name[n] != '\0' || (name[0] == '0' && n > 1) || id > UINT32_MAX ||
        (vocab > 0 && id >= vocab)) {
        return false;
    }
    *out = (uint32_t)id;
    return true;
}

OPENAI_READER(openai_read_logit_bias)
{
    const size_t n = json_object_size(value);
    json_t *object = (json_t *)(uintptr_t)value; /* only read */
    uint32_t *ids = arena_alloc(reader->arena, n * sizeof(*ids));
    double *biases = arena_alloc(reader->arena, n * sizeof(*biases));
    const char *name;
    json_t *bias;
    size_t i = 0;

    if (!json_is_object(value) || n > WIRE_BIAS_MAX) {
        return openai_wrong(reader, field->name, value,
                            "an object of at most %u token ids and biases", WIRE_BIAS_MAX);
    }
    if (ids == NULL || biases == NULL) {
        return openai_no_room(reader);
    }
    json_object_foreach(object, name, bias)
    {
        if (!id_of_name(name, reader->cfg.vocab, &ids[i])) {
            return openai_refuse(reader, field->name, "invalid_value",
                                 "expected token ids of the model as names, found \"%.40s\"", name);
        }
        biases[i] = json_number_value(bias);
        if (!json_is_number(bias) || !(fabs(biases[i]) <= 100)) {
            return openai_wrong(reader, field->name, bias, "biases from -100 to 100");
        }
        i++;
    }
    reader->req->sampling.bias_ids = (struct wire_u32s){ids, n};
    reader->req->sampling.bias_values = (struct wire_f64s){biases, n};
    return STATUS_OK;
}

OPENAI_READER(openai_read_max_tokens)
{
    int64_t n = 0;
    const enum status status = openai_integer_read(reader, field->name, value, (int64_t)field->low,
                                                   (int64_t)field->high, &n);

    if (status == STATUS_OK && !reader->max_completion_given) {
        reader->req->sampling.max_tokens = (uint32_t)n;
    }
    return status;
}

OPENAI_READER(openai_read_max_completion)
{
    reader->max_completion_given = false;
    const enum status status = openai_read_max_tokens(reader, field, value);

    reader->max_completion_given = true; /* the newer name wins */
    return status;
}

OPENAI_READER(openai_read_logprobs)
{
    reader->req->logprobs = true;
    return openai_read_u32(reader, field, value);
}

OPENAI_READER(openai_read_top_logprobs)
{
    reader->top_logprobs_given = !json_is_integer(value) || json_integer_value(value) > 0;
    return openai_read_u32(reader, field, value);
}

OPENAI_READER(openai_read_generation_prompt)
{
    reader->generation_prompt_given = true;
    return openai_read_flag(reader, field, value);
}

OPENAI_READER(openai_read_special_tokens)
{
    reader->special_tokens_given = true;
    return openai_read_flag(reader, field, value);
}

/* stream_options' own flags; others (include_obfuscation) change nothing here. */
OPENAI_READER(openai_read_stream_options)
{
    const struct {
        const char *name, *place;
        bool *to;
    } flags[] = {
        {"include_usage", "stream_options.include_usage", &reader->req->include_usage},
        {"continuous_usage_stats", "stream_options.continuous_usage_stats",
         &reader->req->continuous_usage},
    };

    if (!json_is_object(value)) {
        return openai_wrong(reader, field->name, value, "an object");
    }
    reader->stream_options_given = true;
    for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
        const json_t *flag = json_object_get(value, flags[i].name);

        if (flag == NULL || json_is_null(flag)) {
            continue;
        }
        if (!json_is_boolean(flag)) {
            return openai_wrong(reader, flags[i].place, flag, "true or false");
        }
        *flags[i].to = json_is_true(flag);
    }
    return STATUS_OK;
}
