#pragma once

/* Notify: what systemd is told (sd_notify(3)): readiness, a status line, more time, and descriptors to keep. Without a manager
 * (tests by hand) all of these do nothing. */

#include "util/macro.h"

void notify_ready(void);
void notify_stopping(void);
void notify_status(const char *format, ...) _printf_(1, 2);
/* Asks for this much more time, from now, to start or to stop in. */
void notify_extend_timeout(uint64_t usec);

/* Keeps a duplicate of the descriptor under this name over a crash of ours. It is never polled: a lock has no events. */
int notify_store(const char *name, int fd);
void notify_forget(const char *name);
