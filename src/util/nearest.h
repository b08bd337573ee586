#pragma once

/* Nearest: of many known names, the one that somebody meant who wrote another. */

#include "util/macro.h"

typedef struct Nearest {
        const char *word; /* as written; borrowed */
        const char *name; /* the best so far, borrowed; NULL if none is near enough */
        size_t distance;
} Nearest;

static inline Nearest nearest_to(const char *word) {
        return (Nearest){ .word = word };
}

/* Offers one known name. */
void nearest_offer(Nearest *nearest, const char *name);
/* ", did you mean 'NAME'?", or nothing. */
#define NEAREST_HINT_MAX 96
const char *nearest_hint(const Nearest *nearest, char buffer[static NEAREST_HINT_MAX]);
