#include <dirent.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "lease/lease.h"
#include "model/service.h"
#include "util/fd.h"
#include "util/json-members.h"
#include "util/log.h"
#include "util/text.h"

/* Lease: see the header. The record is a JSON object of one line; its copy is one of the members that mean
 * something in another run, and names its container, so that a file which was renamed is not believed.
 *
 * The record is written in place, because the lock is on that file, and the copy by renaming. A record is
 * written several times in a wake, the copy only if it differs from what is there.
 *
 * Where somebody has replaced the file, each user moves to the new one when it looks (lease_mend()). Until all have, the
 * lock of the old one counts as well: who has moved keeps it, and takes both to stop the container. */

#define LEASE_FOLDER "/run/wakechain/lease"
#define COPY_PARENT "/var/lib/wakechain"
#define COPY_FOLDER COPY_PARENT "/lease"
#define RECORD_MAX ((size_t) 4096)
#define READS_MAX 4U
#define LIST_MAX ((size_t) 4096)
#define FDNAME_MAX 256

struct Lease {
        char *root;
        char *name;
        int fd;
        int former_fd; /* of the file that was replaced; -EBADF: it was not */
        FileMark record_mark, copy_mark; /* when they were known to be sound */
};

/* Takes the fd on success. */
static int lease_new(Lease **ret, const char *root, int fd, const char *name) {
        _cleanup_(lease_freep) Lease *lease = malloc(sizeof(*lease));

        if (!lease)
                return -ENOMEM;
        *lease = (Lease){ .root = strdup(root), .name = strdup(name), .fd = -EBADF, .former_fd = -EBADF };
        if (!lease->root || !lease->name)
                return -ENOMEM;

        lease->fd = fd;
        *ret = TAKE_PTR(lease);
        return 0;
}

/* What is in its place and is somebody's link, pipe or folder, or a file that we may not write to, is removed, once. */
static int lease_open_file(const char *root, const char *name) {
        _cleanup_free_ char *path = text_printf("%s" LEASE_FOLDER "/%s", root, name);

        if (!path)
                return -ENOMEM;
        for (bool cleared = false;; cleared = true) {
                _cleanup_close_ int fd =
                                open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY,
                                     0660);
                struct stat status;
                int error = fd < 0 ? errno : fstat(fd, &status) < 0 ? errno : S_ISREG(status.st_mode) ? 0 : ELOOP;
                bool in_the_way = error == ELOOP || error == EISDIR || error == EACCES || error == EPERM ||
                                  error == ENXIO;

                if (error == 0)
                        return fd_move_up(TAKE_FD(fd));
                if (cleared || !in_the_way || remove(path) < 0)
                        return -error;
        }
}

int lease_open(Lease **ret, const char *root, const char *name) {
        _cleanup_close_ int fd = -EBADF;
        int r;

        assert(ret);
        assert(root);
        assert(name && !strchr(name, '/'));

        fd = lease_open_file(root, name);
        if (fd < 0)
                return fd;
        r = lease_new(ret, root, fd, name);
        if (r >= 0)
                (void) TAKE_FD(fd);
        return r;
}

int lease_adopt(Lease **ret, const char *root, int fd, const char *name) {
        assert(ret);
        assert(root);
        assert(fd >= 0);
        assert(name && !strchr(name, '/'));

        return lease_new(ret, root, fd, name);
}

Lease *lease_free(Lease *lease) {
        if (!lease)
                return NULL;

        fd_close(lease->fd);
        fd_close(lease->former_fd);
        free(lease->name);
        free(lease->root);
        return mfree(lease);
}

int lease_fd(const Lease *lease) {
        return lease->fd;
}

/* The descriptor store */

const char *lease_name_from_fdname(const char *fdname) {
        size_t n = strlen(LEASE_FDNAME_PREFIX);

        return strncmp(fdname, LEASE_FDNAME_PREFIX, n) == 0 ? fdname + n : NULL;
}

/* False: systemd would not take it under this name, so that a crash would lose the lock. */
static bool lease_fdname(const Lease *lease, char ret[static FDNAME_MAX]) {
        return snprintf(ret, FDNAME_MAX, LEASE_FDNAME_PREFIX "%s", lease->name) < FDNAME_MAX && !strchr(ret, ':');
}

static void lease_store(const Lease *lease) {
        char name[FDNAME_MAX], text[FDNAME_MAX + 64];

        if (!lease_fdname(lease, name))
                return;
        /* It is never polled: a lock has no events. */
        (void) snprintf(text, sizeof(text), "FDSTORE=1\nFDNAME=%s\nFDPOLL=0", name);
        (void) sd_pid_notify_with_fds(0, 0, text, &lease->fd, 1);
}

