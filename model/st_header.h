/* One safetensors file: its header read and checked into a list of tensors. Part of safetensors.c,
 * which has the contract. */
#pragma once

#include "base/arena.h"
#include "model/safetensors.h"
#include "model/tok_json.h"

struct st_list {
    struct safetensors_tensor *at; /* [n] of [cap], base/mem */
    uint32_t n, cap;
};

struct st_source {
    const char *path; /* for sentences */
    const uint8_t *bytes;
    size_t len;
    uint32_t file;
};

/* Appends the file's tensors in the order of their data. Names are copied into `arena`. On failure
 * the list may have grown; its owner frees it. */
enum status st_header_read(const struct st_source *source, struct arena *arena,
                           struct st_list *list, struct model_error *error);

/* The sentence of a JSON reader's failure, with the file's name in front. */
enum status st_json_fail(const char *path, enum status status, const struct tokenizer_error *why,
                         struct model_error *error);

/* A name in the file as text in the arena. */
enum status st_name_copy(const char *path, const struct tok_json_string *string,
                         struct arena *arena, struct model_error *error, char **out);
