/* Fleets that serve a checkpoint: a small one of random weights, made here. What a stand-in for a
 * model cannot show: loading, refusing, the same tokens whatever happens, texts and chats. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/cli/ask.h"
#include "tests/cli/run.h"

#define ROOM (64 * 1024)
#define PATH_ROOM 512
#define POSITIONS "4096"
#define CONFIG_OF(intermediate) SHAPE_OF(intermediate, "256")
#define VOCAB_CONFIG(vocab) SHAPE_OF("64", vocab)
#define SHAPE_OF(intermediate, vocab)                                                              \
    "{\"architectures\":[\"LlamaForCausalLM\"],\"model_type\":\"llama\",\"hidden_size\":256,"      \
    "\"intermediate_size\":" intermediate ",\"num_hidden_layers\":6,\"num_attention_heads\":8,"    \
    "\"num_key_value_heads\":2,\"head_dim\":32,\"vocab_size\":" vocab ","                          \
    "\"max_position_embeddings\":" POSITIONS ",\"rms_norm_eps\":1e-5,\"rope_theta\":10000.0,"      \
    "\"tie_word_embeddings\":true,\"hidden_act\":\"silu\",\"eos_token_id\":0,"                     \
    "\"torch_dtype\":\"bfloat16\"}\n"
#define CONFIG CONFIG_OF("768")
#define OTHER_CONFIG CONFIG_OF("704")
#define LARGE_CONFIG CONFIG_OF("32768")
#define TEMPLATE                                                                                   \
    "{{ bos_token }}{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"              \
    "{% if add_generation_prompt %}<assistant>{% endif %}"
#define NODES                                                                                      \
    "kv: { memory: 32MiB }\nnodes:\n"                                                              \
    "- { name: r, role: router, clients: '127.0.0.1:0' }\n"                                        \
    "- { name: p, role: prefill }\n- { name: d, role: decode }\n"
#define FLEET "model: tiny\n" NODES

/* CPU time within which a broken checkpoint must be refused. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define REFUSE_MS 2000
#else
#define REFUSE_MS 100
#endif

/* Kernels of another kind of machine. */
#if defined(__x86_64__)
#define NO_TABLE "neon"
#else
#define NO_TABLE "avx2"
#endif

static char out[ROOM], err[ROOM];

/* ---- making checkpoints ---- */

/* A path in the test's folder; static until the next call but three. */
static const char *in_folder(const char *name)
{
    static char paths[4][PATH_ROOM];
    static unsigned turn;
    char *path = paths[turn++ % 4];

    snprintf(path, PATH_ROOM, "%s/%.400s", run_folder(), name);
    return path;
}

static void make_folder(const char *name)
{
    assert_int_equal(mkdir(in_folder(name), 0755), 0);
}

/* A byte-level vocabulary: 256 ids, each one byte. The file writes each byte as a letter; bytes
 * that are none get letters from 256 on. */
static void write_tokenizer(const char *name)
{
    FILE *file = fopen(in_folder(name), "we");
    unsigned next = 256;

    assert_non_null(file);
    fputs("{\"version\":\"1.0\",\"truncation\":null,\"padding\":null,\"added_tokens\":[],"
          "\"normalizer\":null,\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":"
          "false,\"trim_offsets\":true,\"use_regex\":true},\"post_processor\":null,\"decoder\":"
          "{\"type\":\"ByteLevel\",\"add_prefix_space\":true,\"trim_offsets\":true,\"use_regex\":"
          "true},\"model\":{\"type\":\"BPE\",\"dropout\":null,\"unk_token\":null,"
          "\"continuing_subword_prefix\":null,\"end_of_word_suffix\":null,\"fuse_unk\":false,"
          "\"byte_fallback\":false,\"ignore_merges\":false,\"vocab\":{",
          file);
    for (unsigned byte = 0; byte < 256; byte++) {
        const bool letter = (byte >= 33 && byte <= 126) || (byte >= 161 && byte != 173);

        fprintf(file, "%s\"\\u%04x\":%u", byte > 0 ? "," : "", letter ? byte : next, byte);
        next += !letter;
    }
    fputs("},\"merges\":[]}}\n", file);
    assert_int_equal(fclose(file), 0);
}

