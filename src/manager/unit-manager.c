#include <signal.h>
#include <stdio.h>
#include <sys/queue.h>
#include <systemd/sd-bus.h>

#include "manager/unit-manager.h"
#include "util/log.h"
#include "util/printable.h"
#include "util/time.h"

/* UnitManager is the connection to the bus, UnitWatch one unit. The connection breaks when the bus is restarted; and systemd may
 * go away behind it for a moment (daemon-reexec) or read all units anew (daemon-reload). After each of these the watches ask for
 * everything again, so that nothing depends on what was told in between. A call that fails for want of an answer counts as a
 * broken connection: then there is one way back for all of it.
 *
 * The properties of a unit are read once, and then kept up to date by signals: systemd tells of a change first for the kind of
 * the unit (Result), then for all units (ActiveState), and only then that a job has ended; so what the handler is told of fits
 * together. Everything is told from one deferred event source, never from inside a message.
 *
 * A request is a method call, whose answer names a job, whose end is told by a signal. Where that was interrupted, by a lost
 * connection or a new systemd, the request is made again, which changes nothing if it has been carried out; but for a start
 * after which the unit has had another run: a one-shot is not to run twice. */

#define SYSTEMD_DESTINATION "org.freedesktop.systemd1"
#define SYSTEMD_PATH "/org/freedesktop/systemd1"
#define SYSTEMD_MANAGER "org.freedesktop.systemd1.Manager"

#define RETRY_FIRST (50 * USEC_PER_MSEC)
#define RETRY_LAST (5 * USEC_PER_SEC)
#define PATIENCE (3 * USEC_PER_SEC) /* without the bus, until the watches are told */
#define TEXT_MAX ((size_t) 512)
#define STOP_TIMEOUT (90 * USEC_PER_SEC) /* systemd's default */

typedef struct UnitProperties {
        char *id; /* an alias has another name */
        char *type, *load_state, *active_state, *sub_state, *result;
        char invocation_id[33];
        int32_t exit_code; /* CLD_… of the main process */
        uint64_t exit_usec; /* CLOCK_MONOTONIC; 0: it has not ended */
        uint64_t stop_timeout_usec;
} UnitProperties;

typedef enum UnitRequest {
        REQUEST_NONE,
        REQUEST_START,
        REQUEST_STOP,
} UnitRequest;

struct UnitWatch {
        UnitManager *manager;
        LIST_ENTRY(UnitWatch) watches;
        char *name; /* as it was asked for */
        char *path; /* of the object, once the bus was reached */
        UnitWatchHandler handler;
        void *userdata;

        UnitProperties properties;
        bool known; /* they have been read */
        sd_bus_slot *changes, *reading;

        UnitRequest request;
        bool request_sent; /* at least once */
        char request_run[33]; /* the invocation id before that */
        char *job; /* path, once the request was accepted */
        sd_bus_slot *asking, *jobs;

        sd_event_source *telling;
        bool tell_info;
        int tell_error;
        char *tell_sentence;
        bool told_lost; /* since the bus was there for the last time */
};

struct UnitManager {
        UnitManager *next; /* of another event loop */
        sd_event *event;
        sd_bus *bus;
        LIST_HEAD(, UnitWatch) watches;
        sd_event_source *timer; /* until the next try */
        unsigned attempts; /* in a row */
        uint64_t lost_usec; /* CLOCK_MONOTONIC; 0: the connection is good */
};

static UnitManager *managers;

static void manager_connect(UnitManager *manager);
static void manager_lose(UnitManager *manager, const char *why);
static void watch_read(UnitWatch *watch);
static void watch_ask(UnitWatch *watch);

bool unit_name_is_valid(const char *name) {
        static const char *const types[] = { ".service", ".socket", ".target", ".mount", ".automount",
                                             ".timer",   ".path",   ".swap",   ".slice", ".scope" };
        size_t n = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789:_.\\-@");
        const char *dot = strrchr(name, '.'), *at = strchr(name, '@');

        if (name[n] != '\0' || n > 255 || !dot || dot == name || at == name || (at && at + 1 == dot))
                return false;
        for (size_t i = 0; i < ELEMENTSOF(types); i++)
                if (streq(dot, types[i]))
                        return true;
        return false;
}

/* Telling */

