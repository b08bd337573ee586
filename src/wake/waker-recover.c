#include "wake/waker-internal.h"

/* Waker, the way back: something that the stack needs is gone while it is awake. It is being brought back, by the member itself, by the
 * engine or by whoever restarts it; the member says how that ends. Until then the port is ours again, and the state says "waking", so that
 * clients are held as during a wake. What comes back may be another container, with other addresses. */

static const char *waker_missing(const Waker *waker) {
        for (size_t i = 0; i < waker->service->n_dependencies; i++)
                if (waker_needs(waker, i) && member_phase(waker->members[i]) != MEMBER_READY)
                        return member_name(waker->members[i]);
        return "";
}

void waker_begin_recovering(Waker *waker) {
        int r;

        waker->phase = WAKER_RECOVERING;
        waker->begin_usec = time_now(CLOCK_MONOTONIC);
        waker->idle = idle_free(waker->idle);
        r = waker_arm_deadline(waker);
        if (r < 0)
                log_warning_errno(r, "Failed to limit the time of a recovery, ignoring: %m");
        record_service(LOG_NOTICE, WAKECHAIN_MESSAGE_RECOVERING, SERVICE_WAKING, FAILURE_NONE,
                       "%s: %s is gone, clients wait until it is back", waker->service->name,
                       waker_missing(waker));
        waker_set_state(waker, SERVICE_WAKING);
        /* A client that meets the port in between has the container's answer, or none: it cannot be taken back. */
        waker->door_moved = !waker->door;
        if (waker->door)
                door_close(waker->door);
}

void waker_go_on_recovering(Waker *waker) {
        if (!waker->door_moved || !waker_is_served(waker))
                return;

        waker_resolve_backend(waker);
        if (waker->phase != WAKER_RECOVERING)
                return;
        waker_refresh_backends(waker);
        waker_reach(waker);
}
