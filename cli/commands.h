/* The commands of `baton`. Each gets what follows its name, and gives the exit code. */
#pragma once

#include "cli/exits.h"

enum exit_code command_up(int n_args, char **args);
enum exit_code command_router(int n_args, char **args);
enum exit_code command_prefill(int n_args, char **args);
enum exit_code command_decode(int n_args, char **args);
enum exit_code command_chat(int n_args, char **args);
enum exit_code command_keygen(int n_args, char **args);
enum exit_code command_check_config(int n_args, char **args);
