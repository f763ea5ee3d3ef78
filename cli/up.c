/* `baton up`: the fleet of a file on this machine, or some of its nodes. Starts them, prints their
 * logs under their names, starts again what dies, tells the routers of crashes, and stops all in
 * order: routers first, so that they finish what they have while their nodes still work. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "cli/commands.h"
#include "cli/machine.h"
#include "cli/process.h"
#include "cli/up_child.h"
#include "cli/up_report.h"
#include "cli/words.h"
#include "wire/bond.h"

#define STOP_GRACE_MS 2000u /* beyond `drain`, before SIGKILL */
#define STOP_TWICE_MS 300u  /* a second signal this soon is the same one, sent to the group too */

static const char help[] =
    "Usage: baton up FLEET.yaml [--only NAME,...] [--OPTION VALUE ...]\n\n"
    "Starts and supervises the fleet of a file on this machine. A node that dies is\n"
    "started again. SIGTERM or Ctrl-C stops it: requests are finished first, a second\n"
    "Ctrl-C does not wait. `ready` on stdout says when it serves.\n\n"
    "  --only NAME,...  only these nodes; others run elsewhere\n"
    "  --insecure       listen beyond loopback without keys\n"
    "  --OPTION VALUE   any option of the file: see configs/reference.yaml\n";

enum up_phase { UP_RUN, UP_STOP_ROUTERS, UP_STOP_WORKERS };

struct up {
    const struct fleet *fleet;
    uint32_t n_workers; /* of the children */
    struct loop *loop;
    struct zctx *zctx;
    struct up_report *report;
    struct loop_timer *stop_timer;
    struct up_child **children; /* [n_children] */
    size_t n_children;
    enum up_phase phase;
    uint64_t stopped_ns; /* when it was asked to stop */
    bool was_ready;
    bool is_terminal; /* where the log goes */
    enum exit_code exit_code;
    char complaint[1536];             /* why a node did not start */
    char clients[ZSOCK_ENDPOINT_MAX]; /* of the first router, as it says itself */
    char http[WIRE_NAME_MAX + 1];     /* the same of HTTP; "": none */
};

/* ---- stopping ---- */

static bool all_gone(const struct up *up, bool only_routers)
{
    for (size_t i = 0; i < up->n_children; i++)
        if (up_child_state(up->children[i]) != UP_GONE &&
            (!only_routers || up_child_node(up->children[i])->role == OPTIONS_ROUTER))
            return false;
    return true;
}

static void stop_role(struct up *up, enum options_role role)
{
    for (size_t i = 0; i < up->n_children; i++)
        if (up_child_node(up->children[i])->role == role)
            up_child_stop(up->children[i]);
}

static void stop_routers(struct up *up)
{
    loop_timer_after(up->stop_timer, (cfg_ms(up->fleet->cfg, "drain") + STOP_GRACE_MS) * NS_PER_MS);
    stop_role(up, OPTIONS_ROUTER);
}

/* Decode nodes hear of it first: then they know why they lose their prefill nodes. */
static void stop_workers(struct up *up)
{
    loop_timer_after(up->stop_timer, (cfg_ms(up->fleet->cfg, "drain") + STOP_GRACE_MS) * NS_PER_MS);
    stop_role(up, OPTIONS_DECODE);
    stop_role(up, OPTIONS_PREFILL);
}

static void advance(struct up *up)
{
    if (up->phase == UP_STOP_ROUTERS && all_gone(up, true)) {
        up->phase = UP_STOP_WORKERS;
        stop_workers(up);
    }
    if (all_gone(up, false))
        loop_stop(up->loop);
}

static void stop_all(struct up *up, enum exit_code code)
{
    if (up->phase != UP_RUN)
        return;
    up->phase = UP_STOP_ROUTERS;
    up->exit_code = code;
    stop_routers(up);
    advance(up);
}

static void kill_all(struct up *up)
{
    for (size_t i = 0; i < up->n_children; i++)
        up_child_kill(up->children[i]);
    if (up->phase == UP_STOP_ROUTERS) { /* what rests must not start again */
        up->phase = UP_STOP_WORKERS;
        stop_workers(up);
    }
}

static void on_stop_over(void *ctx)
{
    LOG_WARN("up", "some nodes have not ended in time, they are killed");
    kill_all(ctx);
}

