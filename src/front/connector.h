#pragma once

/* Backends: where a service's clients are forwarded. Connector: makes one connection to the first of them that
 * accepts. */

#include <netinet/in.h>
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
/* In network order; of an address that has one. */
void address_set_port(Address *address, in_port_t port);

bool addresses_equal(const Address *a, size_t n_a, const Address *b, size_t n_b);

/* Entries that are no address are left out, with a debug record; an empty list is fine, and nothing accepts
 * there. */
int backends_new(Backends **ret, char *const *texts);
/* The same with another port, in network order. NULL: out of memory. */
Backends *backends_at_port(const Backends *backends, in_port_t port);
Backends *backends_free(Backends *backends);
DEFINE_CLEANUP(Backends *, backends_free);
bool backends_equal(const Backends *a, const Backends *b);
/* Those that have a port, at most `max` of them. Returns how many. */
size_t backends_copy_inet(const Backends *backends, Address *ret, size_t max);

/* Connectors: what all of them share. The handler: descriptors or memory have run out. */
typedef struct Connectors Connectors;
typedef void (*ConnectorsExhaustedHandler)(int error, void *userdata);
int connectors_new(Connectors **ret, Reactor *reactor, ConnectorsExhaustedHandler on_exhausted, void *userdata);
/* All connectors must have been freed. */
Connectors *connectors_free(Connectors *connectors);
DEFINE_CLEANUP(Connectors *, connectors_free);

/* What a connection had has become free: the first of those that had run out tries at once. */
void connectors_resume(Connectors *connectors);

/* Called once, never from inside connector_new(): a connected, non-blocking descriptor that the handler now owns, and
 * that the watch is added for; or the last address's negative errno when time was up. The connector may be freed
 * from inside. It is a quiet watch's handler (reactor.h). */
typedef void (*ConnectorHandler)(Connector *connector, int fd, void *userdata);

/* Tries all addresses in turn, again and again with short pauses, for CONNECTOR_TIMEOUT_USEC; that time does not
 * run while there is nothing to connect with. The backends are borrowed, and so is the watch: the connection's, with
 * `events`. */
#define CONNECTOR_TIMEOUT_USEC (10 * USEC_PER_SEC)
int connector_new(Connector **ret, Connectors *connectors, const Backends *backends, Watch *watch, uint32_t events,
                  ConnectorHandler handler, void *userdata);
/* An attempt is given up; a connection that the handler got stays. */
Connector *connector_free(Connector *connector);
DEFINE_CLEANUP(Connector *, connector_free);
/* For the handler: what the connection is, and the events that the watch has told. */
bool connector_is_unix(const Connector *connector);
uint32_t connector_events(const Connector *connector);
