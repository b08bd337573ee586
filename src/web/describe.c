#include <json-c/json.h>
#include <stdio.h>

#include "web/describe.h"

/* Describe: objects are put together member by member, and printed twice: without the time left, to know whether there is news, and
 * with it. */

#define PERCENT_BUSY_MAX 99U

DEFINE_CLEANUP(json_object *, json_object_put);

void text_done(Text *text) {
        free(text->key);
        free(text->text);
        free(text->nameless);
        *text = (Text){};
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

static unsigned percent(double share) {
        return share >= 1.0 ? 100 : MIN((unsigned) (MAX(share, 0.0) * 100.0), PERCENT_BUSY_MAX);
}

int described_update(Described *described, const Status *status) {
        /* After a failure it stays where it got to. */
        bool keep = status->state == SERVICE_WAKING || status->state == SERVICE_FAILED;
        unsigned now = percent(status_progress(status));

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

                now = percent(dependency_status_progress(dependency, status->elapsed_usec));
                described->parts[i] = keep ? MAX(now, MIN(described->parts[i], PERCENT_BUSY_MAX)) : now;
        }
        return 0;
}

/* Adds a member; takes the value. `failed` is set when there was no memory, and looked at once, at the end. */
static void add(json_object *object, const char *key, json_object *value, bool *failed) {
        if (!value || json_object_object_add(object, key, value) < 0) {
                json_object_put(value);
                *failed = true;
        }
}

static void add_string(json_object *object, const char *key, const char *text, bool *failed) {
        if (text)
                add(object, key, json_object_new_string(text), failed);
        else if (json_object_object_add(object, key, NULL) < 0)
                *failed = true;
}

static void add_number(json_object *object, const char *key, uint64_t number, bool *failed) {
        add(object, key, json_object_new_int64((int64_t) MIN(number, (uint64_t) INT64_MAX)), failed);
}

static void add_msec(json_object *object, const char *key, uint64_t usec, bool *failed) {
        add_number(object, key, usec / USEC_PER_MSEC, failed);
}

/* In /api/services a share, as in the status file; in events percents. */
static void add_share(json_object *object, unsigned percents, bool *failed) {
        char text[16];

        (void) snprintf(text, sizeof(text), "%u.%02u", percents / 100, percents % 100);
        add(object, "progress", json_object_new_double_s(percents / 100.0, text), failed);
}

/* A moment within a wake: null until it has come. */
static void add_moment(json_object *object, const char *key, uint64_t usec, bool *failed) {
        if (usec > 0)
                add_msec(object, key, MAX(usec, USEC_PER_MSEC), failed);
        else
                add_string(object, key, NULL, failed);
}

/* A reason that we do not know is a newer waker's: there is one, and that is all. */
static void add_reason(json_object *object, FailureReason reason, bool *failed) {
        add_string(object, "reason", reason > FAILURE_NONE ? failure_reason_to_string(reason) : NULL, failed);
}

/* A copy of the text, without what follows it. */
static char *print(json_object *object, size_t cut) {
        size_t size;
        const char *text =
                        json_object_to_json_string_length(object,
                                                          JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE,
                                                          &size);

        return text && size >= cut ? strndup(text, size - cut) : NULL;
}

/* Prints the object without the time left, then with it. */
static int print_text(json_object *object, uint64_t remaining_usec, size_t cut, Text *ret) {
        bool failed = false;

        ret->key = print(object, 0);
        add_msec(object, "remainingMs", remaining_usec, &failed);
        ret->text = failed ? NULL : print(object, cut);
        return ret->key && ret->text ? 0 : -ENOMEM;
}

static json_object *service_update_new(const Described *described, const Status *status, bool nameless) {
        _cleanup_(json_object_putp) json_object *object = json_object_new_object();
        bool failed = !object;

        if (!object)
                return NULL;
        add_string(object, "service", status->service, &failed);
        add_string(object, "state", service_state_to_string(status->state), &failed);
        add_number(object, "progress", described->percent, &failed);
        add_msec(object, "estimateMs", status->estimate_usec, &failed);
        add_reason(object, nameless ? FAILURE_NONE : status->reason, &failed);
        add_string(object, "message", nameless ? NULL : status->error, &failed);
        /* Who tries again is served at once, or told the same once more: the front decides. */
        add_number(object, "retryAfterMs", 0, &failed);
        return failed ? NULL : TAKE_PTR(object);
}

int describe_service_update(const Described *described, const Status *status, Text *ret) {
        _cleanup_(json_object_putp) json_object *object = service_update_new(described, status, false);
        _cleanup_(json_object_putp) json_object *nameless = service_update_new(described, status, true);
        uint64_t remaining_usec = status_remaining(status);
        bool failed = false;

        if (!object || !nameless)
                return -ENOMEM;
        add_msec(nameless, "remainingMs", remaining_usec, &failed);
        ret->nameless = failed ? NULL : print(nameless, 0);
        return ret->nameless ? print_text(object, remaining_usec, 0, ret) : -ENOMEM;
}

/* As events tell states: who waits need not know that checking is no longer starting. */
static const char *const event_states[_DEPENDENCY_STATE_MAX] = {
        [DEPENDENCY_PENDING] = "pending", [DEPENDENCY_STARTING] = "starting", [DEPENDENCY_CHECKING] = "starting",
        [DEPENDENCY_READY] = "ready",     [DEPENDENCY_FAILED] = "error",      [DEPENDENCY_STOPPED] = "pending",
};

