#include <stdio.h>

#include "model/status.h"
#include "util/json-members.h"
#include "util/names.h"

/* Status: the object of the status file and the control socket, written and read back by tables.
 *
 * Progress is a matter of time only: of one dependency, the time since its start against its estimate; of the
 * whole, the time that has passed against that and what is still to come. A dependency that takes longer than
 * estimated creeps towards the end and never reaches it, so nothing runs backwards and nothing is done before it
 * is. */

#define BACKENDS_MAX 64
#define DEPENDENCIES_MAX 1024
#define PORTS_MAX 1024
#define PROGRESS_MAX 0.99
/* Where progress leaves the straight line: from here on half of what is missing is gained in ever longer times. */
#define PROGRESS_KNEE 0.8

static const char *const service_state_names[_SERVICE_STATE_MAX] = {
        [SERVICE_ASLEEP] = "asleep",     [SERVICE_WAKING] = "waking", [SERVICE_AWAKE] = "awake",
        [SERVICE_STOPPING] = "stopping", [SERVICE_FAILED] = "failed",
};

static const char *const dependency_state_names[_DEPENDENCY_STATE_MAX] = {
        [DEPENDENCY_PENDING] = "pending", [DEPENDENCY_STARTING] = "starting", [DEPENDENCY_CHECKING] = "checking",
        [DEPENDENCY_READY] = "ready",     [DEPENDENCY_FAILED] = "failed",     [DEPENDENCY_STOPPED] = "stopped",
};

static const char *const trigger_names[_TRIGGER_MAX] = {
        [TRIGGER_CONNECTION] = "connection", [TRIGGER_MANUAL] = "manual", [TRIGGER_SCHEDULE] = "schedule",
        [TRIGGER_PREWARM] = "prewarm",       [TRIGGER_API] = "api",       [TRIGGER_OUTSIDE] = "outside",
};

static const char *const reason_names[_FAILURE_MAX] = {
        [FAILURE_NONE] = "none",
        [FAILURE_HEALTH_CHECK_FAILED] = "health_check_failed",
        [FAILURE_START_FAILED] = "start_failed",
        [FAILURE_CONTAINER_EXITED] = "container_exited",
        [FAILURE_NOT_FOUND] = "not_found",
        [FAILURE_IMAGE_MISSING] = "image_missing",
        [FAILURE_PORT_CONFLICT] = "port_conflict",
        [FAILURE_NETWORK_MISSING] = "network_missing",
        [FAILURE_ENGINE_UNAVAILABLE] = "engine_unavailable",
        [FAILURE_GLOBAL_TIMEOUT] = "global_timeout",
        [FAILURE_DEPENDENCY_CYCLE] = "dependency_cycle",
        [FAILURE_CONFIG_INVALID] = "config_invalid",
};

DEFINE_NAMES(service_state, ServiceState, service_state_names);
DEFINE_NAMES(dependency_state, DependencyState, dependency_state_names);
DEFINE_NAMES(wake_trigger, WakeTrigger, trigger_names);
DEFINE_NAMES(failure_reason, FailureReason, reason_names);

Status *status_free(Status *status) {
        if (!status)
                return NULL;

        for (size_t i = 0; i < status->n_dependencies; i++) {
                free(status->dependencies[i].container);
                free(status->dependencies[i].error);
        }
        free(status->dependencies);
        for (size_t i = 0; i < status->n_ports; i++) {
                free(status->ports[i].address);
                strv_free(status->ports[i].backends);
        }
        free(status->ports);
        for (size_t i = 0; i < status->n_names; i++) {
                free(status->names[i].address);
                strv_free(status->names[i].backends);
        }
        free(status->names);
        free(status->service);
        free(status->wake_id);
        free(status->error);
        free(status->busy);
        strv_free(status->backends);
        return mfree(status);
}

