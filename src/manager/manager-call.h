#pragma once

/* Calls of the running systemd over the system bus, each of which waits for the answer: for programs that do one thing after the other. */

#include "util/macro.h"

/* All return 0 once systemd has accepted it; -EACCES: polkit has refused it; another negative errno, why in `ret_sentence`, printable and the
 * caller's. */

/* Job mode "replace"; the job is not waited for. */
int manager_start(const char *unit, char **ret_sentence);
int manager_stop(const char *unit, char **ret_sentence);
/* Has it read all units again, and waits until it has. */
int manager_reload(char **ret_sentence);

typedef struct TransientService {
        const char *unit; /* "NAME.service" */
        const char *description;
        const char *user; /* and group */
        const char *slice;
        char *const *command; /* the program's path first */
} TransientService;

/* A unit that exists while it runs. Its program says when it is ready (sd_notify), and has all the time for that. */
int manager_start_transient(const TransientService *service, char **ret_sentence);

typedef struct ManagerUnit {
        char *name, *description;
} ManagerUnit;

/* Those in one of these states ("active", "failed" …), by a pattern of names as glob(7) has them. The caller frees, also after an error. */
int manager_list(ManagerUnit **ret, size_t *ret_n, char *const *states, const char *pattern);
/* "257.9-1~deb13u1". The caller frees. */
int manager_version(char **ret);
void manager_units_free(ManagerUnit *units, size_t n);
