#pragma once

/* Member: one dependency of a service, from the begin of a wake until it sleeps again: a container, a systemd unit, or another
 * service. What they have in common is here: the phases, the moments, how a failure is kept and told. Each kind does its work
 * by its MemberOps, reports every change through one handler, and decides nothing about the others. */

#include <systemd/sd-event.h>
#include "io/engine.h"
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
        const char *wake_id;
        const WakeTrigger *trigger; /* what a service that is held for this one is told */
        char *const *environment; /* of commands */
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
        STOP_ROLLBACK, /* the same, but what was only adopted goes on running */
        STOP_ALL, /* an administrator said so: whoever started it; still not what others use, nor what is to be kept */
} StopMode;

/* Something about it has changed. Must not free it, and should look at it later rather than act at once. */
typedef void (*MemberHandler)(Member *member, void *userdata);

typedef struct MemberOps {
        Member *(*free)(Member *member);
        void (*prepare)(Member *member);
        void (*start)(Member *member);
        void (*stop)(Member *member, StopMode mode);
        bool (*would_stop)(const Member *member, StopMode mode);
        uint64_t (*stop_budget)(const Member *member);
} MemberOps;

/* The first member of the struct of each kind. Only that kind and member.c look inside. */
struct Member {
        const MemberOps *ops;
        const MemberContext *context; /* borrowed */
        const Dependency *dependency; /* borrowed */
        MemberHandler handler;
        void *userdata;

        MemberPhase phase;
        bool retrying; /* what was asked last has failed at least once, and is asked again */
        bool lacks_engine; /* the engine could not be talked to at the last try */
        uint64_t started_usec, checking_usec, ready_usec; /* CLOCK_MONOTONIC, 0: not yet */
        FailureReason reason;
        char *error; /* a sentence, or NULL */
};

/* Makes one of the dependency's kind. */
int member_new(Member **ret, const MemberContext *context, const Dependency *dependency, MemberHandler handler,
               void *userdata);
Member *member_free(Member *member);
DEFINE_CLEANUP(Member *, member_free);

/* NEW → PREPARED or FAILED. */
void member_prepare(Member *member);
/* PREPARED → READY or FAILED. What runs already is not started again, what is known to be ready not even checked. From READY it may
 * go to RECOVERING and back, to LOST or to FAILED by itself. */
void member_start(Member *member);
/* Any phase → STOPPED. Never fails: what cannot be stopped is logged and let go. */
void member_stop(Member *member, StopMode mode);

MemberPhase member_phase(const Member *member);
const Dependency *member_dependency(const Member *member);
const char *member_name(const Member *member);
bool member_is_container(const Member *member);
/* A start was asked for and not answered yet. */
bool member_is_starting(const Member *member);
bool member_is_retrying(const Member *member);
bool member_lacks_engine(const Member *member);
FailureReason member_reason(const Member *member);
const char *member_error(const Member *member);
/* Would member_stop() stop it, other users aside? And how long may that take? */
bool member_would_stop(const Member *member, StopMode mode);
uint64_t member_stop_budget(const Member *member);
/* Fills everything but `step` and `estimate_usec`. `begin_usec`: when the wake began, CLOCK_MONOTONIC. */
int member_describe(const Member *member, uint64_t begin_usec, DependencyStatus *ret);

/* For the kinds. The phase is set by this only; entering READY for the first time sets `ready_usec`. Calls the handler. */
void member_set_phase(Member *member, MemberPhase phase);
/* Keeps the reason and the sentence, records "dependency NAME failed: …" as a warning, and goes to FAILED. */
void member_fail(Member *member, FailureReason reason, const char *format, ...) _printf_(3, 4);
