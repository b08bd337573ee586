#include <stdio.h>

#include "control/varlink.h"
#include "control/waker-call.h"
#include "util/alarm.h"
#include "util/json-members.h"
#include "util/log.h"
#include "util/printable.h"
#include "util/text.h"

/* WakerCall: turns the stream of a waker's replies into statuses, and each end of a connection into what it means. A status that cannot be
 * read is skipped with a debug record: the waker may be newer, and the next one may be readable.
 *
 * A waker tells before it goes to sleep, so one that goes without a word has crashed, and PID 1 starts the next one: each loss in a row makes
 * the pause longer, and whoever is told of them decides how many are too many. While a stack is going to sleep nobody takes connections: the
 * next one stays in the socket's backlog until PID 1 has a waker for it. */

#define MESSAGE_MAX ((size_t) 1024)
#define PATIENCE_USEC (2 * USEC_PER_MINUTE)
#define BUSY_PAUSE_USEC (5 * USEC_PER_MSEC)
#define BUSY_PAUSE_LAST_USEC (250 * USEC_PER_MSEC)
#define LOSS_PAUSE_USEC (50 * USEC_PER_MSEC)
#define LOSS_PAUSE_LAST_USEC USEC_PER_SEC

struct WakerCall {
        sd_event *event;
        char *path;
        CallStatusHandler on_status;
        CallEndHandler on_end;
        void *userdata;
        bool holds; /* or puts to sleep */
        WakeTrigger trigger;
        Varlink *varlink; /* NULL: off, or in a pause */
        sd_event_source *again,
                        *patience; /* made at the start and off, so that arming one cannot fail for want of memory */
        bool was_active; /* this connection has seen the stack waking or awake */
        bool stopping; /* …, and after that, or at first, on its way to sleep */
        bool accepted; /* it is being put to sleep */
        unsigned n_busy, n_losses; /* in a row */
};

static uint64_t growing(uint64_t first_usec, unsigned n, uint64_t last_usec) {
        return MIN(first_usec << MIN(n, 16U), last_usec);
}

/* The handler is the last thing: it may stop or free the call. */
static void waker_call_end(WakerCall *call, CallEnding ending) {
        call->varlink = varlink_free(call->varlink);
        if (ending.end == CALL_BUSY || ending.end == CALL_STOPPING)
                alarm_start(call->again, growing(BUSY_PAUSE_USEC, call->n_busy++, BUSY_PAUSE_LAST_USEC));
        else
                alarm_start(call->again, growing(LOSS_PAUSE_USEC, call->n_losses++, LOSS_PAUSE_LAST_USEC));
        ending.n_tries = call->n_busy + call->n_losses;
        ending.n_losses = call->n_losses;
        if (ending.end == CALL_FAILED || ending.end == CALL_SILENT)
                waker_call_stop(call);
        ending.error_name = strempty(ending.error_name);
        ending.message = strempty(ending.message);
        call->on_end(call, &ending, call->userdata);
}

static void waker_call_take_error(WakerCall *call, const char *error, json_object *parameters) {
        const char *reason = json_member_text(parameters, "reason");
        const char *message = json_member_text(parameters, "message") ?: error;
        _cleanup_free_ char *printable =
                        printable_copy(message, MIN(strlen(message), MESSAGE_MAX), /* keep_lines= */ false);

        log_debug("The waker answered %s: %s", error, strempty(printable));
        if (streq(error, "io.wakechain.Stopping"))
                waker_call_end(call, (CallEnding){ .end = CALL_STOPPING });
        else
                waker_call_end(call, (CallEnding){
                                                     .end = CALL_FAILED,
                                                     .reason = reason ? failure_reason_from_string(reason)
                                                                      : _FAILURE_INVALID,
                                                     .error_name = error,
                                                     .message = printable,
                                     });
}

static void waker_call_take_status(WakerCall *call, const Status *status) {
        alarm_stop(call->patience);
        switch (status->state) {
        case SERVICE_AWAKE:
                call->n_busy = call->n_losses = 0;
                __attribute__((fallthrough));
        case SERVICE_WAKING:
                call->was_active = true;
                call->stopping = false;
                break;
        case SERVICE_STOPPING:
        case SERVICE_ASLEEP:
                /* A waker that has not begun yet is asleep, and so is one that has ended what it was told to stop. */
                call->stopping = call->stopping || call->was_active || status->state == SERVICE_STOPPING;
                break;
        default:
                /* Failed: the error follows, and says why. */
                break;
        }
        call->on_status(call, status, call->userdata);
}