static UnitState watch_state(const UnitWatch *watch) {
        static const struct {
                const char *name;
                UnitState state;
        } states[] = {
                { "active", UNIT_ACTIVE },
                { "reloading", UNIT_ACTIVE },
                { "refreshing", UNIT_ACTIVE },
                { "activating", UNIT_ACTIVATING },
                { "deactivating", UNIT_DEACTIVATING },
                { "maintenance", UNIT_DEACTIVATING },
                { "failed", UNIT_FAILED },
        };
        UnitState state = UNIT_INACTIVE;

        for (size_t i = 0; i < ELEMENTSOF(states); i++)
                if (streq(strempty(watch->properties.active_state), states[i].name))
                        state = states[i].state;
        /* One that runs is there, even if its file is gone. */
        if ((state == UNIT_INACTIVE || state == UNIT_FAILED) &&
            !streq(strempty(watch->properties.load_state), "loaded"))
                return UNIT_MISSING;
        return state;
}

static bool watch_has_run(const UnitWatch *watch) {
        const UnitProperties *properties = &watch->properties;
        const char *type = strrchr(properties->id, '.');
        UnitState state = watch_state(watch);

        /* What is no service has done all that it does as soon as it is active. */
        if (state == UNIT_ACTIVE)
                return (type && !streq(type, ".service")) || streq(strempty(properties->sub_state), "exited");
        return state == UNIT_INACTIVE && streq(strempty(properties->result), "success") &&
               properties->exit_usec > 0 && properties->exit_code == CLD_EXITED;
}

static int watch_on_telling(sd_event_source *source, void *userdata) {
        UnitWatch *watch = ASSERT_PTR(userdata);
        UnitInfo info;

        if (watch->tell_error < 0) {
                _cleanup_free_ char *sentence = TAKE_PTR(watch->tell_sentence);
                int error = watch->tell_error;

                watch->tell_error = 0;
                if (watch->tell_info)
                        (void) sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
                watch->handler(watch, NULL, error, strempty(sentence), watch->userdata);
                return 0;
        }

        watch->tell_info = false;
        info = (UnitInfo){
                .state = watch_state(watch),
                .load_state = strempty(watch->properties.load_state),
                .result = strempty(watch->properties.result),
                .invocation_id = watch->properties.invocation_id,
                .oneshot = streq(strempty(watch->properties.type), "oneshot"),
                .ran = watch_has_run(watch),
                .busy = watch->request != REQUEST_NONE,
                .queued = watch->job,
                .stop_timeout_usec = watch->properties.stop_timeout_usec,
        };
        watch->handler(watch, &info, 0, NULL, watch->userdata);
        return 0;
}

static void watch_tell(UnitWatch *watch) {
        if (!watch->known)
                return;
        watch->tell_info = true;
        (void) sd_event_source_set_enabled(watch->telling, SD_EVENT_ONESHOT);
}

_printf_(3, 4) static void watch_tell_error(UnitWatch *watch, int error, const char *format, ...) {
        char text[TEXT_MAX];
        va_list arguments;

        va_start(arguments, format);
        (void) vsnprintf(text, sizeof(text), format, arguments);
        va_end(arguments);

        free(watch->tell_sentence);
        watch->tell_sentence = printable_copy(text, strlen(text), /* keep_lines= */ false);
        watch->tell_error = error;
        (void) sd_event_source_set_enabled(watch->telling, SD_EVENT_ONESHOT);
}

/* Properties */

static void properties_done(UnitProperties *properties) {
        free(properties->id);
        free(properties->type);
        free(properties->load_state);
        free(properties->active_state);
        free(properties->sub_state);
        free(properties->result);
        *properties = (UnitProperties){ .stop_timeout_usec = STOP_TIMEOUT };
}

static int parse_string(sd_bus_message *message, void *target) {
        const char *text;
        char *copy;
        int r;

        r = sd_bus_message_read(message, "s", &text);
        if (r < 0)
                return r;
        copy = printable_copy(text, MIN(strlen(text), TEXT_MAX), /* keep_lines= */ false);
        if (!copy)
                return -ENOMEM;
        free(*(char **) target);
        *(char **) target = copy;
        return 0;
}

static int parse_uint64(sd_bus_message *message, void *target) {
        return sd_bus_message_read(message, "t", target);
}

static int parse_int32(sd_bus_message *message, void *target) {
        return sd_bus_message_read(message, "i", target);
}

