/* A folder that is filled with files and is whole or not there: who fails on the way, or is asked
 * to stop, takes back what it made and nothing else. One thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "model/model_error.h"

#define NEW_FOLDER_NAME_MAX 63u

struct new_folder;

/* Makes the folder, or takes an empty one, where `bytes` are free. TOO_BIG (they are not), EXISTS
 * (it is not empty), IO, NO_MEMORY, each with a sentence. */
enum status new_folder_create(const char *path, uint64_t bytes, uint32_t files_max,
                              struct model_error *error, struct new_folder **out);
/* Without `keep`, removes the files that it made, and the folder if that was not there. NULL is
 * nothing. */
void new_folder_destroy(struct new_folder *folder, bool keep);

/* A file that was not there, for new_folder_close. IO, TOO_BIG (the path). */
enum status new_folder_open(struct new_folder *folder, const char *name, struct model_error *error,
                            int *fd);
enum status new_folder_write(const struct new_folder *folder, int fd, const char *name,
                             const void *bytes, size_t len, struct model_error *error);
/* Gives `status` back, or IO where that was OK and the file's end cannot be written. */
enum status new_folder_close(const struct new_folder *folder, int fd, const char *name,
                             enum status status, struct model_error *error);
/* All three. */
enum status new_folder_put(struct new_folder *folder, const char *name, const void *bytes,
                           size_t len, struct model_error *error);
