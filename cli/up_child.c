/* Starts a node's process and takes what comes from it. posix_spawn and not fork: the supervisor
 * has ZeroMQ's threads. The child dies with its parent (process.c), so there are no orphans. */
#include "cli/up_child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "cli/process.h"

#define LINE_BYTES_MAX 8192
#define CHILD_CRASHBOX_FD 3 /* its number in the child; what lies above is closed there */
#define ARGS_OWN 16
#define COMPLAINT "baton: " /* begins the sentence of a process that does not start */

/* One of the two pipes. */
struct up_pipe {
    struct up_child *child;
    bool is_status; /* stdout, else the log */
    int fd;         /* -1: none */
    struct loop_source *source;
    size_t len;
    char line[LINE_BYTES_MAX];
};

struct up_child {
    struct up_child_cfg cfg;
    enum up_state state;
    pid_t pid; /* 0: none */
    struct up_pipe status, log;
    struct crashbox *box;
    int box_fd;
    struct loop_timer *timer; /* the pause before the next start */
    uint64_t started_ns;
    uint64_t pause_ms;
    bool has_listened;     /* ever */
    bool stopping, killed; /* by us */
    unsigned loaded;       /* percent */
    char complaint[1536];
};

/* ---- what it prints ---- */

/* One line of its log under its name. JSON stays JSON: the name becomes its first member. */
static void print_log(const struct up_child *child, const char *line, size_t len)
{
    const char *name = child->cfg.node->name;
    struct pollfd fd = {.fd = STDERR_FILENO, .events = POLLOUT};
    char text[LINE_BYTES_MAX + 128];
    int n;

    if (line[0] == '{' && len > 1)
        n = snprintf(text, sizeof(text), "{\"node\":\"%s\",%.*s\n", name, (int)len - 1, line + 1);
    else if (child->cfg.color)
        n = snprintf(text, sizeof(text), "\033[%dm%-8s|\033[0m %.*s\n", child->cfg.color, name,
                     (int)len, line);
    else
        n = snprintf(text, sizeof(text), "%-8s| %.*s\n", name, (int)len, line);
    /* A reader that has stopped must not stop the supervisor: the line is lost. */
    if (poll(&fd, 1, 0) == 1 && write(STDERR_FILENO, text, (size_t)n) < 0)
        return;
}

/* A terminal shows all of it (up.c); a log gets a line at each quarter. */
static void take_progress(struct up_child *child, unsigned percent)
{
    if (child->cfg.color == 0 && percent < 100 && percent / 25 != child->loaded / 25)
        LOG_INFO("up", "a node loads its model", log_str("node", child->cfg.node->name),
                 log_u64("percent", percent));
    child->loaded = percent;
}

static void take_line(struct up_pipe *pipe, size_t len)
{
    struct up_child *child = pipe->child;

    if (!pipe->is_status) {
        if (len > strlen(COMPLAINT) && memcmp(pipe->line, COMPLAINT, strlen(COMPLAINT)) == 0)
            snprintf(child->complaint, sizeof(child->complaint), "%.*s", (int)len, pipe->line);
        print_log(child, pipe->line, len);
        return;
    }
    pipe->line[len] = '\0';
    if (strncmp(pipe->line, "listening", 9) == 0)
        child->has_listened = true;
    if (strncmp(pipe->line, "loading ", 8) == 0)
        take_progress(child, (unsigned)strtoul(pipe->line + 8, NULL, 10));
    child->cfg.on_line(child->cfg.ctx, child, pipe->line);
}

static void take_lines(struct up_pipe *pipe)
{
    char *end;

    while ((end = memchr(pipe->line, '\n', pipe->len)) != NULL) {
        const size_t len = (size_t)(end - pipe->line);

        take_line(pipe, len);
        pipe->len -= len + 1;
        memmove(pipe->line, end + 1, pipe->len);
    }
    if (pipe->len == sizeof(pipe->line) - 1) { /* longer than any line of ours */
        take_line(pipe, pipe->len);
        pipe->len = 0;
    }
}

