#include "tests/cli/ask.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/oracle.h"

#define ASK_PATIENCE_MS 20000

struct baton *ask_open(const char *endpoint)
{
    const struct baton_options options = {.endpoint = endpoint, .agent = "test"};
    struct baton *baton;

    assert_int_equal(baton_open(&options, &baton), BATON_OK);
    assert_int_equal(baton_wait(baton, 10000), BATON_OK);
    return baton;
}

void ask_request(struct baton_request *request, const char *prompt, uint64_t seed,
                 uint32_t max_tokens)
{
    baton_request_init(request);
    request->text = prompt;
    request->seeded = true;
    request->seed = seed;
    request->max_tokens = max_tokens;
    request->ignore_eos = true;
}

bool ask_take(struct ask_answer *answer, const struct baton_event *event)
{
    if (event->kind == BATON_TOKEN) {
        assert_int_equal(event->index, answer->n);
        assert_true(answer->n < ASK_TOKENS_MAX);
        assert_int_equal(event->text_len, 1);
        assert_int_equal((uint8_t)event->text[0], event->token);
        answer->tokens[answer->n++] = event->token;
    }
    if (event->kind != BATON_DONE && event->kind != BATON_FAILED)
        return false;
    answer->last = *event;
    return true;
}

static int on_event(void *ctx, const struct baton_event *event)
{
    (void)ask_take(ctx, event);
    return 0;
}

int ask(struct baton *baton, const struct baton_request *request, struct ask_answer *answer)
{
    struct baton_event last;

    answer->n = 0;
    return baton_complete(baton, request, on_event, answer, &last);
}

void ask_well(struct baton *baton, const struct baton_request *request, struct ask_answer *answer)
{
    const int result = ask(baton, request, answer);

    if (result != BATON_OK)
        fail_msg("%zu tokens, then %d, %u: %s", answer->n, result, answer->last.code,
                 baton_message(baton));
    ask_expect_true(request, answer);
}

void ask_next(struct baton *baton, struct baton_event *event)
{
    const int result = baton_next(baton, event, ASK_PATIENCE_MS);

    if (result != 1)
        fail_msg("no event within %d ms: %d, %s", ASK_PATIENCE_MS, result, baton_message(baton));
}

void ask_truth(const struct baton_request *request, struct ask_answer *truth)
{
    struct oracle_cfg cfg = {
        .geom = {.n_layers = 2, .n_kv_heads = 2, .head_dim = 16, .elem_bytes = 2},
        .n_blocks = 256,
        .model_seed = 1};
    struct wire_sampling sampling;
    struct engine_job job = {.attempt = 1, .mode = ENGINE_WHOLE, .seed = request->seed};
    struct wire_msg msg;
    static uint32_t prompt[1 << 20];
    size_t n = request->text_len ? request->text_len : strlen(request->text);

    cfg.geom.group_layers = 1;
    cfg.geom.group_layers = kvgeom_choose_group(&cfg.geom);
    wire_msg_init(&msg, WIRE_KIND_GENERATE);
    sampling = msg.generate.sampling;
    sampling.max_tokens = request->max_tokens;
    sampling.ignore_eos = request->ignore_eos;
    sampling.temperature = request->temperature;
    for (size_t i = 0; i < n; i++)
        prompt[i] = (uint8_t)request->text[i];
    job.prompt = (struct wire_u32s){.at = prompt, .n = n};
    job.sampling = &sampling;
    job.eos = oracle_eos;
    job.n_eos = ORACLE_N_EOS;
    assert_int_equal(oracle_truth(&cfg, &job, truth->tokens, ASK_TOKENS_MAX, &truth->n), STATUS_OK);
}

void ask_expect_true(const struct baton_request *request, const struct ask_answer *answer)
{
    static struct ask_answer truth;

    if (answer->last.kind != BATON_DONE)
        fail_msg("failed with %u: %s", answer->last.code, answer->last.text);
    ask_truth(request, &truth);
    assert_int_equal(answer->n, truth.n);
    assert_int_equal(answer->last.n_tokens, truth.n);
    assert_int_equal(answer->last.seed, request->seed);
    assert_memory_equal(answer->tokens, truth.tokens, truth.n * sizeof(truth.tokens[0]));
}
