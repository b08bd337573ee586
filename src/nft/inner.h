#pragma once

/* Inner: the containers' side of a service's ports. Clients may come to it past the published port: by the container's own address, and,
 * where it is on the host's network, by loopback. What is known here is who of them is none. */

#include <net/if.h>
#include "engine/engine.h"
#include "model/service.h"
#include "net/socket-table.h"
#include "util/strv.h"

#define INNER_ADDRESSES_MAX 16
#define INNER_OWN_MAX 64

/* A container that names lead to on one of the engine's bridges. */
typedef struct InnerLink {
        char virtual_address[INET_ADDRSTRLEN]; /* of these names */
        char bridge[IFNAMSIZ];
        char ipv4[INET_ADDRSTRLEN];
} InnerLink;

typedef struct InnerPort {
        uint16_t published; /* on the host, where the engine's proxy connects as somebody else; 0: not to be asked */
        bool udp;
        bool waits; /* its container does not accept yet: clients of it go on to the front while the service is lifted */
        pid_t pid; /* of the container; 0: it does not run */
        uint16_t port;
        bool on_host; /* on the host's network */
        AddressPrefix addresses[INNER_ADDRESSES_MAX]; /* the container's own; none on the host's network */
        size_t n_addresses;
} InnerPort;

typedef struct Inner {
        InnerPort *ports;
        size_t n_ports;
        InnerLink *links;
        size_t n_links;
        AddressPrefix own[INNER_OWN_MAX]; /* of the stack's containers, which are no clients of it */
        size_t n_own;
        char **groups; /* the control groups of those that are on the host's network, and our own: below GROUP_FOLDER */
        char *proxy_group; /* of the engine, whose docker-proxy passes on what was counted before it; NULL: not known */
} Inner;

#define GROUP_FOLDER "/sys/fs/cgroup"

/* Without ports: who of those that connect is no client of the service. `infos` has one entry for each dependency, NULL for those without a
 * container. */
void inner_init(Inner *ret, const Service *service, const ContainerInfo *const *infos);
/* The addresses of the stack's own containers, and nothing else: no file is read for them. */
void inner_init_own(Inner *ret, const Service *service, const ContainerInfo *const *infos);
/* That names lead to it. */
int inner_add_named(Inner *inner, const ContainerInfo *info, const char *virtual_address);
/* A port of that container; one that is NULL does not run. `published` as above: one of 0 is not added beside another one of the same. */
int inner_add(Inner *inner, const ContainerInfo *info, uint16_t port, bool udp, uint16_t published, bool waits);
void inner_done(Inner *inner);
/* But for the processes. */
bool inner_equal(const Inner *a, const Inner *b);

/* Is a client connected to one of the ports? Nobody who has vanished counts, nor who is in `ignored` (may be NULL). `silence_usec` as for
 * remote_is_gone(). Negative: it cannot be told. */
int inner_is_used(const Inner *inner, char *const *ignored, uint64_t silence_usec);
/* Has a client sent or got a datagram by one of the ports of UDP within that time, or a second more, past the front or by it? Negative: it cannot
 * be told. */
int inner_has_datagrams(const Inner *inner, char *const *ignored, uint64_t within_usec);
/* Has somebody come by that port of the host who is not with the container yet? Asked after inner_is_used(), nobody is missed: the engine's proxy,
 * which clients of this host come by, has accepted a connection before it makes its own, on a busy machine a second before. */
bool inner_is_on_its_way(uint16_t published, uint64_t silence_usec);
