#pragma once

/* Running: which stacks run already, and are to be watched over by a waker, although nobody has woken them. */

#include "io/survey.h"
#include "model/service.h"
#include "util/strv.h"

/* How long an engine that is there may take until it answers. */
#define RUNNING_PATIENCE (30 * USEC_PER_SEC)

typedef struct Running {
        char **services; /* whose containers run: the one that clients want to reach, or one that we started before the boot */
        char **orphans; /* containers that run and that we started for a service that has them no more */
        char **gone; /* containers that we started, and that do not run: nothing has to be remembered of them */
        size_t n_unanswered; /* containers that the engine has not told about */
} Running;

void running_done(Running *running);
/* Asks the engine, and blocks for at most `patience_usec`; not at all if there is no engine, or nothing to ask. */
int running_find(Running *ret, const Config *config, const char *root, uint64_t patience_usec);
/* Forgets that we had started them. */
void running_forget_gone(const Running *running, const char *root);
