#pragma once

/* UdpFlow: what one client sends to one of our addresses, and gets back. UdpFlows: all of them, by their key and by
 * when they were last used. UdpQueue: datagrams that wait for their backend, in the order in which they came, and each
 * flow's share of them; bounded for each share and in all, and where there is no room the oldest is dropped. */

#include <netinet/in.h>
#include "front/reactor.h"

typedef struct Datagram Datagram;
typedef struct UdpShare UdpShare;
typedef TAILQ_HEAD(DatagramList, Datagram) DatagramList;

struct Datagram {
        UdpShare *share;
        TAILQ_ENTRY(Datagram) entry;
        TAILQ_ENTRY(Datagram) share_entry;
        uint64_t number; /* from 1 */
        size_t size;
        uint8_t data[];
};

/* Embedded in what the datagrams belong to. */
struct UdpShare {
        void *owner; /* borrowed, for whoever sets it */
        DatagramList list;
        size_t n, bytes;
};

typedef struct UdpLimits {
        size_t n, bytes; /* in all */
        size_t share_n, share_bytes; /* for each share */
} UdpLimits;

typedef struct UdpQueue {
        UdpLimits limits;
        DatagramList list;
        size_t n, bytes, n_shares; /* shares that have any */
        uint64_t last_number;
} UdpQueue;

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

void udp_queue_init(UdpQueue *queue, const UdpLimits *limits);
void udp_share_init(UdpShare *share);

/* Returns how many others were dropped for it. A datagram larger than a share's limit is taken, alone. */
int udp_queue_append(UdpQueue *queue, UdpShare *share, const void *data, size_t size);
/* NULL: there is none. */
Datagram *udp_queue_first(const UdpQueue *queue);
void udp_queue_drop(UdpQueue *queue, Datagram *datagram);
void udp_queue_drop_share(UdpQueue *queue, UdpShare *share);
