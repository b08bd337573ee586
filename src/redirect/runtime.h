#pragma once

#include <stdint.h>

/* Changes whenever a container is started or ends, by whomever. */
uint64_t runtime_hash(const char *root);
/* The ids of what runs, is about to, or has just ended: the engine itself says so a while later, or has said it before. NULL: nothing,
 * or no memory. */
char **runtime_ids(const char *root);
