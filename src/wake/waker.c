#include <arpa/inet.h>
#include <inttypes.h>
#include <stdio.h>
#include <systemd/sd-id128.h>

#include "io/probe.h"
#include "model/plan.h"
#include "util/fd.h"
#include "util/log.h"
#include "wake/backend.h"
#include "wake/container.h"
#include "wake/control.h"
#include "wake/door.h"
#include "wake/idle.h"
#include "wake/notify.h"
#include "wake/record.h"
#include "wake/report.h"
#include "wake/waker.h"

/* Waker: the phases of a service.
 *
 *     PREPARING  every container's lease is taken and every container is looked at
 *     STEPPING   the plan's steps, one after the other
 *     REACHING   a backend that is no container of ours accepts
 *     OPENING    redirect mode: the port is given to the container
 *     AWAKE      READY=1
 *     CLOSING    the port is taken back, and looked at once more: did somebody come in between?
 *     STOPPING   containers stop, steps in reverse order; after it the process ends
 *
 * Containers, holders and timers only mark that something has changed; waker_on_change(), once per turn of the event loop, looks
 * at what is and goes on from there. So nothing depends on the order in which things are told, and nothing is called
 * from inside something else. A wake that fails goes to STOPPING with a reason. A process that was killed starts at PREPARING like
 * any other: it finds its locks in the descriptor store and its containers running, and comes to AWAKE without touching one. */

typedef enum WakerPhase {
        WAKER_PREPARING,
        WAKER_STEPPING,
        WAKER_REACHING,
        WAKER_OPENING,
        WAKER_AWAKE,
        WAKER_CLOSING,
        WAKER_STOPPING,
        WAKER_ENDED,
} WakerPhase;

typedef enum SleepCause {
        SLEEP_IDLE, /* may be called off by a client that comes in time */
        SLEEP_ASKED,
        SLEEP_LOST, /* a container was stopped by somebody else */
        SLEEP_FAILED,
} SleepCause;

struct Waker {
        sd_event *event; /* borrowed */
        const Config *config; /* borrowed */
        const Service *service; /* borrowed */
        WakerOptions options;

        Plan *plan;
        Engine *engine;
        ContainerContext context;
        Container **containers; /* one for each dependency; NULL: not a container */
        const ContainerInfo **infos; /* refreshed by waker_infos(), borrowed from the containers */
        Control *control;
        Door *door; /* redirect mode */
        Idle *idle;

        Backend backend;
        bool backend_resolved;
        char **backends;
        Dependency reach; /* stands for a backend that is no container of ours */
        Probe *reach_probe;

        WakerPhase phase;
        size_t step;
        SleepCause cause;
        bool door_moved; /* CLOSING, OPENING: the door has answered */
        bool engine_lost;
        bool was_ready;                 /* READY=1 was sent */

        char *wake_id;
        WakeTrigger trigger;
        bool taken_over, resume_sleep;
        uint64_t begin_usec; /* CLOCK_MONOTONIC */
        uint64_t since_usec; /* CLOCK_REALTIME, of the state */
        ServiceState state;
        FailureReason reason;
        char *error;

        sd_event_source *change, *deadline;
};

/* What is */

static const ContainerInfo *const *waker_infos(Waker *waker) {
        for (size_t i = 0; i < waker->service->n_dependencies; i++)
                waker->infos[i] = waker->containers[i] ? container_info(waker->containers[i]) : NULL;
        return waker->infos;
}

/* Does the wake wait for it? The container that clients are forwarded to counts, whatever its type. */
static bool waker_needs(const Waker *waker, size_t member) {
        return waker->service->dependencies[member].type == DEPENDENCY_REQUIRED || waker->backend.member == member;
}

static bool waker_is_waking(const Waker *waker) {
        return waker->phase <= WAKER_OPENING;
}

static uint64_t waker_elapsed(const Waker *waker) {
        return usec_sub(time_now(CLOCK_MONOTONIC), waker->begin_usec);
}

