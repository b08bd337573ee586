#include <stdio.h>

#include "manager/unit-manager.h"
#include "probe/probe.h"
#include "util/log.h"
#include "wake/member/journal.h"
#include "wake/member/unit-member.h"

/* UnitMember: one unit, which a UnitWatch tells of. What it tells is kept, and whoever waits in this stage goes on: see unit_on_watch(). On
 * the way up unit_follow() looks at what is, whatever was told; so it does not matter which changes were seen and which were not.
 *
 * systemd itself starts again what has Restart=; that is waited for. What has failed for good is started again by us, as containers
 * are. What was stopped with success was so by somebody's wish.
 *
 * Its lease is the same lock and record that containers have, with the invocation id in place of the engine's StartedAt. That a one-shot has
 * run is known by its record even when systemd has forgotten it, as it does with units that are inactive and that
 * no other refers to. /run is empty after a boot, so it runs once per boot. */

#define COMEBACK_DELAY (3 * USEC_PER_SEC) /* a restart by hand looks like a stop at first */
#define RESTARTS_MAX 2
#define SETTLED_AFTER (10 * USEC_PER_MINUTE)
#define STOP_TIMEOUT (90 * USEC_PER_SEC) /* where the unit has no limit, or is not known */
#define STOP_SLACK (15 * USEC_PER_SEC)

typedef enum UnitStage {
        UNIT_STAGE_IDLE, /* nothing is under way */
        UNIT_STAGE_LEASING, /* waits for its lock */
        UNIT_STAGE_LOOKING, /* waits for the first state */
        UNIT_STAGE_STARTING, /* we have asked for its start */
        UNIT_STAGE_SETTLING, /* waits for where systemd takes it by itself */
        UNIT_STAGE_CHECKING, /* probe */
        UNIT_STAGE_COMING_BACK, /* it was stopped; is it back soon? */
        UNIT_STAGE_LOOKING_TO_STOP,
        UNIT_STAGE_STOPPING,
} UnitStage;

typedef struct UnitMember {
        Member member; /* first */
        UnitStage stage;
        UnitWatch *watch;
        Probe *probe;
        sd_event_source *timer;

        /* What systemd has told last */
        bool known;
        UnitState state;
        bool oneshot, ran, busy, queued;
        char run[33]; /* its invocation id, or "" */
        char load_state[32], result[32];
        uint64_t stop_timeout_usec;

        bool started_now; /* by this wake: a start was carried out, or may have been */
        char start_run[33]; /* the run before that */
        char checked_run[33]; /* the one that is being checked, or was */
        char ready_run[33]; /* the one that was found ready last */
        bool finished; /* its work is done: that it does not run is no loss */
        unsigned deaths; /* that nobody wished for */
        uint64_t settled_usec; /* CLOCK_MONOTONIC, when it became ready for the last time */
        StopMode stop_mode;
} UnitMember;

static UnitMember *unit_from(Member *member) {
        assert(member->dependency->kind == DEPENDENCY_UNIT);

        return (UnitMember *) member;
}

static const char *unit_name(const UnitMember *unit) {
        return member_name(&unit->member);
}

static bool unit_runs(const UnitMember *unit) {
        return unit->state == UNIT_ACTIVE || unit->state == UNIT_ACTIVATING || unit->state == UNIT_DEACTIVATING;
}

/* From stage to stage */

static void unit_lease(UnitMember *unit);
static void unit_follow(UnitMember *unit);
static void unit_lose(UnitMember *unit);
static void unit_leave(UnitMember *unit, const char *why);

static void unit_cancel(UnitMember *unit) {
        unit->probe = probe_free(unit->probe);
        unit->timer = sd_event_source_disable_unref(unit->timer);
}

#define unit_fail(unit, reason, ...)                                 \
        do {                                                         \
                unit_cancel(unit);                                   \
                (unit)->stage = UNIT_STAGE_IDLE;                     \
                member_fail(&(unit)->member, (reason), __VA_ARGS__); \
        } while (false)

/* Ends what is under way and goes on with something else. On the way back to readiness the phase stays MEMBER_RECOVERING. */
static void unit_go(UnitMember *unit, UnitStage stage, MemberPhase phase) {
        unit_cancel(unit);
        unit->stage = stage;
        member_pass_to(&unit->member, phase);
}

