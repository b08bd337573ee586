#include "front/udp/udp-socket.h"
#include "front/udp/udp-ways.h"

/* UdpWays: a kernel tells nobody where a datagram was sent to before it was redirected, but the socket that it came in by does. */

typedef struct UdpWay {
        Udp *udp;
        Address wanted;
} UdpWay;

struct UdpWays {
        UdpWay *list;
        size_t n;
};

int udp_ways_new(UdpWays **ret, Reactor *reactor, int first, size_t n, const PortManners *ports, size_t flows_max,
                 uint64_t timeout_usec, UdpAdmitHandler admit, UdpHandler handler, void *userdata) {
        _cleanup_(udp_ways_freep) UdpWays *ways = new0(UdpWays, 1);
        size_t n_sockets = udp_count_sockets(first, n);

        if (!ways)
                return -ENOMEM;
        ways->list = new0(UdpWay, n_sockets + 1);
        if (!ways->list)
                return -ENOMEM;
        for (int fd = first; fd < first + (int) n; fd++) {
                Address *wanted = &ways->list[ways->n].wanted;
                const PortManner *manner;
                int r;

                if (!udp_socket_is_one(fd))
                        continue;
                if (!wanted_address(fd, wanted))
                        return -EAFNOSUPPORT;
                manner = port_manners_find(ports, fd);
                if (manner && manner->udp > 0)
                        address_set_port(wanted, htons(manner->udp));
                r = udp_new(&ways->list[ways->n].udp, reactor, fd, 1, n_sockets, flows_max, timeout_usec, admit,
                            handler, userdata);
                if (r < 0)
                        return r;
                ways->n++;
        }
        *ret = TAKE_PTR(ways);
        return 0;
}

UdpWays *udp_ways_free(UdpWays *ways) {
        if (!ways)
                return NULL;

        for (size_t i = 0; i < ways->n; i++)
                udp_free(ways->list[i].udp);
        free(ways->list);
        return mfree(ways);
}

size_t udp_ways_count(const UdpWays *ways) {
        size_t n = 0;

        for (size_t i = 0; i < ways->n; i++)
                n += udp_count(ways->list[i].udp);
        return n;
}

size_t udp_ways_waiting(const UdpWays *ways) {
        size_t n = 0;

        for (size_t i = 0; i < ways->n; i++)
                n += udp_waiting(ways->list[i].udp);
        return n;
}

void udp_ways_forward(UdpWays *ways, const Ways *to) {
        for (size_t i = 0; i < ways->n; i++) {
                const Backends *backends = ways_find(to, &ways->list[i].wanted, /* udp= */ true);

                if (backends)
                        udp_forward(ways->list[i].udp, backends);
                else
                        udp_hold(ways->list[i].udp);
        }
}

void udp_ways_hold(UdpWays *ways) {
        for (size_t i = 0; i < ways->n; i++)
                udp_hold(ways->list[i].udp);
}

void udp_ways_drain(UdpWays *ways) {
        for (size_t i = 0; i < ways->n; i++)
                udp_drain(ways->list[i].udp);
}

void udp_ways_drop(UdpWays *ways) {
        for (size_t i = 0; i < ways->n; i++)
                udp_drop(ways->list[i].udp);
}
