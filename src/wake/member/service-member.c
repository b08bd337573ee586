#include <stdio.h>

#include "control/waker-call.h"
#include "util/log.h"
#include "wake/member/journal.h"
#include "wake/member/service-member.h"

/* ServiceMember: one Hold on the other service's control socket, whose waker does the rest. It is awake as long as we are connected, and
 * goes to sleep in its own time when nobody is. There is nothing to be prepared, and no lease: the other service has those of its own
 * containers.
 *
 * A waker that is killed loses the Hold, and the next one takes over: we connect again, and what was ready is recovering until it is
 * awake once more. But a service that goes to sleep although it is held does so because somebody decided it, or has stopped one
 * of its containers: then it is lost, as a container that was stopped is. A Hold that has never seen it awake or waking has
 * only met with the end of its last sleep. */

#define LOSSES_MAX 10U

typedef struct ServiceMember {
        Member member; /* first */
        char *path; /* of the control socket */
        WakerCall *hold;
} ServiceMember;

static ServiceMember *service_from(Member *member) {
        assert(member->dependency->kind == DEPENDENCY_SERVICE);

        return (ServiceMember *) member;
}

#define service_fail(service, reason, ...)                              \
        do {                                                            \
                waker_call_stop((service)->hold);                       \
                member_fail(&(service)->member, (reason), __VA_ARGS__); \
        } while (false)

/* It is asked again. */
static void service_note_retry(ServiceMember *service) {
        if (service->member.phase == MEMBER_READY)
                member_pass_to(&service->member, MEMBER_RECOVERING);
        else if (!service->member.retrying) {
                service->member.retrying = true;
                service->member.handler(&service->member, service->member.userdata);
        }
}

/* What the waker says */

static void service_note_awake(ServiceMember *service) {
        if (service->member.phase == MEMBER_READY)
                return;
        member_tell_ready(&service->member, "awake");
        member_pass_to(&service->member, MEMBER_READY);
}

static void service_note_stopping(ServiceMember *service) {
        MemberPhase phase = service->member.phase;

        if (!waker_call_was_active(service->hold))
                return;
        if (phase != MEMBER_READY && phase != MEMBER_RECOVERING) {
                service_fail(service, FAILURE_START_FAILED, "it was put to sleep while it woke");
                return;
        }
        waker_call_stop(service->hold);
        member_tell(&service->member, LOG_NOTICE, DEPENDENCY_STOPPED, "was put to sleep although it is held");
        member_pass_to(&service->member, MEMBER_LOST);
}

static void service_on_status(WakerCall *hold, const Status *status, void *userdata) {
        ServiceMember *service = ASSERT_PTR(userdata);

        switch (status->state) {
        case SERVICE_AWAKE:
                service_note_awake(service);
                break;
        case SERVICE_WAKING:
                member_pass_to(&service->member,
                               service->member.phase == MEMBER_READY ? MEMBER_RECOVERING : MEMBER_CHECKING);
                break;
        case SERVICE_STOPPING:
                service_note_stopping(service);
                break;
        default:
                /* Failed: the error follows, and says why. Asleep: it has not begun, or has ended. */
                break;
        }
}

static void service_on_hold_end(WakerCall *hold, const CallEnding *ending, void *userdata) {
        ServiceMember *service = ASSERT_PTR(userdata);
        bool is_unheard = ending->error == -ENOENT || ending->error == -ECONNREFUSED;
        const char *name = member_name(&service->member);

        if (ending->end == CALL_FAILED && ending->reason > FAILURE_NONE)
                service_fail(service, ending->reason, "its own wake failed: %s", ending->message);
        else if (ending->end == CALL_FAILED)
                service_fail(service, FAILURE_START_FAILED, "its waker refuses to be held: %s", ending->message);
        else if (ending->end == CALL_SILENT)
                service_fail(service, FAILURE_START_FAILED, "its waker does not answer");
        else if (ending->error == -ENOENT && service->member.phase != MEMBER_RECOVERING)
                service_fail(service, FAILURE_NOT_FOUND,
                             "%s does not exist: if the service is in dependencies.json, 'systemctl daemon-reload' and "
                             "'systemctl start wake-control@%s.socket' bring it up",
                             service->path, name);
        else if (ending->end == CALL_LOST && ending->error < 0 && !is_unheard)
                service_fail(service, FAILURE_START_FAILED, "%s cannot be connected to: %s", service->path,
                             strerror(-ending->error));
        else if (ending->n_losses > LOSSES_MAX)
                service_fail(service, FAILURE_START_FAILED, "%s, %u times in a row; see 'journalctl -u wake@%s'",
                             is_unheard ? "nobody listens on its control socket"
                                        : "its waker ended without a word",
                             ending->n_losses, name);
        else
                service_note_retry(service);
}

/* What the waker of the one that depends on it asks for */

static void service_prepare(Member *member) {
        member_set_phase(member, MEMBER_PREPARING);
        member_set_phase(member, MEMBER_PREPARED);
}

static void service_start(Member *member) {
        ServiceMember *service = service_from(member);

        member_set_phase(member, MEMBER_STARTING);
        if (waker_call_hold(service->hold, *member->context->trigger) >= 0)
                member_pass_to(&service->member, MEMBER_CHECKING);
}

/* Others may hold it, and its own idleTimeout is what puts it to sleep. */
static void service_stop(Member *member, StopMode mode) {
        waker_call_stop(service_from(member)->hold);
        member_set_phase(member, MEMBER_STOPPED);
}

static bool service_would_stop(const Member *member, StopMode mode) {
        return false;
}

static uint64_t service_stop_budget(const Member *member) {
        return 0;
}

static const char *service_last_word(const Member *member) {
        return waker_call_was_active(((const ServiceMember *) member)->hold)
                               ? "its own wake goes on"
                               : "its waker has not said anything yet";
}

static Member *service_free(Member *member) {
        ServiceMember *service = service_from(member);

        waker_call_free(service->hold);
        free(service->path);
        free(service);
        return NULL;
}

static const MemberOps service_ops = {
        .free = service_free,
        .prepare = service_prepare,
        .start = service_start,
        .stop = service_stop,
        .would_stop = service_would_stop,
        .stop_budget = service_stop_budget,
        .last_word = service_last_word,
};

int service_member_new(Member **ret, const MemberContext *context, const Dependency *dependency,
                       MemberHandler handler, void *userdata) {
        ServiceMember *service = malloc(sizeof(*service));
        int r;

        assert(ret);

        if (!service)
                return -ENOMEM;
        *service = (ServiceMember){
                .member = member_begin(&service_ops, context, dependency, handler, userdata),
        };
        service->path = waker_call_path(context->root, dependency->name);
        r = waker_call_new(&service->hold, context->event, service->path, service_on_status, service_on_hold_end,
                           service);
        if (r < 0) {
                (void) member_free(&service->member);
                return r;
        }
        *ret = &service->member;
        return 0;
}
