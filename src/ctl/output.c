#include <langinfo.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "ctl/ctl.h"
#include "ctl/output.h"
#include "util/json-members.h"
#include "util/log.h"
#include "util/printable.h"
#include "util/time.h"

#define COLUMNS_USUAL 80

static size_t terminal_columns(int fd) {
        struct winsize size = {};
        const char *given = getenv("COLUMNS");
        long columns = given ? strtol(given, NULL, 10) : 0;

        if (columns > 0 && columns < UINT16_MAX)
                return (size_t) columns;
        return ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : COLUMNS_USUAL;
}

Look look_at(FILE *file) {
        bool terminal = isatty(fileno(file)) == 1;

        return (Look){
                .terminal = terminal,
                .colour = terminal && isempty(getenv("NO_COLOR")) && !streq(strempty(getenv("TERM")), "dumb"),
                .utf8 = streq(nl_langinfo(CODESET), "UTF-8"),
                .columns = terminal ? terminal_columns(fileno(file)) : 0,
        };
}

/* JSON has its own escapes for most controls, but neither for DEL nor for those of Latin 1. */
static int print_json(json_object *taken, int flags) {
        _cleanup_(json_freep) json_object *object = taken;
        _cleanup_free_ char *printable = NULL;
        const char *text;

        text = object ? json_object_to_json_string_ext(object, flags | JSON_C_TO_STRING_NOSLASHESCAPE) : NULL;
        printable = text ? printable_copy(text, strlen(text), /* keep_lines= */ true) : NULL;
        if (!printable) {
                (void) log_oom();
                return CTL_FAILED;
        }
        (void) puts(printable);
        return CTL_FINE;
}

int output_json(json_object *object) {
        return print_json(object, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED);
}

int output_json_line(json_object *object) {
        int r = print_json(object, JSON_C_TO_STRING_PLAIN);

        (void) fflush(stdout);
        return r;
}

int output_table(const Table *table) {
        Look look = look_at(stdout);

        if (table_print(table, stdout, &look) >= 0)
                return CTL_FINE;
        (void) log_oom();
        return CTL_FAILED;
}

const char *local_time_to_string(uint64_t realtime_usec, char buffer[static LOCAL_TIME_MAX]) {
        time_t seconds = (time_t) (realtime_usec / USEC_PER_SEC);
        struct tm local;

        if (!localtime_r(&seconds, &local) ||
            strftime(buffer, LOCAL_TIME_MAX, "%a %Y-%m-%d %H:%M:%S %Z", &local) == 0)
                buffer[0] = '\0';
        return buffer;
}