static void waker_call_on_message(Varlink *varlink, json_object *message, void *userdata) {
        WakerCall *call = ASSERT_PTR(userdata);
        _cleanup_(status_freep) Status *status = NULL;
        json_object *parameters = json_member(message, "parameters");
        const char *error = json_member_text(message, "error");
        int r;

        if (error) {
                waker_call_take_error(call, error, parameters);
                return;
        }
        if (!call->holds) {
                call->accepted = true;
                return;
        }
        r = status_from_json(&status, json_member(parameters, "status"));
        if (r < 0)
                log_debug_errno(r, "Failed to read a status from the waker, ignoring: %m");
        else
                waker_call_take_status(call, status);
}

static void waker_call_on_end(Varlink *varlink, int error, void *userdata) {
        WakerCall *call = ASSERT_PTR(userdata);

        if (error < 0)
                log_debug_errno(error, "The connection to the waker broke: %m");
        waker_call_end(call, (CallEnding){ .end = call->stopping   ? CALL_STOPPING
                                                  : call->accepted ? CALL_DONE
                                                                   : CALL_LOST });
}

/* A waker that ends just now may have left an answer: a call that cannot be written ends through reading, too. */
static int waker_call_ask(WakerCall *call) {
        _cleanup_(json_freep) json_object *parameters = json_object_new_object();

        if (call->holds ? !json_add_text(parameters, "trigger", wake_trigger_to_string(call->trigger))
                        : !json_add(parameters, "all", json_object_new_boolean(true)))
                return -ENOMEM;
        return varlink_call(call->varlink, call->holds ? "io.wakechain.Hold" : "io.wakechain.Sleep", parameters,
                            /* more= */ call->holds);
}

static int waker_call_dial(WakerCall *call) {
        int r;

        call->was_active = call->stopping = call->accepted = false;
        if (call->holds && !alarm_is_on(call->patience))
                alarm_start(call->patience, PATIENCE_USEC);
        r = varlink_connect(&call->varlink, call->event, call->path, waker_call_on_message, waker_call_on_end,
                            call);
        if (r >= 0)
                r = waker_call_ask(call);
        if (r >= 0)
                return 0;

        waker_call_end(call, (CallEnding){ .end = r == -EAGAIN || r == -EMFILE || r == -ENFILE || r == -ENOBUFS ||
                                                                                  r == -ENOMEM
                                                                  ? CALL_BUSY
                                                                  : CALL_LOST,
                                           .error = r });
        return r;
}

static int waker_call_on_again(sd_event_source *source, uint64_t usec, void *userdata) {
        (void) waker_call_dial(ASSERT_PTR(userdata));
        return 0;
}

static int waker_call_on_patience(sd_event_source *source, uint64_t usec, void *userdata) {
        waker_call_end(ASSERT_PTR(userdata), (CallEnding){ .end = CALL_SILENT });
        return 0;
}

int waker_call_hold(WakerCall *call, WakeTrigger trigger) {
        assert(call && call->on_status);
        assert(trigger >= 0 && trigger < _TRIGGER_MAX);

        call->holds = true;
        call->trigger = trigger;
        return waker_call_dial(call);
}

int waker_call_sleep(WakerCall *call) {
        assert(call);

        call->holds = false;
        return waker_call_dial(call);
}

void waker_call_stop(WakerCall *call) {
        call->varlink = varlink_free(call->varlink);
        alarm_stop(call->again);
        alarm_stop(call->patience);
        call->n_busy = call->n_losses = 0;
}

bool waker_call_is_connected(const WakerCall *call) {
        return call->varlink;
}

bool waker_call_was_active(const WakerCall *call) {
        return call->was_active;
}

int waker_call_new(WakerCall **ret, sd_event *event, const char *path, CallStatusHandler on_status,
                   CallEndHandler on_end, void *userdata) {
        _cleanup_(waker_call_freep) WakerCall *call = NULL;
        int r;

        assert(ret);
        assert(on_end);

        call = malloc(sizeof(*call));
        if (!call)
                return -ENOMEM;
        *call = (WakerCall){
                .event = sd_event_ref(event),
                .path = path ? strdup(path) : NULL,
                .on_status = on_status,
                .on_end = on_end,
                .userdata = userdata,
        };
        if (!call->path)
                return -ENOMEM;
        r = alarm_new(&call->again, event, USEC_PER_MSEC, waker_call_on_again, call);
        if (r >= 0)
                r = alarm_new(&call->patience, event, USEC_PER_MSEC, waker_call_on_patience, call);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(call);
        return 0;
}

WakerCall *waker_call_free(WakerCall *call) {
        if (!call)
                return NULL;

        varlink_free(call->varlink);
        sd_event_source_disable_unref(call->again);
        sd_event_source_disable_unref(call->patience);
        sd_event_unref(call->event);
        free(call->path);
        return mfree(call);
}

char *waker_call_path(const char *root, const char *service) {
        return text_printf("%s/run/wakechain/control/%s.sock", strempty(root), service);
}
