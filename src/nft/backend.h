#pragma once

/* Backend: where a service's clients are forwarded, and which container publishes its port; the same for each of its further ports. */

#include "engine/engine.h"
#include "model/service.h"
#include "nft/redirect-bindings.h"
#include "util/strv.h"

#define BACKEND_NO_MEMBER SIZE_MAX

typedef struct Backend {
        size_t member; /* the dependency that clients reach, or BACKEND_NO_MEMBER: `address` */
        uint16_t port; /* inside that container */
        bool udp; /* that port, and no other, is one of UDP: nobody can look whether somebody accepts there */
        char *address; /* host:port as configured */
        size_t publisher; /* the dependency that publishes service->port, or BACKEND_NO_MEMBER */
        uint16_t publisher_port; /* its inner port */
} Backend;

void backend_done(Backend *backend);

/* `infos` has one entry for each dependency, NULL for those without a container. Returns -ENOMEM, or -ENODATA (the config does not
 * tell) or -ENOENT (a container that may be meant does not exist) with a sentence in
 * `reterr_text` (the caller frees) if it cannot be told where clients are to go. A service without a front has no backend: 0
 * with no member and no address. */
int backend_resolve(Backend *ret, const Service *service, const ContainerInfo *const *infos, char **reterr_text);

/* A further port of a service, or one of the addresses that it is to be had at. */
typedef struct PortBackend {
        uint16_t port;
        char *address; /* of the host; NULL: any */
        Backend backend;
} PortBackend;

void port_backends_free(PortBackend *list, size_t n);
/* Those that the file names, or else those of `bindings`, which settling has found to be the service's; and its own port, if that leads to different
 * inner ports. `infos` as above. -ENOMEM. */
int port_backends_find(PortBackend **ret, size_t *ret_n, const Service *service, const ContainerInfo *const *infos,
                       const RedirectBindings *bindings);

/* Whether new clients of it reach the publisher without us, as for the service's port below. */
bool port_backend_is_direct(const PortBackend *backend, const ContainerInfo *const *infos);

/* Whether new clients of the service's port reach the publisher without us: it does not if there is none, or if it publishes a range of host
 * ports and the engine has taken another one for this run; then `ret_elsewhere` is that, or 0 if it is not known. */
bool backend_is_direct(const Backend *backend, const Service *service, const ContainerInfo *const *infos,
                       uint16_t *ret_elsewhere);

/* The addresses to forward to, as they are now. An empty list if the container has none. */
int backend_addresses(const Backend *backend, const Service *service, const ContainerInfo *const *infos,
                      char ***ret);
