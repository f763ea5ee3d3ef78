/* The processes of a fleet: starting, their logs, their numbers, their end. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"
#include "base/rand.h"
#include "tests/chaos/chaos.h"

/* Below where systems take the ports of outgoing connections from. */
#define PORT_LOW 15000u
#define PORT_HIGH 31999u

static const char fleet_yaml[] =
    "model: oracle\n"
    "oracle: { layers: %u, kv_heads: %u, head_dim: %u, elem_bytes: %u, seed: %llu,\n"
    "          step_us: %u, row_us: %u, token_us: %u }\n"
    "kv: { blocks: 512 }\n"
    "engine: { len_max: 4096 }\n"
    "router: { resume: 3s, stats: 1s }\n"
    "drain: 20s\n"
    "supervisor: { restart: 20ms, restart_max: 200ms }\n"
    "log: { level: debug, site_lines_per_s: 0 }\n"
    "nodes:\n"
    "- { name: r0, role: router, clients: '%s' }\n"
    "- { name: r1, role: router, clients: '%s' }\n"
    "- { name: p0, role: prefill }\n- { name: p1, role: prefill }\n"
    "- { name: d0, role: decode }\n- { name: d1, role: decode }\n";

/* ---- files and ports ---- */

const char *fleet_write(struct chaos *chaos, const char *name, const char *text, char path[256])
{
    FILE *file;

    snprintf(path, 256, "%s/%s", chaos->folder, name);
    file = fopen(path, "we");
    CHECK(file);
    CHECK(fputs(text, file) >= 0);
    CHECK(fclose(file) == 0);
    return path;
}

/* A supervised router must find its port again after a restart, so it cannot be 0. */
int fleet_free_port(void)
{
    const int yes = 1;
    uint64_t seed;
    struct rand rng;

    rand_entropy(&seed, sizeof(seed));
    rand_init(&rng, seed);
    for (;;) {
        const uint16_t port = (uint16_t)rand_between(&rng, PORT_LOW, PORT_HIGH);
        const struct sockaddr_in address = {
            .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_ANY)};
        const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        int bound;

        CHECK(fd >= 0);
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
        bound = bind(fd, (const struct sockaddr *)&address, sizeof(address));
        close(fd);
        if (bound == 0)
            return port;
    }
}

void fleet_add(struct chaos_fleet *fleet, const char *name, enum chaos_role role)
{
    struct chaos_node *node = &fleet->nodes[fleet->n_nodes++];

    CHECK(fleet->n_nodes <= CHAOS_NODES_MAX);
    *node = (struct chaos_node){.role = role};
    snprintf(node->name, sizeof(node->name), "%s", name);
}

struct chaos_node *fleet_node(struct chaos_fleet *fleet, const char *name)
{
    for (size_t i = 0; i < fleet->n_nodes; i++)
        if (strcmp(fleet->nodes[i].name, name) == 0)
            return &fleet->nodes[i];
    return NULL;
}

/* ---- /proc ---- */

/* The parent and the arguments (blanks between) of a living process. */
static bool look(pid_t pid, pid_t *parent, char *args, size_t room)
{
    char path[64], stat[1024], state;
    FILE *file;
    size_t n;

    snprintf(path, sizeof(path), "/proc/%d/stat", pid);
    file = fopen(path, "re");
    n = file ? fread(stat, 1, sizeof(stat) - 1, file) : 0;
    if (file)
        fclose(file);
    stat[n] = '\0';
    if (!strrchr(stat, ')') || sscanf(strrchr(stat, ')'), ") %c %d", &state, parent) != 2 ||
        state == 'Z' || state == 'X')
        return false;
    snprintf(path, sizeof(path), "/proc/%d/cmdline", pid);
    file = fopen(path, "re");
    n = file ? fread(args, 1, room - 1, file) : 0;
    if (file)
        fclose(file);
    args[n] = '\0';
    for (size_t i = 0; i + 1 < n; i++)
        if (args[i] == '\0')
            args[i] = ' ';
    return true;
}

/* Counts processes whose arguments have both parts; parent 0 is any. */
static size_t find(pid_t parent, const char *part, const char *other, pid_t *found)
{
    DIR *dir = opendir("/proc");
    struct dirent *entry;
    size_t n = 0;

    CHECK(dir);
    while ((entry = readdir(dir)) != NULL) {
        char args[4096];
        pid_t its_parent;
        const pid_t pid = atoi(entry->d_name);

        if (pid <= 0 || pid == getpid() || !look(pid, &its_parent, args, sizeof(args)) ||
            (parent && parent != its_parent) || !strstr(args, part) || !strstr(args, other))
            continue;
        *found = pid;
        n++;
    }
    closedir(dir);
    return n;
}

