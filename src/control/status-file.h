#pragma once

/* Status file: what a waker says of its service, as a file that others read. */

#include "model/status.h"

#define STATUS_FOLDER "/run/wakechain/status"

/* -ENOENT: there is none, so the service sleeps. */
int status_file_read(Status **ret, const char *root, const char *service);
/* Of whom only the file is known. */
int status_file_read_at(Status **ret, const char *path);

/* Replaces it. One that cannot be written is removed: better none, which means asleep, than one that says what is no longer so. */
int status_file_write(const Status *status, const char *root);
