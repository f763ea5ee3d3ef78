/* Reads API keys, line by line. */
#include "cli/http_keys.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"

#define FILE_BYTES_MAX ((size_t)512 << 10) /* all keys at their longest, and comments */
#define NAME_CHARACTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.@"

struct reader {
    struct http_keys *keys;
    const char *path;
    unsigned line; /* 0: no file is read */
    char *why;
};

__attribute__((format(printf, 3, 4))) static enum status
refuse(const struct reader *reader, enum status status, const char *fmt, ...)
{
    char text[FLEET_WHY_MAX / 2];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    if (reader->line > 0)
        snprintf(reader->why, FLEET_WHY_MAX, "%.500s:%u: %s", reader->path, reader->line, text);
    else
        snprintf(reader->why, FLEET_WHY_MAX, "%.500s: %s", reader->path, text);
    return status;
}

static bool key_is_good(const char *key, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (key[i] <= ' ' || key[i] > '~')
            return false;
    return len >= HTTP_KEY_MIN && len <= HTTP_KEY_MAX;
}

static enum status add(const struct reader *reader, const char *name, size_t name_len,
                       const char *key, size_t key_len)
{
    struct http_keys *keys = reader->keys;
    struct http_key *one = &keys->at[keys->n];

    if (!key_is_good(key, key_len))
        return refuse(reader, STATUS_MALFORMED,
                      "expected a key of %u to %u visible characters without blanks, found one of "
                      "%zu; `openssl rand -hex 32` makes a good one",
                      HTTP_KEY_MIN, HTTP_KEY_MAX, key_len);
    if (keys->n == HTTP_KEYS_MAX)
        return refuse(reader, STATUS_TOO_BIG, "there are more than %u keys", HTTP_KEYS_MAX);
    memcpy(one->name, name, name_len);
    memcpy(one->key, key, key_len);
    one->name[name_len] = one->key[key_len] = '\0';
    for (size_t i = 0; i < keys->n; i++) {
        if (strcmp(keys->at[i].name, one->name) == 0)
            return refuse(reader, STATUS_EXISTS, "the name '%s' is there already", one->name);
        if (strcmp(keys->at[i].key, one->key) == 0)
            return refuse(reader, STATUS_EXISTS,
                          "this key is that of '%s' already: give each its "
                          "own",
                          keys->at[i].name);
    }
    keys->n++;
    return STATUS_OK;
}

static size_t trim(const char **at, size_t len)
{
    while (len > 0 && (**at == ' ' || **at == '\t')) {
        (*at)++;
        len--;
    }
    while (len > 0 && ((*at)[len - 1] == ' ' || (*at)[len - 1] == '\t' || (*at)[len - 1] == '\r'))
        len--;
    return len;
}

/* `name: key`, a comment, or nothing. */
static enum status take_line(const struct reader *reader, const char *line, size_t len)
{
    const char *colon, *key;
    size_t name_len, key_len;

    len = trim(&line, len);
    if (len == 0 || line[0] == '#')
        return STATUS_OK;
    colon = memchr(line, ':', len);
    name_len = colon ? (size_t)(colon - line) : 0;
    if (name_len == 0 || name_len >= sizeof(reader->keys->at[0].name) ||
        strspn(line, NAME_CHARACTERS) != name_len)
        return refuse(reader, STATUS_MALFORMED,
                      "expected  name: key  with a name of up to %zu letters, digits, '-', '_', "
                      "'.' and '@'",
                      sizeof(reader->keys->at[0].name) - 1);
    key = colon + 1;
    key_len = trim(&key, len - name_len - 1);
    return add(reader, line, name_len, key, key_len);
}

static enum status take_file(struct reader *reader, char *text, size_t len)
{
    enum status status = STATUS_OK;
    size_t start = 0;

    text[len] = '\n';
    for (size_t i = 0; i <= len && status == STATUS_OK; i++) {
        if (text[i] != '\n')
            continue;
        reader->line++;
        status = take_line(reader, text + start, i - start);
        start = i + 1;
    }
    return status;
}

/* Others who may read it know the keys. */
static enum status check_owner(const struct reader *reader, int fd)
{
    struct stat info;

