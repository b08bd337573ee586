#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <systemd/sd-daemon.h>
#include <systemd/sd-event.h>

#include "compose/compose-environment.h"
#include "compose/dotenv.h"
#include "config/config.h"
#include "control/status-file.h"
#include "nft/redirect-bindings.h"
#include "util/capability.h"
#include "util/fd.h"
#include "util/log.h"
#include "wake/control.h"
#include "wake/member/journal.h"
#include "wake/waker.h"

/* wakechain-wake NAME: run by wake@NAME.service. Ends with 0 when the stack sleeps again, with 1 when its wake has failed. */

extern char **environ;

static const char *arg_name;

/* What is read at first, with a right that is gone before anybody is talked to: to read whatever file there is. */
typedef struct Files {
        Config *config;
        Service *service; /* NULL: no such service, or it is broken */
        ProblemList problems;
        int error; /* of the config */
        char **dotenv;
} Files;

static void files_done(Files *files) {
        strv_free(files->dotenv);
        problem_list_done(&files->problems);
        (void) config_free(files->config);
}

/* The listening socket of wake-control@NAME.socket, and the locks that an earlier life has stored. */
typedef struct Passed {
        int control_fd;
        int *fds;
        char **names;
        size_t n;
} Passed;

static void passed_done(Passed *passed) {
        free(passed->fds);
        strv_free(passed->names);
        fd_close(passed->control_fd);
}

static int passed_read(Passed *passed) {
        _cleanup_(strv_freep) char **names = NULL;
        int n;

        n = sd_listen_fds_with_names(true, &names);
        if (n < 0)
                return log_error_errno(n, "Failed to read the passed descriptors: %m");

        passed->fds = new0(int, (size_t) n + 1);
        if (!passed->fds)
                return log_oom();
        for (int i = 0; i < n; i++) {
                int fd = SD_LISTEN_FDS_START + i;

                if (passed->control_fd < 0 && sd_is_socket(fd, AF_UNIX, SOCK_STREAM, 1) > 0) {
                        passed->control_fd = fd;
                        continue;
                }
                if (strv_append(&passed->names, names[i]) < 0)
                        return log_oom();
                passed->fds[passed->n++] = fd_move_up(fd);
        }
        return 0;
}

static json_object *no_status(void *userdata) {
        return NULL;
}

static void on_no_request(Control *control, ControlRequest request, WakeTrigger trigger, void *userdata) {
}

/* The config does not let us wake it: told wherever a failed wake is told. */
static int refuse(sd_event *event, const Passed *passed, FailureReason reason, const char *message) {
        _cleanup_(control_freep) Control *control = NULL;
        Status status = {
                .service = (char *) arg_name,
                .state = SERVICE_FAILED,
                .since_usec = time_now(CLOCK_REALTIME),
                .trigger = TRIGGER_MANUAL,
                .reason = reason,
                .error = (char *) message,
        };

        journal_begin(arg_name, "");
        journal_service(LOG_ERR, WAKECHAIN_MESSAGE_FAILED, SERVICE_FAILED, reason, "%s failed to wake: %s",
                        arg_name, message);
        (void) status_file_write(&status, "");
        if (passed->control_fd >= 0 &&
            control_new(&control, event, passed->control_fd, arg_name, no_status, on_no_request, NULL) >= 0)
                control_fail(control, reason, message);
        return EXIT_FAILURE;
}

/* As settling has found them. */
static int add_owners(Service *service, const Config *config) {
        _cleanup_(redirect_bindings_done) RedirectBindings bindings = {};
        int r;

        r = redirect_bindings_load(&bindings, "", service->name);
        return r < 0 ? r : service_add_owners(service, config, bindings.owners);
}

/* .env is for root alone, as a rule, since it holds passwords: that needs CAP_DAC_READ_SEARCH. */
static int read_files(Files *files) {
        _cleanup_free_ char *why = NULL;
        const char *folder = NULL;
        int r = 0, k;

        files->error = config_load(&files->config, "", NULL, &files->problems);
        files->service = files->error < 0 ? NULL : (Service *) config_find(files->config, arg_name);
        if (files->service)
                r = add_owners(files->service, files->config);
        if (r < 0)
                return log_oom();
        if (files->service)
                folder = files->service->compose_dir;
        if (folder)
                r = dotenv_read(&files->dotenv, "", folder, compose_is_v1(""), &why);

        k = capability_drop(CAP_DAC_READ_SEARCH);
        if (k < 0)
                return log_error_errno(k, "Failed to give up the right to read all files: %m");
        if (r < 0)
                log_warning("'%s/.env' %s%s. No variables for the health commands of %s are taken from it; what they need can stand "
                            "in /etc/wakechain/env/%s.env as well.",
                            folder, why ? why : "cannot be read: ", why ? "" : strerror(-r), arg_name, arg_name);
        return 0;
}

