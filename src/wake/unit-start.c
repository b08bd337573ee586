#include "wake/unit-internal.h"

/* UnitMember, the way up, and back up. unit_follow() is called for whatever systemd tells, and looks at what is; so it does not matter
 * which changes were seen and which were not.
 *
 * systemd itself starts again what has Restart=; that is waited for. What has failed for good is started again by us, as containers
 * are. What was stopped with success was so by somebody's wish. */

#define COMEBACK_DELAY (3 * USEC_PER_SEC) /* a restart by hand looks like a stop at first */
#define RESTARTS_MAX 2
#define SETTLED_AFTER (10 * USEC_PER_MINUTE)

/* A check that names a unit's address itself needs nothing of a container. */
static const ContainerInfo no_container = { .network_mode = (char *) "" };

static void unit_set_ready(UnitMember *unit, const char *how) {
        uint64_t span = usec_sub(time_now(CLOCK_MONOTONIC), unit->member.started_usec);
        bool recovered = unit->member.phase == MEMBER_RECOVERING;
        char text[SPAN_MAX];

        if (unit_load_record(unit) < 0) {
                unit_fail(unit, FAILURE_START_FAILED, "out of memory");
                return;
        }
        if (unit->run[0] != '\0') {
                free(unit->record.started_at);
                unit->record.started_at = strdup(unit->run);
        }
        unit->record.ready = true;
        unit->record.ours = unit->record.ours && unit_runs(unit);
        unit_write_record(unit);
        memcpy(unit->ready_run, unit->run, sizeof(unit->ready_run));
        unit->settled_usec = time_now(CLOCK_MONOTONIC);

        if (recovered)
                record_dependency(LOG_NOTICE, unit_name(unit), DEPENDENCY_READY, FAILURE_NONE, USEC_INFINITY,
                                  "dependency %s is ready again", unit_name(unit));
        else if (how)
                record_dependency(LOG_INFO, unit_name(unit), DEPENDENCY_READY, FAILURE_NONE, USEC_INFINITY,
                                  "dependency %s %s", unit_name(unit), how);
        else
                record_dependency(LOG_INFO, unit_name(unit), DEPENDENCY_READY, FAILURE_NONE, span,
                                  "dependency %s ready after %s", unit_name(unit), span_to_string(span, text));
        unit_go(unit, STAGE_IDLE, MEMBER_READY);
}

static void unit_on_probe(Probe *probe, ProbeVerdict verdict, const char *detail, void *userdata) {
        UnitMember *unit = ASSERT_PTR(userdata);
        char text[SPAN_MAX];

        if (verdict == PROBE_READY)
                unit_set_ready(unit, NULL);
        else if (verdict == PROBE_TIMED_OUT)
                unit_fail(unit, FAILURE_HEALTH_CHECK_FAILED, "not ready after %s: %s",
                          span_to_string(unit->member.dependency->health.budget_usec, text), detail);
        else
                unit_fail(unit, FAILURE_HEALTH_CHECK_FAILED, "its check cannot be made: %s", detail);
}

static bool unit_has_check(const UnitMember *unit) {
        const HealthCheck *health = &unit->member.dependency->health;

        return unit->member.dependency->condition == CONDITION_READY &&
               (health->command || health->http || health->tcp);
}

/* Systemd has done its part. */
static void unit_check(UnitMember *unit) {
        const MemberContext *context = unit->member.context;
        int r;

        if (!unit_has_check(unit)) {
                unit_set_ready(unit, unit->started_now ? NULL : "was active already");
                return;
        }
        if (unit_load_record(unit) < 0) {
                unit_fail(unit, FAILURE_START_FAILED, "out of memory");
                return;
        }
        if (unit->record.ready && unit->record.started_at && streq(unit->record.started_at, unit->run)) {
                unit_set_ready(unit, "was ready already");
                return;
        }

        unit_go(unit, STAGE_CHECKING, MEMBER_CHECKING);
        r = probe_new(&unit->probe, context->event, context->engine, unit->member.dependency, &no_container, NULL,
                      0, context->environment, unit_on_probe, unit);
        if (r < 0)
                unit_fail(unit, FAILURE_HEALTH_CHECK_FAILED, "its check cannot be made: %s", strerror(-r));
}

