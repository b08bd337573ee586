#include <stdio.h>
#include <sys/stat.h>

#include "control/status-file.h"
#include "test.h"
#include "util/fd.h"

static char root[] = "/tmp/test-status-file-XXXXXX";

static void test_what_is_written_is_read_back(void) {
        _cleanup_(status_freep) Status *read = NULL;
        _cleanup_free_ char *path = NULL;
        Status status = {
                .service = (char *) "clemence",
                .state = SERVICE_FAILED,
                .since_usec = UINT64_C(1767600000123456),
                .trigger = TRIGGER_CONNECTION,
                .wake_id = (char *) "5e0a5ac1-16a9-4f1c-9f2c-d3a6c4c4f5f1",
                .reason = FAILURE_HEALTH_CHECK_FAILED,
                .error = (char *) "mysql-clemence: not ready after 30.0s: exit status 1",
        };
        struct stat st;

        ASSERT_OK(status_file_write(&status, root));
        ASSERT_OK(status_file_read(&read, root, "clemence"));
        ASSERT_STREQ(read->service, "clemence");
        ASSERT_EQ(read->state, SERVICE_FAILED);
        ASSERT_EQ(read->since_usec, status.since_usec);
        ASSERT_EQ(read->trigger, TRIGGER_CONNECTION);
        ASSERT_STREQ(read->wake_id, status.wake_id);
        ASSERT_EQ(read->reason, FAILURE_HEALTH_CHECK_FAILED);
        ASSERT_STREQ(read->error, status.error);

        ASSERT_TRUE(asprintf(&path, "%s" STATUS_FOLDER "/clemence.json", root) > 0);
        ASSERT_EQ(stat(path, &st), 0);
        ASSERT_EQ(st.st_mode & 07777, 0640);
}

static void test_missing_and_damaged_files(void) {
        _cleanup_(status_freep) Status *read = NULL;
        _cleanup_free_ char *path = NULL;

        ASSERT_ERROR(status_file_read(&read, root, "nobody"), ENOENT);
        ASSERT_TRUE(asprintf(&path, "%s" STATUS_FOLDER "/damaged.json", root) > 0);
        ASSERT_OK(file_replace(path, "{\"service\":", 11, 0600, false));
        ASSERT_ERROR(status_file_read(&read, root, "damaged"), EBADMSG);
        ASSERT_OK(file_replace(path, "[1]", 3, 0600, false));
        ASSERT_ERROR(status_file_read(&read, root, "damaged"), EBADMSG);
        ASSERT_NULL(read);
}

int main(void) {
        _cleanup_free_ char *folder = NULL, *command = NULL;

        ASSERT_TRUE(mkdtemp(root) != NULL);
        ASSERT_TRUE(asprintf(&folder, "%s" STATUS_FOLDER, root) > 0);
        ASSERT_OK(directory_make(folder));

        test_what_is_written_is_read_back();
        test_missing_and_damaged_files();

        ASSERT_TRUE(asprintf(&command, "rm -r '%s'", root) > 0);
        ASSERT_EQ(system(command), 0);
        return EXIT_SUCCESS;
}
