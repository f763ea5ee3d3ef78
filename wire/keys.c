/* Key files: two lines, `public KEY` and `secret KEY`. Reading checks the file that was opened, not
 * its name, so nobody can swap it in between. */
#include "wire/keys.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zmq.h>

/* "public " + 40 + "\n" + "secret " + 40 + "\n" */
#define FILE_BYTES 96

enum status keys_generate(struct keys *out)
{
    struct keys keys;
    if (zmq_curve_keypair(keys.public_key, keys.secret_key) != 0) {
        return STATUS_UNSUPPORTED;
    }
    *out = keys;
    keys_wipe(&keys);
    return STATUS_OK;
}

void keys_wipe(struct keys *keys)
{
    explicit_bzero(keys, sizeof(*keys));
}

bool keys_valid(const char *z85)
{
    uint8_t raw[32];
    static const char alphabet[] = "0123456789abcdefghijklmnopqrstuvwxyz"
                                   "ABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#";
    bool valid = strlen(z85) == KEYS_Z85_LEN && strspn(z85, alphabet) == KEYS_Z85_LEN &&
                 zmq_z85_decode(raw, z85) != NULL;
    explicit_bzero(raw, sizeof(raw));
    return valid;
}

static enum status explain(enum status status, const char *path, const char *text, char *why)
{
    snprintf(why, KEYS_WHY_MAX, "%.*s: %s", KEYS_WHY_MAX / 2, path, text);
    return status;
}

static bool write_all(int fd, const char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, bytes, len);
        if (n < 0 && errno != EINTR) {
            return false;
        }
        bytes += n < 0 ? 0 : n;
        len -= n < 0 ? 0 : (size_t)n;
    }
    return true;
}

enum status keys_save(const char *path, const struct keys *keys, char why[KEYS_WHY_MAX])
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0 && errno == EEXIST) {
        return explain(STATUS_EXISTS, path,
                       "there is a file already; keys are never overwritten. Move it away first.",
                       why);
    }
    if (fd < 0) {
        return explain(STATUS_IO, path, strerror(errno), why);
    }
    char text[FILE_BYTES + 1];
    snprintf(text, sizeof(text), "public %s\nsecret %s\n", keys->public_key, keys->secret_key);
    /* The umask may have taken more away, never given. */
    bool written = fchmod(fd, 0600) == 0 && write_all(fd, text, FILE_BYTES) && fsync(fd) == 0;
    int error = errno;
    explicit_bzero(text, sizeof(text));
    if (close(fd) != 0 || !written) {
        unlink(path);
        return explain(STATUS_IO, path, strerror(error), why);
    }
    return STATUS_OK;
}

static enum status check_owner(int fd, const char *path, char *why)
{
    struct stat info;
    if (fstat(fd, &info) != 0) {
        return explain(STATUS_IO, path, strerror(errno), why);
    }
    if (!S_ISREG(info.st_mode)) {
        return explain(STATUS_MALFORMED, path, "expected a plain file", why);
    }
    if (info.st_uid != geteuid() && info.st_uid != 0) {
        return explain(STATUS_DENIED, path, "the file belongs to another user. Make your own keys.",
                       why);
    }
    if (info.st_mode & (S_IRWXG | S_IRWXO)) {
        return explain(STATUS_DENIED, path,
                       "others may read or write this secret (expected mode 0600). Make new keys "
                       "and keep them 0600.",
                       why);
    }
    return STATUS_OK;
}

static enum status parse(const char *path, const char *text, size_t len, struct keys *out,
                         char *why)
{
    struct keys keys = {.public_key = ""};
    char derived[KEYS_Z85_LEN + 1];
    bool valid = len == FILE_BYTES && memcmp(text, "public ", 7) == 0 && text[47] == '\n' &&
                 memcmp(text + 48, "secret ", 7) == 0 && text[95] == '\n';
    if (valid) {
        memcpy(keys.public_key, text + 7, KEYS_Z85_LEN);
        memcpy(keys.secret_key, text + 55, KEYS_Z85_LEN);
        valid = keys_valid(keys.public_key) && keys_valid(keys.secret_key);
    }
    enum status status = STATUS_OK;
    if (!valid) {
        status = explain(STATUS_MALFORMED, path,
                         "expected two lines, `public KEY` and `secret KEY`, as `baton keygen` "
                         "writes them",
                         why);
    } else if (zmq_curve_public(derived, keys.secret_key) != 0 ||
               strcmp(derived, keys.public_key) != 0) {
        status = explain(STATUS_MALFORMED, path,
                         "the public key is not the secret key's. Make new keys.", why);
    } else {
        *out = keys;
    }
    keys_wipe(&keys);
    return status;
}

enum status keys_load(const char *path, struct keys *out, char why[KEYS_WHY_MAX])
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) {
        if (errno == ENOENT) {
            return explain(STATUS_NOT_FOUND, path,
                           "there is no such file. `baton keygen` makes the keys.", why);
        }
        return explain(STATUS_IO, path, strerror(errno), why);
    }
    char text[FILE_BYTES + 1];
    size_t len = 0;
    enum status status = check_owner(fd, path, why);
    while (status == STATUS_OK && len < sizeof(text)) {
        ssize_t n = read(fd, text + len, sizeof(text) - len);
        if (n == 0) {
            break;
        }
        if (n < 0 && errno != EINTR) {
            status = explain(STATUS_IO, path, strerror(errno), why);
        }
        len += n < 0 ? 0 : (size_t)n;
    }
    if (status == STATUS_OK) {
        status = parse(path, text, len, out, why);
    }
    explicit_bzero(text, sizeof(text));
    close(fd);
    return status;
}
