#include <stdio.h>

#include "wake/notify.h"
#include "wake/unit-internal.h"

/* UnitMember, its lease: the same lock and record that containers have, under a name that no container can have, with the invocation
 * id in place of the engine's StartedAt. */

#define LEASE_RETRY (20 * USEC_PER_MSEC)
#define FD_NAME_MAX 256

static int unit_lease_name(const UnitMember *unit, char **ret) {
        return asprintf(ret, UNIT_LEASE_PREFIX "%s", unit_name(unit)) < 0 ? -ENOMEM : 0;
}

/* False: systemd would not take it under this name, so that a crash would lose the lock. */
static bool unit_fd_name(const UnitMember *unit, char ret[static FD_NAME_MAX]) {
        int n = snprintf(ret, FD_NAME_MAX, LEASE_FDNAME_PREFIX UNIT_LEASE_PREFIX "%s", unit_name(unit));

        return n > 0 && n < FD_NAME_MAX && !strchr(ret, ':');
}

int unit_member_adopt_lease(Member *member, int fd) {
        UnitMember *unit = unit_from(member);
        _cleanup_free_ char *name = NULL;
        int r;

        assert(member->phase == MEMBER_NEW);

        r = unit_lease_name(unit, &name);
        return r < 0 ? r : lease_adopt(&unit->lease, member->context->root, fd, name);
}

void unit_release(UnitMember *unit) {
        char name[FD_NAME_MAX];

        if (!unit->lease)
                return;

        /* The stored duplicate shares the lock: unlocking releases both, forgetting only saves the descriptor. */
        (void) lease_release(unit->lease);
        if (unit_fd_name(unit, name))
                notify_forget(name);
        unit->lease = lease_free(unit->lease);
}

void unit_write_record(UnitMember *unit) {
        int r;

        r = lease_write(unit->lease, &unit->record);
        if (r < 0)
                log_warning_errno(r, "Failed to write the lease of %s, ignoring: %m", unit_name(unit));
}

void unit_claim(UnitMember *unit) {
        const MemberContext *context = unit->member.context;

        unit->record.ours = true;
        if (!unit->record.wake_id)
                unit->record.wake_id = strdup(context->wake_id);
        if (!unit->record.service)
                unit->record.service = strdup(context->service->name);
}

/* After a boot, systemd starts what is enabled, for its own reasons; and what somebody started by hand is another run. But the one that
 * followed while we used it, because systemd or somebody restarted it, goes on with what wakechain began. */
static bool unit_record_counts(const UnitMember *unit) {
        const char *started_at = unit->record.started_at;

        if (unit->record.restored)
                return false;
        return !unit_runs(unit) || !started_at || streq(started_at, unit->run) ||
               (unit->ready_run[0] != '\0' && streq(started_at, unit->ready_run));
}

int unit_load_record(UnitMember *unit) {
        LeaseRecord *record = &unit->record;
        int r;

        lease_record_done(record);
        r = lease_read(unit->lease, record);
        if (r < 0)
                return r;
        if (!unit_record_counts(unit))
                lease_record_done(record);
        if (!unit_runs(unit))
                record->ours = false;
        if (unit->started_now)
                unit_claim(unit);
        else if (unit_runs(unit) && unit->member.context->service->adopt)
                record->ours = true;
        return 0;
}

void unit_disown(UnitMember *unit) {
        unit->started_now = false;
        lease_record_done(&unit->record);
        unit_write_record(unit);
}

void unit_lease(UnitMember *unit) {
        _cleanup_free_ char *name = NULL;
        char fd_name[FD_NAME_MAX];
        int r = 0;

        if (!unit->lease) {
                r = unit_lease_name(unit, &name);
                if (r >= 0)
                        r = lease_open(&unit->lease, unit->member.context->root, name);
        }
        if (r >= 0)
                r = lease_share(unit->lease);
        if (r == -EAGAIN) {
                unit_wait(unit, LEASE_RETRY);
                return;
        }
        if (r < 0) {
                unit_fail(unit, FAILURE_START_FAILED, "cannot take its lease: %s", strerror(-r));
                return;
        }
        if (unit_fd_name(unit, fd_name))
                (void) notify_store(fd_name, lease_fd(unit->lease));

        unit_look(unit);
}
