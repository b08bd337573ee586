#include <json-c/json.h>
#include <stdio.h>
#include <sys/un.h>

#include "io/engine-internal.h"
#include "io/printable.h"
#include "util/log.h"

/* Engine: calls of the Docker Engine API. A call is one request (or, for an exec, a few) with one deadline
 * for all of it, the negotiation of the version included: a daemon that hangs still accepts connections, so
 * only a total limit ends the wait for it.
 *
 * Calls wait in a list while the version is not known. It is forgotten when the engine breaks off, does not
 * answer a call in time, or refuses the version, because the next engine may be another one. */

static int engine_call_begin_inspect(EngineCall *call);
static int engine_call_begin_plain(EngineCall *call);
static int engine_call_begin_list(EngineCall *call);

static int (*const operations[])(EngineCall *call) = {
        [ENGINE_INSPECT] = engine_call_begin_inspect,
        [ENGINE_START] = engine_call_begin_plain,
        [ENGINE_STOP] = engine_call_begin_plain,
        [ENGINE_PAUSE] = engine_call_begin_plain,
        [ENGINE_UNPAUSE] = engine_call_begin_plain,
        [ENGINE_LOGS] = engine_call_begin_logs,
        [ENGINE_EXEC] = engine_call_begin_exec,
        [ENGINE_CONNECT_NETWORK] = engine_call_begin_plain,
        [ENGINE_LIST_PUBLISHERS] = engine_call_begin_list,
};

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
        return engine->version == 0 && (engine->ping || engine->pause || engine->waiting_first);
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

static void engine_wait(Engine *engine, EngineCall *call) {
        call->waiting_previous = engine->waiting_last;
        if (engine->waiting_last)
                engine->waiting_last->waiting_next = call;
        else
                engine->waiting_first = call;
        engine->waiting_last = call;
        call->waiting = true;
}

static void engine_unwait(Engine *engine, EngineCall *call) {
        if (!call->waiting)
                return;
        if (call->waiting_previous)
                call->waiting_previous->waiting_next = call->waiting_next;
        else
                engine->waiting_first = call->waiting_next;
        if (call->waiting_next)
                call->waiting_next->waiting_previous = call->waiting_previous;
        else
                engine->waiting_last = call->waiting_previous;
        call->waiting_previous = call->waiting_next = NULL;
        call->waiting = false;
}

EngineCall *engine_call_free(EngineCall *call) {
        if (!call)
                return NULL;

        engine_unwait(call->engine, call);
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

void engine_call_finish(EngineCall *call, EngineReply *reply) {
        engine_unwait(call->engine, call);
        call->request = http_request_free(call->request);
        call->deadline = sd_event_source_disable_unref(call->deadline);
        call->later = sd_event_source_disable_unref(call->later);
        call->pause = sd_event_source_disable_unref(call->pause);
        call->handler(call, reply, call->userdata);
        /* The handler may have freed the call: nothing goes below this line. */
}

void engine_call_finish_simply(EngineCall *call, EngineOutcome outcome, const char *message) {
        EngineReply reply = {
                .outcome = outcome,
                .message = message ?: engine_outcome_to_string(outcome),
                .output = "",
        };

        engine_call_finish(call, &reply);
}

bool engine_call_failed(EngineCall *call, const HttpResponse *response) {
        _cleanup_free_ char *message = NULL;
        EngineOutcome outcome;

        outcome = engine_reply_classify(call->operation, response, &message);
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
        engine_unwait(call->engine, call);
        call->later_outcome = outcome;
        call->later_message = message ? strdup(message) : NULL;
        return sd_event_add_defer(call->engine->event, &call->later, engine_call_on_later, call);
}

static void engine_call_begin(EngineCall *call) {
        int r;

        engine_unwait(call->engine, call);
        r = operations[call->operation](call);
        if (r >= 0)
                return;

        log_debug_errno(r, "Failed to ask the container engine: %m");
        r = engine_call_finish_later(call, ENGINE_BROKEN, strerror(-r));
        if (r < 0)
                log_debug_errno(r, "Failed to end a call, leaving it to its deadline: %m");
}

/* No handler runs in these two: what fails is ended from the event loop. */

void engine_calls_go_on(Engine *engine) {
        while (engine->waiting_first)
                engine_call_begin(engine->waiting_first);
}

void engine_calls_refuse(Engine *engine, EngineOutcome outcome, const char *message) {
        while (engine->waiting_first) {
                int r = engine_call_finish_later(engine->waiting_first, outcome, message);
                if (r < 0)
                        log_debug_errno(r, "Failed to end a call, leaving it to its deadline: %m");
        }
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

int engine_call_request(EngineCall *call, const char *method, const char *path, const char *body, bool stream,
                        HttpEndHandler on_end) {
        _cleanup_free_ char *url = NULL;
        HttpParameters parameters = {
                .method = method,
                .body = body,
                .timeout_usec = USEC_INFINITY, /* the call has its deadline */
                .limit = call->operation == ENGINE_LIST_PUBLISHERS ? ENGINE_LIST_MAX : ENGINE_ANSWER_MAX,
                .stream = stream,
        };

        assert(call);
        assert(!stream || call->output);

        if (call->version == 0)
                call->version = call->engine->version;
        call->generation = call->engine->generation;
        if (asprintf(&url, "http://engine-%u/v1.%u/%s", call->generation, call->version, path) < 0) {
                url = NULL;
                return -ENOMEM;
        }
        parameters.url = url;

        call->request = http_request_free(call->request);
        return http_request_new(&call->request, call->engine->http, &parameters, engine_call_on_data, on_end,
                                call);
}

static int engine_call_on_deadline(sd_event_source *source, uint64_t usec, void *userdata) {
        EngineCall *call = ASSERT_PTR(userdata);
        char message[128], span[SPAN_MAX];

        if (call->operation == ENGINE_EXEC && call->exec_id) {
                engine_exec_timed_out(call);
                return 0;
        }
        if (call->request && http_request_status(call->request) == 0)
                engine_doubt(call->engine, call->generation);

        (void) snprintf(message, sizeof(message), "no answer from the container engine within %s",
                        span_to_string(call->timeout_usec, span));
        engine_call_finish_simply(call, ENGINE_TIMED_OUT, message);
        return 0;
}

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
                .operation = operation,
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
                                               ENGINE_TIMER_ACCURACY_USEC, engine_call_on_deadline, call);
                if (r < 0)
                        return r;
        }

        /* Such a name cannot be asked for: it would be part of the path. Nothing has it, which is what the
         * engine would say. */
        if (name && !engine_name_is_valid(name))
                r = engine_call_finish_later(call, ENGINE_NO_CONTAINER,
                                             "No such container: the name is not valid");
        else if (engine->version > 0)
                r = operations[operation](call);
        else {
                engine_wait(engine, call);
                r = engine_negotiate(engine);
        }
        if (r < 0)
                return r;

        *ret = TAKE_PTR(call);
        return 0;
}