static bool dependency_is_running(const DependencyStatus *dependency) {
        return dependency->state == DEPENDENCY_STARTING || dependency->state == DEPENDENCY_CHECKING;
}

double dependency_status_progress(const DependencyStatus *dependency, uint64_t elapsed_usec) {
        const double rest = 1.0 - PROGRESS_KNEE;
        double share;

        if (dependency->state == DEPENDENCY_READY)
                return 1.0;
        if (!dependency_is_running(dependency))
                return 0.0;

        share = (double) usec_sub(elapsed_usec, dependency->started_usec) /
                (double) MAX(dependency->estimate_usec, 1U);
        if (share > PROGRESS_KNEE)
                share = 1.0 - rest * rest / (rest + (share - PROGRESS_KNEE));
        return MIN(share, PROGRESS_MAX);
}

uint64_t dependency_status_remaining(const DependencyStatus *dependency, uint64_t elapsed_usec) {
        double left;

        if (dependency->state != DEPENDENCY_PENDING && !dependency_is_running(dependency))
                return 0;
        left = 1.0 - dependency_status_progress(dependency, elapsed_usec);
        return (uint64_t) (left * (double) dependency->estimate_usec);
}

uint64_t status_remaining(const Status *status) {
        uint64_t total = 0;

        if (status->state != SERVICE_WAKING)
                return 0;
        if (status->n_dependencies == 0)
                return usec_sub(status->estimate_usec, status->elapsed_usec);

        /* The longest member of each step. Dependencies are few and their steps in no order: the first of a step
         * looks for the others. */
        for (size_t i = 0; i < status->n_dependencies; i++) {
                unsigned step = status->dependencies[i].step;
                uint64_t longest = 0;
                bool seen = false;

                for (size_t j = 0; j < i && !seen; j++)
                        seen = status->dependencies[j].step == step;
                for (size_t j = i; j < status->n_dependencies && !seen; j++)
                        if (status->dependencies[j].step == step)
                                longest = MAX(longest, dependency_status_remaining(&status->dependencies[j],
                                                                                   status->elapsed_usec));
                total = usec_add(total, longest);
        }
        return total;
}

double status_progress(const Status *status) {
        uint64_t remaining;

        if (status->state == SERVICE_AWAKE)
                return 1.0;
        if (status->state != SERVICE_WAKING || status->elapsed_usec == 0)
                return 0.0;
        remaining = status_remaining(status);
        return MIN((double) status->elapsed_usec / ((double) status->elapsed_usec + (double) remaining),
                   PROGRESS_MAX);
}

/* A quarter more than the estimate is nothing that a visitor need know of. */
static uint64_t late_after(uint64_t estimate_usec) {
        return estimate_usec > 0 ? usec_add(estimate_usec, estimate_usec / 4) : USEC_INFINITY;
}

uint64_t dependency_status_late_in(const DependencyStatus *dependency, uint64_t elapsed_usec) {
        return usec_sub(usec_add(dependency->started_usec, late_after(dependency->estimate_usec)), elapsed_usec);
}

uint64_t status_late_in(const Status *status) {
        return usec_sub(late_after(status->estimate_usec), status->elapsed_usec);
}

unsigned progress_percent(double share) {
        return share >= 1.0 ? 100 : MIN((unsigned) (MAX(share, 0.0) * 100.0), 99U);
}

/* Three digits: 0.42, not 0.41999999999999998. */
static bool add_share(json_object *object, double share) {
        char text[16];

        (void) snprintf(text, sizeof(text), "%.3f", share);
        return json_add(object, "progress", json_object_new_double_s(share, text));
}

/* A moment within a wake: null until it has come. */
static bool add_moment(json_object *object, const char *name, uint64_t usec) {
        return usec > 0 ? json_add_number(object, name, MAX(usec / USEC_PER_MSEC, 1U))
                        : json_add_null(object, name);
}

