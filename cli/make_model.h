/* `baton make-model`: a checkpoint with random weights from a config.json, for benchmarks and tests
 * of a model's shape. */
#pragma once

#include "cli/exits.h"

enum exit_code command_make_model(int n_args, char **args);
