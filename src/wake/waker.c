#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include <systemd/sd-id128.h>

#include "config/config.h"
#include "control/status-file.h"
#include "manager/activation.h"
#include "probe/probe.h"
#include "util/fd.h"
#include "util/log.h"
#include "util/text.h"
#include "wake/busy.h"
#include "wake/control.h"
#include "wake/further.h"
#include "wake/idle.h"
#include "wake/member/container.h"
#include "wake/member/journal.h"
#include "wake/port-redirect.h"
#include "wake/stack.h"
#include "wake/waker.h"

/* Waker: the phases of a service.
 *
 *     LISTENING  a connection to the control socket has started it, on which nothing was said yet: it touches nothing
 *     PREPARING  every member's lease is taken, and it is looked at
 *     STEPPING   members are started, each when what it needs is ready
 *     REACHING   where clients are forwarded to, somebody accepts
 *     LIFTING    redirect mode: the port is given to the container
 *     AWAKE      READY=1
 *     RECOVERING something needed has gone, and is being brought back: the port is ours meanwhile. Then REACHING again
 *     CLOSING    the port is taken back, and looked at once more: did somebody come in between?
 *     DRAINING   a stop that was asked for waits for the clients that are connected, at most drainTimeout
 *     STOPPING   members stop, each when those that need it have; after it the process ends
 *
 * Members, holders and timers only mark that something has changed; waker_on_change(), once per turn of the event loop, looks
 * at what is and goes on from there. So nothing depends on the order in which things are told, and nothing is called
 * from inside something else. A wake that fails goes to STOPPING with a reason. A process that was killed starts at PREPARING like
 * any other: it finds its locks in the descriptor store and its containers running, and comes to AWAKE without touching one.
 *
 * The members and what they are together is Stack; this file says when what is done with them, in the order of the phases. */

typedef enum WakerPhase {
        WAKER_LISTENING,
        WAKER_PREPARING,
        WAKER_STEPPING,
        WAKER_REACHING,
        WAKER_LIFTING,
        WAKER_AWAKE,
        WAKER_RECOVERING,
        WAKER_CLOSING,
        WAKER_DRAINING,
        WAKER_STOPPING,
        WAKER_ENDED,
        _WAKER_PHASE_MAX,
} WakerPhase;

typedef enum SleepCause {
        SLEEP_IDLE, /* may be called off by a client that comes in time */
        SLEEP_ASKED,
        SLEEP_ASKED_ALL, /* including what we have not started */
        SLEEP_LOST, /* a container was stopped by somebody else */
        SLEEP_FAILED,
} SleepCause;

struct Waker {
        sd_event *event; /* borrowed */
        const Config *config; /* borrowed */
        const Service *service; /* borrowed */
        WakerOptions options;

        Stack *stack;
        Control *control;
        PortRedirect *redirect; /* of its ports; NULL: proxy mode */
        Further *further; /* its other ports; NULL: it has no front */
        bool further_changed; /* since the redirect was lifted */
        Idle *idle;
        Busy *busy;
        Activation *activation; /* LISTENING: who has started it? */
        Dependency reach; /* stands for the backend while it is asked */
        char reach_port[sizeof("65535")];
        Probe *reach_probe;

        WakerPhase phase;
        SleepCause cause;
        bool sleep_all_later; /* PREPARING: when it is known what runs */
        bool redirect_moved; /* CLOSING, LIFTING: it was moved, or could not be */
        int redirect_error; /* of its last move */
        bool was_ready; /* READY=1 was sent */

        char wake_id[SD_ID128_UUID_STRING_MAX];
        WakeTrigger trigger;
        bool taken_over, resume_sleep;
        bool resumed; /* it was awake before this process began, and is so still */
        bool runs_on; /* CLOSING and later: clients go on reaching it, since nobody stops what they are forwarded to */
        FileMark told; /* the status file, as it was written */
        bool told_begin;
        uint64_t begin_usec; /* CLOCK_MONOTONIC, of the wake or the recovery */
        uint64_t since_usec; /* CLOCK_REALTIME, of the state */
        ServiceState state;
        FailureReason reason;
        char *error;

        uint64_t drain_until_usec;
        unsigned quiet_looks; /* DRAINING: without a connection, in a row */
        sd_event_source *patience; /* LISTENING, REACHING: for these alone; then, before it ends */
        sd_event_source *change, *deadline, *drain, *remember, *upkeep;
};

static void waker_fail(Waker *waker, FailureReason reason, const char *format, ...) _printf_(3, 4);
static void waker_sleep(Waker *waker, SleepCause cause);

/* Something has changed: look at it when the current event has been dealt with. */
static void waker_changed(Waker *waker) {
        (void) sd_event_source_set_enabled(waker->change, SD_EVENT_ONESHOT);
}

static size_t waker_holders(const Waker *waker) {
        return waker->control ? control_holders(waker->control) : 0;
}

/* Telling: one description of what is, for the status file, for holders and for systemd alike. */

static int waker_describe(const Waker *waker, Status **ret) {
        _cleanup_(status_freep) Status *status = new0(Status, 1);
        const char *busy = waker->state == SERVICE_AWAKE ? busy_reason(waker->busy) : NULL;
        int r;

        if (!status)
                return -ENOMEM;
        *status = (Status){
                .service = strdup(waker->service->name),
                .state = waker->state,
                .since_usec = waker->since_usec,
                .trigger = waker->trigger,
                .wake_id = strdup(waker->wake_id),
                .elapsed_usec = usec_sub(time_now(CLOCK_MONOTONIC), waker->begin_usec),
                .estimate_usec = waker->stack->plan->estimate_usec,
                .holders = (unsigned) waker_holders(waker),
                .reason = waker->reason,
                .error = waker->error ? strdup(waker->error) : NULL,
                .busy = busy ? strdup(busy) : NULL,
        };
        if (!status->service || !status->wake_id || (waker->error && !status->error) || (busy && !status->busy))
                return -ENOMEM;
        r = stack_describe(waker->stack, waker->begin_usec, status);
        if (r >= 0 && waker->further)
                r = further_describe(waker->further, status);
        if (r >= 0)
                *ret = TAKE_PTR(status);
        return r;
}

/* The caller puts the object. */
static json_object *waker_status_json(void *userdata) {
        _cleanup_(status_freep) Status *status = NULL;
        Waker *waker = ASSERT_PTR(userdata);

        /* Before it has begun, how the last one has ended is all that there is to tell. */
        if (waker->phase == WAKER_LISTENING &&
            status_file_read(&status, waker->options.root, waker->service->name) >= 0 &&
            status->state == SERVICE_FAILED)
                return status_to_json(status);
        status = status_free(status);
        return waker_describe(waker, &status) < 0 ? NULL : status_to_json(status);
}

