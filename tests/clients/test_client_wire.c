/* libbaton's messages against the codec of the router: what one writes the other reads, and the
 * reader refuses what is not the protocol. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/rand.h"
#include "clients/c/baton_wire.h"
#include "wire/msg.h"

static struct arena *arena;

static int setup(void **state)
{
    (void)state;
    return arena_create(4096, 1 << 20, &arena) != STATUS_OK;
}

static int teardown(void **state)
{
    (void)state;
    arena_destroy(arena);
    return 0;
}

/* What the router understands of a request; bytes stay until the arena goes. */
static struct wire_generate router_reads(const struct baton_request *request)
{
    size_t len = 0;
    char *bytes = baton_wire_generate("label", request, &len);
    void *copy = arena_memdup(arena, bytes, len);
    const char *why = "";
    struct wire_msg msg;

    assert_non_null(copy);
    free(bytes);
    if (wire_msg_decode(copy, len, arena, &msg, &why) != STATUS_OK)
        fail_msg("%s", why);
    assert_int_equal(msg.kind, WIRE_KIND_GENERATE);
    return msg.generate;
}

static void sampling_arrives(void **state)
{
    static const uint32_t ids[] = {1, 2, 70000}, bias_ids[] = {7, 8}, bad[] = {9};
    static const double bias[] = {-100, 0.5};
    struct baton_request request;

    (void)state;
    baton_request_init(&request);
    request.tokens = ids;
    request.n_tokens = 3;
    request.bias_ids = bias_ids;
    request.bias_values = bias;
    request.n_bias = 2;
    request.allowed_ids = ids;
    request.n_allowed_ids = 3;
    request.bad_ids = bad;
    request.n_bad_ids = 1;
    request.logprobs = 5;
    const struct wire_generate got = router_reads(&request);
    assert_int_equal(got.tokens.n, 3);
    assert_int_equal(got.sampling.logprobs, 5);
    assert_int_equal(got.sampling.bias_ids.n, 2);
    assert_memory_equal(got.sampling.bias_ids.at, bias_ids, sizeof(bias_ids));
    assert_int_equal(got.sampling.bias_values.n, 2);
    assert_memory_equal(got.sampling.bias_values.at, bias, sizeof(bias));
    assert_int_equal(got.sampling.allowed_ids.n, 3);
    assert_memory_equal(got.sampling.allowed_ids.at, ids, sizeof(ids));
    assert_int_equal(got.sampling.bad_ids.n, 1);
    assert_int_equal(got.sampling.bad_ids.at[0], 9);
    /* What is not asked for is not sent. */
    baton_request_init(&request);
    request.text = "x";
    const struct wire_generate plain = router_reads(&request);
    assert_int_equal(plain.sampling.bias_ids.n + plain.sampling.allowed_ids.n, 0);
    assert_int_equal(plain.text.len, 1);
    assert_int_equal(plain.roles.n, 0);
}

static void chats_arrive(void **state)
{
    static char long_text[3000];
    const struct baton_turn turns[] = {{"system", "", 0}, {"user", long_text, sizeof(long_text)}};
    struct baton_request request;

    (void)state;
    memset(long_text, 'x', sizeof(long_text));
    baton_request_init(&request);
    request.messages = turns;
    request.n_messages = 2;
    const struct wire_generate got = router_reads(&request);
    assert_int_equal(got.roles.n, 2);
    assert_int_equal(got.contents.n, 2);
    assert_int_equal(got.text.len + got.tokens.n, 0);
    assert_true(wire_span_equal(got.roles.at[1], wire_span_of("user")));
    assert_int_equal(got.contents.at[0].len, 0);
    assert_int_equal(got.contents.at[1].len, sizeof(long_text));
}

