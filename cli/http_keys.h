/* The API keys of HTTP: from the file that http.keys names, one `name: key` a line, and from the
 * environment's BATON_API_KEY. They are secrets: a file that others can read is refused, and no
 * message repeats one. */
#pragma once

#include "cli/fleet.h"
#include "router/http_door.h"

#define HTTP_KEY_MIN 16u /* characters; fewer can be guessed */
#define HTTP_KEYS_ENV "BATON_API_KEY"
#define HTTP_KEYS_ENV_NAME "env" /* what the key from there is called */

struct http_keys {
    struct http_key *at; /* [n] */
    size_t n;
};

/* None is OK: n is 0. NOT_FOUND, DENIED, MALFORMED, TOO_BIG, EXISTS, IO, NO_MEMORY, with a sentence
 * that names the line. */
enum status http_keys_load(const struct fleet *fleet, struct http_keys *out,
                           char why[FLEET_WHY_MAX]);
/* Overwrites and frees. */
void http_keys_wipe(struct http_keys *keys);
/* Whether any are asked for, by file or environment. */
bool http_keys_given(const struct fleet *fleet);
