/* Is what we compute what Hugging Face transformers computes? For each family a tiny model, made
 * here from a seed, is opened and run over a prompt of 200 tokens and 64 more; the logits and
 * greedy tokens are those of golden/ (golden.py made them, and says what they can tell).
 *
 * Each case runs twice over its prompt: as one batch of several sequences, each a part of the
 * prompt that ends at a row to be compared, and as one sequence in as many chunks. Both must give
 * the same bits. Then the chunked one goes on, a token at a time, with the truth's tokens.
 *
 * The error of a row is its largest one, over the row's largest absolute logit. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "model/forward.h"
#include "tests/model/fixture.h"
#include "tests/model/golden_file.h"
#include "tests/model/golden_model.h"

#define F32_ERROR_MAX 1e-4
#define BF16_ERROR_MAX 1e-2
#define REFERENCE_FACTOR 1.5 /* how much worse than the reference's own bf16 ours may be */
#define HAIR 4.0             /* a margin of fewer such errors decides nothing */
#define THREADS 1u           /* how many there are shows in no bit: other tests tell */

struct rig {
    struct golden golden;
    struct fixture fixture;
    enum op_dtype dtype;
    struct model *model;
    struct forward *forward;
    uint32_t vocab, n_blocks;
    uint32_t blocks_each; /* of a sequence */
    size_t pool_bytes;
    void *pool;
    uint32_t *tokens; /* of a batch */
    uint32_t *blocks; /* [n_blocks] each its own number, backwards */
    float *logits[2]; /* [n_rows][vocab]: as one batch, in chunks */
};

struct measured {
    double worst, squares, worst_step;
    uint32_t n, n_decided;
};

/* ---- the model ---- */

static void open_model(struct rig *rig)
{
    const struct golden *golden = &rig->golden;
    const struct model_open_args args = {
        .path = rig->fixture.folder,
        .dtype = rig->dtype,
        .len_max = golden->len_max,
        .n_threads = THREADS,
    };
    struct model_error error = {""};
    struct forward_args sizes = {.samples_max = golden->n_rows};
    enum status status;

    fixture_init(&rig->fixture);
    fixture_write_text(&rig->fixture, "config.json", golden->config);
    golden_model_write(rig->fixture.folder, golden->seed);
    status = model_open(&args, &error, &rig->model);
    if (status != STATUS_OK)
        fail_msg("%s", error.text);
    fixture_fini(&rig->fixture); /* what is open needs its files no more */
    rig->vocab = model_config(rig->model)->vocab;
    for (uint32_t i = 0; i < golden->n_rows; i++)
        sizes.rows_max += golden->rows[i].position + 1;
    sizes.geom = model_kvgeom(model_config(rig->model), rig->dtype);
    assert_int_equal(forward_create(rig->model, &sizes, &rig->forward), STATUS_OK);
    rig->tokens = mem_alloc(sizes.rows_max * sizeof(*rig->tokens));
    rig->blocks_each = kvgeom_blocks(golden->len_max);
    rig->n_blocks = rig->blocks_each * golden->n_rows;
    rig->pool_bytes = rig->n_blocks * kvgeom_block_bytes(&sizes.geom);
    assert_int_equal(device_alloc(model_device(rig->model), rig->pool_bytes, &rig->pool),
                     STATUS_OK);
}

static void rig_init(struct rig *rig, const char *name, enum op_dtype dtype)
{
    memset(rig, 0, sizeof(*rig));
    rig->dtype = dtype;
    golden_open(name, &rig->golden);
    open_model(rig);
    rig->blocks = mem_alloc(rig->n_blocks * sizeof(*rig->blocks));
    for (uint32_t i = 0; i < rig->n_blocks; i++)
        rig->blocks[i] = rig->n_blocks - 1 - i;
    for (unsigned i = 0; i < 2; i++)
        rig->logits[i] = mem_alloc((size_t)rig->golden.n_rows * rig->vocab * sizeof(float));
}

