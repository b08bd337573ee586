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

static const JsonField health_fields[] = { { "command", &kind_command, offsetof(HealthMembers, health.command) },
                                           { "http", &kind_url, offsetof(HealthMembers, health.http) },
                                           { "interval", &kind_timeout,
                                             offsetof(HealthMembers, health.interval_usec) },
                                           { "retries", &kind_retries, offsetof(HealthMembers, retries) },
                                           { "tcp", &kind_tcp, offsetof(HealthMembers, health.tcp) },
                                           { "timeout", &kind_timeout, offsetof(HealthMembers, timeout_usec) },
                                           {} };

static int parse_health(JsonWalk *walk, const JsonPath *path, const JsonField *field, json_object *value,
                        void *member) {
        HealthMembers members = { .health.interval_usec = NOT_GIVEN, .timeout_usec = NOT_GIVEN };
        uint64_t tries_usec = 0;
        int r;

        r = json_table_walk(walk, health_fields, &(JsonSource){ .path = path, .object = value }, &members);
        if (!!members.health.command + !!members.health.http + !!members.health.tcp > 1)
                json_walk_refuse(walk, path, value, "expected one of 'command', 'http' and 'tcp', not several");

        if (members.health.interval_usec == NOT_GIVEN)
                members.health.interval_usec = DEFAULT_CHECK_INTERVAL_USEC;
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

static const JsonKind kind_health = { JSON_TYPE(object), parse_health, "an object" };

JSON_KIND_OF_NAMES(kind_type, "\"required\" or \"optional\"", { "required", DEPENDENCY_REQUIRED },
                   { "optional", DEPENDENCY_OPTIONAL });

JSON_KIND_OF_NAMES(kind_condition, "\"ready\", \"started\" or \"completed\"", { "ready", CONDITION_READY },
                   { "started", CONDITION_STARTED }, { "completed", CONDITION_COMPLETED });

typedef struct DependencyMembers {
        Dependency dependency;
        char *names[_DEPENDENCY_KIND_MAX];
} DependencyMembers;

static const JsonField dependency_fields[] = {
        { "condition", &kind_condition, offsetof(DependencyMembers, dependency.condition) },
        { "container", &kind_container, offsetof(DependencyMembers, names[DEPENDENCY_CONTAINER]) },
        { "dependsOn", &kind_dependency_names, offsetof(DependencyMembers, dependency.depends_on) },
        { "estimatedTime", &kind_duration, offsetof(DependencyMembers, dependency.estimated_usec) },
        { "healthCheck", &kind_health, offsetof(DependencyMembers, dependency.health) },
        { "keep", &kind_boolean, offsetof(DependencyMembers, dependency.keep) },
        { "network", &kind_network, offsetof(DependencyMembers, dependency.network) },
        { "parallelGroup", &kind_order, offsetof(DependencyMembers, dependency.parallel_group) },
        { "service", &kind_service, offsetof(DependencyMembers, names[DEPENDENCY_SERVICE]) },
        { "startOrder", &kind_order, offsetof(DependencyMembers, dependency.start_order) },
        { "startupDelay", &kind_duration, offsetof(DependencyMembers, dependency.startup_delay_usec) },
        { "type", &kind_type, offsetof(DependencyMembers, dependency.type) },
        { "unit", &kind_unit, offsetof(DependencyMembers, names[DEPENDENCY_UNIT]) },
        {}
};

static void dependency_init(Dependency *dependency) {
        *dependency = (Dependency){
                .start_order = DEFAULT_START_ORDER,
                .ordered = true,
                .health = { .interval_usec = DEFAULT_CHECK_INTERVAL_USEC,
                            .budget_usec = DEFAULT_CHECK_BUDGET_USEC },
                .startup_delay_usec = NOT_GIVEN,
                .estimated_usec = NOT_GIVEN,
        };
}

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
        DependencyMembers members = {};
        int r = 0;

        dependency_init(&members.dependency);
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

        if (n > CONFIG_DEPENDENCIES_MAX)
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

static const JsonKind kind_dependencies = { JSON_TYPE(array), parse_dependencies,
                                            "a list of at most 256 objects" };

JSON_KIND_OF_NAMES(kind_page, "\"auto\", \"always\" or \"never\"", { "auto", PAGE_AUTO },
                   { "always", PAGE_ALWAYS }, { "never", PAGE_NEVER });
JSON_KIND_OF_NAMES(kind_proxy_protocol, "\"none\", \"v1\" or \"v2\"", { "none", 0 }, { "v1", 1 }, { "v2", 2 });
JSON_KIND_OF_NAMES(kind_protocol, "\"tcp\" or \"udp\"", { "tcp", IPPROTO_TCP }, { "udp", IPPROTO_UDP });

static const JsonField port_fields[] = { { "backend", &kind_backend, offsetof(ServicePort, backend) },
                                         { "listen", &kind_listen, offsetof(ServicePort, listen) },
                                         { "page", &kind_page, offsetof(ServicePort, page) },
                                         { "port", &kind_port, offsetof(ServicePort, port), JSON_MANDATORY },
                                         { "protocol", &kind_protocol, offsetof(ServicePort, protocol) },
                                         { "proxyProtocol", &kind_proxy_protocol,
                                           offsetof(ServicePort, proxy_protocol) },
                                         {} };

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

        if (n > CONFIG_PORTS_MAX)
                return -ERANGE;
        service->ports_given = true;
        service->ports = new0(ServicePort, n + 1);
        if (!service->ports)
                return -ENOMEM;
        for (size_t i = 0; i < n && r >= 0; i++) {
                JsonPath element = json_path_element(path, i);
                ServicePort *port = &service->ports[service->n_ports++];

                *port = (ServicePort){ .protocol = IPPROTO_TCP, .page = _PAGE_MODE_INVALID, .proxy_protocol = -1 };
                r = parse_port(walk, &element, json_object_array_get_idx(value, i), port);
        }
        return r;
}

