#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <systemd/sd-daemon.h>

#include "front/front.h"
#include "front/udp-socket.h"
#include "model/service.h"
#include "util/log.h"

/* wakechain-front NAME: started by PID 1 with the listening sockets of wake@NAME.socket. It reads no
 * configuration: all that it knows comes from its command line and from the waker. The first thing that a new
 * front has to do is to tell the waker that somebody came, so nothing that can wait is done before. */

static const char *arg_control = NULL;
static uint64_t arg_exit_idle_usec = 10 * USEC_PER_SEC;
static uint64_t arg_pause_max_usec = USEC_PER_MINUTE;
static uint64_t arg_udp_timeout_usec = USEC_PER_MINUTE;
static const char *arg_service = NULL;

enum {
        ARG_CONTROL = 0x100,
        ARG_EXIT_IDLE_TIME,
        ARG_PAUSE_MAX,
        ARG_UDP_TIMEOUT,
        ARG_VERSION,
};

static const struct option options[] = { { "help", no_argument, NULL, 'h' },
                                         { "version", no_argument, NULL, ARG_VERSION },
                                         { "control", required_argument, NULL, ARG_CONTROL },
                                         { "exit-idle-time", required_argument, NULL, ARG_EXIT_IDLE_TIME },
                                         { "pause-max", required_argument, NULL, ARG_PAUSE_MAX },
                                         { "udp-timeout", required_argument, NULL, ARG_UDP_TIMEOUT },
                                         {} };

static int help(void) {
        printf("%s [OPTIONS...] NAME\n\n"
               "Stand in front of service NAME: take its clients, have it woken, forward.\n\n"
               "  -h --help                 Show this help\n"
               "     --version              Show the version\n"
               "     --control=PATH         The service's control socket\n"
               "     --exit-idle-time=TIME  End this long after the last client (10s)\n"
               "     --pause-max=TIME       Longest pause after failed wakes (1min)\n"
               "     --udp-timeout=TIME     A UDP client has gone after this long (1min)\n",
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
                case ARG_CONTROL:
                        arg_control = optarg;
                        break;
                case ARG_EXIT_IDLE_TIME:
                        r = parse_span("exit-idle-time", optarg, &arg_exit_idle_usec);
                        break;
                case ARG_PAUSE_MAX:
                        r = parse_span("pause-max", optarg, &arg_pause_max_usec);
                        break;
                case ARG_UDP_TIMEOUT:
                        r = parse_span("udp-timeout", optarg, &arg_udp_timeout_usec);
                        break;
                default:
                        return -EINVAL;
                }
                if (r < 0)
                        return r;
        }

        if (argc - optind != 1) {
                log_error("Exactly one service is to be named.");
                return -EINVAL;
        }
        arg_service = argv[optind];
        if (!service_name_is_valid(arg_service)) {
                log_error("'%s' is no name of a service.", arg_service);
                return -EINVAL;
        }
        return 1;
}

static int check_sockets(int n) {
        for (int fd = SD_LISTEN_FDS_START; fd < SD_LISTEN_FDS_START + n; fd++) {
                int r;

                r = sd_is_socket(fd, AF_UNSPEC, SOCK_STREAM, /* listening= */ true);
                if (r < 0)
                        return log_error_errno(r, "Failed to look at a passed socket: %m");
                if (r == 0 && !udp_socket_is_one(fd)) {
                        log_error("A passed descriptor is neither a listening stream socket nor one for UDP.");
                        return -EINVAL;
                }
        }
        return 0;
}

/* As many descriptors as we may have: two for each client. A system call filter may forbid even to ask; then the
 * limit is met when it is reached. */
static uint64_t raise_limit(void) {
        struct rlimit limit;

        if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
                return UINT64_MAX;
        if (limit.rlim_cur < limit.rlim_max) {
                struct rlimit higher = { limit.rlim_max, limit.rlim_max };

                if (setrlimit(RLIMIT_NOFILE, &higher) >= 0)
                        limit = higher;
        }
        return limit.rlim_cur;
}

static int make_event(sd_event **ret) {
        sd_event *event;
        sigset_t mask;
        int r;

        (void) signal(SIGPIPE, SIG_IGN);
        if (sigemptyset(&mask) < 0 || sigaddset(&mask, SIGTERM) < 0 || sigaddset(&mask, SIGINT) < 0 ||
            sigprocmask(SIG_BLOCK, &mask, NULL) < 0)
                return -errno;

        r = sd_event_new(&event);
        if (r < 0)
                return r;
        r = sd_event_add_signal(event, NULL, SIGTERM, NULL, NULL);
        if (r >= 0)
                r = sd_event_add_signal(event, NULL, SIGINT, NULL, NULL);
        if (r < 0) {
                sd_event_unref(event);
                return r;
        }
        *ret = event;
        return 0;
}

static int run(int argc, char *argv[]) {
        _cleanup_(sd_event_unrefp) sd_event *event = NULL;
        _cleanup_(front_freep) Front *front = NULL;
        _cleanup_free_ char *control = NULL;
        FrontOptions front_options;
        int n, r;

        r = parse_arguments(argc, argv);
        if (r <= 0)
                return r;

        n = sd_listen_fds(true);
        if (n < 0)
                return log_error_errno(n, "Failed to get the sockets: %m");
        if (n == 0) {
                log_error("No sockets were passed: to be started by wake@%s.socket.", arg_service);
                return -EINVAL;
        }
        r = check_sockets(n);
        if (r < 0)
                return r;

        if (!arg_control) {
                if (asprintf(&control, "/run/wakechain/control/%s.sock", arg_service) < 0) {
                        control = NULL;
                        return log_oom();
                }
                arg_control = control;
        }

        r = make_event(&event);
        if (r < 0)
                return log_error_errno(r, "Failed to make an event loop: %m");
        front_options = (FrontOptions){
                .service = arg_service,
                .control = arg_control,
                .exit_idle_usec = arg_exit_idle_usec,
                .pause_max_usec = arg_pause_max_usec,
                .udp_timeout_usec = arg_udp_timeout_usec,
                .descriptors_max = raise_limit(),
        };
        r = front_new(&front, event, &front_options, SD_LISTEN_FDS_START, (size_t) n);
        if (r < 0)
                return log_error_errno(r, "Failed to stand in front of %s: %m", arg_service);

        (void) sd_notify(false, "READY=1");
        r = sd_event_loop(event);
        if (r < 0)
                return log_error_errno(r, "Failed to run the event loop: %m");
        return r;
}

int main(int argc, char *argv[]) {
        log_open();
        return run(argc, argv) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
