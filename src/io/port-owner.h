#pragma once

/* PortOwner: which program of the host has a port, as far as the kernel tells everybody: its user, and its control group, which
 * under systemd is its unit. Reads /sys/fs/cgroup, which takes some milliseconds. */

#include <netinet/in.h>
#include "util/macro.h"

typedef enum PortTransport {
        PORT_TCP,
        PORT_UDP,
        PORT_TCP_OR_UDP,
        _PORT_TRANSPORT_MAX,
        _PORT_TRANSPORT_INVALID = -EINVAL,
} PortTransport;

typedef struct PortAddress {
        PortTransport transport;
        int family; /* AF_INET, AF_INET6; AF_UNSPEC: not known which address */
        union {
                struct in_addr ipv4;
                struct in6_addr ipv6;
        };
        uint16_t port;
} PortAddress;

typedef struct PortOwner {
        uid_t uid;
        char *user; /* NULL: it has no name */
        char *unit; /* the last part of the control group that names one; NULL: not known */
} PortOwner;

void port_owner_done(PortOwner *owner);

/* 1 if a socket stands in the way of one that would be bound to `address`, 0 if none does. */
int port_owner_find(PortOwner *ret, const PortAddress *address);

/* For tests. Looks below `root` for the folder with this inode number, and returns the unit that its path names: 1, or 0 if there is
 * none. */
int port_owner_find_unit(const char *root, uint64_t inode, char **ret);
