#include <stdio.h>
#include <sys/queue.h>
#include <sys/un.h>

#include "command/docker-stream.h"
#include "engine/engine-reply.h"
#include "engine/engine.h"
#include "engine/event-parser.h"
#include "engine/http-client.h"
#include "model/service.h"
#include "util/json-members.h"
#include "util/log.h"
#include "util/text.h"
#include "util/time.h"

/* Engine: whether it is there, calls, and the stream of its events.
 *
 * Whether it is there, and which version of the API it speaks, is
 *
 *   unknown   nobody has asked yet, or there is doubt; who needs it next asks at once
 *   asked     "/_ping" is under way, at most ten seconds
 *   known     the version is there
 *   away      it did not answer, or broke off; asked again after a pause, if anybody still needs it
 *
 * Whoever needs the engine while it is asked or away waits, and shares the outcome of the next ping: an outage costs one
 * connection a pause, however many calls are made meanwhile and however soon they are made again. The pauses grow until the
 * engine has answered anything but a ping: one that answers nothing else is not asked ever faster.
 *
 * A daemon that hangs, or that systemd listens for while it starts, accepts connections and answers later: there the ping is
 * what waits, and the calls with it, and all go on at the moment of the answer.
 *
 * The connections of an engine that was lost are not used again, though some may look alive: their other end can be a process
 * that is stopped, or was replaced. As they are found by the host of the URL, it carries the number of the engine we think to
 * talk to.
 *
 * A call is one request (or, for an exec, a few) with one deadline for all of it, the wait for the version included: a daemon
 * that hangs still accepts connections, so only a total limit ends the wait for it. The version is forgotten when the engine
 * breaks off, does not answer a call in time, or refuses it, because the next engine may be another one. What a call is made of,
 * and what becomes of its answer, is the table of operations.
 *
 * The stream is one endless response on a connection of its own. It is
 *
 *   waiting         for the version, which is asked for again and again
 *   connecting      the request has been sent; at most ten seconds
 *   established     the header has come; the engine subscribes at the same moment, so whoever inspects after
 *                   being told misses nothing
 *   paused          it has ended, or was refused; opened again after a pause of its own, which nothing that
 *                   calls do makes shorter
 *
 * What has come is kept and parsed one event per turn of the loop, because the handler may do anything, also end the watch; but
 * all of it before anything more is read, so that what is kept does not grow.
 *
 * A stream that says nothing is not doubted. It is a Unix socket: an engine that ends closes it, however it ends, and one that
 * is stopped for a while sends afterwards what happened. */

/* Bodies that are parsed. Seen: an inspect has 6 KiB, a list of containers 1 KiB for each. */
#define ANSWER_MAX ((size_t) 1024 * 1024)
#define LIST_MAX ((size_t) 16 * 1024 * 1024)
#define TIMER_ACCURACY_USEC (10 * USEC_PER_MSEC)

#define PING_TIMEOUT_USEC (10 * USEC_PER_SEC)
#define PAUSE_FIRST_USEC (100 * USEC_PER_MSEC)
#define PAUSE_MAX_USEC (2 * USEC_PER_SEC) /* somebody waits for it to come back */
#define AWAY_TOLD_USEC (2 * USEC_PER_SEC) /* a restart is over before */

#define EXEC_PAUSE_FIRST_USEC (10 * USEC_PER_MSEC)
#define EXEC_PAUSE_MAX_USEC (500 * USEC_PER_MSEC)

#define STREAM_CONNECT_TIMEOUT_USEC (10 * USEC_PER_SEC)
#define STREAM_PAUSE_MAX_USEC (5 * USEC_PER_SEC)
#define STREAM_STABLE_USEC (5 * USEC_PER_SEC) /* whoever lasted so long is opened again quickly */
#define STREAM_DELIVER_PRIORITY (SD_EVENT_PRIORITY_NORMAL - 10)

typedef struct EngineWatch EngineWatch;
typedef TAILQ_HEAD(EngineCallQueue, EngineCall) EngineCallQueue;

struct Engine {
        sd_event *event;
        HttpClient *http;
        char *socket_path;
        unsigned version; /* the minor of 1.x; 0: not known yet */
        unsigned generation; /* counts the engines that were lost, or doubted */
        HttpRequest *ping;
        sd_event_source *pause; /* until the next ping */
        uint64_t pause_usec;
        uint64_t away_usec; /* the first question without an answer; 0: it answers */
        bool told_away; /* the journal knows that it does not answer */
        EngineCallQueue waiting; /* for the version */
        size_t n_calls;
        EngineWatch *watch;
};

typedef struct Operation Operation;

struct EngineCall {
        Engine *engine;
        const Operation *operation;
        unsigned version; /* all requests of a call are made with the same */
        unsigned generation; /* of the engine that the request went to */
        char *path; /* of the first request, below the version */
        char *body;
        uint64_t timeout_usec;
        sd_event_source *deadline;
        HttpRequest *request;

        bool is_waiting;
        TAILQ_ENTRY(EngineCall) waiting;

        sd_event_source *later; /* ends the call from the loop, with these: */
        EngineOutcome later_outcome;
        char *later_message;

        DockerStream *output; /* exec and logs */
        char *exec_id;
        sd_event_source *pause; /* exec: before it is looked at again */
        uint64_t pause_usec;

        EngineHandler handler;
        void *userdata;
};

typedef enum WatchState {
        WATCH_WAITING,
        WATCH_CONNECTING,
        WATCH_ESTABLISHED,
        WATCH_PAUSED,
} WatchState;

