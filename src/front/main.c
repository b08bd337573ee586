#include <signal.h>
#include <sys/resource.h>
#include <systemd/sd-daemon.h>

#include "front/options.h"
#include "front/udp-socket.h"
#include "util/log.h"

/* wakechain-front NAME: started by PID 1 with the listening sockets of wake@NAME.socket. It reads no
 * configuration: all that it knows comes from its command line and from the waker. The first thing that a new
 * front has to do is to tell the waker that somebody came, so nothing that can wait is done before. */

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
        _cleanup_(options_done) FrontOptions options = {};
        _cleanup_(sd_event_unrefp) sd_event *event = NULL;
        _cleanup_(front_freep) Front *front = NULL;
        int n, r;

        r = options_parse(&options, argc, argv);
        if (r <= 0)
                return r;

        n = sd_listen_fds(true);
        if (n < 0)
                return log_error_errno(n, "Failed to get the sockets: %m");
        if (n == 0) {
                log_error("No sockets were passed: to be started by wake@%s.socket.", options.service);
                return -EINVAL;
        }
        r = check_sockets(n);
        if (r < 0)
                return r;

        r = make_event(&event);
        if (r < 0)
                return log_error_errno(r, "Failed to make an event loop: %m");
        options.descriptors_max = raise_limit();
        r = front_new(&front, event, &options, SD_LISTEN_FDS_START, (size_t) n);
        if (r < 0)
                return log_error_errno(r, "Failed to stand in front of %s: %m", options.service);

        (void) sd_notify(false, "READY=1");
        r = front_run(front);
        if (r < 0)
                return log_error_errno(r, "Failed to run the event loop: %m");
        return r;
}

int main(int argc, char *argv[]) {
        log_open();
        return run(argc, argv) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
