#include "config/kinds.h"
#include "config/members.h"
#include "model/defaults.h"

/* Service members: the tables of what a service, a dependency and a health check may have, and what holds where
 * nothing is given. A member that is checked but that no program acts on yet is marked LATER; where the value
 * that is in force anyway may be written down, LATER_UNLESS. */

#define LATER JSON_MARKED
#define LATER_UNLESS JSON_MARKED_UNLESS

#define NOT_GIVEN USEC_INFINITY /* for durations, none of which is that long */

typedef struct HealthMembers {
        HealthCheck health;
        uint64_t timeout_usec;
        int retries;
} HealthMembers;

static const JsonField health_fields[] = {
        { "command", &kind_command, offsetof(HealthMembers, health.command),
          .help = "A shell command, run on the host: the container is ready when it exits with 0." },
        { "http", &kind_url, offsetof(HealthMembers, health.http),
          .help = "A URL that is asked for: ready when it answers with a status of 200 to 399. No host: the container's address." },
        { "interval", &kind_timeout, offsetof(HealthMembers, health.interval_usec),
          .help = "The longest pause between two tries." },
        { "retries", &kind_retries, offsetof(HealthMembers, retries),
          .help = "Time is given for so many tries, one interval apart." },
        { "tcp", &kind_tcp, offsetof(HealthMembers, health.tcp),
          .help = "A port that has to accept, at the container's address, or an address and a port." },
        { "timeout", &kind_timeout, offsetof(HealthMembers, timeout_usec),
          .help = "How long the container may take until it is ready." },
        {},
};

static const HealthMembers health_initial = {
        .health.interval_usec = DEFAULT_CHECK_INTERVAL_USEC,
        .timeout_usec = NOT_GIVEN,
};

static int parse_health(JsonWalk *walk, const JsonPath *path, const JsonField *field, json_object *value,
                        void *member) {
        HealthMembers members = health_initial;
        uint64_t tries_usec = 0;
        int r;

        r = json_table_walk(walk, health_fields, &(JsonSource){ .path = path, .object = value }, &members);
        if (!!members.health.command + !!members.health.http + !!members.health.tcp > 1)
                json_walk_refuse(walk, path, value, "expected one of 'command', 'http' and 'tcp', not several");

        if (members.retries > 0 &&
            __builtin_mul_overflow(members.health.interval_usec, (uint64_t) members.retries, &tries_usec))
                tries_usec = USEC_INFINITY - 1;
        members.health.budget_given = members.timeout_usec != NOT_GIVEN || members.retries > 0;
        if (members.timeout_usec != NOT_GIVEN)
                members.health.budget_usec = MAX(members.timeout_usec, tries_usec);
        else
                members.health.budget_usec = members.retries > 0 ? tries_usec : DEFAULT_CHECK_BUDGET_USEC;
        *(HealthCheck *) member = members.health;
        return r;
}

static const JsonKind kind_health = { JSON_TYPE(object), parse_health, "an object", .fields = health_fields,
                                      .initial = &health_initial };

JSON_KIND_OF_NAMES(kind_type, "\"required\" or \"optional\"", { "required", DEPENDENCY_REQUIRED },
                   { "optional", DEPENDENCY_OPTIONAL });

JSON_KIND_OF_NAMES(kind_condition, "\"ready\", \"started\" or \"completed\"", { "ready", CONDITION_READY },
                   { "started", CONDITION_STARTED }, { "completed", CONDITION_COMPLETED });

typedef struct DependencyMembers {
        Dependency dependency;
        char *names[_DEPENDENCY_KIND_MAX];
} DependencyMembers;