static int refuse_config(sd_event *event, const Passed *passed, const Files *files) {
        FailureReason reason = FAILURE_CONFIG_INVALID;
        _cleanup_free_ char *message = NULL;
        char text[128];
        size_t n = 0;

        if (files->error == -ENOENT)
                return refuse(event, passed, FAILURE_CONFIG_INVALID, "there is no dependencies.json");
        for (size_t i = 0; i < files->problems.n_problems; i++) {
                const Problem *problem = &files->problems.problems[i];
                _cleanup_free_ char *line = problem_to_string(problem);

                if (problem->level != PROBLEM_ERROR || (problem->service && !streq(problem->service, arg_name)))
                        continue;
                log_error("%s", strempty(line));
                if (!message) {
                        message = strdup(strempty(line));
                        reason = problem->cycle ? FAILURE_DEPENDENCY_CYCLE : FAILURE_CONFIG_INVALID;
                }
                n++;
        }
        if (n == 0 && files->error < 0) {
                (void) snprintf(text, sizeof(text), "dependencies.json cannot be read: %s",
                                strerror(-files->error));
                return refuse(event, passed, FAILURE_CONFIG_INVALID, text);
        }
        if (n == 0)
                return refuse(event, passed, FAILURE_CONFIG_INVALID, "dependencies.json has no such service");
        return refuse(event, passed, reason, strempty(message));
}

static int on_signal(sd_event_source *source, const struct signalfd_siginfo *info, void *userdata) {
        waker_stop(ASSERT_PTR(userdata));
        return 0;
}

static int run(void) {
        _cleanup_(passed_done) Passed passed = { .control_fd = -EBADF };
        _cleanup_(sd_event_unrefp) sd_event *event = NULL;
        _cleanup_(files_done) Files files = {};
        _cleanup_(waker_freep) Waker *waker = NULL;
        Environment environment;
        sigset_t signals;
        int r;

        r = read_files(&files);
        if (r < 0)
                return r;
        environment = (Environment){ .own = environ, .dotenv = files.dotenv };

        (void) sigemptyset(&signals);
        (void) sigaddset(&signals, SIGTERM);
        (void) sigaddset(&signals, SIGINT);
        (void) sigaddset(&signals, SIGCHLD);
        (void) sigprocmask(SIG_BLOCK, &signals, NULL);
        (void) signal(SIGPIPE, SIG_IGN);

        r = sd_event_default(&event);
        if (r < 0)
                return log_error_errno(r, "Failed to make the event loop: %m");
        r = passed_read(&passed);
        if (r < 0)
                return r;
        if (!files.service)
                return refuse_config(event, &passed, &files);

        r = waker_new(&waker, event, files.config, files.service,
                      &(WakerOptions){ .root = "", .control_fd = passed.control_fd, .environment = &environment });
        if (r < 0)
                return log_error_errno(r, "Failed to prepare the wake of %s: %m", arg_name);
        for (size_t i = 0; i < passed.n; i++)
                waker_adopt_descriptor(waker, passed.names[i], passed.fds[i]);

        r = sd_event_add_signal(event, NULL, SIGTERM, on_signal, waker);
        if (r >= 0)
                r = sd_event_add_signal(event, NULL, SIGINT, on_signal, waker);
        if (r >= 0)
                r = waker_run(waker);
        if (r < 0)
                return log_error_errno(r, "Failed to begin the wake of %s: %m", arg_name);
        return sd_event_loop(event);
}

int main(int argc, char *argv[]) {
        int r;

        log_open();
        /* A name may begin with a dash: behind "--" it is no option. */
        if (argc == 3 && streq(argv[1], "--"))
                arg_name = argv[2];
        else if (argc == 2 && argv[1][0] != '-')
                arg_name = argv[1];
        else {
                fprintf(stderr,
                        "Usage: %s [--] NAME\n\nWakes the service NAME of dependencies.json; see wakechain-wake(8).\n",
                        program_invocation_short_name);
                return argc == 2 && streq(argv[1], "--help") ? EXIT_SUCCESS : EXIT_FAILURE;
        }
        if (!service_name_is_valid(arg_name)) {
                log_error("'%s' is no valid service name.", arg_name);
                return EXIT_FAILURE;
        }

        r = run();
        return r < 0 ? EXIT_FAILURE : r;
}
