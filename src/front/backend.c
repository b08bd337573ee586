#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>

#include "front/backend.h"
#include "util/fd.h"
#include "util/log.h"
#include "util/time.h"

/* Connector: one attempt at a time. An address that refuses hands over to the next at once; after the last comes a
 * pause that grows from 10 to 250 ms. An address that does not answer at all holds up the others for a second
 * only.
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

struct Connector {
        sd_event *event; /* borrowed */
        Reactor *reactor; /* borrowed */
        const Backends *backends; /* borrowed */
        size_t index; /* the address that is being tried, or n: pausing */
        int fd;
        int error;
        Watch watch;
        sd_event_source *timer;
        uint64_t deadline_usec;
        uint64_t pause_usec;
        ConnectorHandler handler;
        void *userdata;
};

static int address_parse_port(const char *text, uint16_t *ret) {
        unsigned long port;

        if (strspn(text, "0123456789") != strlen(text) || isempty(text) || strlen(text) > 5)
                return -EINVAL;
        port = strtoul(text, NULL, 10);
        if (port == 0 || port > UINT16_MAX)
                return -EINVAL;
        *ret = htons((uint16_t) port);
        return 0;
}

int address_parse(Address *ret, const char *text) {
        struct sockaddr_in6 in6 = { .sin6_family = AF_INET6 };
        struct sockaddr_in in = { .sin_family = AF_INET };
        char host[INET6_ADDRSTRLEN + 2];
        Address address = {};
        const char *colon;
        uint16_t port;

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

        colon = strrchr(text, ':');
        if (!colon || (size_t) (colon - text) >= sizeof(host) || address_parse_port(colon + 1, &port) < 0)
                return -EINVAL;
        memcpy(host, text, (size_t) (colon - text));
        host[colon - text] = '\0';

        if (host[0] == '[' && colon[-1] == ']') {
                host[colon - text - 1] = '\0';
                if (inet_pton(AF_INET6, host + 1, &in6.sin6_addr) != 1)
                        return -EINVAL;
                in6.sin6_port = port;
                memcpy(&address.storage, &in6, sizeof(in6));
                address.size = sizeof(in6);
        } else {
                if (inet_pton(AF_INET, host, &in.sin_addr) != 1)
                        return -EINVAL;
                in.sin_port = port;
                memcpy(&address.storage, &in, sizeof(in));
                address.size = sizeof(in);
        }
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

Backends *backends_free(Backends *backends) {
        return mfree(backends);
}

bool backends_equal(const Backends *a, const Backends *b) {
        if (!a || !b || a->n != b->n)
                return false;
        for (size_t i = 0; i < a->n; i++)
                if (a->addresses[i].size != b->addresses[i].size ||
                    memcmp(&a->addresses[i].storage, &b->addresses[i].storage, a->addresses[i].size) != 0)
                        return false;
        return true;
}

size_t backends_copy_inet(const Backends *backends, Address *ret, size_t max) {
        size_t n = 0;

        for (size_t i = 0; i < backends->n && n < max; i++)
                if (backends->addresses[i].any.sa_family != AF_UNIX)
                        ret[n++] = backends->addresses[i];
        return n;
}

static void connector_drop_fd(Connector *connector) {
        reactor_forget(connector->reactor, &connector->watch);
        connector->fd = fd_close(connector->fd);
}

/* The handler is the last thing: it may free the connector. */
static void connector_finish(Connector *connector, int fd) {
        connector->timer = sd_event_source_disable_unref(connector->timer);
        connector->handler(connector, fd, connector->userdata);
}

/* One attempt. 0: under way. */
static int connector_connect(Connector *connector, const Address *address) {
        int r;

        connector->fd = socket(address->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (connector->fd < 0)
                return -errno;
        if (connect(connector->fd, &address->any, address->size) < 0 && errno != EINPROGRESS)
                return -errno;
        /* Also when it is connected already: the handler is called from the loop only. */
        r = reactor_add(connector->reactor, &connector->watch, connector->fd, EPOLLOUT);
        return MIN(r, 0);
}

/* A negative errno only if there is no timer to be had. */
static int connector_try(Connector *connector) {
        const Backends *backends = connector->backends;
        uint64_t now = time_now(CLOCK_MONOTONIC), next;
        int r;

        for (; connector->index < backends->n; connector->index++) {
                r = connector_connect(connector, &backends->addresses[connector->index]);
                if (r >= 0)
                        break;
                connector->error = r;
                connector_drop_fd(connector);
        }

        if (connector->index == backends->n) {
                next = now + connector->pause_usec;
                connector->pause_usec = MIN(2 * connector->pause_usec, PAUSE_MAX_USEC);
        } else
                next = backends->n > 1 ? now + PATIENCE_USEC : connector->deadline_usec;

        r = sd_event_source_set_time(connector->timer, MIN(next, connector->deadline_usec));
        if (r < 0)
                return r;
        return sd_event_source_set_enabled(connector->timer, SD_EVENT_ONESHOT);
}

static void connector_go_on(Connector *connector, size_t index) {
        int r;

        connector->index = index;
        r = connector_try(connector);
        if (r < 0)
                connector_finish(connector, r);
}

static int connector_on_timer(sd_event_source *source, uint64_t usec, void *userdata) {
        Connector *connector = ASSERT_PTR(userdata);

        if (connector->index < connector->backends->n) {
                connector->error = -ETIMEDOUT;
                connector_drop_fd(connector);
        }
        if (time_now(CLOCK_MONOTONIC) >= connector->deadline_usec)
                connector_finish(connector, connector->error);
        else
                /* One past the last address is the pause, and after the pause the first. */
                connector_go_on(connector, connector->index < connector->backends->n ? connector->index + 1 : 0);
        return 0;
}

bool address_is_self_connected(int fd, const Address *address) {
        const struct sockaddr_in *in = (const struct sockaddr_in *) &address->storage;
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *) &address->storage;
        struct sockaddr_storage own = {};
        socklen_t size = sizeof(own);

        /* NOLINTBEGIN(clang-analyzer-core.UndefinedBinaryOperatorResult): getsockname() has filled it */
        switch (address->any.sa_family) {
        case AF_INET:
                return ntohs(in->sin_port) >= EPHEMERAL_PORT_MIN && ntohl(in->sin_addr.s_addr) >> 24 == 127 &&
                       getsockname(fd, (struct sockaddr *) &own, &size) >= 0 &&
                       ((struct sockaddr_in *) &own)->sin_port == in->sin_port &&
                       ((struct sockaddr_in *) &own)->sin_addr.s_addr == in->sin_addr.s_addr;
        case AF_INET6:
                return ntohs(in6->sin6_port) >= EPHEMERAL_PORT_MIN && IN6_IS_ADDR_LOOPBACK(&in6->sin6_addr) &&
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
        int error = 0, yes = 1, fd;
        socklen_t size = sizeof(error);

        if (getsockopt(connector->fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0)
                error = errno;
        if (error == 0 && address_is_self_connected(connector->fd, address))
                error = ECONNREFUSED;
        if (error != 0) {
                connector->error = -error;
                connector_drop_fd(connector);
                connector_go_on(connector, connector->index + 1);
                return;
        }

        if (address->any.sa_family != AF_UNIX) {
                (void) setsockopt(connector->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
                (void) setsockopt(connector->fd, SOL_SOCKET, SO_KEEPALIVE, &yes, sizeof(yes));
        }
        reactor_remove(connector->reactor, &connector->watch);
        fd = TAKE_FD(connector->fd);
        connector->index = connector->backends->n;
        connector_finish(connector, fd);
}

int connector_new(Connector **ret, sd_event *event, Reactor *reactor, const Backends *backends,
                  ConnectorHandler handler, void *userdata) {
        _cleanup_(connector_freep) Connector *connector = NULL;
        int r;

        assert(ret);
        assert(backends);
        assert(handler);

        connector = malloc(sizeof(*connector));
        if (!connector)
                return -ENOMEM;
        *connector = (Connector){
                .event = event,
                .reactor = reactor,
                .backends = backends,
                .fd = -EBADF,
                .error = -EDESTADDRREQ,
                .watch = { connector_on_event, connector },
                .deadline_usec = time_now(CLOCK_MONOTONIC) + CONNECTOR_TIMEOUT_USEC,
                .pause_usec = PAUSE_MIN_USEC,
                .handler = handler,
                .userdata = userdata,
        };

        r = sd_event_add_time(event, &connector->timer, CLOCK_MONOTONIC, connector->deadline_usec, ACCURACY_USEC,
                              connector_on_timer, connector);
        if (r < 0)
                return r;
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
        sd_event_source_disable_unref(connector->timer);
        return mfree(connector);
}
