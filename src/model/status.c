#include <stdio.h>

#include "model/status.h"

/* Status: the object of the status file and the control socket, written and read back by tables.
 *
 * Progress is a matter of time only: of one dependency, the time since its start against its estimate; of the
 * whole, the time that has passed against that and what is still to come. A dependency that takes longer than
 * estimated creeps towards the end and never reaches it, so nothing runs backwards and nothing is done before it
 * is. */

#define BACKENDS_MAX 64
#define DEPENDENCIES_MAX 1024
#define PROGRESS_MAX 0.99
/* Where progress leaves the straight line: from here on half of what is missing is gained in ever longer times. */
#define PROGRESS_KNEE 0.8

DEFINE_CLEANUP(json_object *, json_object_put);

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
        [TRIGGER_PREWARM] = "prewarm",       [TRIGGER_API] = "api",
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

static const char *name_of(const char *const *names, int n, int value) {
        assert(value >= 0 && value < n);
        return names[value];
}

static int value_of(const char *const *names, int n, const char *text) {
        for (int i = 0; text && i < n; i++)
                if (streq(names[i], text))
                        return i;
        return -EINVAL;
}

const char *service_state_to_string(ServiceState state) {
        return name_of(service_state_names, _SERVICE_STATE_MAX, state);
}

ServiceState service_state_from_string(const char *text) {
        return value_of(service_state_names, _SERVICE_STATE_MAX, text);
}

const char *dependency_state_to_string(DependencyState state) {
        return name_of(dependency_state_names, _DEPENDENCY_STATE_MAX, state);
}

DependencyState dependency_state_from_string(const char *text) {
        return value_of(dependency_state_names, _DEPENDENCY_STATE_MAX, text);
}

const char *wake_trigger_to_string(WakeTrigger trigger) {
        return name_of(trigger_names, _TRIGGER_MAX, trigger);
}

WakeTrigger wake_trigger_from_string(const char *text) {
        return value_of(trigger_names, _TRIGGER_MAX, text);
}

const char *failure_reason_to_string(FailureReason reason) {
        return name_of(reason_names, _FAILURE_MAX, reason);
}

FailureReason failure_reason_from_string(const char *text) {
        return value_of(reason_names, _FAILURE_MAX, text);
}

Status *status_free(Status *status) {
        if (!status)
                return NULL;

        for (size_t i = 0; i < status->n_dependencies; i++) {
                free(status->dependencies[i].container);
                free(status->dependencies[i].error);
        }
        free(status->dependencies);
        free(status->service);
        free(status->wake_id);
        free(status->error);
        strv_free(status->backends);
        return mfree(status);
}

static bool dependency_is_running(const DependencyStatus *dependency) {
        return dependency->state == DEPENDENCY_STARTING || dependency->state == DEPENDENCY_CHECKING;
}

double dependency_status_progress(const DependencyStatus *dependency, uint64_t elapsed_usec) {
        const double rest = 1.0 - PROGRESS_KNEE;
        double share;

        assert(dependency);

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

/* What is still to come of one: nothing once it is ready or has failed. */
static uint64_t dependency_remaining(const DependencyStatus *dependency, uint64_t elapsed_usec) {
        double left;

        if (dependency->state != DEPENDENCY_PENDING && !dependency_is_running(dependency))
                return 0;
        left = 1.0 - dependency_status_progress(dependency, elapsed_usec);
        return (uint64_t) (left * (double) dependency->estimate_usec);
}

uint64_t status_remaining(const Status *status) {
        uint64_t total = 0;

        assert(status);

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
                                longest = MAX(longest, dependency_remaining(&status->dependencies[j],
                                                                            status->elapsed_usec));
                total = usec_add(total, longest);
        }
        return total;
}

double status_progress(const Status *status) {
        uint64_t remaining;

        assert(status);

        if (status->state == SERVICE_AWAKE)
                return 1.0;
        if (status->state != SERVICE_WAKING || status->elapsed_usec == 0)
                return 0.0;
        remaining = status_remaining(status);
        return MIN((double) status->elapsed_usec / ((double) status->elapsed_usec + (double) remaining),
                   PROGRESS_MAX);
}

/* Adds a member; takes the value. `failed` is set when there was no memory, and looked at once, at the end. */
static void add(json_object *object, const char *key, json_object *value, bool *failed) {
        if (!value || json_object_object_add(object, key, value) < 0) {
                json_object_put(value);
                *failed = true;
        }
}

static void add_null(json_object *object, const char *key, bool *failed) {
        if (json_object_object_add(object, key, NULL) < 0)
                *failed = true;
}

