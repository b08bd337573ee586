#include <fcntl.h>
#include <stdio.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/fd.h"
#include "util/text.h"

int fd_close(int fd) {
        int saved = errno;

        if (fd >= 0)
                (void) close(fd);
        errno = saved;
        return -EBADF;
}

int fd_move_up(int fd) {
        int moved = fd >= 0 && fd < FD_SETSIZE ? fcntl(fd, F_DUPFD_CLOEXEC, FD_SETSIZE) : -EBADF;

        if (moved < 0)
                return fd;
        (void) fd_close(fd);
        return moved;
}

int fd_send_with(int socket, const void *data, size_t size, const int *fds, size_t n) {
        union {
                struct cmsghdr header;
                uint8_t space[CMSG_SPACE(FD_SEND_MAX * sizeof(int))];
        } control;
        struct iovec vector = { (void *) data, size };
        struct msghdr message = { .msg_iov = &vector, .msg_iovlen = 1 };

        assert(n <= FD_SEND_MAX);

        if (n > 0) {
                message.msg_control = &control;
                message.msg_controllen = CMSG_SPACE(n * sizeof(int));
                memset(&control, 0, message.msg_controllen);
                control.header = (struct cmsghdr){
                        .cmsg_level = SOL_SOCKET,
                        .cmsg_type = SCM_RIGHTS,
                        .cmsg_len = CMSG_LEN(n * sizeof(int)),
                };
                memcpy(CMSG_DATA(&control.header), fds, n * sizeof(int));
        }
        while (sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
                if (errno != EINTR)
                        return -errno;
        return 0;
}

int fd_read_all(int fd, size_t limit, char **ret, size_t *ret_size) {
        _cleanup_free_ char *buffer = NULL;
        size_t size = 0, allocated = 0;

        assert(fd >= 0);

        for (;;) {
                ssize_t n;

                if (allocated - size < 2) {
                        size_t larger = MIN(MAX(2 * allocated, (size_t) 16384), limit + 2);
                        char *moved;

                        if (size > limit)
                                return -EFBIG;
                        moved = realloc(buffer, larger);
                        if (!moved)
                                return -ENOMEM;
                        buffer = moved;
                        allocated = larger;
                }

                n = read(fd, buffer + size, allocated - size - 1);
                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return -errno;
                if (n == 0)
                        break;
                size += (size_t) n;
        }
        if (size > limit)
                return -EFBIG;

        buffer[size] = '\0';
        *ret = TAKE_PTR(buffer);
        if (ret_size)
                *ret_size = size;
        return 0;
}

int fd_read_regular(int fd, size_t limit, char **ret, size_t *ret_size) {
        _cleanup_close_ int opened = -EBADF;
        char path[sizeof("/proc/self/fd/") + 3 * sizeof(int)];
        struct stat status;

        assert(fd >= 0);

        if (fstat(fd, &status) < 0)
                return -errno;
        if (S_ISDIR(status.st_mode))
                return -EISDIR;
        if (!S_ISREG(status.st_mode))
                return -EBADFD;

        (void) snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        opened = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
        return opened < 0 ? -errno : fd_read_all(opened, limit, ret, ret_size);
}

int file_read(const char *path, size_t limit, char **ret, size_t *ret_size) {
        _cleanup_close_ int fd = -EBADF;

        fd = open(path, O_PATH | O_CLOEXEC);
        return fd < 0 ? -errno : fd_read_regular(fd, limit, ret, ret_size);
}

int fd_write_all(int fd, const char *data, size_t size) {
        while (size > 0) {
                ssize_t n = write(fd, data, size);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return -errno;
                data += n;
                size -= (size_t) n;
        }
        return 0;
}

/* An owner of -1 is ours. */
static int replace_as(const char *path, const char *data, size_t size, mode_t mode, uid_t uid, gid_t gid,
                      bool sync) {
        _cleanup_free_ char *temporary = NULL;
        _cleanup_close_ int fd = -EBADF;
        int r;

        assert(data || size == 0);

        temporary = text_printf("%s.XXXXXX", path);
        if (!temporary)
                return -ENOMEM;
        fd = mkostemp(temporary, O_CLOEXEC);
        if (fd < 0)
                return -errno;

        r = fd_write_all(fd, data, size);
        if (r >= 0 && fchown(fd, uid, gid) < 0)
                r = -errno;
        if (r >= 0 && fchmod(fd, mode) < 0)
                r = -errno;
        if (r >= 0 && sync && fsync(fd) < 0)
                r = -errno;
        if (r >= 0 && rename(temporary, path) < 0 &&
            (errno != EISDIR || rmdir(path) < 0 || rename(temporary, path) < 0))
                r = -errno;
        if (r < 0)
                (void) unlink(temporary);
        return r;
}

int file_replace(const char *path, const char *data, size_t size, mode_t mode, bool sync) {
        return replace_as(path, data, size, mode, (uid_t) -1, (gid_t) -1, sync);
}

int file_replace_like(const char *path, const char *data, size_t size, const struct stat *like, bool sync) {
        return replace_as(path, data, size, like->st_mode & 07777, like->st_uid, like->st_gid, sync);
}

FileMark file_mark_from_stat(const struct stat *status) {
        return (FileMark){
                .device = status->st_dev,
                .inode = status->st_ino,
                .size = status->st_size,
                .changed = status->st_ctim,
        };
}

bool file_mark_equal(const FileMark *a, const FileMark *b) {
        return a->device == b->device && a->inode == b->inode && a->size == b->size &&
               a->changed.tv_sec == b->changed.tv_sec && a->changed.tv_nsec == b->changed.tv_nsec;
}

int directory_make(const char *path) {
        _cleanup_free_ char *prefix = NULL;

        prefix = strdup(path);
        if (!prefix)
                return -ENOMEM;
        for (char *slash = prefix + 1;; slash++) {
                char end = *slash;

                if (end != '/' && end != '\0')
                        continue;
                *slash = '\0';
                if (mkdir(prefix, 0755) < 0 && errno != EEXIST)
                        return -errno;
                if (end == '\0')
                        return 0;
                *slash = end;
        }
}
