#include <stdio.h>

#include "io/hold.h"
#include "util/log.h"
#include "wake/record.h"
#include "wake/service-member.h"

/* ServiceMember: one Hold on the other service's control socket, whose waker does the rest. It is awake as long as we are connected, and
 * goes to sleep in its own time when nobody is. There is nothing to be prepared, and no lease: the other service has those of its own
 * containers.
 *
 * A waker that is killed loses the Hold, and the next one takes over: we connect again, and what was ready is recovering until it is
 * awake once more. But a service that goes to sleep although it is held does so because somebody decided it, or has stopped one
 * of its containers: then it is lost, as a container that was stopped is. A Hold that has never seen it awake or waking has
 * only met with the end of its last sleep. */

#define CONTROL_FOLDER "/run/wakechain/control"
#define BUSY_PAUSE (5 * USEC_PER_MSEC) /* a waker that is going, or a full backlog */
#define BUSY_PAUSE_LAST (250 * USEC_PER_MSEC)
#define LOSS_PAUSE (50 * USEC_PER_MSEC) /* after a crash: PID 1 starts the next waker */
#define LOSS_PAUSE_LAST USEC_PER_SEC
#define LOSSES_MAX 10U
#define PATIENCE (2 * USEC_PER_MINUTE) /* without a word from the waker */

typedef struct ServiceMember {
        Member member; /* first */
        char *path; /* of the control socket */
        Hold *hold;
        sd_event_source *timer; /* until the next try; while there is a hold: patience */
        bool seen_active; /* this hold has seen it waking or awake */
        bool seen_stopping; /* …, or on the way to sleep */
        unsigned busy, losses; /* in a row */
} ServiceMember;

static void service_dial(ServiceMember *service);

static ServiceMember *service_from(Member *member) {
        assert(member->dependency->kind == DEPENDENCY_SERVICE);

        return (ServiceMember *) member;
}

static void service_cancel(ServiceMember *service) {
        service->hold = hold_free(service->hold);
        service->timer = sd_event_source_disable_unref(service->timer);
}

#define service_fail(service, reason, ...)                              \
        do {                                                            \
                service_cancel(service);                                \
                member_fail(&(service)->member, (reason), __VA_ARGS__); \
        } while (false)

static void service_set_phase(ServiceMember *service, MemberPhase phase) {
        if (service->member.phase == MEMBER_RECOVERING && (phase == MEMBER_STARTING || phase == MEMBER_CHECKING))
                phase = MEMBER_RECOVERING;
        if (phase != service->member.phase)
                member_set_phase(&service->member, phase);
}

static int service_on_timer(sd_event_source *source, uint64_t usec, void *userdata) {
        ServiceMember *service = ASSERT_PTR(userdata);

        service->timer = sd_event_source_disable_unref(service->timer);
        if (service->hold)
                service_fail(service, FAILURE_START_FAILED, "its waker does not answer");
        else
                service_dial(service);
        return 0;
}

static void service_wait(ServiceMember *service, uint64_t usec) {
        int r;

        service->timer = sd_event_source_disable_unref(service->timer);
        r = sd_event_add_time_relative(service->member.context->event, &service->timer, CLOCK_MONOTONIC, usec, 1,
                                       service_on_timer, service);
        if (r < 0)
                service_fail(service, FAILURE_START_FAILED, "out of memory");
}

static void service_dial_after(ServiceMember *service, uint64_t pause_usec) {
        service_cancel(service);
        if (service->member.phase == MEMBER_READY)
                service_set_phase(service, MEMBER_RECOVERING);
        else if (!service->member.retrying) {
                service->member.retrying = true;
                service->member.handler(&service->member, service->member.userdata);
        }
        service_wait(service, pause_usec);
}

static uint64_t growing(uint64_t first_usec, unsigned n, uint64_t last_usec) {
        return MIN(first_usec << MIN(n, 16U), last_usec);
}

static void service_dial_when_free(ServiceMember *service) {
        service_dial_after(service, growing(BUSY_PAUSE, service->busy++, BUSY_PAUSE_LAST));
}

static void service_dial_after_loss(ServiceMember *service, const char *why) {
        if (service->losses >= LOSSES_MAX)
                service_fail(service, FAILURE_START_FAILED, "%s, %u times in a row; see 'journalctl -u wake@%s'",
                             why, service->losses + 1, member_name(&service->member));
        else
                service_dial_after(service, growing(LOSS_PAUSE, service->losses++, LOSS_PAUSE_LAST));
}

/* What the waker says */

static void service_note_awake(ServiceMember *service) {
        uint64_t span = usec_sub(time_now(CLOCK_MONOTONIC), service->member.started_usec);
        const char *name = member_name(&service->member);
        char text[SPAN_MAX];

        service->seen_active = true;
        service->losses = service->busy = 0;
        if (service->member.phase == MEMBER_READY)
                return;
        if (service->member.phase == MEMBER_RECOVERING)
                record_dependency(LOG_NOTICE, name, DEPENDENCY_READY, FAILURE_NONE, USEC_INFINITY,
                                  "dependency %s is awake again", name);
        else
                record_dependency(LOG_INFO, name, DEPENDENCY_READY, FAILURE_NONE, span,
                                  "dependency %s awake after %s", name, span_to_string(span, text));
        service_set_phase(service, MEMBER_READY);
}

