#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/fd.h"
#include "util/safe-file.h"
#include "util/strv.h"
#include "util/text.h"

/* Safe file. openat2() follows all links or none, and who made a link decides whether it may be followed: so the way is walked
 * here, name by name, with descriptors that only name a file (O_PATH), and the last of them is what is looked at and then read. Nobody can put
 * something else in its place meanwhile. */

#define LINKS_MAX 40U

typedef struct Walk {
        const char *root;
        FileTrust trust;
        char *rest; /* of the path */
        int folder_fd, fd; /* the folder that was reached, and what was found in it */
        struct stat folder, file;
        unsigned n_links;
        uid_t link_owner; /* of links on the way that are not root's */
        char **loose; /* of FILE_OF_ROOT: what others may write */
        bool loose_above; /* not only the file and its folder, but something on the way there */
} Walk;

static void walk_done(Walk *walk) {
        free(walk->rest);
        strv_free(walk->loose);
        fd_close(walk->folder_fd);
        fd_close(walk->fd);
}

/* Where a descriptor leads, for people. */
static const char *fd_path(int fd, char buffer[static PATH_MAX]) {
        char link[sizeof("/proc/self/fd/") + 3 * sizeof(int)];
        ssize_t n;

        (void) snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
        n = readlink(link, buffer, PATH_MAX - 1);
        buffer[MAX(n, (ssize_t) 0)] = '\0';
        return buffer;
}

_printf_(3, 4) static int refuse(char **reterr_why, int error, const char *format, ...) {
        va_list arguments;

        va_start(arguments, format);
        *reterr_why = text_vprintf(format, arguments);
        va_end(arguments);
        return error;
}

static bool is_trusted_owner(const Walk *walk, uid_t owner) {
        return owner == 0 || (*walk->root && owner == geteuid());
}

/* In a sticky folder others can make files, and cannot touch root's. Below another root, a group of our own may write: so are
 * checkouts of the sources. */
static bool others_may_write(const Walk *walk, const struct stat *status) {
        mode_t others = *walk->root && geteuid() != 0 ? S_IWOTH : S_IWGRP | S_IWOTH;

        return !is_trusted_owner(walk, status->st_uid) ||
               ((status->st_mode & others) && !(S_ISDIR(status->st_mode) && (status->st_mode & S_ISVTX)));
}

static int walk_look(Walk *walk, int fd, const struct stat *status) {
        char buffer[PATH_MAX];
        const char *path;

        if (walk->trust != FILE_OF_ROOT || !others_may_write(walk, status))
                return 0;
        path = fd_path(fd, buffer);
        return strv_contains(walk->loose, path) ? 0 : strv_append(&walk->loose, path);
}

static int walk_enter(Walk *walk, int fd) {
        fd_close(walk->folder_fd);
        walk->folder_fd = fd;
        return fd < 0 || fstat(fd, &walk->folder) < 0 ? -errno : 0;
}

static int walk_enter_root(Walk *walk) {
        return walk_enter(walk, open(*walk->root ? walk->root : "/", O_PATH | O_DIRECTORY | O_CLOEXEC));
}

/* `rest`: what comes behind the link. */
static int walk_follow(Walk *walk, const char *rest, bool last, char **reterr_why) {
        char target[PATH_MAX], path[PATH_MAX], *joined;
        ssize_t n;

        if (last && walk->trust == FILE_OF_FOLDER)
                return refuse(reterr_why, -ELOOP, "is a symbolic link: put the file itself there");
        if (!is_trusted_owner(walk, walk->file.st_uid)) {
                if (walk->trust == FILE_OF_ROOT ||
                    (walk->link_owner != 0 && walk->link_owner != walk->file.st_uid))
                        return refuse(reterr_why, -ELOOP,
                                      "is reached by '%1$s', a symbolic link of another user's: chown -h root: '%1$s'",
                                      fd_path(walk->fd, path));
                walk->link_owner = walk->file.st_uid;
        }
        if (++walk->n_links > LINKS_MAX)
                return -ELOOP;

        n = readlinkat(walk->fd, "", target, sizeof(target) - 1);
        if (n < 0)
                return -errno;
        target[n] = '\0';
        joined = text_printf("%s/%s", target, rest);
        if (!joined)
                return -ENOMEM;
        free(walk->rest);
        walk->rest = joined;
        return target[0] == '/' ? walk_enter_root(walk) : 0;
}

