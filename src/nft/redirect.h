#pragma once

/* Redirect: the nftables tables of wakechain. While a service sleeps, new connections to its port go to the
 * redirect port, where the service's socket listens; connections under way are not touched. `wakechain-redirect settle` decides
 * what the table is to hold; a waker changes nothing but what its own service's chain does. Each change is one transaction. What the
 * tables look like is redirect-table.h's.
 *
 * Which addresses that covers is a service's bindings. Until they are known: loopback alone. */

#include "nft/redirect-table.h"

typedef struct Redirect Redirect;

/* Opens libnftables. -EPERM without CAP_NET_ADMIN, -EOPNOTSUPP if the kernel has no nftables; there is no
 * object then, so what to say is strerror()'s. Keep the object: freeing it after a change waits for the kernel
 * to clean up (20 ms), while a change itself is well below a millisecond. */
int redirect_new(Redirect **ret);
Redirect *redirect_free(Redirect *redirect);
DEFINE_CLEANUP(Redirect *, redirect_free);
const char *redirect_error(const Redirect *redirect); /* of the last failed call, one line; never NULL */

/* The whole table */

typedef enum RedirectAim {
        REDIRECT_GONE, /* nothing of it is to be in the table */
        REDIRECT_UP, /* new connections go to the redirect port */
        REDIRECT_LIFTED, /* they go where they went without us, and are counted */
        REDIRECT_KEPT, /* what its chain does stays; if it has none: lifted */
        _REDIRECT_AIM_MAX,
} RedirectAim;

typedef struct RedirectEntry {
        const char *service;
        RedirectAim aim;
        uint16_t redirect_port;
        bool has_names;
        uint64_t udp; /* redirect_udp_sum() of its elements */
        char *const *uncounted; /* whose connections are not counted while it is lifted: addresses, CIDR; or NULL */
} RedirectEntry;

/* What is there now: an empty snapshot if there is no table. */
int redirect_read(Redirect *redirect, RedirectSnapshot **ret);
/* The same but for the counters, without a listing of the table if nobody has changed anything in any table since the last call. */
int redirect_recall(Redirect *redirect, const char *root, RedirectSnapshot **ret);
/* Makes the table what `entries`, sorted by service, and `elements`, sorted, each of one of them, say and nothing else, by the differences to
 * the snapshot, in one transaction: what is as it should be is not touched, counters go on. A table that is not whole is made anew. Returns
 * how many services it changed something of, 0 if all was well; `changed`, `n_entries` of false, tells of which. With `redirect`
 * NULL nothing is done. */
int redirect_settle(Redirect *redirect, const RedirectSnapshot *snapshot, const RedirectEntry *entries,
                    size_t n_entries, const RedirectElement *elements, size_t n_elements, bool *changed);
/* Removes the tables. */
int redirect_clear(Redirect *redirect);

/* A waker's own service */

/* New connections to the service go to its redirect port: the one that the table has, since the file may say another one than its socket
 * was started with, even one of another service. -ENOENT: it is not in the table, since nobody listens there; then there is nothing to
 * be done. Those of `inner`'s own, which may be NULL, go on as if there was no redirect. */
int redirect_up(Redirect *redirect, const Service *service, const Inner *inner);
/* New connections to the service go to the container, and are counted from 0, as are those to the container's own addresses, but for those
 * of its `ignore` and of `inner`'s own, which may be NULL. Direct use of the redirect port is still dropped. -ENOENT as above. */
int redirect_lift(Redirect *redirect, const Service *service, const Inner *inner);
/* Flows to its ports of UDP that began when those were lifted go on to its containers, whatever the table says now: they are begun anew with their next
 * datagram. redirect_settle() has that done for those that are up. */
int redirect_forget_flows(Redirect *redirect, const Service *service);
/* After -ENOENT: is the whole table gone, or not whole? Then somebody has flushed it, and redirect_ask_to_settle() has it made again, soon. */
bool redirect_is_flushed(Redirect *redirect);
/* Leaves the file that a path unit waits for. */
int redirect_ask_to_settle(const char *root);
/* For who settles: takes it away. Returns whether it was there. */
bool redirect_was_asked(const char *root);
typedef struct RedirectCount {
        uint64_t connections; /* new ones since the last lift (the counter of trap 4) */
        bool up; /* they go to the redirect port */
        bool bare; /* lifted by a settlement, which does not know whom redirect_lift() counts and whom it does not */
} RedirectCount;

/* At a price that does not grow with the number of services. */
int redirect_count(Redirect *redirect, const char *service, RedirectCount *ret);

/* The host's whole ruleset, as nft(8) prints it: for a look at what other tables would do to redirected
 * packets. The caller frees. */
int redirect_list_ruleset(Redirect *redirect, char **ret);

/* A lock that keeps `settle` and wakers apart: flock on /run/wakechain/redirect.lock. Never waits: -EAGAIN if somebody else has it.
 * Returns the descriptor; closing it unlocks. */
int redirect_lock(const char *root);
/* The same, and waits for it, blocking the caller: for programs that do nothing else. -ETIMEDOUT. */
int redirect_lock_wait(const char *root, uint64_t timeout_usec);
