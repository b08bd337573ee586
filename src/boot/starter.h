#pragma once

/* Starter: asks systemd to start the wakers of services, and does not wait for them. */

#include <systemd/sd-bus.h>
#include "util/macro.h"

/* Logs each that is started, and each that cannot be. Returns how many were, or a negative errno if the bus cannot be used. */
int starter_run(sd_bus *bus, char *const *services);