static int parse_id128(sd_bus_message *message, void *target) {
        char *text = target;
        const uint8_t *bytes;
        const void *data;
        size_t size;
        int r;

        r = sd_bus_message_read_array(message, 'y', &data, &size);
        if (r < 0)
                return r;
        bytes = data;
        text[0] = '\0';
        for (size_t i = 0; size == 16 && i < size; i++)
                (void) snprintf(text + 2 * i, 3, "%02x", bytes[i]);
        return 0;
}

static const struct {
        const char *name, *type;
        int (*parse)(sd_bus_message *message, void *target);
        size_t offset;
} property_fields[] = {
        { "ActiveState", "s", parse_string, offsetof(UnitProperties, active_state) },
        { "ExecMainCode", "i", parse_int32, offsetof(UnitProperties, exit_code) },
        { "ExecMainExitTimestampMonotonic", "t", parse_uint64, offsetof(UnitProperties, exit_usec) },
        { "Id", "s", parse_string, offsetof(UnitProperties, id) },
        { "InvocationID", "ay", parse_id128, offsetof(UnitProperties, invocation_id) },
        { "LoadState", "s", parse_string, offsetof(UnitProperties, load_state) },
        { "Result", "s", parse_string, offsetof(UnitProperties, result) },
        { "SubState", "s", parse_string, offsetof(UnitProperties, sub_state) },
        { "TimeoutStopUSec", "t", parse_uint64, offsetof(UnitProperties, stop_timeout_usec) },
        { "Type", "s", parse_string, offsetof(UnitProperties, type) },
};

static int properties_parse_one(UnitProperties *properties, sd_bus_message *message) {
        const char *name;
        int r;

        r = sd_bus_message_read(message, "s", &name);
        if (r < 0)
                return r;
        for (size_t i = 0; i < ELEMENTSOF(property_fields); i++) {
                if (!streq(name, property_fields[i].name))
                        continue;
                r = sd_bus_message_enter_container(message, 'v', property_fields[i].type);
                if (r >= 0)
                        r = property_fields[i].parse(message, (uint8_t *) properties + property_fields[i].offset);
                if (r >= 0)
                        r = sd_bus_message_exit_container(message);
                return r;
        }
        return sd_bus_message_skip(message, "v");
}

static int properties_parse(UnitProperties *properties, sd_bus_message *message) {
        int r;

        r = sd_bus_message_enter_container(message, 'a', "{sv}");
        if (r < 0)
                return r;
        while ((r = sd_bus_message_enter_container(message, 'e', "sv")) > 0) {
                r = properties_parse_one(properties, message);
                if (r >= 0)
                        r = sd_bus_message_exit_container(message);
                if (r < 0)
                        return r;
        }
        return r < 0 ? r : sd_bus_message_exit_container(message);
}

static int watch_on_changed(sd_bus_message *message, void *userdata, sd_bus_error *reterr_error) {
        UnitWatch *watch = ASSERT_PTR(userdata);
        const char *interface;
        int r;

        r = sd_bus_message_read(message, "s", &interface);
        if (r >= 0)
                r = properties_parse(&watch->properties, message);
        if (r < 0)
                log_debug_errno(r, "Failed to read a change of %s, ignoring: %m", watch->name);
        else if (streq(interface, "org.freedesktop.systemd1.Unit"))
                watch_tell(watch);
        return 0;
}

/* An alias is an object of its own, but only the unit's proper object tells of changes. */
static int watch_listen(UnitWatch *watch) {
        _cleanup_free_ char *path = NULL;
        int r;

        r = sd_bus_path_encode(SYSTEMD_PATH "/unit", watch->properties.id ?: watch->name, &path);
        if (r < 0)
                return r;
        watch->changes = sd_bus_slot_unref(watch->changes);
        r = sd_bus_match_signal_async(watch->manager->bus, &watch->changes, SYSTEMD_DESTINATION, path,
                                      "org.freedesktop.DBus.Properties", "PropertiesChanged", watch_on_changed,
                                      NULL, watch);
        if (r < 0)
                return r;
        free(watch->path);
        watch->path = TAKE_PTR(path);
        return 0;
}

