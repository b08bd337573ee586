#include <stdio.h>

#include "model/wake-pause.h"
#include "util/json-members.h"
#include "web/describe.h"

/* Describe: objects are put together member by member, and printed twice: without the time left, to know whether there is news, and
 * with it. */

#define PERCENT_BUSY_MAX 99U

void telling_done(Telling *text) {
        free(text->key);
        free(text->text);
        free(text->nameless);
        *text = (Telling){};
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
static bool add_reason(json_object *object, FailureReason reason) {
        return json_add_text(object, "reason", reason > FAILURE_NONE ? failure_reason_to_string(reason) : NULL);
}

/* In /api/services a share, as in the status file; in events percents. */
static bool add_share(json_object *object, unsigned percents) {
        char text[16];

        (void) snprintf(text, sizeof(text), "%u.%02u", percents / 100, percents % 100);
        return json_add(object, "progress", json_object_new_double_s(percents / 100.0, text));
}

static bool add_times_left(json_object *object, uint64_t remaining_usec, uint64_t late_in_usec) {
        return json_add_number(object, "remainingMs", remaining_usec / USEC_PER_MSEC) &&
               json_add_number(object, "lateInMs", late_in_usec / USEC_PER_MSEC);
}

/* A copy of the text, without what follows it. */
static char *print(json_object *object, size_t cut) {
        size_t size;
        const char *text = json_print(object, &size);

        return text && size >= cut ? strndup(text, size - cut) : NULL;
}

/* Takes the objects, NULL for want of memory, and prints the first without the times left, then both with them. What is cut, the object of
 * the API, is never told without names. */
static int tell(Telling *ret, json_object *taken, json_object *taken_nameless, uint64_t remaining_usec,
                uint64_t late_in_usec, size_t cut) {
        _cleanup_(json_freep) json_object *object = taken, *nameless = taken_nameless;

        ret->key = object ? print(object, 0) : NULL;
        ret->text = add_times_left(object, remaining_usec, late_in_usec) ? print(object, cut) : NULL;
        ret->nameless = add_times_left(nameless, remaining_usec, late_in_usec) ? print(nameless, 0) : NULL;
        return ret->key && ret->text && (ret->nameless || cut > 0) ? 0 : -ENOMEM;
}

static json_object *service_update_new(const Described *described, const Status *status, bool nameless) {
        /* For who has seen the page. After more failures the front waits for longer, which it says to the next page. */
        uint64_t retry_after_usec = status->state == SERVICE_FAILED ? WAKE_PAUSE_SHOWN_USEC : 0;
        json_object *object = json_object_new_object();

        bool fine = json_add_text(object, "service", status->service) &&
                    json_add_text(object, "state", service_state_to_string(status->state)) &&
                    json_add_number(object, "progress", described->percent) &&
                    json_add_number(object, "estimateMs", status->estimate_usec / USEC_PER_MSEC) &&
                    add_reason(object, nameless ? FAILURE_NONE : status->reason) &&
                    json_add_text(object, "message", nameless ? NULL : status->error) &&
                    json_add_number(object, "retryAfterMs", retry_after_usec / USEC_PER_MSEC);

        return json_built(object, fine);
}

int describe_service_update(const Described *described, const Status *status, Telling *ret) {
        return tell(ret, service_update_new(described, status, false), service_update_new(described, status, true),
                    status_remaining(status), status_late_in(status), 0);
}

/* As events tell states: who waits need not know that checking is no longer starting. */
static const char *const event_states[_DEPENDENCY_STATE_MAX] = {
        [DEPENDENCY_PENDING] = "pending", [DEPENDENCY_STARTING] = "starting", [DEPENDENCY_CHECKING] = "starting",
        [DEPENDENCY_READY] = "ready",     [DEPENDENCY_FAILED] = "error",      [DEPENDENCY_STOPPED] = "pending",
};

static json_object *dependency_update_new(const Described *described, const Status *status, size_t i,
                                          bool nameless) {
        const DependencyStatus *dependency = &status->dependencies[i];
        json_object *object = json_object_new_object();
        char number[24];

        (void) snprintf(number, sizeof(number), "%zu", i + 1);
        bool fine = json_add_text(object, "container", nameless ? number : dependency->container) &&
                    json_add_text(object, "status", event_states[dependency->state]) &&
                    json_add_number(object, "progress", described->parts[i]) &&
                    json_add_text(object, "type", dependency->required ? "required" : "optional") &&
                    json_add_number(object, "step", dependency->step) &&
                    dependency_status_add_times(dependency, object) &&
                    add_reason(object, nameless ? FAILURE_NONE : dependency->reason) &&
                    json_add_text(object, "message", nameless ? NULL : dependency->error);

        return json_built(object, fine);
}

int describe_dependency_update(const Described *described, const Status *status, size_t i, Telling *ret) {
        const DependencyStatus *dependency = &status->dependencies[i];

        assert(i < status->n_dependencies && i < described->n_parts);

        return tell(ret, dependency_update_new(described, status, i, false),
                    dependency_update_new(described, status, i, true),
                    dependency_status_remaining(dependency, status->elapsed_usec),
                    dependency_status_late_in(dependency, status->elapsed_usec), 0);
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
                    add_reason(object, dependency->reason) && json_add_text(object, "error", dependency->error);

        return json_built(object, fine);
}

int describe_service(const Described *described, const Service *service, const Status *status, Telling *ret) {
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
               json_add_number(object, "holders", status->holders) && add_reason(object, status->reason) &&
               json_add_text(object, "error", status->error) && json_add_text(object, "busy", status->busy);
        fine = json_add(object, "dependencies", parts) && fine;
        return tell(ret, json_built(object, fine), NULL, status_remaining(status), status_late_in(status),
                    /* cut= */ 1);
}