static void add_string(json_object *object, const char *key, const char *text, bool *failed) {
        if (text)
                add(object, key, json_object_new_string(text), failed);
        else
                add_null(object, key, failed);
}

static void add_msec(json_object *object, const char *key, uint64_t usec, bool *failed) {
        add(object, key, json_object_new_int64((int64_t) MIN(usec / USEC_PER_MSEC, (uint64_t) INT64_MAX)), failed);
}

/* Three digits: 0.42, not 0.41999999999999998. */
static void add_share(json_object *object, const char *key, double share, bool *failed) {
        char text[16];

        (void) snprintf(text, sizeof(text), "%.3f", share);
        add(object, key, json_object_new_double_s(share, text), failed);
}

/* A moment within a wake: null until it has come. */
static void add_moment(json_object *object, const char *key, uint64_t usec, bool *failed) {
        if (usec > 0)
                add_msec(object, key, MAX(usec, USEC_PER_MSEC), failed);
        else
                add_null(object, key, failed);
}

static json_object *dependency_to_json(const DependencyStatus *dependency, uint64_t elapsed_usec) {
        _cleanup_(json_object_putp) json_object *object = json_object_new_object();
        bool failed = false;

        if (!object)
                return NULL;
        add_string(object, "container", dependency->container, &failed);
        add_string(object, "type", dependency->required ? "required" : "optional", &failed);
        add(object, "step", json_object_new_int64(dependency->step), &failed);
        add_string(object, "state", dependency_state_to_string(dependency->state), &failed);
        add_share(object, "progress", dependency_status_progress(dependency, elapsed_usec), &failed);
        add_moment(object, "startedMs", dependency->started_usec, &failed);
        add_moment(object, "checkingMs", dependency->checking_usec, &failed);
        add_moment(object, "readyMs", dependency->ready_usec, &failed);
        add_msec(object, "estimateMs", dependency->estimate_usec, &failed);
        if (dependency->reason > FAILURE_NONE)
                add_string(object, "reason", failure_reason_to_string(dependency->reason), &failed);
        add_string(object, "error", dependency->error, &failed);
        return failed ? NULL : TAKE_PTR(object);
}

static json_object *backends_to_json(char *const *backends) {
        json_object *array = json_object_new_array();

        for (; array && backends && *backends; backends++) {
                json_object *text = json_object_new_string(*backends);

                if (!text || json_object_array_add(array, text) < 0) {
                        json_object_put(text);
                        json_object_put(array);
                        return NULL;
                }
        }
        return array;
}

static json_object *dependencies_to_json(const Status *status) {
        json_object *array = json_object_new_array();

        for (size_t i = 0; array && i < status->n_dependencies; i++) {
                json_object *object = dependency_to_json(&status->dependencies[i], status->elapsed_usec);

                if (!object || json_object_array_add(array, object) < 0) {
                        json_object_put(object);
                        json_object_put(array);
                        return NULL;
                }
        }
        return array;
}

json_object *status_to_json(const Status *status) {
        _cleanup_(json_object_putp) json_object *object = json_object_new_object();
        char since[TIMESTAMP_MAX];
        bool failed = false, known;

        assert(status);

        if (!object)
                return NULL;
        known = status->trigger >= 0 && status->trigger < _TRIGGER_MAX;
        add_string(object, "service", status->service, &failed);
        add_string(object, "state", service_state_to_string(status->state), &failed);
        add_string(object, "since", timestamp_to_string(status->since_usec, since), &failed);
        add_string(object, "trigger", known ? wake_trigger_to_string(status->trigger) : NULL, &failed);
        add_string(object, "wakeId", status->wake_id, &failed);
        add_share(object, "progress", status_progress(status), &failed);
        add_msec(object, "estimateMs", status->estimate_usec, &failed);
        add_msec(object, "remainingMs", status_remaining(status), &failed);
        add(object, "backends", backends_to_json(status->backends), &failed);
        add(object, "holders", json_object_new_int64(status->holders), &failed);
        if (status->reason > FAILURE_NONE)
                add_string(object, "reason", failure_reason_to_string(status->reason), &failed);
        add_string(object, "error", status->error, &failed);
        add(object, "dependencies", dependencies_to_json(status), &failed);
        return failed ? NULL : TAKE_PTR(object);
}

/* Reading back. A parser gets a value that is not null; -EBADMSG if it is not what it should be. */

typedef int (*ParseMember)(json_object *value, void *target);

typedef struct Member {
        const char *name;
        ParseMember parse;
        size_t offset;
        bool mandatory;
} Member;