static const JsonField dependency_fields[] = {
        { "condition", &kind_condition, offsetof(DependencyMembers, dependency.condition),
          .help = "What whoever waits for it waits for: that it is ready, that it runs, or that it has ended with exit status 0." },
        { "container", &kind_container, offsetof(DependencyMembers, names[DEPENDENCY_CONTAINER]),
          .help = "Its name in the engine." },
        { "dependsOn", &kind_dependency_names, offsetof(DependencyMembers, dependency.depends_on),
          .help = "The dependencies of this service that it waits for, and then for nothing else." },
        { "estimatedTime", &kind_duration, offsetof(DependencyMembers, dependency.estimated_usec),
          .help = "How long it is likely to take: a hint for the order, and for the page." },
        { "healthCheck", &kind_health, offsetof(DependencyMembers, dependency.health),
          .help = "When it counts as ready; without one, its own HEALTHCHECK decides, or startupDelay." },
        { "keep", &kind_boolean, offsetof(DependencyMembers, dependency.keep), .help = "It is never stopped." },
        { "network", &kind_network, offsetof(DependencyMembers, dependency.network),
          .help = "The engine's network that it is reached on, if not the service's; needs crossNetworkDeps." },
        { "parallelGroup", &kind_order, offsetof(DependencyMembers, dependency.parallel_group),
          .help = "Steps are in the order of startOrder, and then of this." },
        { "service", &kind_service, offsetof(DependencyMembers, names[DEPENDENCY_SERVICE]),
          .help = "Another service of this configuration, which is held awake as long as this one is awake." },
        { "startOrder", &kind_order, offsetof(DependencyMembers, dependency.start_order),
          .help = "Steps are in this order; what has the same order and group starts together." },
        { "startupDelay", &kind_duration, offsetof(DependencyMembers, dependency.startup_delay_usec),
          .help = "When it counts as ready if nothing can be asked about it." },
        { "type", &kind_type, offsetof(DependencyMembers, dependency.type),
          .help = "Whether it is waited for, and its failure fails the wake." },
        { "unit", &kind_unit, offsetof(DependencyMembers, names[DEPENDENCY_UNIT]),
          .help = "A systemd unit by its full name, such as postgresql.service." },
        {},
};

static const DependencyMembers dependency_initial = {
        .dependency = {
                .start_order = DEFAULT_START_ORDER,
                .ordered = true,
                .health = { .interval_usec = DEFAULT_CHECK_INTERVAL_USEC,
                            .budget_usec = DEFAULT_CHECK_BUDGET_USEC },
                .startup_delay_usec = NOT_GIVEN,
                .estimated_usec = NOT_GIVEN,
        },
};

static void dependency_complete(Dependency *dependency) {
        if (dependency->estimated_usec == NOT_GIVEN)
                dependency->estimated_usec = dependency->startup_delay_usec;
        if (dependency->startup_delay_usec == NOT_GIVEN)
                dependency->startup_delay_usec = DEFAULT_STARTUP_DELAY_USEC;
        if (dependency->estimated_usec == NOT_GIVEN)
                dependency->estimated_usec = DEFAULT_STARTUP_DELAY_USEC;
}

/* Which of container, unit and service it is: exactly one. */
static void dependency_take_name(JsonWalk *walk, const JsonPath *path, json_object *value,
                                 DependencyMembers *members) {
        size_t given = 0;

        for (DependencyKind kind = 0; kind < _DEPENDENCY_KIND_MAX; kind++) {
                given += json_object_object_get_ex(value, dependency_kind_to_string(kind), NULL);
                if (!members->names[kind])
                        continue;
                free(members->dependency.name);
                members->dependency.name = TAKE_PTR(members->names[kind]);
                members->dependency.kind = kind;
        }

        if (given == 0)
                json_walk_refuse(walk, path, value, "'container' is missing, expected that, 'unit' or 'service'");
        else if (given > 1)
                json_walk_refuse(walk, path, value,
                                 "expected one of 'container', 'unit' and 'service', not several");
}

/* Who names what it waits for is in a step only if it says so. */
static bool dependency_is_ordered(const Dependency *dependency, json_object *value) {
        return strv_length(dependency->depends_on) == 0 || json_object_object_get_ex(value, "startOrder", NULL) ||
               json_object_object_get_ex(value, "parallelGroup", NULL);
}

static int parse_dependency(JsonWalk *walk, const JsonPath *path, json_object *value, Dependency *ret) {
        DependencyMembers members = dependency_initial;
        int r = 0;

        if (json_object_is_type(value, json_type_object)) {
                r = json_table_walk(walk, dependency_fields, &(JsonSource){ .path = path, .object = value },
                                    &members);
                dependency_take_name(walk, path, value, &members);
                members.dependency.ordered = dependency_is_ordered(&members.dependency, value);
        } else
                json_walk_refuse(walk, path, value, "expected an object with 'container', 'unit' or 'service'");

        dependency_complete(&members.dependency);
        *ret = members.dependency;
        return r;
}