static void engine_call_on_inspected(HttpRequest *request, const HttpResponse *response, void *userdata) {
        EngineCall *call = ASSERT_PTR(userdata);
        _cleanup_(container_info_freep) ContainerInfo *info = NULL;
        EngineReply reply = { .outcome = ENGINE_OK, .message = "", .output = "" };
        int r;

        if (engine_call_failed(call, response))
                return;
        r = container_info_parse(&info, response->body, response->size);
        if (r < 0) {
                engine_call_finish_simply(
                                call, ENGINE_BROKEN,
                                "what the container engine says about the container cannot be understood");
                return;
        }

        reply.info = TAKE_PTR(info);
        engine_call_finish(call, &reply);
        container_info_free(reply.info); /* unless it was taken */
}

static int engine_call_begin_inspect(EngineCall *call) {
        return engine_call_request(call, "GET", call->path, NULL, false, engine_call_on_inspected);
}

static void engine_call_on_plain(HttpRequest *request, const HttpResponse *response, void *userdata) {
        EngineCall *call = ASSERT_PTR(userdata);

        if (!engine_call_failed(call, response))
                engine_call_finish_simply(call, ENGINE_OK, "");
}

static int engine_call_begin_plain(EngineCall *call) {
        return engine_call_request(call, "POST", call->path, call->body, false, engine_call_on_plain);
}

static void engine_call_on_listed(HttpRequest *request, const HttpResponse *response, void *userdata) {
        EngineCall *call = ASSERT_PTR(userdata);
        _cleanup_(strv_freep) char **names = NULL;
        EngineReply reply = { .outcome = ENGINE_OK, .message = "", .output = "" };
        char *none = NULL;
        int r;

        if (engine_call_failed(call, response))
                return;
        r = engine_reply_publishers(response->body, response->size, call->port, &names);
        if (r < 0) {
                engine_call_finish_simply(call, ENGINE_BROKEN,
                                          "the container engine's list of containers cannot be understood");
                return;
        }

        reply.names = names ?: &none;
        engine_call_finish(call, &reply);
}

/* Without filters of the engine's: "status": "running" would leave out those that are paused, which keep
 * their ports. */
static int engine_call_begin_list(EngineCall *call) {
        return engine_call_request(call, "GET", call->path, NULL, false, engine_call_on_listed);
}

static char *path_format(const char *format, ...) _printf_(1, 2);
static char *path_format(const char *format, ...) {
        va_list arguments;
        char *path;

        va_start(arguments, format);
        if (vasprintf(&path, format, arguments) < 0)
                path = NULL;
        va_end(arguments);
        return path;
}

