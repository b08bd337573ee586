#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "front/options.h"
#include "front/udp/udp-socket.h"
#include "util/fd.h"
#include "util/log.h"
#include "util/time.h"

/* wakechain-front NAME: started by PID 1 with the listening sockets of wake@NAME.socket. It reads no
 * configuration: all that it knows comes from its command line and from the waker. The first thing that a new
 * front has to do is to tell the waker that somebody came, so nothing that can wait is done before. */

/* Ours are the sockets, which come first, and what a program before has kept. Returns how many sockets there are. */
static int take_passed(Keep *keep) {
        char **names = NULL;
        int n, sockets = 0;

        n = sd_listen_fds_with_names(true, &names);
        if (n < 0)
                return log_error_errno(n, "Failed to get the sockets: %m");
        for (int i = 0; i < n; i++) {
                int fd = SD_LISTEN_FDS_START + i;

                if (names && keep_take_passed(keep, names[i], fd))
                        continue;
                if (i == sockets)
                        sockets++;
                else {
                        log_warning("A descriptor was passed that is unknown, '%s'. Ignoring.", names[i]);
                        (void) fd_close(fd);
                }
        }
        for (int i = 0; names && i < n; i++)
                free(names[i]);
        free(names);
        return sockets;
}

#define FAILURE_PAUSE_USEC (400 * USEC_PER_MSEC)

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

/* As many descriptors as we may have: two for each client. Asked without libc, which asks by prlimit(), by which one front could set the
 * limits of another: the unit does not allow it. */
static uint64_t raise_limit(void) {
        unsigned long limit[2]; /* now, at most */

        if (syscall(SYS_getrlimit, RLIMIT_NOFILE, limit) < 0)
                return UINT64_MAX;
        if (limit[0] < limit[1] && setrlimit(RLIMIT_NOFILE, &(struct rlimit){ limit[1], limit[1] }) >= 0)
                limit[0] = limit[1];
        return limit[0];
}

static int on_stop(sd_event_source *source, const struct signalfd_siginfo *info, void *userdata) {
        front_drain(ASSERT_PTR(userdata));
        return 0;
}

/* A restart: the next front goes on with everybody, so nobody may be told an end. */
static int on_restart(sd_event_source *source, const struct signalfd_siginfo *info, void *userdata) {
        front_hand_over(ASSERT_PTR(userdata));
        (void) sd_notify(false, "STOPPING=1");
        _exit(EXIT_SUCCESS);
}

static int make_event(sd_event **ret) {
        sigset_t mask;

        (void) signal(SIGPIPE, SIG_IGN);
        if (sigemptyset(&mask) < 0 || sigaddset(&mask, SIGTERM) < 0 || sigaddset(&mask, SIGINT) < 0 ||
            sigaddset(&mask, SIGUSR1) < 0 || sigprocmask(SIG_BLOCK, &mask, NULL) < 0)
                return -errno;
        return sd_event_new(ret);
}

/* The units choose: KillSignal= and RestartKillSignal=. SIGINT is for who starts it by hand. */
static int add_signals(sd_event *event, Front *front) {
        int r;

        r = sd_event_add_signal(event, NULL, SIGTERM, on_stop, front);
        if (r >= 0)
                r = sd_event_add_signal(event, NULL, SIGUSR1, on_restart, front);
        if (r >= 0)
                r = sd_event_add_signal(event, NULL, SIGINT, NULL, NULL);
        return r;
}

static int run(int argc, char *argv[]) {
        _cleanup_(options_done) FrontOptions options = {};
        _cleanup_(sd_event_unrefp) sd_event *event = NULL;
        _cleanup_(keep_freep) Keep *keep = NULL;
        _cleanup_(front_freep) Front *front = NULL;
        int n, r;

        r = options_parse(&options, argc, argv);
        if (r <= 0)
                return r;

        r = keep_new(&keep);
        if (r < 0)
                return log_oom();
        n = take_passed(keep);
        if (n < 0)
                return n;
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
        r = keep_open(keep);
        if (r < 0)
                return log_error_errno(r, "Failed to open what connections are kept in: %m");
        r = front_new(&front, event, &options, keep, SD_LISTEN_FDS_START, (size_t) n);
        if (r >= 0)
                r = add_signals(event, front);
        if (r < 0)
                return log_error_errno(r, "Failed to stand in front of %s: %m", options.service);

        (void) sd_notify(false, "READY=1");
        r = front_run(front);
        if (r < 0)
                return log_error_errno(r, "Failed to run the event loop: %m");
        return r;
}

int main(int argc, char *argv[]) {
        /* All fronts have one user: none of them is to read the clients of another in its memory. */
        (void) prctl(PR_SET_DUMPABLE, 0);
        log_open();
        if (run(argc, argv) >= 0)
                return EXIT_SUCCESS;
        /* PID 1 would start the next one at once, for as long as somebody waits. */
        if (getenv("NOTIFY_SOCKET"))
                (void) usleep(FAILURE_PAUSE_USEC);
        return EXIT_FAILURE;
}