/* Fills the service's list. What is refused keeps its place in it, so that indexes are those of the file. */
static int parse_dependencies(JsonWalk *walk, const JsonPath *path, const JsonField *field, json_object *value,
                              void *member) {
        size_t n = json_object_array_length(value);
        Service *service = member;

        if (n > (size_t) field->kind->maximum)
                return -ERANGE;
        service->dependencies = new0(Dependency, n + 1); /* one more, for the main container */
        if (!service->dependencies)
                return -ENOMEM;
        for (size_t i = 0; i < n; i++) {
                JsonPath element = json_path_element(path, i);
                int r;

                r = parse_dependency(walk, &element, json_object_array_get_idx(value, i),
                                     &service->dependencies[service->n_dependencies++]);
                if (r < 0)
                        return r;
        }
        return 0;
}

static const JsonKind kind_dependency = { JSON_TYPE(object), .fields = dependency_fields,
                                          .initial = &dependency_initial };
static const JsonKind kind_dependencies = { JSON_TYPE(array), parse_dependencies, "a list of at most 256 objects",
                                            .maximum = CONFIG_DEPENDENCIES_MAX, .element = &kind_dependency };

JSON_KIND_OF_NAMES(kind_page, "\"auto\", \"always\" or \"never\"", { "auto", PAGE_AUTO },
                   { "always", PAGE_ALWAYS }, { "never", PAGE_NEVER });
JSON_KIND_OF_NAMES(kind_proxy_protocol, "\"none\", \"v1\" or \"v2\"", { "none", 0 }, { "v1", 1 }, { "v2", 2 });
JSON_KIND_OF_NAMES(kind_protocol, "\"tcp\" or \"udp\"", { "tcp", IPPROTO_TCP }, { "udp", IPPROTO_UDP });

static const JsonField port_fields[] = {
        { "backend", &kind_backend, offsetof(ServicePort, backend),
          .help = "Where clients of this port are forwarded." },
        { "listen", &kind_listen, offsetof(ServicePort, listen),
          .help = "Proxy mode: the addresses of this port." },
        { "page", &kind_page, offsetof(ServicePort, page),
          .help = "Who sees a page instead of waiting; else as the service says." },
        { "port", &kind_port, offsetof(ServicePort, port), JSON_MANDATORY,
          .help = "Its number, as clients use it." },
        { "protocol", &kind_protocol, offsetof(ServicePort, protocol), .help = "What clients speak." },
        { "proxyProtocol", &kind_proxy_protocol, offsetof(ServicePort, proxy_protocol),
          .help = "The header that the backend gets; else as the service says." },
        {},
};

static const ServicePort port_initial = { .protocol = IPPROTO_TCP,
                                          .page = _PAGE_MODE_INVALID,
                                          .proxy_protocol = -1 };

/* A number, or an object that says more of it. */
static int parse_port(JsonWalk *walk, const JsonPath *path, json_object *value, ServicePort *port) {
        static const JsonField number = { "port", &kind_port, offsetof(ServicePort, port) };
        int r;

        if (json_object_is_type(value, json_type_object))
                return json_table_walk(walk, port_fields, &(JsonSource){ .path = path, .object = value }, port);
        r = json_object_is_type(value, json_type_int) || json_object_is_type(value, json_type_double)
                            ? kind_port.parse(walk, path, &number, value, &port->port)
                            : -EINVAL;
        if (r == -ENOMEM)
                return r;
        if (r < 0)
                json_walk_refuse(walk, path, value, "expected a TCP port, or an object with 'port'");
        return 0;
}

/* Fills the service's list, as parse_dependencies(). */
static int parse_ports(JsonWalk *walk, const JsonPath *path, const JsonField *field, json_object *value,
                       void *member) {
        size_t n = json_object_array_length(value);
        Service *service = member;
        int r = 0;

        if (n > (size_t) field->kind->maximum)
                return -ERANGE;
        service->ports_given = true;
        service->ports = new0(ServicePort, n + 1);
        if (!service->ports)
                return -ENOMEM;
        for (size_t i = 0; i < n && r >= 0; i++) {
                JsonPath element = json_path_element(path, i);
                ServicePort *port = &service->ports[service->n_ports++];

                *port = port_initial;
                r = parse_port(walk, &element, json_object_array_get_idx(value, i), port);
        }
        return r;
}

