#pragma once

/* What the files of Engine share: engine.c (the life of calls), engine-exec.c (calls of several steps, streams),
 * engine-link.c (the version, and whether the engine is there) and engine-events.c. */

#include "io/docker-stream.h"
#include "io/engine-reply.h"
#include "io/engine.h"
#include "io/http-client.h"

/* Bodies that are parsed. Seen: an inspect has 6 KiB, a list of containers 1 KiB for each. */
#define ENGINE_ANSWER_MAX ((size_t) 1024 * 1024)
#define ENGINE_LIST_MAX ((size_t) 8 * 1024 * 1024)
#define ENGINE_TIMER_ACCURACY_USEC (10 * USEC_PER_MSEC)

typedef struct EngineWatch EngineWatch;

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
        EngineCall *waiting_first, *waiting_last; /* for the version */
        size_t n_calls;
        EngineWatch *watch;
};

struct EngineCall {
        Engine *engine;
        EngineOperation operation;
        unsigned version; /* all requests of a call are made with the same */
        unsigned generation; /* of the engine that the request went to */
        char *path; /* of the first request, below the version */
        char *body;
        uint16_t port; /* that publishers are looked for of */
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

/* Begins to find out the version, unless that is under way already, or has to wait. */
int engine_negotiate(Engine *engine);
/* It has answered something that is more than a ping. */
void engine_answered(Engine *engine);
/* The engine of this generation may have been replaced: the version is asked for anew. */
void engine_doubt(Engine *engine, unsigned generation);
/* The same, and it is known to be away: after a pause. */
void engine_lost(Engine *engine, unsigned generation);
/* Grows what it points to, from 100 ms to `max_usec`, and returns it less up to a quarter. */
uint64_t engine_next_pause(uint64_t *pause_usec, uint64_t max_usec);

/* For the calls that wait for the version: it is known, or could not be had. */
void engine_calls_go_on(Engine *engine);
void engine_calls_refuse(Engine *engine, EngineOutcome outcome, const char *message);

/* These take NULL for no watch. */
EngineWatch *engine_watch_free(EngineWatch *watch);
bool engine_watch_is_waiting(const EngineWatch *watch); /* for the version */
void engine_watch_go_on(EngineWatch *watch); /* it is known */
