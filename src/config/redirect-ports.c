#include "config/checks.h"
#include "config/document.h"
#include "config/listen.h"

/* Redirect ports of the services that name none: `port` + 20000 where that can be had, else one that follows from the service's
 * name. Every program that loads the same files finds the same ones, and nothing is kept anywhere; so a port is to depend on as
 * little as possible of what else is in the files:
 *
 *   - What a service says itself is never moved: all of that is taken first.
 *   - The places are taken in rounds. A service that has its first choice loses it to nobody's second one.
 *   - Of two with the same choice, the one that appeared first has it: a service that is added behind the others, as most
 *     are, moves none of them, unless by a port that it names or by its `port` + 20000.
 *   - Broken services have theirs, too, as far as they can be read: their typing error moves nobody else.
 *   - Where broken services are replaced by remembered ones, the sound ones keep what they had without those. */

#define REDIRECT_PORT_MIN 20000
#define N_PLACES (REDIRECT_PORT_MAX - REDIRECT_PORT_MIN + 1)

/* Those of one protocol. */
typedef struct Ports {
        bool udp;
        bool taken[REDIRECT_PORT_MAX + 1];
        unsigned n_free; /* of the places */
} Ports;

/* A service, or a port of UDP of it, that is to have one. */
typedef struct Asking {
        DraftService *entry;
        uint16_t port; /* that is redirected, 0: only names are */
        uint16_t *ret; /* 0 until it has one */
} Asking;

/* Whether it was free. */
static bool ports_take(Ports *ports, unsigned port) {
        if (port > REDIRECT_PORT_MAX || ports->taken[port])
                return false;
        ports->taken[port] = true;
        ports->n_free -= port >= REDIRECT_PORT_MIN;
        return true;
}

static void ports_take_given(Ports *ports, const Service *service) {
        if (!ports->udp) {
                (void) ports_take(ports, service->port);
                (void) ports_take(ports, service->redirect_port);
        }
        for (size_t i = 0; i < service->n_ports; i++) {
                if (service_port_is_udp(&service->ports[i]) == ports->udp)
                        (void) ports_take(ports, service->ports[i].port);
                if (ports->udp)
                        (void) ports_take(ports, service->ports[i].redirect_port);
        }
        for (char **text = service->listen; text && *text; text++) {
                ListenAddress address;

                if (listen_address_from_string(&address, *text) >= 0 && address.family != AF_UNIX &&
                    address.udp == ports->udp)
                        (void) ports_take(ports, address.port);
        }
}

static void ports_give(Ports *ports, const Asking *asking, unsigned port) {
        if (ports_take(ports, port))
                *asking->ret = (uint16_t) port;
}

/* FNV-1a: any hash would do, as long as it stays the same one. */
static unsigned first_place(const char *name) {
        uint32_t hash = 2166136261;

        for (; *name; name++)
                hash = (hash ^ (uint8_t) *name) * 16777619;
        return hash % N_PLACES;
}

/* Those of `waiting` that still have none, in the same order; returns how many. */
static size_t drop_served(Asking *waiting, size_t n) {
        size_t left = 0;

        for (size_t i = 0; i < n; i++)
                if (*waiting[i].ret == 0)
                        waiting[left++] = waiting[i];
        return left;
}

static void refuse(Draft *draft, DraftService *entry, const char *member) {
        JsonPath service = json_path_member(&path_services, entry->service.name);
        JsonPath path = json_path_member(&service, member);

        draft_refuse(draft, entry, &path, NULL,
                     "is missing, and no port from %d to %d is free: expected one below, or 'listen'",
                     REDIRECT_PORT_MIN, REDIRECT_PORT_MAX);
}

static void ports_assign(Ports *ports, Draft *draft, Asking *waiting, size_t n) {
        for (size_t i = 0; i < n; i++)
                if (waiting[i].port > 0)
                        ports_give(ports, &waiting[i], waiting[i].port + REDIRECT_PORT_OFFSET);
        n = drop_served(waiting, n);
        /* Each port comes to be asked for, so this ends. */
        for (unsigned round = 0; n > 0 && ports->n_free > 0; round++) {
                for (size_t i = 0; i < n; i++)
                        ports_give(ports, &waiting[i],
                                   REDIRECT_PORT_MIN + (first_place(waiting[i].entry->service.name) + round) %
                                                                       N_PLACES);
                n = drop_served(waiting, n);
        }
        for (size_t i = 0; i < n; i++)
                if (!waiting[i].entry->broken)
                        refuse(draft, waiting[i].entry, ports->udp ? "ports" : "redirectPort");
}

/* As it was before, or as it is to be found. */
static size_t add_datagrams(Asking *waiting, DraftService *entry, const Service *before) {
        Service *service = &entry->service;
        size_t n = 0;

        for (size_t i = 0; i < service->n_ports && service_is_redirected(service); i++) {
                ServicePort *port = &service->ports[i];

                if (!service_port_is_udp(port))
                        continue;
                for (size_t j = 0; before && j < before->n_ports; j++)
                        if (service_port_is_udp(&before->ports[j]) && before->ports[j].port == port->port)
                                port->redirect_port = before->ports[j].redirect_port;
                if (port->redirect_port == 0)
                        waiting[n++] = (Asking){ entry, port->port, &port->redirect_port };
        }
        return n;
}

int redirect_ports_assign(Draft *draft) {
        _cleanup_free_ Asking *waiting = NULL, *datagrams = NULL;
        _cleanup_free_ DraftService **entries = NULL;
        Ports tcp = { .n_free = N_PLACES }, udp = { .udp = true, .n_free = N_PLACES };
        size_t n = 0, n_datagrams = 0;

        assert(draft);

        for (size_t i = 0; i < draft->n_services; i++)
                n_datagrams += draft->services[i].service.n_ports;
        waiting = new0(Asking, draft->n_services + 1);
        datagrams = new0(Asking, n_datagrams + 1);
        entries = new0(DraftService *, draft->n_services + 1);
        if (!waiting || !datagrams || !entries)
                return -ENOMEM;
        n_datagrams = 0;
        for (size_t i = 0; i < draft->n_services; i++)
                entries[draft->services[i].service.order] = &draft->services[i];
        for (size_t i = 0; i < draft->n_services; i++) {
                DraftService *entry = entries[i];
                const Service *before = draft->before && !entry->source
                                                        ? config_find(draft->before, entry->service.name)
                                                        : NULL;

                if (before)
                        entry->service.redirect_port = before->redirect_port;
                else if (entry->needs_redirect_port)
                        waiting[n++] = (Asking){ entry, entry->service.port, &entry->service.redirect_port };
                n_datagrams += add_datagrams(datagrams + n_datagrams, entry, before);
                ports_take_given(&tcp, &entry->service);
                ports_take_given(&udp, &entry->service);
        }
        ports_assign(&tcp, draft, waiting, n);
        ports_assign(&udp, draft, datagrams, n_datagrams);
        return 0;
}
