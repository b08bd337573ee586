#pragma once

/* Lease: who uses a container. A user holds a shared flock on /run/wakechain/lease/CONTAINER; to stop the container takes the
 * exclusive one, so the last of several users is the one that stops it, and nobody starts it meanwhile. The file's text
 * is the record of who started the container, so that only what wakechain started is stopped by wakechain.
 *
 * A lock belongs to the open file description: it outlives the process if the descriptor is in systemd's descriptor
 * store, and is then released only explicitly (lease_release()). Nothing here waits: -EAGAIN says "try again later". */

#include "util/macro.h"
#include "util/time.h"

typedef struct LeaseRecord {
        bool ours; /* wakechain started it, or was about to when this was written */
        char *wake_id; /* of the wake that started it */
        char *started_at; /* the engine's State.StartedAt of that run; NULL: not known yet */
        bool ready; /* it was found ready in that run */
} LeaseRecord;

void lease_record_done(LeaseRecord *record);

typedef struct Lease Lease;

/* Opens the file, making it if needed. `root` is "" or, in tests, a folder. */
int lease_open(Lease **ret, const char *root, const char *container);
/* Takes over a descriptor that was kept in the descriptor store, with its lock. Takes the fd on success only. */
int lease_adopt(Lease **ret, int fd, const char *container);
/* Closes without touching the lock: a stored duplicate goes on holding it. */
Lease *lease_free(Lease *lease);
DEFINE_CLEANUP(Lease *, lease_free);

int lease_fd(const Lease *lease);
const char *lease_container(const Lease *lease);

/* Shared: -EAGAIN while somebody stops the container. */
int lease_share(Lease *lease);
/* Exclusive: -EAGAIN if somebody else uses it; the shared lock is gone then as well (flock(2): a conversion is not atomic). */
int lease_seize(Lease *lease);
int lease_release(Lease *lease);

/* A missing, empty or damaged record is that of a container which is not ours. Only -ENOMEM fails. */
int lease_read(Lease *lease, LeaseRecord *ret);
/* In place, since the lock is on this very file, and without losing the old record before the new one is there. */
int lease_write(Lease *lease, const LeaseRecord *record);

/* "lease-CONTAINER", the name in the descriptor store, and back: NULL if it is none. */
#define LEASE_FDNAME_PREFIX "lease-"
const char *lease_fdname_container(const char *fdname);
