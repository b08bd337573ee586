#pragma once

/* ComposeEnvironment: what a compose program gets from us besides the project's folder, and what it makes of that. */

#include "util/macro.h"
#include "util/strv.h"

/* `environment` without what the folder's .env file gives, since compose reads that by itself, and with a DOCKER_HOST for this socket
 * (NULL: none) unless there is one. */
int compose_environment_make(char ***ret, const char *folder, char *const *environment, const char *engine_socket);

/* What v1 calls the project, which its `config` does not say. The caller frees. NULL: out of memory. */
char *compose_environment_project(const char *folder, char *const *environment);
/* Between the parts of the name of a container that is given none. */
char compose_environment_separator(char *const *environment, bool v1);