static void rig_fini(struct rig *rig)
{
    for (unsigned i = 0; i < 2; i++)
        mem_free(rig->logits[i]);
    mem_free(rig->blocks);
    mem_free(rig->tokens);
    forward_destroy(rig->forward);
    device_free(model_device(rig->model), rig->pool, rig->pool_bytes);
    model_close(rig->model);
    golden_close(&rig->golden);
}

/* ---- running ---- */

/* Each sequence's last row is sampled at temperature 0; `tokens` are the ids. */
static void run(struct rig *rig, const struct op_seq *seqs, uint32_t n_seqs, uint32_t n_rows,
                float *logits, uint32_t *tokens)
{
    static const struct op_sampling greedy = {.top_p = 1, .repetition = 1};
    struct op_sampling params[GOLDEN_ROWS_MAX];
    struct op_sampled sampled[GOLDEN_ROWS_MAX];
    uint32_t sample_seqs[GOLDEN_ROWS_MAX];
    const struct forward_batch batch = {
        .tokens = rig->tokens,
        .rows = {.n_seqs = n_seqs, .n_rows = n_rows, .seqs = seqs, .blocks = rig->blocks},
        .pool = rig->pool,
        .n_samples = n_seqs,
        .sample_seqs = sample_seqs,
        .params = params,
        .sampled = sampled,
        .logits = logits,
    };

    for (uint32_t i = 0; i < n_seqs; i++) {
        sample_seqs[i] = i;
        params[i] = greedy;
        params[i].position = seqs[i].position + seqs[i].n_rows;
    }
    assert_int_equal(forward_run(rig->forward, &batch), STATUS_OK);
    for (uint32_t i = 0; i < n_seqs; i++)
        tokens[i] = sampled[i].token;
}

static void run_together(struct rig *rig, uint32_t *tokens)
{
    const struct golden *golden = &rig->golden;
    struct op_seq seqs[GOLDEN_ROWS_MAX];
    uint32_t row = 0;

    for (uint32_t i = 0; i < golden->n_rows; i++) {
        const uint32_t n = golden->rows[i].position + 1;

        memcpy(rig->tokens + row, golden->prompt, n * sizeof(*rig->tokens));
        seqs[i] = (struct op_seq){.row = row, .n_rows = n, .block = i * rig->blocks_each};
        row += n;
    }
    run(rig, seqs, golden->n_rows, row, rig->logits[0], tokens);
}

static void run_chunks(struct rig *rig, uint32_t *tokens)
{
    const struct golden *golden = &rig->golden;
    uint32_t position = 0;

    for (uint32_t i = 0; i < golden->n_rows; i++) {
        const uint32_t n = golden->rows[i].position + 1 - position;
        const struct op_seq seq = {.n_rows = n, .position = position};

        memcpy(rig->tokens, golden->prompt + position, n * sizeof(*rig->tokens));
        run(rig, &seq, 1, n, rig->logits[1] + (size_t)i * rig->vocab, &tokens[i]);
        position += n;
    }
}

/* ---- comparing ---- */

/* The larger error; one that is not finite is the largest there is, and stays it. */
static double worse(double worst, double error)
{
    if (!isfinite(error))
        return INFINITY;
    return error > worst ? error : worst;
}

static void compare_rows(const struct rig *rig, struct measured *measured)
{
    for (uint32_t i = 0; i < rig->golden.n_rows; i++) {
        const struct golden_row *row = &rig->golden.rows[i];
        const float *logits = rig->logits[0] + (size_t)i * rig->vocab;

        for (uint32_t k = 0; k < GOLDEN_COLUMNS; k++) {
            double error = logits[golden_id(k, rig->vocab)] - (double)row->logits[k];

            error = fabs(error) / row->scale;
            measured->squares += error * error;
            measured->n++;
            measured->worst = worse(measured->worst, error);
        }
    }
}

