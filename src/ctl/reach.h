#pragma once

/* Reach: why a service's waker cannot be asked. */

/* Says it. `wish`: what was wanted, as in "You may not WISH". `path`: of the socket. `error`: what connecting met with. */
void tell_unreachable(const char *wish, const char *service, const char *path, int error);
