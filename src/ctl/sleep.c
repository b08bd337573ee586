#include <systemd/sd-event.h>

#include "control/status-file.h"
#include "control/waker-call.h"
#include "ctl/ctl.h"
#include "model/service.h"
#include "util/log.h"

/* wakectl sleep: asks the waker, and waits for its end. For a service that sleeps the waker looks what of it runs, and wakes nothing. If the
 * waker is killed on the way, its successor is asked again: it would otherwise leave what it has not started itself. */

#define LOSSES_MAX 5U

typedef struct Sleep {
        sd_event *event; /* borrowed, as are the others */
        const char *name, *path;
} Sleep;

static int sleep_tell_unreachable(const Sleep *sleep, int error) {
        if (error == -EACCES || error == -EPERM)
                log_error("You may not put %s to sleep: root and members of the group 'wakechain' may.",
                          sleep->name);
        else if (error == -ENOENT)
                log_error("There is no service '%s': %s does not exist. If it is new in dependencies.json, "
                          "'systemctl daemon-reload' and 'systemctl start wake-control@%s.socket' bring it up.",
                          sleep->name, sleep->path, sleep->name);
        else if (error == -ECONNREFUSED)
                log_error("Nobody listens on %s: 'systemctl restart wake-control@%s.socket'.", sleep->path,
                          sleep->name);
        else
                log_error("Failed to connect to %s: %s", sleep->path, strerror(-error));
        return CTL_FAILED;
}

/* What became of it: an exit code, or -EAGAIN if that is not the end of it. */
static int sleep_outcome(const Sleep *sleep) {
        _cleanup_(status_freep) Status *status = NULL;
        int r;

        r = status_file_read(&status, "", sleep->name);
        if (r == -ENOENT)
                return CTL_FINE;
        if (r < 0) {
                log_error("Failed to read " STATUS_FOLDER "/%s.json, so whether %s sleeps is not known: %s",
                          sleep->name, sleep->name, strerror(-r));
                return CTL_FAILED;
        }

        switch (status->state) {
        case SERVICE_STOPPING:
                return -EAGAIN;
        case SERVICE_FAILED:
                log_error("%s sleeps, and its last wake has failed: %s", sleep->name, strempty(status->error));
                return CTL_FAILED;
        case SERVICE_ASLEEP:
                return CTL_FINE;
        default:
                log_notice("%s was put to sleep, and has been woken again.", sleep->name);
                return CTL_FINE;
        }
}

static void sleep_on_end(WakerCall *call, const CallEnding *ending, void *userdata) {
        Sleep *sleep = ASSERT_PTR(userdata);
        int r = -EAGAIN;

        if (ending->end == CALL_FAILED) {
                log_error("%s was not put to sleep: %s", sleep->name,
                          streq(ending->error_name, "org.varlink.service.PermissionDenied")
                                          ? "its waker does not take that from fronts."
                                          : ending->message);
                r = CTL_FAILED;
        } else if (ending->end == CALL_DONE)
                r = sleep_outcome(sleep);
        else if (ending->end == CALL_LOST && ending->error < 0)
                r = sleep_tell_unreachable(sleep, ending->error);

        if (r == -EAGAIN && ending->n_losses >= LOSSES_MAX) {
                log_error("The waker of %s ends without an answer; see 'journalctl -u wake@%s'.", sleep->name,
                          sleep->name);
                r = CTL_FAILED;
        }
        if (r != -EAGAIN)
                (void) sd_event_exit(sleep->event, r);
}

int verb_sleep(const CtlOptions *options, int argc, char **argv) {
        _cleanup_(sd_event_unrefp) sd_event *event = NULL;
        _cleanup_free_ char *path = NULL;
        _cleanup_(waker_call_freep) WakerCall *call = NULL;
        Sleep sleep = { .name = argv[0] };
        int r;

        if (!service_name_is_valid(sleep.name)) {
                log_error("'%s' cannot be the name of a service.", sleep.name);
                return CTL_USAGE;
        }
        sleep.path = path = waker_call_path("", sleep.name);
        r = sd_event_new(&event);
        sleep.event = event;
        if (r >= 0)
                r = waker_call_new(&call, event, path, NULL, sleep_on_end, &sleep);
        if (r < 0) {
                (void) log_error_errno(r, "Failed to make the event loop: %m");
                return CTL_FAILED;
        }
        (void) waker_call_sleep(call);
        r = sd_event_loop(event);
        return r < 0 ? CTL_FAILED : r;
}
