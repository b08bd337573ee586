#include <getopt.h>
#include <poll.h>
#include <stdio.h>

#include "catalog/messages.h"
#include "config/config.h"
#include "io/firewall.h"
#include "io/redirect.h"
#include "redirect/marks.h"
#include "redirect/refresh.h"
#include "util/fd.h"
#include "util/log.h"

/* wakechain-redirect: the redirects of sleeping stacks, for units. `up` and `down` are run by each service's
 * socket as it comes and goes, `setup` when the system or a firewall has started, `repair` by a timer.
 *
 * What is to be redirected follows from two things that are in /run: the mark of a socket that is up, and the
 * status that the waker writes. Both are read, and the table is changed, under the lock that wakers take, too. */

/* Hundreds of sockets may start at once, and each of them waits for all others. Below TimeoutSec= of a socket. */
#define LOCK_TIMEOUT (80 * USEC_PER_SEC)
#define LOCK_RETRY_MSEC 10
#define ENGINE_TIMEOUT (2 * USEC_PER_SEC)

static const char *arg_root = "";
static const char *arg_config;

/* What every verb works on. */
typedef struct Session {
        int lock;
        Redirect *redirect;
        MarkList marks;
} Session;

static void session_done(Session *session) {
        /* First, since redirect_free() waits for the kernel, and two hundred sockets may start at once. */
        fd_close(session->lock);
        redirect_free(session->redirect);
        mark_list_done(&session->marks);
}
#define _cleanup_session_ _cleanup_(session_done)

/* Nobody holds it for longer than a transaction takes. */
static int session_lock(Session *session) {
        uint64_t deadline = usec_add(time_now(CLOCK_MONOTONIC), LOCK_TIMEOUT);

        for (;;) {
                session->lock = redirect_lock(arg_root);
                if (session->lock >= 0)
                        return 0;
                if (session->lock != -EAGAIN)
                        return log_error_errno(session->lock, "Failed to lock the redirects: %m");
                if (time_now(CLOCK_MONOTONIC) >= deadline) {
                        log_error("Somebody holds the lock of the redirects and does not let go.");
                        return -ETIMEDOUT;
                }
                (void) poll(NULL, 0, LOCK_RETRY_MSEC);
        }
}

/* Returns what redirect_new() says; what that means is the verb's to tell. */
static int session_open(Session *session) {
        int r;

        r = session_lock(session);
        if (r >= 0)
                r = mark_list_load(&session->marks, arg_root);
        return r < 0 ? r : redirect_new(&session->redirect);
}

static int load_config(Config **ret) {
        ProblemList problems = {};
        int r;

        r = config_load(ret, arg_root, arg_config, &problems);
        if (r < 0 && problems.n_problems > 0) {
                _cleanup_free_ char *line = problem_to_string(&problems.problems[0]);

                log_debug("%s", strempty(line));
        }
        problem_list_done(&problems);
        return r;
}

static int find_service(const Config *config, const char *name, const Service **ret) {
        *ret = config_find(config, name);
        if (!*ret) {
                log_error("There is no service '%s' in %s, or it has errors: see wakectl check.", name,
                          config->path);
                return -ENOENT;
        }
        if (!service_is_redirected(*ret)) {
                log_error("Nothing is to be redirected for '%s': it has %s in %s. After changing that: "
                          "systemctl daemon-reload.",
                          name, (*ret)->listen ? "'listen'" : "no 'port'", config->path);
                return -EINVAL;
        }
        return 0;
}

static int redirect_failed(const Session *session, const Service *service, int error) {
        const char *detail = session->redirect ? redirect_error(session->redirect) : "";
        _cleanup_free_ char *sentence = NULL;

        if (isempty(detail))
                detail = strerror(-error);
        if (asprintf(&sentence,
                     "nftables cannot be used (%s), so connections to port %u cannot be redirected while '%s' "
                     "sleeps: give the service a 'listen' address in dependencies.json, which needs no firewall.",
                     detail, service->port, service->name) < 0) {
                sentence = NULL;
                return log_oom();
        }

        if (log_to_journal())
                (void) sd_journal_send("MESSAGE=%s", sentence, "PRIORITY=%i", LOG_ERR,
                                       "MESSAGE_ID=" WAKECHAIN_MESSAGE_REDIRECT_FAILED, "WAKECHAIN_SERVICE=%s",
                                       service->name, "ERRNO=%i", -error, NULL);
        else
                log_error("%s", sentence);
        return error;
}

