#pragma once

/* Ways: where the clients of a service are forwarded to. A client is told from others by the address and port that it wanted: what the status
 * names under `ports` has backends of its own, and all else has the service's. */

#include "front/connector.h"
#include "model/status.h"

typedef struct Ways Ways;

/* As an awake stack's status says. */
int ways_new(Ways **ret, const Status *status);
Ways *ways_free(Ways *ways);
DEFINE_CLEANUP(Ways *, ways_free);
bool ways_equal(const Ways *a, const Ways *b);

/* Of who wanted this. NULL: nobody accepts there yet, and the client is to wait. Borrowed from the ways. */
const Backends *ways_find(const Ways *ways, const Address *wanted, bool udp);
/* Of who is connected by this descriptor. */
const Backends *ways_find_client(const Ways *ways, int fd);

/* The address and port that a client wanted: where its connection was redirected from, or else where it was accepted. IPv4 is never mapped into
 * IPv6. False: it has none, as on a Unix socket. */
bool wanted_address(int fd, Address *ret);
