#include <stdio.h>

#include "model/wake-pause.h"
#include "util/json-members.h"
#include "web/describe.h"

/* Describe: objects are put together member by member, and printed twice: without the time left, to know whether there is news, and
 * with it. */

void telling_done(Telling *text) {
        free(text->key);
        free(text->text);
        free(text->nameless);
        *text = (Telling){};
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
        ret->text = described_add_times_left(object, remaining_usec, late_in_usec) ? print(object, cut) : NULL;
        ret->nameless = described_add_times_left(nameless, remaining_usec, late_in_usec) ? print(nameless, 0)
                                                                                         : NULL;
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
                    described_add_reason(object, nameless ? FAILURE_NONE : status->reason) &&
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
                    described_add_reason(object, nameless ? FAILURE_NONE : dependency->reason) &&
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

int describe_service(const Described *described, const Service *service, const Status *status, Telling *ret) {
        return tell(ret, described_to_json(described, service, status), NULL, status_remaining(status),
                    status_late_in(status), /* cut= */ 1);
}
