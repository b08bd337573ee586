#pragma once

/* Conntrack: the flows of UDP that the kernel knows, and that it goes on treating as their first datagram. Of the caller's network namespace. */

#include "net/netlink.h"

typedef struct ConntrackFlow {
        int family;
        uint8_t from[16], to[16]; /* the client, and what it sends to: 4 bytes of IPv4 */
        uint8_t server[16]; /* who gets it */
        uint16_t to_port, server_port;
        uint64_t silent_usec; /* how long nothing has moved, up to a second too long */
        const void *tuple; /* borrowed, for conntrack_forget() */
} ConntrackFlow;

/* A negative return ends the list. */
typedef int (*ConntrackHandler)(const ConntrackFlow *flow, void *userdata);

int conntrack_list(ConntrackHandler handler, void *userdata);
/* The next datagram begins a new one. 0 also if there is none any more. */
int conntrack_forget(const ConntrackFlow *flow);
