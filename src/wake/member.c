#include <stdio.h>

#include "wake/container.h"
#include "wake/record.h"
#include "wake/service-member.h"
#include "wake/unit-member.h"

/* Member: what the kinds of dependencies have in common. The kind is chosen once, by a table; afterwards everything goes through its
 * MemberOps, and what it is doing is told from the fields that it keeps up to date. */

static int (*const constructors[])(Member **ret, const MemberContext *context, const Dependency *dependency,
                                   MemberHandler handler, void *userdata) = {
        [DEPENDENCY_CONTAINER] = container_new,
        [DEPENDENCY_UNIT] = unit_member_new,
        [DEPENDENCY_SERVICE] = service_member_new,
};

int member_new(Member **ret, const MemberContext *context, const Dependency *dependency, MemberHandler handler,
               void *userdata) {
        assert(ret);
        assert(context);
        assert(dependency && (size_t) dependency->kind < ELEMENTSOF(constructors));
        assert(handler);

        return constructors[dependency->kind](ret, context, dependency, handler, userdata);
}

Member *member_free(Member *member) {
        if (!member)
                return NULL;

        member->error = mfree(member->error);
        return member->ops->free(member);
}

void member_prepare(Member *member) {
        assert(member->phase == MEMBER_NEW);

        member->ops->prepare(member);
}

void member_start(Member *member) {
        assert(member->phase == MEMBER_PREPARED);

        member->started_usec = time_now(CLOCK_MONOTONIC);
        member->ops->start(member);
}

void member_stop(Member *member, StopMode mode) {
        if (member->phase >= MEMBER_STOPPING)
                return;

        member->ops->stop(member, mode);
}

MemberPhase member_phase(const Member *member) {
        return member->phase;
}

const Dependency *member_dependency(const Member *member) {
        return member->dependency;
}

const char *member_name(const Member *member) {
        return member->dependency->name;
}

bool member_is_container(const Member *member) {
        return member->dependency->kind == DEPENDENCY_CONTAINER;
}

bool member_is_starting(const Member *member) {
        return member->phase == MEMBER_STARTING;
}

bool member_is_retrying(const Member *member) {
        return member->retrying;
}

bool member_lacks_engine(const Member *member) {
        return member->lacks_engine;
}

FailureReason member_reason(const Member *member) {
        return member->reason;
}

const char *member_error(const Member *member) {
        return member->error;
}

bool member_would_stop(const Member *member, StopMode mode) {
        return member->ops->would_stop(member, mode);
}

uint64_t member_stop_budget(const Member *member) {
        return member->ops->stop_budget(member);
}

static const DependencyState phase_states[] = {
        [MEMBER_NEW] = DEPENDENCY_PENDING,         [MEMBER_PREPARING] = DEPENDENCY_PENDING,
        [MEMBER_PREPARED] = DEPENDENCY_PENDING,    [MEMBER_STARTING] = DEPENDENCY_STARTING,
        [MEMBER_CHECKING] = DEPENDENCY_CHECKING,   [MEMBER_READY] = DEPENDENCY_READY,
        [MEMBER_RECOVERING] = DEPENDENCY_STARTING, [MEMBER_FAILED] = DEPENDENCY_FAILED,
        [MEMBER_LOST] = DEPENDENCY_STOPPED,        [MEMBER_STOPPING] = DEPENDENCY_STOPPED,
        [MEMBER_STOPPED] = DEPENDENCY_STOPPED,
};

int member_describe(const Member *member, uint64_t begin_usec, DependencyStatus *ret) {
        _cleanup_free_ char *name = NULL, *error = NULL;

        assert(ret);

        name = strdup(member_name(member));
        if (!name)
                return -ENOMEM;
        if (member->error) {
                error = strdup(member->error);
                if (!error)
                        return -ENOMEM;
        }

        *ret = (DependencyStatus){
                .container = TAKE_PTR(name),
                .required = member->dependency->type == DEPENDENCY_REQUIRED,
                /* A failure stays visible when what had been started is stopped again. */
                .state = member->reason != FAILURE_NONE ? DEPENDENCY_FAILED : phase_states[member->phase],
                .started_usec = member->started_usec > 0 ? usec_sub(member->started_usec, begin_usec) : 0,
                .checking_usec = member->checking_usec > 0 ? usec_sub(member->checking_usec, begin_usec) : 0,
                .ready_usec = member->ready_usec > 0 ? usec_sub(member->ready_usec, begin_usec) : 0,
                .reason = member->reason,
                .error = TAKE_PTR(error),
        };
        return 0;
}

void member_set_phase(Member *member, MemberPhase phase) {
        assert(phase >= 0 && phase < _MEMBER_PHASE_MAX);

        member->phase = phase;
        member->retrying = false;
        /* How long the wake took to have it checked and ready is not changed by what happens to it later. */
        if (phase == MEMBER_CHECKING && member->checking_usec == 0)
                member->checking_usec = time_now(CLOCK_MONOTONIC);
        if (phase == MEMBER_READY && member->ready_usec == 0)
                member->ready_usec = time_now(CLOCK_MONOTONIC);
        member->handler(member, member->userdata);
}

void member_fail(Member *member, FailureReason reason, const char *format, ...) {
        _cleanup_free_ char *error = NULL;
        va_list arguments;

        va_start(arguments, format);
        if (vasprintf(&error, format, arguments) < 0)
                error = NULL;
        va_end(arguments);

        free(member->error);
        member->error = TAKE_PTR(error);
        member->reason = reason;
        record_dependency(LOG_WARNING, member_name(member), DEPENDENCY_FAILED, reason, USEC_INFINITY,
                          "dependency %s failed: %s", member_name(member), strempty(member->error));
        member_set_phase(member, MEMBER_FAILED);
}
