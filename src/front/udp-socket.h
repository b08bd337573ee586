#pragma once

/* UdpSocket: a datagram socket that PID 1 listens on, and the addresses of what comes in and goes out by it. */

#include <sys/socket.h>
#include "front/backend.h"
#include "front/udp-flow.h"

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
/* The other way round: fills in the name and control parts of a message, for which there is room in the last two. */
void udp_socket_set_key(const UdpSocket *socket, const UdpKey *key, struct msghdr *message, Address *address,
                        UdpControl *control);
/* Whether clients of that flow have sent to this very address. */
bool udp_socket_is_at(const UdpSocket *socket, const UdpKey *key, const Address *address);
