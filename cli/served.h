/* What a fleet serves: the oracle, or a checkpoint that was found, whose config.json was read and
 * held against the fleet's options. No weights: cli/worker_model.h loads them. Read-only once open.
 */
#pragma once

#include "cli/fleet.h"
#include "engine/oracle.h"
#include "model/config.h"

struct served {
    bool is_oracle;
    char path[PATH_MAX];          /* the checkpoint's folder; "" for the oracle */
    char name[WIRE_NAME_MAX + 1]; /* what clients call it */
    const char *table;            /* of the kernels: "auto" or a name */
    enum op_dtype dtype;          /* of weights, activations and KV */
    struct model_config config;   /* of a checkpoint */
    struct model_generation generation;
    struct kvgeom geom;
    uint32_t vocab;
    uint32_t len_max;
    uint32_t n_blocks;
};

/* Finds the model that the fleet's file names and reads its config; everything that can be wrong
 * with it and with the options that depend on it is a sentence in why. INVALID, NOT_FOUND, ... */
enum status served_open(const struct fleet *fleet, struct served **out, char why[FLEET_WHY_MAX]);
/* NULL is nothing. */
void served_close(struct served *served);

/* What `baton up` and `check-config` look at before any node starts: for workers the kernels, the
 * headers of the weights' files, and whether the memory of this machine holds so many; for routers
 * the tokenizer and the chat template. A machine needs only what its own nodes use. */
enum status served_check(const struct served *served, uint32_t n_workers, uint32_t n_routers,
                         char why[FLEET_WHY_MAX]);

struct engine_cfg served_engine_cfg(const struct served *served, const struct fleet *fleet);
/* Of the oracle. */
struct oracle_cfg served_oracle_cfg(const struct served *served, const struct fleet *fleet);

/* "bf16", "f32". */
const char *served_dtype_name(enum op_dtype dtype);
/* "2.47 GB", into text[SERVED_BYTES_TEXT]. */
#define SERVED_BYTES_TEXT 24
const char *served_bytes(uint64_t bytes, char text[SERVED_BYTES_TEXT]);
