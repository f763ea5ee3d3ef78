/* The model executor alone: what it makes of a row's sampling parameters, rows without an id, and
 * lack of memory. That a row gives what it would give alone is tests/exact's.
 *
 * The model is made so that its logits are known: attention and MLP add nothing, every ordinary id
 * has the same embedding, and the head gives each id the logit of `logits` whatever came before.
 * After two ids it is different: one makes a logit infinite, one makes it not a number. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "engine/model_exec.h"
#include "tests/engine/sampling.h"
#include "tests/model/fixture.h"

#define VOCAB 16u
#define HIDDEN 32u
#define INTO_INF 14u /* after it, id 3's logit is infinite */
#define INTO_NAN 15u /* after it, not a number */
#define HUGE 3e38f
#define LEN_MAX 128u
#define BATCH_MAX 4u
#define TOKENS_MAX 8u
#define CONFIG                                                                                     \
    "{\"model_type\":\"llama\",\"vocab_size\":16,\"hidden_size\":32,\"intermediate_size\":32,"     \
    "\"num_hidden_layers\":1,\"num_attention_heads\":2,\"num_key_value_heads\":1,"                 \
    "\"max_position_embeddings\":128,\"rms_norm_eps\":0.0}"

_Static_assert(VOCAB < WIRE_TOPS_MAX, "fewer ids than logprobs may be asked for");

static const float logits[VOCAB] = {7, 6, 4, 3, 2, 1, 0, -1, -2, -3, -4, -5, -6, -7, -8, -9};

static struct fixture checkpoint;
static struct model *model;

/* ---- the model ---- */

static void put_zeros(const char *name)
{
    static const float zeros[HIDDEN * HIDDEN];

    fixture_put_tensor(&checkpoint, name, zeros, sizeof(zeros));
}

static void make_checkpoint(void)
{
    static float embed[VOCAB][HIDDEN], head[VOCAB][HIDDEN], ones[HIDDEN];

    for (uint32_t i = 0; i < VOCAB; i++) {
        embed[i][0] = 1; /* which the norm makes sqrt(HIDDEN) */
        head[i][0] = logits[i] / sqrtf(HIDDEN);
    }
    for (uint32_t i = 0; i < HIDDEN; i++)
        ones[i] = 1;
    head[3][1] = HUGE;
    head[3][2] = -HUGE;
    embed[INTO_INF][1] = 1;
    embed[INTO_NAN][1] = embed[INTO_NAN][2] = 1;
    fixture_make_model(&checkpoint, CONFIG, OP_F32, 1, 0);
    put_zeros("model.layers.0.self_attn.o_proj.weight");
    put_zeros("model.layers.0.mlp.down_proj.weight");
    fixture_put_tensor(&checkpoint, "model.norm.weight", ones, sizeof(ones));
    fixture_put_tensor(&checkpoint, "model.embed_tokens.weight", embed, sizeof(embed));
    fixture_put_tensor(&checkpoint, "lm_head.weight", head, sizeof(head));
}

static int setup(void **state)
{
    const struct model_open_args args = {
        .dtype = OP_F32, .n_threads = 1, .path = checkpoint.folder};
    struct model_error error = {""};

    (void)state;
    make_checkpoint();
    if (model_open(&args, &error, &model) != STATUS_OK)
        fail_msg("%s", error.text);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    model_close(model);
    fixture_fini(&checkpoint);
    return 0;
}

static struct model_exec_cfg cfg_of(uint32_t n_eos)
{
    return (struct model_exec_cfg){
        .geom = model_kvgeom(model_config(model), OP_F32),
        .n_blocks = BATCH_MAX,
        .rows_max = 64,
        .batch_max = BATCH_MAX,
        .len_max = LEN_MAX,
        .n_eos = n_eos, /* id 0 */
    };
}

/* ---- rows ---- */

struct row {
    struct wire_sampling sampling;
    uint32_t tokens[TOKENS_MAX], n, n_prompt;
    uint32_t token; /* that came */
    double logprob;
    struct engine_top tops[WIRE_TOPS_MAX];
};

/* Ids as digits; those after the bar are emitted. */
static struct row row_of(const char *ids)
{
    struct row row = {.sampling = sampling_defaults()};

