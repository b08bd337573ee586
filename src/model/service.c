#include "model/service.h"

/* Service: destructors, look-ups and the names of its enums. */

bool service_name_is_valid(const char *name) {
        size_t n = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-");

        /* "." and ".." would leave the folders that are named after the service. */
        return n > 0 && n <= SERVICE_NAME_MAX && name[n] == '\0' && !streq(name, ".") && !streq(name, "..");
}

bool service_is_udp(const Service *service) {
        for (char *const *listen = service->listen; listen && *listen; listen++)
                if (strncmp(*listen, "udp:", 4) != 0)
                        return false;
        return strv_length(service->listen) > 0;
}

const Dependency *service_main(const Service *service) {
        assert(service);

        for (size_t i = 0; i < service->n_dependencies; i++)
                if (service->dependencies[i].kind == DEPENDENCY_CONTAINER &&
                    streq(service->dependencies[i].name, service->container))
                        return &service->dependencies[i];
        assert(!"The main container is among the dependencies.");
        return NULL;
}

static void dependency_done(Dependency *dependency) {
        free(dependency->name);
        free(dependency->network);
        free(dependency->health.command);
        free(dependency->health.http);
        free(dependency->health.tcp);
        strv_free(dependency->depends_on);
}

void service_done(Service *service) {
        for (size_t i = 0; i < service->n_dependencies; i++)
                dependency_done(&service->dependencies[i]);
        free(service->dependencies);
        free(service->name);
        free(service->file);
        free(service->container);
        free(service->compose_dir);
        free(service->network);
        free(service->backend);
        free(service->page_title);
        free(service->schedule_wake);
        free(service->schedule_sleep);
        strv_free(service->listen);
        strv_free(service->ignore_addresses);
        strv_free(service->ignore_user_agents);
        strv_free(service->ignore_paths);
        strv_free(service->allow);
        strv_free(service->deny);
        strv_free(service->unsupported);
        *service = (Service){};
}

Config *config_free(Config *config) {
        if (!config)
                return NULL;

        for (size_t i = 0; i < config->n_services; i++)
                service_done(&config->services[i]);
        free(config->services);
        free(config->path);
        free(config->engine_socket);
        strv_free(config->api_hosts);
        return mfree(config);
}

static int compare_name(const void *name, const void *service) {
        return strcmp(name, ((const Service *) service)->name);
}

const Service *config_find(const Config *config, const char *name) {
        if (config->n_services == 0)
                return NULL;
        return bsearch(name, config->services, config->n_services, sizeof(Service), compare_name);
}

static const char *const kind_names[] = {
        [DEPENDENCY_CONTAINER] = "container",
        [DEPENDENCY_UNIT] = "unit",
        [DEPENDENCY_SERVICE] = "service",
};

const char *dependency_kind_to_string(DependencyKind kind) {
        assert(kind >= 0 && kind < _DEPENDENCY_KIND_MAX);
        return kind_names[kind];
}

const char *dependency_type_to_string(DependencyType type) {
        return type == DEPENDENCY_REQUIRED ? "required" : "optional";
}

DependencyType dependency_type_from_string(const char *text) {
        if (streq(text, "required"))
                return DEPENDENCY_REQUIRED;
        if (streq(text, "optional"))
                return DEPENDENCY_OPTIONAL;
        return _DEPENDENCY_TYPE_INVALID;
}
