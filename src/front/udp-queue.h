#pragma once

/* UdpQueue: datagrams that wait for their backend, in the order in which they came, and each flow's share of them.
 * Bounded for each share and in all; where there is no room the oldest is dropped. */

#include <sys/queue.h>
#include "util/macro.h"

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

void udp_queue_init(UdpQueue *queue, const UdpLimits *limits);
void udp_share_init(UdpShare *share);

/* Returns how many others were dropped for it. A datagram larger than a share's limit is taken, alone. */
int udp_queue_append(UdpQueue *queue, UdpShare *share, const void *data, size_t size);
/* NULL: there is none. */
Datagram *udp_queue_first(const UdpQueue *queue);
void udp_queue_drop(UdpQueue *queue, Datagram *datagram);
void udp_queue_drop_share(UdpQueue *queue, UdpShare *share);