static bool read_pipe(struct up_pipe *pipe)
{
    const ssize_t n =
        pipe->fd < 0 ? -1
                     : read(pipe->fd, pipe->line + pipe->len, sizeof(pipe->line) - 1 - pipe->len);

    if (n <= 0)
        return false;
    pipe->len += (size_t)n;
    take_lines(pipe);
    return true;
}

static void close_pipe(struct up_pipe *pipe)
{
    loop_source_remove(pipe->source);
    pipe->source = NULL;
    if (pipe->fd >= 0)
        close(pipe->fd);
    pipe->fd = -1;
    pipe->len = 0;
}

/* At its end the pipe is no more watched: it would be readable for ever. */
static bool on_pipe(void *ctx)
{
    struct up_pipe *pipe = ctx;
    char probe;

    if (read_pipe(pipe))
        return true;
    if (pipe->fd >= 0 && pipe->source && read(pipe->fd, &probe, 0) == 0 && errno != EAGAIN) {
        loop_source_remove(pipe->source);
        pipe->source = NULL;
    }
    return false;
}

static enum status open_pipe(struct up_pipe *up_pipe, int *child_end)
{
    int fds[2];
    enum status status;

    if (pipe2(fds, O_CLOEXEC) != 0)
        return STATUS_IO;
    fcntl(fds[0], F_SETFL, O_NONBLOCK);
    const struct loop_source_desc desc = {
        .name = "node", .fd = fds[0], .drain = on_pipe, .ctx = up_pipe};
    up_pipe->fd = fds[0];
    up_pipe->len = 0;
    status = loop_source_add(up_pipe->child->cfg.loop, &desc, &up_pipe->source);
    if (status != STATUS_OK) {
        close(fds[0]);
        close(fds[1]);
        up_pipe->fd = -1;
        return status;
    }
    *child_end = fds[1];
    return STATUS_OK;
}

/* ---- starting ---- */

static int spawn(struct up_child *child, char **args, int out_fd, int log_fd)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attr;
    sigset_t none, all;
    int error;

    sigemptyset(&none);
    sigfillset(&all);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, out_fd, STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&actions, log_fd, STDERR_FILENO);
    posix_spawn_file_actions_adddup2(&actions, child->box_fd, CHILD_CRASHBOX_FD);
    posix_spawn_file_actions_addclosefrom_np(&actions, CHILD_CRASHBOX_FD + 1);
    posix_spawnattr_init(&attr);
    /* Its own group: Ctrl-C is the supervisor's to pass on, in order. */
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK |
                                        POSIX_SPAWN_SETSIGDEF);
    posix_spawnattr_setpgroup(&attr, 0);
    posix_spawnattr_setsigmask(&attr, &none);
    posix_spawnattr_setsigdefault(&attr, &all);
    error = posix_spawn(&child->pid, "/proc/self/exe", &actions, &attr, args, environ);
    posix_spawnattr_destroy(&attr);
    posix_spawn_file_actions_destroy(&actions);
    return error;
}

static enum status spawn_node(struct up_child *child, int out_fd, int log_fd)
{
    const struct up_child_cfg *cfg = &child->cfg;
    char **args = mem_alloc_zero((size_t)cfg->n_passed + ARGS_OWN, sizeof(*args));
    char parent[24], fd[8], share[16];
    int n = 0;
    int error;

    if (!args)
        return STATUS_NO_MEMORY;
    snprintf(parent, sizeof(parent), "%ld", (long)getpid());
    snprintf(fd, sizeof(fd), "%d", CHILD_CRASHBOX_FD);
    args[n++] = (char *)"baton";
    args[n++] = (char *)fleet_role_name(cfg->node->role);
    args[n++] = (char *)cfg->fleet->path;
    args[n++] = (char *)"--name";
    args[n++] = (char *)cfg->node->name;
    args[n++] = (char *)"--run-folder";
    args[n++] = (char *)cfg->run;
    args[n++] = (char *)"--supervised";
    args[n++] = parent;
    args[n++] = (char *)"--crashbox-fd";
    args[n++] = fd;
    if (cfg->n_threads > 0) {
        snprintf(share, sizeof(share), "%u", cfg->n_threads);
        args[n++] = (char *)"--share";
        args[n++] = share;
    }
    if (cfg->alone)
        args[n++] = (char *)"--alone-here";
    memcpy(args + n, cfg->passed, (size_t)cfg->n_passed * sizeof(*args));
    error = spawn(child, args, out_fd, log_fd);
    mem_free(args);
    if (error == 0)
        return STATUS_OK;
    LOG_ERROR("up", "cannot start a process", log_errno(error));
    child->pid = 0;
    return STATUS_IO;
}

