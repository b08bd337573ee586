#pragma once

/* Sleeps: stacks that the API was asked to put to sleep. */

#include <systemd/sd-event.h>
#include "util/macro.h"

typedef struct Sleeps Sleeps;

/* The last one has ended. */
typedef void (*SleepsHandler)(Sleeps *sleeps, void *userdata);

int sleeps_new(Sleeps **ret, sd_event *event, const char *root, SleepsHandler on_idle, void *userdata);
Sleeps *sleeps_free(Sleeps *sleeps);
DEFINE_CLEANUP(Sleeps *, sleeps_free);

/* As `wakectl sleep`: whoever has started what runs. Negative: nobody can be asked (-ENOENT: the service has no control socket yet). */
int sleeps_begin(Sleeps *sleeps, const char *service);
size_t sleeps_length(const Sleeps *sleeps);
