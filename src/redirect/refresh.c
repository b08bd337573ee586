#include "io/redirect.h"
#include "io/survey.h"
#include "redirect/refresh.h"
#include "util/log.h"

/* Refresh: every container of every redirected service is looked at. The first one in the order of the configuration that
 * publishes the port decides. That nobody publishes it is believed only if all of a service's containers have answered. */

static int add_containers(char ***names, size_t *n, const Service *service) {
        char **larger = reallocarray(*names, *n + service->n_dependencies + 1, sizeof(*larger));

        if (!larger)
                return -ENOMEM;
        *names = larger;
        for (size_t i = 0; i < service->n_dependencies; i++)
                if (service->dependencies[i].kind == DEPENDENCY_CONTAINER)
                        larger[(*n)++] = service->dependencies[i].name;
        larger[*n] = NULL;
        return 0;
}

/* 1: `ret` is what is known now. 0: nothing new is. */
static int find_bindings(RedirectBindings *ret, const Survey *survey, const Service *service) {
        bool on_host = false, unanswered = false;

        for (size_t i = 0; i < service->n_dependencies; i++) {
                const Dependency *dependency = &service->dependencies[i];
                const ContainerInfo *info;
                int r;

                if (dependency->kind != DEPENDENCY_CONTAINER)
                        continue;
                info = survey_find(survey, dependency->name, NULL);
                if (!info) {
                        unanswered = true;
                        continue;
                }
                if (dependency == service_main(service))
                        on_host = streq(info->network_mode, "host");
                r = redirect_bindings_from_ports(ret, info->bindings, info->n_bindings, service->port);
                if (r != 0)
                        return r;
        }
        if (unanswered)
                return 0;

        /* Nothing is bound for the host's network: such a container publishes by nature. */
        *ret = (RedirectBindings){ .known = on_host, .any_ipv4 = on_host, .any_ipv6 = on_host };
        return 1;
}

static int refresh_service(const Survey *survey, const Service *service, const char *root) {
        RedirectBindings bindings = {};
        int r;

        r = find_bindings(&bindings, survey, service);
        if (r > 0)
                r = redirect_bindings_save(&bindings, root, service->name);
        redirect_bindings_done(&bindings);
        return r;
}

int refresh_bindings(const Config *config, const char *root, uint64_t timeout_usec) {
        _cleanup_(survey_freep) Survey *survey = NULL;
        _cleanup_free_ char **names = NULL; /* borrowed */
        size_t n = 0;
        int r;

        for (size_t i = 0; i < config->n_services; i++) {
                r = service_is_redirected(&config->services[i]) ? add_containers(&names, &n, &config->services[i])
                                                                : 0;
                if (r < 0)
                        return r;
        }
        if (n == 0)
                return 0;
        r = survey_new(&survey, config->engine_socket, names, SURVEY_ONCE, timeout_usec);
        if (r < 0)
                return r == -ENOENT ? 0 : r;

        for (size_t i = 0; i < config->n_services; i++) {
                const Service *service = &config->services[i];

                r = service_is_redirected(service) ? refresh_service(survey, service, root) : 0;
                if (r < 0)
                        log_warning_errno(r,
                                          "Failed to keep the addresses that '%s' is published on, ignoring: %m",
                                          service->name);
        }
        return 0;
}
