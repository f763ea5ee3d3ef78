/* Opens the model of a worker: oracle or checkpoint, each with what its role must know of it. */
#include "cli/worker_model.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/log.h"
#include "engine/model_exec.h"
#include "engine/oracle.h"

#define NUMERICS_CONTRACT 1u /* of kernels/NUMERICS.md */
#define PROGRESS_EVERY_NS (300 * NS_PER_MS)

/* ---- identity ---- */

static void print_identity(struct worker_model *model, const struct numerics_identity *identity,
                           struct fingerprint *print)
{
    print->geom = model->engine.geom;
    print->protocol = WIRE_VERSION_MAX;
    CHECK(numerics_print(identity, model->numerics) == STATUS_OK);
    print->numerics = model->numerics;
    CHECK(fingerprint_print(print, model->fingerprint) == STATUS_OK);
}

/* ---- the oracle ---- */

static enum status open_oracle(struct process *process, struct worker_model *model)
{
    const struct oracle_cfg cfg = served_oracle_cfg(process->served, process->fleet);
    const struct numerics_identity identity = {.contract = NUMERICS_CONTRACT,
                                               .backend = "oracle",
                                               .tp = 1,
                                               .mode = "strict",
                                               .dtypes = "bytes"};
    struct fingerprint print = {.weights_hash = cfg.model_seed, .kv_dtype = "bytes"};
    char text[SERVED_BYTES_TEXT];

    print_identity(model, &identity, &print);
    model->eos = oracle_eos;
    model->n_eos = ORACLE_N_EOS;
    model->vocab = ORACLE_VOCAB;
    if (oracle_create(&cfg, &model->exec) == STATUS_OK)
        return STATUS_OK;
    process_complain("node '%s': there is no memory for a KV pool of %s: lower kv.memory",
                     process->node->name,
                     served_bytes((uint64_t)cfg.n_blocks * kvgeom_block_bytes(&cfg.geom), text));
    return STATUS_NO_MEMORY;
}

/* ---- a checkpoint ---- */

struct progress {
    const struct clock *clock;
    uint64_t said_ns;
    unsigned said_percent;
};

static void on_progress(void *ctx, uint64_t done, uint64_t total)
{
    struct progress *progress = ctx;
    const uint64_t now_ns = clock_now_ns(progress->clock);
    const unsigned percent = total > 0 ? (unsigned)(done * 100 / total) : 100;

    if (percent == progress->said_percent ||
        (percent < 100 && now_ns - progress->said_ns < PROGRESS_EVERY_NS))
        return;
    progress->said_ns = now_ns;
    progress->said_percent = percent;
    process_say("loading %u%%", percent);
}

/* No loop runs yet that would look at a signal: it may end the process as if there were no handler,
 * for there is nothing to finish. */
static void default_signals(struct sigaction saved[2], bool restore)
{
    static const int signals[2] = {SIGTERM, SIGINT};
    const struct sigaction plain = {.sa_handler = SIG_DFL};

    for (size_t i = 0; i < 2; i++) {
        if (restore)
            sigaction(signals[i], &saved[i], NULL);
        else
            sigaction(signals[i], &plain, &saved[i]);
    }
}

/* What was read when the sizes were chosen, and what was loaded: a checkpoint may be replaced in
 * between. */
static bool is_as_served(const struct served *served, const struct model_config *config)
{
    const struct kvgeom geom = model_kvgeom(config, served->dtype);

    return config->vocab == served->vocab && memcmp(&geom, &served->geom, sizeof(geom)) == 0;
}

static enum status load(struct process *process, struct worker_model *model)
{
    const struct clock clock = clock_monotonic();
    const struct served *served = process->served;
    struct progress progress = {.clock = &clock, .said_ns = clock_now_ns(&clock)};
    struct model_error error = {""};
    struct sigaction saved[2];
    const struct model_open_args args = {.path = served->path,
                                         .dtype = served->dtype,
                                         .len_max = served->len_max,
                                         .table = served->table,
                                         .n_threads = process->n_threads,
                                         .pin = process->pin,
                                         .progress = on_progress,
                                         .ctx = &progress};
    enum status status;

    default_signals(saved, false);
    status = model_open(&args, &error, &model->model);
    default_signals(saved, true);
    if (status == STATUS_OK && !is_as_served(served, model_config(model->model)))
        status = model_fail(&error, STATUS_INVALID,
                            "%s: its config.json has changed since this node began to start: start "
                            "it again",
                            served->path);
    if (status == STATUS_OK)
        return STATUS_OK;
    process_complain("node '%s': %s", process->node->name,
                     error.text[0] ? error.text : status_text(status));
    process->exit_code = status == STATUS_NO_MEMORY ? EXIT_ADDRESS : EXIT_CONFIG;
    return status;
}

