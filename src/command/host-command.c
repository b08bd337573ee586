#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdio.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "command/docker-stream.h"
#include "command/host-command.h"
#include "util/fd.h"
#include "util/log.h"
#include "util/printable.h"
#include "util/strv.h"
#include "util/time.h"

/* HostCommand ends when its process has ended, not when its output has: a command may leave something behind in
 * the background that keeps the pipe open, and that is killed with the rest of the group. The process is waited
 * for by a pidfd, which asks nothing of our own signal mask. Whoever gives a command up does not wait:
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
        sd_event_source *output, *capture; /* own their pipes; without a capture all is output */
        sd_event_source *timer;
        DockerStream tail; /* of the output */
        char line[HOST_COMMAND_LINE_MAX];
        size_t line_size;
        HostCommandLineHandler on_line;
        char *captured;
        size_t captured_size, captured_max;
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
        (void) sd_event_source_disable_unref(command->capture);
        (void) sd_event_source_disable_unref(command->timer);
        (void) sd_event_unref(command->event);
        free(command->captured);
        return mfree(command);
}

static void host_command_end_line(HostCommand *command) {
        _cleanup_free_ char *line = printable_copy(command->line, command->line_size, false);

        command->line_size = 0;
        if (!isempty(line))
                command->on_line(line, command->userdata);
}

static void host_command_split(HostCommand *command, const char *data, size_t size) {
        for (size_t i = 0; i < size; i++)
                if (data[i] == '\n' || data[i] == '\r')
                        host_command_end_line(command);
                else if (command->line_size < sizeof(command->line))
                        command->line[command->line_size++] = data[i];
}

/* Too much is all given up: half a document is none. */
static void host_command_keep(HostCommand *command, const char *data, size_t size) {
        char *larger = NULL;

        if (command->captured_size + size <= command->captured_max)
                larger = realloc(command->captured, command->captured_size + size + 1);
        if (!larger) {
                command->captured = mfree(command->captured);
                command->captured_max = 0;
                return;
        }
        memcpy(larger + command->captured_size, data, size);
        command->captured = larger;
        command->captured_size += size;
        command->captured[command->captured_size] = '\0';
}

static void host_command_finish(HostCommand *command, HostCommandResult *result) {
        _cleanup_free_ char *text = docker_stream_text(&command->tail);

        if (command->on_line)
                host_command_end_line(command);
        command->output = sd_event_source_disable_unref(command->output);
        command->capture = sd_event_source_disable_unref(command->capture);
        command->timer = sd_event_source_disable_unref(command->timer);
        result->last_line = text ? printable_last_line(text) : "";
        result->captured = command->captured;
        result->captured_size = command->captured ? command->captured_size : 0;
        command->handler(command, result, command->userdata);
        /* The handler may have freed the command: nothing goes below this line. */
}

/* False if there is nothing to be read, now or ever. */
static bool host_command_read(HostCommand *command, sd_event_source *source) {
        char buffer[4096];
        ssize_t n;

        n = read(sd_event_source_get_io_fd(source), buffer, sizeof(buffer));
        if (n < 0 && errno == EINTR)
                return true;
        if (n == 0 || (n < 0 && errno != EAGAIN))
                (void) sd_event_source_set_enabled(source, SD_EVENT_OFF);
        if (n <= 0)
                return false;

        if (source == command->capture) {
                host_command_keep(command, buffer, (size_t) n);
                return true;
        }
        docker_stream_feed(&command->tail, buffer, (size_t) n);
        if (command->on_line)
                host_command_split(command, buffer, (size_t) n);
        return true;
}

static int host_command_on_output(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        (void) host_command_read(ASSERT_PTR(userdata), source);
        return 0;
}

static void host_command_drain(HostCommand *command, sd_event_source *source) {
        for (int i = 0; i < DRAIN_MAX && source && host_command_read(command, source); i++)
                ;
}

