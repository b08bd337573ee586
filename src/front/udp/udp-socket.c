#include "front/udp/udp-socket.h"

/* UdpSocket: a socket on a wildcard address would answer from whatever address the way back begins with, and a client
 * that sent to another would not know the answer for one. So it is asked for the address that each datagram was sent
 * to (IP_PKTINFO, IPV6_PKTINFO; ip(7), ipv6(7)), and that is given back with each reply. One of IPv6 that takes IPv4
 * as well is asked for both: only the former tells which address of ours a broadcast came to. */

static const struct in6_addr *mapped(struct in6_addr *buffer, struct in_addr ipv4) {
        *buffer = (struct in6_addr){ .s6_addr = { [10] = 0xff, [11] = 0xff } };
        memcpy(buffer->s6_addr + 12, &ipv4, sizeof(ipv4));
        return buffer;
}

static struct in_addr unmapped(const struct in6_addr *address) {
        struct in_addr ipv4;

        memcpy(&ipv4, address->s6_addr + 12, sizeof(ipv4));
        return ipv4;
}

/* The address as IPv6, and the port. False: of another family. */
static bool address_split(const Address *address, struct in6_addr *ret, uint16_t *ret_port) {
        const struct sockaddr_in *in = (const struct sockaddr_in *) &address->storage;
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *) &address->storage;

        switch (address->any.sa_family) {
        case AF_INET:
                (void) mapped(ret, in->sin_addr);
                *ret_port = in->sin_port;
                return true;
        case AF_INET6:
                *ret = in6->sin6_addr;
                *ret_port = in6->sin6_port;
                return true;
        default:
                return false;
        }
}

bool udp_socket_is_one(int fd) {
        int type = 0, family = 0;
        socklen_t size = sizeof(type);

        return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) >= 0 && type == SOCK_DGRAM &&
               getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &size) >= 0 &&
               (family == AF_INET || family == AF_INET6);
}

int udp_socket_init(UdpSocket *socket, int fd, uint16_t index) {
        Address address = { .size = sizeof(address.storage) };
        struct in_addr any = { INADDR_ANY };
        struct in6_addr any_mapped;
        int yes = 1;

        *socket = (UdpSocket){ .fd = fd, .index = index };
        if (getsockname(fd, &address.any, &address.size) < 0)
                return -errno;
        if (!address_split(&address, &socket->bound, &socket->port))
                return -EAFNOSUPPORT;
        socket->ipv6 = address.any.sa_family == AF_INET6;
        socket->wildcard = IN6_IS_ADDR_UNSPECIFIED(&socket->bound) ||
                           IN6_ARE_ADDR_EQUAL(&socket->bound, mapped(&any_mapped, any));
        if (!socket->wildcard)
                return 0;

        if (socket->ipv6 && setsockopt(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &yes, sizeof(yes)) < 0)
                return -errno;
        /* Not to be had where there is no IPv4. */
        if (setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &yes, sizeof(yes)) < 0 && !socket->ipv6)
                return -errno;
        return 0;
}

static void find_local(const struct msghdr *message, struct in6_addr *ret) {
        struct msghdr *header = (struct msghdr *) message; /* the macros know no const */
        struct in6_pktinfo info6;
        struct in_pktinfo info;

        for (struct cmsghdr *control = CMSG_FIRSTHDR(header); control; control = CMSG_NXTHDR(header, control))
                if (control->cmsg_level == IPPROTO_IP && control->cmsg_type == IP_PKTINFO) {
                        memcpy(&info, CMSG_DATA(control), sizeof(info));
                        /* One that came before the option was set has only the address in its header. */
                        (void) mapped(ret, info.ipi_spec_dst.s_addr ? info.ipi_spec_dst : info.ipi_addr);
                        return;
                } else if (control->cmsg_level == IPPROTO_IPV6 && control->cmsg_type == IPV6_PKTINFO) {
                        memcpy(&info6, CMSG_DATA(control), sizeof(info6));
                        *ret = info6.ipi6_addr;
                }
}

int udp_socket_get_key(const UdpSocket *socket, const struct msghdr *message, UdpKey *ret) {
        UdpKey key = { .local = socket->bound, .socket = socket->index };
        Address client = {};

        if (message->msg_namelen > sizeof(client.storage))
                return -EINVAL;
        memcpy(&client.storage, message->msg_name, message->msg_namelen);
        if (!address_split(&client, &key.client, &key.port) || key.port == 0)
                return -EINVAL;
        if (client.any.sa_family == AF_INET6)
                key.scope = ((const struct sockaddr_in6 *) &client.storage)->sin6_scope_id;
        if (socket->wildcard)
                find_local(message, &key.local);
        /* A group cannot be answered from; the kernel chooses. */
        if (IN6_IS_ADDR_MULTICAST(&key.local))
                key.local = socket->bound;
        *ret = key;
        return 0;
}