static void service_note_stopping(ServiceMember *service) {
        const char *name = member_name(&service->member);
        MemberPhase phase = service->member.phase;

        if (!service->seen_active) {
                service->seen_stopping = true;
                return;
        }
        if (phase != MEMBER_READY && phase != MEMBER_RECOVERING) {
                service_fail(service, FAILURE_START_FAILED, "it was put to sleep while it woke");
                return;
        }
        service_cancel(service);
        record_dependency(LOG_NOTICE, name, DEPENDENCY_STOPPED, FAILURE_NONE, USEC_INFINITY,
                          "dependency %s was put to sleep although it is held", name);
        service_set_phase(service, MEMBER_LOST);
}

static void service_on_status(Hold *hold, const Status *status, void *userdata) {
        ServiceMember *service = ASSERT_PTR(userdata);

        service->timer = sd_event_source_disable_unref(service->timer);
        switch (status->state) {
        case SERVICE_AWAKE:
                service_note_awake(service);
                break;
        case SERVICE_WAKING:
                service->seen_active = true;
                service_set_phase(service,
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

static void service_on_hold_end(Hold *hold, HoldEnd end, FailureReason reason, void *userdata) {
        ServiceMember *service = ASSERT_PTR(userdata);
        _cleanup_free_ char *message = strdup(hold_message(hold)); /* goes with the hold */

        if (end == HOLD_FAILED && reason > FAILURE_NONE)
                service_fail(service, reason, "its own wake failed: %s", strempty(message));
        else if (end == HOLD_FAILED)
                service_fail(service, FAILURE_START_FAILED, "its waker refuses to be held: %s", strempty(message));
        else if (end == HOLD_STOPPING || service->seen_stopping)
                service_dial_when_free(service);
        else
                service_dial_after_loss(service, "its waker ended without a word");
}

static void service_dial(ServiceMember *service) {
        const MemberContext *context = service->member.context;
        bool recovering = service->member.phase == MEMBER_RECOVERING;
        const char *name = member_name(&service->member);
        int r;

        service->seen_active = service->seen_stopping = false;
        r = hold_new(&service->hold, context->event, service->path, *context->trigger, service_on_status,
                     service_on_hold_end, service);
        if (r >= 0) {
                service_set_phase(service, MEMBER_CHECKING);
                service_wait(service, PATIENCE);
        } else if (r == -EAGAIN)
                service_dial_when_free(service);
        else if (r == -ENOENT && !recovering)
                service_fail(service, FAILURE_NOT_FOUND,
                             "%s does not exist: if the service is in dependencies.json, 'systemctl daemon-reload' and "
                             "'systemctl start wake-control@%s.socket' bring it up",
                             service->path, name);
        else if (r == -ENOENT || r == -ECONNREFUSED)
                service_dial_after_loss(service, "nobody listens on its control socket");
        else
                service_fail(service, FAILURE_START_FAILED, "%s cannot be connected to: %s", service->path,
                             strerror(-r));
}

/* What the waker of the one that depends on it asks for */

static void service_prepare(Member *member) {
        member_set_phase(member, MEMBER_PREPARING);
        member_set_phase(member, MEMBER_PREPARED);
}

static void service_start(Member *member) {
        member_set_phase(member, MEMBER_STARTING);
        service_dial(service_from(member));
}

/* Others may hold it, and its own idleTimeout is what puts it to sleep. */
static void service_stop(Member *member, StopMode mode) {
        service_cancel(service_from(member));
        member_set_phase(member, MEMBER_STOPPED);
}

static bool service_would_stop(const Member *member, StopMode mode) {
        return false;
}

static uint64_t service_stop_budget(const Member *member) {
        return 0;
}

static Member *service_free(Member *member) {
        ServiceMember *service = service_from(member);

        service_cancel(service);
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
};

int service_member_new(Member **ret, const MemberContext *context, const Dependency *dependency,
                       MemberHandler handler, void *userdata) {
        ServiceMember *service;

        assert(ret);
        assert(context && context->trigger);
        assert(dependency && dependency->kind == DEPENDENCY_SERVICE);
        assert(handler);

        service = malloc(sizeof(*service));
        if (!service)
                return -ENOMEM;
        *service = (ServiceMember){
                .member = {
                        .ops = &service_ops,
                        .context = context,
                        .dependency = dependency,
                        .handler = handler,
                        .userdata = userdata,
                },
        };
        if (asprintf(&service->path, "%s" CONTROL_FOLDER "/%s.sock", context->root, dependency->name) < 0) {
                free(service);
                return -ENOMEM;
        }
        *ret = &service->member;
        return 0;
}
