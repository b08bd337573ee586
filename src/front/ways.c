#include <arpa/inet.h>
#include <linux/netfilter_ipv4.h>
#include <netinet/in.h>

#include "front/ways.h"
#include "util/log.h"

/* Ways. All TCP ports of a service lead to its one redirect socket; the kernel remembers with the connection where it was to go to (SO_ORIGINAL_DST).
 * A client that came by a name of a sleeping container wanted the virtual address, and whatever port: that is one of the container.
 * Where nothing was redirected, as in proxy mode, that is where it was accepted. Nobody is asked as long as there is nothing to choose. */

#define SO_ORIGINAL_DST6 80 /* IP6T_SO_ORIGINAL_DST, of a header that does not go with <netinet/in.h> */

typedef struct Way {
        Address address; /* AF_UNSPEC: any */
        in_port_t port; /* in network order, as in the address */
        bool udp;
        Backends *backends; /* NULL: nobody accepts there yet */
} Way;

/* Those of a virtual address, made when somebody wants them. */
typedef struct VirtualWays {
        Address address;
        Backends *backends; /* whatever their port */
        Way *ways;
        size_t n;
} VirtualWays;

#define VIRTUAL_MAX 1024U /* ports; whoever wants one more gets that of the status: nobody has so many */

struct Ways {
        Backends *backends; /* the service's */
        VirtualWays *virtual;
        size_t n_virtual;
        Way *ways;
        size_t n;
};

static in_port_t port_of(const Address *address) {
        return address->any.sa_family == AF_INET ? ((const struct sockaddr_in *) &address->storage)->sin_port
                                                 : ((const struct sockaddr_in6 *) &address->storage)->sin6_port;
}

static bool is_wildcard(const Address *address) {
        const struct sockaddr_in *in = (const struct sockaddr_in *) &address->storage;
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *) &address->storage;

        return address->any.sa_family == AF_INET ? in->sin_addr.s_addr == htonl(INADDR_ANY)
                                                 : IN6_IS_ADDR_UNSPECIFIED(&in6->sin6_addr);
}

static bool is_same_host(const Address *a, const Address *b) {
        const struct sockaddr_in *in_a = (const struct sockaddr_in *) &a->storage,
                                 *in_b = (const struct sockaddr_in *) &b->storage;
        const struct sockaddr_in6 *in6_a = (const struct sockaddr_in6 *) &a->storage,
                                  *in6_b = (const struct sockaddr_in6 *) &b->storage;

        if (a->any.sa_family != b->any.sa_family)
                return false;
        return a->any.sa_family == AF_INET ? in_a->sin_addr.s_addr == in_b->sin_addr.s_addr
                                           : IN6_ARE_ADDR_EQUAL(&in6_a->sin6_addr, &in6_b->sin6_addr);
}

/* How well it fits: 0 not at all, then any address, all of a family, this one. */
static unsigned way_fit(const Way *way, const Address *wanted, bool udp) {
        if (way->port != port_of(wanted) || way->udp != udp)
                return 0;
        if (way->address.any.sa_family == AF_UNSPEC)
                return 1;
        if (is_wildcard(&way->address))
                return way->address.any.sa_family == wanted->any.sa_family ? 2 : 0;
        return is_same_host(&way->address, wanted) ? 3 : 0;
}

static bool host_parse(Address *ret, const char *text) {
        struct sockaddr_in in = { .sin_family = AF_INET };
        struct sockaddr_in6 in6 = { .sin6_family = AF_INET6 };

        if (inet_pton(AF_INET, text, &in.sin_addr) == 1)
                memcpy(&ret->storage, &in, ret->size = sizeof(in));
        else if (inet_pton(AF_INET6, text, &in6.sin6_addr) == 1)
                memcpy(&ret->storage, &in6, ret->size = sizeof(in6));
        else
                return false;
        return true;
}

/* NULL: out of memory. */
static const Backends *virtual_find(VirtualWays *virtual, in_port_t port) {
        Backends *backends;
        Way *larger;

        for (size_t i = 0; i < virtual->n; i++)
                if (virtual->ways[i].port == port)
                        return virtual->ways[i].backends;
        if (virtual->n >= VIRTUAL_MAX)
                return virtual->backends;
        larger = reallocarray(virtual->ways, virtual->n + 1, sizeof(*larger));
        if (!larger)
                return NULL;
        virtual->ways = larger;
        backends = backends_at_port(virtual->backends, port);
        if (!backends)
                return NULL;
        larger[virtual->n++] = (Way){ .port = port, .backends = backends };
        return backends;
}

static void virtual_done(VirtualWays *virtual) {
        for (size_t i = 0; i < virtual->n; i++)
                backends_free(virtual->ways[i].backends);
        free(virtual->ways);
        backends_free(virtual->backends);
}

