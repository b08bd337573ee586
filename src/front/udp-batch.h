#pragma once

/* UdpBatch: the datagrams of one recvmmsg(), and their way on by one sendmmsg(). */

#include "front/udp-socket.h"

#define UDP_BATCH_MAX 32
#define UDP_DATAGRAM_MAX 65536

typedef uint8_t UdpBuffers[UDP_BATCH_MAX][UDP_DATAGRAM_MAX];

typedef struct UdpBatch {
        struct mmsghdr messages[UDP_BATCH_MAX];
        struct iovec vectors[UDP_BATCH_MAX];
        struct sockaddr_storage names[UDP_BATCH_MAX];
        UdpControl controls[UDP_BATCH_MAX];
        UdpBuffers *buffers; /* borrowed; of several batches, if only one is in use at a time */
        bool addressed; /* whether it wants to know where datagrams come from and go to */
        size_t n_used; /* entries that are not as they are to be for the next recvmmsg() */
} UdpBatch;

void udp_batch_init(UdpBatch *batch, UdpBuffers *buffers, bool addressed);
/* How many there were, in `messages`; 0: none for now. A negative errno may be about what was sent by that socket. */
int udp_batch_receive(UdpBatch *batch, int fd);
/* Sends the first `n` to the client of that flow. */
void udp_batch_reply(UdpBatch *batch, const UdpSocket *socket, const UdpKey *key, size_t n);
