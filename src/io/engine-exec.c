#include <stdio.h>

#include "io/engine-internal.h"
#include "io/printable.h"
#include "util/log.h"

/* Calls whose answer is a stream of output: logs, and exec in its three steps (create, start, inspect).
 * Without an Upgrade header the engine answers the start of an exec with the output until its end, and then
 * the exit code is there; a process that closes its output and goes on is looked at again until it has ended.
 * A process that is given up goes on in the container: there is no call to end it. */

#define PAUSE_FIRST_USEC (10 * USEC_PER_MSEC)
#define PAUSE_MAX_USEC (500 * USEC_PER_MSEC)

static int engine_call_prepare_output(EngineCall *call) {
        if (!call->output)
                call->output = new0(DockerStream, 1);
        return call->output ? 0 : -ENOMEM;
}

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

int engine_call_begin_logs(EngineCall *call) {
        int r;

        r = engine_call_prepare_output(call);
        if (r < 0)
                return r;
        return engine_call_request(call, "GET", call->path, NULL, true, engine_call_on_logs);
}

void engine_exec_timed_out(EngineCall *call) {
        char message[128], span[SPAN_MAX];

        (void) snprintf(message, sizeof(message), "did not end within %s",
                        span_to_string(call->timeout_usec, span));
        engine_call_finish_output(call, ENGINE_TIMED_OUT, message, 0);
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
        call->pause_usec = MIN(MAX(2 * call->pause_usec, PAUSE_FIRST_USEC), PAUSE_MAX_USEC);
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
        _cleanup_free_ char *path = NULL;

        if (asprintf(&path, "exec/%s/json", call->exec_id) < 0) {
                path = NULL;
                return -ENOMEM;
        }
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

int engine_call_begin_exec(EngineCall *call) {
        int r;

        r = engine_call_prepare_output(call);
        if (r < 0)
                return r;
        return engine_call_request(call, "POST", call->path, call->body, false, engine_exec_on_created);
}
