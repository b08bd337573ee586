#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/log.h"
#include "util/text.h"

/* Whether standard error is the journal's stream is told by $JOURNAL_STREAM (systemd.exec(5)): device and inode, to be
 * compared with the descriptor, because the variable is inherited by children whose standard error goes elsewhere. */

static int log_max_level = LOG_INFO;
static bool log_journal = false;

static const char *const level_names[] = {
        [LOG_EMERG] = "emerg",     [LOG_ALERT] = "alert",   [LOG_CRIT] = "crit", [LOG_ERR] = "err",
        [LOG_WARNING] = "warning", [LOG_NOTICE] = "notice", [LOG_INFO] = "info", [LOG_DEBUG] = "debug",
};

void log_open(void) {
        const char *level = getenv("SYSTEMD_LOG_LEVEL"), *stream = getenv("JOURNAL_STREAM");
        unsigned long long device, inode;
        struct stat st;

        if (stream && sscanf(stream, "%llu:%llu", &device, &inode) == 2 && fstat(STDERR_FILENO, &st) >= 0)
                log_journal = st.st_dev == device && st.st_ino == inode;

        if (!level)
                return;
        for (int i = 0; i < (int) ELEMENTSOF(level_names); i++)
                if (streq(level, level_names[i]) || (level[0] == '0' + i && level[1] == '\0'))
                        log_max_level = i;
}

bool log_enabled(int level) {
        return level <= log_max_level;
}

bool log_to_journal(void) {
        return log_journal;
}

void log_write(int level, int error, const char *format, ...) {
        _cleanup_free_ char *message = NULL;
        va_list arguments;

        va_start(arguments, format);
        errno = abs(error);
        message = text_vprintf(format, arguments);
        va_end(arguments);
        if (!message)
                return;

        if (!log_journal)
                fprintf(stderr, "%s\n", message);
        else if (error != 0)
                (void) sd_journal_send("MESSAGE=%s", message, "PRIORITY=%i", level, "ERRNO=%i", abs(error), NULL);
        else
                (void) sd_journal_send("MESSAGE=%s", message, "PRIORITY=%i", level, NULL);
}

/* Further formats follow the first, so the compiler cannot check the call. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
void log_write_message(const char *format, ...) {
        _cleanup_free_ char *message = NULL;
        va_list arguments;

        assert(strncmp(format, "MESSAGE=", 8) == 0);

        va_start(arguments, format);
        message = text_vprintf(format, arguments);
        va_end(arguments);
        if (message)
                fprintf(stderr, "%s\n", message + strlen("MESSAGE="));
}
#pragma GCC diagnostic pop