static int waker_describe_dependencies(const Waker *waker, Status *status) {
        const Service *service = waker->service;
        int r;

        status->dependencies = new0(DependencyStatus, service->n_dependencies);
        if (!status->dependencies)
                return -ENOMEM;

        for (size_t i = 0; waker->plan && i < waker->plan->n_steps; i++)
                for (size_t j = 0; j < waker->plan->steps[i].n_members; j++) {
                        size_t member = waker->plan->steps[i].members[j];
                        DependencyStatus *dependency = &status->dependencies[status->n_dependencies];

                        if (!waker->containers[member])
                                continue;
                        r = container_describe(waker->containers[member], waker->begin_usec, dependency);
                        if (r < 0)
                                return r;
                        dependency->step = (unsigned) i + 1;
                        dependency->estimate_usec = service->dependencies[member].estimated_usec;
                        status->n_dependencies++;
                }
        return 0;
}

static int waker_describe(const Waker *waker, Status **ret) {
        _cleanup_(status_freep) Status *status = NULL;
        int r;

        status = new0(Status, 1);
        if (!status)
                return -ENOMEM;
        *status = (Status){
                .service = strdup(waker->service->name),
                .state = waker->state,
                .since_usec = waker->since_usec,
                .trigger = waker->trigger,
                .wake_id = strdup(waker->wake_id),
                .elapsed_usec = waker_elapsed(waker),
                .estimate_usec = waker->plan->estimate_usec,
                .holders = waker->control ? (unsigned) control_holders(waker->control) : 0,
                .reason = waker->reason,
                .error = waker->error ? strdup(waker->error) : NULL,
        };
        if (!status->service || !status->wake_id || (waker->error && !status->error))
                return -ENOMEM;
        for (char **backend = waker->backends; backend && *backend; backend++) {
                r = strv_append(&status->backends, *backend);
                if (r < 0)
                        return r;
        }
        r = waker_describe_dependencies(waker, status);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(status);
        return 0;
}

static json_object *waker_status_json(void *userdata) {
        _cleanup_(status_freep) Status *status = NULL;

        return waker_describe(userdata, &status) < 0 ? NULL : status_to_json(status);
}

/* Telling */

static void waker_notify_status(const Waker *waker, const Status *status) {
        uint64_t left_sec = (status_remaining(status) + USEC_PER_SEC - 1) / USEC_PER_SEC;
        size_t n_ready = 0;

        if (waker->state != SERVICE_WAKING) {
                notify_status("%s%s%s", service_state_to_string(waker->state), waker->error ? ": " : "",
                              strempty(waker->error));
                return;
        }
        for (size_t i = 0; i < status->n_dependencies; i++)
                n_ready += status->dependencies[i].state == DEPENDENCY_READY;
        for (size_t i = 0; i < status->n_dependencies; i++) {
                DependencyState state = status->dependencies[i].state;

                if (state != DEPENDENCY_STARTING && state != DEPENDENCY_CHECKING)
                        continue;
                notify_status("%zu/%zu %s %s, ~%" PRIu64 " s left", n_ready + 1, status->n_dependencies,
                              dependency_state_to_string(state), status->dependencies[i].container, left_sec);
                return;
        }
        notify_status("%zu/%zu ready, ~%" PRIu64 " s left", n_ready, status->n_dependencies, left_sec);
}

static void waker_publish(Waker *waker) {
        _cleanup_(status_freep) Status *status = NULL;
        int r;

        r = waker_describe(waker, &status);
        if (r >= 0) {
                waker_notify_status(waker, status);
                if (waker->control)
                        control_publish(waker->control);
                r = report_write(status, waker->options.root);
        }
        if (r < 0)
                log_warning_errno(r, "Failed to write the status of %s, ignoring: %m", waker->service->name);
}

static void waker_set_state(Waker *waker, ServiceState state) {
        waker->state = state;
        waker->since_usec = time_now(CLOCK_REALTIME);
        waker_publish(waker);
}

/* Something has changed: look at it when the current event has been dealt with. */
static void waker_changed(Waker *waker) {
        (void) sd_event_source_set_enabled(waker->change, SD_EVENT_ONESHOT);
}

static void waker_on_container(Container *container, void *userdata) {
        waker_changed(ASSERT_PTR(userdata));
}

/* Ending */

static void waker_begin_stopping(Waker *waker);

