#include "ctl/reach.h"
#include "util/log.h"

void tell_unreachable(const char *wish, const char *service, const char *path, int error) {
        if (error == -EACCES || error == -EPERM)
                log_error("You may not %s: root and members of the group 'wakechain' may.", wish);
        else if (error == -ENOENT)
                log_error("There is no service '%s': %s does not exist. If it is new in dependencies.json, "
                          "'systemctl daemon-reload' and 'systemctl start wake-control@%s.socket' bring it up.",
                          service, path, service);
        else if (error == -ECONNREFUSED)
                log_error("Nobody listens on %s: 'systemctl restart wake-control@%s.socket'.", path, service);
        else
                log_error("Failed to connect to %s: %s", path, strerror(-error));
}
