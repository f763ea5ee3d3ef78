/* CURVE key pairs in files. A file with a secret belongs to its user alone; one that others can
 * read is refused, because then the key has to be taken as known. */
#pragma once

#include <stdbool.h>

#include "base/status.h"

#define KEYS_Z85_LEN 40
#define KEYS_WHY_MAX 320

struct keys {
    char public_key[KEYS_Z85_LEN + 1]; /* Z85 */
    char secret_key[KEYS_Z85_LEN + 1];
};

/* A new pair. UNSUPPORTED if this libzmq has no CURVE. */
enum status keys_generate(struct keys *out);
/* Overwrites a pair in memory. */
void keys_wipe(struct keys *keys);
/* Whether the text is a key in Z85: 40 of its characters. */
bool keys_valid(const char *z85);

/* Writes a new file, 0600. EXISTS where there is one (it is never overwritten), IO; `why` is a
 * sentence. */
enum status keys_save(const char *path, const struct keys *keys, char why[KEYS_WHY_MAX]);
/* NOT_FOUND, DENIED (others can read it, or it is another user's), MALFORMED (also when the two do
 * not belong together), IO; `why` is a sentence that says what to do. */
enum status keys_load(const char *path, struct keys *out, char why[KEYS_WHY_MAX]);
