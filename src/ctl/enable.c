#include <stdio.h>
#include <systemd/sd-event.h>

#include "config/config.h"
#include "config/disabled.h"
#include "ctl/ctl.h"
#include "ctl/reach.h"
#include "ctl/stacks.h"
#include "manager/unit-manager.h"
#include "util/log.h"
#include "util/text.h"

/* wakectl disable: clients of a service are not taken any more, now and after each boot, until it is enabled again. Its stack is left as it is,
 * and can be woken by hand. */

typedef struct Change {
        const char *name;
        bool enables, dry;
} Change;

static int failed(const Change *change, int r) {
        if (r == -EACCES || r == -EPERM)
                log_error("You may not %s %s: root may.", change->enables ? "enable" : "disable", change->name);
        else
                log_error("Failed to %s " DISABLED_FOLDER "/%s: %s", change->enables ? "remove" : "make",
                          change->name, strerror(-r));
        return CTL_FAILED;
}

/* Its socket, now. */

typedef struct SocketJob {
        const Change *change;
        sd_event *event;
} SocketJob;

static void job_on_unit(UnitWatch *watch, const UnitInfo *info, int error, const char *sentence, void *userdata) {
        SocketJob *job = ASSERT_PTR(userdata);
        const Change *change = job->change;

        if (info && info->busy)
                return;
        if (!info)
                log_error("%s is %s from the next boot on, and its socket could not be %s now: %s", change->name,
                          change->enables ? "enabled" : "disabled", change->enables ? "started" : "stopped",
                          sentence);
        (void) sd_event_exit(job->event, info ? CTL_FINE : CTL_FAILED);
}

static int move_socket(const Change *change) {
        _cleanup_free_ char *unit = text_printf("wake@%s.socket", change->name);
        _cleanup_(sd_event_unrefp) sd_event *event = NULL;
        _cleanup_(unit_watch_freep) UnitWatch *watch = NULL;
        SocketJob job = { .change = change };
        int r;

        r = unit ? sd_event_new(&event) : -ENOMEM;
        job.event = event;
        if (r >= 0)
                r = unit_watch_new(&watch, event, unit, job_on_unit, &job);
        if (r >= 0) {
                (change->enables ? unit_watch_start : unit_watch_stop)(watch);
                r = sd_event_loop(event);
        }
        return r < 0 ? failed(change, r) : r;
}

static int change_one(const Change *change) {
        int r;

        if (change->dry) {
                printf("%s would be %s.\n", change->name, change->enables ? "enabled" : "disabled");
                return CTL_FINE;
        }
        r = (change->enables ? service_enable : service_disable)("", change->name);
        if (r < 0)
                return failed(change, r);
        if (r == 0)
                log_notice("%s is %s already.", change->name, change->enables ? "enabled" : "disabled");
        return move_socket(change);
}

/* That it has left the configuration is no reason to keep what was said of it. */
static int forget(const Change *change) {
        int r = change->dry ? 0 : service_enable("", change->name);

        if (r < 0)
                return failed(change, r);
        log_notice("%s is in no file any more, and is not noted as disabled any more, either.", change->name);
        return CTL_FINE;
}

static int change(const Stacks *stacks, const Change *change) {
        const Service *service = config_find(stacks->config, change->name);

        if (!service && change->enables && service_is_disabled("", change->name))
                return forget(change);
        if (!service) {
                stacks_tell_unknown(stacks, change->name);
                return CTL_FAILED;
        }
        if (!service_has_front(service)) {
                log_error("%s has no port, and so no socket: there is nothing to %s.", change->name,
                          change->enables ? "enable" : "disable");
                return CTL_FAILED;
        }
        return change_one(change);
}

static int change_all(const CtlOptions *options, char **names, int n, bool enables) {
        _cleanup_(stacks_done) Stacks stacks = {};
        int outcome;

        if (!are_service_names(names, n))
                return CTL_USAGE;
        outcome = stacks_load(&stacks, STACKS_CONFIG, NULL, 0);
        if (outcome != CTL_FINE)
                return outcome;
        for (int i = 0; i < n; i++) {
                int r = change(&stacks, &(Change){ names[i], enables, options->dry_run });

                outcome = MAX(outcome, r);
        }
        return outcome;
}

int verb_enable(const CtlOptions *options, int argc, char **argv) {
        return change_all(options, argv, argc, /* enables= */ true);
}

int verb_disable(const CtlOptions *options, int argc, char **argv) {
        return change_all(options, argv, argc, /* enables= */ false);
}
