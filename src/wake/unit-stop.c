#include "wake/unit-internal.h"

/* UnitMember, the way down: what is ours and nobody else uses. */

#define STOP_TIMEOUT (90 * USEC_PER_SEC) /* where the unit has no limit, or is not known */
#define STOP_SLACK (15 * USEC_PER_SEC)

uint64_t unit_stop_budget(const Member *member) {
        const UnitMember *unit = (const UnitMember *) member;
        bool limited = unit->known && unit->stop_timeout_usec != USEC_INFINITY;

        return usec_add(limited ? unit->stop_timeout_usec : STOP_TIMEOUT, STOP_SLACK);
}

bool unit_would_stop(const Member *member, StopMode mode) {
        const UnitMember *unit = (const UnitMember *) member;

        if (!unit->lease || member->dependency->keep || unit->finished)
                return false;
        /* A start that was asked for may not have shown yet. */
        if (unit->known && !unit_runs(unit) && !unit->busy)
                return false;

        switch (mode) {
        case STOP_ALL:
                return true;
        case STOP_SLEEP:
                return unit->record.ours;
        default:
                /* What was only adopted ran before, and goes on running. What another wake has started, and nobody uses any
                 * more, does not. */
                return unit->record.ours && (unit->started_now || unit->record.wake_id);
        }
}

static void unit_set_stopped(UnitMember *unit) {
        unit_release(unit);
        unit->watch = unit_watch_free(unit->watch);
        unit_go(unit, STAGE_IDLE, MEMBER_STOPPED);
}

/* The record stays: whoever uses it next still knows that it is ours. */
void unit_leave(UnitMember *unit, const char *why) {
        record_dependency(LOG_ERR, unit_name(unit), DEPENDENCY_FAILED, FAILURE_NONE, USEC_INFINITY,
                          "dependency %s could not be stopped, leaving it: %s", unit_name(unit), why);
        unit_set_stopped(unit);
}

void unit_go_on_stopping(UnitMember *unit) {
        if (unit->busy || unit->state == UNIT_DEACTIVATING)
                return;
        if (unit_runs(unit)) {
                unit_leave(unit, "it was started again meanwhile");
                return;
        }
        unit_disown(unit);
        record_dependency(LOG_INFO, unit_name(unit), DEPENDENCY_STOPPED, FAILURE_NONE, USEC_INFINITY,
                          "dependency %s stopped", unit_name(unit));
        unit_set_stopped(unit);
}

void unit_decide_stop(UnitMember *unit) {
        if (unit_load_record(unit) < 0 || !unit_would_stop(&unit->member, unit->stop_mode)) {
                unit_set_stopped(unit);
                return;
        }
        if (lease_seize(unit->lease) < 0) {
                log_debug("Another service uses %s, leaving it.", unit_name(unit));
                unit_set_stopped(unit);
                return;
        }
        unit_go(unit, STAGE_STOPPING, MEMBER_STOPPING);
        unit->busy = true;
        unit_watch_stop(unit->watch);
        unit_wait(unit, unit_stop_budget(&unit->member));
}

void unit_stop(Member *member, StopMode mode) {
        UnitMember *unit = unit_from(member);
        bool leased = unit->lease && unit->watch && unit->stage != STAGE_LEASING;

        unit_cancel(unit);
        unit->stop_mode = mode;
        if (!leased)
                unit_set_stopped(unit);
        else if (unit->known)
                unit_decide_stop(unit);
        else {
                /* Killed before, we may have started it. */
                unit_go(unit, STAGE_LOOKING_TO_STOP, MEMBER_STOPPING);
                unit_wait(unit, STOP_SLACK);
        }
}