/* No answer, as opposed to a negative one: the bus or systemd behind it is on its way down or up. */
static bool error_is_transient(const sd_bus_error *error) {
        return sd_bus_error_has_names(error, SD_BUS_ERROR_NO_REPLY, SD_BUS_ERROR_TIMEOUT,
                                      "org.freedesktop.DBus.Error.TimedOut", SD_BUS_ERROR_DISCONNECTED,
                                      SD_BUS_ERROR_SERVICE_UNKNOWN, SD_BUS_ERROR_NAME_HAS_NO_OWNER,
                                      "org.freedesktop.DBus.Error.Spawn.ChildExited",
                                      "org.freedesktop.systemd1.ShuttingDown");
}

/* An answer came from systemd: the connection is good. */
static void manager_confirm(UnitManager *manager) {
        UnitWatch *watch;

        manager->attempts = 0;
        manager->lost_usec = 0;
        LIST_FOREACH(watch, &manager->watches, watches)
        watch->told_lost = false;
}

/* What had to wait, or was interrupted, goes on. */
static void watch_resume_request(UnitWatch *watch) {
        UnitState state = watch_state(watch);
        bool other_run = watch->request_sent && !streq(watch->request_run, watch->properties.invocation_id);

        if (watch->request == REQUEST_NONE || watch->asking || watch->job)
                return;
        if (watch->request == REQUEST_START && other_run && state != UNIT_ACTIVATING && state != UNIT_DEACTIVATING)
                watch->request = REQUEST_NONE;
        else
                watch_ask(watch);
}

static int watch_on_read(sd_bus_message *message, void *userdata, sd_bus_error *reterr_error) {
        UnitWatch *watch = ASSERT_PTR(userdata);
        const sd_bus_error *error = sd_bus_message_get_error(message);
        _cleanup_free_ char *id = NULL;
        int r;

        watch->reading = sd_bus_slot_unref(watch->reading);
        if (error && error_is_transient(error)) {
                manager_lose(watch->manager, error->message ?: error->name);
                return 0;
        }
        manager_confirm(watch->manager);
        if (error) {
                watch->request = REQUEST_NONE;
                watch_tell_error(watch, -EIO, "%s", error->message ?: error->name);
                return 0;
        }

        id = TAKE_PTR(watch->properties.id);
        properties_done(&watch->properties);
        r = properties_parse(&watch->properties, message);
        if (r < 0 || !watch->properties.id) {
                watch->request = REQUEST_NONE;
                watch_tell_error(watch, -EIO, "systemd gave an answer about it that cannot be understood");
                return 0;
        }
        if (!streq(watch->properties.id, id ?: watch->name)) {
                watch_read(watch);
                return 0;
        }
        watch->known = true;
        watch_resume_request(watch);
        watch_tell(watch);
        return 0;
}

static void watch_read(UnitWatch *watch) {
        int r;

        watch->reading = sd_bus_slot_unref(watch->reading);
        r = watch_listen(watch);
        if (r >= 0)
                r = sd_bus_call_method_async(watch->manager->bus, &watch->reading, SYSTEMD_DESTINATION,
                                             watch->path, "org.freedesktop.DBus.Properties", "GetAll",
                                             watch_on_read, watch, "s", "");
        if (r < 0)
                manager_lose(watch->manager, strerror(-r));
}

/* Requests */

static void watch_end_request(UnitWatch *watch) {
        watch->request = REQUEST_NONE;
        watch->asking = sd_bus_slot_unref(watch->asking);
        watch->jobs = sd_bus_slot_unref(watch->jobs);
        watch->job = mfree(watch->job);
        watch_tell(watch);
}

static const char *watch_verb(const UnitWatch *watch) {
        return watch->request == REQUEST_STOP ? "stop" : "start";
}

static void watch_tell_refusal(UnitWatch *watch, const sd_bus_error *error) {
        const char *text = error->message ?: error->name;

        /* polkit itself may be what cannot be started. */
        if (!sd_bus_error_has_names(error, SD_BUS_ERROR_ACCESS_DENIED,
                                    SD_BUS_ERROR_INTERACTIVE_AUTHORIZATION_REQUIRED) &&
            !strcasestr(text, "polkit"))
                watch_tell_error(watch, -EIO, "systemd did not %s it: %s", watch_verb(watch), text);
        else if (watch->properties.id && !streq(watch->properties.id, watch->name))
                watch_tell_error(watch, -EACCES,
                                 "polkit does not allow to %s it (%s): it is an alias of %s, name that as 'unit'",
                                 watch_verb(watch), text, watch->properties.id);
        else
                watch_tell_error(watch, -EACCES,
                                 "polkit does not allow to %s it (%s): is polkitd installed, and can it read the "
                                 "configuration? 'wakectl check --unit=%s' tells what its rule sees",
                                 watch_verb(watch), text, watch->name);
}

