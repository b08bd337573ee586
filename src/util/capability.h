#pragma once

/* Capability: rights that are given up for good. */

#include <linux/capability.h>
#include "util/macro.h"

/* This thread has it no more, nor do its children: it is in none of the sets, but for the bounding one where that may not be changed
 * (without CAP_SETPCAP), which gives it to nobody who may gain no privileges. On failure it may still be there. */
int capability_drop(int capability);
