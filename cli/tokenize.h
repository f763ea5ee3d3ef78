/* `baton tokenize`: text to ids and back, counts, and what a chat template makes of messages; from
 * a file or standard input. For people who want to see what a model sees. */
#pragma once

#include "cli/exits.h"

enum exit_code command_tokenize(int n_args, char **args);
