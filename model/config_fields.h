/* The fields of config.json: one table says which family has which, what it may be and where it
 * goes. Part of config.c, which has the contract. */
#pragma once

#include <jansson.h>

#include "model/config.h"

/* The fields as they stand in the file, before they mean something together. 0 in a count that may
 * be null: it was null or absent. */
struct config_raw {
    uint32_t vocab, hidden, intermediate, n_layers, n_heads, n_kv_heads, head_dim, positions_max;
    uint32_t window, max_window_layers, window_pattern, original_positions;
    uint32_t n_experts, top_k, expert_intermediate, sparse_step;
    bool tied, attention_bias, use_window, renormalise;
    double norm_eps, rope_theta, rope_local_theta, partial_rotary;
    double attention_softcap, final_softcap, query_scalar;
};

struct config_reader {
    const char *path; /* for sentences */
    const json_t *root;
    enum model_family family;
    struct model_error *error;
};

/* "FILE: FIELD is FOUND; EXPECTED" with the status. */
__attribute__((format(printf, 5, 6))) enum status config_bad(const struct config_reader *r,
                                                             enum status status, const char *field,
                                                             const json_t *found, const char *fmt,
                                                             ...);

/* A whole number in [min, max]; a number in [min, max], not NaN. */
enum status config_u32(const struct config_reader *r, const char *field, const json_t *value,
                       uint32_t min, uint32_t max, uint32_t *out);
enum status config_number(const struct config_reader *r, const char *field, const json_t *value,
                          double min, double max, double *out);

/* One id, a list of ids, or null: none. */
enum status config_ids(const struct config_reader *r, const char *field, const json_t *value,
                       uint32_t *ids, uint32_t *n);

/* Parses strictly: an object, no key twice. To be freed with json_decref. */
enum status config_parse(const char *path, const char *text, size_t len, struct model_error *error,
                         json_t **out);

/* Fills `raw` with the family's defaults, then with the file; refuses what is in neither the table
 * nor the list of what is skipped, and a file without one of the sizes that make a shape. */
enum status config_fields_read(const struct config_reader *r, struct config_raw *raw);

/* rope_scaling, rope_parameters and what belongs to them (config_rope.c). */
enum status config_rope_read(const struct config_reader *r, const struct config_raw *raw,
                             uint32_t head_dim, struct model_config *config);

/* bos_token_id and eos_token_id (config_generation.c). */
enum status config_special_read(const struct config_reader *r, struct model_config *config);
