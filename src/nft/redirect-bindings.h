#pragma once

/* Bindings: the host addresses that a service's container publishes its port on, its names on its networks, and whose networks its containers have, as
 * last seen on the engine. */

#include <net/if.h>
#include "engine/engine.h"
#include "model/service.h"

#define REDIRECT_NAME_MAX 63U /* letters of a label of DNS */

/* A user-defined network, and which names a container has there. */
typedef struct BindingNetwork {
        char *container; /* a further one, of `names`; NULL: the one that clients are forwarded to */
        char bridge[IFNAMSIZ]; /* its interface */
        char **names; /* labels of DNS in small letters, each once */
        char **guests; /* addresses on other networks, by which containers of this one ask, too; found anew each time */
} BindingNetwork;

typedef struct FurtherPort FurtherPort;

typedef struct RedirectBindings {
        bool known; /* false: loopback of both families */
        bool any_ipv4, any_ipv6; /* published on the wildcard address */
        char **addresses; /* published on these only, both families, as inet_ntop() writes them */
        char *publisher; /* the container that publishes the port, NULL: none does, or it is not known */
        BindingNetwork *networks;
        size_t n_networks;
        bool loopback; /* questions for names come by it, too; found anew each time */
        char *seen; /* the containers that this was learned from, by their ids: as long as they are the same, so is this. NULL: not known */
        FurtherPort *further; /* what else its containers publish, or is named for it; sorted by port, TCP first */
        size_t n_further;
        char **owners; /* each of its containers that has another one's network, and then that one: see service_add_owners() */
} RedirectBindings;

/* Its bindings have neither further ones nor networks nor owners nor `seen`. */
struct FurtherPort {
        uint16_t port;
        bool udp;
        uint16_t redirect_port; /* of UDP, where PID 1 listens for it: 0, it does not; not kept */
        char *rival; /* another service that has it, or may have: then it is not this one's. NULL: none */
        bool runs; /* its publisher, for who asks the engine; not kept */
        RedirectBindings bindings;
};
#define FURTHER_PORTS_MAX 256

#define BINDINGS_FOLDER "/var/lib/wakechain/bindings"

void redirect_bindings_done(RedirectBindings *bindings);
/* From a container's port bindings: where it publishes `host_port`, of UDP or of TCP. Returns 1 if it does, 0 with `known`
 * = false if not. Addresses that are none are left out. */
int redirect_bindings_from_ports(RedirectBindings *ret, const PortBinding *bindings, size_t n, uint16_t host_port,
                                 bool udp);
/* The interface of a network that has names; `networks` as below. False: it is none. */
bool redirect_network_bridge(const ContainerNetwork *network, char *const *networks, char ret[static IFNAMSIZ]);
/* From its networks: its own name, that of its compose service, and what it was given there besides. `networks`: survey_names() of them, for one
 * that was never started, which does not know their ids. `container` as in BindingNetwork. -ENOMEM. */
int redirect_bindings_add_names(RedirectBindings *bindings, const ContainerInfo *info, char *const *networks,
                                const char *container);
/* The same of a further one that is not there: those that it had. */
int redirect_bindings_keep_names(RedirectBindings *bindings, const RedirectBindings *old, const char *container);
/* Whether it resolves while its container sleeps: not so a domain name. */
bool redirect_name_is_valid(const char *name);
/* Adds one with its bindings, which are taken, in its place. -E2BIG: there are FURTHER_PORTS_MAX. */
int redirect_bindings_add_further(RedirectBindings *bindings, uint16_t port, bool udp, RedirectBindings *own);
/* NULL: it is none of them. */
const FurtherPort *redirect_bindings_further(const RedirectBindings *bindings, uint16_t port, bool udp);
/* Whether some address and port may be of both: on the same address, or on all of its family. */
bool redirect_bindings_meet(const RedirectBindings *a, const RedirectBindings *b);
/* A missing or unreadable file gives `known` = false, `seen` = NULL, and 0. Only -ENOMEM fails. */
int redirect_bindings_load(RedirectBindings *ret, const char *root, const char *service);
/* Writes only if something changed, returns 1 if so. */
int redirect_bindings_save(const RedirectBindings *bindings, const char *root, const char *service);