static void on_stop_signal(void *ctx, int signum)
{
    struct up *up = ctx;

    if (up->phase == UP_RUN) {
        LOG_INFO("up", "asked to stop: requests are finished first", log_i64("signal", signum));
        up->stopped_ns = loop_now_ns(up->loop);
        stop_all(up, EXIT_DONE);
        return;
    }
    if (loop_now_ns(up->loop) - up->stopped_ns < STOP_TWICE_MS * NS_PER_MS)
        return;
    LOG_WARN("up", "asked to stop twice, ends at once");
    kill_all(up);
}

/* ---- what children do ---- */

static void on_child_signal(void *ctx, int signum)
{
    struct up *up = ctx;
    int wait_status;
    pid_t pid;

    (void)signum;
    while ((pid = waitpid(-1, &wait_status, WNOHANG)) > 0)
        for (size_t i = 0; i < up->n_children; i++)
            if (up_child_reap(up->children[i], pid, wait_status))
                break;
}

/* The command that asks this fleet, as this program was called itself, so that the line works where
 * it is read; with no more than the file leaves open. */
static void say_how_to_ask(const struct up *up)
{
    const struct fleet_node *router = &up->fleet->nodes[0];
    char program[PATH_MAX], path[PATH_MAX + 16], clients[ZSOCK_ENDPOINT_MAX];
    bool in_file;

    while (router->role != OPTIONS_ROUTER) /* there is one: fleet_load has seen to it */
        router++;
    in_file = strcmp(up->clients, router->clients) == 0;
    process_say(
        "ask it something:  %s chat --config %s%s%s%s \"Hello\"",
        words_quote(program_invocation_name, program, sizeof(program)),
        words_quote(up->fleet->path, path, sizeof(path)), in_file ? "" : " --connect ",
        in_file ? "" : words_quote(up->clients, clients, sizeof(clients)),
        up->fleet->insecure && !cfg_bool(up->fleet->cfg, "security.insecure") ? " --insecure" : "");
}

static void say_ready(struct up *up)
{
    process_say("ready clients=%s", up->clients);
    if (up->was_ready)
        return;
    up->was_ready = true;
    say_how_to_ask(up);
    if (up->http[0]) {
        process_say("OpenAI's API:      http://%s/v1", up->http);
        process_say("the fleet's page:  http://%s/", up->http);
    }
}

/* How far the weights are, on a terminal in one line that is written again and again. It ends with
 * a return, so that whatever is printed next takes its place. */
static void say_loading(const struct up *up)
{
    char line[256];
    int len = 0;

    if (!up->is_terminal)
        return;
    for (size_t i = 0; i < up->n_children && len < 160; i++)
        if (up_child_loaded(up->children[i]) < 100)
            len += snprintf(line + len, sizeof(line) - (size_t)len, "%s%.24s %u%%",
                            len > 0 ? ", " : "loading ", up_child_node(up->children[i])->name,
                            up_child_loaded(up->children[i]));
    len += snprintf(line + len, sizeof(line) - (size_t)len, "\033[K\r");
    if (write(STDERR_FILENO, line, (size_t)len) < 0)
        return; /* nobody looks */
}

static void on_line(void *ctx, struct up_child *child, const char *line)
{
    struct up *up = ctx;
    const char *clients = strstr(line, " clients=");

    if (strncmp(line, "loading ", 8) == 0)
        say_loading(up);
    if (up_child_node(child)->role != OPTIONS_ROUTER)
        return;
    if (clients && up->clients[0] == '\0')
        snprintf(up->clients, sizeof(up->clients), "%s", clients + strlen(" clients="));
    if (strncmp(line, "http ", 5) == 0 && up->http[0] == '\0')
        snprintf(up->http, sizeof(up->http), "%s", line + 5);
    if (strcmp(line, "ready") == 0)
        say_ready(up);
    else if (strcmp(line, "unready") == 0)
        process_say("unready");
}

static void on_crash(void *ctx, const struct wire_crash *crash)
{
    struct up *up = ctx;

    up_report_crash(up->report, crash);
}

static void on_gone(void *ctx, struct up_child *child, enum exit_code code)
{
    struct up *up = ctx;

    if (code != EXIT_DONE && up->phase == UP_RUN) {
        LOG_ERROR("up", "a node cannot start, the fleet stops",
                  log_str("node", up_child_node(child)->name));
        snprintf(up->complaint, sizeof(up->complaint), "%s", up_child_complaint(child));
        stop_all(up, code);
    }
    advance(up);
}

/* ---- the folder of the private sockets ---- */

