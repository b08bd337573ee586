#pragma once

/* ComposeEnvironment: what a compose program gets from us besides the project's folder, and what it makes of that. */

#include "command/environment.h"

/* What is our own, without what the folder's .env file gives, since compose reads that by itself, and with a DOCKER_HOST for this socket
 * (NULL: none) unless there is one. */
int compose_environment_make(char ***ret, const Environment *environment, const char *engine_socket);

/* What v1 calls the project, which its `config` does not say. The caller frees. NULL: out of memory. */
char *compose_environment_project(const char *folder, const Environment *environment);
/* Between the parts of the name of a container that is given none. */
char compose_environment_separator(const Environment *environment, bool v1);
/* Where nothing but docker-compose 1.x is installed below `root`; made without running it. */
bool compose_is_v1(const char *root);
