#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>

#include "front/connector.h"
#include "util/address.h"
#include "util/fd.h"
#include "util/log.h"
#include "util/time.h"

/* Connector: one attempt at a time. A socket is connected when its first event is no error. An address that refuses
 * hands over to the next at once; after the last comes a pause that grows from 10 to 250 ms. An address that does not
 * answer at all holds up the others for a second only. When descriptors or memory run out, the time allowed stands
 * still, and whoever waited for them is served first as others end.
 *
 * A connection to a loopback port where nobody listens may, once in some ten thousand tries, meet itself: the
 * kernel picks the very port as its source. Such a connection is one more refusal. */

#define PAUSE_MIN_USEC (10 * USEC_PER_MSEC)
#define PAUSE_MAX_USEC (250 * USEC_PER_MSEC)
#define PATIENCE_USEC USEC_PER_SEC /* with an address when there are others */
#define ACCURACY_USEC USEC_PER_MSEC
#define EPHEMERAL_PORT_MIN 1024 /* the smallest that an administrator may have chosen */

struct Backends {
        size_t n;
        Address addresses[];
};

typedef TAILQ_HEAD(ConnectorList, Connector) ConnectorList;

struct Connector {
        Connectors *connectors; /* borrowed */
        TAILQ_ENTRY(Connector) entry;
        bool due;
        bool exhausted; /* waits for a descriptor or memory */
        const Backends *backends; /* borrowed */
        Watch *watch; /* borrowed */
        uint32_t wanted_events, events;
        size_t index; /* the address that is being tried, or n: pausing */
        int fd;
        int error;
        uint64_t due_usec; /* the end of this attempt, or of the pause */
        uint64_t deadline_usec;
        uint64_t pause_usec;
        ConnectorHandler handler;
        void *userdata;
};

struct Connectors {
        Reactor *reactor; /* borrowed */
        ConnectorList lists[2]; /* the second: those that are due, while the timer's handler goes through them */
        sd_event_source *timer;
        uint64_t due_usec; /* the timer's; USEC_INFINITY: off */
        unsigned port_min; /* ports from which the kernel takes those of connections; 0: not known yet */
        unsigned port_max;
        size_t n_exhausted;
        ConnectorsExhaustedHandler on_exhausted;
        void *userdata;
};

int address_parse(Address *ret, const char *text) {
        struct sockaddr_in6 in6 = { .sin6_family = AF_INET6 };
        struct sockaddr_in in = { .sin_family = AF_INET };
        _cleanup_free_ char *host = NULL;
        Address address = {};
        uint16_t port;
        int r;

        assert(ret);
        assert(text);

        if (text[0] == '/') {
                if (strlen(text) >= sizeof(address.un.sun_path))
                        return -EINVAL;
                address.un.sun_family = AF_UNIX;
                strcpy(address.un.sun_path, text);
                address.size = sizeof(address.un);
                *ret = address;
                return 0;
        }

        r = host_and_port_from_string(&host, &port, text);
        if (r < 0)
                return r;
        in.sin_port = in6.sin6_port = htons(port);
        if (text[0] == '[' && inet_pton(AF_INET6, host, &in6.sin6_addr) == 1)
                memcpy(&address.storage, &in6, address.size = sizeof(in6));
        else if (text[0] != '[' && inet_pton(AF_INET, host, &in.sin_addr) == 1)
                memcpy(&address.storage, &in, address.size = sizeof(in));
        else
                return -EINVAL;
        *ret = address;
        return 0;
}

int backends_new(Backends **ret, char *const *texts) {
        size_t n = 0;
        Backends *backends;

        assert(ret);

        while (texts && texts[n])
                n++;
        backends = calloc(1, sizeof(*backends) + n * sizeof(Address));
        if (!backends)
                return -ENOMEM;

        for (; texts && *texts; texts++)
                if (address_parse(&backends->addresses[backends->n], *texts) >= 0)
                        backends->n++;
                else
                        log_debug("'%s' is no address of a backend, ignoring.", *texts);
        *ret = backends;
        return 0;
}

void address_set_port(Address *address, in_port_t port) {
        if (address->any.sa_family == AF_INET)
                ((struct sockaddr_in *) &address->storage)->sin_port = port;
        else if (address->any.sa_family == AF_INET6)
                ((struct sockaddr_in6 *) &address->storage)->sin6_port = port;
}

