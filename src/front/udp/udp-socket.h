#pragma once

/* UdpSocket: a datagram socket that PID 1 listens on, and the addresses of what comes in and goes out by it. UdpBatch: the
 * datagrams of one recvmmsg(), and their way on by one sendmmsg(). */

#include <sys/socket.h>
#include "front/connector.h"
#include "front/udp/udp-flow.h"

typedef struct UdpSocket {
        int fd; /* borrowed */
        Watch watch;
        void *owner; /* borrowed, for whoever sets it, as the watch is */
        uint16_t index;
        bool ipv6; /* IPv4 clients have mapped addresses there */
        bool wildcard; /* it is told per datagram where it was sent to */
        struct in6_addr bound;
        uint16_t port; /* as it is on the wire */
} UdpSocket;

/* Room for what the kernel says about one datagram, and for what we say to it. */
typedef union UdpControl {
        struct cmsghdr header;
        uint8_t bytes[CMSG_SPACE(sizeof(struct in6_pktinfo)) + CMSG_SPACE(sizeof(struct in_pktinfo))];
} UdpControl;

/* Whether it is a datagram socket of an address family that has ports. */
bool udp_socket_is_one(int fd);
int udp_socket_init(UdpSocket *socket, int fd, uint16_t index);

/* Which flow a received datagram belongs to. -EINVAL: none, nobody could be answered. */
int udp_socket_get_key(const UdpSocket *socket, const struct msghdr *message, UdpKey *ret);
/* Whether clients of that flow have sent to this very address. */
bool udp_socket_is_at(const UdpSocket *socket, const UdpKey *key, const Address *address);

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
