#include <stdio.h>
#include "command/exec-failure.h"
#include "test.h"

/* What Docker 20.10 and 26, runc and shells say, word by word. */

static void test_what_can_never_be_begun(void) {
        static const struct {
                int exit_status;
                const char *last_line, *explanation; /* NULL: it may pass */
        } cases[] = {
                { 126,
                  "OCI runtime exec failed: exec failed: unable to start container process: exec: \"curl\": executable "
                  "file not found in $PATH: unknown",
                  "no such program" },
                { 126,
                  "OCI runtime exec failed: exec failed: unable to start container process: exec: \"/x\": stat /x: no "
                  "such file or directory: unknown",
                  "no such program" },
                { 126,
                  "OCI runtime exec failed: exec failed: unable to start container process: exec: \"/x\": permission "
                  "denied: unknown",
                  "may not be executed" },
                { 126,
                  "OCI runtime exec failed: exec failed: unable to start container process: error executing setns "
                  "process: exit status 1: unknown",
                  NULL }, /* it is going down */
                { 1, "exec /x: exec format error", "another processor" },
                { 1, "standard_init_linux.go:228: exec user process caused: exec format error",
                  "another processor" },
                { 1, "standard_init_linux.go:228: exec user process caused: no such file or directory",
                  "no such program" },
                { 1, "exec /entrypoint.sh: no such file or directory", "no such program" },
                { 126, "sh: 1: /x: Exec format error", "another processor" },
                { 126, "sh: 1: /x: Permission denied", "may not be executed" },
                { 127, "sh: 1: curl: not found", "no such program" },
                { 127, "", "no such program" },
                { 1, "open /etc/app.conf: no such file or directory", NULL },
                { 1, "permission denied", NULL },
                { 137, "", NULL },
                { 0, "exec /x: exec format error", NULL },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                const char *explanation = exec_failure_explain(cases[i].exit_status, cases[i].last_line);

                if (!explanation != !cases[i].explanation ||
                    (explanation && !strstr(explanation, cases[i].explanation)))
                        TEST_FAIL("'%s': %s", cases[i].last_line, explanation ?: "may pass");
        }
}

static void test_start_that_is_refused(void) {
        static const char oci[] =
                        "failed to create task for container: failed to create shim task: OCI runtime create failed: "
                        "runc create failed: unable to start container process: ";
        static const struct {
                const char *text, *explanation;
        } cases[] = {
                { "exec: \"/x\": stat /x: no such file or directory: unknown", "no such program" },
                { "exec: \"x\": executable file not found in $PATH: unknown", "no such program" },
                { "exec: \"/etc/passwd\": permission denied: unknown", "may not be executed" },
                { "exec: \"/etc\": is a directory: unknown", "may not be executed" },
                { "error mounting \"/x\" to rootfs at \"/y\": no such file or directory: unknown", NULL },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_free_ char *message = NULL;
                const char *explanation;

                ASSERT_TRUE(asprintf(&message, "%s%s", oci, cases[i].text) > 0);
                explanation = exec_failure_explain_start(message);
                if (!explanation != !cases[i].explanation ||
                    (explanation && !strstr(explanation, cases[i].explanation)))
                        TEST_FAIL("'%s': %s", message, explanation ?: "may pass");
        }
}

int main(void) {
        test_start_that_is_refused();
        test_what_can_never_be_begun();
        return 0;
}
