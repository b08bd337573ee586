#include <getopt.h>
#include <stdio.h>

#include "io/firewall.h"
#include "io/socket-table.h"
#include "redirect/requests.h"
#include "redirect/session.h"
#include "util/log.h"
#include "util/strv.h"

/* wakechain-redirect: the redirects of sleeping stacks, for units. `up` and `down` are run by each service's
 * socket as it comes and goes, `setup` when the system or a firewall has started, `repair` by a timer.
 *
 * What is to be redirected follows from two things that are in /run: the mark of a socket that is up, and the
 * status that the waker writes. Both are read, and the table is changed, under the lock that wakers take, too. */

static const char *arg_root = "";
static const char *arg_config;

static int verb_up(const char *name) {
        _cleanup_session_ Session session = SESSION_NULL(arg_root, arg_config);

        return request_change(&session, name, REQUEST_UP);
}

static int verb_down(const char *name) {
        _cleanup_session_ Session session = SESSION_NULL(arg_root, arg_config);

        return request_change(&session, name, REQUEST_DOWN);
}

/* One for each mark. Those that had their port come before those that did without, so that they have it again. */
static int all_entries_new(const Session *session, const Mark ***ret_marks, RedirectEntry **ret) {
        _cleanup_free_ const Mark **marks = new0(const Mark *, session->marks.n + 1);
        size_t n = 0;
        int r;

        if (!marks)
                return -ENOMEM;
        for (int without = 0; without <= 1; without++)
                for (size_t i = 0; i < session->marks.n; i++)
                        if (isempty(session->marks.marks[i].rival) == !without)
                                marks[n++] = &session->marks.marks[i];
        r = session_entries_new(session, marks, n, ret);
        if (r >= 0)
                *ret_marks = TAKE_PTR(marks);
        return r;
}