/* The record first: killed after the start was asked for, the next life must know whose it is. */
static void unit_begin_start(UnitMember *unit) {
        unit->started_now = true;
        memcpy(unit->start_run, unit->run, sizeof(unit->start_run));
        lease_record_done(&unit->record);
        unit_claim(unit);
        unit_write_record(unit);
        unit->busy = true;
        unit_watch_start(unit->watch);
        unit_go(unit, STAGE_STARTING, MEMBER_STARTING);
}

/* Following what systemd tells */

static void unit_settle(UnitMember *unit) {
        if (unit->stage != STAGE_SETTLING)
                unit_go(unit, STAGE_SETTLING, MEMBER_CHECKING);
}

static void unit_found_active(UnitMember *unit) {
        if (unit->stage == STAGE_CHECKING && streq(unit->run, unit->checked_run))
                return;
        /* A one-shot that still runs is activating; so this is a service that is to end, or never will. */
        if (unit->member.dependency->condition == CONDITION_COMPLETED && !unit->ran) {
                unit_settle(unit);
                return;
        }
        unit->finished = unit->member.dependency->condition == CONDITION_COMPLETED;
        memcpy(unit->checked_run, unit->run, sizeof(unit->checked_run));
        unit_check(unit);
}

void unit_die(UnitMember *unit, const char *why) {
        if (unit->deaths++ >= RESTARTS_MAX) {
                unit_disown(unit);
                unit_fail(unit, FAILURE_CONTAINER_EXITED,
                          "failed %u times, at last with: %s; see 'journalctl -u %s'", unit->deaths, why,
                          unit_name(unit));
                return;
        }
        record_dependency(LOG_WARNING, unit_name(unit), DEPENDENCY_STARTING, FAILURE_CONTAINER_EXITED,
                          USEC_INFINITY, "dependency %s failed (%s), starting it again", unit_name(unit), why);
        unit_begin_start(unit);
}

/* It does not run, and has not failed. */
static void unit_found_inactive(UnitMember *unit) {
        DependencyCondition condition = unit->member.dependency->condition;

        if (unit->member.phase == MEMBER_RECOVERING && unit->stage != STAGE_STARTING) {
                if (unit->stage != STAGE_COMING_BACK) {
                        unit_go(unit, STAGE_COMING_BACK, MEMBER_RECOVERING);
                        unit_wait(unit, COMEBACK_DELAY);
                }
        } else if (unit->ran && (unit->oneshot || condition == CONDITION_COMPLETED)) {
                unit->finished = true;
                unit_check(unit);
        } else if (unit->stage == STAGE_SETTLING && !unit->started_now)
                /* Somebody else's start of it came to nothing. */
                unit_begin_start(unit);
        else if (unit->started_now && streq(unit->run, unit->start_run)) {
                unit_disown(unit);
                unit_fail(unit, FAILURE_START_FAILED,
                          "was not started: a condition of it is not met; see 'systemctl status %s'",
                          unit_name(unit));
        } else {
                bool ended = unit->ran;

                unit_disown(unit);
                if (ended)
                        unit_fail(unit, FAILURE_CONTAINER_EXITED,
                                  "ended at once, with success; if it is to run once, give it the condition "
                                  "'completed'");
                else
                        unit_fail(unit, FAILURE_CONTAINER_EXITED, "was stopped by somebody else");
        }
}

static void unit_found_failed(UnitMember *unit) {
        bool recovering = unit->member.phase == MEMBER_RECOVERING;

        if (unit->stage == STAGE_STARTING && !recovering) {
                unit_disown(unit);
                unit_fail(unit, FAILURE_START_FAILED, "its start failed (%s); see 'journalctl -u %s'",
                          unit->result, unit_name(unit));
        } else if (unit->stage == STAGE_SETTLING && !unit->started_now && !recovering)
                unit_begin_start(unit);
        else
                unit_die(unit, unit->result);
}