static int add_virtual(Ways *ways, const Status *status) {
        int r = 0;

        ways->virtual = new0(VirtualWays, status->n_names + 1);
        if (!ways->virtual)
                return -ENOMEM;
        for (size_t i = 0; i < status->n_names && r >= 0; i++) {
                VirtualWays *virtual = &ways->virtual[ways->n_virtual];

                if (!host_parse(&virtual->address, status->names[i].address))
                        continue;
                r = backends_new(&virtual->backends, status->names[i].backends);
                ways->n_virtual++;
        }
        return r;
}

int ways_new(Ways **ret, const Status *status) {
        _cleanup_(ways_freep) Ways *ways = new0(Ways, 1);
        int r;

        assert(ret);

        if (!ways)
                return -ENOMEM;
        ways->ways = new0(Way, status->n_ports + 1);
        if (!ways->ways)
                return -ENOMEM;
        r = backends_new(&ways->backends, status->backends);
        if (r >= 0)
                r = add_virtual(ways, status);
        for (size_t i = 0; i < status->n_ports && r >= 0; i++) {
                const PortStatus *port = &status->ports[i];
                Way way = { .port = htons(port->port), .udp = port->udp };

                if (port->address && !host_parse(&way.address, port->address)) {
                        log_debug("'%s' is no address of the host, ignoring.", port->address);
                        continue;
                }
                if (port->accepts)
                        r = backends_new(&way.backends, port->backends);
                if (r >= 0)
                        ways->ways[ways->n++] = way;
        }
        if (r < 0)
                return r;
        *ret = TAKE_PTR(ways);
        return 0;
}

Ways *ways_free(Ways *ways) {
        if (!ways)
                return NULL;

        for (size_t i = 0; i < ways->n; i++)
                backends_free(ways->ways[i].backends);
        for (size_t i = 0; i < ways->n_virtual; i++)
                virtual_done(&ways->virtual[i]);
        free(ways->virtual);
        free(ways->ways);
        backends_free(ways->backends);
        return mfree(ways);
}

bool ways_equal(const Ways *a, const Ways *b) {
        if (!a || !b || a->n != b->n || a->n_virtual != b->n_virtual || !backends_equal(a->backends, b->backends))
                return false;
        for (size_t i = 0; i < a->n_virtual; i++)
                if (!is_same_host(&a->virtual[i].address, &b->virtual[i].address) ||
                    !backends_equal(a->virtual[i].backends, b->virtual[i].backends))
                        return false;
        for (size_t i = 0; i < a->n; i++) {
                const Way *way_a = &a->ways[i], *way_b = &b->ways[i];

                if (way_a->port != way_b->port || way_a->udp != way_b->udp ||
                    !addresses_equal(&way_a->address, 1, &way_b->address, 1) ||
                    (way_a->backends || way_b->backends) != backends_equal(way_a->backends, way_b->backends))
                        return false;
        }
        return true;
}

const Backends *ways_find(const Ways *ways, const Address *wanted, bool udp) {
        const Backends *found = ways->backends;
        unsigned best = 0;

        for (size_t i = 0; i < ways->n_virtual && !udp; i++)
                if (is_same_host(&ways->virtual[i].address, wanted))
                        return virtual_find(&ways->virtual[i], port_of(wanted));
        for (size_t i = 0; i < ways->n; i++) {
                unsigned fit = way_fit(&ways->ways[i], wanted, udp);

                if (fit <= best)
                        continue;
                best = fit;
                found = ways->ways[i].backends;
        }
        return found;
}

const Backends *ways_find_client(const Ways *ways, int fd) {
        Address wanted;

        return (ways->n > 0 || ways->n_virtual > 0) && wanted_address(fd, &wanted)
                               ? ways_find(ways, &wanted, /* udp= */ false)
                               : ways->backends;
}

/* A socket of both families has clients of IPv4 with mapped addresses. */
static void unmap(Address *address) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *) &address->storage;
        struct sockaddr_in in = { .sin_family = AF_INET };

        if (address->any.sa_family != AF_INET6 || !IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr))
                return;
        in.sin_port = in6->sin6_port;
        memcpy(&in.sin_addr, &in6->sin6_addr.s6_addr[12], sizeof(in.sin_addr));
        *address = (Address){};
        memcpy(&address->storage, &in, address->size = sizeof(in));
}

bool wanted_address(int fd, Address *ret) {
        Address own = { .size = sizeof(own.storage) }, wanted = { .size = sizeof(wanted.storage) };
        bool ipv4;

        if (getsockname(fd, &own.any, &own.size) < 0)
                return false;
        unmap(&own);
        if (own.any.sa_family != AF_INET && own.any.sa_family != AF_INET6)
                return false;
        ipv4 = own.any.sa_family == AF_INET;
        if (getsockopt(fd, ipv4 ? SOL_IP : SOL_IPV6, ipv4 ? SO_ORIGINAL_DST : SO_ORIGINAL_DST6, &wanted.storage,
                       &wanted.size) < 0)
                *ret = own;
        else {
                /* The kernel does not say how long it is. */
                wanted.size = ipv4 ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
                *ret = wanted;
        }
        return true;
}