static const JsonKind kind_one_port = { JSON_TYPE_NUMBER | JSON_TYPE(object), .minimum = 1, .maximum = UINT16_MAX,
                                        .fields = port_fields, .initial = &port_initial };
static const JsonKind kind_ports = { JSON_TYPE(array), parse_ports,
                                     "a list of at most 64 ports, or of objects with 'port'",
                                     .maximum = CONFIG_PORTS_MAX, .element = &kind_one_port };

static int parse_answer(JsonWalk *walk, const JsonPath *path, const JsonField *field, json_object *value,
                        void *member) {
        int64_t status;
        int r;

        r = json_get_integer(value, 200, 503, &status);
        if (r < 0 || (status != 200 && status != 503))
                return -EINVAL;
        *(int *) member = (int) status;
        return 0;
}

static const JsonKind kind_answer = { JSON_TYPE_NUMBER, parse_answer, "200 or 503", .minimum = 200,
                                      .maximum = 503 };

static const Service service_initial = {
        .idle_timeout_usec = DEFAULT_IDLE_TIMEOUT_USEC,
        .global_timeout_usec = DEFAULT_GLOBAL_TIMEOUT_USEC,
        .drain_timeout_usec = DEFAULT_DRAIN_TIMEOUT_USEC,
        .page_details = true,
        .busy_exec = true,
};

static const JsonField ignore_fields[] = {
        { "addresses", &kind_networks, offsetof(Service, ignore_addresses),
          .help = "Addresses, or networks such as 10.0.0.0/8." },
        { "answer", &kind_answer, offsetof(Service, ignore_answer),
          .help = "The status that those who are ignored get while the service sleeps." },
        { "paths", &kind_url_paths, offsetof(Service, ignore_paths),
          .help = "Paths of requests, each with what lies below it; * is any text." },
        { "userAgents", &kind_user_agents, offsetof(Service, ignore_user_agents),
          .help = "Texts that occur in User-Agent; * is any text. @monitors, @crawlers and @scanners are lists of their own." },
        {},
};

static const JsonField busy_fields[] = {
        { "command", &kind_command, offsetof(Service, busy_command),
          .help = "A shell command of the host, which exits with 0 while there is something to do." },
        { "cpu", &kind_percent, offsetof(Service, busy_cpu),
          .help = "Percent of one processor that its containers use together." },
        { "exec", &kind_boolean, offsetof(Service, busy_exec),
          .help = "Whether a command that somebody runs in a container (docker exec) counts." },
        {},
};

static const JsonField schedule_fields[] = {
        { "sleep", &kind_calendar, offsetof(Service, schedule_sleep), LATER,
          .help = "When it is put to sleep: a calendar expression of systemd.time(7). Has no effect yet." },
        { "wake", &kind_calendar, offsetof(Service, schedule_wake), LATER,
          .help = "When it is woken: a calendar expression of systemd.time(7). Has no effect yet." },
        {},
};

/* Objects whose members are the service's: `member` is the service. */
static int parse_ignore(JsonWalk *walk, const JsonPath *path, const JsonField *field, json_object *value,
                        void *member) {
        return json_table_walk(walk, ignore_fields, &(JsonSource){ .path = path, .object = value }, member);
}

static int parse_busy(JsonWalk *walk, const JsonPath *path, const JsonField *field, json_object *value,
                      void *member) {
        return json_table_walk(walk, busy_fields, &(JsonSource){ .path = path, .object = value }, member);
}

static int parse_schedule(JsonWalk *walk, const JsonPath *path, const JsonField *field, json_object *value,
                          void *member) {
        return json_table_walk(walk, schedule_fields, &(JsonSource){ .path = path, .object = value }, member);
}

static const JsonKind kind_ignore = {
        JSON_TYPE(object),
        parse_ignore,
        "an object with 'addresses', 'userAgents' or 'paths', and 'answer'",
        .fields = ignore_fields,
        .initial = &service_initial,
};
static const JsonKind kind_busy = { JSON_TYPE(object), parse_busy, "an object with 'command', 'cpu' or 'exec'",
                                    .fields = busy_fields, .initial = &service_initial };
static const JsonKind kind_schedule = { JSON_TYPE(object), parse_schedule, "an object with 'wake' or 'sleep'",
                                        .fields = schedule_fields };

