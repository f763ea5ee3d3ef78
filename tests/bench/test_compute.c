/* The benches that compute: their command line, limits, and that each runs to its end on a tiny
 * model and prints the rows it promises. Nothing here judges a speed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "bench/bench.h"
#include "bench/peaks.h"
#include "model/make_model.h"

#define OUT_MAX 65536
#define ARGS_MAX 16

static char folder[] = "/tmp/baton-bench-XXXXXX";
static char config[64], model[64], printed[OUT_MAX];

static const char config_text[] =
    "{\"architectures\":[\"LlamaForCausalLM\"],\"model_type\":\"llama\",\"vocab_size\":320,"
    "\"hidden_size\":64,\"intermediate_size\":128,\"num_hidden_layers\":2,"
    "\"num_attention_heads\":4,\"num_key_value_heads\":2,\"head_dim\":16,\"hidden_act\":\"silu\","
    "\"max_position_embeddings\":4096,\"rms_norm_eps\":1e-05,\"rope_theta\":10000.0,"
    "\"attention_bias\":false,\"mlp_bias\":false,\"tie_word_embeddings\":true,"
    "\"bos_token_id\":1,\"eos_token_id\":2,\"torch_dtype\":\"bfloat16\"}";

/* Runs the bench with a line of arguments; what it prints to stdout is in `printed`. */
static int run(const char *line)
{
    char words[256], *args[ARGS_MAX], *save = NULL;
    int n = 0, code, saved;
    FILE *out = tmpfile();
    size_t len;

    snprintf(words, sizeof(words), "bench %s", line);
    for (char *word = strtok_r(words, " ", &save); word; word = strtok_r(NULL, " ", &save))
        args[n++] = word;
    assert_non_null(out);
    fflush(stdout);
    saved = dup(STDOUT_FILENO);
    dup2(fileno(out), STDOUT_FILENO);
    code = bench_main(n, args);
    fflush(stdout);
    dup2(saved, STDOUT_FILENO);
    close(saved);
    rewind(out);
    len = fread(printed, 1, sizeof(printed) - 1, out);
    printed[len] = '\0';
    fclose(out);
    return code;
}

static int make_checkpoint(void **state)
{
    const struct make_model_args args = {.config = config, .out = model, .seed = 1};
    struct make_model_result result;
    struct model_error error;
    FILE *file;

    (void)state;
    if (!mkdtemp(folder))
        return -1;
    snprintf(config, sizeof(config), "%s/config.json", folder);
    snprintf(model, sizeof(model), "%s/model", folder);
    file = fopen(config, "w");
    if (!file || fputs(config_text, file) < 0 || fclose(file) != 0)
        return -1;
    return make_model(&args, &error, &result) == STATUS_OK ? 0 : -1;
}

static int drop_checkpoint(void **state)
{
    char command[96];

    (void)state;
    snprintf(command, sizeof(command), "rm -r %s", folder);
    return system(command);
}

static void command_line(void **state)
{
    (void)state;
    assert_int_equal(run("kernels --threads 0"), 2);
    assert_int_equal(run("kernels --table"), 2);
    assert_int_equal(run("engine"), 2); /* of what model? */
    assert_int_equal(run("kernels --table nothing"), 1);
    assert_int_equal(run("kernels --config /nothing"), 1);
    assert_int_equal(run("engine --model /nothing"), 1);
    assert_int_equal(run("engine --model /nothing --only x3"), 1);
}

static void limits_are_measured(void **state)
{
    struct peaks *peaks;

    (void)state;
    for (int cpu = 0; cpu < 2; cpu++) {
        assert_int_equal(peaks_create(2, cpu, &peaks), STATUS_OK);
        peaks_slice(peaks);
        assert_true(peaks_dot(peaks) > 0 && peaks_read(peaks) > 0);
        peaks_restart(peaks);
        peaks_enough(peaks);
        assert_true(peaks_dot(peaks) > 0 && peaks_read(peaks) > 0);
        peaks_destroy(peaks);
    }
}

static void has_row(const char *name)
{
    char text[80];
    const char *at;

    snprintf(text, sizeof(text), "\"name\":\"%s\"", name);
    at = strstr(printed, text);
    if (!at)
        fail_msg("no row '%s' in: %s", name, printed);
    at = strstr(at, "\"ratio\":");
    assert_true(at && strtod(at + strlen("\"ratio\":"), NULL) > 0);
}

static void kernels_has_all_rows(void **state)
{
    char line[128];

    (void)state;
    snprintf(line, sizeof(line), "kernels --json --slices 1 --threads 2 --config %s", config);
    assert_int_equal(run(line), 0);
    has_row("linear, layer, 1 row");
    has_row("linear, layer, 2048 rows");
    has_row("linear, head, 32 rows");
    has_row("attention, 512 rows at 1536");
    has_row("attention, 16 x 1 row at 2048");
    has_row("norm, 512 rows");
    has_row("rope and append, 512 rows");
    has_row("embedding, 512 rows");
    has_row("sample 1 row, top-k 50");
    snprintf(line, sizeof(line), "kernels --json --slices 1 --cpu-time --matrices --config %s",
             config);
    assert_int_equal(run(line), 0);
    has_row("linear, gate_up, 8 rows");
}

static void engine_has_all_rows(void **state)
{
    char line[128];

    (void)state;
    snprintf(line, sizeof(line), "engine --json --slices 2 --model %s --only pp640,tg3,b2", model);
    assert_int_equal(run(line), 0);
    has_row("pp640: a prompt");
    has_row("tg3: generation alone");
    has_row("b2: generation of 2");
    assert_non_null(strstr(printed, "\"mean\":"));
}

static void a_pair_has_shares(void **state)
{
    char line[128];

    (void)state;
    snprintf(line, sizeof(line), "engine --json --slices 1 --slice 10 --pair --model %s", model);
    assert_int_equal(run(line), 0);
    has_row("prefill beside decode");
    has_row("decode beside prefill");
    has_row("both, in shares of each alone");
    assert_int_equal(run("engine --pair --model /nothing"), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(command_line),         cmocka_unit_test(limits_are_measured),
        cmocka_unit_test(kernels_has_all_rows), cmocka_unit_test(engine_has_all_rows),
        cmocka_unit_test(a_pair_has_shares),
    };

    return cmocka_run_group_tests(tests, make_checkpoint, drop_checkpoint);
}
