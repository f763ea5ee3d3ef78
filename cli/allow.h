/* The keys folder that `baton keygen` makes: NAME.key for each node and for the client, each with a
 * secret, and `allow`, the list of everybody's public keys, which every machine gets. */
#pragma once

#include "cli/fleet.h"
#include "wire/keys.h"

#define ALLOW_CLIENT "client" /* the name of the clients' key */

void allow_path(const struct fleet *fleet, char *path, size_t path_len);
/* The public key of a name in the allow-list. NOT_FOUND and IO with a sentence. */
enum status allow_find(const struct fleet *fleet, const char *name, char key[KEYS_Z85_LEN + 1],
                       char why[FLEET_WHY_MAX]);
