/* What stands in the place of a large file in a checkout where Git LFS has not fetched it: a few
 * lines of text. Shared by the readers of weights and of tokenizers; any thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#define GIT_LFS_START "version https://git-lfs"
#define GIT_LFS_ADVICE "is a Git LFS pointer, not the file: run git lfs pull in its folder"

static inline bool git_lfs_is_pointer(const void *bytes, size_t len)
{
    return len >= sizeof(GIT_LFS_START) - 1 &&
           memcmp(bytes, GIT_LFS_START, sizeof(GIT_LFS_START) - 1) == 0;
}
