#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "control/waker-call.h"
#include "ctl/hold.h"
#include "ctl/output.h"
#include "ctl/reach.h"
#include "ctl/until.h"
#include "ctl/waking.h"
#include "manager/unit-manager.h"
#include "util/log.h"
#include "util/text.h"

/* wakectl hold: keeps stacks awake though nobody uses them. By default a transient unit for each does so, which runs this verb with --foreground:
 * that holds until the time has come, it is stopped, or the stack is put to sleep. A new hold of a stack takes the place of those before. */

#define UNIT_PREFIX "wake-hold@"

typedef struct Hold {
        sd_event *event; /* borrowed */
        uint64_t until_usec; /* CLOCK_REALTIME; USEC_INFINITY: until it is put to sleep */
        char *const *names;
        size_t n_names;
        bool awake;
} Hold;

int hold_list(ManagerUnit **ret, size_t *ret_n, const char *service) {
        char pattern[128];

        (void) snprintf(pattern, sizeof(pattern), UNIT_PREFIX "%s:*.service", service);
        return manager_list(ret, ret_n, (char *[]){ (char *) "active", (char *) "activating", NULL }, pattern);
}

static const char *until_to_string(uint64_t until_usec, char buffer[static LOCAL_TIME_MAX + sizeof("until ")]) {
        char time[LOCAL_TIME_MAX];

        if (until_usec == USEC_INFINITY)
                return strcpy(buffer, "until it is put to sleep");
        (void) snprintf(buffer, LOCAL_TIME_MAX + sizeof("until "), "until %s",
                        local_time_to_string(until_usec, time));
        return buffer;
}

/* In this process */

static int hold_on_time(sd_event_source *source, uint64_t usec, void *userdata) {
        Hold *hold = ASSERT_PTR(userdata);

        for (size_t i = 0; i < hold->n_names; i++)
                log_notice("The time has come, %s is not held awake any more.", hold->names[i]);
        (void) sd_event_exit(hold->event, CTL_FINE);
        return 0;
}

/* That is how a hold ends. */
static int hold_on_signal(sd_event_source *source, const struct signalfd_siginfo *info, void *userdata) {
        (void) sd_event_exit(userdata, CTL_FINE);
        return 0;
}

static void hold_on_waking(Waking *waking, int outcome, void *userdata) {
        Hold *hold = ASSERT_PTR(userdata);
        char until[LOCAL_TIME_MAX + sizeof("until ")];
        int r;

        if (hold->awake || outcome != CTL_FINE) {
                (void) sd_event_exit(hold->event, outcome);
                return;
        }
        hold->awake = true;
        r = sd_event_add_signal(hold->event, NULL, SIGINT, hold_on_signal, hold->event);
        if (r >= 0)
                r = sd_event_add_signal(hold->event, NULL, SIGTERM, hold_on_signal, hold->event);
        if (r < 0) {
                (void) log_error_errno(r, "Failed to wait for signals: %m");
                (void) sd_event_exit(hold->event, CTL_FAILED);
                return;
        }
        for (size_t i = 0; i < hold->n_names; i++)
                log_notice("%s is held awake %s.", hold->names[i], until_to_string(hold->until_usec, until));
        (void) sd_notify(0, "READY=1");
}

static void wake_on_done(Waking *waking, int outcome, void *userdata) {
        (void) sd_event_exit(userdata, outcome);
}

