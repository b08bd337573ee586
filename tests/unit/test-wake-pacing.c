#include <stdio.h>

#include "test.h"
#include "util/fd.h"

/* A waker that cannot start, or fails at once, is no hot loop of PID 1: what wake@.service runs when one has ended waits, by how it has
 * ended. Here that command is taken from the unit and run, with the pause told in place of being made. */

static char *command; /* of ExecStopPost=, as PID 1 runs it */

/* Joins what the unit continues on the next line, and takes back what is doubled for PID 1. */
static void read_command(const char *path) {
        _cleanup_free_ char *text = NULL;
        const char *from;
        char *to;

        ASSERT_OK(file_read(path, 64 * 1024, &text, NULL));
        from = strstr(text, "\nExecStopPost=");
        ASSERT_TRUE(from != NULL);
        from += strlen("\nExecStopPost=");
        to = command = new0(char, strlen(from) + 1);
        ASSERT_TRUE(command != NULL);
        for (; *from != '\0' && *from != '\n'; from++) {
                if (strncmp(from, "\\\n", 2) == 0 || strncmp(from, "$$", 2) == 0)
                        from++;
                *to++ = *from == '\n' ? ' ' : *from;
        }
}

/* The pause in seconds, or "". */
static void expect_pause(const char *result, const char *status, const char *pause) {
        _cleanup_free_ char *line = NULL, *told = NULL;
        char text[64] = "", *sleeps;
        FILE *output;

        ASSERT_EQ(setenv("SERVICE_RESULT", result, 1), 0);
        ASSERT_EQ(setenv("EXIT_STATUS", status, 1), 0);
        told = strdup(command);
        ASSERT_TRUE(told != NULL);
        while ((sleeps = strstr(told, "/bin/sleep")))
                memcpy(sleeps, "/bin/echo ", strlen("/bin/sleep"));
        output = popen(told, "r");
        ASSERT_TRUE(output != NULL);
        (void) !fgets(text, sizeof(text), output);
        ASSERT_EQ(pclose(output), 0);
        text[strcspn(text, "\n")] = '\0';
        if (!streq(text, pause))
                TEST_FAIL("%s with %s: '%s' instead of '%s'", result, status, text, pause);
}

int main(int argc, char *argv[]) {
        ASSERT_EQ(argc, 2);
        read_command(argv[1]);

        /* It has slept, or was told to. */
        expect_pause("success", "0", "");
        /* A wake that failed: those who wait have their answer, and the front paces the next. */
        expect_pause("exit-code", "1", "0.2");
        /* There is no such program, or no such folder; it ended before it was ready. */
        expect_pause("exit-code", "203", "1");
        expect_pause("exit-code", "200", "1");
        expect_pause("protocol", "0", "1");
        /* A crash: RestartSec= paces. */
        expect_pause("signal", "ABRT", "");
        expect_pause("core-dump", "SEGV", "");
        expect_pause("watchdog", "ABRT", "");
        free(command);
        return EXIT_SUCCESS;
}