static int host_command_on_exit(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        HostCommand *command = ASSERT_PTR(userdata);
        HostCommandResult result = { .exit_status = -1 };
        siginfo_t info = {};

        /* While the process is not reaped its number, which is the group's, cannot be another's. */
        (void) kill(-command->pid, SIGKILL);
        if (waitid(P_PIDFD, (id_t) fd, &info, WEXITED) < 0)
                log_debug_errno(errno, "Failed to learn how a command ended: %m");
        command->pid = 0;
        command->exit = sd_event_source_disable_unref(command->exit);

        host_command_drain(command, command->output);
        host_command_drain(command, command->capture);

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
_Noreturn static void child_run(char *const argv[], char *const environment[], const char *folder, int output,
                                int capture) {
        struct sigaction action = { .sa_handler = SIG_DFL };
        sigset_t none;
        int null;

        (void) setpgid(0, 0);
        for (int number = 1; number < NSIG; number++)
                (void) sigaction(number, &action, NULL);
        (void) sigemptyset(&none);
        (void) sigprocmask(SIG_SETMASK, &none, NULL);

        null = open("/dev/null", O_RDONLY);
        if (null < 0 || dup2(capture, STDOUT_FILENO) < 0 || dup2(output, STDERR_FILENO) < 0 ||
            dup2(null, STDIN_FILENO) < 0 || (folder && chdir(folder) < 0))
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

static int host_command_spawn(HostCommand *command, const HostCommandRequest *request, char *const *argv,
                              int output, int capture) {
        _cleanup_(strv_freep) char **complete = NULL;
        _cleanup_close_ int pidfd = -EBADF;
        int r;

        r = environment_complete(request->environment, &complete);
        if (r < 0)
                return r;

        command->pid = fork();
        if (command->pid < 0) {
                command->pid = 0;
                return -errno;
        }
        if (command->pid == 0)
                child_run(argv, complete, request->folder, output, capture);

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

/* Reads from a new pipe; `ret_input` is its other end. */
static int host_command_add_pipe(HostCommand *command, sd_event_source **ret, int *ret_input) {
        int pipe_fds[2], r;

        if (pipe2(pipe_fds, O_CLOEXEC) < 0)
                return -errno;
        _cleanup_close_ int output = pipe_fds[0], input = pipe_fds[1];

        if (fcntl(output, F_SETFL, O_NONBLOCK) < 0)
                return -errno;
        r = sd_event_add_io(command->event, ret, output, EPOLLIN, host_command_on_output, command);
        if (r < 0)
                return r;
        (void) sd_event_source_set_io_fd_own(*ret, true);
        (void) TAKE_FD(output);
        *ret_input = TAKE_FD(input);
        return 0;
}

/* `argv` begins with a path. */
static int host_command_begin(HostCommand **ret, sd_event *event, const HostCommandRequest *request,
                              char *const *argv, HostCommandHandler handler, void *userdata) {
        _cleanup_(host_command_freep) HostCommand *command = NULL;
        _cleanup_close_ int output = -EBADF, capture = -EBADF;
        int r;

        command = new0(HostCommand, 1);
        if (!command)
                return -ENOMEM;
        command->event = sd_event_ref(event);
        command->tail.raw = true;
        command->on_line = request->on_line;
        command->captured_max = request->captured_max;
        command->handler = handler;
        command->userdata = userdata;

        r = host_command_add_pipe(command, &command->output, &output);
        if (r >= 0 && request->captured_max > 0)
                r = host_command_add_pipe(command, &command->capture, &capture);
        if (r >= 0 && request->timeout_usec != USEC_INFINITY)
                r = sd_event_add_time_relative(event, &command->timer, CLOCK_MONOTONIC, request->timeout_usec,
                                               TIMER_ACCURACY_USEC, host_command_on_timer, command);
        if (r >= 0)
                r = host_command_spawn(command, request, argv, output, capture >= 0 ? capture : output);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(command);
        return 0;
}

int host_command_run(HostCommand **ret, sd_event *event, const HostCommandRequest *request,
                     HostCommandHandler handler, void *userdata) {
        static const char *const search[] = { "/bin/sh", "-c", "exec \"$@\"", "sh" };
        _cleanup_free_ const char **argv = NULL;
        size_t n;

        assert(ret);
        assert(event);
        assert(request);
        assert(request->argv && request->argv[0]);
        assert(handler);

        /* The shell knows how to look for a program in a PATH that is not ours. */
        n = strv_length(request->argv);
        argv = new0(const char *, ELEMENTSOF(search) + n + 1);
        if (!argv)
                return -ENOMEM;
        memcpy(argv, search, sizeof(search));
        memcpy(argv + ELEMENTSOF(search), request->argv, n * sizeof(*argv));
        return host_command_begin(ret, event, request, (char *const *) argv, handler, userdata);
}

int host_command_new(HostCommand **ret, sd_event *event, const char *command, char *const *environment,
                     uint64_t timeout_usec, HostCommandHandler handler, void *userdata) {
        HostCommandRequest request = { .environment = environment, .timeout_usec = timeout_usec };
        char *const argv[] = { (char *) "/bin/sh", (char *) "-c", (char *) command, NULL };

        assert(ret);
        assert(event);
        assert(command);
        assert(handler);

        return host_command_begin(ret, event, &request, argv, handler, userdata);
}
