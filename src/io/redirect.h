#pragma once

/* Redirect: the nftables table `inet wakechain`. While an element for (address, port) is in its map, new connections to the
 * port go to the redirect port, where the service's socket listens; connections under way are not touched. Adding and removing is
 * one transaction each. Both are idempotent, and both make the table if it is not there.
 *
 * Which addresses an element may cover is a service's bindings: the host addresses that its container publishes the port on,
 * kept in /var/lib/wakechain/bindings/NAME.json as last seen on the engine. Until they are known: loopback alone. */

#include "model/service.h"
#include "util/macro.h"

typedef struct RedirectBindings {
        bool known;                     /* false: loopback of both families */
        bool any_ipv4, any_ipv6;        /* published on the wildcard address */
        char **addresses;               /* published on these only, both families */
} RedirectBindings;

void redirect_bindings_done(RedirectBindings *bindings);
/* A missing or unreadable file gives `known` = false, and 0. Only -ENOMEM fails. */
int redirect_bindings_load(RedirectBindings *ret, const char *root, const char *service);
/* Writes only if something changed. Returns 1 if so. */
int redirect_bindings_save(const RedirectBindings *bindings, const char *root, const char *service);
bool redirect_bindings_equal(const RedirectBindings *a, const RedirectBindings *b);

typedef struct Redirect Redirect;

/* Opens libnftables. -EPERM without CAP_NET_ADMIN, -EOPNOTSUPP if the kernel has no nftables (`redirect_error()` has the text). */
int redirect_new(Redirect **ret);
Redirect *redirect_free(Redirect *redirect);
DEFINE_CLEANUP(Redirect *, redirect_free);
const char *redirect_error(const Redirect *redirect); /* of the last failed call, one line; never NULL */

/* New connections to the service go to its redirect port. Replaces elements for the same service with other bindings. */
int redirect_up(Redirect *redirect, const Service *service, const RedirectBindings *bindings);
/* New connections to the service go to the container. The drop rule for direct use of the redirect port stays. */
int redirect_lift(Redirect *redirect, const Service *service, const RedirectBindings *bindings);
/* The service is gone from the map altogether. */
int redirect_down(Redirect *redirect, const Service *service, const RedirectBindings *bindings);

typedef struct RedirectEntry {
        const Service *service;
        RedirectBindings bindings;
        bool up;
} RedirectEntry;

/* The whole table anew, in one transaction: elements of all entries that are up. */
int redirect_rebuild(Redirect *redirect, const RedirectEntry *entries, size_t n_entries);
/* Removes the table. */
int redirect_clear(Redirect *redirect);

typedef struct RedirectState {
        bool present;                   /* the table is there, with its chains */
        bool up;                        /* every element of the service is in the map */
        bool partly;                    /* some but not all are */
        uint64_t new_connections;       /* connections to the published port since the last lift: the counter of trap 4 */
} RedirectState;

int redirect_look(Redirect *redirect, const Service *service, const RedirectBindings *bindings, RedirectState *ret);

/* A lock that keeps a rebuild and the programs that add or lift single elements apart: flock on
 * /run/wakechain/redirect.lock. Never waits: -EAGAIN if somebody else has it. Returns the descriptor; closing it unlocks. */
int redirect_lock(const char *root);