Backends *backends_at_port(const Backends *backends, in_port_t port) {
        const size_t size = sizeof(*backends) + backends->n * sizeof(Address);
        Backends *copy = malloc(size);

        if (!copy)
                return NULL;
        memcpy(copy, backends, size);
        for (size_t i = 0; i < copy->n; i++)
                address_set_port(&copy->addresses[i], port);
        return copy;
}

Backends *backends_free(Backends *backends) {
        return mfree(backends);
}

bool addresses_equal(const Address *a, size_t n_a, const Address *b, size_t n_b) {
        bool equal = n_a == n_b;

        for (size_t i = 0; equal && i < n_a; i++)
                equal = a[i].size == b[i].size && memcmp(&a[i].storage, &b[i].storage, a[i].size) == 0;
        return equal;
}

bool backends_equal(const Backends *a, const Backends *b) {
        return a && b && addresses_equal(a->addresses, a->n, b->addresses, b->n);
}

size_t backends_copy_inet(const Backends *backends, Address *ret, size_t max) {
        size_t n = 0;

        for (size_t i = 0; i < backends->n && n < max; i++)
                if (backends->addresses[i].any.sa_family != AF_UNIX)
                        ret[n++] = backends->addresses[i];
        return n;
}

static void connector_drop_fd(Connector *connector) {
        if (connector->fd < 0)
                return;
        reactor_forget(connector->connectors->reactor, connector->watch);
        connector->fd = connector->watch->fd = fd_close(connector->fd);
}

/* The handler is the last thing: it may free the connector. */
static void connector_finish(Connector *connector, int fd) {
        connector->due_usec = USEC_INFINITY;
        connector->handler(connector, fd, connector->userdata);
}

/* One timer for all. It is set for the first that is due, and left as it is when that one needs it no more: most
 * connections are made long before, and arming a timer is a system call. */
static int connectors_arm(Connectors *connectors, uint64_t due_usec) {
        int r;

        if (due_usec >= connectors->due_usec)
                return 0;
        reactor_wake_event(connectors->reactor);
        r = sd_event_source_set_time(connectors->timer, due_usec);
        if (r >= 0)
                r = sd_event_source_set_enabled(connectors->timer, SD_EVENT_ONESHOT);
        if (r >= 0)
                connectors->due_usec = due_usec;
        return r;
}

static int connector_set_due(Connector *connector, uint64_t due_usec) {
        connector->due_usec = MIN(due_usec, connector->deadline_usec);
        return connectors_arm(connector->connectors, connector->due_usec);
}

static void connector_move(Connector *connector, bool due) {
        TAILQ_REMOVE(&connector->connectors->lists[connector->due], connector, entry);
        connector->due = due;
        TAILQ_INSERT_TAIL(&connector->connectors->lists[due], connector, entry);
}

static void connector_set_exhausted(Connector *connector, bool exhausted) {
        connector->connectors->n_exhausted += (size_t) exhausted - (size_t) connector->exhausted;
        connector->exhausted = exhausted;
}

static bool is_exhausted(int error) {
        return error == -EMFILE || error == -ENFILE || error == -ENOMEM || error == -ENOBUFS;
}

static void connector_on_event(Watch *watch, uint32_t events);