static void rest(struct up_child *child)
{
    const struct cfg *cfg = child->cfg.fleet->cfg;
    const uint64_t longest_ms = cfg_ms(cfg, "supervisor.restart_max");

    child->state = UP_RESTING;
    LOG_INFO("up", "a node starts again", log_str("node", child->cfg.node->name),
             log_u64("in_ms", child->pause_ms));
    loop_timer_after(child->timer, child->pause_ms * NS_PER_MS);
    child->pause_ms = child->pause_ms * 2 < longest_ms ? child->pause_ms * 2 : longest_ms;
}

void up_child_start(struct up_child *child)
{
    int out_fd = -1, log_fd = -1;
    enum status status;

    CHECK(child->pid == 0);
    crashbox_reset(child->box);
    child->loaded = 100;
    child->complaint[0] = '\0';
    child->started_ns = loop_now_ns(child->cfg.loop);
    status = open_pipe(&child->status, &out_fd);
    if (status == STATUS_OK)
        status = open_pipe(&child->log, &log_fd);
    if (status == STATUS_OK)
        status = spawn_node(child, out_fd, log_fd);
    if (out_fd >= 0)
        close(out_fd);
    if (log_fd >= 0)
        close(log_fd);
    if (status == STATUS_OK) {
        child->state = UP_RUNNING;
        return;
    }
    close_pipe(&child->status);
    close_pipe(&child->log);
    rest(child);
}

static void on_rested(void *ctx)
{
    up_child_start(ctx);
}

/* ---- ending ---- */

/* Signals that a process gets by its own fault. One that somebody sent says nothing about the
 * requests that were being computed. */
static bool is_crash(int wait_status)
{
    static const int faults[] = {SIGSEGV, SIGABRT, SIGBUS, SIGILL, SIGFPE, SIGSYS, SIGTRAP};

    for (size_t i = 0; WIFSIGNALED(wait_status) && i < sizeof(faults) / sizeof(faults[0]); i++)
        if (WTERMSIG(wait_status) == faults[i])
            return true;
    return false;
}

static void report_crash(struct up_child *child)
{
    struct wire_id *ids = mem_alloc_zero(CRASHBOX_REQUESTS_MAX, sizeof(*ids));
    uint64_t *words = mem_alloc_zero(CRASHBOX_REQUESTS_MAX, 2 * sizeof(*words));
    struct wire_crash crash = {.step = 0};
    size_t n = 0;

    if (ids && words &&
        crashbox_read(child->box, &crash.incarnation, &crash.step, ids, CRASHBOX_REQUESTS_MAX,
                      &n) == STATUS_OK) {
        memcpy(words, ids, n * sizeof(*ids));
        crash.requests = (struct wire_u64s){.at = words, .n = 2 * n};
        child->cfg.on_crash(child->cfg.ctx, &crash);
    }
    mem_free(words);
    mem_free(ids);
}

static void print_death(const struct up_child *child, int wait_status)
{
    /* One that is still loading has no handler that would end it any other way than SIGTERM. */
    const bool as_told =
        WIFSIGNALED(wait_status) && ((child->stopping && WTERMSIG(wait_status) == SIGTERM) ||
                                     (child->killed && WTERMSIG(wait_status) == SIGKILL));

    if (WIFSIGNALED(wait_status) && WTERMSIG(wait_status) == SIGKILL && child->loaded < 100 &&
        !as_told)
        LOG_ERROR("up", "a node was killed while it loaded its model: is there enough memory?",
                  log_str("node", child->cfg.node->name), log_u64("percent", child->loaded));
    else if (WIFSIGNALED(wait_status) && !as_told)
        LOG_ERROR("up", "a node was killed by a signal", log_str("node", child->cfg.node->name),
                  log_str("signal", sigabbrev_np(WTERMSIG(wait_status))));
    else if (!as_told && WEXITSTATUS(wait_status) != EXIT_DONE)
        LOG_ERROR("up", "a node has failed", log_str("node", child->cfg.node->name),
                  log_i64("exit", WEXITSTATUS(wait_status)));
    else
        LOG_INFO("up", "a node has ended", log_str("node", child->cfg.node->name));
}