static void make_model(const char *name, const char *tokenizer)
{
    int code;

    if (tokenizer)
        code = run_once(out, err, ROOM, "make-model", "--config", in_folder("shape.json"), "--seed",
                        "7", "--out", in_folder(name), "--tokenizer", in_folder(tokenizer), NULL);
    else
        code = run_once(out, err, ROOM, "make-model", "--config", in_folder("shape.json"), "--seed",
                        "7", "--out", in_folder(name), NULL);
    if (code != 0)
        fail_msg("make-model: %s", err);
}

static int setup(void **state)
{
    (void)state;
    make_folder("text");
    (void)run_file("shape.json", CONFIG);
    write_tokenizer("text/tokenizer.json");
    (void)run_file("text/tokenizer_config.json",
                   "{\"bos_token\":\"^\",\"chat_template\":\"" TEMPLATE "\"}\n");
    make_model("tiny", "text");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    run_folder_remove();
    return 0;
}

/* ---- asking ---- */

/* Any model's events: ids in order; the text is the tokenizer's. */
static bool take(struct ask_answer *answer, const struct baton_event *event)
{
    if (event->kind == BATON_TOKEN) {
        assert_int_equal(event->index, answer->n);
        assert_true(answer->n < ASK_TOKENS_MAX);
        answer->tokens[answer->n++] = event->token;
    }
    if (event->kind != BATON_DONE && event->kind != BATON_FAILED)
        return false;
    answer->last = *event;
    return true;
}

static void start_request(struct baton *baton, const struct baton_request *request,
                          struct ask_answer *answer)
{
    uint64_t stream;

    answer->n = 0;
    assert_int_equal(baton_generate(baton, request, &stream), BATON_OK);
}

static void finish_request(struct baton *baton, struct ask_answer *answer)
{
    struct baton_event event;

    do
        ask_next(baton, &event);
    while (!take(answer, &event));
    if (answer->last.kind != BATON_DONE)
        fail_msg("after %zu tokens: %s", answer->n, answer->last.text);
}

static void expect_equal(const struct ask_answer *a, const struct ask_answer *b)
{
    assert_int_equal(a->n, b->n);
    assert_memory_equal(a->tokens, b->tokens, a->n * sizeof(a->tokens[0]));
}

/* ---- answers ---- */

/* The same question gives the same tokens: again, in another type of numbers never by chance, with
 * more threads, other instructions, in another fleet, and with nodes that die. */
static void tokens_are_the_question(void **state)
{
    static const char *const others[][2] = {{"--engine.threads=3", "--engine.chunk-max=64"},
                                            {"--engine.table=scalar", "--kv.shared_memory=false"}};
    static struct ask_answer truth, answer;
    struct baton_request request;
    char endpoint[128];
    struct run *up = run_start("up", run_file("fleet.yaml", FLEET), NULL);
    struct baton *baton;

    (void)state;
    run_clients(up, endpoint, sizeof(endpoint));
    run_await_err(up, "what=\"model tiny: weights ");
    baton = ask_open(endpoint);
    ask_request(&request,
                "What is a KV cache? A question of some length, so that it has more than "
                "a single block of sixty-four tokens.",
                5, 300);
    start_request(baton, &request, &truth);
    finish_request(baton, &truth);
    assert_int_equal(truth.n, 300);
    assert_string_equal(truth.last.fingerprint, "1-cpu-tp1-strict-bf16");
    start_request(baton, &request, &answer);
    finish_request(baton, &answer);
    expect_equal(&truth, &answer);
    request.seed = 6;
    start_request(baton, &request, &answer);
    finish_request(baton, &answer);
    assert_memory_not_equal(truth.tokens, answer.tokens, sizeof(truth.tokens[0]) * 300);
    baton_close(baton);
    assert_int_equal(run_stop(up, SIGTERM), 0);

    for (size_t i = 0; i < 2; i++) {
        up = run_start("up", in_folder("fleet.yaml"), others[i][0], others[i][1], NULL);
        run_clients(up, endpoint, sizeof(endpoint));
        baton = ask_open(endpoint);
        request.seed = 5;
        start_request(baton, &request, &answer);
        finish_request(baton, &answer);
        expect_equal(&truth, &answer);
        baton_close(baton);
        assert_int_equal(run_stop(up, SIGTERM), 0);
    }
}

/* The decode node is killed in the middle of a stream, comes back, loads its weights again, and the
 * stream goes on as if nothing had been. */
