/* Looks a public key up by name. The list itself is read for access by wire/zap. */
#include "cli/allow.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

void allow_path(const struct fleet *fleet, char *path, size_t path_len)
{
    snprintf(path, path_len, "%s/allow", fleet->keys);
}

enum status allow_find(const struct fleet *fleet, const char *name, char key[KEYS_Z85_LEN + 1],
                       char why[FLEET_WHY_MAX])
{
    char path[PATH_MAX + 80];
    char line[512];
    bool found = false;
    FILE *file;

    allow_path(fleet, path, sizeof(path));
    file = fopen(path, "re");
    if (!file) {
        snprintf(why, FLEET_WHY_MAX, "%.400s: %s: make the keys with `baton keygen %.400s`", path,
                 strerror(errno), fleet->path);
        return STATUS_IO;
    }
    while (!found && fgets(line, sizeof(line), file)) {
        char domain[64], whose[64], text[64];

        if (line[0] == '#' || sscanf(line, "%63s %63s %63s", domain, whose, text) != 3)
            continue;
        found = strcmp(whose, name) == 0 && keys_valid(text);
        if (found)
            memcpy(key, text, KEYS_Z85_LEN + 1);
    }
    fclose(file);
    if (!found)
        snprintf(why, FLEET_WHY_MAX,
                 "%.400s has no key of '%.64s': run `baton keygen %.400s` again and give every "
                 "machine the new list",
                 path, name, fleet->path);
    return found ? STATUS_OK : STATUS_NOT_FOUND;
}