static void waker_fail(Waker *waker, FailureReason reason, const char *format, ...) _printf_(3, 4);
static void waker_fail(Waker *waker, FailureReason reason, const char *format, ...) {
        va_list arguments;

        waker->reason = reason;
        free(waker->error);
        va_start(arguments, format);
        if (vasprintf(&waker->error, format, arguments) < 0)
                waker->error = NULL;
        va_end(arguments);

        record_service(LOG_ERR, WAKECHAIN_MESSAGE_FAILED, SERVICE_FAILED, reason, "%s failed to wake: %s",
                       waker->service->name, strempty(waker->error));
        waker->cause = SLEEP_FAILED;
        waker_set_state(waker, SERVICE_FAILED);
        /* Nobody needs to wait for the clearing up. Who asks from now on waits in the backlog, for the next process. */
        if (waker->control)
                control_fail(waker->control, reason, strempty(waker->error));
        waker_begin_stopping(waker);
}

static void waker_end(Waker *waker) {
        if (waker->phase == WAKER_ENDED)
                return;
        waker->phase = WAKER_ENDED;

        if (waker->cause == SLEEP_FAILED)
                waker_publish(waker);
        else {
                record_service(LOG_INFO, WAKECHAIN_MESSAGE_ASLEEP, SERVICE_ASLEEP, FAILURE_NONE, "%s asleep",
                               waker->service->name);
                waker_set_state(waker, SERVICE_ASLEEP);
        }
        (void) sd_event_exit(waker->event, waker->cause == SLEEP_FAILED ? EXIT_FAILURE : EXIT_SUCCESS);
}

/* Whether this stop takes back only what this very wake has started: a rollback, or a stop in the middle of a wake. */
static bool waker_rolls_back(const Waker *waker) {
        return waker->cause == SLEEP_FAILED;
}

static void waker_stop_step(Waker *waker, const PlanStep *step) {
        uint64_t budget_usec = 0;

        for (size_t i = 0; i < step->n_members; i++) {
                Container *container = waker->containers[step->members[i]];

                if (!container)
                        continue;
                if (container_is_ours(container, waker_rolls_back(waker)))
                        budget_usec = MAX(budget_usec, container_stop_budget(container));
                container_stop(container, waker_rolls_back(waker));
        }
        /* A container may be allowed more time to stop than the unit was given for all. */
        if (budget_usec > 0)
                notify_extend_timeout(budget_usec + 5 * USEC_PER_SEC);
}

static bool waker_step_has_stopped(const Waker *waker, const PlanStep *step) {
        for (size_t i = 0; i < step->n_members; i++) {
                const Container *container = waker->containers[step->members[i]];

                if (container && container_phase(container) != CONTAINER_STOPPED)
                        return false;
        }
        return true;
}

/* `step` counts down: steps above it have stopped, it itself is being stopped. */
static void waker_go_on_stopping(Waker *waker) {
        while (waker->step > 0 && waker_step_has_stopped(waker, &waker->plan->steps[waker->step - 1])) {
                waker->step--;
                if (waker->step > 0)
                        waker_stop_step(waker, &waker->plan->steps[waker->step - 1]);
        }
        if (waker->step == 0)
                waker_end(waker);
}

static void waker_begin_stopping_containers(Waker *waker) {
        waker->phase = WAKER_STOPPING;
        waker->step = waker->plan->n_steps;
        if (waker->cause != SLEEP_FAILED) {
                /* systemd takes an end before readiness for a failure, which being put to sleep in the middle of a wake is not. */
                if (!waker->was_ready)
                        notify_ready();
                notify_stopping();
        }
        if (waker->control)
                control_pause(waker->control);
        if (waker->step > 0)
                waker_stop_step(waker, &waker->plan->steps[waker->step - 1]);
        waker_changed(waker);
}

/* The port comes back first: no connection shall meet a container that is about to stop. */
static void waker_begin_stopping(Waker *waker) {
        waker->deadline = sd_event_source_disable_unref(waker->deadline);
        waker->reach_probe = probe_free(waker->reach_probe);
        waker->idle = idle_free(waker->idle);

        if (waker->cause != SLEEP_IDLE && waker->control)
                control_pause(waker->control);
        if (!waker->door) {
                waker_begin_stopping_containers(waker);
                return;
        }
        waker->phase = WAKER_CLOSING;
        waker->door_moved = false;
        door_close(waker->door);
}

