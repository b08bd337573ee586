#include <stdio.h>
#include <systemd/sd-event.h>

#include "ctl/ctl.h"
#include "io/printable.h"
#include "io/status-file.h"
#include "io/varlink.h"
#include "model/service.h"
#include "model/status.h"
#include "util/fd.h"
#include "util/log.h"

/* wakectl sleep: calls io.wakechain.Sleep and waits for the end of the waker, which is the end of the connection. A service that sleeps is
 * woken by the connection just as far as the waker has to know what of it runs. If the waker is killed on the way, its
 * successor is asked again: it would otherwise leave what it has not started itself. */

#define TEXT_MAX ((size_t) 1024)
#define ATTEMPTS_MAX 5U

typedef struct Sleep {
        sd_event *event;
        const char *name;
        Varlink *varlink;
        bool accepted;
} Sleep;

static const char *string_member(json_object *object, const char *key) {
        json_object *value;

        return json_object_is_type(object, json_type_object) && json_object_object_get_ex(object, key, &value) &&
                                               json_object_is_type(value, json_type_string)
                               ? json_object_get_string(value)
                               : NULL;
}

static void sleep_tell_refusal(const Sleep *sleep, const char *error, json_object *parameters) {
        const char *text = string_member(parameters, "message") ?: error;
        _cleanup_free_ char *printable =
                        printable_copy(text, MIN(strlen(text), TEXT_MAX), /* keep_lines= */ false);

        if (streq(error, "org.varlink.service.PermissionDenied"))
                log_error("%s was not put to sleep: its waker does not take that from fronts, nor from programs outside of any "
                          "unit or session.",
                          sleep->name);
        else
                log_error("%s was not put to sleep: %s", sleep->name, strempty(printable));
}

static void sleep_on_message(Varlink *varlink, json_object *message, void *userdata) {
        Sleep *sleep = ASSERT_PTR(userdata);
        const char *error = string_member(message, "error");
        json_object *parameters = NULL;

        if (!error) {
                sleep->accepted = true;
                return;
        }
        (void) json_object_object_get_ex(message, "parameters", &parameters);
        sleep_tell_refusal(sleep, error, parameters);
        (void) sd_event_exit(sleep->event, CTL_FAILED);
}

/* What became of it: an exit code, or -EAGAIN if that is not the end of it. */
static int sleep_outcome(const Sleep *sleep) {
        _cleanup_(status_freep) Status *status = NULL;
        int r;

        if (!sleep->accepted)
                return -EAGAIN;
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

static void sleep_on_end(Varlink *varlink, int error, void *userdata) {
        Sleep *sleep = ASSERT_PTR(userdata);

        (void) sd_event_exit(sleep->event, sleep_outcome(sleep));
}

static int sleep_tell_unreachable(const Sleep *sleep, const char *path, int error) {
        if (error == -EACCES || error == -EPERM)
                log_error("You may not put %s to sleep: root and members of the group 'wakechain' may.",
                          sleep->name);
        else if (error == -ENOENT)
                log_error("There is no service '%s': %s does not exist. If it is new in dependencies.json, "
                          "'systemctl daemon-reload' and 'systemctl start wake-control@%s.socket' bring it up.",
                          sleep->name, path, sleep->name);
        else if (error == -ECONNREFUSED)
                log_error("Nobody listens on %s: 'systemctl restart wake-control@%s.socket'.", path, sleep->name);
        else
                log_error("Failed to connect to %s: %s", path, strerror(-error));
        return CTL_FAILED;
}

/* One call. An exit code, or -EAGAIN. */
static int sleep_try(Sleep *sleep, const char *path) {
        json_object *parameters;
        int r;

        sleep->accepted = false;
        r = sd_event_new(&sleep->event);
        if (r < 0)
                return log_error_errno(r, "Failed to make the event loop: %m");
        r = varlink_connect(&sleep->varlink, sleep->event, path, sleep_on_message, sleep_on_end, sleep);
        if (r < 0)
                return sleep_tell_unreachable(sleep, path, r);

        parameters = json_object_new_object();
        if (!parameters || json_object_object_add(parameters, "all", json_object_new_boolean(true)) < 0)
                r = -ENOMEM;
        else
                r = varlink_call(sleep->varlink, "io.wakechain.Sleep", parameters, /* more= */ false);
        json_object_put(parameters);
        if (r < 0)
                return log_error_errno(r, "Failed to call the waker of %s: %m", sleep->name);
        return sd_event_loop(sleep->event);
}

int verb_sleep(int argc, char **argv) {
        _cleanup_free_ char *path = NULL;
        Sleep sleep = { .name = argv[0] };
        int r = -EAGAIN;

        if (!service_name_is_valid(sleep.name)) {
                log_error("'%s' cannot be the name of a service.", sleep.name);
                return CTL_USAGE;
        }
        if (asprintf(&path, "/run/wakechain/control/%s.sock", sleep.name) < 0) {
                path = NULL;
                (void) log_oom();
                return CTL_FAILED;
        }

        for (unsigned i = 0; i < ATTEMPTS_MAX && r == -EAGAIN; i++) {
                r = sleep_try(&sleep, path);
                sleep.varlink = varlink_free(sleep.varlink);
                sleep.event = sd_event_unref(sleep.event);
        }
        if (r == -EAGAIN)
                log_error("The waker of %s ends without an answer; see 'journalctl -u wake@%s'.", sleep.name,
                          sleep.name);
        return r < 0 ? CTL_FAILED : r;
}