    row.sampling.temperature = 0;
    for (; *ids != '\0'; ids++) {
        if (*ids == '|')
            row.n_prompt = row.n;
        else
            row.tokens[row.n++] = (uint32_t)(*ids >= 'a' ? *ids - 'a' + 10 : *ids - '0');
    }
    if (row.n_prompt == 0)
        row.n_prompt = row.n;
    return row;
}

/* One step of these rows, each from its first id on. */
static void run(uint32_t n_eos, struct row *rows, uint32_t n)
{
    static const uint32_t blocks[BATCH_MAX] = {2, 0, 3, 1};
    const struct model_exec_cfg cfg = cfg_of(n_eos);
    struct engine_row at[BATCH_MAX];
    const struct engine_step step = {.number = 1, .n_rows = n, .rows = at};
    struct exec exec;

    assert_true(n <= BATCH_MAX);
    assert_int_equal(model_exec_create(model, &cfg, &exec), STATUS_OK);
    for (uint32_t i = 0; i < n; i++) {
        for (uint32_t k = 0; k < WIRE_TOPS_MAX; k++)
            rows[i].tops[k].token = ENGINE_NO_TOKEN;
        at[i] = (struct engine_row){
            .tokens = rows[i].tokens,
            .blocks = &blocks[i],
            .n = rows[i].n,
            .n_clear = 1,
            .sample = true,
            .n_prompt = rows[i].n_prompt,
            .sampling = &rows[i].sampling,
            .out_tops = rows[i].tops,
        };
    }
    assert_int_equal(exec.ops->run(exec.self, &step, NULL, NULL), STATUS_OK);
    for (uint32_t i = 0; i < n; i++) {
        rows[i].token = at[i].out_token;
        rows[i].logprob = at[i].out_logprob;
    }
    exec.ops->destroy(exec.self);
}

/* ---- penalties ---- */

struct penalty_case {
    const char *ids;
    double repetition, presence, frequency;
    uint32_t token; /* that must come: 0 leads 1 by one, if nothing holds it back */
};

static struct row penalty_row(const struct penalty_case *c)
{
    struct row row = row_of(c->ids);

    row.sampling.repetition_penalty = c->repetition;
    row.sampling.presence_penalty = c->presence;
    row.sampling.frequency_penalty = c->frequency;
    return row;
}

static const struct penalty_case penalty_cases[] = {
    {"5", 1, 0, 0, 0},
    /* Frequency counts each emitted id, the last one too, and none of the prompt. */
    {"000|5", 1, 0, 1.1, 0},
    {"000|00", 1, 0, 0.4, 0},
    {"000|00", 1, 0, 0.6, 1},
    {"000|050", 1, 0, 0.6, 1},
    /* Presence holds once, for what was emitted. */
    {"000|5", 1, 1.1, 0, 0},
    {"5|000", 1, 0.9, 0, 0},
    {"5|0", 1, 1.1, 0, 1},
    /* Repetition holds once, for the prompt too. */
    {"000|00", 1.1, 0, 0, 0},
    {"0|5", 1.2, 0, 0, 1},
    {"5|0", 1.2, 0, 0, 1},
    {"5|5", 1.2, 0, 0, 0},
};

#define N_PENALTY_CASES (sizeof(penalty_cases) / sizeof(penalty_cases[0]))

static void test_penalties(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_PENALTY_CASES; i++) {
        struct row row = penalty_row(&penalty_cases[i]);

        run(1, &row, 1);
        if (row.token != penalty_cases[i].token)
            fail_msg("case %zu: id %u", i, row.token);
    }
}

/* A row's lists are its own: what the others of the step have said and asked for does not show. */
static void test_penalties_together(void **state)
{
    (void)state;
    for (size_t first = 0; first < N_PENALTY_CASES; first++) {
        struct row rows[BATCH_MAX];

        for (size_t i = 0; i < BATCH_MAX; i++)
            rows[i] = penalty_row(&penalty_cases[(first + i) % N_PENALTY_CASES]);
        run(1, rows, BATCH_MAX);
        for (size_t i = 0; i < BATCH_MAX; i++)
            assert_int_equal(rows[i].token, penalty_cases[(first + i) % N_PENALTY_CASES].token);
    }
}

/* ---- ids that are out ---- */

