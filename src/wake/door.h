#pragma once

/* Door: the published port of a service in redirect mode. Closed, new connections go to the front; open, straight to the
 * container. It also tells whether the port is in use while it is open. In proxy mode there is no door. */

#include <systemd/sd-event.h>
#include "io/redirect.h"
#include "io/socket-table.h"
#include "model/service.h"

typedef struct Door Door;

/* The door has moved, or could not (negative errno, logged already). May start the next move. */
typedef void (*DoorHandler)(Door *door, int error, void *userdata);

/* Closed or open, as the map has it: both moves are idempotent. `service` is borrowed. */
int door_new(Door **ret, sd_event *event, const Service *service, const char *root, DoorHandler handler,
             void *userdata);
Door *door_free(Door *door);
DEFINE_CLEANUP(Door *, door_free);

/* Loads what takes time. Worth doing while a container boots; otherwise the first move does it. */
void door_prepare(Door *door);

/* The addresses that the container publishes the port on; takes over what `bindings` holds. They are kept for the next boot. */
void door_set_bindings(Door *door, RedirectBindings *bindings);

#define DOOR_OWN_MAX 64

/* One move at a time; a new one replaces one that still waits for its lock. `own` are the stack's own containers, which do not
 * use it; no more than DOOR_OWN_MAX. */
void door_open(Door *door, const AddressPrefix *own, size_t n_own);
void door_close(Door *door);
bool door_is_open(const Door *door);

/* Has anybody used the open port since the last look? `pid` and `port` are the container's. Its own stack has not, by
 * whatever address, nor has anybody whom the service ignores. A look that
 * fails counts as use: better awake for nothing than asleep under somebody's feet. */
bool door_look(Door *door, pid_t pid, uint16_t port, const AddressPrefix *own, size_t n_own);
