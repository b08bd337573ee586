#pragma once

/* ExecCommand: a health command that is nothing but a `docker exec`, which the engine can be asked for without a shell. */

#include "util/macro.h"

/* Splits a command like `docker exec [-u USER] [-e NAME=VALUE] NAME ARG…` without shell syntax beyond quotes
 * and $VARIABLES. Returns 1 and the parts if it is one, 0 if it must be run by the shell, negative on error.
 * Each ret is the caller's. */
int exec_command_parse(const char *command, char *const *environment, char **ret_container, char **ret_user,
                       char ***ret_environment, char ***ret_argv);
