#pragma once

/* UnitManager: starts and stops units of the running systemd over the system bus (org.freedesktop.systemd1), asynchronous on
 * sd-event. Who is interested in a unit watches it. All watches of an event loop share one connection, which is made with the first
 * of them, made again when it breaks, and closed with the last. */

#include <systemd/sd-event.h>
#include "util/macro.h"

typedef struct UnitManager UnitManager;
typedef struct UnitWatch UnitWatch;

typedef enum UnitState {
        UNIT_INACTIVE,
        UNIT_ACTIVATING, /* also while it waits for being started again by itself (Restart=) */
        UNIT_ACTIVE,
        UNIT_DEACTIVATING,
        UNIT_FAILED,
        UNIT_MISSING, /* there is no such unit, or it cannot be loaded */
        _UNIT_STATE_MAX,
        _UNIT_STATE_INVALID = -EINVAL,
} UnitState;

typedef struct UnitInfo {
        UnitState state;
        const char *load_state; /* "loaded", or why it is missing: "not-found", "masked", "bad-setting", "error" */
        const char *result; /* of a service: "success", "exit-code", …; "" if there is none */
        const char *invocation_id; /* 32 hex digits of this run, or "" */
        bool oneshot; /* Type=oneshot: a start is done when its work is */
        bool ran; /* it has run and ended with success since the manager knows it, and does not run again: a one-shot is done */
        bool busy; /* a start or stop that was asked for with this watch has not been carried out yet */
        bool queued; /* …but systemd has accepted it */
        uint64_t stop_timeout_usec; /* how long a stop may take; USEC_INFINITY: no limit */
} UnitInfo;

/* At first and at each change; also with an error instead (negative errno, a sentence in `sentence`; info NULL): a start or stop was
 * refused (-EACCES: polkit), has failed (-EIO) or was cancelled (-ECANCELED), and is not pending any more; or the bus could not be had
 * for a while (-ENOTCONN), which is told once, and what is pending stays so. Texts are printable. Never from inside a function of
 * this header. The watch may be freed from inside. */
typedef void (*UnitWatchHandler)(UnitWatch *watch, const UnitInfo *info, int error, const char *sentence,
                                 void *userdata);

/* -EINVAL: no unit can have this name. */
int unit_watch_new(UnitWatch **ret, sd_event *event, const char *unit, UnitWatchHandler handler, void *userdata);
UnitWatch *unit_watch_free(UnitWatch *watch);
DEFINE_CLEANUP(UnitWatch *, unit_watch_free);

/* Job mode "replace": the later request wins. The outcome is told by the handler: an info that is not busy, or an error. */
void unit_watch_start(UnitWatch *watch);
void unit_watch_stop(UnitWatch *watch);

/* The name of a unit that could be started: "NAME.TYPE", no template. */
bool unit_name_is_valid(const char *name);
