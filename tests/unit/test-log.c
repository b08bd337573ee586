#include <fcntl.h>
#include <unistd.h>

#include "test.h"
#include "util/fd.h"
#include "util/log.h"

static int saved_stderr = -EBADF, captured = -EBADF;

static void capture(void) {
        char path[] = "/tmp/test-log-XXXXXX";

        captured = mkostemp(path, O_CLOEXEC);
        ASSERT_TRUE(captured >= 0);
        ASSERT_EQ(unlink(path), 0);
        saved_stderr = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
        ASSERT_TRUE(saved_stderr >= 0);
        ASSERT_TRUE(dup2(captured, STDERR_FILENO) >= 0);
}

static char *captured_text(void) {
        char *text = NULL;

        ASSERT_TRUE(dup2(saved_stderr, STDERR_FILENO) >= 0);
        saved_stderr = fd_close(saved_stderr);
        ASSERT_EQ(lseek(captured, 0, SEEK_SET), 0);
        ASSERT_OK(fd_read_all(captured, 4096, &text, NULL));
        captured = fd_close(captured);
        return text;
}

static void test_errors_are_told_and_handed_on(void) {
        _cleanup_free_ char *text = NULL;
        int positive, negative;

        capture();
        positive = log_error_errno(ENOENT, "Failed to open '%s': %m", "x");
        negative = log_error_errno(-ENOENT, "Failed again: %m");
        text = captured_text();

        ASSERT_EQ(positive, -ENOENT);
        ASSERT_EQ(negative, -ENOENT);
        ASSERT_STREQ(text,
                     "Failed to open 'x': No such file or directory\nFailed again: No such file or directory\n");
}

static void test_debug_is_silent_by_default_and_costs_no_argument(void) {
        _cleanup_free_ char *text = NULL;
        int evaluated = 0;

        capture();
        log_debug("%d", ++evaluated);
        log_struct(LOG_DEBUG, "MESSAGE=%d", ++evaluated);
        text = captured_text();
        ASSERT_STREQ(text, "");
        ASSERT_EQ(evaluated, 0);
}

static void test_of_a_record_only_the_sentence_is_printed(void) {
        _cleanup_free_ char *text = NULL;

        capture();
        log_struct(LOG_INFO, "MESSAGE=%s awake after %s", "clemence", "2.1s", "WAKECHAIN_SERVICE=%s", "clemence");
        text = captured_text();
        ASSERT_STREQ(text, "clemence awake after 2.1s\n");
}

static void test_level_comes_from_the_environment(void) {
        (void) setenv("SYSTEMD_LOG_LEVEL", "debug", 1);
        log_open();
        ASSERT_TRUE(log_enabled(LOG_DEBUG));

        (void) setenv("SYSTEMD_LOG_LEVEL", "3", 1);
        log_open();
        ASSERT_TRUE(log_enabled(LOG_ERR));
        ASSERT_FALSE(log_enabled(LOG_WARNING));

        (void) setenv("SYSTEMD_LOG_LEVEL", "nonsense", 1);
        log_open();
        ASSERT_FALSE(log_enabled(LOG_WARNING));
}

static void test_an_inherited_journal_stream_is_not_ours(void) {
        (void) setenv("JOURNAL_STREAM", "1:1", 1);
        log_open();
        ASSERT_FALSE(log_to_journal());
        (void) setenv("JOURNAL_STREAM", "x", 1);
        log_open();
        ASSERT_FALSE(log_to_journal());
}

int main(void) {
        test_errors_are_told_and_handed_on();
        test_debug_is_silent_by_default_and_costs_no_argument();
        test_of_a_record_only_the_sentence_is_printed();
        test_level_comes_from_the_environment();
        test_an_inherited_journal_stream_is_not_ours();
        return EXIT_SUCCESS;
}
