/* `baton`: one program, many commands. This file only finds the command; each has its own file. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/bench.h"
#include "cli/commands.h"
#include "cli/make_model.h"
#include "cli/process.h"
#include "cli/tokenize.h"
#include "cli/version.h"

struct command {
    const char *name;
    enum exit_code (*run)(int n_args, char **args);
    const char *help;
};

static enum exit_code command_version(int n_args, char **args)
{
    (void)n_args;
    (void)args;
    puts(version_text());
    return EXIT_DONE;
}

/* bench_main has exit codes of the same meaning, and wants its name before its arguments. */
static enum exit_code command_bench(int n_args, char **args)
{
    return (enum exit_code)bench_main(n_args + 1, args - 1);
}

static enum exit_code command_help(int n_args, char **args);

static const struct command commands[] = {
    {"up", command_up, "start and supervise the fleet of a file on this machine"},
    {"chat", command_chat, "ask the fleet something, and see the answer as it comes"},
    {"router", command_router, "run one router of a fleet in the foreground"},
    {"prefill", command_prefill, "run one prefill node"},
    {"decode", command_decode, "run one decode node"},
    {"keygen", command_keygen, "make the keys of a fleet"},
    {"check-config", command_check_config, "check a fleet file, and show what is in force"},
    {"bench", command_bench, "measure, beside what this machine can do"},
    {"make-model", command_make_model, "write a checkpoint of random weights from a config.json"},
    {"tokenize", command_tokenize, "text to tokens and back, chat templates"},
    {"version", command_version, "print the version"},
    {"help", command_help, "print this"},
};
#define N_COMMANDS (sizeof(commands) / sizeof(commands[0]))

/* `baton help chat` is `baton chat --help`. */
static enum exit_code help_of(const struct command *command)
{
    char name[16], option[] = "--help";
    char *args[] = {name, option, NULL};

    snprintf(name, sizeof(name), "%s", command->name);
    return command->run(1, args + 1);
}

static enum exit_code unknown(const char *name);

static enum exit_code command_help(int n_args, char **args)
{
    for (size_t i = 0; n_args > 0 && i < N_COMMANDS; i++)
        if (strcmp(args[0], commands[i].name) == 0 && commands[i].run != command_help)
            return help_of(&commands[i]);
    if (n_args > 0 && strcmp(args[0], "help") != 0)
        return unknown(args[0]);
    puts("Usage: baton COMMAND [...]\n");
    for (size_t i = 0; i < N_COMMANDS; i++)
        printf("  %-14s %s\n", commands[i].name, commands[i].help);
    puts("\n`baton COMMAND --help` tells more. Every option of a fleet file can also be\n"
         "given as --kv.blocks=1024 or BATON_KV_BLOCKS=1024; configs/reference.yaml has\n"
         "them all.\n\n"
         "Exit status: 0 done, 1 failed, 2 wrong command line, 3 wrong or refused\n"
         "configuration, 4 address or device not to be had, 5 nobody answers, 6 a node\n"
         "could not go on.");
    return EXIT_DONE;
}

/* Letters that differ, counted from both ends: enough to find a misspelt command. */
static size_t distance(const char *a, const char *b)
{
    size_t front = 0, back = 0;
    const size_t a_len = strlen(a), b_len = strlen(b);
    const size_t shorter = a_len < b_len ? a_len : b_len;

    while (front < shorter && a[front] == b[front])
        front++;
    while (back < shorter - front && a[a_len - 1 - back] == b[b_len - 1 - back])
        back++;
    return (a_len > b_len ? a_len : b_len) - front - back;
}

static enum exit_code unknown(const char *name)
{
    const struct command *nearest = &commands[0];

    for (size_t i = 1; i < N_COMMANDS; i++)
        if (distance(name, commands[i].name) < distance(name, nearest->name))
            nearest = &commands[i];
    if (distance(name, nearest->name) * 2 <= strlen(nearest->name))
        process_complain("there is no command '%.64s'; did you mean '%s'?", name, nearest->name);
    else
        process_complain("there is no command '%.64s'; see `baton help`", name);
    return EXIT_USAGE;
}

/* libucs patches libc's mmap, munmap and madvise when it is loaded, before main; only the
 * environment can forbid that, so the program starts once more with it. What the process starts
 * itself has it already. If it cannot, all works with the hooks too. */
static void forbid_memory_hooks(char **args)
{
    const char *now = getenv("UCX_MEM_EVENTS");

    if ((now && strcmp(now, "n") == 0) || setenv("UCX_MEM_EVENTS", "n", 1) != 0)
        return;
    (void)execv("/proc/self/exe", args);
}

int main(int n_args, char **args)
{
    forbid_memory_hooks(args);
    if (n_args < 2) {
        (void)command_help(0, NULL);
        return EXIT_USAGE;
    }
    if (strcmp(args[1], "--help") == 0 || strcmp(args[1], "-h") == 0)
        return command_help(0, NULL);
    if (strcmp(args[1], "--version") == 0)
        return command_version(0, NULL);
    for (size_t i = 0; i < N_COMMANDS; i++)
        if (strcmp(args[1], commands[i].name) == 0)
            return commands[i].run(n_args - 2, args + 2);
    return unknown(args[1]);
}
