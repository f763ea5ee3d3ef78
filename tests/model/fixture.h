/* What the tests of the loading share: a folder that goes away with its files, files made from
 * text and zeros, and checkpoints of random weights. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "kernels/ops.h"

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

/* An initialised fixture that holds a checkpoint of this config.json with random weights, large
 * enough that every one of them shows; shard_bytes 0: in one file. */
void fixture_make_model(struct fixture *fixture, const char *json, enum op_dtype dtype,
                        uint64_t seed, uint64_t shard_bytes);
/* Puts these bytes in place of a tensor's in its one file. */
void fixture_put_tensor(const struct fixture *fixture, const char *name, const void *bytes,
                        size_t len);
