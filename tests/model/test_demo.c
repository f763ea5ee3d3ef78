/* Does the model that comes with Baton know what it should? Every question of its questions.txt
 * goes through chat template, tokenizer and engine, all at once, greedily, and its answer must
 * have the words that stand beside it; in bf16 and in float32. Skipped (77) where the tree has no
 * weights. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/mem.h"
#include "engine/model_exec.h"
#include "model/model_file.h"
#include "model/template.h"
#include "model/tmpl_json.h"
#include "model/tokenizer.h"
#include "tests/engine/sampling.h"

#define SKIPPED 77
#define QUESTIONS_MAX 128u
#define QUESTIONS_MIN 90u
#define FILE_MAX ((size_t)1 << 20)
#define PROMPT_MAX 64u
#define ANSWER_MAX 160u /* tokens; ask.py's limit too */
#define TEXT_MAX 2048u
#define LEN_MAX 256u

struct question {
    const char *text, *words; /* of the file */
    uint32_t prompt[PROMPT_MAX], n_prompt;
    uint64_t seq;
    char answer[TEXT_MAX];
    size_t n_answer;
    struct detokenizer *detok;
};

static char folder[MODEL_PATH_MAX - 64];

static struct question questions[QUESTIONS_MAX];
static uint32_t n_questions;
static char *lines; /* what texts and words point into */

static char *read_file(const char *name, size_t *len)
{
    char path[MODEL_PATH_MAX], *text = NULL;
    struct model_error error = {""};

    (void)snprintf(path, sizeof(path), "%s/%s", folder, name);
    if (model_file_read(path, FILE_MAX, &error, &text, len) != STATUS_OK)
        fail_msg("%s", error.text);
    return text;
}

/* ---- questions ---- */

static void read_questions(void)
{
    size_t len;
    char *at;

    lines = read_file("questions.txt", &len);
    for (at = strtok(lines, "\n"); at != NULL; at = strtok(NULL, "\n")) {
        char *tab = strchr(at, '\t');

        if (*at == '#')
            continue;
        if (tab == NULL || tab[1] == '\0')
            fail_msg("questions.txt: a question, a tab and words are expected: %s", at);
        *tab = '\0';
        assert_true(n_questions < QUESTIONS_MAX);
        questions[n_questions++] = (struct question){.text = at, .words = tab + 1};
    }
}

static struct tmpl_value string_of(const char *text)
{
    return tmpl_str(text, (uint32_t)strlen(text));
}

static struct tmpl_value dict_of(struct arena *arena, const struct tmpl_pair *pairs, size_t n)
{
    struct tmpl_value dict;

    assert_int_equal(tmpl_dict_make(arena, pairs, n, &dict), STATUS_OK);
    return dict;
}

/* The question as the only message of a chat. */
static void render(const struct template *tmpl, struct arena *arena, struct tmpl_value bos,
                   const char *text, struct buf *out)
{
    const struct tmpl_pair message[] = {{string_of("role"), string_of("user")},
                                        {string_of("content"), string_of(text)}};
    const struct tmpl_value first = dict_of(arena, message, 2);
    struct tmpl_pair vars[] = {{string_of("bos_token"), bos},
                               {string_of("add_generation_prompt"), tmpl_bool(true)},
                               {string_of("messages"), tmpl_none()}};
    struct template_error error = {0};
    struct tmpl_value dict;

    assert_int_equal(tmpl_list_make(arena, &first, 1, &vars[2].value), STATUS_OK);
    dict = dict_of(arena, vars, 3);
    if (template_render(tmpl, &dict, NULL, &error, out) != STATUS_OK)
        fail_msg("%s", error.text);
}

/* Fills the prompts. */
static void tokenize(const struct tokenizer *tok)
{
    struct tmpl_json_error json_error = {0};
    struct template_error error = {0};
    const struct tmpl_value *source, *bos;
    struct tokenizer_workspace *work;
    struct tmpl_value config;
    struct template *tmpl;
    struct arena *arena;
    size_t len;
    char *text = read_file("tokenizer_config.json", &len);

    assert_int_equal(arena_create(4096, FILE_MAX, &arena), STATUS_OK);
    assert_int_equal(tmpl_json_read(arena, text, len, &json_error, &config), STATUS_OK);
    mem_free(text);
    source = tmpl_dict_get_str(&config, "chat_template", 13);
    bos = tmpl_dict_get_str(&config, "bos_token", 9);
    assert_true(source != NULL && source->kind == TMPL_STRING && bos != NULL);
    assert_int_equal(template_compile(source->text, source->len, &error, &tmpl), STATUS_OK);
    assert_int_equal(tokenizer_workspace_create(tok, &work), STATUS_OK);
    for (uint32_t i = 0; i < n_questions; i++) {
        struct question *question = &questions[i];
        const uint32_t *ids;
        struct buf prompt;

        buf_init(&prompt, FILE_MAX);
        render(tmpl, arena, *bos, question->text, &prompt);
        assert_int_equal(tokenizer_encode(tok, (const char *)buf_data(&prompt), buf_len(&prompt),
                                          TOKENIZER_PARSE_SPECIAL, work, &ids, &len),
                         STATUS_OK);
        assert_true(len <= PROMPT_MAX);
        memcpy(question->prompt, ids, len * sizeof(*ids));
        question->n_prompt = (uint32_t)len;
        buf_fini(&prompt);
    }
    tokenizer_workspace_destroy(work);
    template_destroy(tmpl);
    arena_destroy(arena);
}

/* ---- answers ---- */

