#include "util/alarm.h"
#include "util/log.h"

int alarm_new(sd_event_source **ret, sd_event *event, uint64_t accuracy_usec, sd_event_time_handler_t handler,
              void *userdata) {
        _cleanup_(sd_event_source_unrefp) sd_event_source *timer = NULL;
        int r;

        r = sd_event_add_time(event, &timer, CLOCK_MONOTONIC, 0, accuracy_usec, handler, userdata);
        if (r >= 0)
                r = sd_event_source_set_enabled(timer, SD_EVENT_OFF);
        if (r >= 0)
                *ret = TAKE_PTR(timer);
        return r;
}

void alarm_start(sd_event_source *timer, uint64_t span_usec) {
        int r;

        if (span_usec == USEC_INFINITY) {
                alarm_stop(timer);
                return;
        }
        r = sd_event_source_set_time_relative(timer, span_usec);
        if (r >= 0)
                r = sd_event_source_set_enabled(timer, SD_EVENT_ONESHOT);
        if (r < 0)
                log_warning_errno(r, "Failed to set a timer, ignoring: %m");
}

void alarm_stop(sd_event_source *timer) {
        (void) sd_event_source_set_enabled(timer, SD_EVENT_OFF);
}

bool alarm_is_on(sd_event_source *timer) {
        int enabled;

        return sd_event_source_get_enabled(timer, &enabled) > 0;
}
