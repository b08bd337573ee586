#pragma once

/* UdpFlow: what one client sends to one of our addresses, and gets back. UdpFlows: all of them, by their key and by
 * when they were last used. */

#include <netinet/in.h>
#include "front/reactor.h"
#include "front/udp-queue.h"

/* IPv4 addresses are written as IPv6 ones ("mapped"). No padding: compared and hashed as bytes. */
typedef struct UdpKey {
        struct in6_addr client;
        struct in6_addr local; /* where the client sent to, and replies come from */
        uint32_t scope; /* interface of a link-local client, else 0 */
        uint16_t port; /* the client's, as it is on the wire */
        uint16_t socket; /* index of the listening one */
} UdpKey;

typedef struct UdpFlow UdpFlow;

struct UdpFlow {
        UdpKey key;
        UdpFlow *next; /* in its bucket */
        TAILQ_ENTRY(UdpFlow) entry;
        uint64_t used_usec; /* CLOCK_MONOTONIC */
        UdpShare share; /* of the datagrams that wait */
        int fd; /* connected to the backend, or -EBADF */
        unsigned generation; /* of the backend's address that it is connected to */
        Watch watch;
        void *owner; /* borrowed */
};

typedef struct UdpFlows {
        UdpFlow **buckets;
        size_t n_buckets; /* a power of two */
        size_t n;
        TAILQ_HEAD(UdpFlowOrder, UdpFlow) order; /* the one that has been idle for longest comes first */
        uint64_t secret[2];
} UdpFlows;

/* A table that serves `n_max` flows well. */
int udp_flows_init(UdpFlows *flows, size_t n_max);
/* All flows must have been removed. */
void udp_flows_done(UdpFlows *flows);

UdpFlow *udp_flows_find(const UdpFlows *flows, const UdpKey *key);
/* A new flow, without a descriptor and in the table. NULL: out of memory. */
UdpFlow *udp_flows_add(UdpFlows *flows, const UdpKey *key, uint64_t now_usec);
/* Frees it; its datagrams, watch and descriptor must be gone. */
void udp_flows_remove(UdpFlows *flows, UdpFlow *flow);
void udp_flows_touch(UdpFlows *flows, UdpFlow *flow, uint64_t now_usec);
/* NULL: there is none. */
UdpFlow *udp_flows_oldest(const UdpFlows *flows);
