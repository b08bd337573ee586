#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdio.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "io/docker-stream.h"
#include "io/host-command.h"
#include "io/printable.h"
#include "util/fd.h"
#include "util/log.h"
#include "util/strv.h"
#include "util/time.h"

/* HostCommand ends when the shell has ended, not when its output has: a command may leave something behind in
 * the background that keeps the pipe open, and that is killed with the rest of the group. The shell is waited
 * for by a pidfd, which asks nothing of the program's signal mask. Whoever gives a command up does not wait:
 * a source that belongs to the event loop alone reaps it.
 *
 * The waker may change the firewall; a health command, which came with somebody's configuration, must not. */

#define DEFAULT_PATH "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#define TIMER_ACCURACY_USEC (10 * USEC_PER_MSEC)
#define DRAIN_MAX 64 /* pieces of a pipe that is still written to */

struct HostCommand {
        sd_event *event;
        pid_t pid; /* 0: reaped */
        sd_event_source *exit; /* owns the pidfd */
        sd_event_source *output; /* owns the pipe */
        sd_event_source *timer;
        DockerStream tail;
        HostCommandHandler handler;
        void *userdata;
};

static int on_abandoned_exit(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        siginfo_t info;

        (void) waitid(P_PIDFD, (id_t) fd, &info, WEXITED);
        (void) sd_event_source_disable_unref(source);
        return 0;
}

/* Takes the source. */
static void reap_later(sd_event *event, sd_event_source *exit) {
        sd_event_source *reaper;
        int fd = sd_event_source_get_io_fd(exit), r;

        fd = fd >= 0 ? fcntl(fd, F_DUPFD_CLOEXEC, 3) : -EBADF;
        (void) sd_event_source_disable_unref(exit);
        if (fd < 0)
                return;

        r = sd_event_add_io(event, &reaper, fd, EPOLLIN, on_abandoned_exit, NULL);
        if (r < 0) {
                (void) fd_close(fd);
                return;
        }
        (void) sd_event_source_set_io_fd_own(reaper, true);
        /* Nobody holds it but the loop, until it has done its work. */
        (void) sd_event_source_set_floating(reaper, true);
        (void) sd_event_source_unref(reaper);
}

HostCommand *host_command_free(HostCommand *command) {
        if (!command)
                return NULL;

        if (command->pid > 0) {
                (void) kill(-command->pid, SIGKILL);
                reap_later(command->event, TAKE_PTR(command->exit));
        }
        (void) sd_event_source_disable_unref(command->exit);
        (void) sd_event_source_disable_unref(command->output);
        (void) sd_event_source_disable_unref(command->timer);
        (void) sd_event_unref(command->event);
        return mfree(command);
}

static void host_command_finish(HostCommand *command, HostCommandResult *result) {
        _cleanup_free_ char *text = docker_stream_text(&command->tail);

        command->output = sd_event_source_disable_unref(command->output);
        command->timer = sd_event_source_disable_unref(command->timer);
        result->last_line = text ? printable_last_line(text) : "";
        command->handler(command, result, command->userdata);
        /* The handler may have freed the command: nothing goes below this line. */
}

/* False if there is nothing to be read, now or ever. */
static bool host_command_read(HostCommand *command, int fd) {
        char buffer[4096];
        ssize_t n;

        n = read(fd, buffer, sizeof(buffer));
        if (n <= 0)
                return n < 0 && errno == EINTR;
        docker_stream_feed(&command->tail, buffer, (size_t) n);
        return true;
}

static int host_command_on_output(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        HostCommand *command = ASSERT_PTR(userdata);

        if (!host_command_read(command, fd) && (errno != EAGAIN || revents & EPOLLHUP))
                (void) sd_event_source_set_enabled(source, SD_EVENT_OFF);
        return 0;
}

static int host_command_on_exit(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        HostCommand *command = ASSERT_PTR(userdata);
        HostCommandResult result = { .exit_status = -1 };
        siginfo_t info = {};
        int output = sd_event_source_get_io_fd(command->output);

        /* While the shell is not reaped its number, which is the group's, cannot be another's. */
        (void) kill(-command->pid, SIGKILL);
        if (waitid(P_PIDFD, (id_t) fd, &info, WEXITED) < 0)
                log_debug_errno(errno, "Failed to learn how a health command ended: %m");
        command->pid = 0;
        command->exit = sd_event_source_disable_unref(command->exit);

        for (int i = 0; i < DRAIN_MAX && output >= 0 && host_command_read(command, output); i++)
                ;

        if (info.si_code == CLD_EXITED)
                result.exit_status = info.si_status;
        else
                result.signal = info.si_status;
        host_command_finish(command, &result);
        return 0;
}

static int host_command_on_timer(sd_event_source *source, uint64_t usec, void *userdata) {
        HostCommand *command = ASSERT_PTR(userdata);
        HostCommandResult result = { .timed_out = true, .exit_status = -1, .signal = SIGKILL };

        (void) kill(-command->pid, SIGKILL);
        reap_later(command->event, TAKE_PTR(command->exit));
        command->pid = 0;
        host_command_finish(command, &result);
        return 0;
}

