#include <arpa/inet.h>

#include "config/checks.h"
#include "config/listen.h"
#include "model/plan.h"
#include "util/address.h"
#include "util/json-members.h"
#include "util/nearest.h"
#include "util/text.h"

/* Service checks: what the members of one service mean together, and then its dependencies, each for its kind and together:
 * networks, names, and who waits for whom. A member that was given but refused is reported already; nothing is said here that
 * would follow from its absence only. A dependency that was refused keeps its place, so that the others are looked at all the
 * same. */

typedef struct Name {
        const char *name;
        size_t index; /* of the dependency */
} Name;

typedef struct Check {
        Draft *draft;
        DraftService *entry;
        Service *service;
        const JsonPath *path;
        json_object *object;

        Name *names; /* of the dependencies, sorted */
        size_t n_names;
} Check;

/* Reporting */

static bool given(const Check *check, const char *name) {
        return json_object_object_get_ex(check->object, name, NULL);
}

static void report(const Check *check, ProblemLevel level, const JsonPath *path, json_object *value,
                   const char *text) {
        _cleanup_free_ char *shown = NULL;

        if (!problem_list_is_full(check->draft->problems) && value)
                shown = json_value_to_string(value);
        (level == PROBLEM_ERROR ? draft_refuse : draft_warn)(check->draft, check->entry, path, shown, "%s", text);
}

static void refuse(const Check *check, const char *name, const char *text) {
        JsonPath path = json_path_member(check->path, name);

        report(check, PROBLEM_ERROR, &path, json_object_object_get(check->object, name), text);
}

static void warn_useless(const Check *check, const char *name, const char *text) {
        JsonPath path = json_path_member(check->path, name);

        if (given(check, name))
                report(check, PROBLEM_WARNING, &path, json_object_object_get(check->object, name), text);
}

/* What the file says of a dependency: at `member`, or within that at `nested`. */
static json_object *dependency_value(const Check *check, size_t i, const char *member, const char *nested) {
        json_object *list = json_member_of(check->object, "dependencies", json_type_array);
        json_object *value = list ? json_member(json_object_array_get_idx(list, i), member) : NULL;

        return nested ? json_member(value, nested) : value;
}

static void report_dependency(const Check *check, ProblemLevel level, size_t i, const char *member,
                              const char *nested, json_object *value, const char *text) {
        JsonPath list = json_path_member(check->path, "dependencies");
        JsonPath element = json_path_element(&list, i);
        JsonPath path = json_path_member(&element, member);
        JsonPath within = json_path_member(&path, strempty(nested));

        report(check, level, nested ? &within : &path, value, text);
}

static void refuse_member(const Check *check, size_t i, const char *member, const char *text) {
        report_dependency(check, PROBLEM_ERROR, i, member, NULL, dependency_value(check, i, member, NULL), text);
}

static void warn_useless_member(const Check *check, size_t i, const char *member, const char *text) {
        json_object *value = dependency_value(check, i, member, NULL);

        if (value)
                report_dependency(check, PROBLEM_WARNING, i, member, NULL, value, text);
}

/* A name that the dependency waits for. */
static void refuse_depends_on(const Check *check, size_t i, const char *name, const char *text) {
        json_object *value = json_object_new_string(name);

        report_dependency(check, PROBLEM_ERROR, i, "dependsOn", NULL, value, text);
        json_object_put(value);
}

/* The service's own members */

static const char needs_listen[] =
                "needs 'listen': without it, clients of an awake service do not pass through wakechain";

/* What holds only where all clients pass through us. From the defaults, it may meet a service without clients. */
static void check_guard(const Check *check, const char *name, bool wanted) {
        if (wanted && (given(check, name) || given(check, "port")))
                refuse(check, name, needs_listen);
}

