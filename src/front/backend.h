#pragma once

/* Backends: where a service's clients are forwarded. Connector: makes one connection to the first of them that
 * accepts. */

#include <sys/socket.h>
#include <sys/un.h>
#include "front/reactor.h"

typedef struct Backends Backends;
typedef struct Connector Connector;

typedef struct Address {
        union {
                struct sockaddr any;
                struct sockaddr_storage storage;
                struct sockaddr_un un;
        };
        socklen_t size;
} Address;

/* "172.18.0.4:80", "[fd00::2]:80" or "/run/x.sock". -EINVAL if it is none of these. */
int address_parse(Address *ret, const char *text);
/* Whether a socket that was connected to this address has met itself: the kernel may choose the very port on loopback
 * as its own, if nobody is there. */
bool address_is_self_connected(int fd, const Address *address);

/* Entries that are no address are left out, with a debug record; an empty list is fine, and nothing accepts
 * there. */
int backends_new(Backends **ret, char *const *texts);
Backends *backends_free(Backends *backends);
DEFINE_CLEANUP(Backends *, backends_free);
bool backends_equal(const Backends *a, const Backends *b);
/* Those that have a port, at most `max` of them. Returns how many. */
size_t backends_copy_inet(const Backends *backends, Address *ret, size_t max);

/* Called once, never from inside connector_new(): a connected, non-blocking descriptor that the handler now owns,
 * or the last address's negative errno when time was up. The connector may be freed from inside. */
typedef void (*ConnectorHandler)(Connector *connector, int fd, void *userdata);

/* Tries all addresses in turn, again and again with short pauses, for CONNECTOR_TIMEOUT_USEC. The backends are
 * borrowed. */
#define CONNECTOR_TIMEOUT_USEC (10 * USEC_PER_SEC)
int connector_new(Connector **ret, sd_event *event, Reactor *reactor, const Backends *backends,
                  ConnectorHandler handler, void *userdata);
Connector *connector_free(Connector *connector);
DEFINE_CLEANUP(Connector *, connector_free);
