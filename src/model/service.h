#pragma once

/* Service: one stack of dependencies.json as plain data; Config: the whole file. What the members mean is said in
 * wakechain.json(5). Every default of model/defaults.h is applied already, so that readers
 * never ask "was it given?". */

#include "util/address.h"
#include "util/macro.h"
#include "util/strv.h"
#include "util/time.h"

#define SERVICE_NAME_MAX 64
#define REDIRECT_PORT_OFFSET 20000
#define REDIRECT_PORT_MAX 32767 /* above, an outgoing connection may hold it: ip_local_port_range */

typedef enum DependencyKind {
        DEPENDENCY_CONTAINER,
        DEPENDENCY_UNIT,
        DEPENDENCY_SERVICE,
        _DEPENDENCY_KIND_MAX,
        _DEPENDENCY_KIND_INVALID = -EINVAL,
} DependencyKind;

typedef enum DependencyType {
        DEPENDENCY_REQUIRED,
        DEPENDENCY_OPTIONAL,
        _DEPENDENCY_TYPE_MAX,
        _DEPENDENCY_TYPE_INVALID = -EINVAL,
} DependencyType;

typedef enum DependencyCondition {
        CONDITION_READY,
        CONDITION_STARTED,
        CONDITION_COMPLETED,
        _CONDITION_MAX,
        _CONDITION_INVALID = -EINVAL,
} DependencyCondition;

/* At most one of command, http and tcp is set; none: the engine's health, or startup_delay. */
typedef struct HealthCheck {
        char *command; /* for the host's shell */
        char *http; /* URL; an empty host is the container's address: http://:8080/health */
        char *tcp; /* "port" or "address:port" */
        uint64_t interval_usec; /* longest pause between two tries */
        uint64_t budget_usec; /* the time allowed: see wakechain.json(5) */
        bool budget_given;
} HealthCheck;

typedef struct Dependency {
        DependencyKind kind;
        char *name; /* of the container, unit or service */
        char *network; /* never NULL unless the service has none: its own or the service's */
        DependencyType type;
        int start_order;
        int parallel_group;
        bool ordered; /* has startOrder or parallelGroup, or no dependsOn: those of later steps wait for it */
        HealthCheck health;
        char **depends_on;
        DependencyCondition condition;
        uint64_t startup_delay_usec;
        uint64_t estimated_usec; /* estimatedTime, else startupDelay if given, else 5 s */
        bool keep;
        bool implied; /* not of the file: another one has its network */
} Dependency;

typedef enum PageMode {
        PAGE_AUTO,
        PAGE_ALWAYS,
        PAGE_NEVER,
        _PAGE_MODE_MAX,
        _PAGE_MODE_INVALID = -EINVAL,
} PageMode;

/* A further port of a service, as the member `ports` names it. */
typedef struct ServicePort {
        uint16_t port;
        int protocol; /* IPPROTO_TCP or IPPROTO_UDP */
        uint16_t redirect_port; /* of UDP in redirect mode, else 0: datagrams do not tell where they were redirected from */
        char **listen; /* proxy mode: where its clients come in; all of these are in the service's list, too */
        char *backend; /* as given; NULL: found out after the start */
        PageMode page;
        int proxy_protocol; /* 0, 1, 2 */
} ServicePort;

typedef enum SleepMethod {
        SLEEP_STOP,
        SLEEP_PAUSE,
        _SLEEP_METHOD_MAX,
        _SLEEP_METHOD_INVALID = -EINVAL,
} SleepMethod;

typedef enum PrewarmMode {
        PREWARM_OFF,
        PREWARM_DEPENDENCIES,
        PREWARM_ALL,
        _PREWARM_MODE_MAX,
        _PREWARM_MODE_INVALID = -EINVAL,
} PrewarmMode;

/* Which of the containers that somebody else has started are put to sleep, nevertheless. */
typedef enum AdoptMode {
        ADOPT_KNOWN, /* those that wakechain has started, or put to sleep, before */
        ADOPT_ALL,
        ADOPT_NONE,
        _ADOPT_MODE_MAX,
        _ADOPT_MODE_INVALID = -EINVAL,
} AdoptMode;

/* Whether the names of the container that clients reach have an address of ours while it sleeps. */
typedef enum NamesMode {
        NAMES_AUTO, /* if its `port` is redirected */
        NAMES_ON, /* even if it has no port: then it is reached by its names alone */
        NAMES_OFF,
        _NAMES_MODE_MAX,
        _NAMES_MODE_INVALID = -EINVAL,
} NamesMode;

#define NAMED_MAX 32

/* A further container of a service, whose names lead to itself. */
typedef struct NamedContainer {
        char *container;
        char virtual_address[INET_ADDRSTRLEN];
} NamedContainer;