static int unit_on_timer(sd_event_source *source, uint64_t usec, void *userdata) {
        UnitMember *unit = ASSERT_PTR(userdata);

        unit->timer = sd_event_source_disable_unref(unit->timer);
        if (unit->stage == UNIT_STAGE_LEASING)
                unit_lease(unit);
        else if (unit->stage == UNIT_STAGE_COMING_BACK)
                unit_lose(unit);
        else
                unit_leave(unit, "it does not stop");
        return 0;
}

static void unit_wait(UnitMember *unit, uint64_t usec) {
        int r;

        unit->timer = sd_event_source_disable_unref(unit->timer);
        r = sd_event_add_time_relative(unit->member.context->event, &unit->timer, CLOCK_MONOTONIC, usec, 1,
                                       unit_on_timer, unit);
        if (r < 0 && unit->member.phase == MEMBER_STOPPING)
                unit_leave(unit, "out of memory");
        else if (r < 0)
                unit_fail(unit, FAILURE_START_FAILED, "out of memory");
}

/* Whose it is */

static void unit_make_ours(UnitMember *unit) {
        LeaseRecord *record = &unit->member.record;

        member_make_ours(&unit->member);
        if (!record->wake_id)
                record->wake_id = strdup(unit->member.context->wake_id);
}

/* After a boot, systemd starts what is enabled, for its own reasons; and what somebody started by hand is another run. But the one that
 * followed while we used it, because systemd or somebody restarted it, goes on with what wakechain began. */
static bool unit_record_counts(const UnitMember *unit) {
        const char *started_at = unit->member.record.started_at;

        if (unit->member.record.restored)
                return false;
        return !unit_runs(unit) || !started_at || streq(started_at, unit->run) ||
               (unit->ready_run[0] != '\0' && streq(started_at, unit->ready_run));
}

/* What another service wrote meanwhile counts: it may have started the unit that we found running, or adopted it. -ENOMEM. */
static int unit_read_record(UnitMember *unit) {
        LeaseRecord *record = &unit->member.record;
        int r;

        lease_record_done(record);
        r = lease_read(unit->member.lease, record);
        if (r < 0)
                return r;
        if (!unit_record_counts(unit))
                lease_record_done(record);
        if (!unit_runs(unit))
                record->ours = false;
        if (unit->started_now)
                unit_make_ours(unit);
        else if (unit_runs(unit) && unit->member.context->service->adopt == ADOPT_ALL)
                record->ours = true;
        return 0;
}

/* The same; false: it has failed. */
static bool unit_load_record(UnitMember *unit) {
        if (unit_read_record(unit) >= 0)
                return true;
        unit_fail(unit, FAILURE_START_FAILED, "out of memory");
        return false;
}

/* It is nobody's from now on. */
static void unit_disown(UnitMember *unit) {
        unit->started_now = false;
        lease_record_done(&unit->member.record);
        member_write_record(&unit->member);
}

/* Preparing: its lock, then the first that systemd tells. */

static void unit_on_watch(UnitWatch *watch, const UnitInfo *info, int error, const char *sentence, void *userdata);

static void unit_prepare(Member *member) {
        UnitMember *unit = unit_from(member);

        unit_go(unit, UNIT_STAGE_LEASING, MEMBER_PREPARING);
        unit_lease(unit);
}

static void unit_lease(UnitMember *unit) {
        int r;

        r = member_take_lease(&unit->member);
        if (r == -EAGAIN) {
                unit_wait(unit, LEASE_RETRY);
                return;
        }
        if (r < 0) {
                unit_fail(unit, FAILURE_START_FAILED, "cannot take its lease: %s", strerror(-r));
                return;
        }

        unit->stage = UNIT_STAGE_LOOKING;
        r = unit_watch_new(&unit->watch, unit->member.context->event, unit_name(unit), unit_on_watch, unit);
        if (r < 0)
                unit_fail(unit, FAILURE_START_FAILED, "cannot be watched: %s", strerror(-r));
}

/* Readiness: systemd has done its part; is it ready? */

/* A check that names a unit's address itself needs nothing of a container. */
static const ContainerInfo no_container = { .network_mode = (char *) "" };

