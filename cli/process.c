/* Sets a node's process up and ends it. See process.h. */
#include "cli/process.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/check.h"
#include "base/log.h"
#include "base/rand.h"
#include "cli/allow.h"

/* A second signal this soon is the same one, sent to the group too (timeout, some shells). */
#define STOP_TWICE_MS 300u
#define DESCRIPTORS_SPARE 256u /* log, libraries, client connections come on top as counted */

__attribute__((format(printf, 3, 0))) static void print_line(int fd, const char *lead,
                                                             const char *fmt, va_list args)
{
    char line[2048];
    size_t len = (size_t)snprintf(line, 64, "%s", lead);
    int n = vsnprintf(line + len, sizeof(line) - 1 - len, fmt, args);

    if (n < 0)
        return;
    len = strlen(line);
    line[len++] = '\n';
    if (write(fd, line, len) < 0)
        return; /* nobody listens */
}

void process_say(const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    print_line(STDOUT_FILENO, "", fmt, args);
    va_end(args);
}

void process_complain(const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    print_line(STDERR_FILENO, "baton: ", fmt, args);
    va_end(args);
}

void process_log_open(const struct fleet *fleet)
{
    const struct log_options options = {
        .level = (enum log_level)cfg_enum(fleet->cfg, "log.level"),
        .format = (enum log_format)cfg_enum(fleet->cfg, "log.format"),
        .site_lines_per_s = (uint32_t)cfg_int(fleet->cfg, "log.site_lines_per_s")};

    (void)log_open(&options); /* stderr cannot fail to open */
}

/* As many descriptors as the sum says, or as many as this user may have; that is then logged. */
static void raise_descriptors(uint64_t wanted)
{
    struct rlimit limit;

    wanted += DESCRIPTORS_SPARE;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= wanted)
        return;
    limit.rlim_cur = wanted < limit.rlim_max ? wanted : limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur < wanted)
        LOG_WARN("node", "fewer file descriptors than all peers and clients together may need",
                 log_u64("have", limit.rlim_cur), log_u64("need", wanted));
}

/* ---- signals ---- */

static void on_drain_over(void *ctx)
{
    struct process *process = ctx;

    LOG_WARN("node", "the time to finish is over, what is left is cut off");
    process_end(process, EXIT_FAILED);
}

static void on_signal(void *ctx, int signum)
{
    struct process *process = ctx;

    if (process->draining) {
        if (loop_now_ns(process->loop) - process->drained_ns < STOP_TWICE_MS * NS_PER_MS)
            return;
        LOG_WARN("node", "asked to stop twice, ends at once", log_i64("signal", signum));
        process_end(process, EXIT_FAILED);
        return;
    }
    process->draining = true;
    process->drained_ns = loop_now_ns(process->loop);
    LOG_INFO("node", "asked to stop, finishes what it has", log_i64("signal", signum));
    loop_timer_after(process->drain_timer, cfg_ms(process->fleet->cfg, "drain") * NS_PER_MS);
    process->on_drain(process->ctx);
}

/* ---- keys ---- */

static enum status open_keys(struct process *process)
{
    const struct fleet *fleet = process->fleet;
    char path[PATH_MAX + 80];
    char why[KEYS_WHY_MAX];
    enum status status;

    if (!fleet->keys[0])
        return STATUS_OK;
    snprintf(path, sizeof(path), "%s/%s.key", fleet->keys, process->node->name);
    status = keys_load(path, &process->own, why);
    if (status != STATUS_OK) {
        process_complain("%s", why);
        return status;
    }
    status = zap_open(process->zctx, process->loop, &process->zap);
    if (status != STATUS_OK) {
        process_complain("no allow-list can be served: %s", status_text(status));
        return status;
    }
    allow_path(fleet, path, sizeof(path));
    status = zap_load(process->zap, path, why);
    if (status != STATUS_OK)
        process_complain("%s", why);
    return status;
}

/* ---- life ---- */

static enum status open_parts(struct process *process, const struct process_args *args)
{
    const struct loop_options loop_options = {.name = "io", .clock = clock_monotonic()};
    const struct zctx_cfg zctx_cfg = {.io_threads = 1, .sockets_max = 3 * args->sockets_max + 16};
    enum status status = loop_create(&loop_options, &process->loop);

    if (status == STATUS_OK)
        status = zctx_open(&zctx_cfg, &process->zctx);
    if (status == STATUS_OK)
        status = loop_timer_create(process->loop, on_drain_over, process, &process->drain_timer);
    if (status == STATUS_OK)
        status = loop_signal_watch(process->loop, SIGTERM, on_signal, process);
    if (status == STATUS_OK)
        status = loop_signal_watch(process->loop, SIGINT, on_signal, process);
    if (status == STATUS_OK && args->crashbox_fd >= 0)
        status = crashbox_open(args->crashbox_fd, &process->crashbox);
    if (status != STATUS_OK) {
        process->exit_code = EXIT_FATAL;
        process_complain("node '%s' cannot start: %s", process->node->name, status_text(status));
        return status;
    }
    status = open_keys(process);
    if (status != STATUS_OK)
        process->exit_code = EXIT_CONFIG;
    return status;
}

enum status process_open(struct process *process, const struct fleet *fleet,
                         const struct fleet_node *node, const struct process_args *args)
{
    enum status status;

    *process = (struct process){.fleet = fleet,
                                .node = node,
                                .served = args->served,
                                .n_threads = args->n_threads,
                                .pin = args->pin};
    signal(SIGPIPE, SIG_IGN); /* NOLINT: whoever reads our log may be gone */
    if (args->parent) {
        /* Whatever kills the supervisor takes the fleet with it: no orphan, ever. */
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != args->parent)
            _exit(EXIT_FATAL); /* it has died already */
    }
    process_log_open(fleet);
    raise_descriptors(args->descriptors);
    do
        rand_entropy(&process->incarnation, sizeof(process->incarnation));
    while (process->incarnation == 0);
    status = open_parts(process, args);
    if (status != STATUS_OK)
        process_close(process);
    return status;
}

void process_close(struct process *process)
{
    zap_close(process->zap);
    keys_wipe(&process->own);
    crashbox_close(process->crashbox);
    loop_timer_destroy(process->drain_timer);
    zctx_close(process->zctx);
    loop_destroy(process->loop);
    process->zap = NULL;
    process->crashbox = NULL;
    process->drain_timer = NULL;
    process->zctx = NULL;
    process->loop = NULL;
}

enum exit_code process_run(struct process *process)
{
    if (loop_run(process->loop) != STATUS_OK) {
        LOG_ERROR("node", "the event loop failed");
        process->exit_code = EXIT_FATAL;
    }
    return process->exit_code;
}

void process_end(struct process *process, enum exit_code code)
{
    process->exit_code = code;
    loop_stop(process->loop);
}

void process_fatal(struct process *process, const char *sentence, enum status status)
{
    LOG_ERROR("node", "cannot go on", log_str("why", sentence), log_status(status));
    process_end(process, EXIT_FATAL);
}
