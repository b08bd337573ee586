#include <dirent.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/lease.h"
#include "io/printable.h"
#include "util/fd.h"
#include "util/log.h"

/* Lease: see the header. The record is a JSON object of one line; its copy is one of the members that mean
 * something in another run, and names its container, so that a file which was renamed is not believed.
 *
 * The record is written in place, because the lock is on that file, and the copy by renaming. A record is
 * written several times in a wake, the copy only if it differs from what is there. */

#define LEASE_FOLDER "/run/wakechain/lease"
#define COPY_PARENT "/var/lib/wakechain"
#define COPY_FOLDER COPY_PARENT "/lease"
#define RECORD_MAX ((size_t) 4096)
#define READS_MAX 4U
#define RESTORED_MAX ((size_t) 4096) /* entries of a list */

struct Lease {
        char *root;
        char *container;
        int fd;
};

static int lease_new(Lease **ret, const char *root, int fd, const char *container) {
        _cleanup_(lease_freep) Lease *lease = NULL;

        lease = malloc(sizeof(*lease));
        if (!lease)
                return -ENOMEM;
        *lease = (Lease){ .root = strdup(root), .container = strdup(container), .fd = -EBADF };
        if (!lease->root || !lease->container)
                return -ENOMEM;

        lease->fd = fd;
        *ret = TAKE_PTR(lease);
        return 0;
}

static char *path_of(const char *root, const char *folder, const char *container) {
        char *path;

        return asprintf(&path, "%s%s/%s", root, folder, container) < 0 ? NULL : path;
}

int lease_open(Lease **ret, const char *root, const char *container) {
        _cleanup_close_ int fd = -EBADF;
        _cleanup_free_ char *path = NULL;
        int r;

        assert(ret);
        assert(root);
        assert(container && !strchr(container, '/'));

        path = path_of(root, LEASE_FOLDER, container);
        if (!path)
                return -ENOMEM;
        fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0660);
        if (fd < 0)
                return -errno;

        r = lease_new(ret, root, fd, container);
        if (r >= 0)
                (void) TAKE_FD(fd);
        return r;
}

int lease_adopt(Lease **ret, const char *root, int fd, const char *container) {
        assert(ret);
        assert(root);
        assert(fd >= 0);
        assert(container && !strchr(container, '/'));

        return lease_new(ret, root, fd, container);
}

Lease *lease_free(Lease *lease) {
        if (!lease)
                return NULL;

        fd_close(lease->fd);
        free(lease->container);
        free(lease->root);
        return mfree(lease);
}

int lease_fd(const Lease *lease) {
        return lease->fd;
}

static int lease_lock(Lease *lease, int operation) {
        while (flock(lease->fd, operation) < 0)
                if (errno != EINTR)
                        return errno == EWOULDBLOCK ? -EAGAIN : -errno;
        return 0;
}

int lease_share(Lease *lease) {
        return lease_lock(lease, LOCK_SH | LOCK_NB);
}

int lease_seize(Lease *lease) {
        return lease_lock(lease, LOCK_EX | LOCK_NB);
}

int lease_release(Lease *lease) {
        return lease_lock(lease, LOCK_UN);
}

/* Records and JSON */

static int record_add(json_object *object, const char *member, json_object *value) {
        if (value && json_object_object_add(object, member, value) >= 0)
                return 0;
        json_object_put(value);
        return -ENOMEM;
}

static int record_add_string(json_object *object, const char *member, const char *text) {
        return text ? record_add(object, member, json_object_new_string(text)) : 0;
}

/* What is true of this run, and with `copy` only what is of others as well. The caller frees it. */
static int record_format(const LeaseRecord *record, const char *copy_of, char **ret, size_t *ret_size) {
        json_object *object = json_object_new_object();
        const char *text = NULL;
        size_t size = 0;
        int r;

        if (!object)
                return -ENOMEM;
        r = record_add_string(object, "container", copy_of);
        if (r >= 0)
                r = record_add(object, "ours", json_object_new_boolean(record->ours));
        if (r >= 0)
                r = record_add_string(object, "service", record->service);
        if (r >= 0)
                r = record_add_string(object, "wakeId", record->wake_id);
        if (r >= 0)
                r = record_add_string(object, "containerId", record->container_id);
        if (r >= 0 && !copy_of)
                r = record_add(object, "ready", json_object_new_boolean(record->ready));
        if (r >= 0 && !copy_of)
                r = record_add_string(object, "startedAt", record->started_at);

        if (r >= 0) {
                text = json_object_to_json_string_length(object, JSON_C_TO_STRING_PLAIN, &size);
                if (!text)
                        r = -ENOMEM;
                else if (size > RECORD_MAX)
                        r = -E2BIG;
        }
        if (r >= 0) {
                *ret = strndup(text, size);
                *ret_size = size;
                r = *ret ? 0 : -ENOMEM;
        }
        json_object_put(object);
        return r;
}

static bool record_bool(json_object *object, const char *member) {
        json_object *value;

        return json_object_object_get_ex(object, member, &value) &&
               json_object_is_type(value, json_type_boolean) && json_object_get_boolean(value);
}

