#pragma once

/* File descriptors: an unset one is -EBADF, closing keeps errno. */

#include "util/macro.h"

/* Closes `fd` if it is one, and returns -EBADF. */
int fd_close(int fd);

static inline void fd_closep(int *fd) {
        (void) fd_close(*fd);
}
#define _cleanup_close_ _cleanup_(fd_closep)

/* Reads a whole file of at most `limit` bytes into a NUL-terminated buffer that the caller frees. -EFBIG if it is longer.
 * A file that grows while it is read (/proc) is fine. `ret_size` may be NULL. */
int fd_read_all(int fd, size_t limit, char **ret, size_t *ret_size);
int file_read(const char *path, size_t limit, char **ret, size_t *ret_size);

/* Replaces `path` with a file of this content, so that a reader sees the old or the new one, whole. The folder must
 * exist. With `sync` the data reaches the disk first. */
int file_replace(const char *path, const char *data, size_t size, mode_t mode, bool sync);

/* Makes the folder and its parents, mode 0755. */
int directory_make(const char *path);