/* One attempt. 0: under way. */
static int connector_connect(Connector *connector, const Address *address) {
        connector->fd = socket(address->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (connector->fd < 0)
                return -errno;
        if (connect(connector->fd, &address->any, address->size) < 0 && errno != EINPROGRESS)
                return -errno;
        /* Also when it is connected already: the handler is called from the loop only. */
        *connector->watch = (Watch){ .handler = connector_on_event, .userdata = connector, .quiet = true };
        return reactor_add(connector->connectors->reactor, connector->watch, connector->fd,
                           connector->wanted_events | EPOLLOUT);
}

/* A negative errno only if there is no timer to be had. */
static int connector_try(Connector *connector) {
        const Backends *backends = connector->backends;
        uint64_t now = time_now(CLOCK_MONOTONIC), pause_usec = connector->pause_usec;

        connector_set_exhausted(connector, false);
        for (; connector->index < backends->n; connector->index++) {
                int r;

                r = connector_connect(connector, &backends->addresses[connector->index]);
                if (r >= 0)
                        return connector_set_due(connector,
                                                 backends->n > 1 ? now + PATIENCE_USEC : connector->deadline_usec);
                connector->error = r;
                connector_drop_fd(connector);
                if (is_exhausted(r)) {
                        /* No backend's fault. */
                        connector_set_exhausted(connector, true);
                        connector->index = backends->n;
                        connector->deadline_usec = now + CONNECTOR_TIMEOUT_USEC;
                        connector->connectors->on_exhausted(r, connector->connectors->userdata);
                        break;
                }
        }

        connector->pause_usec = MIN(2 * pause_usec, PAUSE_MAX_USEC);
        return connector_set_due(connector, now + pause_usec);
}

static void connector_go_on(Connector *connector, size_t index) {
        int r;

        connector->index = index;
        r = connector_try(connector);
        if (r < 0)
                connector_finish(connector, r);
}

void connectors_resume(Connectors *connectors) {
        Connector *connector;

        if (connectors->n_exhausted == 0)
                return;
        TAILQ_FOREACH(connector, &connectors->lists[false], entry)
                if (connector->exhausted) {
                        connector_go_on(connector, 0);
                        break;
                }
}

static void connector_time_out(Connector *connector, uint64_t now) {
        if (connector->index < connector->backends->n) {
                connector->error = -ETIMEDOUT;
                connector_drop_fd(connector);
        }
        if (now >= connector->deadline_usec)
                connector_finish(connector, connector->error);
        else
                /* One past the last address is the pause, and after the pause the first. */
                connector_go_on(connector, connector->index < connector->backends->n ? connector->index + 1 : 0);
}

static int connectors_on_timer(sd_event_source *source, uint64_t usec, void *userdata) {
        Connectors *connectors = ASSERT_PTR(userdata);
        uint64_t now = time_now(CLOCK_MONOTONIC), due_usec = USEC_INFINITY;
        Connector *connector, *next;
        int r;

        /* First all that are due, by themselves, for the handler of one may free another. */
        for (connector = TAILQ_FIRST(&connectors->lists[false]); connector; connector = next) {
                next = TAILQ_NEXT(connector, entry);
                if (connector->due_usec <= now)
                        connector_move(connector, true);
        }
        connectors->due_usec = 0;
        while ((connector = TAILQ_FIRST(&connectors->lists[true]))) {
                connector_move(connector, false);
                connector_time_out(connector, now);
        }

        TAILQ_FOREACH(connector, &connectors->lists[false], entry)
                due_usec = MIN(due_usec, connector->due_usec);
        connectors->due_usec = USEC_INFINITY;
        r = connectors_arm(connectors, due_usec);
        if (r < 0)
                log_debug_errno(r, "Failed to set the timer of connections: %m");
        return 0;
}

/* 0: it has none. */
static in_port_t address_port(const Address *address) {
        switch (address->any.sa_family) {
        case AF_INET:
                return ((const struct sockaddr_in *) &address->storage)->sin_port;
        case AF_INET6:
                return ((const struct sockaddr_in6 *) &address->storage)->sin6_port;
        default:
                return 0;
        }
}

/* From which ports the kernel takes the one of a new connection; read once, for most backends are elsewhere. */
static bool connectors_may_draw(Connectors *connectors, in_port_t port) {
        _cleanup_free_ char *text = NULL;

        if (port == 0)
                return false;
        if (connectors->port_max == 0 &&
            (file_read("/proc/sys/net/ipv4/ip_local_port_range", 64, &text, NULL) < 0 ||
             sscanf(text, "%u %u", &connectors->port_min, &connectors->port_max) != 2)) {
                connectors->port_min = EPHEMERAL_PORT_MIN;
                connectors->port_max = UINT16_MAX;
        }
        return ntohs(port) >= connectors->port_min && ntohs(port) <= connectors->port_max;
}

bool address_is_self_connected(int fd, const Address *address) {
        const struct sockaddr_in *in = (const struct sockaddr_in *) &address->storage;
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *) &address->storage;
        struct sockaddr_storage own = {};
        socklen_t size = sizeof(own);

        /* NOLINTBEGIN(clang-analyzer-core.UndefinedBinaryOperatorResult): getsockname() has filled it */
        switch (address->any.sa_family) {
        case AF_INET:
                return ntohl(in->sin_addr.s_addr) >> 24 == 127 &&
                       getsockname(fd, (struct sockaddr *) &own, &size) >= 0 &&
                       ((struct sockaddr_in *) &own)->sin_port == in->sin_port &&
                       ((struct sockaddr_in *) &own)->sin_addr.s_addr == in->sin_addr.s_addr;
        case AF_INET6:
                return IN6_IS_ADDR_LOOPBACK(&in6->sin6_addr) &&
                       getsockname(fd, (struct sockaddr *) &own, &size) >= 0 &&
                       ((struct sockaddr_in6 *) &own)->sin6_port == in6->sin6_port;
        default:
                return false;
        }
        /* NOLINTEND(clang-analyzer-core.UndefinedBinaryOperatorResult) */
}

