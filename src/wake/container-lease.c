#include <limits.h>
#include <stdio.h>

#include "wake/container-internal.h"
#include "wake/notify.h"

/* Container, its lease: the lock that says that it is used, and the record in it that says whose it is. A record counts for the run that it names;
 * one that names none yet was written by a life of ours that was about to start the container. */

#define LEASE_RETRY (20 * USEC_PER_MSEC)

void container_write_record(Container *container) {
        int r;

        r = lease_write(container->lease, &container->record);
        if (r < 0)
                log_warning_errno(r, "Failed to write the lease of %s, ignoring: %m",
                                  member_name(&container->member));
}

bool container_run_is_of(const Container *container, const LeaseRecord *record) {
        return record->started_at && streq(record->started_at, container->info->started_at) &&
               (!record->container_id || streq(record->container_id, container->info->id));
}

/* Does the record speak of what was seen last? */
static bool container_record_counts(const Container *container) {
        const LeaseRecord *record = &container->record;
        const ContainerInfo *info = container->info;

        if (container_run_is_of(container, record) || (!record->started_at && !record->restored))
                return true;
        /* Then somebody has started it by hand; but an engine that itself starts what it ran before, after a reboot for example, goes on
         * with what we began. */
        return record->container_id && streq(record->container_id, info->id) && !streq(info->restart_policy, "no");
}

static void container_claim(Container *container) {
        const MemberContext *context = container->member.context;

        container->record.ours = true;
        if (!container->record.wake_id)
                container->record.wake_id = strdup(context->wake_id);
        if (!container->record.service)
                container->record.service = strdup(context->service->name);
}

int container_load_record(Container *container) {
        int r;

        lease_record_done(&container->record);
        /* A record of a container that does not run is of an earlier run, ended by somebody else or by a reboot. */
        if (container->info && !container->info->running)
                return 0;

        r = lease_read(container->lease, &container->record);
        if (r < 0)
                return r;
        if (container->info && !container_record_counts(container))
                lease_record_done(&container->record);
        if (container->started_now)
                container_claim(container);
        else if (container->member.context->service->adopt)
                container->record.ours = true;
        return 0;
}

void container_note_run(Container *container) {
        LeaseRecord *record = &container->record;

        free(record->started_at);
        record->started_at = strdup(container->info->started_at);
        free(record->container_id);
        record->container_id = strdup(container->info->id);
}

void container_disown(Container *container) {
        container->started_now = container->unpaused_now = false;
        lease_record_done(&container->record);
        if (container->info)
                container_note_run(container);
        container_write_record(container);
}

void container_withdraw(Container *container) {
        _cleanup_(lease_record_done) LeaseRecord record = {};

        if (container->started_now)
                return;
        lease_record_done(&container->record);
        /* Another wake may have announced the same. */
        if (lease_read(container->lease, &record) >= 0 && record.ours && !record.started_at && record.wake_id &&
            streq(record.wake_id, container->member.context->wake_id))
                container_write_record(container);
}

void container_lease(Container *container) {
        const char *name = member_name(&container->member);
        int r;

        if (!container->lease) {
                r = lease_open(&container->lease, container->member.context->root, name);
                if (r < 0) {
                        container_fail(container, FAILURE_START_FAILED, "cannot open its lease: %s", strerror(-r));
                        return;
                }
        }

        r = lease_share(container->lease);
        if (r == -EAGAIN) {
                container_wait(container, LEASE_RETRY);
                return;
        }
        if (r >= 0) {
                char fd_name[NAME_MAX];

                (void) snprintf(fd_name, sizeof(fd_name), LEASE_FDNAME_PREFIX "%s", name);
                (void) notify_store(fd_name, lease_fd(container->lease));
        }
        if (r < 0)
                container_fail(container, FAILURE_START_FAILED, "cannot take its lease: %s", strerror(-r));
        else
                container_go(container, STAGE_LOOKING, MEMBER_PREPARING);
}

void container_release(Container *container) {
        char fd_name[NAME_MAX];

        if (!container->lease)
                return;

        /* The stored duplicate shares the lock: unlocking releases both, forgetting only saves the descriptor. */
        (void) lease_release(container->lease);
        (void) snprintf(fd_name, sizeof(fd_name), LEASE_FDNAME_PREFIX "%s", member_name(&container->member));
        notify_forget(fd_name);
        container->lease = lease_free(container->lease);
}

int container_adopt_lease(Member *member, int fd) {
        assert(member_is_container(member));
        assert(member->phase == MEMBER_NEW);

        return lease_adopt(&container_from(member)->lease, member->context->root, fd, member_name(member));
}
