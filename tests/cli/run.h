/* Real processes for the tests of this folder: the built `baton`, with configurations in a
 * temporary folder. Everything is waited for by what is printed or by the process's end, with a
 * deadline; a test that ends early leaves no process behind, because each dies with its parent. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define RUN_DEADLINE_MS 30000
#define RUN_TEXT_MAX (256 * 1024)
#define RUN_ARGS_MAX 32

struct run_text {
    int fd; /* -1: closed */
    size_t len;
    char text[RUN_TEXT_MAX];
};

struct run {
    pid_t pid; /* 0: ended */
    int wait_status;
    struct run_text out, err;
};

/* A folder of its own for a test, removed with all in it. */
const char *run_folder(void);
void run_folder_remove(void);
/* Writes a file in it; the path is static until the next call but three. */
const char *run_file(const char *name, const char *text);

/* Starts `baton` with these arguments (NULL-ended). */
struct run *run_start(const char *arg, ...);
/* The same on a terminal of its own: all that is printed, and what is typed, goes to `out`. */
struct run *run_start_terminal(const char *arg, ...);
/* Types it; a line ends with \n, \3 is Ctrl-C, \4 on an empty line Ctrl-D. */
void run_type(struct run *run, const char *text);
/* What has been printed until now is no more waited for. */
void run_forget(struct run *run);
/* Waits until the text has been printed, and gives where it stands; fails the test if the process
 * ends or the deadline passes before. */
const char *run_await_out(struct run *run, const char *text);
const char *run_await_err(struct run *run, const char *text);
/* Waits for its end; gives the exit status, or 128 + the signal. */
int run_end(struct run *run);
/* Sends the signal, waits, frees, gives the exit status. */
int run_stop(struct run *run, int signum);
void run_free(struct run *run);
/* Runs to the end: exit status; what was printed goes to out and err (may be NULL). */
int run_once(char *out, char *err, size_t room, const char *arg, ...);

/* Reads what is there now, without waiting. */
void run_pump(struct run *run);
/* The process of a node under `baton up`, 0 if none runs. */
pid_t run_node(const struct run *up, const char *name);
/* How many processes have this parent. */
size_t run_n_children(pid_t parent);
/* Whether the process is there (also as a zombie of another parent). */
bool run_is_alive(pid_t pid);
/* "tcp://127.0.0.1:N" of a fleet that says it is ready. */
void run_clients(struct run *up, char *endpoint, size_t room);
double run_now_ms(void);