struct EngineWatch {
        Engine *engine;
        WatchState state;
        unsigned generation; /* of the engine that it is from */
        HttpRequest *request;
        uint64_t established_usec; /* CLOCK_MONOTONIC */
        bool ended; /* what has come before is still to be handed on */
        EventParser *parser;
        sd_event_source *deliver;
        sd_event_source *timer; /* the pause, or the limit for connecting */
        uint64_t pause_usec;
        EngineEventHandler handler;
        void *userdata;
};

static void engine_call_begin(EngineCall *call);
static int engine_call_finish_later(EngineCall *call, EngineOutcome outcome, const char *message);
static EngineWatch *engine_watch_free(EngineWatch *watch);
static void engine_watch_go_on(EngineWatch *watch);

int engine_new(Engine **ret, sd_event *event, const char *socket_path) {
        _cleanup_(engine_freep) Engine *engine = NULL;
        int r;

        assert(ret);
        assert(event);
        assert(socket_path);

        if (strlen(socket_path) >= sizeof(((struct sockaddr_un *) NULL)->sun_path))
                return -ENAMETOOLONG;

        engine = new0(Engine, 1);
        if (!engine)
                return -ENOMEM;
        TAILQ_INIT(&engine->waiting);
        engine->event = sd_event_ref(event);
        engine->socket_path = strdup(socket_path);
        if (!engine->socket_path)
                return -ENOMEM;
        r = http_client_new(&engine->http, event, socket_path);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(engine);
        return 0;
}

bool engine_is_silent(const Engine *engine) {
        return engine->version == 0 && (engine->ping || engine->pause || !TAILQ_EMPTY(&engine->waiting));
}

Engine *engine_free(Engine *engine) {
        if (!engine)
                return NULL;
        assert(engine->n_calls == 0);

        engine_watch_free(engine->watch);
        http_request_free(engine->ping);
        (void) sd_event_source_disable_unref(engine->pause);
        http_client_free(engine->http);
        (void) sd_event_unref(engine->event);
        free(engine->socket_path);
        return mfree(engine);
}

/* Is it there? */

/* Grows what it points to, from 100 ms to `max_usec`, and returns it less up to a quarter. */
static uint64_t engine_next_pause(uint64_t *pause_usec, uint64_t max_usec) {
        *pause_usec = MIN(MAX(2 * *pause_usec, PAUSE_FIRST_USEC), max_usec);
        /* Twenty wakers that lost the engine together shall not come back together. */
        return usec_between(*pause_usec - *pause_usec / 4, *pause_usec);
}

static int engine_ping(Engine *engine);
static void engine_pause_asking(Engine *engine);

/* For the calls that wait. No handler runs in here: they are ended from the event loop. */
static void engine_calls_refuse(Engine *engine, EngineOutcome outcome, const char *message) {
        while (!TAILQ_EMPTY(&engine->waiting)) {
                int r = engine_call_finish_later(TAILQ_FIRST(&engine->waiting), outcome, message);
                if (r < 0)
                        log_debug_errno(r, "Failed to end a call, leaving it to its deadline: %m");
        }
}

static int engine_on_pause(sd_event_source *source, uint64_t usec, void *userdata) {
        Engine *engine = ASSERT_PTR(userdata);
        int r;

        engine->pause = sd_event_source_disable_unref(engine->pause);
        if (TAILQ_EMPTY(&engine->waiting) && !(engine->watch && engine->watch->state == WATCH_WAITING))
                return 0;
        r = engine_ping(engine);
        if (r < 0) {
                engine_pause_asking(engine);
                engine_calls_refuse(engine, ENGINE_BROKEN, strerror(-r));
        }
        return 0;
}

static void engine_pause_asking(Engine *engine) {
        int r;

        if (engine->pause)
                return;
        r = sd_event_add_time_relative(engine->event, &engine->pause, CLOCK_MONOTONIC,
                                       engine_next_pause(&engine->pause_usec, PAUSE_MAX_USEC), TIMER_ACCURACY_USEC,
                                       engine_on_pause, engine);
        if (r < 0)
                log_debug_errno(r, "Failed to arrange for the engine to be asked again: %m");
}

/* Whoever waits for a wake and looks into the journal should find out why nothing happens. */
static void engine_tell(Engine *engine, const char *why) {
        if (engine->told_away || usec_sub(time_now(CLOCK_MONOTONIC), engine->away_usec) < AWAY_TOLD_USEC)
                return;
        log_warning("The container engine does not answer: %s. It is asked again and again.", why);
        engine->told_away = true;
}

static void engine_tell_back(Engine *engine) {
        if (engine->told_away)
                log_notice("The container engine answers again.");
        engine->told_away = false;
        engine->away_usec = 0;
}

static void engine_on_ping(HttpRequest *request, const HttpResponse *response, void *userdata) {
        Engine *engine = ASSERT_PTR(userdata);
        _cleanup_free_ char *message = NULL;
        EngineOutcome outcome;

        outcome = engine_reply_classify(ENGINE_PING, response, &message);
        if (outcome == ENGINE_OK) {
                engine->version = engine_reply_version(http_request_header(request, "Api-Version"));
                log_debug("The container engine speaks version 1.%u of the API.", engine->version);
                engine_tell_back(engine);
        } else
                engine_tell(engine, message ? message : "no reason was given");
        engine->ping = http_request_free(engine->ping);

        /* No handler runs below: what fails is ended from the event loop. */
        if (outcome != ENGINE_OK) {
                engine_pause_asking(engine);
                engine_calls_refuse(engine, outcome, message);
                return;
        }
        /* Listening comes before looking: what happens in between would be seen by neither. */
        engine_watch_go_on(engine->watch);
        while (!TAILQ_EMPTY(&engine->waiting))
                engine_call_begin(TAILQ_FIRST(&engine->waiting));
}

