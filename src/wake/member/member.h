#pragma once

/* Member: one dependency of a service, from the begin of a wake until it sleeps again: a container, a systemd unit, or another
 * service. What they have in common is here: the phases, the moments, the lease, how a failure is kept and told. Each kind does its
 * work by its MemberOps, tells every change through one handler, and decides nothing about the others. */

#include <systemd/sd-event.h>
#include "command/environment.h"
#include "engine/engine.h"
#include "lease/lease.h"
#include "model/service.h"
#include "model/status.h"

typedef struct Composer Composer;
typedef struct Member Member;

/* What all members of a wake share; borrowed, outlives them. */
typedef struct MemberContext {
        sd_event *event;
        Engine *engine;
        Composer *composer; /* makes containers that do not exist; NULL: nobody does */
        const Service *service;
        Member *const *members; /* all of them, one for each dependency; NULL: none but itself */
        const char *wake_id;
        const WakeTrigger *trigger; /* what a service that is held for this one is told */
        const Environment *environment; /* of commands */
        const char *root; /* "" outside of tests */
} MemberContext;

typedef enum MemberPhase {
        MEMBER_NEW,
        MEMBER_PREPARING, /* takes its lease, looks what it is; a container that does not exist is made */
        MEMBER_PREPARED, /* what it is before the wake is known */
        MEMBER_STARTING, /* the start is asked for */
        MEMBER_CHECKING, /* the start was answered: does it run, and is it ready? */
        MEMBER_READY, /* what its condition asks for is so */
        MEMBER_RECOVERING, /* was ready, is not now, and is being brought back */
        MEMBER_FAILED,
        MEMBER_LOST, /* was ready; somebody else has stopped or removed it */
        MEMBER_STOPPING,
        MEMBER_STOPPED, /* or left alone because it was not ours to stop: released in any case */
        _MEMBER_PHASE_MAX,
        _MEMBER_PHASE_INVALID = -EINVAL,
} MemberPhase;

typedef enum StopMode {
        STOP_SLEEP, /* what is ours and nobody else uses */
        STOP_ROLLBACK, /* the same, but only where wakechain began the run: what ran before goes on running */
        STOP_ALL, /* an administrator said so: whoever started it; still not what others use, nor what is to be kept */
        STOP_LEAVE, /* nothing: it goes on running, and is only let go of */
} StopMode;

/* Something about it has changed. Must not free it, and should look at it later rather than act at once. */
typedef void (*MemberHandler)(Member *member, void *userdata);

typedef struct MemberOps {
        Member *(*free)(Member *member); /* its own part, and the whole */
        void (*prepare)(Member *member);
        void (*start)(Member *member);
        void (*stop)(Member *member, StopMode mode);
        bool (*would_stop)(const Member *member, StopMode mode);
        uint64_t (*stop_budget)(const Member *member);
        const char *(*last_word)(const Member *member);
} MemberOps;

/* The first member of the struct of each kind. Others read the second part and write nothing. */
struct Member {
        const MemberOps *ops;
        const MemberContext *context; /* borrowed */
        const Dependency *dependency; /* borrowed */
        MemberHandler handler;
        void *userdata;
        Lease *lease; /* NULL: not taken yet, or none is needed */
        LeaseRecord record;
        uint64_t started_usec, checking_usec, ready_usec; /* CLOCK_MONOTONIC, 0: not yet */
        bool left; /* it was ready, and was let go of: it runs on */

        MemberPhase phase;
        bool retrying; /* what was asked last has failed at least once, and is asked again */
        bool in_vain; /* it dies again and again */
        bool lacks_engine; /* the engine could not be talked to at the last try */
        FailureReason reason;
        char *error; /* a sentence, or NULL */
};

/* Each kind has a constructor of this form. */
typedef int (*MemberConstructor)(Member **ret, const MemberContext *context, const Dependency *dependency,
                                 MemberHandler handler, void *userdata);

/* For the kinds: what a new one begins with. */
Member member_begin(const MemberOps *ops, const MemberContext *context, const Dependency *dependency,
                    MemberHandler handler, void *userdata);
Member *member_free(Member *member);
DEFINE_CLEANUP(Member *, member_free);

static inline const char *member_name(const Member *member) {
        return member->dependency->name;
}

static inline bool member_is_container(const Member *member) {
        return member->dependency->kind == DEPENDENCY_CONTAINER;
}

/* NEW → PREPARED or FAILED. */
void member_prepare(Member *member);
/* PREPARED → READY or FAILED. What runs already is not started again, what is known to be ready not even checked. From READY it may
 * go to RECOVERING and back, to LOST or to FAILED by itself. */
void member_start(Member *member);
/* Any phase → STOPPED. Never fails: what cannot be stopped is logged and let go. */
void member_stop(Member *member, StopMode mode);

/* What is under way, or what was said of it last: why it is not ready yet. Never NULL. */
const char *member_last_word(const Member *member);
/* Would member_stop() stop it, other users aside? And how long may that take? */
bool member_would_stop(const Member *member, StopMode mode);
uint64_t member_stop_budget(const Member *member);
/* Fills everything but `step` and `estimate_usec`. `begin_usec`: when the wake began, CLOCK_MONOTONIC. */
int member_describe(const Member *member, uint64_t begin_usec, DependencyStatus *ret);

/* NEW: if this is the name of its lease, takes over the lock that an earlier life of this process put into the descriptor store, and returns
 * true. Takes the fd then. */
bool member_adopt_lease(Member *member, const char *name, int fd);
/* Makes good what has become of its lease, if anything has. */
void member_mend(Member *member);

/* For the kinds. -EAGAIN: somebody is stopping it, it is to be tried again after LEASE_RETRY. */
int member_take_lease(Member *member);
void member_release_lease(Member *member);
void member_write_record(Member *member);
/* From now on it is ours, for this service if for none yet. To be written. */
void member_make_ours(Member *member);

#define LEASE_RETRY (20 * USEC_PER_MSEC)

/* For the kinds. The phase is set by this only; entering READY for the first time sets `ready_usec`. Calls the handler. */
void member_set_phase(Member *member, MemberPhase phase);
/* The same, unless it is in it; on the way back to readiness the phase stays RECOVERING. */
void member_pass_to(Member *member, MemberPhase phase);
/* Keeps the reason and the sentence, says "dependency NAME failed: …" as a warning, and goes to FAILED. */
void member_fail(Member *member, FailureReason reason, const char *format, ...) _printf_(3, 4);
/* Says "dependency NAME " and this. */
void member_tell(const Member *member, int level, DependencyState state, const char *format, ...) _printf_(4, 5);
/* Says that it is `what`, "ready" for example: again, or after how long. */
void member_tell_ready(const Member *member, const char *what);
