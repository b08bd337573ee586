#include <stdio.h>

#include "util/text.h"
#include "wake/member/journal.h"
#include "wake/member/member.h"

/* Member: what the kinds of dependencies have in common. What a kind does goes through its MemberOps; what it is doing is told from the
 * fields that it keeps up to date. */

Member member_begin(const MemberOps *ops, const MemberContext *context, const Dependency *dependency,
                    MemberHandler handler, void *userdata) {
        assert(context);
        assert(dependency);
        assert(handler);

        return (Member){
                .ops = ops,
                .context = context,
                .dependency = dependency,
                .handler = handler,
                .userdata = userdata,
        };
}

Member *member_free(Member *member) {
        if (!member)
                return NULL;

        lease_record_done(&member->record);
        member->lease = lease_free(member->lease);
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

        member->left = mode == STOP_LEAVE && member->phase == MEMBER_READY;
        member->ops->stop(member, mode);
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

void member_pass_to(Member *member, MemberPhase phase) {
        bool on_the_way = phase == MEMBER_STARTING || phase == MEMBER_CHECKING;

        if (phase != member->phase && !(on_the_way && member->phase == MEMBER_RECOVERING))
                member_set_phase(member, phase);
}

/* The lease: a container's has its name, a unit's one that no container can have. */

static int member_lease_name(const Member *member, char **ret) {
        const char *prefix = member->dependency->kind == DEPENDENCY_UNIT ? UNIT_LEASE_PREFIX : "";

        return asprintf(ret, "%s%s", prefix, member_name(member)) < 0 ? -ENOMEM : 0;
}

bool member_adopt_lease(Member *member, const char *name, int fd) {
        _cleanup_free_ char *own = NULL;

        assert(member->phase == MEMBER_NEW);

        return member->dependency->kind != DEPENDENCY_SERVICE && member_lease_name(member, &own) >= 0 &&
               streq(own, name) && lease_adopt(&member->lease, member->context->root, fd, name) >= 0;
}

int member_take_lease(Member *member) {
        _cleanup_free_ char *name = NULL;
        int r = 0;

        if (!member->lease) {
                r = member_lease_name(member, &name);
                if (r >= 0)
                        r = lease_open(&member->lease, member->context->root, name);
        }
        return r < 0 ? r : lease_share(member->lease);
}

void member_release_lease(Member *member) {
        if (member->lease)
                (void) lease_release(member->lease);
        member->lease = lease_free(member->lease);
}

void member_mend(Member *member) {
        int r;

        if (!member->lease || member->phase < MEMBER_PREPARED || member->phase >= MEMBER_STOPPING)
                return;
        r = lease_mend(member->lease, &member->record);
        if (r < 0 && r != -EAGAIN)
                log_debug_errno(r, "Failed to mend the lease of %s, ignoring: %m", member_name(member));
        if (r > 0)
                log_notice("The lease of %s was replaced by somebody else, taking it anew.", member_name(member));
}

void member_write_record(Member *member) {
        int r;

        r = lease_write(member->lease, &member->record);
        if (r < 0)
                log_warning_errno(r, "Failed to write the lease of %s, ignoring: %m", member_name(member));
}

void member_make_ours(Member *member) {
        member->record.ours = true;
        if (!member->record.service)
                member->record.service = strdup(member->context->service->name);
}

/* What is asked and said about it */

const char *member_last_word(const Member *member) {
        return member->ops->last_word(member);
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
                .state = member->reason != FAILURE_NONE ? DEPENDENCY_FAILED
                         : member->left                 ? DEPENDENCY_READY
                                                        : phase_states[member->phase],
                .started_usec = member->started_usec > 0 ? usec_sub(member->started_usec, begin_usec) : 0,
                .checking_usec = member->checking_usec > 0 ? usec_sub(member->checking_usec, begin_usec) : 0,
                .ready_usec = member->ready_usec > 0 ? usec_sub(member->ready_usec, begin_usec) : 0,
                .reason = member->reason,
                .error = TAKE_PTR(error),
        };
        return 0;
}

void member_fail(Member *member, FailureReason reason, const char *format, ...) {
        char *error; /* may be made of the last one */
        va_list arguments;

        va_start(arguments, format);
        error = text_vprintf(format, arguments);
        va_end(arguments);

        free(member->error);
        member->error = error;
        member->reason = reason;
        journal_dependency(LOG_WARNING, member_name(member), DEPENDENCY_FAILED, reason, USEC_INFINITY,
                           "failed: %s", strempty(member->error));
        member_set_phase(member, MEMBER_FAILED);
}

void member_tell(const Member *member, int level, DependencyState state, const char *format, ...) {
        _cleanup_free_ char *text = NULL;
        va_list arguments;

        va_start(arguments, format);
        text = text_vprintf(format, arguments);
        va_end(arguments);
        journal_dependency(level, member_name(member), state, FAILURE_NONE, USEC_INFINITY, "%s", strempty(text));
}

void member_tell_ready(const Member *member, const char *what) {
        uint64_t span = usec_sub(time_now(CLOCK_MONOTONIC), member->started_usec);
        char text[SPAN_MAX];

        if (member->phase == MEMBER_RECOVERING)
                member_tell(member, LOG_NOTICE, DEPENDENCY_READY, "is %s again", what);
        else
                journal_dependency(LOG_INFO, member_name(member), DEPENDENCY_READY, FAILURE_NONE, span,
                                   "%s after %s", what, span_to_string(span, text));
}
