#pragma once

/* UdpWays: a Udp for each datagram socket of a front, as each leads its own way; see there for what the functions do, to all of them. */

#include "front/port-manner.h"
#include "front/udp/udp.h"
#include "front/ways.h"

typedef struct UdpWays UdpWays;

/* `ports` tells where datagrams were redirected from. */
int udp_ways_new(UdpWays **ret, Reactor *reactor, int first, size_t n, const PortManners *ports, size_t flows_max,
                 uint64_t timeout_usec, UdpAdmitHandler admit, UdpHandler handler, void *userdata);
UdpWays *udp_ways_free(UdpWays *ways);
DEFINE_CLEANUP(UdpWays *, udp_ways_free);

size_t udp_ways_count(const UdpWays *ways);
size_t udp_ways_waiting(const UdpWays *ways);
/* Each where `to` leads from its address; those that nobody accepts from yet hold. */
void udp_ways_forward(UdpWays *ways, const Ways *to);
void udp_ways_hold(UdpWays *ways);
void udp_ways_drain(UdpWays *ways);
void udp_ways_drop(UdpWays *ways);