static const char *const cause_texts[] = {
        [SLEEP_IDLE] = "nobody used it",
        [SLEEP_ASKED] = "asked to",
        [SLEEP_LOST] = "one of its containers was stopped by somebody else",
        [SLEEP_FAILED] = "its wake failed",
};

static void waker_sleep(Waker *waker, SleepCause cause) {
        if (waker->phase >= WAKER_CLOSING) {
                /* Under way already; but now it is not to be called off any more. */
                if (waker->cause == SLEEP_IDLE)
                        waker->cause = cause;
                return;
        }

        waker->cause = cause;
        record_service(LOG_INFO, WAKECHAIN_MESSAGE_STOPPING, SERVICE_STOPPING, FAILURE_NONE,
                       "%s goes to sleep: %s", waker->service->name, cause_texts[cause]);
        /* While it may still be called off, nobody is told. */
        if (cause != SLEEP_IDLE)
                waker_set_state(waker, SERVICE_STOPPING);
        waker_begin_stopping(waker);
}

/* Idle */

static size_t waker_own_addresses(Waker *waker, AddressPrefix *prefixes, size_t size) {
        size_t n = 0;

        for (size_t i = 0; i < waker->service->n_dependencies; i++) {
                const ContainerInfo *info = waker->containers[i] ? container_info(waker->containers[i]) : NULL;

                for (size_t j = 0; info && j < info->n_networks; j++) {
                        const ContainerNetwork *network = &info->networks[j];

                        if (network->ipv4 && n < size && address_prefix_parse(&prefixes[n], network->ipv4) >= 0)
                                n++;
                        if (network->ipv6 && n < size && address_prefix_parse(&prefixes[n], network->ipv6) >= 0)
                                n++;
                }
        }
        return n;
}

static bool waker_is_used(void *userdata) {
        Waker *waker = ASSERT_PTR(userdata);
        const ContainerInfo *publisher;
        AddressPrefix own[64];

        if (waker->control && control_holders(waker->control) > 0)
                return true;
        if (!waker->door || waker->backend.publisher == BACKEND_NO_MEMBER)
                return false;

        publisher = container_info(waker->containers[waker->backend.publisher]);
        return door_look(waker->door, publisher->pid, waker->backend.publisher_port, own,
                         waker_own_addresses(waker, own, ELEMENTSOF(own)));
}

static void waker_on_idle(Idle *idle, void *userdata) {
        waker_sleep(ASSERT_PTR(userdata), SLEEP_IDLE);
}

/* The port is ours again. A client that came between the last look and now has a connection to the container: it wins. */
static void waker_decide_sleep(Waker *waker) {
        if (waker->cause == SLEEP_IDLE && waker_is_used(waker)) {
                log_debug("A client came in between, %s stays awake.", waker->service->name);
                waker->phase = WAKER_OPENING;
                waker->door_moved = false;
                door_open(waker->door);
                return;
        }
        if (waker->cause == SLEEP_IDLE)
                waker_set_state(waker, SERVICE_STOPPING);
        waker_begin_stopping_containers(waker);
}

/* Waking */

static void waker_begin_awake(Waker *waker) {
        bool first = waker->state != SERVICE_AWAKE;
        char span[SPAN_MAX];
        int r;

        waker->phase = WAKER_AWAKE;
        waker->deadline = sd_event_source_disable_unref(waker->deadline);
        if (first) {
                waker_set_state(waker, SERVICE_AWAKE);
                notify_ready();
                waker->was_ready = true;
                record_service(LOG_INFO, WAKECHAIN_MESSAGE_AWAKE, SERVICE_AWAKE, FAILURE_NONE, "%s awake after %s",
                               waker->service->name, span_to_string(waker_elapsed(waker), span));
        }
        if (waker->service->idle_timeout_usec > 0 && waker->service->idle_timeout_usec != USEC_INFINITY) {
                r = idle_new(&waker->idle, waker->event, waker->service->idle_timeout_usec, waker_is_used,
                             waker_on_idle, waker);
                if (r < 0)
                        log_warning_errno(r, "Failed to watch for idleness, %s stays awake: %m",
                                          waker->service->name);
        }
}