static void tokens_outlive_their_node(void **state)
{
    static struct ask_answer truth, answer;
    struct run *up = run_start("up", run_file("fleet.yaml", FLEET), NULL);
    struct baton_request request;
    char endpoint[128];
    struct baton *baton;

    (void)state;
    run_clients(up, endpoint, sizeof(endpoint));
    baton = ask_open(endpoint);
    ask_request(&request, "who holds the baton?", 9, 2500);
    start_request(baton, &request, &truth);
    finish_request(baton, &truth);
    start_request(baton, &request, &answer);
    while (answer.n < 100) {
        struct baton_event event;

        ask_next(baton, &event);
        assert_false(take(&answer, &event));
    }
    assert_int_equal(kill(run_node(up, "d"), SIGKILL), 0);
    finish_request(baton, &answer);
    expect_equal(&truth, &answer);
    assert_int_equal(answer.last.ledger.attempts, 2);
    baton_close(baton);
    assert_int_equal(run_stop(up, SIGTERM), 0);
}

static void float32_is_another_model(void **state)
{
    static struct ask_answer answer;
    struct run *up = run_start("up", run_file("fleet.yaml", FLEET), "--engine.dtype=float32",
                               "--model_name=mine", NULL);
    struct baton_request request;
    char endpoint[128];
    struct baton *baton;

    (void)state;
    run_clients(up, endpoint, sizeof(endpoint));
    run_await_err(up, " f32, KV pool ");
    baton = ask_open(endpoint);
    ask_request(&request, "hello", 5, 20);
    request.model = "mine";
    start_request(baton, &request, &answer);
    finish_request(baton, &answer);
    assert_string_equal(answer.last.fingerprint, "1-cpu-tp1-strict-f32");
    baton_close(baton);
    assert_int_equal(run_stop(up, SIGTERM), 0);
}

/* ---- texts and chats ---- */

static void chat(const char *endpoint, const char *option, const char *value, const char *prompt)
{
    const int code = run_once(out, err, ROOM, "chat", "--config", in_folder("fleet.yaml"),
                              "--connect", endpoint, "--tokens", "24", "--temperature", "1",
                              "--seed", "3", "--ignore-eos", prompt, option, value, NULL);

    if (code != 0)
        fail_msg("chat %s: %s", prompt, err);
}

/* What chat sends is what the model's template makes of it. */
static void chats_are_templated(void **state)
{
    struct run *up = run_start("up", run_file("fleet.yaml", FLEET), NULL);
    static char first[ROOM], second[ROOM];
    char endpoint[128];

    (void)state;
    run_clients(up, endpoint, sizeof(endpoint));
    chat(endpoint, NULL, NULL, "hi");
    snprintf(first, sizeof(first), "%s", out);
    chat(endpoint, "--system", "Be kind.", "hi");
    snprintf(second, sizeof(second), "%s", out);
    assert_string_not_equal(first, second);
    chat(endpoint, "--raw", NULL, "^<user>hi<assistant>");
    assert_string_equal(out, first);
    chat(endpoint, "--raw", NULL, "^<system>Be kind.<user>hi<assistant>");
    assert_string_equal(out, second);
    assert_int_equal(run_stop(up, SIGTERM), 0);
}

static void no_template_no_chat(void **state)
{
    struct run *up;
    char endpoint[128];

    (void)state;
    make_folder("plain");
    write_tokenizer("plain/tokenizer.json");
    make_model("mute", "plain");
    up = run_start("up", run_file("fleet.yaml", "model: mute\n" NODES), NULL);
    run_clients(up, endpoint, sizeof(endpoint));
    assert_int_equal(run_once(out, err, ROOM, "chat", "--config", in_folder("fleet.yaml"),
                              "--connect", endpoint, "hi", NULL),
                     1);
    assert_non_null(strstr(err, "no chat template"));
    chat(endpoint, "--raw", NULL, "hi");
    assert_int_equal(run_stop(up, SIGTERM), 0);
}

