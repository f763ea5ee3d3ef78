/* Checkpoints with random weights in Hugging Face's format, from any config.json that we read: for
 * benchmarks and tests that need a model's shape and not its knowledge. The values depend on the
 * seed and the tensor's name alone: not on the dtype (but for its rounding), nor on the shards.
 * One thread; main thread of a tool. */
#pragma once

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "kernels/ops.h"
#include "model/model_error.h"

#define MAKE_MODEL_SHARD_BYTES ((uint64_t)5 << 30) /* of data in a file, if not told */

struct make_model_args {
    const char *config;    /* a config.json or its folder */
    const char *out;       /* a folder that does not exist yet, or is empty */
    const char *tokenizer; /* NULL, or the folder whose tokenizer files are copied */
    uint64_t seed;
    uint64_t shard_bytes; /* 0: MAKE_MODEL_SHARD_BYTES; a larger tensor gets its own file */
    double deviation;     /* of the weights; 0: the config's initializer_range, or 0.02 */
    bool dtype_given;
    enum op_dtype dtype; /* if given; else the config's */
    /* NULL, or called with bytes of data: before the first, and after each piece of a MiB. */
    void (*progress)(void *ctx, uint64_t done, uint64_t total);
    void *ctx;
    const volatile sig_atomic_t *stop; /* NULL, or looked at as often: not 0 ends it */
};

struct make_model_result {
    uint64_t bytes; /* of data */
    uint32_t n_tensors, n_files;
};

/* Writes the folder; config.json comes last, so that half a checkpoint has none. Whatever fails,
 * the files made until then are removed. EXISTS (the folder is not empty), what reading the config
 * or the tokenizer gives, TOO_BIG (also for the disk), CANCELLED, IO, NO_MEMORY, with a sentence.
 */
enum status make_model(const struct make_model_args *args, struct model_error *error,
                       struct make_model_result *out);
