#pragma once

/* Facts: all that is so, of each service that anybody knows: the file, systemd, the engine, the table, the status files. What is to be made of it is
 * decision.h's. */

#include "config/config.h"
#include "engine/survey.h"
#include "lease/lease.h"
#include "model/status.h"
#include "nft/redirect.h"
#include "redirect/listeners.h"
#include "redirect/units.h"

#define CONTROL_PATH "%s/run/wakechain/control/%s.sock" /* root, name */
/* A link of the generator's for each service: root, name. */
#define GENERATED "%s/run/systemd/generator/sockets.target.wants/wake-control@%s.socket"
#define SETTLED "/run/wakechain/settled" /* a mark: something was in the table when it was left */

typedef enum Reached {
        REACHED_UNKNOWN, /* the engine does not answer, or a waker has ended since it was asked */
        REACHED_STOPPED, /* or paused, or not there */
        REACHED_RUNNING,
} Reached;

/* A socket unit of a service. */
typedef struct SocketFacts {
        const Unit *unit; /* NULL: systemd does not know it, or it is being stopped */
        bool listens; /* it is active, and PID 1 has every socket of it */
        bool fresh; /* it does nothing, and never has: nobody has stopped it */
        bool stale; /* it has failed, a while ago or as it was started by us just now */
} SocketFacts;

typedef struct ServiceFacts {
        const char *name;
        const Service *service; /* NULL: the file has none of this name */
        bool generated; /* systemd has units of it as it was: it was not loaded again since the file has it no more, or elsewhere */

        SocketFacts socket, control;
        const Unit *front; /* one that runs, NULL: none */
        bool front_listens_elsewhere; /* where it once was to listen, and PID 1 does not any more */
        uint16_t redirect_port; /* where its socket listens, should the file say something that systemd has not loaded */
        bool waker; /* one lives, or is being started or stopped */
        bool waker_failed; /* the last one has, a short while ago */
        bool waker_is_up; /* it neither wakes its stack any more nor puts it to sleep */
        bool waker_is_old; /* it watches over another service, which had this name, and whoever has that one's containers now watches, too */

        RedirectBindings bindings; /* borrows */
        Reached reached; /* the container that clients want to reach */
        bool direct; /* it runs, and has the port: not another one of a range */
        bool ours; /* if that runs, wakechain may put it to sleep */
        bool left_over; /* something runs that wakechain has started, and nobody is there who would stop it */

        RedirectElement *
                        elements; /* what the table has of one that the file has not, or has elsewhere, while systemd has it as it was */
        size_t n_elements;
        bool whole; /* nobody has flushed the table, but there may have been none */
        const SnapshotService *chain; /* what the table does with its connections; NULL: nothing */
        bool has_status; /* there is a status file, whatever is in it */
        bool has_bindings; /* the file has it not, and there is one of its addresses */
        Status *status; /* NULL: none that can be read */
} ServiceFacts;

typedef struct Facts {
        Config *config; /* NULL: no file, and none is remembered */
        bool broken; /* there is one, and nothing can be told from it: then nothing is done */
        RedirectBindings *bindings; /* of each service of the file, in its order, as the engine said last */
        Survey *survey; /* NULL: the engine does not answer, or is stopped */
        bool engine_is_silent; /* it runs, and does not answer */
        uint64_t sure_usec; /* 0, or from when on the engine can be believed of a stack that starts or ends just now */
        uint64_t asked_usec; /* when that was begun, CLOCK_MONOTONIC */
        uint64_t begun_usec; /* when all of this was, 0: only to look; what has failed since is our doing */
        SocketFacts pages, api; /* the web service's */
        SocketFacts names; /* where questions for names are redirected to */
        Units units;
        Listeners listeners;
        RedirectSnapshot *table; /* NULL: nftables cannot be used */
        RestoredLease *leases; /* sorted by container; NULL: the engine does not answer */
        size_t n_leases;
        char **orphans; /* containers that wakechain has started for a service that has them no more, and that run */
        char **strays; /* names of services that are not in the file */
        ServiceFacts *services; /* sorted by name */
        size_t n;
} Facts;

/* The slow half, for which nothing is locked: the file, and what the engine says, which is kept for when it does not. Logs. */
int facts_ask(Facts *facts, const char *root);
/* The quick half, under the lock of the redirects. Containers were looked at before wakers are: one that was started by a waker in
 * between is not taken for somebody else's. `redirect` may be NULL. Logs. */
int facts_look(Facts *facts, const char *root, Redirect *redirect);
void facts_done(Facts *facts);

/* What the service's status file says; NULL if that is nothing, or of another one. */
Status *facts_read_status(const char *root, const char *service);