/* A tokenizer that is hardly this model's is served, and said. */
static void other_vocabularies(void **state)
{
    static const struct {
        const char *config, *says;
    } cases[] = {{VOCAB_CONFIG("192"), "has ids that the model does not know"},
                 {VOCAB_CONFIG("1281"), "has far fewer ids than the model"},
                 {VOCAB_CONFIG("1280"), NULL}};

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char name[16], text[512];
        struct run *up;

        snprintf(name, sizeof(name), "vocab%zu", i);
        (void)run_file("shape.json", cases[i].config);
        make_model(name, "text");
        snprintf(text, sizeof(text), "model: %s\n" NODES, name);
        up = run_start("up", run_file("fleet.yaml", text), NULL);
        run_await_out(up, "ready clients=");
        if (cases[i].says)
            run_await_err(up, cases[i].says);
        else
            assert_null(strstr(up->err.text, "is it another model's"));
        assert_int_equal(run_stop(up, SIGTERM), 0);
    }
    (void)run_file("shape.json", CONFIG);
}

/* ---- refusals ---- */

static double cpu_ms(void)
{
    struct rusage use;

    assert_int_equal(getrusage(RUSAGE_CHILDREN, &use), 0);
    return (double)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) * 1e3 +
           (double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec) / 1e3;
}

/* Both the check and the fleet must refuse it with exit status 3 and a sentence that has the parts,
 * and start nothing. */
static void refused(const char *text, const char *part, const char *other_part)
{
    static const char *const commands[] = {"check-config", "up"};
    const char *path = run_file("bad.yaml", text);

    for (size_t i = 0; i < 2; i++) {
        const double start_ms = cpu_ms();

        assert_int_equal(run_once(out, err, ROOM, commands[i], path, NULL), 3);
        if (!strstr(err, part) || !strstr(err, other_part))
            fail_msg("expected '%s' and '%s' in: %s", part, other_part, err);
        assert_null(strstr(err, "started"));
        if (cpu_ms() - start_ms > REFUSE_MS)
            fail_msg("%s took %.0f ms to say: %s", commands[i], cpu_ms() - start_ms, err);
    }
}

static void wrong_paths(void **state)
{
    (void)state;
    refused("model: nowhere\n" NODES, "bad.yaml:1:8: model: 'nowhere' is not there",
            "oracle, demo");
    refused("model: shape.json\n" NODES, "is a file", "Hugging Face");
    make_folder("empty");
    refused("model: empty\n" NODES, "no config.json", "bad.yaml:1:8");
    assert_non_null(strstr(err, in_folder("empty")));
}

/* Paths of the command line are whole in what is said, and a link is called by its own name. */
static void paths_and_names(void **state)
{
    const char *path = run_file("fleet.yaml", FLEET);
    char whole[PATH_ROOM], here[PATH_ROOM - 64];
    static const char *const same[][2] = {{"tiny", "model tiny"},
                                          {"tiny/", "model tiny"},
                                          {"link", "model link"},
                                          {"link/", "model link"},
                                          {"link/.", "model tiny"}};

    (void)state;
    assert_non_null(getcwd(here, sizeof(here)));
    snprintf(whole, sizeof(whole), "(%s/nowhere/else: ", here);
    assert_int_equal(run_once(out, err, ROOM, "check-config", path, "--model=nowhere/else", NULL),
                     3);
    if (!strstr(err, whole))
        fail_msg("expected '%s' in: %s", whole, err);
    assert_int_equal(symlink("tiny", in_folder("link")), 0);
    for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++) {
        assert_int_equal(
            run_once(out, err, ROOM, "check-config", path, "--model", in_folder(same[i][0]), NULL),
            0);
        if (!strstr(out, same[i][1]))
            fail_msg("%s: expected '%s' in: %s", same[i][0], same[i][1], out);
    }
}

/* A copy of the good one with the file changed. */
static void spoil(const char *folder, const char *file, const char *text)
{
    char name[PATH_ROOM];

    make_model(folder, "text");
    snprintf(name, sizeof(name), "%.60s/%.100s", folder, file);
    if (text)
        (void)run_file(name, text);
    else
        assert_int_equal(unlink(in_folder(name)), 0);
}