static void open_jobs(struct engine *engine, const struct wire_sampling *sampling,
                      const struct model_generation *generation)
{
    for (uint32_t i = 0; i < n_questions; i++) {
        const struct engine_job job = {
            .req = {{(uint8_t)i}},
            .attempt = 1,
            .mode = ENGINE_WHOLE,
            .prompt = {questions[i].prompt, questions[i].n_prompt},
            .sampling = sampling,
            .eos = generation->eos,
            .n_eos = generation->n_eos,
            .tag = i,
        };

        assert_int_equal(engine_open(engine, &job, &questions[i].seq), STATUS_OK);
    }
}

static void append(struct question *question, const char *text, size_t len)
{
    assert_true(question->n_answer + len < TEXT_MAX);
    memcpy(question->answer + question->n_answer, text, len);
    question->n_answer += len;
    question->answer[question->n_answer] = '\0';
}

static void take(struct engine *engine, const struct engine_result *result)
{
    struct question *question = &questions[result->tag];
    const char *text;
    size_t len;

    if (result->sampled) {
        assert_int_equal(detokenizer_push(question->detok, result->token, &text, &len), STATUS_OK);
        append(question, text, len);
    }
    if (result->state != ENGINE_ENDED)
        return;
    assert_int_equal(detokenizer_flush(question->detok, &text, &len), STATUS_OK);
    append(question, text, len);
    if (!result->stop)
        fail_msg("%s: no end within %u tokens: %s", question->text, ANSWER_MAX, question->answer);
    engine_close(engine, result->seq);
}

static void run(struct model *model, const struct model_generation *generation)
{
    const struct kvgeom geom = model_kvgeom(model_config(model), model_dtype(model));
    const struct engine_cfg cfg = {
        .geom = geom,
        .n_blocks = n_questions * kvgeom_blocks(PROMPT_MAX + ANSWER_MAX),
        .seqs_max = n_questions,
        .batch_max = n_questions,
        .chunk_max = 512,
        .len_max = LEN_MAX,
        .chunk_ms = 500,
    };
    struct model_exec_cfg exec_cfg = {
        .geom = geom,
        .n_blocks = cfg.n_blocks,
        .rows_max = cfg.chunk_max + cfg.batch_max,
        .batch_max = cfg.batch_max,
        .len_max = LEN_MAX,
        .n_eos = generation->n_eos,
    };
    static struct engine_result results[QUESTIONS_MAX];
    struct wire_sampling sampling = sampling_defaults();
    const struct engine_step *step;
    struct engine *engine;
    const char *why = "";
    struct exec exec;
    size_t n_results;

    memcpy(exec_cfg.eos, generation->eos, sizeof(exec_cfg.eos));
    sampling.temperature = 0;
    sampling.max_tokens = ANSWER_MAX;
    if (engine_create(&cfg, &engine, &why) != STATUS_OK)
        fail_msg("%s", why);
    assert_int_equal(model_exec_create(model, &exec_cfg, &exec), STATUS_OK);
    open_jobs(engine, &sampling, generation);
    while ((step = engine_plan(engine)) != NULL) {
        assert_int_equal(exec.ops->run(exec.self, step, NULL, NULL), STATUS_OK);
        engine_complete(engine, 0, results, &n_results);
        for (size_t i = 0; i < n_results; i++)
            take(engine, &results[i]);
    }
    exec.ops->destroy(exec.self);
    engine_destroy(engine);
}

static void answer(enum op_dtype dtype)
{
    const struct model_open_args args = {
        .path = folder, .dtype = dtype, .len_max = LEN_MAX, .n_threads = 1};
    struct model_generation generation;
    struct model_error error = {""};
    struct model *model;

    if (model_open(&args, &error, &model) != STATUS_OK)
        fail_msg("%s", error.text);
    assert_int_equal(model_generation_open(folder, model_config(model), &error, &generation),
                     STATUS_OK);
    run(model, &generation);
    model_close(model);
}

static void expect_right(enum op_dtype dtype)
{
    struct tokenizer *tok;
    uint32_t n_wrong = 0;

    n_questions = 0;
    read_questions();
    assert_true(n_questions >= QUESTIONS_MIN);
    assert_int_equal(tokenizer_open(folder, NULL, &tok), STATUS_OK);
    tokenize(tok);
    for (uint32_t i = 0; i < n_questions; i++)
        assert_int_equal(detokenizer_create(tok, true, &questions[i].detok), STATUS_OK);
    answer(dtype);
    for (uint32_t i = 0; i < n_questions; i++) {
        const struct question *question = &questions[i];

        detokenizer_destroy(question->detok);
        if (strstr(question->answer, question->words) != NULL)
            continue;
        print_error("%s [%s]: %s\n", question->text, question->words, question->answer);
        n_wrong++;
    }
    tokenizer_close(tok);
    mem_free(lines);
    assert_int_equal(n_wrong, 0);
    assert_int_equal(mem_live(), 0);
}

static void test_bf16(void **state)
{
    (void)state;
    expect_right(OP_BF16);
}

static void test_f32(void **state)
{
    (void)state;
    expect_right(OP_F32);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bf16),
        cmocka_unit_test(test_f32),
    };
    const char *root = getenv("BATON_ROOT");
    char weights[MODEL_PATH_MAX];

    (void)snprintf(folder, sizeof(folder), "%.3900s/model/demo", root != NULL ? root : ".");
    (void)snprintf(weights, sizeof(weights), "%s/model.safetensors", folder);
    if (access(weights, F_OK) != 0) {
        printf("%s is not there: skipped\n", weights);
        return SKIPPED;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
