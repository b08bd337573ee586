#pragma once

/* File descriptors: an unset one is -EBADF, closing keeps errno. */

#include <dirent.h>
#include <sys/types.h>
#include <time.h>
#include "util/macro.h"

/* Closes `fd` if it is one, and returns -EBADF. */
int fd_close(int fd);

static inline void fd_closep(int *fd) {
        (void) fd_close(*fd);
}
#define _cleanup_close_ _cleanup_(fd_closep)
DEFINE_CLEANUP(DIR *, closedir);

/* Moves it to where select() does not see it, and returns it: the descriptor itself if that cannot be had. A program that uses select(), as
 * libnftables does, is aborted by a descriptor of 1024 or more: those that it watches have to be low, so those that there may be many of, and
 * that live long, are moved out of their way. */
int fd_move_up(int fd);

/* One message with descriptors (SCM_RIGHTS), without waiting: at most FD_SEND_MAX of them, the kernel's limit; none is fine. */
#define FD_SEND_MAX 253U
int fd_send_with(int socket, const void *data, size_t size, const int *fds, size_t n);

/* Reads a whole file of at most `limit` bytes into a NUL-terminated buffer that the caller frees. -EFBIG if it is longer.
 * A file that grows while it is read (/proc) is fine. `ret_size` may be NULL. */
int fd_read_all(int fd, size_t limit, char **ret, size_t *ret_size);

/* The same of a descriptor that was opened with O_PATH. What lies where a file should lie may be a pipe, which waits for its other end, or
 * a device, which does something when it is opened: nothing but a regular file is opened. -EISDIR, -EBADFD: it is none. */
int fd_read_regular(int fd, size_t limit, char **ret, size_t *ret_size);
/* ... and of a path, whose links are followed. Where others may write: see util/safe-file.h. */
int file_read(const char *path, size_t limit, char **ret, size_t *ret_size);

int fd_write_all(int fd, const char *data, size_t size);

/* Replaces `path` with a file of this content, so that a reader sees the old or the new one, whole. The folder must
 * exist. An empty folder in its place is removed. With `sync` the data reaches the disk first. */
int file_replace(const char *path, const char *data, size_t size, mode_t mode, bool sync);
/* The same with a mode and an owner as this says. */
struct stat;
int file_replace_like(const char *path, const char *data, size_t size, const struct stat *like, bool sync);

/* Tells one state of a file from the next without reading it: another file, or anything done to this one, makes another mark. */
typedef struct FileMark {
        dev_t device;
        ino_t inode;
        off_t size;
        struct timespec changed;
} FileMark;

FileMark file_mark_from_stat(const struct stat *status);
bool file_mark_equal(const FileMark *a, const FileMark *b);

/* Makes the folder and its parents, mode 0755. */
int directory_make(const char *path);