static void stops_arrive(void **state)
{
    static char longest[WIRE_STOP_BYTES_MAX];
    const struct baton_text stop[] = {{"END", 0}, {longest, sizeof(longest)}, {"a\0b", 3}};
    struct baton_request request;

    (void)state;
    memset(longest, 'x', sizeof(longest));
    baton_request_init(&request);
    request.text = "x";
    const struct wire_generate plain = router_reads(&request);
    assert_int_equal(plain.stop.n + plain.include_stop + plain.keep_special, 0);
    request.stop = stop;
    request.n_stop = 3;
    request.include_stop = true;
    const struct wire_generate got = router_reads(&request);
    assert_int_equal(got.stop.n, 3);
    assert_true(wire_span_equal(got.stop.at[0], wire_span_of("END")));
    assert_true(wire_span_equal(got.stop.at[1], (struct wire_span){longest, sizeof(longest)}));
    assert_true(wire_span_equal(got.stop.at[2], (struct wire_span){"a\0b", 3}));
    assert_true(got.include_stop && !got.keep_special);
    request.include_stop = false;
    request.keep_special = true;
    const struct wire_generate special = router_reads(&request);
    assert_true(!special.include_stop && special.keep_special && !special.fit);
    request.fit = true;
    assert_true(router_reads(&request).fit);
}

/* ---- tokens and ends ---- */

static void ends_arrive(void **state)
{
    static char longest[WIRE_STOP_BYTES_MAX];
    static uint8_t buf[4096];
    static struct baton_in in;
    struct wire_msg msg;
    size_t len = 0;

    (void)state;
    memset(longest, 'x', sizeof(longest));
    wire_msg_init(&msg, WIRE_KIND_DONE);
    msg.req.byte[0] = 1;
    msg.done.reason = wire_span_of("stop");
    assert_int_equal(wire_msg_encode(&msg, buf, sizeof(buf), &len), STATUS_OK);
    assert_true(baton_wire_read(buf, len, &in));
    assert_int_equal(in.kind, BATON_KIND_DONE);
    assert_int_equal(in.event.stop_text_len, 0);
    assert_int_equal(in.event.stop_id, BATON_NO_ID);
    msg.done.stop_text = (struct wire_span){longest, sizeof(longest)};
    msg.done.stop_id = 0;
    assert_int_equal(wire_msg_encode(&msg, buf, sizeof(buf), &len), STATUS_OK);
    assert_true(baton_wire_read(buf, len, &in));
    assert_int_equal(in.event.stop_text_len, sizeof(longest));
    assert_memory_equal(in.event.stop_text, longest, sizeof(longest));
    assert_int_equal(in.event.stop_id, 0);
    assert_int_equal(in.event.text_len, 0);
}

static size_t write_token(uint8_t *buf, size_t max, size_t n_tops, size_t n_logprobs)
{
    static const uint32_t ids[] = {5, 300, 70000};
    static const double logprobs[] = {-0.25, -1.5, -1e30};
    static char text[WIRE_PIECE_MAX];
    struct wire_msg msg;
    size_t len = 0;

    wire_msg_init(&msg, WIRE_KIND_TOKEN);
    memset(text, 't', sizeof(text));
    msg.req.byte[0] = 1;
    msg.token.index = 3;
    msg.token.token = 5;
    msg.token.logprob = -0.25;
    msg.token.text = (struct wire_span){text, sizeof(text)};
    msg.token.top_ids = (struct wire_u32s){ids, n_tops};
    msg.token.top_logprobs = (struct wire_span){(const char *)logprobs, n_logprobs * 8};
    assert_int_equal(wire_msg_encode(&msg, buf, max, &len), STATUS_OK);
    return len;
}

static void tops_arrive(void **state)
{
    static uint8_t buf[1 << 16];
    static struct baton_in in;
    size_t len = write_token(buf, sizeof(buf), 3, 3);

    (void)state;
    assert_true(baton_wire_read(buf, len, &in));
    assert_int_equal(in.kind, BATON_KIND_TOKEN);
    assert_int_equal(in.event.text_len, WIRE_PIECE_MAX); /* the longest there is */
    assert_int_equal(in.event.n_tops, 3);
    assert_int_equal(in.event.tops[1].token, 300);
    assert_int_equal(in.event.tops[2].token, 70000);
    assert_true(in.event.tops[0].logprob == -0.25 && in.event.tops[1].logprob == -1.5);
    assert_true(in.event.tops[2].logprob == -1e30);
    len = write_token(buf, sizeof(buf), 0, 0);
    assert_true(baton_wire_read(buf, len, &in));
    assert_int_equal(in.event.n_tops, 0);
    len = write_token(buf, sizeof(buf), 3, 2);
    assert_false(baton_wire_read(buf, len, &in));
    len = write_token(buf, sizeof(buf), 0, 1);
    assert_false(baton_wire_read(buf, len, &in));
    /* More than there is room for. */
    static const char head[] = "\x82\xa1t\xa5token\xa7top_ids\xdc\0\xff";
    memcpy(buf, head, sizeof(head) - 1);
    memset(buf + sizeof(head) - 1, 1, 255);
    memset(&in, 0, sizeof(in));
    assert_false(baton_wire_read(buf, sizeof(head) - 1 + 255, &in));
    assert_int_equal(in.event.tops[0].token, 0); /* not even begun */
}

