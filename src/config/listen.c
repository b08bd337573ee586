#include <arpa/inet.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "config/listen.h"

/* Listen address. The forms are those of systemd.socket(5), and nothing that would mean more there: no vsock,
 * no names, no interface scopes, and no character in a path that a unit file reads in a way of its own. */

static int unix_from_string(ListenAddress *address, const char *text) {
        size_t n = strlen(text);

        if (n < 2 || n >= sizeof(((struct sockaddr_un *) NULL)->sun_path))
                return -EINVAL;
        for (const char *c = text; *c; c++)
                if ((unsigned char) *c <= ' ' || *c == 0x7f || *c == '\\')
                        return -EINVAL;
        address->family = AF_UNIX;
        address->path = text;
        return 0;
}

static int inet_from_string(ListenAddress *address, const char *text) {
        _cleanup_free_ char *host = NULL;
        int r;

        if (!strchr(text, ':')) {
                address->port = port_from_string(text);
                address->family = AF_INET6;
                address->ipv6 = (struct in6_addr) IN6ADDR_ANY_INIT;
                return address->port > 0 ? 0 : -EINVAL;
        }
        r = host_and_port_from_string(&host, &address->port, text);
        if (r < 0)
                return r;
        address->family = text[0] == '[' ? AF_INET6 : AF_INET;
        return inet_pton(address->family, host, &address->ipv6) == 1 ? 0 : -EINVAL;
}

int listen_address_from_string(ListenAddress *ret, const char *text) {
        ListenAddress address = {};
        int r;

        assert(ret);
        assert(text);

        address.udp = strncmp(text, "udp:", 4) == 0;
        if (address.udp)
                text += 4;
        if (!address.udp && (text[0] == '/' || text[0] == '@'))
                r = unix_from_string(&address, text);
        else
                r = inet_from_string(&address, text);
        if (r < 0)
                return r;
        *ret = address;
        return 0;
}

bool listen_address_is_wildcard(const ListenAddress *address) {
        if (address->family == AF_INET)
                return address->ipv4.s_addr == htonl(INADDR_ANY);
        return address->family == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&address->ipv6);
}
