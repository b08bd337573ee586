#pragma once

/* ProbeAddress: where a container can be asked from the host. */

#include <sys/socket.h>
#include "engine/engine.h"
#include "util/macro.h"

/* The container's address on `network`, IPv4 before IPv6; if it is not on it, or that is NULL, on any other
 * network; 127.0.0.1 with the host's network. The caller's. -ENXIO if it has none; then `ret_why` says why. */
int probe_address_find(const ContainerInfo *info, const char *network, char **ret, const char **ret_why);

/* `target` is "port" or "address:port" ("[address]:port"); the container's address is used for the first.
 * -EINVAL if it is neither. */
int probe_address_tcp(const char *target, const ContainerInfo *info, const char *network,
                      struct sockaddr_storage *ret, socklen_t *ret_size, const char **ret_why);
/* `target` is a URL; one without a host ("http://:8080/health"), or a path alone ("/health", of
 * `default_port`), gets the container's address. */
int probe_address_http(const char *target, const ContainerInfo *info, const char *network, uint16_t default_port,
                       char **ret, const char **ret_why);