static void broken_checkpoints(void **state)
{
    struct stat at;

    (void)state;
    spoil("a", "config.json", "{ \"model_type\": ");
    refused("model: a\n" NODES, "a/config.json", "");
    spoil("b", "config.json",
          "{\"architectures\":[\"MambaForCausalLM\"],\"model_type\":\"mamba\"}");
    refused("model: b\n" NODES, "Mamba", "config.json");
    spoil("c", "model.safetensors", NULL);
    refused("model: c\n" NODES, "model.safetensors", "");
    spoil("d", "tokenizer.json", NULL);
    refused("model: d\n" NODES, "tokenizer.json", "--tokenizer");
    /* A machine needs what its own nodes use: routers the text, the others the weights. */
    assert_int_equal(
        run_once(out, err, ROOM, "check-config", in_folder("bad.yaml"), "--only", "p,d", NULL), 0);
    assert_int_equal(run_once(out, err, ROOM, "check-config", in_folder("bad.yaml"), "--model",
                              in_folder("c"), "--only", "r", NULL),
                     0);
    make_model("e", "text");
    assert_int_equal(stat(in_folder("e/model.safetensors"), &at), 0);
    assert_int_equal(truncate(in_folder("e/model.safetensors"), at.st_size - 2), 0);
    refused("model: e\n" NODES, "e/model.safetensors", "");
    spoil("f", "generation_config.json", "[]");
    refused("model: f\n" NODES, "generation_config.json", "");
    spoil("h", "config.json", NULL); /* another model's */
    (void)run_file("h/config.json", OTHER_CONFIG);
    refused("model: h\n" NODES, "mlp.", "h/");
    /* The router's own, before it starts. */
    spoil("g", "tokenizer.json", "{\"version\":\"1.0\"}");
    refused("model: g\n" NODES, "/g: tokenizer.json", "");
    spoil("i", "chat_template.jinja", "{% for m in messages %}");
    refused("model: i\n" NODES, "/i: chat template, line 1", "");
    spoil("j", "tokenizer.json", "version https://git-lfs.github.com/spec/v1\noid sha256:4d\n");
    refused("model: j\n" NODES, "j/tokenizer.json: is a Git LFS pointer", "git lfs pull");
    spoil("k", "tokenizer.json", NULL);
    assert_int_equal(symlink("elsewhere", in_folder("k/tokenizer.json")), 0);
    refused("model: k\n" NODES, "k/tokenizer.json: is a link to elsewhere, which is not there", "");
    make_model("l", "text");
    assert_int_equal(symlink("elsewhere", in_folder("l/chat_template.jinja")), 0);
    refused("model: l\n" NODES, "l/chat_template.jinja: is a link to elsewhere", "");
    refused("model: tiny\nengine: { table: " NO_TABLE " }\n" NODES, "engine.table is " NO_TABLE,
            "there are auto, scalar");
}

static void sizes_together(void **state)
{
    (void)state;
    refused("model: tiny\nengine: { len_max: 4097 }\n" NODES, "at most " POSITIONS " tokens",
            "bad.yaml:2:20");
    refused("model: tiny\nkv: { memory: 1MiB }\n" /* nodes only */
            "nodes:\n- { name: r, role: router }\n- { name: p, role: prefill }\n"
            "- { name: d, role: decode }\n",
            "kv.memory (", "64 blocks");
    refused("model: tiny\nkv: { memory: 900TiB }\nengine: { seqs_max: 65536 }\n"
            "nodes:\n- { name: r, role: router }\n- { name: p, role: prefill }\n"
            "- { name: d, role: decode }\n",
            "does not fit", "2 nodes");
    /* Not given, both follow the model. */
    assert_int_equal(run_once(out, err, ROOM, "check-config",
                              run_file("fleet.yaml", "model: tiny\nnodes:\n"
                                                     "- { name: r, role: router }\n"
                                                     "- { name: p, role: prefill }\n"
                                                     "- { name: d, role: decode }\n"),
                              NULL),
                     0);
    assert_non_null(strstr(out, "up to " POSITIONS " tokens"));
}

/* ---- the demo model ---- */

static void copy(const char *from, const char *to)
{
    char command[2 * PATH_ROOM + 16];

    snprintf(command, sizeof(command), "cp -rL %s %s", from, to);
    assert_int_equal(system(command), 0); /* NOLINT */
}

