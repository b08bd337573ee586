#include <stdio.h>
#include <unistd.h>

#include "ctl/ctl.h"
#include "model/service.h"
#include "util/log.h"

/* wakectl check --unit: what the polkit rule asks before wakers may start or stop a unit. A unit without a file is refused: who may
 * start one that does not exist may make it up (systemd-run: since version 257 polkit is asked the same about that), and would
 * choose what it runs, as root. */

static const char *const unit_folders[] = {
        "/etc/systemd/system",           "/run/systemd/system",         "/run/systemd/generator",
        "/usr/local/lib/systemd/system", "/usr/lib/systemd/system",     "/lib/systemd/system",
        "/run/systemd/generator.early",  "/run/systemd/generator.late", "/etc/systemd/system.attached",
        "/run/systemd/system.attached",
};

static bool file_exists(const char *name, size_t size, const char *suffix) {
        for (size_t i = 0; i < ELEMENTSOF(unit_folders); i++) {
                _cleanup_free_ char *path = NULL;

                if (asprintf(&path, "%s/%.*s%s", unit_folders[i], (int) size, name, suffix) < 0)
                        path = NULL;
                else if (access(path, F_OK) == 0)
                        return true;
        }
        return false;
}

/* Its own file, or that of its template. */
static bool unit_has_file(const char *unit) {
        const char *at = strchr(unit, '@'), *dot = strrchr(unit, '.');

        return file_exists(unit, strlen(unit), "") ||
               (at && dot && dot > at && file_exists(unit, (size_t) (at + 1 - unit), dot));
}

static bool service_needs_unit(const Service *service, const char *unit) {
        for (size_t i = 0; i < service->n_dependencies; i++)
                if (service->dependencies[i].kind == DEPENDENCY_UNIT && streq(service->dependencies[i].name, unit))
                        return true;
        return false;
}

int check_unit(const Config *config, const char *unit) {
        size_t n = 0;

        for (size_t i = 0; i < config->n_services; i++)
                if (service_needs_unit(&config->services[i], unit)) {
                        puts(config->services[i].name);
                        n++;
                }
        if (n == 0) {
                log_error("No service of %s depends on unit '%s'.", config->path, unit);
                return CTL_FAILED;
        }
        if (strchr(unit, '/') || !unit_has_file(unit)) {
                log_error("There is no unit file for '%s'.", unit);
                return CTL_FAILED;
        }
        return CTL_FINE;
}
