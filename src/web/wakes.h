#pragma once

/* Wakes: wakes that were asked for by the API. Each stack is held until it is awake, or cannot be woken. */

#include <systemd/sd-event.h>
#include "util/macro.h"

typedef struct Wakes Wakes;

/* The last one has ended. */
typedef void (*WakesHandler)(Wakes *wakes, void *userdata);

int wakes_new(Wakes **ret, sd_event *event, const char *root, WakesHandler on_idle, void *userdata);
Wakes *wakes_free(Wakes *wakes);
DEFINE_CLEANUP(Wakes *, wakes_free);

/* Begins one; nothing to do if it is under way. Negative: nobody can be asked (-ENOENT: the service has no control socket yet). */
int wakes_begin(Wakes *wakes, const char *service);
size_t wakes_length(const Wakes *wakes);
