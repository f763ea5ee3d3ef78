/* Bytes to structs and back. The reader walks one map of keys that it knows or skips; it takes no
 * memory, and a value that does not fit makes the message bad. */
#include "baton_wire.h"

#include <msgpack.h>
#include <stdlib.h>
#include <string.h>

#define DEPTH_MAX 4

/* ---- writing ---- */

struct message {
    msgpack_sbuffer bytes;
    msgpack_packer packer;
    bool failed;
};

static void put_key(struct message *message, const char *key)
{
    message->failed |= msgpack_pack_str(&message->packer, strlen(key)) != 0;
    message->failed |= msgpack_pack_str_body(&message->packer, key, strlen(key)) != 0;
}

/* Only the text, without a key. */
static void put_element(struct message *message, const char *text, size_t len)
{
    message->failed |= msgpack_pack_str(&message->packer, len) != 0;
    message->failed |= len > 0 && msgpack_pack_str_body(&message->packer, text, len) != 0;
}

static void put_text(struct message *message, const char *key, const char *text, size_t len)
{
    put_key(message, key);
    put_element(message, text, len);
}

static void put_number(struct message *message, const char *key, uint64_t value)
{
    put_key(message, key);
    message->failed |= msgpack_pack_uint64(&message->packer, value) != 0;
}

static void put_double(struct message *message, const char *key, double value)
{
    put_key(message, key);
    message->failed |= msgpack_pack_double(&message->packer, value) != 0;
}

static void put_true(struct message *message, const char *key)
{
    put_key(message, key);
    message->failed |= msgpack_pack_true(&message->packer) != 0;
}

static void put_id(struct message *message, const char *key, const uint8_t *id)
{
    put_key(message, key);
    message->failed |= msgpack_pack_bin(&message->packer, BATON_ID_BYTES) != 0;
    message->failed |= msgpack_pack_bin_body(&message->packer, id, BATON_ID_BYTES) != 0;
}

static void put_ids(struct message *message, const char *key, const uint32_t *ids, size_t n)
{
    put_key(message, key);
    message->failed |= msgpack_pack_array(&message->packer, n) != 0;
    for (size_t i = 0; i < n; i++)
        message->failed |= msgpack_pack_uint32(&message->packer, ids[i]) != 0;
}

static void put_doubles(struct message *message, const char *key, const double *values, size_t n)
{
    put_key(message, key);
    message->failed |= msgpack_pack_array(&message->packer, n) != 0;
    for (size_t i = 0; i < n; i++)
        message->failed |= msgpack_pack_double(&message->packer, values[i]) != 0;
}

static void message_begin(struct message *message, const char *name, size_t n_pairs)
{
    message->failed = false;
    msgpack_sbuffer_init(&message->bytes);
    msgpack_packer_init(&message->packer, &message->bytes, msgpack_sbuffer_write);
    message->failed |= msgpack_pack_map(&message->packer, 1 + n_pairs) != 0;
    put_text(message, "t", name, strlen(name));
}

static char *message_end(struct message *message, size_t *len_out)
{
    if (message->failed) {
        msgpack_sbuffer_destroy(&message->bytes);
        return NULL;
    }
    *len_out = message->bytes.size;
    return msgpack_sbuffer_release(&message->bytes);
}

char *baton_wire_hello(const char *agent, size_t *len_out)
{
    struct message message;

    message_begin(&message, "hello", 3);
    put_number(&message, "version_min", 1);
    put_number(&message, "version_max", 1);
    put_text(&message, "agent", agent, strnlen(agent, BATON_NAME_MAX - 1));
    return message_end(&message, len_out);
}

char *baton_wire_models(size_t *len_out)
{
    struct message message;

    message_begin(&message, "models", 0);
    return message_end(&message, len_out);
}