/* In the child: neither capability sets that a program inherits by, nor, where we may (CAP_SETPCAP), the set
 * that bounds root's. */
static void drop_capabilities(void) {
        struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
        struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {};

        (void) prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
        (void) prctl(PR_CAPBSET_DROP, CAP_NET_ADMIN, 0, 0, 0);
        if (syscall(SYS_capget, &header, data) < 0)
                return;
        for (size_t i = 0; i < ELEMENTSOF(data); i++)
                data[i].inheritable = 0;
        (void) syscall(SYS_capset, &header, data);
}

/* In the child: only calls that are safe between fork() and execve(). */
_Noreturn static void child_run(char *const argv[], char *const environment[], int output) {
        struct sigaction action = { .sa_handler = SIG_DFL };
        sigset_t none;
        int null;

        (void) setpgid(0, 0);
        for (int number = 1; number < NSIG; number++)
                (void) sigaction(number, &action, NULL);
        (void) sigemptyset(&none);
        (void) sigprocmask(SIG_SETMASK, &none, NULL);

        null = open("/dev/null", O_RDONLY);
        if (null < 0 || dup2(output, STDOUT_FILENO) < 0 || dup2(output, STDERR_FILENO) < 0 ||
            dup2(null, STDIN_FILENO) < 0)
                _exit(126);
        (void) close_range(3, ~0U, 0);

        drop_capabilities();
        (void) execve(argv[0], argv, environment);
        _exit(127);
}

static int environment_complete(char *const *environment, char ***ret) {
        _cleanup_(strv_freep) char **complete = NULL;
        bool has_path = false;
        int r;

        for (; environment && *environment; environment++) {
                has_path |= strncmp(*environment, "PATH=", 5) == 0;
                r = strv_append(&complete, *environment);
                if (r < 0)
                        return r;
        }
        if (!has_path) {
                r = strv_append(&complete, DEFAULT_PATH);
                if (r < 0)
                        return r;
        }
        *ret = TAKE_PTR(complete);
        return 0;
}

static int host_command_spawn(HostCommand *command, const char *text, char *const *environment, int output) {
        char *const argv[] = { (char *) "/bin/sh", (char *) "-c", (char *) text, NULL };
        _cleanup_(strv_freep) char **complete = NULL;
        _cleanup_close_ int pidfd = -EBADF;
        int r;

        r = environment_complete(environment, &complete);
        if (r < 0)
                return r;

        command->pid = fork();
        if (command->pid < 0) {
                command->pid = 0;
                return -errno;
        }
        if (command->pid == 0)
                child_run(argv, complete, output);

        /* On both sides, so that neither can be first. */
        (void) setpgid(command->pid, command->pid);

        pidfd = pidfd_open(command->pid, 0);
        r = pidfd < 0 ? -errno : 0;
        if (r >= 0)
                r = sd_event_add_io(command->event, &command->exit, pidfd, EPOLLIN, host_command_on_exit, command);
        if (r < 0) {
                /* Without a way to be told of its end, it is not left behind. */
                (void) kill(-command->pid, SIGKILL);
                (void) waitpid(command->pid, NULL, 0);
                command->pid = 0;
                return r;
        }
        (void) sd_event_source_set_io_fd_own(command->exit, true);
        (void) TAKE_FD(pidfd);
        return 0;
}

int host_command_new(HostCommand **ret, sd_event *event, const char *command, char *const *environment,
                     uint64_t timeout_usec, HostCommandHandler handler, void *userdata) {
        _cleanup_(host_command_freep) HostCommand *host_command = NULL;
        int pipe_fds[2], r;

        assert(ret);
        assert(event);
        assert(command);
        assert(handler);

        host_command = new0(HostCommand, 1);
        if (!host_command)
                return -ENOMEM;
        host_command->event = sd_event_ref(event);
        host_command->tail.raw = true;
        host_command->handler = handler;
        host_command->userdata = userdata;

        if (pipe2(pipe_fds, O_CLOEXEC) < 0)
                return -errno;
        _cleanup_close_ int output = pipe_fds[0], input = pipe_fds[1];

        if (fcntl(output, F_SETFL, O_NONBLOCK) < 0)
                return -errno;
        r = sd_event_add_io(event, &host_command->output, output, EPOLLIN, host_command_on_output, host_command);
        if (r < 0)
                return r;
        (void) sd_event_source_set_io_fd_own(host_command->output, true);
        (void) TAKE_FD(output);
        r = sd_event_add_time_relative(event, &host_command->timer, CLOCK_MONOTONIC, timeout_usec,
                                       TIMER_ACCURACY_USEC, host_command_on_timer, host_command);
        if (r < 0)
                return r;
        r = host_command_spawn(host_command, command, environment, input);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(host_command);
        return 0;
}
