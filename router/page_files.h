/* The files of router/page as the program holds them; page_files.cmake writes the source. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct page_file {
    const char *path; /* as it is asked for */
    const char *type;
    const uint8_t *bytes; /* [len] */
    size_t len;
};

extern const struct page_file page_files[]; /* [page_n_files] */
extern const size_t page_n_files;
