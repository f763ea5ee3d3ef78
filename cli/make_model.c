/* The command line of `baton make-model`; the work is in model/make_model.c. Main thread only. */
#include "cli/make_model.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cfg.h"
#include "base/clock.h"
#include "cli/process.h"
#include "cli/words.h"
#include "model/make_model.h"
#include "model/safetensors.h"

#define SAY_MIN_BYTES (UINT64_C(64) << 20) /* less is there before one could read it */

/* The signal that asked to stop: what is half written is then removed. */
static volatile sig_atomic_t stopped;

struct progress {
    bool is_terminal;
    unsigned said; /* percent; 101: nothing yet */
};

static const char help[] =
    "Usage: baton make-model --config FILE --seed N --out FOLDER [OPTIONS]\n\n"
    "Writes a checkpoint with random weights in Hugging Face's format. FILE is a\n"
    "config.json or the folder of one; FOLDER must not exist or be empty. The same\n"
    "seed gives the same values, whatever the shards. Where it fails or is stopped,\n"
    "what it has written is removed.\n\n"
    "  --dtype TYPE         bf16, fp16 or fp32; else what the config says\n"
    "  --shard-bytes SIZE   most weights in a file (500MB, 1.5GiB), 5GiB by default;\n"
    "                       a larger tensor gets a file of its own\n"
    "  --deviation X        standard deviation of the weights; else initializer_range\n"
    "  --tokenizer FOLDER   copy the tokenizer and chat template of this checkpoint\n";

/* A whole number of the command line, or false with a sentence. NULL leaves *out as it is. */
static bool read_number(const char *name, const char *text, uint64_t *out)
{
    char *end;

    if (text == NULL)
        return true;
    uint64_t value = strtoull(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0') {
        process_complain("make-model: %s is '%.40s'; a whole number is expected", name, text);
        return false;
    }
    *out = value;
    return true;
}

static bool read_size(const char *name, const char *text, uint64_t *out)
{
    if (text == NULL || (cfg_parse_size(text, out) && *out > 0))
        return true;
    process_complain("make-model: %s is '%.40s'; a size such as 500MB, 5GB or 1.5GiB is expected",
                     name, text);
    return false;
}

static bool read_dtype(const char *text, struct make_model_args *args)
{
    static const enum op_dtype dtypes[] = {OP_BF16, OP_F16, OP_F32};

    if (text == NULL)
        return true;
    args->dtype_given = true;
    for (size_t i = 0; i < sizeof(dtypes) / sizeof(dtypes[0]); i++) {
        args->dtype = dtypes[i];
        if (strcmp(text, safetensors_dtype_name(dtypes[i])) == 0)
            return true;
    }
    process_complain("make-model: --dtype is '%.40s'; bf16, fp16 or fp32 is expected", text);
    return false;
}

static bool read_deviation(const char *text, struct make_model_args *args)
{
    char *end;

    if (text == NULL)
        return true;
    args->deviation = strtod(text, &end);
    if (end != text && *end == '\0' && args->deviation > 0)
        return true;
    process_complain("make-model: --deviation is '%.40s'; a number above 0 is expected", text);
    return false;
}

/* ---- while it is written ---- */

static void on_signal(int signum)
{
    stopped = signum;
}

/* Not one that is ignored already, as under nohup. */
static void catch_signals(void)
{
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
    const struct sigaction catcher = {.sa_handler = on_signal};
    struct sigaction old;

    for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
        if (sigaction(signals[i], NULL, &old) == 0 && old.sa_handler != SIG_IGN)
            sigaction(signals[i], &catcher, NULL);
}

/* The end that the signal asked for, so that a shell sees it. */
static void die_of(int signum)
{
    const struct sigaction plain = {.sa_handler = SIG_DFL};

    sigaction(signum, &plain, NULL);
    raise(signum);
}

/* On a terminal one line that is written again and again, elsewhere one for each quarter. */
static void on_progress(void *ctx, uint64_t done, uint64_t total)
{
    struct progress *progress = ctx;
    unsigned percent = total > 0 ? (unsigned)((double)done * 100 / (double)total) : 100;

    if (total < SAY_MIN_BYTES)
        return;
    if (!progress->is_terminal)
        percent -= percent % 25;
    if (percent == progress->said)
        return;
    progress->said = percent;
    if (!progress->is_terminal)
        fprintf(stderr, "writing %u%%\n", percent);
    else /* It ends with a return: what is printed next takes its place. */
        fprintf(stderr, percent < 100 ? "writing %u%%\033[K\r" : "\033[K", percent);
}

static enum exit_code run(struct make_model_args *args)
{
    const struct clock clock = clock_monotonic();
    const uint64_t start_ns = clock_now_ns(&clock);
    struct progress progress = {.is_terminal = isatty(STDERR_FILENO) == 1, .said = 101};
    struct make_model_result result;
    struct model_error error = {""};
    enum status status;

    args->progress = on_progress;
    args->ctx = &progress;
    args->stop = &stopped;
    catch_signals();
    status = make_model(args, &error, &result);
    if (status != STATUS_OK) {
        process_complain("%s", error.text[0] ? error.text : status_text(status));
        if (status == STATUS_CANCELLED)
            die_of(stopped);
        return EXIT_FAILED;
    }
    double seconds = (double)(clock_now_ns(&clock) - start_ns) / 1e9;
    printf("%s: %u tensors, %.1f MB in %u file%s, %.1f s, %.0f MB/s\n", args->out,
           (unsigned)result.n_tensors, (double)result.bytes / 1e6, (unsigned)result.n_files,
           result.n_files == 1 ? "" : "s", seconds, (double)result.bytes / 1e6 / seconds);
    return EXIT_DONE;
}

enum exit_code command_make_model(int n_args, char **args)
{
    struct words words = {.at = args, .n = n_args};
    struct make_model_args make = {.config = NULL};

    if (words_flag(&words, "--help")) {
        fputs(help, stdout);
        return EXIT_DONE;
    }
    make.config = words_value(&words, "--config");
    make.out = words_value(&words, "--out");
    make.tokenizer = words_value(&words, "--tokenizer");
    const char *seed = words_value(&words, "--seed");
    if (!read_number("--seed", seed, &make.seed) ||
        !read_size("--shard-bytes", words_value(&words, "--shard-bytes"), &make.shard_bytes) ||
        !read_dtype(words_value(&words, "--dtype"), &make) ||
        !read_deviation(words_value(&words, "--deviation"), &make))
        return EXIT_USAGE;
    if (words_option(&words) != NULL) {
        process_complain("make-model: '%s' is not understood", words_option(&words));
        return EXIT_USAGE;
    }
    if (make.config == NULL || make.out == NULL || seed == NULL || words.n > 0) {
        fputs(help, stderr);
        return EXIT_USAGE;
    }
    return run(&make);
}