static void unit_set_ready(UnitMember *unit, const char *how) {
        LeaseRecord *record = &unit->member.record;

        if (!unit_load_record(unit))
                return;
        if (unit->run[0] != '\0') {
                free(record->started_at);
                record->started_at = strdup(unit->run);
        }
        record->ready = true;
        record->ours = record->ours && unit_runs(unit);
        member_write_record(&unit->member);
        memcpy(unit->ready_run, unit->run, sizeof(unit->ready_run));
        unit->settled_usec = time_now(CLOCK_MONOTONIC);

        if (how && unit->member.phase != MEMBER_RECOVERING)
                member_tell(&unit->member, LOG_INFO, DEPENDENCY_READY, "%s", how);
        else
                member_tell_ready(&unit->member, "ready");
        unit_go(unit, UNIT_STAGE_IDLE, MEMBER_READY);
}

static void unit_on_probe(Probe *probe, ProbeVerdict verdict, const char *detail, void *userdata) {
        UnitMember *unit = ASSERT_PTR(userdata);
        char text[SPAN_MAX];

        if (verdict == PROBE_READY)
                unit_set_ready(unit, NULL);
        else if (verdict == PROBE_TIMED_OUT)
                unit_fail(unit, FAILURE_HEALTH_CHECK_FAILED,
                          "not ready after %s: %s; a longer 'healthCheck.timeout' gives it more time",
                          span_to_string(unit->member.dependency->health.budget_usec, text), detail);
        else
                unit_fail(unit, FAILURE_HEALTH_CHECK_FAILED, "its health check cannot be made: %s", detail);
}

static bool unit_has_check(const UnitMember *unit) {
        const HealthCheck *health = &unit->member.dependency->health;

        return unit->member.dependency->condition == CONDITION_READY &&
               (health->command || health->http || health->tcp);
}

static void unit_check(UnitMember *unit) {
        const MemberContext *context = unit->member.context;
        const LeaseRecord *record = &unit->member.record;
        int r;

        if (!unit_has_check(unit)) {
                unit_set_ready(unit, unit->started_now ? NULL : "was active already");
                return;
        }
        if (!unit_load_record(unit))
                return;
        if (record->ready && record->started_at && streq(record->started_at, unit->run)) {
                unit_set_ready(unit, "was ready already");
                return;
        }

        unit_go(unit, UNIT_STAGE_CHECKING, MEMBER_CHECKING);
        r = probe_new(&unit->probe, context->event, context->engine, unit->member.dependency, &no_container, NULL,
                      0, context->environment, unit_on_probe, unit);
        if (r < 0)
                unit_fail(unit, FAILURE_HEALTH_CHECK_FAILED, "its health check cannot be made: %s", strerror(-r));
}

/* Starting it */

/* The record first: killed after the start was asked for, the next life must know whose it is. */
static void unit_begin_start(UnitMember *unit) {
        unit->started_now = true;
        memcpy(unit->start_run, unit->run, sizeof(unit->start_run));
        lease_record_done(&unit->member.record);
        unit_make_ours(unit);
        member_write_record(&unit->member);
        unit->busy = true;
        unit_watch_start(unit->watch);
        unit_go(unit, UNIT_STAGE_STARTING, MEMBER_STARTING);
}

static void unit_start(Member *member) {
        UnitMember *unit = unit_from(member);
        bool completed = member->dependency->condition == CONDITION_COMPLETED &&
                         (unit->state == UNIT_INACTIVE || unit->state == UNIT_ACTIVE);

        if (!unit_load_record(unit))
                return;
        if (completed && (unit->ran || (unit->member.record.ready && unit->state == UNIT_INACTIVE))) {
                unit->finished = true;
                unit_set_ready(unit, "has completed already");
        } else if (unit->state == UNIT_INACTIVE || unit->state == UNIT_FAILED)
                unit_begin_start(unit);
        else {
                unit->stage = UNIT_STAGE_SETTLING;
                unit_follow(unit);
                if (member->phase == MEMBER_PREPARED)
                        member_set_phase(member, MEMBER_CHECKING);
        }
}

/* Following what systemd tells */

static void unit_settle(UnitMember *unit) {
        if (unit->stage != UNIT_STAGE_SETTLING)
                unit_go(unit, UNIT_STAGE_SETTLING, MEMBER_CHECKING);
}