/* Health checks of proxies are what most requests are that somebody wants to be ignored. */
static void check_ignore(const Check *check) {
        JsonPath path = json_path_member(check->path, "ignore");
        const Service *service = check->service;

        if (!service->ignore_paths && !service->ignore_user_agents)
                return;
        if (service->ignore_answer == 0)
                report(check, PROBLEM_WARNING, &path, NULL,
                       "a proxy whose health check it names gets 503 while the service sleeps, takes it for "
                       "down, and lets nobody through to wake it: say \"answer\": 200, or 503 if no proxy asks");
        if (!service->listen && service->port > 0)
                report(check, PROBLEM_WARNING, &path, NULL,
                       "'paths' and 'userAgents' hold only while the service sleeps: without 'listen' clients of "
                       "an awake service do not pass through wakechain, and such requests keep it awake");
}

static void check_redirect(const Check *check) {
        Service *service = check->service;

        /* From the defaults, it does not give a port to those that have none. */
        if (service->names == NAMES_ON && !given(check, "names"))
                service->names = NAMES_AUTO;
        check_guard(check, "allow", service->allow);
        check_guard(check, "deny", service->deny);
        check_guard(check, "proxyProtocol", service->proxy_protocol > 0);
        if (!service_is_redirected(service)) {
                if (given(check, "port"))
                        return;
                if (service->redirect_port > 0)
                        warn_useless(check, "redirectPort", "has no effect without 'port' or 'names'");
                if (service->backend)
                        warn_useless(check, "backend", "has no effect without 'port', 'names' or 'listen'");
                service->redirect_port = 0;
                return;
        }
        if (service->backend && !service_has_main_port(service))
                warn_useless(check, "backend", "has no effect for ports of UDP alone: each may have its own");
        if (service->idle_bytes)
                warn_useless(check, "idleBytes",
                             "has no effect without 'listen': clients of an awake service do not pass through wakechain");

        check->entry->needs_redirect_port = !given(check, "redirectPort");
}

static void check_proxy(const Check *check) {
        Service *service = check->service;

        if (service->redirect_port > 0)
                warn_useless(check, "redirectPort", "has no effect beside 'listen'");
        service->redirect_port = 0;
        if (service->names == NAMES_ON)
                warn_useless(check, "names", "has no effect beside 'listen'");
        if (!given(check, "port") && !given(check, "backend") && !service->backend)
                refuse(check, "port",
                       "is missing, and so is 'backend': expected one of them, to forward clients to");
}

/* A name could mean another address at each look; a container's is asked of the engine after each start. */
static bool backend_is_known(const Service *service, const char *backend) {
        _cleanup_free_ char *host = NULL;
        struct in_addr ipv4;
        uint16_t port;

        if (!backend || backend[0] == '[' || host_and_port_from_string(&host, &port, backend) < 0 ||
            inet_pton(AF_INET, host, &ipv4) == 1 || (service->container && streq(host, service->container)))
                return true;
        for (size_t i = 0; i < service->n_dependencies; i++) {
                const Dependency *dependency = &service->dependencies[i];

                if (dependency->kind == DEPENDENCY_CONTAINER && dependency->name && streq(host, dependency->name))
                        return true;
        }
        return false;
}

static const char backend_expected[] =
                "expected a numeric address, or one of this service's containers, before the port";

static void check_backend(const Check *check) {
        if (!backend_is_known(check->service, check->service->backend))
                refuse(check, "backend", backend_expected);
}

/* Further ports */

/* Of the port, or of its member. */
static void refuse_port(const Check *check, size_t i, const char *member, const char *text) {
        JsonPath list = json_path_member(check->path, "ports");
        JsonPath element = json_path_element(&list, i);
        JsonPath path = json_path_member(&element, strempty(member));
        json_object *value = json_object_array_get_idx(json_object_object_get(check->object, "ports"), i);

        report(check, PROBLEM_ERROR, member ? &path : &element,
               member ? json_object_object_get(value, member) : value, text);
}

