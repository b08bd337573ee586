#include <stdio.h>

#include "wake/backend.h"

/* Backend: found from the port bindings of the service's containers, which the engine tells of stopped ones too. A container on the
 * host's network publishes by nature: nothing is bound for it, its own port is the service's. */

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
        redirect_bindings_done(&backend->bindings);
        *backend = (Backend){};
}

/* Which of our containers publishes the service's port, and from which inner port? */
static int backend_find_publisher(Backend *backend, const Service *service, const ContainerInfo *const *infos) {
        for (size_t i = 0; i < service->n_dependencies; i++) {
                const ContainerInfo *info = infos[i];

                for (size_t j = 0; info && j < info->n_bindings; j++)
                        if (info->bindings[j].tcp && info->bindings[j].host_port == service->port) {
                                backend->publisher = i;
                                backend->publisher_port = info->bindings[j].container_port;
                                return redirect_bindings_from_ports(&backend->bindings, info->bindings,
                                                                    info->n_bindings, service->port);
                        }
        }

        for (size_t i = 0; i < service->n_dependencies; i++)
                if (infos[i] && on_host_network(infos[i]) &&
                    streq(service->dependencies[i].name, service->container)) {
                        backend->publisher = i;
                        backend->publisher_port = service->port;
                        backend->bindings =
                                        (RedirectBindings){ .known = true, .any_ipv4 = true, .any_ipv6 = true };
                        return 0;
                }
        return 0;
}

/* "container:port" or "host:port", as configured; the parser has checked the form. */
static int backend_take_configured(Backend *backend, const Service *service) {
        const char *colon = strrchr(service->backend, ':');
        size_t n = colon ? (size_t) (colon - service->backend) : 0;

        for (size_t i = 0; colon && i < service->n_dependencies; i++)
                if (service->dependencies[i].kind == DEPENDENCY_CONTAINER &&
                    strlen(service->dependencies[i].name) == n &&
                    strncmp(service->dependencies[i].name, service->backend, n) == 0) {
                        backend->member = i;
                        backend->port = (uint16_t) strtoul(colon + 1, NULL, 10);
                        return 0;
                }

        backend->address = strdup(service->backend);
        return backend->address ? 0 : -ENOMEM;
}

static int backend_take_default(Backend *backend, const Service *service, const ContainerInfo *const *infos,
                                char **reterr_text) {
        size_t main = (size_t) (service_main(service) - service->dependencies);
        int r;

        if (backend->publisher != BACKEND_NO_MEMBER) {
                backend->member = backend->publisher;
                backend->port = backend->publisher_port;
                return 0;
        }
        if (service->listen && service->port > 0) {
                if (asprintf(&backend->address, "127.0.0.1:%u", service->port) < 0) {
                        backend->address = NULL;
                        return -ENOMEM;
                }
                return 0;
        }
        for (size_t i = 0; i < service->n_dependencies; i++)
                if (!infos[i] && service->dependencies[i].kind == DEPENDENCY_CONTAINER) {
                        /* It may be the one that publishes the port: no guessing then. */
                        if (asprintf(reterr_text,
                                     "no container of it that exists publishes port %u, and '%s' does not exist",
                                     service->port, service->dependencies[i].name) < 0) {
                                *reterr_text = NULL;
                                return -ENOMEM;
                        }
                        return -ENOENT;
                }
        if (infos[main] && infos[main]->n_exposed == 1) {
                backend->member = main;
                backend->port = infos[main]->exposed[0];
                return 0;
        }

        if (service->port == 0)
                r = asprintf(reterr_text,
                             "'%s' does not expose exactly one port; say where clients are to go with the member 'backend', for "
                             "example \"%s:80\"",
                             service->container, service->container);
        else
                r = asprintf(reterr_text,
                             "no container of it publishes port %u and '%s' does not expose exactly one port; say where clients are to go "
                             "with the member 'backend', for example \"%s:80\"",
                             service->port, service->container, service->container);
        if (r < 0) {
                *reterr_text = NULL;
                return -ENOMEM;
        }
        return -ENODATA;
}

int backend_resolve(Backend *ret, const Service *service, const ContainerInfo *const *infos, char **reterr_text) {
        Backend backend = { .member = BACKEND_NO_MEMBER, .publisher = BACKEND_NO_MEMBER };
        int r = 0;

        assert(ret);
        assert(reterr_text);

        if (service->port > 0)
                r = backend_find_publisher(&backend, service, infos);
        if (r >= 0 && service_has_front(service))
                r = service->backend ? backend_take_configured(&backend, service)
                                     : backend_take_default(&backend, service, infos, reterr_text);
        if (r < 0) {
                backend_done(&backend);
                return r;
        }
        *ret = backend;
        return 0;
}

static int append_address(char ***list, bool ipv6, const char *address, uint16_t port) {
        char text[128];
        int n;

        if (ipv6)
                n = snprintf(text, sizeof(text), "[%s]:%u", address, port);
        else
                n = snprintf(text, sizeof(text), "%s:%u", address, port);
        if (n < 0 || (size_t) n >= sizeof(text))
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
                        r = append_address(&list, false, "127.0.0.1", backend->port);
                if (r >= 0 && network && network->ipv4)
                        r = append_address(&list, false, network->ipv4, backend->port);
                if (r >= 0 && network && network->ipv6)
                        r = append_address(&list, true, network->ipv6, backend->port);
        }
        if (r < 0)
                return r;

        *ret = TAKE_PTR(list);
        return 0;
}
