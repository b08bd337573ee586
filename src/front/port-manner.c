#include "front/port-manner.h"
#include "front/ways.h"

/* PortManner: looked up by where a client was accepted, or redirected from: the front reads no configuration, and is told by options. */

void port_manners_done(PortManners *manners) {
        free(manners->list);
        *manners = (PortManners){};
}

static bool is_same_place(const PortManner *a, const PortManner *b) {
        return a->port == b->port && a->address.family == b->address.family &&
               (a->address.family == AF_UNSPEC || address_prefix_equal(&a->address, &b->address));
}

/* "[::1]:22=v2": the manner of that place, made if there is none; `ret_value` is what stands behind. */
static int take_place(PortManners *manners, const char *text, PortManner **ret, const char **ret_value) {
        const char *value = strchr(text, '=');
        _cleanup_free_ char *place = value ? strndup(text, (size_t) (value - text)) : NULL, *host = NULL;
        PortManner wanted = { .page = -1, .proxy_protocol = -1 }, *larger;
        int r = 0;

        if (!value)
                return -EINVAL;
        if (!place)
                return -ENOMEM;
        wanted.port = port_from_string(place);
        if (wanted.port == 0)
                r = host_and_port_from_string(&host, &wanted.port, place);
        if (r >= 0 && host)
                r = address_prefix_parse(&wanted.address, host);
        if (r < 0)
                return r;
        *ret_value = value + 1;
        for (size_t i = 0; i < manners->n; i++)
                if (is_same_place(&manners->list[i], &wanted)) {
                        *ret = &manners->list[i];
                        return 0;
                }
        larger = reallocarray(manners->list, manners->n + 1, sizeof(*larger));
        if (!larger)
                return -ENOMEM;
        manners->list = larger;
        *ret = &larger[manners->n++];
        **ret = wanted;
        return 0;
}

int port_manners_add_page(PortManners *manners, const char *text) {
        const char *value;
        PortManner *manner;
        int r;

        r = take_place(manners, text, &manner, &value);
        if (r >= 0)
                r = manner->page = page_mode_from_string(value);
        return MIN(r, 0);
}

int port_manners_add_proxy_protocol(PortManners *manners, const char *text) {
        const char *value;
        PortManner *manner;
        int r;

        r = take_place(manners, text, &manner, &value);
        if (r >= 0)
                r = manner->proxy_protocol = proxy_protocol_from_string(value);
        return MIN(r, 0);
}

int port_manners_add_udp(PortManners *manners, const char *text) {
        const char *value;
        PortManner *manner;
        int r;

        r = take_place(manners, text, &manner, &value);
        if (r < 0)
                return r;
        manner->udp = port_from_string(value);
        return manner->udp > 0 ? 0 : -EINVAL;
}

const PortManner *port_manners_find(const PortManners *manners, int fd) {
        const struct sockaddr_in *in;
        const struct sockaddr_in6 *in6;
        Address wanted;
        bool ipv4;

        if (manners->n == 0 || !wanted_address(fd, &wanted))
                return NULL;
        in = (const struct sockaddr_in *) &wanted.storage;
        in6 = (const struct sockaddr_in6 *) &wanted.storage;
        ipv4 = wanted.any.sa_family == AF_INET;
        for (size_t i = 0; i < manners->n; i++) {
                const PortManner *manner = &manners->list[i];

                if (manner->port == ntohs(ipv4 ? in->sin_port : in6->sin6_port) &&
                    (manner->address.family == AF_UNSPEC ||
                     address_prefix_matches(&manner->address, wanted.any.sa_family,
                                            ipv4 ? (const void *) &in->sin_addr : &in6->sin6_addr)))
                        return manner;
        }
        return NULL;
}

int proxy_protocol_from_string(const char *text) {
        static const char *const versions[] = { "none", "v1", "v2" };

        for (int i = 0; i < (int) ELEMENTSOF(versions); i++)
                if (streq(text, versions[i]))
                        return i;
        return -EINVAL;
}
