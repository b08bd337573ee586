#include "redirect/session.h"

#include "catalog/messages.h"
#include "util/fd.h"
#include "util/log.h"

/* Below TimeoutSec= of a socket. */
#define LOCK_TIMEOUT (80 * USEC_PER_SEC)

void session_done(Session *session) {
        /* First, since redirect_free() waits for the kernel, and others wait for the lock. */
        session->lock = fd_close(session->lock);
        session->redirect = redirect_free(session->redirect);
        mark_list_done(&session->marks);
}

int session_lock(Session *session) {
        if (session->lock >= 0)
                return 0;
        session->lock = redirect_lock_wait(session->root, LOCK_TIMEOUT);
        if (session->lock == -ETIMEDOUT)
                log_error("Somebody holds the lock of the redirects and does not let go.");
        else if (session->lock < 0)
                log_error_errno(session->lock, "Failed to lock the redirects: %m");
        return MIN(session->lock, 0);
}

int session_open(Session *session) {
        int r;

        r = session_lock(session);
        if (r >= 0)
                r = mark_list_load(&session->marks, session->root);
        return r < 0 ? r : redirect_new(&session->redirect);
}

const char *session_error(const Session *session, int error) {
        const char *detail = session->redirect ? redirect_error(session->redirect) : "";

        return isempty(detail) ? strerror(-error) : detail;
}

int session_load_config(const Session *session, Config **ret) {
        ProblemList problems = {};
        int r;

        /* Whatever the generator has made sockets for. */
        r = session->config_path ? config_load(ret, session->root, session->config_path, &problems)
                                 : config_load_or_remembered(ret, session->root, &problems);
        if (r < 0 && problems.n_problems > 0) {
                _cleanup_free_ char *line = problem_to_string(&problems.problems[0]);

                log_debug("%s", strempty(line));
        }
        problem_list_done(&problems);
        return r;
}

RedirectAim redirect_aim_of(ServiceState state) {
        return state == SERVICE_AWAKE ? REDIRECT_LIFTED : REDIRECT_UP;
}

RedirectEntry *session_entries_free(RedirectEntry *entries, size_t n) {
        for (size_t i = 0; entries && i < n; i++)
                redirect_bindings_done(&entries[i].bindings);
        return mfree(entries);
}

int session_entries_new(const Session *session, const Mark *const *marks, size_t n, RedirectEntry **ret) {
        RedirectEntry *entries = new0(RedirectEntry, n + 1);

        if (!entries)
                return -ENOMEM;
        for (size_t i = 0; i < n; i++) {
                int r = redirect_bindings_load(&entries[i].bindings, session->root, marks[i]->service.name);

                if (r < 0) {
                        session_entries_free(entries, i);
                        return r;
                }
                entries[i].service = &marks[i]->service;
                entries[i].aim = redirect_aim_of(marks[i]->state);
        }
        *ret = entries;
        return 0;
}

void record_rival(const Service *service, const char *rival) {
        if (isempty(rival))
                log_struct(LOG_NOTICE,
                           "MESSAGE=No other service has port %u any more: its clients reach '%s' again.",
                           service->port, service->name, "WAKECHAIN_SERVICE=%s", service->name);
        else
                log_struct(LOG_WARNING,
                           "MESSAGE=Port %u of '%s' is published by '%s' on the same address, too, which had it first: "
                           "its clients reach '%s', and '%s' can only be woken by hand. Publish one of them on another "
                           "port, or give it a 'listen' address in dependencies.json.",
                           service->port, service->name, rival, rival, service->name,
                           "MESSAGE_ID=" WAKECHAIN_MESSAGE_PORT_SHARED, "WAKECHAIN_SERVICE=%s", service->name);
}

void session_note_rival(const Session *session, const Service *service, const char *before, const char *rival) {
        int r;

        if (streq(before, rival))
                return;
        record_rival(service, rival);
        r = mark_write(session->root, service, rival);
        if (r < 0)
                log_debug_errno(r, "Failed to note who has the port of '%s', saying it again: %m", service->name);
}
