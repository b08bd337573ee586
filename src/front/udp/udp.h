#pragma once

/* Udp: the clients of a front that speak UDP. Holds their first datagrams, and forwards flows both ways. */

#include "front/connector.h"

typedef struct Udp Udp;

/* Whether somebody whose first datagram this is may have a flow. */
typedef bool (*UdpAdmitHandler)(const struct sockaddr *client, void *userdata);
/* There are flows now, or there are none any more. May call any function below but udp_free(). */
typedef void (*UdpHandler)(Udp *udp, void *userdata);

/* Takes the datagram sockets among the `n` from descriptor `first` on; they are borrowed, as are all pointers. None is fine. Of `flows_max`, and
 * of what may be held, it has one of `parts` equal parts. */
int udp_new(Udp **ret, Reactor *reactor, int first, size_t n, size_t parts, size_t flows_max,
            uint64_t timeout_usec, UdpAdmitHandler admit, UdpHandler handler, void *userdata);
Udp *udp_free(Udp *udp);
DEFINE_CLEANUP(Udp *, udp_free);

/* How many datagram sockets there are among these. */
size_t udp_count_sockets(int first, size_t n);

size_t udp_count(const Udp *udp);
/* Flows that have datagrams waiting. */
size_t udp_waiting(const Udp *udp);

/* The stack is awake: what waits is delivered, and flows go there. The backends are copied. */
void udp_forward(Udp *udp, const Backends *backends);
/* It is not: whatever comes waits. What it is at the beginning. */
void udp_hold(Udp *udp);
/* From now on flows end as soon as they have been silent for a second. */
void udp_drain(Udp *udp);
/* Ends all flows, and holds. The handler is not called. */
void udp_drop(Udp *udp);
