#pragma once

/* What the files of Engine share: engine.c (the life of calls, version), engine-exec.c (calls of several
 * steps, streams) and engine-events.c. */

#include "io/docker-stream.h"
#include "io/engine-reply.h"
#include "io/engine.h"
#include "io/http-client.h"

typedef struct EngineWatch EngineWatch;

struct Engine {
        sd_event *event;
        HttpClient *http;
        char *socket_path;
        unsigned version; /* the minor of 1.x; 0: not known yet */
        HttpRequest *ping;
        EngineCall *waiting_first, *waiting_last; /* for the version */
        size_t n_calls;
        EngineWatch *watch;
};

struct EngineCall {
        Engine *engine;
        EngineOperation operation;
        unsigned version; /* all requests of a call are made with the same */
        char *path; /* of the first request, below the version */
        char *body;
        uint64_t timeout_usec;
        sd_event_source *deadline;
        HttpRequest *request;

        bool waiting;
        EngineCall *waiting_previous, *waiting_next;

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

/* Sends one request of a call, instead of the one before. */
int engine_call_request(EngineCall *call, const char *method, const char *path, const char *body, bool stream,
                        HttpEndHandler on_end);
/* Calls the handler: nothing may follow. What `reply` points to stays the caller's. */
void engine_call_finish(EngineCall *call, EngineReply *reply);
/* The same with no more than an outcome. `message` NULL: no memory for one. */
void engine_call_finish_simply(EngineCall *call, EngineOutcome outcome, const char *message);
/* Ends the call with what the engine answered, if it is no success (then returns true: nothing may follow). */
bool engine_call_failed(EngineCall *call, const HttpResponse *response);

int engine_call_begin_exec(EngineCall *call);
int engine_call_begin_logs(EngineCall *call);
/* The time is over. */
void engine_exec_timed_out(EngineCall *call);

/* Begins to find out the version, if nobody has yet. */
int engine_negotiate(Engine *engine);
EngineWatch *engine_watch_free(EngineWatch *watch);
/* The version is known, or could not be had. */
void engine_watch_version_known(EngineWatch *watch, bool success);
