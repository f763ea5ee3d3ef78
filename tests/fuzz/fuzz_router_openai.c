/* The first byte chooses the API, the rest is a body: read into a request that holds what its
 * header promises, or refused with a sentence. Then the same bytes as the text of answers, which
 * must be JSON whatever they are. */
#include "tests/fuzz/fuzz.h"

#include <jansson.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "router/openai_info.h"
#include "router/openai_reply.h"

#define VOCAB 1000
#define TEXT_MAX 200 /* of what is written: reading it back is the slow part */

static void check_ids(struct wire_u32s ids, size_t max)
{
    CHECK(ids.n <= max);
    for (size_t i = 0; i < ids.n; i++) {
        CHECK(ids.at[i] < VOCAB);
    }
}

static void check_texts(struct wire_texts texts, size_t n_max, size_t bytes_max)
{
    CHECK(texts.n <= n_max);
    for (size_t i = 0; i < texts.n; i++) {
        CHECK(texts.at[i].len >= 1 && texts.at[i].len <= bytes_max);
    }
}

static void check_request(const struct openai_request *req, struct arena *arena)
{
    const struct wire_sampling *sampling = &req->sampling;
    struct tmpl_value vars;

    CHECK(req->is_chat == (req->messages.kind == TMPL_LIST));
    CHECK(req->is_chat || req->n_prompts >= 1);
    CHECK(req->n >= 1 && req->n <= OPENAI_N_MAX);
    CHECK(req->is_chat || req->n_prompts * req->n <= OPENAI_CHOICES_MAX);
    CHECK(sampling->temperature >= 0 && sampling->temperature <= 100);
    CHECK(sampling->top_p > 0 && sampling->top_p <= 1);
    CHECK(sampling->repetition_penalty > 0 && sampling->logprobs <= WIRE_TOPS_MAX);
    CHECK(sampling->max_tokens > 0 || req->api != OPENAI_COMPLETIONS);
    CHECK(sampling->bias_ids.n == sampling->bias_values.n);
    check_ids(sampling->bias_ids, WIRE_BIAS_MAX);
    check_ids(sampling->allowed_ids, WIRE_ALLOWED_MAX);
    check_ids(sampling->stop_ids, WIRE_STOP_IDS_MAX);
    check_texts(req->stops, OPENAI_STOPS_MAX, OPENAI_STOP_BYTES_MAX);
    check_texts(req->bad_words, WIRE_BAD_MAX, WIRE_NAME_MAX);
    for (size_t i = 0; i < req->n_prompts; i++) {
        check_ids(req->prompts[i].ids, WIRE_TOKENS_MAX);
    }
    for (size_t i = 0; i < req->messages.len && req->is_chat; i++) {
        const struct tmpl_value *content = tmpl_dict_get_str(&req->messages.items[i], "content", 7);

        CHECK(content != NULL && content->kind == TMPL_STRING);
    }
    if (req->is_chat) {
        CHECK(openai_template_vars(req, NULL, arena, &vars) == STATUS_OK);
    }
}

static void check_json(struct buf *out, size_t skip)
{
    json_t *json = json_loadb((const char *)buf_data(out) + skip, buf_len(out) - skip,
                              JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);

    CHECK(json != NULL);
    json_decref(json);
    buf_clear(out);
}

static void write_answers(const struct openai_request *req, struct wire_span text, struct buf *out)
{
    const struct wire_span half = {text.at, text.len / 2};
    const struct openai_top tops[] = {{1, half, -1}, {2, text, -2}, {3, half, -3}};
    const struct openai_token token = {9, text, -0.5, 3, tops, 3};
    const struct openai_call call = {0, half, text, text};
    const struct openai_usage usage = {1, 2, 0};
    const bool is_chat = req->api == OPENAI_CHAT;
    const struct openai_piece piece = {.first = true,
                                       .text = text,
                                       .tokens = &token,
                                       .n_tokens = 1,
                                       .calls = &call,
                                       .n_calls = is_chat,
                                       .finish = "stop",
                                       .stop_text = half};
    struct openai_answer answer = openai_answer_of(req);

    answer.id = answer.model = answer.fingerprint = text;
    answer.logprobs = true;
    CHECK(openai_reply_whole(&answer, &piece, 1, &usage, out) == STATUS_OK);
    if (is_chat || memchr(text.at, 0, text.len) == NULL) { /* jansson knows no name with a NUL */
        check_json(out, 0);
    }
    buf_clear(out);
    answer.logprobs = false;
    CHECK(openai_reply_whole(&answer, &piece, 1, &usage, out) == STATUS_OK);
    check_json(out, 0);
    CHECK(openai_reply_chunk(&answer, &piece, &usage, out) == STATUS_OK);
    check_json(out, strlen("data: "));
    CHECK(openai_info_detokenized(text, out) == STATUS_OK);
    check_json(out, 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct openai_request_cfg cfg = {.vocab = VOCAB};
    struct openai_request req = {0};
    struct openai_error error;
    struct arena *arena;
    struct buf out;

    if (size == 0) {
        return 0;
    }
    const enum openai_api api = (enum openai_api)(data[0] % 4);
    const struct wire_span rest = {(const char *)data + 1, size - 1};
    CHECK(arena_create(4096, OPENAI_ARENA_MAX, &arena) == STATUS_OK);
    buf_init(&out, 64 * size + 65536);
    if (openai_request_read(&cfg, api, rest.at, rest.len, arena, &error, &req) == STATUS_OK) {
        check_request(&req, arena);
    } else {
        CHECK(strlen(error.message) > 10 && (error.http == 400 || error.http == 413));
        CHECK(openai_error_body(&error, &out) == STATUS_OK);
        check_json(&out, 0);
        req.api = api;
    }
    write_answers(&req, (struct wire_span){rest.at, rest.len < TEXT_MAX ? rest.len : TEXT_MAX},
                  &out);
    buf_fini(&out);
    arena_destroy(arena);
    CHECK(mem_live() == 0);
    return 0;
}
