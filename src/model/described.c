#include <stdio.h>

#include "model/described.h"
#include "util/json-members.h"

/* Described: objects are put together member by member; what a status does not say yet comes from the plan. */

#define PERCENT_BUSY_MAX 99U

int status_add_planned(Status *status, const Service *service, const Plan *plan) {
        if (status->n_dependencies > 0 || plan->n_members == 0)
                return 0;
        status->dependencies = new0(DependencyStatus, plan->n_members);
        if (!status->dependencies)
                return -ENOMEM;
        for (size_t i = 0; i < plan->n_members; i++) {
                const Dependency *dependency = &service->dependencies[plan->members[i].index];

                status->dependencies[i] = (DependencyStatus){
                        .container = strdup(dependency->name),
                        .required = dependency->type == DEPENDENCY_REQUIRED,
                        .step = plan->members[i].step,
                        .estimate_usec = dependency->estimated_usec,
                };
                if (!status->dependencies[i].container)
                        return -ENOMEM;
                status->n_dependencies++;
        }
        if (status->estimate_usec == 0)
                status->estimate_usec = plan->estimate_usec;
        return 0;
}

int status_new_planned(Status **ret, const Service *service, const Plan *plan) {
        _cleanup_(status_freep) Status *status = new0(Status, 1);
        int r;

        if (!status)
                return -ENOMEM;
        *status = (Status){ .service = strdup(service->name),
                            .state = SERVICE_ASLEEP,
                            .trigger = _TRIGGER_INVALID };
        r = status->service ? status_add_planned(status, service, plan) : -ENOMEM;
        if (r >= 0)
                *ret = TAKE_PTR(status);
        return r;
}

void described_done(Described *described) {
        free(described->parts);
        *described = (Described){};
}

void described_begin(Described *described) {
        described->percent = 0;
        for (size_t i = 0; i < described->n_parts; i++)
                described->parts[i] = 0;
}

int described_update(Described *described, const Status *status) {
        /* After a failure it stays where it got to. */
        bool keep = status->state == SERVICE_WAKING || status->state == SERVICE_FAILED;
        unsigned now = progress_percent(status_progress(status));

        if (described->n_parts != status->n_dependencies) {
                unsigned *parts = new0(unsigned, status->n_dependencies + 1);

                if (!parts)
                        return -ENOMEM;
                free(described->parts);
                described->parts = parts;
                described->n_parts = status->n_dependencies;
        }
        /* What was ready and is being brought back is not any more. */
        described->percent = keep ? MAX(now, MIN(described->percent, PERCENT_BUSY_MAX)) : now;
        for (size_t i = 0; i < status->n_dependencies; i++) {
                const DependencyStatus *dependency = &status->dependencies[i];

                now = progress_percent(dependency_status_progress(dependency, status->elapsed_usec));
                described->parts[i] = keep ? MAX(now, MIN(described->parts[i], PERCENT_BUSY_MAX)) : now;
        }
        return 0;
}

/* A reason that we do not know is a newer waker's: there is one, and that is all. */
bool described_add_reason(json_object *object, FailureReason reason) {
        return json_add_text(object, "reason", reason > FAILURE_NONE ? failure_reason_to_string(reason) : NULL);
}

bool described_add_times_left(json_object *object, uint64_t remaining_usec, uint64_t late_in_usec) {
        return json_add_number(object, "remainingMs", remaining_usec / USEC_PER_MSEC) &&
               json_add_number(object, "lateInMs", late_in_usec / USEC_PER_MSEC);
}

/* A share, as in the status file. */
static bool add_share(json_object *object, unsigned percents) {
        char text[16];

        (void) snprintf(text, sizeof(text), "%u.%02u", percents / 100, percents % 100);
        return json_add(object, "progress", json_object_new_double_s(percents / 100.0, text));
}

static DependencyKind kind_of(const Service *service, const char *name) {
        for (size_t i = 0; i < service->n_dependencies; i++)
                if (streq(service->dependencies[i].name, name))
                        return service->dependencies[i].kind;
        return DEPENDENCY_CONTAINER;
}

static json_object *dependency_new(const Described *described, const Service *service, const Status *status,
                                   size_t i) {
        const DependencyStatus *dependency = &status->dependencies[i];
        DependencyKind kind = kind_of(service, dependency->container);
        json_object *object = json_object_new_object();

        bool fine = json_add_text(object, "container", dependency->container) &&
                    json_add_text(object, "kind", dependency_kind_to_string(kind)) &&
                    json_add_text(object, "type", dependency->required ? "required" : "optional") &&
                    json_add_number(object, "step", dependency->step) &&
                    json_add_text(object, "state", dependency_state_to_string(dependency->state)) &&
                    add_share(object, described->parts[i]) && dependency_status_add_times(dependency, object) &&
                    described_add_reason(object, dependency->reason) &&
                    json_add_text(object, "error", dependency->error);

        return json_built(object, fine);
}

json_object *described_to_json(const Described *described, const Service *service, const Status *status) {
        const char *mode = service_is_redirected(service) ? "redirect" : service->listen ? "proxy" : "none";
        json_object *object = json_object_new_object(), *parts = json_object_new_array();
        char since[TIMESTAMP_MAX];
        bool fine = parts;

        for (size_t i = 0; fine && i < status->n_dependencies; i++)
                fine = json_append(parts, dependency_new(described, service, status, i));
        fine = fine && json_add_text(object, "name", service->name) &&
               json_add_text(object, "title", service_title(service)) &&
               json_add_number(object, "port", service->port) && json_add_text(object, "mode", mode) &&
               json_add_text(object, "state", service_state_to_string(status->state)) &&
               json_add_text(object, "since",
                             status->since_usec > 0 ? timestamp_to_string(status->since_usec, since) : NULL) &&
               json_add_text(object, "trigger", status_trigger(status)) &&
               json_add_text(object, "wakeId", isempty(status->wake_id) ? NULL : status->wake_id) &&
               add_share(object, described->percent) &&
               json_add_number(object, "estimateMs", status->estimate_usec / USEC_PER_MSEC) &&
               json_add_number(object, "holders", status->holders) &&
               described_add_reason(object, status->reason) && json_add_text(object, "error", status->error) &&
               json_add_text(object, "busy", status->busy);
        fine = json_add(object, "dependencies", parts) && fine;
        return json_built(object, fine);
}
