#pragma once

/* wakectl check --engine: what a configuration does not agree with on this machine. */

#include "config/config.h"

/* Adds what does not agree with the engine, the compose folders and the units of this machine. For good, root becomes user wakechain by that,
 * who would do the waking. Negative: it could not be looked at, and that was said. */
int check_engine(Config *config, ProblemList *problems);