static int parse_members(json_object *object, const Member *members, void *target) {
        if (!json_object_is_type(object, json_type_object))
                return -EBADMSG;

        for (const Member *member = members; member->name; member++) {
                json_object *value = NULL;
                int r;

                (void) json_object_object_get_ex(object, member->name, &value);
                if (!value)
                        r = member->mandatory ? -EBADMSG : 0;
                else
                        r = member->parse(value, (uint8_t *) target + member->offset);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* The text of a string without NUL in it, or NULL. */
static const char *text_of(json_object *value) {
        const char *text;

        if (!json_object_is_type(value, json_type_string))
                return NULL;
        text = json_object_get_string(value);
        return strlen(text) == (size_t) json_object_get_string_len(value) ? text : NULL;
}

static int parse_string(json_object *value, void *target) {
        const char *text = text_of(value);
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

static int parse_unsigned(json_object *value, void *target) {
        int64_t number;

        if (!json_object_is_type(value, json_type_int))
                return -EBADMSG;
        number = json_object_get_int64(value);
        if (number < 0 || number > INT32_MAX)
                return -EBADMSG;
        *(unsigned *) target = (unsigned) number;
        return 0;
}

static int parse_msec(json_object *value, void *target) {
        int64_t number;

        if (!json_object_is_type(value, json_type_int))
                return -EBADMSG;
        number = json_object_get_int64(value);
        if (number < 0 || number > (int64_t) (INT64_MAX / USEC_PER_MSEC))
                return -EBADMSG;
        *(uint64_t *) target = (uint64_t) number * USEC_PER_MSEC;
        return 0;
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
        const char *text = text_of(value);
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

static int parse_service_state(json_object *value, void *target) {
        ServiceState state = service_state_from_string(text_of(value));

        if (state < 0)
                return -EBADMSG;
        *(ServiceState *) target = state;
        return 0;
}

static int parse_dependency_state(json_object *value, void *target) {
        DependencyState state = dependency_state_from_string(text_of(value));

        if (state < 0)
                return -EBADMSG;
        *(DependencyState *) target = state;
        return 0;
}

static int parse_type(json_object *value, void *target) {
        const char *text = text_of(value);

        if (!text || (!streq(text, "required") && !streq(text, "optional")))
                return -EBADMSG;
        *(bool *) target = streq(text, "required");
        return 0;
}

/* A trigger or a reason that we do not know is a newer writer's: it is told as none of ours, and no error. */
static int parse_trigger(json_object *value, void *target) {
        if (!text_of(value))
                return -EBADMSG;
        *(WakeTrigger *) target = wake_trigger_from_string(text_of(value));
        return 0;
}

static int parse_reason(json_object *value, void *target) {
        if (!text_of(value))
                return -EBADMSG;
        *(FailureReason *) target = failure_reason_from_string(text_of(value));
        return 0;
}

static int parse_backends(json_object *value, void *target) {
        if (!json_object_is_type(value, json_type_array) || json_object_array_length(value) > BACKENDS_MAX)
                return -EBADMSG;
        for (size_t i = 0; i < json_object_array_length(value); i++) {
                const char *text = text_of(json_object_array_get_idx(value, i));
                int r;

                if (isempty(text))
                        return -EBADMSG;
                r = strv_append(target, text);
                if (r < 0)
                        return r;
        }
        return 0;
}

static const Member dependency_members[] = {
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

static const Member status_members[] = { { "service", parse_string, offsetof(Status, service), true },
                                         { "state", parse_service_state, offsetof(Status, state), true },
                                         { "since", parse_timestamp, offsetof(Status, since_usec), false },
                                         { "trigger", parse_trigger, offsetof(Status, trigger), false },
                                         { "wakeId", parse_string, offsetof(Status, wake_id), false },
                                         { "estimateMs", parse_msec, offsetof(Status, estimate_usec), false },
                                         { "backends", parse_backends, offsetof(Status, backends), false },
                                         { "holders", parse_unsigned, offsetof(Status, holders), false },
                                         { "reason", parse_reason, offsetof(Status, reason), false },
                                         { "error", parse_string, offsetof(Status, error), false },
                                         { "dependencies", parse_dependencies, 0, false },
                                         {} };

typedef struct Course {
        double progress;
        uint64_t remaining_usec;
} Course;

static const Member course_members[] = { { "progress", parse_share, offsetof(Course, progress), false },
                                         { "remainingMs", parse_msec, offsetof(Course, remaining_usec), false },
                                         {} };

int status_from_json(Status **ret, json_object *object) {
        _cleanup_(status_freep) Status *status = NULL;
        Course course = {};
        int r;

        assert(ret);

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
