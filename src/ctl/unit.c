#include <stdio.h>
#include <sys/stat.h>

#include "ctl/ctl.h"
#include "ctl/unit.h"
#include "util/log.h"
#include "util/text.h"

/* wakectl check --unit: what the polkit rule asks before wakers may start or stop a unit. A unit without a file is refused: who may
 * start one that does not exist may make it up (systemd-run: since version 257 polkit is asked the same about that), and would
 * choose what it runs, as root. */

static const char *const unit_folders[] = {
        "/etc/systemd/system",           "/run/systemd/system",         "/run/systemd/generator",
        "/usr/local/lib/systemd/system", "/usr/lib/systemd/system",     "/lib/systemd/system",
        "/run/systemd/generator.early",  "/run/systemd/generator.late", "/etc/systemd/system.attached",
        "/run/systemd/system.attached",
};

/* The first one counts, which for a mask is a link to /dev/null. */
static UnitFile look_for(const char *name, size_t size, const char *suffix) {
        for (size_t i = 0; i < ELEMENTSOF(unit_folders); i++) {
                _cleanup_free_ char *path = text_printf("%s/%.*s%s", unit_folders[i], (int) size, name, suffix);
                struct stat st;

                if (path && stat(path, &st) == 0)
                        return S_ISCHR(st.st_mode) ? UNIT_FILE_MASKED : UNIT_FILE_FOUND;
        }
        return UNIT_FILE_MISSING;
}

UnitFile unit_file_find(const char *unit) {
        const char *at = strchr(unit, '@'), *dot = strrchr(unit, '.');
        UnitFile own = strchr(unit, '/') ? UNIT_FILE_MISSING : look_for(unit, strlen(unit), "");

        return own == UNIT_FILE_MISSING && at && dot && dot > at ? look_for(unit, (size_t) (at + 1 - unit), dot)
                                                                 : own;
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
        if (unit_file_find(unit) == UNIT_FILE_MISSING) {
                log_error("There is no unit file for '%s'.", unit);
                return CTL_FAILED;
        }
        return CTL_FINE;
}
