/* `baton check-config`: says whether a fleet file is good, and what is in force; and prints the
 * reference page, which is how configs/reference.yaml is made. */
#include <stdio.h>

#include "base/mem.h"
#include "cli/commands.h"
#include "cli/process.h"
#include "cli/words.h"

#define TEXT_MAX (1u << 20)

static const char help[] =
    "Usage: baton check-config FLEET.yaml [--values] [--OPTION VALUE ...]\n"
    "       baton check-config --reference | --options\n\n"
    "Checks a fleet file as `baton up` would, and lists its nodes.\n\n"
    "  --values      every option in force, and where it comes from\n"
    "  --reference   print a file with every option at its default, explained\n"
    "  --options     the same as help for the command line\n";

static enum exit_code print_table(bool reference)
{
    struct buf text;
    enum status status;

    buf_init(&text, TEXT_MAX);
    status = reference ? cfg_print_reference(options_schema(), &text)
                       : cfg_print_help(options_schema(), &text);
    if (status == STATUS_OK)
        fputs(buf_text(&text), stdout);
    buf_fini(&text);
    return status == STATUS_OK ? EXIT_DONE : EXIT_FAILED;
}

static void print_nodes(const struct fleet *fleet)
{
    printf("%s is good: %zu nodes, model %s\n", fleet->path, fleet->n_nodes, fleet_model(fleet));
    for (size_t i = 0; i < fleet->n_nodes; i++) {
        const struct fleet_node *node = &fleet->nodes[i];
        const char *listen = node->is_auto                  ? "auto"
                             : node->role == OPTIONS_DECODE ? "-"
                                                            : node->listen;

        printf("  %-8s %-16s listen %s%s%s\n", fleet_role_name(node->role), node->name, listen,
               node->clients[0] ? ", clients " : "", node->clients);
    }
    printf("keys: %s\n", fleet->keys[0] ? fleet->keys : "none");
}

static enum exit_code print_values(const struct fleet *fleet)
{
    struct buf text;
    enum status status;

    buf_init(&text, TEXT_MAX);
    status = cfg_print_values(fleet->cfg, &text);
    if (status == STATUS_OK)
        fputs(buf_text(&text), stdout);
    buf_fini(&text);
    return status == STATUS_OK ? EXIT_DONE : EXIT_FAILED;
}

static enum exit_code check(int n_args, char **args, char **rest)
{
    struct words words = {.at = rest, .n = 0};
    enum exit_code code = EXIT_DONE;
    char why[FLEET_WHY_MAX];
    struct fleet *fleet;
    bool values;

    if (fleet_load(args[0], NULL, n_args - 1, args + 1, rest, &words.n, &fleet, why) != STATUS_OK) {
        process_complain("%s", why);
        return EXIT_CONFIG;
    }
    values = words_flag(&words, "--values");
    if (words.n > 0) {
        process_complain("check-config: '%s' is not understood", words.at[0]);
        code = EXIT_USAGE;
    } else {
        print_nodes(fleet);
        if (values)
            code = print_values(fleet);
    }
    fleet_destroy(fleet);
    return code;
}

enum exit_code command_check_config(int n_args, char **args)
{
    struct words words = {.at = args, .n = n_args};
    enum exit_code code;
    char **rest;

    if (words_flag(&words, "--help")) {
        fputs(help, stdout);
        return EXIT_DONE;
    }
    if (words_flag(&words, "--reference"))
        return print_table(true);
    if (words_flag(&words, "--options"))
        return print_table(false);
    if (words.n == 0) {
        fputs(help, stderr);
        return EXIT_USAGE;
    }
    rest = mem_alloc_zero((size_t)words.n + 1, sizeof(*rest));
    code = rest ? check(words.n, words.at, rest) : EXIT_FAILED;
    mem_free(rest);
    return code;
}