JSON_KIND_OF_NAMES(kind_prewarm, "\"off\", \"dependencies\" or \"all\"", { "off", PREWARM_OFF },
                   { "dependencies", PREWARM_DEPENDENCIES }, { "all", PREWARM_ALL });

JSON_KIND_OF_NAMES(kind_sleep, "\"stop\" or \"pause\"", { "stop", SLEEP_STOP }, { "pause", SLEEP_PAUSE });

static int parse_adopt(JsonWalk *walk, const JsonPath *path, const JsonField *field, json_object *value,
                       void *member) {
        AdoptMode *adopt = member;

        *adopt = json_object_get_boolean(value) ? ADOPT_ALL : ADOPT_NONE;
        return 0;
}

static const JsonKind kind_adopt = { JSON_TYPE(boolean), parse_adopt, "true or false" };

static int parse_names(JsonWalk *walk, const JsonPath *path, const JsonField *field, json_object *value,
                       void *member) {
        _cleanup_(strv_freep) char **containers = NULL;
        Service *service = member;
        int r;

        service->names = json_object_is_type(value, json_type_array) || json_object_get_boolean(value) ? NAMES_ON
                                                                                                       : NAMES_OFF;
        if (!json_object_is_type(value, json_type_array))
                return 0;
        /* In the defaults, where it is reported once. */
        if (walk->own || walk->muted) {
                json_walk_refuse(walk, path, value, "a list %s", strempty(walk->own));
                return 1;
        }
        r = json_parse_texts(walk, path, field, value, &containers);
        if (r != 0)
                return r;
        service->named = new0(NamedContainer, strv_length(containers));
        if (!service->named)
                return -ENOMEM;
        for (char **container = containers; *container; container++)
                service->named[service->n_named++].container = TAKE_PTR(*container);
        return 0;
}

static const JsonKind kind_names = {
        JSON_TYPE(boolean) | JSON_TYPE(array),
        parse_names,
        "true, false, or a list of 1 to 32 containers of the service",
        .minimum = 1,
        .maximum = NAMED_MAX,
        .element = &kind_container,
        .longest = 200,
        .valid = engine_name_is_valid,
};

static const JsonField service_fields[] = {
        { "adopt", &kind_adopt, offsetof(Service, adopt),
          .help = "Whether containers that somebody else has started are stopped when the stack goes to sleep: all (true) or none (false)." },
        { "allow", &kind_networks, offsetof(Service, allow), JSON_GUARD,
          .help = "Only these addresses or networks may connect; needs listen." },
        { "backend", &kind_backend, offsetof(Service, backend),
          .help = "Where clients are forwarded: ADDRESS:PORT, [IPV6]:PORT or CONTAINER:PORT." },
        { "busy", &kind_busy, 0, .help = "What else than a client keeps the stack awake." },
        { "composeDir", &kind_folder, offsetof(Service, compose_dir),
          .help = "Folder of the compose project, which makes containers that do not exist." },
        { "crossNetworkDeps", &kind_boolean, offsetof(Service, cross_network),
          .help = "Allows dependencies on other networks than the service's, and connects them." },
        { "deny", &kind_networks, offsetof(Service, deny), JSON_GUARD,
          .help = "These addresses or networks may not connect; needs listen." },
        { "dependencies", &kind_dependencies, 0, JSON_OWN,
          .help = "What is started for it, the main container among them; if that is missing, it is the last." },
        { "details", &kind_boolean, offsetof(Service, page_details),
          .help = "Whether visitors of the page see which containers there are, and why one has failed." },
        { "drainTimeout", &kind_duration, offsetof(Service, drain_timeout_usec),
          .help = "How long connections may go on when the stack is put to sleep by hand." },
        { "globalTimeout", &kind_timeout, offsetof(Service, global_timeout_usec),
          .help = "A wake that takes longer fails." },
        { "idleBytes", &kind_boolean, offsetof(Service, idle_bytes),
          .help = "A connection on which the client has sent nothing for idleTimeout counts as none; needs listen." },
        { "idleTimeout", &kind_idle_timeout, offsetof(Service, idle_timeout_usec),
          .help = "The stack sleeps when it was not used for so long; 0 is never." },
        { "ignore", &kind_ignore, 0, .help = "Who neither wakes the stack nor keeps it awake." },
        { "listen", &kind_listen, offsetof(Service, listen), JSON_OWN,
          .help = "Proxy mode: the addresses on which clients are accepted, and always forwarded to the backend." },
        { "name", &kind_container, offsetof(Service, container), JSON_OWN | JSON_MANDATORY,
          .help = "The main container: the one that clients want to reach." },
        { "names", &kind_names, 0,
          .help = "Whether its names resolve on its networks while it sleeps; a list adds those of other containers." },
        { "network", &kind_network, offsetof(Service, network),
          .help = "The engine's network on which the containers are reached." },
        { "page", &kind_page, offsetof(Service, page),
          .help = "Who sees a page instead of waiting: browsers (auto), all who ask for something (always), or nobody." },
        { "port", &kind_port, offsetof(Service, port), JSON_OWN,
          .help = "The TCP port that the main container publishes on the host." },
        { "ports", &kind_ports, 0, JSON_OWN,
          .help = "The further ports; left out: all that its containers publish." },
        { "prewarm", &kind_prewarm, offsetof(Service, prewarm), LATER_UNLESS, PREWARM_OFF,
          .help = "What is started ahead of time. Has no effect but for \"off\" yet." },
        { "proxyProtocol", &kind_proxy_protocol, offsetof(Service, proxy_protocol),
          .help = "The version of the PROXY protocol's header that the backend gets; needs listen." },
        { "redirectPort", &kind_redirect_port, offsetof(Service, redirect_port), JSON_OWN,
          .help = "Where clients of a sleeping stack are redirected to, otherwise port + 20000 or a free one." },
        { "schedule", &kind_schedule, 0,
          .help = "When it is woken and put to sleep by the clock. Has no effect yet." },
        { "sleep", &kind_sleep, offsetof(Service, sleep),
          .help = "What becomes of the containers: stopped, or paused, which frees no memory but wakes at once." },
        { "title", &kind_title, offsetof(Service, page_title),
          .help = "Its name on the page, and the unit's description." },
        {},
};

