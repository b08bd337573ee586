#pragma once

/* Alarm: a timer of an event loop that is made once, off, and started again and again: that cannot fail for want of memory. */

#include <systemd/sd-event.h>
#include "util/time.h"

/* By CLOCK_MONOTONIC. `accuracy_usec` 0: sd-event's own, a quarter of a second. */
int alarm_new(sd_event_source **ret, sd_event *event, uint64_t accuracy_usec, sd_event_time_handler_t handler,
              void *userdata);
/* Once, this long from now; USEC_INFINITY: never. */
void alarm_start(sd_event_source *timer, uint64_t span_usec);
void alarm_stop(sd_event_source *timer);
bool alarm_is_on(sd_event_source *timer);
