#pragma once

/* UnitDifference: what wakechain-generator(8) would make of the configuration now, in a folder of its own, and what of it is not as systemd has it. */

#include "ctl/unit-tree.h"

typedef struct UnitDifference {
        UnitTree before, now;
        UnitChange *changes;
        size_t n_changes;
} UnitDifference;

/* Whatever is wrong was said; an exit code. The caller calls unit_difference_done() in any case. */
int unit_difference_find(UnitDifference *ret);
void unit_difference_done(UnitDifference *difference);