/* From the service's addresses of that protocol. */
static int take_listen(const Check *check, ServicePort *port, bool udp) {
        int r = 0;

        for (char **text = check->service->listen; text && *text && r >= 0; text++) {
                char own[sizeof("udp:") + INET6_ADDRSTRLEN + sizeof("[]:65535")];
                ListenAddress address;
                const char *host, *colon;

                if (listen_address_from_string(&address, *text) < 0 || address.family == AF_UNIX ||
                    address.udp != udp || address.port != check->service->port)
                        continue;
                host = *text + (udp ? strlen("udp:") : 0);
                colon = strrchr(host, ':');
                (void) snprintf(own, sizeof(own), "%s%.*s%u", service_port_is_udp(port) ? "udp:" : "",
                                colon ? (int) (colon + 1 - host) : 0, host, port->port);
                r = strv_append(&port->listen, own);
        }
        return r;
}

/* Its clients come in by the addresses that the service's do, unless it says others: a port is not to be open to more than those. */
static int complete_listen(const Check *check, size_t i) {
        ServicePort *port = &check->service->ports[i];
        int r;

        r = take_listen(check, port, service_port_is_udp(port));
        if (r >= 0 && !port->listen)
                r = take_listen(check, port, !service_port_is_udp(port));
        if (r >= 0 && !port->listen)
                refuse_port(check, i, NULL,
                            "needs 'listen': no address of the service's has its 'port', to take the rest from");
        return r;
}

static bool are_all_of(char *const *listen, bool udp) {
        for (; *listen; listen++) {
                ListenAddress address;

                if (listen_address_from_string(&address, *listen) < 0 || address.udp != udp ||
                    address.family == AF_UNIX)
                        return false;
        }
        return true;
}

static int check_port(const Check *check, size_t i) {
        const Service *service = check->service;
        ServicePort *port = &service->ports[i];
        const bool udp = service_port_is_udp(port);

        if (udp && port->page >= 0)
                refuse_port(check, i, "page", "datagrams are held: who sends them sees no page");
        if (udp && port->proxy_protocol >= 0)
                refuse_port(check, i, "proxyProtocol", "datagrams have no such header");
        if (port->proxy_protocol > 0 && !given(check, "listen"))
                refuse_port(check, i, "proxyProtocol", needs_listen);
        if (port->page < 0)
                port->page = service->page;
        if (port->proxy_protocol < 0)
                port->proxy_protocol = service->proxy_protocol;
        if (port->port == 0)
                return 0;
        if (port->port == service->port && !udp)
                refuse_port(check, i, NULL, "is the service's 'port' already");
        for (size_t j = 0; j < i; j++)
                if (service->ports[j].port == port->port && service->ports[j].protocol == port->protocol) {
                        refuse_port(check, i, NULL, "is among the ports of this service already");
                        break;
                }
        if (!backend_is_known(service, port->backend))
                refuse_port(check, i, "backend", backend_expected);
        if (port->listen && !given(check, "listen"))
                refuse_port(check, i, "listen",
                            "needs a 'listen' of the service: without it, a port is where its container publishes it");
        else if (port->listen && !are_all_of(port->listen, udp))
                refuse_port(check, i, "listen",
                            udp ? "expected addresses of UDP (\"udp:53\"), as its 'protocol' says"
                                : "expected addresses of TCP, or \"protocol\": \"udp\"");
        return given(check, "listen") && !port->listen ? complete_listen(check, i) : 0;
}

static bool has_tcp(const Service *service) {
        for (size_t i = 0; i < service->n_ports; i++)
                if (!service_port_is_udp(&service->ports[i]))
                        return true;
        return false;
}

static int check_ports(const Check *check) {
        Service *service = check->service;
        int r = 0;

        if (has_tcp(service) && service->port == 0 && !given(check, "port"))
                refuse(check, "ports",
                       "needs 'port', whose container is waited for: only ports of UDP do without");
        for (size_t i = 0; i < service->n_ports && r >= 0; i++)
                r = check_port(check, i);
        /* The socket is one for all of them. */
        for (size_t i = 0; i < service->n_ports && r >= 0; i++)
                for (char **text = service->ports[i].listen; text && *text && r >= 0; text++)
                        r = strv_append(&service->listen, *text);
        return r;
}

/* Each dependency */