static void put_sampling(struct message *message, const struct baton_request *request)
{
    const size_t n_pairs = 10 + (request->n_stop_ids > 0) + (request->n_bias > 0 ? 2u : 0u) +
                           (request->n_allowed_ids > 0) + (request->n_bad_ids > 0) +
                           request->ignore_eos;

    put_key(message, "sampling");
    message->failed |= msgpack_pack_map(&message->packer, n_pairs) != 0;
    put_number(message, "max_tokens", request->max_tokens);
    put_number(message, "min_tokens", request->min_tokens);
    put_double(message, "temperature", request->temperature);
    put_number(message, "top_k", request->top_k);
    put_double(message, "top_p", request->top_p);
    put_double(message, "min_p", request->min_p);
    put_double(message, "repetition_penalty", request->repetition_penalty);
    put_double(message, "presence_penalty", request->presence_penalty);
    put_double(message, "frequency_penalty", request->frequency_penalty);
    put_number(message, "logprobs", request->logprobs);
    if (request->n_stop_ids > 0)
        put_ids(message, "stop_ids", request->stop_ids, request->n_stop_ids);
    if (request->n_bias > 0) {
        put_ids(message, "bias_ids", request->bias_ids, request->n_bias);
        put_doubles(message, "bias_values", request->bias_values, request->n_bias);
    }
    if (request->n_allowed_ids > 0)
        put_ids(message, "allowed_ids", request->allowed_ids, request->n_allowed_ids);
    if (request->n_bad_ids > 0)
        put_ids(message, "bad_ids", request->bad_ids, request->n_bad_ids);
    if (request->ignore_eos)
        put_true(message, "ignore_eos");
}

static void put_chat(struct message *message, const struct baton_turn *turns, size_t n)
{
    put_key(message, "roles");
    message->failed |= msgpack_pack_array(&message->packer, n) != 0;
    for (size_t i = 0; i < n; i++)
        put_element(message, turns[i].role, strlen(turns[i].role));
    put_key(message, "contents");
    message->failed |= msgpack_pack_array(&message->packer, n) != 0;
    for (size_t i = 0; i < n; i++)
        put_element(message, turns[i].content,
                    turns[i].content_len ? turns[i].content_len : strlen(turns[i].content));
}

static void put_stop(struct message *message, const struct baton_text *stop, size_t n)
{
    put_key(message, "stop");
    message->failed |= msgpack_pack_array(&message->packer, n) != 0;
    for (size_t i = 0; i < n; i++)
        put_element(message, stop[i].text, stop[i].len ? stop[i].len : strlen(stop[i].text));
}

char *baton_wire_generate(const char *label, const struct baton_request *request, size_t *len_out)
{
    const size_t n_pairs = 5 + (request->model != NULL) + (request->n_messages > 0) +
                           (request->seeded ? 2u : 0u) + (request->n_stop > 0) +
                           request->include_stop + request->keep_special + request->fit;
    struct message message;

    message_begin(&message, "generate", n_pairs);
    put_text(&message, "label", label, strlen(label));
    if (request->model)
        put_text(&message, "model", request->model, strlen(request->model));
    if (request->n_messages > 0)
        put_chat(&message, request->messages, request->n_messages);
    else if (request->n_tokens == 0)
        put_text(&message, "text", request->text,
                 request->text_len ? request->text_len : strlen(request->text));
    else
        put_ids(&message, "tokens", request->tokens, request->n_tokens);
    put_sampling(&message, request);
    if (request->seeded) {
        put_true(&message, "seeded");
        put_number(&message, "seed", request->seed);
    }
    if (request->n_stop > 0)
        put_stop(&message, request->stop, request->n_stop);
    if (request->include_stop)
        put_true(&message, "include_stop");
    if (request->keep_special)
        put_true(&message, "keep_special");
    if (request->fit)
        put_true(&message, "fit");
    put_number(&message, "deadline_ms", request->deadline_ms);
    put_number(&message, "credits", request->credits);
    return message_end(&message, len_out);
}

