#include <stdio.h>

#include "wake/unit-internal.h"

/* UnitMember: one unit, which a UnitWatch tells of. What it tells is kept, and whoever waits in this stage goes on.
 *
 * That a one-shot has run is known by its record even when systemd has forgotten it, as it does with units that are inactive and that
 * no other refers to. /run is empty after a boot, so it runs once per boot. */

/* From stage to stage */

void unit_cancel(UnitMember *unit) {
        unit->probe = probe_free(unit->probe);
        unit->timer = sd_event_source_disable_unref(unit->timer);
}

void unit_go(UnitMember *unit, UnitStage stage, MemberPhase phase) {
        if (unit->member.phase == MEMBER_RECOVERING && (phase == MEMBER_STARTING || phase == MEMBER_CHECKING))
                phase = MEMBER_RECOVERING;

        unit_cancel(unit);
        unit->stage = stage;
        if (phase != unit->member.phase)
                member_set_phase(&unit->member, phase);
}

static int unit_on_timer(sd_event_source *source, uint64_t usec, void *userdata) {
        UnitMember *unit = ASSERT_PTR(userdata);

        unit->timer = sd_event_source_disable_unref(unit->timer);
        if (unit->stage == STAGE_LEASING)
                unit_lease(unit);
        else if (unit->stage == STAGE_COMING_BACK)
                unit_lose(unit);
        else
                unit_leave(unit, "it does not stop");
        return 0;
}

void unit_wait(UnitMember *unit, uint64_t usec) {
        int r;

        unit->timer = sd_event_source_disable_unref(unit->timer);
        r = sd_event_add_time_relative(unit->member.context->event, &unit->timer, CLOCK_MONOTONIC, usec, 1,
                                       unit_on_timer, unit);
        if (r < 0 && unit->member.phase == MEMBER_STOPPING)
                unit_leave(unit, "out of memory");
        else if (r < 0)
                unit_fail(unit, FAILURE_START_FAILED, "out of memory");
}

/* What systemd tells */

/* A start was refused, was cancelled or has failed, or systemd cannot be reached. */
static void unit_on_error(UnitMember *unit, int error, const char *sentence) {
        Member *member = &unit->member;

        unit->busy = unit->busy && error == -ENOTCONN;
        if (member->phase == MEMBER_STOPPING) {
                if (error != -ENOTCONN)
                        unit_leave(unit, sentence);
                return;
        }
        if (member->phase != MEMBER_PREPARING && unit->stage != STAGE_STARTING)
                return;

        if (member->phase == MEMBER_RECOVERING && error == -ENOTCONN)
                return;
        if (member->phase == MEMBER_RECOVERING && error == -EIO) {
                unit_die(unit, sentence);
                return;
        }
        /* What may be carried out still is ours to stop. */
        if (unit->stage == STAGE_STARTING && error != -ENOTCONN)
                unit_disown(unit);
        unit_fail(unit, FAILURE_START_FAILED, "%s", sentence);
}

static void unit_on_watch(UnitWatch *watch, const UnitInfo *info, int error, const char *sentence,
                          void *userdata) {
        UnitMember *unit = ASSERT_PTR(userdata);

        if (!info) {
                unit_on_error(unit, error, sentence);
                return;
        }

        unit->known = true;
        unit->state = info->state;
        unit->oneshot = info->oneshot;
        unit->ran = info->ran;
        unit->busy = info->busy;
        unit->queued = info->queued;
        unit->stop_timeout_usec = info->stop_timeout_usec;
        (void) snprintf(unit->run, sizeof(unit->run), "%s", info->invocation_id);
        (void) snprintf(unit->load_state, sizeof(unit->load_state), "%s", info->load_state);
        (void) snprintf(unit->result, sizeof(unit->result), "%s", info->result);

        if (unit->stage == STAGE_LOOKING && unit->state == UNIT_MISSING)
                unit_fail_missing(unit);
        else if (unit->stage == STAGE_LOOKING && unit_load_record(unit) < 0)
                unit_fail(unit, FAILURE_START_FAILED, "out of memory");
        else if (unit->stage == STAGE_LOOKING)
                unit_go(unit, STAGE_IDLE, MEMBER_PREPARED);
        else if (unit->stage == STAGE_LOOKING_TO_STOP)
                unit_decide_stop(unit);
        else if (unit->stage == STAGE_STOPPING)
                unit_go_on_stopping(unit);
        else if (unit->stage != STAGE_IDLE || unit->member.phase == MEMBER_READY)
                unit_follow(unit);
}

void unit_look(UnitMember *unit) {
        int r;

        unit->stage = STAGE_LOOKING;
        r = unit_watch_new(&unit->watch, unit->member.context->event, unit_name(unit), unit_on_watch, unit);
        if (r < 0)
                unit_fail(unit, FAILURE_START_FAILED, "cannot be watched: %s", strerror(-r));
}

/* Making one */

static void unit_prepare(Member *member) {
        UnitMember *unit = unit_from(member);

        unit_go(unit, STAGE_LEASING, MEMBER_PREPARING);
        unit_lease(unit);
}

static Member *unit_free(Member *member) {
        UnitMember *unit = unit_from(member);

        unit_cancel(unit);
        unit_watch_free(unit->watch);
        lease_record_done(&unit->record);
        lease_free(unit->lease);
        free(unit);
        return NULL;
}

static const MemberOps unit_ops = {
        .free = unit_free,
        .prepare = unit_prepare,
        .start = unit_start,
        .stop = unit_stop,
        .would_stop = unit_would_stop,
        .stop_budget = unit_stop_budget,
};

int unit_member_new(Member **ret, const MemberContext *context, const Dependency *dependency,
                    MemberHandler handler, void *userdata) {
        UnitMember *unit;

        assert(ret);
        assert(context);
        assert(dependency && dependency->kind == DEPENDENCY_UNIT);
        assert(handler);

        unit = malloc(sizeof(*unit));
        if (!unit)
                return -ENOMEM;
        *unit = (UnitMember){
                .member = {
                        .ops = &unit_ops,
                        .context = context,
                        .dependency = dependency,
                        .handler = handler,
                        .userdata = userdata,
                },
        };
        *ret = &unit->member;
        return 0;
}
