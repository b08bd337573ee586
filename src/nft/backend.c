#include <arpa/inet.h>
#include <stdarg.h>
#include <stdio.h>

#include "config/listen.h"
#include "nft/backend.h"

/* Backend: found from the port bindings of the service's containers, which the engine tells of stopped ones too. A container on the
 * host's network publishes by nature: nothing is bound for it, its own port is the service's.
 *
 * A service that listens on UDP only is looked for among ports of UDP; one that listens on both has the same port of its backend for
 * both. */

static const ContainerNetwork *backend_network(const ContainerInfo *info, const char *network) {
        const ContainerNetwork *wanted = network ? container_info_network(info, network) : NULL;

        if (wanted && (wanted->ipv4 || wanted->ipv6))
                return wanted;
        for (size_t i = 0; i < info->n_networks; i++)
                if (info->networks[i].ipv4 || info->networks[i].ipv6)
                        return &info->networks[i];
        return NULL;
}

static bool on_host_network(const ContainerInfo *info) {
        return info->network_mode && streq(info->network_mode, "host");
}

void backend_done(Backend *backend) {
        free(backend->address);
        *backend = (Backend){};
}

/* Which of our containers publishes the service's port, and from which inner port? Who has it now comes before one that could
 * have it, of a range; and before the main container on the host's network. */
static void backend_find_publisher(Backend *backend, const Service *service, const ContainerInfo *const *infos) {
        bool (*const is_of[])(const PortBinding *binding, uint16_t host_port) = { port_binding_is_at,
                                                                                  port_binding_covers };

        for (size_t k = 0; k < ELEMENTSOF(is_of); k++)
                for (size_t i = 0; i < service->n_dependencies; i++)
                        for (size_t j = 0; infos[i] && j < infos[i]->n_bindings; j++) {
                                const PortBinding *binding = &infos[i]->bindings[j];

                                if (!(backend->udp ? binding->udp : binding->tcp) ||
                                    !is_of[k](binding, service->port))
                                        continue;
                                backend->publisher = i;
                                backend->publisher_port = binding->container_port;
                                return;
                        }
        for (size_t i = 0; i < service->n_dependencies; i++)
                if (infos[i] && on_host_network(infos[i]) &&
                    streq(service->dependencies[i].name, service->container)) {
                        backend->publisher = i;
                        backend->publisher_port = service->port;
                        return;
                }
}

/* "container:port" or "host:port", as configured; the parser has checked the form. */
static int backend_take_configured(Backend *backend, const Service *service, const char *text) {
        const char *colon = strrchr(text, ':');
        size_t n = colon ? (size_t) (colon - text) : 0;

        for (size_t i = 0; colon && i < service->n_dependencies; i++)
                if (service->dependencies[i].kind == DEPENDENCY_CONTAINER &&
                    strlen(service->dependencies[i].name) == n &&
                    strncmp(service->dependencies[i].name, text, n) == 0) {
                        backend->member = i;
                        backend->port = (uint16_t) strtoul(colon + 1, NULL, 10);
                        return 0;
                }

        backend->address = strdup(text);
        return backend->address ? 0 : -ENOMEM;
}

/* Would a connection to the service's port on loopback come back to the service? */
static bool listens_on_own_port(const Service *service) {
        for (char *const *text = service->listen; text && *text; text++) {
                ListenAddress address;

                if (listen_address_from_string(&address, *text) >= 0 && address.family != AF_UNIX &&
                    address.port == service->port &&
                    (listen_address_is_wildcard(&address) ||
                     (address.family == AF_INET && address.ipv4.s_addr == htonl(INADDR_LOOPBACK))))
                        return true;
        }
        return false;
}

/* The only port that the main container exposes; of UDP, also the one of several that is the service's. */
static bool backend_take_exposed(Backend *backend, const Service *service, size_t main,
                                 const ContainerInfo *info) {
        const uint16_t *ports = backend->udp ? info->exposed_udp : info->exposed;
        size_t n = backend->udp ? info->n_exposed_udp : info->n_exposed;

        for (size_t i = 0; i < n; i++)
                if (n == 1 || (backend->udp && ports[i] == service->port)) {
                        backend->member = main;
                        backend->port = ports[i];
                        return true;
                }
        return false;
}

