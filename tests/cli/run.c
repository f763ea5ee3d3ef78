#include "tests/cli/run.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[64];

double run_now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

/* ---- files ---- */

const char *run_folder(void)
{
    if (!folder[0]) {
        snprintf(folder, sizeof(folder), "/tmp/baton-test-XXXXXX");
        assert_non_null(mkdtemp(folder));
    }
    return folder;
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

void run_folder_remove(void)
{
    if (folder[0])
        remove_all(folder);
    folder[0] = '\0';
}

const char *run_file(const char *name, const char *text)
{
    static char paths[4][160];
    static unsigned turn;
    char *path = paths[turn++ % 4];
    FILE *file;

    snprintf(path, sizeof(paths[0]), "%s/%s", run_folder(), name);
    file = fopen(path, "we");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
    return path;
}

/* ---- processes ---- */

static void exec_baton(char **args, int in_fd, int out_fd, int err_fd)
{
    char path[4096];

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    snprintf(path, sizeof(path), "%s/baton", getenv("BATON_BUILD"));
    dup2(in_fd, STDIN_FILENO);
    dup2(out_fd, STDOUT_FILENO);
    dup2(err_fd, STDERR_FILENO);
    setenv("TMPDIR", folder, 1);
    unsetenv("XDG_RUNTIME_DIR");
    execv(path, args);
    fprintf(stderr, "cannot run %s: %s\n", path, strerror(errno));
    _exit(127);
}

static struct run *start(const char *arg, va_list list)
{
    char *args[RUN_ARGS_MAX] = {(char *)"baton", (char *)arg};
    struct run *run = calloc(1, sizeof(*run));
    int out[2], err[2];
    int n = 2;

    run_folder();
    assert_non_null(run);
    while (n < RUN_ARGS_MAX - 1 && (args[n] = va_arg(list, char *)) != NULL)
        n++;
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    assert_int_equal(pipe2(err, O_CLOEXEC), 0);
    run->pid = fork();
    assert_true(run->pid >= 0);
    if (run->pid == 0)
        exec_baton(args, open("/dev/null", O_RDONLY | O_CLOEXEC), out[1], err[1]);
    close(out[1]);
    close(err[1]);
    run->out.fd = out[0];
    run->err.fd = err[0];
    fcntl(out[0], F_SETFL, O_NONBLOCK);
    fcntl(err[0], F_SETFL, O_NONBLOCK);
    return run;
}

struct run *run_start(const char *arg, ...)
{
    va_list list;
    struct run *run;

    va_start(list, arg);
    run = start(arg, list);
    va_end(list);
    return run;
}

struct run *run_start_terminal(const char *arg, ...)
{
    char *args[RUN_ARGS_MAX] = {(char *)"baton", (char *)arg};
    const int terminal = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    struct run *run = calloc(1, sizeof(*run));
    int n = 2;
    va_list list;

    va_start(list, arg);
    while (n < RUN_ARGS_MAX - 1 && (args[n] = va_arg(list, char *)) != NULL)
        n++;
    va_end(list);
    run_folder();
    assert_non_null(run);
    assert_true(terminal >= 0 && grantpt(terminal) == 0 && unlockpt(terminal) == 0);
    run->pid = fork();
    assert_true(run->pid >= 0);
    if (run->pid == 0) {
        int fd;

        setsid(); /* the terminal that is opened next is its own: Ctrl-C goes to it */
        fd = open(ptsname(terminal), O_RDWR);
        exec_baton(args, fd, fd, fd);
    }
    run->out.fd = terminal;
    run->err.fd = -1;
    fcntl(terminal, F_SETFL, O_NONBLOCK);
    return run;
}

void run_type(struct run *run, const char *text)
{
    assert_int_equal(write(run->out.fd, text, strlen(text)), strlen(text));
}

void run_forget(struct run *run)
{
    run->out.len = run->err.len = 0;
    run->out.text[0] = run->err.text[0] = '\0';
}

/* Old text makes room: what a test waits for is new. */
static bool pump(struct run_text *text)
{
    ssize_t n;

    if (text->fd < 0)
        return false;
    if (text->len > RUN_TEXT_MAX - 4096) {
        text->len -= RUN_TEXT_MAX / 2;
        memmove(text->text, text->text + RUN_TEXT_MAX / 2, text->len);
    }
    n = read(text->fd, text->text + text->len, RUN_TEXT_MAX - 1 - text->len);
    if (n > 0) {
        text->len += (size_t)n;
        text->text[text->len] = '\0';
        return true;
    }
    if (n == 0 || errno == EIO) { /* the latter is the end of a terminal */
        close(text->fd);
        text->fd = -1;
    }
    return false;
}

void run_pump(struct run *run)
{
    while (pump(&run->out) || pump(&run->err)) {
    }
}

static void wait_for_more(struct run *run, int timeout_ms)
{
    struct pollfd fds[2] = {{.fd = run->out.fd, .events = POLLIN},
                            {.fd = run->err.fd, .events = POLLIN}};

    poll(fds, 2, timeout_ms);
    run_pump(run);
}

static const char *await(struct run *run, struct run_text *text, const char *what)
{
    const double end = run_now_ms() + RUN_DEADLINE_MS;

    for (;;) {
        const char *found;

        run_pump(run);
        found = strstr(text->text, what);
        if (found)
            return found;
        if ((run->out.fd < 0 && run->err.fd < 0) || run_now_ms() > end)
            break;
        wait_for_more(run, 100);
    }
    print_error("'%s' was not printed\n--- stdout\n%s\n--- stderr\n%s\n", what, run->out.text,
                run->err.text);
    kill(run->pid, SIGKILL);
    fail();
    return NULL;
}

const char *run_await_out(struct run *run, const char *text)
{
    return await(run, &run->out, text);
}

const char *run_await_err(struct run *run, const char *text)
{
    return await(run, &run->err, text);
}

int run_end(struct run *run)
{
    const double end = run_now_ms() + RUN_DEADLINE_MS;

    while (run->pid > 0 && (run->out.fd >= 0 || run->err.fd >= 0) && run_now_ms() < end)
        wait_for_more(run, 100);
    if (run->pid > 0 && run_now_ms() >= end) {
        print_error("it does not end\n--- stderr\n%s\n", run->err.text);
        kill(run->pid, SIGKILL);
        fail();
    }
    if (run->pid > 0)
        assert_int_equal(waitpid(run->pid, &run->wait_status, 0), run->pid);
    run->pid = 0;
    return WIFEXITED(run->wait_status) ? WEXITSTATUS(run->wait_status)
                                       : 128 + WTERMSIG(run->wait_status);
}

void run_free(struct run *run)
{
    if (!run)
        return;
    if (run->pid > 0) {
        kill(run->pid, SIGKILL);
        waitpid(run->pid, NULL, 0);
    }
    if (run->out.fd >= 0)
        close(run->out.fd);
    if (run->err.fd >= 0)
        close(run->err.fd);
    free(run);
}

int run_stop(struct run *run, int signum)
{
    int code;

    kill(run->pid, signum);
    code = run_end(run);
    if (code != 0)
        print_error("--- stderr\n%s\n", run->err.text);
    run_free(run);
    return code;
}

int run_once(char *out, char *err, size_t room, const char *arg, ...)
{
    va_list list;
    struct run *run;
    int code;

    va_start(list, arg);
    run = start(arg, list);
    va_end(list);
    code = run_end(run);
    if (out)
        snprintf(out, room, "%s", run->out.text);
    if (err)
        snprintf(err, room, "%s", run->err.text);
    run_free(run);
    return code;
}

/* ---- looking ---- */

/* The parent and the arguments (blanks between them) of a process; false if it is gone. */
static bool look(pid_t pid, pid_t *parent, char *args, size_t room)
{
    char path[64], stat[1024];
    ssize_t n;
    int fd, read_parent;
    char state;

    snprintf(path, sizeof(path), "/proc/%d/stat", pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    n = fd >= 0 ? read(fd, stat, sizeof(stat) - 1) : -1;
    if (fd >= 0)
        close(fd);
    if (n <= 0)
        return false;
    stat[n] = '\0';
    if (!strrchr(stat, ')') || sscanf(strrchr(stat, ')'), ") %c %d", &state, &read_parent) != 2 ||
        state == 'Z')
        return false;
    *parent = read_parent;
    snprintf(path, sizeof(path), "/proc/%d/cmdline", pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    n = fd >= 0 ? read(fd, args, room - 1) : -1;
    if (fd >= 0)
        close(fd);
    if (n < 0)
        return false;
    args[n] = '\0';
    for (ssize_t i = 0; i + 1 < n; i++)
        if (args[i] == '\0')
            args[i] = ' ';
    return true;
}

static size_t find_children(pid_t parent, const char *part, pid_t *found)
{
    DIR *dir = opendir("/proc");
    struct dirent *entry;
    size_t n = 0;

    assert_non_null(dir);
    while ((entry = readdir(dir)) != NULL) {
        char args[4096];
        pid_t its_parent, pid = atoi(entry->d_name);

        if (pid <= 0 || !look(pid, &its_parent, args, sizeof(args)) || its_parent != parent ||
            !strstr(args, part))
            continue;
        *found = pid;
        n++;
    }
    closedir(dir);
    return n;
}

pid_t run_node(const struct run *up, const char *name)
{
    char part[100];
    pid_t pid = 0;

    snprintf(part, sizeof(part), " --name %s ", name);
    return find_children(up->pid, part, &pid) == 1 ? pid : 0;
}

size_t run_n_children(pid_t parent)
{
    pid_t pid;

    return find_children(parent, "", &pid);
}

bool run_is_alive(pid_t pid)
{
    char args[256];
    pid_t parent;

    return look(pid, &parent, args, sizeof(args));
}

void run_clients(struct run *up, char *endpoint, size_t room)
{
    const char *at = run_await_out(up, "ready clients=") + strlen("ready clients=");

    while (!strchr(at, '\n'))
        wait_for_more(up, 100);
    snprintf(endpoint, room, "%.*s", (int)strcspn(at, "\n"), at);
}
