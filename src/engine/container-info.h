#pragma once

/* ContainerInfo, NetworkInfo, ListedContainer: what the engine says about containers and networks, as plain data. What is left
 * out is bounded: of an inspect 1024 networks, bindings and exposed ports each, and 1024 bytes of each text. */

#include <net/if.h>
#include <netinet/in.h>
#include "util/macro.h"
#include "util/strv.h"

typedef enum EngineHealth {
        HEALTH_NONE, /* the container has no HEALTHCHECK */
        HEALTH_STARTING,
        HEALTH_HEALTHY,
        HEALTH_UNHEALTHY,
} EngineHealth;

typedef struct ContainerNetwork {
        char *name;
        char *id;
        char *ipv4; /* NULL: none (a stopped container has none) */
        char *ipv6;
        char *wanted_ipv4, *wanted_ipv6; /* the static ones that it was made with, or NULL */
        char **names; /* that it was given there besides its own, printable, whatever they are; NULL: none */
        bool aliased; /* it was given other names there, as compose does */
} ContainerNetwork;

typedef struct PortBinding {
        uint16_t container_port;
        uint16_t host_port,
                        host_port_last; /* they differ: the engine takes one of the range, another one at each start */
        uint16_t taken_ipv4,
                        taken_ipv6; /* of a range: which one it is while the container runs, on either family; else 0 */
        char *host_ip; /* "" is every address of both families */
        bool tcp, udp; /* neither: SCTP */
} PortBinding;

typedef struct ContainerInfo {
        char *name; /* without the slash */
        char *id;
        bool running, paused, restarting;
        int exit_code;
        char *error; /* State.Error, or "" */
        pid_t pid; /* 0: not running */
        char *started_at; /* RFC 3339, as the engine says it: tells one run from another */
        EngineHealth health;
        char **shell; /* Config.Shell, or NULL */
        char **health_command; /* what its HEALTHCHECK runs in it, or NULL: it has none, or disables it */
        uint64_t health_interval_usec; /* of that, the engine's defaults for what is not said */
        uint64_t health_timeout_usec;
        uint64_t health_start_usec;
        int health_retries;
        unsigned stop_timeout_sec; /* Config.StopTimeout, else 10 */
        char *network_mode;
        ContainerNetwork *networks;
        size_t n_networks;
        PortBinding *bindings; /* HostConfig.PortBindings, also of a stopped container */
        size_t n_bindings;
        uint16_t *exposed; /* TCP ports of Config.ExposedPorts */
        size_t n_exposed;
        uint16_t *exposed_udp; /* the same for UDP */
        size_t n_exposed_udp;
        char *compose_project, *compose_service; /* labels, or NULL */
        char *restart_policy; /* "no", "always", "unless-stopped", "on-failure"; never NULL */
        int stop_signal; /* Config.StopSignal, else SIGTERM */
        bool oom_killed;
        bool ever_started; /* StartedAt is not the zero time */
        char **execs; /* ids of the execs in it that have not ended, and of some that were never started */
        char *ipc_mode, *pid_mode; /* "container:ID", or others; may be NULL */
        bool auto_remove; /* docker run --rm: a stop deletes it */
        bool gpu; /* it has one that a daemon-reload may take from it */
} ContainerInfo;

ContainerInfo *container_info_free(ContainerInfo *info);
DEFINE_CLEANUP(ContainerInfo *, container_info_free);
/* Whether the engine may publish, or does publish, that port by it; of a range, all that it could take. */
bool port_binding_covers(const PortBinding *binding, uint16_t host_port);
/* The same of this run of the container: a range is at the port that the engine has taken, and at none while the container does
 * not run or if its families have different ones. */
bool port_binding_is_at(const PortBinding *binding, uint16_t host_port);
/* NULL if the container is not on it. */
const ContainerNetwork *container_info_network(const ContainerInfo *info, const char *network);
/* The interface of a user-defined network of Docker's kind `bridge`, whether it is there or not: false if it is none. */
bool container_network_bridge(const char *name, const char *id, char ret[static IFNAMSIZ]);
/* Its mode is one of those that nothing can be connected to: the host's network, another container's, none. */
bool network_mode_is_closed(const char *mode);
/* False only if it is surely not on it, and could be: one that was never started may know its networks by their ids alone. */
bool container_info_is_on(const ContainerInfo *info, const char *network);
/* For people: "'a', 'b'". The caller frees. NULL when out of memory. */
char *container_info_networks_to_string(const ContainerInfo *info);

/* Whose network it has ("container:ID"), as its mode says: an id, or with some engines a name. NULL: it has its own. */
const char *container_info_owner(const ContainerInfo *info);
/* It is on the networks of `owner`, with its addresses, from now on. -ENOMEM. */
int container_info_share_networks(ContainerInfo *info, const ContainerInfo *owner);
/* Did its present run, or its last, begin before that of the other? */
bool container_info_is_older(const ContainerInfo *info, const ContainerInfo *other);

/* Parses the body of an inspect. -EBADMSG. */
int container_info_parse(ContainerInfo **ret, const char *body, size_t size);
typedef struct NetworkEndpoint {
        char *container; /* its name, printable */
        char *ipv4, *ipv6; /* or "" */
} NetworkEndpoint;

typedef struct NetworkInfo {
        NetworkEndpoint *endpoints; /* containers that run */
        size_t n_endpoints;
} NetworkInfo;

NetworkInfo *network_info_free(NetworkInfo *info);
DEFINE_CLEANUP(NetworkInfo *, network_info_free);
/* NULL: nobody on it has this address. */
const NetworkEndpoint *network_info_find(const NetworkInfo *info, const char *address);
/* As container_info_parse(). */
int network_info_parse(NetworkInfo **ret, const char *body, size_t size);

/* A container's end of a network. */
typedef struct ListedLink {
        char bridge[IFNAMSIZ]; /* "": the network is none of those that have names */
        char ipv4[INET_ADDRSTRLEN];
} ListedLink;

/* What a list tells of a container, for the price of a fraction of an inspect. */
typedef struct ListedContainer {
        char *name, *id;
        bool running; /* and not paused, nor between two tries of a restart policy */
        bool paused;
        uint64_t networks; /* a number that is another one when it is on other networks */
        uint16_t *ports; /* of the host, TCP, that it publishes at the moment: none while it is stopped */
        size_t n_ports;
        ListedLink *links; /* of one that runs */
        size_t n_links;
} ListedContainer;

void listed_containers_free(ListedContainer *list, size_t n);
/* NULL if there is none. */
const ListedContainer *listed_container_find(const ListedContainer *list, size_t n, const char *name);
/* The reply to GET /containers/json, sorted by name; containers without a fit name are left out. -EBADMSG. */
int listed_containers_parse(ListedContainer **ret, size_t *ret_n, const char *body, size_t size);

/* A signal as people and engines write it: "SIGQUIT", "quit", "3", "RTMIN+3". 0: none of this name. */
int engine_signal_from_string(const char *text);
