#include "web/guard.h"

/* What a request may say of who asks whom for what: the target, Host, Origin, each on a line. */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        static char *const names[] = { (char *) "wake.example", (char *) "wake.example:8443", NULL };
        _cleanup_free_ char *text = strndup((const char *) data, size), *path = NULL;
        char *rest = text, *target, *host, *origin;
        const char *query = NULL;
        bool dry_run, ours;

        if (!text)
                abort();
        target = strsep(&rest, "\n");
        host = rest ? strsep(&rest, "\n") : (char *) "";
        origin = rest ? strsep(&rest, "\n") : (char *) "";

        if (guard_split_target(target, &path, &query) >= 0) {
                /* There is one way to say a path. */
                if (path[0] != '/' || strpbrk(path, "%\\?# ") || strstr(path, "//"))
                        abort();
                if (query && guard_parse_dry_run(query, &dry_run) >= 0 && strncmp(query, "dryRun=", 7) != 0)
                        abort();
        }
        ours = guard_host_is_ours(host, names);
        /* A name with a dot that is none of ours is an address, or nothing. */
        if (ours && strstr(host, "evil"))
                abort();
        if (guard_origin_is_same(origin, host) && strlen(origin) < strlen(host) + strlen("http://"))
                abort();
        return 0;
}