typedef struct Service {
        char *name; /* the key: the unit's instance */
        char *file; /* that it comes from; NULL if from none */
        size_t order; /* of appearance in the files: of two services that clash, the earlier one stays */
        char *container; /* the main container (member `name`) */
        uint16_t port; /* 0: none, so no front, unless it is reached by its names */
        char *compose_dir;
        char *network;
        bool cross_network;
        Dependency *dependencies; /* as in the file, the main container among them (appended if missing) */
        size_t n_dependencies;

        char **listen; /* proxy mode; NULL: redirect mode if there is a port, or names */
        uint16_t redirect_port; /* redirect mode only, else 0 */
        NamesMode names;
        char virtual_address[INET_ADDRSTRLEN]; /* that its names have while it sleeps; "" if it has none */
        NamedContainer *named; /* besides the one that its clients reach, which may be among them */
        size_t n_named;
        bool ports_given; /* else, in redirect mode, its further ports are those that its containers publish, and no other service's */
        ServicePort *ports; /* in the order of the file; `port` is not among them */
        size_t n_ports;
        char *backend; /* as given; NULL: found out after the start */
        uint64_t idle_timeout_usec; /* 0: never */
        uint64_t global_timeout_usec;
        uint64_t drain_timeout_usec;
        bool idle_bytes; /* a connection without client bytes for idle_timeout counts as idle */
        PageMode page;
        char *page_title;
        bool page_details;
        int proxy_protocol; /* 0, 1, 2 */
        char **ignore_addresses;
        char **ignore_user_agents;
        char **ignore_paths;
        int ignore_answer; /* HTTP status for the ignored while it is not awake: 503 or 200; 0: not said, 503 */
        char *busy_command; /* exit 0: it is in use; NULL: none */
        int busy_cpu; /* percent of one processor, from which on it is; 0: not asked */
        bool busy_exec; /* a command that somebody runs in a container is use */
        char **allow;
        char **deny;
        AdoptMode adopt;
        PrewarmMode prewarm;
        char *schedule_wake;
        char *schedule_sleep;
        SleepMethod sleep;

        /* Paths of members that are understood, and checked, but that no program acts on yet. A wake warns of each. */
        char **unsupported;
        bool remembered; /* has errors now: this is its last good definition */
} Service;

typedef enum EngineKind {
        ENGINE_DOCKER,
        ENGINE_PODMAN,
        ENGINE_SWARM,
        _ENGINE_KIND_MAX,
        _ENGINE_KIND_INVALID = -EINVAL,
} EngineKind;

typedef struct Config {
        char *path; /* the main file */
        bool remembered; /* which cannot be used now: all of this is from the last good configuration */
        EngineKind engine;
        char *engine_socket; /* never NULL */
        bool api_sleep_over_tcp;
        char **api_hosts;
        AddressPrefix names_addresses; /* where virtual addresses are taken from */
        Service *services; /* sorted by name; broken ones are not among them */
        size_t n_services;
} Config;

static inline bool service_port_is_udp(const ServicePort *port) {
        return port->protocol == IPPROTO_UDP;
}

bool service_name_is_valid(const char *name);
/* The name of a container, network or exec instance as engines give them: [A-Za-z0-9][A-Za-z0-9_.-]*, at most
 * 255 bytes. Such a name needs no encoding in a path. */
bool engine_name_is_valid(const char *name);

/* Without `listen`, further ports without a `port` are all of UDP. */
static inline bool service_is_redirected(const Service *service) {
        return (service->port > 0 || service->names == NAMES_ON || service->n_ports > 0) && !service->listen;
}
static inline bool service_has_front(const Service *service) {
        return service_is_redirected(service) || service->listen;
}
static inline bool service_has_names(const Service *service) {
        return service_is_redirected(service) && service->names != NAMES_OFF &&
               (service->port > 0 || service->names == NAMES_ON);
}
/* Its clients come by more than ports of UDP. */
static inline bool service_has_main_port(const Service *service) {
        return service->listen || service->port > 0 || service->names == NAMES_ON;
}

/* Of a further container's names, or, of NULL, of those of the one that clients reach; "" if there is none. */
const char *service_virtual_address(const Service *service, const char *container);

/* Its clients speak nothing but UDP: nobody accepts connections. */
bool service_is_udp(const Service *service);

/* Adds the owners of its containers' networks, as far as they are neither among its dependencies nor of a service that it depends on: they are
 * started before all others. `owners` has each container that has another one's network, and then that one. `config` NULL: the service
 * stands alone. -ENOMEM. */
int service_add_owners(Service *service, const Config *config, char *const *owners);
/* From the same list. NULL: its network is its own. */
const char *owners_find(char *const *owners, const char *container);

/* NULL: it has no such container. */
const Dependency *service_find_container(const Service *service, const char *container);
/* What people call it: its `page.title`, or its name. */
const char *service_title(const Service *service);
/* The dependency that is the main container. Never NULL in a config that was loaded. */
const Dependency *service_main(const Service *service);

void service_done(Service *service);
Config *config_free(Config *config);
DEFINE_CLEANUP(Config *, config_free);

/* NULL if there is no such service. */
const Service *config_find(const Config *config, const char *name);

/* That it is on its network is said of it, and not merely taken from the service, whose network is that of its main container. */
bool dependency_names_network(const Service *service, const Dependency *dependency);

const char *dependency_kind_to_string(DependencyKind kind);
const char *page_mode_to_string(PageMode mode);
PageMode page_mode_from_string(const char *text);
