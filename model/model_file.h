/* Files of a checkpoint, read-only: mapped whole (weights) or copied whole (small JSON). Regular
 * files only, so that a pipe or a device never blocks the loading. Any thread.
 *
 * A mapping is as long as the file was when it was opened. Who cuts the file shorter while it is
 * mapped takes the pages away, and the next access ends the process with SIGBUS: a checkpoint must
 * be replaced by rename, never written over. That is the operator's duty and stands in the manual;
 * a file that is short from the start is refused with a sentence. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "model/model_error.h"

#define MODEL_PATH_MAX 4096u

struct model_map {
    const uint8_t *bytes; /* [len]; NULL when len is 0 */
    size_t len;
};

/* NOT_FOUND, IO, INVALID (no regular file), MALFORMED (a Git LFS pointer), each with a sentence. */
enum status model_map_open(const char *path, struct model_error *error, struct model_map *out);
/* A zeroed one is nothing. */
void model_map_close(struct model_map *map);

/* The whole file as text with an end, to be freed with mem_free. As above, and TOO_BIG over
 * `bytes_max`, MALFORMED for a NUL byte. */
enum status model_file_read(const char *path, size_t bytes_max, struct model_error *error,
                            char **text, size_t *len);

/* folder/name in `out`; TOO_BIG if it does not fit. */
enum status model_path_join(const char *folder, const char *name, struct model_error *error,
                            char out[MODEL_PATH_MAX]);