static void waker_on_door(Door *door, int error, void *userdata) {
        Waker *waker = ASSERT_PTR(userdata);

        /* A door that cannot be moved costs the direct way, not the service: the front forwards meanwhile. */
        waker->door_moved = true;
        waker_changed(waker);
}

static void waker_open(Waker *waker) {
        waker->phase = WAKER_OPENING;
        waker->door_moved = false;
        if (waker->door && waker->backend.publisher != BACKEND_NO_MEMBER)
                door_open(waker->door);
        else
                waker->door_moved = true;
        waker_changed(waker);
}

static void waker_on_reached(Probe *probe, ProbeVerdict verdict, const char *detail, void *userdata) {
        Waker *waker = ASSERT_PTR(userdata);

        waker->reach_probe = probe_free(waker->reach_probe);
        if (verdict == PROBE_READY)
                waker_open(waker);
        else
                waker_fail(waker, FAILURE_HEALTH_CHECK_FAILED, "nothing accepts at its backend %s: %s",
                           waker->backend.address, detail);
}

static void waker_reach(Waker *waker) {
        const ContainerInfo *info = NULL;
        int r;

        waker->phase = WAKER_REACHING;
        if (!waker->backend.address) {
                waker_open(waker);
                return;
        }

        waker->reach = (Dependency){
                .name = waker->backend.address,
                .health = { .tcp = waker->backend.address,
                            .interval_usec = USEC_PER_SEC / 4,
                            .budget_usec = USEC_INFINITY },
        };
        for (size_t i = 0; !info && i < waker->service->n_dependencies; i++)
                info = waker_infos(waker)[i];
        r = probe_new(&waker->reach_probe, waker->event, waker->engine, &waker->reach, info, NULL, 0,
                      waker->options.environment, waker_on_reached, waker);
        if (r < 0)
                waker_fail(waker, FAILURE_HEALTH_CHECK_FAILED, "its backend %s cannot be asked: %s",
                           waker->backend.address, strerror(-r));
}

/* One start at a time within a step, so that each has the processor to itself; nobody waits for another's readiness. */
static void waker_start_next(Waker *waker, const PlanStep *step) {
        for (size_t i = 0; i < step->n_members; i++) {
                Container *container = waker->containers[step->members[i]];

                if (!container)
                        continue;
                if (container_is_starting(container))
                        return;
                if (container_phase(container) != CONTAINER_PREPARED)
                        continue;
                container_start(container);
                if (container_is_starting(container))
                        return;
        }
}

static bool waker_step_is_done(const Waker *waker, const PlanStep *step) {
        for (size_t i = 0; i < step->n_members; i++) {
                const Container *container = waker->containers[step->members[i]];
                ContainerPhase phase = container ? container_phase(container) : CONTAINER_READY;

                /* What nobody waits for must still have been started in its turn. */
                if (phase <= CONTAINER_STARTING ||
                    (waker_needs(waker, step->members[i]) && phase != CONTAINER_READY))
                        return false;
        }
        return true;
}

static void waker_go_on_stepping(Waker *waker) {
        while (waker->step < waker->plan->n_steps) {
                const PlanStep *step = &waker->plan->steps[waker->step];

                waker_start_next(waker, step);
                if (!waker_step_is_done(waker, step))
                        return;
                waker->step++;
        }
        waker_reach(waker);
}

static void waker_resolve_backend(Waker *waker) {
        _cleanup_free_ char *text = NULL;
        int r;

        r = backend_resolve(&waker->backend, waker->service, waker_infos(waker), &text);
        if (r == -ENODATA) {
                waker_fail(waker, FAILURE_CONFIG_INVALID, "%s", text);
                return;
        }
        if (r < 0) {
                waker_fail(waker, FAILURE_START_FAILED, "out of memory");
                return;
        }
        waker->backend_resolved = true;
        if (waker->backend.member != BACKEND_NO_MEMBER && waker->containers[waker->backend.member])
                container_set_backend_port(waker->containers[waker->backend.member], waker->backend.port);
        if (waker->door)
                door_set_bindings(waker->door, &waker->backend.bindings);
}

static void waker_refresh_backends(Waker *waker) {
        _cleanup_(strv_freep) char **backends = NULL;

        if (!waker->backend_resolved ||
            backend_addresses(&waker->backend, waker->service, waker_infos(waker), &backends) < 0)
                return;
        strv_free(waker->backends);
        waker->backends = TAKE_PTR(backends);
}

