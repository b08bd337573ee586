#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lease/lease.h"
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

        ASSERT_OK(lease_adopt(&adopted, root, stored, "db"));
        ASSERT_OK(lease_release(adopted));
        ASSERT_OK(lease_seize(other));
}

static void test_record_is_read_back(void) {
        _cleanup_(lease_record_done) LeaseRecord record = {
                .ours = true,
                .service = strdup("blog"),
                .wake_id = strdup("5e0a5ac1-16a9-4f1c-9f2c-d3a6c4c4f5f1"),
                .container_id = strdup("0123456789ab"),
                .started_at = strdup("2026-01-05T08:00:00.123456789Z"),
                .ready = true,
        };
        _cleanup_(lease_record_done) LeaseRecord read = {}, empty = {};
        _cleanup_(lease_freep) Lease *lease = NULL;

        ASSERT_OK(lease_open(&lease, root, "web"));
        ASSERT_OK(lease_write(lease, &record));
        ASSERT_OK(lease_read(lease, &read));
        ASSERT_TRUE(read.ours && read.ready);
        ASSERT_FALSE(read.restored);
        ASSERT_STREQ(read.service, record.service);
        ASSERT_STREQ(read.wake_id, record.wake_id);
        ASSERT_STREQ(read.container_id, record.container_id);
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

static const char *copy_path(const char *container) {
        static char path[256];

        (void) snprintf(path, sizeof(path), "%s/var/lib/wakechain/lease/%s", root, container);
        return path;
}

static void make_text(const char *path, const char *text) {
        ASSERT_OK(file_replace(path, text, strlen(text), 0600, false));
}

/* What a boot does to /run. */
static void forget_run(const char *container) {
        ASSERT_EQ(unlink(lease_path(container)), 0);
}

static LeaseRecord read_anew(const char *container) {
        _cleanup_(lease_freep) Lease *lease = NULL;
        LeaseRecord record = {};

        ASSERT_OK(lease_open(&lease, root, container));
        ASSERT_OK(lease_read(lease, &record));
        return record;
}

static void write_ours(const char *container, const char *started_at, bool ready) {
        _cleanup_(lease_freep) Lease *lease = NULL;
        LeaseRecord record = {
                .ours = true,
                .service = (char *) "blog",
                .wake_id = (char *) "5e0a5ac1",
                .container_id = (char *) "0123",
                .started_at = (char *) started_at,
                .ready = ready,
        };

        ASSERT_OK(lease_open(&lease, root, container));
        ASSERT_OK(lease_write(lease, &record));
}

static void test_copy_outlives_a_boot(void) {
        _cleanup_(lease_record_done) LeaseRecord before = {}, after = {};
        struct stat status;

        write_ours("copied", "2026-01-05T08:00:00Z", true);
        before = read_anew("copied");
        ASSERT_FALSE(before.restored);
        forget_run("copied");

        after = read_anew("copied");
        ASSERT_TRUE(after.ours && after.restored);
        ASSERT_STREQ(after.service, "blog");
        ASSERT_STREQ(after.wake_id, "5e0a5ac1");
        ASSERT_STREQ(after.container_id, "0123");
        /* What it knew of that run holds for no other. */
        ASSERT_NULL(after.started_at);
        ASSERT_FALSE(after.ready);

        ASSERT_EQ(stat(copy_path("copied"), &status), 0);
        ASSERT_EQ(status.st_mode & 07777, 0600);
        ASSERT_EQ(stat(copy_path("."), &status), 0);
        ASSERT_EQ(status.st_mode & 07777, 0700);
}

static void test_copy_is_removed_with_what_it_says(void) {
        _cleanup_(lease_record_done) LeaseRecord read = {}, not_ours = {};
        _cleanup_(lease_freep) Lease *lease = NULL;

        write_ours("released", NULL, false);
        ASSERT_EQ(access(copy_path("released"), F_OK), 0);
        ASSERT_OK(lease_open(&lease, root, "released"));
        ASSERT_OK(lease_write(lease, &not_ours));
        ASSERT_EQ(access(copy_path("released"), F_OK), -1);

        forget_run("released");
        read = read_anew("released");
        ASSERT_FALSE(read.ours || read.restored);
}

static bool list_has(const char *container, LeaseRecord *ret) {
        _cleanup_(restored_lease_list_freep) RestoredLease *list = NULL;

        ASSERT_OK(lease_list(&list, root));
        for (RestoredLease *entry = list; entry->container; entry++)
                if (streq(entry->container, container)) {
                        *ret = entry->record;
                        entry->record = (LeaseRecord){};
                        return true;
                }
        return false;
}

static void test_sound_record_of_this_boot_hides_the_copy(void) {
        static const struct {
                const char *text;
                bool ours;
        } records[] = {
                { "{\"ours\":false}", false }, { "{\"ours\":tru", true },     { "{}", true },
                { "\xff\xfe\x01", true },      { "{\"ours\":\"no\"}", true },
        };

        for (size_t i = 0; i < ELEMENTSOF(records); i++) {
                _cleanup_(lease_record_done) LeaseRecord read = {}, listed = {};

                write_ours("hidden", NULL, false);
                make_text(lease_path("hidden"), records[i].text);
                read = read_anew("hidden");
                ASSERT_EQ(read.ours, records[i].ours);
                ASSERT_EQ(read.restored, records[i].ours);
                ASSERT_EQ(list_has("hidden", &listed), records[i].ours);
        }
        ASSERT_EQ(unlink(copy_path("hidden")), 0);
}

static void test_asleep_outlives_a_boot(void) {
        _cleanup_(lease_record_done) LeaseRecord old = {}, before = {}, after = {}, listed = {};
        _cleanup_(lease_freep) Lease *lease = NULL;
        LeaseRecord record = {
                .ours = true, .asleep = true, .service = (char *) "blog", .container_id = (char *) "0123"
        };

        /* Before that member was known it meant that the container had been started, and not stopped since. */
        make_text(copy_path("asleep"), "{\"container\":\"asleep\",\"ours\":true,\"containerId\":\"0123\"}");
        old = read_anew("asleep");
        ASSERT_TRUE(old.ours && !old.asleep);

        ASSERT_OK(lease_open(&lease, root, "asleep"));
        ASSERT_OK(lease_write(lease, &record));
        before = read_anew("asleep");
        ASSERT_TRUE(before.ours && before.asleep && !before.restored);
        forget_run("asleep");
        after = read_anew("asleep");
        ASSERT_TRUE(after.ours && after.asleep && after.restored);
        ASSERT_TRUE(list_has("asleep", &listed));
        ASSERT_TRUE(listed.asleep);
        ASSERT_STREQ(listed.container_id, "0123");
}

/* A wake writes its record several times; only the identity goes to the disk, once. */
static void test_copy_is_not_written_again_for_nothing(void) {
        struct stat first, second;

        write_ours("once", NULL, false);
        ASSERT_EQ(stat(copy_path("once"), &first), 0);
        write_ours("once", "2026-01-05T08:00:00Z", false);
        write_ours("once", "2026-01-05T08:00:00Z", true);
        ASSERT_EQ(stat(copy_path("once"), &second), 0);
        ASSERT_EQ(first.st_ino, second.st_ino);

        /* Somebody else's hand is noticed. */
        ASSERT_EQ(unlink(copy_path("once")), 0);
        write_ours("once", "2026-01-05T08:00:00Z", true);
        ASSERT_EQ(access(copy_path("once"), F_OK), 0);
}

static void make_fifo(const char *path, const char *text) {
        ASSERT_EQ(mkfifo(path, 0600), 0);
}

static void make_folder(const char *path, const char *text) {
        ASSERT_EQ(mkdir(path, 0700), 0);
}

static void make_link(const char *path, const char *text) {
        ASSERT_EQ(symlink("once", path), 0);
}

static void make_huge(const char *path, const char *text) {
        _cleanup_free_ char *huge = malloc(1 << 20);

        ASSERT_TRUE(huge);
        memset(huge, ' ', 1 << 20);
        memcpy(huge, text, strlen(text));
        ASSERT_OK(file_replace(path, huge, 1 << 20, 0600, false));
}

static void make_stranger(const char *path, const char *text) {
        make_text(path, text);
        if (geteuid() == 0)
                ASSERT_EQ(chown(path, 12345, 12345), 0);
        else
                make_text(path, "");
}

static void test_bad_copies_count_as_none(void) {
#define GOOD "{\"container\":\"bad\",\"ours\":true}"
        static const struct {
                void (*make)(const char *path, const char *text);
                const char *text;
        } cases[] = {
                { make_text, "" },
                { make_text, "{" },
                { make_text, "[]" },
                { make_text, "{\"ours\":true}" },
                { make_text, "{\"container\":\"other\",\"ours\":true}" },
                { make_text, "{\"container\":\"bad\",\"ours\":1}" },
                { make_text, "{\"container\":\"bad\",\"ours\":false}" },
                { make_text, "{\"container\":[],\"ours\":true}" },
                { make_text, "\xff\xfe" },
                { make_huge, GOOD },
                { make_stranger, GOOD },
                { make_fifo, NULL },
                { make_link, NULL },
                { make_folder, NULL },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_(lease_record_done) LeaseRecord read = {}, again = {};
                _cleanup_(restored_lease_list_freep) RestoredLease *list = NULL;

                cases[i].make(copy_path("bad"), cases[i].text);
                read = read_anew("bad");
                if (read.ours || read.restored)
                        TEST_FAIL("copy %zu counts", i);
                ASSERT_OK(lease_list(&list, root));
                for (RestoredLease *entry = list; entry->container; entry++)
                        ASSERT_FALSE(streq(entry->container, "bad"));

                /* And it is in nobody's way. */
                write_ours("bad", NULL, false);
                forget_run("bad");
                again = read_anew("bad");
                ASSERT_TRUE(again.restored);
                ASSERT_EQ(unlink(copy_path("bad")), 0);
                forget_run("bad");
        }
#undef GOOD
}

static void test_copy_that_cannot_be_written_is_no_failure(void) {
        _cleanup_free_ char *folder = strdup(copy_path("")), *moved = NULL;
        _cleanup_(lease_record_done) LeaseRecord read = {};

        ASSERT_TRUE(folder && asprintf(&moved, "%s/moved", root) > 0);
        folder[strlen(folder) - 1] = '\0';
        ASSERT_EQ(rename(folder, moved), 0);
        make_text(folder, "in the way");

        write_ours("uncopied", NULL, false);
        read = read_anew("uncopied");
        ASSERT_TRUE(read.ours);
        ASSERT_FALSE(read.restored);

        ASSERT_EQ(unlink(folder), 0);
        ASSERT_EQ(rename(moved, folder), 0);
}

/* Runs in a process of its own, so that limits and mounts end with it. False: it cannot be tried here. */
static bool run_apart(bool (*function)(void)) {
        pid_t child = fork();
        int status;

        ASSERT_TRUE(child >= 0);
        if (child == 0)
                _exit(function() ? EXIT_SUCCESS : 77);
        ASSERT_EQ(waitpid(child, &status, 0), child);
        ASSERT_TRUE(WIFEXITED(status) && (WEXITSTATUS(status) == EXIT_SUCCESS || WEXITSTATUS(status) == 77));
        return WEXITSTATUS(status) == EXIT_SUCCESS;
}

static bool write_where_only_a_part_fits(void) {
        struct rlimit limit = { .rlim_cur = 12, .rlim_max = RLIM_INFINITY };
        LeaseRecord other = { .ours = false, .wake_id = (char *) "another" };
        _cleanup_(lease_record_done) LeaseRecord read = {};
        _cleanup_(lease_freep) Lease *lease = NULL;

        write_ours("limited", "2026-01-05T08:00:00Z", true);
        ASSERT_OK(lease_open(&lease, root, "limited"));
        ASSERT_TRUE(signal(SIGXFSZ, SIG_IGN) != SIG_ERR);
        ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
        ASSERT_ERROR(lease_write(lease, &other), ENOSPC);

        read = read_anew("limited");
        ASSERT_TRUE(read.ours && read.ready);
        ASSERT_STREQ(read.started_at, "2026-01-05T08:00:00Z");
        return true;
}

static void test_record_survives_one_that_does_not_fit(void) {
        ASSERT_TRUE(run_apart(write_where_only_a_part_fits));
}

static bool write_to_a_full_run(void) {
        LeaseRecord ours = { .ours = true,
                             .service = (char *) "blog",
                             .started_at = (char *) "2026-01-05T08:00:00Z" },
                    longer = { .ours = true, .service = (char *) "a name that is longer than the other" };
        _cleanup_(lease_record_done) LeaseRecord old = {}, first = {};
        _cleanup_(lease_freep) Lease *lease = NULL, *fresh = NULL;
        _cleanup_free_ char *run = NULL, *folder = NULL, *filler = NULL;
        _cleanup_close_ int fd = -EBADF;
        static char page[4096];

        ASSERT_TRUE(asprintf(&run, "%s/run", root) > 0 && asprintf(&folder, "%s/wakechain/lease", run) > 0 &&
                    asprintf(&filler, "%s/filler", run) > 0);
        if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
            mount("tmpfs", run, "tmpfs", 0, "size=64k") < 0)
                return false;
        ASSERT_OK(directory_make(folder));
        ASSERT_OK(lease_open(&lease, root, "full"));
        ASSERT_OK(lease_write(lease, &ours));
        fd = open(filler, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        ASSERT_TRUE(fd >= 0);
        while (write(fd, page, sizeof(page)) > 0)
                ;

        /* What has a record can be written, and one that fits no page of its own leaves the copy. */
        ASSERT_OK(lease_write(lease, &longer));
        ASSERT_OK(lease_read(lease, &old));
        ASSERT_STREQ(old.service, longer.service);
        ASSERT_FALSE(old.restored);

        ASSERT_OK(lease_open(&fresh, root, "full-from-the-beginning"));
        ASSERT_OK(lease_share(fresh));
        ASSERT_ERROR(lease_write(fresh, &ours), ENOSPC);
        ASSERT_OK(lease_read(fresh, &first));
        ASSERT_TRUE(first.ours && first.restored);
        ASSERT_STREQ(first.service, "blog");
        return true;
}

static void test_full_run_loses_no_record(void) {
        if (geteuid() != 0 || !run_apart(write_to_a_full_run))
                printf("A full /run needs root and a mount namespace, skipped.\n");
}

static void test_list_of_what_is_ours(void) {
        static const char *const others[] = { "listed-b.AbCdEf", ".hidden", "-odd" };
        static const char *const expected[] = { "listed-a", "listed-b", "listed-run" };
        _cleanup_(restored_lease_list_freep) RestoredLease *list = NULL, *none = NULL;
        _cleanup_(lease_record_done) LeaseRecord opened = {}, listed = {};
        size_t n = 0;

        for (size_t i = ELEMENTSOF(expected); i > 0; i--)
                write_ours(expected[i - 1], NULL, false);
        for (size_t i = 0; i < ELEMENTSOF(others); i++)
                make_text(copy_path(others[i]), "{\"container\":\"listed-b\",\"ours\":true}");
        forget_run("listed-a");
        forget_run("listed-b");
        /* A lease that was opened, and nothing written, is no record; and where the copy was lost there is one. */
        opened = read_anew("listed-b");
        ASSERT_EQ(unlink(copy_path("listed-run")), 0);
        make_fifo(lease_path("listed-fifo"), NULL);

        ASSERT_OK(lease_list(&list, root));
        for (RestoredLease *entry = list; entry->container; entry++) {
                ASSERT_TRUE(entry->record.ours);
                ASSERT_TRUE(entry == list || strcmp(entry[-1].container, entry->container) < 0);
                if (strncmp(entry->container, "listed-", 7) != 0)
                        continue;
                ASSERT_TRUE(n < ELEMENTSOF(expected));
                ASSERT_STREQ(entry->container, expected[n++]);
                ASSERT_EQ(entry->record.restored, !streq(entry->container, "listed-run"));
                ASSERT_STREQ(entry->record.service, "blog");
        }
        ASSERT_EQ(n, ELEMENTSOF(expected));
        ASSERT_FALSE(list_has("nobody", &listed));
        ASSERT_EQ(unlink(lease_path("listed-fifo")), 0);

        ASSERT_OK(lease_list(&none, "/nonexistent"));
        ASSERT_NULL(none->container);
}

static void test_what_is_in_its_place_is_removed(void) {
        static void (*const makes[])(const char *path, const char *text) = { make_link, make_fifo, make_folder };

        for (size_t i = 0; i < ELEMENTSOF(makes); i++) {
                _cleanup_(lease_freep) Lease *lease = NULL;
                struct stat status;

                makes[i](lease_path("odd"), NULL);
                ASSERT_OK(lease_open(&lease, root, "odd"));
                ASSERT_EQ(lstat(lease_path("odd"), &status), 0);
                ASSERT_TRUE(S_ISREG(status.st_mode));
                ASSERT_EQ(unlink(lease_path("odd")), 0);
        }
        ASSERT_EQ(access(lease_path("once"), F_OK), 0);
}

/* Mending */

static const LeaseRecord held_record = { .ours = true,
                                         .service = (char *) "blog",
                                         .wake_id = (char *) "5e0a5ac1",
                                         .started_at = (char *) "2026-01-05T08:00:00Z",
                                         .ready = true };

static void expect_whole(const char *container) {
        _cleanup_(lease_record_done) LeaseRecord read = read_anew(container);

        ASSERT_TRUE(read.ours && read.ready && !read.restored);
        ASSERT_STREQ(read.started_at, held_record.started_at);
        ASSERT_EQ(access(copy_path(container), F_OK), 0);
}

static void test_damaged_files_are_written_again(void) {
        static const char *const garbage[] = { "", "{", "\xff\xfe", "{\"container\":\"another\",\"ours\":true}",
                                               "{}" };
        _cleanup_(lease_freep) Lease *lease = NULL;

        ASSERT_OK(lease_open(&lease, root, "mended"));
        ASSERT_OK(lease_share(lease));
        ASSERT_OK(lease_write(lease, &held_record));
        ASSERT_EQ(lease_mend(lease, &held_record), 0);
        for (size_t i = 0; i < ELEMENTSOF(garbage); i++) {
                _cleanup_close_ int fd = open(lease_path("mended"), O_WRONLY | O_TRUNC | O_CLOEXEC);

                /* In place, as `echo` does it. */
                ASSERT_EQ(write(fd, garbage[i], strlen(garbage[i])), (ssize_t) strlen(garbage[i]));
                if (!strstr(garbage[i], "ours")) {
                        ASSERT_EQ(lease_mend(lease, &held_record), 0);
                        expect_whole("mended");
                }
                ASSERT_OK(lease_write(lease, &held_record));
                make_text(copy_path("mended"), garbage[i]);
                ASSERT_EQ(lease_mend(lease, &held_record), 0);
                expect_whole("mended");
                forget_run("mended");
                ASSERT_EQ(lease_mend(lease, &held_record), 1);
                expect_whole("mended");
        }
        ASSERT_EQ(unlink(copy_path("mended")), 0);
        ASSERT_EQ(lease_mend(lease, &held_record), 0);
        expect_whole("mended");
}

/* What another user of it has written is as good. */
static void test_record_of_another_user_is_not_written_over(void) {
        _cleanup_(lease_freep) Lease *lease = NULL, *other = NULL;
        _cleanup_(lease_record_done) LeaseRecord read = {};
        LeaseRecord record = held_record;

        record.service = (char *) "shop";
        ASSERT_OK(lease_open(&lease, root, "shared"));
        ASSERT_OK(lease_write(lease, &held_record));
        ASSERT_OK(lease_open(&other, root, "shared"));
        ASSERT_OK(lease_write(other, &record));
        ASSERT_EQ(lease_mend(lease, &held_record), 0);
        read = read_anew("shared");
        ASSERT_STREQ(read.service, "shop");
}

static void test_replaced_file_is_locked_anew(void) {
        _cleanup_(lease_freep) Lease *first = NULL, *second = NULL, *later = NULL;

        ASSERT_OK(lease_open(&first, root, "replaced"));
        ASSERT_OK(lease_open(&second, root, "replaced"));
        ASSERT_OK(lease_share(first));
        ASSERT_OK(lease_share(second));
        ASSERT_OK(lease_write(first, &held_record));
        make_text(lease_path("replaced"), "somebody's");

        /* Who has not looked yet counts as well. */
        ASSERT_EQ(lease_mend(first, &held_record), 1);
        expect_whole("replaced");
        ASSERT_ERROR(lease_seize(first), EAGAIN);
        ASSERT_EQ(lease_mend(first, &held_record), 0);
        ASSERT_OK(lease_share(first));

        /* Who comes later finds the new one used. */
        ASSERT_OK(lease_open(&later, root, "replaced"));
        ASSERT_OK(lease_share(later));
        ASSERT_ERROR(lease_seize(later), EAGAIN);
        ASSERT_OK(lease_release(later));

        ASSERT_EQ(lease_mend(second, &held_record), 1);
        ASSERT_OK(lease_release(first));
        ASSERT_OK(lease_seize(second));
        ASSERT_ERROR(lease_share(later), EAGAIN);
        ASSERT_OK(lease_release(second));
}

/* The last look was before somebody replaced it. */
static void test_seized_where_others_look(void) {
        _cleanup_(lease_freep) Lease *lease = NULL, *other = NULL;

        ASSERT_OK(lease_open(&lease, root, "moved"));
        ASSERT_OK(lease_share(lease));
        forget_run("moved");
        ASSERT_OK(lease_open(&other, root, "moved"));
        ASSERT_OK(lease_share(other));
        ASSERT_ERROR(lease_seize(lease), EAGAIN);
        ASSERT_OK(lease_release(other));
        ASSERT_OK(lease_seize(lease));
        ASSERT_ERROR(lease_share(other), EAGAIN);
}

static void test_names_in_the_descriptor_store(void) {
        ASSERT_STREQ(lease_name_from_fdname(LEASE_FDNAME_PREFIX "mysql-clemence"), "mysql-clemence");
        ASSERT_NULL(lease_name_from_fdname("stored"));
        ASSERT_NULL(lease_name_from_fdname("leas"));
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
        test_copy_outlives_a_boot();
        test_copy_is_removed_with_what_it_says();
        test_sound_record_of_this_boot_hides_the_copy();
        test_asleep_outlives_a_boot();
        test_copy_is_not_written_again_for_nothing();
        test_bad_copies_count_as_none();
        test_copy_that_cannot_be_written_is_no_failure();
        test_record_survives_one_that_does_not_fit();
        test_full_run_loses_no_record();
        test_list_of_what_is_ours();
        test_what_is_in_its_place_is_removed();
        test_damaged_files_are_written_again();
        test_record_of_another_user_is_not_written_over();
        test_replaced_file_is_locked_anew();
        test_seized_where_others_look();
        test_names_in_the_descriptor_store();

        ASSERT_TRUE(asprintf(&command, "rm -r '%s'", root) > 0);
        ASSERT_EQ(system(command), 0);
        return EXIT_SUCCESS;
}