static void begin_with_resume(struct message *message, const char *name, const uint8_t *req,
                              const uint8_t *resume, size_t n_more)
{
    message_begin(message, name, 2 + n_more);
    put_id(message, "r", req);
    put_id(message, "resume", resume);
}

char *baton_wire_cancel(const uint8_t *req, const uint8_t *resume, size_t *len_out)
{
    struct message message;

    begin_with_resume(&message, "cancel", req, resume, 0);
    return message_end(&message, len_out);
}

char *baton_wire_credit(const uint8_t *req, const uint8_t *resume, uint32_t credits,
                        size_t *len_out)
{
    struct message message;

    begin_with_resume(&message, "credit", req, resume, 1);
    put_number(&message, "credits", credits);
    return message_end(&message, len_out);
}

char *baton_wire_attach(const uint8_t *req, const uint8_t *resume, uint32_t next, uint32_t credits,
                        size_t *len_out)
{
    struct message message;

    begin_with_resume(&message, "attach", req, resume, 2);
    put_number(&message, "next", next);
    put_number(&message, "credits", credits);
    return message_end(&message, len_out);
}

/* ---- reading ---- */

enum item_type { ITEM_NUMBER, ITEM_DOUBLE, ITEM_BYTES, ITEM_ARRAY, ITEM_MAP, ITEM_OTHER };

struct item {
    enum item_type type;
    uint64_t number;   /* NUMBER (a negative one as 0), truth values */
    double real;       /* DOUBLE */
    const uint8_t *at; /* BYTES and texts */
    uint32_t n;        /* BYTES, ARRAY, MAP (pairs) */
};

struct reader {
    const uint8_t *at;
    const uint8_t *end;
};

static bool take_number(struct reader *reader, uint32_t n, uint64_t *out)
{
    uint64_t value = 0;

    if (n > (uint64_t)(reader->end - reader->at))
        return false;
    for (uint32_t i = 0; i < n; i++)
        value = value << 8 | *reader->at++;
    *out = value;
    return true;
}

static bool take_bytes(struct reader *reader, uint64_t n, struct item *out)
{
    if (n > (uint64_t)(reader->end - reader->at))
        return false;
    out->type = ITEM_BYTES;
    out->at = reader->at;
    out->n = (uint32_t)n;
    reader->at += n;
    return true;
}

static bool take_head(enum item_type type, uint64_t n, struct item *out)
{
    out->type = type;
    out->n = (uint32_t)n;
    return true;
}

static bool take_float(uint64_t bits, bool is_double, struct item *out)
{
    uint32_t bits32 = (uint32_t)bits;
    float single;

    out->type = ITEM_DOUBLE;
    if (is_double) {
        memcpy(&out->real, &bits, sizeof(out->real));
    } else {
        memcpy(&single, &bits32, sizeof(single));
        out->real = (double)single;
    }
    return true;
}

/* The formats 0xc0 to 0xdf: a byte of format, then a number or length. */
static bool take_wide(struct reader *reader, uint8_t format, struct item *out)
{
    static const uint8_t width[32] = {0, 9, 0, 0, 1, 2, 4, 9, 9, 9, 4, 8, 1, 2, 4, 8,
                                      1, 2, 4, 8, 9, 9, 9, 9, 9, 1, 2, 4, 2, 4, 2, 4};
    uint64_t value;

    if (width[format - 0xc0] == 9 || !take_number(reader, width[format - 0xc0], &value))
        return false;
    if (format <= 0xc3) {
        out->type = format == 0xc0 ? ITEM_OTHER : ITEM_NUMBER;
        out->number = format == 0xc3;
        return true;
    }
    if (format <= 0xc6 || (format >= 0xd9 && format <= 0xdb))
        return take_bytes(reader, value, out);
    if (format <= 0xcb)
        return take_float(value, format == 0xcb, out);
    if (format >= 0xdc)
        return take_head(format <= 0xdd ? ITEM_ARRAY : ITEM_MAP, value, out);
    out->type = ITEM_NUMBER; /* the protocol has no negative numbers: they count as 0 */
    out->number = format <= 0xcf || !(value >> (8 * width[format - 0xc0] - 1)) ? value : 0;
    return true;
}

