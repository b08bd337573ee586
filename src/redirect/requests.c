#include <stdio.h>

#include "catalog/messages.h"
#include "redirect/requests.h"
#include "util/log.h"

/* Requests: who has the lock carries out all that the queue holds, in one transaction:
 *
 *   up        by the configuration's ports; then the mark says that the socket is up
 *   down      by the name alone, because the configuration may have lost the service
 *   heirs     services that had to do without the port of one that is now gone
 *
 * A transaction that fails is tried again with each of them by itself, so that each gets the answer that is its own. */

typedef struct Job {
        Request *request; /* NULL: an heir */
        const Service *service; /* borrowed, from the configuration or the mark */
        Service named; /* of a `down` */
        const Mark *mark; /* of an heir */
} Job;

typedef struct Batch {
        Session *session;
        RequestList requests;
        Config *config;
        Job *jobs;
        RedirectEntry *entries; /* one for each job */
        size_t n;
} Batch;

static void batch_done(Batch *batch) {
        request_list_done(&batch->requests);
        session_entries_free(batch->entries, batch->n);
        free(batch->jobs);
        config_free(batch->config);
}

static void request_fail(Request *request, int error, const char *format, ...) _printf_(3, 4);
static void request_fail(Request *request, int error, const char *format, ...) {
        va_list arguments;

        request->error = error;
        free(request->sentence);
        va_start(arguments, format);
        if (vasprintf(&request->sentence, format, arguments) < 0)
                request->sentence = NULL;
        va_end(arguments);
}

static const Service *find_service(const Batch *batch, Request *request, int config_error) {
        const Config *config = batch->config;
        const Service *service = config ? config_find(config, request->service) : NULL;

        if (!config)
                request_fail(request, config_error, "Failed to load dependencies.json, see wakectl check: %s",
                             strerror(-config_error));
        else if (!service)
                request_fail(request, -ENOENT,
                             "There is no service '%s' in %s, or it has errors: see wakectl check.",
                             request->service, config->path);
        else if (!service_is_redirected(service))
                request_fail(request, -EINVAL,
                             "Nothing is to be redirected for '%s': it has %s in %s. After changing that: "
                             "systemctl daemon-reload.",
                             request->service, service->listen ? "'listen'" : "no 'port'", config->path);
        else
                return service;
        return NULL;
}

/* Later than the requests were read: what they are about is in it. */
static int batch_load_config(Batch *batch) {
        for (size_t i = 0; i < batch->requests.n; i++)
                if (batch->requests.requests[i].kind == REQUEST_UP)
                        return session_load_config(batch->session, &batch->config);
        return 0;
}

static int batch_add(Batch *batch, const Job *job, RedirectAim aim) {
        RedirectEntry *entry = &batch->entries[batch->n];
        int r;

        batch->jobs[batch->n] = *job;
        *entry = (RedirectEntry){ .aim = aim };
        if (aim != REDIRECT_GONE) {
                r = redirect_bindings_load(&entry->bindings, batch->session->root, job->service->name);
                if (r < 0)
                        return r;
        }
        batch->n++;
        return 0;
}

/* Who is being asked for anyway is no heir. */
static bool mark_inherits(const Batch *batch, const Mark *mark) {
        const Request *rival = isempty(mark->rival) ? NULL : request_list_find(&batch->requests, mark->rival);

        return rival && rival->kind == REQUEST_DOWN && !request_list_find(&batch->requests, mark->service.name);
}

static int batch_plan(Batch *batch) {
        size_t n_max = batch->requests.n + batch->session->marks.n;
        int r, config_error;

        batch->jobs = new0(Job, n_max + 1);
        batch->entries = new0(RedirectEntry, n_max + 1);
        if (!batch->jobs || !batch->entries)
                return -ENOMEM;

        config_error = batch_load_config(batch);
        for (size_t i = 0; i < batch->requests.n; i++) {
                Request *request = &batch->requests.requests[i];
                Job job = { .request = request, .named.name = request->service };
                RedirectAim aim = REDIRECT_GONE;

                if (request->kind == REQUEST_UP) {
                        job.service = find_service(batch, request, config_error);
                        if (!job.service)
                                continue;
                        aim = redirect_aim_of(mark_read_state(batch->session->root, request->service));
                }
                r = batch_add(batch, &job, aim);
                if (r < 0)
                        return r;
        }
        for (size_t i = 0; i < batch->session->marks.n; i++) {
                const Mark *mark = &batch->session->marks.marks[i];

                if (!mark_inherits(batch, mark))
                        continue;
                r = batch_add(batch, &(Job){ .service = &mark->service, .mark = mark },
                              redirect_aim_of(mark->state));
                if (r < 0)
                        return r;
        }
        /* Now they have their places. */
        for (size_t i = 0; i < batch->n; i++)
                batch->entries[i].service = batch->jobs[i].service ?: &batch->jobs[i].named;
        return 0;
}

static void job_fail(const Batch *batch, const Job *job, int error) {
        const char *detail = session_error(batch->session, error);

        if (!job->request) {
                log_debug("Failed to give '%s' its port, the next check does: %s", job->service->name, detail);
                return;
        }
        job->request->by_nftables = true;
        if (job->request->kind == REQUEST_DOWN)
                request_fail(job->request, error, "Failed to remove the redirect of '%s': %s",
                             job->request->service, detail);
        else
                request_fail(job->request, error,
                             "nftables cannot be used (%s), so connections to port %u cannot be redirected while '%s' "
                             "sleeps: give the service a 'listen' address in dependencies.json, which needs no firewall.",
                             detail, job->service->port, job->service->name);
}