pid_t fleet_pid(struct chaos *chaos, const char *name)
{
    struct chaos_fleet *fleet = &chaos->fleet;
    char part[64];
    pid_t pid = 0;

    for (size_t i = 0; i < fleet->n_procs; i++)
        if (strcmp(fleet->procs[i].name, name) == 0)
            return fleet->procs[i].pid;
    snprintf(part, sizeof(part), " --name %s ", name);
    return find(fleet->procs[0].pid, part, chaos->folder, &pid) == 1 ? pid : 0;
}

size_t fleet_n_processes(struct chaos *chaos)
{
    pid_t pid;

    return find(0, chaos->folder, "", &pid);
}

static size_t n_entries(const char *path)
{
    DIR *dir = opendir(path);
    size_t n = 0;

    if (!dir)
        return 0;
    while (readdir(dir) != NULL)
        n++;
    closedir(dir);
    return n - 2;
}

size_t fleet_n_files(struct chaos *chaos, const char *name)
{
    char path[64];

    snprintf(path, sizeof(path), "/proc/%d/fd", fleet_pid(chaos, name));
    return n_entries(path);
}

/* ---- starting ---- */

/* Into the namespace, with a /sys that shows its devices: UCX looks there. */
static bool enter(const char *netns)
{
    const int fd = open(netns, O_RDONLY | O_CLOEXEC);

    return fd >= 0 && setns(fd, CLONE_NEWNET) == 0 && unshare(CLONE_NEWNS) == 0 &&
           mount("", "/", "none", MS_SLAVE | MS_REC, NULL) == 0 &&
           umount2("/sys", MNT_DETACH) == 0 && mount("sysfs", "/sys", "sysfs", 0, NULL) == 0;
}

static void run_child(struct chaos *chaos, char *const *args, const char *netns, int out, int log)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (netns && !enter(netns))
        _exit(126);
    dup2(open("/dev/null", O_RDONLY), STDIN_FILENO);
    dup2(out, STDOUT_FILENO);
    dup2(log, STDERR_FILENO);
    setenv("TMPDIR", chaos->folder, 1);
    unsetenv("XDG_RUNTIME_DIR");
    execv(chaos->program, args);
    fprintf(stderr, "cannot run %s: %s\n", chaos->program, strerror(errno));
    _exit(127);
}

bool fleet_start(struct chaos *chaos, const char *name, char *const *args, const char *netns)
{
    struct chaos_fleet *fleet = &chaos->fleet;
    struct chaos_proc *proc = &fleet->procs[fleet->n_procs];
    int out[2], log[2];

    CHECK(fleet->n_procs < CHAOS_NODES_MAX);
    CHECK(pipe2(out, O_CLOEXEC) == 0 && pipe2(log, O_CLOEXEC) == 0);
    memset(proc, 0, sizeof(*proc));
    snprintf(proc->name, sizeof(proc->name), "%s", name);
    proc->pid = fork();
    CHECK(proc->pid >= 0);
    if (proc->pid == 0)
        run_child(chaos, args, netns, out[1], log[1]);
    close(out[1]);
    close(log[1]);
    fcntl(out[0], F_SETFL, O_NONBLOCK);
    fcntl(log[0], F_SETFL, O_NONBLOCK);
    proc->out.fd = out[0];
    proc->log.fd = log[0];
    fleet->n_procs++;
    return true;
}

static bool is_ready(struct chaos *chaos, const void *arg)
{
    (void)arg;
    return chaos->fleet.is_ready || chaos->fleet.procs[0].pid == 0;
}

bool fleet_up(struct chaos *chaos)
{
    struct chaos_fleet *fleet = &chaos->fleet;
    const struct oracle_cfg *oracle = &chaos->oracle;
    char text[4096], path[256], log[256];
    char *args[] = {(char *)"baton", (char *)"up", path, NULL};

    memset(fleet, 0, sizeof(*fleet));
    fleet_add(fleet, "r0", CHAOS_ROUTER);
    fleet_add(fleet, "r1", CHAOS_ROUTER);
    fleet_add(fleet, "p0", CHAOS_PREFILL);
    fleet_add(fleet, "p1", CHAOS_PREFILL);
    fleet_add(fleet, "d0", CHAOS_DECODE);
    fleet_add(fleet, "d1", CHAOS_DECODE);
    fleet->n_routers = 2;
    snprintf(fleet->clients[0], sizeof(fleet->clients[0]), "tcp://127.0.0.1:%d", fleet_free_port());
    snprintf(fleet->clients[1], sizeof(fleet->clients[1]), "ipc://%s/clients", chaos->folder);
    snprintf(text, sizeof(text), fleet_yaml, oracle->geom.n_layers, oracle->geom.n_kv_heads,
             oracle->geom.head_dim, oracle->geom.elem_bytes, (unsigned long long)oracle->model_seed,
             oracle->step_us, oracle->row_us, oracle->token_us, fleet->clients[0],
             fleet->clients[1]);
    fleet_write(chaos, "fleet.yaml", text, path);
    snprintf(log, sizeof(log), "%s/fleet.log", chaos->folder);
    fleet->log = fopen(log, "ae");
    fleet_start(chaos, "up", args, NULL);
    if (!chaos_until(chaos, is_ready, NULL, CHAOS_WAIT_MS, "the fleet to be ready"))
        return false;
    if (fleet->procs[0].pid == 0)
        chaos_violation(chaos, "the fleet did not start");
    return fleet->procs[0].pid != 0;
}

