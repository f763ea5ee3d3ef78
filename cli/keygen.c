/* `baton keygen FLEET.yaml`: a key pair for each node and for the clients, and the allow-list. Keys
 * that are there already are kept, so a node can be added later. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "cli/allow.h"
#include "cli/commands.h"
#include "cli/process.h"
#include "cli/words.h"
#include "wire/zap.h"

static const char help[] =
    "Usage: baton keygen FLEET.yaml\n\n"
    "Makes the keys in the folder that the file names as security.keys: NAME.key for\n"
    "each node and client.key for the clients (each for its owner's eyes only), and\n"
    "`allow`, the list of all public keys. Keys that exist are kept. Copy `allow` to\n"
    "every machine, and each .key file to the one that needs it.\n";

/* The pair of a name: the one in its file, or a new one. */
static bool pair_of(const struct fleet *fleet, const char *name, struct keys *keys)
{
    char path[PATH_MAX + 80];
    char why[KEYS_WHY_MAX] = "this libzmq was built without CURVE";
    enum status status;

    snprintf(path, sizeof(path), "%s/%s.key", fleet->keys, name);
    status = keys_load(path, keys, why);
    if (status == STATUS_NOT_FOUND) {
        status = keys_generate(keys);
        if (status == STATUS_OK)
            status = keys_save(path, keys, why);
        if (status == STATUS_OK)
            printf("made %s\n", path);
    } else if (status == STATUS_OK) {
        printf("kept %s\n", path);
    }
    if (status != STATUS_OK)
        process_complain("%s", why);
    return status == STATUS_OK;
}

static bool write_line(const struct fleet *fleet, FILE *list, const char *domain, const char *name)
{
    struct keys keys;
    bool good = pair_of(fleet, name, &keys);

    if (good)
        good = fprintf(list, "%s %s %s\n", domain, name, keys.public_key) > 0;
    keys_wipe(&keys);
    return good;
}

/* Writes the list beside the old one and puts it in its place at the end. */
static bool write_list(const struct fleet *fleet)
{
    char path[PATH_MAX + 80], draft[PATH_MAX + 90];
    FILE *list;
    bool good;

    allow_path(fleet, path, sizeof(path));
    snprintf(draft, sizeof(draft), "%s.new", path);
    umask(077);
    list = fopen(draft, "we");
    if (!list) {
        process_complain("cannot write %s: %s", draft, strerror(errno));
        return false;
    }
    good =
        fputs("# Who may connect: domain, name, public key. Made by `baton keygen`.\n", list) >= 0;
    for (size_t i = 0; i < fleet->n_nodes && good; i++)
        good = write_line(fleet, list, ZAP_DOMAIN_NODES, fleet->nodes[i].name);
    if (good)
        good = write_line(fleet, list, ZAP_DOMAIN_CLIENTS, ALLOW_CLIENT);
    good = fclose(list) == 0 && good;
    if (good && rename(draft, path) != 0) {
        process_complain("cannot write %s: %s", path, strerror(errno));
        good = false;
    }
    if (good)
        printf("made %s\n", path);
    else
        unlink(draft);
    return good;
}

static enum exit_code keygen(const struct fleet *fleet)
{
    if (!fleet->keys[0]) {
        process_complain("%s names no folder for keys: add  security: { keys: keys }", fleet->path);
        return EXIT_CONFIG;
    }
    if (fleet_find(fleet, ALLOW_CLIENT)) {
        process_complain("%s: a node cannot be named '%s': that is the clients' key", fleet->path,
                         ALLOW_CLIENT);
        return EXIT_CONFIG;
    }
    if (mkdir(fleet->keys, 0700) != 0 && errno != EEXIST) {
        process_complain("cannot make the folder %s: %s", fleet->keys, strerror(errno));
        return EXIT_ADDRESS;
    }
    return write_list(fleet) ? EXIT_DONE : EXIT_FAILED;
}

enum exit_code command_keygen(int n_args, char **args)
{
    struct words words = {.at = args, .n = n_args};
    enum exit_code code = EXIT_CONFIG;
    char why[FLEET_WHY_MAX];
    struct fleet *fleet;
    char **rest;
    int n_rest = 0;

    if (words_flag(&words, "--help") || words.n == 0) {
        fputs(help, n_args == 0 ? stderr : stdout);
        return n_args == 0 ? EXIT_USAGE : EXIT_DONE;
    }
    rest = mem_alloc_zero((size_t)n_args + 1, sizeof(*rest));
    if (!rest)
        return EXIT_FAILED;
    if (fleet_load(words.at[0], NULL, words.n - 1, words.at + 1, rest, &n_rest, &fleet, why) !=
        STATUS_OK) {
        process_complain("%s", why);
    } else {
        if (n_rest > 0) {
            process_complain("keygen: '%s' is not understood", rest[0]);
            code = EXIT_USAGE;
        } else {
            code = keygen(fleet);
        }
        fleet_destroy(fleet);
    }
    mem_free(rest);
    return code;
}
