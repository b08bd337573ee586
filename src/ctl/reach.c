#include "ctl/reach.h"
#include "model/service.h"
#include "util/log.h"
#include "util/printable.h"

bool are_service_names(char *const *names, int n) {
        bool are = true;

        for (int i = 0; i < n; i++)
                if (!service_name_is_valid(names[i])) {
                        _cleanup_free_ char *name = printable_copy(names[i], strlen(names[i]), false);

                        log_error("'%s' cannot be the name of a service.", strempty(name));
                        are = false;
                }
        return are;
}

void tell_unreachable(const char *wish, const char *service, const char *path, int error) {
        if (error == -EACCES || error == -EPERM)
                log_error("You may not %s: root and members of the group 'wakechain' may.", wish);
        else if (error == -ENOENT)
                log_error("There is no service '%s': %s does not exist. If it is new in dependencies.json, 'wakectl reload' "
                          "brings it up.",
                          service, path);
        else if (error == -ECONNREFUSED)
                log_error("Nobody listens on %s: 'systemctl restart wake-control@%s.socket'.", path, service);
        else
                log_error("Failed to connect to %s: %s", path, strerror(-error));
}