/* Cut or changed bytes are read within their bounds (the sanitizers look) or refused. */
static void broken_tokens_are_survived(void **state)
{
    static uint8_t buf[1 << 16];
    static struct baton_in in;
    size_t len = write_token(buf, sizeof(buf), 3, 3);
    struct rand rng;

    (void)state;
    for (size_t i = 0; i < len; i += i < 40 || i + 100 > len ? 1 : 997)
        assert_false(baton_wire_read(buf, i, &in));
    rand_init(&rng, 3);
    for (uint32_t i = 0; i < 20000; i++) {
        uint8_t *cut = malloc(len);
        assert_non_null(cut);
        memcpy(cut, buf, len);
        /* The text fills the middle: change what lies around it. */
        size_t at = rand_below(&rng, 120);
        cut[at < 60 ? at : len - 1 - (at - 60)] = (uint8_t)rand_u64(&rng);
        if (baton_wire_read(cut, len, &in))
            assert_true(in.event.n_tops <= BATON_TOPS_MAX);
        free(cut);
    }
}

/* ---- the model ---- */

/* What is not said has the protocol's default; what libbaton does not know is skipped. */
static void models_arrive(void **state)
{
    const struct wire_span names[] = {wire_span_of("demo"), wire_span_of("other")};
    static uint8_t buf[4096];
    static struct baton_in in;
    struct wire_msg msg;
    size_t len = 0;

    (void)state;
    wire_msg_init(&msg, WIRE_KIND_MODEL_LIST);
    assert_int_equal(wire_msg_encode(&msg, buf, sizeof(buf), &len), STATUS_OK);
    assert_true(baton_wire_read(buf, len, &in));
    assert_int_equal(in.kind, BATON_KIND_MODEL_LIST);
    assert_true(in.event.model.temperature == 1 && in.event.model.top_p == 1);
    assert_true(in.event.model.min_p == 0 && in.event.model.repetition_penalty == 1);
    assert_int_equal(in.event.model.samples + in.event.model.chats + in.event.model.ready, 0);
    msg.model_list.names = (struct wire_texts){names, 2};
    msg.model_list.len_max = 512;
    msg.model_list.samples = msg.model_list.ready = true;
    msg.model_list.sampling.temperature = 0.6;
    msg.model_list.sampling.top_k = 20;
    msg.model_list.sampling.presence_penalty = 1;
    msg.model_list.sampling.repetition_penalty = 1.1;
    assert_int_equal(wire_msg_encode(&msg, buf, sizeof(buf), &len), STATUS_OK);
    assert_true(baton_wire_read(buf, len, &in));
    assert_string_equal(in.event.model.name, "demo");
    assert_int_equal(in.event.model.len_max, 512);
    assert_true(in.event.model.temperature == 0.6 && in.event.model.repetition_penalty == 1.1);
    assert_int_equal(in.event.model.top_k, 20);
    assert_true(in.event.model.samples && in.event.model.ready && !in.event.model.chats);
    for (size_t i = 0; i < len; i++)
        assert_false(baton_wire_read(buf, i, &in));
}

static void the_question_arrives(void **state)
{
    size_t len = 0;
    char *bytes = baton_wire_models(&len);
    const char *why = "";
    struct wire_msg msg;

    (void)state;
    assert_non_null(bytes);
    assert_int_equal(wire_msg_decode(bytes, len, arena, &msg, &why), STATUS_OK);
    assert_int_equal(msg.kind, WIRE_KIND_MODELS);
    free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sampling_arrives), cmocka_unit_test(chats_arrive),
        cmocka_unit_test(stops_arrive),     cmocka_unit_test(ends_arrive),
        cmocka_unit_test(tops_arrive),      cmocka_unit_test(broken_tokens_are_survived),
        cmocka_unit_test(models_arrive),    cmocka_unit_test(the_question_arrives),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