/* What would end it does not come before min_tokens ids are out, and may come right then. */
static void test_min_tokens(void **state)
{
    static const uint32_t zero[] = {0};
    static const char *const ids[] = {"5", "5|5", "5|55", "5|555"};

    (void)state;
    for (uint32_t by_stop = 0; by_stop < 2; by_stop++) {
        for (uint32_t n_emitted = 0; n_emitted < 4; n_emitted++) {
            struct row row = row_of(ids[n_emitted]);

            row.sampling.min_tokens = 2;
            if (by_stop)
                row.sampling.stop_ids = (struct wire_u32s){zero, 1};
            run(!by_stop, &row, 1);
            assert_int_equal(row.token, n_emitted < 2 ? 1 : 0);
        }
    }
}

static void test_lists(void **state)
{
    static const uint32_t zero[] = {0}, two_three[] = {2, 3}, beyond[] = {0, 99};
    static const double near[] = {0.5}, far[] = {6.5};
    struct row rows[4];

    (void)state;
    rows[0] = row_of("5"); /* ends do not count where they end nothing */
    rows[0].sampling.min_tokens = 9;
    rows[0].sampling.ignore_eos = true;
    rows[0].sampling.bias_ids = (struct wire_u32s){two_three, 1};
    rows[0].sampling.bias_values = (struct wire_f64s){near, 1};
    rows[1] = row_of("5");
    rows[1].sampling.bad_ids = (struct wire_u32s){beyond, 2};
    rows[2] = row_of("5|555555");
    rows[2].sampling.allowed_ids = (struct wire_u32s){two_three, 2};
    rows[3] = row_of("5");
    rows[3].sampling.bias_ids = (struct wire_u32s){&two_three[1], 1};
    rows[3].sampling.bias_values = (struct wire_f64s){far, 1};
    run(1, rows, 4);
    assert_int_equal(rows[0].token, 0);
    assert_int_equal(rows[1].token, 1);
    assert_int_equal(rows[2].token, 2);
    assert_int_equal(rows[3].token, 3); /* 3 + 6.5 is more than 7 */
    rows[2].sampling.bad_ids = (struct wire_u32s){two_three, 2};
    rows[1].sampling.bad_ids = (struct wire_u32s){zero, 1};
    run(1, rows, 4);
    assert_int_equal(rows[1].token, 1);
    assert_int_equal(rows[2].token, ENGINE_NO_TOKEN);
    assert_int_equal(rows[3].token, 3);
}

/* ---- logprobs ---- */

/* More are asked for than there are ids: each once, the likeliest first, and no more. */
static void test_few_ids(void **state)
{
    struct row rows[2] = {row_of("5"), row_of("5")};
    double sum = 0;

    (void)state;
    rows[0].sampling.logprobs = WIRE_TOPS_MAX;
    rows[1].sampling.logprobs = 2;
    run(1, rows, 2);
    for (uint32_t i = 0; i < VOCAB; i++) {
        assert_int_equal(rows[0].tops[i].token, i);
        assert_true(fabs(rows[0].tops[i].logprob - rows[0].tops[0].logprob -
                         ((double)logits[i] - (double)logits[0])) < 1e-4);
        sum += exp(rows[0].tops[i].logprob);
    }
    assert_true(fabs(sum - 1) < 1e-6);
    for (uint32_t i = VOCAB; i < WIRE_TOPS_MAX; i++)
        assert_int_equal(rows[0].tops[i].token, ENGINE_NO_TOKEN);
    assert_int_equal(rows[1].tops[1].token, 1);
    assert_int_equal(rows[1].tops[2].token, ENGINE_NO_TOKEN);
    assert_true(rows[0].logprob == rows[0].tops[0].logprob);
}

/* ---- logits that are no numbers ---- */

static void test_not_a_number(void **state)
{
    struct row rows[] = {row_of("5"), row_of("5f"), row_of("5e"), row_of("f5")};

    (void)state;
    for (uint32_t i = 0; i < 4; i++)
        rows[i].sampling.logprobs = 3;
    run(1, rows, 4);
    assert_int_equal(rows[0].token, 0);
    assert_int_equal(rows[1].token, ENGINE_NO_TOKEN);
    assert_int_equal(rows[2].token, ENGINE_NO_TOKEN);
    assert_int_equal(rows[3].token, 0); /* its last row is an ordinary one */
    assert_true(rows[3].logprob == rows[0].logprob);
    assert_memory_equal(rows[3].tops, rows[0].tops, sizeof(rows[0].tops));
}

