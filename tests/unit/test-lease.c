#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "io/lease.h"
#include "test.h"
#include "util/fd.h"

static char root[] = "/tmp/test-lease-XXXXXX";

static const char *lease_path(const char *container) {
        static char path[256];

        (void) snprintf(path, sizeof(path), "%s/run/wakechain/lease/%s", root, container);
        return path;
}

static void test_shared_by_many_seized_by_the_last(void) {
        _cleanup_(lease_freep) Lease *first = NULL, *second = NULL, *third = NULL;

        ASSERT_OK(lease_open(&first, root, "redis-shared"));
        ASSERT_OK(lease_open(&second, root, "redis-shared"));
        ASSERT_OK(lease_share(first));
        ASSERT_OK(lease_share(second));

        ASSERT_ERROR(lease_seize(first), EAGAIN);
        /* The attempt has cost the first its own lock, so the second is the last. */
        ASSERT_OK(lease_seize(second));

        ASSERT_OK(lease_open(&third, root, "redis-shared"));
        ASSERT_ERROR(lease_share(third), EAGAIN);
        ASSERT_OK(lease_release(second));
        ASSERT_OK(lease_share(third));
        ASSERT_STREQ(lease_container(third), "redis-shared");
}

static void test_stored_duplicate_keeps_the_lock_until_released(void) {
        _cleanup_(lease_freep) Lease *held = NULL, *other = NULL, *adopted = NULL;
        int stored;

        ASSERT_OK(lease_open(&held, root, "db"));
        ASSERT_OK(lease_share(held));
        stored = fcntl(lease_fd(held), F_DUPFD_CLOEXEC, 3);
        ASSERT_TRUE(stored >= 0);
        held = lease_free(held);

        ASSERT_OK(lease_open(&other, root, "db"));
        ASSERT_ERROR(lease_seize(other), EAGAIN);

        ASSERT_OK(lease_adopt(&adopted, stored, "db"));
        ASSERT_OK(lease_release(adopted));
        ASSERT_OK(lease_seize(other));
}

static void test_record_is_read_back(void) {
        _cleanup_(lease_record_done) LeaseRecord record = {
                .ours = true,
                .wake_id = strdup("5e0a5ac1-16a9-4f1c-9f2c-d3a6c4c4f5f1"),
                .started_at = strdup("2026-01-05T08:00:00.123456789Z"),
                .ready = true,
        };
        _cleanup_(lease_record_done) LeaseRecord read = {}, empty = {};
        _cleanup_(lease_freep) Lease *lease = NULL;

        ASSERT_OK(lease_open(&lease, root, "web"));
        ASSERT_OK(lease_write(lease, &record));
        ASSERT_OK(lease_read(lease, &read));
        ASSERT_TRUE(read.ours && read.ready);
        ASSERT_STREQ(read.wake_id, record.wake_id);
        ASSERT_STREQ(read.started_at, record.started_at);

        ASSERT_OK(lease_write(lease, &empty));
        lease_record_done(&read);
        ASSERT_OK(lease_read(lease, &read));
        ASSERT_FALSE(read.ours || read.ready);
        ASSERT_NULL(read.wake_id);
        ASSERT_NULL(read.started_at);
}

/* A waker that is killed, or another one that reads, between any two calls of a write. */
static void test_record_is_never_lost_while_it_is_written(void) {
        LeaseRecord shorter = { .ours = true },
                    longer = { .ours = true, .started_at = (char *) "2026-01-05T08:00:00Z" };
        _cleanup_(lease_freep) Lease *lease = NULL;
        pid_t child;

        ASSERT_OK(lease_open(&lease, root, "busy"));
        ASSERT_OK(lease_write(lease, &longer));
        child = fork();
        ASSERT_TRUE(child >= 0);
        while (child == 0)
                if (lease_write(lease, &shorter) < 0 || lease_write(lease, &longer) < 0)
                        _exit(EXIT_FAILURE);

        for (unsigned i = 0; i < 5000; i++) {
                _cleanup_(lease_record_done) LeaseRecord read = {};

                ASSERT_OK(lease_read(lease, &read));
                ASSERT_TRUE(read.ours);
        }
        ASSERT_EQ(kill(child, SIGKILL), 0);
        ASSERT_EQ(waitpid(child, NULL, 0), child);
}

static void test_damaged_record_is_not_ours(void) {
        static const char *const texts[] = {
                "",
                "{",
                "[]",
                "null",
                "\"ours\"",
                "{\"ours\":tru",
                "{\"wakeId\":7,\"startedAt\":{},\"ours\":false}",
                "\xff\xfe",
        };

        for (size_t i = 0; i < ELEMENTSOF(texts); i++) {
                _cleanup_(lease_record_done) LeaseRecord record = {};
                _cleanup_(lease_freep) Lease *lease = NULL;

                ASSERT_OK(file_replace(lease_path("damaged"), texts[i], strlen(texts[i]), 0600, false));
                ASSERT_OK(lease_open(&lease, root, "damaged"));
                ASSERT_OK(lease_read(lease, &record));
                ASSERT_FALSE(record.ours || record.ready);
                ASSERT_NULL(record.wake_id);
                ASSERT_NULL(record.started_at);
        }
}

static void test_oversized_record_is_refused_and_the_old_one_stays(void) {
        _cleanup_(lease_record_done) LeaseRecord record = { .ours = true }, read = {};
        _cleanup_(lease_freep) Lease *lease = NULL;

        ASSERT_OK(lease_open(&lease, root, "long"));
        ASSERT_OK(lease_write(lease, &record));
        record.wake_id = malloc(8192);
        ASSERT_TRUE(record.wake_id != NULL);
        memset(record.wake_id, 'x', 8191);
        record.wake_id[8191] = '\0';
        ASSERT_ERROR(lease_write(lease, &record), E2BIG);
        ASSERT_OK(lease_read(lease, &read));
        ASSERT_TRUE(read.ours);
}

static void test_symbolic_link_is_not_followed(void) {
        _cleanup_(lease_freep) Lease *lease = NULL;

        ASSERT_EQ(symlink("/dev/null", lease_path("link")), 0);
        ASSERT_ERROR(lease_open(&lease, root, "link"), ELOOP);
        ASSERT_NULL(lease);
}

static void test_names_in_the_descriptor_store(void) {
        ASSERT_STREQ(lease_fdname_container(LEASE_FDNAME_PREFIX "mysql-clemence"), "mysql-clemence");
        ASSERT_NULL(lease_fdname_container("stored"));
        ASSERT_NULL(lease_fdname_container("leas"));
}

int main(void) {
        _cleanup_free_ char *command = NULL, *folder = NULL;

        ASSERT_TRUE(mkdtemp(root) != NULL);
        ASSERT_TRUE(asprintf(&folder, "%s/run/wakechain/lease", root) > 0);
        ASSERT_OK(directory_make(folder));

        test_shared_by_many_seized_by_the_last();
        test_stored_duplicate_keeps_the_lock_until_released();
        test_record_is_read_back();
        test_record_is_never_lost_while_it_is_written();
        test_damaged_record_is_not_ours();
        test_oversized_record_is_refused_and_the_old_one_stays();
        test_symbolic_link_is_not_followed();
        test_names_in_the_descriptor_store();

        ASSERT_TRUE(asprintf(&command, "rm -r '%s'", root) > 0);
        ASSERT_EQ(system(command), 0);
        return EXIT_SUCCESS;
}
