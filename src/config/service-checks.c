#include <arpa/inet.h>
#include <stdio.h>

#include "config/loader.h"
#include "config/problem.h"
#include "util/nearest.h"

/* Service checks: what the members of one service mean together, after each of them was checked by itself. A
 * member that was given but refused is reported already; nothing is said here that would follow from its
 * absence only. */

typedef struct Name {
        const char *name;
        size_t index; /* of the dependency */
} Name;

typedef struct Check {
        Loader *loader;
        ServiceEntry *entry;
        Service *service;
        const JsonPath *path;
        json_object *object;

        Name *names; /* of the dependencies, sorted */
        size_t n_names;
        size_t *route; /* from where a search for cycles began to where it is */
        size_t n_route;
        uint8_t *state; /* of each dependency in that search: 0 not seen, 1 on the route, 2 done */
} Check;

static bool given(const Check *check, const char *name) {
        return json_object_object_get_ex(check->object, name, NULL);
}

static void refuse(const Check *check, const char *name, const char *text) {
        JsonPath path = json_path_member(check->path, name);
        _cleanup_free_ char *shown = NULL;
        json_object *value;

        if (json_object_object_get_ex(check->object, name, &value))
                shown = json_value_to_string(value);
        loader_refuse(check->loader, check->entry, &path, shown, "%s", text);
}

static void warn_useless(const Check *check, const char *name, const char *why) {
        JsonPath path = json_path_member(check->path, name);
        _cleanup_free_ char *shown = NULL;
        json_object *value;

        if (!json_object_object_get_ex(check->object, name, &value))
                return;
        shown = json_value_to_string(value);
        loader_warn(check->loader, check->entry, &path, shown, "has no effect %s", why);
}

/* Lists that hold only where all clients pass through us. From the defaults, they may meet a service without
 * clients. */
static void check_guard(const Check *check, const char *name, char *const *list) {
        if (list && (given(check, name) || given(check, "port")))
                refuse(check, name,
                       "needs 'listen': without it, clients of an awake service do not pass through wakechain");
}

static void check_redirect(const Check *check) {
        Service *service = check->service;
        JsonPath path = json_path_member(check->path, "redirectPort");

        check_guard(check, "allow", service->allow);
        check_guard(check, "deny", service->deny);
        if (service->port == 0) {
                if (given(check, "port"))
                        return;
                if (service->redirect_port > 0)
                        warn_useless(check, "redirectPort", "without 'port'");
                if (service->backend)
                        warn_useless(check, "backend", "without 'port' or 'listen'");
                service->redirect_port = 0;
                return;
        }
        if (service->proxy_protocol > 0)
                warn_useless(check, "proxyProtocol",
                             "without 'listen': clients of an awake service do not pass through wakechain");

        if (given(check, "redirectPort"))
                return;
        if (service->port + REDIRECT_PORT_OFFSET > REDIRECT_PORT_MAX)
                loader_refuse(check->loader, check->entry, &path, NULL,
                              "is missing: 'port' %u + %d is above %d, where an outgoing connection may hold it; "
                              "expected a free port below 32768 here, or 'listen'",
                              service->port, REDIRECT_PORT_OFFSET, REDIRECT_PORT_MAX);
        else
                service->redirect_port = (uint16_t) (service->port + REDIRECT_PORT_OFFSET);
}

static int check_proxy(const Check *check) {
        JsonPath path = json_path_member(check->path, "listen");
        Service *service = check->service;
        json_object *value;
        bool is_list;
        int r = 0;

        if (service->redirect_port > 0)
                warn_useless(check, "redirectPort", "beside 'listen'");
        service->redirect_port = 0;
        if (!given(check, "port") && !given(check, "backend") && !service->backend)
                refuse(check, "port",
                       "is missing, and so is 'backend': expected one of them, to forward clients to");

        is_list = json_object_object_get_ex(check->object, "listen", &value) &&
                  json_object_is_type(value, json_type_array);
        for (size_t i = 0; service->listen && service->listen[i] && r >= 0; i++) {
                JsonPath element = json_path_element(&path, i);
                _cleanup_free_ char *text = NULL;

                if (strncmp(service->listen[i], "udp:", 4) != 0)
                        continue;
                text = json_path_to_string(is_list ? &element : &path);
                r = text ? strv_append(&service->unsupported, text) : -ENOMEM;
        }
        return r;
}

static void refuse_dependency(const Check *check, size_t i, const char *member, const char *value,
                              const char *text) {
        JsonPath list = json_path_member(check->path, "dependencies");
        JsonPath element = json_path_element(&list, i);
        JsonPath path = json_path_member(&element, strempty(member));
        _cleanup_free_ char *quoted = NULL;

        if (!problem_list_is_full(check->loader->problems) && asprintf(&quoted, "\"%s\"", value) < 0)
                quoted = NULL;
        loader_refuse(check->loader, check->entry, member ? &path : &element, quoted, "%s", text);
}