static void waker_tell_begin(Waker *waker) {
        if (waker->taken_over)
                record_service(LOG_NOTICE, WAKECHAIN_MESSAGE_TAKEN_OVER, waker->state, FAILURE_NONE,
                               "%s taken over from a process that was killed", waker->service->name);
        else
                record_service(LOG_INFO, WAKECHAIN_MESSAGE_WAKING, SERVICE_WAKING, FAILURE_NONE,
                               "%s wakes, trigger: %s", waker->service->name,
                               wake_trigger_to_string(waker->trigger));
        for (char **path = waker->service->unsupported; path && *path; path++)
                record_service(LOG_WARNING, WAKECHAIN_MESSAGE_UNSUPPORTED, SERVICE_WAKING, FAILURE_NONE,
                               "%s is not yet supported, ignoring", *path);
}

static bool waker_is_prepared(const Waker *waker) {
        for (size_t i = 0; i < waker->service->n_dependencies; i++)
                if (waker->containers[i] && !container_is_prepared(waker->containers[i]))
                        return false;
        return true;
}

static void waker_go_on_preparing(Waker *waker) {
        if (!waker_is_prepared(waker))
                return;

        waker_tell_begin(waker);
        if (waker->resume_sleep && control_holders(waker->control) == 0) {
                waker_sleep(waker, SLEEP_ASKED);
                return;
        }
        waker_resolve_backend(waker);
        if (waker->phase != WAKER_PREPARING)
                return;
        waker->phase = WAKER_STEPPING;
        waker->step = 0;
        waker_go_on_stepping(waker);
        /* The first container starts: time to load nftables. */
        if (waker->door && waker->phase == WAKER_STEPPING)
                door_prepare(waker->door);
}

static void waker_go_on_opening(Waker *waker) {
        if (waker->door_moved)
                waker_begin_awake(waker);
}

static void waker_go_on_closing(Waker *waker) {
        if (waker->door_moved)
                waker_decide_sleep(waker);
}

/* A needed container that failed ends a wake; one that is lost ends being awake. */
static void waker_check_needed(Waker *waker) {
        for (size_t i = 0; i < waker->service->n_dependencies; i++) {
                const Container *container = waker->containers[i];

                if (!container || !waker_needs(waker, i))
                        continue;
                if (container_phase(container) == CONTAINER_FAILED && waker_is_waking(waker)) {
                        waker_fail(waker, container_reason(container), "%s: %s",
                                   waker->service->dependencies[i].name, strempty(container_error(container)));
                        return;
                }
                if (container_phase(container) == CONTAINER_LOST ||
                    (container_phase(container) == CONTAINER_FAILED && waker->phase == WAKER_AWAKE)) {
                        waker_sleep(waker, SLEEP_LOST);
                        return;
                }
        }
}

static void waker_go_on_awake(Waker *waker) {
}

static void (*const phase_handlers[])(Waker *waker) = {
        [WAKER_PREPARING] = waker_go_on_preparing, [WAKER_STEPPING] = waker_go_on_stepping,
        [WAKER_REACHING] = waker_go_on_awake,      [WAKER_OPENING] = waker_go_on_opening,
        [WAKER_AWAKE] = waker_go_on_awake,         [WAKER_CLOSING] = waker_go_on_closing,
        [WAKER_STOPPING] = waker_go_on_stopping,   [WAKER_ENDED] = waker_go_on_awake,
};

static int waker_on_change(sd_event_source *source, void *userdata) {
        Waker *waker = ASSERT_PTR(userdata);

        if (waker->phase <= WAKER_AWAKE)
                waker_check_needed(waker);
        waker_refresh_backends(waker);
        phase_handlers[waker->phase](waker);
        if (waker->phase != WAKER_ENDED)
                waker_publish(waker);
        return 0;
}

/* What comes from outside */