static int engine_ping(Engine *engine) {
        char url[64];
        HttpParameters parameters = {
                .method = "GET",
                .url = url,
                .timeout_usec = PING_TIMEOUT_USEC,
                .limit = ANSWER_MAX,
        };

        if (engine->away_usec == 0)
                engine->away_usec = time_now(CLOCK_MONOTONIC);
        (void) snprintf(url, sizeof(url), "http://engine-%u/_ping", engine->generation);
        return http_request_new(&engine->ping, engine->http, &parameters, NULL, engine_on_ping, engine);
}

/* Begins to find out the version, unless that is under way already, or has to wait. */
static int engine_negotiate(Engine *engine) {
        return engine->ping || engine->pause ? 0 : engine_ping(engine);
}

/* It has answered something that is more than a ping. */
static void engine_answered(Engine *engine) {
        engine->pause_usec = 0;
}

/* The engine of this generation may have been replaced: the version is asked for anew. */
static void engine_doubt(Engine *engine, unsigned generation) {
        if (generation != engine->generation)
                return;
        engine->generation++;
        engine->version = 0;
}

void engine_doubt_now(Engine *engine) {
        engine_doubt(engine, engine->generation);
}

/* The same, and it is known to be away: after a pause. */
static void engine_lost(Engine *engine, unsigned generation) {
        if (generation != engine->generation)
                return;
        engine_doubt(engine, generation);
        engine_pause_asking(engine);
}

/* Calls */

struct Operation {
        EngineOperation name;
        const char *method; /* of the first request */
        size_t answer_max; /* 0: ANSWER_MAX */
        bool has_output;
        bool streams; /* …which the first request is answered with */
        HttpEndHandler on_end; /* NULL: success is all that is to be known, or: */
        int (*parse)(EngineReply *reply, const char *body, size_t size);
        const char *broken; /* if it cannot be parsed */
};

static void engine_unwait(EngineCall *call) {
        if (call->is_waiting)
                TAILQ_REMOVE(&call->engine->waiting, call, waiting);
        call->is_waiting = false;
}

EngineCall *engine_call_free(EngineCall *call) {
        if (!call)
                return NULL;

        engine_unwait(call);
        call->engine->n_calls--;
        http_request_free(call->request);
        (void) sd_event_source_disable_unref(call->deadline);
        (void) sd_event_source_disable_unref(call->later);
        (void) sd_event_source_disable_unref(call->pause);
        free(call->path);
        free(call->body);
        free(call->later_message);
        free(call->output);
        free(call->exec_id);
        return mfree(call);
}

/* Calls the handler: nothing may follow. What `reply` points to stays the caller's. */
static void engine_call_finish(EngineCall *call, EngineReply *reply) {
        engine_unwait(call);
        call->request = http_request_free(call->request);
        call->deadline = sd_event_source_disable_unref(call->deadline);
        call->later = sd_event_source_disable_unref(call->later);
        call->pause = sd_event_source_disable_unref(call->pause);
        call->handler(call, reply, call->userdata);
        /* The handler may have freed the call: nothing goes below this line. */
}

/* The same with no more than an outcome. `message` NULL: no memory for one. */
static void engine_call_finish_simply(EngineCall *call, EngineOutcome outcome, const char *message) {
        EngineReply reply = {
                .outcome = outcome,
                .message = message ?: engine_outcome_to_string(outcome),
                .output = "",
        };

        engine_call_finish(call, &reply);
}

/* Ends the call with what the engine answered, if it is no success (then returns true: nothing may follow). */
static bool engine_call_failed(EngineCall *call, const HttpResponse *response) {
        _cleanup_free_ char *message = NULL;
        EngineOutcome outcome;

        outcome = engine_reply_classify(call->operation->name, response, &message);
        if (response->error == 0)
                engine_answered(call->engine);
        if (outcome == ENGINE_OK)
                return false;

        if (outcome == ENGINE_UNREACHABLE)
                engine_lost(call->engine, call->generation);
        else if (engine_reply_is_wrong_version(response))
                engine_doubt(call->engine, call->generation);
        engine_call_finish_simply(call, outcome, message);
        return true;
}

static int engine_call_on_later(sd_event_source *source, void *userdata) {
        EngineCall *call = ASSERT_PTR(userdata);
        _cleanup_free_ char *message = TAKE_PTR(call->later_message);

        engine_call_finish_simply(call, call->later_outcome, message);
        return 0;
}

/* Ends a call from the loop, when the present function may not call its handler. */
static int engine_call_finish_later(EngineCall *call, EngineOutcome outcome, const char *message) {
        engine_unwait(call);
        call->later_outcome = outcome;
        call->later_message = message ? strdup(message) : NULL;
        return sd_event_add_defer(call->engine->event, &call->later, engine_call_on_later, call);
}

static void engine_call_on_data(HttpRequest *request, const char *data, size_t size, void *userdata) {
        EngineCall *call = ASSERT_PTR(userdata);
        unsigned status = http_request_status(request);

        /* An error's text comes without frames. */
        if (size == 0)
                call->output->raw = status < 200 || status > 299;
        else
                docker_stream_feed(call->output, data, size);
}