/* Gives each container its network, and holds the file to what it says about other networks. */
static int check_networks(const Check *check) {
        Service *service = check->service;

        for (size_t i = 0; i < service->n_dependencies; i++) {
                Dependency *dependency = &service->dependencies[i];

                if (dependency->kind != DEPENDENCY_CONTAINER) {
                        if (dependency->network)
                                refuse_dependency(check, i, "network", dependency->network,
                                                  "only a container has a network");
                } else if (!dependency->network && service->network) {
                        dependency->network = strdup(service->network);
                        if (!dependency->network)
                                return -ENOMEM;
                } else if (dependency->network && service->network && !service->cross_network &&
                           !streq(dependency->network, service->network))
                        refuse_dependency(
                                        check, i, "network", dependency->network,
                                        "is not the service's network: expected that, or 'crossNetworkDeps' true");
        }
        return 0;
}

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
        check->route = new0(size_t, n);
        check->state = new0(uint8_t, n);
        if (!check->names || !check->route || !check->state)
                return -ENOMEM;

        for (size_t i = 0; i < n; i++)
                if (check->service->dependencies[i].name)
                        check->names[check->n_names++] = (Name){ check->service->dependencies[i].name, i };
        if (check->n_names > 1)
                qsort(check->names, check->n_names, sizeof(Name), compare_names);
        for (size_t i = 1; i < check->n_names; i++) {
                const Dependency *dependency = &check->service->dependencies[check->names[i].index];

                if (streq(check->names[i - 1].name, check->names[i].name))
                        refuse_dependency(check, check->names[i].index,
                                          dependency_kind_to_string(dependency->kind), dependency->name,
                                          "is among the dependencies of this service already");
        }
        return 0;
}

static const Name *find_name(const Check *check, const char *name) {
        if (check->n_names == 0)
                return NULL;
        return bsearch(name, check->names, check->n_names, sizeof(Name), compare_to_name);
}

static void refuse_depends_on(const Check *check, size_t i, const char *name) {
        _cleanup_free_ char *text = NULL;
        Nearest nearest = nearest_to(name);

        /* One that was refused may be the one that is meant. */
        if (check->n_names < check->service->n_dependencies)
                return;
        if (!problem_list_is_full(check->loader->problems)) {
                for (size_t k = 0; k < check->n_names; k++)
                        nearest_offer(&nearest, check->names[k].name);
                if (asprintf(&text, "is no dependency of this service%s%s%s",
                             nearest.name ? ", did you mean '" : "", strempty(nearest.name),
                             nearest.name ? "'?" : "") < 0)
                        text = NULL;
        }
        refuse_dependency(check, i, "dependsOn", name, strempty(text));
}

/* The cycle that the route ends in, from where it is entered: "a → b → a". */
static void refuse_cycle(const Check *check, size_t entered) {
        const Dependency *dependencies = check->service->dependencies;
        _cleanup_free_ char *text = NULL;
        size_t from = check->n_route, size;
        FILE *out;

        if (!problem_list_is_full(check->loader->problems)) {
                out = open_memstream(&text, &size);
                if (!out)
                        return;
                fputs("waits for itself: ", out);
                while (from > 0 && check->route[from - 1] != entered)
                        from--;
                for (size_t i = MAX(from, (size_t) 1) - 1; i < check->n_route; i++)
                        fprintf(out, "%s → ", dependencies[check->route[i]].name);
                fputs(dependencies[entered].name, out);
                (void) fclose(out);
        }
        refuse_dependency(check, entered, "dependsOn", dependencies[entered].name, strempty(text));
}

/* A dependency's own route is never longer than there are dependencies, which bounds the recursion. */
static void find_cycles(Check *check, size_t i) {
        check->state[i] = 1;
        check->route[check->n_route++] = i;
        for (char **name = check->service->dependencies[i].depends_on; name && *name; name++) {
                const Name *next = find_name(check, *name);

                if (!next)
                        refuse_depends_on(check, i, *name);
                else if (check->state[next->index] == 0)
                        find_cycles(check, next->index);
                else if (check->state[next->index] == 1)
                        refuse_cycle(check, next->index);
        }
        check->n_route--;
        check->state[i] = 2;
}

/* A name could mean another address at each look; a container's is asked of the engine after each start. */
static void check_backend(const Check *check) {
        const Service *service = check->service;
        const char *colon = service->backend ? strrchr(service->backend, ':') : NULL;
        _cleanup_free_ char *host = NULL;
        struct in_addr ipv4;

        if (!colon || service->backend[0] == '[')
                return;
        host = strndup(service->backend, (size_t) (colon - service->backend));
        if (!host || inet_pton(AF_INET, host, &ipv4) == 1 ||
            (service->container && streq(host, service->container)) || find_name(check, host))
                return;
        refuse(check, "backend",
               "expected a numeric address, or one of this service's containers, before the port");
}

int service_check(Loader *loader, const JsonPath *path, json_object *object) {
        Check check = {
                .loader = loader,
                .entry = loader->entry,
                .service = &loader->entry->service,
                .path = path,
                .object = object,
        };
        int r = 0;

        if (given(&check, "listen"))
                r = check_proxy(&check);
        else
                check_redirect(&check);
        if (r >= 0)
                r = check_networks(&check);
        if (r >= 0)
                r = collect_names(&check);
        if (r >= 0)
                check_backend(&check);
        for (size_t i = 0; r >= 0 && i < check.service->n_dependencies; i++)
                if (check.state[i] == 0 && check.service->dependencies[i].name)
                        find_cycles(&check, i);

        free(check.names);
        free(check.route);
        free(check.state);
        return r;
}
