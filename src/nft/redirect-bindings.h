#pragma once

/* Bindings: the host addresses that a service's container publishes its port on, as last seen on the engine. */

#include "engine/engine.h"
#include "model/service.h"

typedef struct RedirectBindings {
        bool known; /* false: loopback of both families */
        bool any_ipv4, any_ipv6; /* published on the wildcard address */
        char **addresses; /* published on these only, both families, as inet_ntop() writes them */
        char *publisher; /* the container that publishes the port, NULL: none does, or it is not known */
        char *seen; /* the containers that this was learned from, by their ids: as long as they are the same, so is this. NULL: not known */
} RedirectBindings;

#define BINDINGS_FOLDER "/var/lib/wakechain/bindings"

void redirect_bindings_done(RedirectBindings *bindings);
/* From a container's port bindings: where it publishes `host_port` (TCP). Returns 1 if it does, 0 with `known`
 * = false if not. Addresses that are none are left out. */
int redirect_bindings_from_ports(RedirectBindings *ret, const PortBinding *bindings, size_t n, uint16_t host_port);
/* A missing or unreadable file gives `known` = false, `seen` = NULL, and 0. Only -ENOMEM fails. */
int redirect_bindings_load(RedirectBindings *ret, const char *root, const char *service);
/* Writes only if something changed, returns 1 if so. */
int redirect_bindings_save(const RedirectBindings *bindings, const char *root, const char *service);
