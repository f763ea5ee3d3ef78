/* A model in memory, ready to compute: the numbers of its config, its weights packed for a device,
 * and that device. model_open checks the whole checkpoint before the first byte is packed, packs
 * and hashes each tensor in one pass, and gives the file's pages back as it goes: what stays is the
 * packed weights. Read-only once open; the device is used by one thread at a time (the node's
 * compute thread, after the main thread has opened it). */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "kernels/device.h"
#include "kernels/ops.h"
#include "model/config.h"
#include "model/model_error.h"
#include "wire/kvgeom.h"

struct model;

/* Called now and then while weights are packed; done == total at the end. */
typedef void (*model_progress_fn)(void *ctx, uint64_t done, uint64_t total);

struct model_open_args {
    const char *path;    /* a checkpoint's folder */
    enum op_dtype dtype; /* BF16 or F32: of weights, activations and KV */
    /* The longest sequence that will be computed; 0: the config's positions_max. Long rope takes
     * the table of factors that is meant for it, one for all sequences: the reference changes the
     * table when a sequence grows past the border, and so contradicts its own cache. */
    uint32_t len_max;
    const char *table;  /* device_cfg: NULL is the best one */
    uint32_t n_threads; /* 0: one for each CPU */
    bool pin;
    model_progress_fn progress; /* NULL: none */
    void *ctx;
};

/* What reading and checking a checkpoint gives (NOT_FOUND, MALFORMED, UNSUPPORTED, ...), INVALID
 * (dtype, len_max beyond positions_max), NO_MEMORY, and device_open's; `error` is a sentence. */
enum status model_open(const struct model_open_args *args, struct model_error *error,
                       struct model **out);
/* NULL is nothing. */
void model_close(struct model *model);

const struct model_config *model_config(const struct model *model);
struct device *model_device(const struct model *model);
enum op_dtype model_dtype(const struct model *model);
uint64_t model_weight_bytes(const struct model *model); /* packed, in the device's memory */
/* Of all numbers of the config that are computed with, dtype and the rope that len_max chooses
 * included; and of all weights as they lie on disk, in the order of the forward pass. Neither
 * depends on the table, the threads or how the checkpoint is cut into files. */
uint64_t model_config_hash(const struct model *model);
uint64_t model_weights_hash(const struct model *model);

/* The KV cache of a config; needs no weights. */
struct kvgeom model_kvgeom(const struct model_config *config, enum op_dtype dtype);
