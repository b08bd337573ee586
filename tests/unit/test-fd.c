#include <fcntl.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "test.h"
#include "util/fd.h"

static char folder[] = "/tmp/test-fd-XXXXXX";

static const char *in_folder(const char *name) {
        static char path[256];

        (void) snprintf(path, sizeof(path), "%s/%s", folder, name);
        return path;
}

static size_t count_files(void) {
        _cleanup_free_ char *command = NULL;
        FILE *pipe;
        size_t n = 0;

        ASSERT_TRUE(asprintf(&command, "ls -A '%s' | wc -l", folder) > 0);
        pipe = popen(command, "r");
        ASSERT_TRUE(pipe != NULL);
        ASSERT_EQ(fscanf(pipe, "%zu", &n), 1);
        (void) pclose(pipe);
        return n;
}

static void test_moved_out_of_the_way_of_select(void) {
        struct rlimit limit = { 8192, 8192 };
        int fd, moved;

        ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
        limit.rlim_cur = 64;
        ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
        fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
        ASSERT_EQ(fd_move_up(fd), fd);

        limit.rlim_cur = MIN(limit.rlim_max, (rlim_t) 4096);
        ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
        moved = fd_move_up(fd);
        ASSERT_TRUE(moved >= 1024);
        ASSERT_EQ(fcntl(fd, F_GETFD), -1);
        ASSERT_EQ(fcntl(moved, F_GETFD), FD_CLOEXEC);
        ASSERT_EQ(fd_move_up(moved), moved);
        fd_close(moved);
        errno = EXDEV;
        ASSERT_EQ(fd_move_up(-1), -1);
        ASSERT_EQ(errno, EXDEV);
}

static void test_close_keeps_errno(void) {
        int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

        ASSERT_TRUE(fd >= 0);
        errno = EXDEV;
        ASSERT_EQ(fd_close(fd), -EBADF);
        ASSERT_EQ(fcntl(fd, F_GETFD), -1);
        errno = EXDEV;
        ASSERT_EQ(fd_close(-EBADF), -EBADF);
        ASSERT_EQ(errno, EXDEV);
}

static void test_replace_writes_the_whole_file_with_its_mode(void) {
        _cleanup_free_ char *text = NULL;
        struct stat st;
        size_t size;

        ASSERT_OK(file_replace(in_folder("a"), "first, longer", 13, 0600, false));
        ASSERT_OK(file_replace(in_folder("a"), "second", 6, 0640, true));
        ASSERT_OK(file_read(in_folder("a"), 100, &text, &size));
        ASSERT_STREQ(text, "second");
        ASSERT_EQ(size, 6);
        ASSERT_EQ(stat(in_folder("a"), &st), 0);
        ASSERT_EQ(st.st_mode & 07777, 0640);
        ASSERT_EQ(count_files(), 1);
}

static void test_empty_folder_is_replaced(void) {
        struct stat st;

        ASSERT_EQ(mkdir(in_folder("a-folder"), 0700), 0);
        ASSERT_OK(file_replace(in_folder("a-folder"), "x", 1, 0600, false));
        ASSERT_EQ(lstat(in_folder("a-folder"), &st), 0);
        ASSERT_TRUE(S_ISREG(st.st_mode));
        ASSERT_EQ(unlink(in_folder("a-folder")), 0);
}

static void test_replace_that_fails_leaves_nothing_behind(void) {
        ASSERT_EQ(mkdir(in_folder("in-the-way"), 0700), 0);
        ASSERT_EQ(mkdir(in_folder("in-the-way/full"), 0700), 0);
        ASSERT_ERROR(file_replace(in_folder("in-the-way"), "x", 1, 0600, false), ENOTEMPTY);
        ASSERT_ERROR(file_replace(in_folder("missing/b"), "x", 1, 0600, false), ENOENT);
        ASSERT_EQ(count_files(), 2);
}

static void test_read_stops_at_the_limit(void) {
        _cleanup_free_ char *large = new0(char, 100000), *text = NULL;
        size_t size;

        ASSERT_TRUE(large != NULL);
        memset(large, 'x', 100000);
        ASSERT_OK(file_replace(in_folder("large"), large, 100000, 0600, false));
        ASSERT_ERROR(file_read(in_folder("large"), 99999, &text, NULL), EFBIG);
        ASSERT_ERROR(file_read(in_folder("large"), 10, &text, NULL), EFBIG);
        ASSERT_NULL(text);
        ASSERT_OK(file_read(in_folder("large"), 100000, &text, &size));
        ASSERT_EQ(size, 100000);
        ASSERT_EQ(strlen(text), 100000);
}

static void test_read_of_files_without_a_size_and_of_none(void) {
        _cleanup_free_ char *text = NULL, *empty = NULL;
        size_t size;

        ASSERT_OK(file_read("/proc/self/status", 1 << 20, &text, &size));
        ASSERT_TRUE(size > 0 && strlen(text) == size);
        ASSERT_OK(file_replace(in_folder("empty"), "", 0, 0600, false));
        ASSERT_OK(file_read(in_folder("empty"), 0, &empty, &size));
        ASSERT_EQ(size, 0);
        ASSERT_STREQ(empty, "");
        ASSERT_ERROR(file_read(in_folder("nothing"), 10, &text, NULL), ENOENT);
}

/* A pipe would wait for a writer, and who knows what a device does. */
static void test_only_regular_files_are_opened(void) {
        char *text = NULL;

        ASSERT_EQ(mkfifo(in_folder("pipe"), 0600), 0);
        ASSERT_ERROR(file_read(in_folder("pipe"), 10, &text, NULL), EBADFD);
        ASSERT_ERROR(file_read("/dev/null", 10, &text, NULL), EBADFD);
        ASSERT_ERROR(file_read(folder, 10, &text, NULL), EISDIR);
        ASSERT_NULL(text);
}

static void test_directories_are_made_with_their_parents(void) {
        struct stat st;

        ASSERT_OK(directory_make(in_folder("x/y/z")));
        ASSERT_OK(directory_make(in_folder("x/y/z")));
        ASSERT_EQ(stat(in_folder("x/y/z"), &st), 0);
        ASSERT_TRUE(S_ISDIR(st.st_mode));
        ASSERT_ERROR(directory_make(in_folder("a/b")), ENOTDIR);
}

int main(void) {
        _cleanup_free_ char *command = NULL;

        ASSERT_TRUE(mkdtemp(folder) != NULL);
        test_moved_out_of_the_way_of_select();
        test_close_keeps_errno();
        test_replace_writes_the_whole_file_with_its_mode();
        test_empty_folder_is_replaced();
        test_replace_that_fails_leaves_nothing_behind();
        test_read_stops_at_the_limit();
        test_read_of_files_without_a_size_and_of_none();
        test_only_regular_files_are_opened();
        test_directories_are_made_with_their_parents();

        ASSERT_TRUE(asprintf(&command, "rm -r '%s'", folder) > 0);
        ASSERT_EQ(system(command), 0);
        return EXIT_SUCCESS;
}