static void connector_on_event(Watch *watch, uint32_t events) {
        Connector *connector = ASSERT_PTR(watch->userdata);
        const Address *address = &connector->backends->addresses[connector->index];
        socklen_t size = sizeof(int);
        int error = 0;

        /* A backend that has accepted, answered and reset meanwhile has accepted. */
        if (events & (EPOLLERR | EPOLLHUP) && getsockopt(connector->fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0)
                error = errno;
        if (error == 0 && connectors_may_draw(connector->connectors, address_port(address)) &&
            address_is_self_connected(connector->fd, address))
                error = ECONNREFUSED;
        if (error != 0) {
                connector->error = -error;
                connector_drop_fd(connector);
                connector_go_on(connector, connector->index + 1);
                return;
        }

        connector->events = events;
        connector_finish(connector, TAKE_FD(connector->fd));
}

bool connector_is_unix(const Connector *connector) {
        return connector->backends->addresses[connector->index].any.sa_family == AF_UNIX;
}

uint32_t connector_events(const Connector *connector) {
        return connector->events;
}

int connectors_new(Connectors **ret, Reactor *reactor, ConnectorsExhaustedHandler on_exhausted, void *userdata) {
        _cleanup_(connectors_freep) Connectors *connectors = NULL;
        int r;

        assert(ret);
        assert(on_exhausted);

        connectors = malloc(sizeof(*connectors));
        if (!connectors)
                return -ENOMEM;
        *connectors = (Connectors){
                .reactor = reactor,
                .due_usec = USEC_INFINITY,
                .on_exhausted = on_exhausted,
                .userdata = userdata,
        };
        for (size_t i = 0; i < ELEMENTSOF(connectors->lists); i++)
                TAILQ_INIT(&connectors->lists[i]);

        r = reactor_add_timer(reactor, &connectors->timer, ACCURACY_USEC, connectors_on_timer, connectors);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(connectors);
        return 0;
}

Connectors *connectors_free(Connectors *connectors) {
        if (!connectors)
                return NULL;

        for (size_t i = 0; i < ELEMENTSOF(connectors->lists); i++)
                assert(TAILQ_EMPTY(&connectors->lists[i]));
        sd_event_source_disable_unref(connectors->timer);
        return mfree(connectors);
}

int connector_new(Connector **ret, Connectors *connectors, const Backends *backends, Watch *watch, uint32_t events,
                  ConnectorHandler handler, void *userdata) {
        _cleanup_(connector_freep) Connector *connector = NULL;
        int r;

        assert(ret);
        assert(connectors);
        assert(backends);
        assert(watch && !watch->added);
        assert(handler);

        connector = malloc(sizeof(*connector));
        if (!connector)
                return -ENOMEM;
        *connector = (Connector){
                .connectors = connectors,
                .backends = backends,
                .watch = watch,
                .wanted_events = events,
                .fd = -EBADF,
                .error = -EDESTADDRREQ,
                .due_usec = USEC_INFINITY,
                .deadline_usec = time_now(CLOCK_MONOTONIC) + CONNECTOR_TIMEOUT_USEC,
                .pause_usec = PAUSE_MIN_USEC,
                .handler = handler,
                .userdata = userdata,
        };
        TAILQ_INSERT_TAIL(&connectors->lists[false], connector, entry);

        r = connector_try(connector);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(connector);
        return 0;
}

Connector *connector_free(Connector *connector) {
        if (!connector)
                return NULL;

        connector_drop_fd(connector);
        connector_set_exhausted(connector, false);
        TAILQ_REMOVE(&connector->connectors->lists[connector->due], connector, entry);
        return mfree(connector);
}