/* ---- ending ---- */

static bool all_ended(struct chaos *chaos, const void *arg)
{
    (void)arg;
    for (size_t i = 0; i < chaos->fleet.n_procs; i++)
        if (chaos->fleet.procs[i].pid != 0)
            return false;
    return fleet_n_processes(chaos) == 0;
}

static void remove_all(const char *path)
{
    DIR *dir = opendir(path);
    struct dirent *entry;
    char inner[4200];

    while (dir && (entry = readdir(dir)) != NULL) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        snprintf(inner, sizeof(inner), "%s/%s", path, entry->d_name);
        if (unlink(inner) != 0)
            remove_all(inner);
    }
    if (dir)
        closedir(dir);
    rmdir(path);
}

/* What a fleet made in our folder, by its names: private sockets' folders, a router's socket. */
static void check_files(struct chaos *chaos, bool killed)
{
    DIR *dir = opendir(chaos->folder);
    struct dirent *entry;
    char path[512];

    while (dir && (entry = readdir(dir)) != NULL) {
        if (strncmp(entry->d_name, "baton-", 6) != 0 && strcmp(entry->d_name, "clients") != 0)
            continue;
        if (!killed &&
            strcmp(entry->d_name, "clients") != 0) /* libzmq leaves it, and binds over it */
            chaos_violation(chaos, "%s is left behind", entry->d_name);
        snprintf(path, sizeof(path), "%s/%s", chaos->folder, entry->d_name);
        if (unlink(path) != 0)
            remove_all(path);
    }
    if (dir)
        closedir(dir);
}

void fleet_reap(struct chaos *chaos, bool killed)
{
    struct chaos_fleet *fleet = &chaos->fleet;

    chaos_until(chaos, all_ended, NULL, CHAOS_WAIT_MS, "all processes to end");
    for (size_t i = 0; i < fleet->n_procs; i++) {
        struct chaos_proc *proc = &fleet->procs[i];

        if (!killed && proc->wait_status != 0)
            chaos_violation(chaos, "%s ended with wait status %d", proc->name, proc->wait_status);
        if (proc->out.fd >= 0)
            close(proc->out.fd);
        if (proc->log.fd >= 0)
            close(proc->log.fd);
    }
    check_files(chaos, killed);
    if (fleet->log)
        fclose(fleet->log);
    memset(fleet, 0, sizeof(*fleet));
}

void fleet_down(struct chaos *chaos)
{
    chaos->fleet.is_ending = true;
    for (size_t i = 0; i < chaos->fleet.n_procs; i++)
        if (chaos->fleet.procs[i].pid > 0)
            kill(chaos->fleet.procs[i].pid, SIGTERM);
    fleet_reap(chaos, false);
}

/* The last resort, from anywhere; children of a supervisor die with it. */
void fleet_kill_all(struct chaos *chaos)
{
    for (size_t i = 0; i < chaos->fleet.n_procs; i++)
        if (chaos->fleet.procs[i].pid > 0)
            kill(chaos->fleet.procs[i].pid, SIGKILL);
}

/* ---- what they print ---- */

/* The value of `name=` in a log line; "" if there is none. */
static const char *field(const char *line, const char *name, char *out, size_t room)
{
    const char *at = strstr(line, name);
    size_t len;

    out[0] = '\0';
    if (!at)
        return out;
    at += strlen(name);
    len = strcspn(at, " \n");
    snprintf(out, room, "%.*s", (int)len, at);
    return out;
}

/* CLOCK_REALTIME of a line, ms. */
static double line_ms(const char *line)
{
    struct tm tm = {.tm_isdst = 0};
    const char *rest = strptime(line, "%Y-%m-%dT%H:%M:%S", &tm);

    return rest ? (double)timegm(&tm) * 1e3 + strtod(rest, NULL) * 1e3 : 0;
}