/* Writes a text, and returns `r`, or -ENOMEM. */
static _printf_(3, 4) int tell(char **ret, int r, const char *format, ...) {
        va_list list;
        int n;

        va_start(list, format);
        n = vasprintf(ret, format, list);
        va_end(list);
        if (n < 0)
                *ret = NULL;
        return n < 0 ? -ENOMEM : r;
}

static int backend_take_default(Backend *backend, const Service *service, const ContainerInfo *const *infos,
                                char **reterr_text) {
        const size_t main = (size_t) (service_main(service) - service->dependencies);
        const char *udp = backend->udp ? " UDP" : "";

        if (backend->publisher != BACKEND_NO_MEMBER) {
                backend->member = backend->publisher;
                backend->port = backend->publisher_port;
                return 0;
        }
        if (backend->udp && infos[main] && backend_take_exposed(backend, service, main, infos[main]))
                return 0;
        if (service->listen && service->port > 0 && !listens_on_own_port(service))
                return tell(&backend->address, 0, "127.0.0.1:%u", service->port);
        for (size_t i = 0; i < service->n_dependencies; i++)
                /* It may be the one that publishes the port: no guessing then. */
                if (!infos[i] && service->dependencies[i].kind == DEPENDENCY_CONTAINER &&
                    (service->port > 0 || service->listen || i == main))
                        return tell(reterr_text, -ENOENT,
                                    "no container of it that exists publishes port %u, and '%s' does not exist",
                                    service->port, service->dependencies[i].name);
        if (infos[main] && backend_take_exposed(backend, service, main, infos[main]))
                return 0;

        if (service->port == 0)
                return tell(reterr_text, -ENODATA,
                            "'%s' does not expose exactly one%s port; say where clients are to go with the member 'backend', for "
                            "example \"%s:80\"",
                            service->container, udp, service->container);
        return tell(reterr_text, -ENODATA,
                    "no container of it publishes%s port %u and '%s' does not expose exactly one%s port; say where clients are to go "
                    "with the member 'backend', for example \"%s:80\"",
                    udp, service->port, service->container, udp, service->container);
}

int backend_resolve(Backend *ret, const Service *service, const ContainerInfo *const *infos, char **reterr_text) {
        Backend backend = {
                .member = BACKEND_NO_MEMBER,
                .publisher = BACKEND_NO_MEMBER,
                .udp = service_is_udp(service),
        };
        int r = 0;

        if (service->port > 0)
                backend_find_publisher(&backend, service, infos);
        if (service_has_main_port(service))
                r = service->backend ? backend_take_configured(&backend, service, service->backend)
                                     : backend_take_default(&backend, service, infos, reterr_text);
        if (r < 0) {
                backend_done(&backend);
                return r;
        }
        /* By its names it is reached as what publishes a port is by that. */
        if (service->port == 0 && service_has_names(service) && backend.member != BACKEND_NO_MEMBER) {
                backend.publisher = backend.member;
                backend.publisher_port = backend.port;
        }
        *ret = backend;
        return 0;
}

/* Further ports */

void port_backends_free(PortBackend *list, size_t n) {
        for (size_t i = 0; i < n; i++) {
                free(list[i].address);
                backend_done(&list[i].backend);
        }
        free(list);
}

typedef struct PortBackends {
        PortBackend *list;
        size_t n;
} PortBackends;

static void port_backends_done(PortBackends *backends) {
        port_backends_free(backends->list, backends->n);
}

/* `configured` (NULL: not) is where its clients go, whoever publishes it. */
static int add_port(PortBackends *backends, const Service *service, uint16_t port, const char *address,
                    const char *configured, Backend backend) {
        PortBackend *larger = reallocarray(backends->list, backends->n + 1, sizeof(*larger)), *added;

        if (!larger)
                return -ENOMEM;
        backends->list = larger;
        added = &larger[backends->n++];
        *added = (PortBackend){ .port = port, .backend = backend };
        if (address) {
                added->address = strdup(address);
                if (!added->address)
                        return -ENOMEM;
        }
        if (!configured)
                return 0;
        added->backend.member = BACKEND_NO_MEMBER;
        added->backend.port = 0;
        return backend_take_configured(&added->backend, service, configured);
}