static bool make_run_folder(char *path, size_t path_len)
{
    const char *base = getenv("XDG_RUNTIME_DIR");

    if (!base || access(base, W_OK | X_OK) != 0)
        base = getenv("TMPDIR");
    if (!base || strlen(base) > 40)
        base = "/tmp";
    snprintf(path, path_len, "%s/baton-XXXXXX", base);
    if (mkdtemp(path)) /* 0700: the sockets in it are for this user alone */
        return true;
    process_complain("cannot make a folder for private sockets in %s: %s", base, strerror(errno));
    return false;
}

static void remove_run_folder(const struct fleet *fleet, const char *run)
{
    char path[PATH_MAX + 80];

    for (size_t i = 0; fleet && i < fleet->n_nodes; i++) {
        snprintf(path, sizeof(path), "%s/%s", run, fleet->nodes[i].name);
        unlink(path);
    }
    rmdir(run);
}

/* ---- which nodes ---- */

/* Every word of --only must be a node, and what runs elsewhere must have an address. */
static enum exit_code check_only(const struct fleet *fleet, const char *only)
{
    char names[1024];
    char *save = NULL;

    snprintf(names, sizeof(names), "%s", only);
    for (char *name = strtok_r(names, ",", &save); name; name = strtok_r(NULL, ",", &save)) {
        if (!fleet_find(fleet, name)) {
            process_complain("%s has no node named '%s'", fleet->path, name);
            return EXIT_USAGE;
        }
    }
    for (size_t i = 0; i < fleet->n_nodes; i++) {
        const struct fleet_node *node = &fleet->nodes[i];

        if (!node->is_auto)
            continue;
        process_complain("%s: node '%s' listens on 'auto', a private socket of one `baton up`. "
                         "With --only nodes run apart: give it an address, as  listen: "
                         "10.0.0.5:7000",
                         node->where, node->name);
        return EXIT_CONFIG;
    }
    return EXIT_DONE;
}

/* ---- life ---- */

/* The machine's cores among so many workers, the first ones getting what is left over. */
static uint32_t share_of(uint32_t n_workers, uint32_t nth)
{
    const uint32_t cpus = machine_cpus();
    const uint32_t share = cpus / n_workers + (nth < cpus % n_workers);

    return share > 0 ? share : 1;
}

static enum status open_children(struct up *up, const char *only, char *const *passed, int n_passed)
{
    static const int colors[] = {36, 33, 32, 35, 34, 31};
    uint32_t nth = 0;

    up->children = mem_alloc_zero(up->fleet->n_nodes, sizeof(struct up_child *));
    if (!up->children)
        return STATUS_NO_MEMORY;
    for (size_t i = 0; i < up->fleet->n_nodes; i++) {
        const struct fleet_node *node = &up->fleet->nodes[i];
        struct up_child_cfg cfg = {.loop = up->loop,
                                   .fleet = up->fleet,
                                   .node = node,
                                   .run = up->fleet->run,
                                   .passed = passed,
                                   .n_passed = n_passed,
                                   .alone = up->n_workers == 1,
                                   .color = up->is_terminal ? colors[i % 6] : 0,
                                   .on_line = on_line,
                                   .on_crash = on_crash,
                                   .on_gone = on_gone,
                                   .ctx = up};
        enum status status;

        if (!fleet_is_listed(only, node->name))
            continue;
        if (node->role != OPTIONS_ROUTER)
            cfg.n_threads = share_of(up->n_workers, nth++);
        status = up_child_create(&cfg, &up->children[up->n_children]);
        if (status != STATUS_OK)
            return status;
        up->n_children++;
    }
    return STATUS_OK;
}

static enum status up_open(struct up *up, const char *only, char *const *passed, int n_passed)
{
    const struct loop_options options = {.name = "up", .clock = clock_monotonic()};
    const struct zctx_cfg zctx_cfg = {.io_threads = 1, .sockets_max = 3 * BOND_ROUTERS_MAX + 16};
    enum status status = loop_create(&options, &up->loop);

    if (status == STATUS_OK)
        status = zctx_open(&zctx_cfg, &up->zctx);
    if (status == STATUS_OK)
        status = loop_timer_create(up->loop, on_stop_over, up, &up->stop_timer);
    if (status == STATUS_OK)
        status = loop_signal_watch(up->loop, SIGCHLD, on_child_signal, up);
    if (status == STATUS_OK)
        status = loop_signal_watch(up->loop, SIGTERM, on_stop_signal, up);
    if (status == STATUS_OK)
        status = loop_signal_watch(up->loop, SIGINT, on_stop_signal, up);
    if (status == STATUS_OK)
        status = open_children(up, only, passed, n_passed);
    if (status == STATUS_OK)
        status = up_report_open(up->fleet, up->loop, up->zctx, up_child_node(up->children[0])->name,
                                &up->report);
    return status;
}

