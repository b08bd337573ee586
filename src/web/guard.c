#include <arpa/inet.h>
#include <strings.h>

#include "web/guard.h"

/* Guard: comparisons of texts that others wrote. What is not plainly right is wrong. */

#define HOST_MAX ((size_t) 255)

int guard_split_target(const char *target, char **ret_path, const char **ret_query) {
        size_t n = strcspn(target, "?");
        char *path;

        if (target[0] != '/')
                return -EINVAL;
        for (size_t i = 0; i < n; i++)
                if (target[i] <= ' ' || target[i] >= 0x7f || strchr("%\\#\"<>", target[i]) ||
                    (target[i] == '/' && target[i + 1] == '/'))
                        return -EINVAL;
        path = strndup(target, n);
        if (!path)
                return -ENOMEM;
        *ret_path = path;
        *ret_query = target[n] == '?' ? target + n + 1 : NULL;
        return 0;
}

/* Splits "host:port", "[address]:port" and each without a port. False if it is neither. */
static bool split_host(const char *host, char name[static HOST_MAX + 1], bool *ret_bracketed) {
        size_t n = strlen(host), end;
        const char *port;

        if (n == 0 || n > HOST_MAX)
                return false;
        *ret_bracketed = host[0] == '[';
        if (*ret_bracketed) {
                end = strcspn(host, "]");
                if (host[end] != ']')
                        return false;
                memcpy(name, host + 1, end - 1);
                name[end - 1] = '\0';
                port = host + end + 1;
        } else {
                end = strcspn(host, ":");
                memcpy(name, host, end);
                name[end] = '\0';
                port = host + end;
        }
        if (port[0] == '\0')
                return true;
        return port[0] == ':' && strlen(port) <= strlen(":65535") &&
               strspn(port + 1, "0123456789") == strlen(port + 1);
}

bool guard_host_is_ours(const char *host, char *const *names) {
        char name[HOST_MAX + 1];
        struct in6_addr address;
        bool bracketed;
        size_t n;

        if (!split_host(host, name, &bracketed))
                return false;
        if (bracketed)
                return inet_pton(AF_INET6, name, &address) > 0;
        n = strlen(name);
        if (n > 1 && name[n - 1] == '.')
                name[n - 1] = '\0';
        if (strcasecmp(name, "localhost") == 0 || inet_pton(AF_INET, name, &address) > 0)
                return true;
        for (; names && *names; names++)
                if (strcasecmp(*names, name) == 0 || strcasecmp(*names, host) == 0)
                        return true;
        return false;
}

bool guard_origin_is_same(const char *origin, const char *host) {
        static const char *const schemes[] = { "http://", "https://" };

        for (size_t i = 0; i < ELEMENTSOF(schemes); i++)
                if (strncasecmp(origin, schemes[i], strlen(schemes[i])) == 0)
                        return strcasecmp(origin + strlen(schemes[i]), host) == 0;
        return false;
}

int guard_parse_dry_run(const char *query, bool *ret) {
        if (!query || streq(query, "dryRun=false"))
                *ret = false;
        else if (streq(query, "dryRun=true"))
                *ret = true;
        else
                return -EINVAL;
        return 0;
}