/* Found below share/ of where the program is installed, and beside it, which comes first. */
static void demo_comes_with_the_program(void **state)
{
    const char *path = run_file("fleet.yaml", "model: demo\n" NODES);
    char build[PATH_ROOM], binary[PATH_ROOM + 8];

    (void)state;
    snprintf(build, sizeof(build), "%s", getenv("BATON_BUILD"));
    snprintf(binary, sizeof(binary), "%s/baton", build);
    make_folder("prefix");
    make_folder("prefix/bin");
    make_folder("prefix/share");
    make_folder("prefix/share/baton");
    copy(binary, in_folder("prefix/bin/baton"));
    setenv("BATON_BUILD", in_folder("prefix/bin"), 1);
    assert_int_equal(run_once(out, err, ROOM, "check-config", path, NULL), 3);
    assert_non_null(strstr(err, "prefix/bin/demo"));
    assert_non_null(strstr(err, "prefix/bin/../share/baton/demo"));
    copy(in_folder("tiny"), in_folder("prefix/share/baton/demo"));
    assert_int_equal(run_once(out, err, ROOM, "check-config", path, NULL), 0);
    assert_non_null(strstr(out, "model demo"));
    assert_non_null(strstr(out, "prefix/share/baton/demo,"));
    copy(in_folder("tiny"), in_folder("prefix/bin/demo"));
    assert_int_equal(run_once(out, err, ROOM, "check-config", path, NULL), 0);
    assert_non_null(strstr(out, "prefix/bin/demo,"));
    setenv("BATON_BUILD", build, 1);
}

/* configs/local.yaml as it is, but for its port: it serves the demo model, which knows the answer
 * to the one question that everybody asks first. */
static void demo_answers(void **state)
{
    char config[PATH_ROOM], endpoint[128];
    struct run *up;

    (void)state;
    snprintf(config, sizeof(config), "%s/configs/local.yaml", getenv("BATON_ROOT"));
    assert_int_equal(run_once(out, err, ROOM, "check-config", config, NULL), 0);
    assert_non_null(strstr(out, "model demo"));
    up = run_start("up", run_file("fleet.yaml", "model: demo\n" NODES), NULL);
    run_clients(up, endpoint, sizeof(endpoint));
    assert_int_equal(run_once(out, err, ROOM, "chat", "--config", in_folder("fleet.yaml"),
                              "--connect", endpoint, "What is a KV cache?", NULL),
                     0);
    assert_non_null(strstr(out, "keys and values"));
    assert_non_null(strstr(err, "stop after "));
    assert_int_equal(run_stop(up, SIGTERM), 0);
}

/* ---- making one ---- */

/* Said in quarters where nobody looks; a signal takes all of it back. */
static void making_is_said_and_stopped(void **state)
{
    struct run *make;

    (void)state;
    (void)run_file("large.json", LARGE_CONFIG);
    make = run_start("make-model", "--config", in_folder("large.json"), "--seed", "1", "--out",
                     in_folder("large"), NULL);
    run_await_err(make, "writing 0%\n");
    assert_int_equal(run_stop(make, SIGINT), 128 + SIGINT);
    assert_int_equal(access(in_folder("large"), F_OK), -1);
    assert_int_equal(run_once(out, err, ROOM, "make-model", "--config", in_folder("large.json"),
                              "--seed", "1", "--out", in_folder("large"), NULL),
                     0);
    assert_string_equal(err, "writing 0%\nwriting 25%\nwriting 50%\nwriting 75%\nwriting 100%\n");
    assert_int_equal(unlink(in_folder("large/model.safetensors")), 0);
    assert_int_equal(run_once(out, err, ROOM, "make-model", "--config", in_folder("shape.json"),
                              "--seed", "1", "--out", in_folder("split"), "--shard-bytes", "0.5MB",
                              NULL),
                     0);
    assert_string_equal(err, "");
    assert_int_equal(access(in_folder("split/model.safetensors.index.json"), F_OK), 0);
    assert_int_equal(run_once(out, err, ROOM, "make-model", "--config", in_folder("shape.json"),
                              "--seed", "1", "--out", in_folder("none"), "--shard-bytes", "5gb",
                              NULL),
                     2);
    assert_non_null(strstr(err, "--shard-bytes is '5gb'; a size such as"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tokens_are_the_question),
        cmocka_unit_test(tokens_outlive_their_node),
        cmocka_unit_test(float32_is_another_model),
        cmocka_unit_test(chats_are_templated),
        cmocka_unit_test(other_vocabularies),
        cmocka_unit_test(no_template_no_chat),
        cmocka_unit_test(wrong_paths),
        cmocka_unit_test(paths_and_names),
        cmocka_unit_test(broken_checkpoints),
        cmocka_unit_test(sizes_together),
        cmocka_unit_test(demo_comes_with_the_program),
        cmocka_unit_test(demo_answers),
        cmocka_unit_test(making_is_said_and_stopped),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
