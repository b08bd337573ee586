#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/disabled.h"
#include "model/service.h"
#include "util/fd.h"
#include "util/text.h"

static char *path_of(const char *root, const char *name) {
        return !service_name_is_valid(name) ? NULL : text_printf("%s" DISABLED_FOLDER "/%s", root, name);
}

bool service_is_disabled(const char *root, const char *name) {
        _cleanup_free_ char *path = path_of(root, name);

        return path && access(path, F_OK) >= 0;
}

int service_disable(const char *root, const char *name) {
        _cleanup_free_ char *path = path_of(root, name), *folder = text_printf("%s" DISABLED_FOLDER, root);
        int fd;

        if (!path || !folder)
                return -ENOMEM;
        if (mkdir(folder, 0755) < 0 && errno != EEXIST)
                return -errno;
        fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
        if (fd < 0)
                return errno == EEXIST ? 0 : -errno;
        (void) fd_close(fd);
        return 1;
}

int service_enable(const char *root, const char *name) {
        _cleanup_free_ char *path = path_of(root, name);

        if (!path)
                return -ENOMEM;
        if (unlink(path) >= 0)
                return 1;
        return errno == ENOENT || errno == ENOTDIR ? 0 : -errno;
}
