#include <inttypes.h>

#include "wake/waker-internal.h"

/* Waker, telling: one description of what is, for the status file, for holders and for systemd alike. */

const ContainerInfo *const *waker_infos(Waker *waker) {
        for (size_t i = 0; i < waker->service->n_dependencies; i++)
                waker->infos[i] =
                                member_is_container(waker->members[i]) ? container_info(waker->members[i]) : NULL;
        return waker->infos;
}

/* Does the wake wait for it? The container that clients are forwarded to counts, whatever its type. */
bool waker_needs(const Waker *waker, size_t member) {
        return waker->service->dependencies[member].type == DEPENDENCY_REQUIRED || waker->backend.member == member;
}

bool waker_is_waking(const Waker *waker) {
        return waker->phase <= WAKER_OPENING || waker->phase == WAKER_RECOVERING;
}

uint64_t waker_elapsed(const Waker *waker) {
        return usec_sub(time_now(CLOCK_MONOTONIC), waker->begin_usec);
}

static int waker_describe_dependencies(const Waker *waker, Status *status) {
        const Service *service = waker->service;
        int r;

        status->dependencies = new0(DependencyStatus, service->n_dependencies);
        if (!status->dependencies)
                return -ENOMEM;

        for (size_t i = 0; i < waker->plan->n_members; i++) {
                const PlanMember *planned = &waker->plan->members[i];
                DependencyStatus *dependency = &status->dependencies[status->n_dependencies];

                r = member_describe(waker->members[planned->index], waker->begin_usec, dependency);
                if (r < 0)
                        return r;
                dependency->step = planned->step;
                dependency->estimate_usec = service->dependencies[planned->index].estimated_usec;
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

json_object *waker_status_json(void *userdata) {
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

void waker_publish(Waker *waker) {
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

void waker_set_state(Waker *waker, ServiceState state) {
        waker->state = state;
        waker->since_usec = time_now(CLOCK_REALTIME);
        waker_publish(waker);
}

/* Something has changed: look at it when the current event has been dealt with. */
void waker_changed(Waker *waker) {
        (void) sd_event_source_set_enabled(waker->change, SD_EVENT_ONESHOT);
}
