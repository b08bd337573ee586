#pragma once

/* Progress: shows on standard error how wakes go on: on a terminal a line for each dependency that is drawn anew, elsewhere a line for each change. */

#include <systemd/sd-event.h>
#include "model/status.h"

typedef struct Progress Progress;

/* Of these services; the names are borrowed. */
int progress_new(Progress **ret, sd_event *event, char *const *names, size_t n);
Progress *progress_free(Progress *progress);
DEFINE_CLEANUP(Progress *, progress_free);

/* What the waker of the i-th says now. */
void progress_take(Progress *progress, size_t i, const Status *status);
/* Somebody else is going to write: what was drawn stays, or comes again below that. */
void progress_interrupt(Progress *progress, bool stays);