static void lease_forget(const Lease *lease) {
        char name[FDNAME_MAX];

        if (lease_fdname(lease, name))
                (void) sd_notifyf(0, "FDSTOREREMOVE=1\nFDNAME=%s", name);
}

/* The lock */

static int fd_lock(int fd, int operation) {
        while (flock(fd, operation) < 0)
                if (errno != EINTR)
                        return errno == EWOULDBLOCK ? -EAGAIN : -errno;
        return 0;
}

int lease_share(Lease *lease) {
        int r = fd_lock(lease->fd, LOCK_SH | LOCK_NB);

        if (r >= 0)
                lease_store(lease);
        return r;
}

/* Is the file that is locked the one that others find? */
static bool lease_is_in_place(const Lease *lease) {
        _cleanup_free_ char *path = text_printf("%s" LEASE_FOLDER "/%s", lease->root, lease->name);
        struct stat held, found;

        return path && fstat(lease->fd, &held) >= 0 && lstat(path, &found) >= 0 && held.st_dev == found.st_dev &&
               held.st_ino == found.st_ino;
}

static int lease_move(Lease *lease) {
        _cleanup_close_ int fd = lease_open_file(lease->root, lease->name);
        int r;

        if (fd < 0)
                return fd;
        r = fd_lock(fd, LOCK_SH | LOCK_NB);
        if (r < 0)
                return r;
        fd_close(lease->former_fd);
        lease->former_fd = lease->fd;
        lease->fd = TAKE_FD(fd);
        return 0;
}

int lease_seize(Lease *lease) {
        int r = 0;

        if (!lease_is_in_place(lease))
                r = lease_move(lease);
        if (r >= 0 && lease->former_fd >= 0)
                r = fd_lock(lease->former_fd, LOCK_EX | LOCK_NB);
        return r < 0 ? r : fd_lock(lease->fd, LOCK_EX | LOCK_NB);
}

int lease_release(Lease *lease) {
        int r;

        if (lease->former_fd >= 0)
                (void) fd_lock(lease->former_fd, LOCK_UN);
        /* The stored duplicate shares the lock: unlocking releases both, forgetting only saves the descriptor. */
        r = fd_lock(lease->fd, LOCK_UN);
        lease_forget(lease);
        return r;
}

/* The record and JSON */

static const struct {
        const char *name;
        size_t offset;
        bool text; /* else true or false */
        bool always; /* even if it is false */
        bool of_run; /* means nothing in another one */
} members[] = {
        { "ours", offsetof(LeaseRecord, ours), .always = true },
        { "asleep", offsetof(LeaseRecord, asleep) },
        { "service", offsetof(LeaseRecord, service), .text = true },
        { "wakeId", offsetof(LeaseRecord, wake_id), .text = true },
        { "containerId", offsetof(LeaseRecord, container_id), .text = true },
        { "ready", offsetof(LeaseRecord, ready), .always = true, .of_run = true },
        { "startedAt", offsetof(LeaseRecord, started_at), .text = true, .of_run = true },
};

static char **record_text(const LeaseRecord *record, size_t i) {
        return (char **) ((char *) record + members[i].offset);
}

static bool *record_flag(const LeaseRecord *record, size_t i) {
        return (bool *) ((char *) record + members[i].offset);
}

/* What is true of this run, or of the others as well, in a copy of the lease of that name. The caller frees it. */
static int record_format(const LeaseRecord *record, const char *copy_of, char **ret, size_t *ret_size) {
        _cleanup_(json_freep) json_object *object = json_object_new_object();
        bool fine = !copy_of || json_add_text(object, "container", copy_of);
        const char *text = NULL;

        for (size_t i = 0; i < ELEMENTSOF(members) && fine; i++) {
                if (members[i].of_run && copy_of)
                        continue;
                if (members[i].text && *record_text(record, i))
                        fine = json_add_text(object, members[i].name, *record_text(record, i));
                else if (!members[i].text && (members[i].always || *record_flag(record, i)))
                        fine = json_add(object, members[i].name, json_object_new_boolean(*record_flag(record, i)));
        }
        if (fine)
                text = json_object_to_json_string_length(object, JSON_C_TO_STRING_PLAIN, ret_size);
        if (text && *ret_size > RECORD_MAX)
                return -E2BIG;
        *ret = text ? strndup(text, *ret_size) : NULL;
        return *ret ? 0 : -ENOMEM;
}

