#include <limits.h>

#include "model/defaults.h"
#include "model/service.h"
#include "util/names.h"

/* Service: destructors, look-ups, the names of its enums, and which names a service and what it consists of may have. */

#define LETTERS_AND_DIGITS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
#define ENGINE_NAME_MAX 255

bool service_name_is_valid(const char *name) {
        size_t n = strspn(name, LETTERS_AND_DIGITS "_.-");

        /* "." and ".." would leave the folders that are named after the service. */
        return n > 0 && n <= SERVICE_NAME_MAX && name[n] == '\0' && !streq(name, ".") && !streq(name, "..");
}

bool engine_name_is_valid(const char *name) {
        size_t size = strlen(strempty(name));

        return size > 0 && size <= ENGINE_NAME_MAX && !strchr("_.-", name[0]) &&
               strspn(name, LETTERS_AND_DIGITS "_.-") == size;
}

static bool is_of_further_port(const Service *service, const char *listen) {
        bool is = false;

        for (size_t i = 0; i < service->n_ports && !is; i++)
                is = strv_contains(service->ports[i].listen, listen);
        return is;
}

bool service_is_udp(const Service *service) {
        for (char *const *listen = service->listen; listen && *listen; listen++)
                if (strncmp(*listen, "udp:", 4) != 0 && !is_of_further_port(service, *listen))
                        return false;
        return strv_length(service->listen) > 0;
}

const Dependency *service_find_container(const Service *service, const char *container) {
        for (size_t i = 0; i < service->n_dependencies; i++)
                if (service->dependencies[i].kind == DEPENDENCY_CONTAINER &&
                    streq(service->dependencies[i].name, container))
                        return &service->dependencies[i];
        return NULL;
}

const char *service_virtual_address(const Service *service, const char *container) {
        for (size_t i = 0; i < service->n_named && container; i++)
                if (streq(service->named[i].container, container))
                        return service->named[i].virtual_address;
        return container ? "" : service->virtual_address;
}

const char *service_title(const Service *service) {
        return isempty(service->page_title) ? service->name : service->page_title;
}

const Dependency *service_main(const Service *service) {
        const Dependency *found = service_find_container(service, service->container);

        assert(found && "The main container is among the dependencies.");
        return found;
}

static int service_add_owner(Service *service, const char *owner) {
        Dependency *larger = reallocarray(service->dependencies, service->n_dependencies + 1, sizeof(*larger)),
                   *added;

        if (!larger)
                return -ENOMEM;
        service->dependencies = larger;
        added = &larger[service->n_dependencies];
        *added = (Dependency){
                .kind = DEPENDENCY_CONTAINER,
                .name = strdup(owner),
                .network = service->network ? strdup(service->network) : NULL,
                .start_order = INT_MIN,
                .ordered = true,
                .health = { .interval_usec = DEFAULT_CHECK_INTERVAL_USEC,
                            .budget_usec = DEFAULT_CHECK_BUDGET_USEC },
                .condition = CONDITION_STARTED,
                .estimated_usec = DEFAULT_STARTUP_DELAY_USEC,
                .implied = true,
        };
        service->n_dependencies++;
        return added->name && (added->network || !service->network) ? 0 : -ENOMEM;
}

const char *owners_find(char *const *owners, const char *container) {
        for (; owners && owners[0] && owners[1]; owners += 2)
                if (streq(owners[0], container))
                        return owners[1];
        return NULL;
}

/* Some service that this one depends on has it, which is awake before anything of this one is started. */
static bool is_awake_before(const Service *service, const Config *config, const char *container) {
        for (size_t i = 0; i < service->n_dependencies; i++) {
                const Dependency *dependency = &service->dependencies[i];

                for (size_t k = 0; dependency->kind == DEPENDENCY_SERVICE && config && k < config->n_services; k++)
                        if (streq(config->services[k].name, dependency->name) &&
                            (service_find_container(&config->services[k], container) ||
                             is_awake_before(&config->services[k], config, container)))
                                return true;
        }
        return false;
}

int service_add_owners(Service *service, const Config *config, char *const *owners) {
        int r = 0;

        for (; owners && owners[0] && owners[1] && r >= 0; owners += 2)
                if (service_find_container(service, owners[0]) && !service_find_container(service, owners[1]) &&
                    !is_awake_before(service, config, owners[1]))
                        r = service_add_owner(service, owners[1]);
        return r;
}

bool dependency_names_network(const Service *service, const Dependency *dependency) {
        return dependency->network && (!service->network || !streq(dependency->network, service->network) ||
                                       dependency == service_main(service));
}

void service_done(Service *service) {
        for (size_t i = 0; i < service->n_dependencies; i++) {
                Dependency *dependency = &service->dependencies[i];

                free(dependency->name);
                free(dependency->network);
                free(dependency->health.command);
                free(dependency->health.http);
                free(dependency->health.tcp);
                strv_free(dependency->depends_on);
        }
        free(service->dependencies);
        for (size_t i = 0; i < service->n_ports; i++) {
                strv_free(service->ports[i].listen);
                free(service->ports[i].backend);
        }
        free(service->ports);
        for (size_t i = 0; i < service->n_named; i++)
                free(service->named[i].container);
        free(service->named);
        free(service->name);
        free(service->file);
        free(service->container);
        free(service->compose_dir);
        free(service->network);
        free(service->backend);
        free(service->page_title);
        free(service->busy_command);
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

static const char *const kind_names[_DEPENDENCY_KIND_MAX] = {
        [DEPENDENCY_CONTAINER] = "container",
        [DEPENDENCY_UNIT] = "unit",
        [DEPENDENCY_SERVICE] = "service",
};
DEFINE_NAME_OF(dependency_kind, DependencyKind, kind_names);

static const char *const page_mode_names[_PAGE_MODE_MAX] = {
        [PAGE_AUTO] = "auto",
        [PAGE_ALWAYS] = "always",
        [PAGE_NEVER] = "never",
};
DEFINE_NAMES(page_mode, PageMode, page_mode_names);
