/* Makes a folder and its files, and can take them back. Files are made with O_EXCL in a folder that
 * was empty, and their names are kept: what somebody else puts there meanwhile stays. */
#include "model/new_folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/check.h"
#include "base/mem.h"
#include "model/model_file.h"

#define BYTES_TEXT 24

struct new_folder {
    char path[MODEL_PATH_MAX];
    bool is_ours;                          /* the folder was not there */
    uint32_t n, cap;                       /* files that were made */
    char names[][NEW_FOLDER_NAME_MAX + 1]; /* [cap] */
};

/* "31 GB" */
static const char *bytes_text(double bytes, char out[BYTES_TEXT])
{
    static const char *const units[] = {"kB", "MB", "GB", "TB", "PB", "EB"};
    size_t unit = 0;

    for (bytes /= 1e3; bytes >= 1000 && unit + 1 < sizeof(units) / sizeof(units[0]); unit++)
        bytes /= 1e3;
    snprintf(out, BYTES_TEXT, bytes < 10 ? "%.1f %s" : "%.0f %s", bytes, units[unit]);
    return out;
}

/* The folder above, which says what is free where the path is not there yet. */
static void parent_of(const char *path, char out[MODEL_PATH_MAX])
{
    size_t len = strnlen(path, MODEL_PATH_MAX - 1);

    while (len > 0 && path[len - 1] == '/')
        len--;
    while (len > 0 && path[len - 1] != '/')
        len--;
    if (len == 0)
        snprintf(out, MODEL_PATH_MAX, ".");
    else
        snprintf(out, MODEL_PATH_MAX, "%.*s", (int)len, path);
}

static enum status check_room(const char *path, uint64_t bytes, struct model_error *error)
{
    char parent[MODEL_PATH_MAX], needed[BYTES_TEXT], have[BYTES_TEXT];
    struct statvfs disk;
    double available;

    parent_of(path, parent);
    /* Where neither is there, making the folder says why. */
    if (statvfs(path, &disk) != 0 && statvfs(parent, &disk) != 0)
        return STATUS_OK;
    available = (double)disk.f_bavail * (double)disk.f_frsize;
    if ((double)bytes <= available)
        return STATUS_OK;
    return model_fail(error, STATUS_TOO_BIG, "%.300s: needs %s, and %s are free there", path,
                      bytes_text((double)bytes, needed), bytes_text(available, have));
}

static enum status make(struct new_folder *folder, struct model_error *error)
{
    const char *path = folder->path;
    struct dirent *entry;
    DIR *list;
    int n = 0;

    folder->is_ours = mkdir(path, 0777) == 0;
    if (!folder->is_ours && errno != EEXIST)
        return model_fail(error, STATUS_IO, "%.300s: cannot be made: %s", path, strerror(errno));
    list = opendir(path);
    if (list == NULL)
        return model_fail(error, STATUS_IO, "%.300s: cannot be read: %s", path, strerror(errno));
    while ((entry = readdir(list)) != NULL)
        n += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    closedir(list);
    if (n > 0)
        return model_fail(error, STATUS_EXISTS,
                          "%.300s: is not empty; give a folder that does not exist yet", path);
    return STATUS_OK;
}

enum status new_folder_create(const char *path, uint64_t bytes, uint32_t files_max,
                              struct model_error *error, struct new_folder **out)
{
    const size_t size = sizeof(struct new_folder) + files_max * sizeof(*(*out)->names);
    struct new_folder *folder;
    enum status status = STATUS_OK;

    if (strlen(path) >= MODEL_PATH_MAX)
        return model_fail(error, STATUS_TOO_BIG, "%.200s...: a path has at most %u bytes", path,
                          MODEL_PATH_MAX - 1);
    folder = mem_alloc_zero(1, size);
    if (folder == NULL)
        return model_fail(error, STATUS_NO_MEMORY, "no memory for the names of the files");
    snprintf(folder->path, sizeof(folder->path), "%s", path);
    folder->cap = files_max;
    status = check_room(path, bytes, error);
    if (status == STATUS_OK)
        status = make(folder, error);
    if (status != STATUS_OK) {
        new_folder_destroy(folder, false);
        return status;
    }
    *out = folder;
    return STATUS_OK;
}

void new_folder_destroy(struct new_folder *folder, bool keep)
{
    char path[MODEL_PATH_MAX];

    if (folder == NULL)
        return;
    /* Backwards: what makes a checkpoint of it goes first. */
    for (uint32_t i = folder->n; !keep && i > 0; i--)
        if (model_path_join(folder->path, folder->names[i - 1], NULL, path) == STATUS_OK)
            (void)unlink(path);
    if (!keep && folder->is_ours)
        (void)rmdir(folder->path);
    mem_free(folder);
}

enum status new_folder_open(struct new_folder *folder, const char *name, struct model_error *error,
                            int *fd)
{
    char path[MODEL_PATH_MAX];
    enum status status = model_path_join(folder->path, name, error, path);
    int file;

    CHECK(folder->n < folder->cap && strlen(name) <= NEW_FOLDER_NAME_MAX);
    if (status != STATUS_OK)
        return status;
    file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (file < 0)
        return model_fail(error, STATUS_IO, "%.300s: cannot be made: %s", path, strerror(errno));
    snprintf(folder->names[folder->n++], sizeof(folder->names[0]), "%s", name);
    *fd = file;
    return STATUS_OK;
}

static enum status write_failed(const struct new_folder *folder, const char *name,
                                struct model_error *error)
{
    return model_fail(error, STATUS_IO, "%.200s/%.100s: cannot be written: %s", folder->path, name,
                      strerror(errno));
}

enum status new_folder_write(const struct new_folder *folder, int fd, const char *name,
                             const void *bytes, size_t len, struct model_error *error)
{
    size_t at = 0;

    while (at < len) {
        ssize_t n = write(fd, (const uint8_t *)bytes + at, len - at);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return write_failed(folder, name, error);
        at += (size_t)n;
    }
    return STATUS_OK;
}

enum status new_folder_close(const struct new_folder *folder, int fd, const char *name,
                             enum status status, struct model_error *error)
{
    if (close(fd) != 0 && status == STATUS_OK)
        return write_failed(folder, name, error);
    return status;
}

enum status new_folder_put(struct new_folder *folder, const char *name, const void *bytes,
                           size_t len, struct model_error *error)
{
    int fd;
    enum status status = new_folder_open(folder, name, error, &fd);

    if (status == STATUS_OK)
        status = new_folder_close(folder, fd, name,
                                  new_folder_write(folder, fd, name, bytes, len, error), error);
    return status;
}
