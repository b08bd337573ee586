#include <stdio.h>
#include <unistd.h>

#include "io/redirect.h"
#include "util/fd.h"

/* A mark is a file "PORT REDIRECTPORT" or "PORT REDIRECTPORT RIVAL", which wakechain-redirect writes under the lock. */

#define MARK_SIZE_MAX ((size_t) 128)

static char *mark_path(const char *root, const char *service) {
        char *path;

        assert(service_name_is_valid(service));
        return asprintf(&path, "%s/run/wakechain/redirect/%s", strempty(root), service) < 0 ? NULL : path;
}

bool redirect_is_marked(const char *root, const char *service) {
        _cleanup_free_ char *path = mark_path(root, service);

        return path && access(path, F_OK) >= 0;
}

int redirect_mark_read(RedirectMark *ret, const char *root, const char *service) {
        _cleanup_free_ char *path = mark_path(root, service), *text = NULL;
        unsigned port, redirect_port;
        RedirectMark mark = {};
        int r;

        assert(ret);

        if (!path)
                return -ENOMEM;
        r = file_read(path, MARK_SIZE_MAX, &text, NULL);
        if (r < 0)
                return r;
        if (sscanf(text, "%5u %5u %64s", &port, &redirect_port, mark.rival) < 2 || port == 0 ||
            port > UINT16_MAX || redirect_port == 0 || redirect_port > UINT16_MAX)
                return -EBADMSG;

        mark.port = (uint16_t) port;
        mark.redirect_port = (uint16_t) redirect_port;
        *ret = mark;
        return 0;
}
