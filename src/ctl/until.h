#pragma once

/* Until: a moment, as people write it: "18:00", "18:00:30", "2026-01-05 08:00", "@1767600000" (seconds since 1970), in local time. */

#include "util/time.h"

/* A time of day is the next one after `now_usec`. Both are of CLOCK_REALTIME. -EINVAL if malformed, -ERANGE if it is past. */
int until_from_string(const char *text, uint64_t now_usec, uint64_t *ret_usec);