/* Sends one request of a call, instead of the one before. */
static int engine_call_request(EngineCall *call, const char *method, const char *path, const char *body,
                               bool stream, HttpEndHandler on_end) {
        _cleanup_free_ char *url = NULL;
        HttpParameters parameters = {
                .method = method,
                .body = body,
                .timeout_usec = USEC_INFINITY, /* the call has its deadline */
                .limit = call->operation->answer_max ?: ANSWER_MAX,
                .stream = stream,
        };

        if (call->version == 0)
                call->version = call->engine->version;
        call->generation = call->engine->generation;
        url = text_printf("http://engine-%u/v1.%u/%s", call->generation, call->version, path);
        if (!url)
                return -ENOMEM;
        parameters.url = url;

        call->request = http_request_free(call->request);
        return http_request_new(&call->request, call->engine->http, &parameters, engine_call_on_data, on_end,
                                call);
}

static void reply_done(EngineReply *reply) {
        container_info_free(reply->info);
        network_info_free(reply->network);
        strv_free(reply->exec_argv);
        listed_containers_free(reply->listed, reply->listed ? reply->n_listed : 0);
        strv_free(reply->names);
}

static void engine_call_on_answer(HttpRequest *request, const HttpResponse *response, void *userdata) {
        _cleanup_(reply_done) EngineReply reply = { .outcome = ENGINE_OK, .message = "", .output = "" };
        EngineCall *call = ASSERT_PTR(userdata);
        const Operation *operation = call->operation;

        if (engine_call_failed(call, response))
                return;
        if (operation->parse && operation->parse(&reply, response->body, response->size) < 0)
                engine_call_finish_simply(call, ENGINE_BROKEN, operation->broken);
        else
                engine_call_finish(call, &reply);
}

static int engine_call_ask(EngineCall *call) {
        const Operation *operation = call->operation;

        if (operation->has_output) {
                call->output = new0(DockerStream, 1);
                if (!call->output)
                        return -ENOMEM;
        }
        return engine_call_request(call, operation->method, call->path, call->body, operation->streams,
                                   operation->on_end ?: engine_call_on_answer);
}

/* One that has waited: nobody can be told at once that the question could not be asked. */
static void engine_call_begin(EngineCall *call) {
        int r;

        engine_unwait(call);
        r = engine_call_ask(call);
        if (r >= 0)
                return;

        log_debug_errno(r, "Failed to ask the container engine: %m");
        r = engine_call_finish_later(call, ENGINE_BROKEN, strerror(-r));
        if (r < 0)
                log_debug_errno(r, "Failed to end a call, leaving it to its deadline: %m");
}

/* Calls whose answer is a stream of output: logs, and exec in its three steps (create, start, inspect).
 * Without an Upgrade header the engine answers the start of an exec with the output until its end, and then
 * the exit code is there; a process that closes its output and goes on is looked at again until it has ended.
 * A process that is given up goes on in the container: there is no call to end it. */

/* A streamed body is not in the response. An error's text is what has been kept of it. */
static bool engine_stream_failed(EngineCall *call, const HttpResponse *response) {
        _cleanup_free_ char *text = docker_stream_text(call->output);
        HttpResponse whole = *response;

        whole.body = strempty(text);
        whole.size = strlen(whole.body);
        return engine_call_failed(call, &whole);
}

static void engine_call_finish_output(EngineCall *call, EngineOutcome outcome, const char *message,
                                      int exit_code) {
        _cleanup_free_ char *text = docker_stream_text(call->output);
        EngineReply reply = {
                .outcome = outcome,
                .message = message,
                .exit_code = exit_code,
                .output = strempty(text),
        };

        engine_call_finish(call, &reply);
}

static void engine_call_on_logs(HttpRequest *request, const HttpResponse *response, void *userdata) {
        EngineCall *call = ASSERT_PTR(userdata);

        if (!engine_stream_failed(call, response))
                engine_call_finish_output(call, ENGINE_OK, "", 0);
}

static int engine_exec_inspect(EngineCall *call);

static int engine_exec_on_pause(sd_event_source *source, uint64_t usec, void *userdata) {
        EngineCall *call = ASSERT_PTR(userdata);
        int r;

        r = engine_exec_inspect(call);
        if (r < 0)
                engine_call_finish_simply(call, ENGINE_BROKEN, strerror(-r));
        return 0;
}

static int engine_exec_pause(EngineCall *call) {
        call->pause_usec = MIN(MAX(2 * call->pause_usec, EXEC_PAUSE_FIRST_USEC), EXEC_PAUSE_MAX_USEC);
        call->pause = sd_event_source_disable_unref(call->pause);
        return sd_event_add_time_relative(call->engine->event, &call->pause, CLOCK_MONOTONIC, call->pause_usec,
                                          USEC_PER_MSEC, engine_exec_on_pause, call);
}

static void engine_exec_on_inspected(HttpRequest *request, const HttpResponse *response, void *userdata) {
        EngineCall *call = ASSERT_PTR(userdata);
        int r, exit_code;

        if (engine_call_failed(call, response))
                return;

        r = engine_reply_exit_code(response->body, response->size, &exit_code);
        if (r == -EAGAIN) {
                r = engine_exec_pause(call);
                if (r >= 0)
                        return;
        }
        if (r < 0)
                engine_call_finish_simply(call, ENGINE_BROKEN,
                                          "the container engine does not say how the command ended");
        else
                engine_call_finish_output(call, ENGINE_OK, "", exit_code);
}

