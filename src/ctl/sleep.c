#include <stdio.h>
#include <systemd/sd-event.h>

#include "control/status-file.h"
#include "control/waker-call.h"
#include "ctl/ctl.h"
#include "ctl/reach.h"
#include "ctl/stacks.h"
#include "manager/unit-manager.h"
#include "util/alarm.h"
#include "util/log.h"
#include "util/text.h"

/* wakectl sleep: asks the waker, and waits for its end. For a service that sleeps the waker looks what of it runs, and wakes nothing. If the
 * waker is killed on the way, its successor is asked again: it would otherwise leave what it has not started itself.
 *
 * A waker that hangs is not waited for longer than a stop may take (TimeoutStopSec= of its unit), twice, as one may be under way already, and
 * a while to begin. Once it stops, systemd ends one that hangs, and knows how long its containers may take. */

#define LOSSES_MAX 5U
#define BEGINNING_USEC (30 * USEC_PER_SEC)
#define STOP_USEC (5 * USEC_PER_MINUTE) /* as long as systemd has not said */

typedef struct Sleep {
        sd_event *event; /* borrowed, as are the others */
        const char *name, *path;
        sd_event_source *patience;
        uint64_t begin_usec, patience_usec;
} Sleep;

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
        else if (ending->end == CALL_LOST && ending->error < 0) {
                _cleanup_free_ char *wish = text_printf("put %s to sleep", sleep->name);

                tell_unreachable(strempty(wish), sleep->name, sleep->path, ending->error);
                r = CTL_FAILED;
        }

        if (r == -EAGAIN && ending->n_losses >= LOSSES_MAX) {
                log_error("The waker of %s ends without an answer; see 'journalctl -u wake@%s'.", sleep->name,
                          sleep->name);
                r = CTL_FAILED;
        }
        if (r != -EAGAIN)
                (void) sd_event_exit(sleep->event, r);
}

static void sleep_be_patient(Sleep *sleep, uint64_t stop_usec) {
        sleep->patience_usec = usec_add(BEGINNING_USEC, usec_add(stop_usec, stop_usec));
        alarm_start(sleep->patience,
                    usec_sub(usec_add(sleep->begin_usec, sleep->patience_usec), time_now(CLOCK_MONOTONIC)));
}

static void sleep_on_unit(UnitWatch *watch, const UnitInfo *info, int error, const char *sentence,
                          void *userdata) {
        Sleep *sleep = ASSERT_PTR(userdata);

        if (!info)
                return;
        if (info->state == UNIT_DEACTIVATING) {
                sleep->begin_usec = 0;
                alarm_stop(sleep->patience);
                return;
        }
        /* The one after it, if it is killed, is waited for anew. */
        if (sleep->begin_usec == 0)
                sleep->begin_usec = time_now(CLOCK_MONOTONIC);
        sleep_be_patient(sleep, info->stop_timeout_usec);
}

static int sleep_on_patience(sd_event_source *source, uint64_t usec, void *userdata) {
        Sleep *sleep = ASSERT_PTR(userdata);
        char span[SPAN_MAX];

        log_error("%1$s was not put to sleep within %2$s: its waker hangs, or what it waits for does; see 'systemctl status wake@%1$s'. "
                  "'systemctl kill --signal=KILL wake@%1$s' has another one take over.",
                  sleep->name, span_to_string(sleep->patience_usec, span));
        (void) sd_event_exit(sleep->event, CTL_FAILED);
        return 0;
}

static int sleep_one(const char *name) {
        _cleanup_(sd_event_unrefp) sd_event *event = NULL;
        _cleanup_(sd_event_source_unrefp) sd_event_source *patience = NULL;
        _cleanup_free_ char *path = NULL, *unit = NULL;
        _cleanup_(waker_call_freep) WakerCall *call = NULL;
        _cleanup_(unit_watch_freep) UnitWatch *watch = NULL;
        Sleep sleep = { .name = name, .begin_usec = time_now(CLOCK_MONOTONIC) };
        int r;

        sleep.path = path = waker_call_path("", sleep.name);
        unit = text_printf("wake@%s.service", sleep.name);
        r = unit ? sd_event_new(&event) : -ENOMEM;
        sleep.event = event;
        if (r >= 0)
                r = waker_call_new(&call, event, path, NULL, sleep_on_end, &sleep);
        if (r >= 0)
                r = alarm_new(&patience, event, 0, sleep_on_patience, &sleep);
        sleep.patience = patience;
        if (r >= 0)
                r = unit_watch_new(&watch, event, unit, sleep_on_unit, &sleep);
        if (r < 0) {
                (void) log_error_errno(r, "Failed to make the event loop: %m");
                return CTL_FAILED;
        }
        sleep_be_patient(&sleep, STOP_USEC);
        (void) waker_call_sleep(call);
        r = sd_event_loop(event);
        return r < 0 ? CTL_FAILED : r;
}

static int say_what_sleeps(char **names, int n) {
        _cleanup_(stacks_done) Stacks stacks = {};
        int r;

        r = stacks_load(&stacks, STACKS_STATUS, names, n);
        for (size_t i = 0; r == CTL_FINE && i < stacks.n_stacks; i++)
                printf("%s is %s, and would %s.\n", stacks.stacks[i].service->name, stack_state(&stacks.stacks[i]),
                       streq(stack_state(&stacks.stacks[i]), service_state_to_string(SERVICE_ASLEEP))
                                       ? "be looked at: what runs of it nevertheless would be stopped"
                                       : "be put to sleep");
        return r != CTL_FINE ? r : stacks.outcome;
}

/* One after the other, as they are given. */
int verb_sleep(const CtlOptions *options, int argc, char **argv) {
        int outcome = CTL_FINE;

        if (!are_service_names(argv, argc))
                return CTL_USAGE;
        if (options->dry_run)
                return say_what_sleeps(argv, argc);
        for (int i = 0; i < argc; i++) {
                int r = sleep_one(argv[i]);

                outcome = MAX(outcome, r);
        }
        return outcome;
}