static int record_parse(json_object *object, LeaseRecord *ret) {
        LeaseRecord record = {};

        for (size_t i = 0; i < ELEMENTSOF(members); i++) {
                const char *text = members[i].text ? json_member_text(object, members[i].name) : NULL;

                if (!members[i].text)
                        *record_flag(&record, i) = json_member_is_true(object, members[i].name);
                else if (text && !(*record_text(&record, i) = strdup(text))) {
                        lease_record_done(&record);
                        return -ENOMEM;
                }
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

/* The copy */

/* The text of a copy, as it is; "": none. */
static void copy_read_text(int folder, const char *name, char text[static RECORD_MAX + 1]) {
        _cleanup_close_ int fd = -EBADF;
        struct stat file, parent;
        ssize_t n = 0;

        /* A FIFO there would make us wait. */
        fd = openat(folder, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
        /* A stranger's is none. */
        if (fd >= 0 && fstat(fd, &file) >= 0 && S_ISREG(file.st_mode) && (size_t) file.st_size <= RECORD_MAX &&
            fstat(folder, &parent) >= 0 && (file.st_uid == parent.st_uid || file.st_uid == 0))
                n = pread(fd, text, RECORD_MAX, 0);
        text[MAX(n, 0)] = '\0';
}

static int copy_open_folder(const char *root, bool make) {
        _cleanup_free_ char *parent = NULL, *path = NULL;
        int fd, r;

        parent = text_printf("%s" COPY_PARENT, root);
        path = text_printf("%s" COPY_FOLDER, root);
        if (!parent || !path)
                return -ENOMEM;

        fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0 && errno == ENOENT && make) {
                r = directory_make(parent);
                if (r < 0)
                        return r;
                if (mkdir(path, 0700) < 0 && errno != EEXIST)
                        return -errno;
                fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        }
        return fd < 0 ? -errno : fd;
}

/* A record that is not ours: there is no copy, or none that counts. */
static int copy_read(int folder, const char *name, LeaseRecord *ret) {
        _cleanup_(json_freep) json_object *object = NULL;
        char text[RECORD_MAX + 1];
        int r = 0;

        *ret = (LeaseRecord){};
        copy_read_text(folder, name, text);
        object = json_tokener_parse(text);
        if (streq(strempty(json_member_text(object, "container")), name))
                r = record_parse(object, ret);
        if (r >= 0 && !ret->ours)
                lease_record_done(ret);
        if (r < 0 || !ret->ours)
                return r;

        /* Whatever it says of a run, that run has ended. */
        ret->started_at = mfree(ret->started_at);
        ret->ready = false;
        ret->restored = true;
        return 0;
}

static int copy_write(const Lease *lease, const LeaseRecord *record, const char *path) {
        _cleanup_free_ char *text = NULL;
        _cleanup_close_ int folder = -EBADF;
        char old[RECORD_MAX + 1];
        size_t size;
        int r;

        r = record_format(record, lease->name, &text, &size);
        if (r < 0)
                return r;
        folder = copy_open_folder(lease->root, true);
        if (folder < 0)
                return folder;

        copy_read_text(folder, lease->name, old);
        return streq(old, text) ? 0 : file_replace(path, text, size, 0600, false);
}

static void lease_write_copy(const Lease *lease, const LeaseRecord *record) {
        _cleanup_free_ char *path = text_printf("%s" COPY_FOLDER "/%s", lease->root, lease->name);
        int r;

        if (!path)
                r = -ENOMEM;
        else if (record->ours)
                r = copy_write(lease, record, path);
        else
                r = unlink(path) < 0 && errno != ENOENT ? -errno : 0;
        if (r < 0)
                log_debug_errno(r, "Failed to keep a copy of the lease of '%s', ignoring: %m", lease->name);
}

/* Reading and writing */

/* What is being written at this moment by another user may look damaged once. NULL: there is none, or it is damaged. */
static json_object *fd_read_record(int fd) {
        for (unsigned i = 0; i < READS_MAX; i++) {
                char text[RECORD_MAX + 1];
                ssize_t n = pread(fd, text, RECORD_MAX, 0);
                json_object *object;

                if (n <= 0)
                        return NULL;
                text[n] = '\0';
                object = json_tokener_parse(text);
                if (json_member_of(object, "ours", json_type_boolean))
                        return object;
                json_object_put(object);
        }
        return NULL;
}

static int record_read(int fd, int copies, const char *name, LeaseRecord *ret) {
        json_object *object = fd < 0 ? NULL : fd_read_record(fd);
        LeaseRecord record = {};
        int r = 0;

        if (object)
                r = record_parse(object, &record);
        else if (copies >= 0)
                r = copy_read(copies, name, &record);
        json_object_put(object);
        if (r >= 0)
                *ret = record;
        return r;
}

int lease_read(Lease *lease, LeaseRecord *ret) {
        _cleanup_close_ int copies = -EBADF;

        assert(lease);
        assert(ret);

        copies = copy_open_folder(lease->root, false);
        return record_read(lease->fd, copies, lease->name, ret);
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

static void lease_mark(Lease *lease) {
        _cleanup_close_ int copies = copy_open_folder(lease->root, false);
        struct stat status;

        lease->record_mark = lease->copy_mark = (FileMark){};
        if (fstat(lease->fd, &status) >= 0)
                lease->record_mark = file_mark_from_stat(&status);
        if (copies >= 0 && fstatat(copies, lease->name, &status, AT_SYMLINK_NOFOLLOW) >= 0)
                lease->copy_mark = file_mark_from_stat(&status);
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
        lease_mark(lease);
        return r;
}

/* Another user may have written it meanwhile, which is as good. */
static bool lease_has_record(const Lease *lease) {
        json_object *object = fd_read_record(lease->fd);
        bool found = object;

        json_object_put(object);
        return found;
}

static bool lease_has_copy(const Lease *lease) {
        _cleanup_(lease_record_done) LeaseRecord record = {};
        _cleanup_close_ int copies = copy_open_folder(lease->root, false);

        return copies >= 0 && copy_read(copies, lease->name, &record) >= 0 && record.ours;
}

int lease_mend(Lease *lease, const LeaseRecord *record) {
        FileMark record_mark = lease->record_mark, copy_mark = lease->copy_mark;
        bool moved, copied;
        int r = 0;

        assert(lease);
        assert(record);

        moved = !lease_is_in_place(lease);
        if (moved) {
                r = lease_move(lease);
                if (r < 0)
                        return r;
                lease_forget(lease);
                lease_store(lease);
        }

        lease_mark(lease);
        copied = copy_mark.inode != 0 && file_mark_equal(&copy_mark, &lease->copy_mark);
        if (!file_mark_equal(&record_mark, &lease->record_mark) && !lease_has_record(lease))
                r = lease_write(lease, record);
        else if (record->ours && !copied && !lease_has_copy(lease)) {
                lease_write_copy(lease, record);
                lease_mark(lease);
        }
        return r < 0 ? r : moved;
}

/* The list */

RestoredLease *restored_lease_list_free(RestoredLease *list) {
        for (RestoredLease *entry = list; entry && entry->container; entry++) {
                free(entry->container);
                lease_record_done(&entry->record);
        }
        return mfree(list);
}

static int name_filter(const struct dirent *entry) {
        return engine_name_is_valid(entry->d_name);
}

static int compare_entries(const void *a, const void *b) {
        return strcmp(((const RestoredLease *) a)->container, ((const RestoredLease *) b)->container);
}

/* Adds those in this folder that are ours, and not in the list yet: `n_known` of it are sorted. */
static int list_add(RestoredLease *list, size_t n_known, size_t *n, int folder, int records, int copies) {
        struct dirent **entries = NULL;
        int n_entries, r = 0;

        n_entries = folder < 0 ? 0 : scandirat(folder, ".", &entries, name_filter, alphasort);
        if (n_entries < 0)
                return -errno;
        for (int i = 0; i < n_entries; i++) {
                RestoredLease entry = { .container = entries[i]->d_name };
                _cleanup_close_ int fd = -EBADF;
                struct stat status;

                if (r < 0 || *n >= LIST_MAX || bsearch(&entry, list, n_known, sizeof(*list), compare_entries))
                        continue;
                fd = records < 0 ? -EBADF
                                 : openat(records, entry.container,
                                          O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
                if (fd >= 0 && (fstat(fd, &status) < 0 || !S_ISREG(status.st_mode)))
                        fd = fd_close(fd);
                r = record_read(fd, copies, entry.container, &entry.record);
                if (r < 0 || !entry.record.ours) {
                        lease_record_done(&entry.record);
                        continue;
                }
                entry.container = strdup(entry.container);
                if (!entry.container) {
                        lease_record_done(&entry.record);
                        r = -ENOMEM;
                        continue;
                }
                list[(*n)++] = entry;
        }
        for (int i = 0; i < n_entries; i++)
                free(entries[i]);
        free(entries);
        return r;
}

int lease_list(RestoredLease **ret, const char *root) {
        _cleanup_(restored_lease_list_freep) RestoredLease *list = new0(RestoredLease, LIST_MAX + 1);
        _cleanup_close_ int records = -EBADF, copies = -EBADF;
        _cleanup_free_ char *path = NULL;
        size_t n = 0;
        int r;

        assert(ret);
        assert(root);

        if (!list || asprintf(&path, "%s" LEASE_FOLDER, root) < 0) {
                path = NULL;
                return -ENOMEM;
        }
        records = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (records < 0 && errno != ENOENT)
                return -errno;
        copies = copy_open_folder(root, false);
        if (copies < 0 && copies != -ENOENT)
                return copies;

        r = list_add(list, 0, &n, copies, records, copies);
        if (r >= 0) {
                qsort(list, n, sizeof(*list), compare_entries);
                r = list_add(list, n, &n, records, records, copies);
        }
        if (r < 0)
                return r;
        qsort(list, n, sizeof(*list), compare_entries);
        *ret = TAKE_PTR(list);
        return 0;
}