/* Gives each container its network, and holds the file to what it says about other networks. */
static int check_networks(const Check *check) {
        Service *service = check->service;

        for (size_t i = 0; i < service->n_dependencies; i++) {
                Dependency *dependency = &service->dependencies[i];

                if (dependency->kind != DEPENDENCY_CONTAINER) {
                        if (dependency->network)
                                refuse_member(check, i, "network", "only a container has a network");
                } else if (!dependency->network && service->network) {
                        dependency->network = strdup(service->network);
                        if (!dependency->network)
                                return -ENOMEM;
                } else if (dependency->network && service->network && !service->cross_network &&
                           !streq(dependency->network, service->network))
                        refuse_member(check, i, "network",
                                      "is not the service's network: expected that, or 'crossNetworkDeps' true");
        }
        return 0;
}

/* Whether clients are forwarded to this container for certain. */
static bool is_reached(const Service *service, const Dependency *dependency) {
        size_t n = strlen(dependency->name);

        return (service->container && streq(dependency->name, service->container)) ||
               (service->backend && strncmp(service->backend, dependency->name, n) == 0 &&
                service->backend[n] == ':');
}

static void check_container(const Check *check, size_t i) {
        const Dependency *dependency = &check->service->dependencies[i];

        if (dependency->condition == CONDITION_COMPLETED && is_reached(check->service, dependency))
                refuse_member(check, i, "condition",
                              "clients are to reach this container, which has to go on running for that");
        else if (dependency->condition != CONDITION_READY)
                warn_useless_member(check, i, "healthCheck",
                                    "has no effect: 'condition' does not ask whether it is ready");
}

/* NAME of wake@NAME.service, and of its sockets and its front. */
static char *service_of_unit(const char *unit) {
        static const char *const own[] = { "wake@", "wake-control@", "wake-front@" };

        for (size_t i = 0; i < ELEMENTSOF(own); i++) {
                const char *name = unit + strlen(own[i]);

                if (strncmp(unit, own[i], strlen(own[i])) == 0)
                        return strndup(name, (size_t) (strrchr(name, '.') - name));
        }
        return NULL;
}

static void check_unit(const Check *check, size_t i) {
        const Dependency *dependency = &check->service->dependencies[i];
        const char *suffix = strrchr(dependency->name, '.');
        _cleanup_free_ char *service = service_of_unit(dependency->name), *text = NULL;

        if (service) {
                text = text_printf("is wakechain's own, expected 'service' with \"%s\" instead of 'unit'",
                                   service);
                refuse_member(check, i, "unit", strempty(text));
        }
        if (dependency->condition == CONDITION_COMPLETED && !streq(suffix, ".service"))
                refuse_member(check, i, "condition", "only a unit that is a .service can complete");
        else if (dependency->condition != CONDITION_READY)
                warn_useless_member(check, i, "healthCheck",
                                    "has no effect: 'condition' does not ask whether it is ready");

        if (dependency->health.tcp && !strchr(dependency->health.tcp, ':'))
                report_dependency(check, PROBLEM_ERROR, i, "healthCheck", "tcp",
                                  dependency_value(check, i, "healthCheck", "tcp"),
                                  "a unit has no address of its own: expected \"ADDRESS:PORT\"");
        if (dependency->health.http && strchr("/?#:", strstr(dependency->health.http, "://")[3]))
                report_dependency(check, PROBLEM_ERROR, i, "healthCheck", "http",
                                  dependency_value(check, i, "healthCheck", "http"),
                                  "a unit has no address of its own: expected a URL with a host");
}

static void check_service(const Check *check, size_t i) {
        if (check->service->dependencies[i].condition != CONDITION_READY)
                refuse_member(check, i, "condition",
                              "a service is held awake as a whole: expected \"ready\", or no 'condition'");
        warn_useless_member(check, i, "healthCheck", "has no effect: a service is ready when it is awake");
        warn_useless_member(check, i, "keep",
                            "has no effect: a service that is never to sleep has an 'idleTimeout' of 0");
}

static void check_kinds(const Check *check) {
        static void (*const checks[_DEPENDENCY_KIND_MAX])(const Check *check, size_t i) = {
                [DEPENDENCY_CONTAINER] = check_container,
                [DEPENDENCY_UNIT] = check_unit,
                [DEPENDENCY_SERVICE] = check_service,
        };

        for (size_t i = 0; i < check->service->n_dependencies; i++)
                if (check->service->dependencies[i].name)
                        checks[check->service->dependencies[i].kind](check, i);
}

