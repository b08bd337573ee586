#pragma once

/* Lease: who uses a container. A user holds a shared flock on /run/wakechain/lease/CONTAINER; to stop the
 * container takes the exclusive one, so the last of several users is the one that stops it, and nobody starts
 * it meanwhile. The file's text is the record of who started the container, so that only what wakechain
 * started is stopped by wakechain. /run is empty after a boot, and the engine's restart policy may bring such
 * a container up again: so what of the record still holds then (whose it is) has a copy in
 * /var/lib/wakechain/lease/CONTAINER, which counts as long as there is no record in /run. It is not synced:
 * after a loss of power it may be missing, and the container counts as somebody else's.
 *
 * A lock belongs to the open file description: it outlives the process if the descriptor is in systemd's
 * descriptor store, and is then released only explicitly (lease_release()). Nothing here waits: -EAGAIN says
 * "try again later". */

#include "util/macro.h"
#include "util/time.h"

typedef struct LeaseRecord {
        bool ours; /* wakechain started it, or was about to when this was written */
        char *service; /* that it was started for */
        char *wake_id; /* of the wake that started it */
        char *container_id; /* NULL: not known */
        char *started_at; /* the engine's State.StartedAt of that run; NULL: not known yet */
        bool ready; /* it was found ready in that run */
        bool restored; /* not written: read from the copy that outlives a reboot, so the run is another one, and
                        * `started_at` is NULL, `ready` false */
} LeaseRecord;

void lease_record_done(LeaseRecord *record);

typedef struct Lease Lease;

/* Opens the file, making it if needed. `root` is "" or, in tests, a folder. */
int lease_open(Lease **ret, const char *root, const char *container);
/* Takes over a descriptor that was kept in the descriptor store, with its lock. Takes the fd on success only. */
int lease_adopt(Lease **ret, const char *root, int fd, const char *container);
/* Closes without touching the lock: a stored duplicate goes on holding it. */
Lease *lease_free(Lease *lease);
DEFINE_CLEANUP(Lease *, lease_free);

int lease_fd(const Lease *lease);

/* Shared: -EAGAIN while somebody stops the container. */
int lease_share(Lease *lease);
/* Exclusive: -EAGAIN if somebody else uses it; the shared lock is gone then as well (flock(2): a conversion
 * is not atomic). */
int lease_seize(Lease *lease);
int lease_release(Lease *lease);

/* A missing, empty or damaged record is that of a container which is not ours; but if there is none since the
 * last boot (the file is empty), the copy counts, `restored`. A copy that is damaged, too long, of another
 * container or owned by a stranger counts as none. Only -ENOMEM fails. */
int lease_read(Lease *lease, LeaseRecord *ret);
/* In place, since the lock is on this very file, and without losing the old record before the new one is
 * there: if it cannot be written (/run is full), the old one stays. The copy that outlives a reboot is
 * replaced too, in any case: removed if the record is not ours; if it cannot be written, that is only a debug
 * message. -E2BIG: longer than anybody would read. */
int lease_write(Lease *lease, const LeaseRecord *record);

typedef struct RestoredLease {
        char *container;
        LeaseRecord record;
} RestoredLease;

/* The copies that count: what wakechain had started before the last boot, and what nothing was written about
 * since. Sorted by name, ended by an entry whose `container` is NULL. That there is no folder is an empty
 * list. */
int lease_list_restored(RestoredLease **ret, const char *root);
RestoredLease *restored_lease_list_free(RestoredLease *list);
DEFINE_CLEANUP(RestoredLease *, restored_lease_list_free);

/* "lease-CONTAINER", the name in the descriptor store, and back: NULL if it is none. */
#define LEASE_FDNAME_PREFIX "lease-"
const char *lease_fdname_container(const char *fdname);
