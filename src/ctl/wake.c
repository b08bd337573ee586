#include "ctl/reach.h"
#include "ctl/waking.h"
#include "util/log.h"

/* wakectl wake: until they are awake. */

static void wake_on_done(Waking *waking, int outcome, void *userdata) {
        (void) sd_event_exit(userdata, outcome);
}

/* What they would start. */
static int print_plans(const CtlOptions *options, int n, char **names) {
        int outcome = CTL_FINE;

        for (int i = 0; i < n; i++) {
                int r = verb_plan(options, 1, &names[i]);

                outcome = MAX(outcome, r);
        }
        return outcome;
}

int verb_wake(const CtlOptions *options, int argc, char **argv) {
        _cleanup_(sd_event_unrefp) sd_event *event = NULL;
        _cleanup_(waking_freep) Waking *waking = NULL;
        int r;

        if (!are_service_names(argv, argc))
                return CTL_USAGE;
        if (options->dry_run)
                return print_plans(options, argc, argv);
        r = sd_event_new(&event);
        if (r >= 0)
                r = waking_new(&waking, event, options, argv, (size_t) argc, wake_on_done, event);
        if (r >= 0) {
                waking_begin(waking);
                r = sd_event_loop(event);
        }
        if (r < 0) {
                (void) log_error_errno(r, "Failed to wait for the wakers: %m");
                return CTL_FAILED;
        }
        return r;
}