static const char *record_text(json_object *object, const char *member) {
        json_object *value;

        return json_object_object_get_ex(object, member, &value) && json_object_is_type(value, json_type_string)
                               ? json_object_get_string(value)
                               : NULL;
}

static int record_copy_text(json_object *object, const char *member, char **ret) {
        const char *text = record_text(object, member);

        if (!text)
                return 0;
        *ret = strdup(text);
        return *ret ? 0 : -ENOMEM;
}

static int record_parse(json_object *object, LeaseRecord *ret) {
        LeaseRecord record = { .ours = record_bool(object, "ours"), .ready = record_bool(object, "ready") };
        int r;

        r = record_copy_text(object, "service", &record.service);
        if (r >= 0)
                r = record_copy_text(object, "wakeId", &record.wake_id);
        if (r >= 0)
                r = record_copy_text(object, "containerId", &record.container_id);
        if (r >= 0)
                r = record_copy_text(object, "startedAt", &record.started_at);
        if (r < 0) {
                lease_record_done(&record);
                return r;
        }
        *ret = record;
        return 0;
}

void lease_record_done(LeaseRecord *record) {
        free(record->service);
        free(record->wake_id);
        free(record->container_id);
        free(record->started_at);
        *record = (LeaseRecord){};
}

/* NULL: no object of JSON. */
static json_object *object_from_text(const char *text) {
        json_object *object = json_tokener_parse(text);

        if (json_object_is_type(object, json_type_object))
                return object;
        json_object_put(object);
        return NULL;
}

/* The copy */

static bool copy_is_credible(int folder, const struct stat *file) {
        struct stat status;

        return S_ISREG(file->st_mode) && (size_t) file->st_size <= RECORD_MAX && fstat(folder, &status) >= 0 &&
               (file->st_uid == status.st_uid || file->st_uid == 0);
}

