#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ctl/unit-tree.h"
#include "util/fd.h"
#include "util/text.h"

#define FILE_SIZE_MAX ((size_t) 1024 * 1024)
#define STAMP "wakechain.reloaded" /* no unit */

static const char *const kinds[_UNIT_CHANGE_KIND_MAX] = {
        [UNIT_CHANGE_ADDED] = "added",
        [UNIT_CHANGE_CHANGED] = "changed",
        [UNIT_CHANGE_REMOVED] = "removed",
};

const char *unit_change_kind_to_string(UnitChangeKind kind) {
        return kinds[kind];
}

/* Whose file? */

static bool has_prefix(const char *text, const char *prefix) {
        return strncmp(text, prefix, strlen(prefix)) == 0;
}

/* "wake@blog.service.d" is of unit wake@blog.service. The caller's; NULL when out of memory. */
static char *unit_of_name(const char *name) {
        size_t size = strlen(name);

        return strndup(name, size > 2 && streq(name + size - 2, ".d") ? size - 2 : size);
}

/* Of service "blog" is what is called PREFIX@blog.TYPE. The caller's; NULL when out of memory. */
static char *service_of_unit(const char *unit) {
        const char *at = strchr(unit, '@'), *dot = strrchr(unit, '.');

        return at && dot && dot > at ? strndup(at + 1, (size_t) (dot - at) - 1) : strdup("");
}

static bool name_is_ours(const char *name) {
        return has_prefix(name, "wake@") || has_prefix(name, "wake-front@") || has_prefix(name, "wake-control@") ||
               (has_prefix(name, "wakechain") && !streq(name, STAMP));
}

/* What a file is about is its folder, as with drop-ins, or itself, as with links in TARGET.wants. */
static const char *name_that_is_ours(const char *folder, const char *name) {
        return folder && name_is_ours(folder) ? folder : name_is_ours(name) ? name : NULL;
}

/* Which unit a file is about. The caller's; NULL when out of memory. */
static char *unit_of_path(const char *path) {
        const char *slash = strchr(path, '/');
        _cleanup_free_ char *folder = slash ? strndup(path, (size_t) (slash - path)) : NULL;

        return slash && !folder ? NULL : unit_of_name(name_that_is_ours(folder, slash ? slash + 1 : path));
}

/* Reading */

void unit_tree_done(UnitTree *tree) {
        for (size_t i = 0; i < tree->n_files; i++) {
                free(tree->files[i].service);
                free(tree->files[i].path);
                free(tree->files[i].text);
        }
        free(tree->files);
        *tree = (UnitTree){};
}