static int engine_exec_inspect(EngineCall *call) {
        _cleanup_free_ char *path = text_printf("exec/%s/json", call->exec_id);

        if (!path)
                return -ENOMEM;
        return engine_call_request(call, "GET", path, NULL, false, engine_exec_on_inspected);
}

static void engine_exec_on_output_end(HttpRequest *request, const HttpResponse *response, void *userdata) {
        EngineCall *call = ASSERT_PTR(userdata);
        int r;

        if (engine_stream_failed(call, response))
                return;
        r = engine_exec_inspect(call);
        if (r < 0)
                engine_call_finish_simply(call, ENGINE_BROKEN, strerror(-r));
}

static void engine_exec_on_created(HttpRequest *request, const HttpResponse *response, void *userdata) {
        EngineCall *call = ASSERT_PTR(userdata);
        _cleanup_free_ char *path = NULL;
        int r;

        if (engine_call_failed(call, response))
                return;

        r = engine_reply_string(response->body, response->size, "Id", &call->exec_id);
        if (r >= 0 && !engine_name_is_valid(call->exec_id))
                r = -EBADMSG;
        if (r >= 0 && asprintf(&path, "exec/%s/start", call->exec_id) < 0) {
                path = NULL;
                r = -ENOMEM;
        }
        if (r >= 0)
                r = engine_call_request(call, "POST", path, "{\"Detach\":false,\"Tty\":false}", true,
                                        engine_exec_on_output_end);
        if (r < 0)
                engine_call_finish_simply(
                                call, ENGINE_BROKEN,
                                r == -EBADMSG ? "the container engine does not name the command that it was given"
                                              : strerror(-r));
}

static int engine_call_on_deadline(sd_event_source *source, uint64_t usec, void *userdata) {
        EngineCall *call = ASSERT_PTR(userdata);
        char message[128], span[SPAN_MAX];

        if (call->exec_id) {
                (void) snprintf(message, sizeof(message), "did not end within %s",
                                span_to_string(call->timeout_usec, span));
                engine_call_finish_output(call, ENGINE_TIMED_OUT, message, 0);
                return 0;
        }
        if (call->request && http_request_status(call->request) == 0)
                engine_doubt(call->engine, call->generation);

        (void) snprintf(message, sizeof(message), "no answer from the container engine within %s",
                        span_to_string(call->timeout_usec, span));
        engine_call_finish_simply(call, ENGINE_TIMED_OUT, message);
        return 0;
}

/* What can be asked for */

static int parse_container(EngineReply *reply, const char *body, size_t size) {
        reply->body = body;
        reply->body_size = size;
        return container_info_parse(&reply->info, body, size);
}

static int parse_network(EngineReply *reply, const char *body, size_t size) {
        return network_info_parse(&reply->network, body, size);
}

static int parse_list(EngineReply *reply, const char *body, size_t size) {
        return listed_containers_parse(&reply->listed, &reply->n_listed, body, size);
}

static int parse_names(EngineReply *reply, const char *body, size_t size) {
        return engine_reply_names(body, size, /* internal= */ false, &reply->names);
}

static int parse_internal(EngineReply *reply, const char *body, size_t size) {
        return engine_reply_names(body, size, /* internal= */ true, &reply->names);
}

static int parse_info(EngineReply *reply, const char *body, size_t size) {
        reply->body = body;
        reply->body_size = size;
        return 0;
}

static int parse_exec(EngineReply *reply, const char *body, size_t size) {
        return engine_reply_exec_argv(body, size, &reply->exec_argv);
}

static const Operation operations[_ENGINE_OPERATION_MAX] = {
        [ENGINE_INSPECT] = { ENGINE_INSPECT, "GET", .parse = parse_container,
                             .broken = "what the container engine says about the container cannot be understood" },
        [ENGINE_START] = { ENGINE_START, "POST" },
        [ENGINE_STOP] = { ENGINE_STOP, "POST" },
        [ENGINE_RESTART] = { ENGINE_RESTART, "POST" },
        [ENGINE_PAUSE] = { ENGINE_PAUSE, "POST" },
        [ENGINE_UNPAUSE] = { ENGINE_UNPAUSE, "POST" },
        [ENGINE_LOGS] = { ENGINE_LOGS, "GET", .has_output = true, .streams = true, .on_end = engine_call_on_logs },
        [ENGINE_EXEC] = { ENGINE_EXEC, "POST", .has_output = true, .on_end = engine_exec_on_created },
        [ENGINE_INSPECT_EXEC] = { ENGINE_INSPECT_EXEC, "GET", .parse = parse_exec,
                                  .broken = "what the container engine says about a command cannot be understood" },
        [ENGINE_INSPECT_NETWORK] = { ENGINE_INSPECT_NETWORK, "GET", .parse = parse_network,
                                     .broken = "what the container engine says about the network cannot be understood" },
        [ENGINE_CONNECT_NETWORK] = { ENGINE_CONNECT_NETWORK, "POST" },
        [ENGINE_DISCONNECT_NETWORK] = { ENGINE_DISCONNECT_NETWORK, "POST" },
        [ENGINE_LIST] = { ENGINE_LIST, "GET", LIST_MAX, .parse = parse_list,
                          .broken = "the container engine's list of containers cannot be understood" },
        [ENGINE_LIST_NAMES] = { ENGINE_LIST_NAMES, "GET", LIST_MAX, .parse = parse_names,
                                .broken = "the container engine's list cannot be understood" },
        [ENGINE_INFO] = { ENGINE_INFO, "GET", .parse = parse_info },
        [ENGINE_LIST_INTERNAL] = { ENGINE_LIST_INTERNAL, "GET", LIST_MAX, .parse = parse_internal,
                                   .broken = "the container engine's list cannot be understood" },
};

