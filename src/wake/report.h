#pragma once

/* Report: the status file, the place where a service's status survives its waker. */

#include "io/status-file.h"

/* Replaces the file at once, whole. */
int report_write(const Status *status, const char *root);
/* What the file says; -ENOENT. */
int report_read(Status **ret, const char *service, const char *root);