/* The text of a copy, as it is; "": none. */
static void copy_read_text(int folder, const char *container, char text[static RECORD_MAX + 1]) {
        _cleanup_close_ int fd = -EBADF;
        struct stat status;
        ssize_t n = 0;

        /* A FIFO there would make us wait. */
        fd = openat(folder, container, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
        if (fd >= 0 && fstat(fd, &status) >= 0 && copy_is_credible(folder, &status))
                n = pread(fd, text, RECORD_MAX, 0);
        text[MAX(n, 0)] = '\0';
}

static int copy_open_folder(const char *root) {
        _cleanup_free_ char *path = NULL;
        int fd;

        if (asprintf(&path, "%s" COPY_FOLDER, root) < 0) {
                path = NULL;
                return -ENOMEM;
        }
        fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        return fd < 0 ? -errno : fd;
}

/* A record that is not ours: there is no copy, or none that counts. */
static int copy_read(int folder, const char *container, LeaseRecord *ret) {
        char text[RECORD_MAX + 1];
        json_object *object;
        const char *name;
        int r = 0;

        copy_read_text(folder, container, text);
        object = object_from_text(text);
        name = object ? record_text(object, "container") : NULL;
        if (!name || !streq(name, container) || !record_bool(object, "ours"))
                *ret = (LeaseRecord){};
        else
                r = record_parse(object, ret);
        json_object_put(object);
        if (r < 0 || !ret->ours)
                return r;

        /* Whatever it says of a run, that run has ended. */
        ret->started_at = mfree(ret->started_at);
        ret->ready = false;
        ret->restored = true;
        return 0;
}

static int copy_make_folder(const char *root) {
        _cleanup_free_ char *parent = NULL, *path = NULL;
        int r;

        if (asprintf(&parent, "%s" COPY_PARENT, root) < 0)
                parent = NULL;
        if (asprintf(&path, "%s" COPY_FOLDER, root) < 0)
                path = NULL;
        if (!parent || !path)
                return -ENOMEM;

        r = directory_make(parent);
        if (r < 0)
                return r;
        if (mkdir(path, 0700) < 0 && errno != EEXIST)
                return -errno;
        return copy_open_folder(root);
}

static int copy_write(const Lease *lease, const LeaseRecord *record) {
        _cleanup_free_ char *text = NULL, *path = NULL;
        _cleanup_close_ int folder = -EBADF;
        char old[RECORD_MAX + 1];
        size_t size;
        int r;

        r = record_format(record, lease->container, &text, &size);
        if (r < 0)
                return r;
        folder = copy_open_folder(lease->root);
        if (folder == -ENOENT)
                folder = copy_make_folder(lease->root);
        if (folder < 0)
                return folder;

        copy_read_text(folder, lease->container, old);
        if (streq(old, text))
                return 0;
        path = path_of(lease->root, COPY_FOLDER, lease->container);
        return path ? file_replace(path, text, size, 0600, false) : -ENOMEM;
}

static int copy_remove(const Lease *lease) {
        _cleanup_free_ char *path = path_of(lease->root, COPY_FOLDER, lease->container);

        if (!path)
                return -ENOMEM;
        return unlink(path) < 0 && errno != ENOENT ? -errno : 0;
}

static void lease_write_copy(const Lease *lease, const LeaseRecord *record) {
        int r;

        r = record->ours ? copy_write(lease, record) : copy_remove(lease);
        if (r < 0)
                log_debug_errno(r, "Failed to keep a copy of the lease of '%s', ignoring: %m", lease->container);
}

/* Reading and writing */

/* What is being written at this moment by another user may look damaged once. 0: there is none, 1: there is; NULL
 * then: it is damaged. */
static int fd_read_record(int fd, json_object **ret) {
        *ret = NULL;
        for (unsigned i = 0; i < READS_MAX && !*ret; i++) {
                char text[RECORD_MAX + 1];
                ssize_t n = pread(fd, text, RECORD_MAX, 0);

                if (n <= 0)
                        return n < 0;
                text[n] = '\0';
                *ret = object_from_text(text);
        }
        return 1;
}

int lease_read(Lease *lease, LeaseRecord *ret) {
        LeaseRecord record = {};
        json_object *object;
        int r = 0;

        assert(lease);
        assert(ret);

        if (fd_read_record(lease->fd, &object) == 0) {
                _cleanup_close_ int folder = copy_open_folder(lease->root);

                if (folder >= 0)
                        r = copy_read(folder, lease->container, &record);
        } else if (object)
                r = record_parse(object, &record);
        json_object_put(object);
        if (r >= 0)
                *ret = record;
        return r;
}

/* Never empty in between: whoever reads then, or goes on after we were killed, would take the container for
 * somebody else's and never stop it. What is left of a longer record behind the new one is not read, until it is
 * cut off. It also needs no new page of a full /run. Where only a part can be written, the old bytes are put back,
 * which are there already. */
static int lease_overwrite(int fd, const char *text, size_t size) {
        char old[RECORD_MAX];
        ssize_t n_old = pread(fd, old, sizeof(old), 0), n;

        n = pwrite(fd, text, size, 0);
        if (n < 0)
                return -errno;
        if ((size_t) n == size)
                return ftruncate(fd, (off_t) size) < 0 ? -errno : 0;

        if (n_old >= 0) {
                (void) !pwrite(fd, old, (size_t) MIN(n, n_old), 0);
                (void) !ftruncate(fd, n_old);
        }
        return -ENOSPC;
}

int lease_write(Lease *lease, const LeaseRecord *record) {
        _cleanup_free_ char *text = NULL;
        size_t size;
        int r;

        assert(lease);
        assert(record);

        r = record_format(record, NULL, &text, &size);
        if (r < 0)
                return r;
        r = lease_overwrite(lease->fd, text, size);
        lease_write_copy(lease, record);
        return r;
}

/* The list of copies */

RestoredLease *restored_lease_list_free(RestoredLease *list) {
        for (RestoredLease *entry = list; entry && entry->container; entry++) {
                free(entry->container);
                lease_record_done(&entry->record);
        }
        return mfree(list);
}

/* Somebody has used the container since the boot. */
static bool run_has_record(const char *root, const char *container) {
        _cleanup_free_ char *path = path_of(root, LEASE_FOLDER, container);
        struct stat status;

        return path && lstat(path, &status) >= 0 && status.st_size > 0;
}

static int copy_filter(const struct dirent *entry) {
        return engine_name_is_valid(entry->d_name);
}

static int list_fill(RestoredLease *list, const char *root, int folder, struct dirent **entries,
                     size_t n_entries) {
        size_t n = 0;

        for (size_t i = 0; i < n_entries; i++) {
                int r;

                if (run_has_record(root, entries[i]->d_name))
                        continue;
                r = copy_read(folder, entries[i]->d_name, &list[n].record);
                if (r < 0)
                        return r;
                if (!list[n].record.restored)
                        continue;
                list[n].container = strdup(entries[i]->d_name);
                if (!list[n].container) {
                        lease_record_done(&list[n].record);
                        return -ENOMEM;
                }
                n++;
        }
        return 0;
}

int lease_list_restored(RestoredLease **ret, const char *root) {
        _cleanup_(restored_lease_list_freep) RestoredLease *list = NULL;
        _cleanup_close_ int folder = -EBADF;
        struct dirent **entries = NULL;
        int n = 0, r = 0;

        assert(ret);
        assert(root);

        folder = copy_open_folder(root);
        if (folder < 0 && folder != -ENOENT)
                return folder;
        if (folder >= 0) {
                n = scandirat(folder, ".", &entries, copy_filter, alphasort);
                if (n < 0)
                        return -errno;
        }

        list = new0(RestoredLease, MIN((size_t) n, RESTORED_MAX) + 1);
        r = list ? list_fill(list, root, folder, entries, MIN((size_t) n, RESTORED_MAX)) : -ENOMEM;
        for (int i = 0; i < n; i++)
                free(entries[i]);
        free(entries);
        if (r >= 0)
                *ret = TAKE_PTR(list);
        return r;
}

const char *lease_fdname_container(const char *fdname) {
        size_t n = strlen(LEASE_FDNAME_PREFIX);

        return strncmp(fdname, LEASE_FDNAME_PREFIX, n) == 0 ? fdname + n : NULL;
}