/* The dependencies together */

static int compare_names(const void *x, const void *y) {
        const Name *a = x, *b = y;
        int r = strcmp(a->name, b->name);

        return r != 0 ? r : (a->index > b->index) - (a->index < b->index);
}

static int compare_to_name(const void *key, const void *name) {
        return strcmp(key, ((const Name *) name)->name);
}

static int collect_names(Check *check) {
        size_t n = check->service->n_dependencies;

        check->names = new0(Name, n);
        if (!check->names)
                return -ENOMEM;

        for (size_t i = 0; i < n; i++)
                if (check->service->dependencies[i].name)
                        check->names[check->n_names++] = (Name){ check->service->dependencies[i].name, i };
        if (check->n_names > 1)
                qsort(check->names, check->n_names, sizeof(Name), compare_names);
        for (size_t i = 1; i < check->n_names; i++) {
                const Dependency *dependency = &check->service->dependencies[check->names[i].index];

                if (streq(check->names[i - 1].name, check->names[i].name))
                        refuse_member(check, check->names[i].index, dependency_kind_to_string(dependency->kind),
                                      "is among the dependencies of this service already");
        }
        return 0;
}

static const Name *find_name(const Check *check, const char *name) {
        if (check->n_names == 0)
                return NULL;
        return bsearch(name, check->names, check->n_names, sizeof(Name), compare_to_name);
}

/* NULL: nothing is to be said of it. */
static char *unknown_text(const Check *check, const char *name, const char *what) {
        Nearest nearest = nearest_to(name);
        char hint[NEAREST_HINT_MAX];

        /* One that was refused may be the one that is meant. */
        if (check->n_names < check->service->n_dependencies)
                return NULL;
        if (problem_list_is_full(check->draft->problems))
                return strdup("");
        for (size_t k = 0; k < check->n_names; k++)
                nearest_offer(&nearest, check->names[k].name);
        return text_printf("is no %s of this service%s", what, nearest_hint(&nearest, hint));
}

static void refuse_unknown(const Check *check, size_t i, const char *name) {
        _cleanup_free_ char *text = unknown_text(check, name, "dependency");

        if (text)
                refuse_depends_on(check, i, name, text);
}

static void check_named(const Check *check) {
        const Service *service = check->service;
        JsonPath list = json_path_member(check->path, "names");

        for (size_t i = 0; i < service->n_named; i++) {
                const char *container = service->named[i].container;
                JsonPath path = json_path_element(&list, i);
                const Name *found = find_name(check, container);
                _cleanup_free_ char *text = NULL;
                json_object *value;

                if (!found || service->dependencies[found->index].kind != DEPENDENCY_CONTAINER)
                        text = unknown_text(check, container, "container");
                for (size_t k = 0; k < i && !text; k++)
                        if (streq(service->named[k].container, container))
                                text = strdup("is in the list twice");
                if (!text)
                        continue;
                value = json_object_new_string(container);
                report(check, PROBLEM_ERROR, &path, value, text);
                json_object_put(value);
        }
}

static void check_depends_on(const Check *check) {
        for (size_t i = 0; i < check->service->n_dependencies; i++)
                for (char **name = check->service->dependencies[i].depends_on; name && *name; name++)
                        if (!find_name(check, *name))
                                refuse_unknown(check, i, *name);
}

/* `waits` of each dependency: 0 not looked at yet, 1 no, 2 yes. Recursion is as deep as there are dependencies, at most. */
static bool waits_for(const Check *check, size_t i, size_t other, uint8_t *waits) {
        if (waits[i] > 0)
                return waits[i] == 2;

        waits[i] = 1;
        for (char **name = check->service->dependencies[i].depends_on; name && *name; name++) {
                const Name *next = find_name(check, *name);

                if (next && (next->index == other || waits_for(check, next->index, other, waits))) {
                        waits[i] = 2;
                        return true;
                }
        }
        return false;
}

