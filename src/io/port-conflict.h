#pragma once

/* PortConflict: who has the port that a container wants to publish: another container, or a program of the host. */

#include <systemd/sd-event.h>
#include "io/engine.h"
#include "io/port-owner.h"

typedef struct PortConflict PortConflict;

/* `sentence` says by whom the port is taken, as far as that can be told, and what to do; never NULL. Called once, never from
 * inside port_conflict_new(). The object may be freed from inside. */
typedef void (*PortConflictHandler)(PortConflict *conflict, const char *sentence, void *userdata);

/* `message` is the engine's refusal, which names the address and port. */
int port_conflict_new(PortConflict **ret, Engine *engine, const char *container, const char *message,
                      PortConflictHandler handler, void *userdata);
PortConflict *port_conflict_free(PortConflict *conflict);
DEFINE_CLEANUP(PortConflict *, port_conflict_free);

/* The address that a refusal names: 1, or 0 if it names none. For tests and the fuzzer. */
int port_conflict_parse(PortAddress *ret, const char *message);