static int rebuild(Session *session) {
        _cleanup_free_ const Mark **marks = NULL;
        RedirectEntry *entries;
        int r;

        r = all_entries_new(session, &marks, &entries);
        if (r < 0)
                return r;
        r = redirect_rebuild(session->redirect, entries, session->marks.n);
        for (size_t i = 0; i < session->marks.n && r >= 0; i++)
                session_note_rival(session, entries[i].service, marks[i]->rival, entries[i].rival);
        session_entries_free(entries, session->marks.n);
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

/* Needs no configuration: marks tell what listens. */
static int verb_setup(const char *name) {
        _cleanup_session_ Session session = SESSION_NULL(arg_root, arg_config);
        int r;

        r = session_open(&session);
        if (session.lock < 0)
                return r;
        if (r == -EOPNOTSUPP && session.marks.n == 0)
                return 0;
        if (r >= 0)
                r = rebuild(&session);
        if (r < 0)
                return log_error_errno(r, "Failed to set up the redirects of %zu stacks: %s", session.marks.n,
                                       session_error(&session, r));
        if (session.marks.n > 0)
                warn_of_firewall(session.redirect);
        return 0;
}

static bool state_is_sleeping(ServiceState state) {
        return state == SERVICE_ASLEEP || state == SERVICE_FAILED;
}

/* What must be there in any case. Of a stack that wakes or goes to sleep the waker alone knows what is right at the
 * moment. */
static bool mark_is_lost(const Mark *mark, const RedirectState *state) {
        if (!state->registered)
                return true;
        if (mark->state == SERVICE_AWAKE)
                return !state->listed;
        return state_is_sleeping(mark->state) && !state->up;
}

static int repair_lost(const Session *session, const RedirectState *states) {
        _cleanup_free_ const Mark **lost = new0(const Mark *, session->marks.n + 1);
        RedirectEntry *entries;
        size_t n = 0;
        int r;

        if (!lost)
                return -ENOMEM;
        for (size_t i = 0; i < session->marks.n; i++) {
                const Mark *mark = &session->marks.marks[i];

                if (mark_is_lost(mark, &states[i]))
                        lost[n++] = mark;
                else
                        session_note_rival(session, &mark->service, mark->rival, states[i].rival);
        }
        if (n == 0)
                return 0;

        r = session_entries_new(session, lost, n, &entries);
        if (r < 0)
                return r;
        r = redirect_apply(session->redirect, entries, n);
        for (size_t i = 0; i < n && r >= 0; i++) {
                session_note_rival(session, entries[i].service, lost[i]->rival, entries[i].rival);
                if (isempty(lost[i]->rival) && isempty(entries[i].rival))
                        log_warning("The redirect of port %u to '%s' was lost, and is back.",
                                    entries[i].service->port, entries[i].service->name);
        }
        session_entries_free(entries, n);
        return r;
}

/* What a socket left behind that is down, as soon as its stack sleeps: a waker counts connections there until then. */
static int repair_strays(const Session *session, char *const *strays) {
        int r = 0;

        for (char *const *stray = strays; stray && *stray && r >= 0; stray++) {
                if (!service_name_is_valid(*stray) || !state_is_sleeping(mark_read_state(session->root, *stray)))
                        continue;
                r = redirect_down(session->redirect, *stray);
                if (r >= 0)
                        log_notice("The redirect to '%s' is removed: wake@%s.socket is down.", *stray, *stray);
        }
        return MIN(r, 0);
}

/* A socket that ended without its ExecStopPost=, as when its unit is gone from a configuration that was loaded again, leaves a redirect to
 * a port where nobody listens, and what runs behind it cannot be reached. Without its mark that is a stray. */
static void forget_closed(Session *session) {
        ListeningPorts listening;
        size_t n = 0;
        int r;

        if (session->marks.n == 0)
                return;
        r = socket_table_read_listening(&listening);
        if (r < 0) {
                log_warning_errno(r, "Failed to look which sockets listen, taking all as listening: %m");
                return;
        }
        for (size_t i = 0; i < session->marks.n; i++) {
                Mark *mark = &session->marks.marks[i];

                if (!listening_ports_have(&listening, mark->service.redirect_port) &&
                    mark_remove(session->root, mark->service.name) >= 0)
                        mark_done(mark);
                else
                        session->marks.marks[n++] = *mark;
        }
        session->marks.n = n;
}

static int look(const Session *session, RedirectState **ret, char ***strays) {
        _cleanup_free_ const Mark **marks = NULL;
        RedirectEntry *entries;
        RedirectState *states;
        int r;

        states = new0(RedirectState, session->marks.n + 1);
        marks = new0(const Mark *, session->marks.n + 1);
        r = states && marks ? 0 : -ENOMEM;
        for (size_t i = 0; i < session->marks.n && r >= 0; i++)
                marks[i] = &session->marks.marks[i];
        if (r >= 0)
                r = session_entries_new(session, marks, session->marks.n, &entries);
        if (r >= 0) {
                r = redirect_look_all(session->redirect, entries, session->marks.n, states, strays);
                session_entries_free(entries, session->marks.n);
        }
        if (r < 0)
                free(states);
        else
                *ret = states;
        return r;
}

static int look_and_repair(Session *session) {
        _cleanup_free_ RedirectState *states = NULL;
        _cleanup_(strv_freep) char **strays = NULL;
        int r;

        r = look(session, &states, &strays);
        if (r < 0)
                return r;
        if (session->marks.n == 0 || states[0].present) {
                r = repair_strays(session, strays);
                return r < 0 ? r : repair_lost(session, states);
        }

        r = rebuild(session);
        if (r >= 0)
                log_warning("The firewall was flushed, and the redirects of %zu stacks with it. They are back. "
                            "Restart the firewall's unit instead: the redirects follow that at once.",
                            session->marks.n);
        return r;
}

static int verb_repair(const char *name) {
        _cleanup_session_ Session session = SESSION_NULL(arg_root, arg_config);
        int r;

        r = session_open(&session);
        if (session.lock < 0)
                return r;
        if (r == -EOPNOTSUPP && session.marks.n == 0)
                return 0;
        if (r >= 0) {
                forget_closed(&session);
                r = look_and_repair(&session);
        }
        if (r < 0)
                return log_error_errno(r, "Failed to look after the redirects: %s", session_error(&session, r));
        return 0;
}

static int verb_clear(const char *name) {
        _cleanup_session_ Session session = SESSION_NULL(arg_root, arg_config);
        int r;

        r = session_open(&session);
        if (session.lock < 0)
                return r;
        if (r == -EOPNOTSUPP)
                return 0;
        if (r >= 0)
                r = redirect_clear(session.redirect);
        if (r < 0)
                return log_error_errno(r, "Failed to remove the table: %s", session_error(&session, r));
        return 0;
}

/* Returns whether it is as it should be. */
static bool print_state(const Mark *mark, const RedirectState *state) {
        const char *word = "lifted", *remark = "", *rival = "";
        bool good = true;

        if (!state->present || !state->registered)
                word = "missing";
        else if (!isempty(state->rival))
                word = "shared";
        else if (state->up)
                word = "up";
        else if (state->partly)
                word = "partly";

        if (mark_is_lost(mark, state) || !state->present || state->partly) {
                good = false;
                remark = "  run: systemctl restart wakechain-redirect.service";
        } else if (!isempty(state->rival)) {
                good = false;
                remark = "  clients reach the service that had the port first: ";
                rival = state->rival;
        } else if (mark->state == SERVICE_AWAKE && state->up) {
                good = false;
                remark = "  it is awake, and yet clients are sent to the front";
        }
        printf("%-24s %5u -> %5u  %-8s %s%s%s\n", mark->service.name, mark->service.port,
               mark->service.redirect_port, word, service_state_to_string(mark->state), remark, rival);
        return good;
}

static void print_without_socket(const Session *session) {
        _cleanup_(config_freep) Config *config = NULL;

        if (session_load_config(session, &config) < 0)
                return;
        for (size_t i = 0; i < config->n_services; i++) {
                const Service *service = &config->services[i];

                if (service_is_redirected(service) && !mark_list_find(&session->marks, service->name))
                        printf("%-24s %5u -> %5u  %-8s wake@%s.socket is not up\n", service->name, service->port,
                               service->redirect_port, "none", service->name);
        }
}

static int print_table(const Session *session) {
        _cleanup_free_ RedirectState *states = NULL;
        int r, bad = 0;

        r = look(session, &states, /* strays= */ NULL);
        for (size_t i = 0; i < session->marks.n && r >= 0; i++)
                bad += !print_state(&session->marks.marks[i], &states[i]);
        return r < 0 ? r : bad;
}

static int verb_check(const char *name) {
        _cleanup_session_ Session session = SESSION_NULL(arg_root, arg_config);
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
                return log_error_errno(r, "Failed to look at the redirects: %s", session_error(&session, r));

        print_without_socket(&session);
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
        { "setup", false, verb_setup, "make all redirects anew" },
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