static int watch_on_asked(sd_bus_message *message, void *userdata, sd_bus_error *reterr_error) {
        UnitWatch *watch = ASSERT_PTR(userdata);
        const sd_bus_error *error = sd_bus_message_get_error(message);
        const char *job;

        watch->asking = sd_bus_slot_unref(watch->asking);
        if (error && error_is_transient(error)) {
                manager_lose(watch->manager, error->message ?: error->name);
                return 0;
        }
        if (error) {
                watch_tell_refusal(watch, error);
                watch_end_request(watch);
                return 0;
        }
        if (sd_bus_message_read(message, "o", &job) >= 0)
                watch->job = strdup(job);
        if (!watch->job)
                manager_lose(watch->manager, "systemd gave an answer that cannot be understood");
        else
                watch_tell(watch);
        return 0;
}

static void watch_tell_job_failure(UnitWatch *watch, const char *result) {
        static const struct {
                const char *result, *text;
        } results[] = {
                { "timeout", "did not end in time" },
                { "dependency", "failed: a unit that it needs has failed" },
                { "assert", "was refused: an assertion of it is not met" },
                { "unsupported", "was refused: this system does not support it" },
        };
        const char *verb = watch_verb(watch), *reason = strempty(watch->properties.result);

        if (streq(result, "canceled")) {
                watch_tell_error(watch, -ECANCELED,
                                 "its %s was cancelled by another one of it, or of a unit that "
                                 "excludes it; see 'journalctl -u %s'",
                                 verb, watch->name);
                return;
        }
        for (size_t i = 0; i < ELEMENTSOF(results); i++)
                if (streq(result, results[i].result)) {
                        watch_tell_error(watch, -EIO, "its %s %s; see 'journalctl -u %s'", verb, results[i].text,
                                         watch->name);
                        return;
                }
        watch_tell_error(watch, -EIO, "its %s failed (%s); see 'journalctl -u %s'", verb,
                         *reason == '\0' || streq(reason, "success") ? result : reason, watch->name);
}

static int watch_on_job_removed(sd_bus_message *message, void *userdata, sd_bus_error *reterr_error) {
        UnitWatch *watch = ASSERT_PTR(userdata);
        const char *job, *result;
        uint32_t id;
        int r;

        r = sd_bus_message_read(message, "uoss", &id, &job, NULL, &result);
        if (r < 0 || !watch->job || !streq(job, watch->job))
                return 0;
        if (!streq(result, "done"))
                watch_tell_job_failure(watch, result);
        watch_end_request(watch);
        return 0;
}

static void watch_ask(UnitWatch *watch) {
        int r = 0;

        if (!watch->request_sent)
                memcpy(watch->request_run, watch->properties.invocation_id, sizeof(watch->request_run));
        watch->request_sent = true;
        watch->asking = sd_bus_slot_unref(watch->asking);
        watch->job = mfree(watch->job);
        /* Of all jobs, but only while one of ours is under way. */
        if (!watch->jobs)
                r = sd_bus_match_signal_async(watch->manager->bus, &watch->jobs, SYSTEMD_DESTINATION, SYSTEMD_PATH,
                                              SYSTEMD_MANAGER, "JobRemoved", watch_on_job_removed, NULL, watch);
        if (r >= 0)
                r = sd_bus_call_method_async(watch->manager->bus, &watch->asking, SYSTEMD_DESTINATION,
                                             SYSTEMD_PATH, SYSTEMD_MANAGER,
                                             watch->request == REQUEST_STOP ? "StopUnit" : "StartUnit",
                                             watch_on_asked, watch, "ss", watch->name, "replace");
        if (r < 0)
                manager_lose(watch->manager, strerror(-r));
}

static void watch_request(UnitWatch *watch, UnitRequest request) {
        watch->request = request;
        watch->request_sent = false;
        /* What is not known yet, or is being read anew, is waited for. */
        if (watch->known && watch->changes && !watch->reading)
                watch_ask(watch);
}

void unit_watch_start(UnitWatch *watch) {
        watch_request(watch, REQUEST_START);
}

void unit_watch_stop(UnitWatch *watch) {
        watch_request(watch, REQUEST_STOP);
}