static void waker_notify_status(const Waker *waker, const Status *status) {
        uint64_t left_sec = (status_remaining(status) + USEC_PER_SEC - 1) / USEC_PER_SEC;
        const DependencyStatus *busy = NULL;
        size_t n_ready = 0;

        for (size_t i = status->n_dependencies; i > 0; i--) {
                const DependencyStatus *dependency = &status->dependencies[i - 1];

                n_ready += dependency->state == DEPENDENCY_READY;
                if (dependency->state == DEPENDENCY_STARTING || dependency->state == DEPENDENCY_CHECKING)
                        busy = dependency;
        }
        if (waker->state != SERVICE_WAKING)
                (void) sd_notifyf(0, "STATUS=%s%s%.400s", service_state_to_string(waker->state),
                                  waker->error ? ": " : "", strempty(waker->error));
        else if (busy)
                (void) sd_notifyf(0, "STATUS=%zu/%zu %s %s, ~%" PRIu64 " s left", n_ready + 1,
                                  status->n_dependencies, dependency_state_to_string(busy->state), busy->container,
                                  left_sec);
        else
                (void) sd_notifyf(0, "STATUS=%zu/%zu ready, ~%" PRIu64 " s left", n_ready, status->n_dependencies,
                                  left_sec);
}

/* By this it is seen later whether the file is still the one that was written; inode 0: there is none. */
static FileMark waker_mark_status_file(const Waker *waker) {
        _cleanup_free_ char *path = NULL;
        struct stat status;

        path = text_printf("%s" STATUS_FOLDER "/%s.json", waker->options.root, waker->service->name);
        return path && lstat(path, &status) >= 0 ? file_mark_from_stat(&status) : (FileMark){};
}

/* Whoever was awake before stays so while we look. */
static bool waker_is_to_be_told(const Waker *waker) {
        return !waker->resumed || waker->phase != WAKER_PREPARING;
}

static int waker_write_status(Waker *waker, const Status *status) {
        int r;

        r = status_file_write(status, waker->options.root);
        waker->told = waker_mark_status_file(waker);
        return r;
}

static void waker_publish(Waker *waker) {
        _cleanup_(status_freep) Status *status = NULL;
        int r;

        if (!waker_is_to_be_told(waker))
                return;
        r = waker_describe(waker, &status);
        if (r >= 0) {
                waker_notify_status(waker, status);
                if (waker->control)
                        control_publish(waker->control);
                r = waker_write_status(waker, status);
        }
        if (r < 0)
                log_warning_errno(r, "Failed to write the status of %s, ignoring: %m", waker->service->name);
}

static void waker_set_state(Waker *waker, ServiceState state) {
        waker->state = state;
        waker->since_usec = time_now(CLOCK_REALTIME);
        waker_publish(waker);
}

void waker_mend(Waker *waker) {
        FileMark mark = waker_mark_status_file(waker);
        _cleanup_(status_freep) Status *status = NULL;
        int r = 0;

        for (size_t i = 0; i < waker->service->n_dependencies; i++)
                member_mend(waker->stack->members[i]);
        if (waker_is_to_be_told(waker) && (mark.inode == 0 || !file_mark_equal(&mark, &waker->told))) {
                r = waker_describe(waker, &status);
                if (r >= 0)
                        r = waker_write_status(waker, status);
        }
        if (r < 0)
                log_debug_errno(r, "Failed to write the status of %s again, ignoring: %m", waker->service->name);
}

static int waker_arm(Waker *waker, sd_event_source **source, uint64_t usec, uint64_t accuracy_usec,
                     sd_event_time_handler_t handler) {
        *source = sd_event_source_disable_unref(*source);
        return sd_event_add_time_relative(waker->event, source, CLOCK_MONOTONIC, usec, accuracy_usec, handler,
                                          waker);
}

/* The time is over. */

/* Each one that the wake waits for and that was begun: which, and why. NULL when out of memory. */
static char *waker_describe_unready(const Waker *waker) {
        char *text = NULL;
        size_t size;
        FILE *out;

        out = open_memstream(&text, &size);
        if (!out)
                return NULL;
        for (size_t i = 0; i < waker->service->n_dependencies; i++) {
                const Member *member = waker->stack->members[i];

                if (stack_needs(waker->stack, i) && member->phase != MEMBER_READY &&
                    member->phase != MEMBER_PREPARED)
                        fprintf(out, "; %s: %s", member_name(member), member_last_word(member));
        }
        if (waker->reach_probe)
                fprintf(out, "; nothing accepts at its backend %s: %s", waker->reach.name,
                        probe_detail(waker->reach_probe));
        if (waker->phase == WAKER_LIFTING)
                fputs("; the redirect of its port could not be lifted", out);
        return fclose(out) == 0 ? text : mfree(text);
}

static int waker_on_deadline(sd_event_source *source, uint64_t usec, void *userdata) {
        Waker *waker = ASSERT_PTR(userdata);
        _cleanup_free_ char *why = NULL;
        char span[SPAN_MAX];

        span_to_string(waker->service->global_timeout_usec, span);
        for (size_t i = 0; i < waker->service->n_dependencies; i++) {
                const Member *member = waker->stack->members[i];
                bool silent = member_is_container(member) && engine_is_silent(waker->stack->engine);

                if ((member->lacks_engine || silent) && member->phase != MEMBER_READY) {
                        waker_fail(waker, FAILURE_ENGINE_UNAVAILABLE, "the engine at %s did not answer within %s",
                                   waker->config->engine_socket, span);
                        return 0;
                }
        }
        why = waker_describe_unready(waker);
        waker_fail(waker, FAILURE_GLOBAL_TIMEOUT, "not ready within its globalTimeout of %s%s", span,
                   strempty(why));
        return 0;
}

static int waker_arm_deadline(Waker *waker) {
        waker->deadline = sd_event_source_disable_unref(waker->deadline);
        if (waker->service->global_timeout_usec == USEC_INFINITY)
                return 0;
        return waker_arm(waker, &waker->deadline, waker->service->global_timeout_usec, 0, waker_on_deadline);
}

/* LISTENING. Whoever connects to the control socket has PID 1 start the waker, and may mean nothing by it: only a call of Hold wakes (or
 * of Sleep looks at what runs). Callers call as soon as they are connected, so what they say is there when the waker is, as good as always. If
 * nothing is, it may still have been asked for by `systemctl start` while somebody is connected, which the manager knows.
 *
 * If nobody wants anything it ends without having touched a thing. It says that it stops before it does, as a start that is asked for
 * meanwhile then waits for the end and makes a new run, and it ends a moment later, so that a loop of connections is no loop of processes.
 * Whoever calls too late loses the connection and tries again, as after a crash. */

#define CALL_PATIENCE_USEC (20 * USEC_PER_MSEC)
#define LEAVE_PAUSE_USEC (200 * USEC_PER_MSEC)

static int waker_on_left(sd_event_source *source, uint64_t usec, void *userdata) {
        Waker *waker = ASSERT_PTR(userdata);

        (void) sd_event_exit(waker->event, EXIT_SUCCESS);
        return 0;
}