/* The main container is a dependency too: the last one, if the file does not say which. */
static int service_add_main(DraftService *entry) {
        Service *service = &entry->service;
        Dependency *dependency;
        int last = DEFAULT_START_ORDER - 1;

        if (!service->container)
                return 0;
        for (size_t i = 0; i < service->n_dependencies; i++) {
                dependency = &service->dependencies[i];
                if (dependency->kind == DEPENDENCY_CONTAINER && dependency->name &&
                    streq(dependency->name, service->container))
                        return 0;
                last = MAX(last, dependency->start_order);
        }

        if (!service->dependencies) {
                service->dependencies = new0(Dependency, 1);
                if (!service->dependencies)
                        return -ENOMEM;
        }
        entry->main_is_added = true;
        dependency = &service->dependencies[service->n_dependencies++];
        *dependency = dependency_initial.dependency;
        dependency_complete(dependency);
        dependency->start_order = last + 1;
        dependency->name = strdup(service->container);
        return dependency->name ? 0 : -ENOMEM;
}

int service_read(Draft *draft, const JsonPath *path, json_object *object) {
        static const JsonPath defaults_path = { .name = "defaults", .length = 8 };
        Service *service = &draft->current->service, initial = service_initial;
        int r;

        initial.name = service->name;
        initial.order = service->order;
        *service = initial;
        r = json_table_walk(&draft->walk, service_fields,
                            &(JsonSource){ path, object, &defaults_path, draft->defaults }, service);
        if (r < 0)
                return r;
        return service_add_main(draft->current);
}

int service_check_defaults(Draft *draft, const JsonPath *path, json_object *object) {
        const char *own = draft->walk.own;
        __typeof__(draft->walk.marked) marked = draft->walk.marked;
        Service scratch = service_initial;
        int r;

        draft->walk.own = "belongs to one service, and cannot hold for all";
        draft->walk.marked = NULL;
        r = json_table_walk(&draft->walk, service_fields, &(JsonSource){ .path = path, .object = object },
                            &scratch);
        draft->walk.own = own;
        draft->walk.marked = marked;
        service_done(&scratch);
        return r;
}

const JsonKind kind_members = { JSON_TYPE(object), .fields = service_fields, .initial = &service_initial };