bool dependency_status_add_times(const DependencyStatus *dependency, json_object *object) {
        return add_moment(object, "startedMs", dependency->started_usec) &&
               add_moment(object, "checkingMs", dependency->checking_usec) &&
               add_moment(object, "readyMs", dependency->ready_usec) &&
               json_add_number(object, "estimateMs", dependency->estimate_usec / USEC_PER_MSEC);
}

/* Without a reason there is no member for it. */
static bool add_failure(json_object *object, FailureReason reason, const char *error) {
        return (reason <= FAILURE_NONE || json_add_text(object, "reason", failure_reason_to_string(reason))) &&
               json_add_text(object, "error", error);
}

static json_object *dependency_to_json(const DependencyStatus *dependency, uint64_t elapsed_usec) {
        json_object *object = json_object_new_object();

        bool fine = json_add_text(object, "container", dependency->container) &&
                    json_add_text(object, "type", dependency->required ? "required" : "optional") &&
                    json_add_number(object, "step", dependency->step) &&
                    json_add_text(object, "state", dependency_state_to_string(dependency->state)) &&
                    add_share(object, dependency_status_progress(dependency, elapsed_usec)) &&
                    dependency_status_add_times(dependency, object) &&
                    add_failure(object, dependency->reason, dependency->error);

        return json_built(object, fine);
}

static json_object *dependencies_to_json(const Status *status) {
        json_object *array = json_object_new_array();
        bool fine = array;

        for (size_t i = 0; fine && i < status->n_dependencies; i++)
                fine = json_append(array, dependency_to_json(&status->dependencies[i], status->elapsed_usec));
        return json_built(array, fine);
}

/* Most services have one port: there is no member for none. */
static bool add_ports(json_object *object, const Status *status) {
        json_object *array = status->n_ports > 0 ? json_object_new_array() : NULL;
        bool fine = array;

        if (status->n_ports == 0)
                return true;
        for (size_t i = 0; fine && i < status->n_ports; i++) {
                const PortStatus *port = &status->ports[i];
                json_object *entry = json_object_new_object();

                fine = json_add_number(entry, "port", port->port) &&
                       json_add_text(entry, "protocol", port->udp ? "udp" : "tcp") &&
                       (!port->address || json_add_text(entry, "address", port->address)) &&
                       json_add(entry, "accepts", json_object_new_boolean(port->accepts)) &&
                       json_add(entry, "backends", json_new_texts(port->backends));
                fine = json_append(array, json_built(entry, fine));
        }
        return json_add(object, "ports", json_built(array, fine));
}

static bool add_names(json_object *object, const Status *status) {
        json_object *array = status->n_names > 0 ? json_object_new_array() : NULL;
        bool fine = array;

        if (status->n_names == 0)
                return true;
        for (size_t i = 0; fine && i < status->n_names; i++) {
                const NameStatus *name = &status->names[i];
                json_object *entry = json_object_new_object();

                fine = json_add_text(entry, "address", name->address) &&
                       json_add(entry, "backends", json_new_texts(name->backends));
                fine = json_append(array, json_built(entry, fine));
        }
        return json_add(object, "names", json_built(array, fine));
}

const char *status_trigger(const Status *status) {
        return status->trigger >= 0 && status->trigger < _TRIGGER_MAX ? wake_trigger_to_string(status->trigger)
                                                                      : NULL;
}

json_object *status_to_json(const Status *status) {
        json_object *object = json_object_new_object();
        char since[TIMESTAMP_MAX];

        bool fine = json_add_text(object, "service", status->service) &&
                    json_add_text(object, "state", service_state_to_string(status->state)) &&
                    json_add_text(object, "since", timestamp_to_string(status->since_usec, since)) &&
                    json_add_text(object, "trigger", status_trigger(status)) &&
                    json_add_text(object, "wakeId", status->wake_id) &&
                    add_share(object, status_progress(status)) &&
                    json_add_number(object, "estimateMs", status->estimate_usec / USEC_PER_MSEC) &&
                    json_add_number(object, "remainingMs", status_remaining(status) / USEC_PER_MSEC) &&
                    json_add(object, "backends", json_new_texts(status->backends)) && add_names(object, status) &&
                    add_ports(object, status) && json_add_number(object, "holders", status->holders) &&
                    add_failure(object, status->reason, status->error) &&
                    json_add_text(object, "busy", status->busy) &&
                    json_add(object, "dependencies", dependencies_to_json(status));

        return json_built(object, fine);
}

