#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <systemd/sd-daemon.h>

#include "util/log.h"
#include "util/time.h"
#include "web/server.h"

/* wakechain-web: started by PID 1 with the sockets of wakechain-web.socket and wakechain-page.socket, whichever was connected to. */

static ServerOptions arg_options = { .root = "", .exit_idle_usec = USEC_PER_MINUTE };

enum {
        ARG_EXIT_IDLE_TIME = 0x100,
        ARG_HEARTBEAT,
        ARG_PATIENCE,
        ARG_ROOT,
        ARG_VERSION,
};

static const struct option options[] = { { "help", no_argument, NULL, 'h' },
                                         { "version", no_argument, NULL, ARG_VERSION },
                                         { "exit-idle-time", required_argument, NULL, ARG_EXIT_IDLE_TIME },
                                         { "heartbeat", required_argument, NULL, ARG_HEARTBEAT },
                                         { "patience", required_argument, NULL, ARG_PATIENCE },
                                         { "root", required_argument, NULL, ARG_ROOT },
                                         {} };

static int help(void) {
        printf("%s [OPTIONS...]\n\n"
               "Show who waits for a stack what is happening, and serve the API and the dashboard.\n\n"
               "  -h --help                 Show this help\n"
               "     --version              Show the version\n"
               "     --exit-idle-time=TIME  End when unused for so long (1min)\n"
               "     --heartbeat=TIME       Pause between signs of life in streams (15s)\n"
               "     --patience=TIME        Longest time for a request or an answer (10s)\n"
               "     --root=FOLDER          Look for all files below it\n",
               program_invocation_short_name);
        return 0;
}

static int parse_span(const char *option, const char *text, uint64_t *ret) {
        int r;

        r = span_from_string(text, ret);
        if (r < 0)
                return log_error_errno(r, "'%s' is no time for --%s: %m", text, option);
        return 0;
}

/* Positive: there is something to do. */
static int parse_arguments(int argc, char *argv[]) {
        int c, r = 0;

        while ((c = getopt_long(argc, argv, "h", options, NULL)) >= 0) {
                switch (c) {
                case 'h':
                        return help();
                case ARG_VERSION:
                        puts("wakechain " WAKECHAIN_VERSION);
                        return 0;
                case ARG_EXIT_IDLE_TIME:
                        r = parse_span("exit-idle-time", optarg, &arg_options.exit_idle_usec);
                        break;
                case ARG_HEARTBEAT:
                        r = parse_span("heartbeat", optarg, &arg_options.heartbeat_usec);
                        break;
                case ARG_PATIENCE:
                        r = parse_span("patience", optarg, &arg_options.patience_usec);
                        break;
                case ARG_ROOT:
                        arg_options.root = optarg;
                        break;
                default:
                        return -EINVAL;
                }
                if (r < 0)
                        return r;
        }
        if (optind != argc) {
                log_error("There are no arguments.");
                return -EINVAL;
        }
        return 1;
}

/* One for each client. */
static void raise_limit(void) {
        struct rlimit limit;

        if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
                return;
        limit.rlim_cur = limit.rlim_max;
        (void) setrlimit(RLIMIT_NOFILE, &limit);
}

static int make_event(sd_event **ret) {
        _cleanup_(sd_event_unrefp) sd_event *event = NULL;
        int r;

        (void) signal(SIGPIPE, SIG_IGN);
        r = sd_event_new(&event);
        if (r >= 0)
                r = sd_event_add_signal(event, NULL, SIGTERM | SD_EVENT_SIGNAL_PROCMASK, NULL, NULL);
        if (r >= 0)
                r = sd_event_add_signal(event, NULL, SIGINT | SD_EVENT_SIGNAL_PROCMASK, NULL, NULL);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(event);
        return 0;
}

static int run(int argc, char *argv[]) {
        _cleanup_(sd_event_unrefp) sd_event *event = NULL;
        _cleanup_(server_freep) Server *server = NULL;
        int n, r;

        r = parse_arguments(argc, argv);
        if (r <= 0)
                return r;
        n = sd_listen_fds(true);
        if (n < 0)
                return log_error_errno(n, "Failed to get the sockets: %m");
        if (n == 0) {
                log_error("No sockets were passed: to be started by wakechain-web.socket and wakechain-page.socket.");
                return -EINVAL;
        }
        raise_limit();

        r = make_event(&event);
        if (r < 0)
                return log_error_errno(r, "Failed to make an event loop: %m");
        r = server_new(&server, event, &arg_options);
        if (r < 0)
                return log_error_errno(r, "Failed to prepare the web service: %m");
        for (int fd = SD_LISTEN_FDS_START; fd < SD_LISTEN_FDS_START + n; fd++) {
                r = server_add_socket(server, fd);
                if (r < 0)
                        return log_error_errno(r, "Failed to listen on a passed socket: %m");
        }

        (void) sd_notify(false, "READY=1");
        r = sd_event_loop(event);
        if (r < 0)
                return log_error_errno(r, "Failed to run the event loop: %m");
        (void) sd_notify(false, "STOPPING=1");
        return r;
}

int main(int argc, char *argv[]) {
        log_open();
        return run(argc, argv) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