/* Who publishes it, at each of the addresses. 1: somebody does. */
static int add_published(PortBackends *backends, const Service *service, const ContainerInfo *const *infos,
                         uint16_t port, const char *configured) {
        bool found = false;

        for (size_t i = 0; i < service->n_dependencies; i++)
                for (size_t j = 0; infos[i] && j < infos[i]->n_bindings; j++) {
                        const PortBinding *binding = &infos[i]->bindings[j];
                        const Backend backend = { .member = i,
                                                  .port = binding->container_port,
                                                  .publisher = i,
                                                  .publisher_port = binding->container_port };
                        int r;

                        if (!binding->tcp || !port_binding_covers(binding, port))
                                continue;
                        r = add_port(backends, service, port, isempty(binding->host_ip) ? NULL : binding->host_ip,
                                     configured, backend);
                        if (r < 0)
                                return r;
                        found = true;
                }
        return found;
}

/* The same port of the main container; on the host's network it publishes that by nature. */
static Backend default_backend(const Service *service, const ContainerInfo *const *infos, uint16_t port) {
        const size_t main = (size_t) (service_main(service) - service->dependencies);
        const bool on_host = infos[main] && on_host_network(infos[main]);

        return (Backend){ .member = main,
                          .port = port,
                          .publisher = on_host ? main : BACKEND_NO_MEMBER,
                          .publisher_port = on_host ? port : 0 };
}

/* Who publishes it, wherever. */
static Backend published_backend(const Service *service, const ContainerInfo *const *infos,
                                 const ServicePort *port) {
        Backend backend = default_backend(service, infos, port->port);
        const bool udp = service_port_is_udp(port);

        for (size_t i = 0; i < service->n_dependencies; i++)
                for (size_t j = 0; infos[i] && j < infos[i]->n_bindings; j++) {
                        const PortBinding *binding = &infos[i]->bindings[j];

                        if ((udp ? binding->udp : binding->tcp) && port_binding_covers(binding, port->port))
                                backend = (Backend){ .member = i,
                                                     .port = binding->container_port,
                                                     .publisher = i,
                                                     .publisher_port = binding->container_port };
                }
        backend.udp = udp;
        return backend;
}

/* Proxy mode: by where its clients come in. */
static int add_listened(PortBackends *backends, const Service *service, const ContainerInfo *const *infos,
                        const ServicePort *port) {
        Backend backend = published_backend(service, infos, port);
        int r = 0;

        backend.publisher = BACKEND_NO_MEMBER;
        backend.publisher_port = 0;
        for (char **text = port->listen; text && *text && r >= 0; text++) {
                char host[INET6_ADDRSTRLEN];
                ListenAddress address;
                bool any;

                if (listen_address_from_string(&address, *text) < 0)
                        continue;
                /* A port alone is that of both families. */
                any = listen_address_is_wildcard(&address) && address.family == AF_INET6;
                if (!any && !inet_ntop(address.family, &address.ipv6, host, sizeof(host)))
                        continue;
                r = add_port(backends, service, address.port, any ? NULL : host, port->backend, backend);
        }
        return r;
}

/* The service's own port has ways of its own if it leads to different inner ports on the addresses that it is published on. */
static int add_main(PortBackends *backends, const Service *service, const ContainerInfo *const *infos) {
        const PortBinding *first = NULL;
        bool differ = false;

        for (size_t i = 0; i < service->n_dependencies && service->port > 0; i++)
                for (size_t j = 0; infos[i] && j < infos[i]->n_bindings; j++) {
                        const PortBinding *binding = &infos[i]->bindings[j];

                        if (!binding->tcp || binding->host_port != service->port ||
                            binding->host_port_last > service->port)
                                continue;
                        differ |= first && first->container_port != binding->container_port;
                        first = first ?: binding;
                }
        return differ ? add_published(backends, service, infos, service->port, service->backend) : 0;
}