static void waker_leave(Waker *waker) {
        log_debug("Nobody asks for %s to be woken.", waker->service->name);
        waker->phase = WAKER_ENDED;
        waker->activation = activation_free(waker->activation);
        /* systemd takes an end before readiness for a failure. */
        (void) sd_notify(0, "READY=1");
        (void) sd_notify(0, "STOPPING=1");
        waker->control = control_free(waker->control);
        if (waker_arm(waker, &waker->patience, LEAVE_PAUSE_USEC, 1, waker_on_left) < 0)
                (void) sd_event_exit(waker->event, EXIT_SUCCESS);
}

static void waker_begin_as_asked(Waker *waker);

static void waker_on_activation(Activation *activation, int by_socket, void *userdata) {
        Waker *waker = ASSERT_PTR(userdata);

        if (by_socket == 0) {
                waker_begin_as_asked(waker);
                return;
        }
        if (by_socket < 0)
                log_warning_errno(
                                by_socket,
                                "Failed to ask systemd who has started the waker of %s. Somebody is connected to its control "
                                "socket and says nothing, so it is taken for that: %m",
                                waker->service->name);
        waker_leave(waker);
}

static int waker_on_no_call(sd_event_source *source, uint64_t usec, void *userdata) {
        Waker *waker = ASSERT_PTR(userdata);
        char service[128], socket[128];
        int r;

        (void) snprintf(service, sizeof(service), "wake@%s.service", waker->service->name);
        (void) snprintf(socket, sizeof(socket), "wake-control@%s.socket", waker->service->name);
        r = activation_new(&waker->activation, waker->event, service, socket, waker_on_activation, waker);
        if (r < 0)
                waker_on_activation(NULL, r, waker);
        return 0;
}

/* PREPARING */

#define UPKEEP_PAUSE (20 * USEC_PER_SEC)
#define UPKEEP_ACCURACY (5 * USEC_PER_SEC) /* together with what else is to be done */

