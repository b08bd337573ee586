#pragma once

/* Listen address: what the member `listen` may say, which is what ListenStream= takes, with `udp:` before it as
 * well. */

#include <netinet/in.h>
#include "util/address.h"

typedef struct ListenAddress {
        bool udp;
        int family; /* AF_INET, AF_INET6 or AF_UNIX */
        uint16_t port; /* 0 for AF_UNIX */
        union {
                struct in_addr ipv4;
                struct in6_addr ipv6; /* a port alone is the wildcard, and takes IPv4 as well */
        };
        const char *path; /* of AF_UNIX, within the text that was read: "/path" or "@name" */
} ListenAddress;

/* -EINVAL if the text is none of PORT, IPV4:PORT, [IPV6]:PORT, /PATH, @NAME, or one of the first three after
 * "udp:". */
int listen_address_from_string(ListenAddress *ret, const char *text);
bool listen_address_is_wildcard(const ListenAddress *address);