/* The table has it. */
static void job_finish(const Batch *batch, const Job *job, const RedirectEntry *entry) {
        Request *request = job->request;
        int r;

        if (!request)
                session_note_rival(batch->session, job->service, job->mark->rival, entry->rival);
        else if (request->kind == REQUEST_UP) {
                r = mark_write(batch->session->root, job->service, entry->rival);
                if (r < 0)
                        request_fail(request, r, "Failed to note that the socket of '%s' is up: %s",
                                     request->service, strerror(-r));
        }
}

/* Without nftables: that may be a lack of rights of this very process, and the others have to find out by themselves. */
static void batch_refuse(Batch *batch, const char *own, int error) {
        for (size_t i = 0; i < batch->n; i++) {
                const Job *job = &batch->jobs[i];

                if (!job->request || !streq(job->request->service, own))
                        continue;
                /* Where there is no nftables there is no table either. */
                if (job->request->kind != REQUEST_DOWN || error != -EOPNOTSUPP)
                        job_fail(batch, job, error);
        }
}

static void batch_apply(Batch *batch) {
        int r;

        r = redirect_apply(batch->session->redirect, batch->entries, batch->n);
        for (size_t i = 0; i < batch->n; i++) {
                int one = r < 0 && batch->n > 1 ? redirect_apply(batch->session->redirect, &batch->entries[i], 1)
                                                : r;

                if (one < 0)
                        job_fail(batch, &batch->jobs[i], one);
                else
                        job_finish(batch, &batch->jobs[i], &batch->entries[i]);
        }
}

/* The own one is answered by a return. */
static void batch_answer(const Batch *batch, const char *own, bool others) {
        for (size_t i = 0; i < batch->requests.n; i++) {
                const Request *request = &batch->requests.requests[i];
                int r = 0;

                if (streq(request->service, own))
                        r = queue_forget(batch->session->root, own);
                else if (others)
                        r = queue_answer(batch->session->root, request);
                if (r < 0)
                        log_debug_errno(r, "Failed to answer the request of '%s', it is carried out again: %m",
                                        request->service);
        }
}

/* All that is asked for, `own` among it. What became of that is in `ret`. */
static int carry_out(Session *session, const char *own, RequestKind kind, Request *ret) {
        _cleanup_(batch_done) Batch batch = { .session = session };
        Request *request;
        int r;

        r = queue_load(&batch.requests, session->root);
        /* A full file system keeps no request. */
        if (r >= 0 && !request_list_find(&batch.requests, own))
                r = request_list_add(&batch.requests, own, kind);
        if (r >= 0)
                r = mark_list_load(&session->marks, session->root);
        if (r >= 0)
                r = batch_plan(&batch);
        if (r < 0)
                return r;

        /* Whatever becomes of the table: the socket is gone. */
        for (size_t i = 0; i < batch.requests.n; i++)
                if (batch.requests.requests[i].kind == REQUEST_DOWN)
                        (void) mark_remove(session->root, batch.requests.requests[i].service);

        if (!session->redirect)
                r = redirect_new(&session->redirect);
        if (r == -ENOMEM)
                return r;
        if (r < 0)
                batch_refuse(&batch, own, r);
        else
                batch_apply(&batch);
        batch_answer(&batch, own, /* others= */ r >= 0);

        request = request_list_find(&batch.requests, own);
        *ret = *request;
        *request = (Request){};
        return 0;
}

static int request_tell(const Session *session, const char *service, const Request *request) {
        Mark mark = {};

        if (request->error < 0) {
                const char *sentence = isempty(request->sentence) ? strerror(-request->error) : request->sentence;

                if (request->by_nftables && request->kind == REQUEST_UP)
                        log_struct(LOG_ERR, "MESSAGE=%s", sentence,
                                   "MESSAGE_ID=" WAKECHAIN_MESSAGE_REDIRECT_FAILED, "WAKECHAIN_SERVICE=%s",
                                   service, "ERRNO=%i", -request->error);
                else
                        log_error("%s", sentence);
                return request->error;
        }
        if (request->kind == REQUEST_UP && mark_read(&mark, session->root, service) >= 0) {
                if (!isempty(mark.rival))
                        record_rival(&mark.service, mark.rival);
                mark_done(&mark);
        }
        return 0;
}

int request_change(Session *session, const char *service, RequestKind kind) {
        _cleanup_(request_done) Request answer = {};
        int r, queued;

        if (!service_name_is_valid(service)) {
                log_error("'%s' is no name of a service.", service);
                return -EINVAL;
        }

        queued = queue_put(session->root, service, kind);
        if (queued < 0)
                log_debug_errno(queued, "Failed to leave a request for '%s', going on without: %m", service);
        r = session_lock(session);
        if (r < 0)
                return r;

        r = queued < 0 ? 1 : queue_take_answer(session->root, service, &answer);
        if (r == 0 && answer.error == 0 && redirect_is_marked(session->root, service) != (kind == REQUEST_UP))
                r = 1;
        if (r != 0)
                r = carry_out(session, service, kind, &answer);
        if (r < 0)
                return log_error_errno(r, "Failed to change the redirect of '%s': %m", service);
        /* Nobody has to wait for what is said. */
        answer.kind = kind;
        session_done(session);
        return request_tell(session, service, &answer);
}