static const JsonKind kind_ports = { JSON_TYPE(array), parse_ports,
                                     "a list of at most 64 ports, or of objects with 'port'" };

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

static const JsonKind kind_answer = { JSON_TYPE_NUMBER, parse_answer, "200 or 503" };

static const JsonField ignore_fields[] = { { "addresses", &kind_networks, offsetof(Service, ignore_addresses) },
                                           { "answer", &kind_answer, offsetof(Service, ignore_answer) },
                                           { "paths", &kind_url_paths, offsetof(Service, ignore_paths) },
                                           { "userAgents", &kind_user_agents,
                                             offsetof(Service, ignore_user_agents) },
                                           {} };

static const JsonField busy_fields[] = { { "command", &kind_command, offsetof(Service, busy_command) },
                                         { "cpu", &kind_percent, offsetof(Service, busy_cpu) },
                                         { "exec", &kind_boolean, offsetof(Service, busy_exec) },
                                         {} };

static const JsonField schedule_fields[] = { { "sleep", &kind_calendar, offsetof(Service, schedule_sleep), LATER },
                                             { "wake", &kind_calendar, offsetof(Service, schedule_wake), LATER },
                                             {} };

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
};
static const JsonKind kind_busy = { JSON_TYPE(object), parse_busy, "an object with 'command', 'cpu' or 'exec'" };
static const JsonKind kind_schedule = { JSON_TYPE(object), parse_schedule, "an object with 'wake' or 'sleep'" };

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
        .longest = 200,
        .valid = engine_name_is_valid,
};

static const JsonField service_fields[] = {
        { "adopt", &kind_adopt, offsetof(Service, adopt) },
        { "allow", &kind_networks, offsetof(Service, allow), JSON_GUARD },
        { "backend", &kind_backend, offsetof(Service, backend) },
        { "busy", &kind_busy, 0 },
        { "composeDir", &kind_folder, offsetof(Service, compose_dir) },
        { "crossNetworkDeps", &kind_boolean, offsetof(Service, cross_network) },
        { "deny", &kind_networks, offsetof(Service, deny), JSON_GUARD },
        { "dependencies", &kind_dependencies, 0, JSON_OWN },
        { "details", &kind_boolean, offsetof(Service, page_details) },
        { "drainTimeout", &kind_duration, offsetof(Service, drain_timeout_usec) },
        { "globalTimeout", &kind_timeout, offsetof(Service, global_timeout_usec) },
        { "idleBytes", &kind_boolean, offsetof(Service, idle_bytes) },
        { "idleTimeout", &kind_idle_timeout, offsetof(Service, idle_timeout_usec) },
        { "ignore", &kind_ignore, 0 },
        { "listen", &kind_listen, offsetof(Service, listen), JSON_OWN },
        { "name", &kind_container, offsetof(Service, container), JSON_OWN | JSON_MANDATORY },
        { "names", &kind_names, 0 },
        { "network", &kind_network, offsetof(Service, network) },
        { "page", &kind_page, offsetof(Service, page) },
        { "port", &kind_port, offsetof(Service, port), JSON_OWN },
        { "ports", &kind_ports, 0, JSON_OWN },
        { "prewarm", &kind_prewarm, offsetof(Service, prewarm), LATER_UNLESS, PREWARM_OFF },
        { "proxyProtocol", &kind_proxy_protocol, offsetof(Service, proxy_protocol) },
        { "redirectPort", &kind_redirect_port, offsetof(Service, redirect_port), JSON_OWN },
        { "schedule", &kind_schedule, 0 },
        { "sleep", &kind_sleep, offsetof(Service, sleep) },
        { "title", &kind_title, offsetof(Service, page_title) },
        {}
};

static void service_init(Service *service) {
        *service = (Service){
                .name = service->name,
                .order = service->order,
                .idle_timeout_usec = DEFAULT_IDLE_TIMEOUT_USEC,
                .global_timeout_usec = DEFAULT_GLOBAL_TIMEOUT_USEC,
                .drain_timeout_usec = DEFAULT_DRAIN_TIMEOUT_USEC,
                .page_details = true,
                .busy_exec = true,
        };
}

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
        dependency_init(dependency);
        dependency_complete(dependency);
        dependency->start_order = last + 1;
        dependency->name = strdup(service->container);
        return dependency->name ? 0 : -ENOMEM;
}

int service_read(Draft *draft, const JsonPath *path, json_object *object) {
        static const JsonPath defaults_path = { .name = "defaults", .length = 8 };
        Service *service = &draft->current->service;
        int r;

        service_init(service);
        r = json_table_walk(&draft->walk, service_fields,
                            &(JsonSource){ path, object, &defaults_path, draft->defaults }, service);
        if (r < 0)
                return r;
        return service_add_main(draft->current);
}

int service_check_defaults(Draft *draft, const JsonPath *path, json_object *object) {
        const char *own = draft->walk.own;
        __typeof__(draft->walk.marked) marked = draft->walk.marked;
        Service scratch = {};
        int r;

        service_init(&scratch);
        draft->walk.own = "belongs to one service, and cannot hold for all";
        draft->walk.marked = NULL;
        r = json_table_walk(&draft->walk, service_fields, &(JsonSource){ .path = path, .object = object },
                            &scratch);
        draft->walk.own = own;
        draft->walk.marked = marked;
        service_done(&scratch);
        return r;
}
