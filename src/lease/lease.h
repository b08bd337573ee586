#pragma once

/* Lease: who uses a container, and whose it is. A user holds a shared flock on /run/wakechain/lease/CONTAINER; to stop
 * the container takes the exclusive one, so the last of several users is the one that stops it, and nobody starts it
 * meanwhile. The file's text is the record of what wakechain has done with the container, so that only what is its own is
 * stopped by it. Whose it is outlives its runs, a reboot, and that it is made anew: so that part of the record has a copy
 * in /var/lib/wakechain/lease/CONTAINER, which counts as long as there is no sound record in /run. It is not synced: after
 * a loss of power it may be missing, and the container counts as somebody else's.
 *
 * A lock belongs to the open file description: it outlives the process if the descriptor is in systemd's
 * descriptor store, and is then released only explicitly (lease_release()). Nothing here waits: -EAGAIN says
 * "try again later". */

#include "util/macro.h"
#include "util/time.h"

typedef struct LeaseRecord {
        bool ours; /* wakechain has started it once, or was about to when this was written, or has put it to sleep */
        bool asleep; /* the run that it speaks of is over, or paused by us: what runs now is another one */
        char *service; /* that it was started for, or is watched for */
        char *wake_id; /* of the wake that started the run; NULL: somebody else has */
        char *container_id; /* NULL: not known */
        char *started_at; /* the engine's State.StartedAt of that run; NULL: not known yet */
        bool ready; /* it was found ready in that run */
        bool restored; /* not written: read from the copy, so the run is another one, and `started_at` is NULL, `ready`
                        * false */
} LeaseRecord;

void lease_record_done(LeaseRecord *record);

typedef struct Lease Lease;

/* Opens the file, making it if needed; what is in its place and is no file of ours is removed. `root` is "" or, in tests, a
 * folder. */
int lease_open(Lease **ret, const char *root, const char *name);
/* Takes over a descriptor that was kept in the descriptor store, with its lock. Takes the fd on success only. */
int lease_adopt(Lease **ret, const char *root, int fd, const char *name);
/* Closes without touching the lock: a stored duplicate goes on holding it. */
Lease *lease_free(Lease *lease);
DEFINE_CLEANUP(Lease *, lease_free);

int lease_fd(const Lease *lease);

/* Shared: -EAGAIN while somebody stops the container. It is kept in the descriptor store from then on, until it is released. */
int lease_share(Lease *lease);
/* Exclusive: -EAGAIN if somebody else uses it; the shared lock is gone then as well (flock(2): a conversion
 * is not atomic). */
int lease_seize(Lease *lease);
int lease_release(Lease *lease);

/* Without a sound record in /run the copy counts, `restored`. A copy that is damaged, too long, of another container or
 * owned by a stranger counts as none, and none is the record of a container that is not ours. Only -ENOMEM fails. */
int lease_read(Lease *lease, LeaseRecord *ret);
/* In place, since the lock is on this very file, and without losing the old record before the new one is
 * there: if it cannot be written (/run is full), the old one stays. The copy that outlives a reboot is
 * replaced too, in any case: removed if the record is not ours; if it cannot be written, that is only a debug
 * message. -E2BIG: longer than anybody would read. */
int lease_write(Lease *lease, const LeaseRecord *record);

/* For a lease that is held, now and then: a file that was replaced or removed is no lock any more, so the one that is there
 * now is locked too; and what is damaged is written again, `record` being what is true. As long as nobody has touched
 * the files, that is two looks at them. 1: lease_fd() is another one now, in the store too; -EAGAIN as lease_share(). */
int lease_mend(Lease *lease, const LeaseRecord *record);

typedef struct RestoredLease {
        char *container;
        LeaseRecord record;
} RestoredLease;

/* What is ours, by the records in /run, and where there is none by the copies. Sorted by name, ended by an entry whose
 * `container` is NULL. That there are no folders is an empty list. */
int lease_list(RestoredLease **ret, const char *root);
RestoredLease *restored_lease_list_free(RestoredLease *list);
DEFINE_CLEANUP(RestoredLease *, restored_lease_list_free);

/* In the descriptor store it is called "lease-NAME". The name of the lease, or NULL if it is none. */
#define LEASE_FDNAME_PREFIX "lease-"
const char *lease_name_from_fdname(const char *fdname);

/* A unit's is called so, which no container can be. */
#define UNIT_LEASE_PREFIX "unit="