static void waker_on_control(Control *control, ControlRequest request, WakeTrigger trigger, void *userdata) {
        Waker *waker = ASSERT_PTR(userdata);

        switch (request) {
        case CONTROL_HELD:
                if (waker->phase == WAKER_PREPARING && !waker->taken_over && trigger == TRIGGER_CONNECTION)
                        waker->trigger = trigger;
                if (waker->idle)
                        idle_touch(waker->idle);
                break;
        case CONTROL_RELEASED:
                if (waker->idle)
                        idle_touch(waker->idle);
                break;
        case CONTROL_SLEEP:
                waker_sleep(waker, SLEEP_ASKED);
                break;
        }
        waker_changed(waker);
}

static Container *waker_find_container(Waker *waker, const char *name) {
        for (size_t i = 0; i < waker->service->n_dependencies; i++)
                if (waker->containers[i] && streq(waker->service->dependencies[i].name, name))
                        return waker->containers[i];
        return NULL;
}

static void waker_on_event(Engine *engine, const ContainerEvent *event, bool lost, void *userdata) {
        Waker *waker = ASSERT_PTR(userdata);
        Container *container;

        if (lost) {
                log_debug("The engine's event stream has ended, opening it again.");
                waker->engine_lost = true;
                return;
        }
        if (!event) {
                for (size_t i = 0; waker->engine_lost && i < waker->service->n_dependencies; i++)
                        if (waker->containers[i])
                                container_on_resync(waker->containers[i]);
                waker->engine_lost = false;
                return;
        }
        container = waker_find_container(waker, event->container);
        if (container)
                container_on_event(container, event);
}

static int waker_on_deadline(sd_event_source *source, uint64_t usec, void *userdata) {
        Waker *waker = ASSERT_PTR(userdata);
        char span[SPAN_MAX];

        span_to_string(waker->service->global_timeout_usec, span);
        for (size_t i = 0; i < waker->service->n_dependencies; i++)
                if (waker->containers[i] && container_lacks_engine(waker->containers[i])) {
                        waker_fail(waker, FAILURE_ENGINE_UNAVAILABLE, "the engine at %s did not answer within %s",
                                   waker->config->engine_socket, span);
                        return 0;
                }
        waker_fail(waker, FAILURE_GLOBAL_TIMEOUT, "not ready within its globalTimeout of %s", span);
        return 0;
}

void waker_stop(Waker *waker) {
        waker_sleep(waker, SLEEP_ASKED);
        waker_changed(waker);
}

/* Making one */

