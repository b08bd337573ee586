#pragma once

/* Time: all times and spans are µs in uint64_t; USEC_INFINITY is "never" or "no limit". */

#include <time.h>
#include "util/macro.h"

#define USEC_INFINITY UINT64_MAX
#define USEC_PER_SEC UINT64_C(1000000)
#define USEC_PER_MSEC UINT64_C(1000)
#define USEC_PER_MINUTE (60 * USEC_PER_SEC)

/* CLOCK_MONOTONIC or CLOCK_REALTIME, now. */
uint64_t time_now(clockid_t clock);
uint64_t timespec_load(const struct timespec *time);

/* Saturating at USEC_INFINITY, and at 0. */
uint64_t usec_add(uint64_t a, uint64_t b);
uint64_t usec_sub(uint64_t a, uint64_t b);
/* Somewhere in between, so that many who wait for the same do not come at the same moment. */
uint64_t usec_between(uint64_t least_usec, uint64_t most_usec);

/* For people: "4.9s", "350ms", "2min 5s". */
#define SPAN_MAX 32
const char *span_to_string(uint64_t span_usec, char buffer[static SPAN_MAX]);

/* The spans of systemd.time(7) as users write them: "90s", "15min", "1h 30min", "500ms", "2d", a plain number being
 * seconds, "infinity". -EINVAL if malformed, -ERANGE if too long. */
int span_from_string(const char *text, uint64_t *ret_usec);

/* UTC in RFC 3339 with µs: 2026-01-05T08:00:00.123456Z. */
#define TIMESTAMP_MAX 32
const char *timestamp_to_string(uint64_t realtime_usec, char buffer[static TIMESTAMP_MAX]);
