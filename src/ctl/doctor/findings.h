#pragma once

/* Findings: what wakectl doctor has found, each with why it matters and what mends it. */

#include "util/macro.h"

typedef enum FindingLevel {
        FINDING_ERROR, /* stacks cannot be reached, woken or put to sleep */
        FINDING_WARNING, /* something goes worse than it could, or will go wrong */
        FINDING_NOTE, /* good to know */
        _FINDING_LEVEL_MAX,
} FindingLevel;

typedef struct Finding {
        FindingLevel level;
        const char *check; /* of which check; not the finding's */
        char *what, *why,
                        *fix; /* sentences, and a command or a hint; any may be NULL for want of memory, `fix` also if there is none */
} Finding;

typedef struct Findings {
        Finding *list;
        size_t n, counts[_FINDING_LEVEL_MAX];
        const char *check; /* that looks at the moment */
} Findings;

void findings_done(Findings *findings);

/* `fix` may be NULL. Texts are copied, and made printable. */
void findings_add(Findings *findings, FindingLevel level, const char *why, const char *fix, const char *what, ...)
                _printf_(5, 6);

const char *finding_level_to_string(FindingLevel level);
