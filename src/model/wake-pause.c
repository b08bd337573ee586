#include "model/wake-pause.h"

#define FIRST_USEC (100 * USEC_PER_MSEC)

uint64_t wake_pause_usec(unsigned n, uint64_t max_usec) {
        if (n <= 1)
                return 0;
        return MIN(FIRST_USEC << MIN(n - 2, 20U), max_usec);
}
