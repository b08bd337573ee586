#include <string.h>

#include "command/exec-failure.h"
#include "util/macro.h"

/* ExecFailure. Seen on Docker 20.10 and 26: a command that the runtime cannot begin ends with 126 and "OCI runtime exec failed: …"; if it
 * only turns out when the file is executed, with 1 and "exec FILE: …" (older: "standard_init_linux.go:228: exec user process caused: …"),
 * whether it is an exec or the container's own program. A shell says 126 or 127. But an exec also ends with 126 where the container is
 * just going down. */

#define ANY (-1)
#define ABSENT "there is no such program"
#define ABSENT_OR_SCRIPT ABSENT ", or none that its first line names (line ends of Windows in a script look so)"
#define DENIED "it may not be executed: look at its mode and its owner"
#define FOREIGN                                                                                                 \
        "it is made for another processor (pull or build it for this machine), or is a script without a first " \
        "line like '#!/bin/sh'"
#define RUNTIME "OCI runtime exec failed"
#define PROGRAM "exec: \"" /* of a start that is refused */

static const struct {
        int exit_status;
        const char *begin, *text; /* case does not matter */
        const char *explanation; /* NULL: it may pass */
} failures[] = {
        { ANY, "", "exec format error", FOREIGN },
        { ANY, "", "exec user process caused: no such file or directory", ABSENT_OR_SCRIPT },
        { ANY, "", "exec user process caused: permission denied", DENIED },
        { ANY, "exec ", ": no such file or directory", ABSENT_OR_SCRIPT },
        { ANY, "exec ", ": permission denied", DENIED },
        { ANY, RUNTIME, "no such file or directory", ABSENT },
        { ANY, RUNTIME, "executable file not found", ABSENT },
        { ANY, RUNTIME, "permission denied", DENIED },
        { ANY, RUNTIME, "is a directory", DENIED },
        { ANY, RUNTIME, "", NULL },
        { ANY, PROGRAM, "permission denied", DENIED },
        { ANY, PROGRAM, "is a directory", DENIED },
        { 126, "", "", DENIED },
        { 127, "", "", ABSENT },
};

const char *exec_failure_explain(int exit_status, const char *last_line) {
        for (size_t i = 0; exit_status != 0 && i < ELEMENTSOF(failures); i++)
                if ((failures[i].exit_status == ANY || failures[i].exit_status == exit_status) &&
                    strncasecmp(last_line, failures[i].begin, strlen(failures[i].begin)) == 0 &&
                    strcasestr(last_line, failures[i].text))
                        return failures[i].explanation;
        return NULL;
}

const char *exec_failure_explain_start(const char *message) {
        const char *program = strstr(message, PROGRAM);

        return program ? exec_failure_explain(127, program) : NULL;
}
