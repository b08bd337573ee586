#pragma once

/* Environment: what the programs get that are started for a stack. Of the compose folder's .env, which is written for containers and perhaps
 * by somebody who may do less than we, only what root's configuration names, and nothing that changes how programs run. */

#include "util/macro.h"
#include "util/strv.h"

/* What the names of variables are made of; no digit comes first. */
#define ENVIRONMENT_LETTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_0123456789"

typedef struct Environment {
        char *const *own; /* the waker's, root's word: systemd's and /etc/wakechain/env/NAME.env. NAME=VALUE; may be NULL */
        char *const *dotenv; /* see compose/dotenv.h; may be NULL */
} Environment;

/* Of the name that is the first `size` bytes of `name`. NULL: it is not set. */
const char *environment_get(char *const *list, const char *name, size_t size);

/* For a health command: `own`, and of `dotenv` what the command names as a word of its own ($NAME, "${NAME}", -e NAME), `own` does not have,
 * and environment_name_is_safe(). `environment` may be NULL. */
int environment_for_command(char ***ret, const Environment *environment, const char *command);

/* No name that a loader, a shell, systemd or a common library gives a meaning to. `size`: of the name. */
bool environment_name_is_safe(const char *name, size_t size);
