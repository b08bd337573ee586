#pragma once

/* Idle: looks now and then whether anybody uses the stack, and says when nobody has for long enough. A look counts as use at the
 * moment of the look, so a stack never sleeps earlier than its timeout after the last use. */

#include <systemd/sd-event.h>
#include "util/macro.h"

typedef struct Idle Idle;

typedef bool (*IdleLook)(void *userdata);
/* Called once per timeout; idle_touch() starts anew. */
typedef void (*IdleHandler)(Idle *idle, void *userdata);

/* Counts from now. `timeout_usec` > 0. */
int idle_new(Idle **ret, sd_event *event, uint64_t timeout_usec, IdleLook look, IdleHandler handler,
             void *userdata);
Idle *idle_free(Idle *idle);
DEFINE_CLEANUP(Idle *, idle_free);

/* It is used right now. */
void idle_touch(Idle *idle);
