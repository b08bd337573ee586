#include <arpa/inet.h>
#include <stdio.h>

#include "config/loader.h"

/* Service checks: what the members of one service mean together, after each of them was checked by itself. A
 * member that was given but refused is reported already; nothing is said here that would follow from its
 * absence only. Its dependencies: dependency-checks.c. */

typedef struct Check {
        Loader *loader;
        ServiceEntry *entry;
        Service *service;
        const JsonPath *path;
        json_object *object;
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

/* What holds only where all clients pass through us. From the defaults, it may meet a service without clients. */
static void check_guard(const Check *check, const char *name, bool wanted) {
        if (wanted && (given(check, name) || given(check, "port")))
                refuse(check, name,
                       "needs 'listen': without it, clients of an awake service do not pass through wakechain");
}

static void check_redirect(const Check *check) {
        Service *service = check->service;
        JsonPath path = json_path_member(check->path, "redirectPort");

        check_guard(check, "allow", service->allow);
        check_guard(check, "deny", service->deny);
        check_guard(check, "proxyProtocol", service->proxy_protocol > 0);
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
        if (service->idle_bytes)
                warn_useless(check, "idleBytes",
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

static void check_proxy(const Check *check) {
        Service *service = check->service;

        if (service->redirect_port > 0)
                warn_useless(check, "redirectPort", "beside 'listen'");
        service->redirect_port = 0;
        if (!given(check, "port") && !given(check, "backend") && !service->backend)
                refuse(check, "port",
                       "is missing, and so is 'backend': expected one of them, to forward clients to");
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
            (service->container && streq(host, service->container)))
                return;
        for (size_t i = 0; i < service->n_dependencies; i++) {
                const Dependency *dependency = &service->dependencies[i];

                if (dependency->kind == DEPENDENCY_CONTAINER && dependency->name && streq(host, dependency->name))
                        return;
        }
        refuse(check, "backend",
               "expected a numeric address, or one of this service's containers, before the port");
}

void service_check(Loader *loader, const JsonPath *path, json_object *object) {
        Check check = {
                .loader = loader,
                .entry = loader->entry,
                .service = &loader->entry->service,
                .path = path,
                .object = object,
        };

        if (given(&check, "listen"))
                check_proxy(&check);
        else
                check_redirect(&check);
        check_backend(&check);
}
