#include "front/front-internal.h"
#include "util/log.h"

/* Timers of a front. Two of them wait until something has been unused for a while: they run on when it is used again,
 * and look then, for to set them for each of many short connections would be system calls. */

#define ACCURACY_USEC USEC_PER_MSEC

int front_make_timers(Front *front, sd_event_time_handler_t handler) {
        for (FrontTimer timer = 0; timer < _FRONT_TIMER_MAX; timer++) {
                int r;

                front->unused_usec[timer] = USEC_INFINITY;
                r = sd_event_add_time(front->event, &front->timers[timer], CLOCK_MONOTONIC, 0, ACCURACY_USEC,
                                      handler, front);
                if (r >= 0)
                        r = sd_event_source_set_enabled(front->timers[timer], SD_EVENT_OFF);
                if (r < 0)
                        return r;
        }
        return 0;
}

void front_free_timers(Front *front) {
        for (FrontTimer timer = 0; timer < _FRONT_TIMER_MAX; timer++)
                sd_event_source_disable_unref(front->timers[timer]);
}

bool front_timer_is_on(const Front *front, FrontTimer timer) {
        int enabled;

        return sd_event_source_get_enabled(front->timers[timer], &enabled) > 0;
}

void front_timer_start(Front *front, FrontTimer timer, uint64_t span_usec) {
        int r;

        reactor_wake_event(front->reactor);
        r = sd_event_source_set_time_relative(front->timers[timer], span_usec);
        if (r >= 0)
                r = sd_event_source_set_enabled(front->timers[timer], SD_EVENT_ONESHOT);
        if (r < 0)
                log_warning_errno(r, "Failed to set a timer, ignoring: %m");
}

void front_timer_stop(Front *front, FrontTimer timer) {
        (void) sd_event_source_set_enabled(front->timers[timer], SD_EVENT_OFF);
}

void front_note_unused(Front *front, FrontTimer timer, uint64_t span_usec) {
        if (front->unused_usec[timer] != USEC_INFINITY)
                return;
        front->unused_usec[timer] = time_now(CLOCK_MONOTONIC);
        if (!front_timer_is_on(front, timer))
                front_timer_start(front, timer, span_usec);
}

void front_note_used(Front *front, FrontTimer timer) {
        front->unused_usec[timer] = USEC_INFINITY;
}

bool front_was_unused(Front *front, FrontTimer timer, uint64_t span_usec) {
        uint64_t unused_usec;

        if (front->unused_usec[timer] == USEC_INFINITY)
                return false;
        unused_usec = usec_sub(time_now(CLOCK_MONOTONIC), front->unused_usec[timer]);
        if (unused_usec >= span_usec)
                return true;
        front_timer_start(front, timer, span_usec - unused_usec);
        return false;
}
