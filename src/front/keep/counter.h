#pragma once

/* Counter: how many bytes this side's programs, whoever they were, have taken out of a TCP connection and put into it, as
 * the kernel counts them. */

#include "util/macro.h"

typedef struct Counter {
        uint64_t read, written; /* without the ends */
        bool ended; /* the peer's end has come */
        bool finished; /* ours was put in */
        bool closed; /* both, and the peer knows; or a reset */
} Counter;

/* -EOPNOTSUPP: not TCP. -EAGAIN: too much comes and goes to be counted now. */
int counter_get(Counter *ret, int fd);