static int waker_make_containers(Waker *waker) {
        size_t n = waker->service->n_dependencies;
        int r;

        waker->containers = new0(Container *, n);
        waker->infos = new0(const ContainerInfo *, n);
        if (!waker->containers || !waker->infos)
                return -ENOMEM;

        for (size_t i = 0; i < n; i++) {
                const Dependency *dependency = &waker->service->dependencies[i];

                if (dependency->kind != DEPENDENCY_CONTAINER)
                        continue;
                r = container_new(&waker->containers[i], &waker->context, dependency, waker_on_container, waker);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int waker_make_id(Waker *waker) {
        sd_id128_t id;
        int r;

        r = sd_id128_randomize(&id);
        if (r < 0)
                return r;
        waker->wake_id = malloc(SD_ID128_UUID_STRING_MAX);
        if (!waker->wake_id)
                return -ENOMEM;
        sd_id128_to_string(id, waker->wake_id);
        return 0;
}

static int waker_make_loop(Waker *waker) {
        int r;

        r = sd_event_add_defer(waker->event, &waker->change, waker_on_change, waker);
        if (r < 0)
                return r;
        r = sd_event_source_set_enabled(waker->change, SD_EVENT_OFF);
        if (r < 0)
                return r;
        r = engine_new(&waker->engine, waker->event, waker->config->engine_socket);
        if (r < 0)
                return r;
        if (waker->options.control_fd >= 0)
                r = control_new(&waker->control, waker->event, waker->options.control_fd, waker->service->name,
                                waker_status_json, waker_on_control, waker);
        if (r < 0 || !service_is_redirected(waker->service))
                return r;
        return door_new(&waker->door, waker->event, waker->service, waker->options.root, waker_on_door, waker);
}

int waker_new(Waker **ret, sd_event *event, const Config *config, const Service *service,
              const WakerOptions *options) {
        _cleanup_(waker_freep) Waker *waker = NULL;
        int r;

        assert(ret);
        assert(service);

        waker = malloc(sizeof(*waker));
        if (!waker)
                return -ENOMEM;
        *waker = (Waker){
                .event = event,
                .config = config,
                .service = service,
                .options = *options,
                .backend = { .member = BACKEND_NO_MEMBER, .publisher = BACKEND_NO_MEMBER },
                .trigger = TRIGGER_MANUAL,
                .state = SERVICE_WAKING,
                .begin_usec = time_now(CLOCK_MONOTONIC),
                .since_usec = time_now(CLOCK_REALTIME),
        };

        r = plan_new(&waker->plan, service);
        if (r >= 0)
                r = waker_make_id(waker);
        if (r >= 0)
                r = waker_make_loop(waker);
        if (r < 0)
                return r;
        waker->context = (ContainerContext){
                .event = event,
                .engine = waker->engine,
                .service = service,
                .wake_id = waker->wake_id,
                .environment = options->environment,
                .root = options->root,
        };
        r = waker_make_containers(waker);
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
        probe_free(waker->reach_probe);
        idle_free(waker->idle);
        door_free(waker->door);
        control_free(waker->control);
        for (size_t i = 0; waker->containers && i < waker->service->n_dependencies; i++)
                container_free(waker->containers[i]);
        free(waker->containers);
        free(waker->infos);
        engine_free(waker->engine);
        plan_free(waker->plan);
        backend_done(&waker->backend);
        strv_free(waker->backends);
        free(waker->wake_id);
        free(waker->error);
        return mfree(waker);
}

/* Whoever is left with locks in the store was killed: the wake that it was in goes on under its own name. */
static void waker_take_over(Waker *waker) {
        _cleanup_(status_freep) Status *status = NULL;

        waker->taken_over = true;
        if (report_read(&status, waker->service->name, waker->options.root) < 0)
                return;
        waker->trigger = status->trigger;
        waker->resume_sleep = status->state == SERVICE_STOPPING || status->state == SERVICE_FAILED;
        if (status->wake_id && strlen(status->wake_id) < SD_ID128_UUID_STRING_MAX)
                strcpy(waker->wake_id, status->wake_id);
}

void waker_adopt_descriptor(Waker *waker, const char *name, int fd) {
        const char *container = lease_fdname_container(name);
        Container *owner = container ? waker_find_container(waker, container) : NULL;

        if (!owner || container_adopt_lease(owner, fd) < 0) {
                log_debug("Nothing is known of the stored descriptor '%s', closing it.", name);
                notify_forget(name);
                (void) fd_close(fd);
                return;
        }
        if (!waker->taken_over)
                waker_take_over(waker);
}

static bool waker_has_unsupported_dependency(const Waker *waker, const char **ret_name) {
        for (size_t i = 0; i < waker->service->n_dependencies; i++)
                if (!waker->containers[i] && waker_needs(waker, i)) {
                        *ret_name = waker->service->dependencies[i].name;
                        return true;
                }
        return false;
}

int waker_run(Waker *waker) {
        _cleanup_(strv_freep) char **names = NULL;
        const char *unsupported;
        int r = 0;

        record_begin(waker->service->name, waker->wake_id);
        if (waker->control)
                control_accept_pending(waker->control);

        for (size_t i = 0; r >= 0 && i < waker->service->n_dependencies; i++)
                if (waker->containers[i])
                        r = strv_append(&names, waker->service->dependencies[i].name);
        /* Listening comes before looking, so that nothing happens unseen in between. */
        if (r >= 0)
                r = engine_watch(waker->engine, names, waker_on_event, waker);
        if (r >= 0 && waker->service->global_timeout_usec != USEC_INFINITY)
                r = sd_event_add_time_relative(waker->event, &waker->deadline, CLOCK_MONOTONIC,
                                               waker->service->global_timeout_usec, 0, waker_on_deadline, waker);
        if (r < 0)
                return r;

        for (size_t i = 0; i < waker->service->n_dependencies; i++)
                if (waker->containers[i])
                        container_prepare(waker->containers[i]);
        if (waker_has_unsupported_dependency(waker, &unsupported))
                waker_fail(waker, FAILURE_CONFIG_INVALID,
                           "'%s' is a required dependency of a kind that is not yet supported", unsupported);
        waker_changed(waker);
        return 0;
}