static int put(Redirect *redirect, const Service *service, ServiceState state) {
        RedirectBindings bindings;
        int r;

        r = redirect_bindings_load(&bindings, arg_root, service->name);
        if (r < 0)
                return r;
        r = state == SERVICE_AWAKE ? redirect_lift(redirect, service, &bindings)
                                   : redirect_up(redirect, service, &bindings);
        redirect_bindings_done(&bindings);
        return r;
}

static int verb_up(const char *name) {
        _cleanup_session_ Session session = { .lock = -EBADF };
        _cleanup_(config_freep) Config *config = NULL;
        const Service *service;
        int r;

        r = load_config(&config);
        if (r < 0)
                return log_error_errno(r, "Failed to load dependencies.json, see wakectl check: %m");
        r = find_service(config, name, &service);
        if (r < 0)
                return r;

        r = session_open(&session);
        if (session.lock < 0)
                return r;
        if (r >= 0)
                r = put(session.redirect, service, mark_read_state(arg_root, name));
        if (r < 0)
                return redirect_failed(&session, service, r);

        r = mark_write(arg_root, service);
        if (r < 0)
                return log_error_errno(r, "Failed to note that the socket of '%s' is up: %m", name);
        return 0;
}

/* By name alone, because the configuration may have lost the service. */
static int verb_down(const char *name) {
        _cleanup_session_ Session session = { .lock = -EBADF };
        int r;

        if (!service_name_is_valid(name)) {
                log_error("'%s' is no name of a service.", name);
                return -EINVAL;
        }

        r = session_open(&session);
        if (session.lock < 0)
                return r;
        (void) mark_remove(arg_root, name);
        /* Where there is no nftables there is no table either. */
        if (r == -EOPNOTSUPP)
                return 0;
        if (r >= 0)
                r = redirect_down(session.redirect, name);
        if (r < 0)
                return log_error_errno(r, "Failed to remove the redirect of '%s': %s", name,
                                       session.redirect ? redirect_error(session.redirect) : strerror(-r));
        return 0;
}

static RedirectEntry *entries_free(RedirectEntry *entries, size_t n) {
        for (size_t i = 0; i < n; i++)
                redirect_bindings_done(&entries[i].bindings);
        return mfree(entries);
}

/* One for each mark, in its order. */
static int entries_new(RedirectEntry **ret, const MarkList *marks) {
        RedirectEntry *entries = new0(RedirectEntry, marks->n + 1);

        if (!entries)
                return -ENOMEM;
        for (size_t i = 0; i < marks->n; i++) {
                int r = redirect_bindings_load(&entries[i].bindings, arg_root, marks->marks[i].service.name);

                if (r < 0) {
                        entries_free(entries, i);
                        return r;
                }
                entries[i].service = &marks->marks[i].service;
                entries[i].up = marks->marks[i].state != SERVICE_AWAKE;
        }
        *ret = entries;
        return 0;
}

static int rebuild(Session *session) {
        RedirectEntry *entries;
        int r;

        r = entries_new(&entries, &session->marks);
        if (r < 0)
                return r;
        r = redirect_rebuild(session->redirect, entries, session->marks.n);
        entries_free(entries, session->marks.n);
        return r;
}

static int firewall_problems(Redirect *redirect, char ***ret) {
        _cleanup_free_ char *ruleset = NULL;
        int r;

        r = redirect_list_ruleset(redirect, &ruleset);
        return r < 0 ? r : firewall_find_drops(ret, ruleset);
}

static void warn_of_firewall(Redirect *redirect) {
        _cleanup_(strv_freep) char **problems = NULL;
        int r;

        r = firewall_problems(redirect, &problems);
        if (r < 0)
                log_debug_errno(r, "Failed to look at the firewall, ignoring: %m");
        for (char **problem = problems; problem && *problem; problem++)
                log_warning("%s", *problem);
}

