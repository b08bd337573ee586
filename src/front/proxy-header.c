#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>

#include "front/proxy-header.h"

/* PROXY protocol, as haproxy's proxy-protocol.txt defines it. A socket that listens for both families shows IPv4 clients
 * as IPv6 addresses; they are given as what they are. A Unix socket's client has no address: version 1 says UNKNOWN,
 * version 2 LOCAL, which every reader understands, while haproxy 2.6 closes on the version's AF_UNIX. */

#define V2_UNSPEC 0x00
#define V2_TCP4 0x11
#define V2_TCP6 0x21
#define V2_LOCAL 0x20 /* version 2, as if for ourselves */
#define V2_PROXY 0x21 /* for somebody else */

typedef struct Endpoint {
        int family; /* AF_UNSPEC: without words here */
        union {
                struct in_addr ipv4;
                struct in6_addr ipv6;
        };
        uint16_t port; /* network byte order */
} Endpoint;

static Endpoint endpoint_make(const struct sockaddr *address, socklen_t size) {
        Endpoint endpoint = { .family = AF_UNSPEC };
        struct sockaddr_storage storage = {};
        const struct sockaddr_in *in = (const struct sockaddr_in *) &storage;
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *) &storage;

        memcpy(&storage, address, MIN((size_t) size, sizeof(storage)));
        switch (storage.ss_family) {
        case AF_INET:
                endpoint = (Endpoint){ .family = AF_INET, .ipv4 = in->sin_addr, .port = in->sin_port };
                break;
        case AF_INET6:
                endpoint = (Endpoint){ .family = AF_INET6, .ipv6 = in6->sin6_addr, .port = in6->sin6_port };
                if (IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr)) {
                        endpoint.family = AF_INET;
                        memcpy(&endpoint.ipv4, &in6->sin6_addr.s6_addr[12], sizeof(endpoint.ipv4));
                }
        }
        return endpoint;
}

static size_t make_v1(uint8_t *ret, const Endpoint *peer, const Endpoint *own) {
        char from[INET6_ADDRSTRLEN], to[INET6_ADDRSTRLEN];
        int n;

        if (peer->family != AF_UNSPEC && inet_ntop(peer->family, &peer->ipv6, from, sizeof(from)) &&
            inet_ntop(own->family, &own->ipv6, to, sizeof(to)))
                n = snprintf((char *) ret, PROXY_HEADER_MAX, "PROXY %s %s %s %u %u\r\n",
                             peer->family == AF_INET ? "TCP4" : "TCP6", from, to, ntohs(peer->port),
                             ntohs(own->port));
        else
                n = snprintf((char *) ret, PROXY_HEADER_MAX, "PROXY UNKNOWN\r\n");
        return (size_t) n;
}

static size_t make_v2(uint8_t *ret, const Endpoint *peer, const Endpoint *own) {
        static const uint8_t signature[] = "\r\n\r\n\0\r\nQUIT\n";
        bool known = peer->family != AF_UNSPEC, ipv4 = peer->family == AF_INET;
        size_t size = ipv4 ? sizeof(struct in_addr) : sizeof(struct in6_addr);
        uint8_t *end = mempcpy(ret, signature, sizeof(signature) - 1);

        *end++ = known ? V2_PROXY : V2_LOCAL;
        *end++ = !known ? V2_UNSPEC : ipv4 ? V2_TCP4 : V2_TCP6;
        *end++ = 0; /* the size of what follows, of two bytes */
        *end++ = known ? (uint8_t) (2 * (size + sizeof(in_port_t))) : 0;
        if (!known)
                return (size_t) (end - ret);
        end = mempcpy(end, &peer->ipv6, size);
        end = mempcpy(end, &own->ipv6, size);
        end = mempcpy(end, &peer->port, sizeof(in_port_t));
        end = mempcpy(end, &own->port, sizeof(in_port_t));
        return (size_t) (end - ret);
}

size_t proxy_header_make(uint8_t ret[static PROXY_HEADER_MAX], int version, const struct sockaddr *peer,
                         socklen_t peer_size, const struct sockaddr *own, socklen_t own_size) {
        Endpoint from = endpoint_make(peer, peer_size), to = endpoint_make(own, own_size);

        assert(version == 1 || version == 2);

        if (from.family != to.family)
                from.family = to.family = AF_UNSPEC;
        return version == 1 ? make_v1(ret, &from, &to) : make_v2(ret, &from, &to);
}