static void unit_found_active(UnitMember *unit) {
        if (unit->stage == UNIT_STAGE_CHECKING && streq(unit->run, unit->checked_run))
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

static void unit_die(UnitMember *unit, const char *why) {
        if (unit->deaths++ >= RESTARTS_MAX) {
                unit_disown(unit);
                unit_fail(unit, FAILURE_CONTAINER_EXITED,
                          "failed %u times, at last with: %s; see 'journalctl -u %s'", unit->deaths, why,
                          unit_name(unit));
                return;
        }
        journal_dependency(LOG_WARNING, unit_name(unit), DEPENDENCY_STARTING, FAILURE_CONTAINER_EXITED,
                           USEC_INFINITY, "failed (%s), starting it again", why);
        unit_begin_start(unit);
}

/* It does not run, and has not failed. */
static void unit_found_inactive(UnitMember *unit) {
        DependencyCondition condition = unit->member.dependency->condition;

        if (unit->member.phase == MEMBER_RECOVERING && unit->stage != UNIT_STAGE_STARTING) {
                if (unit->stage != UNIT_STAGE_COMING_BACK) {
                        unit_go(unit, UNIT_STAGE_COMING_BACK, MEMBER_RECOVERING);
                        unit_wait(unit, COMEBACK_DELAY);
                }
        } else if (unit->ran && (unit->oneshot || condition == CONDITION_COMPLETED)) {
                unit->finished = true;
                unit_check(unit);
        } else if (unit->stage == UNIT_STAGE_SETTLING && !unit->started_now)
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

        if (unit->stage == UNIT_STAGE_STARTING && !recovering) {
                unit_disown(unit);
                unit_fail(unit, FAILURE_START_FAILED, "its start failed (%s); see 'journalctl -u %s'",
                          unit->result, unit_name(unit));
        } else if (unit->stage == UNIT_STAGE_SETTLING && !unit->started_now && !recovering)
                unit_begin_start(unit);
        else
                unit_die(unit, unit->result);
}

static void unit_fail_missing(UnitMember *unit) {
        if (streq(unit->load_state, "masked"))
                unit_fail(unit, FAILURE_NOT_FOUND, "it is masked: 'systemctl unmask %s'", unit_name(unit));
        else if (streq(unit->load_state, "not-found"))
                unit_fail(unit, FAILURE_NOT_FOUND,
                          "there is no such unit: install it, 'systemctl daemon-reload', or correct its name");
        else
                unit_fail(unit, FAILURE_NOT_FOUND, "it cannot be loaded (%s); see 'systemctl status %s'",
                          unit->load_state, unit_name(unit));
}

static void unit_lose(UnitMember *unit) {
        unit_disown(unit);
        member_tell(&unit->member, LOG_NOTICE, DEPENDENCY_STOPPED, "was stopped by somebody else");
        unit_go(unit, UNIT_STAGE_IDLE, MEMBER_LOST);
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

static void unit_follow(UnitMember *unit) {
        bool starts = unit->state == UNIT_ACTIVATING || unit->state == UNIT_ACTIVE;

        if (unit->member.phase == MEMBER_READY) {
                if (unit_stays_ready(unit))
                        return;
                if (time_now(CLOCK_MONOTONIC) >= usec_add(unit->settled_usec, SETTLED_AFTER))
                        unit->deaths = 0;
                unit_go(unit, UNIT_STAGE_SETTLING, MEMBER_RECOVERING);
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

/* Stopping: what is ours and nobody else uses. */

static uint64_t unit_stop_budget(const Member *member) {
        const UnitMember *unit = (const UnitMember *) member;
        bool limited = unit->known && unit->stop_timeout_usec != USEC_INFINITY;

        return usec_add(limited ? unit->stop_timeout_usec : STOP_TIMEOUT, STOP_SLACK);
}

static bool unit_would_stop(const Member *member, StopMode mode) {
        const UnitMember *unit = (const UnitMember *) member;

        if (!unit->member.lease || member->dependency->keep || unit->finished)
                return false;
        /* A start that was asked for may not have shown yet. */
        if (unit->known && !unit_runs(unit) && !unit->busy)
                return false;

        switch (mode) {
        case STOP_LEAVE:
                return false;
        case STOP_ALL:
                return true;
        case STOP_SLEEP:
                return unit->member.record.ours;
        default:
                /* What was only adopted ran before, and goes on running. What another wake has started, and nobody uses any
                 * more, does not. */
                return unit->member.record.ours && (unit->started_now || unit->member.record.wake_id);
        }
}

static void unit_set_stopped(UnitMember *unit) {
        member_release_lease(&unit->member);
        unit->watch = unit_watch_free(unit->watch);
        unit_go(unit, UNIT_STAGE_IDLE, MEMBER_STOPPED);
}

/* The record stays: whoever uses it next still knows that it is ours. */
static void unit_leave(UnitMember *unit, const char *why) {
        member_tell(&unit->member, LOG_ERR, DEPENDENCY_FAILED, "could not be stopped, leaving it: %s", why);
        unit_set_stopped(unit);
}

static void unit_go_on_stopping(UnitMember *unit) {
        if (unit->busy || unit->state == UNIT_DEACTIVATING)
                return;
        if (unit_runs(unit)) {
                unit_leave(unit, "it was started again meanwhile");
                return;
        }
        unit_disown(unit);
        member_tell(&unit->member, LOG_INFO, DEPENDENCY_STOPPED, "stopped");
        unit_set_stopped(unit);
}

static void unit_decide_stop(UnitMember *unit) {
        if (unit_read_record(unit) < 0 || !unit_would_stop(&unit->member, unit->stop_mode)) {
                unit_set_stopped(unit);
                return;
        }
        if (lease_seize(unit->member.lease) < 0) {
                log_debug("Another service uses %s, leaving it.", unit_name(unit));
                unit_set_stopped(unit);
                return;
        }
        unit_go(unit, UNIT_STAGE_STOPPING, MEMBER_STOPPING);
        unit->busy = true;
        unit_watch_stop(unit->watch);
        unit_wait(unit, unit_stop_budget(&unit->member));
}

static void unit_stop(Member *member, StopMode mode) {
        UnitMember *unit = unit_from(member);
        bool leased = unit->member.lease && unit->watch && unit->stage != UNIT_STAGE_LEASING;

        unit_cancel(unit);
        unit->stop_mode = mode;
        if (!leased)
                unit_set_stopped(unit);
        else if (unit->known)
                unit_decide_stop(unit);
        else {
                /* Killed before, we may have started it. */
                unit_go(unit, UNIT_STAGE_LOOKING_TO_STOP, MEMBER_STOPPING);
                unit_wait(unit, STOP_SLACK);
        }
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
        if (member->phase != MEMBER_PREPARING && unit->stage != UNIT_STAGE_STARTING)
                return;

        if (member->phase == MEMBER_RECOVERING && error == -ENOTCONN)
                return;
        if (member->phase == MEMBER_RECOVERING && error == -EIO) {
                unit_die(unit, sentence);
                return;
        }
        /* What may be carried out still is ours to stop. */
        if (unit->stage == UNIT_STAGE_STARTING && error != -ENOTCONN)
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

        if (unit->stage == UNIT_STAGE_LOOKING && unit->state == UNIT_MISSING)
                unit_fail_missing(unit);
        else if (unit->stage == UNIT_STAGE_LOOKING) {
                if (unit_load_record(unit))
                        unit_go(unit, UNIT_STAGE_IDLE, MEMBER_PREPARED);
        } else if (unit->stage == UNIT_STAGE_LOOKING_TO_STOP)
                unit_decide_stop(unit);
        else if (unit->stage == UNIT_STAGE_STOPPING)
                unit_go_on_stopping(unit);
        else if (unit->stage != UNIT_STAGE_IDLE || unit->member.phase == MEMBER_READY)
                unit_follow(unit);
}

/* The member */

static Member *unit_free(Member *member) {
        UnitMember *unit = unit_from(member);

        unit_cancel(unit);
        unit_watch_free(unit->watch);
        free(unit);
        return NULL;
}

static const char *unit_last_word(const Member *member) {
        const UnitMember *unit = (const UnitMember *) member;

        if (unit->probe)
                return probe_detail(unit->probe);
        if (unit->stage == UNIT_STAGE_LEASING)
                return "another service is putting it to sleep";
        return unit->queued ? "systemd has its start in the queue, behind what it needs"
                            : "systemd has not started it yet";
}

static const MemberOps unit_ops = {
        .free = unit_free,
        .prepare = unit_prepare,
        .start = unit_start,
        .stop = unit_stop,
        .would_stop = unit_would_stop,
        .stop_budget = unit_stop_budget,
        .last_word = unit_last_word,
};

int unit_member_new(Member **ret, const MemberContext *context, const Dependency *dependency,
                    MemberHandler handler, void *userdata) {
        UnitMember *unit = malloc(sizeof(*unit));

        assert(ret);

        if (!unit)
                return -ENOMEM;
        *unit = (UnitMember){
                .member = member_begin(&unit_ops, context, dependency, handler, userdata),
        };
        *ret = &unit->member;
        return 0;
}
