#include <getopt.h>
#include <grp.h>
#include <stdio.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "config/config.h"
#include "nft/redirect.h"
#include "redirect/settle.h"
#include "util/log.h"
#include "util/time.h"

/* wakechain-redirect: owns the truth about stacks that sleep. `settle` is run by units at whatever may have changed it; see decision.c. */

/* The generator leaves it at each daemon-reload, and a path unit waits for it. */
#define RELOADED "/run/systemd/generator/wakechain.reloaded"
#define BARRIER_TIMEOUT (5 * USEC_PER_SEC)

static const char *arg_root = "";
static bool arg_report;

/* The configuration that systemd has just been given is the last good one from now on, if it is good. */
static void remember(void) {
        char path[512];
        int r;

        (void) snprintf(path, sizeof(path), "%s" RELOADED, arg_root);
        if (remove(path) < 0)
                return;
        r = config_remember(arg_root);
        if (r < 0 && r != -EBADMSG && r != -ENOENT)
                log_warning_errno(r, "Failed to keep the configuration as the last good one, ignoring: %m");
}

/* The unit has it. Without it, wakers and the web service could not read the status files that a settling by hand leaves. */
static void take_group(void) {
        const struct group *group = getegid() == 0 ? getgrnam("wakechain") : NULL;

        if (group && setegid(group->gr_gid) < 0)
                log_debug_errno(-errno, "Failed to become a member of group wakechain, ignoring: %m");
}

/* systemd starts nothing that is starting already, or active: whoever asks while this looks would not be heard. Of what says that it
 * stops, the next start waits for its end. So what they ask for is either seen by the second look, or by the next run. */
static void be_heard(void) {
        if (sd_notify(false, "READY=1") > 0 && sd_notify(false, "STOPPING=1") > 0)
                (void) sd_notify_barrier(false, BARRIER_TIMEOUT);
}

static int verb_settle(void) {
        int r, k;

        take_group();
        remember();
        (void) redirect_was_asked(arg_root);
        r = settle(arg_root, arg_report);
        /* Whoever came while this failed is looked after nevertheless. */
        if (r >= 0)
                be_heard();
        k = settle_again(arg_root);
        return r < 0 ? r : k;
}

static int verb_check(void) {
        int r = settle_check(arg_root);

        return r > 0 ? -EREMOTEIO : r;
}

static int verb_clear(void) {
        _cleanup_(redirect_freep) Redirect *redirect = NULL;
        int r;

        r = redirect_new(&redirect);
        if (r == -EOPNOTSUPP)
                return 0;
        if (r >= 0)
                r = redirect_clear(redirect);
        return r < 0 ? log_error_errno(r, "Failed to remove the table: %s",
                                       redirect ? redirect_error(redirect) : strerror(-r))
                     : 0;
}

static const struct Verb {
        const char *name;
        int (*run)(void);
        const char *help;
} verbs[] = {
        { "settle", verb_settle, "make redirects, sockets, wakers and status agree with what is so" },
        { "check", verb_check,
          "show them, and what a firewall would do to them; exits with 1 if all is not well" },
        { "clear", verb_clear, "remove all redirects" },
};

static int help(void) {
        printf("wakechain-redirect [OPTION…] VERB\n\n"
               "Sends new connections to stacks that sleep to where wakechain listens.\n\n");
        for (size_t i = 0; i < ELEMENTSOF(verbs); i++)
                printf("  %-8s %s\n", verbs[i].name, verbs[i].help);
        printf("\n      --report       settle: say also what is not new\n"
               "      --root=FOLDER  look for all files below it\n"
               "  -h, --help\n");
        return 0;
}

static int run(int argc, char *argv[]) {
        static const struct option options[] = {
                { "root", required_argument, NULL, 'r' },
                { "report", no_argument, NULL, 'v' },
                { "help", no_argument, NULL, 'h' },
                {},
        };

        for (int c; (c = getopt_long(argc, argv, "h", options, NULL)) >= 0;)
                switch (c) {
                case 'r':
                        arg_root = optarg;
                        break;
                case 'v':
                        arg_report = true;
                        break;
                case 'h':
                        return help();
                default:
                        return -EINVAL;
                }

        for (size_t i = 0; optind == argc - 1 && i < ELEMENTSOF(verbs); i++)
                if (streq(argv[optind], verbs[i].name))
                        return verbs[i].run();
        log_error("Which verb? See wakechain-redirect --help.");
        return -EINVAL;
}

int main(int argc, char *argv[]) {
        log_open();
        return run(argc, argv) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