/* Until it is awake, or, in the foreground, until the hold ends. */
static int hold_here(const CtlOptions *options, Hold *hold, bool foreground) {
        _cleanup_(sd_event_unrefp) sd_event *event = NULL;
        _cleanup_(waking_freep) Waking *waking = NULL;
        int r;

        r = sd_event_new(&event);
        hold->event = event;
        if (r >= 0 && foreground)
                r = waking_new(&waking, event, options, hold->names, hold->n_names, hold_on_waking, hold);
        else if (r >= 0)
                r = waking_new(&waking, event, options, hold->names, hold->n_names, wake_on_done, event);
        if (r >= 0 && foreground) {
                waking_keep(waking);
                if (hold->until_usec != USEC_INFINITY)
                        r = sd_event_add_time(event, NULL, CLOCK_REALTIME, hold->until_usec, USEC_PER_SEC,
                                              hold_on_time, hold);
        }
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

/* In a unit of their own */

static int hold_refused(int r, const char *name, const char *sentence) {
        if (r == -EACCES || r == -EPERM)
                log_error("You may not start units: root may. 'wakectl hold --foreground %1$s' holds it as long as that runs, "
                          "and is for members of the group 'wakechain', too.",
                          name);
        else
                log_error("%s is not held awake: %s", name, sentence ? sentence : strerror(-r));
        return CTL_FAILED;
}

static int hold_start(const char *name, uint64_t until_usec) {
        static char program[] = "/proc/self/exe", verb[] = "hold", option[] = "--foreground", quiet[] = "--quiet";
        _cleanup_free_ char *unit = NULL, *description = NULL, *until = NULL, *sentence = NULL;
        char text[LOCAL_TIME_MAX + sizeof("until ")], path[PATH_MAX];
        ssize_t size = readlink(program, path, sizeof(path) - 1);
        char *command[] = { path, verb, option, quiet, (char *) name, NULL, NULL };
        int r;

        if (size < 0)
                return hold_refused(-errno, name, NULL);
        path[size] = '\0';
        /* No name of a service has a colon. */
        unit = text_printf(UNIT_PREFIX "%s:%" PRIx64 ".service", name, time_now(CLOCK_REALTIME));
        description = text_printf("Stack %s held awake %s", name, until_to_string(until_usec, text));
        if (until_usec != USEC_INFINITY)
                command[5] = until = text_printf("--until=@%" PRIu64, until_usec / USEC_PER_SEC);
        if (!unit || !description || (until_usec != USEC_INFINITY && !until)) {
                (void) log_oom();
                return CTL_FAILED;
        }
        r = manager_start_transient(&(TransientService){ .unit = unit,
                                                         .description = description,
                                                         .user = "wakechain",
                                                         .slice = "wakechain.slice",
                                                         .command = command },
                                    &sentence);
        if (r < 0)
                return hold_refused(r, name, sentence);
        log_notice("%s is held awake %s, by %s.", name, until_to_string(until_usec, text), unit);
        return CTL_FINE;
}

typedef struct HoldUnit {
        sd_event *event; /* borrowed */
        const char *name, *unit;
} HoldUnit;

static void hold_on_unit(UnitWatch *watch, const UnitInfo *info, int error, const char *sentence, void *userdata) {
        HoldUnit *hold = ASSERT_PTR(userdata);

        if (!info || info->state == UNIT_ACTIVATING)
                return;
        if (info->state != UNIT_ACTIVE)
                log_error("%s is not held awake: see 'journalctl -u %s'.", hold->name, hold->unit);
        (void) sd_event_exit(hold->event, info->state == UNIT_ACTIVE ? CTL_FINE : CTL_FAILED);
}

/* The stack is awake, and we are about to let it go: its unit has to have it. */
static int hold_wait(const char *name) {
        _cleanup_(sd_event_unrefp) sd_event *event = NULL;
        _cleanup_(unit_watch_freep) UnitWatch *watch = NULL;
        HoldUnit hold = { .name = name };
        ManagerUnit *units = NULL;
        size_t n = 0;
        int r;

        r = hold_list(&units, &n, name);
        hold.unit = n > 0 ? units[n - 1].name : NULL;
        if (r >= 0)
                r = sd_event_new(&event);
        hold.event = event;
        if (r >= 0 && hold.unit)
                r = unit_watch_new(&watch, event, hold.unit, hold_on_unit, &hold);
        if (r >= 0)
                r = hold.unit ? sd_event_loop(event) : CTL_FAILED;
        if (r >= 0 && !hold.unit)
                log_error("%s is not held awake: its unit has ended already.", name);
        manager_units_free(units, n);
        if (r < 0) {
                (void) log_error_errno(r, "Failed to wait for what holds %s awake: %m", name);
                return CTL_FAILED;
        }
        return r;
}

/* Those before the new one. */
static void hold_end(const ManagerUnit *units, size_t n) {
        for (size_t i = 0; i < n; i++) {
                _cleanup_free_ char *sentence = NULL;
                int r = manager_stop(units[i].name, &sentence);

                if (r < 0)
                        log_warning("Failed to stop %s, which was there before: %s", units[i].name,
                                    sentence ? sentence : strerror(-r));
        }
}

static int hold_one(const CtlOptions *options, const char *name, uint64_t until_usec) {
        _cleanup_free_ char *path = waker_call_path("", name);
        char until[LOCAL_TIME_MAX + sizeof("until ")];
        ManagerUnit *before = NULL;
        size_t n = 0;
        int r;

        if (!path) {
                (void) log_oom();
                return CTL_FAILED;
        }
        if (access(path, F_OK) < 0 && errno == ENOENT) {
                tell_unreachable("", name, path, -ENOENT);
                return CTL_FAILED;
        }
        if (options->dry_run) {
                printf("%s would be held awake %s.\n", name, until_to_string(until_usec, until));
                return CTL_FINE;
        }
        r = hold_list(&before, &n, name);
        if (r < 0) {
                (void) log_error_errno(r, "Failed to ask systemd what holds %s awake: %m", name);
                r = CTL_FAILED;
        } else
                r = hold_start(name, until_usec);
        if (r == CTL_FINE)
                hold_end(before, n);
        manager_units_free(before, n);
        return r;
}

/* The verb */

static int hold_read_until(const CtlOptions *options, uint64_t *ret_usec) {
        uint64_t now_usec = time_now(CLOCK_REALTIME), span_usec;
        int r;

        *ret_usec = USEC_INFINITY;
        if (options->span && options->until) {
                log_error("--for and --until are not for the same hold.");
                return CTL_USAGE;
        }
        if (options->span) {
                if (span_from_string(options->span, &span_usec) < 0 || span_usec == 0) {
                        log_error("--for takes a span of time, as \"90min\" or \"2h\".");
                        return CTL_USAGE;
                }
                *ret_usec = usec_add(now_usec, span_usec);
        }
        if (!options->until)
                return CTL_FINE;
        r = until_from_string(options->until, now_usec, ret_usec);
        if (r == -ERANGE)
                log_error("--until is a time that is past.");
        else if (r < 0)
                log_error("--until takes a time, as \"18:00\" or \"2026-01-05 08:00\".");
        return r < 0 ? CTL_USAGE : CTL_FINE;
}

int verb_hold(const CtlOptions *options, int argc, char **argv) {
        Hold hold = { .names = argv, .n_names = (size_t) argc };
        int r, outcome;

        if (!are_service_names(argv, argc))
                return CTL_USAGE;
        outcome = hold_read_until(options, &hold.until_usec);
        if (outcome != CTL_FINE)
                return outcome;
        if (options->foreground && !options->dry_run)
                return hold_here(options, &hold, /* foreground= */ true);
        for (int i = 0; i < argc; i++) {
                r = hold_one(options, argv[i], hold.until_usec);
                outcome = MAX(outcome, r);
        }
        if (!options->dry_run && outcome == CTL_FINE)
                outcome = hold_here(options, &hold, /* foreground= */ false);
        for (int i = 0; i < argc && !options->dry_run && outcome == CTL_FINE; i++)
                outcome = hold_wait(argv[i]);
        return outcome;
}