static uint64_t open_job(struct engine *engine, const struct row *row, uint8_t number)
{
    const struct engine_job job = {
        .req = {{number}},
        .attempt = 1,
        .mode = ENGINE_WHOLE,
        .prompt = {row->tokens, row->n},
        .sampling = &row->sampling,
        .tag = number,
    };
    uint64_t seq;

    assert_int_equal(engine_open(engine, &job, &seq), STATUS_OK);
    return seq;
}

/* Behind the engine: that sequence alone has failed, the others of its step go on to their end. */
static void test_only_that_row_fails(void **state)
{
    const struct engine_cfg engine_cfg = {
        .geom = model_kvgeom(model_config(model), OP_F32),
        .n_blocks = BATCH_MAX,
        .seqs_max = BATCH_MAX,
        .batch_max = BATCH_MAX,
        .chunk_max = 64,
        .len_max = LEN_MAX,
        .chunk_ms = 500,
    };
    struct model_exec_cfg cfg = cfg_of(1);
    struct row rows[] = {row_of("5"), row_of("5f"), row_of("51")};
    struct engine_result results[BATCH_MAX];
    const struct engine_step *step;
    const char *why = "";
    struct engine *engine;
    struct exec exec;
    size_t n_results;
    uint64_t seqs[3];
    uint32_t n_tokens[3] = {0}, n_failed = 0;

    (void)state;
    cfg.rows_max = engine_cfg.chunk_max + BATCH_MAX;
    assert_int_equal(engine_create(&engine_cfg, &engine, &why), STATUS_OK);
    assert_int_equal(model_exec_create(model, &cfg, &exec), STATUS_OK);
    for (uint8_t i = 0; i < 3; i++) {
        rows[i].sampling.max_tokens = 4;
        rows[i].sampling.logprobs = WIRE_TOPS_MAX;
        seqs[i] = open_job(engine, &rows[i], i);
    }
    while ((step = engine_plan(engine)) != NULL) {
        assert_int_equal(exec.ops->run(exec.self, step, NULL, NULL), STATUS_OK);
        engine_complete(engine, 1, results, &n_results);
        for (size_t i = 0; i < n_results; i++) {
            assert_int_equal(results[i].failed, results[i].tag == 1);
            n_failed += results[i].failed;
            n_tokens[results[i].tag] += results[i].sampled;
            if (results[i].sampled)
                assert_true(results[i].token == 0 && results[i].n_tops == VOCAB);
        }
    }
    assert_int_equal(n_failed, 1);
    assert_true(n_tokens[0] == 4 && n_tokens[1] == 0 && n_tokens[2] == 4);
    for (uint32_t i = 0; i < 3; i++)
        engine_close(engine, seqs[i]);
    exec.ops->destroy(exec.self);
    engine_destroy(engine);
}

/* ---- creation ---- */

static void test_no_memory(void **state)
{
    const struct model_exec_cfg cfg = cfg_of(1);
    const int64_t live = mem_live();
    enum status status = STATUS_NO_MEMORY;
    struct exec exec = {0};
    int64_t n = 0;

    (void)state;
    for (; status != STATUS_OK; n++) {
        mem_fail_after(n);
        status = model_exec_create(model, &cfg, &exec);
        mem_fail_after(MEM_FAIL_NEVER);
        if (status != STATUS_OK) {
            assert_int_equal(status, STATUS_NO_MEMORY);
            assert_null(exec.ops); /* written on success only */
            assert_int_equal(mem_live(), live);
        }
    }
    assert_true(n > 11); /* the executor, its ten arrays, the forward pass */
    exec.ops->destroy(exec.self);
    assert_int_equal(mem_live(), live);
}

static void test_refused(void **state)
{
    struct model_exec_cfg bad[5];
    struct exec exec;

    (void)state;
    for (uint32_t i = 0; i < 5; i++)
        bad[i] = cfg_of(1);
    bad[0].n_blocks = 0;
    bad[1].batch_max = 0;
    bad[2].len_max = 0;
    bad[3].n_eos = MODEL_EOS_MAX + 1;
    bad[4].geom.head_dim = 32;
    for (uint32_t i = 0; i < 5; i++)
        assert_int_equal(model_exec_create(model, &bad[i], &exec), STATUS_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_penalties),
        cmocka_unit_test(test_penalties_together),
        cmocka_unit_test(test_min_tokens),
        cmocka_unit_test(test_lists),
        cmocka_unit_test(test_few_ids),
        cmocka_unit_test(test_not_a_number),
        cmocka_unit_test(test_only_that_row_fails),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_refused),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
