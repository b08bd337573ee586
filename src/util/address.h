#pragma once

/* Address: ports, addresses and networks of IP as texts say them. */

#include <netinet/in.h>
#include "util/macro.h"

/* A decimal port, 1 to 65535, without leading zeros; 0 if the text is none. */
uint16_t port_from_string(const char *text);

/* "HOST:PORT" or "[HOST]:PORT", whatever the host is; the caller frees that. -EINVAL. */
int host_and_port_from_string(char **ret_host, uint16_t *ret_port, const char *text);

typedef struct AddressPrefix {
        int family; /* AF_INET or AF_INET6 */
        union {
                struct in_addr ipv4;
                struct in6_addr ipv6;
        };
        unsigned length;
} AddressPrefix;

#define ADDRESS_PREFIX_TEXT_MAX (INET6_ADDRSTRLEN + sizeof("/128"))
const char *address_prefix_to_string(const AddressPrefix *prefix, char buffer[static ADDRESS_PREFIX_TEXT_MAX]);
/* "10.0.0.0/8", "::1", "fd00::/8". -EINVAL. */
int address_prefix_parse(AddressPrefix *ret, const char *text);
bool address_prefix_equal(const AddressPrefix *a, const AddressPrefix *b);
/* An IPv4-mapped IPv6 address matches IPv4 prefixes. */
bool address_prefix_matches(const AddressPrefix *prefix, int family, const void *address);