/* The other way round: fills in the name and control parts of a message, for which there is room in the last two. */
static void udp_socket_set_key(const UdpSocket *socket, const UdpKey *key, struct msghdr *message,
                               Address *address, UdpControl *control) {
        struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = key->port };
        struct sockaddr_in6 in6 = { .sin6_family = AF_INET6, .sin6_port = key->port };
        struct in6_pktinfo info6 = { .ipi6_addr = key->local };
        struct in_pktinfo info = {};
        struct cmsghdr *header = &control->header;

        if (socket->ipv6) {
                in6.sin6_addr = key->client;
                in6.sin6_scope_id = key->scope;
                memcpy(&address->storage, &in6, sizeof(in6));
                address->size = sizeof(in6);
        } else {
                in.sin_addr = unmapped(&key->client);
                memcpy(&address->storage, &in, sizeof(in));
                address->size = sizeof(in);
        }
        message->msg_name = &address->any;
        message->msg_namelen = address->size;
        message->msg_control = NULL;
        message->msg_controllen = 0;
        if (!socket->wildcard || IN6_ARE_ADDR_EQUAL(&key->local, &socket->bound))
                return;

        *control = (UdpControl){};
        if (socket->ipv6) {
                header->cmsg_level = IPPROTO_IPV6;
                header->cmsg_type = IPV6_PKTINFO;
                header->cmsg_len = CMSG_LEN(sizeof(info6));
                message->msg_controllen = CMSG_SPACE(sizeof(info6));
                if (IN6_IS_ADDR_LINKLOCAL(&key->local))
                        info6.ipi6_ifindex = key->scope;
                memcpy(CMSG_DATA(header), &info6, sizeof(info6));
        } else {
                header->cmsg_level = IPPROTO_IP;
                header->cmsg_type = IP_PKTINFO;
                header->cmsg_len = CMSG_LEN(sizeof(info));
                message->msg_controllen = CMSG_SPACE(sizeof(info));
                info.ipi_spec_dst = unmapped(&key->local);
                memcpy(CMSG_DATA(header), &info, sizeof(info));
        }
        message->msg_control = control;
}

bool udp_socket_is_at(const UdpSocket *socket, const UdpKey *key, const Address *address) {
        struct in6_addr host;
        uint16_t port;

        return address_split(address, &host, &port) && port == socket->port &&
               IN6_ARE_ADDR_EQUAL(&host, &key->local);
}

/* UdpBatch: what the kernel changes in an entry is put right before the next use, and no more than that: a busy service
 * of many clients receives one datagram at a time from each. */

void udp_batch_init(UdpBatch *batch, UdpBuffers *buffers, bool addressed) {
        batch->buffers = buffers;
        batch->addressed = addressed;
        batch->n_used = UDP_BATCH_MAX;
}

static void udp_batch_reset(UdpBatch *batch) {
        for (size_t i = 0; i < batch->n_used; i++) {
                struct msghdr *header = &batch->messages[i].msg_hdr;

                batch->vectors[i] = (struct iovec){ (*batch->buffers)[i], UDP_DATAGRAM_MAX };
                *header = (struct msghdr){ .msg_iov = &batch->vectors[i], .msg_iovlen = 1 };
                if (!batch->addressed)
                        continue;
                header->msg_name = &batch->names[i];
                header->msg_namelen = sizeof(batch->names[i]);
                header->msg_control = &batch->controls[i];
                header->msg_controllen = sizeof(batch->controls[i]);
        }
        batch->n_used = 0;
}

int udp_batch_receive(UdpBatch *batch, int fd) {
        int n;

        udp_batch_reset(batch);
        n = recvmmsg(fd, batch->messages, UDP_BATCH_MAX, MSG_DONTWAIT, NULL);
        if (n < 0)
                return errno == EAGAIN || errno == EINTR ? 0 : -errno;
        batch->n_used = (size_t) n;
        return n;
}

void udp_batch_reply(UdpBatch *batch, const UdpSocket *socket, const UdpKey *key, size_t n) {
        struct msghdr header = {};
        UdpControl control;
        Address client;

        assert(n <= batch->n_used);

        udp_socket_set_key(socket, key, &header, &client, &control);
        header.msg_iovlen = 1;
        for (size_t i = 0; i < n; i++) {
                batch->vectors[i].iov_len = batch->messages[i].msg_len;
                header.msg_iov = &batch->vectors[i];
                batch->messages[i].msg_hdr = header;
        }
        for (size_t sent = 0; sent < n;) {
                int r = sendmmsg(socket->fd, batch->messages + sent, (unsigned) (n - sent),
                                 MSG_DONTWAIT | MSG_NOSIGNAL);

                /* One that cannot be sent is lost, and not the others. */
                sent += (size_t) MAX(r, 1);
        }
}