/* One name of the path. 1: go on. */
static int walk_step(Walk *walk, char **reterr_why) {
        char *name = walk->rest + strspn(walk->rest, "/"), *end = name + strcspn(name, "/");
        char *next = end + strspn(end, "/");
        bool last = *next == '\0';
        int r;

        *end = '\0';
        r = walk_look(walk, walk->folder_fd, &walk->folder);
        if (r < 0)
                return r;
        fd_close(walk->fd);
        /* O_DIRECTORY has what is mounted on demand be mounted. */
        walk->fd = last ? -EBADF : openat(walk->folder_fd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (walk->fd < 0)
                walk->fd = openat(walk->folder_fd, *name ? name : ".", O_PATH | O_NOFOLLOW | O_CLOEXEC);
        if (walk->fd < 0 || fstat(walk->fd, &walk->file) < 0)
                return -errno;
        if (last && !S_ISLNK(walk->file.st_mode))
                return 0;

        walk->loose_above = walk->loose;
        if (S_ISLNK(walk->file.st_mode))
                r = walk_follow(walk, next, last, reterr_why);
        else if (!S_ISDIR(walk->file.st_mode))
                r = -ENOTDIR;
        else {
                r = walk_enter(walk, TAKE_FD(walk->fd));
                memmove(walk->rest, next, strlen(next) + 1);
        }
        return r < 0 ? r : 1;
}

/* What root does by this file is not root's will alone. */
static int walk_refuse_loose(const Walk *walk, char **reterr_why) {
        _cleanup_free_ char *list = NULL;
        size_t size = 0;
        FILE *stream;

        if (walk->loose_above)
                return refuse(reterr_why, -EPERM,
                              "is not root's alone, as others may write '%s' on the way to it: move it below folders that "
                              "only root may write",
                              walk->loose[0]);
        stream = open_memstream(&list, &size);
        if (!stream)
                return -ENOMEM;
        for (char **path = walk->loose; *path; path++)
                (void) fprintf(stream, " '%s'", *path);
        (void) fclose(stream);
        return refuse(reterr_why, -EPERM, "is not root's alone, as it has to be: chown root:%1$s; chmod go-w%1$s",
                      strempty(list));
}

static int walk_judge(Walk *walk, char **reterr_why) {
        char path[PATH_MAX];
        uid_t owner = walk->file.st_uid, folder_owner = walk->folder.st_uid;

        if (walk->loose)
                return walk_refuse_loose(walk, reterr_why);
        if (S_ISDIR(walk->file.st_mode))
                return -EISDIR;
        if (!S_ISREG(walk->file.st_mode))
                return refuse(reterr_why, -EBADFD, "is no regular file: put one there");
        if (walk->trust == FILE_OF_ROOT)
                return 0;

        if (owner != 0 && owner != folder_owner)
                return refuse(reterr_why, -EPERM,
                              "belongs neither to root nor to the owner of its folder: chown root: '%s'",
                              fd_path(walk->fd, path));
        /* Root's file, but is this its place? */
        if (walk->link_owner != 0 && walk->link_owner != owner)
                return refuse(reterr_why, -EPERM,
                              "is root's, and reached by a symbolic link of another user's: name its folder as it is, '%s'",
                              fd_path(walk->folder_fd, path));
        if (owner != folder_owner && walk->file.st_nlink > 1)
                return refuse(reterr_why, -EPERM,
                              "is root's, in the folder of another user, and a hard link of a file elsewhere: put a copy there");
        return 0;
}

static int walk_to(Walk *walk, const char *path, char **reterr_why) {
        int r;

        walk->rest = strdup(path);
        r = walk->rest ? walk_enter_root(walk) : -ENOMEM;
        if (r < 0)
                return r;
        do
                r = walk_step(walk, reterr_why);
        while (r > 0);
        if (r >= 0)
                r = walk_look(walk, walk->fd, &walk->file);
        return r < 0 ? r : walk_judge(walk, reterr_why);
}

int safe_file_read(const char *root, const char *path, FileTrust trust, size_t limit, char **ret, size_t *ret_size,
                   char **reterr_why) {
        _cleanup_(walk_done) Walk walk = { .root = root, .trust = trust, .folder_fd = -EBADF, .fd = -EBADF };
        int r;

        r = walk_to(&walk, path, reterr_why);
        return r < 0 ? r : fd_read_regular(walk.fd, limit, ret, ret_size);
}

int safe_file_check(const char *root, const char *path, FileTrust trust, char **reterr_why) {
        _cleanup_(walk_done) Walk walk = { .root = root, .trust = trust, .folder_fd = -EBADF, .fd = -EBADF };
        int r;

        r = walk_to(&walk, path, reterr_why);
        return r == -ENOENT && walk.loose ? walk_refuse_loose(&walk, reterr_why) : r;
}