/* Reading back. A parser gets a value that is not null; -EBADMSG if it is not what it should be. */

typedef struct StatusMember {
        const char *name;
        int (*parse)(json_object *value, void *target);
        size_t offset;
        bool mandatory;
} StatusMember;

static int parse_members(json_object *object, const StatusMember *members, void *target) {
        if (!json_object_is_type(object, json_type_object))
                return -EBADMSG;

        for (const StatusMember *member = members; member->name; member++) {
                json_object *value = json_member(object, member->name);
                int r = !value && member->mandatory ? -EBADMSG : 0;

                if (value)
                        r = member->parse(value, (uint8_t *) target + member->offset);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int parse_string(json_object *value, void *target) {
        const char *text = json_text(value);
        char **string = target, *copy;

        if (!text)
                return -EBADMSG;
        copy = strdup(text);
        if (!copy)
                return -ENOMEM;
        free(*string);
        *string = copy;
        return 0;
}

static int parse_number(json_object *value, uint64_t max, uint64_t *ret) {
        int64_t number = json_object_get_int64(value);

        if (!json_object_is_type(value, json_type_int) || number < 0 || (uint64_t) number > max)
                return -EBADMSG;
        *ret = (uint64_t) number;
        return 0;
}

static int parse_unsigned(json_object *value, void *target) {
        uint64_t number;
        int r;

        r = parse_number(value, INT32_MAX, &number);
        if (r >= 0)
                *(unsigned *) target = (unsigned) number;
        return r;
}

static int parse_msec(json_object *value, void *target) {
        uint64_t msec;
        int r;

        r = parse_number(value, INT64_MAX / USEC_PER_MSEC, &msec);
        if (r >= 0)
                *(uint64_t *) target = msec * USEC_PER_MSEC;
        return r;
}

static int parse_share(json_object *value, void *target) {
        double share;

        if (!json_object_is_type(value, json_type_double) && !json_object_is_type(value, json_type_int))
                return -EBADMSG;
        share = json_object_get_double(value);
        if (!(share >= 0.0 && share <= 1.0))
                return -EBADMSG;
        *(double *) target = share;
        return 0;
}

static int parse_timestamp(json_object *value, void *target) {
        const char *text = json_text(value);
        struct tm utc = {};
        unsigned usec = 0;
        int end = 0;
        time_t seconds;

        if (!text || strlen(text) >= TIMESTAMP_MAX ||
            sscanf(text, "%4d-%2d-%2dT%2d:%2d:%2d.%6uZ%n", &utc.tm_year, &utc.tm_mon, &utc.tm_mday, &utc.tm_hour,
                   &utc.tm_min, &utc.tm_sec, &usec, &end) != 7 ||
            end == 0 || text[end] != '\0')
                return -EBADMSG;
        utc.tm_year -= 1900;
        utc.tm_mon -= 1;
        seconds = timegm(&utc);
        if (seconds < 0)
                return -EBADMSG;
        *(uint64_t *) target = (uint64_t) seconds * USEC_PER_SEC + usec;
        return 0;
}

/* Of a closed list. */
static int parse_name(int value, void *target) {
        if (value < 0)
                return -EBADMSG;
        *(int *) target = value;
        return 0;
}

static int parse_service_state(json_object *value, void *target) {
        return parse_name(service_state_from_string(json_text(value)), target);
}

static int parse_dependency_state(json_object *value, void *target) {
        return parse_name(dependency_state_from_string(json_text(value)), target);
}

static int parse_type(json_object *value, void *target) {
        const char *text = json_text(value);

        if (!text || (!streq(text, "required") && !streq(text, "optional")))
                return -EBADMSG;
        *(bool *) target = streq(text, "required");
        return 0;
}

/* A trigger or a reason that we do not know is a newer writer's: it is told as none of ours, and no error. */
static int parse_trigger(json_object *value, void *target) {
        if (!json_text(value))
                return -EBADMSG;
        *(WakeTrigger *) target = wake_trigger_from_string(json_text(value));
        return 0;
}

static int parse_reason(json_object *value, void *target) {
        if (!json_text(value))
                return -EBADMSG;
        *(FailureReason *) target = failure_reason_from_string(json_text(value));
        return 0;
}

static int parse_backends(json_object *value, void *target) {
        if (!json_object_is_type(value, json_type_array) || json_object_array_length(value) > BACKENDS_MAX)
                return -EBADMSG;
        for (size_t i = 0; i < json_object_array_length(value); i++) {
                const char *text = json_text(json_object_array_get_idx(value, i));
                int r;

                if (isempty(text))
                        return -EBADMSG;
                r = strv_append(target, text);
                if (r < 0)
                        return r;
        }
        return 0;
}

static const StatusMember dependency_members[] = {
        { "container", parse_string, offsetof(DependencyStatus, container), true },
        { "type", parse_type, offsetof(DependencyStatus, required), false },
        { "step", parse_unsigned, offsetof(DependencyStatus, step), false },
        { "state", parse_dependency_state, offsetof(DependencyStatus, state), true },
        { "startedMs", parse_msec, offsetof(DependencyStatus, started_usec), false },
        { "checkingMs", parse_msec, offsetof(DependencyStatus, checking_usec), false },
        { "readyMs", parse_msec, offsetof(DependencyStatus, ready_usec), false },
        { "estimateMs", parse_msec, offsetof(DependencyStatus, estimate_usec), false },
        { "reason", parse_reason, offsetof(DependencyStatus, reason), false },
        { "error", parse_string, offsetof(DependencyStatus, error), false },
        {}
};

/* Called with the whole status as its target: array and length belong together. */
static int parse_dependencies(json_object *value, void *target) {
        Status *status = target;
        size_t n;

        if (!json_object_is_type(value, json_type_array))
                return -EBADMSG;
        n = json_object_array_length(value);
        if (n == 0)
                return 0;
        if (n > DEPENDENCIES_MAX)
                return -EBADMSG;
        status->dependencies = new0(DependencyStatus, n);
        if (!status->dependencies)
                return -ENOMEM;
        for (; status->n_dependencies < n; status->n_dependencies++) {
                DependencyStatus *dependency = &status->dependencies[status->n_dependencies];
                int r;

                dependency->required = true;
                r = parse_members(json_object_array_get_idx(value, status->n_dependencies), dependency_members,
                                  dependency);
                if (r < 0) {
                        status->n_dependencies++;
                        return r;
                }
        }
        return 0;
}

static int parse_port_number(json_object *value, void *target) {
        uint64_t number;
        int r;

        r = parse_number(value, UINT16_MAX, &number);
        if (r >= 0)
                *(uint16_t *) target = (uint16_t) number;
        return r;
}

static int parse_protocol(json_object *value, void *target) {
        const char *text = json_text(value);

        if (!text || (!streq(text, "tcp") && !streq(text, "udp")))
                return -EBADMSG;
        *(bool *) target = streq(text, "udp");
        return 0;
}

static int parse_boolean(json_object *value, void *target) {
        *(bool *) target = json_object_get_boolean(value);
        return json_object_is_type(value, json_type_boolean) ? 0 : -EBADMSG;
}

static const StatusMember port_members[] = { { "port", parse_port_number, offsetof(PortStatus, port), true },
                                             { "protocol", parse_protocol, offsetof(PortStatus, udp), false },
                                             { "address", parse_string, offsetof(PortStatus, address), false },
                                             { "accepts", parse_boolean, offsetof(PortStatus, accepts), true },
                                             { "backends", parse_backends, offsetof(PortStatus, backends), true },
                                             {} };

/* As parse_dependencies(). */
static int parse_ports(json_object *value, void *target) {
        Status *status = target;
        size_t n = json_object_is_type(value, json_type_array) ? json_object_array_length(value) : SIZE_MAX;
        int r = 0;

        if (n > PORTS_MAX)
                return -EBADMSG;
        status->ports = new0(PortStatus, n + 1);
        if (!status->ports)
                return -ENOMEM;
        for (size_t i = 0; i < n && r >= 0; i++)
                r = parse_members(json_object_array_get_idx(value, i), port_members,
                                  &status->ports[status->n_ports++]);
        return r;
}

static const StatusMember name_members[] = { { "address", parse_string, offsetof(NameStatus, address), true },
                                             { "backends", parse_backends, offsetof(NameStatus, backends), true },
                                             {} };

/* As parse_dependencies(). */
static int parse_names(json_object *value, void *target) {
        Status *status = target;
        size_t n = json_object_is_type(value, json_type_array) ? json_object_array_length(value) : SIZE_MAX;
        int r = 0;

        if (n > PORTS_MAX)
                return -EBADMSG;
        status->names = new0(NameStatus, n + 1);
        if (!status->names)
                return -ENOMEM;
        for (size_t i = 0; i < n && r >= 0; i++)
                r = parse_members(json_object_array_get_idx(value, i), name_members,
                                  &status->names[status->n_names++]);
        return r;
}

static const StatusMember status_members[] = { { "service", parse_string, offsetof(Status, service), true },
                                               { "state", parse_service_state, offsetof(Status, state), true },
                                               { "since", parse_timestamp, offsetof(Status, since_usec), false },
                                               { "trigger", parse_trigger, offsetof(Status, trigger), false },
                                               { "wakeId", parse_string, offsetof(Status, wake_id), false },
                                               { "estimateMs", parse_msec, offsetof(Status, estimate_usec),
                                                 false },
                                               { "backends", parse_backends, offsetof(Status, backends), false },
                                               { "names", parse_names, 0, false },
                                               { "ports", parse_ports, 0, false },
                                               { "holders", parse_unsigned, offsetof(Status, holders), false },
                                               { "reason", parse_reason, offsetof(Status, reason), false },
                                               { "error", parse_string, offsetof(Status, error), false },
                                               { "busy", parse_string, offsetof(Status, busy), false },
                                               { "dependencies", parse_dependencies, 0, false },
                                               {} };

typedef struct Course {
        double progress;
        uint64_t remaining_usec;
} Course;

static const StatusMember course_members[] = { { "progress", parse_share, offsetof(Course, progress), false },
                                               { "remainingMs", parse_msec, offsetof(Course, remaining_usec),
                                                 false },
                                               {} };

int status_from_json(Status **ret, json_object *object) {
        _cleanup_(status_freep) Status *status = NULL;
        Course course = {};
        int r;

        status = new0(Status, 1);
        if (!status)
                return -ENOMEM;
        status->trigger = _TRIGGER_INVALID;

        r = parse_members(object, status_members, status);
        if (r >= 0)
                r = parse_members(object, course_members, &course);
        if (r < 0)
                return r;

        /* The object says how far the wake is, not for how long it runs: that follows, as status_progress()
         * computed it. */
        if (course.progress < 1.0)
                status->elapsed_usec = (uint64_t) MIN((double) course.remaining_usec * course.progress /
                                                                      (1.0 - course.progress),
                                                      (double) (INT64_MAX / 2));
        *ret = TAKE_PTR(status);
        return 0;
}
