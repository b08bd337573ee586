#pragma once

/* Attachments: which containers of a service have to be connected to which networks before they can reach each other. */

#include "engine/engine.h"
#include "model/service.h"

typedef struct Attachment {
        size_t member; /* index of the dependency */
        const char *network; /* borrowed from the service */
} Attachment;

/* For a service with crossNetworkDeps: each container is on the network that the file says it lives on, and the main container
 * shares a network with each other one (which is attached to the service's network if it shares none). Without
 * crossNetworkDeps, and for containers on the host's, another container's or no network: nothing. `infos` has one entry for each
 * dependency, NULL for those without a container. The caller frees the list. */
int attachments_find(Attachment **ret, size_t *ret_n, const Service *service, const ContainerInfo *const *infos);