/* `name` NULL: the call is about none. Takes `path` and `body` in any case; NULL for a path means that there
 * was no memory for it. */
static int engine_call_new(EngineCall **ret, Engine *engine, EngineOperation operation, const char *name,
                           char *path, char *body, uint64_t timeout_usec, EngineHandler handler, void *userdata) {
        _cleanup_(engine_call_freep) EngineCall *call = NULL;
        int r;

        assert(ret);
        assert(engine);
        assert(handler);

        call = new0(EngineCall, 1);
        if (!call) {
                free(path);
                free(body);
                return -ENOMEM;
        }
        *call = (EngineCall){
                .engine = engine,
                .operation = &operations[operation],
                .path = path,
                .body = body,
                .timeout_usec = timeout_usec,
                .handler = handler,
                .userdata = userdata,
        };
        engine->n_calls++;
        if (!path)
                return -ENOMEM;

        if (timeout_usec != USEC_INFINITY) {
                r = sd_event_add_time_relative(engine->event, &call->deadline, CLOCK_MONOTONIC, timeout_usec,
                                               TIMER_ACCURACY_USEC, engine_call_on_deadline, call);
                if (r < 0)
                        return r;
        }

        /* Such a name cannot be asked for: it would be part of the path. Nothing has it, which is what the
         * engine would say. */
        if (name && !engine_name_is_valid(name))
                r = engine_call_finish_later(call, ENGINE_NO_CONTAINER,
                                             "No such container: the name is not valid");
        else if (engine->version > 0)
                r = engine_call_ask(call);
        else {
                TAILQ_INSERT_TAIL(&engine->waiting, call, waiting);
                call->is_waiting = true;
                r = engine_negotiate(engine);
        }
        if (r < 0)
                return r;

        *ret = TAKE_PTR(call);
        return 0;
}

int engine_inspect(EngineCall **ret, Engine *engine, const char *container, uint64_t timeout_usec,
                   EngineHandler handler, void *userdata) {
        return engine_call_new(ret, engine, ENGINE_INSPECT, container,
                               text_printf("containers/%s/json", container), NULL, timeout_usec, handler,
                               userdata);
}

int engine_start(EngineCall **ret, Engine *engine, const char *container, uint64_t timeout_usec,
                 EngineHandler handler, void *userdata) {
        return engine_call_new(ret, engine, ENGINE_START, container, text_printf("containers/%s/start", container),
                               NULL, timeout_usec, handler, userdata);
}

int engine_stop(EngineCall **ret, Engine *engine, const char *container, unsigned grace_sec, uint64_t timeout_usec,
                EngineHandler handler, void *userdata) {
        return engine_call_new(ret, engine, ENGINE_STOP, container,
                               text_printf("containers/%s/stop?t=%u", container, grace_sec), NULL, timeout_usec,
                               handler, userdata);
}

int engine_restart(EngineCall **ret, Engine *engine, const char *container, unsigned grace_sec,
                   uint64_t timeout_usec, EngineHandler handler, void *userdata) {
        return engine_call_new(ret, engine, ENGINE_RESTART, container,
                               text_printf("containers/%s/restart?t=%u", container, grace_sec), NULL, timeout_usec,
                               handler, userdata);
}

int engine_pause(EngineCall **ret, Engine *engine, const char *container, uint64_t timeout_usec,
                 EngineHandler handler, void *userdata) {
        return engine_call_new(ret, engine, ENGINE_PAUSE, container, text_printf("containers/%s/pause", container),
                               NULL, timeout_usec, handler, userdata);
}

int engine_unpause(EngineCall **ret, Engine *engine, const char *container, uint64_t timeout_usec,
                   EngineHandler handler, void *userdata) {
        return engine_call_new(ret, engine, ENGINE_UNPAUSE, container,
                               text_printf("containers/%s/unpause", container), NULL, timeout_usec, handler,
                               userdata);
}

int engine_logs(EngineCall **ret, Engine *engine, const char *container, unsigned lines, uint64_t timeout_usec,
                EngineHandler handler, void *userdata) {
        return engine_call_new(ret, engine, ENGINE_LOGS, container,
                               text_printf("containers/%s/logs?stdout=1&stderr=1&tail=%u", container, lines), NULL,
                               timeout_usec, handler, userdata);
}

static char *exec_body(char *const *argv, char *const *environment, const char *user) {
        _cleanup_(json_freep) json_object *object = json_object_new_object();
        bool fine = json_add(object, "AttachStdout", json_object_new_boolean(true)) &&
                    json_add(object, "AttachStderr", json_object_new_boolean(true)) &&
                    json_add(object, "Cmd", json_new_texts(argv)) &&
                    (strv_length(environment) == 0 || json_add(object, "Env", json_new_texts(environment))) &&
                    (!user || json_add_text(object, "User", user));

        return fine ? strdup(json_object_to_json_string_ext(object, JSON_C_TO_STRING_PLAIN)) : NULL;
}

int engine_exec(EngineCall **ret, Engine *engine, const char *container, char *const *argv,
                char *const *environment, const char *user, uint64_t timeout_usec, EngineHandler handler,
                void *userdata) {
        char *body = exec_body(argv, environment, user);

        assert(strv_length(argv) > 0);

        return engine_call_new(ret, engine, ENGINE_EXEC, container,
                               body ? text_printf("containers/%s/exec", container) : NULL, body, timeout_usec,
                               handler, userdata);
}

