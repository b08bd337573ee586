#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Changes whenever a container is started or ends, by whomever. */
uint64_t runtime_hash(const char *root);
/* Whether it runs, is about to, or has just ended: the engine itself says so a while later, or has said it before. `id` in full. */
bool runtime_has(const char *root, const char *id);