/* The connection */

/* What was asked for is asked for again later. */
static void watch_disconnect(UnitWatch *watch) {
        watch->changes = sd_bus_slot_unref(watch->changes);
        watch->reading = sd_bus_slot_unref(watch->reading);
        watch->asking = sd_bus_slot_unref(watch->asking);
        watch->jobs = sd_bus_slot_unref(watch->jobs);
        watch->job = mfree(watch->job);
}

static int manager_on_timer(sd_event_source *source, uint64_t usec, void *userdata) {
        UnitManager *manager = ASSERT_PTR(userdata);

        manager->timer = sd_event_source_disable_unref(manager->timer);
        manager_connect(manager);
        return 0;
}

static void manager_tell_lost(UnitManager *manager, const char *why) {
        UnitWatch *watch;

        LIST_FOREACH(watch, &manager->watches, watches) {
                if (!watch->told_lost)
                        watch_tell_error(watch, -ENOTCONN, "systemd cannot be reached over the system bus: %s",
                                         why);
                watch->told_lost = true;
        }
}

static void manager_interrupt(UnitManager *manager) {
        UnitWatch *watch;

        LIST_FOREACH(watch, &manager->watches, watches)
        watch_disconnect(watch);
}

/* All is to be asked for again. What fails loses the connection. */
static void manager_read(UnitManager *manager) {
        UnitWatch *watch;

        LIST_FOREACH(watch, &manager->watches, watches)
        if (manager->bus)
                watch_read(watch);
}

/* The connection is of no use: closes it, and tries again later. */
static void manager_lose(UnitManager *manager, const char *why) {
        uint64_t now_usec = time_now(CLOCK_MONOTONIC);
        uint64_t pause_usec = MIN(RETRY_FIRST << MIN(manager->attempts, 10U), RETRY_LAST);

        if (manager->timer)
                return;
        log_debug("The system bus is of no use, trying again: %s", why);
        manager_interrupt(manager);
        manager->bus = sd_bus_close_unref(manager->bus);

        manager->attempts++;
        if (manager->lost_usec == 0)
                manager->lost_usec = now_usec;
        if (now_usec >= usec_add(manager->lost_usec, PATIENCE))
                manager_tell_lost(manager, why);
        if (sd_event_add_time_relative(manager->event, &manager->timer, CLOCK_MONOTONIC, pause_usec, 1,
                                       manager_on_timer, manager) < 0)
                manager_tell_lost(manager, "out of memory");
}

static int manager_on_disconnected(sd_bus_message *message, void *userdata, sd_bus_error *reterr_error) {
        manager_lose(ASSERT_PTR(userdata), "the connection broke");
        return 0;
}

static int manager_on_subscribed(sd_bus_message *message, void *userdata, sd_bus_error *reterr_error) {
        const sd_bus_error *error = sd_bus_message_get_error(message);

        /* Without it there are no signals; but a new systemd may have been told of us by the old one. */
        if (error && !sd_bus_error_has_name(error, "org.freedesktop.systemd1.AlreadySubscribed"))
                manager_lose(ASSERT_PTR(userdata), error->message ?: error->name);
        return 0;
}

static int manager_ask_all(UnitManager *manager) {
        int r;

        r = sd_bus_call_method_async(manager->bus, NULL, SYSTEMD_DESTINATION, SYSTEMD_PATH, SYSTEMD_MANAGER,
                                     "Subscribe", manager_on_subscribed, manager, NULL);
        if (r < 0)
                return r;
        manager_read(manager);
        return 0;
}

static int manager_on_owner_changed(sd_bus_message *message, void *userdata, sd_bus_error *reterr_error) {
        UnitManager *manager = ASSERT_PTR(userdata);
        const char *new_owner;
        int r;

        r = sd_bus_message_read(message, "sss", NULL, NULL, &new_owner);
        if (r < 0 || isempty(new_owner))
                return 0;
        manager_interrupt(manager);
        r = manager_ask_all(manager);
        if (r < 0)
                manager_lose(manager, strerror(-r));
        return 0;
}

static int manager_on_reloading(sd_bus_message *message, void *userdata, sd_bus_error *reterr_error) {
        UnitManager *manager = ASSERT_PTR(userdata);
        int active;

        if (sd_bus_message_read(message, "b", &active) >= 0 && !active)
                manager_read(manager);
        return 0;
}

