/* What the tests of the loading share: a folder that goes away with its files, and files made from
 * text and zeros. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct fixture {
    char folder[64];
};

void fixture_init(struct fixture *fixture);
/* Removes the folder and the files in it. */
void fixture_fini(struct fixture *fixture);

/* folder/name, in a buffer of the fixture's file that the next call overwrites. */
const char *fixture_path(const struct fixture *fixture, const char *name);

void fixture_write(const struct fixture *fixture, const char *name, const void *bytes, size_t len);
void fixture_write_text(const struct fixture *fixture, const char *name, const char *text);

/* A safetensors file in memory, to be freed: length, `header` with
 * blanks up to a multiple of 8, as the format pads it, and `n_data` bytes that count up. */
uint8_t *fixture_safetensors(const char *header, size_t n_data, size_t *len);
/* The same into a file. */
void fixture_write_safetensors(const struct fixture *fixture, const char *name, const char *header,
                               size_t n_data);
