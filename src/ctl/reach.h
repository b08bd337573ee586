#pragma once

/* Reach: why a service cannot be asked for anything. */

#include "util/macro.h"

/* Says of each that cannot be the name of a service. */
bool are_service_names(char *const *names, int n);

/* Says it. `wish`: what was wanted, as in "You may not WISH". `path`: of the socket. `error`: what connecting met with. */
void tell_unreachable(const char *wish, const char *service, const char *path, int error);