static bool is_running(const DependencyStatus *dependency) {
        return dependency->state == DEPENDENCY_STARTING || dependency->state == DEPENDENCY_CHECKING;
}

static uint64_t dependency_remaining(const DependencyStatus *dependency, const Status *status) {
        double share = dependency_status_progress(dependency, status->elapsed_usec);

        if (dependency->state != DEPENDENCY_PENDING && !is_running(dependency))
                return 0;
        return (uint64_t) ((1.0 - share) * (double) dependency->estimate_usec);
}

static void add_dependency_times(json_object *object, const DependencyStatus *dependency, bool *failed) {
        add_moment(object, "startedMs", dependency->started_usec, failed);
        add_moment(object, "checkingMs", dependency->checking_usec, failed);
        add_moment(object, "readyMs", dependency->ready_usec, failed);
        add_msec(object, "estimateMs", dependency->estimate_usec, failed);
}

static json_object *dependency_update_new(const Described *described, const Status *status, size_t i,
                                          bool nameless) {
        const DependencyStatus *dependency = &status->dependencies[i];
        _cleanup_(json_object_putp) json_object *object = json_object_new_object();
        char number[24];
        bool failed = false;

        if (!object)
                return NULL;
        (void) snprintf(number, sizeof(number), "%zu", i + 1);
        add_string(object, "container", nameless ? number : dependency->container, &failed);
        add_string(object, "status", event_states[dependency->state], &failed);
        add_number(object, "progress", described->parts[i], &failed);
        add_string(object, "type", dependency->required ? "required" : "optional", &failed);
        add_number(object, "step", dependency->step, &failed);
        add_dependency_times(object, dependency, &failed);
        add_reason(object, nameless ? FAILURE_NONE : dependency->reason, &failed);
        add_string(object, "message", nameless ? NULL : dependency->error, &failed);
        return failed ? NULL : TAKE_PTR(object);
}

int describe_dependency_update(const Described *described, const Status *status, size_t i, Text *ret) {
        _cleanup_(json_object_putp) json_object *object = NULL, *nameless = NULL;
        uint64_t remaining_usec;
        bool failed = false;

        assert(i < status->n_dependencies && i < described->n_parts);

        remaining_usec = dependency_remaining(&status->dependencies[i], status);
        object = dependency_update_new(described, status, i, false);
        nameless = dependency_update_new(described, status, i, true);
        if (!object || !nameless)
                return -ENOMEM;
        add_msec(nameless, "remainingMs", remaining_usec, &failed);
        ret->nameless = failed ? NULL : print(nameless, 0);
        return ret->nameless ? print_text(object, remaining_usec, 0, ret) : -ENOMEM;
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
        _cleanup_(json_object_putp) json_object *object = json_object_new_object();
        bool failed = false;

        if (!object)
                return NULL;
        add_string(object, "container", dependency->container, &failed);
        add_string(object, "kind", dependency_kind_to_string(kind_of(service, dependency->container)), &failed);
        add_string(object, "type", dependency->required ? "required" : "optional", &failed);
        add_number(object, "step", dependency->step, &failed);
        add_string(object, "state", dependency_state_to_string(dependency->state), &failed);
        add_share(object, described->parts[i], &failed);
        add_dependency_times(object, dependency, &failed);
        add_reason(object, dependency->reason, &failed);
        add_string(object, "error", dependency->error, &failed);
        return failed ? NULL : TAKE_PTR(object);
}

static const char *mode_of(const Service *service) {
        return service_is_redirected(service) ? "redirect" : service->listen ? "proxy" : "none";
}

int describe_service(const Described *described, const Service *service, const Status *status, Text *ret) {
        _cleanup_(json_object_putp) json_object *object = json_object_new_object(),
                                                *parts = json_object_new_array();
        bool known = status->trigger >= 0 && status->trigger < _TRIGGER_MAX, failed = false;
        char since[TIMESTAMP_MAX];

        if (!object || !parts)
                return -ENOMEM;
        for (size_t i = 0; i < status->n_dependencies; i++) {
                json_object *part = dependency_new(described, service, status, i);

                if (!part || json_object_array_add(parts, part) < 0) {
                        json_object_put(part);
                        return -ENOMEM;
                }
        }
        add_string(object, "name", service->name, &failed);
        add_string(object, "title", isempty(service->page_title) ? service->name : service->page_title, &failed);
        add_number(object, "port", service->port, &failed);
        add_string(object, "mode", mode_of(service), &failed);
        add_string(object, "state", service_state_to_string(status->state), &failed);
        add_string(object, "since", status->since_usec > 0 ? timestamp_to_string(status->since_usec, since) : NULL,
                   &failed);
        add_string(object, "trigger", known ? wake_trigger_to_string(status->trigger) : NULL, &failed);
        add_string(object, "wakeId", isempty(status->wake_id) ? NULL : status->wake_id, &failed);
        add_share(object, described->percent, &failed);
        add_msec(object, "estimateMs", status->estimate_usec, &failed);
        add_number(object, "holders", status->holders, &failed);
        add_reason(object, status->reason, &failed);
        add_string(object, "error", status->error, &failed);
        add(object, "dependencies", TAKE_PTR(parts), &failed);
        return failed ? -ENOMEM : print_text(object, status_remaining(status), /* cut= */ 1, ret);
}