int engine_inspect_exec(EngineCall **ret, Engine *engine, const char *exec, uint64_t timeout_usec,
                        EngineHandler handler, void *userdata) {
        return engine_call_new(ret, engine, ENGINE_INSPECT_EXEC, exec, text_printf("exec/%s/json", exec), NULL,
                               timeout_usec, handler, userdata);
}

int engine_inspect_network(EngineCall **ret, Engine *engine, const char *network, uint64_t timeout_usec,
                           EngineHandler handler, void *userdata) {
        return engine_call_new(ret, engine, ENGINE_INSPECT_NETWORK, network, text_printf("networks/%s", network),
                               NULL, timeout_usec, handler, userdata);
}

/* `more` of the body. The name of the container has to be fit for that. */
static int engine_call_network(EngineCall **ret, Engine *engine, EngineOperation operation, const char *network,
                               const char *container, const char *more, uint64_t timeout_usec,
                               EngineHandler handler, void *userdata) {
        char *body = engine_name_is_valid(container) ? text_printf("{\"Container\":\"%s\"%s}", container, more)
                                                     : NULL;

        return engine_call_new(ret, engine, operation, body ? network : "",
                               text_printf("networks/%s/%s", network,
                                           operation == ENGINE_CONNECT_NETWORK ? "connect" : "disconnect"),
                               body, timeout_usec, handler, userdata);
}

int engine_connect_network(EngineCall **ret, Engine *engine, const char *network, const char *container,
                           uint64_t timeout_usec, EngineHandler handler, void *userdata) {
        return engine_call_network(ret, engine, ENGINE_CONNECT_NETWORK, network, container, "", timeout_usec,
                                   handler, userdata);
}

int engine_disconnect_network(EngineCall **ret, Engine *engine, const char *network, const char *container,
                              uint64_t timeout_usec, EngineHandler handler, void *userdata) {
        return engine_call_network(ret, engine, ENGINE_DISCONNECT_NETWORK, network, container, ",\"Force\":true",
                                   timeout_usec, handler, userdata);
}

int engine_list(EngineCall **ret, Engine *engine, uint64_t timeout_usec, EngineHandler handler, void *userdata) {
        return engine_call_new(ret, engine, ENGINE_LIST, NULL, text_printf("containers/json?all=1"), NULL,
                               timeout_usec, handler, userdata);
}

int engine_list_names(EngineCall **ret, Engine *engine, EngineThing thing, uint64_t timeout_usec,
                      EngineHandler handler, void *userdata) {
        return engine_call_new(ret, engine,
                               thing == ENGINE_INTERNAL_NETWORKS ? ENGINE_LIST_INTERNAL : ENGINE_LIST_NAMES, NULL,
                               text_printf(thing == ENGINE_IMAGES ? "images/json" : "networks"), NULL,
                               timeout_usec, handler, userdata);
}

int engine_info(EngineCall **ret, Engine *engine, uint64_t timeout_usec, EngineHandler handler, void *userdata) {
        return engine_call_new(ret, engine, ENGINE_INFO, NULL, text_printf("info"), NULL, timeout_usec, handler,
                               userdata);
}

/* The stream of events */

/* {"type":["container"],"event":["start",…]}: what the parser knows, and so not the execs of everybody's health checks. */
#define QUOTED(text) "%22" text "%22"
#define COMMA "%2C"
static const char filters[] = "%7B" QUOTED("type") "%3A%5B" QUOTED("container") "%5D" COMMA QUOTED(
                "event") "%3A%5B" QUOTED("start") COMMA QUOTED("kill") COMMA QUOTED("die") COMMA QUOTED("died")
                COMMA QUOTED("stop") COMMA QUOTED("destroy") COMMA QUOTED("remove") COMMA QUOTED("pause")
                                COMMA QUOTED("unpause") COMMA QUOTED("health_status") "%5D%7D";

static EngineWatch *engine_watch_free(EngineWatch *watch) {
        if (!watch)
                return NULL;

        http_request_free(watch->request);
        (void) sd_event_source_disable_unref(watch->deliver);
        (void) sd_event_source_disable_unref(watch->timer);
        event_parser_free(watch->parser);
        return mfree(watch);
}

static int engine_watch_on_timer(sd_event_source *source, uint64_t usec, void *userdata);

static int engine_watch_set_timer(EngineWatch *watch, uint64_t usec) {
        watch->timer = sd_event_source_disable_unref(watch->timer);
        return sd_event_add_time_relative(watch->engine->event, &watch->timer, CLOCK_MONOTONIC, usec,
                                          TIMER_ACCURACY_USEC, engine_watch_on_timer, watch);
}

/* The stream has ended, or is not to be had. */
static void engine_watch_lose(EngineWatch *watch, const char *reason) {
        bool established = watch->state == WATCH_ESTABLISHED;
        int r;

        log_debug("The engine's event stream has ended: %s", reason);
        watch->request = http_request_free(watch->request);
        watch->parser = event_parser_free(watch->parser);
        watch->ended = false;
        watch->state = WATCH_PAUSED;
        /* One that answers and ends at once is not asked ever faster. */
        if (established && time_now(CLOCK_MONOTONIC) - watch->established_usec > STREAM_STABLE_USEC)
                watch->pause_usec = 0;
        (void) sd_event_source_set_enabled(watch->deliver, SD_EVENT_OFF);
        r = engine_watch_set_timer(watch, engine_next_pause(&watch->pause_usec, STREAM_PAUSE_MAX_USEC));
        if (r < 0)
                log_debug_errno(r, "Failed to arrange for the engine's event stream to be opened again: %m");

        if (established)
                watch->handler(watch->engine, NULL, true, watch->userdata);
        /* The handler may have ended the watch: nothing goes below this line. */
}