static void up_close(struct up *up)
{
    up_report_close(up->report);
    for (size_t i = 0; i < up->n_children; i++)
        up_child_destroy(up->children[i]);
    mem_free(up->children);
    loop_timer_destroy(up->stop_timer);
    zctx_close(up->zctx);
    loop_destroy(up->loop);
}

static enum exit_code up_run(const struct fleet *fleet, const char *only, char *const *passed,
                             int n_passed)
{
    struct up up = {.fleet = fleet,
                    .n_workers = fleet_count(fleet, only, false),
                    .is_terminal = isatty(STDERR_FILENO) == 1,
                    .exit_code = EXIT_DONE};
    enum status status;

    signal(SIGPIPE, SIG_IGN); /* NOLINT */
    process_log_open(fleet);
    status = up_open(&up, only, passed, n_passed);
    if (status != STATUS_OK) {
        process_complain("the supervisor cannot start: %s", status_text(status));
        up_close(&up);
        return EXIT_FATAL;
    }
    for (size_t i = 0; i < up.n_children; i++)
        up_child_start(up.children[i]);
    if (loop_run(up.loop) != STATUS_OK)
        up.exit_code = EXIT_FATAL;
    up_close(&up);
    if (up.complaint[0]) /* once more at the end, where it is seen */
        process_complain("%s", up.complaint + strlen("baton: "));
    return up.exit_code;
}

/* What would keep a node from starting is said before any is started. */
static enum exit_code check_all(const struct fleet *fleet, const char *only)
{
    char why[FLEET_WHY_MAX];
    struct served *served;
    enum exit_code code = only ? check_only(fleet, only) : EXIT_DONE;
    enum status status;

    if (code != EXIT_DONE)
        return code;
    status = fleet_check_keys(fleet, only, why);
    if (status == STATUS_OK)
        status = served_open(fleet, &served, why);
    if (status == STATUS_OK) {
        status = served_check(served, fleet_count(fleet, only, false),
                              fleet_count(fleet, only, true), why);
        served_close(served);
    }
    if (status == STATUS_OK)
        return EXIT_DONE;
    process_complain("%s", why);
    return EXIT_CONFIG;
}

/* The arguments that are in `all` but not in `rest`: what the configuration has taken. */
static int passed_on(char *const *all, int n_all, const struct words *rest, char **out)
{
    int n = 0;

    for (int i = 0; i < n_all; i++) {
        bool is_rest = false;

        for (int k = 0; k < rest->n; k++)
            is_rest |= rest->at[k] == all[i];
        if (!is_rest)
            out[n++] = all[i];
    }
    return n;
}

static enum exit_code up_load(const char *path, const char *run, const char *only, int n_args,
                              char **args)
{
    char **rest = mem_alloc_zero(2 * ((size_t)n_args + 1), sizeof(*rest));
    struct words words = {.at = rest, .n = 0};
    enum exit_code code = EXIT_CONFIG;
    char why[FLEET_WHY_MAX];
    struct fleet *fleet = NULL;

    if (!rest)
        return EXIT_FATAL;
    if (fleet_load(path, run, n_args, args, rest, &words.n, &fleet, why) != STATUS_OK) {
        process_complain("%s", why);
    } else if (words.n > 0) {
        process_complain("up: '%s' is not understood; see baton up --help", rest[0]);
        code = EXIT_USAGE;
    } else {
        char **passed = rest + n_args + 1;
        const int n_passed = passed_on(args, n_args, &words, passed);

        code = check_all(fleet, only);
        if (code == EXIT_DONE)
            code = up_run(fleet, only, passed, n_passed);
    }
    remove_run_folder(fleet, run);
    fleet_destroy(fleet);
    mem_free(rest);
    return code;
}

enum exit_code command_up(int n_args, char **args)
{
    struct words words = {.at = args, .n = n_args};
    char run[PATH_MAX];
    const char *only;

    if (words_flag(&words, "--help") || words.n == 0) {
        fputs(help, n_args == 0 ? stderr : stdout);
        return n_args == 0 ? EXIT_USAGE : EXIT_DONE;
    }
    only = words_value(&words, "--only");
    if (words.n == 0 || words.at[0][0] == '-') {
        process_complain("up: which fleet? baton up FLEET.yaml");
        return EXIT_USAGE;
    }
    if (!make_run_folder(run, sizeof(run)))
        return EXIT_ADDRESS;
    return up_load(words.at[0], run, only, words.n - 1, words.at + 1);
}
