#include "io/hold.h"
#include "io/printable.h"
#include "io/varlink.h"
#include "util/log.h"

/* Hold: connects, calls, and turns the stream of replies into statuses and one end. A status that cannot be read
 * is skipped with a debug record: the waker may be newer, and the next one may be readable. */

#define HOLD_MESSAGE_MAX ((size_t) 1024)

struct Hold {
        Varlink *varlink;
        char *message; /* of the refusal */
        HoldStatusHandler on_status;
        HoldEndHandler on_end;
        void *userdata;
};

static const char *string_member(json_object *object, const char *key) {
        json_object *value;

        if (!json_object_is_type(object, json_type_object) || !json_object_object_get_ex(object, key, &value) ||
            !json_object_is_type(value, json_type_string))
                return NULL;
        return json_object_get_string(value);
}

/* The handler is the last thing: it may free the hold. */
static void hold_end(Hold *hold, HoldEnd end, FailureReason reason) {
        hold->varlink = varlink_free(hold->varlink);
        hold->on_end(hold, end, reason, hold->userdata);
}

static void hold_on_error(Hold *hold, const char *error, json_object *parameters) {
        const char *reason = string_member(parameters, "reason");
        const char *message = string_member(parameters, "message") ?: error;

        log_debug("The waker answered %s: %s", error, message);
        free(hold->message);
        hold->message = printable_copy(message, MIN(strlen(message), HOLD_MESSAGE_MAX), /* keep_lines= */ false);
        if (streq(error, "io.wakechain.Stopping"))
                hold_end(hold, HOLD_STOPPING, FAILURE_NONE);
        else
                hold_end(hold, HOLD_FAILED, reason ? failure_reason_from_string(reason) : _FAILURE_INVALID);
}

static void hold_on_message(Varlink *varlink, json_object *message, void *userdata) {
        Hold *hold = ASSERT_PTR(userdata);
        _cleanup_(status_freep) Status *status = NULL;
        json_object *parameters = NULL, *object = NULL;
        const char *error = string_member(message, "error");
        int r;

        (void) json_object_object_get_ex(message, "parameters", &parameters);
        if (error) {
                hold_on_error(hold, error, parameters);
                return;
        }

        if (json_object_is_type(parameters, json_type_object))
                (void) json_object_object_get_ex(parameters, "status", &object);
        r = status_from_json(&status, object);
        if (r < 0) {
                log_debug_errno(r, "Failed to read a status from the waker, ignoring: %m");
                return;
        }
        hold->on_status(hold, status, hold->userdata);
}

static void hold_on_end(Varlink *varlink, int error, void *userdata) {
        if (error < 0)
                log_debug_errno(error, "The connection to the waker broke: %m");
        hold_end(ASSERT_PTR(userdata), HOLD_LOST, FAILURE_NONE);
}

static int hold_call(Hold *hold, WakeTrigger trigger) {
        json_object *parameters = json_object_new_object();
        json_object *text = json_object_new_string(wake_trigger_to_string(trigger));
        int r = -ENOMEM;

        if (parameters && text && json_object_object_add(parameters, "trigger", text) >= 0) {
                text = NULL;
                /* A waker that ends just now may have left an answer: a call that cannot be written ends through
                 * reading, too. */
                r = varlink_call(hold->varlink, "io.wakechain.Hold", parameters, /* more= */ true);
        }
        json_object_put(text);
        json_object_put(parameters);
        return r;
}

int hold_new(Hold **ret, sd_event *event, const char *path, WakeTrigger trigger, HoldStatusHandler on_status,
             HoldEndHandler on_end, void *userdata) {
        _cleanup_(hold_freep) Hold *hold = NULL;
        int r;

        assert(ret);
        assert(path);
        assert(trigger >= 0 && trigger < _TRIGGER_MAX);
        assert(on_status);
        assert(on_end);

        hold = malloc(sizeof(*hold));
        if (!hold)
                return -ENOMEM;
        *hold = (Hold){ .on_status = on_status, .on_end = on_end, .userdata = userdata };

        r = varlink_connect(&hold->varlink, event, path, hold_on_message, hold_on_end, hold);
        if (r < 0)
                return r;
        r = hold_call(hold, trigger);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(hold);
        return 0;
}

Hold *hold_free(Hold *hold) {
        if (!hold)
                return NULL;

        varlink_free(hold->varlink);
        free(hold->message);
        return mfree(hold);
}

const char *hold_message(const Hold *hold) {
        return strempty(hold->message);
}
