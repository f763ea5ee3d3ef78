/* The weights of a checkpoint as they lie on disk: one .safetensors file, or the shards that a
 * model.safetensors.index.json names, mapped read-only and checked strictly before the first byte
 * of data is used. Checked: the header's length and JSON, dtype x shape = span by multiplication
 * that cannot wrap, no overlap, no hole, the last tensor ends where the file ends, alignment to the
 * element, no name twice; with an index: every tensor is in exactly the file the index says, no
 * shard has another one. Only bf16, fp16 and fp32 are read; other types are refused by name.
 *
 * Not checked: the values. What a shrinking file does is in model_file.h.
 * Immutable once open: any thread may read. Opening does not touch the pages of the data. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "kernels/ops.h"
#include "model/model_error.h"

/* The format allows 100 MB; 8 MiB are more than 60,000 tensors in one file. */
#define SAFETENSORS_HEADER_MAX ((uint64_t)8 << 20)
#define SAFETENSORS_INDEX_MAX ((size_t)16 << 20)
#define SAFETENSORS_TENSORS_MAX 131072u /* of all files together */
#define SAFETENSORS_FILES_MAX 1024u
#define SAFETENSORS_DIMS_MAX 4u
#define SAFETENSORS_NAME_MAX 256u

#define SAFETENSORS_ONE_NAME "model.safetensors"
#define SAFETENSORS_INDEX_NAME "model.safetensors.index.json"

struct safetensors;

struct safetensors_tensor {
    const char *name;
    const uint8_t *data; /* [bytes], aligned to the element */
    uint64_t bytes;
    uint64_t shape[SAFETENSORS_DIMS_MAX]; /* [n_dims], row-major */
    uint32_t n_dims;                      /* 0: one element */
    uint32_t file;                        /* of safetensors_file_name */
    enum op_dtype dtype;
};

/* Opens a .safetensors file, or the one or the shards in a folder (one file wins over an index, as
 * in the reference). NOT_FOUND, IO, INVALID, MALFORMED, UNSUPPORTED (a dtype), TOO_BIG, NO_MEMORY,
 * each with a sentence in `error`, which may be NULL. */
enum status safetensors_open(const char *path, struct model_error *error, struct safetensors **out);

/* The same for one file that is in memory already, aligned to 8, and outlives the object. */
enum status safetensors_open_memory(const void *bytes, size_t len, struct model_error *error,
                                    struct safetensors **out);

/* Ends all mappings: every tensor's data is gone. NULL is nothing. */
void safetensors_close(struct safetensors *st);

/* Tensors in the order in which they lie: file by file, ascending. Reading in this order reads the
 * disk in order, and the sum of `bytes` so far over safetensors_bytes is the progress. */
uint32_t safetensors_n(const struct safetensors *st);
const struct safetensors_tensor *safetensors_at(const struct safetensors *st, uint32_t idx);
uint64_t safetensors_bytes(const struct safetensors *st);

/* NULL if there is no such tensor. */
const struct safetensors_tensor *safetensors_find(const struct safetensors *st, const char *name);

uint32_t safetensors_n_files(const struct safetensors *st);
const char *safetensors_file_name(const struct safetensors *st, uint32_t file);

/* Says that this tensor was read for the last time for now: its whole pages leave our resident
 * memory (reading them again is correct, only slower). */
void safetensors_forget(const struct safetensors *st, const struct safetensors_tensor *tensor);

/* "bf16", "fp16", "fp32"; the names that our command line and sentences use. */
const char *safetensors_dtype_name(enum op_dtype dtype);
uint32_t safetensors_dtype_bytes(enum op_dtype dtype);