static void compare_step(const struct rig *rig, uint32_t i, uint32_t token, const float *logits,
                         struct measured *measured)
{
    const struct golden_step *step = &rig->golden.greedy[i];
    const double error = fabs(logits[step->token] - (double)step->logit) / step->scale;

    measured->worst_step = worse(measured->worst_step, error);
    if (rig->dtype == OP_BF16 && step->margin <= HAIR * (double)rig->golden.bf16_abs)
        return;
    measured->n_decided++;
    if (token != step->token)
        fail_msg("greedy token %u is %u, not %u, which leads by %g", i, token, step->token,
                 (double)step->margin);
}

static void run_greedy(struct rig *rig, uint32_t token, struct measured *measured)
{
    const struct golden *golden = &rig->golden;
    float *logits = rig->logits[1] + (size_t)(golden->n_rows - 1) * rig->vocab;

    compare_step(rig, 0, token, logits, measured);
    for (uint32_t i = 1; i < golden->n_greedy; i++) {
        const struct op_seq seq = {.n_rows = 1, .position = golden->n_prompt + i - 1};

        rig->tokens[0] = golden->greedy[i - 1].token;
        run(rig, &seq, 1, 1, logits, &token);
        compare_step(rig, i, token, logits, measured);
    }
}

static void test_case(const char *name, enum op_dtype dtype)
{
    uint32_t together[GOLDEN_ROWS_MAX], chunks[GOLDEN_ROWS_MAX];
    struct measured measured = {0};
    struct rig rig;
    double rms;

    rig_init(&rig, name, dtype);
    run_together(&rig, together);
    device_clear(model_device(rig.model), rig.pool, rig.pool_bytes);
    run_chunks(&rig, chunks);
    assert_memory_equal(rig.logits[0], rig.logits[1],
                        (size_t)rig.golden.n_rows * rig.vocab * sizeof(float));
    assert_memory_equal(together, chunks, rig.golden.n_rows * sizeof(chunks[0]));
    compare_rows(&rig, &measured);
    run_greedy(&rig, chunks[rig.golden.n_rows - 1], &measured);
    rms = sqrt(measured.squares / measured.n);
    print_message("%s: largest %.2g, rms %.2g, greedy %.2g; %u of %u tokens decided", name,
                  measured.worst, rms, measured.worst_step, measured.n_decided,
                  rig.golden.n_greedy);
    if (dtype == OP_BF16)
        print_message("; the reference's own: %.2g, %.2g", (double)rig.golden.bf16_max,
                      (double)rig.golden.bf16_rms);
    print_message("\n");
    if (dtype == OP_F32) {
        assert_true(measured.worst <= F32_ERROR_MAX);
        assert_true(measured.worst_step <= F32_ERROR_MAX);
    } else {
        assert_true(measured.worst <= BF16_ERROR_MAX);
        assert_true(measured.worst_step <= BF16_ERROR_MAX);
        assert_true(measured.worst <= REFERENCE_FACTOR * (double)rig.golden.bf16_max);
        assert_true(rms <= REFERENCE_FACTOR * (double)rig.golden.bf16_rms);
    }
    rig_fini(&rig);
}

static void test_f32(void **state)
{
    test_case(*state, OP_F32);
}

static void test_bf16(void **state)
{
    test_case(*state, OP_BF16);
}

#define BOTH(name)                                                                                 \
    {name " in float32", test_f32, NULL, NULL, name},                                              \
    {                                                                                              \
        name " in bfloat16", test_bf16, NULL, NULL, name                                           \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH("llama3"),    BOTH("llama_tied"), BOTH("mistral"), BOTH("qwen2"),
        BOTH("qwen3"),     BOTH("gemma2"),     BOTH("gemma3"),  BOTH("phi3"),
        BOTH("phi3_long"), BOTH("phi3_short"), BOTH("mixtral"), BOTH("qwen3_moe"),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