    if (fstat(fd, &info) != 0)
        return refuse(reader, STATUS_IO, "%s", strerror(errno));
    if (!S_ISREG(info.st_mode))
        return refuse(reader, STATUS_MALFORMED, "expected a plain file");
    if (info.st_uid != geteuid() && info.st_uid != 0)
        return refuse(reader, STATUS_DENIED, "the file with the keys belongs to another user");
    if (info.st_mode & (S_IRWXG | S_IRWXO))
        return refuse(reader, STATUS_DENIED,
                      "others may read or write these keys: chmod 600, and new keys if others "
                      "have been on this machine");
    return STATUS_OK;
}

static enum status read_all(const struct reader *reader, int fd, char *text, size_t *len_out)
{
    size_t len = 0;
    ssize_t n = 1;

    while (n != 0 && len <= FILE_BYTES_MAX) {
        n = read(fd, text + len, FILE_BYTES_MAX + 1 - len);
        if (n < 0 && errno != EINTR)
            return refuse(reader, STATUS_IO, "%s", strerror(errno));
        len += n < 0 ? 0 : (size_t)n;
    }
    if (len > FILE_BYTES_MAX)
        return refuse(reader, STATUS_TOO_BIG, "the file is longer than %zu bytes", FILE_BYTES_MAX);
    *len_out = len;
    return STATUS_OK;
}

static enum status load_file(struct reader *reader)
{
    const int fd = open(reader->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    char *text = mem_alloc(FILE_BYTES_MAX + 1);
    size_t len = 0;
    enum status status;

    if (fd < 0)
        status = refuse(reader, errno == ENOENT ? STATUS_NOT_FOUND : STATUS_IO, "http.keys: %s",
                        strerror(errno));
    else if (!text)
        status = refuse(reader, STATUS_NO_MEMORY, "out of memory");
    else
        status = check_owner(reader, fd);
    if (status == STATUS_OK)
        status = read_all(reader, fd, text, &len);
    if (status == STATUS_OK)
        status = take_file(reader, text, len);
    if (status == STATUS_OK && reader->keys->n == 0) {
        reader->line = 0;
        status = refuse(reader, STATUS_MALFORMED, "there is no key in it: write lines  name: key");
    }
    if (text)
        explicit_bzero(text, FILE_BYTES_MAX + 1);
    mem_free(text);
    if (fd >= 0)
        close(fd);
    return status;
}

static const char *from_env(void)
{
    const char *key = getenv(HTTP_KEYS_ENV);

    return key && key[0] ? key : NULL;
}

bool http_keys_given(const struct fleet *fleet)
{
    return fleet->http_keys[0] || from_env();
}

enum status http_keys_load(const struct fleet *fleet, struct http_keys *out,
                           char why[FLEET_WHY_MAX])
{
    struct http_keys keys = {.n = 0};
    struct reader reader = {.keys = &keys, .path = fleet->http_keys, .why = why};
    const char *key = from_env();
    enum status status = STATUS_OK;

    keys.at = mem_alloc_zero(HTTP_KEYS_MAX + 1, sizeof(*keys.at)); /* 1 to say there are too many */
    if (!keys.at) {
        snprintf(why, FLEET_WHY_MAX, "out of memory");
        return STATUS_NO_MEMORY;
    }
    if (fleet->http_keys[0])
        status = load_file(&reader);
    if (status == STATUS_OK && key) {
        reader.path = HTTP_KEYS_ENV;
        reader.line = 0;
        status = add(&reader, HTTP_KEYS_ENV_NAME, strlen(HTTP_KEYS_ENV_NAME), key, strlen(key));
    }
    if (status != STATUS_OK) {
        http_keys_wipe(&keys);
        return status;
    }
    *out = keys;
    return STATUS_OK;
}

void http_keys_wipe(struct http_keys *keys)
{
    if (keys->at)
        explicit_bzero(keys->at, (HTTP_KEYS_MAX + 1) * sizeof(*keys->at));
    mem_free(keys->at);
    *keys = (struct http_keys){.n = 0};
}
