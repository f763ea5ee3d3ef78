/* Opening, mapping and reading the files of a checkpoint. Any thread. */
#include "model/model_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "model/git_lfs.h"

/* A link whose target is missing is not the same as no file: what may be absent is then broken. */
static enum status open_failed(const char *path, int why, struct model_error *error)
{
    char target[MODEL_PATH_MAX];
    const ssize_t len = why == ENOENT ? readlink(path, target, sizeof(target) - 1) : -1;

    if (len > 0) {
        target[len] = '\0';
        return model_fail(error, STATUS_IO, "%.300s: is a link to %.200s, which is not there", path,
                          target);
    }
    return model_fail(error, why == ENOENT ? STATUS_NOT_FOUND : STATUS_IO,
                      "%.300s: cannot be opened: %s", path, strerror(why));
}

static enum status open_regular(const char *path, struct model_error *error, int *fd, size_t *len)
{
    char start[sizeof(GIT_LFS_START) - 1];
    struct stat info;
    /* O_NONBLOCK: a pipe in the folder must not stop us in open itself. */
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

    if (file < 0)
        return open_failed(path, errno, error);
    if (fstat(file, &info) != 0 || !S_ISREG(info.st_mode)) {
        close(file);
        return model_fail(error, STATUS_INVALID, "%.300s: is no regular file", path);
    }
    if (pread(file, start, sizeof(start), 0) == (ssize_t)sizeof(start) &&
        git_lfs_is_pointer(start, sizeof(start))) {
        close(file);
        return model_fail(error, STATUS_MALFORMED, "%.300s: " GIT_LFS_ADVICE, path);
    }
    *fd = file;
    *len = (size_t)info.st_size;
    return STATUS_OK;
}

enum status model_map_open(const char *path, struct model_error *error, struct model_map *out)
{
    int fd;
    size_t len;
    void *bytes = NULL;
    enum status status = open_regular(path, error, &fd, &len);

    if (status != STATUS_OK)
        return status;
    if (len > 0)
        bytes = mmap(NULL, len, PROT_READ, MAP_PRIVATE, fd, 0);
    close(fd);
    if (bytes == MAP_FAILED)
        return model_fail(error, STATUS_IO, "%.300s: cannot be mapped: %s", path, strerror(errno));
    *out = (struct model_map){.bytes = bytes, .len = len};
    return STATUS_OK;
}

void model_map_close(struct model_map *map)
{
    if (map->bytes != NULL)
        munmap((void *)(uintptr_t)map->bytes, map->len);
    *map = (struct model_map){.bytes = NULL};
}

static enum status read_all(int fd, char *text, size_t len)
{
    size_t at = 0;

    while (at < len) {
        ssize_t n = read(fd, text + at, len - at);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return STATUS_IO;
        at += (size_t)n;
    }
    text[len] = '\0';
    return STATUS_OK;
}

enum status model_file_read(const char *path, size_t bytes_max, struct model_error *error,
                            char **text, size_t *len)
{
    int fd;
    size_t n;
    char *copy = NULL;
    enum status status = open_regular(path, error, &fd, &n);

    if (status != STATUS_OK)
        return status;
    if (n > bytes_max)
        status =
            model_fail(error, STATUS_TOO_BIG, "%.300s: has %zu bytes; such a file has at most %zu",
                       path, n, bytes_max);
    else if ((copy = mem_alloc(n + 1)) == NULL)
        status = model_fail(error, STATUS_NO_MEMORY, "%.300s: no memory to read it", path);
    else if (read_all(fd, copy, n) != STATUS_OK)
        status = model_fail(error, STATUS_IO, "%.300s: cannot be read to its end", path);
    else if (memchr(copy, '\0', n) != NULL)
        status = model_fail(error, STATUS_MALFORMED, "%.300s: is no text: a zero byte at %zu", path,
                            (size_t)((char *)memchr(copy, '\0', n) - copy));
    close(fd);
    if (status != STATUS_OK) {
        mem_free(copy);
        return status;
    }
    *text = copy;
    *len = n;
    return STATUS_OK;
}

enum status model_path_join(const char *folder, const char *name, struct model_error *error,
                            char out[MODEL_PATH_MAX])
{
    int n = snprintf(out, MODEL_PATH_MAX, "%s/%s", folder, name);

    if (n < 0 || (unsigned)n >= MODEL_PATH_MAX)
        return model_fail(error, STATUS_TOO_BIG, "%.200s/%.200s: a path has at most %u bytes",
                          folder, name, MODEL_PATH_MAX - 1);
    return STATUS_OK;
}
