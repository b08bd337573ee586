#include <arpa/inet.h>
#include <stdio.h>

#include "util/address.h"

/* Address: whatever a text would mean beyond one address, one port, one prefix is refused: names, scopes, leading zeros. */

uint16_t port_from_string(const char *text) {
        size_t n = strspn(text, "0123456789");
        unsigned long port;

        if (n == 0 || n > 5 || text[n] != '\0' || text[0] == '0')
                return 0;
        port = strtoul(text, NULL, 10);
        return port <= UINT16_MAX ? (uint16_t) port : 0;
}

int host_and_port_from_string(char **ret_host, uint16_t *ret_port, const char *text) {
        const char *colon = strrchr(text, ':');
        uint16_t port = colon ? port_from_string(colon + 1) : 0;
        bool brackets = text[0] == '[' && colon > text + 1 && colon[-1] == ']';
        char *host;

        if (port == 0 || colon == text)
                return -EINVAL;
        host = strndup(text + brackets, (size_t) (colon - text) - 2 * brackets);
        if (!host)
                return -ENOMEM;
        *ret_host = host;
        *ret_port = port;
        return 0;
}

int address_prefix_parse(AddressPrefix *ret, const char *text) {
        _cleanup_free_ char *address = NULL;
        AddressPrefix prefix = {};
        const char *slash;

        slash = strchrnul(text, '/');
        address = strndup(text, (size_t) (slash - text));
        if (!address)
                return -ENOMEM;

        prefix.family = strchr(address, ':') ? AF_INET6 : AF_INET;
        if (inet_pton(prefix.family, address, &prefix.ipv6) <= 0)
                return -EINVAL;

        prefix.length = prefix.family == AF_INET ? 32 : 128;
        if (*slash == '/') {
                size_t digits = strspn(slash + 1, "0123456789");
                unsigned long length;

                if (digits == 0 || digits > 3 || slash[1 + digits] != '\0' || (digits > 1 && slash[1] == '0'))
                        return -EINVAL;
                length = strtoul(slash + 1, NULL, 10);
                if (length > prefix.length)
                        return -EINVAL;
                prefix.length = (unsigned) length;
        }

        *ret = prefix;
        return 0;
}

const char *address_prefix_to_string(const AddressPrefix *prefix, char buffer[static ADDRESS_PREFIX_TEXT_MAX]) {
        char address[INET6_ADDRSTRLEN];

        (void) inet_ntop(prefix->family, &prefix->ipv6, address, sizeof(address));
        (void) snprintf(buffer, ADDRESS_PREFIX_TEXT_MAX, "%s/%u", address, prefix->length);
        return buffer;
}

bool address_prefix_equal(const AddressPrefix *a, const AddressPrefix *b) {
        return a->family == b->family && a->length == b->length &&
               memcmp(&a->ipv6, &b->ipv6, a->family == AF_INET ? sizeof(a->ipv4) : sizeof(a->ipv6)) == 0;
}

bool address_prefix_matches(const AddressPrefix *prefix, int family, const void *address) {
        const uint8_t *bytes = address, *wanted = (const uint8_t *) &prefix->ipv6;
        unsigned whole = prefix->length / 8, rest = prefix->length % 8;

        if (family == AF_INET6 && IN6_IS_ADDR_V4MAPPED((const struct in6_addr *) address)) {
                family = AF_INET;
                bytes += 12;
        }
        return family == prefix->family && memcmp(wanted, bytes, whole) == 0 &&
               (rest == 0 || ((wanted[whole] ^ bytes[whole]) >> (8 - rest)) == 0);
}
