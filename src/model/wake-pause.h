#pragma once

/* Wake pause: how a stack that cannot be woken is tried again, whoever wants it. After a first failure the next who comes tries again; after
 * more of them he is told of the last one at once, for a while that grows. */

#include "util/time.h"

#define WAKE_PAUSE_MAX_USEC USEC_PER_MINUTE

/* After a wake whose page somebody has seen, at least: without a script it asks again every three seconds, and is to find the reason then, not
 * another wake. */
#define WAKE_PAUSE_SHOWN_USEC (5 * USEC_PER_SEC)

/* After the `n`-th failed wake in a row (from 1). */
uint64_t wake_pause_usec(unsigned n, uint64_t max_usec);