static bool take_item(struct reader *reader, struct item *out)
{
    uint8_t format;

    if (reader->at == reader->end)
        return false;
    format = *reader->at++;
    if (format <= 0x7f || format >= 0xe0) {
        out->type = ITEM_NUMBER;
        out->number = format <= 0x7f ? format : 0;
        return true;
    }
    if (format <= 0x8f)
        return take_head(ITEM_MAP, format & 0x0fu, out);
    if (format <= 0x9f)
        return take_head(ITEM_ARRAY, format & 0x0fu, out);
    if (format <= 0xbf)
        return take_bytes(reader, format & 0x1fu, out);
    return take_wide(reader, format, out);
}

/* Walks over the rest of a value whose head was taken. Depth is bounded, so is the recursion. */
static bool skip_rest(struct reader *reader, const struct item *item, int depth)
{
    uint64_t n = item->type == ITEM_MAP     ? 2 * (uint64_t)item->n
                 : item->type == ITEM_ARRAY ? item->n
                                            : 0;

    if (depth > DEPTH_MAX)
        return false;
    for (; n > 0; n--) {
        struct item inner = {.type = ITEM_OTHER};

        if (!take_item(reader, &inner) || !skip_rest(reader, &inner, depth + 1))
            return false;
    }
    return true;
}

/* One known key: what it is and where it goes. */
enum field_type { FIELD_U32, FIELD_U64, FIELD_F64, FIELD_TEXT, FIELD_ID, FIELD_SPAN };
struct field {
    const char *key;
    enum field_type type;
    size_t offset;
    size_t max; /* TEXT and SPAN: room with the end */
    size_t len; /* SPAN: offset of its length */
};

#define IN(member) offsetof(struct baton_in, member)
#define EVENT(type, name)                                                                          \
    {                                                                                              \
#name, type, IN(event.name), 0, 0                                                          \
    }
#define LEDGER(type, name)                                                                         \
    {                                                                                              \
#name, type, IN(event.ledger.name), 0, 0                                                   \
    }
#define MODEL(type, name)                                                                          \
    {                                                                                              \
#name, type, IN(event.model.name), 0, 0                                                    \
    }
#define LEDGER_TEXT(name)                                                                          \
    {                                                                                              \
#name, FIELD_TEXT, IN(event.ledger.name), BATON_NAME_MAX, 0                                \
    }

static const struct field fields[] = {
    {"r", FIELD_ID, IN(req), 0, 0},
    {"resume", FIELD_ID, IN(resume), 0, 0},
    {"label", FIELD_TEXT, IN(label), BATON_NAME_MAX, 0},
    {"text", FIELD_SPAN, IN(event.text), BATON_TEXT_MAX, IN(event.text_len)},
    {"reason", FIELD_TEXT, IN(event.reason), BATON_NAME_MAX, 0},
    {"stop_text", FIELD_SPAN, IN(event.stop_text), BATON_STOP_MAX, IN(event.stop_text_len)},
    {"fingerprint", FIELD_TEXT, IN(event.fingerprint), BATON_NAME_MAX, 0},
    {"server", FIELD_TEXT, IN(event.server), BATON_NAME_MAX, 0},
    EVENT(FIELD_U32, index),
    EVENT(FIELD_U32, token),
    EVENT(FIELD_F64, logprob),
    EVENT(FIELD_U64, seed),
    EVENT(FIELD_U32, prompt_tokens),
    EVENT(FIELD_U32, n_tokens),
    EVENT(FIELD_U32, stop_id),
    EVENT(FIELD_U32, code),
    EVENT(FIELD_U32, retry_ms),
    MODEL(FIELD_U32, len_max),
    MODEL(FIELD_U32, samples),
    MODEL(FIELD_U32, chats),
    MODEL(FIELD_U32, ready),
};

