/* `baton check-config`: says whether a fleet file is good, and what is in force; and prints the
 * reference page, which is how configs/reference.yaml is made. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "cli/commands.h"
#include "cli/http_keys.h"
#include "cli/process.h"
#include "cli/words.h"

#define TEXT_MAX (1u << 20)

static const char help[] =
    "Usage: baton check-config FLEET.yaml [--values] [--OPTION VALUE ...]\n"
    "       baton check-config --reference | --options\n\n"
    "Checks a fleet file as `baton up` would, its model and keys too, and lists its\n"
    "nodes. Weights are not loaded.\n\n"
    "  --only NAME,...  only these nodes run on this machine\n"
    "  --values         every option in force, and where it comes from\n"
    "  --reference      print a file with every option at its default, explained\n"
    "  --options        the same as help for the command line\n";

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

static void print_nodes(const struct fleet *fleet, const struct served *served)
{
    char pool[SERVED_BYTES_TEXT];

    printf("%s is good: %zu nodes, model %s\n", fleet->path, fleet->n_nodes, served->name);
    for (size_t i = 0; i < fleet->n_nodes; i++) {
        const struct fleet_node *node = &fleet->nodes[i];
        const char *listen = node->is_auto                  ? "auto"
                             : node->role == OPTIONS_DECODE ? "-"
                                                            : node->listen;

        printf("  %-8s %-16s listen %s%s%s%s%s\n", fleet_role_name(node->role), node->name, listen,
               node->clients[0] ? ", clients " : "", node->clients, node->http[0] ? ", http " : "",
               node->http[0] ? node->http + strlen("tcp://") : "");
    }
    if (!served->is_oracle)
        printf("model: %s, %s, %s\n", served->path, model_family_name(served->config.family),
               served_dtype_name(served->dtype));
    printf("sequences: up to %u tokens; KV pool of each node: %u blocks, %s\n", served->len_max,
           served->n_blocks,
           served_bytes((uint64_t)served->n_blocks * kvgeom_block_bytes(&served->geom), pool));
    printf("keys: %s\n", fleet->keys[0] ? fleet->keys : "none");
    printf("API keys: %s\n", fleet->http_keys[0]      ? fleet->http_keys
                             : http_keys_given(fleet) ? HTTP_KEYS_ENV
                                                      : "none");
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

/* What is more than words: keys and model. */
static enum exit_code check_fleet(const struct fleet *fleet, const char *only, bool values)
{
    char why[FLEET_WHY_MAX];
    struct served *served = NULL;
    enum exit_code code = EXIT_DONE;
    enum status status = fleet_check_keys(fleet, only, why);

    if (status == STATUS_OK)
        status = served_open(fleet, &served, why);
    if (status == STATUS_OK)
        status = served_check(served, fleet_count(fleet, only, false),
                              fleet_count(fleet, only, true), why);
    if (status == STATUS_OK) {
        print_nodes(fleet, served);
        if (values)
            code = print_values(fleet);
    } else {
        process_complain("%s", why);
        code = EXIT_CONFIG;
    }
    served_close(served);
    return code;
}

static enum exit_code check(int n_args, char **args, char **rest)
{
    struct words words = {.at = rest, .n = 0};
    enum exit_code code;
    char why[FLEET_WHY_MAX];
    struct fleet *fleet;
    const char *only;
    bool values;

    if (fleet_load(args[0], NULL, n_args - 1, args + 1, rest, &words.n, &fleet, why) != STATUS_OK) {
        process_complain("%s", why);
        return EXIT_CONFIG;
    }
    values = words_flag(&words, "--values");
    only = words_value(&words, "--only");
    if (words.n > 0) {
        process_complain("check-config: '%s' is not understood", words.at[0]);
        code = EXIT_USAGE;
    } else {
        code = check_fleet(fleet, only, values);
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
