#pragma once

/* Redirect: the nftables table `inet wakechain`. While a service is up, new connections to its port go to the
 * redirect port, where the service's socket listens; connections under way are not touched. Each change is one
 * transaction, each is idempotent, and each makes the table if it is not there.
 *
 * Which addresses that covers is a service's bindings: the host addresses that its container publishes the port
 * on, kept in /var/lib/wakechain/bindings/NAME.json as last seen on the engine. Until they are known: loopback
 * alone. */

#include "io/engine.h"
#include "io/socket-table.h"
#include "model/service.h"
#include "util/macro.h"

typedef struct RedirectBindings {
        bool known; /* false: loopback of both families */
        bool any_ipv4, any_ipv6; /* published on the wildcard address */
        char **addresses; /* published on these only, both families, as inet_ntop() writes them */
        /* Whose connections are not counted while it is lifted, beside the service's `ignore`. Borrowed, and not kept. */
        const AddressPrefix *uncounted;
        size_t n_uncounted;
} RedirectBindings;

void redirect_bindings_done(RedirectBindings *bindings);
/* From a container's port bindings: where it publishes `host_port` (TCP). Returns 1 if it does, 0 with `known`
 * = false if not. Addresses that are none are left out. */
int redirect_bindings_from_ports(RedirectBindings *ret, const PortBinding *bindings, size_t n, uint16_t host_port);
/* A missing or unreadable file gives `known` = false, and 0. Only -ENOMEM fails. */
int redirect_bindings_load(RedirectBindings *ret, const char *root, const char *service);
/* Writes only if something changed, returns 1 if so. Bindings that are not known remove the file. */
int redirect_bindings_save(const RedirectBindings *bindings, const char *root, const char *service);
bool redirect_bindings_equal(const RedirectBindings *a, const RedirectBindings *b);

typedef struct Redirect Redirect;

/* Opens libnftables. -EPERM without CAP_NET_ADMIN, -EOPNOTSUPP if the kernel has no nftables; there is no
 * object then, so what to say is strerror()'s. Keep the object: freeing it after a change waits for the kernel
 * to clean up (20 ms), while a change itself is well below a millisecond. */
int redirect_new(Redirect **ret);
Redirect *redirect_free(Redirect *redirect);
DEFINE_CLEANUP(Redirect *, redirect_free);
const char *redirect_error(const Redirect *redirect); /* of the last failed call, one line; never NULL */

/* Of a service, these use its name, port, redirect_port and ignore_addresses.
 *
 * An address and port belong to one service. Whoever has them keeps them until it is gone from the table or its bindings
 * name them no more, whatever another service asks for: that one gets the others of its addresses, and what was denied
 * when it asks again. */

/* New connections to the service go to its redirect port. Replaces what was there for the same service with other bindings.
 * 1: some of its addresses are another service's, see redirect_rival(). */
int redirect_up(Redirect *redirect, const Service *service, const RedirectBindings *bindings);
/* New connections to the service go to the container, and are counted from 0. Direct use of the redirect port is still
 * dropped. 1 as above: these go where they went before. */
int redirect_lift(Redirect *redirect, const Service *service, const RedirectBindings *bindings);
/* The service, looked for by its name, is gone from the table altogether. 0 also if it was not there. */
int redirect_down(Redirect *redirect, const char *service);
/* After redirect_up() and redirect_lift(): the service that has some of the addresses, or "". */
const char *redirect_rival(const Redirect *redirect);

typedef enum RedirectAim {
        REDIRECT_UP,
        REDIRECT_LIFTED,
        REDIRECT_GONE, /* only the name of the service counts */
} RedirectAim;

typedef struct RedirectEntry {
        const Service *service;
        RedirectBindings bindings;
        RedirectAim aim;
        /* Set by the functions below: who has some of its addresses; "" if nobody has, or they are only guessed. */
        char rival[SERVICE_NAME_MAX + 1];
} RedirectEntry;

/* The same for many services (each once) with one read and in one transaction. Of two that ask for the same, and neither
 * has it, the first gets it. */
int redirect_apply(Redirect *redirect, RedirectEntry *entries, size_t n_entries);
/* The whole table anew, with these services, in one transaction. All counters begin at 0 again. */
int redirect_rebuild(Redirect *redirect, RedirectEntry *entries, size_t n_entries);
/* Removes the table. */
int redirect_clear(Redirect *redirect);

typedef struct RedirectState {
        bool present; /* the table is there, with its chains and their rules */
        bool registered; /* it is in the table, up or lifted; direct use is dropped */
        bool listed; /* its addresses are in the table: all that are no other service's. For bindings that are not known: any that are
                      * more than a guess will do */
        bool up; /* all new connections to these go to its redirect port */
        bool partly; /* those to some of its addresses do, or to another redirect port */
        char rival[SERVICE_NAME_MAX + 1]; /* who has some of its addresses, unless they are only guessed, or "" */
        /* Connections to the published port that went past us since the last lift: the counter of trap 4. It
         * stays readable after redirect_up(), and begins at 0 again after a rebuild: any difference is
         * activity, not only a larger number. */
        uint64_t new_connections;
} RedirectState;

int redirect_look(Redirect *redirect, const Service *service, const RedirectBindings *bindings,
                  RedirectState *ret);
/* The same for many services with one read; their `aim` is not used. `ret` has room for `n_entries`. Services of the table
 * that are not among them are appended to `strays`, if that is not NULL. */
int redirect_look_all(Redirect *redirect, const RedirectEntry *entries, size_t n_entries, RedirectState *ret,
                      char ***strays);
/* Two things of the above, at a price that does not grow with the number of services: `ret_connections` is new_connections,
 * `ret_up` whether the service is up, wherever its addresses are. */
int redirect_count(Redirect *redirect, const char *service, uint64_t *ret_connections, bool *ret_up);

/* The host's whole ruleset, as nft(8) prints it: for a look at what other tables would do to redirected
 * packets. The caller frees. */
int redirect_list_ruleset(Redirect *redirect, char **ret);

/* Whether the service's socket is up: `wakechain-redirect up` leaves a mark when it comes, `down` takes it
 * away. Where an administrator has stopped it, redirect_up() would send clients to a closed port. */
bool redirect_is_marked(const char *root, const char *service);

typedef struct RedirectMark {
        uint16_t port, redirect_port; /* as the socket was started with them, whatever the configuration says now */
        char rival[SERVICE_NAME_MAX + 1]; /* another service that had the port when it was looked at last, or "" */
} RedirectMark;

/* -ENOENT if there is none, -EBADMSG if it makes no sense. */
int redirect_mark_read(RedirectMark *ret, const char *root, const char *service);

/* A lock that keeps a rebuild and the programs that add or lift single services apart: flock on
 * /run/wakechain/redirect.lock. Never waits: -EAGAIN if somebody else has it. Returns the descriptor; closing
 * it unlocks. */
int redirect_lock(const char *root);
/* The same, and waits for it, blocking the caller: for programs that do nothing else. -ETIMEDOUT. */
int redirect_lock_wait(const char *root, uint64_t timeout_usec);
