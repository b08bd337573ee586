#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ctl/reach.h"
#include "ctl/waking.h"
#include "util/log.h"

/* wakectl run: a command, while a stack is held awake for it. Terminal, standard streams and environment are the command's; what we say goes
 * to standard error. Signals of a terminal reach both of us, others are passed on. */

typedef struct Run {
        sd_event *event; /* borrowed, as is the command */
        char **command;
        sigset_t mask; /* as it was */
        pid_t pid; /* 0: it has not begun */
} Run;

static int run_on_child(sd_event_source *source, const siginfo_t *info, void *userdata) {
        Run *run = ASSERT_PTR(userdata);

        (void) sd_event_exit(run->event, info->si_code == CLD_EXITED ? info->si_status : 128 + info->si_status);
        return 0;
}

static int run_on_signal(sd_event_source *source, const struct signalfd_siginfo *info, void *userdata) {
        Run *run = ASSERT_PTR(userdata);

        if (info->ssi_code <= 0) /* SI_USER and kin: not from the kernel */
                (void) kill(run->pid, (int) info->ssi_signo);
        return 0;
}

static _Noreturn void run_exec(const Run *run) {
        int error;

        (void) sigprocmask(SIG_SETMASK, &run->mask, NULL);
        (void) execvp(run->command[0], run->command);
        error = errno;
        log_error("Failed to run '%s': %s", run->command[0], strerror(error));
        _exit(error == ENOENT ? 127 : 126);
}

static int run_start(Run *run) {
        static const int passed[] = { SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2 };
        sigset_t signals;
        int r = 0;

        (void) sigemptyset(&signals);
        (void) sigaddset(&signals, SIGCHLD);
        for (size_t i = 0; i < ELEMENTSOF(passed); i++)
                (void) sigaddset(&signals, passed[i]);
        if (sigprocmask(SIG_BLOCK, &signals, NULL) < 0)
                return -errno;
        run->pid = fork();
        if (run->pid == 0)
                run_exec(run);
        if (run->pid < 0)
                return -errno;
        for (size_t i = 0; i < ELEMENTSOF(passed) && r >= 0; i++)
                r = sd_event_add_signal(run->event, NULL, passed[i], run_on_signal, run);
        return r < 0 ? r : sd_event_add_child(run->event, NULL, run->pid, WEXITED, run_on_child, run);
}

/* Held no longer, the command goes on. */
static void run_on_waking(Waking *waking, int outcome, void *userdata) {
        Run *run = ASSERT_PTR(userdata);
        int r;

        if (run->pid > 0)
                return;
        if (outcome != CTL_FINE) {
                (void) sd_event_exit(run->event, outcome);
                return;
        }
        r = run_start(run);
        if (r < 0) {
                (void) log_error_errno(r, "Failed to run '%s': %m", run->command[0]);
                (void) sd_event_exit(run->event, CTL_FAILED);
        }
}

int verb_run(const CtlOptions *options, int argc, char **argv) {
        _cleanup_(sd_event_unrefp) sd_event *event = NULL;
        _cleanup_(waking_freep) Waking *waking = NULL;
        Run run = { .command = argv + 1 };
        int r;

        if (streq(argv[1], "--"))
                run.command++;
        if (!run.command[0]) {
                log_error("Expected a command, see 'wakectl --help'.");
                return CTL_USAGE;
        }
        if (!are_service_names(argv, 1))
                return CTL_USAGE;
        r = sigprocmask(SIG_BLOCK, NULL, &run.mask) < 0 ? -errno : sd_event_new(&event);
        run.event = event;
        if (r >= 0)
                r = waking_new(&waking, event, options, argv, 1, run_on_waking, &run);
        if (r >= 0) {
                waking_keep(waking);
                waking_begin(waking);
                r = sd_event_loop(event);
        }
        if (r < 0) {
                (void) log_error_errno(r, "Failed to wait for the waker: %m");
                return CTL_FAILED;
        }
        return r;
}
