#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>

#include "io/probe-address.h"

/* ProbeAddress: a container is asked at its own address, never at a published port: docker-proxy accepts
 * there long before the application does, and so does our own front. From the host every network of a
 * container can be reached. */

static const char *network_address(const ContainerNetwork *network) {
        return network ? network->ipv4 ?: network->ipv6 : NULL;
}

static const char *address_missing(const ContainerInfo *info) {
        if (strncmp(info->network_mode, "container:", strlen("container:")) == 0)
                return "the container uses another one's network, so the health check has to name an address";
        if (streq(info->network_mode, "none"))
                return "the container has no network, only a command can ask it";
        return "the container has no address on any network";
}

int probe_address_find(const ContainerInfo *info, const char *network, char **ret, const char **ret_why) {
        const char *address;
        char *copy;

        assert(info);
        assert(ret);
        assert(ret_why);

        address = network_address(container_info_network(info, network));
        for (size_t i = 0; !address && i < info->n_networks; i++)
                address = network_address(&info->networks[i]);
        if (!address && streq(info->network_mode, "host"))
                address = "127.0.0.1";
        if (!address) {
                *ret_why = address_missing(info);
                return -ENXIO;
        }

        copy = strdup(address);
        if (!copy)
                return -ENOMEM;
        *ret = copy;
        return 0;
}

int probe_address_parse(const char *address, uint16_t port, struct sockaddr_storage *ret, socklen_t *ret_size) {
        struct sockaddr_in ipv4 = { .sin_family = AF_INET, .sin_port = htons(port) };
        struct sockaddr_in6 ipv6 = { .sin6_family = AF_INET6, .sin6_port = htons(port) };

        assert(address);
        assert(ret);
        assert(ret_size);

        *ret = (struct sockaddr_storage){};
        if (inet_pton(AF_INET, address, &ipv4.sin_addr) == 1) {
                memcpy(ret, &ipv4, sizeof(ipv4));
                *ret_size = sizeof(ipv4);
                return 0;
        }
        if (inet_pton(AF_INET6, address, &ipv6.sin6_addr) == 1) {
                memcpy(ret, &ipv6, sizeof(ipv6));
                *ret_size = sizeof(ipv6);
                return 0;
        }
        return -EINVAL;
}

/* The whole text, 1 to 65535; 0 if it is no port. */
static uint16_t port_parse(const char *text) {
        unsigned port = 0;
        size_t digits = strspn(text, "0123456789");

        if (digits == 0 || digits > 5 || text[digits] != '\0')
                return 0;
        for (; *text; text++)
                port = port * 10 + (unsigned) (*text - '0');
        return port <= UINT16_MAX ? (uint16_t) port : 0;
}

/* "10.0.0.1:80", "[::1]:80", "localhost:80". */
static int endpoint_parse(const char *text, char **ret_address, uint16_t *ret_port) {
        const char *colon = strrchr(text, ':');
        size_t size;

        if (!colon || port_parse(colon + 1) == 0)
                return -EINVAL;
        size = (size_t) (colon - text);
        if (size >= 2 && text[0] == '[' && colon[-1] == ']') {
                text++;
                size -= 2;
        }

        *ret_address = strncmp(text, "localhost:", strlen("localhost:")) == 0 ? strdup("127.0.0.1")
                                                                              : strndup(text, size);
        *ret_port = port_parse(colon + 1);
        return *ret_address ? 0 : -ENOMEM;
}

int probe_address_tcp(const char *target, const ContainerInfo *info, const char *network,
                      struct sockaddr_storage *ret, socklen_t *ret_size, const char **ret_why) {
        _cleanup_free_ char *address = NULL;
        uint16_t port;
        int r;

        assert(target);
        assert(ret_why);

        port = port_parse(target);
        r = port > 0 ? probe_address_find(info, network, &address, ret_why)
                     : endpoint_parse(target, &address, &port);
        if (r >= 0)
                r = probe_address_parse(address, port, ret, ret_size);
        if (r == -EINVAL)
                *ret_why = "healthCheck.tcp is neither a port nor an address with a port";
        return r;
}

/* "http://ADDRESS" + rest, where the rest is what follows an empty host. */
static int url_complete(const char *scheme, const char *address, uint16_t port, const char *rest, char **ret) {
        bool brackets = strchr(address, ':');
        char port_text[8] = "";

        if (port > 0)
                (void) snprintf(port_text, sizeof(port_text), ":%u", port);
        return asprintf(ret, "%s://%s%s%s%s%s", scheme, brackets ? "[" : "", address, brackets ? "]" : "",
                        port_text, rest) < 0
                               ? -ENOMEM
                               : 0;
}

int probe_address_http(const char *target, const ContainerInfo *info, const char *network, uint16_t default_port,
                       char **ret, const char **ret_why) {
        static const char *const schemes[] = { "http", "https" };
        _cleanup_free_ char *address = NULL;
        const char *scheme = "http", *rest = target;
        uint16_t port = 0;
        char *url;
        int r;

        assert(target);
        assert(ret);
        assert(ret_why);

        for (size_t i = 0; i < ELEMENTSOF(schemes); i++) {
                size_t size = strlen(schemes[i]);

                if (strncmp(target, schemes[i], size) == 0 && strncmp(target + size, "://", 3) == 0) {
                        scheme = schemes[i];
                        rest = target + size + 3;
                }
        }

        if (rest == target && *rest == '/')
                port = default_port;
        else if (*rest != ':' && *rest != '/') {
                if (rest == target || *rest == '\0') {
                        *ret_why = "healthCheck.http is no URL";
                        return -EINVAL;
                }
                url = strdup(target);
                if (!url)
                        return -ENOMEM;
                *ret = url;
                return 0;
        }

        r = probe_address_find(info, network, &address, ret_why);
        if (r < 0)
                return r;
        r = url_complete(scheme, address, port, rest, &url);
        if (r < 0)
                return r;
        *ret = url;
        return 0;
}