static int text_read(int folder, const char *name, mode_t mode, char **ret) {
        _cleanup_close_ int fd = -EBADF;
        char target[PATH_MAX];
        ssize_t n;

        if (S_ISLNK(mode)) {
                n = readlinkat(folder, name, target, sizeof(target));
                if (n < 0)
                        return -errno;
                *ret = strndup(target, (size_t) n);
                return *ret ? 0 : -ENOMEM;
        }
        fd = openat(folder, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
        if (fd < 0)
                return -errno;
        return fd_read_all(fd, FILE_SIZE_MAX, ret, NULL);
}

static int tree_add(UnitTree *tree, int fd, const char *folder, const char *name, mode_t mode) {
        const char *ours = name_that_is_ours(folder, name);
        _cleanup_free_ char *unit = NULL;
        UnitTreeFile *files, *file;
        int r;

        if (!ours)
                return 0;
        files = reallocarray(tree->files, tree->n_files + 1, sizeof(*files));
        if (!files)
                return -ENOMEM;
        tree->files = files;
        file = &tree->files[tree->n_files];
        *file = (UnitTreeFile){};

        unit = unit_of_name(ours);
        r = text_read(fd, name, mode, &file->text);
        if (r < 0)
                return r;
        tree->n_files++;
        file->service = unit ? service_of_unit(unit) : NULL;
        file->path = folder ? text_printf("%s/%s", folder, name) : strdup(name);
        return file->service && file->path ? 0 : -ENOMEM;
}

/* `folder`: which one below the tree's own; NULL: that one. */
static int tree_walk(UnitTree *tree, int parent, const char *path, const char *folder) {
        _cleanup_(closedirp) DIR *directory = NULL;
        struct dirent *entry;
        int fd, r = 0;

        fd = openat(parent, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | (folder ? O_NOFOLLOW : 0));
        if (fd < 0)
                return -errno;
        directory = fdopendir(fd);
        if (!directory) {
                r = -errno;
                (void) fd_close(fd);
                return r;
        }
        while (r >= 0 && (errno = 0, entry = readdir(directory))) {
                struct stat status;

                if (entry->d_name[0] == '.')
                        continue;
                if (fstatat(fd, entry->d_name, &status, AT_SYMLINK_NOFOLLOW) < 0)
                        r = -errno;
                else if (S_ISREG(status.st_mode) || S_ISLNK(status.st_mode))
                        r = tree_add(tree, fd, folder, entry->d_name, status.st_mode);
                else if (S_ISDIR(status.st_mode) && !folder)
                        r = tree_walk(tree, fd, entry->d_name, entry->d_name);
        }
        return r < 0 ? r : -errno;
}

static int file_compare(const void *a, const void *b) {
        const UnitTreeFile *x = a, *y = b;
        int order = strcmp(x->service, y->service);

        return order != 0 ? order : strcmp(x->path, y->path);
}

int unit_tree_read(UnitTree *ret, const char *folder) {
        UnitTree tree = {};
        int r;

        r = tree_walk(&tree, AT_FDCWD, folder, NULL);
        if (r == -ENOENT && tree.n_files == 0)
                r = 0;
        if (r < 0) {
                unit_tree_done(&tree);
                return r;
        }
        if (tree.n_files > 0)
                qsort(tree.files, tree.n_files, sizeof(*tree.files), file_compare);
        *ret = tree;
        return 0;
}

/* Comparing */

void unit_changes_free(UnitChange *changes, size_t n) {
        for (size_t i = 0; i < n; i++)
                strv_free(changes[i].units);
        free(changes);
}

bool unit_tree_has_unit(const UnitTree *tree, const char *name) {
        for (size_t i = 0; i < tree->n_files; i++) {
                _cleanup_free_ char *unit = unit_of_path(tree->files[i].path);

                if (unit && streq(unit, name))
                        return true;
        }
        return false;
}

static int change_add_unit(UnitChange *change, const char *path) {
        _cleanup_free_ char *unit = unit_of_path(path);

        if (!unit)
                return -ENOMEM;
        return strv_contains(change->units, unit) ? 0 : strv_append(&change->units, unit);
}

int unit_tree_compare(UnitChange **ret, size_t *ret_n, const UnitTree *before, const UnitTree *now) {
        UnitChange *changes = new0(UnitChange, before->n_files + now->n_files + 1);
        size_t n = 0, n_kept = 0;
        int r = 0;

        if (!changes)
                return -ENOMEM;
        for (size_t i = 0, k = 0; r >= 0 && (i < before->n_files || k < now->n_files);) {
                int order = i >= before->n_files ? 1
                            : k >= now->n_files  ? -1
                                                 : file_compare(&before->files[i], &now->files[k]);
                const UnitTreeFile *file = order <= 0 ? &before->files[i] : &now->files[k];

                if (n == 0 || !streq(changes[n - 1].service, file->service))
                        changes[n++] = (UnitChange){ .service = file->service };
                changes[n - 1].n_before += order <= 0;
                changes[n - 1].n_now += order >= 0;
                if (order != 0 || !streq(file->text, now->files[k].text))
                        r = change_add_unit(&changes[n - 1], file->path);
                i += order <= 0;
                k += order >= 0;
        }
        if (r < 0) {
                unit_changes_free(changes, n);
                return r;
        }

        for (size_t i = 0; i < n; i++) {
                changes[i].kind = changes[i].n_before == 0 ? UNIT_CHANGE_ADDED
                                  : changes[i].n_now == 0  ? UNIT_CHANGE_REMOVED
                                                           : UNIT_CHANGE_CHANGED;
                if (changes[i].units)
                        changes[n_kept++] = changes[i];
        }
        *ret = changes;
        *ret_n = n_kept;
        return 0;
}
