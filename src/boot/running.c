#include <stdio.h>
#include <unistd.h>

#include "boot/running.h"
#include "io/lease.h"
#include "util/log.h"

/* Running: there are two reasons to take a stack for one that runs.
 *
 *   - The container that clients want to reach does: the one that publishes the port, else the main one. The engine has
 *     started it (`restart: unless-stopped`), or somebody else has. Its port must not lead to the front, and if it is
 *     adopted, it is to be put to sleep.
 *   - A container runs that we had started before the boot, says the copy of its lease: the machine went down while the
 *     stack was awake, or waking, and the engine has brought back what it stands by. Without a waker that would run
 *     for ever.
 *
 * A waker that is started for it finds all of this by itself; here it is only found out whether there is a reason to start
 * one. */

void running_done(Running *running) {
        strv_free(running->services);
        strv_free(running->orphans);
        strv_free(running->gone);
        *running = (Running){};
}

/* All that may have to be looked at; borrowed. */
static int list_containers(char ***ret, const Config *config, const RestoredLease *leases) {
        size_t n = 0, n_max = 1;
        char **names;

        for (size_t i = 0; i < config->n_services; i++)
                n_max += config->services[i].n_dependencies;
        for (const RestoredLease *lease = leases; lease->container; lease++)
                n_max++;
        names = new0(char *, n_max);
        if (!names)
                return -ENOMEM;

        for (size_t i = 0; i < config->n_services; i++)
                for (size_t j = 0; j < config->services[i].n_dependencies; j++)
                        if (config->services[i].dependencies[j].kind == DEPENDENCY_CONTAINER)
                                names[n++] = config->services[i].dependencies[j].name;
        for (const RestoredLease *lease = leases; lease->container; lease++)
                names[n++] = lease->container;
        *ret = names;
        return 0;
}

static bool container_publishes(const ContainerInfo *info, uint16_t port) {
        for (size_t i = 0; i < info->n_bindings; i++)
                if (info->bindings[i].tcp && info->bindings[i].host_port == port)
                        return true;
        return false;
}

/* The one that clients want to reach. NULL if it is not known, or there is none. */
static const ContainerInfo *find_reached(const Survey *survey, const Service *service) {
        for (size_t i = 0; i < service->n_dependencies && service->port > 0; i++) {
                const Dependency *dependency = &service->dependencies[i];
                const ContainerInfo *info = dependency->kind == DEPENDENCY_CONTAINER
                                                            ? survey_find(survey, dependency->name, NULL)
                                                            : NULL;

                if (info && container_publishes(info, service->port))
                        return info;
        }
        return survey_find(survey, service_main(service)->name, NULL);
}

static int find_services(Running *running, const Survey *survey, const Config *config) {
        int r = 0;

        for (size_t i = 0; i < config->n_services && r >= 0; i++) {
                const ContainerInfo *info = find_reached(survey, &config->services[i]);

                if (info && info->running)
                        r = strv_append(&running->services, config->services[i].name);
        }
        return r;
}

static bool service_has_container(const Config *config, const char *name, const char *container) {
        const Service *service = name ? config_find(config, name) : NULL;

        for (size_t i = 0; service && i < service->n_dependencies; i++)
                if (service->dependencies[i].kind == DEPENDENCY_CONTAINER &&
                    streq(service->dependencies[i].name, container))
                        return true;
        return false;
}

static int judge_lease(Running *running, const Survey *survey, const Config *config, const RestoredLease *lease) {
        const char *service = lease->record.service;
        EngineOutcome outcome;
        const ContainerInfo *info = survey_find(survey, lease->container, &outcome);

        if (outcome == ENGINE_NO_CONTAINER || (info && !info->running && !info->restarting))
                return strv_append(&running->gone, lease->container);
        if (!info)
                return 0;
        if (!service_has_container(config, service, lease->container))
                return strv_append(&running->orphans, lease->container);
        return strv_contains(running->services, service) ? 0 : strv_append(&running->services, service);
}

int running_find(Running *ret, const Config *config, const char *root, uint64_t patience_usec) {
        _cleanup_(restored_lease_list_freep) RestoredLease *leases = NULL;
        _cleanup_(running_done) Running running = {};
        _cleanup_(survey_freep) Survey *survey = NULL;
        _cleanup_free_ char **containers = NULL;
        int r;

        assert(ret);
        assert(config);

        r = lease_list_restored(&leases, root);
        if (r >= 0)
                r = list_containers(&containers, config, leases);
        if (r >= 0)
                r = survey_new(&survey, config->engine_socket, containers, SURVEY_UNTIL_ANSWERED, patience_usec);
        if (r == -ENOENT) {
                *ret = running;
                return 0;
        }
        if (r < 0)
                return r;

        running.n_unanswered = survey_n_unanswered(survey);
        r = find_services(&running, survey, config);
        for (const RestoredLease *lease = leases; lease->container && r >= 0; lease++)
                r = judge_lease(&running, survey, config, lease);
        if (r < 0)
                return r;
        *ret = running;
        running = (Running){};
        return 0;
}

static bool lease_is_restored(const RestoredLease *leases, const char *container) {
        for (const RestoredLease *lease = leases; lease->container; lease++)
                if (streq(lease->container, container))
                        return true;
        return false;
}

void running_forget_gone(const Running *running, const char *root) {
        _cleanup_(restored_lease_list_freep) RestoredLease *leases = NULL;
        int r;

        if (!running->gone)
                return;
        /* Once more: a wake that began meanwhile has made it its own. */
        r = lease_list_restored(&leases, root);
        if (r < 0)
                log_debug_errno(r, "Failed to list the leases, keeping them: %m");
        for (char **container = running->gone; r >= 0 && *container; container++) {
                _cleanup_free_ char *path = NULL;

                if (!lease_is_restored(leases, *container))
                        continue;
                if (asprintf(&path, "%s/var/lib/wakechain/lease/%s", root, *container) < 0) {
                        path = NULL;
                        continue;
                }
                if (unlink(path) < 0 && errno != ENOENT)
                        log_debug_errno(-errno, "Failed to remove '%s', ignoring: %m", path);
        }
}