/* A main container that the file does not list is the last that is started. Its step alone would not see to that where
 * others have dependsOn, as they are in no step: then it waits for each one by name, but for those that wait for it. */
static int complete_main(const Check *check) {
        Service *service = check->service;
        size_t n_others = service->n_dependencies - 1;
        Dependency *last = &service->dependencies[n_others];
        _cleanup_free_ uint8_t *waits = NULL;
        bool is_graph = false;

        for (size_t i = 0; i < n_others; i++)
                is_graph = is_graph || strv_length(service->dependencies[i].depends_on) > 0;
        if (!is_graph)
                return 0;

        waits = new0(uint8_t, service->n_dependencies);
        if (!waits)
                return -ENOMEM;
        for (size_t i = 0; i < n_others; i++) {
                const Dependency *other = &service->dependencies[i];
                int r;

                if (!other->name || other->type != DEPENDENCY_REQUIRED || waits_for(check, i, n_others, waits))
                        continue;
                r = strv_append(&last->depends_on, other->name);
                if (r < 0)
                        return r;
        }
        last->ordered = !last->depends_on;
        last->start_order = 0;
        return 0;
}

static void refuse_cycle(const Check *check, const char *why, const char *cycle) {
        _cleanup_free_ char *first = NULL, *text = NULL;
        const Name *name;

        /* No name has a blank in it. The first is one that has dependsOn. */
        first = strndup(cycle, strcspn(cycle, " "));
        name = first ? find_name(check, first) : NULL;
        if (!name) {
                check->entry->broken = true;
                return;
        }
        text = text_printf("%s: %s", why, cycle);
        refuse_depends_on(check, name->index, first, strempty(text));
        problem_list_mark_cycle(check->draft->problems);
}

/* Whether they wait for each other by name, or, once that is out of the question, as a later step waits for an earlier one.
 * The latter means nothing if there were mistakes: the step itself may have been one. */
static int check_cycles(const Check *check) {
        const Service *service = check->service;
        _cleanup_free_ Dependency *without_steps = NULL;
        Service shadow = { .n_dependencies = service->n_dependencies };
        _cleanup_(plan_freep) Plan *plan = NULL;
        _cleanup_free_ char *cycle = NULL;
        bool is_graph = false;
        int r;

        without_steps = new0(Dependency, service->n_dependencies + 1);
        if (!without_steps)
                return -ENOMEM;
        shadow.dependencies = without_steps;
        for (size_t i = 0; i < service->n_dependencies; i++) {
                const Dependency *dependency = &service->dependencies[i];

                without_steps[i].name = dependency->name;
                without_steps[i].depends_on = dependency->depends_on;
                is_graph = is_graph || strv_length(dependency->depends_on) > 0;
        }
        if (!is_graph)
                return 0;

        r = plan_new(&plan, &shadow, &cycle);
        if (r == -ELOOP)
                refuse_cycle(check, "waits for itself", cycle);
        else if (r >= 0 && !check->entry->broken) {
                plan = plan_free(plan);
                r = plan_new(&plan, service, &cycle);
                if (r == -ELOOP)
                        refuse_cycle(check, "waits for itself, a later step being one that waits for earlier ones",
                                     cycle);
        }
        return r == -ELOOP ? 0 : r;
}

int service_check(Draft *draft, const JsonPath *path, json_object *object) {
        Check check = {
                .draft = draft,
                .entry = draft->current,
                .service = &draft->current->service,
                .path = path,
                .object = object,
        };
        int r;

        if (given(&check, "listen"))
                check_proxy(&check);
        else
                check_redirect(&check);
        check_ignore(&check);
        check_backend(&check);

        r = check_ports(&check);
        if (r >= 0)
                r = check_networks(&check);
        if (r >= 0)
                r = collect_names(&check);
        if (r >= 0 && check.entry->main_is_added)
                r = complete_main(&check);
        if (r >= 0) {
                check_kinds(&check);
                check_depends_on(&check);
                check_named(&check);
                r = check_cycles(&check);
        }
        free(check.names);
        return r;
}