static int waker_on_upkeep(sd_event_source *source, uint64_t usec, void *userdata) {
        waker_mend(ASSERT_PTR(userdata));
        (void) sd_event_source_set_time(source, usec_add(time_now(CLOCK_MONOTONIC), UPKEEP_PAUSE));
        return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

static int waker_begin(Waker *waker) {
        int r;

        waker->phase = WAKER_PREPARING;
        waker->state = SERVICE_WAKING;
        waker->begin_usec = time_now(CLOCK_MONOTONIC);
        if (!waker->resumed)
                waker->since_usec = time_now(CLOCK_REALTIME);
        r = waker_arm_deadline(waker);
        if (r >= 0)
                r = waker_arm(waker, &waker->upkeep, UPKEEP_PAUSE, UPKEEP_ACCURACY, waker_on_upkeep);
        if (r >= 0)
                r = stack_prepare(waker->stack);
        waker_changed(waker);
        return r;
}

/* Somebody who may has asked for something. */
static void waker_begin_as_asked(Waker *waker) {
        int r;

        if (waker->phase != WAKER_LISTENING)
                return;
        waker->patience = sd_event_source_disable_unref(waker->patience);
        waker->activation = activation_free(waker->activation);
        r = waker_begin(waker);
        if (r < 0) {
                log_error_errno(r, "Failed to begin the wake of %s: %m", waker->service->name);
                (void) sd_event_exit(waker->event, EXIT_FAILURE);
        }
}

/* The wake's first record, once. */
static void waker_tell_begin(Waker *waker) {
        if (waker->told_begin)
                return;
        waker->told_begin = true;
        /* The engine may have answered before the front's call was read. */
        if (!waker->taken_over && waker->control && control_has_front(waker->control))
                waker->trigger = TRIGGER_CONNECTION;

        if (waker->taken_over)
                journal_service(LOG_NOTICE, WAKECHAIN_MESSAGE_TAKEN_OVER, waker->state, FAILURE_NONE,
                                "%s taken over from a process that was killed", waker->service->name);
        else if (waker->resumed)
                journal_service(LOG_INFO, WAKECHAIN_MESSAGE_FOUND_AWAKE, SERVICE_AWAKE, FAILURE_NONE,
                                "%s is awake already, trigger: %s", waker->service->name,
                                wake_trigger_to_string(waker->trigger));
        else
                journal_service(LOG_INFO, WAKECHAIN_MESSAGE_WAKING, SERVICE_WAKING, FAILURE_NONE,
                                "%s wakes, trigger: %s", waker->service->name,
                                wake_trigger_to_string(waker->trigger));
        for (char **path = waker->service->unsupported; path && *path; path++)
                journal_service(LOG_WARNING, WAKECHAIN_MESSAGE_UNSUPPORTED, SERVICE_WAKING, FAILURE_NONE,
                                "%s is not yet supported, ignoring", *path);
}

/* Until it is lifted, the redirect is not for the stack's own containers: they would wait for a stack that waits for them. */
static void waker_restore(Waker *waker) {
        Inner inner;

        inner_init_own(&inner, waker->service, stack_infos(waker->stack));
        port_redirect_restore(waker->redirect, &inner);
}

/* It was awake before: is it still? */
static void waker_check_resumed(Waker *waker) {
        if (!waker->resumed || stack_runs(waker->stack, stack_reached(waker->stack)))
                return;
        waker->resumed = false;
        /* Clients are held until it is back. */
        if (waker->redirect)
                waker_restore(waker);
        if (waker->trigger == TRIGGER_OUTSIDE)
                waker->trigger = TRIGGER_MANUAL;
        waker_set_state(waker, SERVICE_WAKING);
}

/* Where clients go, by the containers' last looks. False: that cannot be told, and the wake has failed. */
static bool waker_resolve_backend(Waker *waker) {
        _cleanup_free_ char *text = NULL;
        int r;

        r = stack_resolve_backend(waker->stack, &text);
        if (r == -ENODATA || r == -ENOENT)
                waker_fail(waker, r == -ENOENT ? FAILURE_NOT_FOUND : FAILURE_CONFIG_INVALID, "%s", text);
        if (r >= 0 && waker->further)
                r = further_resolve(waker->further);
        if (r < 0 && r != -ENODATA && r != -ENOENT)
                waker_fail(waker, FAILURE_START_FAILED, "cannot tell where its clients go: %s", strerror(-r));
        return r >= 0;
}

static void waker_go_on_stepping(Waker *waker);

static void waker_go_on_preparing(Waker *waker) {
        _cleanup_free_ char *text = NULL;
        Stack *stack = waker->stack;
        int r;

        if (!stack_is_prepared(stack))
                return;
        waker_check_resumed(waker);
        waker_tell_begin(waker);
        if (waker->sleep_all_later) {
                waker->sleep_all_later = false;
                waker->phase = WAKER_STEPPING;
                waker_sleep(waker, SLEEP_ASKED_ALL);
                return;
        }
        if (waker->resume_sleep && waker_holders(waker) == 0) {
                waker_sleep(waker, SLEEP_ASKED);
                return;
        }
        r = stack_check_owners(stack, &text);
        if (r == -EINVAL) {
                waker_fail(waker, FAILURE_CONFIG_INVALID, "%s", text);
                return;
        }
        if (r >= 0 && !waker->resumed && !waker->taken_over)
                stack_tell_unused_networks(stack);
        if (r < 0 || stack_attach(stack) < 0) {
                waker_fail(waker, FAILURE_START_FAILED, "out of memory");
                return;
        }
        if (!waker_resolve_backend(waker))
                return;
        waker->phase = WAKER_STEPPING;
        if (waker->resumed)
                waker->state = SERVICE_AWAKE;
        waker_go_on_stepping(waker);
        /* The first container starts: time to load nftables. */
        if (waker->redirect && waker->phase == WAKER_STEPPING)
                port_redirect_prepare(waker->redirect);
}

/* STEPPING */

static void waker_reach(Waker *waker);

static void waker_go_on_stepping(Waker *waker) {
        /* Only optional ones may be left: the client does not wait while they start. */
        if (waker->phase == WAKER_STEPPING && stack_is_served(waker->stack, NULL))
                waker_reach(waker);
        else
                stack_start_next(waker->stack);
}

/* REACHING. That somebody accepts where clients go belongs to the end: behind a container whose network others use, one of those answers. */

#define REACHING_ALONE (250 * USEC_PER_MSEC) /* before what nobody waits for is started beside it */

static void waker_begin_lifting(Waker *waker);

static void waker_on_reached(Probe *probe, ProbeVerdict verdict, const char *detail, void *userdata) {
        Waker *waker = ASSERT_PTR(userdata);
        const Backend *backend = &waker->stack->backend;
        char span[SPAN_MAX];

        waker->reach_probe = probe_free(waker->reach_probe);
        if (verdict == PROBE_READY)
                waker_begin_lifting(waker);
        else if (backend->member == BACKEND_NO_MEMBER)
                waker_fail(waker, FAILURE_HEALTH_CHECK_FAILED, "nothing accepts at its backend %s: %s",
                           backend->address, detail);
        else
                waker_fail(waker, FAILURE_HEALTH_CHECK_FAILED,
                           "%s: nothing accepts on its port %u, where clients are forwarded to, after %s: %s",
                           waker->reach.name, backend->port, span_to_string(waker->reach.health.budget_usec, span),
                           detail);
}

/* A container's own address; with those that have its network, as long as the most patient of them. */
static const ContainerInfo *waker_reach_member(Waker *waker) {
        const Dependency *dependencies = waker->service->dependencies;
        size_t member = waker->stack->backend.member;

        (void) snprintf(waker->reach_port, sizeof(waker->reach_port), "%u", waker->stack->backend.port);
        waker->reach = (Dependency){
                .name = dependencies[member].name,
                .network = dependencies[member].network,
                .health = { .tcp = waker->reach_port, .budget_usec = dependencies[member].health.budget_usec },
        };
        for (size_t i = 0; i < waker->service->n_dependencies; i++)
                if (stack_owner(waker->stack, i) == member)
                        waker->reach.health.budget_usec =
                                        MAX(waker->reach.health.budget_usec, dependencies[i].health.budget_usec);
        return stack_infos(waker->stack)[member];
}

static const ContainerInfo *waker_reach_address(Waker *waker) {
        const ContainerInfo *info = NULL;

        waker->reach = (Dependency){
                .name = waker->stack->backend.address,
                .health = { .tcp = waker->stack->backend.address, .budget_usec = USEC_INFINITY },
        };
        for (size_t i = 0; !info && i < waker->service->n_dependencies; i++)
                info = stack_infos(waker->stack)[i];
        return info;
}

static int waker_on_reaching_long(sd_event_source *source, uint64_t usec, void *userdata) {
        Waker *waker = ASSERT_PTR(userdata);

        waker->patience = sd_event_source_disable_unref(waker->patience);
        waker_changed(waker);
        return 0;
}

static void waker_ask_backend(Waker *waker) {
        const ContainerInfo *info =
                        waker->stack->backend.address ? waker_reach_address(waker) : waker_reach_member(waker);
        int r;

        if (!info) {
                waker_fail(waker, FAILURE_NOT_FOUND, "none of its containers exists");
                return;
        }
        waker->reach.health.interval_usec = USEC_PER_SEC / 4;
        r = waker_arm(waker, &waker->patience, REACHING_ALONE, 1, waker_on_reaching_long);
        if (r >= 0)
                r = probe_new(&waker->reach_probe, waker->event, waker->stack->engine, &waker->reach, info,
                              waker->reach.network, 0, waker->options.environment, waker_on_reached, waker);
        if (r < 0)
                waker_fail(waker, FAILURE_HEALTH_CHECK_FAILED, "its backend %s cannot be asked: %s",
                           waker->reach.name, strerror(-r));
}

static void waker_reach(Waker *waker) {
        const Backend *backend = &waker->stack->backend;
        bool has_backend = backend->address || backend->member != BACKEND_NO_MEMBER;

        waker->phase = WAKER_REACHING;
        /* Nobody accepts on a port of UDP: the front holds what it refuses. And what was awake before this process began is not asked anew. */
        if (!has_backend || backend->udp || (waker->resumed && !waker->was_ready))
                waker_begin_lifting(waker);
        else
                waker_ask_backend(waker);
}

/* Whoever dies meanwhile is waited for, and asked anew: it may have another address then. If it takes a while, the answer may hang on one that
 * nobody waits for. */
static void waker_go_on_reaching(Waker *waker) {
        if (!stack_is_served(waker->stack, NULL))
                waker->reach_probe = probe_free(waker->reach_probe);
        else if (!waker->reach_probe)
                waker_ask_backend(waker);
        if (waker->phase == WAKER_REACHING && !waker->patience)
                waker_go_on_stepping(waker);
}

/* LIFTING. Where the port does not lead to a container, its clients go on coming to the front, which forwards them. */

static void waker_on_further(Further *further, void *userdata) {
        Waker *waker = ASSERT_PTR(userdata);

        waker->further_changed = true;
        waker_changed(waker);
}

static void waker_look_at_further(Waker *waker) {
        if (waker->further)
                further_look(waker->further, waker->resumed && !waker->was_ready);
}

static void waker_on_redirect_moved(PortRedirect *redirect, int error, void *userdata) {
        Waker *waker = ASSERT_PTR(userdata);

        /* A redirect that cannot be lifted costs the direct way, not the service: the front forwards meanwhile. */
        waker->redirect_moved = true;
        waker->redirect_error = error;
        waker_changed(waker);
}

/* All of its ports, and who uses them. */
static void waker_published(Waker *waker, Inner *ret) {
        stack_published(waker->stack, ret);
        further_add_published(waker->further, ret);
        stack_add_named(waker->stack, ret);
}

/* Those of its ports whose containers accept; the others' clients go on coming to the front, which holds them. */
static void waker_lift(Waker *waker) {
        Inner inner;

        waker_look_at_further(waker);
        waker->further_changed = false;
        waker_published(waker, &inner);
        port_redirect_lift(waker->redirect, &inner);
}

static void waker_follow_own(Waker *waker) {
        Inner inner;

        if (!waker->redirect || waker->resumed || waker->phase < WAKER_STEPPING || waker->phase > WAKER_REACHING)
                return;
        inner_init_own(&inner, waker->service, stack_infos(waker->stack));
        port_redirect_spare(waker->redirect, &inner);
}

static void waker_tell_elsewhere(const Waker *waker, uint16_t port) {
        char text[sizeof("another port than")] = "another port than";

        if (port > 0)
                (void) snprintf(text, sizeof(text), "port %u, not", port);
        journal_service(LOG_NOTICE, WAKECHAIN_MESSAGE_PORT_ELSEWHERE, SERVICE_WAKING, FAILURE_NONE,
                        "'%s' publishes %s %u for this time: it has a range of host ports, of which the engine takes "
                        "another one at each start. Clients of %u are forwarded to it; publish that port alone, and "
                        "they reach it directly",
                        member_name(waker->stack->members[waker->stack->backend.publisher]), text,
                        waker->service->port, waker->service->port);
}

static void waker_begin_lifting(Waker *waker) {
        uint16_t elsewhere;

        waker->phase = WAKER_LIFTING;
        waker->redirect_moved = !waker->redirect;
        if (waker->redirect && stack_is_direct(waker->stack, &elsewhere))
                waker_lift(waker);
        else if (waker->redirect) {
                if (waker->stack->backend.publisher != BACKEND_NO_MEMBER)
                        waker_tell_elsewhere(waker, elsewhere);
                port_redirect_restore(waker->redirect, NULL);
        }
        waker_changed(waker);
}

/* AWAKE */

static bool waker_look(void *userdata);
static void waker_on_idle(Idle *idle, void *userdata);

/* The configuration that this wake was made with is a good one: kept for the generator, should the next one be broken. */
static int waker_on_remember(sd_event_source *source, void *userdata) {
        Waker *waker = ASSERT_PTR(userdata);
        int r;

        r = config_remember(waker->options.root);
        if (r < 0)
                log_debug_errno(r, "Failed to keep the configuration as the last good one, ignoring: %m");
        return 0;
}

/* When there is nothing else to do. */
static void waker_remember_later(Waker *waker) {
        int r;

        if (waker->remember)
                return;
        r = sd_event_add_defer(waker->event, &waker->remember, waker_on_remember, waker);
        if (r >= 0)
                r = sd_event_source_set_priority(waker->remember, SD_EVENT_PRIORITY_IDLE);
        if (r < 0)
                log_debug_errno(r, "Failed to keep the configuration as the last good one, ignoring: %m");
}

static void waker_begin_awake(Waker *waker) {
        uint64_t timeout_usec =
                        waker->service->idle_timeout_usec > 0 ? waker->service->idle_timeout_usec : USEC_INFINITY;
        bool first = !waker->was_ready || waker->state != SERVICE_AWAKE;
        char span[SPAN_MAX];
        int r;

        waker->phase = WAKER_AWAKE;
        waker->deadline = sd_event_source_disable_unref(waker->deadline);
        /* What nobody waits for is still to be started. */
        waker_changed(waker);
        if (first) {
                if (waker->state != SERVICE_AWAKE)
                        waker_set_state(waker, SERVICE_AWAKE);
                (void) sd_notify(0, "READY=1");
                journal_service(LOG_INFO, WAKECHAIN_MESSAGE_AWAKE, SERVICE_AWAKE, FAILURE_NONE,
                                "%s awake%s after %s", waker->service->name, waker->was_ready ? " again" : "",
                                span_to_string(usec_sub(time_now(CLOCK_MONOTONIC), waker->begin_usec), span));
                waker->was_ready = true;
                waker_remember_later(waker);
        }
        /* Without a timeout the looks still go on: they notice a port that was closed behind our back. */
        if (timeout_usec != USEC_INFINITY || waker->redirect) {
                r = idle_new(&waker->idle, waker->event, timeout_usec, waker_look, waker_on_idle, waker);
                if (r < 0)
                        log_warning_errno(r, "Failed to watch for idleness, %s stays awake: %m",
                                          waker->service->name);
        }
}

static void waker_go_on_lifting(Waker *waker) {
        if (waker->redirect_moved)
                waker_begin_awake(waker);
}

bool waker_is_awake(const Waker *waker) {
        return waker->was_ready && waker->phase == WAKER_AWAKE;
}

/* RECOVERING. Something that the stack needs is gone while it is awake. It is being brought back, by the member itself, by the
 * engine or by whoever restarts it; the member says how that ends. Until then the port is ours again, and the state says "waking", so that
 * clients are held as during a wake. What comes back may be another container, with other addresses. */

static void waker_begin_recovering(Waker *waker, const Member *missing) {
        int r;

        waker->phase = WAKER_RECOVERING;
        waker->begin_usec = time_now(CLOCK_MONOTONIC);
        waker->idle = idle_free(waker->idle);
        r = waker_arm_deadline(waker);
        if (r < 0)
                log_warning_errno(r, "Failed to limit the time of a recovery, ignoring: %m");
        journal_service(LOG_NOTICE, WAKECHAIN_MESSAGE_RECOVERING, SERVICE_WAKING, FAILURE_NONE,
                        "%s: %s is gone, clients wait until it is back", waker->service->name,
                        member_name(missing));
        waker_set_state(waker, SERVICE_WAKING);
        /* A client that meets the port in between has the container's answer, or none: it cannot be taken back. */
        waker->redirect_moved = !waker->redirect;
        if (waker->redirect)
                waker_restore(waker);
}

static void waker_go_on_recovering(Waker *waker) {
        if (!waker->redirect_moved || !stack_is_served(waker->stack, NULL) || !waker_resolve_backend(waker))
                return;
        stack_refresh_backends(waker->stack);
        waker_reach(waker);
}

/* Going to sleep: idleness, an administrator, what somebody has stopped, a wake that failed. All take the port back first and then stop each
 * member when those that need it have stopped. Only idleness can be called off, by a client that came in between. */

static const struct {
        const char *text;
        StopMode mode;
} causes[] = {
        [SLEEP_IDLE] = { "nobody used it", STOP_SLEEP },
        [SLEEP_ASKED] = { "asked to", STOP_SLEEP },
        [SLEEP_ASKED_ALL] = { "asked to, with all that runs", STOP_ALL },
        [SLEEP_LOST] = { "what it needs was stopped by somebody else", STOP_SLEEP },
        [SLEEP_FAILED] = { "its wake failed", STOP_ROLLBACK },
};

static void waker_begin_closing(Waker *waker);

/* Nobody else than an administrator who wants all of it asleep is to take it from its clients. */
static bool waker_is_to_run_on(Waker *waker) {
        size_t reached;

        if (waker->cause == SLEEP_ASKED_ALL || (waker->cause == SLEEP_FAILED && !waker->resumed))
                return false;
        if (waker->phase == WAKER_PREPARING)
                return waker->cause == SLEEP_FAILED;
        reached = stack_reached(waker->stack);
        return stack_runs(waker->stack, reached) &&
               !member_would_stop(waker->stack->members[reached], causes[waker->cause].mode);
}

static void waker_fail(Waker *waker, FailureReason reason, const char *format, ...) {
        va_list arguments;

        waker->reason = reason;
        free(waker->error);
        va_start(arguments, format);
        waker->error = text_vprintf(format, arguments);
        va_end(arguments);

        waker_tell_begin(waker);
        journal_service(LOG_ERR, WAKECHAIN_MESSAGE_FAILED, SERVICE_FAILED, reason, "%s failed to wake: %s",
                        waker->service->name, strempty(waker->error));
        waker->cause = SLEEP_FAILED;
        waker->runs_on = waker_is_to_run_on(waker);
        waker_set_state(waker, SERVICE_FAILED);
        /* Nobody needs to wait for the clearing up. Who asks from now on waits in the backlog, for the next process. */
        if (waker->control)
                control_fail(waker->control, reason, strempty(waker->error));
        waker_begin_closing(waker);
}

static void waker_tell_stopping(Waker *waker) {
        if (waker->state == SERVICE_STOPPING)
                return;
        if (!waker->runs_on)
                journal_service(LOG_INFO, WAKECHAIN_MESSAGE_STOPPING, SERVICE_STOPPING, FAILURE_NONE,
                                "%s goes to sleep: %s", waker->service->name, causes[waker->cause].text);
        waker_set_state(waker, SERVICE_STOPPING);
}

static void waker_sleep(Waker *waker, SleepCause cause) {
        if (waker->phase >= WAKER_CLOSING) {
                /* Under way already; but now it is not to be called off any more. */
                if (waker->cause != SLEEP_IDLE && (waker->cause != SLEEP_ASKED || cause != SLEEP_ASKED_ALL))
                        return;
                waker->cause = cause;
                if (waker->phase == WAKER_CLOSING && waker->runs_on) {
                        waker->runs_on = waker_is_to_run_on(waker);
                        waker_begin_closing(waker);
                } else
                        waker_changed(waker); /* it may have waited for what idleness alone depends on */
                return;
        }
        if (cause == SLEEP_ASKED_ALL && waker->phase == WAKER_PREPARING) {
                waker->sleep_all_later = true;
                return;
        }

        waker->cause = cause;
        waker->runs_on = waker_is_to_run_on(waker);
        /* Clients who came after somebody had stopped a container did not ask for that: they are served by the next wake. */
        if (cause == SLEEP_LOST && waker->control)
                control_drop(waker->control);
        /* While it may still be called off, nobody is told. */
        if (cause != SLEEP_IDLE)
                waker_tell_stopping(waker);
        waker_begin_closing(waker);
}

/* Is it used? By holders, by connections to the port, by what keeps it busy. */

static void waker_on_busy(Busy *busy, bool changed, void *userdata) {
        Waker *waker = ASSERT_PTR(userdata);

        if (busy_reason(busy) && waker->idle)
                idle_touch(waker->idle);
        if (changed)
                waker_publish(waker);
        waker_changed(waker);
}

static bool waker_is_used(Waker *waker) {
        uint16_t elsewhere;
        Inner inner;
        bool used;

        if (waker_holders(waker) > 0)
                return true;
        if (!waker->redirect)
                return false;
        waker_published(waker, &inner);
        if (stack_is_direct(waker->stack, &elsewhere))
                return port_redirect_look(waker->redirect, &inner);
        /* The front holds whoever comes by the port, and nobody else but those who come by a name. */
        used = *waker->service->virtual_address &&
               inner_is_used(&inner, waker->service->ignore_addresses, port_redirect_silence(waker->service)) != 0;
        inner_done(&inner);
        return used;
}

/* What else keeps it awake is asked for only where nobody is connected. The answer comes later. */
static bool waker_look(void *userdata) {
        Waker *waker = ASSERT_PTR(userdata);
        bool used = waker_is_used(waker);

        if (used && busy_note_client(waker->busy))
                waker_publish(waker);
        else if (!used && waker->service->idle_timeout_usec > 0)
                busy_ask(waker->busy);
        return used;
}

static void waker_on_idle(Idle *idle, void *userdata) {
        Waker *waker = ASSERT_PTR(userdata);
        const Service *service = waker->service;

        /* It would be found running, and a waker started for it, again and again. */
        if (service->adopt == ADOPT_ALL && service->sleep != SLEEP_PAUSE &&
            container_is_lost_by_stop(waker->stack->members[stack_reached(waker->stack)]))
                idle_touch(idle);
        else
                waker_sleep(waker, SLEEP_IDLE);
}

/* CLOSING. The port comes back first: no connection shall meet a container that is about to stop. */

static void waker_begin_draining(Waker *waker);

static void waker_begin_closing(Waker *waker) {
        waker->deadline = sd_event_source_disable_unref(waker->deadline);
        waker->reach_probe = probe_free(waker->reach_probe);
        waker->idle = idle_free(waker->idle);

        memset(waker->stack->left, 0, waker->service->n_dependencies * sizeof(bool));
        if (waker->runs_on) /* a wake that failed takes back what it has started */
                stack_leave(waker->stack, waker->cause != SLEEP_FAILED);
        if (waker->cause != SLEEP_IDLE && waker->control)
                control_pause(waker->control);
        waker->redirect_moved = !waker->redirect || (waker->runs_on && !waker->stack->backend_resolved);
        if (waker->redirect_moved && waker->cause != SLEEP_IDLE) {
                waker_begin_draining(waker);
                return;
        }
        waker->phase = WAKER_CLOSING;
        if (waker->cause == SLEEP_IDLE && !waker->runs_on)
                busy_ask_anew(waker->busy);
        if (waker->redirect_moved)
                waker_changed(waker);
        else if (waker->runs_on &&
                 (waker->stack->backend.publisher != BACKEND_NO_MEMBER || !service_has_main_port(waker->service)))
                waker_lift(waker);
        else
                port_redirect_restore(waker->redirect, NULL);
}

/* The port is ours again. A client that came between the last look and now has a connection to the container: it wins. */
static void waker_go_on_closing(Waker *waker) {
        bool idle = waker->cause == SLEEP_IDLE && !waker->runs_on;

        if (!waker->redirect_moved || (waker->cause == SLEEP_IDLE && busy_is_asking(waker->busy)))
                return;
        if (idle && waker->redirect_error < 0)
                /* With the port still open, clients would meet a stopped container. The next timeout tries again. */
                waker_begin_awake(waker);
        else if (idle && (waker_is_used(waker) || busy_reason(waker->busy))) {
                log_debug("Somebody came in between, %s stays awake.", waker->service->name);
                waker_begin_lifting(waker);
        } else
                waker_begin_draining(waker);
}

/* DRAINING: a connection that is under way when the stack is told to sleep is let finish. New ones go to the front already, or, in proxy
 * mode, are held there. */

#define DRAIN_LOOK_PAUSE (20 * USEC_PER_MSEC)

static void waker_begin_stopping(Waker *waker);

static bool waker_is_quiet(Waker *waker) {
        const uint64_t silence_usec = port_redirect_silence(waker->service);
        Inner inner;
        int r;

        stack_forwarded(waker->stack, &inner);
        further_add_forwarded(waker->further, &inner);
        stack_add_named(waker->stack, &inner);
        /* One that is ignored is let finish like any other. */
        r = inner_is_used(&inner, NULL, silence_usec);
        inner_done(&inner);
        return r <= 0 && !(waker->redirect && (inner_is_on_its_way(waker->service->port, silence_usec) ||
                                               further_is_on_its_way(waker->further, silence_usec)));
}

static int waker_on_drain(sd_event_source *source, uint64_t usec, void *userdata) {
        Waker *waker = ASSERT_PTR(userdata);

        /* Twice: a client of another host may be in the middle of its handshake. */
        waker->quiet_looks = waker_is_quiet(waker) ? waker->quiet_looks + 1 : 0;
        if (waker->quiet_looks >= 2 || time_now(CLOCK_MONOTONIC) >= waker->drain_until_usec ||
            waker_arm(waker, &waker->drain, DRAIN_LOOK_PAUSE, 1, waker_on_drain) < 0) {
                waker->drain = sd_event_source_disable_unref(waker->drain);
                waker_begin_stopping(waker);
        }
        return 0;
}

static void waker_extend_timeout(uint64_t usec) {
        (void) sd_notifyf(0, "EXTEND_TIMEOUT_USEC=%" PRIu64, usec_add(usec, 5 * USEC_PER_SEC));
}

static void waker_begin_draining(Waker *waker) {
        uint64_t timeout_usec = waker->service->drain_timeout_usec;
        bool asked = waker->cause == SLEEP_ASKED || waker->cause == SLEEP_ASKED_ALL;

        /* What it would say is late. */
        busy_give_up(waker->busy);
        if (waker->runs_on || !asked || !waker->was_ready || timeout_usec == 0 ||
            waker->stack->backend.member == BACKEND_NO_MEMBER) {
                waker_begin_stopping(waker);
                return;
        }
        waker->phase = WAKER_DRAINING;
        waker->drain_until_usec = usec_add(time_now(CLOCK_MONOTONIC), timeout_usec);
        waker_extend_timeout(timeout_usec);
        if (waker_arm(waker, &waker->drain, DRAIN_LOOK_PAUSE, 1, waker_on_drain) < 0)
                waker_begin_stopping(waker);
}

/* STOPPING */

static void waker_begin_stopping(Waker *waker) {
        waker->phase = WAKER_STOPPING;
        if (waker->cause != SLEEP_FAILED) {
                if (!waker->runs_on)
                        waker_tell_stopping(waker);
                /* systemd takes an end before readiness for a failure, which being put to sleep in the middle of a wake is not. */
                if (!waker->was_ready)
                        (void) sd_notify(0, "READY=1");
                (void) sd_notify(0, "STOPPING=1");
        }
        if (waker->control)
                control_pause(waker->control);
        if (waker->redirect && !waker->runs_on)
                port_redirect_forget_flows(waker->redirect);
        waker_changed(waker);
}

static void waker_tell_running_on(Waker *waker) {
        size_t reached = stack_reached(waker->stack);
        const Dependency *dependency = &waker->service->dependencies[reached];
        const char *why = "was started by somebody else, and wakechain stops only what is its own; see 'adopt' in "
                          "wakechain.json(5)";

        if (dependency->keep)
                why = "is to be kept";
        else if (container_is_lost_by_stop(waker->stack->members[reached]))
                why = "was made by 'docker run --rm', and to stop it would delete it: make it without '--rm', or give the "
                      "service a 'composeDir' whose project makes it";
        journal_service(LOG_NOTICE, WAKECHAIN_MESSAGE_RUNS_ON, SERVICE_AWAKE, FAILURE_NONE, "%s runs on: %s %s",
                        waker->service->name, dependency->name, why);
        waker->trigger = TRIGGER_OUTSIDE;
        waker->reason = FAILURE_NONE;
        waker->error = mfree(waker->error);
        waker_set_state(waker, SERVICE_AWAKE);
}

static void waker_end(Waker *waker) {
        waker->phase = WAKER_ENDED;
        if (waker->runs_on)
                waker_tell_running_on(waker);
        else if (waker->cause == SLEEP_FAILED)
                waker_publish(waker);
        else {
                journal_service(LOG_INFO, WAKECHAIN_MESSAGE_ASLEEP, SERVICE_ASLEEP, FAILURE_NONE, "%s asleep",
                                waker->service->name);
                waker_set_state(waker, SERVICE_ASLEEP);
        }
        (void) sd_event_exit(waker->event, waker->cause == SLEEP_FAILED ? EXIT_FAILURE : EXIT_SUCCESS);
}

static void waker_go_on_stopping(Waker *waker) {
        uint64_t budget_usec;
        bool done = stack_stop_next(waker->stack, causes[waker->cause].mode, &budget_usec);

        /* One may be allowed more time to stop than the unit was given for all. */
        if (budget_usec > 0)
                waker_extend_timeout(budget_usec);
        if (done)
                waker_end(waker);
}

/* The loop */

static void waker_wait(Waker *waker) {
}

static void (*const phase_handlers[_WAKER_PHASE_MAX])(Waker *waker) = {
        [WAKER_LISTENING] = waker_wait,
        [WAKER_PREPARING] = waker_go_on_preparing,
        [WAKER_STEPPING] = waker_go_on_stepping,
        [WAKER_REACHING] = waker_go_on_reaching,
        [WAKER_LIFTING] = waker_go_on_lifting,
        [WAKER_AWAKE] = waker_go_on_stepping, /* with what nobody waits for */
        [WAKER_RECOVERING] = waker_go_on_recovering,
        [WAKER_CLOSING] = waker_go_on_closing,
        [WAKER_DRAINING] = waker_wait,
        [WAKER_STOPPING] = waker_go_on_stopping,
        [WAKER_ENDED] = waker_wait,
};

/* One that is needed and has failed ends a wake and a recovery; one that is lost ends being awake. */
static void waker_check_needed(Waker *waker) {
        const Member *missing;

        for (size_t i = 0; i < waker->service->n_dependencies; i++) {
                const Member *member = waker->stack->members[i];

                if (!stack_needs(waker->stack, i) ||
                    (member->phase != MEMBER_FAILED && member->phase != MEMBER_LOST))
                        continue;
                if (member->phase == MEMBER_FAILED)
                        waker_fail(waker, member->reason, "%s: %s", member_name(member), strempty(member->error));
                else if (!waker->was_ready)
                        waker_fail(waker, FAILURE_CONTAINER_EXITED,
                                   "%s: was ready, and was stopped by somebody else", member_name(member));
                else
                        waker_sleep(waker, SLEEP_LOST);
                return;
        }
        if (waker->phase == WAKER_AWAKE && !stack_is_served(waker->stack, &missing))
                waker_begin_recovering(waker, missing);
}

/* Which of them accept changes while it is awake. What was lifted is lifted anew then. */
static void waker_follow_further(Waker *waker) {
        uint16_t elsewhere;

        if (waker->phase < WAKER_REACHING || waker->phase > WAKER_AWAKE)
                return;
        waker_look_at_further(waker);
        if (waker->phase == WAKER_AWAKE && waker->further_changed && waker->redirect &&
            stack_is_direct(waker->stack, &elsewhere))
                waker_lift(waker);
}

static int waker_on_change(sd_event_source *source, void *userdata) {
        Waker *waker = ASSERT_PTR(userdata);

        if (waker->phase > WAKER_PREPARING && waker->phase < WAKER_AWAKE)
                waker_check_resumed(waker);
        if (waker->phase <= WAKER_RECOVERING) {
                stack_follow_owners(waker->stack);
                waker_check_needed(waker);
        }
        stack_refresh_backends(waker->stack);
        phase_handlers[waker->phase](waker);
        waker_follow_further(waker);
        waker_follow_own(waker);
        if (waker->phase != WAKER_ENDED)
                waker_publish(waker);
        return 0;
}

/* What comes from outside */

static void waker_on_member(Member *member, void *userdata) {
        waker_changed(ASSERT_PTR(userdata));
}

static void waker_on_control(Control *control, ControlRequest request, WakeTrigger trigger, void *userdata) {
        Waker *waker = ASSERT_PTR(userdata);

        switch (request) {
        case CONTROL_HELD:
                /* The first who holds it is who it wakes for. */
                if (!waker->told_begin && !waker->taken_over && control_holders(waker->control) == 1)
                        waker->trigger = trigger;
                waker_begin_as_asked(waker);
                __attribute__((fallthrough));
        case CONTROL_RELEASED:
                if (waker->idle)
                        idle_touch(waker->idle);
                break;
        case CONTROL_SLEEP:
        case CONTROL_SLEEP_ALL:
                waker_begin_as_asked(waker);
                waker_sleep(waker, request == CONTROL_SLEEP ? SLEEP_ASKED : SLEEP_ASKED_ALL);
                break;
        }
        waker_changed(waker);
}

void waker_stop(Waker *waker) {
        if (waker->phase == WAKER_LISTENING) {
                waker_leave(waker);
                return;
        }
        waker_sleep(waker, SLEEP_ASKED);
        waker_changed(waker);
}

/* Making one */

int waker_new(Waker **ret, sd_event *event, const Config *config, const Service *service,
              const WakerOptions *options) {
        _cleanup_(waker_freep) Waker *waker = malloc(sizeof(*waker));
        sd_id128_t id;
        int r;

        assert(ret);
        assert(service);

        if (!waker)
                return -ENOMEM;
        *waker = (Waker){
                .event = event,
                .config = config,
                .service = service,
                .options = *options,
                .trigger = TRIGGER_MANUAL,
                .state = SERVICE_ASLEEP,
                .since_usec = time_now(CLOCK_REALTIME),
        };

        r = sd_id128_randomize(&id);
        if (r < 0)
                return r;
        sd_id128_to_string(id, waker->wake_id);
        r = sd_event_add_defer(event, &waker->change, waker_on_change, waker);
        if (r >= 0)
                r = sd_event_source_set_enabled(waker->change, SD_EVENT_OFF);
        if (r >= 0)
                r = stack_new(&waker->stack, config,
                              &(MemberContext){
                                              .event = event,
                                              .service = service,
                                              .wake_id = waker->wake_id,
                                              .trigger = &waker->trigger,
                                              .environment = options->environment,
                                              .root = options->root,
                              },
                              &waker->state, waker_on_member, waker);
        if (r >= 0)
                r = busy_new(&waker->busy, &waker->stack->context, waker->stack->members, waker_on_busy, waker);
        if (r >= 0 && options->control_fd >= 0)
                r = control_new(&waker->control, event, options->control_fd, service->name, waker_status_json,
                                waker_on_control, waker);
        if (r >= 0 && service_has_front(service))
                r = further_new(&waker->further, event, waker->stack, options->root, options->environment,
                                waker_on_further, waker);
        if (r >= 0 && service_is_redirected(service))
                r = port_redirect_new(&waker->redirect, event, service, options->root, waker_on_redirect_moved,
                                      waker);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(waker);
        return 0;
}

Waker *waker_free(Waker *waker) {
        if (!waker)
                return NULL;

        sd_event_source_disable_unref(waker->change);
        sd_event_source_disable_unref(waker->deadline);
        sd_event_source_disable_unref(waker->drain);
        sd_event_source_disable_unref(waker->remember);
        sd_event_source_disable_unref(waker->upkeep);
        sd_event_source_disable_unref(waker->patience);
        activation_free(waker->activation);
        probe_free(waker->reach_probe);
        idle_free(waker->idle);
        busy_free(waker->busy);
        further_free(waker->further);
        port_redirect_free(waker->redirect);
        control_free(waker->control);
        stack_free(waker->stack);
        free(waker->error);
        return mfree(waker);
}

void waker_adopt_descriptor(Waker *waker, const char *fdname, int fd) {
        const char *name = lease_name_from_fdname(fdname);

        for (size_t i = 0; name && i < waker->service->n_dependencies; i++)
                if (member_adopt_lease(waker->stack->members[i], name, fd)) {
                        waker->taken_over = true;
                        return;
                }
        log_debug("Nothing is known of the stored descriptor '%s', closing it.", fdname);
        (void) sd_notifyf(0, "FDSTOREREMOVE=1\nFDNAME=%s", fdname);
        (void) fd_close(fd);
}

/* Whoever is left with locks in the store was killed: the wake that it was in goes on under its own name. Without locks it may be awake
 * nevertheless: somebody else has started it, or the one that was killed was stopped before it was started again. */
static void waker_resume(Waker *waker) {
        _cleanup_(status_freep) Status *status = NULL;

        if (status_file_read(&status, waker->options.root, waker->service->name) < 0)
                return;
        waker->resumed = status->state == SERVICE_AWAKE;
        if (!waker->resumed && !waker->taken_over)
                return;
        if (status->trigger >= 0)
                waker->trigger = status->trigger;
        if (waker->resumed && status->since_usec > 0)
                waker->since_usec = status->since_usec;
        if (!waker->taken_over)
                return;
        waker->resume_sleep = status->state == SERVICE_STOPPING || status->state == SERVICE_FAILED;
        if (status->wake_id && strlen(status->wake_id) < sizeof(waker->wake_id))
                strcpy(waker->wake_id, status->wake_id);
}

int waker_run(Waker *waker) {
        size_t n_callers = 0;

        waker_resume(waker);
        journal_begin(waker->service->name, waker->wake_id);
        if (waker->control)
                n_callers = control_accept_pending(waker->control);
        /* Nobody is connected: it was asked for. One that was killed goes on with what it had. */
        if (n_callers == 0 || waker->taken_over)
                return waker_begin(waker);
        waker->phase = WAKER_LISTENING;
        return waker_arm(waker, &waker->patience, CALL_PATIENCE_USEC, 1, waker_on_no_call);
}