static int verb_setup(const char *name) {
        _cleanup_session_ Session session = { .lock = -EBADF };
        _cleanup_(config_freep) Config *config = NULL;
        int r;

        /* Not under the lock, as it takes its time. The table needs no configuration: marks tell what listens. */
        r = load_config(&config);
        if (r >= 0)
                r = refresh_bindings(config, arg_root, ENGINE_TIMEOUT);
        if (r < 0)
                log_warning_errno(
                                r,
                                "Failed to ask where the stacks' ports are published, going by what is known: %m");

        r = session_open(&session);
        if (session.lock < 0)
                return r;
        if (r == -EOPNOTSUPP && session.marks.n == 0)
                return 0;
        if (r >= 0)
                r = rebuild(&session);
        if (r < 0)
                return log_error_errno(r, "Failed to set up the redirects of %zu stacks: %s", session.marks.n,
                                       session.redirect ? redirect_error(session.redirect) : strerror(-r));
        if (session.marks.n > 0)
                warn_of_firewall(session.redirect);
        return 0;
}

/* Lost is what must be there in any case. Of a stack that wakes or goes to sleep the waker alone knows what is
 * right at the moment. */
static bool mark_is_lost(const Mark *mark, const RedirectState *state) {
        bool sleeps = mark->state == SERVICE_ASLEEP || mark->state == SERVICE_FAILED;

        return !state->registered || (sleeps && !state->up);
}

static int repair_lost(Session *session, const RedirectState *states) {
        int r = 0;

        for (size_t i = 0; i < session->marks.n && r >= 0; i++) {
                const Mark *mark = &session->marks.marks[i];

                if (!mark_is_lost(mark, &states[i]))
                        continue;
                r = put(session->redirect, &mark->service, mark->state);
                if (r >= 0)
                        log_warning("The redirect of port %u to '%s' was lost, and is back.", mark->service.port,
                                    mark->service.name);
        }
        return r;
}

static int look_and_repair(Session *session) {
        _cleanup_free_ RedirectState *states = new0(RedirectState, session->marks.n + 1);
        RedirectEntry *entries;
        int r;

        if (!states)
                return -ENOMEM;
        r = entries_new(&entries, &session->marks);
        if (r < 0)
                return r;
        r = redirect_look_all(session->redirect, entries, session->marks.n, states);
        entries_free(entries, session->marks.n);
        if (r < 0)
                return r;
        if (states[0].present)
                return repair_lost(session, states);

        r = rebuild(session);
        if (r >= 0)
                log_warning("The firewall was flushed, and the redirects of %zu stacks with it. They are back. "
                            "Restart the firewall's unit instead: the redirects follow that at once.",
                            session->marks.n);
        return r;
}

static int verb_repair(const char *name) {
        _cleanup_session_ Session session = { .lock = -EBADF };
        int r;

        r = session_open(&session);
        if (session.lock < 0)
                return r;
        if (session.marks.n == 0)
                return 0;
        if (r >= 0)
                r = look_and_repair(&session);
        if (r < 0)
                return log_error_errno(r, "Failed to look after the redirects: %s",
                                       session.redirect ? redirect_error(session.redirect) : strerror(-r));
        return 0;
}

static int verb_clear(const char *name) {
        _cleanup_session_ Session session = { .lock = -EBADF };
        int r;

        r = session_open(&session);
        if (session.lock < 0)
                return r;
        if (r == -EOPNOTSUPP)
                return 0;
        if (r >= 0)
                r = redirect_clear(session.redirect);
        if (r < 0)
                return log_error_errno(r, "Failed to remove the table: %s",
                                       session.redirect ? redirect_error(session.redirect) : strerror(-r));
        return 0;
}

/* Returns whether it is as it should be. */
static bool print_state(const Mark *mark, const RedirectState *state) {
        const char *word = "lifted", *remark = "";
        bool good = true;

        if (!state->present || !state->registered)
                word = "missing";
        else if (state->up)
                word = "up";
        else if (state->partly)
                word = "partly";

        if (mark_is_lost(mark, state) || !state->present || state->partly) {
                good = false;
                remark = "  run: systemctl restart wakechain-redirect.service";
        } else if (mark->state == SERVICE_AWAKE && state->up) {
                good = false;
                remark = "  it is awake, and yet clients are sent to the front";
        }
        printf("%-24s %5u -> %5u  %-8s %s%s\n", mark->service.name, mark->service.port,
               mark->service.redirect_port, word, service_state_to_string(mark->state), remark);
        return good;
}

