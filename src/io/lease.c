#include <fcntl.h>
#include <json-c/json.h>
#include <stdio.h>
#include <sys/file.h>
#include <unistd.h>

#include "io/lease.h"
#include "util/fd.h"

/* Lease: see the header. The record is a JSON object of one line. */

#define LEASE_FOLDER "/run/wakechain/lease"
#define LEASE_RECORD_MAX 4096
#define READS_MAX 4U

struct Lease {
        char *container;
        int fd;
};

static int lease_new(Lease **ret, int fd, const char *container) {
        _cleanup_(lease_freep) Lease *lease = NULL;

        lease = malloc(sizeof(*lease));
        if (!lease)
                return -ENOMEM;
        *lease = (Lease){ .container = strdup(container), .fd = -EBADF };
        if (!lease->container)
                return -ENOMEM;

        lease->fd = fd;
        *ret = TAKE_PTR(lease);
        return 0;
}

int lease_open(Lease **ret, const char *root, const char *container) {
        _cleanup_close_ int fd = -EBADF;
        _cleanup_free_ char *path = NULL;
        int r;

        assert(ret);
        assert(root);
        assert(container && !strchr(container, '/'));

        if (asprintf(&path, "%s" LEASE_FOLDER "/%s", root, container) < 0) {
                path = NULL;
                return -ENOMEM;
        }
        fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0660);
        if (fd < 0)
                return -errno;

        r = lease_new(ret, fd, container);
        if (r >= 0)
                (void) TAKE_FD(fd);
        return r;
}

int lease_adopt(Lease **ret, int fd, const char *container) {
        assert(ret);
        assert(fd >= 0);

        return lease_new(ret, fd, container);
}

Lease *lease_free(Lease *lease) {
        if (!lease)
                return NULL;

        fd_close(lease->fd);
        free(lease->container);
        return mfree(lease);
}

int lease_fd(const Lease *lease) {
        return lease->fd;
}

const char *lease_container(const Lease *lease) {
        return lease->container;
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

static int record_string(json_object *object, const char *member, char **ret) {
        json_object *value;

        if (!json_object_object_get_ex(object, member, &value) || !json_object_is_type(value, json_type_string))
                return 0;
        *ret = strdup(json_object_get_string(value));
        return *ret ? 0 : -ENOMEM;
}

/* NULL: missing or damaged. What is being written at this moment by another user may look damaged once. */
static json_object *lease_read_object(const Lease *lease) {
        for (unsigned i = 0; i < READS_MAX; i++) {
                char text[LEASE_RECORD_MAX + 1];
                json_object *object;
                ssize_t n;

                n = pread(lease->fd, text, LEASE_RECORD_MAX, 0);
                if (n <= 0)
                        return NULL;
                text[n] = '\0';
                object = json_tokener_parse(text);
                if (json_object_is_type(object, json_type_object))
                        return object;
                json_object_put(object);
        }
        return NULL;
}

int lease_read(Lease *lease, LeaseRecord *ret) {
        json_object *object, *value;
        LeaseRecord record = {};
        int r;

        assert(ret);

        object = lease_read_object(lease);
        if (!object) {
                *ret = record;
                return 0;
        }

        record.ours = json_object_object_get_ex(object, "ours", &value) && json_object_get_boolean(value);
        record.ready = json_object_object_get_ex(object, "ready", &value) && json_object_get_boolean(value);
        r = record_string(object, "wakeId", &record.wake_id);
        if (r >= 0)
                r = record_string(object, "startedAt", &record.started_at);
        json_object_put(object);
        if (r < 0) {
                lease_record_done(&record);
                return r;
        }
        *ret = record;
        return 0;
}

/* Never empty in between: whoever reads then, or goes on after we were killed, would take the container for
 * somebody else's and never stop it. What is left of a longer record behind the new one is not read, until it is
 * cut off. It also needs no new page of a full /run. */
static int lease_overwrite(int fd, const char *text, size_t size) {
        ssize_t n = pwrite(fd, text, size, 0);

        if (n < 0)
                return -errno;
        if ((size_t) n != size)
                return -ENOSPC;
        return ftruncate(fd, (off_t) size) < 0 ? -errno : 0;
}

int lease_write(Lease *lease, const LeaseRecord *record) {
        json_object *object = json_object_new_object();
        const char *text;
        size_t size;
        int r = 0;

        if (!object)
                return -ENOMEM;
        json_object_object_add(object, "ours", json_object_new_boolean(record->ours));
        json_object_object_add(object, "ready", json_object_new_boolean(record->ready));
        if (record->wake_id)
                json_object_object_add(object, "wakeId", json_object_new_string(record->wake_id));
        if (record->started_at)
                json_object_object_add(object, "startedAt", json_object_new_string(record->started_at));
        text = json_object_to_json_string_length(object, JSON_C_TO_STRING_PLAIN, &size);
        if (!text)
                r = -ENOMEM;
        else if (size > LEASE_RECORD_MAX)
                r = -E2BIG;
        else
                r = lease_overwrite(lease->fd, text, size);
        json_object_put(object);
        return r;
}

void lease_record_done(LeaseRecord *record) {
        free(record->wake_id);
        free(record->started_at);
        *record = (LeaseRecord){};
}

const char *lease_fdname_container(const char *fdname) {
        size_t n = strlen(LEASE_FDNAME_PREFIX);

        return strncmp(fdname, LEASE_FDNAME_PREFIX, n) == 0 ? fdname + n : NULL;
}
