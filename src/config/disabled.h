#pragma once

/* Disabled services: those whose clients an administrator does not want to be taken (`wakectl disable`). A file for each in one folder says so,
 * and their sockets have a condition on it: no unit changes, and nothing has to be loaded again. */

#include "util/macro.h"

#define DISABLED_FOLDER "/etc/wakechain/disabled"

bool service_is_disabled(const char *root, const char *name);

/* 1: it is so now, 0: it was already, or a negative errno. */
int service_disable(const char *root, const char *name);
int service_enable(const char *root, const char *name);