static void print_without_socket(const MarkList *marks) {
        _cleanup_(config_freep) Config *config = NULL;

        if (load_config(&config) < 0)
                return;
        for (size_t i = 0; i < config->n_services; i++) {
                const Service *service = &config->services[i];

                if (service_is_redirected(service) && !mark_list_find(marks, service->name))
                        printf("%-24s %5u -> %5u  %-8s wake@%s.socket is not up\n", service->name, service->port,
                               service->redirect_port, "none", service->name);
        }
}

static int print_table(Session *session) {
        _cleanup_free_ RedirectState *states = new0(RedirectState, session->marks.n + 1);
        RedirectEntry *entries;
        int r, bad = 0;

        if (!states)
                return -ENOMEM;
        r = entries_new(&entries, &session->marks);
        if (r < 0)
                return r;
        r = redirect_look_all(session->redirect, entries, session->marks.n, states);
        entries_free(entries, session->marks.n);
        for (size_t i = 0; i < session->marks.n && r >= 0; i++)
                bad += !print_state(&session->marks.marks[i], &states[i]);
        return r < 0 ? r : bad;
}

static int verb_check(const char *name) {
        _cleanup_session_ Session session = { .lock = -EBADF };
        _cleanup_(strv_freep) char **problems = NULL;
        int r, bad = 0;

        r = session_open(&session);
        if (session.lock < 0)
                return r;
        if (r >= 0)
                r = bad = print_table(&session);
        if (r >= 0)
                r = firewall_problems(session.redirect, &problems);
        if (r < 0)
                return log_error_errno(r, "Failed to look at the redirects: %s",
                                       session.redirect ? redirect_error(session.redirect) : strerror(-r));

        print_without_socket(&session.marks);
        for (char **problem = problems; problem && *problem; problem++)
                printf("%s\n", *problem);
        return bad > 0 || problems ? -EREMOTEIO : 0;
}

static const struct Verb {
        const char *name;
        bool takes_name;
        int (*run)(const char *name);
        const char *help;
} verbs[] = {
        { "up", true, verb_up, "redirect a service that sleeps, or get ready to (its socket is up)" },
        { "down", true, verb_down, "no longer redirect it (its socket is gone)" },
        { "setup", false, verb_setup, "make all redirects anew, with the addresses that the engine tells" },
        { "repair", false, verb_repair, "put back what was lost, if anything was" },
        { "clear", false, verb_clear, "remove all redirects" },
        { "check", false, verb_check,
          "show them, and what a firewall would do to them; exits with 1 if all is not well" },
};

static int help(void) {
        printf("wakechain-redirect [OPTION…] VERB [SERVICE]\n\n"
               "Sends new connections to stacks that sleep to where wakechain listens.\n\n");
        for (size_t i = 0; i < ELEMENTSOF(verbs); i++)
                printf("  %-7s%-8s %s\n", verbs[i].name, verbs[i].takes_name ? " SERVICE" : "", verbs[i].help);
        printf("\n      --config=FILE  instead of the first dependencies.json of the search path\n"
               "      --root=FOLDER  look for all files below it\n"
               "  -h, --help\n");
        return 0;
}

static int run(int argc, char *argv[]) {
        static const struct option options[] = {
                { "config", required_argument, NULL, 'c' },
                { "root", required_argument, NULL, 'r' },
                { "help", no_argument, NULL, 'h' },
                {},
        };

        for (int c; (c = getopt_long(argc, argv, "h", options, NULL)) >= 0;)
                switch (c) {
                case 'c':
                        arg_config = optarg;
                        break;
                case 'r':
                        arg_root = optarg;
                        break;
                case 'h':
                        return help();
                default:
                        return -EINVAL;
                }

        for (size_t i = 0; optind < argc && i < ELEMENTSOF(verbs); i++)
                if (streq(argv[optind], verbs[i].name) && argc - optind == 1 + verbs[i].takes_name)
                        return verbs[i].run(argv[optind + 1]);
        log_error("Which verb, and for which service? See wakechain-redirect --help.");
        return -EINVAL;
}

int main(int argc, char *argv[]) {
        log_open();
        return run(argc, argv) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