int port_backends_find(PortBackend **ret, size_t *ret_n, const Service *service, const ContainerInfo *const *infos,
                       const RedirectBindings *bindings) {
        _cleanup_(port_backends_done) PortBackends backends = {};
        int r = service_is_redirected(service) ? add_main(&backends, service, infos) : 0;

        for (size_t i = 0; i < service->n_ports && r >= 0; i++) {
                const ServicePort *port = &service->ports[i];

                /* Whatever address a datagram came to, it goes the same way: a socket of UDP does not tell the ports' ways apart by that. */
                if (!service->listen && service_port_is_udp(port)) {
                        r = add_port(&backends, service, port->port, NULL, port->backend,
                                     published_backend(service, infos, port));
                        continue;
                }
                r = service->listen ? add_listened(&backends, service, infos, port)
                                    : add_published(&backends, service, infos, port->port, port->backend);
                if (r == 0 && !service->listen)
                        r = add_port(&backends, service, port->port, NULL, port->backend,
                                     default_backend(service, infos, port->port));
        }
        for (size_t i = 0; i < bindings->n_further && !service->ports_given && r >= 0; i++)
                if (service_is_redirected(service) && !bindings->further[i].rival)
                        r = add_published(&backends, service, infos, bindings->further[i].port, NULL);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(backends.list);
        *ret_n = backends.n;
        backends.n = 0;
        return 0;
}

bool port_backend_is_direct(const PortBackend *backend, const ContainerInfo *const *infos) {
        const size_t publisher = backend->backend.publisher;
        bool published = false, at = false;

        for (size_t i = 0; publisher != BACKEND_NO_MEMBER && infos[publisher] && i < infos[publisher]->n_bindings;
             i++) {
                const PortBinding *binding = &infos[publisher]->bindings[i];

                const bool same = backend->backend.udp ? binding->udp : binding->tcp;

                published |= same && port_binding_covers(binding, backend->port);
                at |= same && port_binding_is_at(binding, backend->port);
        }
        /* What is on the host's network has nothing bound. */
        return publisher != BACKEND_NO_MEMBER && infos[publisher] && (at || !published);
}

bool backend_is_direct(const Backend *backend, const Service *service, const ContainerInfo *const *infos,
                       uint16_t *ret_elsewhere) {
        const ContainerInfo *info;

        *ret_elsewhere = 0;
        info = backend->publisher == BACKEND_NO_MEMBER ? NULL : infos[backend->publisher];
        if (!info)
                return !service_has_main_port(service);
        for (size_t i = 0; i < info->n_bindings && service->port > 0; i++) {
                const PortBinding *binding = &info->bindings[i];

                if (!binding->tcp || !port_binding_covers(binding, service->port) ||
                    port_binding_is_at(binding, service->port))
                        continue;
                *ret_elsewhere = binding->taken_ipv4 > 0 && binding->taken_ipv4 != service->port
                                                 ? binding->taken_ipv4
                                                 : binding->taken_ipv6;
                return false;
        }
        return true;
}

static int append_address(char ***list, const char *address, uint16_t port) {
        bool ipv6 = address && strchr(address, ':');
        char text[128];

        if (!address)
                return 0;
        if (snprintf(text, sizeof(text), "%s%s%s:%u", ipv6 ? "[" : "", address, ipv6 ? "]" : "", port) >=
            (int) sizeof(text))
                return -E2BIG;
        return strv_append(list, text);
}

int backend_addresses(const Backend *backend, const Service *service, const ContainerInfo *const *infos,
                      char ***ret) {
        _cleanup_(strv_freep) char **list = NULL;
        const ContainerNetwork *network;
        const ContainerInfo *info;
        int r = 0;

        if (backend->member == BACKEND_NO_MEMBER) {
                if (backend->address)
                        r = strv_append(&list, backend->address);
        } else {
                info = infos[backend->member];
                network = info ? backend_network(info, service->dependencies[backend->member].network) : NULL;
                if (info && on_host_network(info))
                        r = append_address(&list, "127.0.0.1", backend->port);
                if (r >= 0 && network)
                        r = append_address(&list, network->ipv4, backend->port);
                if (r >= 0 && network)
                        r = append_address(&list, network->ipv6, backend->port);
        }
        if (r < 0)
                return r;

        *ret = TAKE_PTR(list);
        return 0;
}
