#pragma once

/* PortManner: how clients of one port are treated, where that is not as the service's. */

#include "model/service.h"

typedef struct PortManner {
        AddressPrefix address; /* that they came to; AF_UNSPEC: any */
        uint16_t port;
        int page; /* a PageMode; negative: as the service's */
        int proxy_protocol; /* likewise */
        uint16_t udp; /* that datagrams were redirected from which come to this one; 0: nothing is redirected to it */
} PortManner;

typedef struct PortManners {
        PortManner *list;
        size_t n;
} PortManners;

/* "[ADDRESS:]PORT=auto|always|never" and "[ADDRESS:]PORT=none|v1|v2". -EINVAL. */
int port_manners_add_page(PortManners *manners, const char *text);
int port_manners_add_proxy_protocol(PortManners *manners, const char *text);
/* "PORT=PORT". */
int port_manners_add_udp(PortManners *manners, const char *text);
void port_manners_done(PortManners *manners);

/* Of who is connected by this descriptor. NULL: all of it is as the service's. */
const PortManner *port_manners_find(const PortManners *manners, int fd);

/* "none", "v1" or "v2". -EINVAL. */
int proxy_protocol_from_string(const char *text);