static void manager_connect(UnitManager *manager) {
        int r;

        r = sd_bus_open_system_with_description(&manager->bus, "wakechain");
        if (r >= 0)
                r = sd_bus_attach_event(manager->bus, manager->event, SD_EVENT_PRIORITY_NORMAL);
        /* Listening comes before asking, so that nothing happens unseen in between. */
        if (r >= 0)
                r = sd_bus_match_signal_async(manager->bus, NULL, "org.freedesktop.DBus.Local", NULL,
                                              "org.freedesktop.DBus.Local", "Disconnected",
                                              manager_on_disconnected, NULL, manager);
        if (r >= 0)
                r = sd_bus_match_signal_async(manager->bus, NULL, SYSTEMD_DESTINATION, SYSTEMD_PATH,
                                              SYSTEMD_MANAGER, "Reloading", manager_on_reloading, NULL, manager);
        if (r >= 0)
                r = sd_bus_add_match_async(manager->bus, NULL,
                                           "type='signal',sender='org.freedesktop.DBus',"
                                           "path='/org/freedesktop/DBus',interface='org.freedesktop.DBus',"
                                           "member='NameOwnerChanged',arg0='" SYSTEMD_DESTINATION "'",
                                           manager_on_owner_changed, NULL, manager);
        if (r >= 0)
                r = manager_ask_all(manager);
        if (r < 0)
                manager_lose(manager, strerror(-r));
}

static int manager_get(UnitManager **ret, sd_event *event) {
        UnitManager *manager;
        int r;

        for (manager = managers; manager; manager = manager->next)
                if (manager->event == event) {
                        *ret = manager;
                        return 0;
                }

        manager = malloc(sizeof(*manager));
        if (!manager)
                return -ENOMEM;
        *manager = (UnitManager){
                .event = sd_event_ref(event),
                .next = managers,
                .lost_usec = time_now(CLOCK_MONOTONIC),
        };
        /* Watches are told of failures from the event loop only, so the first try is made there, too. */
        r = sd_event_add_time_relative(event, &manager->timer, CLOCK_MONOTONIC, 0, 1, manager_on_timer, manager);
        if (r < 0) {
                sd_event_unref(manager->event);
                free(manager);
                return r;
        }
        managers = manager;
        *ret = manager;
        return 0;
}

static void manager_free(UnitManager *manager) {
        UnitManager **place = &managers;

        while (*place != manager)
                place = &(*place)->next;
        *place = manager->next;
        sd_event_source_disable_unref(manager->timer);
        sd_bus_close_unref(manager->bus);
        sd_event_unref(manager->event);
        free(manager);
}

/* Making one */

int unit_watch_new(UnitWatch **ret, sd_event *event, const char *unit, UnitWatchHandler handler, void *userdata) {
        _cleanup_(unit_watch_freep) UnitWatch *watch = NULL;
        int r;

        assert(event);
        assert(handler);

        if (!unit_name_is_valid(unit))
                return -EINVAL;
        watch = malloc(sizeof(*watch));
        if (!watch)
                return -ENOMEM;
        *watch = (UnitWatch){
                .name = strdup(unit),
                .properties = { .stop_timeout_usec = STOP_TIMEOUT },
                .handler = handler,
                .userdata = userdata,
        };
        if (!watch->name)
                return -ENOMEM;
        r = sd_event_add_defer(event, &watch->telling, watch_on_telling, watch);
        if (r >= 0)
                r = sd_event_source_set_enabled(watch->telling, SD_EVENT_OFF);
        if (r >= 0)
                r = manager_get(&watch->manager, event);
        if (r < 0)
                return r;

        LIST_INSERT_HEAD(&watch->manager->watches, watch, watches);
        if (watch->manager->bus)
                watch_read(watch);
        *ret = TAKE_PTR(watch);
        return 0;
}

UnitWatch *unit_watch_free(UnitWatch *watch) {
        if (!watch)
                return NULL;

        watch_disconnect(watch);
        sd_event_source_disable_unref(watch->telling);
        if (watch->manager) {
                LIST_REMOVE(watch, watches);
                if (LIST_EMPTY(&watch->manager->watches))
                        manager_free(watch->manager);
        }
        properties_done(&watch->properties);
        free(watch->tell_sentence);
        free(watch->path);
        free(watch->name);
        return mfree(watch);
}
