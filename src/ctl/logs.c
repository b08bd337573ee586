#include <getopt.h>
#include <unistd.h>

#include "ctl/ctl.h"
#include "ctl/reach.h"
#include "model/service.h"
#include "util/log.h"
#include "util/strv.h"
#include "util/text.h"

/* wakectl logs: journalctl, with what a service's units said, what systemd said of them, and what our other programs said of the service. That
 * last field anybody can write, so it counts only from within our slice. */

static const struct {
        const char *before, *after; /* of the service's name */
} units[] = {
        { "wake@", ".service" },
        { "wake-front@", ".service" },
        { "wake@", ".socket" },
        { "wake-control@", ".socket" },
};

/* Adds "FIELD=TEXT". */
static int add(char ***command, const char *field, const char *before, const char *service, const char *after) {
        _cleanup_free_ char *text = text_printf("%s=%s%s%s", field, before, service, after);

        return text ? strv_append(command, text) : -ENOMEM;
}

static int add_matches(char ***command, const char *service) {
        int r = 0;

        for (size_t i = 0; i < ELEMENTSOF(units) && r >= 0; i++) {
                r = add(command, "_SYSTEMD_UNIT", units[i].before, service, units[i].after);
                if (r >= 0)
                        r = strv_append(command, "+");
                if (r >= 0)
                        r = add(command, "UNIT", units[i].before, service, units[i].after);
                if (r >= 0)
                        r = strv_append(command, "_PID=1");
                if (r >= 0)
                        r = strv_append(command, "+");
        }
        if (r >= 0)
                r = add(command, "WAKECHAIN_SERVICE", "", service, "");
        return r < 0 ? r : strv_append(command, "_SYSTEMD_SLICE=wakechain.slice");
}

/* Options that journalctl has as well go there as they are. -EINVAL: getopt has complained. */
static int add_options(char ***command, int argc, char **argv) {
        static const struct option options[] = {
                { "follow", no_argument, NULL, 'f' },      { "lines", required_argument, NULL, 'n' },
                { "no-pager", no_argument, NULL, 'P' },    { "output", required_argument, NULL, 'o' },
                { "reverse", no_argument, NULL, 'r' },     { "since", required_argument, NULL, 'S' },
                { "until", required_argument, NULL, 'U' }, {}
        };
        int c, r = 0;

        optind = 0;
        while (r >= 0 && (c = getopt_long(argc, argv, "fn:o:rS:U:", options, NULL)) >= 0) {
                const struct option *option = options;
                _cleanup_free_ char *text = NULL;

                while (option->name && option->val != c)
                        option++;
                if (!option->name)
                        return -EINVAL;
                text = option->has_arg == no_argument ? text_printf("--%s", option->name)
                                                      : text_printf("--%s=%s", option->name, optarg);
                r = text ? strv_append(command, text) : -ENOMEM;
        }
        return r;
}

int verb_logs(const CtlOptions *options, int argc, char **argv) {
        _cleanup_(strv_freep) char **command = NULL;
        int r;

        r = strv_append(&command, "journalctl");
        if (r >= 0 && options->no_pager)
                r = strv_append(&command, "--no-pager");
        if (r >= 0)
                r = add_options(&command, argc, argv);
        if (r == -EINVAL)
                return CTL_USAGE;
        if (r >= 0 && optind + 1 != argc) {
                log_error("Usage: wakectl logs [-f] [-n LINES] [-r] [-o OUTPUT] [-S SINCE] [-U UNTIL] NAME");
                return CTL_USAGE;
        }
        if (r >= 0 && !are_service_names(argv + optind, 1))
                return CTL_USAGE;
        if (r >= 0)
                r = add_matches(&command, argv[optind]);
        if (r < 0) {
                (void) log_oom();
                return CTL_FAILED;
        }
        (void) execvp(command[0], command);
        (void) log_error_errno(-errno, "Failed to run journalctl: %m");
        return CTL_FAILED;
}