/* Of the map `sampling` of a model_list. */
static const struct field model_fields[] = {
    MODEL(FIELD_F64, temperature),        MODEL(FIELD_F64, top_p), MODEL(FIELD_F64, min_p),
    MODEL(FIELD_F64, repetition_penalty), MODEL(FIELD_U32, top_k),
};

static const struct field ledger_fields[] = {
    LEDGER(FIELD_U64, router_queue_us), LEDGER(FIELD_U64, prefill_queue_us),
    LEDGER(FIELD_U64, prefill_us),      LEDGER(FIELD_U64, transfer_us),
    LEDGER(FIELD_U64, transfer_bytes),  LEDGER(FIELD_U64, decode_queue_us),
    LEDGER(FIELD_U64, first_step_us),   LEDGER(FIELD_U64, decode_us),
    LEDGER(FIELD_U64, first_token_us),  LEDGER(FIELD_U64, total_us),
    LEDGER(FIELD_U32, prompt_tokens),   LEDGER(FIELD_U32, emitted_tokens),
    LEDGER(FIELD_U32, attempts),        LEDGER_TEXT(transfer_path),
    LEDGER_TEXT(prefill_node),          LEDGER_TEXT(decode_node),
};

static bool set_field(const struct field *field, const struct item *item, struct baton_in *out)
{
    char *to = (char *)out + field->offset;
    const uint32_t small = (uint32_t)item->number;
    const size_t len = item->n;

    switch (field->type) {
    case FIELD_U32:
        memcpy(to, &small, sizeof(small));
        return item->type == ITEM_NUMBER && item->number <= UINT32_MAX;
    case FIELD_U64:
        memcpy(to, &item->number, sizeof(item->number));
        return item->type == ITEM_NUMBER;
    case FIELD_F64:
        memcpy(to, &item->real, sizeof(item->real));
        return item->type == ITEM_DOUBLE;
    case FIELD_ID:
        if (item->type != ITEM_BYTES || item->n != BATON_ID_BYTES)
            return false;
        memcpy(to, item->at, BATON_ID_BYTES);
        out->has_req |= field->offset == IN(req);
        return true;
    case FIELD_TEXT:
    case FIELD_SPAN:
        break;
    }
    if (item->type != ITEM_BYTES || item->n >= field->max)
        return false;
    memcpy(to, item->at, item->n);
    to[item->n] = '\0';
    if (field->type == FIELD_SPAN)
        memcpy((char *)out + field->len, &len, sizeof(len));
    return true;
}

/* The head of top_ids has been taken: so many ids follow. */
static bool take_top_ids(struct reader *reader, uint32_t n, struct baton_event *event)
{
    if (n > BATON_TOPS_MAX)
        return false;
    for (uint32_t i = 0; i < n; i++) {
        struct item item = {.type = ITEM_OTHER};

        if (!take_item(reader, &item) || item.type != ITEM_NUMBER || item.number > UINT32_MAX)
            return false;
        event->tops[i].token = (uint32_t)item.number;
    }
    event->n_tops = n;
    return true;
}

/* 8 bytes each, little-endian. */
static bool take_top_logprobs(const struct item *item, struct baton_in *out)
{
    if (item->type != ITEM_BYTES || item->n > 8 * BATON_TOPS_MAX || item->n % 8 != 0)
        return false;
    out->n_top_logprobs = item->n / 8;
    for (uint32_t i = 0; i < out->n_top_logprobs; i++) {
        uint64_t bits = 0;

        for (uint32_t k = 8; k > 0; k--)
            bits = bits << 8 | item->at[8 * i + k - 1];
        memcpy(&out->event.tops[i].logprob, &bits, sizeof(bits));
    }
    return true;
}