/* Hands on one event. */
static int engine_watch_on_deliver(sd_event_source *source, void *userdata) {
        EngineWatch *watch = ASSERT_PTR(userdata);

        _cleanup_(container_event_done) ContainerEvent event = {};
        int r;

        r = event_parser_next(watch->parser, &event);
        if (r < 0 || (r == 0 && watch->ended)) {
                if (r == 0)
                        engine_lost(watch->engine, watch->generation);
                engine_watch_lose(watch, r < 0 ? strerror(-r) : "closed");
                return 0;
        }
        if (r == 0) {
                (void) sd_event_source_set_enabled(source, SD_EVENT_OFF);
                return 0;
        }

        watch->handler(watch->engine, &event, false, watch->userdata);
        return 0;
}

static void engine_watch_on_data(HttpRequest *request, const char *data, size_t size, void *userdata) {
        EngineWatch *watch = ASSERT_PTR(userdata);
        int r;

        if (http_request_status(request) != 200)
                return;

        if (size == 0) {
                engine_answered(watch->engine);
                watch->state = WATCH_ESTABLISHED;
                watch->established_usec = time_now(CLOCK_MONOTONIC);
                watch->timer = sd_event_source_disable_unref(watch->timer);
                watch->handler(watch->engine, NULL, false, watch->userdata);
                return;
        }

        r = event_parser_feed(watch->parser, data, size);
        if (r < 0)
                engine_watch_lose(watch, strerror(-r));
        else
                (void) sd_event_source_set_enabled(watch->deliver, SD_EVENT_ON);
}

static void engine_watch_on_end(HttpRequest *request, const HttpResponse *response, void *userdata) {
        EngineWatch *watch = ASSERT_PTR(userdata);

        if (watch->state != WATCH_ESTABLISHED) {
                /* An answer that is none of ours says nothing about the engine, but another version does. */
                if (response->error == 0 && response->status == 400)
                        engine_doubt(watch->engine, watch->generation);
                else if (response->error < 0)
                        engine_lost(watch->engine, watch->generation);
                engine_watch_lose(watch, response->error < 0 ? response->reason : "refused");
                return;
        }

        /* What has come before the end is handed on first. */
        watch->ended = true;
        watch->request = http_request_free(watch->request);
        (void) sd_event_source_set_enabled(watch->deliver, SD_EVENT_ON);
}

static int engine_watch_request(EngineWatch *watch) {
        _cleanup_free_ char *url = NULL;
        HttpParameters parameters = { .method = "GET", .timeout_usec = USEC_INFINITY, .stream = true };
        int r;

        watch->state = WATCH_CONNECTING;
        watch->generation = watch->engine->generation;
        r = engine_watch_set_timer(watch, STREAM_CONNECT_TIMEOUT_USEC);
        if (r < 0)
                return r;
        watch->parser = event_parser_free(watch->parser);
        r = event_parser_new(&watch->parser);
        if (r < 0)
                return r;
        url = text_printf("http://engine-%u/v1.%u/events?filters=%s", watch->generation, watch->engine->version,
                          filters);
        if (!url)
                return -ENOMEM;
        parameters.url = url;
        return http_request_new(&watch->request, watch->engine->http, &parameters, engine_watch_on_data,
                                engine_watch_on_end, watch);
}

static int engine_watch_connect(EngineWatch *watch) {
        if (watch->engine->version > 0)
                return engine_watch_request(watch);

        watch->state = WATCH_WAITING;
        return engine_negotiate(watch->engine);
}

/* The version is known. `watch` may be NULL. */
static void engine_watch_go_on(EngineWatch *watch) {
        int r;

        if (!watch || watch->state != WATCH_WAITING)
                return;
        r = engine_watch_request(watch);
        if (r < 0)
                engine_watch_lose(watch, strerror(-r));
}

static int engine_watch_on_timer(sd_event_source *source, uint64_t usec, void *userdata) {
        EngineWatch *watch = ASSERT_PTR(userdata);
        int r;

        watch->timer = sd_event_source_disable_unref(watch->timer);
        if (watch->state == WATCH_CONNECTING) {
                engine_doubt(watch->engine, watch->generation);
                engine_watch_lose(watch, "no answer");
                return 0;
        }

        r = engine_watch_connect(watch);
        if (r < 0)
                engine_watch_lose(watch, strerror(-r));
        return 0;
}

int engine_watch(Engine *engine, EngineEventHandler handler, void *userdata) {
        EngineWatch *watch;
        int r;

        assert(engine);
        assert(handler);

        engine->watch = engine_watch_free(engine->watch);
        watch = new0(EngineWatch, 1);
        if (!watch)
                return -ENOMEM;
        *watch = (EngineWatch){
                .engine = engine,
                .handler = handler,
                .userdata = userdata,
        };
        engine->watch = watch;

        r = sd_event_add_defer(engine->event, &watch->deliver, engine_watch_on_deliver, watch);
        if (r >= 0)
                r = sd_event_source_set_priority(watch->deliver, STREAM_DELIVER_PRIORITY);
        if (r >= 0)
                r = sd_event_source_set_enabled(watch->deliver, SD_EVENT_OFF);
        if (r >= 0)
                r = engine_watch_connect(watch);
        if (r < 0)
                engine->watch = engine_watch_free(engine->watch);
        return r;
}
