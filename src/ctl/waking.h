#pragma once

/* Waking: wakes stacks from the command line and shows how it goes on. Each is held until it is awake, as a front holds it for its clients; or
 * from then on, too. The holds end with the process, the wakes do not: they belong to the wakers. */

#include <systemd/sd-event.h>
#include "ctl/ctl.h"

typedef struct Waking Waking;

/* Called when all have been woken or cannot be, with an exit code; and once more if they are kept and none is any more. What there is to be
 * said was said. Until the first call SIGINT and SIGTERM end the event loop. It may be called by waking_begin(). */
typedef void (*WakingHandler)(Waking *waking, int outcome, void *userdata);

/* All of it is borrowed. SIGINT and SIGTERM are blocked from then on. */
int waking_new(Waking **ret, sd_event *event, const CtlOptions *options, char *const *names, size_t n,
               WakingHandler handler, void *userdata);
Waking *waking_free(Waking *waking);
DEFINE_CLEANUP(Waking *, waking_free);

/* Holds them beyond their wake: until they are put to sleep, or the process ends. */
void waking_keep(Waking *waking);
void waking_begin(Waking *waking);
