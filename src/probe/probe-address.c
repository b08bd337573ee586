#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>

#include "probe/probe-address.h"
#include "util/address.h"
#include "util/text.h"

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

        address = network_address(container_info_network(info, network));
        for (size_t i = 0; !address && i < info->n_networks; i++)
                address = network_address(&info->networks[i]);
        if (!address && streq(info->network_mode, "host"))
                address = "127.0.0.1";
        if (!address) {
                *ret_why = address_missing(info);
                return -ENXIO;
        }

        *ret = strdup(address);
        return *ret ? 0 : -ENOMEM;
}

static int address_parse(const char *address, uint16_t port, struct sockaddr_storage *ret, socklen_t *ret_size) {
        struct sockaddr_in ipv4 = { .sin_family = AF_INET, .sin_port = htons(port) };
        struct sockaddr_in6 ipv6 = { .sin6_family = AF_INET6, .sin6_port = htons(port) };

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

int probe_address_tcp(const char *target, const ContainerInfo *info, const char *network,
                      struct sockaddr_storage *ret, socklen_t *ret_size, const char **ret_why) {
        _cleanup_free_ char *address = NULL;
        uint16_t port;
        int r;

        port = port_from_string(target);
        r = port > 0 ? probe_address_find(info, network, &address, ret_why)
                     : host_and_port_from_string(&address, &port, target);
        if (r >= 0)
                r = address_parse(streq(address, "localhost") ? "127.0.0.1" : address, port, ret, ret_size);
        if (r == -EINVAL)
                *ret_why = "healthCheck.tcp is neither a port nor an address with a port";
        return r;
}

int probe_address_http(const char *target, const ContainerInfo *info, const char *network, uint16_t default_port,
                       char **ret, const char **ret_why) {
        static const char *const schemes[] = { "http", "https" };
        _cleanup_free_ char *address = NULL;
        const char *scheme = "http", *rest = target;
        char port[8] = "";
        bool brackets;
        int r;

        for (size_t i = 0; i < ELEMENTSOF(schemes); i++) {
                size_t size = strlen(schemes[i]);

                if (strncmp(target, schemes[i], size) == 0 && strncmp(target + size, "://", 3) == 0) {
                        scheme = schemes[i];
                        rest = target + size + 3;
                }
        }

        if (rest == target && *rest == '/')
                (void) snprintf(port, sizeof(port), ":%u", default_port);
        else if (*rest != ':' && *rest != '/') {
                if (rest == target || *rest == '\0') {
                        *ret_why = "healthCheck.http is no URL";
                        return -EINVAL;
                }
                *ret = strdup(target);
                return *ret ? 0 : -ENOMEM;
        }

        r = probe_address_find(info, network, &address, ret_why);
        if (r < 0)
                return r;
        brackets = strchr(address, ':');
        *ret = text_printf("%s://%s%s%s%s%s", scheme, brackets ? "[" : "", address, brackets ? "]" : "", port,
                           rest);
        return *ret ? 0 : -ENOMEM;
}
