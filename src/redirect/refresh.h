#pragma once

/* Refresh: asks the engine where the services' ports are published now, and keeps the answers as their
 * bindings. */

#include "model/service.h"

/* Blocks for at most `timeout_usec`. An engine that does not answer leaves all as it is: that is no error. */
int refresh_bindings(const Config *config, const char *root, uint64_t timeout_usec);