int engine_inspect(EngineCall **ret, Engine *engine, const char *container, uint64_t timeout_usec,
                   EngineHandler handler, void *userdata) {
        return engine_call_new(ret, engine, ENGINE_INSPECT, container,
                               path_format("containers/%s/json", container), NULL, timeout_usec, handler,
                               userdata);
}

int engine_start(EngineCall **ret, Engine *engine, const char *container, uint64_t timeout_usec,
                 EngineHandler handler, void *userdata) {
        return engine_call_new(ret, engine, ENGINE_START, container, path_format("containers/%s/start", container),
                               NULL, timeout_usec, handler, userdata);
}

int engine_stop(EngineCall **ret, Engine *engine, const char *container, unsigned grace_sec, uint64_t timeout_usec,
                EngineHandler handler, void *userdata) {
        return engine_call_new(ret, engine, ENGINE_STOP, container,
                               path_format("containers/%s/stop?t=%u", container, grace_sec), NULL, timeout_usec,
                               handler, userdata);
}

int engine_pause(EngineCall **ret, Engine *engine, const char *container, uint64_t timeout_usec,
                 EngineHandler handler, void *userdata) {
        return engine_call_new(ret, engine, ENGINE_PAUSE, container, path_format("containers/%s/pause", container),
                               NULL, timeout_usec, handler, userdata);
}

int engine_unpause(EngineCall **ret, Engine *engine, const char *container, uint64_t timeout_usec,
                   EngineHandler handler, void *userdata) {
        return engine_call_new(ret, engine, ENGINE_UNPAUSE, container,
                               path_format("containers/%s/unpause", container), NULL, timeout_usec, handler,
                               userdata);
}

int engine_logs(EngineCall **ret, Engine *engine, const char *container, unsigned lines, uint64_t timeout_usec,
                EngineHandler handler, void *userdata) {
        return engine_call_new(ret, engine, ENGINE_LOGS, container,
                               path_format("containers/%s/logs?stdout=1&stderr=1&tail=%u", container, lines), NULL,
                               timeout_usec, handler, userdata);
}

static int json_add_strings(json_object *object, const char *name, char *const *list) {
        json_object *array = json_object_new_array();

        if (!array || json_object_object_add(object, name, array) < 0) {
                json_object_put(array);
                return -ENOMEM;
        }
        for (; list && *list; list++) {
                json_object *text = json_object_new_string(*list);

                if (!text || json_object_array_add(array, text) < 0) {
                        json_object_put(text);
                        return -ENOMEM;
                }
        }
        return 0;
}

static int json_add(json_object *object, const char *name, json_object *value) {
        if (value && json_object_object_add(object, name, value) >= 0)
                return 0;
        json_object_put(value);
        return -ENOMEM;
}

static char *exec_body(char *const *argv, char *const *environment, const char *user) {
        json_object *object = json_object_new_object();
        char *body = NULL;

        if (object && json_add(object, "AttachStdout", json_object_new_boolean(true)) >= 0 &&
            json_add(object, "AttachStderr", json_object_new_boolean(true)) >= 0 &&
            json_add_strings(object, "Cmd", argv) >= 0 &&
            (strv_length(environment) == 0 || json_add_strings(object, "Env", environment) >= 0) &&
            (!user || json_add(object, "User", json_object_new_string(user)) >= 0))
                body = strdup(json_object_to_json_string_ext(object, JSON_C_TO_STRING_PLAIN));
        json_object_put(object);
        return body;
}

int engine_exec(EngineCall **ret, Engine *engine, const char *container, char *const *argv,
                char *const *environment, const char *user, uint64_t timeout_usec, EngineHandler handler,
                void *userdata) {
        char *body = exec_body(argv, environment, user);

        assert(strv_length(argv) > 0);

        return engine_call_new(ret, engine, ENGINE_EXEC, container,
                               body ? path_format("containers/%s/exec", container) : NULL, body, timeout_usec,
                               handler, userdata);
}

int engine_connect_network(EngineCall **ret, Engine *engine, const char *network, const char *container,
                           uint64_t timeout_usec, EngineHandler handler, void *userdata) {
        char *body = engine_name_is_valid(container) ? path_format("{\"Container\":\"%s\"}", container) : NULL;

        /* The body is what the name of the container has to be fit for. */
        return engine_call_new(ret, engine, ENGINE_CONNECT_NETWORK, body ? network : "",
                               path_format("networks/%s/connect", network), body, timeout_usec, handler, userdata);
}

int engine_list_publishers(EngineCall **ret, Engine *engine, uint16_t port, uint64_t timeout_usec,
                           EngineHandler handler, void *userdata) {
        int r;

        r = engine_call_new(ret, engine, ENGINE_LIST_PUBLISHERS, NULL, path_format("containers/json"), NULL,
                            timeout_usec, handler, userdata);
        if (r >= 0)
                (*ret)->port = port; /* nothing is answered before the loop runs again */
        return r;
}