static struct model_exec_cfg exec_cfg(const struct process *process,
                                      const struct worker_model *model)
{
    const struct served *served = process->served;
    struct model_exec_cfg cfg = {.geom = served->geom,
                                 .n_blocks = served->n_blocks,
                                 .rows_max = model->engine.chunk_max + model->engine.batch_max,
                                 .batch_max = model->engine.batch_max,
                                 .len_max = served->len_max,
                                 .n_eos = served->generation.n_eos};

    memcpy(cfg.eos, served->generation.eos, sizeof(cfg.eos));
    return cfg;
}

/* One line with the sum of what takes memory, for the one who reads the log and the one who reads
 * the status lines. */
static void tell_memory(const struct process *process, const struct worker_model *model,
                        const struct model_exec_cfg *cfg, uint64_t took_ns)
{
    const struct device_info device = device_info(model_device(model->model));
    const uint64_t pool = model_exec_pool_bytes(cfg);
    char weights[SERVED_BYTES_TEXT], pools[SERVED_BYTES_TEXT], work[SERVED_BYTES_TEXT];
    char line[512];

    snprintf(line, sizeof(line),
             "model %s: weights %s %s, KV pool %u blocks x %.2f MiB = %s, workspaces %s, %u "
             "thread%s of %s, in %.1f s",
             process->served->name, served_bytes(model_weight_bytes(model->model), weights),
             served_dtype_name(process->served->dtype), cfg->n_blocks,
             (double)kvgeom_block_bytes(&cfg->geom) / (1 << 20), served_bytes(pool, pools),
             served_bytes(model_exec_work_bytes(model->model, cfg), work), device.n_threads,
             device.n_threads == 1 ? "" : "s", device.table, (double)took_ns / 1e9);
    process_say("%s", line);
    LOG_INFO("node", "loaded", log_str("what", line));
}

static enum status open_checkpoint(struct process *process, struct worker_model *model)
{
    const struct clock clock = clock_monotonic();
    const uint64_t start_ns = clock_now_ns(&clock);
    const char *dtype = served_dtype_name(process->served->dtype);
    struct numerics_identity identity = {
        .contract = NUMERICS_CONTRACT, .tp = 1, .mode = "strict", .dtypes = dtype};
    struct fingerprint print = {.kv_dtype = dtype};
    const struct model_exec_cfg cfg = exec_cfg(process, model);
    char text[SERVED_BYTES_TEXT];
    enum status status = load(process, model);

    if (status != STATUS_OK)
        return status;
    status = model_exec_create(model->model, &cfg, &model->exec);
    if (status == STATUS_INVALID) {
        process_complain("node '%s': these sizes of KV pool and steps cannot be computed with",
                         process->node->name);
        process->exit_code = EXIT_CONFIG;
        return status;
    }
    if (status != STATUS_OK) {
        process_complain("node '%s': there is no memory for a KV pool of %s and its workspaces "
                         "(%s): lower kv.memory or engine.chunk_max",
                         process->node->name, served_bytes(model_exec_pool_bytes(&cfg), text),
                         status_text(status));
        process->exit_code = status == STATUS_NO_MEMORY ? EXIT_ADDRESS : EXIT_FATAL;
        return status;
    }
    identity.backend = device_info(model_device(model->model)).kind;
    print.config_hash =
        model_generation_hash(&process->served->generation, model_config_hash(model->model));
    print.weights_hash = model_weights_hash(model->model);
    print_identity(model, &identity, &print);
    model->eos = process->served->generation.eos;
    model->n_eos = process->served->generation.n_eos;
    model->vocab = process->served->vocab;
    tell_memory(process, model, &cfg, clock_now_ns(&clock) - start_ns);
    return STATUS_OK;
}

/* ---- both ---- */

enum status worker_model_open(struct process *process, struct worker_model *out)
{
    struct worker_model model = {.engine = served_engine_cfg(process->served, process->fleet)};
    enum status status;

    process->exit_code = EXIT_ADDRESS;
    status = process->served->is_oracle ? open_oracle(process, &model)
                                        : open_checkpoint(process, &model);
    if (status != STATUS_OK) {
        worker_model_close(&model);
        return status;
    }
    process->exit_code = EXIT_FATAL; /* as it was: whoever fails next says why */
    *out = model;
    return STATUS_OK;
}

void worker_model_close(struct worker_model *model)
{
    if (model->exec.ops)
        model->exec.ops->destroy(model->exec.self);
    model_close(model->model);
    *model = (struct worker_model){.model = NULL};
}