static void gone(struct up_child *child, enum exit_code code)
{
    child->state = UP_GONE;
    child->cfg.on_gone(child->cfg.ctx, child, code);
}

bool up_child_reap(struct up_child *child, pid_t pid, int wait_status)
{
    const uint64_t lived_ns = loop_now_ns(child->cfg.loop) - child->started_ns;
    const struct cfg *cfg = child->cfg.fleet->cfg;
    enum exit_code code;

    if (pid != child->pid || pid == 0)
        return false;
    child->pid = 0;
    while (read_pipe(&child->log) || read_pipe(&child->status)) {
    }
    close_pipe(&child->status);
    close_pipe(&child->log);
    print_death(child, wait_status);
    child->loaded = 100;
    if (is_crash(wait_status))
        report_crash(child);
    code = WIFEXITED(wait_status) ? (enum exit_code)WEXITSTATUS(wait_status) : EXIT_FATAL;
    if (child->stopping || code == EXIT_DONE) {
        gone(child, EXIT_DONE);
        return true;
    }
    if (!child->has_listened &&
        (code == EXIT_USAGE || code == EXIT_CONFIG || code == EXIT_ADDRESS)) {
        gone(child, code);
        return true;
    }
    if (lived_ns >= cfg_ms(cfg, "supervisor.healthy") * NS_PER_MS)
        child->pause_ms = cfg_ms(cfg, "supervisor.restart");
    rest(child);
    return true;
}

void up_child_stop(struct up_child *child)
{
    child->stopping = true;
    loop_timer_stop(child->timer);
    if (child->pid > 0)
        kill(child->pid, SIGTERM);
    else if (child->state != UP_GONE)
        gone(child, EXIT_DONE);
}

void up_child_kill(struct up_child *child)
{
    child->stopping = child->killed = true;
    if (child->pid > 0)
        kill(child->pid, SIGKILL);
}

/* ---- life ---- */

enum status up_child_create(const struct up_child_cfg *cfg, struct up_child **out)
{
    struct up_child *child = mem_alloc_zero(1, sizeof(*child));
    enum status status;

    if (!child)
        return STATUS_NO_MEMORY;
    child->cfg = *cfg;
    child->state = UP_RESTING;
    child->box_fd = -1;
    child->status = (struct up_pipe){.child = child, .is_status = true, .fd = -1};
    child->log = (struct up_pipe){.child = child, .fd = -1};
    child->pause_ms = cfg_ms(cfg->fleet->cfg, "supervisor.restart");
    status = crashbox_create(&child->box_fd, &child->box);
    if (status == STATUS_OK)
        status = loop_timer_create(cfg->loop, on_rested, child, &child->timer);
    if (status != STATUS_OK) {
        up_child_destroy(child);
        return status;
    }
    fcntl(child->box_fd, F_SETFD, FD_CLOEXEC); /* for this child only */
    *out = child;
    return STATUS_OK;
}

void up_child_destroy(struct up_child *child)
{
    if (!child)
        return;
    CHECK(child->pid == 0);
    close_pipe(&child->status);
    close_pipe(&child->log);
    loop_timer_destroy(child->timer);
    crashbox_close(child->box);
    if (child->box_fd >= 0)
        close(child->box_fd);
    mem_free(child);
}

enum up_state up_child_state(const struct up_child *child)
{
    return child->state;
}

const struct fleet_node *up_child_node(const struct up_child *child)
{
    return child->cfg.node;
}

unsigned up_child_loaded(const struct up_child *child)
{
    return child->loaded;
}

const char *up_child_complaint(const struct up_child *child)
{
    return child->complaint;
}