void unit_fail_missing(UnitMember *unit) {
        if (streq(unit->load_state, "masked"))
                unit_fail(unit, FAILURE_NOT_FOUND, "it is masked: 'systemctl unmask %s'", unit_name(unit));
        else if (streq(unit->load_state, "not-found"))
                unit_fail(unit, FAILURE_NOT_FOUND,
                          "there is no such unit: install it, 'systemctl daemon-reload', or correct its name");
        else
                unit_fail(unit, FAILURE_NOT_FOUND, "it cannot be loaded (%s); see 'systemctl status %s'",
                          unit->load_state, unit_name(unit));
}

void unit_lose(UnitMember *unit) {
        unit_disown(unit);
        record_dependency(LOG_NOTICE, unit_name(unit), DEPENDENCY_STOPPED, FAILURE_NONE, USEC_INFINITY,
                          "dependency %s was stopped by somebody else", unit_name(unit));
        unit_go(unit, STAGE_IDLE, MEMBER_LOST);
}

/* True: all is as it was. */
static bool unit_stays_ready(UnitMember *unit) {
        if (unit->member.dependency->condition == CONDITION_STARTED) {
                if (unit->state == UNIT_ACTIVATING)
                        return true;
                unit->finished = unit->finished || (unit->state == UNIT_INACTIVE && unit->oneshot && unit->ran);
        }
        if (unit->finished)
                return true;
        return unit->state == UNIT_ACTIVE && streq(unit->run, unit->ready_run);
}

void unit_follow(UnitMember *unit) {
        bool starts = unit->state == UNIT_ACTIVATING || unit->state == UNIT_ACTIVE;

        if (unit->member.phase == MEMBER_READY) {
                if (unit_stays_ready(unit))
                        return;
                if (time_now(CLOCK_MONOTONIC) >= usec_add(unit->settled_usec, SETTLED_AFTER))
                        unit->deaths = 0;
                unit_go(unit, STAGE_SETTLING, MEMBER_RECOVERING);
        }

        if (unit->member.dependency->condition == CONDITION_STARTED && starts) {
                unit_set_ready(unit, unit->started_now ? NULL : "was started already");
                return;
        }
        if (unit->busy) {
                /* Others need not wait for where it takes long. */
                if (unit->queued && unit->member.phase == MEMBER_STARTING)
                        member_set_phase(&unit->member, MEMBER_CHECKING);
                return;
        }

        switch (unit->state) {
        case UNIT_ACTIVE:
                unit_found_active(unit);
                break;
        case UNIT_INACTIVE:
                unit_found_inactive(unit);
                break;
        case UNIT_FAILED:
                unit_found_failed(unit);
                break;
        case UNIT_MISSING:
                if (unit->member.phase == MEMBER_RECOVERING)
                        unit_lose(unit);
                else
                        unit_fail_missing(unit);
                break;
        default:
                unit_settle(unit);
        }
}

void unit_start(Member *member) {
        UnitMember *unit = unit_from(member);
        bool completed = member->dependency->condition == CONDITION_COMPLETED &&
                         (unit->state == UNIT_INACTIVE || unit->state == UNIT_ACTIVE);

        if (unit_load_record(unit) < 0)
                unit_fail(unit, FAILURE_START_FAILED, "out of memory");
        else if (completed && (unit->ran || (unit->record.ready && unit->state == UNIT_INACTIVE))) {
                unit->finished = true;
                unit_set_ready(unit, "has completed already");
        } else if (unit->state == UNIT_INACTIVE || unit->state == UNIT_FAILED)
                unit_begin_start(unit);
        else {
                unit->stage = STAGE_SETTLING;
                unit_follow(unit);
                if (member->phase == MEMBER_PREPARED)
                        member_set_phase(member, MEMBER_CHECKING);
        }
}