static void take_loss(struct chaos_fleet *fleet, const char *router, const char *line)
{
    struct chaos_loss *loss = &fleet->losses[fleet->n_losses];
    char text[32];

    if (fleet->n_losses == sizeof(fleet->losses) / sizeof(fleet->losses[0]))
        return;
    fleet->n_losses++;
    snprintf(loss->router, sizeof(loss->router), "%s", router);
    field(line, " node=", loss->node, sizeof(loss->node));
    loss->n_requests = (uint32_t)strtoul(field(line, " requests=", text, sizeof(text)), NULL, 10);
    loss->at_ms = line_ms(line);
}

static void take_death(struct chaos *chaos, const char *line)
{
    char name[16];
    struct chaos_node *node = fleet_node(&chaos->fleet, field(line, " node=", name, sizeof(name)));

    if (!node || !node->doomed)
        chaos_violation(chaos, "a node died by itself: %.300s", line);
}

static void take_line(struct chaos *chaos, const char *node, const char *line)
{
    static const char *const bad[] = {"two nodes computed different tokens", "Sanitizer",
                                      "runtime error:", "CHECK", "a compute step failed"};
    struct chaos_place place;

    if (strstr(line, "\"node lost\"")) {
        take_loss(&chaos->fleet, node, line);
    } else if (strstr(line, "\"request placed\"")) {
        field(line, " req=", place.req, sizeof(place.req));
        field(line, " prefill=", place.prefill, sizeof(place.prefill));
        field(line, " decode=", place.decode, sizeof(place.decode));
        place.at_ms = chaos_now_ms();
        load_placed(chaos, &place);
    }
    if (strstr(line, "\"a node was killed by a signal\"") || strstr(line, "\"a node has failed\""))
        take_death(chaos, line);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (strstr(line, bad[i]))
            chaos_violation(chaos, "%s: %.300s", node, line);
}

/* A supervisor's lines begin with the node's name and a bar. */
static void take_log(struct chaos *chaos, const struct chaos_proc *proc, char *line)
{
    char *bar = strstr(line, "| ");
    char node[16];

    if (chaos->fleet.log)
        fprintf(chaos->fleet.log, "%s: %s\n", proc->name, line);
    if (chaos->is_verbose && !strstr(line, " DEBUG "))
        fprintf(stderr, "%s: %s\n", proc->name, line);
    if (chaos->fleet.n_procs == 1 && bar && bar - line < 12) {
        snprintf(node, sizeof(node), "%.*s", (int)strcspn(line, " |"), line);
        take_line(chaos, node, bar + 2);
    } else {
        take_line(chaos, proc->name, line);
    }
}

static void take_out(struct chaos *chaos, const struct chaos_proc *proc, const char *line)
{
    (void)proc;
    if (strncmp(line, "ready", 5) == 0)
        chaos->fleet.is_ready = true;
}

static void pump_pipe(struct chaos *chaos, struct chaos_proc *proc, struct chaos_pipe *pipe)
{
    while (pipe->fd >= 0) {
        const ssize_t n = read(pipe->fd, pipe->line + pipe->len, CHAOS_LINE_MAX - 1 - pipe->len);
        char *begin = pipe->line, *end;

        if (n == 0) {
            close(pipe->fd);
            pipe->fd = -1;
        }
        if (n <= 0)
            return;
        pipe->len += (size_t)n;
        pipe->line[pipe->len] = '\0';
        while ((end = strchr(begin, '\n')) != NULL) {
            *end = '\0';
            if (pipe == &proc->log)
                take_log(chaos, proc, begin);
            else
                take_out(chaos, proc, begin);
            begin = end + 1;
        }
        pipe->len -= (size_t)(begin - pipe->line);
        memmove(pipe->line, begin, pipe->len + 1);
        if (pipe->len == CHAOS_LINE_MAX - 1)
            pipe->len = 0; /* no line of ours is as long */
    }
}

size_t fleet_poll_items(struct chaos_fleet *fleet, zmq_pollitem_t *items)
{
    size_t n = 0;

    for (size_t i = 0; i < fleet->n_procs; i++) {
        const int fds[2] = {fleet->procs[i].out.fd, fleet->procs[i].log.fd};

        for (size_t k = 0; k < 2; k++)
            if (fds[k] >= 0)
                items[n++] = (zmq_pollitem_t){.fd = fds[k], .events = ZMQ_POLLIN};
    }
    return n;
}

void fleet_pump(struct chaos *chaos)
{
    struct chaos_fleet *fleet = &chaos->fleet;

    for (size_t i = 0; i < fleet->n_procs; i++) {
        struct chaos_proc *proc = &fleet->procs[i];

        pump_pipe(chaos, proc, &proc->out);
        pump_pipe(chaos, proc, &proc->log);
        if (proc->pid > 0 && waitpid(proc->pid, &proc->wait_status, WNOHANG) == proc->pid)
            proc->pid = 0;
    }
}
