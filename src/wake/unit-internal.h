#pragma once

/* UnitMember, inside: what its parts share. unit-member.c is its life and what systemd tells, unit-lease.c its lock and record, unit-start.c the
 * way to readiness and back to it, unit-stop.c the way down. */

#include "io/lease.h"
#include "io/probe.h"
#include "io/unit-manager.h"
#include "util/log.h"
#include "wake/record.h"
#include "wake/unit-member.h"

typedef enum UnitStage {
        STAGE_IDLE, /* nothing is under way */
        STAGE_LEASING, /* waits for its lock */
        STAGE_LOOKING, /* waits for the first state */
        STAGE_STARTING, /* we have asked for its start */
        STAGE_SETTLING, /* waits for where systemd takes it by itself */
        STAGE_CHECKING, /* probe */
        STAGE_COMING_BACK, /* it was stopped; is it back soon? */
        STAGE_LOOKING_TO_STOP,
        STAGE_STOPPING,
} UnitStage;

typedef struct UnitMember {
        Member member; /* first */
        UnitStage stage;
        Lease *lease;
        LeaseRecord record;
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

static inline UnitMember *unit_from(Member *member) {
        assert(member->dependency->kind == DEPENDENCY_UNIT);

        return (UnitMember *) member;
}

static inline const char *unit_name(const UnitMember *unit) {
        return member_name(&unit->member);
}

static inline bool unit_runs(const UnitMember *unit) {
        return unit->state == UNIT_ACTIVE || unit->state == UNIT_ACTIVATING || unit->state == UNIT_DEACTIVATING;
}

/* unit-member.c. Ends what is under way and goes on with something else. On the way back to readiness the phase stays MEMBER_RECOVERING. */
void unit_go(UnitMember *unit, UnitStage stage, MemberPhase phase);
void unit_cancel(UnitMember *unit);
/* The stage's own timer. */
void unit_wait(UnitMember *unit, uint64_t usec);
#define unit_fail(unit, reason, ...)                                 \
        do {                                                         \
                unit_cancel(unit);                                   \
                (unit)->stage = STAGE_IDLE;                          \
                member_fail(&(unit)->member, (reason), __VA_ARGS__); \
        } while (false)
void unit_look(UnitMember *unit);

/* unit-lease.c */
void unit_lease(UnitMember *unit);
void unit_release(UnitMember *unit);
void unit_write_record(UnitMember *unit);
/* What another service wrote meanwhile counts: it may have started the unit that we found running, or adopted it. -ENOMEM. */
int unit_load_record(UnitMember *unit);
void unit_claim(UnitMember *unit);
/* It is nobody's from now on. */
void unit_disown(UnitMember *unit);

/* unit-start.c */
void unit_start(Member *member);
/* Looks at what systemd has told and goes on from there. */
void unit_follow(UnitMember *unit);
void unit_fail_missing(UnitMember *unit);
/* It failed by itself. */
void unit_die(UnitMember *unit, const char *why);
/* It was stopped, and did not come back. */
void unit_lose(UnitMember *unit);

/* unit-stop.c */
void unit_stop(Member *member, StopMode mode);
bool unit_would_stop(const Member *member, StopMode mode);
uint64_t unit_stop_budget(const Member *member);
void unit_decide_stop(UnitMember *unit);
void unit_go_on_stopping(UnitMember *unit);
void unit_leave(UnitMember *unit, const char *why);
