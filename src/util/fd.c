#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/fd.h"

int fd_close(int fd) {
        int saved = errno;

        if (fd >= 0)
                (void) close(fd);
        errno = saved;
        return -EBADF;
}

int fd_read_all(int fd, size_t limit, char **ret, size_t *ret_size) {
        _cleanup_free_ char *buffer = NULL;
        size_t size = 0, allocated = 0;

        assert(fd >= 0);
        assert(ret);

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

int file_read(const char *path, size_t limit, char **ret, size_t *ret_size) {
        _cleanup_close_ int fd = -EBADF;

        assert(path);

        fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
        if (fd < 0)
                return -errno;
        return fd_read_all(fd, limit, ret, ret_size);
}

static int fd_write_all(int fd, const char *data, size_t size) {
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

int file_replace(const char *path, const char *data, size_t size, mode_t mode, bool sync) {
        _cleanup_free_ char *temporary = NULL;
        _cleanup_close_ int fd = -EBADF;
        int r;

        assert(path);
        assert(data || size == 0);

        if (asprintf(&temporary, "%s.XXXXXX", path) < 0) {
                temporary = NULL;
                return -ENOMEM;
        }
        fd = mkostemp(temporary, O_CLOEXEC);
        if (fd < 0)
                return -errno;

        r = fd_write_all(fd, data, size);
        if (r >= 0 && fchmod(fd, mode) < 0)
                r = -errno;
        if (r >= 0 && sync && fsync(fd) < 0)
                r = -errno;
        if (r >= 0 && rename(temporary, path) < 0)
                r = -errno;
        if (r < 0)
                (void) unlink(temporary);
        return r;
}

int directory_make(const char *path) {
        _cleanup_free_ char *prefix = NULL;

        assert(path);

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