static bool key_is(const struct item *key, const char *name)
{
    return key->type == ITEM_BYTES && key->n == strlen(name) && memcmp(key->at, name, key->n) == 0;
}

static enum baton_kind kind_of(const struct item *name)
{
    static const char *const names[] = {"",     "welcome", "accepted",  "token",
                                        "done", "failed",  "heartbeat", "model_list"};

    for (size_t i = 1; i < sizeof(names) / sizeof(names[0]); i++)
        if (key_is(name, names[i]))
            return (enum baton_kind)i;
    return BATON_KIND_OTHER;
}

/* The head of names has been taken: a router serves one. */
static bool take_names(struct reader *reader, uint32_t n, struct baton_event *event)
{
    for (uint32_t i = 0; i < n; i++) {
        struct item item = {.type = ITEM_OTHER};

        if (!take_item(reader, &item) || item.type != ITEM_BYTES || item.n >= BATON_NAME_MAX)
            return false;
        if (i == 0)
            memcpy(event->model.name, item.at, item.n); /* the rest is zero */
    }
    return true;
}

static bool read_map(struct reader *reader, uint32_t n_pairs, const struct field *known,
                     size_t n_known, bool is_top, struct baton_in *out);

/* Keys of the top level whose values are not a single field. False in *known_out: it is none. */
static bool take_nested(struct reader *reader, const struct item *key, const struct item *value,
                        struct baton_in *out, bool *known_out)
{
    *known_out = true;
    if (key_is(key, "ledger") && value->type == ITEM_MAP)
        return read_map(reader, value->n, ledger_fields,
                        sizeof(ledger_fields) / sizeof(ledger_fields[0]), false, out);
    if (key_is(key, "sampling") && value->type == ITEM_MAP)
        return read_map(reader, value->n, model_fields,
                        sizeof(model_fields) / sizeof(model_fields[0]), false, out);
    if (key_is(key, "names") && value->type == ITEM_ARRAY)
        return take_names(reader, value->n, &out->event);
    if (key_is(key, "top_ids") && value->type == ITEM_ARRAY)
        return take_top_ids(reader, value->n, &out->event);
    *known_out = false;
    return true;
}

static bool read_map(struct reader *reader, uint32_t n_pairs, const struct field *known,
                     size_t n_known, bool is_top, struct baton_in *out)
{
    for (uint32_t i = 0; i < n_pairs; i++) {
        struct item key = {.type = ITEM_OTHER}, value = {.type = ITEM_OTHER};
        bool nested = false;
        size_t k = 0;

        if (!take_item(reader, &key) || !skip_rest(reader, &key, 1) || !take_item(reader, &value))
            return false;
        if (is_top && !take_nested(reader, &key, &value, out, &nested))
            return false;
        if (nested)
            continue;
        if (is_top && key_is(&key, "top_logprobs") && !take_top_logprobs(&value, out))
            return false;
        if (is_top && key_is(&key, "t"))
            out->kind = kind_of(&value);
        while (k < n_known && !key_is(&key, known[k].key))
            k++;
        if (k < n_known && !set_field(&known[k], &value, out))
            return false;
        if (!skip_rest(reader, &value, 1))
            return false;
    }
    return true;
}

bool baton_wire_read(const uint8_t *bytes, size_t len, struct baton_in *out)
{
    struct reader reader = {.at = bytes, .end = bytes + len};
    struct item top = {.type = ITEM_OTHER};

    memset(out, 0, sizeof(*out));
    out->event.stop_id = BATON_NO_ID;
    out->event.model.temperature = out->event.model.top_p = 1;
    out->event.model.repetition_penalty = 1;
    return len <= BATON_MESSAGE_BYTES_MAX && take_item(&reader, &top) && top.type == ITEM_MAP &&
           read_map(&reader, top.n, fields, sizeof(fields) / sizeof(fields[0]), true, out) &&
           reader.at == reader.end && out->event.n_tops == out->n_top_logprobs;
}
